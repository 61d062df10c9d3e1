/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the two clocks, durations and sizes as people write them
 *
 * Waiting is measured with CLOCK_BOOTTIME, which also runs while a laptop sleeps: a
 * task that was given an hour is over its time when the lid opens the next morning.
 * Sizes without a fraction are computed in integers, for a double is inexact from 8 PiB
 * on.
 */
#include "base/clock.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define TEN_YEARS_MS (3650LL * 86400 * 1000)
#define YEAR_0_MS (-62167219200000LL)
#define YEAR_9999_END_MS 253402300799999LL

int64_t clock_unix_ms(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_REALTIME, &t);
    return (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

int64_t clock_mono_ns(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_BOOTTIME, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

void clock_rfc3339(int64_t unix_ms, char out[25])
{
    int64_t ms;
    time_t s;
    struct tm tm;

    if (unix_ms < YEAR_0_MS)
        unix_ms = YEAR_0_MS;
    if (unix_ms > YEAR_9999_END_MS)
        unix_ms = YEAR_9999_END_MS;
    ms = unix_ms % 1000;
    if (ms < 0)
        ms += 1000;
    s = (time_t)((unix_ms - ms) / 1000);
    must(gmtime_r(&s, &tm) != NULL);
    /* the remainders only tell the compiler that it fits */
    (void)snprintf(out, 25, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)(tm.tm_year + 1900) % 10000,
                   (unsigned)(tm.tm_mon + 1) % 100, (unsigned)tm.tm_mday % 100,
                   (unsigned)tm.tm_hour % 100, (unsigned)tm.tm_min % 100,
                   (unsigned)tm.tm_sec % 100, (unsigned)ms % 1000);
}

/* ---- reading what people write
 * ----------------------------------------------------------- */

/* borrowed text as a NUL-terminated copy that starts with a digit or a dot and has no
 * NUL inside; gives malloc'ed, NULL when it is none */
static char *number_text(struct str text)
{
    bool number =
        text.len && ((text.ptr[0] >= '0' && text.ptr[0] <= '9') || text.ptr[0] == '.');

    if (!number || memchr(text.ptr, 0, text.len))
        return NULL;
    return xasprintf("%.*s", STR_ARG(text));
}

/* a number at *p without sign, exponent or inf; moves *p behind it */
static bool plain_number(const char **p, double *out)
{
    const char *s = *p;
    char digits[40];
    size_t n = 0;
    bool dot = false, any = false;

    while ((*s >= '0' && *s <= '9') || (*s == '.' && !dot)) {
        if (n + 1 >= sizeof digits)
            return false;
        dot |= *s == '.';
        any |= *s != '.';
        digits[n++] = *s++;
    }
    digits[n] = 0;
    *p = s;
    *out = any ? strtod(digits, NULL) : 0;
    return any;
}

/* "1h30m" in milliseconds; units get smaller from left to right; -1 when it is none */
static double duration_ms(const char *p)
{
    static const struct {
        const char *name;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    double total = 0, v, last = INFINITY;

    for (bool first = true; first || *p; first = false) {
        size_t i = 0, n = 0;

        if (!plain_number(&p, &v))
            return -1;
        if (first && !*p)
            return v * 1000;
        for (; i < N_ELEMS(units); i++) {
            n = strlen(units[i].name);
            if (strncmp(p, units[i].name, n) == 0) /* "ms" comes before "m" */
                break;
        }
        if (i == N_ELEMS(units) || units[i].ms >= last)
            return -1;
        last = units[i].ms;
        total += v * units[i].ms;
        p += n;
    }
    return total;
}

int clock_parse_duration(struct str text, int64_t *out_ms, struct err *e)
{
    AUTO_FREE char *z = number_text(text);
    double ms = z ? duration_ms(z) : -1;

    if (!(ms >= 0 && ms <= TEN_YEARS_MS))
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is no duration (want 90, 90s, 15m, 1h30m or 2d)",
                       text.len > 40 ? 40 : (int)text.len, text.ptr ? text.ptr : "");
    *out_ms = (int64_t)(ms + 0.5);
    return 0;
}

/* the factor that a quantity's suffix stands for, 0 when it is none */
static uint64_t size_factor(const char *suffix)
{
    static const struct {
        const char *suffix;
        uint64_t factor;
    } units[] = {
        {"", 1},
        {"B", 1},
        {"k", 1000},
        {"K", 1000},
        {"M", 1000000},
        {"G", 1000000000},
        {"T", 1000000000000},
        {"P", 1000000000000000},
        {"E", 1000000000000000000},
        {"Ki", 1ULL << 10},
        {"Mi", 1ULL << 20},
        {"Gi", 1ULL << 30},
        {"Ti", 1ULL << 40},
        {"Pi", 1ULL << 50},
        {"Ei", 1ULL << 60},
        {"KiB", 1ULL << 10},
        {"MiB", 1ULL << 20},
        {"GiB", 1ULL << 30},
        {"TiB", 1ULL << 40},
    };

    for (size_t i = 0; i < N_ELEMS(units); i++)
        if (strcmp(suffix, units[i].suffix) == 0)
            return units[i].factor;
    return 0;
}

/* 10 to the power written at "e9", 0 when that is no exponent or does not fit */
static uint64_t size_exponent(const char *p)
{
    uint64_t factor = 1;
    char *end;
    long exp;

    if ((p[0] != 'e' && p[0] != 'E') || p[1] < '0' || p[1] > '9')
        return 0;
    exp = strtol(p + 1, &end, 10);
    if (*end || exp > 18)
        return 0;
    while (exp--)
        factor *= 10;
    return factor;
}

static bool size_of(const char *z, uint64_t *out_bytes)
{
    const char *p = z;
    uint64_t factor;
    char *end;
    double v;

    if (!plain_number(&p, &v))
        return false;
    factor = size_exponent(p);
    if (!factor)
        factor = size_factor(p);
    if (!factor)
        return false;

    errno = 0;
    *out_bytes = strtoull(z, &end, 10);
    if (end == p && end > z) /* no fraction: exact */
        return errno == 0 && !__builtin_mul_overflow(*out_bytes, factor, out_bytes) &&
               *out_bytes <= INT64_MAX;
    v = ceil(v * (double)factor); /* as Kubernetes does */
    if (!(v < 0x1p63))
        return false;
    *out_bytes = (uint64_t)v;
    return true;
}

int size_parse(struct str text, uint64_t *out_bytes, struct err *e)
{
    AUTO_FREE char *z = number_text(text);
    uint64_t bytes;

    if (!z || !size_of(z, &bytes))
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is no size (want 512Mi, 1G, 1.5Gi or bytes)",
                       text.len > 40 ? 40 : (int)text.len, text.ptr ? text.ptr : "");
    *out_bytes = bytes;
    return 0;
}

/* ---- writing for people
 * ------------------------------------------------------------------ */

void clock_human(int64_t ms, char out[24])
{
    int64_t s = ms / 1000;

    if (ms < 0)
        (void)snprintf(out, 24, "0.0 s"); /* somebody set the clock back */
    else if (ms < 10000)
        (void)snprintf(out, 24, "%lld.%lld s", (long long)s,
                       (long long)(ms % 1000 / 100));
    else if (s < 60)
        (void)snprintf(out, 24, "%lld s", (long long)s);
    else if (s < 3600)
        (void)snprintf(out, 24, "%lld m %02lld s", (long long)(s / 60),
                       (long long)(s % 60));
    else
        (void)snprintf(out, 24, "%lld h %02lld m", (long long)(s / 3600),
                       (long long)(s % 3600 / 60));
}

void size_human(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t i = 0;

    while (v >= 1023.5 && i + 1 < N_ELEMS(units)) { /* never "1024 KiB" */
        if (i == 0 && bytes < 1024)
            break;
        v /= 1024;
        i++;
    }
    (void)snprintf(out, 24, i && v < 99.95 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

const char *clock_boot_id(void)
{
    static char id[40];

    if (!id[0]) {
        AUTO_FD int fd = open("/proc/sys/kernel/random/boot_id", O_RDONLY | O_CLOEXEC);
        ssize_t n = fd >= 0 ? read(fd, id, 36) : 0;
        id[n > 0 ? n : 0] = 0;
    }
    return id;
}

/* field 22 of /proc/PID/stat */
unsigned long long clock_process_ticks(pid_t pid)
{
    char path[40], text[1024];
    AUTO_FD int fd = -1;
    unsigned long long ticks = 0;
    const char *p;
    ssize_t n;

    (void)snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);
    text[n > 0 ? n : 0] = 0;
    p = strrchr(text, ')'); /* the name may hold anything, ')' too */
    if (!p || p[1] != ' ' || p[2] == 'Z' || p[2] == 'X')
        return 0;
    for (int field = 2; p && field < 22; field++)
        p = strchr(p + 1, ' ');
    if (p)
        (void)sscanf(p + 1, "%llu", &ticks);
    return ticks;
}

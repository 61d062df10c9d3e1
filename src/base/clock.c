/* SPDX-License-Identifier: Apache-2.0 */
/* clock.c - the two clocks, durations and sizes as people write them */
#include "base/clock.h"

#include <fcntl.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define TEN_YEARS_MS (3650LL * 86400 * 1000)

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
    int64_t ms = unix_ms % 1000;
    time_t s;
    struct tm tm;

    if (ms < 0)
        ms += 1000;
    s = (time_t)((unix_ms - ms) / 1000);
    if (!gmtime_r(&s, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
        (void)snprintf(out, 25, "1970-01-01T00:00:00.000Z");
        return;
    }
    /* the remainders only tell the compiler that it fits */
    (void)snprintf(out, 25, "%04u-%02u-%02uT%02u:%02u:%02u.%03uZ",
                   (unsigned)(tm.tm_year + 1900) % 10000, (unsigned)(tm.tm_mon + 1) % 100,
                   (unsigned)tm.tm_mday % 100, (unsigned)tm.tm_hour % 100,
                   (unsigned)tm.tm_min % 100, (unsigned)tm.tm_sec % 100, (unsigned)ms % 1000);
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

int clock_parse_duration(struct str text, int64_t *out_ms, struct err *e)
{
    static const struct {
        const char *unit;
        double ms;
    } units[] = {{"ms", 1}, {"s", 1000}, {"m", 60e3}, {"h", 3600e3}, {"d", 86400e3}};
    AUTO_FREE char *z = xalloc(text.len + 1);
    const char *p = z;
    double total = 0, v, last = INFINITY;

    memcpy(z, text.ptr, text.len);
    while (*p || p == z) {
        size_t i = 0;

        if (!plain_number(&p, &v))
            goto bad;
        if (!*p && total == 0 && last == INFINITY) { /* a bare number: seconds */
            total = v * 1000;
            break;
        }
        while (i < N_ELEMS(units) && (strncmp(p, units[i].unit, strlen(units[i].unit)) != 0 ||
                                      (p[0] == 'm' && p[1] == 's' && i != 0)))
            i++;
        if (i == N_ELEMS(units) || units[i].ms >= last) /* 1h30m, not 30m1h */
            goto bad;
        last = units[i].ms;
        total += v * units[i].ms;
        p += strlen(units[i].unit);
    }
    if (strlen(z) != text.len || !(total <= TEN_YEARS_MS))
        goto bad;
    *out_ms = (int64_t)(total + 0.5);
    return 0;
bad:
    return err_set(e, ERR_INPUT, "\"%.40s\" is no duration (want 90, 90s, 15m, 1h30m or 2d)", z);
}

void clock_human(int64_t ms, char out[24])
{
    int64_t s = ms / 1000;

    if (ms < 10000)
        (void)snprintf(out, 24, "%lld.%lld s", (long long)(ms / 1000),
                       (long long)(ms % 1000 / 100));
    else if (s < 60)
        (void)snprintf(out, 24, "%lld s", (long long)s);
    else if (s < 3600)
        (void)snprintf(out, 24, "%lld m %02lld s", (long long)(s / 60), (long long)(s % 60));
    else
        (void)snprintf(out, 24, "%lld h %02lld m", (long long)(s / 3600),
                       (long long)(s % 3600 / 60));
}

void size_human(uint64_t bytes, char out[24])
{
    static const char *const units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
    double v = (double)bytes;
    size_t i = 0;

    while (v >= 1024 && i + 1 < N_ELEMS(units)) {
        v /= 1024;
        i++;
    }
    (void)snprintf(out, 24, i && v < 100 ? "%.1f %s" : "%.0f %s", v, units[i]);
}

int size_parse(struct str text, uint64_t *out_bytes, struct err *e)
{
    static const struct {
        const char *suffix;
        double factor;
    } units[] = {{"", 1},       {"B", 1},      {"k", 1e3},    {"K", 1e3},    {"M", 1e6},
                 {"G", 1e9},    {"T", 1e12},   {"P", 1e15},   {"E", 1e18},   {"Ki", 0x1p10},
                 {"Mi", 0x1p20}, {"Gi", 0x1p30}, {"Ti", 0x1p40}, {"Pi", 0x1p50}, {"Ei", 0x1p60},
                 {"KiB", 0x1p10}, {"MiB", 0x1p20}, {"GiB", 0x1p30}, {"TiB", 0x1p40}};
    AUTO_FREE char *z = xalloc(text.len + 1);
    const char *p = z;
    double v = 0;
    size_t i = 0;

    memcpy(z, text.ptr, text.len);
    if (strlen(z) != text.len || !plain_number(&p, &v))
        goto bad;
    if ((p[0] == 'e' || p[0] == 'E') && p[1] >= '0' && p[1] <= '9') {
        char *end;
        long exp = strtol(p + 1, &end, 10);
        if (exp > 18)
            goto bad;
        v *= pow(10, (double)exp);
        p = end;
    }
    while (i < N_ELEMS(units) && strcmp(p, units[i].suffix) != 0)
        i++;
    if (i == N_ELEMS(units))
        goto bad;
    v *= units[i].factor;
    if (!(v < 0x1p63))
        goto bad;
    *out_bytes = (uint64_t)(v + 0.5);
    return 0;
bad:
    return err_set(e, ERR_INPUT, "\"%.40s\" is no size (want 512Mi, 1G, 1.5Gi or bytes)", z);
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

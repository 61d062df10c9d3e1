/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - names of images without opening the database
 *
 * To open an SQLite file is to parse its schema: a fifth of the time of a whole `dugout box`. So
 * what the names mean is kept in a file beside it, together with the state of the database that
 * it was read from: which files, how long, when written. It is believed only while they are in
 * that very state, as git believes its index. Nobody who moves a name has to know of it.
 *
 *     dugout names 1 <SHA-256 of the rest>
 *     <state>
 *     <config digest> <name>
 *     ...
 *
 * Two writes within one tick of the clock of files could leave the same state. So a database that
 * was written just now is not described at all.
 */
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/sha256.h"
#include "lineage/images.h"
#include "lineage/rows.h"

#define HEAD "dugout names 1 "
#define HEAD_BYTES (sizeof HEAD - 1 + 65) /* with the digest and its newline */
#define FILE_BYTES_MAX (1 << 20)
/* The clock of files ticks every 1 to 10 ms; where it has no fractions, every second or two. */
#define TICK_MS 100
#define COARSE_TICK_MS 3000

/* what changes whenever something is written (the time of change does so when SQLite, as root,
 * opens its WAL), and in *settled_ms from when on a write leaves another time; false when it cannot
 * be told: SQLite follows a link, and has its WAL there */
static bool state_add(int home_fd, const char *name, struct buf *out,
                      int64_t *settled_ms)
{
    struct stat st;
    int64_t ms;

    if (fstatat(home_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        buf_adds(out, "none ");
        return true;
    }
    buf_addf(out, "%llu/%llu %lld %lld.%09ld ", (unsigned long long)st.st_dev,
             (unsigned long long)st.st_ino, (long long)st.st_size,
             (long long)st.st_mtim.tv_sec, st.st_mtim.tv_nsec);
    ms = (int64_t)st.st_mtim.tv_sec * 1000 + st.st_mtim.tv_nsec / 1000000 +
         (st.st_mtim.tv_nsec ? TICK_MS : COARSE_TICK_MS);
    if (*settled_ms < ms)
        *settled_ms = ms;
    return S_ISREG(st.st_mode);
}

/* adds one line; false when it cannot be told */
static bool state_of(int home_fd, struct buf *out, int64_t *settled_ms)
{
    bool told;

    *settled_ms = 0;
    told = state_add(home_fd, DB_FILE, out, settled_ms) &&
           state_add(home_fd, DB_FILE "-wal", out, settled_ms);
    buf_addc(out, '\n');
    return told;
}

static struct str bytes_of(const struct buf *b)
{
    return (struct str){buf_str(b), b->len};
}

/* the lines of names; empty when the file is of another state, torn or not there */
static struct str believed(int home_fd, struct buf *b)
{
    AUTO_BUF struct buf now = {0};
    char hex[DIGEST_HEX];
    struct str rest;
    int64_t settled_ms;

    buf_init(&now, 0);
    if (!state_of(home_fd, &now, &settled_ms) ||
        fd_read_file(home_fd, DB_NAMES_FILE, b, FILE_BYTES_MAX, &(struct err){0}) < 0 ||
        b->len < HEAD_BYTES || !str_starts(bytes_of(b), HEAD) ||
        b->ptr[HEAD_BYTES - 1] != '\n')
        return STR("");
    rest = (struct str){b->ptr + HEAD_BYTES, b->len - HEAD_BYTES};
    if (!str_starts(rest, buf_str(&now)))
        return STR("");
    sha256_hex(rest.ptr, rest.len, hex);
    if (memcmp(b->ptr + HEAD_BYTES - 65, hex, 64) != 0)
        return STR("");
    return (struct str){rest.ptr + now.len, rest.len - now.len};
}

bool db_image_name_kept(int home_fd, const char *name, char config_hex[DIGEST_HEX])
{
    AUTO_BUF struct buf b = {0};
    size_t len = strlen(name), line;
    struct str names;
    const char *end;

    buf_init(&b, 0);
    names = believed(home_fd, &b);
    for (; names.len && (end = memchr(names.ptr, '\n', names.len));
         names.ptr += line, names.len -= line) {
        line = (size_t)(end - names.ptr) + 1;
        if (line != 65 + len + 1 || memcmp(names.ptr + 65, name, len) != 0)
            continue;
        memcpy(config_hex, names.ptr, 64);
        config_hex[64] = '\0';
        return is_hex64(config_hex);
    }
    return false;
}

static int names_add(struct db *d, struct buf *out, struct err *e)
{
    static const char sql[] = "SELECT i.config, n.name FROM image_name n"
                              " CROSS JOIN image i ON i.id = n.image";
    AUTO_Q struct q q = {0};
    char hex[DIGEST_HEX];
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct str name;
        q_get_hex(&q, hex);
        name = q_get_str(&q);
        buf_addf(out, "%s %.*s\n", hex, STR_ARG(name));
    }
    return more;
}

void db_image_names_keep(struct db *d, int home_fd)
{
    AUTO_BUF struct buf before = {0}, after = {0}, rest = {0}, file = {0};
    char hex[DIGEST_HEX];
    struct err e = {0}; /* the next one asks the database, as we did */
    int64_t settled_ms;

    buf_init(&before, 0);
    buf_init(&after, 0);
    buf_init(&rest, 0);
    buf_init(&file, FILE_BYTES_MAX);
    if (!state_of(home_fd, &before, &settled_ms) || clock_unix_ms() < settled_ms)
        return;
    buf_addstr(&rest, bytes_of(&before));
    if (names_add(d, &rest, &e) < 0 || !state_of(home_fd, &after, &settled_ms) ||
        !str_eq(bytes_of(&before), bytes_of(&after)))
        return;
    sha256_hex(rest.ptr, rest.len, hex);
    buf_addf(&file, HEAD "%s\n", hex);
    buf_addstr(&file, bytes_of(&rest));
    if (!file.overflow)
        (void)fd_write_file(home_fd, DB_NAMES_FILE, file.ptr, file.len, 0600, false,
                            &e);
}

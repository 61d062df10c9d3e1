/* SPDX-License-Identifier: Apache-2.0 */
/* ldcache.c - /etc/ld.so.cache, read and written without ldconfig
 *
 *      0  "glibc-ld.so.cache1.1"
 *     20  u32 libraries
 *     24  u32 bytes of text
 *     28  u8 byte order: 2 little, 0 not said
 *     32  u32 offset of extensions, 0: none; then 12 bytes of nothing
 *     48  a library each: i32 flags, u32 name, u32 path, u32 OS version, u64 hwcap
 *         the text; name and path are offsets from byte 0 and end with a NUL
 *
 * Older files begin with "ld.so-1.7.0" and a table of their own, and the above follows,
 * its offsets counted from its own beginning. The dynamic linker looks a name up by
 * halving, so the order is part of the format: descending, with runs of digits compared
 * as numbers.
 *
 * Running a host's ldconfig inside an image's root is what others do, and what more
 * than one way out of a container led through. Adding lines to this file is all that it
 * would do for us.
 */
#include "box/ldcache.h"

#include <stdlib.h>
#include <string.h>

#define MAGIC "glibc-ld.so.cache1.1"
#define OLD_MAGIC "ld.so-1.7.0"
#define HEADER 48
#define ENTRY 24
#define OLD_HEADER 16
#define OLD_ENTRY 12
#define LITTLE_ENDIAN_FILE 2

static uint32_t u32_at(const char *p)
{
    uint32_t v;

    memcpy(&v, p, sizeof v);
    return v;
}

/* ---- reading -------------------------------------------------------------------- */

static int bad(struct err *e, const char *what)
{
    return err_set(e, ERR_CORRUPT, "ld.so.cache: %s", what);
}

/* cut off the older table in front */
static int skip_old(struct str *s, struct err *e)
{
    uint64_t n, at;

    if (s->len < OLD_HEADER || memcmp(s->ptr, OLD_MAGIC, sizeof OLD_MAGIC - 1) != 0)
        return 0;
    n = u32_at(s->ptr + 12);
    at = (OLD_HEADER + n * OLD_ENTRY + 7) & ~7ULL;
    if (at > s->len)
        return bad(e, "its first table is longer than the file");
    *s = (struct str){s->ptr + at, s->len - (size_t)at};
    return 0;
}

/* a text that ends inside the file; NULL otherwise */
static const char *text_at(struct str s, uint32_t at)
{
    if (at < HEADER || at >= s.len || !memchr(s.ptr + at, 0, s.len - at))
        return NULL;
    return s.ptr + at;
}

static int read_entry(struct arena *a, struct str s, const char *entry,
                      struct ldcache_lib **out, size_t *n, struct err *e)
{
    const char *name = text_at(s, u32_at(entry + 4)),
               *path = text_at(s, u32_at(entry + 8));
    uint64_t hwcap;

    memcpy(&hwcap, entry + 16, sizeof hwcap);
    if (!name || !path)
        return bad(e, "a name lies outside the file");
    if (!name[0] || strchr(name, '/') || strlen(name) > 255 || path[0] != '/' ||
        strlen(path) > 4095)
        return bad(e, "a name in it is none");
    if (hwcap)
        return 0;
    *out = arena_grow(a, *out, n, sizeof **out);
    (*out)[*n - 1] = (struct ldcache_lib){arena_strdup(a, name), arena_strdup(a, path),
                                          (int32_t)u32_at(entry)};
    return 0;
}

int ldcache_read_in(struct arena *a, struct str s, struct ldcache_lib **out, size_t *n,
                    struct err *e)
{
    struct ldcache_lib *libs = NULL;
    size_t count = 0;
    uint64_t total;
    unsigned order;

    if (s.len > LIMIT_LDCACHE_BYTES)
        return err_set(e, ERR_LIMIT, "ld.so.cache is over 16 MiB");
    if (skip_old(&s, e) < 0)
        return -1;
    if (s.len < HEADER || memcmp(s.ptr, MAGIC, sizeof MAGIC - 1) != 0)
        return bad(e, "it does not begin as one");
    order = (unsigned char)s.ptr[28] & 3;
    if (order && order != LITTLE_ENDIAN_FILE)
        return bad(e, "it was made for another byte order");
    total = u32_at(s.ptr + 20);
    if (total > (s.len - HEADER) / ENTRY)
        return bad(e, "its table is longer than the file");
    /* Many entries may point at one long text: what they take is bounded by what they
     * could. */
    for (uint64_t i = 0; i < total; i++) {
        if (a->used_bytes > 4 * LIMIT_LDCACHE_BYTES)
            return err_set(e, ERR_LIMIT, "ld.so.cache: its names repeat too much");
        if (read_entry(a, s, s.ptr + HEADER + i * ENTRY, &libs, &count, e) < 0)
            return -1;
    }
    *out = libs;
    *n = count;
    return 0;
}

/* ---- writing -------------------------------------------------------------------- */

static uint64_t take_number(const char **p)
{
    uint64_t v = 0;

    for (; **p >= '0' && **p <= '9'; (*p)++)
        v = v < UINT64_MAX / 16 ? v * 10 + (uint64_t)(**p - '0') : v;
    return v;
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* the linker's order of names, ascending */
static int compare_names(const char *a, const char *b)
{
    while (*a) {
        if (is_digit(*a) && is_digit(*b)) {
            uint64_t x = take_number(&a), y = take_number(&b);
            if (x != y)
                return x < y ? -1 : 1;
        } else if (is_digit(*a) || is_digit(*b)) {
            return is_digit(*a) ? 1 : -1;
        } else if (*a != *b) {
            return *a - *b;
        } else {
            a++;
            b++;
        }
    }
    return *a - *b;
}

struct ordered {
    struct ldcache_lib lib;
    size_t place;
};

static int descending(const void *a, const void *b)
{
    const struct ordered *x = a, *y = b;
    int c = compare_names(y->lib.name, x->lib.name);

    return c ? c : x->place < y->place ? -1 : x->place > y->place;
}

static void sort_libs(struct ldcache_lib *libs, size_t n)
{
    AUTO_FREE struct ordered *o = xalloc((n + 1) * sizeof *o);

    for (size_t i = 0; i < n; i++)
        o[i] = (struct ordered){libs[i], i};
    qsort(o, n, sizeof *o, descending);
    for (size_t i = 0; i < n; i++)
        libs[i] = o[i].lib;
}

static void add_u32(struct buf *b, uint32_t v)
{
    buf_add(b, &v, sizeof v);
}

void ldcache_write(struct buf *out, struct ldcache_lib *libs, size_t n)
{
    AUTO_BUF struct buf text = {0};
    static const char nothing[16];
    size_t base = HEADER + n * ENTRY;

    buf_init(&text, 0);
    sort_libs(libs, n);
    for (size_t i = 0; i < n; i++) {
        buf_add(&text, libs[i].name, strlen(libs[i].name) + 1);
        buf_add(&text, libs[i].path, strlen(libs[i].path) + 1);
    }
    buf_adds(out, MAGIC);
    add_u32(out, (uint32_t)n);
    add_u32(out, (uint32_t)text.len);
    add_u32(out, LITTLE_ENDIAN_FILE);
    add_u32(out, 0);
    buf_add(out, nothing, 12);
    for (size_t i = 0, at = base; i < n; i++) {
        add_u32(out, (uint32_t)libs[i].flags);
        add_u32(out, (uint32_t)at);
        at += strlen(libs[i].name) + 1;
        add_u32(out, (uint32_t)at);
        at += strlen(libs[i].path) + 1;
        buf_add(out, nothing, 12);
    }
    buf_add(out, buf_str(&text), text.len);
}

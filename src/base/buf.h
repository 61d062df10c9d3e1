/* SPDX-License-Identifier: Apache-2.0 */
/* buf.h - borrowed text (struct str) and text being built (struct buf) */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

/* borrowed bytes, not NUL-terminated */
struct str {
    const char *ptr;
    size_t len;
};

#define STR(lit) ((struct str){(lit), sizeof(lit) - 1})
#define STR_ARG(s) (int)(s).len, (s).ptr /* for "%.*s" */

static inline struct str str_of(const char *z)
{
    return (struct str){z, z ? strlen(z) : 0};
}
bool str_eq(struct str a, struct str b);
bool str_eqz(struct str a, const char *z);
bool str_starts(struct str s, const char *prefix);
bool str_ends(struct str s, const char *suffix);
struct str str_trim(struct str s);
/* str_utf8_len - bytes of the UTF-8 sequence that s begins with, 0 when it is none or s
 * is empty: no overlong forms, no surrogates, nothing past U+10FFFF (RFC 3629) */
size_t str_utf8_len(struct str s);

/* A growing text, always NUL-terminated once anything was added. `max_bytes` 0 means no
 * ceiling. Past the ceiling nothing is added and `overflow` stays set: check once at
 * the end. */
struct buf {
    char *ptr;
    size_t len, cap, max_bytes;
    bool overflow;
};

void buf_init(struct buf *b, size_t max_bytes);
void buf_done(struct buf *b);  /* frees; accepts an empty buf; leaves it empty */
void buf_reset(struct buf *b); /* len 0, keeps the memory */
void buf_add(struct buf *b, const void *bytes, size_t len);
void buf_adds(struct buf *b, const char *z);
/* buf_add_plain - foreign text for people: what would command a terminal becomes a
 * blank */
void buf_add_plain(struct buf *b, const char *text, size_t len);
void buf_addstr(struct buf *b, struct str s);
void buf_addc(struct buf *b, char c);
void buf_addf(struct buf *b, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void buf_addvf(struct buf *b, const char *fmt, va_list ap);
/* buf_add_json_string - s as a quoted JSON string; bytes that are not UTF-8 become
 * U+FFFD */
void buf_add_json_string(struct buf *b, struct str s);
char *buf_take(
    struct buf *b); /* gives: malloc'ed NUL-terminated text, the buf is empty after */
const char *buf_str(const struct buf *b); /* never NULL */

#define AUTO_BUF __attribute__((cleanup(buf_done)))

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* buf.c - text that grows, and JSON strings
 *
 * Memory doubles, so adding is cheap on average. A text with a ceiling takes all of an
 * addition or nothing of it, and after the first refusal takes nothing more: what was
 * kept is a prefix of what was meant.
 */
#include "base/buf.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/err.h"
#include "base/mem.h"

bool str_eq(struct str a, struct str b)
{
    return a.len == b.len && (a.len == 0 || memcmp(a.ptr, b.ptr, a.len) == 0);
}

bool str_eqz(struct str a, const char *z)
{
    return str_eq(a, str_of(z));
}

bool str_starts(struct str s, const char *prefix)
{
    size_t n = strlen(prefix);

    return s.len >= n && str_eq((struct str){s.ptr, n}, (struct str){prefix, n});
}

bool str_ends(struct str s, const char *suffix)
{
    size_t n = strlen(suffix);

    return s.len >= n &&
           str_eq((struct str){s.ptr + s.len - n, n}, (struct str){suffix, n});
}

static bool blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

struct str str_trim(struct str s)
{
    while (s.len && blank(s.ptr[0])) {
        s.ptr++;
        s.len--;
    }
    while (s.len && blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

void buf_init(struct buf *b, size_t max_bytes)
{
    *b = (struct buf){.max_bytes = max_bytes};
}

void buf_done(struct buf *b)
{
    free(b->ptr);
    *b = (struct buf){.max_bytes = b->max_bytes};
}

void buf_reset(struct buf *b)
{
    b->len = 0;
    b->overflow = false;
    if (b->ptr)
        b->ptr[0] = 0;
}

/* room for len more bytes and a NUL; false past the ceiling */
static bool reserve(struct buf *b, size_t len)
{
    size_t need, cap;

    must(!__builtin_add_overflow(b->len, len, &need) &&
         !__builtin_add_overflow(need, (size_t)1, &need));
    if (b->overflow || (b->max_bytes && need - 1 > b->max_bytes)) {
        b->overflow = true;
        return false;
    }
    if (need <= b->cap)
        return true;
    for (cap = b->cap ? b->cap : 64; cap < need;)
        must(!__builtin_mul_overflow(cap, (size_t)2, &cap));
    b->ptr = xrealloc(b->ptr, cap);
    b->cap = cap;
    return true;
}

void buf_add(struct buf *b, const void *bytes, size_t len)
{
    if (!reserve(b, len))
        return;
    if (len)
        memcpy(b->ptr + b->len, bytes, len);
    b->len += len;
    b->ptr[b->len] = 0;
}

void buf_adds(struct buf *b, const char *z)
{
    buf_add(b, z, strlen(z));
}

void buf_add_plain(struct buf *b, const char *text, size_t len)
{
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        /* U+0080 to U+009F are commands, too, to terminals that go by the book */
        bool high =
            c == 0xc2 && i + 1 < len && ((unsigned char)text[i + 1] & 0xe0) == 0x80;
        buf_addc(b, (c < ' ' && c != '\t') || c == 0x7f || high ? ' ' : text[i]);
        i += high;
    }
}

void buf_addstr(struct buf *b, struct str s)
{
    buf_add(b, s.ptr, s.len);
}

void buf_addc(struct buf *b, char c)
{
    buf_add(b, &c, 1);
}

void buf_addf(struct buf *b, const char *fmt, ...)
{
    va_list ap;

    va_start(ap, fmt);
    buf_addvf(b, fmt, ap);
    va_end(ap);
}

void buf_addvf(struct buf *b, const char *fmt, va_list ap)
{
    va_list again;
    int n;

    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    must(n >= 0);
    if (reserve(b, (size_t)n)) {
        (void)vsnprintf(b->ptr + b->len, (size_t)n + 1, fmt, again);
        b->len += (size_t)n;
    }
    va_end(again);
}

size_t str_utf8_len(struct str s)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t n = s.len, len = 1;

    if (!n)
        return 0;
    if (p[0] < 0x80)
        return 1;
    if (p[0] < 0xc2 || p[0] > 0xf4)
        return 0;
    len += 1 + (p[0] >= 0xe0) + (p[0] >= 0xf0);
    if (len > n)
        return 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    if ((p[0] == 0xe0 && p[1] < 0xa0) || (p[0] == 0xed && p[1] > 0x9f) ||
        (p[0] == 0xf0 && p[1] < 0x90) || (p[0] == 0xf4 && p[1] > 0x8f))
        return 0;
    return len;
}

void buf_add_json_string(struct buf *b, struct str s)
{
    static const char escapes[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;

    buf_addc(b, '"');
    while (i < s.len) {
        size_t n = i;
        const char *esc;

        while (n < s.len && p[n] >= 0x20 && p[n] < 0x80 && p[n] != '"' && p[n] != '\\')
            n++;
        if (n > i) { /* a run of plain ASCII, the usual case */
            buf_add(b, p + i, n - i);
            i = n;
            continue;
        }
        n = str_utf8_len((struct str){s.ptr + i, s.len - i});
        if (n > 1) {
            buf_add(b, p + i, n);
        } else if (!n) {
            buf_adds(b, "\xef\xbf\xbd"); /* U+FFFD */
            n = 1;
        } else {
            for (esc = escapes; *esc && (unsigned char)*esc != p[i]; esc += 2)
                ;
            if (*esc)
                buf_addf(b, "\\%c", esc[1]);
            else
                buf_addf(b, "\\u%04x", p[i]);
        }
        i += n;
    }
    buf_addc(b, '"');
}

char *buf_take(struct buf *b)
{
    char *p = b->ptr ? b->ptr : xstrdup("");

    b->ptr = NULL;
    b->len = b->cap = 0;
    return p;
}

const char *buf_str(const struct buf *b)
{
    return b->ptr ? b->ptr : "";
}

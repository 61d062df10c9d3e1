/* SPDX-License-Identifier: Apache-2.0 */
/* html.c - text into HTML, so that only literals of ours are markup
 *
 * Names, values and log lines on a report come from pipelines, tasks and data: anybody.
 * Therefore no function here takes markup and values in one string. HTML() fills values
 * into a literal and escapes each, whatever it is; the five characters escaped make
 * text safe as content and inside quoted attributes alike.
 */
#include "report/html.h"

#include <stdarg.h>

#include "base/err.h"

#define REPLACEMENT "\xef\xbf\xbd"

static const char *entity(unsigned char c)
{
    switch (c) {
    case '&':
        return "&amp;";
    case '<':
        return "&lt;";
    case '>':
        return "&gt;";
    case '"':
        return "&quot;";
    case '\'':
        return "&#39;";
    case '\n':
        return "\n";
    case '\t':
        return "\t";
    default:
        return c < 0x20 || c == 0x7f ? REPLACEMENT : NULL;
    }
}

void html_text(struct buf *b, struct str s)
{
    size_t from = 0, i = 0;

    while (i < s.len) {
        size_t n = str_utf8_len((struct str){s.ptr + i, s.len - i});
        const char *instead = n == 1 ? entity((unsigned char)s.ptr[i]) : NULL;
        if (!n) {
            instead = REPLACEMENT;
            n = 1;
        }
        if (instead) {
            buf_add(b, s.ptr + from, i - from);
            buf_adds(b, instead);
            from = i + n;
        }
        i += n;
    }
    buf_add(b, s.ptr + from, s.len - from);
}

void html_fill(struct buf *b, const char *fmt, const struct str *values, size_t n)
{
    size_t used = 0;

    for (;;) {
        size_t plain = strcspn(fmt, "$");
        buf_add(b, fmt, plain);
        if (!fmt[plain])
            break;
        must(used < n);
        html_text(b, values[used++]);
        fmt += plain + 1;
    }
    must(used == n);
}

struct str fmt_in(struct arena *a, const char *fmt, ...)
{
    struct buf b = {0};
    va_list ap;
    struct str s;

    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    s = arena_str(a, (struct str){buf_str(&b), b.len});
    buf_done(&b);
    return s;
}

size_t text_width(struct str s)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; n++) {
        size_t len = str_utf8_len((struct str){s.ptr + i, s.len - i});
        i += len ? len : 1;
    }
    return n;
}

struct str text_cut_in(struct arena *a, struct str s, size_t chars)
{
    size_t at = 0;

    if (text_width(s) <= chars)
        return s;
    for (size_t n = 0; n + 1 < chars; n++) {
        size_t len = str_utf8_len((struct str){s.ptr + at, s.len - at});
        at += len ? len : 1;
    }
    return fmt_in(a, "%.*s\u2026", (int)at, s.ptr);
}

struct str shell_word_in(struct arena *a, struct str s)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
                                "0123456789@%+=:,./_-";
    struct buf b = {0};
    struct str word;
    size_t i = 0;

    while (i < s.len && s.ptr[i] && strchr(plain, s.ptr[i]))
        i++;
    if (i == s.len && s.len)
        return s;
    buf_addc(&b, '\'');
    for (i = 0; i < s.len; i++) {
        if (s.ptr[i] == '\'')
            buf_adds(&b, "'\\''");
        else
            buf_addc(&b, s.ptr[i]);
    }
    buf_addc(&b, '\'');
    word = arena_str(a, (struct str){buf_str(&b), b.len});
    buf_done(&b);
    return word;
}

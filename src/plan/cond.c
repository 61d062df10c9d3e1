/* SPDX-License-Identifier: Apache-2.0 */
/* cond.c - a recursive descent over the text that evaluates as it reads
 *
 * Two kinds of failure are kept apart. A malformed text ends everything at once (-1).
 * What has no value is carried along as a bad operand (condval.h). cond_check() is the
 * same walk with no names at all: every operand may be bad then, and only the form
 * counts.
 */
#include "plan/cond.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "plan/condval.h"
#include "spec/utf8.h"

#define DEPTH_MAX 100 /* brackets and signs inside each other */

struct cond {
    struct arena *a;
    struct str text;
    size_t at;
    unsigned depth;
    cond_name_fn *name;
    void *ctx;
};

/* ---- letters ------------------------------------------------------------------- */

static int syntax(const struct cond *c, size_t at, const char *want, struct err *e)
{
    if (at >= c->text.len)
        return err_set(e, ERR_INPUT, "column %zu: the expression ends, want %s", at + 1,
                       want);
    return err_set(e, ERR_INPUT, "column %zu: want %s at \"%.20s\"", at + 1, want,
                   arena_strndup(c->a, c->text.ptr + at, c->text.len - at));
}

static void skip_blanks(struct cond *c)
{
    while (c->at < c->text.len && memchr(" \t\r\n", c->text.ptr[c->at], 4))
        c->at++;
}

static char peek(struct cond *c)
{
    skip_blanks(c);
    return c->at < c->text.len ? c->text.ptr[c->at] : 0;
}

static bool is_name_char(char ch)
{
    return (ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z') || ch == '_' ||
           (ch >= '0' && ch <= '9');
}

static bool is_digit(char ch)
{
    return ch >= '0' && ch <= '9';
}

/* takes `word` when it is next, and not as the beginning of a longer name */
static bool take(struct cond *c, const char *word)
{
    size_t n = strlen(word);

    skip_blanks(c);
    if (c->text.len - c->at < n || memcmp(c->text.ptr + c->at, word, n) != 0)
        return false;
    if (is_name_char(word[0]) && c->at + n < c->text.len &&
        is_name_char(c->text.ptr[c->at + n]))
        return false;
    c->at += n;
    return true;
}

static struct str take_name(struct cond *c)
{
    size_t from;

    skip_blanks(c);
    from = c->at;
    while (c->at < c->text.len && is_name_char(c->text.ptr[c->at]) &&
           (c->at > from || !is_digit(c->text.ptr[c->at])))
        c->at++;
    return (struct str){c->text.ptr + from, c->at - from};
}

/* ---- literals ------------------------------------------------------------------ */

static int take_number(struct cond *c, struct operand *out, struct err *e)
{
    size_t from = c->at;
    char digits[64];
    char *end;
    size_t n =
        c->text.len - from < sizeof digits - 1 ? c->text.len - from : sizeof digits - 1;

    memcpy(digits, c->text.ptr + from, n);
    digits[n] = 0;
    *out = cond_number(strtod(digits, &end));
    c->at += (size_t)(end - digits);
    if (c->at < c->text.len && c->text.ptr[c->at] == 'u') /* CEL's unsigned integers */
        c->at++;
    if (c->at == from || (c->at < c->text.len && is_name_char(c->text.ptr[c->at])))
        return syntax(c, from, "a number", e);
    return 0;
}

static int hex_digits(struct cond *c, unsigned n, unsigned *code, struct err *e)
{
    *code = 0;
    for (unsigned i = 0; i < n; i++, c->at++) {
        static const char digits[] = "0123456789abcdef";
        char ch = c->at < c->text.len ? c->text.ptr[c->at] : 0;
        const char *d = ch ? strchr(digits, ch | 0x20) : NULL;

        if (!d)
            return syntax(c, c->at, "a hexadecimal digit", e);
        *code = *code * 16 + (unsigned)(d - digits);
    }
    return 0;
}

/* after the backslash */
static int take_escape(struct cond *c, struct buf *out, struct err *e)
{
    static const char names[] = "abfnrtv\\'\"`?", bytes[] = "\a\b\f\n\r\t\v\\'\"`?";
    size_t at = c->at - 1;
    char ch = c->at < c->text.len ? c->text.ptr[c->at++] : 0;
    const char *known = ch ? strchr(names, ch) : NULL;
    unsigned code = 0;
    char utf8[4];

    if (known) {
        buf_addc(out, bytes[known - names]);
        return 0;
    }
    if (ch == 'x' || ch == 'X' || ch == 'u' || ch == 'U') {
        if (hex_digits(c, ch == 'u' ? 4 : ch == 'U' ? 8 : 2, &code, e) < 0)
            return -1;
    } else {
        return syntax(c, at, "an escape such as \\n, \\' or \\u0041", e);
    }
    if (code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
        return syntax(c, at, "a Unicode character", e);
    buf_add(out, utf8, utf8_put(code, utf8));
    return 0;
}

static int take_string(struct cond *c, struct operand *out, struct err *e)
{
    AUTO_BUF struct buf b = {0};
    size_t from = c->at;
    char quote = c->text.ptr[c->at++];

    buf_init(&b, 0);
    for (;;) {
        char ch;
        if (c->at == c->text.len)
            return err_set(e, ERR_INPUT, "column %zu: the text has no closing %c",
                           from + 1, quote);
        ch = c->text.ptr[c->at++];
        if (ch == quote)
            break;
        if (ch != '\\')
            buf_addc(&b, ch);
        else if (take_escape(c, &b, e) < 0)
            return -1;
    }
    *out = cond_good(value_string_in(c->a, (struct str){buf_str(&b), b.len}));
    return 0;
}

/* ---- the grammar --------------------------------------------------------------- */

static int read_or(struct cond *c, struct operand *out, struct err *e);

static int deeper(struct cond *c, struct err *e)
{
    if (++c->depth > DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "column %zu: nested deeper than %d", c->at + 1,
                       DEPTH_MAX);
    return 0;
}

/* [a, b] and the arguments of a method */
static int read_items(struct cond *c, const char *closing, struct operand **items,
                      size_t *n, struct err *e)
{
    *items = NULL;
    *n = 0;
    if (take(c, closing))
        return 0;
    do {
        struct operand one;
        if (read_or(c, &one, e) < 0)
            return -1;
        *items = arena_grow(c->a, *items, n, sizeof(**items));
        (*items)[*n - 1] = one;
    } while (take(c, ","));
    return take(c, closing) ? 0 : syntax(c, c->at, closing[0] == ']' ? "]" : ")", e);
}

static int read_list(struct cond *c, struct operand *out, struct err *e)
{
    struct operand *items;
    size_t n;

    if (read_items(c, "]", &items, &n, e) < 0)
        return -1;
    *out = cond_good((struct value){.kind = VALUE_LIST, .n_items = n});
    out->v.items = arena_alloc(c->a, (n + 1) * sizeof(*out->v.items));
    for (size_t i = 0; i < n; i++) {
        if (items[i].bad) {
            *out = items[i];
            return 0;
        }
        out->v.items[i] = items[i].v;
    }
    return 0;
}

static int read_named(struct cond *c, struct operand *out, struct err *e)
{
    size_t at = c->at;
    struct str name = take_name(c);
    const struct value *v;

    if (str_eqz(name, "true") || str_eqz(name, "false")) {
        *out = cond_bool(name.len == 4);
        return 0;
    }
    if (str_eqz(name, "null")) {
        *out = cond_good((struct value){.kind = VALUE_NULL});
        return 0;
    }
    if (take(c, "(")) {
        struct operand arg;
        if (read_or(c, &arg, e) < 0)
            return -1;
        if (!take(c, ")"))
            return syntax(c, c->at, ")", e);
        return cond_call(c->a, at, name, &arg, out, e);
    }
    v = c->name ? c->name(c->ctx, name) : NULL;
    *out = v ? cond_good(*v)
             : cond_bad(c->a, at, "there is no \"%.40s\"",
                        arena_strndup(c->a, name.ptr, name.len));
    return 0;
}

static int read_primary(struct cond *c, struct operand *out, struct err *e)
{
    char ch = peek(c);
    int rc;

    if (ch == '\'' || ch == '"')
        return take_string(c, out, e);
    if (is_digit(ch) ||
        (ch == '.' && c->at + 1 < c->text.len && is_digit(c->text.ptr[c->at + 1])))
        return take_number(c, out, e);
    if (is_name_char(ch))
        return read_named(c, out, e);
    if (ch != '(' && ch != '[')
        return syntax(c, c->at, "a value", e);
    c->at++;
    if (ch == '[')
        return read_list(c, out, e);
    rc = read_or(c, out, e);
    if (rc == 0 && !take(c, ")"))
        return syntax(c, c->at, ")", e);
    return rc;
}

static int read_method(struct cond *c, size_t at, struct str name, struct operand *io,
                       struct err *e)
{
    struct operand of = *io, *args;
    size_t n;

    if (read_items(c, ")", &args, &n, e) < 0)
        return -1;
    if (n > 1)
        return err_set(e, ERR_INPUT, "column %zu: a method has at most one argument",
                       at + 1);
    return cond_method(c->a, at, name, &of, n ? &args[0] : NULL, io, e);
}

static int read_member(struct cond *c, struct operand *out, struct err *e)
{
    if (read_primary(c, out, e) < 0)
        return -1;
    for (;;) {
        size_t at;

        skip_blanks(c);
        at = c->at;
        if (take(c, ".")) {
            struct str name = take_name(c);
            if (!name.len)
                return syntax(c, c->at, "a name", e);
            if (!take(c, "("))
                *out = cond_member(c->a, at, out, name);
            else if (read_method(c, at, name, out, e) < 0)
                return -1;
        } else if (take(c, "[")) {
            struct operand index, of = *out;
            if (read_or(c, &index, e) < 0)
                return -1;
            if (!take(c, "]"))
                return syntax(c, c->at, "]", e);
            *out = cond_element(c->a, at, &of, &index);
        } else {
            return 0;
        }
    }
}

static int read_unary(struct cond *c, struct operand *out, struct err *e)
{
    char ch = peek(c);
    size_t at = c->at;
    struct operand operand;
    int rc;

    if (deeper(c, e) < 0)
        return -1;
    if ((ch != '!' && ch != '-') ||
        (ch == '!' && c->at + 1 < c->text.len && c->text.ptr[c->at + 1] == '=')) {
        rc = read_member(c, out, e);
        c->depth--;
        return rc;
    }
    c->at++;
    rc = read_unary(c, out, e);
    c->depth--;
    if (rc < 0)
        return -1;
    operand = *out;
    *out = ch == '!' ? cond_not(c->a, at, &operand) : cond_minus(c->a, at, &operand);
    return 0;
}

static int read_rel(struct cond *c, struct operand *out, struct err *e)
{
    if (read_unary(c, out, e) < 0)
        return -1;
    for (;;) {
        struct operand right, left = *out;
        size_t at;
        int rel = 0;

        skip_blanks(c);
        at = c->at;
        while (rel < RELS && !take(c, rel_words[rel]))
            rel++;
        if (rel == RELS)
            return 0;
        if (read_unary(c, &right, e) < 0)
            return -1;
        *out = cond_compare(c->a, at, (enum rel)rel, &left, &right);
    }
}

static int read_and(struct cond *c, struct operand *out, struct err *e)
{
    if (read_rel(c, out, e) < 0)
        return -1;
    for (size_t at = c->at; take(c, "&&"); at = c->at) {
        struct operand right, left = *out;
        if (read_rel(c, &right, e) < 0)
            return -1;
        *out = cond_connect(c->a, at, false, &left, &right);
    }
    return 0;
}

static int read_or(struct cond *c, struct operand *out, struct err *e)
{
    if (deeper(c, e) < 0 || read_and(c, out, e) < 0)
        return -1;
    for (size_t at = c->at; take(c, "||"); at = c->at) {
        struct operand right, left = *out;
        if (read_and(c, &right, e) < 0)
            return -1;
        *out = cond_connect(c->a, at, true, &left, &right);
    }
    c->depth--;
    return 0;
}

static int read_whole(struct cond *c, struct operand *out, struct err *e)
{
    if (read_or(c, out, e) < 0)
        return -1;
    if (peek(c))
        return syntax(c, c->at, "an operator or the end", e);
    if (c->at < c->text.len)
        return syntax(c, c->at, "no NUL character", e);
    return 0;
}

int cond_check(struct str text, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct cond c = {.a = &a, .text = text};
    struct operand unused;

    return read_whole(&c, &unused, e);
}

int cond_eval_in(struct arena *a, struct str text, cond_name_fn *name, void *ctx,
                 struct value *out, struct err *e)
{
    struct cond c = {.a = a, .text = text, .name = name, .ctx = ctx};
    struct operand result;

    if (read_whole(&c, &result, e) < 0)
        return -1;
    if (result.bad)
        return err_set(e, ERR_INPUT, "%s", result.bad);
    *out = result.v;
    return 0;
}

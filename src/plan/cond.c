/* SPDX-License-Identifier: Apache-2.0 */
/* cond.c - a recursive descent over the text that evaluates as it reads
 *
 * Two kinds of failure are kept apart. A malformed text ends everything at once (-1). An operand
 * without a value (no such key, a text ordered against a number) is `bad` and travels upwards,
 * because && and || of CEL are commutative: false && bad is false on either side. What is bad at
 * the top is the error of the whole. cond_check() is the same walk with no names at all: every
 * operand may be bad then, and only the form counts.
 *
 * Numbers are doubles, as parameters are: 1 == 1.0, and int() cuts towards zero. Values of
 * different kinds are unequal and have no order.
 */
#include "plan/cond.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"
#include "spec/utf8.h"

#define DEPTH_MAX 100 /* brackets and signs inside each other */

struct operand {
    struct value v;
    const char *bad; /* why there is no value; NULL: there is */
};

struct cond {
    struct arena *a;
    struct str text;
    size_t at;
    unsigned depth;
    cond_name_fn *name;
    void *ctx;
};

/* ---- letters ------------------------------------------------------------------------ */

static int syntax(const struct cond *c, size_t at, const char *want, struct err *e)
{
    if (at >= c->text.len)
        return err_set(e, ERR_INPUT, "column %zu: the expression ends, want %s", at + 1, want);
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
    if (is_name_char(word[0]) && c->at + n < c->text.len && is_name_char(c->text.ptr[c->at + n]))
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

/* ---- operands ------------------------------------------------------------------------- */

static struct operand good(struct value v)
{
    return (struct operand){.v = v};
}

static struct operand of_bool(bool b)
{
    return good((struct value){.kind = VALUE_BOOL, .b = b});
}

static struct operand of_number(double n)
{
    return good((struct value){.kind = VALUE_NUMBER, .n = n});
}

__attribute__((format(printf, 3, 4))) static struct operand bad(struct cond *c, size_t at,
                                                                const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    buf_init(&b, 300);
    buf_addf(&b, "column %zu: ", at + 1);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    return (struct operand){.bad = arena_strdup(c->a, buf_str(&b))};
}

static const char *shown(struct cond *c, const struct value *v)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 60); /* what is longer stays out as a whole */
    value_to_json(&b, v);
    return b.overflow ? value_kind_name(v->kind) : arena_strdup(c->a, buf_str(&b));
}

/* ---- literals ----------------------------------------------------------------------------- */

static int take_number(struct cond *c, struct operand *out, struct err *e)
{
    size_t from = c->at;
    char digits[64];
    char *end;
    size_t n = c->text.len - from < sizeof digits - 1 ? c->text.len - from : sizeof digits - 1;

    memcpy(digits, c->text.ptr + from, n);
    digits[n] = 0;
    *out = of_number(strtod(digits, &end));
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
            return err_set(e, ERR_INPUT, "column %zu: the text has no closing %c", from + 1,
                           quote);
        ch = c->text.ptr[c->at++];
        if (ch == quote)
            break;
        if (ch != '\\')
            buf_addc(&b, ch);
        else if (take_escape(c, &b, e) < 0)
            return -1;
    }
    *out = good(value_string_in(c->a, (struct str){buf_str(&b), b.len}));
    return 0;
}

/* ---- functions ------------------------------------------------------------------------------ */

static struct operand to_number(struct cond *c, size_t at, const struct value *v, bool whole)
{
    const char *name = whole ? "int" : "double";
    double n = v->n;
    char *end;

    if (v->kind == VALUE_STRING) {
        n = strtod(v->s.ptr, &end);
        if (!v->s.len || end != v->s.ptr + v->s.len || memchr(" \t\n\r\f\v", v->s.ptr[0], 6) ||
            (whole && v->s.len != strspn(v->s.ptr, "+-0123456789")))
            return bad(c, at, "%s(%s): the text is no number", name, shown(c, v));
    } else if (v->kind != VALUE_NUMBER) {
        return bad(c, at, "%s(%s): want a number or a text", name, shown(c, v));
    }
    if (whole && !(fabs(n) < 9.3e18))
        return bad(c, at, "int(%s): out of range", shown(c, v));
    return of_number(whole ? trunc(n) : n);
}

static struct operand size_of(struct cond *c, size_t at, const struct value *v)
{
    size_t n = 0;

    if (v->kind == VALUE_LIST || v->kind == VALUE_STRUCT)
        return of_number((double)v->n_items);
    if (v->kind != VALUE_STRING)
        return bad(c, at, "size(%s): want a text, a list or a struct", shown(c, v));
    for (size_t i = 0; i < v->s.len; i++)
        n += ((unsigned char)v->s.ptr[i] & 0xc0) != 0x80; /* code points */
    return of_number((double)n);
}

static struct operand to_bool(struct cond *c, size_t at, const struct value *v)
{
    if (v->kind == VALUE_BOOL)
        return good(*v);
    if (v->kind == VALUE_STRING && (str_eqz(v->s, "true") || str_eqz(v->s, "false")))
        return of_bool(v->s.len == 4);
    return bad(c, at, "bool(%s): want true or false", shown(c, v));
}

static struct operand parse_json(struct cond *c, size_t at, const struct value *v)
{
    struct value parsed;
    struct err why;

    if (v->kind != VALUE_STRING)
        return bad(c, at, "parseJson(%s): want a text", shown(c, v));
    if (value_parse_in(c->a, v->s, &parsed, &why) < 0)
        return bad(c, at, "parseJson: %.200s", why.text);
    return good(parsed);
}

static struct operand to_string(struct cond *c, const struct value *v)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 0);
    value_text(&b, v);
    return good(value_string_in(c->a, (struct str){buf_str(&b), b.len}));
}

static int call(struct cond *c, size_t at, struct str name, const struct operand *arg,
                struct operand *out, struct err *e)
{
    enum { INT, DOUBLE, STRING, BOOL, SIZE, PARSE_JSON, N };
    static const char *const names[N] = {"int", "double", "string", "bool", "size", "parseJson"};
    int f = 0;

    while (f < N && !str_eqz(name, names[f]))
        f++;
    if (f == N)
        return err_set(e, ERR_INPUT,
                       "column %zu: there is no function \"%.40s\" (int, double, string, bool, "
                       "size, parseJson)",
                       at + 1, arena_strndup(c->a, name.ptr, name.len));
    if (arg->bad)
        *out = *arg;
    else if (f == INT || f == DOUBLE)
        *out = to_number(c, at, &arg->v, f == INT);
    else if (f == STRING)
        *out = to_string(c, &arg->v);
    else if (f == BOOL)
        *out = to_bool(c, at, &arg->v);
    else if (f == SIZE)
        *out = size_of(c, at, &arg->v);
    else
        *out = parse_json(c, at, &arg->v);
    return 0;
}

static bool text_contains(struct str s, struct str part)
{
    return !part.len || memmem(s.ptr, s.len, part.ptr, part.len);
}

static bool text_starts(struct str s, struct str part)
{
    return s.len >= part.len && memcmp(s.ptr, part.ptr, part.len) == 0;
}

static bool text_ends(struct str s, struct str part)
{
    return s.len >= part.len && memcmp(s.ptr + s.len - part.len, part.ptr, part.len) == 0;
}

static int call_method(struct cond *c, size_t at, struct str name, const struct operand *of,
                       const struct operand *arg, struct operand *out, struct err *e)
{
    static const struct {
        const char *name;
        bool (*test)(struct str s, struct str part);
    } tests[] = {
        {"contains", text_contains}, {"startsWith", text_starts}, {"endsWith", text_ends}};

    if (str_eqz(name, "size") && !arg) {
        *out = of->bad ? *of : size_of(c, at, &of->v);
        return 0;
    }
    for (size_t i = 0; i < N_ELEMS(tests) && arg; i++) {
        if (!str_eqz(name, tests[i].name))
            continue;
        if (of->bad || arg->bad)
            *out = of->bad ? *of : *arg;
        else if (of->v.kind != VALUE_STRING || arg->v.kind != VALUE_STRING)
            *out = bad(c, at, "%s: want two texts", tests[i].name);
        else
            *out = of_bool(tests[i].test(of->v.s, arg->v.s));
        return 0;
    }
    return err_set(e, ERR_INPUT,
                   "column %zu: there is no method \"%.40s\" with this number of arguments "
                   "(size(), contains(x), startsWith(x), endsWith(x))",
                   at + 1, arena_strndup(c->a, name.ptr, name.len));
}

/* ---- the grammar ------------------------------------------------------------------------------ */

static int read_or(struct cond *c, struct operand *out, struct err *e);

static int deeper(struct cond *c, struct err *e)
{
    if (++c->depth > DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "column %zu: nested deeper than %d", c->at + 1, DEPTH_MAX);
    return 0;
}

/* [a, b] and the arguments of a method */
static int read_items(struct cond *c, const char *closing, struct operand **items, size_t *n,
                      struct err *e)
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
    *out = good((struct value){.kind = VALUE_LIST, .n_items = n});
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
        *out = of_bool(name.len == 4);
        return 0;
    }
    if (str_eqz(name, "null")) {
        *out = good((struct value){.kind = VALUE_NULL});
        return 0;
    }
    if (take(c, "(")) {
        struct operand arg;
        if (read_or(c, &arg, e) < 0)
            return -1;
        if (!take(c, ")"))
            return syntax(c, c->at, ")", e);
        return call(c, at, name, &arg, out, e);
    }
    v = c->name ? c->name(c->ctx, name) : NULL;
    *out = v ? good(*v)
             : bad(c, at, "there is no \"%.40s\"", arena_strndup(c->a, name.ptr, name.len));
    return 0;
}

static int read_primary(struct cond *c, struct operand *out, struct err *e)
{
    char ch = peek(c);
    int rc;

    if (ch == '\'' || ch == '"')
        return take_string(c, out, e);
    if (is_digit(ch) || (ch == '.' && c->at + 1 < c->text.len && is_digit(c->text.ptr[c->at + 1])))
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

static struct operand member(struct cond *c, size_t at, const struct operand *of, struct str key)
{
    const struct value *v;

    if (of->bad)
        return *of;
    if (of->v.kind != VALUE_STRUCT)
        return bad(c, at, "%s has no members", shown(c, &of->v));
    v = value_member(&of->v, key);
    if (!v)
        return bad(c, at, "there is no \"%.100s\"", arena_strndup(c->a, key.ptr, key.len));
    return good(*v);
}

static struct operand element(struct cond *c, size_t at, const struct operand *of,
                              const struct operand *index)
{
    double n = index->v.n;

    if (of->bad || index->bad)
        return of->bad ? *of : *index;
    if (index->v.kind == VALUE_STRING)
        return member(c, at, of, index->v.s);
    if (of->v.kind != VALUE_LIST || index->v.kind != VALUE_NUMBER)
        return bad(c, at, "%s cannot be indexed by %s", value_kind_name(of->v.kind),
                   shown(c, &index->v));
    if (n != trunc(n) || n < 0 || n >= (double)of->v.n_items)
        return bad(c, at, "index %s of a list of %zu", shown(c, &index->v), of->v.n_items);
    return good(of->v.items[(size_t)n]);
}

static int read_method(struct cond *c, size_t at, struct str name, struct operand *io,
                       struct err *e)
{
    struct operand of = *io, *args;
    size_t n;

    if (read_items(c, ")", &args, &n, e) < 0)
        return -1;
    if (n > 1)
        return err_set(e, ERR_INPUT, "column %zu: a method has at most one argument", at + 1);
    return call_method(c, at, name, &of, n ? &args[0] : NULL, io, e);
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
                *out = member(c, at, out, name);
            else if (read_method(c, at, name, out, e) < 0)
                return -1;
        } else if (take(c, "[")) {
            struct operand index, of = *out;
            if (read_or(c, &index, e) < 0)
                return -1;
            if (!take(c, "]"))
                return syntax(c, c->at, "]", e);
            *out = element(c, at, &of, &index);
        } else {
            return 0;
        }
    }
}

static int read_unary(struct cond *c, struct operand *out, struct err *e)
{
    char ch = peek(c);
    size_t at = c->at;
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
    if (rc < 0 || out->bad)
        return rc;
    if (ch == '!')
        *out = out->v.kind == VALUE_BOOL ? of_bool(!out->v.b)
                                         : bad(c, at, "!%s: want a bool", shown(c, &out->v));
    else
        *out = out->v.kind == VALUE_NUMBER
                   ? of_number(-out->v.n)
                   : bad(c, at, "-%s: want a number", shown(c, &out->v));
    return 0;
}

/* <0, 0, >0; false when the two have no order */
static bool order_of(const struct value *a, const struct value *b, int *order)
{
    size_t n = a->s.len < b->s.len ? a->s.len : b->s.len;

    if (a->kind != b->kind)
        return false;
    if (a->kind == VALUE_NUMBER) {
        *order = (a->n > b->n) - (a->n < b->n);
        return a->n == a->n && b->n == b->n; /* not for NaN */
    }
    if (a->kind == VALUE_BOOL) {
        *order = a->b - b->b;
        return true;
    }
    if (a->kind != VALUE_STRING)
        return false;
    *order = memcmp(a->s.ptr, b->s.ptr, n); /* bytes of UTF-8 sort as code points do */
    if (!*order)
        *order = (a->s.len > b->s.len) - (a->s.len < b->s.len);
    return true;
}

enum rel { REL_EQ, REL_NE, REL_LE, REL_GE, REL_LT, REL_GT, REL_IN, RELS };
static const char *const rel_words[RELS] = {"==", "!=", "<=", ">=", "<", ">", "in"};

static struct operand is_in(struct cond *c, size_t at, const struct value *a,
                            const struct value *b)
{
    if (b->kind == VALUE_STRUCT && a->kind == VALUE_STRING)
        return of_bool(value_member(b, a->s) != NULL);
    if (b->kind != VALUE_LIST)
        return bad(c, at, "in: want a list, got %s", shown(c, b));
    for (size_t i = 0; i < b->n_items; i++)
        if (value_equal(a, &b->items[i]))
            return of_bool(true);
    return of_bool(false);
}

static struct operand compare(struct cond *c, size_t at, enum rel rel, const struct operand *a,
                              const struct operand *b)
{
    int order;

    if (a->bad || b->bad)
        return a->bad ? *a : *b;
    if (rel == REL_IN)
        return is_in(c, at, &a->v, &b->v);
    if (rel == REL_EQ || rel == REL_NE)
        return of_bool(value_equal(&a->v, &b->v) == (rel == REL_EQ));
    if (!order_of(&a->v, &b->v, &order))
        return bad(c, at, "%s %s %s: the two have no order", shown(c, &a->v), rel_words[rel],
                   shown(c, &b->v));
    return of_bool(rel == REL_LE   ? order <= 0
                   : rel == REL_GE ? order >= 0
                   : rel == REL_LT ? order < 0
                                   : order > 0);
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
        *out = compare(c, at, (enum rel)rel, &left, &right);
    }
}

/* a && b with deciding = false, a || b with deciding = true: the deciding value wins over
 * whatever the other side is */
static struct operand connect(struct cond *c, size_t at, bool deciding, const struct operand *a,
                              const struct operand *b)
{
    const struct operand *both[] = {a, b};

    for (size_t i = 0; i < 2; i++)
        if (!both[i]->bad && both[i]->v.kind == VALUE_BOOL && both[i]->v.b == deciding)
            return of_bool(deciding);
    for (size_t i = 0; i < 2; i++) {
        if (both[i]->bad)
            return *both[i];
        if (both[i]->v.kind != VALUE_BOOL)
            return bad(c, at, "%s %s: want a bool", deciding ? "||" : "&&",
                       shown(c, &both[i]->v));
    }
    return of_bool(!deciding);
}

static int read_and(struct cond *c, struct operand *out, struct err *e)
{
    if (read_rel(c, out, e) < 0)
        return -1;
    for (size_t at = c->at; take(c, "&&"); at = c->at) {
        struct operand right, left = *out;
        if (read_rel(c, &right, e) < 0)
            return -1;
        *out = connect(c, at, false, &left, &right);
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
        *out = connect(c, at, true, &left, &right);
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

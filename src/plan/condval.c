/* SPDX-License-Identifier: Apache-2.0 */
/* condval.c - what the operators and functions of an expression make of their operands
 *
 * An operand without a value (no such key, a text ordered against a number) is `bad`
 * and travels upwards, because && and || of CEL are commutative: false && bad is false
 * on either side. What is bad at the top is the error of the whole.
 *
 * Numbers are doubles, as parameters are: 1 == 1.0, and int() cuts towards zero. Values
 * of different kinds are unequal and have no order.
 */
#include "plan/condval.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

/* ---- operands ------------------------------------------------------------------ */

struct operand cond_bad(struct arena *mem, size_t at, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    buf_init(&b, 300);
    buf_addf(&b, "column %zu: ", at + 1);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    return (struct operand){.bad = arena_strdup(mem, buf_str(&b))};
}

static const char *shown(struct arena *mem, const struct value *v)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 60); /* what is longer stays out as a whole */
    value_to_json(&b, v);
    return b.overflow ? value_kind_name(v->kind) : arena_strdup(mem, buf_str(&b));
}

/* ---- functions ----------------------------------------------------------------- */

static struct operand to_number(struct arena *mem, size_t at, const struct value *v,
                                bool whole)
{
    const char *name = whole ? "int" : "double";
    double n = v->n;
    char *end;

    if (v->kind == VALUE_STRING) {
        n = strtod(v->s.ptr, &end);
        if (!v->s.len || end != v->s.ptr + v->s.len ||
            memchr(" \t\n\r\f\v", v->s.ptr[0], 6) ||
            (whole && v->s.len != strspn(v->s.ptr, "+-0123456789")))
            return cond_bad(mem, at, "%s(%s): the text is no number", name,
                            shown(mem, v));
    } else if (v->kind != VALUE_NUMBER) {
        return cond_bad(mem, at, "%s(%s): want a number or a text", name,
                        shown(mem, v));
    }
    if (whole && !(fabs(n) < 9.3e18))
        return cond_bad(mem, at, "int(%s): out of range", shown(mem, v));
    return cond_number(whole ? trunc(n) : n);
}

static struct operand size_of(struct arena *mem, size_t at, const struct value *v)
{
    size_t n = 0;

    if (v->kind == VALUE_LIST || v->kind == VALUE_STRUCT)
        return cond_number((double)v->n_items);
    if (v->kind != VALUE_STRING)
        return cond_bad(mem, at, "size(%s): want a text, a list or a struct",
                        shown(mem, v));
    for (size_t i = 0; i < v->s.len; i++)
        n += ((unsigned char)v->s.ptr[i] & 0xc0) != 0x80; /* code points */
    return cond_number((double)n);
}

static struct operand to_bool(struct arena *mem, size_t at, const struct value *v)
{
    if (v->kind == VALUE_BOOL)
        return cond_good(*v);
    if (v->kind == VALUE_STRING && (str_eqz(v->s, "true") || str_eqz(v->s, "false")))
        return cond_bool(v->s.len == 4);
    return cond_bad(mem, at, "bool(%s): want true or false", shown(mem, v));
}

static struct operand parse_json(struct arena *mem, size_t at, const struct value *v)
{
    struct value parsed;
    struct err why;

    if (v->kind != VALUE_STRING)
        return cond_bad(mem, at, "parseJson(%s): want a text", shown(mem, v));
    if (value_parse_in(mem, v->s, &parsed, &why) < 0)
        return cond_bad(mem, at, "parseJson: %.200s", why.text);
    return cond_good(parsed);
}

static struct operand to_string(struct arena *mem, const struct value *v)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 0);
    value_text(&b, v);
    return cond_good(value_string_in(mem, (struct str){buf_str(&b), b.len}));
}

int cond_call(struct arena *mem, size_t at, struct str name, const struct operand *arg,
              struct operand *out, struct err *e)
{
    enum { INT, DOUBLE, STRING, BOOL, SIZE, PARSE_JSON, N };
    static const char *const names[N] = {"int",  "double", "string",
                                         "bool", "size",   "parseJson"};
    int f = 0;

    while (f < N && !str_eqz(name, names[f]))
        f++;
    if (f == N)
        return err_set(
            e, ERR_INPUT,
            "column %zu: there is no function \"%.40s\" (int, double, string, bool, "
            "size, parseJson)",
            at + 1, arena_strndup(mem, name.ptr, name.len));
    if (arg->bad)
        *out = *arg;
    else if (f == INT || f == DOUBLE)
        *out = to_number(mem, at, &arg->v, f == INT);
    else if (f == STRING)
        *out = to_string(mem, &arg->v);
    else if (f == BOOL)
        *out = to_bool(mem, at, &arg->v);
    else if (f == SIZE)
        *out = size_of(mem, at, &arg->v);
    else
        *out = parse_json(mem, at, &arg->v);
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
    return s.len >= part.len &&
           memcmp(s.ptr + s.len - part.len, part.ptr, part.len) == 0;
}

int cond_method(struct arena *mem, size_t at, struct str name, const struct operand *of,
                const struct operand *arg, struct operand *out, struct err *e)
{
    static const struct {
        const char *name;
        bool (*test)(struct str s, struct str part);
    } tests[] = {{"contains", text_contains},
                 {"startsWith", text_starts},
                 {"endsWith", text_ends}};

    if (str_eqz(name, "size") && !arg) {
        *out = of->bad ? *of : size_of(mem, at, &of->v);
        return 0;
    }
    for (size_t i = 0; i < N_ELEMS(tests) && arg; i++) {
        if (!str_eqz(name, tests[i].name))
            continue;
        if (of->bad || arg->bad)
            *out = of->bad ? *of : *arg;
        else if (of->v.kind != VALUE_STRING || arg->v.kind != VALUE_STRING)
            *out = cond_bad(mem, at, "%s: want two texts", tests[i].name);
        else
            *out = cond_bool(tests[i].test(of->v.s, arg->v.s));
        return 0;
    }
    return err_set(
        e, ERR_INPUT,
        "column %zu: there is no method \"%.40s\" with this number of arguments "
        "(size(), contains(x), startsWith(x), endsWith(x))",
        at + 1, arena_strndup(mem, name.ptr, name.len));
}

/* ---- parts --------------------------------------------------------------------- */

struct operand cond_member(struct arena *mem, size_t at, const struct operand *of,
                           struct str key)
{
    const struct value *v;

    if (of->bad)
        return *of;
    if (of->v.kind != VALUE_STRUCT)
        return cond_bad(mem, at, "%s has no members", shown(mem, &of->v));
    v = value_member(&of->v, key);
    if (!v)
        return cond_bad(mem, at, "there is no \"%.100s\"",
                        arena_strndup(mem, key.ptr, key.len));
    return cond_good(*v);
}

struct operand cond_element(struct arena *mem, size_t at, const struct operand *of,
                            const struct operand *index)
{
    double n = index->v.n;

    if (of->bad || index->bad)
        return of->bad ? *of : *index;
    if (index->v.kind == VALUE_STRING)
        return cond_member(mem, at, of, index->v.s);
    if (of->v.kind != VALUE_LIST || index->v.kind != VALUE_NUMBER)
        return cond_bad(mem, at, "%s cannot be indexed by %s",
                        value_kind_name(of->v.kind), shown(mem, &index->v));
    if (n != trunc(n) || n < 0 || n >= (double)of->v.n_items)
        return cond_bad(mem, at, "index %s of a list of %zu", shown(mem, &index->v),
                        of->v.n_items);
    return cond_good(of->v.items[(size_t)n]);
}

/* ---- operators ----------------------------------------------------------------- */

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

const char *const rel_words[RELS] = {"==", "!=", "<=", ">=", "<", ">", "in"};

static struct operand is_in(struct arena *mem, size_t at, const struct value *a,
                            const struct value *b)
{
    if (b->kind == VALUE_STRUCT && a->kind == VALUE_STRING)
        return cond_bool(value_member(b, a->s) != NULL);
    if (b->kind != VALUE_LIST)
        return cond_bad(mem, at, "in: want a list, got %s", shown(mem, b));
    for (size_t i = 0; i < b->n_items; i++)
        if (value_equal(a, &b->items[i]))
            return cond_bool(true);
    return cond_bool(false);
}

struct operand cond_compare(struct arena *mem, size_t at, enum rel rel,
                            const struct operand *a, const struct operand *b)
{
    int order;

    if (a->bad || b->bad)
        return a->bad ? *a : *b;
    if (rel == REL_IN)
        return is_in(mem, at, &a->v, &b->v);
    if (rel == REL_EQ || rel == REL_NE)
        return cond_bool(value_equal(&a->v, &b->v) == (rel == REL_EQ));
    if (!order_of(&a->v, &b->v, &order))
        return cond_bad(mem, at, "%s %s %s: the two have no order", shown(mem, &a->v),
                        rel_words[rel], shown(mem, &b->v));
    return cond_bool(rel == REL_LE   ? order <= 0
                     : rel == REL_GE ? order >= 0
                     : rel == REL_LT ? order < 0
                                     : order > 0);
}

/* a && b with deciding = false, a || b with deciding = true: the deciding value wins
 * over whatever the other side is */
struct operand cond_connect(struct arena *mem, size_t at, bool deciding,
                            const struct operand *a, const struct operand *b)
{
    const struct operand *both[] = {a, b};

    for (size_t i = 0; i < 2; i++)
        if (!both[i]->bad && both[i]->v.kind == VALUE_BOOL && both[i]->v.b == deciding)
            return cond_bool(deciding);
    for (size_t i = 0; i < 2; i++) {
        if (both[i]->bad)
            return *both[i];
        if (both[i]->v.kind != VALUE_BOOL)
            return cond_bad(mem, at, "%s %s: want a bool", deciding ? "||" : "&&",
                            shown(mem, &both[i]->v));
    }
    return cond_bool(!deciding);
}

struct operand cond_not(struct arena *mem, size_t at, const struct operand *of)
{
    if (of->bad)
        return *of;
    return of->v.kind == VALUE_BOOL
               ? cond_bool(!of->v.b)
               : cond_bad(mem, at, "!%s: want a bool", shown(mem, &of->v));
}

struct operand cond_minus(struct arena *mem, size_t at, const struct operand *of)
{
    if (of->bad)
        return *of;
    return of->v.kind == VALUE_NUMBER
               ? cond_number(-of->v.n)
               : cond_bad(mem, at, "-%s: want a number", shown(mem, &of->v));
}

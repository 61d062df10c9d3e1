/* SPDX-License-Identifier: Apache-2.0 */
/* scalar.c - what a plain scalar is
 *
 * The compiler writes its files with PyYAML, which follows YAML 1.1 and quotes exactly
 * the strings that would otherwise read as something else. So its rules are the ones to
 * follow, its omissions too: 1e5 has no dot and is a string, y and n are strings, a
 * float needs a sign in its exponent. Two things are refused instead of guessed: 12:30
 * (PyYAML: 750, Go's YAML and people: text) and the infinities, which no JSON value can
 * hold. Dates are text.
 */
#include "spec/tree.h"

#include <math.h>
#include <stdio.h>

static bool one_of(struct str s, const char *const *words)
{
    for (; *words; words++) {
        if (str_eqz(s, *words))
            return true;
    }
    return false;
}

static const char *const nulls[] = {"", "~", "null", "Null", "NULL", NULL};
static const char *const trues[] = {"true", "True", "TRUE", "yes", "Yes",
                                    "YES",  "on",   "On",   "ON",  NULL};
static const char *const falses[] = {"false", "False", "FALSE", "no",  "No",
                                     "NO",    "off",   "Off",   "OFF", NULL};
static const char *const not_finite[] = {".inf", ".Inf", ".INF", ".nan",
                                         ".NaN", ".NAN", NULL};

/* how many characters from i on are in `set` */
static size_t span(struct str s, size_t i, const char *set)
{
    size_t n = 0;

    while (i + n < s.len && s.ptr[i + n] && strchr(set, s.ptr[i + n]))
        n++;
    return n;
}

#define DIGITS "0123456789"

static struct str without_sign(struct str s)
{
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        s.ptr++;
        s.len--;
    }
    return s;
}

/* 2, 8, 10 or 16; 0 when it is no integer */
static int int_base(struct str s)
{
    s = without_sign(s);
    if (s.len > 2 && s.ptr[0] == '0' && s.ptr[1] == 'b')
        return 2 + span(s, 2, "01_") == s.len ? 2 : 0;
    if (s.len > 2 && s.ptr[0] == '0' && s.ptr[1] == 'x')
        return 2 + span(s, 2, DIGITS "abcdefABCDEF_") == s.len ? 16 : 0;
    if (s.len > 1 && s.ptr[0] == '0')
        return span(s, 0, "01234567_") == s.len ? 8 : 0;
    if (s.len && span(s, 0, DIGITS) && span(s, 0, DIGITS "_") == s.len)
        return 10;
    return 0;
}

static bool is_float(struct str s)
{
    bool sign = without_sign(s).len != s.len;
    size_t i;

    s = without_sign(s);
    if (one_of(s, not_finite))
        return true;
    i = span(s, 0, DIGITS) ? span(s, 0, DIGITS "_") : 0;
    if (i == s.len || s.ptr[i] != '.')
        return false;
    if (!i && (sign || !span(s, 1, DIGITS))) /* .5 is a number, -.5 and . are not */
        return false;
    i++;
    i += span(s, i, DIGITS "_");
    if (i == s.len)
        return true;
    if (s.ptr[i] != 'e' && s.ptr[i] != 'E')
        return false;
    if (++i == s.len || (s.ptr[i] != '+' && s.ptr[i] != '-'))
        return false;
    i++;
    return i < s.len && i + span(s, i, DIGITS) == s.len;
}

/* 12:30 or 1:02:03.5 */
static bool is_base60(struct str s)
{
    size_t i, parts = 0;

    s = without_sign(s);
    i = span(s, 0, DIGITS) ? span(s, 0, DIGITS "_") : 0;
    while (i && i < s.len && s.ptr[i] == ':') {
        size_t digits = span(s, i + 1, DIGITS);

        if (!digits || digits > 2 || (digits == 2 && s.ptr[i + 1] > '5'))
            return false;
        i += 1 + digits;
        parts++;
    }
    if (!parts)
        return false;
    return i == s.len ||
           (s.ptr[i] == '.' && i + 1 + span(s, i + 1, DIGITS "_") == s.len);
}

enum value_kind node_type(const struct node *n)
{
    if (n->kind == NODE_MAP)
        return VALUE_STRUCT;
    if (n->kind == NODE_LIST)
        return VALUE_LIST;
    if (!n->plain)
        return VALUE_STRING;
    if (n->text.len && !strchr("~nNtTyYoOfF.+-0123456789", n->text.ptr[0]))
        return VALUE_STRING; /* nearly all are, and this is asked often */
    if (one_of(n->text, nulls))
        return VALUE_NULL;
    if (one_of(n->text, trues) || one_of(n->text, falses))
        return VALUE_BOOL;
    return int_base(n->text) || is_float(n->text) ? VALUE_NUMBER : VALUE_STRING;
}

bool node_bool(const struct node *n)
{
    return one_of(n->text, trues);
}

static double int_value(struct str s, int base)
{
    double v = 0;
    bool negative = s.ptr[0] == '-';

    s = without_sign(s);
    for (size_t i = base == 2 || base == 16 ? 2 : 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (c == '_')
            continue;
        v = v * base + (c <= '9' ? c - '0' : (c | 0x20) - 'a' + 10);
    }
    return negative ? -v : v;
}

double node_number(const struct node *n)
{
    int base = int_base(n->text);
    struct str s = without_sign(n->text);

    if (base && base != 10)
        return int_value(n->text, base);
    if (one_of(s, not_finite))
        return (s.ptr[1] | 0x20) == 'n' ? NAN
               : n->text.ptr[0] == '-'  ? -INFINITY
                                        : INFINITY;

    struct buf digits;
    double v;

    buf_init(&digits, 0);
    for (size_t i = 0; i < n->text.len; i++) {
        if (n->text.ptr[i] != '_')
            buf_addc(&digits, n->text.ptr[i]);
    }
    v = strtod(buf_str(&digits), NULL);
    buf_done(&digits);
    return v;
}

static int scalar_value(struct arena *a, struct str file, const struct node *n,
                        struct value *out, struct err *e)
{
    char path[200];

    out->kind = node_type(n);
    if (n->plain && out->kind == VALUE_STRING && is_base60(n->text)) {
        node_path(n, path);
        return pos_err(e, ERR_INPUT, file, n->pos,
                       "%s: YAML readers disagree whether %.40s is text or a number: "
                       "put it in quotes",
                       path, n->text.ptr);
    }
    if (out->kind == VALUE_STRING)
        *out = value_string_in(a, n->text);
    if (out->kind == VALUE_BOOL)
        out->b = node_bool(n);
    if (out->kind == VALUE_NUMBER) {
        out->n = node_number(n);
        if (!isfinite(out->n)) {
            node_path(n, path);
            return pos_err(e, ERR_INPUT, file, n->pos,
                           "%s: %.40s is no number that JSON can hold", path,
                           n->text.ptr);
        }
    }
    return 0;
}

static int value_at(struct arena *a, struct str file, const struct node *n,
                    unsigned depth, struct value *out, struct err *e)
{
    *out = (struct value){0};
    if (n->kind == NODE_SCALAR)
        return scalar_value(a, file, n, out, e);
    if (depth == VALUE_DEPTH_MAX)
        return pos_err(e, ERR_LIMIT, file, n->pos,
                       "a value nested more than %d levels deep", VALUE_DEPTH_MAX);

    out->kind = node_type(n);
    out->n_items = n->n;
    if (!n->n)
        return 0;
    out->items = arena_alloc(a, n->n * sizeof(*out->items));
    if (n->kind == NODE_MAP)
        out->keys = arena_alloc(a, n->n * sizeof(*out->keys));
    for (size_t i = 0; i < n->n; i++) {
        if (n->kind == NODE_MAP)
            out->keys[i] = arena_str(a, n->members[i].key);
        if (value_at(a, file, n->members[i].value, depth + 1, &out->items[i], e) < 0)
            return -1;
    }
    return 0;
}

int node_value_in(struct arena *a, struct str file, const struct node *n,
                  struct value *out, struct err *e)
{
    struct value v;

    if (value_at(a, file, n, 0, &v, e) < 0)
        return -1;
    *out = v;
    return 0;
}

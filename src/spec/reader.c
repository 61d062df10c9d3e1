/* SPDX-License-Identifier: Apache-2.0 */
/* reader.c - fields by name, typed getters
 *
 * Every object of the format is read the same way: a table of field names turns its
 * members into slots, unknown ones are refused there and then, and getters turn slots
 * into C. So the rest of the parser is mostly tables, and no field can be forgotten
 * silently.
 */
#include "spec/reader.h"

#include <stdio.h>

#include "base/clock.h"
#include "base/nearest.h"

#define NOTICES_MAX 200 /* a person reads them */

static void where(const struct node *n, const char *text, char *out, size_t size)
{
    char path[200];

    node_path(n, path);
    if (path[0])
        snprintf(out, size, "%s: %s", path, text);
    else
        snprintf(out, size, "%s", text);
}

static int err_about(const struct reader *r, const struct node *n, struct pos at,
                     struct err *e, const char *text)
{
    char full[sizeof(e->text)];

    where(n, text, full, sizeof(full));
    return pos_err(e, ERR_INPUT, r->file, at, "%s", full);
}

static void notice_about(struct reader *r, const struct node *n, struct pos at,
                         const char *text)
{
    struct pipeline *p = r->p;
    char full[480];

    if (p->n_notices == NOTICES_MAX)
        return;
    where(n, text, full, sizeof(full));
    for (char *c = full; *c; c++) { /* one line, whatever the file calls its fields */
        if ((unsigned char)*c < 0x20 || *c == 0x7F)
            *c = ' ';
    }
    p->notices = arena_grow(r->a, p->notices, &p->n_notices, sizeof(char *));
    p->notices[p->n_notices - 1] =
        arena_printf(r->a, "%.*s:%u:%u: %s", STR_ARG(r->file), at.line, at.col, full);
}

#define FORMAT(text, fmt)                                                              \
    do {                                                                               \
        va_list ap_;                                                                   \
        va_start(ap_, fmt);                                                            \
        vsnprintf(text, sizeof(text), fmt, ap_);                                       \
        va_end(ap_);                                                                   \
    } while (0)

int read_err(const struct reader *r, const struct node *n, struct err *e,
             const char *fmt, ...)
{
    char text[400];

    FORMAT(text, fmt);
    return err_about(r, n, n->pos, e, text);
}

int read_err_at(const struct reader *r, const struct node *n, struct pos at,
                struct err *e, const char *fmt, ...)
{
    char text[400];

    FORMAT(text, fmt);
    return err_about(r, n, at, e, text);
}

void read_notice(struct reader *r, const struct node *n, struct pos at, const char *fmt,
                 ...)
{
    char text[400];

    FORMAT(text, fmt);
    notice_about(r, n, at, text);
}

int read_doubt(struct reader *r, const struct node *n, struct pos at, struct err *e,
               const char *fmt, ...)
{
    char text[400];

    FORMAT(text, fmt);
    if (!r->lenient)
        return err_about(r, n, at, e, text);
    notice_about(r, n, at, text);
    return 0;
}

struct hint hint_of(struct str want, const char *const *names, size_t n)
{
    const char *near = nearest(want, names, n);
    struct hint h = {""};

    if (near)
        snprintf(h.text, sizeof(h.text), ", did you mean \"%s\"", near);
    return h;
}

static int want(const struct reader *r, const struct node *n, const char *what,
                struct err *e)
{
    enum value_kind got = node_type(n);
    const char *quote = strcmp(what, "string") == 0 && n->kind == NODE_SCALAR
                            ? ": put it in quotes"
                            : "";

    if (n->kind == NODE_SCALAR && got != VALUE_NULL)
        return read_err(r, n, e, "want a %s, got the %s %.60s%s", what,
                        value_kind_name(got), n->text.ptr, quote);
    return read_err(r, n, e, "want a %s, got %s%s", what, got == VALUE_NULL ? "" : "a ",
                    got == VALUE_STRUCT ? "map" : value_kind_name(got));
}

static int slot_of(struct str key, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++) { /* both spellings begin alike */
        if (key.len && key.ptr[0] == names[i][0] && node_is_key(key, names[i]))
            return (int)i;
    }
    return -1;
}

static int fields(struct reader *r, const struct node *map, const char *const *names,
                  size_t n, bool only_note, const struct node **out, struct err *e)
{
    struct member *m;
    size_t n_members;

    memset(out, 0, n * sizeof(*out));
    if (read_map(r, map, &m, &n_members, e) < 0)
        return -1;
    for (size_t i = 0; i < n_members; i++) {
        int slot = slot_of(m[i].key, names, n);

        if (slot >= 0 && out[slot])
            return read_err_at(r, map, m[i].key_pos, e,
                               "\"%s\" is given in both spellings", names[slot]);
        if (slot >= 0) {
            out[slot] = m[i].value;
            continue;
        }
        if (only_note) {
            read_notice(r, map, m[i].key_pos, "unknown field \"%.80s\" is ignored",
                        m[i].key.ptr);
        } else if (read_doubt(r, map, m[i].key_pos, e, "unknown field \"%.80s\"%s",
                              m[i].key.ptr, hint_of(m[i].key, names, n).text) < 0) {
            return -1;
        }
    }
    return 0;
}

int read_fields(struct reader *r, const struct node *map, const char *const *names,
                size_t n, const struct node **out, struct err *e)
{
    return fields(r, map, names, n, false, out, e);
}

int read_fields_noting(struct reader *r, const struct node *map,
                       const char *const *names, size_t n, const struct node **out,
                       struct err *e)
{
    return fields(r, map, names, n, true, out, e);
}

int read_map(const struct reader *r, const struct node *n, struct member **out,
             size_t *n_out, struct err *e)
{
    *out = NULL;
    *n_out = 0;
    if (node_is_null(n))
        return 0;
    if (n->kind != NODE_MAP)
        return want(r, n, "map", e);
    *out = n->members;
    *n_out = n->n;
    return 0;
}

int read_list(const struct reader *r, const struct node *n, struct member **out,
              size_t *n_out, struct err *e)
{
    *out = NULL;
    *n_out = 0;
    if (node_is_null(n))
        return 0;
    if (n->kind != NODE_LIST)
        return want(r, n, "list", e);
    *out = n->members;
    *n_out = n->n;
    return 0;
}

int read_str(const struct reader *r, const struct node *n, struct str *out,
             struct err *e)
{
    if (node_is_null(n))
        return 0;
    if (node_type(n) != VALUE_STRING)
        return want(r, n, "string", e);
    if (memchr(n->text.ptr, 0, n->text.len))
        return read_err(r, n, e, "a NUL character in a string");
    *out = arena_str(r->a, n->text);
    return 0;
}

int read_word(struct reader *r, const struct node *n, struct str *out, struct err *e)
{
    const struct str *kept;
    struct str *copy;

    if (node_is_null(n) || node_type(n) != VALUE_STRING || n->text.len < sizeof(*copy))
        return read_str(r, n, out, e);
    kept = map_get(&r->words, n->text);
    if (kept) {
        *out = *kept;
        return 0;
    }
    copy = arena_alloc(r->a, sizeof(*copy));
    if (read_str(r, n, copy, e) < 0)
        return -1;
    map_put(&r->words, *copy, copy);
    *out = *copy;
    return 0;
}

int read_bool(const struct reader *r, const struct node *n, bool *out, struct err *e)
{
    if (node_is_null(n))
        return 0;
    if (node_type(n) != VALUE_BOOL)
        return want(r, n, "bool", e);
    *out = node_bool(n);
    return 0;
}

int read_num(const struct reader *r, const struct node *n, double *out, struct err *e)
{
    struct value v = {0};

    if (node_is_null(n))
        return 0;
    if (node_type(n) != VALUE_NUMBER)
        return want(r, n, "number", e);
    if (node_value_in(r->a, r->file, n, &v, e) < 0)
        return -1;
    *out = v.n;
    return 0;
}

int read_uint(const struct reader *r, const struct node *n, uint64_t max, uint64_t *out,
              struct err *e)
{
    struct node text;
    double v;

    if (node_is_null(n))
        return 0;
    text = *n;
    text.plain = true;
    if (node_type(&text) != VALUE_NUMBER)
        return want(r, n, "number", e);
    v = node_number(&text);
    if (!(v >= 0 && v <= (double)max) || v != (double)(uint64_t)v)
        return read_err(r, n, e, "want a whole number from 0 to %llu, got %.40s",
                        (unsigned long long)max, n->text.ptr);
    *out = (uint64_t)v;
    return 0;
}

int read_duration(const struct reader *r, const struct node *n, int64_t *out_ms,
                  struct err *e)
{
    struct err why;

    if (node_is_null(n))
        return 0;
    if (n->kind != NODE_SCALAR)
        return want(r, n, "duration", e);
    if (clock_parse_duration(n->text, out_ms, &why) < 0)
        return read_err(r, n, e, "want a duration such as \"30s\", got \"%.40s\"",
                        n->text.ptr);
    return 0;
}

int read_value(const struct reader *r, const struct node *n, const struct value **out,
               struct err *e)
{
    struct value *v;

    *out = NULL;
    if (!n)
        return 0;
    v = arena_alloc(r->a, sizeof(*v));
    if (node_value_in(r->a, r->file, n, v, e) < 0)
        return -1;
    *out = v;
    return 0;
}

const struct node *read_old_value(const struct node *n, struct node *copy)
{
    static const char *const names[] = {"intValue", "doubleValue", "stringValue"};

    for (size_t i = 0; i < N_ELEMS(names) && n->kind == NODE_MAP && n->n == 1; i++) {
        const struct node *v = node_member(n, names[i]);

        if (!v)
            continue;
        *copy = *v;
        copy->plain |= i == 0; /* protobuf writes 64 bits as text: "3" */
        return copy;
    }
    return NULL;
}

int read_struct(const struct reader *r, const struct node *n, const struct value **out,
                struct err *e)
{
    *out = NULL;
    if (node_is_null(n))
        return 0;
    if (n->kind != NODE_MAP)
        return want(r, n, "map", e);
    return read_value(r, n, out, e);
}

int read_name_ok(const struct reader *r, const struct node *n, const struct member *m,
                 struct err *e)
{
    struct str s = m->key;

    if (!s.len || s.len > 255)
        return read_err_at(r, n, m->key_pos, e, "a name has 1 to 255 bytes, not %zu",
                           s.len);
    if (str_eqz(s, ".") || str_eqz(s, ".."))
        return read_err_at(r, n, m->key_pos, e, "\"%s\" is no name", s.ptr);
    for (size_t i = 0; i < s.len; i++) {
        if ((unsigned char)s.ptr[i] < 0x20 || s.ptr[i] == 0x7F || s.ptr[i] == '/')
            return read_err_at(r, n, m->key_pos, e,
                               "character 0x%02x must not be in the name \"%.80s\"",
                               (unsigned)(unsigned char)s.ptr[i], s.ptr);
    }
    return 0;
}

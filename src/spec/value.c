/* SPDX-License-Identifier: Apache-2.0 */
/* value.c - the JSON-like values that parameters carry
 *
 * A struct keeps its members in document order, because people read them; equality and
 * digests do not look at the order. Lists of members are searched from front to back:
 * they are short, and where an outsider could make them long (JSON objects with a name
 * given many times) a hash map does the work.
 */
#include "spec/value.h"

#include <errno.h>
#include <math.h>

#include "base/limits.h"
#include "spec/utf8.h"

static const char *const type_names[] = {
    [PARAM_UNSPECIFIED] = "PARAMETER_TYPE_ENUM_UNSPECIFIED",
    [PARAM_INTEGER] = "NUMBER_INTEGER",
    [PARAM_DOUBLE] = "NUMBER_DOUBLE",
    [PARAM_STRING] = "STRING",
    [PARAM_BOOLEAN] = "BOOLEAN",
    [PARAM_LIST] = "LIST",
    [PARAM_STRUCT] = "STRUCT",
    [PARAM_FINAL_STATUS] = "TASK_FINAL_STATUS",
    [PARAM_TASK_CONFIG] = "TASK_CONFIG",
};

const char *param_type_name(enum param_type t)
{
    must((size_t)t < N_ELEMS(type_names));
    return type_names[t];
}

const char *value_kind_name(enum value_kind k)
{
    static const char *const names[] = {"null",   "bool", "number",
                                        "string", "list", "struct"};

    must((size_t)k < N_ELEMS(names));
    return names[k];
}

const struct value *value_member(const struct value *v, struct str key)
{
    if (!v || v->kind != VALUE_STRUCT)
        return NULL;
    for (size_t i = 0; i < v->n_items; i++) {
        if (str_eq(v->keys[i], key))
            return &v->items[i];
    }
    return NULL;
}

static bool items_equal(const struct value *a, const struct value *b)
{
    if (a->n_items != b->n_items)
        return false;
    for (size_t i = 0; i < a->n_items; i++) {
        const struct value *other = &b->items[i];

        if (a->kind == VALUE_STRUCT && !str_eq(a->keys[i], b->keys[i]))
            other = value_member(b, a->keys[i]);
        if (!other || !value_equal(&a->items[i], other))
            return false;
    }
    return true;
}

bool value_equal(const struct value *a, const struct value *b)
{
    if (a->kind != b->kind)
        return false;
    switch (a->kind) {
    case VALUE_NULL:
        return true;
    case VALUE_BOOL:
        return a->b == b->b;
    case VALUE_NUMBER:
        return a->n == b->n;
    case VALUE_STRING:
        return str_eq(a->s, b->s);
    case VALUE_LIST:
    case VALUE_STRUCT:
        return items_equal(a, b);
    }
    return false;
}

/* Making */

static void object_from_json(struct arena *a, json *j, struct value *out)
{
    size_t n = yyjson_obj_size(j), idx, max;
    struct map seen = {0};
    json *key, *member;

    out->items = arena_alloc(a, n * sizeof(*out->items) + 1);
    out->keys = arena_alloc(a, n * sizeof(*out->keys) + 1);
    yyjson_obj_foreach(j, idx, max, key, member)
    {
        struct str name = json_as_str(key);
        struct value *slot = n > 1 ? map_get(&seen, name) : NULL;

        if (!slot) {
            slot = &out->items[out->n_items];
            out->keys[out->n_items++] = arena_str(a, name);
            if (n > 1)
                map_put(&seen, name, slot);
        }
        *slot = value_from_json_in(a, member);
    }
    map_done(&seen);
}

struct value value_from_json_in(struct arena *a, json *j)
{
    struct value v = {0};
    size_t idx, max;
    json *item;

    switch (yyjson_get_type(j)) {
    case YYJSON_TYPE_BOOL:
        v.kind = VALUE_BOOL;
        v.b = yyjson_get_bool(j);
        break;
    case YYJSON_TYPE_NUM:
        v.kind = VALUE_NUMBER;
        v.n = yyjson_get_num(j);
        break;
    case YYJSON_TYPE_STR:
        return value_string_in(a, json_as_str(j));
    case YYJSON_TYPE_ARR:
        v.kind = VALUE_LIST;
        v.items = arena_alloc(a, yyjson_arr_size(j) * sizeof(*v.items) + 1);
        yyjson_arr_foreach(j, idx, max, item) v.items[v.n_items++] =
            value_from_json_in(a, item);
        break;
    case YYJSON_TYPE_OBJ:
        v.kind = VALUE_STRUCT;
        object_from_json(a, j, &v);
        break;
    default:
        break;
    }
    return v;
}

static unsigned json_depth(json *j)
{
    unsigned deepest = 0;
    size_t idx, max;
    json *key, *item;

    if (yyjson_is_arr(j)) {
        yyjson_arr_foreach(j, idx, max, item)
        {
            unsigned depth = json_depth(item);

            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    if (yyjson_is_obj(j)) {
        yyjson_obj_foreach(j, idx, max, key, item)
        {
            unsigned depth = json_depth(item);

            deepest = depth > deepest ? depth : deepest;
        }
        return deepest + 1;
    }
    return 0;
}

int value_parse_in(struct arena *a, struct str json_text, struct value *out,
                   struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root;

    if (json_parse(json_text, LIMIT_VALUE_BYTES, &doc, e) < 0) {
        if (e->code == ERR_CORRUPT)
            e->code = ERR_INPUT;
        return -1;
    }
    root = yyjson_doc_get_root(doc);
    if (json_depth(root) > VALUE_DEPTH_MAX)
        return err_set(e, ERR_LIMIT, "a value nested more than %d levels deep",
                       VALUE_DEPTH_MAX);
    *out = value_from_json_in(a, root);
    return 0;
}

struct value value_string_in(struct arena *a, struct str s)
{
    return (struct value){.kind = VALUE_STRING, .s = arena_str(a, s)};
}

struct value value_copy_in(struct arena *a, const struct value *v)
{
    struct value copy = *v;

    if (v->kind == VALUE_STRING)
        copy.s = arena_str(a, v->s);
    if (!v->n_items)
        return copy;
    copy.items = arena_alloc(a, v->n_items * sizeof(*copy.items));
    if (v->kind == VALUE_STRUCT)
        copy.keys = arena_alloc(a, v->n_items * sizeof(*copy.keys));
    for (size_t i = 0; i < v->n_items; i++) {
        copy.items[i] = value_copy_in(a, &v->items[i]);
        if (v->kind == VALUE_STRUCT)
            copy.keys[i] = arena_str(a, v->keys[i]);
    }
    return copy;
}

/* Writing */

struct by_key {
    struct str key;
    const struct value *value;
};

static int cmp_keys(const void *a, const void *b)
{
    const struct by_key *x = a, *y = b;
    size_t shorter = x->key.len < y->key.len ? x->key.len : y->key.len;
    int c = shorter ? memcmp(x->key.ptr, y->key.ptr, shorter) : 0;

    return c ? c : (x->key.len > y->key.len) - (x->key.len < y->key.len);
}

static void write_value(struct jw *w, const struct value *v, bool sorted);

static void write_struct(struct jw *w, const struct value *v, bool sorted)
{
    AUTO_FREE struct by_key *order = NULL;

    jw_obj(w);
    if (sorted && v->n_items) {
        order = xalloc(v->n_items * sizeof(*order));
        for (size_t i = 0; i < v->n_items; i++)
            order[i] = (struct by_key){v->keys[i], &v->items[i]};
        qsort(order, v->n_items, sizeof(*order), cmp_keys);
    }
    for (size_t i = 0; i < v->n_items; i++) {
        jw_keystr(w, order ? order[i].key : v->keys[i]);
        write_value(w, order ? order[i].value : &v->items[i], sorted);
    }
    jw_end_obj(w);
}

static void write_value(struct jw *w, const struct value *v, bool sorted)
{
    switch (v->kind) {
    case VALUE_NULL:
        jw_null(w);
        return;
    case VALUE_BOOL:
        jw_bool(w, v->b);
        return;
    case VALUE_NUMBER:
        jw_num(w, v->n);
        return;
    case VALUE_STRING:
        jw_str(w, v->s);
        return;
    case VALUE_LIST:
        jw_arr(w);
        for (size_t i = 0; i < v->n_items; i++)
            write_value(w, &v->items[i], sorted);
        jw_end_arr(w);
        return;
    case VALUE_STRUCT:
        write_struct(w, v, sorted);
        return;
    }
}

void value_write(struct jw *w, const struct value *v)
{
    write_value(w, v, false);
}

void value_to_json(struct buf *b, const struct value *v)
{
    struct jw w;

    jw_init(&w, b);
    write_value(&w, v, false);
}

void value_canonical(struct buf *b, const struct value *v)
{
    struct jw w;

    jw_init(&w, b);
    write_value(&w, v, true);
}

void value_text(struct buf *b, const struct value *v)
{
    if (v->kind == VALUE_STRING)
        buf_addstr(b, v->s);
    else if (v->kind != VALUE_NULL)
        value_to_json(b, v);
}

/* Checking */

static enum value_kind kind_of_type(enum param_type type)
{
    switch (type) {
    case PARAM_INTEGER:
    case PARAM_DOUBLE:
        return VALUE_NUMBER;
    case PARAM_STRING:
        return VALUE_STRING;
    case PARAM_BOOLEAN:
        return VALUE_BOOL;
    case PARAM_LIST:
        return VALUE_LIST;
    case PARAM_STRUCT:
    case PARAM_FINAL_STATUS:
    case PARAM_TASK_CONFIG:
        return VALUE_STRUCT;
    case PARAM_UNSPECIFIED:
        break;
    }
    return VALUE_NULL;
}

static int misfit(enum param_type type, const struct value *v, struct err *e)
{
    AUTO_BUF struct buf shown = {0};
    const char *more = "";

    if (v->kind == VALUE_NULL)
        return err_set(e, ERR_INPUT, "want %s, got null", param_type_name(type));
    value_to_json(&shown, v);
    if (shown.len > 60)
        more = "...";
    return err_set(e, ERR_INPUT, "want %s, got %s %.60s%s", param_type_name(type),
                   value_kind_name(v->kind), buf_str(&shown), more);
}

int value_check_strict(enum param_type type, const struct value *v, struct err *e)
{
    if (type == PARAM_UNSPECIFIED)
        return 0;
    if (v->kind != kind_of_type(type))
        return misfit(type, v, e);
    if (type == PARAM_INTEGER && v->n != floor(v->n))
        return misfit(type, v, e);
    return 0;
}

int value_check_in(struct arena *a, enum param_type type, struct value *v,
                   struct err *e)
{
    AUTO_BUF struct buf text = {0};

    if (type != PARAM_STRING)
        return value_check_strict(type, v, e);
    if (v->kind != VALUE_STRING) {
        value_text(&text, v);
        *v = value_string_in(a, (struct str){buf_str(&text), text.len});
    }
    return 0;
}

/* From text */

static int text_is_no(enum param_type type, struct str text, const char *hint,
                      struct err *e)
{
    AUTO_BUF struct buf shown = {0};

    buf_add_json_string(&shown, (struct str){text.ptr, text.len < 60 ? text.len : 60});
    return err_set(e, ERR_INPUT, "want %s%s, got %s%s", param_type_name(type), hint,
                   buf_str(&shown), text.len > 60 ? " and more" : "");
}

static bool is_integer_text(struct str s)
{
    if (s.len && (s.ptr[0] == '-' || s.ptr[0] == '+')) {
        s.ptr++;
        s.len--;
    }
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    }
    return s.len > 0;
}

static int number_from_text(enum param_type type, struct str text, struct value *out,
                            struct err *e)
{
    struct str s = str_trim(text);
    AUTO_BUF struct buf z = {0};
    char *end;
    double n;

    if (!s.len || s.len > 400 || (type == PARAM_INTEGER && !is_integer_text(s)))
        return text_is_no(type, text, "", e);
    buf_addstr(&z, s);
    n = strtod(z.ptr, &end);
    if (end != z.ptr + z.len)
        return text_is_no(type, text, "", e);
    if (!isfinite(n))
        return text_is_no(type, text, " that JSON can hold", e);
    *out = (struct value){.kind = VALUE_NUMBER, .n = n};
    return 0;
}

static int bool_from_text(struct str text, struct value *out, struct err *e)
{
    static const char *const words[2][7] = {
        {"0", "f", "F", "FALSE", "false", "False", NULL},
        {"1", "t", "T", "TRUE", "true", "True", NULL},
    };
    struct str s = str_trim(text);

    for (int b = 0; b < 2; b++) {
        for (size_t i = 0; words[b][i]; i++) {
            if (!str_eqz(s, words[b][i]))
                continue;
            *out = (struct value){.kind = VALUE_BOOL, .b = b};
            return 0;
        }
    }
    return text_is_no(PARAM_BOOLEAN, text, " (true or false)", e);
}

static int string_from_text(struct arena *a, struct str text, struct value *out,
                            struct err *e)
{
    size_t bad_at;

    if (!utf8_check(text, &bad_at))
        return err_set(e, ERR_INPUT,
                       "want STRING, got bytes that are not UTF-8: 0x%02x at %zu",
                       (unsigned)(unsigned char)text.ptr[bad_at], bad_at);
    *out = value_string_in(a, text);
    return 0;
}

static int json_from_text(struct arena *a, enum param_type type, struct str text,
                          struct value *out, struct err *e)
{
    const char *hint = type == PARAM_LIST ? " as JSON such as [\"a\", \"b\"]"
                                          : " as JSON such as {\"a\": 1}";
    struct value v;

    if (value_parse_in(a, text, &v, e) < 0) {
        if (e->code == ERR_LIMIT)
            return -1;
        return text_is_no(type, text, hint, e);
    }
    if (value_check_strict(type, &v, e) < 0)
        return -1;
    *out = v;
    return 0;
}

int value_from_file_text_in(struct arena *a, enum param_type type, struct str text,
                            struct value *out, struct err *e)
{
    switch (type) {
    case PARAM_INTEGER:
    case PARAM_DOUBLE:
        return number_from_text(type, text, out, e);
    case PARAM_BOOLEAN:
        return bool_from_text(text, out, e);
    case PARAM_LIST:
    case PARAM_STRUCT:
    case PARAM_FINAL_STATUS:
    case PARAM_TASK_CONFIG:
        return json_from_text(a, type, text, out, e);
    case PARAM_STRING:
    case PARAM_UNSPECIFIED:
        break;
    }
    return string_from_text(a, text, out, e);
}

/* 9007199254740993 would become ...992 without a word: an id that somebody types must
 * not turn into another one. (What a task writes is rounded, as KFP does.) */
static int integer_held(struct str text, double n, struct err *e)
{
    AUTO_BUF struct buf z = {0};
    long long exact;

    if (fabs(n) < 0x1p53)
        return 0;
    buf_addstr(&z, str_trim(text));
    errno = 0;
    exact = strtoll(buf_str(&z), NULL, 10);
    if (!errno && fabs(n) < 0x1p63 && (long long)n == exact)
        return 0;
    return err_set(
        e, ERR_INPUT,
        "%.40s is no number that JSON can hold exactly (it would become %.0f): "
        "make the parameter a STRING",
        buf_str(&z), n);
}

int value_from_flag_in(struct arena *a, enum param_type type, struct str text,
                       struct value *out, struct err *e)
{
    struct err ignored;
    struct value v;

    if (type == PARAM_INTEGER) {
        if (number_from_text(type, text, &v, e) < 0 || integer_held(text, v.n, e) < 0)
            return -1;
        *out = v;
        return 0;
    }
    if (type == PARAM_UNSPECIFIED && value_parse_in(a, text, out, &ignored) == 0)
        return 0;
    return value_from_file_text_in(a, type, text, out, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* json.c - reading with paths in the errors, writing without a tree
 *
 * yyjson recurses nowhere, but whoever walks a document may: the nesting depth is
 * counted over the text before it is parsed. The writer keeps no stack: a comma is due
 * after any value and after any closing bracket, and not after an opening one.
 */
#include "base/json.h"

#include <float.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/limits.h"

/* deepest nesting of brackets outside strings */
static size_t depth_of(struct str text)
{
    size_t depth = 0, deepest = 0;
    bool in_string = false;

    for (size_t i = 0; i < text.len; i++) {
        char c = text.ptr[i];
        if (in_string) {
            if (c == '\\')
                i++;
            else if (c == '"')
                in_string = false;
            continue;
        }
        if (c == '"')
            in_string = true;
        else if ((c == '{' || c == '[') && ++depth > deepest)
            deepest = depth;
        else if ((c == '}' || c == ']') && depth)
            depth--;
    }
    return deepest;
}

int json_parse(struct str text, size_t max_bytes, yyjson_doc **gives, struct err *e)
{
    yyjson_read_err why;
    yyjson_doc *doc;

    if (text.len > max_bytes)
        return err_set(e, ERR_LIMIT, "JSON of %zu bytes is over the limit of %zu",
                       text.len, max_bytes);
    if (depth_of(text) > LIMIT_JSON_DEPTH)
        return err_set(e, ERR_LIMIT, "JSON is nested deeper than %d", LIMIT_JSON_DEPTH);
    doc = yyjson_read_opts((char *)(uintptr_t)text.ptr, text.len, 0, NULL, &why);
    must(doc || why.code != YYJSON_READ_ERROR_MEMORY_ALLOCATION);
    if (!doc)
        return err_set(e, ERR_CORRUPT, "bad JSON at byte %zu: %s", why.pos, why.msg);
    *gives = doc;
    return 0;
}

void auto_json(yyjson_doc **doc)
{
    yyjson_doc_free(*doc);
}

json *json_at(json *v, const char *path)
{
    while (v && *path) {
        size_t n = strcspn(path, ".");

        if (yyjson_is_arr(v)) {
            char *end;
            size_t i = strtoul(path, &end, 10);
            v = end == path + n ? yyjson_arr_get(v, i) : NULL;
        } else {
            v = yyjson_is_obj(v) ? yyjson_obj_getn(v, path, n) : NULL;
        }
        path += n + (path[n] == '.');
    }
    return v;
}

static const char *kind(json *v)
{
    if (!v)
        return "nothing";
    if (yyjson_is_null(v))
        return "null";
    if (yyjson_is_bool(v))
        return "a boolean";
    if (yyjson_is_num(v))
        return "a number";
    if (yyjson_is_str(v))
        return "a string";
    return yyjson_is_arr(v) ? "an array" : "an object";
}

static int want(json *v, const char *path, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s%swant %s, got %s", path, *path ? ": " : "", what,
                   kind(v));
}

int json_str(json *root, const char *path, struct str *out, struct err *e)
{
    json *v = json_at(root, path);

    if (!yyjson_is_str(v))
        return want(v, path, "string", e);
    *out = json_as_str(v);
    return 0;
}

int json_cstr(json *root, const char *path, struct str *out, struct err *e)
{
    struct str s = {0};

    if (json_str(root, path, &s, e) < 0)
        return -1;
    if (memchr(s.ptr, 0, s.len))
        return err_set(e, ERR_CORRUPT, "%s%swant text without NUL characters", path,
                       *path ? ": " : "");
    *out = s;
    return 0;
}

int json_str_opt(json *root, const char *path, struct str *out, struct err *e)
{
    json *v = json_at(root, path);

    return !v || yyjson_is_null(v) ? 0 : json_str(root, path, out, e);
}

int json_i64(json *root, const char *path, int64_t *out, struct err *e)
{
    json *v = json_at(root, path);

    if (yyjson_is_sint(v) || (yyjson_is_uint(v) && yyjson_get_uint(v) <= INT64_MAX)) {
        *out = yyjson_is_sint(v) ? yyjson_get_sint(v) : (int64_t)yyjson_get_uint(v);
        return 0;
    }
    if (yyjson_is_real(v)) { /* 3.0 is an integer in JSON's own words */
        double d = yyjson_get_real(v);
        if (d == floor(d) && fabs(d) < 0x1p63) {
            *out = (int64_t)d;
            return 0;
        }
    }
    return want(v, path, "integer", e);
}

int json_i64_in(json *root, const char *path, int64_t low, int64_t high, int64_t *out,
                struct err *e)
{
    int64_t v;

    if (json_i64(root, path, &v, e) < 0)
        return -1;
    if (v < low || v > high)
        return err_set(e, ERR_CORRUPT, "%s: want %lld to %lld, got %lld", path,
                       (long long)low, (long long)high, (long long)v);
    *out = v;
    return 0;
}

int json_i64_opt(json *root, const char *path, int64_t *out, struct err *e)
{
    json *v = json_at(root, path);

    return !v || yyjson_is_null(v) ? 0 : json_i64(root, path, out, e);
}

int json_bool_opt(json *root, const char *path, bool *out, struct err *e)
{
    json *v = json_at(root, path);

    if (!v || yyjson_is_null(v))
        return 0;
    if (!yyjson_is_bool(v))
        return want(v, path, "boolean", e);
    *out = yyjson_get_bool(v);
    return 0;
}

int json_arr(json *root, const char *path, json **out, struct err *e)
{
    json *v = json_at(root, path);

    if (!yyjson_is_arr(v))
        return want(v, path, "array", e);
    *out = v;
    return 0;
}

int json_obj(json *root, const char *path, json **out, struct err *e)
{
    json *v = json_at(root, path);

    if (!yyjson_is_obj(v))
        return want(v, path, "object", e);
    *out = v;
    return 0;
}

int json_words_in(struct arena *a, json *root, const char *path, char ***out, size_t *n,
                  struct err *e)
{
    json *list = NULL, *item;
    size_t i, max;
    char **words;

    if (json_arr(root, path, &list, e) < 0)
        return -1;
    words = arena_alloc(a, (yyjson_arr_size(list) + 1) * sizeof *words);
    yyjson_arr_foreach(list, i, max, item) {
        struct str s = {0};
        if (json_cstr(item, "", &s, e) < 0)
            return err_at(e, "%s.%zu", path, i);
        words[i] = arena_strndup(a, s.ptr, s.len);
    }
    words[i] = NULL;
    *out = words;
    *n = i;
    return 0;
}

/* ---- writing
 * --------------------------------------------------------------------------- */

void jw_init(struct jw *w, struct buf *b)
{
    *w = (struct jw){.b = b};
}

static void before(struct jw *w)
{
    if (w->comma && !w->after_key)
        buf_addc(w->b, ',');
    w->comma = true;
    w->after_key = false;
}

static void nest(struct jw *w, char open)
{
    before(w);
    buf_addc(w->b, open);
    w->comma = false;
    w->depth++;
}

static void unnest(struct jw *w, char close)
{
    must(w->depth > 0 && !w->after_key);
    buf_addc(w->b, close);
    w->comma = true; /* whatever is around has this in it */
    w->depth--;
}

void jw_obj(struct jw *w)
{
    nest(w, '{');
}

void jw_end_obj(struct jw *w)
{
    unnest(w, '}');
}

void jw_arr(struct jw *w)
{
    nest(w, '[');
}

void jw_end_arr(struct jw *w)
{
    unnest(w, ']');
}

void jw_keystr(struct jw *w, struct str key)
{
    before(w);
    buf_add_json_string(w->b, key);
    buf_addc(w->b, ':');
    w->after_key = true;
}

void jw_key(struct jw *w, const char *key)
{
    jw_keystr(w, str_of(key));
}

void jw_str(struct jw *w, struct str s)
{
    before(w);
    buf_add_json_string(w->b, s);
}

void jw_strz(struct jw *w, const char *z)
{
    if (z)
        jw_str(w, str_of(z));
    else
        jw_null(w);
}

void jw_i64(struct jw *w, int64_t v)
{
    before(w);
    buf_addf(w->b, "%lld", (long long)v);
}

void jw_num(struct jw *w, double v)
{
    char text[32];

    json_number_text(v, text);
    before(w);
    buf_adds(w->b, text);
}

void jw_bool(struct jw *w, bool v)
{
    before(w);
    buf_adds(w->b, v ? "true" : "false");
}

void jw_null(struct jw *w)
{
    before(w);
    buf_adds(w->b, "null");
}

void jw_raw(struct jw *w, struct str json_text)
{
    before(w);
    if (json_text.len)
        buf_addstr(w->b, json_text);
    else
        buf_adds(w->b, "null");
}

void json_number_text(double v, char out[32])
{
    if (!isfinite(v)) { /* JSON has no such numbers */
        (void)snprintf(out, 32, "null");
        return;
    }
    if (v == floor(v) && fabs(v) < 0x1p53) {
        (void)snprintf(out, 32, "%lld", (long long)v);
        return;
    }
    for (int digits = fabs(v) < DBL_MIN ? 1 : 15; digits <= 17; digits++) {
        (void)snprintf(out, 32, "%.*g", digits, v);
        if (strtod(out, NULL) == v)
            return;
    }
}

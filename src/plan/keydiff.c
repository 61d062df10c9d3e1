/* SPDX-License-Identifier: Apache-2.0 */
/* keydiff.c - two records of what went into a cache key, side by side
 *
 * The record is JSON of a known shape (cachekey.c), so this is a comparison of two
 * trees that gives names to places: a table for the members of the top, and one
 * function each for the three shapes below them (a list of words, a map by name, a list
 * of artifacts). A member that the table does not know is compared as a whole under its
 * own name, so a new ingredient needs no change here.
 */
#include "plan/keydiff.h"

#include "base/json.h"
#include "base/limits.h"

#define LINE_SHOWN_BYTES 160

void change_add(struct arena *a, struct changes *c, struct str what, struct str before,
                struct str after)
{
    c->items = arena_grow(a, c->items, &c->n, sizeof(*c->items));
    c->items[c->n - 1] =
        (struct change){arena_str(a, what), arena_str(a, before), arena_str(a, after)};
}

/* ---- texts
 * --------------------------------------------------------------------------- */

static struct str line_at(struct str text, size_t at)
{
    size_t from = at, to = at;

    while (from > 0 && text.ptr[from - 1] != '\n')
        from--;
    while (to < text.len && text.ptr[to] != '\n')
        to++;
    return (struct str){text.ptr + from, to - from};
}

static struct str quoted(struct arena *a, struct str s)
{
    AUTO_BUF struct buf b = {0};

    if (s.len > LINE_SHOWN_BYTES)
        s.len = LINE_SHOWN_BYTES;
    buf_init(&b, 0);
    buf_add_json_string(&b, s);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

void change_add_text(struct arena *a, struct changes *c, struct str what,
                     struct str before, struct str after)
{
    size_t same = 0, line = 1;

    if (!before.ptr || !after.ptr) {
        change_add(a, c, what, before.ptr ? quoted(a, before) : STR(""),
                   after.ptr ? quoted(a, after) : STR(""));
        return;
    }
    while (same < before.len && same < after.len && before.ptr[same] == after.ptr[same])
        line += before.ptr[same++] == '\n';
    if (same == before.len && same == after.len)
        return;
    if (!memchr(before.ptr, '\n', before.len) && !memchr(after.ptr, '\n', after.len)) {
        change_add(a, c, what, quoted(a, before), quoted(a, after));
        return;
    }
    change_add(a, c, str_of(arena_printf(a, "line %zu of %.*s", line, STR_ARG(what))),
               quoted(a, line_at(before, same)), quoted(a, line_at(after, same)));
}

/* ---- JSON
 * ------------------------------------------------------------------------------ */

struct differ {
    struct arena *a;
    struct changes *out;
};

static struct str text_of(struct differ *d, json *v)
{
    char *text;
    struct str s;

    if (!v)
        return STR("");
    text = yyjson_val_write(v, 0, NULL);
    s = arena_str(d->a, str_of(text ? text : ""));
    free(text);
    return s;
}

static void differ_value(struct differ *d, const char *what, json *before, json *after)
{
    if (before && after && yyjson_equals(before, after))
        return;
    change_add(d->a, d->out, str_of(what), text_of(d, before), text_of(d, after));
}

typedef void member_fn(struct differ *d, const char *what, json *before, json *after);

/* all names of two objects, `fmt` has one %s */
static void differ_map(struct differ *d, const char *prefix, json *before, json *after,
                       member_fn *fn)
{
    size_t i, max;
    json *key, *v;

    yyjson_obj_foreach(before, i, max, key, v)
    {
        json *other = yyjson_obj_get(after, yyjson_get_str(key));

        if (!other || !yyjson_equals(v, other))
            fn(d, arena_printf(d->a, "%s %s", prefix, yyjson_get_str(key)), v, other);
    }
    yyjson_obj_foreach(after, i, max, key, v)
    {
        if (!yyjson_obj_get(before, yyjson_get_str(key)))
            fn(d, arena_printf(d->a, "%s %s", prefix, yyjson_get_str(key)), NULL, v);
    }
}

static void differ_words(struct differ *d, const char *prefix, json *before,
                         json *after)
{
    size_t n = yyjson_arr_size(before), m = yyjson_arr_size(after);

    for (size_t i = 0; i < n || i < m; i++)
        differ_value(d, arena_printf(d->a, "word %zu of the %s", i + 1, prefix),
                     yyjson_arr_get(before, i), yyjson_arr_get(after, i));
}

static json *env_get(json *env, json *name)
{
    json *found = NULL;

    for (size_t i = 0; i + 1 < yyjson_arr_size(env); i += 2)
        if (yyjson_equals(yyjson_arr_get(env, i), name))
            found = yyjson_arr_get(env, i + 1);
    return found;
}

/* a list of names and values by turns */
static void differ_env(struct differ *d, const char *prefix, json *before, json *after)
{
    for (size_t i = 0; i + 1 < yyjson_arr_size(before); i += 2) {
        json *name = yyjson_arr_get(before, i);
        differ_value(d, arena_printf(d->a, "%s %s", prefix, yyjson_get_str(name)),
                     env_get(before, name), env_get(after, name));
    }
    for (size_t i = 0; i + 1 < yyjson_arr_size(after); i += 2) {
        json *name = yyjson_arr_get(after, i);
        if (!env_get(before, name))
            differ_value(d, arena_printf(d->a, "%s %s", prefix, yyjson_get_str(name)),
                         NULL, env_get(after, name));
    }
}

static void differ_artifact(struct differ *d, const char *what, json *before,
                            json *after)
{
    static const char *const fields[] = {"type", "kind", "name", "uri"};

    differ_value(d, arena_printf(d->a, "content of %s", what),
                 yyjson_obj_get(before, "digest"), yyjson_obj_get(after, "digest"));
    for (size_t i = 0; i < N_ELEMS(fields); i++)
        if (yyjson_obj_get(before, fields[i]) || yyjson_obj_get(after, fields[i]))
            differ_value(d, arena_printf(d->a, "%s of %s", fields[i], what),
                         yyjson_obj_get(before, fields[i]),
                         yyjson_obj_get(after, fields[i]));
    if (yyjson_is_obj(yyjson_obj_get(before, "metadata")) &&
        yyjson_is_obj(yyjson_obj_get(after, "metadata")))
        differ_map(d, arena_printf(d->a, "metadata of %s:", what),
                   yyjson_obj_get(before, "metadata"),
                   yyjson_obj_get(after, "metadata"), differ_value);
    else
        differ_value(d, arena_printf(d->a, "metadata of %s", what),
                     yyjson_obj_get(before, "metadata"),
                     yyjson_obj_get(after, "metadata"));
}

/* one input: a list of artifacts, mostly of one */
static void differ_artifacts(struct differ *d, const char *what, json *before,
                             json *after)
{
    size_t n = yyjson_arr_size(before), m = yyjson_arr_size(after);

    if (!before || !after) {
        differ_value(d, what, before, after);
        return;
    }
    if (n != m)
        change_add(
            d->a, d->out, str_of(arena_printf(d->a, "number of artifacts of %s", what)),
            str_of(arena_printf(d->a, "%zu", n)), str_of(arena_printf(d->a, "%zu", m)));
    for (size_t i = 0; i < n && i < m; i++) {
        json *x = yyjson_arr_get(before, i), *y = yyjson_arr_get(after, i);

        if (!yyjson_equals(x, y))
            differ_artifact(d, n > 1 ? arena_printf(d->a, "%s[%zu]", what, i) : what, x,
                            y);
    }
}

static void differ_member(struct differ *d, const char *key, json *before, json *after)
{
    enum { WORDS, ENV, MAP, ARTIFACTS, WHOLE };
    static const struct {
        const char *key;
        int shape;
        const char *words;
    } known[] = {
        {"command", WORDS, "command"},
        {"args", WORDS, "arguments"},
        {"env", ENV, "env"},
        {"inputParameters", MAP, "input parameter"},
        {"inputArtifacts", ARTIFACTS, "input artifact"},
        {"outputParameters", MAP, "declared output parameter"},
        {"outputArtifacts", MAP, "declared output artifact"},
        {"image", WHOLE, "image"},
        {"extra", WHOLE, "environment given by flags"},
        {"platform", WHOLE, "Kubernetes settings"},
        {"pipeline", WHOLE, "name of the pipeline"},
        {"cacheKey", WHOLE, "cache key set in the pipeline"},
        {"component", WHOLE, "name of the component"},
    };
    const char *words = key;
    int shape = WHOLE;

    for (size_t i = 0; i < N_ELEMS(known); i++)
        if (strcmp(known[i].key, key) == 0) {
            shape = known[i].shape;
            words = known[i].words;
        }
    switch (before && after ? shape : WHOLE) {
    case WORDS:
        differ_words(d, words, before, after);
        break;
    case ENV:
        differ_env(d, words, before, after);
        break;
    case MAP:
        differ_map(d, words, before, after, differ_value);
        break;
    case ARTIFACTS:
        differ_map(d, words, before, after, differ_artifacts);
        break;
    default:
        differ_value(d, words, before, after);
    }
}

int keydiff_in(struct arena *a, struct str before, struct str after,
               struct changes *out, struct err *e)
{
    AUTO_JSON yyjson_doc *one = NULL, *two = NULL;
    struct changes found = {0};
    struct differ d = {a, &found};
    size_t i, max;
    json *x, *y, *key, *v;

    if (json_parse(before, LIMIT_SPEC_BYTES, &one, e) < 0 ||
        json_parse(after, LIMIT_SPEC_BYTES, &two, e) < 0)
        return err_at(e, "ingredients of a cache key");
    x = yyjson_doc_get_root(one);
    y = yyjson_doc_get_root(two);
    yyjson_obj_foreach(x, i, max, key, v)
    {
        json *other = yyjson_obj_get(y, yyjson_get_str(key));

        if (!other || !yyjson_equals(v, other))
            differ_member(&d, yyjson_get_str(key), v, other);
    }
    yyjson_obj_foreach(y, i, max, key, v)
    {
        if (!yyjson_obj_get(x, yyjson_get_str(key)))
            differ_member(&d, yyjson_get_str(key), NULL, v);
    }
    *out = found;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* placeholder.c - {{$...}}: a scanner, and the structured words of command lines
 *
 * The scanner knows the grammar and nothing else: who asks decides what a placeholder
 * becomes. It runs over the text once and never over what was put in, so that data
 * cannot smuggle a placeholder. What begins like one and is none (templates of other
 * tools use the same braces) stays as it is.
 *
 * A word that begins with {"IfPresent": or {"Concat": is JSON. It is parsed first; the
 * placeholders inside its strings are replaced afterwards, or a quote in a parameter
 * would change the structure.
 */
#include "spec/placeholder.h"

#include "base/json.h"
#include "base/limits.h"

#define NAME_MAX_BYTES                                                                 \
    512 /* a bound, so that text full of half placeholders costs no more */

/* Scanning: each function takes what it knows off the front of *s */

static bool eat(struct str *s, const char *text)
{
    if (!str_starts(*s, text))
        return false;
    s->ptr += strlen(text);
    s->len -= strlen(text);
    return true;
}

static bool eat_name(struct str *s, struct str *out)
{
    const char *end;

    if (!eat(s, "['"))
        return false;
    end = memmem(s->ptr, s->len < NAME_MAX_BYTES ? s->len : NAME_MAX_BYTES, "']", 2);
    if (!end)
        return false;
    *out = (struct str){s->ptr, (size_t)(end - s->ptr)};
    s->len -= out->len + 2;
    s->ptr = end + 2;
    return true;
}

static bool eat_times(struct str *s, unsigned *out)
{
    unsigned n = 0, digits = 0;

    for (; s->len && s->ptr[0] >= '0' && s->ptr[0] <= '9' && digits < 2; digits++) {
        n = n * 10 + (unsigned)(s->ptr[0] - '0');
        s->ptr++;
        s->len--;
    }
    *out = n;
    return digits && n <= 8 && eat(s, "]"); /* each time may double the text */
}

static bool eat_artifact(struct str *s, struct placeholder *ph, bool input)
{
    if (!eat_name(s, &ph->name))
        return false;
    if (eat(s, ".uri"))
        ph->kind = input ? PH_INPUT_ARTIFACT_URI : PH_OUTPUT_ARTIFACT_URI;
    else if (eat(s, ".path"))
        ph->kind = input ? PH_INPUT_ARTIFACT_PATH : PH_OUTPUT_ARTIFACT_PATH;
    else if (eat(s, ".metadata"))
        ph->kind = input ? PH_INPUT_ARTIFACT_META : PH_OUTPUT_ARTIFACT_META;
    else
        ph->kind = PH_INPUT_ARTIFACT;
    if (ph->kind == PH_INPUT_ARTIFACT && !input)
        return false;
    if ((ph->kind == PH_INPUT_ARTIFACT_META || ph->kind == PH_OUTPUT_ARTIFACT_META) &&
        str_starts(*s, "["))
        return eat_name(s, &ph->key);
    return true;
}

static bool eat_word(struct str *s, struct placeholder *ph)
{
    static const struct {
        const char *text;
        enum placeholder_kind kind;
    } words[] = {
        {".outputs.output_file", PH_OUTPUT_FILE},
        {".pipeline_job_name", PH_JOB_NAME},
        {".pipeline_job_resource_name", PH_JOB_RESOURCE_NAME},
        {".pipeline_job_uuid", PH_JOB_UUID},
        {".pipeline_task_name", PH_TASK_NAME},
        {".pipeline_task_uuid", PH_TASK_UUID},
        {".pipeline_job_create_time_utc", PH_CREATE_TIME},
        {".pipeline_job_schedule_time_utc", PH_SCHEDULE_TIME},
        {".workspace_path", PH_WORKSPACE},
        {".pipeline_root", PH_PIPELINE_ROOT},
    };

    for (size_t i = 0; i < N_ELEMS(words); i++) {
        if (!eat(s, words[i].text))
            continue;
        ph->kind = words[i].kind;
        return true;
    }
    return false;
}

static bool eat_body(struct str *s, struct placeholder *ph)
{
    if (str_starts(*s, "}}")) {
        ph->kind = PH_EXECUTOR_INPUT;
        return true;
    }
    if (eat(s, ".json_escape[")) {
        ph->kind = PH_JSON_ESCAPE;
        return eat_times(s, &ph->times);
    }
    if (eat(s, ".inputs.parameters")) {
        ph->kind = PH_INPUT_PARAM;
        return eat_name(s, &ph->name);
    }
    if (eat(s, ".outputs.parameters")) {
        ph->kind = PH_OUTPUT_PARAM_FILE;
        return eat_name(s, &ph->name) && eat(s, ".output_file");
    }
    if (eat(s, ".inputs.artifacts"))
        return eat_artifact(s, ph, true);
    if (eat(s, ".outputs.artifacts"))
        return eat_artifact(s, ph, false);
    return eat_word(s, ph);
}

bool placeholder_find(struct str text, size_t *at, size_t *len, struct placeholder *out)
{
    while (*at < text.len) {
        const char *start = memmem(text.ptr + *at, text.len - *at, "{{$", 3);
        struct placeholder ph = {.name = STR(""), .key = STR("")};
        struct str s;

        if (!start)
            return false;
        s = (struct str){start + 3, text.len - (size_t)(start + 3 - text.ptr)};
        *at = (size_t)(start - text.ptr);
        if (eat_body(&s, &ph) && eat(&s, "}}")) {
            *len = (size_t)(s.ptr - start);
            *out = ph;
            return true;
        }
        *at += 3;
    }
    return false;
}

bool placeholder_whole(struct str text, struct placeholder *out)
{
    struct placeholder ph;
    size_t at = 0, len;

    if (!placeholder_find(text, &at, &len, &ph) || at != 0 || len != text.len)
        return false;
    *out = ph;
    return true;
}

bool placeholder_any(struct str text)
{
    struct placeholder ph;
    size_t at = 0, len;

    return placeholder_find(text, &at, &len, &ph);
}

int placeholder_expand(struct str text, placeholder_fn *fn, void *ctx, struct buf *out,
                       struct err *e)
{
    struct placeholder ph;
    size_t done = 0, at = 0, len;

    while (placeholder_find(text, &at, &len, &ph)) {
        int answer;

        buf_add(out, text.ptr + done, at - done);
        answer = fn(ctx, &ph, out, e);
        if (answer < 0)
            return -1;
        if (answer == 0)
            buf_add(out, text.ptr + at, len);
        done = at = at + len;
    }
    buf_add(out, text.ptr + done, text.len - done);
    return 0;
}

/* Command lines */

struct words {
    struct arena *a;
    placeholder_fn *fn;
    placeholder_present_fn *present;
    void *ctx;
    char **argv;
    size_t n;
};

static int structured_err(struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, "an IfPresent or Concat word: %s", what);
}

/* *key is "IfPresent" or "Concat", *body what it says */
static int structured(json *j, struct str *key, json **body, struct err *e)
{
    yyjson_obj_iter it;
    json *k;

    if (!yyjson_is_obj(j) || yyjson_obj_size(j) != 1)
        return structured_err(
            e, "want a string, or an object of IfPresent or Concat alone");
    yyjson_obj_iter_init(j, &it);
    k = yyjson_obj_iter_next(&it);
    *key = json_as_str(k);
    *body = yyjson_obj_iter_get_val(k);
    if (str_eqz(*key, "Concat"))
        return yyjson_is_arr(*body) ? 0 : structured_err(e, "Concat wants a list");
    if (!str_eqz(*key, "IfPresent"))
        return structured_err(e, "want IfPresent or Concat");
    if (!yyjson_is_obj(*body) || !yyjson_is_str(yyjson_obj_get(*body, "InputName")) ||
        !yyjson_obj_get(*body, "Then"))
        return structured_err(e, "IfPresent wants InputName and Then");
    return 0;
}

/* what an IfPresent comes to: Then, Else or NULL */
static json *chosen(const struct words *w, json *body)
{
    struct str name = json_as_str(yyjson_obj_get(body, "InputName"));
    json *branch = yyjson_obj_get(body, w->present(w->ctx, name) ? "Then" : "Else");

    return yyjson_is_null(branch) ? NULL : branch;
}

/* everything that j comes to, joined */
static int join(struct words *w, json *j, struct buf *out, struct err *e)
{
    struct str key = STR("");
    size_t idx, max;
    json *body, *item;

    if (yyjson_is_str(j))
        return placeholder_expand(json_as_str(j), w->fn, w->ctx, out, e);
    if (yyjson_is_arr(j)) {
        yyjson_arr_foreach(j, idx, max, item)
        {
            if (join(w, item, out, e) < 0)
                return -1;
        }
        return 0;
    }
    if (structured(j, &key, &body, e) < 0)
        return -1;
    if (str_eqz(key, "IfPresent")) {
        body = chosen(w, body);
        if (!body)
            return 0;
    }
    return join(w, body, out, e);
}

static int push(struct words *w, const struct buf *text, struct err *e)
{
    if (text->overflow)
        return err_set(e, ERR_LIMIT, "word %zu of the command line is too long", w->n);
    if (text->len && memchr(text->ptr, 0, text->len))
        return err_set(e, ERR_INPUT,
                       "word %zu of the command line holds a NUL character", w->n);
    w->argv = arena_grow(w->a, w->argv, &w->n, sizeof(char *));
    w->argv[w->n - 1] = arena_strndup(w->a, buf_str(text), text->len);
    return 0;
}

static int push_plain(struct words *w, struct str text, struct err *e)
{
    AUTO_BUF struct buf out = {0};

    buf_init(&out, LIMIT_SPEC_BYTES);
    if (placeholder_expand(text, w->fn, w->ctx, &out, e) < 0)
        return -1;
    return push(w, &out, e);
}

/* j as words of its own: a list is spliced, an IfPresent may come to nothing */
static int splice(struct words *w, json *j, struct err *e)
{
    AUTO_BUF struct buf out = {0};
    struct str key = STR("");
    size_t idx, max;
    json *body, *item;

    if (yyjson_is_str(j))
        return push_plain(w, json_as_str(j), e);
    if (yyjson_is_arr(j)) {
        yyjson_arr_foreach(j, idx, max, item)
        {
            if (splice(w, item, e) < 0)
                return -1;
        }
        return 0;
    }
    if (structured(j, &key, &body, e) < 0)
        return -1;
    if (str_eqz(key, "IfPresent")) {
        body = chosen(w, body);
        return body ? splice(w, body, e) : 0;
    }
    buf_init(&out, LIMIT_SPEC_BYTES);
    if (join(w, body, &out, e) < 0)
        return -1;
    return push(w, &out, e);
}

bool placeholder_structured(struct str word)
{
    struct str s = str_trim(word);

    return str_starts(s, "{\"IfPresent\":") || str_starts(s, "{\"Concat\":");
}

static int parse_word(struct str word, yyjson_doc **doc, struct err *e)
{
    if (json_parse(str_trim(word), LIMIT_SPEC_BYTES, doc, e) == 0)
        return 0;
    if (e->code == ERR_CORRUPT)
        e->code = ERR_INPUT;
    return err_at(e, "an IfPresent or Concat word");
}

static int push_word(struct words *w, struct str word, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;

    if (!placeholder_structured(word))
        return push_plain(w, word, e);
    if (parse_word(word, &doc, e) < 0)
        return -1;
    return splice(w, yyjson_doc_get_root(doc), e);
}

int placeholder_argv_in(struct arena *a, const struct str *words, size_t n_words,
                        placeholder_fn *fn, placeholder_present_fn *present, void *ctx,
                        char ***argv, size_t *n_argv, struct err *e)
{
    struct words w = {.a = a, .fn = fn, .present = present, .ctx = ctx};
    size_t n;

    for (size_t i = 0; i < n_words; i++) {
        if (push_word(&w, words[i], e) < 0)
            return -1;
    }
    n = w.n;
    *argv = arena_grow(a, w.argv, &w.n, sizeof(char *)); /* the NULL at the end */
    *n_argv = n;
    return 0;
}

/* Checking before anything runs */

static int check(json *j, placeholder_input_fn *input, void *ctx, struct err *e)
{
    struct str key = STR("");
    size_t idx, max;
    json *body, *item;

    if (yyjson_is_str(j) || yyjson_is_null(j))
        return 0;
    if (yyjson_is_arr(j)) {
        yyjson_arr_foreach(j, idx, max, item)
        {
            if (check(item, input, ctx, e) < 0)
                return -1;
        }
        return 0;
    }
    if (structured(j, &key, &body, e) < 0)
        return -1;
    if (str_eqz(key, "Concat"))
        return check(body, input, ctx, e);
    if (input(ctx, json_as_str(yyjson_obj_get(body, "InputName")), e) < 0 ||
        check(yyjson_obj_get(body, "Then"), input, ctx, e) < 0)
        return -1;
    item = yyjson_obj_get(body, "Else");
    return item ? check(item, input, ctx, e) : 0;
}

int placeholder_word_check(struct str word, placeholder_input_fn *input, void *ctx,
                           struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;

    if (!placeholder_structured(word))
        return 0;
    if (parse_word(word, &doc, e) < 0)
        return -1;
    return check(yyjson_doc_get_root(doc), input, ctx, e);
}

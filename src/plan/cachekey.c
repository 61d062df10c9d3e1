/* SPDX-License-Identifier: Apache-2.0 */
/* cachekey.c - canonical JSON of what a task can see, hashed
 *
 * Struct keys are sorted by bytes, lists keep their order. The raw command is taken before
 * placeholders are filled, since what they are filled with is listed beside it; so neither the
 * run's id nor the task's random uuid ever enters the key.
 */
#include "plan/cachekey.h"

#include <stdio.h>
#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"

static int by_name(const void *a, const void *b)
{
    const struct str *x = *(const struct str *const *)a, *y = *(const struct str *const *)b;
    size_t n = x->len < y->len ? x->len : y->len;
    int c = memcmp(x->ptr, y->ptr, n);

    return c ? c : (x->len > y->len) - (x->len < y->len);
}

/* pointers to the n names at `first`, `stride` bytes apart, sorted; free() */
static const struct str **sorted(const void *first, size_t n, size_t stride)
{
    const struct str **v = xalloc((n + 1) * sizeof *v);

    for (size_t i = 0; i < n; i++)
        v[i] = (const struct str *)((const char *)first + i * stride);
    if (n)
        qsort(v, n, sizeof *v, by_name);
    return v;
}

struct keyw {
    struct jw w;
    bool brief; /* for the record: long texts by their digest */
};

static bool add_digest(struct keyw *k, struct str text)
{
    char hex[DIGEST_HEX], shown[DIGEST_HEX + 40];

    if (!k->brief || text.len <= CACHEKEY_KEPT_BYTES)
        return false;
    sha256_hex(text.ptr, text.len, hex);
    (void)snprintf(shown, sizeof shown, "sha256:%s (%zu bytes)", hex, text.len);
    jw_strz(&k->w, shown);
    return true;
}

static void add_text(struct keyw *k, struct str text)
{
    if (!add_digest(k, text))
        jw_str(&k->w, text);
}

static void add_value(struct keyw *k, const struct value *v)
{
    AUTO_BUF struct buf b = {0};
    struct str text;

    if (!v) {
        jw_null(&k->w);
        return;
    }
    buf_init(&b, 0);
    value_canonical(&b, v);
    text = (struct str){buf_str(&b), b.len};
    if (!add_digest(k, text))
        jw_raw(&k->w, text);
}

static void add_input_artifacts(struct keyw *k, const struct named_artifacts *l)
{
    struct jw *w = &k->w;

    jw_arr(w);
    for (size_t i = 0; i < l->n_items; i++) {
        const struct artifact *f = &l->items[i];
        jw_obj(w);
        jw_key(w, "digest");
        jw_str(w, f->digest);
        jw_key(w, "kind");
        jw_str(w, f->kind);
        jw_key(w, "metadata");
        add_value(k, f->metadata);
        jw_key(w, "name");
        jw_str(w, f->name);
        jw_key(w, "type");
        jw_str(w, f->type);
        if (!f->digest.len) { /* nothing but the URI tells two of them apart */
            jw_key(w, "uri");
            jw_str(w, f->uri);
        }
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static void add_words(struct keyw *k, const char *key, const struct str *words, size_t n)
{
    jw_key(&k->w, key);
    jw_arr(&k->w);
    for (size_t i = 0; i < n; i++)
        add_text(k, words[i]);
    jw_end_arr(&k->w);
}

static void add_code(struct keyw *k, const struct executor *x)
{
    struct jw *w = &k->w;

    add_words(k, "args", x->args, x->n_args);
    add_words(k, "command", x->command, x->n_command);
    jw_key(w, "env");
    jw_arr(w);
    for (size_t i = 0; i < x->n_env; i++) {
        jw_str(w, x->env[i].name);
        add_text(k, x->env[i].value);
    }
    jw_end_arr(w);
}

void component_code(const struct executor *x, struct buf *out)
{
    struct keyw k = {.brief = false};

    jw_init(&k.w, out);
    jw_obj(&k.w);
    add_code(&k, x);
    jw_end_obj(&k.w);
}

static void add_inputs(struct keyw *k, const struct io_values *in)
{
    struct jw *w = &k->w;
    AUTO_FREE const struct str **params =
        sorted(in->params, in->n_params, sizeof(*in->params));
    AUTO_FREE const struct str **arts =
        sorted(in->artifacts, in->n_artifacts, sizeof(*in->artifacts));

    jw_key(w, "inputArtifacts");
    jw_obj(w);
    for (size_t i = 0; i < in->n_artifacts; i++) {
        jw_keystr(w, *arts[i]);
        add_input_artifacts(k, (const struct named_artifacts *)(const void *)arts[i]);
    }
    jw_end_obj(w);
    jw_key(w, "inputParameters");
    jw_obj(w);
    for (size_t i = 0; i < in->n_params; i++) {
        jw_keystr(w, *params[i]);
        add_value(k, &((const struct named_value *)(const void *)params[i])->value);
    }
    jw_end_obj(w);
}

static void add_outputs(struct keyw *k, const struct io_defs *out)
{
    struct jw *w = &k->w;
    AUTO_FREE const struct str **params =
        sorted(out->params, out->n_params, sizeof(*out->params));
    AUTO_FREE const struct str **arts =
        sorted(out->artifacts, out->n_artifacts, sizeof(*out->artifacts));

    jw_key(w, "outputArtifacts");
    jw_obj(w);
    for (size_t i = 0; i < out->n_artifacts; i++) {
        const struct artifact_def *d = (const struct artifact_def *)(const void *)arts[i];
        jw_keystr(w, d->name);
        jw_obj(w);
        jw_key(w, "metadata");
        add_value(k, d->metadata);
        jw_key(w, "type");
        jw_str(w, d->schema_title);
        jw_end_obj(w);
    }
    jw_end_obj(w);
    jw_key(w, "outputParameters");
    jw_obj(w);
    for (size_t i = 0; i < out->n_params; i++) {
        const struct param_def *d = (const struct param_def *)(const void *)params[i];
        jw_keystr(w, d->name);
        jw_strz(w, param_type_name(d->type));
    }
    jw_end_obj(w);
}

static void write_key(struct keyw *k, const struct graph *g, const struct task *t,
                      struct str image_config_hex, const struct key_extra *extra)
{
    const struct component *c = t->def->component;
    const struct executor *x = c->executor;
    struct jw *w = &k->w;

    jw_obj(w);
    jw_key(w, "pipeline"); /* KFP's scope: entries of one pipeline name */
    jw_str(w, g->p->name);
    if (t->def->cache_key.len) { /* the user's own key stands for everything else */
        jw_key(w, "cacheKey");
        jw_str(w, t->def->cache_key);
        jw_key(w, "component");
        jw_str(w, c->name);
        jw_end_obj(w);
        return;
    }
    add_code(k, x);
    jw_key(w, "extra");
    add_text(k, extra->flags);
    jw_key(w, "image");
    jw_str(w, image_config_hex);
    add_inputs(k, &t->in);
    add_outputs(k, &c->out);
    if (extra->platform.len) {
        jw_key(w, "platform");
        add_text(k, extra->platform);
    }
    jw_end_obj(w);
}

void cachekey_text(const struct graph *g, const struct task *t, struct str image_config_hex,
                   const struct key_extra *extra, struct buf *out)
{
    struct keyw k = {.brief = false};

    jw_init(&k.w, out);
    write_key(&k, g, t, image_config_hex, extra);
}

void cachekey_record(const struct graph *g, const struct task *t, struct str image_config_hex,
                     const struct key_extra *extra, struct buf *out)
{
    struct keyw k = {.brief = true};

    jw_init(&k.w, out);
    write_key(&k, g, t, image_config_hex, extra);
}

void cachekey_of(const struct graph *g, const struct task *t, struct str image_config_hex,
                 const struct key_extra *extra, char out[DIGEST_HEX])
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 0);
    cachekey_text(g, t, image_config_hex, extra, &b);
    sha256_hex(buf_str(&b), b.len, out);
}

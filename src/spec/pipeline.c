/* SPDX-License-Identifier: Apache-2.0 */
/* pipeline.c - text -> struct pipeline
 *
 *   text -> tree (yaml.c, jsontext.c) -> which document is what (here) -> executors,
 * platform
 *        -> interfaces of all components -> their DAGs -> circles and sizes (check.c)
 *
 * A file may hold the specs as they are, or wrapped: as a Kubernetes manifest, a run
 * request, a PipelineJob. All wrappers come down to two nodes, the pipeline and the
 * platform.
 *
 * The tree lives in an arena of its own and goes at the end: of a big file it is three
 * times what the typed pipeline needs.
 */
#include "spec/reader.h"

#include <stdio.h>

struct docs {
    const struct node *pipeline, *platform;
    const struct node *runtime; /* runtimeConfig of a PipelineJob or run request */
};

static int take(struct reader *r, const struct node *n, const struct node **slot,
                const char *what, struct err *e)
{
    if (node_is_null(n))
        return 0;
    if (n->kind != NODE_MAP)
        return read_err(r, n, e, "want a map");
    if (*slot)
        return read_err(r, n, e, "a second %s: the first begins at line %u", what,
                        (*slot)->pos.line);
    *slot = n;
    return 0;
}

/* {pipelineSpec: ..., platformSpec: ...} and what else may stand beside them */
static int take_wrapped(struct reader *r, const struct node *n, struct docs *d,
                        struct err *e)
{
    enum {
        SPEC,
        PLATFORM,
        RUNTIME,
        NAME,
        DISPLAY,
        LABELS,
        DESCRIPTION,
        PIPELINE,
        CODE,
        EXPERIMENT,
        ACCOUNT,
        REFERENCE,
        N
    };
    static const char *const names[] = {
        "pipelineSpec",  "platformSpec", "runtimeConfig",  "name",
        "displayName",   "labels",       "description",    "pipelineName",
        "codeSourceURL", "experimentId", "serviceAccount", "pipelineVersionReference"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;
    if (!node_is_null(f[REFERENCE]))
        return read_err(r, f[REFERENCE], e,
                        "a run request that names a pipeline of a server: want the "
                        "pipeline itself under pipeline_spec");
    if (!node_is_null(f[SPEC]) && node_member(f[SPEC], "pipelineSpec")
            ? take_wrapped(r, f[SPEC], d, e) < 0
            : take(r, f[SPEC], &d->pipeline, "pipeline spec", e) < 0)
        return -1;
    if (take(r, f[PLATFORM], &d->platform, "platform spec", e) < 0)
        return -1;
    return take(r, f[RUNTIME], &d->runtime, "runtimeConfig", e);
}

/* apiVersion: pipelines.kubeflow.org/v2beta1 */
static int take_manifest(struct reader *r, const struct node *n, struct docs *d,
                         struct err *e)
{
    const struct node *kind = node_member(n, "kind"), *spec = node_member(n, "spec");
    const struct node *version = node_member(n, "apiVersion");

    if (version->kind == NODE_SCALAR && str_starts(version->text, "argoproj.io/"))
        return read_err(
            r, version, e,
            "an Argo workflow, as KFP v1 wrote them: compile with kfp 2 or newer");
    if (version->kind != NODE_SCALAR ||
        !str_starts(version->text, "pipelines.kubeflow.org/"))
        return read_err(r, version, e, "a Kubernetes object that is no pipeline");
    if (kind && kind->kind == NODE_SCALAR && str_eqz(kind->text, "Pipeline"))
        return 0; /* only names and labels */
    if (!kind || kind->kind != NODE_SCALAR || !str_eqz(kind->text, "PipelineVersion") ||
        node_is_null(spec))
        return read_err(r, n, e, "want the kind PipelineVersion, with a spec");
    return take_wrapped(r, spec, d, e);
}

static int classify(struct reader *r, const struct node *n, struct docs *d,
                    struct err *e)
{
    if (n->kind != NODE_MAP)
        return read_err(r, n, e, "no pipeline: want a map, got %s",
                        n->kind == NODE_LIST ? "a list" : "plain text");
    if (node_member(n, "apiVersion"))
        return take_manifest(r, n, d, e);
    if (node_member(n, "pipelineSpec") || node_member(n, "pipelineVersionReference"))
        return take_wrapped(r, n, d, e);
    if (node_member(n, "pipelineInfo") || node_member(n, "root"))
        return take(r, n, &d->pipeline, "pipeline spec", e);
    if (node_member(n, "platforms"))
        return take(r, n, &d->platform, "platform spec", e);
    if (node_member(n, "implementation"))
        return read_err(r, n, e,
                        "a component, not a pipeline: compile a pipeline that uses it");
    return read_err(r, n, e,
                    "neither a pipeline spec (pipelineInfo, root) nor a platform spec "
                    "(platforms)");
}

static int check_name(struct reader *r, const struct node *n, struct str name,
                      struct err *e)
{
    bool ok =
        name.len > 0 && name.len <= 128 && name.ptr[0] != '-' && name.ptr[0] != '.';

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];

        ok = ok &&
             ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.');
    }
    if (!name.len)
        return read_err(r, n, e, "the pipeline has no name");
    if (!ok)
        return read_err(r, n, e,
                        "\"%.60s\" is no name of a pipeline: want lower-case letters, "
                        "digits, - and . (at most 128)",
                        name.ptr);
    return 0;
}

static int read_info(struct reader *r, const struct node *spec, const struct node *n,
                     struct err *e)
{
    enum { NAME, DISPLAY, DESCRIPTION, N };
    static const char *const names[] = {"name", "displayName", "description"};
    struct pipeline *p = r->p;
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[NAME], &p->name, e) < 0 ||
        check_name(r,
                   f[NAME] ? f[NAME]
                   : n     ? n
                           : spec,
                   p->name, e) < 0 ||
        read_str(r, f[DISPLAY], &p->display_name, e) < 0)
        return -1;
    return read_str(r, f[DESCRIPTION], &p->description, e);
}

static int check_version(struct reader *r, const struct node *spec,
                         const struct node *n, struct err *e)
{
    struct str version = {"", 0};

    if (read_str(r, n, &version, e) < 0)
        return -1;
    if (str_eqz(version, "2.1.0"))
        return 0;
    return read_err(r, n ? n : spec, e,
                    "schemaVersion is \"%.40s\": only 2.1.0 is understood",
                    version.ptr);
}

static struct component *new_component(struct reader *r, struct str name, struct pos at)
{
    struct component *c = arena_alloc(r->a, sizeof(*c));

    c->name = arena_str(r->a, name);
    c->pos = at;
    return c;
}

/* interfaces first, then DAGs: tasks refer to components in any order */
static int read_components(struct reader *r, const struct node *components,
                           const struct node *root, struct err *e)
{
    struct pipeline *p = r->p;
    struct member *m;

    if (read_map(r, components, &m, &p->n_components, e) < 0)
        return -1;
    p->components = arena_alloc(r->a, p->n_components * sizeof(struct component *) + 1);
    for (size_t i = 0; i < p->n_components; i++) {
        p->components[i] = new_component(r, m[i].key, m[i].key_pos);
        map_put(&r->components, p->components[i]->name, p->components[i]);
    }
    p->root = new_component(r, STR("root"), root->pos);

    for (size_t i = 0; i < p->n_components; i++) {
        if (read_component(r, m[i].value, p->components[i], e) < 0)
            return -1;
    }
    if (read_component(r, root, p->root, e) < 0)
        return -1;
    if (!p->root->dag)
        return read_err(r, root, e, "want a dag, got an executorLabel");

    for (size_t i = 0; i < p->n_components; i++) {
        if (p->components[i]->dag &&
            read_dag(r, node_member(m[i].value, "dag"), p->components[i], e) < 0)
            return -1;
    }
    return read_dag(r, node_member(root, "dag"), p->root, e);
}

static int read_spec(struct reader *r, const struct docs *d, struct err *e)
{
    enum { INFO, VERSION, SDK, COMPONENTS, ROOT, DEPLOYMENT, DEFAULT_ROOT, N };
    static const char *const names[] = {
        "pipelineInfo", "schemaVersion",  "sdkVersion",         "components",
        "root",         "deploymentSpec", "defaultPipelineRoot"};
    struct pipeline *p = r->p;
    const struct node *f[N];

    if (read_fields(r, d->pipeline, names, N, f, e) < 0 ||
        check_version(r, d->pipeline, f[VERSION], e) < 0 ||
        read_info(r, d->pipeline, f[INFO], e) < 0 ||
        read_str(r, f[SDK], &p->sdk_version, e) < 0 ||
        read_str(r, f[DEFAULT_ROOT], &p->default_root, e) < 0)
        return -1;
    if (node_is_null(f[ROOT]))
        return read_err(r, d->pipeline, e, "the pipeline has no root");
    if (read_executors(r, f[DEPLOYMENT], e) < 0 || read_platform(r, d->platform, e) < 0)
        return -1;
    return read_components(r, f[COMPONENTS], f[ROOT], e);
}

/* What a PipelineJob or run request gives takes the place of the parameters' defaults.
 * wrapped: runtimeConfig.parameters, which is {x: {intValue: 3}} in a PipelineJob and
 * {x: 3} in the run request of KFP's API. */
static int apply_values(struct reader *r, const struct node *values, bool wrapped,
                        struct err *e)
{
    struct io_defs *in = &r->p->root->in;
    struct member *m;
    size_t n;

    if (read_map(r, values, &m, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct param_def *found = io_param(in, m[i].key);
        struct param_def *p = found ? &in->params[found - in->params] : NULL;
        struct value *value = arena_alloc(r->a, sizeof(*value));
        const struct node *v = NULL;
        struct node unwrapped;
        struct err why;

        if (!p)
            return read_err_at(r, values, m[i].key_pos, e,
                               "root has no input parameter \"%.80s\"", m[i].key.ptr);
        if (wrapped && p->type != PARAM_STRUCT)
            v = read_old_value(m[i].value, &unwrapped);
        v = v ? v : m[i].value;
        if (node_value_in(r->a, r->file, v, value, e) < 0)
            return -1;
        if (value_check_strict(p->type, value, &why) < 0)
            return read_err(r, v, e, "%s", why.text);
        p->default_value = value;
    }
    return 0;
}

static int read_runtime(struct reader *r, const struct node *n, struct err *e)
{
    enum { VALUES, OLD_VALUES, GCS_ROOT, ROOT, N };
    static const char *const names[] = {"parameterValues", "parameters",
                                        "gcsOutputDirectory", "pipelineRoot"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[GCS_ROOT], &r->p->default_root, e) < 0 ||
        read_str(r, f[ROOT], &r->p->default_root, e) < 0 ||
        apply_values(r, f[OLD_VALUES], true, e) < 0)
        return -1;
    return apply_values(r, f[VALUES], false, e);
}

static int read_docs(struct reader *r, const struct tree *t, struct err *e)
{
    struct docs d = {NULL, NULL, NULL};

    for (size_t i = 0; i < t->n_docs; i++) {
        if (classify(r, t->docs[i], &d, e) < 0)
            return -1;
    }
    if (!d.pipeline)
        return pos_err(e, ERR_INPUT, r->file, (struct pos){0, 0},
                       t->n_docs ? "no pipeline spec in this file"
                                 : "no pipeline in this file: it is empty");
    if (read_spec(r, &d, e) < 0 || read_runtime(r, d.runtime, e) < 0)
        return -1;
    return check_pipeline(r, e);
}

int pipeline_parse_in(struct arena *a, struct str file, struct str text,
                      const struct pipeline_opts *o, struct pipeline *out,
                      struct err *e)
{
    struct pipeline p = {
        .file = arena_str(a, file),
        .name = STR(""),
        .display_name = STR(""),
        .description = STR(""),
        .sdk_version = STR(""),
        .default_root = STR(""),
        .mutex = STR(""),
        .semaphore = STR(""),
    };
    struct reader r = {.a = a, .file = p.file, .lenient = o && o->lenient, .p = &p};
    struct arena tree_arena = {0};
    struct tree tree = {0};
    int rc = tree_read_in(&tree_arena, file, text, &tree, e);

    if (rc == 0)
        rc = read_docs(&r, &tree, e);
    map_done(&r.components);
    map_done(&r.executors);
    map_done(&r.words);
    arena_done(&tree_arena);
    if (rc < 0)
        return -1;
    sha256_hex(text.ptr, text.len, p.text_hex);
    *out = p;
    return 0;
}

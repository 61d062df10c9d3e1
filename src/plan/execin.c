/* SPDX-License-Identifier: Apache-2.0 */
/* execin.c - executor input, argv and env of one container task
 *
 * The executor input is the JSON that the component's own code reads ({{$}} on its command
 * line). It names, for each output, the URI under which the artifact will be known and, through
 * the table of section 10, the path where the bytes are expected:
 *
 *   minio://mlpipeline/v2/artifacts/<pipeline>/<run id>/<task>/<uuid>/<output>
 *   /minio/mlpipeline/v2/artifacts/<pipeline>/<run id>/<task>/<uuid>/<output>
 *
 * The task root (up to <uuid>) is one writable bind mount from the attempt's directory; retries
 * keep the uuid, so that a URI that leaked out of a first attempt stays right.
 */
#include "plan/execin.h"

#include "base/clock.h"
#include "base/json.h"
#include "base/limits.h"
#include "spec/kube.h"
#include "spec/placeholder.h"

struct str exec_uri_to_path(struct arena *a, struct str uri)
{
    static const char *const schemes[] = {"gs", "minio", "s3"};
    static const char *const roots[] = {"/gcs/", "/minio/", "/s3/"};

    for (size_t i = 0; i < N_ELEMS(schemes); i++) {
        size_t n = strlen(schemes[i]);
        if (uri.len > n + 3 && memcmp(uri.ptr, schemes[i], n) == 0 &&
            memcmp(uri.ptr + n, "://", 3) == 0)
            return str_of(
                arena_printf(a, "%s%.*s", roots[i], (int)(uri.len - n - 3), uri.ptr + n + 3));
    }
    if (str_starts(uri, "oci://")) {
        char *p = arena_printf(a, "/oci/%.*s/models", (int)(uri.len - 6), uri.ptr + 6);
        for (size_t i = 5; i < 5 + uri.len - 6; i++)
            if (p[i] == '/')
                p[i] = '_';
        return str_of(p);
    }
    return arena_str(a, uri);
}

bool exec_in_workspace(const struct artifact *f)
{
    const struct value *v = f->metadata ? value_member(f->metadata, STR("_kfp_workspace")) : NULL;

    return v && v->kind == VALUE_BOOL && v->b;
}

struct str exec_artifact_path(struct arena *a, const struct artifact *f)
{
    struct str path = exec_uri_to_path(a, f->uri);

    if (!exec_in_workspace(f))
        return path;
    while (path.len && path.ptr[0] == '/')
        path = (struct str){path.ptr + 1, path.len - 1};
    return str_of(arena_printf(a, WORKSPACE_PATH "/.artifacts/%.*s", STR_ARG(path)));
}

/* ---- the executor input --------------------------------------------------------------- */

static void write_artifact(struct jw *w, const struct artifact *f)
{
    jw_obj(w);
    jw_key(w, "name");
    jw_str(w, f->name);
    jw_key(w, "type");
    jw_obj(w);
    jw_key(w, "schemaTitle");
    jw_str(w, f->type);
    jw_key(w, "schemaVersion");
    jw_str(w, f->type_version.len ? f->type_version : STR("0.0.1"));
    jw_end_obj(w);
    jw_key(w, "uri");
    jw_str(w, f->uri);
    jw_key(w, "metadata");
    if (f->metadata && f->metadata->kind == VALUE_STRUCT) {
        value_write(w, f->metadata);
    } else {
        jw_obj(w);
        jw_end_obj(w);
    }
    jw_end_obj(w);
}

static void write_artifact_list(struct jw *w, const struct named_artifacts *l)
{
    jw_keystr(w, l->name);
    jw_obj(w);
    jw_key(w, "artifacts");
    jw_arr(w);
    for (size_t i = 0; i < l->n_items; i++)
        write_artifact(w, &l->items[i]);
    jw_end_arr(w);
    jw_end_obj(w);
}

static void write_inputs(struct jw *w, const struct io_values *in)
{
    jw_key(w, "inputs");
    jw_obj(w);
    jw_key(w, "parameterValues");
    jw_obj(w);
    for (size_t i = 0; i < in->n_params; i++) {
        if (in->params[i].value.kind == VALUE_NULL)
            continue; /* absent parameters are left out, never sent as null */
        jw_keystr(w, in->params[i].name);
        value_write(w, &in->params[i].value);
    }
    jw_end_obj(w);
    jw_key(w, "artifacts");
    jw_obj(w);
    for (size_t i = 0; i < in->n_artifacts; i++)
        write_artifact_list(w, &in->artifacts[i]);
    jw_end_obj(w);
    jw_end_obj(w);
}

static void write_executor_input(struct jw *w, const struct task *t, const struct exec_plan *x)
{
    const struct io_defs *defs = &t->def->component->out;

    jw_obj(w);
    write_inputs(w, &t->in);
    jw_key(w, "outputs");
    jw_obj(w);
    jw_key(w, "parameters");
    jw_obj(w);
    for (size_t i = 0; i < x->n_params; i++) {
        jw_keystr(w, x->params[i].name);
        jw_obj(w);
        jw_key(w, "outputFile");
        jw_str(w, x->params[i].path);
        jw_end_obj(w);
    }
    jw_end_obj(w);
    jw_key(w, "artifacts");
    jw_obj(w);
    for (size_t i = 0; i < x->n_artifacts; i++) {
        const struct artifact_def *d = &defs->artifacts[i];
        struct artifact f = {.name = d->name,
                             .uri = x->artifacts[i].uri,
                             .type = d->schema_title,
                             .type_version = d->schema_version,
                             .metadata = d->metadata};
        struct named_artifacts one = {.name = d->name, .items = &f, .n_items = 1};
        write_artifact_list(w, &one);
    }
    jw_end_obj(w);
    jw_key(w, "outputFile");
    jw_str(w, x->output_file);
    jw_end_obj(w);
    jw_end_obj(w);
}

static void plan_outputs(struct arena *a, const struct graph *g, const struct task *t,
                         struct exec_plan *x)
{
    const struct io_defs *defs = &t->def->component->out;
    struct str root = g->root_uri, query = {"", 0};
    const char *mark = memchr(root.ptr, '?', root.len);

    if (mark) { /* a query string on the root is kept out of artifact URIs */
        query = (struct str){mark, root.len - (size_t)(mark - root.ptr)};
        root.len -= query.len;
    }
    while (root.len > 1 && root.ptr[root.len - 1] == '/')
        root.len--;
    x->task_root_uri = str_of(arena_printf(a, "%.*s/%.*s/%.*s/%.*s/%s", STR_ARG(root),
                                           STR_ARG(g->p->name), STR_ARG(g->run_id),
                                           STR_ARG(t->def->key), t->uuid));
    x->task_root_path = exec_uri_to_path(a, x->task_root_uri);
    x->output_file =
        str_of(arena_printf(a, "%.*s/output_metadata.json", STR_ARG(x->task_root_path)));
    x->n_params = defs->n_params;
    x->params = arena_alloc(a, (defs->n_params + 1) * sizeof(*x->params));
    for (size_t i = 0; i < defs->n_params; i++)
        x->params[i] = (struct exec_output){
            .name = defs->params[i].name,
            .path = str_of(arena_printf(a, EXEC_PARAM_DIR "/%.*s",
                                        STR_ARG(defs->params[i].name)))};
    x->n_artifacts = defs->n_artifacts;
    x->artifacts = arena_alloc(a, (defs->n_artifacts + 1) * sizeof(*x->artifacts));
    for (size_t i = 0; i < defs->n_artifacts; i++) {
        struct str uri = str_of(arena_printf(a, "%.*s/%.*s", STR_ARG(x->task_root_uri),
                                             STR_ARG(defs->artifacts[i].name)));
        x->artifacts[i] = (struct exec_output){.name = defs->artifacts[i].name,
                                               .uri = uri,
                                               .path = exec_uri_to_path(a, uri)};
    }
}

/* ---- placeholders of the command line (section 8.2) ------------------------------------ */

struct command_ctx {
    struct arena *a;
    const struct graph *g;
    const struct task *t;
    struct exec_plan *x;
};

static const struct exec_output *find_output(const struct exec_output *o, size_t n,
                                             struct str name)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(o[i].name, name))
            return &o[i];
    return NULL;
}

static void add_metadata(struct buf *out, const struct value *meta, struct str key)
{
    const struct value *v = meta;

    if (key.len)
        v = meta ? value_member(meta, key) : NULL;
    if (!v)
        buf_adds(out, key.len ? "null" : "{}");
    else
        value_text(out, v);
}

static int input_artifact(struct command_ctx *c, const struct placeholder *ph, struct buf *out)
{
    const struct named_artifacts *l = io_values_artifact(&c->t->in, ph->name);

    if (!l || !l->n_items) {
        if (ph->kind == PH_INPUT_ARTIFACT)
            buf_adds(out, "[]");
        return 1; /* an absent optional artifact: empty text */
    }
    if (ph->kind == PH_INPUT_ARTIFACT_URI) {
        buf_addstr(out, l->items[0].uri);
    } else if (ph->kind == PH_INPUT_ARTIFACT_PATH) {
        buf_addstr(out, exec_artifact_path(c->a, &l->items[0]));
    } else if (ph->kind == PH_INPUT_ARTIFACT_META) {
        add_metadata(out, l->items[0].metadata, ph->key);
    } else {
        struct jw w;
        jw_init(&w, out);
        jw_arr(&w);
        for (size_t i = 0; i < l->n_items; i++)
            write_artifact(&w, &l->items[i]);
        jw_end_arr(&w);
    }
    return 1;
}

/* each time may double the text */
static int add_escaped(struct buf *out, struct str text, unsigned times, struct err *e)
{
    AUTO_BUF struct buf quoted = {0};

    if (!times) {
        buf_addstr(out, text);
        return 1;
    }
    buf_init(&quoted, LIMIT_SPEC_BYTES);
    buf_add_json_string(&quoted, text);
    if (quoted.overflow)
        return err_set(e, ERR_LIMIT, "a text comes to more than %llu MiB once escaped",
                       LIMIT_SPEC_BYTES / MIB);
    return add_escaped(out, (struct str){quoted.ptr + 1, quoted.len - 2}, times - 1, e);
}

static int command_answer(void *ctx, const struct placeholder *ph, struct buf *out,
                          struct err *e)
{
    struct command_ctx *c = ctx;
    const struct exec_output *o;
    const struct value *v;
    const struct artifact_def *d;

    switch (ph->kind) {
    case PH_EXECUTOR_INPUT:
        buf_addstr(out, c->x->executor_input);
        return 1;
    case PH_JSON_ESCAPE:
        return add_escaped(out, c->x->executor_input, ph->times, e);
    case PH_INPUT_PARAM:
        v = io_values_param(&c->t->in, ph->name);
        if (v && v->kind != VALUE_NULL)
            value_text(out, v);
        else
            c->x->absent = arena_str(c->a, ph->name); /* an optional one: empty text */
        return 1;
    case PH_INPUT_ARTIFACT:
    case PH_INPUT_ARTIFACT_URI:
    case PH_INPUT_ARTIFACT_PATH:
    case PH_INPUT_ARTIFACT_META:
        return input_artifact(c, ph, out);
    case PH_OUTPUT_PARAM_FILE:
        o = find_output(c->x->params, c->x->n_params, ph->name);
        if (!o)
            return 0;
        buf_addstr(out, o->path);
        return 1;
    case PH_OUTPUT_ARTIFACT_URI:
    case PH_OUTPUT_ARTIFACT_PATH:
        o = find_output(c->x->artifacts, c->x->n_artifacts, ph->name);
        if (!o)
            return 0;
        buf_addstr(out, ph->kind == PH_OUTPUT_ARTIFACT_URI ? o->uri : o->path);
        return 1;
    case PH_OUTPUT_ARTIFACT_META:
        d = io_artifact(&c->t->def->component->out, ph->name);
        add_metadata(out, d ? d->metadata : NULL, ph->key);
        return 1;
    case PH_OUTPUT_FILE:
        buf_addstr(out, c->x->output_file);
        return 1;
    case PH_JOB_NAME:
    case PH_JOB_RESOURCE_NAME:
    case PH_JOB_UUID:
    case PH_TASK_NAME:
    case PH_TASK_UUID:
    case PH_CREATE_TIME:
    case PH_SCHEDULE_TIME:
    case PH_WORKSPACE:
    case PH_PIPELINE_ROOT:
        return task_fact(c->g, c->t, ph, out);
    }
    return 0;
}

static bool command_present(void *ctx, struct str name)
{
    struct command_ctx *c = ctx;
    const struct value *v = io_values_param(&c->t->in, name);

    return (v && v->kind != VALUE_NULL) || io_values_artifact(&c->t->in, name);
}

/* ---- $(NAME) of the executor's env (end of section 8.2) --------------------------------- */

static const char *env_value(const struct exec_plan *x, struct str name)
{
    for (size_t i = x->n_env; i-- > 0;) /* of several, the last counts */
        if (strncmp(x->env[i], name.ptr, name.len) == 0 && x->env[i][name.len] == '=')
            return x->env[i] + name.len + 1;
    return NULL;
}

/* Kubernetes fills these in before anything of KFP sees the text: a value that comes in
 * through a placeholder is never looked at. `text` is a word as it stands in the file; one
 * that is JSON gets the value as the inside of a JSON string. */
static int expand_env_refs(struct command_ctx *c, struct str *word, bool inside_json, struct err *e)
{
    AUTO_BUF struct buf out = {0};
    struct str text = *word;

    if (!memchr(text.ptr, '$', text.len))
        return 0;
    buf_init(&out, LIMIT_SPEC_BYTES);
    while (text.len) {
        size_t n = 1;
        const char *close = text.len > 2 && text.ptr[0] == '$' && text.ptr[1] == '('
                                ? memchr(text.ptr + 2, ')', text.len - 2)
                                : NULL;
        const char *value =
            close
                ? env_value(c->x, (struct str){text.ptr + 2, (size_t)(close - text.ptr - 2)})
                : NULL;

        if (value) {
            n = (size_t)(close - text.ptr) + 1;
            if (add_escaped(&out, str_of(value), inside_json, e) < 0)
                return -1;
        } else {
            buf_addc(&out, text.ptr[0]);
            if (text.len > 1 && text.ptr[0] == '$' && text.ptr[1] == '$')
                n = 2; /* $$ is how one writes $ */
        }
        text.ptr += n;
        text.len -= n;
    }
    if (out.overflow)
        return err_set(e, ERR_LIMIT, "a word comes to more than %llu MiB",
                       LIMIT_SPEC_BYTES / MIB);
    *word = arena_str(c->a, (struct str){buf_str(&out), out.len});
    return 0;
}

/* The executor's env in order; a value may refer to names before it. */
static int plan_env(struct command_ctx *c, struct exec_plan *x, struct err *e)
{
    const struct executor *ex = c->t->def->component->executor;

    if (!component_applies(c->t->def->component, PASS_ENV)) {
        x->env = arena_alloc(c->a, sizeof(*x->env));
        return 0;
    }
    x->env = arena_alloc(c->a, (ex->n_env + 1) * sizeof(*x->env));
    for (size_t i = 0; i < ex->n_env; i++) {
        struct str value = ex->env[i].value;

        if (expand_env_refs(c, &value, false, e) < 0)
            return -1;
        x->env[i] =
            arena_printf(c->a, "%.*s=%.*s", STR_ARG(ex->env[i].name), STR_ARG(value));
        if (strlen(x->env[i]) >= LIMIT_ARG_BYTES)
            return err_set(e, ERR_LIMIT,
                           "the variable %.*s is %zu bytes long, and the kernel takes %llu at "
                           "most",
                           STR_ARG(ex->env[i].name), strlen(x->env[i]),
                           (unsigned long long)LIMIT_ARG_BYTES - 1);
        x->n_env++;
    }
    return 0;
}

static int plan_argv(struct command_ctx *c, struct exec_plan *x, struct err *e)
{
    const struct executor *ex = c->t->def->component->executor;
    size_t n = ex->n_command + ex->n_args;
    struct str *words = arena_alloc(c->a, (n + 1) * sizeof(*words));

    for (size_t i = 0; i < n; i++) {
        words[i] = i < ex->n_command ? ex->command[i] : ex->args[i - ex->n_command];
        if (expand_env_refs(c, &words[i], placeholder_structured(words[i]), e) < 0)
            return -1;
    }
    if (placeholder_argv_in(c->a, words, n, command_answer, command_present, c, &x->argv,
                            &x->n_argv, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_argv; i++) {
        size_t len = strlen(x->argv[i]);
        if (len >= LIMIT_ARG_BYTES)
            return err_set(e, ERR_LIMIT,
                           "word %zu of its command line is %zu bytes long, and the kernel takes "
                           "%llu at most: hand large values on as artifacts, not as parameters",
                           i, len, (unsigned long long)LIMIT_ARG_BYTES - 1);
    }
    return 0;
}

static int expand_text(struct command_ctx *c, struct str text, struct str *out, struct err *e)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, LIMIT_VALUE_BYTES);
    if (placeholder_expand(text, command_answer, c, &b, e) < 0)
        return -1;
    *out = arena_str(c->a, (struct str){buf_str(&b), b.len});
    return 0;
}

int exec_text(struct arena *a, const struct graph *g, const struct task *t, struct str text,
              struct str *out, struct err *e)
{
    struct exec_plan x = {0};
    struct command_ctx c = {a, g, t, &x};

    return expand_text(&c, text, out, e);
}

int exec_input_in(struct arena *a, const struct graph *g, const struct task *t,
                  struct exec_plan *x, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct jw w;

    plan_outputs(a, g, t, x);
    buf_init(&text, LIMIT_SPEC_BYTES);
    jw_init(&w, &text);
    write_executor_input(&w, t, x);
    if (text.overflow)
        return err_set(e, ERR_LIMIT, "the executor input is over %llu MiB",
                       (unsigned long long)(LIMIT_SPEC_BYTES / MIB));
    x->executor_input = arena_str(a, (struct str){buf_str(&text), text.len});
    return 0;
}

int exec_plan_in(struct arena *a, const struct graph *g, const struct task *t,
                 struct exec_plan *x, struct err *e)
{
    const struct executor *ex = t->def->component->executor;
    struct command_ctx c = {a, g, t, x};

    *x = (struct exec_plan){0};
    if (exec_input_in(a, g, t, x, e) < 0)
        return -1;
    if (expand_text(&c, ex->image, &x->image, e) < 0)
        return err_at(e, "image");
    if (!x->image.len)
        return err_set(e, ERR_INPUT, "the image reference \"%.*s\" is empty once filled in",
                       STR_ARG(ex->image));
    return plan_env(&c, x, e) < 0 ? -1 : plan_argv(&c, x, e);
}

/* ---- resources ------------------------------------------------------------------------- */

int exec_cpu_millis(struct str text, uint32_t *out, struct err *e)
{
    char tmp[64], *end;
    double v;

    if (!text.len)
        return 0;
    if (text.len >= sizeof tmp)
        return err_set(e, ERR_INPUT, "\"%.40s\" is no CPU quantity", text.ptr);
    memcpy(tmp, text.ptr, text.len);
    tmp[text.len] = 0;
    v = strtod(tmp, &end);
    if (end != tmp && strcmp(end, "m") == 0)
        v /= 1000;
    else if (end == tmp || *end)
        return err_set(e, ERR_INPUT, "\"%s\" is no CPU quantity (want 2, 0.5 or 500m)", tmp);
    if (!(v >= 0 && v <= 100000))
        return err_set(e, ERR_INPUT, "%s CPUs is out of range", tmp);
    *out = (uint32_t)(v * 1000 + 0.5);
    return 0;
}

/* every text of it is filled in */
static int read_resources(const struct resources *r, struct exec_resources *out, struct err *e)
{
    if (exec_cpu_millis(r->cpu_limit, &out->cpu_limit_millis, e) < 0)
        return err_at(e, "CPU limit");
    if (exec_cpu_millis(r->cpu_request, &out->cpu_request_millis, e) < 0)
        return err_at(e, "CPU request");
    if (r->memory_limit.len && size_parse(r->memory_limit, &out->memory_limit_bytes, e) < 0)
        return err_at(e, "memory limit");
    if (r->memory_request.len && size_parse(r->memory_request, &out->memory_request_bytes, e) < 0)
        return err_at(e, "memory request");
    out->accelerator_type = r->accelerator_type;
    if (r->accelerator_type.len || r->accelerator_count.len) {
        uint64_t n = 1;
        if (r->accelerator_count.len && size_parse(r->accelerator_count, &n, e) < 0)
            return err_at(e, "accelerator count");
        out->accelerators = n > 1024 ? 1024 : (uint32_t)n;
    }
    return 0;
}

/* the texts of *r, so that all of them are treated alike */
#define RESOURCE_TEXTS(r)                                                                          \
    {                                                                                              \
        &(r)->cpu_limit, &(r)->cpu_request, &(r)->memory_limit, &(r)->memory_request,              \
            &(r)->accelerator_type, &(r)->accelerator_count                                        \
    }

int exec_resources(struct arena *a, const struct graph *g, const struct task *t,
                   struct exec_resources *out, struct err *e)
{
    struct resources r = t->def->component->executor->res;
    struct exec_plan x = {0};
    struct command_ctx c = {a, g, t, &x};
    struct str *const texts[] = RESOURCE_TEXTS(&r);

    *out = (struct exec_resources){.accelerator_type = STR("")};
    if (!component_applies(t->def->component, PASS_RESOURCES))
        return 0;
    for (size_t i = 0; i < N_ELEMS(texts); i++)
        if (expand_text(&c, *texts[i], texts[i], e) < 0)
            return -1;
    return read_resources(&r, out, e);
}

int exec_resources_known(const struct component *c, struct exec_resources *out, struct err *e)
{
    struct resources r = c->executor->res;
    struct str *const texts[] = RESOURCE_TEXTS(&r);

    *out = (struct exec_resources){.accelerator_type = STR("")};
    if (!component_applies(c, PASS_RESOURCES))
        return 0;
    for (size_t i = 0; i < N_ELEMS(texts); i++)
        if (placeholder_any(*texts[i]))
            *texts[i] = STR("");
    return read_resources(&r, out, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* specdiff.c - two pipelines side by side
 *
 * Tasks are matched by their place: the keys of the DAGs that lead to them. What a
 * person edits is a task's component (image, script, types) or its wiring (inputs,
 * order, retry); both are reported at the task, since the names of components and
 * executors are the compiler's and shift when one is inserted. Every field is turned
 * into a text of JSON, and texts are compared.
 */
#include "plan/specdiff.h"

#include "base/json.h"

const char *spec_change_word(enum spec_change_kind k)
{
    static const char *const words[] = {"added", "removed", "changed"};

    return words[k];
}

/* ---- fields as text
 * --------------------------------------------------------------------- */

static const struct str none = {NULL, 0};

static void differ(struct arena *a, struct changes *out, const char *what,
                   struct str before, struct str after)
{
    if (!before.ptr && !after.ptr)
        return;
    if (before.ptr && after.ptr && str_eq(before, after))
        return;
    change_add(a, out, str_of(what), before.ptr ? before : STR(""),
               after.ptr ? after : STR(""));
}

static struct str json_text(struct arena *a, struct str s)
{
    AUTO_BUF struct buf b = {0};

    if (!s.len)
        return none;
    buf_init(&b, 0);
    buf_add_json_string(&b, s);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

static struct str json_value(struct arena *a, const struct value *v)
{
    AUTO_BUF struct buf b = {0};

    if (!v)
        return none;
    buf_init(&b, 0);
    value_canonical(&b, v);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

static void differ_text(struct arena *a, struct changes *out, const char *what,
                        struct str before, struct str after)
{
    differ(a, out, what, json_text(a, before), json_text(a, after));
}

static void differ_flag(struct arena *a, struct changes *out, const char *what,
                        bool before, bool after)
{
    differ(a, out, what, before ? STR("true") : STR("false"),
           after ? STR("true") : STR("false"));
}

static void differ_number(struct arena *a, struct changes *out, const char *what,
                          double before, double after)
{
    char b[32], c[32];

    json_number_text(before, b);
    json_number_text(after, c);
    differ(a, out, what, str_of(b), str_of(c));
}

/* ---- command lines
 * ------------------------------------------------------------------------ */

static void differ_words(struct arena *a, const char *of, const struct str *before,
                         size_t n_before, const struct str *after, size_t n_after,
                         struct changes *out)
{
    for (size_t i = 0; i < n_before || i < n_after; i++)
        change_add_text(a, out,
                        str_of(arena_printf(a, "word %zu of the %s", i + 1, of)),
                        i < n_before ? before[i] : none, i < n_after ? after[i] : none);
}

void specdiff_command(struct arena *a, const struct executor *before,
                      const struct executor *after, struct changes *out)
{
    differ_words(a, "command", before->command, before->n_command, after->command,
                 after->n_command, out);
    differ_words(a, "arguments", before->args, before->n_args, after->args,
                 after->n_args, out);
}

/* ---- named lists: what one has and the other has not, too
 * --------------------------------- */

typedef struct str named_fn(struct arena *a, const void *list, struct str name);
typedef struct str name_fn(const void *list, size_t i);

static void differ_named(struct arena *a, struct changes *out, const char *what,
                         const void *before, size_t n_before, const void *after,
                         size_t n_after, name_fn *name_at, named_fn *text)
{
    for (size_t i = 0; i < n_before; i++) {
        struct str name = name_at(before, i);
        differ(a, out, arena_printf(a, "%s %.*s", what, STR_ARG(name)),
               text(a, before, name), text(a, after, name));
    }
    for (size_t i = 0; i < n_after; i++) {
        struct str name = name_at(after, i);
        if (!text(a, before, name).ptr)
            differ(a, out, arena_printf(a, "%s %.*s", what, STR_ARG(name)), none,
                   text(a, after, name));
    }
}

static struct str env_name(const void *x, size_t i)
{
    return ((const struct executor *)x)->env[i].name;
}

static struct str env_text(struct arena *a, const void *x, struct str name)
{
    const struct executor *e = x;

    for (size_t i = e->n_env; i-- > 0;)
        if (str_eq(e->env[i].name, name))
            return e->env[i].value.len ? json_text(a, e->env[i].value) : STR("\"\"");
    return none;
}

static struct str param_name(const void *d, size_t i)
{
    return ((const struct io_defs *)d)->params[i].name;
}

static struct str param_text(struct arena *a, const void *d, struct str name)
{
    const struct param_def *p = io_param(d, name);
    AUTO_BUF struct buf b = {0};
    struct jw w;

    if (!p)
        return none;
    buf_init(&b, 0);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "type", param_type_name(p->type));
    if (p->optional)
        jw_kbool(&w, "optional", true);
    if (p->default_value) {
        jw_key(&w, "default");
        value_write(&w, p->default_value);
    }
    jw_end_obj(&w);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

static struct str artifact_name(const void *d, size_t i)
{
    return ((const struct io_defs *)d)->artifacts[i].name;
}

static struct str artifact_text(struct arena *a, const void *d, struct str name)
{
    const struct artifact_def *f = io_artifact(d, name);

    if (!f)
        return none;
    return str_of(arena_printf(a, "\"%s%.*s%s\"", f->is_list ? "list of " : "",
                               STR_ARG(f->schema_title),
                               f->optional ? ", optional" : ""));
}

static void differ_io(struct arena *a, struct changes *out, const char *param,
                      const char *artifact, const struct io_defs *before,
                      const struct io_defs *after)
{
    differ_named(a, out, param, before, before->n_params, after, after->n_params,
                 param_name, param_text);
    differ_named(a, out, artifact, before, before->n_artifacts, after,
                 after->n_artifacts, artifact_name, artifact_text);
}

/* ---- bindings
 * ------------------------------------------------------------------------------- */

struct bindings {
    const struct binding *items;
    size_t n;
};

static struct str binding_name(const void *x, size_t i)
{
    return ((const struct bindings *)x)->items[i].name;
}

static struct str source_text(struct arena *a, const struct source *s)
{
    struct str text = none;

    switch (s->kind) {
    case SOURCE_INPUT:
        text = str_of(arena_printf(a, "input %.*s", STR_ARG(s->name)));
        break;
    case SOURCE_TASK_OUTPUT:
        text = str_of(arena_printf(a, "%.*s.%.*s", STR_ARG(s->task), STR_ARG(s->name)));
        break;
    case SOURCE_CONSTANT:
        return json_value(a, s->constant);
    case SOURCE_FINAL_STATUS:
        text = str_of(arena_printf(a, "final status of %.*s", STR_ARG(s->task)));
        break;
    }
    if (s->selector.len)
        text =
            str_of(arena_printf(a, "%.*s, %.*s", STR_ARG(text), STR_ARG(s->selector)));
    return json_text(a, text);
}

static struct str binding_text(struct arena *a, const void *x, struct str name)
{
    const struct bindings *b = x;

    for (size_t i = 0; i < b->n; i++)
        if (str_eq(b->items[i].name, name))
            return source_text(a, &b->items[i].from);
    return none;
}

static struct str deps_text(struct arena *a, const struct dag *dag,
                            const struct task_def *t)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;

    buf_init(&b, 0);
    jw_init(&w, &b);
    jw_arr(&w);
    for (size_t i = 0; i < t->n_deps; i++)
        jw_str(&w, dag->tasks[t->deps[i]].key);
    jw_end_arr(&w);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

/* ---- one task
 * --------------------------------------------------------------------------------- */

static const char *kind_of(const struct task_def *t)
{
    if (!t->component->dag)
        return t->component->executor->kind == EXECUTOR_IMPORTER ? "\"importer\""
                                                                 : "\"container\"";
    return task_is_loop(t) ? "\"loop\"" : "\"dag\"";
}

static void differ_executor(struct arena *a, struct changes *out,
                            const struct executor *x, const struct executor *y)
{
    const struct resources *p = &x->res, *q = &y->res;

    differ_text(a, out, "image", x->image, y->image);
    specdiff_command(a, x, y, out);
    differ_named(a, out, "env", x, x->n_env, y, y->n_env, env_name, env_text);
    differ_text(a, out, "CPU limit", p->cpu_limit, q->cpu_limit);
    differ_text(a, out, "CPU request", p->cpu_request, q->cpu_request);
    differ_text(a, out, "memory limit", p->memory_limit, q->memory_limit);
    differ_text(a, out, "memory request", p->memory_request, q->memory_request);
    differ_text(a, out, "accelerator", p->accelerator_type, q->accelerator_type);
    differ_text(a, out, "accelerators", p->accelerator_count, q->accelerator_count);
    differ(a, out, "Kubernetes settings", json_value(a, x->platform),
           json_value(a, y->platform));
}

static void differ_wiring(struct arena *a, struct changes *out, const struct dag *in_x,
                          const struct task_def *x, const struct dag *in_y,
                          const struct task_def *y)
{
    struct bindings bx = {x->params, x->n_params}, by = {y->params, y->n_params};
    struct bindings ax = {x->artifacts, x->n_artifacts},
                    ay = {y->artifacts, y->n_artifacts};

    differ_named(a, out, "input parameter", &bx, bx.n, &by, by.n, binding_name,
                 binding_text);
    differ_named(a, out, "input artifact", &ax, ax.n, &ay, ay.n, binding_name,
                 binding_text);
    differ(a, out, "runs after", deps_text(a, in_x, x), deps_text(a, in_y, y));
    differ_text(a, out, "condition", x->condition, y->condition);
    differ_flag(a, out, "runs even after failures", x->run_on_any_end,
                y->run_on_any_end);
    differ_text(a, out, "items of the loop", x->items_raw, y->items_raw);
    differ_text(a, out, "list of the loop", x->items_input, y->items_input);
    differ_number(a, out, "parallelism", x->parallelism_limit, y->parallelism_limit);
}

static void differ_task(struct arena *a, struct changes *out, const struct dag *in_x,
                        const struct task_def *x, const struct dag *in_y,
                        const struct task_def *y)
{
    differ(a, out, "kind", str_of(kind_of(x)), str_of(kind_of(y)));
    if (x->component->executor && y->component->executor)
        differ_executor(a, out, x->component->executor, y->component->executor);
    differ_wiring(a, out, in_x, x, in_y, y);
    differ_io(a, out, "definition of input", "definition of input artifact",
              &x->component->in, &y->component->in);
    differ_io(a, out, "definition of output", "definition of output artifact",
              &x->component->out, &y->component->out);
    differ_flag(a, out, "caching", x->cache_enabled, y->cache_enabled);
    differ_text(a, out, "cache key", x->cache_key, y->cache_key);
    differ_number(a, out, "retries", x->retry.max_retries, y->retry.max_retries);
    differ_number(a, out, "back-off in ms", (double)x->retry.backoff_ms,
                  (double)y->retry.backoff_ms);
    differ_number(a, out, "back-off factor", x->retry.backoff_factor,
                  y->retry.backoff_factor);
}

/* ---- DAGs
 * ----------------------------------------------------------------------------------------
 */

struct differ {
    struct arena *a;
    struct spec_change *list;
    size_t n;
};

static struct spec_change *add(struct differ *d, enum spec_change_kind kind,
                               const char *path)
{
    d->list = arena_grow(d->a, d->list, &d->n, sizeof(*d->list));
    d->list[d->n - 1] =
        (struct spec_change){.kind = kind, .path = arena_str(d->a, str_of(path))};
    return &d->list[d->n - 1];
}

static const struct task_def *task_in(const struct dag *dag, struct str key)
{
    for (size_t i = 0; i < dag->n_tasks; i++)
        if (str_eq(dag->tasks[i].key, key))
            return &dag->tasks[i];
    return NULL;
}

static const char *path_in(struct differ *d, const char *prefix, struct str key)
{
    return arena_printf(d->a, "%s%s%.*s", prefix, prefix[0] ? "/" : "", STR_ARG(key));
}

/* a whole task, with what is inside it */
static void add_all(struct differ *d, enum spec_change_kind kind, const char *prefix,
                    const struct task_def *t)
{
    const char *path = path_in(d, prefix, t->key);
    const struct dag *dag = t->component->dag;

    (void)add(d, kind, path);
    for (size_t i = 0; dag && i < dag->n_tasks; i++)
        add_all(d, kind, path, &dag->tasks[i]);
}

static void differ_dag(struct differ *d, const char *prefix, const struct dag *before,
                       const struct dag *after);

static void differ_pair(struct differ *d, const char *path, const struct dag *in_x,
                        const struct task_def *x, const struct dag *in_y,
                        const struct task_def *y)
{
    const struct dag *dx = x->component->dag, *dy = y->component->dag;
    struct changes c = {0};

    differ_task(d->a, &c, in_x, x, in_y, y);
    if (c.n)
        add(d, SPEC_CHANGED, path)->changes = c;
    if (dx && dy)
        differ_dag(d, path, dx, dy);
    for (size_t i = 0; dx && !dy && i < dx->n_tasks; i++)
        add_all(d, SPEC_REMOVED, path, &dx->tasks[i]);
    for (size_t i = 0; dy && !dx && i < dy->n_tasks; i++)
        add_all(d, SPEC_ADDED, path, &dy->tasks[i]);
}

static void differ_dag(struct differ *d, const char *prefix, const struct dag *before,
                       const struct dag *after)
{
    for (size_t i = 0; i < before->n_tasks; i++)
        if (!task_in(after, before->tasks[i].key))
            add_all(d, SPEC_REMOVED, prefix, &before->tasks[i]);
    for (size_t i = 0; i < after->n_tasks; i++) {
        const struct task_def *y = &after->tasks[i], *x = task_in(before, y->key);

        if (x)
            differ_pair(d, path_in(d, prefix, y->key), before, x, after, y);
        else
            add_all(d, SPEC_ADDED, prefix, y);
    }
}

void specdiff_in(struct arena *a, const struct pipeline *before,
                 const struct pipeline *after, struct spec_change **out, size_t *n)
{
    struct differ d = {.a = a};
    struct changes c = {0};

    differ_text(a, &c, "name", before->name, after->name);
    differ_text(a, &c, "pipeline root", before->default_root, after->default_root);
    differ_io(a, &c, "parameter", "input artifact", &before->root->in,
              &after->root->in);
    differ_io(a, &c, "output", "output artifact", &before->root->out,
              &after->root->out);
    differ(a, &c, "Kubernetes settings", json_value(a, before->platform_config),
           json_value(a, after->platform_config));
    if (c.n)
        add(&d, SPEC_CHANGED, "(pipeline)")->changes = c;
    differ_dag(&d, "", before->root->dag, after->root->dag);
    *out = d.list;
    *n = d.n;
}

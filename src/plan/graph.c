/* SPDX-License-Identifier: Apache-2.0 */
/* graph.c - task instances and the rules for starting them
 *
 * Names cross group borders through plain inputs and outputs of the groups
 * ("pipelinechannel--a-b"); they are looked up as they stand, never parsed. All reasoning is
 * about one scope at a time: a task waits for its siblings, a nested DAG is a task whose own
 * scope starts when the task does, and whose outputs are read from that scope when it is done.
 *
 * Failure: a scope in which a task failed starts nothing new that was not ready before; what
 * needed the failed task is SKIPPED with the reason, transitively.
 */
#include "plan/graph.h"

#include "base/limits.h"
#include "spec/placeholder.h"

const char *task_state_name(enum task_state s)
{
    static const char *const names[TASK_STATES] = {
        [TASK_PENDING] = "PENDING",     [TASK_RUNNING] = "RUNNING",
        [TASK_SUCCEEDED] = "SUCCEEDED", [TASK_FAILED] = "FAILED",
        [TASK_SKIPPED] = "SKIPPED",     [TASK_CANCELED] = "CANCELED",
    };
    return names[s];
}

bool task_state_from_name(struct str name, enum task_state *out)
{
    for (int s = 0; s < TASK_STATES; s++)
        if (str_eqz(name, task_state_name((enum task_state)s))) {
            *out = (enum task_state)s;
            return true;
        }
    return false;
}

struct value *io_values_param(const struct io_values *v, struct str name)
{
    for (size_t i = 0; i < v->n_params; i++)
        if (str_eq(v->params[i].name, name))
            return &v->params[i].value;
    return NULL;
}

struct named_artifacts *io_values_artifact(const struct io_values *v, struct str name)
{
    for (size_t i = 0; i < v->n_artifacts; i++)
        if (str_eq(v->artifacts[i].name, name))
            return &v->artifacts[i];
    return NULL;
}

/* ---- building ---------------------------------------------------------------------- */

static struct scope *scope_new(struct graph *g, struct scope *parent, struct task *owner,
                               const struct dag *dag);

static struct task *task_new(struct graph *g, struct scope *s, const struct task_def *def)
{
    struct task *t = arena_alloc(g->a, sizeof *t);

    t->def = def;
    t->scope = s;
    t->path = s->owner ? str_of(arena_printf(g->a, "%.*s/%.*s", STR_ARG(s->owner->path),
                                             STR_ARG(def->key)))
                       : def->key;
    t->index = g->n_tasks;
    g->tasks = arena_grow(g->a, g->tasks, &g->n_tasks, sizeof(*g->tasks));
    g->tasks[t->index] = t;
    if (def->component->dag) {
        t->kind = TASK_DAG;
        t->inner = scope_new(g, s, t, def->component->dag);
    } else {
        t->kind = def->component->executor->kind == EXECUTOR_IMPORTER ? TASK_IMPORTER
                                                                      : TASK_CONTAINER;
    }
    return t;
}

/* who waits for task i, so that a finished task wakes only those */
static void turn_deps_round(struct graph *g, struct scope *s)
{
    size_t n = s->dag->n_tasks, total = 0;
    size_t *fill = arena_alloc(g->a, (n + 1) * sizeof *fill);

    s->first_dependent = arena_alloc(g->a, (n + 1) * sizeof(*s->first_dependent));
    for (size_t i = 0; i < n; i++) {
        total += s->dag->tasks[i].n_deps;
        for (size_t k = 0; k < s->dag->tasks[i].n_deps; k++)
            s->first_dependent[s->dag->tasks[i].deps[k] + 1]++;
    }
    for (size_t i = 0; i < n; i++) {
        s->first_dependent[i + 1] += s->first_dependent[i];
        fill[i] = s->first_dependent[i];
    }
    s->dependents = arena_alloc(g->a, (total + 1) * sizeof(*s->dependents));
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < s->dag->tasks[i].n_deps; k++)
            s->dependents[fill[s->dag->tasks[i].deps[k]]++] = i;
}

static struct scope *scope_new(struct graph *g, struct scope *parent, struct task *owner,
                               const struct dag *dag)
{
    struct scope *s = arena_alloc(g->a, sizeof *s);

    s->parent = parent;
    s->owner = owner;
    s->dag = dag;
    s->n_left = dag->n_tasks;
    s->tasks = arena_alloc(g->a, (dag->n_tasks + 1) * sizeof(*s->tasks));
    for (size_t i = 0; i < dag->n_tasks; i++)
        s->tasks[i] = task_new(g, s, &dag->tasks[i]);
    turn_deps_round(g, s);
    return s;
}

void graph_init(struct graph *g, struct arena *a, const struct pipeline *p,
                const struct io_values *in)
{
    *g = (struct graph){.a = a, .p = p};
    g->root = scope_new(g, NULL, NULL, p->root->dag);
    g->root->in = *in;
}

/* ---- who may start ------------------------------------------------------------------- */

static bool scope_open(const struct scope *s)
{
    for (; s; s = s->owner ? s->owner->scope : NULL)
        if (s->owner && s->owner->state != TASK_RUNNING)
            return false;
    return true;
}

static const struct scope *failed_scope(const struct scope *s)
{
    for (; s; s = s->owner ? s->owner->scope : NULL)
        if (s->failed)
            return s;
    return NULL;
}

enum task_verdict task_verdict(struct graph *g, const struct task *t, struct str *reason)
{
    if (!scope_open(t->scope)) {
        const struct task *owner = t->scope->owner;
        if (owner && task_state_final(owner->state)) {
            *reason = str_of(arena_printf(g->a, "%.*s did not run", STR_ARG(owner->path)));
            return VERDICT_SKIP;
        }
        return VERDICT_WAIT;
    }
    for (size_t i = 0; i < t->def->n_deps; i++) {
        const struct task *dep = t->scope->tasks[t->def->deps[i]];

        if (t->def->run_on_any_end) {
            if (!task_state_final(dep->state))
                return VERDICT_WAIT;
            continue;
        }
        if (dep->state == TASK_FAILED || dep->state == TASK_SKIPPED ||
            dep->state == TASK_CANCELED) {
            *reason = str_of(arena_printf(
                g->a, "needs %.*s, which %s", STR_ARG(dep->def->key),
                dep->state == TASK_FAILED    ? "failed"
                : dep->state == TASK_SKIPPED ? "was skipped"
                                             : "was canceled"));
            return VERDICT_SKIP;
        }
    }
    for (size_t i = 0; i < t->def->n_deps; i++)
        if (!task_state_final(t->scope->tasks[t->def->deps[i]]->state))
            return VERDICT_WAIT;

    /* Tasks without a dependency were ready before anything failed, and run (section 23). */
    if (t->def->n_deps && !t->def->run_on_any_end && failed_scope(t->scope)) {
        *reason = STR("another task failed first");
        return VERDICT_SKIP;
    }
    return VERDICT_START;
}

/* ---- inputs --------------------------------------------------------------------------- */

static void add_param(struct graph *g, struct io_values *v, struct str name, struct value val)
{
    v->params = arena_grow(g->a, v->params, &v->n_params, sizeof(*v->params));
    v->params[v->n_params - 1] = (struct named_value){name, val};
}

static void add_artifacts(struct graph *g, struct io_values *v, const struct named_artifacts *l)
{
    v->artifacts = arena_grow(g->a, v->artifacts, &v->n_artifacts, sizeof(*v->artifacts));
    v->artifacts[v->n_artifacts - 1] = *l;
}

/* *out NULL: the producer has no such value (an upstream without output, an absent optional) */
static int fetch_param(struct graph *g, const struct task *t, const struct source *from,
                       const struct value **out, struct err *e)
{
    *out = NULL;
    switch (from->kind) {
    case SOURCE_INPUT:
        *out = io_values_param(&t->scope->in, from->name);
        return 0;
    case SOURCE_TASK_OUTPUT:
        *out = io_values_param(&t->scope->tasks[from->task_index]->out, from->name);
        return 0;
    case SOURCE_CONSTANT:
        *out = from->constant;
        return 0;
    case SOURCE_FINAL_STATUS:
        break;
    }
    (void)g;
    return err_set(e, ERR_INPUT, "the final status of task %.*s cannot be passed on yet",
                   STR_ARG(from->task));
}

/* ---- placeholders in constants (section 8.1) --------------------------------------- */

struct constant_ctx {
    const struct graph *g;
    const struct task *t;
    bool again; /* another constant input was put in: look once more */
};

static int constant_answer(void *ctx, const struct placeholder *ph, struct buf *out,
                           struct err *e)
{
    struct constant_ctx *c = ctx;
    const struct graph *g = c->g;

    (void)e;
    switch (ph->kind) {
    case PH_JOB_NAME:
        buf_addstr(out, g->run_name);
        return 1;
    case PH_JOB_RESOURCE_NAME:
        buf_addstr(out, g->resource_name);
        return 1;
    case PH_JOB_UUID:
        buf_addstr(out, g->run_id);
        return 1;
    case PH_TASK_NAME:
        buf_addstr(out, c->t->def->key);
        return 1;
    case PH_TASK_UUID:
        buf_adds(out, c->t->uuid);
        return 1;
    case PH_CREATE_TIME:
    case PH_SCHEDULE_TIME:
        buf_addstr(out, g->create_time);
        return 1;
    case PH_WORKSPACE:
        buf_adds(out, "/kfp-workspace");
        return 1;
    case PH_PIPELINE_ROOT:
        buf_addstr(out, g->root_uri);
        return 1;
    case PH_INPUT_PARAM: {
        const struct value *v = io_values_param(&c->t->in, ph->name);
        if (!v)
            return 0;
        value_text(out, v);
        return 1;
    }
    case PH_EXECUTOR_INPUT:
    case PH_JSON_ESCAPE:
    case PH_INPUT_ARTIFACT:
    case PH_INPUT_ARTIFACT_URI:
    case PH_INPUT_ARTIFACT_PATH:
    case PH_INPUT_ARTIFACT_META:
    case PH_OUTPUT_PARAM_FILE:
    case PH_OUTPUT_ARTIFACT_URI:
    case PH_OUTPUT_ARTIFACT_PATH:
    case PH_OUTPUT_ARTIFACT_META:
    case PH_OUTPUT_FILE:
        return 0;
    }
    return 0;
}

/* strings anywhere inside a constant, in place */
static int expand_value(struct graph *g, struct constant_ctx *c, struct value *v, struct err *e)
{
    if (v->kind == VALUE_STRING && placeholder_any(v->s)) {
        AUTO_BUF struct buf out = {0};
        buf_init(&out, LIMIT_VALUE_BYTES);
        if (placeholder_expand(v->s, constant_answer, c, &out, e) < 0)
            return -1;
        v->s = arena_str(g->a, (struct str){buf_str(&out), out.len});
    }
    for (size_t i = 0; i < v->n_items; i++)
        if (expand_value(g, c, &v->items[i], e) < 0)
            return -1;
    return 0;
}

/* Constants may name other inputs of the same task, which may be constants themselves: those
 * are expanded first, and a cycle is an error. Values that came from elsewhere are put in but
 * never scanned. `busy` marks the chain that we are in. */
static int expand_constant(struct graph *g, struct task *t, size_t i, uint8_t *seen,
                           struct err *e);

static int expand_inner(struct graph *g, struct task *t, const struct value *v, uint8_t *seen,
                        struct err *e)
{
    if (v->kind == VALUE_STRING)
        for (size_t i = 0; i < t->def->n_params; i++) {
            const struct binding *b = &t->def->params[i];
            char *mention = arena_printf(g->a, "{{$.inputs.parameters['%.*s']}}",
                                         STR_ARG(b->name));
            if (memmem(v->s.ptr, v->s.len, mention, strlen(mention)) &&
                expand_constant(g, t, i, seen, e) < 0)
                return -1;
        }
    for (size_t i = 0; i < v->n_items; i++)
        if (expand_inner(g, t, &v->items[i], seen, e) < 0)
            return -1;
    return 0;
}

static bool has_placeholder(const struct value *v)
{
    if (v->kind == VALUE_STRING && placeholder_any(v->s))
        return true;
    for (size_t i = 0; i < v->n_items; i++)
        if (has_placeholder(&v->items[i]))
            return true;
    return false;
}

static int expand_constant(struct graph *g, struct task *t, size_t i, uint8_t *seen,
                           struct err *e)
{
    const struct binding *b = &t->def->params[i];
    struct value *v = io_values_param(&t->in, b->name);
    struct constant_ctx c = {.g = g, .t = t};

    if (b->from.kind != SOURCE_CONSTANT || !v || seen[i] == 2)
        return 0;
    if (seen[i] == 1)
        return err_set(e, ERR_INPUT, "input %.*s refers to itself through {{$.inputs...}}",
                       STR_ARG(b->name));
    seen[i] = 1;
    if (has_placeholder(v)) {
        *v = value_copy_in(g->a, v);
        if (expand_inner(g, t, v, seen, e) < 0 || expand_value(g, &c, v, e) < 0)
            return -1;
    }
    seen[i] = 2;
    return 0;
}

static int resolve_params(struct graph *g, struct task *t, struct err *e)
{
    const struct io_defs *in = &t->def->component->in;
    uint8_t *seen = arena_alloc(g->a, t->def->n_params + 1);

    for (size_t i = 0; i < t->def->n_params; i++) {
        const struct binding *b = &t->def->params[i];
        const struct param_def *def = io_param(in, b->name);
        const struct value *v;

        if (fetch_param(g, t, &b->from, &v, e) < 0)
            return err_at(e, "input %.*s", STR_ARG(b->name));
        if ((!v || v->kind == VALUE_NULL) && def) {
            if (!def->optional && !def->default_value)
                return err_set(e, ERR_INPUT,
                               "input %.*s is required, and %.*s%s%.*s gave no value",
                               STR_ARG(b->name), STR_ARG(b->from.task),
                               b->from.task.len ? " output " : "pipeline input ",
                               STR_ARG(b->from.name));
            continue; /* as if it were not bound: the default, or left out */
        }
        if (v)
            add_param(g, &t->in, b->name, *v);
    }
    for (size_t i = 0; i < t->def->n_params; i++)
        if (expand_constant(g, t, i, seen, e) < 0)
            return -1;

    for (size_t i = 0; i < in->n_params; i++) {
        const struct param_def *def = &in->params[i];
        struct value *v = io_values_param(&t->in, def->name);

        if (!v && def->default_value)
            add_param(g, &t->in, def->name, *def->default_value);
        else if (!v && !def->optional)
            return err_set(e, ERR_INPUT, "input %.*s is required, and nothing gives it",
                           STR_ARG(def->name));
        else if (!v && t->kind == TASK_DAG)
            add_param(g, &t->in, def->name, (struct value){.kind = VALUE_NULL});
        v = io_values_param(&t->in, def->name);
        if (!v || v->kind == VALUE_NULL)
            continue;
        if (def->n_literals) {
            size_t k = 0;
            while (k < def->n_literals && !value_equal(&def->literals[k], v))
                k++;
            if (k == def->n_literals) {
                AUTO_BUF struct buf text = {0};
                buf_init(&text, 200);
                value_text(&text, v);
                return err_set(e, ERR_INPUT, "input %.*s: %s is none of its allowed values",
                               STR_ARG(def->name), buf_str(&text));
            }
        }
        if (value_check_in(g->a, def->type, v, e) < 0)
            return err_at(e, "input %.*s", STR_ARG(def->name));
    }
    return 0;
}

static int resolve_artifacts(struct graph *g, struct task *t, struct err *e)
{
    const struct io_defs *in = &t->def->component->in;

    for (size_t i = 0; i < t->def->n_artifacts; i++) {
        const struct binding *b = &t->def->artifacts[i];
        const struct named_artifacts *l =
            b->from.kind == SOURCE_INPUT
                ? io_values_artifact(&t->scope->in, b->from.name)
                : io_values_artifact(&t->scope->tasks[b->from.task_index]->out, b->from.name);
        struct named_artifacts named;

        if (!l)
            continue;
        named = *l;
        named.name = b->name;
        add_artifacts(g, &t->in, &named);
    }
    for (size_t i = 0; i < in->n_artifacts; i++) {
        const struct artifact_def *def = &in->artifacts[i];
        if (!def->optional && !io_values_artifact(&t->in, def->name))
            return err_set(e, ERR_INPUT, "input artifact %.*s is required, and nothing gives it",
                           STR_ARG(def->name));
    }
    return 0;
}

int task_resolve(struct graph *g, struct task *t, struct err *e)
{
    t->in = (struct io_values){0};
    if (resolve_params(g, t, e) < 0 || resolve_artifacts(g, t, e) < 0)
        return -1;
    if (t->inner)
        t->inner->in = t->in;
    return 0;
}

/* ---- outputs of a DAG ---------------------------------------------------------------- */

int scope_outputs(struct graph *g, const struct scope *s, struct io_values *out, struct err *e)
{
    (void)e;
    *out = (struct io_values){0};
    for (size_t i = 0; i < s->dag->n_params; i++) {
        const struct dag_output *o = &s->dag->params[i];
        for (size_t k = 0; k < o->n_from; k++) {
            const struct task *t = s->tasks[o->from[k].task_index];
            const struct value *v = io_values_param(&t->out, o->from[k].output);
            if (t->state != TASK_SUCCEEDED || !v)
                continue;
            add_param(g, out, o->name, *v);
            break;
        }
    }
    for (size_t i = 0; i < s->dag->n_artifacts; i++) {
        const struct dag_output *o = &s->dag->artifacts[i];
        for (size_t k = 0; k < o->n_from; k++) {
            const struct task *t = s->tasks[o->from[k].task_index];
            const struct named_artifacts *l = io_values_artifact(&t->out, o->from[k].output);
            struct named_artifacts named;
            if (t->state != TASK_SUCCEEDED || !l)
                continue;
            named = *l;
            named.name = o->name;
            add_artifacts(g, out, &named);
            break;
        }
    }
    return 0;
}

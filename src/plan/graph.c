/* SPDX-License-Identifier: Apache-2.0 */
/* graph.c - task instances and the rules for starting them
 *
 * Names cross group borders through plain inputs and outputs of the groups
 * ("pipelinechannel--a-b"); they are looked up as they stand, never parsed. All reasoning is
 * about one scope at a time: a task waits for its siblings, a group is a task whose own scopes
 * start when it does, and whose outputs are read from them when they are done.
 *
 * Failure: a scope in which a task failed starts nothing new that was not ready before; what
 * needed the failed task is SKIPPED with the reason, transitively. Scopes inside of it that have
 * started are "running tasks" and finish, the scope around it hears of it when it has failed as a
 * whole (section 23).
 */
#include "plan/graph.h"

#include <stdlib.h>

#include "base/limits.h"
#include "plan/cond.h"

const char *task_state_name(enum task_state s)
{
    static const char *const names[TASK_STATES] = {
        [TASK_PENDING] = "PENDING",     [TASK_RUNNING] = "RUNNING",
        [TASK_SUCCEEDED] = "SUCCEEDED", [TASK_FAILED] = "FAILED",
        [TASK_SKIPPED] = "SKIPPED",     [TASK_CANCELED] = "CANCELED",
    };
    return names[s];
}

const char *task_kind_name(enum task_kind k)
{
    static const char *const names[] = {
        [TASK_CONTAINER] = "container", [TASK_IMPORTER] = "importer", [TASK_DAG] = "dag",
        [TASK_CONDITION] = "condition", [TASK_LOOP] = "loop",
    };
    return names[k];
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

void io_values_add_param(struct arena *a, struct io_values *v, struct str name, struct value val)
{
    v->params = arena_grow(a, v->params, &v->n_params, sizeof(*v->params));
    v->params[v->n_params - 1] = (struct named_value){name, val};
}

void io_values_add_artifacts(struct arena *a, struct io_values *v, struct str name,
                             const struct named_artifacts *l)
{
    v->artifacts = arena_grow(a, v->artifacts, &v->n_artifacts, sizeof(*v->artifacts));
    v->artifacts[v->n_artifacts - 1] = *l;
    v->artifacts[v->n_artifacts - 1].name = name;
}

/* ---- building ---------------------------------------------------------------------- */

static enum task_kind kind_of(const struct task_def *def)
{
    if (!def->component->dag)
        return def->component->executor->kind == EXECUTOR_IMPORTER ? TASK_IMPORTER
                                                                   : TASK_CONTAINER;
    if (task_is_loop(def))
        return TASK_LOOP;
    return def->condition.len ? TASK_CONDITION : TASK_DAG;
}

static struct scope *scope_new(struct graph *g, struct task *owner, size_t iteration,
                               struct str prefix, const struct dag *dag);

static struct task *task_new(struct graph *g, struct scope *s, struct str prefix,
                             const struct task_def *def)
{
    struct task *t = arena_alloc(g->a, sizeof *t);

    t->def = def;
    t->scope = s;
    t->path = prefix.len ? str_of(arena_printf(g->a, "%.*s/%.*s", STR_ARG(prefix),
                                               STR_ARG(def->key)))
                         : def->key;
    t->kind = kind_of(def);
    t->again = s->owner && s->owner->again;
    t->index = g->n_tasks;
    g->tasks = arena_grow(g->a, g->tasks, &g->n_tasks, sizeof(*g->tasks));
    g->tasks[t->index] = t;
    if (task_is_group(t) && t->kind != TASK_LOOP)
        t->inner = scope_new(g, t, 0, t->path, def->component->dag);
    return t;
}

static struct scope *scope_new(struct graph *g, struct task *owner, size_t iteration,
                               struct str prefix, const struct dag *dag)
{
    struct scope *s = arena_alloc(g->a, sizeof *s);

    s->owner = owner;
    s->iteration = iteration;
    s->dag = dag;
    s->n_left = dag->n_tasks;
    s->tasks = arena_alloc(g->a, (dag->n_tasks + 1) * sizeof(*s->tasks));
    for (size_t i = 0; i < dag->n_tasks; i++)
        s->tasks[i] = task_new(g, s, prefix, &dag->tasks[i]);
    return s;
}

void graph_init(struct graph *g, struct arena *a, const struct pipeline *p,
                const struct io_values *in)
{
    *g = (struct graph){.a = a, .p = p};
    g->root = scope_new(g, NULL, 0, (struct str){"", 0}, p->root->dag);
    g->root->in = *in;
}

/* ---- loops (section 14) --------------------------------------------------------------- */

/* the list to loop over; a text may hold one as JSON */
static int find_list(struct graph *g, const struct task *t, const struct value **list,
                     struct err *e)
{
    const struct task_def *def = t->def;
    const struct value *v = NULL;
    struct str text = def->items_raw;

    if (!text.len) {
        v = io_values_param(&t->in, def->items_input);
        if (v && v->kind == VALUE_STRING)
            text = v->s;
    }
    if (text.len) {
        struct value *parsed = arena_alloc(g->a, sizeof *parsed);
        if (value_parse_in(g->a, text, parsed, e) < 0)
            return err_at(e, "the items of the loop");
        v = parsed;
    }
    if (!v || v->kind != VALUE_LIST)
        return err_set(e, ERR_INPUT, "the items of the loop: want a list, %.*s is a %s",
                       STR_ARG(def->items_input), v ? value_kind_name(v->kind) : "missing value");
    *list = v;
    return 0;
}

/* items as the body's declared type wants them: a struct becomes JSON text for a STRING */
static int typed_items(struct graph *g, const struct task *t, const struct value *list,
                       struct loop *l, struct err *e)
{
    const struct param_def *def = io_param(&t->def->component->in, t->def->item_name);
    struct value *items = arena_alloc(g->a, (list->n_items + 1) * sizeof *items);

    for (size_t i = 0; i < list->n_items; i++) {
        items[i] = list->items[i];
        if (def && items[i].kind != VALUE_NULL &&
            value_check_in(g->a, def->type, &items[i], e) < 0)
            return err_at(e, "item %zu of the loop", i);
    }
    l->values = items;
    l->n_items = list->n_items;
    return 0;
}

int loop_open(struct graph *g, struct task *t, struct err *e)
{
    struct loop *l = arena_alloc(g->a, sizeof *l);

    if (t->def->iterates_artifacts) {
        const struct named_artifacts *in = io_values_artifact(&t->in, t->def->items_input);
        l->artifacts = in ? in->items : NULL; /* an optional input that is absent: no items */
        l->n_items = in ? in->n_items : 0;
    } else {
        const struct value *list = NULL;
        if (find_list(g, t, &list, e) < 0 || typed_items(g, t, list, l, e) < 0)
            return -1;
    }
    if (l->n_items > LIMIT_TASKS ||
        g->n_tasks + l->n_items * t->def->component->n_inside > LIMIT_TASKS)
        return err_set(e, ERR_LIMIT, "%zu iterations would make more than %d tasks in this run",
                       l->n_items, LIMIT_TASKS);
    l->iterations = arena_alloc(g->a, (l->n_items + 1) * sizeof(struct scope *));
    t->loop = l;
    return 0;
}

struct scope *loop_next(struct graph *g, struct task *t)
{
    struct loop *l = t->loop;
    struct named_artifacts one;
    struct str prefix;
    struct scope *s;
    size_t i = l->n_started;

    if (i == l->n_items ||
        (t->def->parallelism_limit && l->n_active >= t->def->parallelism_limit))
        return NULL;
    prefix = str_of(arena_printf(g->a, "%.*s[%zu]", STR_ARG(t->path), i));
    s = scope_new(g, t, i, prefix, t->def->component->dag);
    /* The list stays visible: a loop inside may iterate over it again. */
    s->in.params = arena_alloc(g->a, (t->in.n_params + 1) * sizeof(*s->in.params));
    for (size_t k = 0; k < t->in.n_params; k++)
        s->in.params[s->in.n_params++] = t->in.params[k];
    s->in.artifacts = arena_alloc(g->a, (t->in.n_artifacts + 1) * sizeof(*s->in.artifacts));
    for (size_t k = 0; k < t->in.n_artifacts; k++)
        s->in.artifacts[s->in.n_artifacts++] = t->in.artifacts[k];
    if (l->values) {
        s->in.params[s->in.n_params++] = (struct named_value){t->def->item_name, l->values[i]};
    } else {
        struct artifact *f = arena_alloc(g->a, sizeof *f);
        *f = l->artifacts[i];
        one = (struct named_artifacts){.name = t->def->item_name, .items = f, .n_items = 1,
                                       .type = f->type, .type_version = f->type_version};
        s->in.artifacts[s->in.n_artifacts++] = one;
    }
    l->iterations[l->n_started++] = s;
    l->n_active++;
    return s;
}

/* ---- by name --------------------------------------------------------------------------- */

const struct task_def *graph_def(const struct pipeline *p, struct str path)
{
    const struct dag *dag = p->root->dag;

    for (;;) {
        const char *slash = memchr(path.ptr, '/', path.len);
        struct str key = {path.ptr, slash ? (size_t)(slash - path.ptr) : path.len};
        const struct task_def *def = NULL;

        for (size_t i = 0; i < dag->n_tasks && !def; i++) {
            const struct task_def *d = &dag->tasks[i];
            bool indexed = task_is_loop(d) && slash && key.len > d->key.len &&
                           key.ptr[d->key.len] == '[' && key.ptr[key.len - 1] == ']';
            if (str_eq(d->key, indexed ? (struct str){key.ptr, d->key.len} : key))
                def = d;
        }
        if (!def || !slash)
            return def;
        dag = def->component->dag;
        if (!dag)
            return NULL;
        path = (struct str){slash + 1, path.len - (size_t)(slash + 1 - path.ptr)};
    }
}

static int check_task(const struct pipeline *p, const struct task_def *t, struct err *e)
{
    struct err why;

    if (t->condition.len && cond_check(t->condition, &why) < 0)
        return pos_err(e, why.code, p->file, t->pos, "task \"%.80s\": condition %.120s: %s",
                       t->key.ptr, t->condition.ptr, why.text);
    for (size_t i = 0; i < t->n_params; i++) {
        const struct source *s = &t->params[i].from;
        if (s->selector.len && cond_check(s->selector, &why) < 0)
            return pos_err(e, why.code, p->file, s->pos, "task \"%.80s\": selector %.120s: %s",
                           t->key.ptr, s->selector.ptr, why.text);
    }
    return 0;
}

static int check_dag(const struct pipeline *p, const struct dag *dag, struct err *e)
{
    for (size_t i = 0; i < dag->n_tasks; i++)
        if (check_task(p, &dag->tasks[i], e) < 0)
            return -1;
    return 0;
}

int graph_check(const struct pipeline *p, struct err *e)
{
    if (check_dag(p, p->root->dag, e) < 0)
        return -1;
    for (size_t i = 0; i < p->n_components; i++)
        if (p->components[i]->dag && check_dag(p, p->components[i]->dag, e) < 0)
            return -1;
    return 0;
}

/* ---- who may start ------------------------------------------------------------------- */

bool task_outlives_stop(const struct task *t)
{
    for (; t; t = t->scope->owner)
        if (t->def->run_on_any_end)
            return true;
    return false;
}

static const char *end_in_words(enum task_state s)
{
    return s == TASK_FAILED ? "failed" : s == TASK_SKIPPED ? "was skipped" : "was canceled";
}

enum task_verdict task_verdict(struct graph *g, const struct task *t, struct str *reason)
{
    const struct task *owner = t->scope->owner;
    bool all_ended = true;

    if (owner && task_state_final(owner->state)) {
        *reason = str_of(arena_printf(g->a, "%.*s did not run", STR_ARG(owner->path)));
        return VERDICT_SKIP;
    }
    if (owner && owner->state != TASK_RUNNING)
        return VERDICT_WAIT;
    for (size_t i = 0; i < t->def->n_deps; i++) {
        const struct task *dep = t->scope->tasks[t->def->deps[i]];

        if (!task_state_final(dep->state)) {
            all_ended = false;
        } else if (dep->state != TASK_SUCCEEDED && !t->def->run_on_any_end) {
            *reason = str_of(arena_printf(g->a, "needs %.*s, which %s", STR_ARG(dep->def->key),
                                          end_in_words(dep->state)));
            return VERDICT_SKIP;
        }
    }
    if (!all_ended)
        return VERDICT_WAIT;
    /* Tasks without a dependency were ready before anything failed, and run (section 23). */
    if (t->def->n_deps && !t->def->run_on_any_end && t->scope->failed) {
        *reason = str_of(arena_printf(g->a, "%.*s failed first",
                                      STR_ARG(t->scope->failed->path)));
        return VERDICT_SKIP;
    }
    return VERDICT_START;
}

const struct task *group_failed(const struct task *t)
{
    if (t->kind == TASK_LOOP)
        return t->loop ? t->loop->failed : NULL;
    return t->inner ? t->inner->failed : NULL;
}

/* ---- outputs of groups ----------------------------------------------------------------- */

static const struct value *selected_param(const struct scope *s, const struct dag_output *o)
{
    for (size_t k = 0; k < o->n_from; k++) { /* one-of: the first that completed */
        const struct task *t = s->tasks[o->from[k].task_index];
        const struct value *v = io_values_param(&t->out, o->from[k].output);
        if (t->state == TASK_SUCCEEDED && v)
            return v;
    }
    return NULL;
}

static const struct named_artifacts *selected_artifacts(const struct scope *s,
                                                        const struct dag_output *o)
{
    for (size_t k = 0; k < o->n_from; k++) {
        const struct task *t = s->tasks[o->from[k].task_index];
        const struct named_artifacts *l = io_values_artifact(&t->out, o->from[k].output);
        if (t->state == TASK_SUCCEEDED && l)
            return l;
    }
    return NULL;
}

void scope_outputs(struct graph *g, const struct scope *s, struct io_values *out)
{
    *out = (struct io_values){0};
    for (size_t i = 0; i < s->dag->n_params; i++) {
        const struct value *v = selected_param(s, &s->dag->params[i]);
        if (v)
            io_values_add_param(g->a, out, s->dag->params[i].name, *v);
    }
    for (size_t i = 0; i < s->dag->n_artifacts; i++) {
        const struct named_artifacts *l = selected_artifacts(s, &s->dag->artifacts[i]);
        if (l)
            io_values_add_artifacts(g->a, out, s->dag->artifacts[i].name, l);
    }
}

static struct value collected_param(struct graph *g, const struct loop *l,
                                    const struct dag_output *o)
{
    struct value list = {.kind = VALUE_LIST};

    list.items = arena_alloc(g->a, (l->n_started + 1) * sizeof(*list.items));
    for (size_t i = 0; i < l->n_started; i++) {
        const struct value *v = selected_param(l->iterations[i], o);
        if (v) /* an iteration that skipped the producer is left out */
            list.items[list.n_items++] = *v;
    }
    return list;
}

static struct named_artifacts collected_artifacts(struct graph *g, const struct loop *l,
                                                  const struct dag_output *o)
{
    struct named_artifacts all = {.name = o->name};

    for (size_t i = 0; i < l->n_started; i++) {
        const struct named_artifacts *one = selected_artifacts(l->iterations[i], o);
        for (size_t k = 0; one && k < one->n_items; k++) {
            all.items = arena_grow(g->a, all.items, &all.n_items, sizeof(*all.items));
            all.items[all.n_items - 1] = one->items[k];
            all.type = one->type;
            all.type_version = one->type_version;
        }
    }
    return all;
}

void group_outputs(struct graph *g, const struct task *t, struct io_values *out)
{
    const struct dag *dag = t->def->component->dag;

    if (t->kind != TASK_LOOP) {
        scope_outputs(g, t->inner, out);
        return;
    }
    *out = (struct io_values){0};
    for (size_t i = 0; i < dag->n_params; i++)
        io_values_add_param(g->a, out, dag->params[i].name,
                            collected_param(g, t->loop, &dag->params[i]));
    for (size_t i = 0; i < dag->n_artifacts; i++) {
        struct named_artifacts all = collected_artifacts(g, t->loop, &dag->artifacts[i]);
        if (!all.n_items) {
            const struct artifact_def *def =
                io_artifact(&t->def->component->out, dag->artifacts[i].name);
            all.type = def ? def->schema_title : STR("system.Artifact");
            all.type_version = def ? def->schema_version : STR("0.0.1");
        }
        io_values_add_artifacts(g->a, out, all.name, &all);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* dag.c - the tasks and outputs of one DAG component
 *
 * Two passes, because tasks name each other in any order: the first gives every task
 * its index and its component, the second reads what they want from each other. At the
 * end every reference is an index, the dependencies are known and have no cycle.
 */
#include "spec/reader.h"

#include <stdio.h>

bool task_is_loop(const struct task_def *t)
{
    return t->items_raw.len || t->items_input.len;
}

enum {
    INFO,
    COMPONENT,
    INPUTS,
    DEPENDENT,
    TRIGGER,
    PARAM_ITER,
    ARTIFACT_ITER,
    ITER_POLICY,
    RETRY,
    CACHING,
    N_TASK_FIELDS
};
static const char *const task_fields[] = {
    "taskInfo",      "componentRef",      "inputs",           "dependentTasks",
    "triggerPolicy", "parameterIterator", "artifactIterator", "iteratorPolicy",
    "retryPolicy",   "cachingOptions",
};

static int find_component(struct reader *r, const struct node *n, struct task_def *t,
                          struct err *e)
{
    static const char *const names[] = {"name"};
    const struct node *f[1];
    struct str name = {"", 0};

    if (read_fields(r, n, names, 1, f, e) < 0 || read_str(r, f[0], &name, e) < 0)
        return -1;
    t->component = map_get(&r->components, name);
    if (t->component)
        return 0;

    AUTO_FREE const char **all = xalloc((r->p->n_components + 1) * sizeof(*all));

    for (size_t i = 0; i < r->p->n_components; i++)
        all[i] = r->p->components[i]->name.ptr;
    return read_err(r, f[0] ? f[0] : n, e, "component \"%.80s\" does not exist%s",
                    name.ptr, hint_of(name, all, r->p->n_components).text);
}

static int first_pass(struct dag_reader *d, const struct node *tasks,
                      const struct member *m, struct task_def *t, struct err *e)
{
    const struct node *ref = node_member(m->value, "componentRef");

    t->key = arena_str(d->r->a, m->key);
    t->display_name = t->key;
    t->pos = m->key_pos;
    t->cache_key = t->condition = STR("");
    t->items_raw = t->items_input = t->item_name = STR("");
    t->retry =
        (struct retry_policy){.backoff_max_ms = 3600 * 1000, .backoff_factor = 2};
    if (read_name_ok(d->r, tasks, m, e) < 0)
        return -1;
    if (m->value->kind != NODE_MAP || node_is_null(ref))
        return read_err_at(d->r, m->value, m->key_pos, e,
                           "the task has no componentRef");
    map_put(&d->tasks, t->key, t);
    return find_component(d->r, ref, t, e);
}

static int read_info(struct reader *r, const struct node *n, struct task_def *t,
                     struct err *e)
{
    enum { NAME, TASK_NAME, N };
    static const char *const names[] = {"name", "taskName"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[NAME], &t->display_name, e) < 0)
        return -1;
    if (!t->display_name.len)
        t->display_name = t->key;
    return 0;
}

static int read_trigger(struct reader *r, const struct node *n, struct task_def *t,
                        struct err *e)
{
    enum { CONDITION, STRATEGY, N };
    static const char *const names[] = {"condition", "strategy"};
    static const char *const strategies[] = {"TRIGGER_STRATEGY_UNSPECIFIED",
                                             "ALL_UPSTREAM_TASKS_SUCCEEDED",
                                             "ALL_UPSTREAM_TASKS_COMPLETED"};
    const struct node *f[N];
    struct str text = {"", 0};
    uint64_t number = 0;

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[CONDITION], &t->condition, e) < 0)
        return -1;
    if (node_is_null(f[STRATEGY]))
        return 0;
    if (node_type(f[STRATEGY]) == VALUE_NUMBER) {
        if (read_uint(r, f[STRATEGY], 2, &number, e) < 0)
            return -1;
    } else {
        if (read_str(r, f[STRATEGY], &text, e) < 0)
            return -1;
        while (number < 3 && !str_eqz(text, strategies[number]))
            number++;
        if (number == 3)
            return read_err(r, f[STRATEGY], e, "unknown strategy \"%.60s\"%s", text.ptr,
                            hint_of(text, strategies, 3).text);
    }
    t->run_on_any_end = number == 2;
    return 0;
}

/* items.raw is JSON text of a list */
static int check_raw(struct reader *r, const struct node *n, struct str raw,
                     struct err *e)
{
    struct arena scratch = {0};
    struct value v;
    struct err why;
    int rc = value_parse_in(&scratch, raw, &v, &why);

    if (rc < 0)
        read_err(r, n, e, "%s", why.text);
    else if (v.kind != VALUE_LIST)
        rc = read_err(r, n, e, "want a JSON list, got a %s", value_kind_name(v.kind));
    arena_done(&scratch);
    return rc;
}

static int read_items(struct reader *r, const struct node *n, struct task_def *t,
                      struct err *e)
{
    enum { RAW, PARAM, N };
    static const char *const param_names[] = {"raw", "inputParameter"};
    static const char *const artifact_names[] = {"inputArtifact"};
    const struct node *f[N] = {NULL, NULL};

    if (t->iterates_artifacts) {
        if (read_fields(r, n, artifact_names, 1, &f[PARAM], e) < 0)
            return -1;
    } else if (read_fields(r, n, param_names, N, f, e) < 0) {
        return -1;
    }
    if (node_is_null(f[RAW]) == node_is_null(f[PARAM]))
        return read_err(r, n, e, "want the items of the loop: %s",
                        t->iterates_artifacts ? "inputArtifact"
                                              : "raw or inputParameter");
    if (read_str(r, f[RAW], &t->items_raw, e) < 0 ||
        read_str(r, f[PARAM], &t->items_input, e) < 0)
        return -1;
    if (node_is_null(f[RAW]))
        return 0;
    return check_raw(r, f[RAW], t->items_raw, e);
}

static int read_iterator(struct reader *r, const struct node *n, struct task_def *t,
                         struct err *e)
{
    enum { ITEMS, INPUT, N };
    static const char *const names[] = {"items", "itemInput"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[INPUT], &t->item_name, e) < 0)
        return -1;
    if (node_is_null(f[ITEMS]) || !t->item_name.len)
        return read_err(r, n, e, "want items and itemInput");
    return read_items(r, f[ITEMS], t, e);
}

static int read_loop(struct reader *r, const struct node *const f[],
                     const struct member *task, struct task_def *t, struct err *e)
{
    static const char *const policy_names[] = {"parallelismLimit"};
    const struct node *policy[1];
    uint64_t limit = 0;

    if (read_fields(r, f[ITER_POLICY], policy_names, 1, policy, e) < 0 ||
        read_uint(r, policy[0], UINT32_MAX, &limit, e) < 0)
        return -1;
    t->parallelism_limit = (uint32_t)limit;
    if (!node_is_null(f[PARAM_ITER]) && !node_is_null(f[ARTIFACT_ITER]))
        return read_err_at(r, task->value, task->key_pos, e,
                           "want one of parameterIterator and artifactIterator");
    if (!node_is_null(f[PARAM_ITER]))
        return read_iterator(r, f[PARAM_ITER], t, e);
    if (node_is_null(f[ARTIFACT_ITER]))
        return 0;
    t->iterates_artifacts = true;
    return read_iterator(r, f[ARTIFACT_ITER], t, e);
}

static int check_loop(struct reader *r, const struct node *n, const struct task_def *t,
                      struct err *e)
{
    const struct binding *b = t->iterates_artifacts ? t->artifacts : t->params;
    size_t n_b = t->iterates_artifacts ? t->n_artifacts : t->n_params;
    const struct io_defs *in = &t->component->in;
    const char *what = t->iterates_artifacts ? "artifact" : "parameter";

    if (!task_is_loop(t))
        return 0;
    if (t->iterates_artifacts ? !io_artifact(in, t->item_name)
                              : !io_param(in, t->item_name))
        return read_err_at(r, n, t->pos, e,
                           "%.80s has no input %s \"%.80s\" for the item",
                           t->component->name.ptr, what, t->item_name.ptr);
    if (!t->items_input.len)
        return 0;
    for (size_t i = 0; i < n_b; i++) {
        if (str_eq(b[i].name, t->items_input))
            return 0;
    }
    return read_err_at(r, n, t->pos, e,
                       "the task has no input %s \"%.80s\" to loop over", what,
                       t->items_input.ptr);
}

static int read_retry(struct reader *r, const struct node *n, struct retry_policy *out,
                      struct err *e)
{
    enum { COUNT, BACKOFF, FACTOR, MAX, N };
    static const char *const names[] = {"maxRetryCount", "backoffDuration",
                                        "backoffFactor", "backoffMaxDuration"};
    const struct node *f[N];
    uint64_t count = 0;

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_uint(r, f[COUNT], UINT32_MAX, &count, e) < 0 ||
        read_duration(r, f[BACKOFF], &out->backoff_ms, e) < 0 ||
        read_num(r, f[FACTOR], &out->backoff_factor, e) < 0 ||
        read_duration(r, f[MAX], &out->backoff_max_ms, e) < 0)
        return -1;
    out->set = !node_is_null(n);
    out->max_retries = (uint32_t)count;
    if (out->backoff_factor < 0)
        return read_err(r, f[FACTOR], e, "less than nothing");
    if (out->backoff_factor == 0) /* KFP: absent and 0 mean 2 */
        out->backoff_factor = 2;
    if (out->backoff_max_ms == 0)
        out->backoff_max_ms = 3600 * 1000;
    return 0;
}

static int read_caching(struct reader *r, const struct node *n, struct task_def *t,
                        struct err *e)
{
    enum { ENABLE, KEY, N };
    static const char *const names[] = {"enableCache", "cacheKey"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_bool(r, f[ENABLE], &t->cache_enabled, e) < 0)
        return -1;
    return read_str(r, f[KEY], &t->cache_key, e);
}

static int read_dependent(struct dag_reader *d, const struct node *n, struct err *e)
{
    struct member *m;
    size_t n_m, index;
    struct str key;

    if (read_list(d->r, n, &m, &n_m, e) < 0)
        return -1;
    for (size_t i = 0; i < n_m; i++) {
        if (read_sibling(d, m[i].value, &key, &index, e) < 0)
            return -1;
        dag_add_dep(d, index);
    }
    return 0;
}

static int cmp_index(const void *a, const void *b)
{
    size_t x = *(const size_t *)a, y = *(const size_t *)b;

    return (x > y) - (x < y);
}

/* the collected dependencies, sorted and without repetition */
static void keep_deps(struct dag_reader *d, struct task_def *t)
{
    if (!d->n_deps)
        return;
    qsort(d->deps, d->n_deps, sizeof(*d->deps), cmp_index);
    t->deps = arena_alloc(d->r->a, d->n_deps * sizeof(*t->deps));
    for (size_t i = 0; i < d->n_deps; i++) {
        if (!i || d->deps[i] != d->deps[i - 1])
            t->deps[t->n_deps++] = d->deps[i];
    }
}

static int second_pass(struct dag_reader *d, const struct member *m, struct task_def *t,
                       struct err *e)
{
    const struct node *f[N_TASK_FIELDS];
    struct reader *r = d->r;

    d->n_deps = 0;
    if (read_fields(r, m->value, task_fields, N_TASK_FIELDS, f, e) < 0 ||
        read_info(r, f[INFO], t, e) < 0 || read_trigger(r, f[TRIGGER], t, e) < 0 ||
        read_loop(r, f, m, t, e) < 0 || read_retry(r, f[RETRY], &t->retry, e) < 0 ||
        read_caching(r, f[CACHING], t, e) < 0 ||
        read_dependent(d, f[DEPENDENT], e) < 0 || read_bindings(d, f[INPUTS], t, e) < 0 ||
        bind_kube(d, t, e) < 0)
        return -1;
    keep_deps(d, t);
    if (check_loop(r, m->value, t, e) < 0)
        return -1;
    return check_bindings(d, m->value, t, e);
}

/* Outputs */

static int read_selector(struct dag_reader *d, const struct node *n, bool artifact,
                         struct selector *s, struct err *e)
{
    enum { TASK, KEY, N };
    static const char *const param_names[] = {"producerSubtask", "outputParameterKey"};
    static const char *const artifact_names[] = {"producerSubtask",
                                                 "outputArtifactKey"};
    const struct node *f[N];

    if (read_fields(d->r, n, artifact ? artifact_names : param_names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[TASK]) || node_is_null(f[KEY]))
        return read_err(d->r, n, e, "want producerSubtask and %s",
                        artifact ? artifact_names[KEY] : param_names[KEY]);
    if (read_sibling(d, f[TASK], &s->task, &s->task_index, e) < 0)
        return -1;
    return read_output_key(d, f[KEY], s->task_index, artifact, &s->output, e);
}

static int read_selectors(struct dag_reader *d, const struct node *n, bool artifact,
                          struct dag_output *o, struct err *e)
{
    struct member *m;

    if (read_list(d->r, n, &m, &o->n_from, e) < 0)
        return -1;
    o->from = arena_alloc(d->r->a, o->n_from * sizeof(*o->from) + 1);
    for (size_t i = 0; i < o->n_from; i++) {
        if (read_selector(d, m[i].value, artifact, &o->from[i], e) < 0)
            return -1;
    }
    o->one_of = o->n_from > 1;
    return 0;
}

static int read_param_output(struct dag_reader *d, const struct member *m,
                             struct dag_output *o, struct err *e)
{
    enum { FROM, ONE_OF, N };
    static const char *const names[] = {"valueFromParameter", "valueFromOneof"};
    static const char *const one_of_names[] = {"parameterSelectors"};
    const struct node *f[N], *selectors[1];

    if (read_fields(d->r, m->value, names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[FROM]) == node_is_null(f[ONE_OF]))
        return read_err_at(d->r, m->value, m->key_pos, e,
                           "want one of valueFromParameter and valueFromOneof");
    if (!node_is_null(f[ONE_OF])) {
        if (read_fields(d->r, f[ONE_OF], one_of_names, 1, selectors, e) < 0)
            return -1;
        return read_selectors(d, selectors[0], false, o, e);
    }
    o->n_from = 1;
    o->from = arena_alloc(d->r->a, sizeof(*o->from));
    return read_selector(d, f[FROM], false, o->from, e);
}

static int read_artifact_output(struct dag_reader *d, const struct member *m,
                                struct dag_output *o, struct err *e)
{
    static const char *const names[] = {"artifactSelectors"};
    const struct node *f[1];

    if (read_fields(d->r, m->value, names, 1, f, e) < 0)
        return -1;
    return read_selectors(d, f[0], true, o, e);
}

static int read_outputs_of(struct dag_reader *d, const struct node *n, bool artifact,
                           struct dag_output **out, size_t *n_out, struct err *e)
{
    struct member *m;

    if (read_map(d->r, n, &m, n_out, e) < 0)
        return -1;
    *out = arena_alloc(d->r->a, *n_out * sizeof(**out) + 1);
    for (size_t i = 0; i < *n_out; i++) {
        struct dag_output *o = &(*out)[i];

        o->name = arena_str(d->r->a, m[i].key);
        o->pos = m[i].key_pos;
        if (read_name_ok(d->r, n, &m[i], e) < 0 ||
            (artifact ? read_artifact_output : read_param_output)(d, &m[i], o, e) < 0)
            return -1;
        if (!o->n_from)
            return read_err_at(d->r, m[i].value, o->pos, e, "nothing is selected");
    }
    return 0;
}

/* what the component declares to give, its DAG must give */
static int check_outputs(struct dag_reader *d, const struct node *dag, struct err *e)
{
    const struct io_defs *out = &d->c->out;
    const struct dag *g = d->c->dag;
    AUTO_FREE bool *given = xalloc(out->n_params + out->n_artifacts + 1);

    for (size_t i = 0; i < g->n_params; i++) {
        const struct param_def *p = io_param(out, g->params[i].name);

        if (p)
            given[p - out->params] = true;
    }
    for (size_t i = 0; i < g->n_artifacts; i++) {
        const struct artifact_def *a = io_artifact(out, g->artifacts[i].name);

        if (a)
            given[out->n_params + (size_t)(a - out->artifacts)] = true;
    }
    for (size_t i = 0; i < out->n_params; i++) {
        if (!given[i])
            return read_err_at(d->r, dag, out->params[i].pos, e,
                               "no task gives the declared output parameter \"%.80s\"",
                               out->params[i].name.ptr);
    }
    for (size_t i = 0; i < out->n_artifacts; i++) {
        if (!given[out->n_params + i])
            return read_err_at(d->r, dag, out->artifacts[i].pos, e,
                               "no task gives the declared output artifact \"%.80s\"",
                               out->artifacts[i].name.ptr);
    }
    return 0;
}

static int read_outputs(struct dag_reader *d, const struct node *dag,
                        const struct node *n, struct err *e)
{
    enum { PARAMS, ARTIFACTS, N };
    static const char *const names[] = {"parameters", "artifacts"};
    struct dag *g = d->c->dag;
    const struct node *f[N];

    if (read_fields(d->r, n, names, N, f, e) < 0 ||
        read_outputs_of(d, f[PARAMS], false, &g->params, &g->n_params, e) < 0 ||
        read_outputs_of(d, f[ARTIFACTS], true, &g->artifacts, &g->n_artifacts, e) < 0)
        return -1;
    return check_outputs(d, dag, e);
}

/* who waits for task i, so that a finished task wakes only those */
static void turn_deps_round(struct arena *a, struct dag *g)
{
    size_t n = g->n_tasks, total = 0;
    AUTO_FREE size_t *fill = xalloc((n + 1) * sizeof *fill);

    g->first_dependent = arena_alloc(a, (n + 1) * sizeof(*g->first_dependent));
    for (size_t i = 0; i < n; i++) {
        total += g->tasks[i].n_deps;
        for (size_t k = 0; k < g->tasks[i].n_deps; k++)
            g->first_dependent[g->tasks[i].deps[k] + 1]++;
    }
    for (size_t i = 0; i < n; i++) {
        g->first_dependent[i + 1] += g->first_dependent[i];
        fill[i] = g->first_dependent[i];
    }
    g->dependents = arena_alloc(a, (total + 1) * sizeof(*g->dependents));
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < g->tasks[i].n_deps; k++)
            g->dependents[fill[g->tasks[i].deps[k]]++] = i;
    }
}

static int read_all(struct dag_reader *d, const struct node *dag, struct err *e)
{
    enum { TASKS, OUTPUTS, N };
    static const char *const names[] = {"tasks", "outputs"};
    struct dag *g = d->c->dag;
    const struct node *f[N];
    struct member *m;

    if (read_fields(d->r, dag, names, N, f, e) < 0 ||
        read_map(d->r, f[TASKS], &m, &g->n_tasks, e) < 0)
        return -1;
    if (!g->n_tasks)
        return read_err(d->r, dag, e, "a dag without tasks");
    g->tasks = arena_alloc(d->r->a, g->n_tasks * sizeof(*g->tasks));
    for (size_t i = 0; i < g->n_tasks; i++) {
        if (first_pass(d, f[TASKS], &m[i], &g->tasks[i], e) < 0)
            return -1;
    }
    for (size_t i = 0; i < g->n_tasks; i++) {
        if (second_pass(d, &m[i], &g->tasks[i], e) < 0)
            return -1;
    }
    if (check_order(d->r, f[TASKS], g, e) < 0)
        return -1;
    turn_deps_round(d->r->a, g);
    return read_outputs(d, dag, f[OUTPUTS], e);
}

int read_dag(struct reader *r, const struct node *dag, struct component *c,
             struct err *e)
{
    struct dag_reader d = {.r = r, .c = c};
    int rc = read_all(&d, dag, e);

    map_done(&d.tasks);
    free(d.deps);
    return rc;
}

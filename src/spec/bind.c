/* SPDX-License-Identifier: Apache-2.0 */
/* bind.c - where the inputs of a task come from
 *
 * Each source is checked the moment it is read: the sibling, the output or the
 * enclosing input must exist, a constant must fit. What the component does not declare
 * is kept all the same: conditions, f-strings and dynamic resources use such channels.
 *
 * A wrong type is refused here only when it is certain: a constant without
 * placeholders, or an output of a container. Outputs of DAGs and items of loops are
 * declared too loosely.
 */
#include "spec/kube.h"
#include "spec/placeholder.h"
#include "spec/reader.h"

int read_sibling(struct dag_reader *d, const struct node *n, struct str *key,
                 size_t *index, struct err *e)
{
    const struct dag *dag = d->c->dag;
    const struct task_def *t;

    *key = STR("");
    if (read_str(d->r, n, key, e) < 0)
        return -1;
    t = map_get(&d->tasks, *key);
    if (t) {
        *index = (size_t)(t - dag->tasks);
        return 0;
    }

    AUTO_FREE const char **names = xalloc((dag->n_tasks + 1) * sizeof(*names));

    for (size_t i = 0; i < dag->n_tasks; i++)
        names[i] = dag->tasks[i].key.ptr;
    return read_err(d->r, n, e, "task \"%.80s\" does not exist%s", key->ptr,
                    hint_of(*key, names, dag->n_tasks).text);
}

/* the hint for a name that is none of the parameters (artifacts) of an interface */
static struct hint io_hint(const struct io_defs *io, bool artifact, struct str name)
{
    size_t n = artifact ? io->n_artifacts : io->n_params;
    AUTO_FREE const char **names = xalloc((n + 1) * sizeof(*names));

    for (size_t i = 0; i < n; i++)
        names[i] = artifact ? io->artifacts[i].name.ptr : io->params[i].name.ptr;
    return hint_of(name, names, n);
}

static bool io_has(const struct io_defs *io, bool artifact, struct str name)
{
    return artifact ? io_artifact(io, name) != NULL : io_param(io, name) != NULL;
}

int read_output_key(struct dag_reader *d, const struct node *n, size_t index,
                    bool artifact, struct str *key, struct err *e)
{
    const struct task_def *t = &d->c->dag->tasks[index];
    const struct io_defs *out = &t->component->out;
    const char *what = artifact ? "artifact" : "parameter";

    *key = STR("");
    if (read_str(d->r, n, key, e) < 0)
        return -1;
    if (io_has(out, artifact, *key))
        return 0;
    if (io_has(out, !artifact, *key))
        return read_err(d->r, n, e, "output \"%.80s\" of task \"%.80s\" is no %s",
                        key->ptr, t->key.ptr, what);
    return read_err(d->r, n, e, "task \"%.80s\" has no output %s \"%.80s\"%s",
                    t->key.ptr, what, key->ptr, io_hint(out, artifact, *key).text);
}

void dag_add_dep(struct dag_reader *d, size_t index)
{
    if (d->n_deps == d->deps_cap) {
        d->deps_cap = d->deps_cap ? d->deps_cap * 2 : 64;
        d->deps = xrealloc(d->deps, d->deps_cap * sizeof(*d->deps));
    }
    d->deps[d->n_deps++] = index;
}

static int read_outer(struct dag_reader *d, const struct node *n, bool artifact,
                      struct source *s, struct err *e)
{
    const struct component *c = d->c;

    s->kind = SOURCE_INPUT;
    s->pos = n->pos;
    if (read_str(d->r, n, &s->name, e) < 0)
        return -1;
    if (io_has(&c->in, artifact, s->name))
        return 0;
    return read_err(d->r, n, e, "%s%s has no input %s \"%.80s\"%s",
                    c == d->r->p->root ? "" : "component ", c->name.ptr,
                    artifact ? "artifact" : "parameter", s->name.ptr,
                    io_hint(&c->in, artifact, s->name).text);
}

static int read_task_output(struct dag_reader *d, const struct node *n, bool artifact,
                            struct source *s, struct err *e)
{
    enum { TASK, KEY, N };
    static const char *const param_names[] = {"producerTask", "outputParameterKey"};
    static const char *const artifact_names[] = {"producerTask", "outputArtifactKey"};
    const struct node *f[N];

    if (read_fields(d->r, n, artifact ? artifact_names : param_names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[TASK]) || node_is_null(f[KEY]))
        return read_err(d->r, n, e, "want producerTask and %s",
                        artifact ? artifact_names[KEY] : param_names[KEY]);
    s->kind = SOURCE_TASK_OUTPUT;
    s->pos = f[TASK]->pos;
    if (read_sibling(d, f[TASK], &s->task, &s->task_index, e) < 0)
        return -1;
    dag_add_dep(d, s->task_index);
    return read_output_key(d, f[KEY], s->task_index, artifact, &s->name, e);
}

static int read_final_status(struct dag_reader *d, const struct node *n,
                             struct source *s, struct err *e)
{
    enum { TASK, N };
    static const char *const names[] = {"producerTask"};
    const struct node *f[N];

    if (read_fields(d->r, n, names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[TASK]))
        return read_err(d->r, n, e, "want producerTask");
    s->kind = SOURCE_FINAL_STATUS;
    s->pos = f[TASK]->pos;
    if (read_sibling(d, f[TASK], &s->task, &s->task_index, e) < 0)
        return -1;
    dag_add_dep(d, s->task_index);
    return 0;
}

int read_runtime_value(struct reader *r, const struct node *n, struct source *s,
                       struct err *e)
{
    enum { CONSTANT, OLD, PARAMETER, N };
    static const char *const names[] = {"constant", "constantValue",
                                        "runtimeParameter"};
    const struct node *f[N];
    struct node number;

    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;
    if (f[PARAMETER])
        return read_err(r, f[PARAMETER], e, "runtimeParameter is no longer supported");
    if (!f[CONSTANT] && f[OLD])
        f[CONSTANT] = read_old_value(f[OLD], &number);
    if (!f[CONSTANT])
        return read_err(r, n, e, "want constant");
    s->kind = SOURCE_CONSTANT;
    s->pos = f[CONSTANT]->pos;
    return read_value(r, f[CONSTANT], &s->constant, e);
}

static int read_param_source(struct dag_reader *d, const struct member *m,
                             struct source *s, struct err *e)
{
    enum { OUTER, OUTPUT, CONSTANT, STATUS, SELECTOR, N };
    static const char *const names[] = {
        "componentInputParameter", "taskOutputParameter", "runtimeValue",
        "taskFinalStatus", "parameterExpressionSelector"};
    const struct node *f[N];
    int given = 0;

    if (read_fields(d->r, m->value, names, N, f, e) < 0 ||
        read_str(d->r, f[SELECTOR], &s->selector, e) < 0)
        return -1;
    for (int i = OUTER; i <= STATUS; i++)
        given += !node_is_null(f[i]);
    if (given != 1)
        return read_err_at(
            d->r, m->value, m->key_pos, e,
            "want exactly one of componentInputParameter, taskOutputParameter, "
            "runtimeValue and taskFinalStatus");
    if (!node_is_null(f[OUTER]))
        return read_outer(d, f[OUTER], false, s, e);
    if (!node_is_null(f[OUTPUT]))
        return read_task_output(d, f[OUTPUT], false, s, e);
    if (!node_is_null(f[STATUS]))
        return read_final_status(d, f[STATUS], s, e);
    return read_runtime_value(d->r, f[CONSTANT], s, e);
}

static int read_artifact_source(struct dag_reader *d, const struct member *m,
                                struct source *s, struct err *e)
{
    enum { OUTER, OUTPUT, N };
    static const char *const names[] = {"componentInputArtifact", "taskOutputArtifact"};
    const struct node *f[N];

    if (read_fields(d->r, m->value, names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[OUTER]) == node_is_null(f[OUTPUT]))
        return read_err_at(d->r, m->value, m->key_pos, e,
                           "want one of componentInputArtifact and taskOutputArtifact");
    if (!node_is_null(f[OUTER]))
        return read_outer(d, f[OUTER], true, s, e);
    return read_task_output(d, f[OUTPUT], true, s, e);
}

/* does a value hold text that will be replaced before the type is looked at? */
static bool has_placeholder(const struct value *v)
{
    return v->kind == VALUE_STRING && placeholder_any(v->s);
}

static bool numeric(enum param_type t)
{
    return t == PARAM_INTEGER || t == PARAM_DOUBLE;
}

static bool may_become(enum param_type from, enum param_type to)
{
    if (from == to || from == PARAM_UNSPECIFIED || to == PARAM_UNSPECIFIED ||
        to == PARAM_STRING)
        return true;
    if (numeric(from) && numeric(to))
        return true;
    return from == PARAM_FINAL_STATUS && to == PARAM_STRUCT;
}

/* what is known now about a parameter that the component declares */
static int check_param(struct dag_reader *d, const struct node *n,
                       const struct task_def *t, const struct param_def *p,
                       struct source *s, struct err *e)
{
    struct err why;

    if (s->selector.len)
        return 0;
    if (s->kind == SOURCE_CONSTANT && s->constant->kind != VALUE_NULL &&
        !has_placeholder(s->constant)) {
        struct value *v = arena_alloc(d->r->a, sizeof(*v));

        *v = *s->constant;
        if (value_check_in(d->r->a, p->type, v, &why) < 0)
            return read_err_at(d->r, n, s->pos, e, "%s", why.text);
        if (!param_allows(p, v))
            return read_err_at(
                d->r, n, s->pos, e,
                "the constant is none of the literals of input \"%.80s\" of %.80s",
                p->name.ptr, t->component->name.ptr);
    }
    if (s->kind == SOURCE_TASK_OUTPUT) {
        const struct task_def *from = &d->c->dag->tasks[s->task_index];
        const struct param_def *out = io_param(&from->component->out, s->name);

        if (from->component->executor && !task_is_loop(from) &&
            !may_become(out->type, p->type))
            return read_err_at(d->r, n, s->pos, e,
                               "want %s, but output \"%.80s\" of task \"%.80s\" is %s",
                               param_type_name(p->type), s->name.ptr, s->task.ptr,
                               param_type_name(out->type));
    }
    return 0;
}

int read_bindings(struct dag_reader *d, const struct node *inputs, struct task_def *t,
                  struct err *e)
{
    enum { PARAMS, ARTIFACTS, N };
    static const char *const names[] = {"parameters", "artifacts"};
    const struct node *f[N];
    struct member *m;

    if (read_fields(d->r, inputs, names, N, f, e) < 0 ||
        read_map(d->r, f[PARAMS], &m, &t->n_params, e) < 0)
        return -1;
    t->params = arena_alloc(d->r->a, t->n_params * sizeof(*t->params) + 1);
    for (size_t i = 0; i < t->n_params; i++) {
        struct binding *b = &t->params[i];
        const struct param_def *p;

        b->name = arena_str(d->r->a, m[i].key);
        b->from.task = b->from.name = b->from.selector = STR("");
        if (read_name_ok(d->r, f[PARAMS], &m[i], e) < 0 ||
            read_param_source(d, &m[i], &b->from, e) < 0)
            return -1;
        p = io_param(&t->component->in, b->name);
        if (p && check_param(d, m[i].value, t, p, &b->from, e) < 0)
            return -1;
    }

    if (read_map(d->r, f[ARTIFACTS], &m, &t->n_artifacts, e) < 0)
        return -1;
    t->artifacts = arena_alloc(d->r->a, t->n_artifacts * sizeof(*t->artifacts) + 1);
    for (size_t i = 0; i < t->n_artifacts; i++) {
        struct binding *b = &t->artifacts[i];

        b->name = arena_str(d->r->a, m[i].key);
        b->from.task = b->from.name = b->from.selector = STR("");
        if (read_name_ok(d->r, f[ARTIFACTS], &m[i], e) < 0 ||
            read_artifact_source(d, &m[i], &b->from, e) < 0)
            return -1;
    }
    return 0;
}

/* The platform document names inputs and siblings of the DAG that a task stands in, for
 * every task that uses the executor. */
int bind_kube(struct dag_reader *d, const struct task_def *t, struct err *e)
{
    const struct executor *x = t->component->executor;
    const struct kube_value **values;
    size_t n;

    if (!x || !x->kube)
        return 0;
    values = kube_values_in(d->r->a, x->kube, &n);
    for (size_t i = 0; i < n; i++) {
        const struct source *s = &values[i]->from;
        const struct task_def *from;

        if (s->kind == SOURCE_INPUT && !io_param(&d->c->in, s->name))
            return pos_err(e, ERR_INPUT, d->r->file, s->pos,
                           "platform settings of task \"%.80s\": %s%.80s has no input "
                           "parameter \"%.80s\"%s",
                           t->key.ptr, d->c == d->r->p->root ? "" : "component ",
                           d->c->name.ptr, s->name.ptr,
                           io_hint(&d->c->in, false, s->name).text);
        if (s->kind != SOURCE_TASK_OUTPUT)
            continue;
        from = map_get(&d->tasks, s->task);
        if (!from || !io_param(&from->component->out, s->name))
            return pos_err(e, ERR_INPUT, d->r->file, s->pos,
                           "platform settings of task \"%.80s\": there is no output "
                           "parameter \"%.80s\" of a task \"%.80s\" beside it",
                           t->key.ptr, s->name.ptr, s->task.ptr);
        dag_add_dep(d, (size_t)(from - d->c->dag->tasks));
    }
    return 0;
}

int check_bindings(struct dag_reader *d, const struct node *task,
                   const struct task_def *t, struct err *e)
{
    const struct io_defs *in = &t->component->in;
    AUTO_FREE bool *given = xalloc(in->n_params + in->n_artifacts + 1);
    const char *missing = NULL, *what = "parameter";

    for (size_t i = 0; i < t->n_params; i++) {
        const struct param_def *p = io_param(in, t->params[i].name);

        if (p)
            given[p - in->params] = true;
    }
    for (size_t i = 0; i < t->n_artifacts; i++) {
        const struct artifact_def *a = io_artifact(in, t->artifacts[i].name);

        if (a)
            given[in->n_params + (size_t)(a - in->artifacts)] = true;
    }

    for (size_t i = 0; i < in->n_params && !missing; i++) {
        const struct param_def *p = &in->params[i];

        if (!given[i] && !p->optional && !p->default_value &&
            p->type != PARAM_TASK_CONFIG &&
            !str_eq(p->name, t->item_name))
            missing = p->name.ptr;
    }
    for (size_t i = 0; i < in->n_artifacts && !missing; i++) {
        const struct artifact_def *a = &in->artifacts[i];

        what = "artifact";
        if (!given[in->n_params + i] && !a->optional && !str_eq(a->name, t->item_name))
            missing = a->name.ptr;
    }
    if (!missing)
        return 0;
    return read_err_at(
        d->r, task, t->pos, e,
        "the required input %s \"%.80s\" of component %.80s is not given", what,
        missing, t->component->name.ptr);
}

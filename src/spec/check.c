/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - what no single place in the file can tell
 *
 * Circles: tasks of one DAG that wait for each other, components that contain
 * themselves. Size: a component with ten tasks of the next component, twenty levels
 * deep, is a small file and 10^20 task instances, so instances are counted before
 * anybody makes them. Placeholders: a name that neither component nor task knows would
 * only show when the task starts, maybe hours from now.
 */
#include "spec/placeholder.h"
#include "spec/reader.h"

#include <stdio.h>

/* Circles of tasks: take away what waits for nothing, again and again; what is left
 * over waits in a circle or behind one. */

struct order {
    const struct dag *g;
    size_t *waits;       /* per task: dependencies that are not taken away yet */
    size_t *after_start; /* per task: where its followers begin in `after` */
    size_t *after, *queue;
};

static size_t take_away(struct order *o)
{
    const struct dag *g = o->g;
    size_t n_queue = 0;

    for (size_t i = 0; i < g->n_tasks; i++) {
        o->waits[i] = g->tasks[i].n_deps;
        if (!o->waits[i])
            o->queue[n_queue++] = i;
        for (size_t k = 0; k < g->tasks[i].n_deps; k++)
            o->after_start[g->tasks[i].deps[k] + 1]++;
    }
    for (size_t i = 0; i < g->n_tasks; i++)
        o->after_start[i + 1] += o->after_start[i];

    AUTO_FREE size_t *fill = xalloc((g->n_tasks + 1) * sizeof(*fill));

    for (size_t i = 0; i < g->n_tasks; i++) {
        for (size_t k = 0; k < g->tasks[i].n_deps; k++) {
            size_t dep = g->tasks[i].deps[k];

            o->after[o->after_start[dep] + fill[dep]++] = i;
        }
    }
    for (size_t done = 0; done < n_queue; done++) {
        size_t t = o->queue[done];

        for (size_t k = o->after_start[t]; k < o->after_start[t + 1]; k++) {
            if (--o->waits[o->after[k]] == 0)
                o->queue[n_queue++] = o->after[k];
        }
    }
    return n_queue;
}

/* from any task that is left over, its first dependency that is left over leads into a
 * circle */
static size_t enter_circle(const struct order *o, size_t at)
{
    AUTO_FREE bool *seen = xalloc(o->g->n_tasks);

    while (!seen[at]) {
        const struct task_def *t = &o->g->tasks[at];

        seen[at] = true;
        for (size_t k = 0; k < t->n_deps; k++) {
            if (o->waits[t->deps[k]]) {
                at = t->deps[k];
                break;
            }
        }
    }
    return at;
}

static int circle_err(const struct reader *r, const struct node *tasks,
                      const struct order *o, struct err *e)
{
    const struct dag *g = o->g;
    AUTO_BUF struct buf names = {0};
    size_t first = 0, at;

    while (!o->waits[first])
        first++;
    first = at = enter_circle(o, first);
    do {
        const struct task_def *t = &g->tasks[at];

        buf_addf(&names, "%.60s -> ", t->key.ptr);
        for (size_t k = 0; k < t->n_deps; k++) {
            if (o->waits[t->deps[k]]) {
                at = t->deps[k];
                break;
            }
        }
    } while (at != first && names.len < 200);
    buf_addf(&names, "%s%.60s", at == first ? "" : "... -> ", g->tasks[first].key.ptr);
    return read_err_at(r, tasks, g->tasks[first].pos, e,
                       "tasks wait for each other: %s", buf_str(&names));
}

int check_order(const struct reader *r, const struct node *tasks, const struct dag *g,
                struct err *e)
{
    struct order o = {.g = g};
    size_t n_edges = 0;
    int rc = 0;

    for (size_t i = 0; i < g->n_tasks; i++)
        n_edges += g->tasks[i].n_deps;
    o.waits = xalloc(g->n_tasks * sizeof(size_t));
    o.queue = xalloc(g->n_tasks * sizeof(size_t));
    o.after_start = xalloc((g->n_tasks + 1) * sizeof(size_t));
    o.after = xalloc((n_edges + 1) * sizeof(size_t));
    if (take_away(&o) < g->n_tasks)
        rc = circle_err(r, tasks, &o, e);
    free(o.waits);
    free(o.queue);
    free(o.after_start);
    free(o.after);
    return rc;
}

/* Components inside of components */

struct nesting {
    const struct reader *r;
    const struct component *path[LIMIT_SPEC_DEPTH];
    size_t depth;
};

static int inside_itself(const struct nesting *n, size_t from, const struct task_def *t,
                         struct err *e)
{
    AUTO_BUF struct buf names = {0};

    for (size_t i = from; i < n->depth && names.len < 250; i++)
        buf_addf(&names, "%.60s -> ", n->path[i]->name.ptr);
    return pos_err(e, ERR_INPUT, n->r->file, t->pos,
                   "task \"%.60s\": a component contains itself: %s%.60s", t->key.ptr,
                   buf_str(&names), t->component->name.ptr);
}

static int count_tasks(struct nesting *n, struct component *c, struct err *e)
{
    uint64_t total = 0;

    if (n->depth == LIMIT_SPEC_DEPTH)
        return pos_err(e, ERR_LIMIT, n->r->file, c->pos,
                       "pipelines nested more than %d levels deep", LIMIT_SPEC_DEPTH);
    n->path[n->depth++] = c;
    for (size_t i = 0; i < c->dag->n_tasks; i++) {
        const struct task_def *t = &c->dag->tasks[i];
        struct component *inner = t->component;

        total++;
        if (!inner->dag)
            continue;
        for (size_t k = 0; k < n->depth; k++) {
            if (n->path[k] == inner)
                return inside_itself(n, k, t, e);
        }
        if (!inner->n_inside && count_tasks(n, inner, e) < 0)
            return -1;
        total += inner->n_inside; /* each at most LIMIT_TASKS: no overflow */
    }
    n->depth--;
    c->n_inside = total;
    if (total > LIMIT_TASKS)
        return pos_err(e, ERR_LIMIT, n->r->file, c->pos, "%.80s: more than %d tasks",
                       c->name.ptr, LIMIT_TASKS);
    return 0;
}

/* Placeholders of names that nobody knows */

#define UNKNOWN_MAX 64

struct unknown { /* an input that the component does not declare; the task may */
    struct str name;
    const char *list;
    size_t index;
    bool artifact;
};
struct unknowns {
    struct unknown items[UNKNOWN_MAX];
    size_t n;
};

static int word_err(const struct reader *r, const struct component *c,
                    const struct unknown *u, const char *direction, struct err *e)
{
    const struct executor *x = c->executor;
    char where[40] = "";

    if (u->index != SIZE_MAX)
        snprintf(where, sizeof(where), "[%zu]", u->index);
    return pos_err(
        e, ERR_INPUT, r->file, x->pos,
        "deploymentSpec.executors.%.80s.container.%s%s: %s %s \"%.*s\" is not known "
        "to component %.80s",
        x->label.ptr, u->list, where, direction, u->artifact ? "artifact" : "parameter",
        (int)(u->name.len < 80 ? u->name.len : 80), u->name.ptr, c->name.ptr);
}

static bool is_output(enum placeholder_kind k)
{
    return k == PH_OUTPUT_PARAM_FILE || k == PH_OUTPUT_ARTIFACT_URI ||
           k == PH_OUTPUT_ARTIFACT_PATH || k == PH_OUTPUT_ARTIFACT_META;
}

static bool is_artifact(enum placeholder_kind k)
{
    return k == PH_INPUT_ARTIFACT || k == PH_INPUT_ARTIFACT_URI ||
           k == PH_INPUT_ARTIFACT_PATH || k == PH_INPUT_ARTIFACT_META ||
           k == PH_OUTPUT_ARTIFACT_URI || k == PH_OUTPUT_ARTIFACT_PATH ||
           k == PH_OUTPUT_ARTIFACT_META;
}

static int check_word(const struct reader *r, const struct component *c,
                      struct str word, const char *list, size_t index,
                      struct unknowns *found, struct err *e)
{
    struct placeholder ph;
    size_t at = 0, len;

    while (placeholder_find(word, &at, &len, &ph)) {
        struct unknown u = {ph.name, list, index, is_artifact(ph.kind)};
        const struct io_defs *io = is_output(ph.kind) ? &c->out : &c->in;
        bool known = u.artifact ? io_artifact(io, ph.name) != NULL
                                : io_param(io, ph.name) != NULL;

        at += len;
        if (!ph.name.len || known)
            continue;
        if (is_output(ph.kind))
            return word_err(r, c, &u, "output", e);
        if (found->n == UNKNOWN_MAX)
            return word_err(r, c, &u, "input", e);
        found->items[found->n++] = u;
    }
    return 0;
}

struct word_ctx {
    const struct reader *r;
    const struct component *c;
    const char *list;
    size_t index;
    struct unknowns *found;
};

/* an InputName of an IfPresent */
static int check_input_name(void *ctx, struct str name, struct err *e)
{
    struct word_ctx *w = ctx;
    struct unknown u = {arena_str(w->r->a, name), w->list, w->index, false};

    if (io_param(&w->c->in, name) || io_artifact(&w->c->in, name))
        return 0;
    if (w->found->n == UNKNOWN_MAX)
        return word_err(w->r, w->c, &u, "input", e);
    w->found->items[w->found->n++] = u;
    return 0;
}

static int check_list(const struct reader *r, const struct component *c,
                      const struct str *words, size_t n, const char *list,
                      struct unknowns *found, struct err *e)
{
    const struct executor *x = c->executor;

    for (size_t i = 0; i < n; i++) {
        struct word_ctx w = {r, c, list, i, found};
        struct err why;

        if (check_word(r, c, words[i], list, i, found, e) < 0)
            return -1;
        if (placeholder_word_check(words[i], check_input_name, &w, &why) < 0)
            return pos_err(e, ERR_INPUT, r->file, x->pos,
                           "deploymentSpec.executors.%.80s.container.%s[%zu]: %s",
                           x->label.ptr, list, i, why.text);
    }
    return 0;
}

static int check_words(const struct reader *r, const struct component *c,
                       struct unknowns *found, struct err *e)
{
    const struct executor *x = c->executor;
    const struct {
        const char *name;
        struct str text;
    } single[] = {
        {"image", x->image},
        {"resources.resourceCpuLimit", x->res.cpu_limit},
        {"resources.resourceCpuRequest", x->res.cpu_request},
        {"resources.resourceMemoryLimit", x->res.memory_limit},
        {"resources.resourceMemoryRequest", x->res.memory_request},
        {"resources.accelerator.resourceType", x->res.accelerator_type},
        {"resources.accelerator.resourceCount", x->res.accelerator_count},
    };

    if (check_list(r, c, x->command, x->n_command, "command", found, e) < 0 ||
        check_list(r, c, x->args, x->n_args, "args", found, e) < 0)
        return -1;
    for (size_t i = 0; i < N_ELEMS(single); i++) {
        if (check_word(r, c, single[i].text, single[i].name, SIZE_MAX, found, e) < 0)
            return -1;
    }
    return 0;
}

static const struct unknowns none_unknown;

/* heap, or &none_unknown, as for nearly every component; NULL with *e set */
static const struct unknowns *unknowns_of(const struct reader *r,
                                          const struct component *c, struct err *e)
{
    struct unknowns found = {.n = 0};
    struct unknowns *kept;

    if (check_words(r, c, &found, e) < 0)
        return NULL;
    if (!found.n)
        return &none_unknown;
    kept = xalloc(sizeof(*kept));
    *kept = found;
    return kept;
}

static bool task_binds(const struct task_def *t, const struct unknown *u)
{
    const struct binding *b = u->artifact ? t->artifacts : t->params;
    size_t n = u->artifact ? t->n_artifacts : t->n_params;

    for (size_t i = 0; i < n; i++) {
        if (str_eq(b[i].name, u->name))
            return true;
    }
    return false;
}

static int check_dag_words(const struct reader *r, const struct dag *g,
                           struct map *by_component, struct err *e)
{
    for (size_t i = 0; i < g->n_tasks; i++) {
        const struct task_def *t = &g->tasks[i];
        const struct component *c = t->component;
        const struct unknowns *found;

        if (c->dag || c->executor->kind != EXECUTOR_CONTAINER)
            continue;
        found = map_get(by_component, c->name);
        if (!found) {
            found = unknowns_of(r, c, e);
            if (!found)
                return -1;
            map_put(by_component, c->name, (void *)found);
        }
        for (size_t k = 0; k < found->n; k++) {
            if (!task_binds(t, &found->items[k]))
                return word_err(r, c, &found->items[k], "input", e);
        }
    }
    return 0;
}

static int check_placeholders(const struct reader *r, struct err *e)
{
    const struct pipeline *p = r->p;
    struct map by_component = {0};
    int rc = check_dag_words(r, p->root->dag, &by_component, e);

    for (size_t i = 0; i < p->n_components && rc == 0; i++) {
        if (p->components[i]->dag)
            rc = check_dag_words(r, p->components[i]->dag, &by_component, e);
    }
    for (size_t i = 0; i < p->n_components; i++) {
        void *found = map_get(&by_component, p->components[i]->name);

        if (found != &none_unknown)
            free(found);
    }
    map_done(&by_component);
    return rc;
}

int check_pipeline(struct reader *r, struct err *e)
{
    struct pipeline *p = r->p;
    struct nesting n = {.r = r};

    if (count_tasks(&n, p->root, e) < 0)
        return -1;
    for (size_t i = 0; i < p->n_components; i++) {
        struct component *c = p->components[i];

        n.depth = 0;
        if (c->dag && !c->n_inside && count_tasks(&n, c, e) < 0)
            return -1;
    }
    return check_placeholders(r, e);
}

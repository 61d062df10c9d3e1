/* SPDX-License-Identifier: Apache-2.0 */
/* supported.c - what this version reads but does not run, refused by name before
 * anything starts
 *
 * Only what the run can reach is looked at: a component that nobody uses harms nobody.
 */
#include "spec/placeholder.h"
#include "spec/reader.h"

struct walk {
    const struct pipeline *p;
    struct map seen; /* component name -> component */
};

static int not_yet(const struct walk *w, struct pos at, struct err *e, const char *what,
                   struct str name, const char *feature)
{
    return pos_err(e, ERR_INPUT, w->p->file, at,
                   "%s \"%.80s\": this version does not run %s yet", what, name.ptr,
                   feature);
}

static int no_workspace(const struct walk *w, struct pos at, struct err *e,
                        const char *what, struct str name)
{
    return pos_err(e, ERR_INPUT, w->p->file, at,
                   "%s \"%.80s\" uses {{$.workspace_path}}, and the pipeline has no "
                   "workspace (dsl.PipelineConfig(workspace=...))",
                   what, name.ptr);
}

static bool uses_workspace(const struct executor *x)
{
    const struct {
        const struct str *words;
        size_t n;
    } lists[] = {{x->command, x->n_command}, {x->args, x->n_args}};

    for (size_t l = 0; l < N_ELEMS(lists); l++) {
        for (size_t i = 0; i < lists[l].n; i++) {
            struct placeholder ph;
            size_t at = 0, len;

            for (; placeholder_find(lists[l].words[i], &at, &len, &ph); at += len) {
                if (ph.kind == PH_WORKSPACE)
                    return true;
            }
        }
    }
    return false;
}

static int check_executor(const struct walk *w, const struct executor *x, struct err *e)
{
    if (x->kind == EXECUTOR_IMPORTER)
        return 0;
    if (str_starts(x->image, "argostub/") && !str_eqz(x->image, "argostub/createpvc") &&
        !str_eqz(x->image, "argostub/deletepvc"))
        return not_yet(w, x->pos, e, "executor", x->label, x->image.ptr);
    if (uses_workspace(x) && !w->p->workspace)
        return no_workspace(w, x->pos, e, "executor", x->label);
    return 0;
}

static int check_task(const struct walk *w, const struct task_def *t, struct err *e)
{
    if (task_is_loop(t) && !t->component->dag)
        return not_yet(w, t->pos, e, "task", t->key,
                       "loops over a component that is no DAG");
    for (size_t i = 0; i < t->n_params; i++) {
        const struct source *s = &t->params[i].from;

        if (s->kind == SOURCE_CONSTANT && s->constant->kind == VALUE_STRING &&
            memmem(s->constant->s.ptr, s->constant->s.len, "{{$.workspace_path}}", 20) &&
            !w->p->workspace)
            return no_workspace(w, s->pos, e, "task", t->key);
    }
    return 0;
}

static int check_component(struct walk *w, const struct component *c, struct err *e);

static int check_dag(struct walk *w, const struct component *c, struct err *e)
{
    const struct dag *g = c->dag;

    for (size_t i = 0; i < g->n_tasks; i++) {
        if (check_task(w, &g->tasks[i], e) < 0)
            return -1;
    }
    for (size_t i = 0; i < g->n_tasks; i++) {
        if (check_component(w, g->tasks[i].component, e) < 0)
            return -1;
    }
    return 0;
}

/* nesting is bounded: check.c has refused deeper files */
static int check_component(struct walk *w, const struct component *c, struct err *e)
{
    if (map_get(&w->seen, c->name) == c)
        return 0;
    map_put(&w->seen, c->name, (void *)c);
    return c->dag ? check_dag(w, c, e) : check_executor(w, c->executor, e);
}

int pipeline_supported(const struct pipeline *p, struct err *e)
{
    struct walk w = {.p = p};
    int rc = check_dag(&w, p->root, e);

    map_done(&w.seen);
    return rc;
}

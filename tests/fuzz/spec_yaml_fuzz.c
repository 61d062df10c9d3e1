/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a pipeline file: an answer with a message, or a pipeline whose
 * references hold */
#include <stdint.h>

#include "base/mem.h"
#include "spec/pipeline.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_dag(const struct component *c)
{
    const struct dag *g = c->dag;

    must(g->n_tasks > 0 && c->n_inside >= g->n_tasks);
    for (size_t i = 0; i < g->n_tasks; i++) {
        const struct task_def *t = &g->tasks[i];

        must(t->component && t->key.len && t->display_name.len && t->pos.line);
        must(!t->component->dag != !t->component->executor);
        for (size_t k = 0; k < t->n_deps; k++)
            must(t->deps[k] < g->n_tasks && t->deps[k] != i &&
                 (!k || t->deps[k - 1] < t->deps[k]));
        for (size_t k = 0; k < t->n_params; k++) {
            const struct source *s = &t->params[k].from;

            must(s->kind != SOURCE_CONSTANT || s->constant);
            must(s->kind != SOURCE_INPUT || io_param(&c->in, s->name));
            must(s->kind != SOURCE_TASK_OUTPUT ||
                 io_param(&g->tasks[s->task_index].component->out, s->name));
        }
    }
    for (size_t i = 0; i < g->n_params; i++)
        must(g->params[i].n_from && g->params[i].from[0].task_index < g->n_tasks);
}

static void check_pipeline(struct arena *a, const struct pipeline *p)
{
    struct value params;
    struct err e = {.text = ""};

    must(p->name.len && p->root->dag);
    check_dag(p->root);
    for (size_t i = 0; i < p->n_components; i++) {
        if (p->components[i]->dag)
            check_dag(p->components[i]);
    }
    must(pipeline_supported(p, &e) == 0 || e.text[0]);
    if (pipeline_root_params_in(a, p, NULL, 0, &params, &e) == 0)
        must(params.kind == VALUE_STRUCT && params.n_items == p->root->in.n_params);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};

    for (int lenient = 0; lenient < 2; lenient++) {
        struct pipeline_opts o = {.lenient = lenient};
        struct arena a = {0};
        struct pipeline p;
        struct err e = {.text = ""};

        if (pipeline_parse_in(&a, STR("f"), text, &o, &p, &e) == 0)
            check_pipeline(&a, &p);
        else
            must((e.code == ERR_INPUT || e.code == ERR_LIMIT) && e.text[0] == 'f');
        arena_done(&a);
    }
    return 0;
}

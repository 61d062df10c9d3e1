/* SPDX-License-Identifier: Apache-2.0 */
/* resolve.c - a task's inputs from their sources (spec section 7), and whether its condition holds
 *
 * In order: fetch from the source, select a part, null handling, placeholders in constants, defaults,
 * allowed values, type. Only constants of the pipeline are scanned for placeholders; a value that a
 * task or a user gave is data.
 */
#include "base/limits.h"
#include "plan/cond.h"
#include "plan/execin.h"
#include "plan/graph.h"
#include "spec/placeholder.h"

static void put_member(struct arena *a, struct value *v, struct str key, struct value member)
{
    size_t n = v->n_items;

    v->keys = arena_grow(a, v->keys, &n, sizeof(*v->keys));
    v->items = arena_grow(a, v->items, &v->n_items, sizeof(*v->items));
    v->keys[n - 1] = key;
    v->items[n - 1] = member;
}

/* KFP's backend and the SDK's documentation disagree on how a good end is called (section 16) */
static struct str final_word(const struct graph *g, enum task_state s)
{
    if (s == TASK_FAILED || s == TASK_SKIPPED)
        return str_of(task_state_name(s));
    if (s == TASK_CANCELED)
        return g->sdk_words ? STR("CANCELLED") : STR("CANCELED");
    return g->sdk_words ? STR("SUCCEEDED") : STR("COMPLETE");
}

/* what an exit task is told about its producer */
static const struct value *final_status(struct graph *g, const struct task *of)
{
    struct value error = {.kind = VALUE_STRUCT}, *all = arena_alloc(g->a, sizeof *all);
    struct str state = final_word(g, of->state);

    if (of->state == TASK_FAILED || of->state == TASK_CANCELED) {
        put_member(g->a, &error, STR("code"), (struct value){.kind = VALUE_NUMBER, .n = 1});
        put_member(g->a, &error, STR("message"),
                   (struct value){.kind = VALUE_STRING,
                                  .s = of->error.len ? of->error : of->reason});
    }
    *all = (struct value){.kind = VALUE_STRUCT};
    put_member(g->a, all, STR("state"), (struct value){.kind = VALUE_STRING, .s = state});
    put_member(g->a, all, STR("error"), error);
    put_member(g->a, all, STR("pipelineJobResourceName"),
               (struct value){.kind = VALUE_STRING, .s = g->resource_name});
    put_member(g->a, all, STR("pipelineTaskName"),
               (struct value){.kind = VALUE_STRING, .s = of->def->key});
    return all;
}

/* NULL: the producer has no such value (an upstream without output, an absent optional) */
static const struct value *fetch_param(struct graph *g, const struct task *t,
                                       const struct source *from)
{
    switch (from->kind) {
    case SOURCE_INPUT:
        return io_values_param(&t->scope->in, from->name);
    case SOURCE_TASK_OUTPUT:
        return io_values_param(&t->scope->tasks[from->task_index]->out, from->name);
    case SOURCE_CONSTANT:
        return from->constant;
    case SOURCE_FINAL_STATUS:
        return final_status(g, t->scope->tasks[from->task_index]);
    }
    return NULL;
}

/* ---- placeholders in constants (section 8.1) --------------------------------------- */

int task_fact(const struct graph *g, const struct task *t, const struct placeholder *ph,
              struct buf *out)
{
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
        buf_addstr(out, t->def->key);
        return 1;
    case PH_TASK_UUID:
        buf_adds(out, t->uuid);
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
    case PH_INPUT_PARAM:
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

struct constant_ctx {
    const struct graph *g;
    const struct task *t;
};

/* {{$}} and the path of the executor's output. The input that asks for {{$}} stands in it as it is in
 * the file: an executor input that held itself would have no end. */
static int own_input(const struct constant_ctx *c, enum placeholder_kind kind, struct buf *out,
                     struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct exec_plan x = {0};

    if (exec_input_in(&a, c->g, c->t, &x, e) < 0)
        return -1;
    buf_addstr(out, kind == PH_OUTPUT_FILE ? x.output_file : x.executor_input);
    return 1;
}

static int constant_answer(void *ctx, const struct placeholder *ph, struct buf *out,
                           struct err *e)
{
    struct constant_ctx *c = ctx;
    const struct value *v;

    if (ph->kind == PH_EXECUTOR_INPUT || ph->kind == PH_OUTPUT_FILE)
        return own_input(c, ph->kind, out, e);
    if (ph->kind != PH_INPUT_PARAM)
        return task_fact(c->g, c->t, ph, out);
    v = io_values_param(&c->t->in, ph->name);
    if (!v)
        return 0;
    value_text(out, v);
    return 1;
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

static bool mentions(struct graph *g, const struct value *v, struct str input)
{
    char *mention;

    for (size_t i = 0; i < v->n_items; i++)
        if (mentions(g, &v->items[i], input))
            return true;
    if (v->kind != VALUE_STRING)
        return false;
    mention = arena_printf(g->a, "{{$.inputs.parameters['%.*s']}}", STR_ARG(input));
    return memmem(v->s.ptr, v->s.len, mention, strlen(mention)) != NULL;
}

static int expand_inner(struct graph *g, struct task *t, const struct value *v, uint8_t *seen,
                        struct err *e)
{
    for (size_t i = 0; i < t->def->n_params; i++)
        if (mentions(g, v, t->def->params[i].name) && expand_constant(g, t, i, seen, e) < 0)
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

int task_expand_constant(struct graph *g, const struct task *t, struct value *v, struct err *e)
{
    struct constant_ctx c = {.g = g, .t = t};

    if (!has_placeholder(v))
        return 0;
    *v = value_copy_in(g->a, v);
    return expand_value(g, &c, v, e);
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

/* ---- expression selectors (section 14) ------------------------------------------------ */

struct selector_ctx {
    struct arena *a;
    const struct value *v;
};

/* the value under the names that KFP's selectors use: string_value is its text form */
static const struct value *selector_name(void *ctx, struct str name)
{
    static const char *const same[] = {"struct_value", "list_value", "number_value", "bool_value"};
    struct selector_ctx *c = ctx;
    AUTO_BUF struct buf text = {0};
    struct value *s;

    for (size_t i = 0; i < N_ELEMS(same); i++)
        if (str_eqz(name, same[i]))
            return c->v;
    if (!str_eqz(name, "string_value"))
        return NULL;
    buf_init(&text, LIMIT_VALUE_BYTES);
    value_text(&text, c->v);
    s = arena_alloc(c->a, sizeof *s);
    *s = value_string_in(c->a, (struct str){buf_str(&text), text.len});
    return s;
}

static int select_part(struct graph *g, const struct source *from, const struct value **v,
                       struct err *e)
{
    struct selector_ctx c = {g->a, *v};
    struct value *part;

    if (!from->selector.len || !*v)
        return 0;
    part = arena_alloc(g->a, sizeof *part);
    if (cond_eval_in(g->a, from->selector, selector_name, &c, part, e) < 0)
        return err_at(e, "selector %.*s", STR_ARG(from->selector));
    *v = part;
    return 0;
}

/* ---- parameters and artifacts ----------------------------------------------------------- */

static bool is_dark(const struct binding *all, size_t n, const uint8_t *dark, struct str name)
{
    for (size_t i = 0; dark && i < n; i++)
        if (str_eq(all[i].name, name))
            return dark[i];
    return false;
}

/* what is bound, as it comes; a null counts as if it were not bound */
static int resolve_bound(struct graph *g, struct task *t, const struct binding *b, struct err *e)
{
    const struct param_def *def = io_param(&t->def->component->in, b->name);
    const struct value *v = fetch_param(g, t, &b->from);

    if (select_part(g, &b->from, &v, e) < 0)
        return err_at(e, "input %.*s", STR_ARG(b->name));
    if ((v && v->kind != VALUE_NULL) || !def) {
        if (v)
            io_values_add_param(g->a, &t->in, b->name, *v);
        return 0;
    }
    if (!def->optional && !def->default_value)
        return err_set(e, ERR_INPUT, "input %.*s is required, and %.*s%s%.*s gave no value",
                       STR_ARG(b->name), STR_ARG(b->from.task),
                       b->from.task.len ? " output " : "pipeline input ", STR_ARG(b->from.name));
    return 0;
}

static int check_literals(const struct param_def *def, const struct value *v, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    for (size_t i = 0; i < def->n_literals; i++)
        if (value_equal(&def->literals[i], v))
            return 0;
    if (!def->n_literals)
        return 0;
    buf_init(&text, 200);
    value_text(&text, v);
    return err_set(e, ERR_INPUT, "input %.*s: %s is none of its allowed values", STR_ARG(def->name),
                   buf_str(&text));
}

/* the default where nothing is bound, and whether the value may be one of this input */
static int settle_param(struct graph *g, struct task *t, const struct param_def *def,
                        struct err *e)
{
    struct value *v = io_values_param(&t->in, def->name);

    if (!v && def->default_value)
        io_values_add_param(g->a, &t->in, def->name, *def->default_value);
    else if (!v && !def->optional && def->type != PARAM_TASK_CONFIG)
        return err_set(e, ERR_INPUT, "input %.*s is required, and nothing gives it",
                       STR_ARG(def->name));
    else if (!v && task_is_group(t))
        io_values_add_param(g->a, &t->in, def->name, (struct value){.kind = VALUE_NULL});
    v = io_values_param(&t->in, def->name);
    if (!v || v->kind == VALUE_NULL)
        return 0;
    if (check_literals(def, v, e) < 0)
        return -1;
    if (value_check_in(g->a, def->type, v, e) < 0)
        return err_at(e, "input %.*s", STR_ARG(def->name));
    return 0;
}

/* dark: by binding, NULL when all is known */
static int resolve_params(struct graph *g, struct task *t, const uint8_t *dark, struct err *e)
{
    const struct task_def *d = t->def;
    const struct io_defs *in = &d->component->in;
    uint8_t *seen = arena_alloc(g->a, d->n_params + 1);

    for (size_t i = 0; i < d->n_params; i++)
        if (!(dark && dark[i]) && resolve_bound(g, t, &d->params[i], e) < 0)
            return -1;
    for (size_t i = 0; i < d->n_params; i++)
        if (expand_constant(g, t, i, seen, e) < 0)
            return -1;
    for (size_t i = 0; i < in->n_params; i++) {
        struct str name = in->params[i].name;

        if (t->kind == TASK_LOOP && str_eq(name, d->item_name))
            continue; /* each iteration brings its own */
        if (!is_dark(d->params, d->n_params, dark, name) &&
            settle_param(g, t, &in->params[i], e) < 0)
            return -1;
    }
    return 0;
}

static int resolve_artifacts(struct graph *g, struct task *t, const uint8_t *dark, struct err *e)
{
    const struct io_defs *in = &t->def->component->in;

    for (size_t i = 0; i < t->def->n_artifacts; i++) {
        if (dark && dark[i])
            continue;
        const struct binding *b = &t->def->artifacts[i];
        const struct named_artifacts *l =
            b->from.kind == SOURCE_INPUT
                ? io_values_artifact(&t->scope->in, b->from.name)
                : io_values_artifact(&t->scope->tasks[b->from.task_index]->out, b->from.name);

        if (l)
            io_values_add_artifacts(g->a, &t->in, b->name, l);
    }
    for (size_t i = 0; i < in->n_artifacts; i++) {
        const struct artifact_def *def = &in->artifacts[i];
        if (t->kind == TASK_LOOP && str_eq(def->name, t->def->item_name))
            continue;
        if (is_dark(t->def->artifacts, t->def->n_artifacts, dark, def->name))
            continue;
        if (!def->optional && !io_values_artifact(&t->in, def->name))
            return err_set(e, ERR_INPUT, "input artifact %.*s is required, and nothing gives it",
                           STR_ARG(def->name));
    }
    return 0;
}

int task_resolve_known(struct graph *g, struct task *t, const uint8_t *dark, struct err *e)
{
    t->in = (struct io_values){0};
    if (resolve_params(g, t, dark, e) < 0 ||
        resolve_artifacts(g, t, dark ? dark + t->def->n_params : NULL, e) < 0)
        return -1;
    if (t->inner)
        t->inner->in = t->in;
    return 0;
}

int task_resolve(struct graph *g, struct task *t, struct err *e)
{
    return task_resolve_known(g, t, NULL, e);
}

void task_spread_dark(struct graph *g, const struct task *t, uint8_t *dark)
{
    const struct binding *b = t->def->params;

    for (bool more = true; more;) {
        more = false;
        for (size_t i = 0; i < t->def->n_params; i++)
            for (size_t k = 0; k < t->def->n_params && !dark[i]; k++)
                if (dark[k] && b[i].from.kind == SOURCE_CONSTANT &&
                    mentions(g, b[i].from.constant, b[k].name))
                    dark[i] = more = true;
    }
}

/* ---- conditions (section 13) ------------------------------------------------------------- */

static struct value text_of(struct str s)
{
    return (struct value){.kind = VALUE_STRING, .s = s};
}

static struct value parameter_values(struct arena *a, const struct io_values *in)
{
    struct value v = {.kind = VALUE_STRUCT, .n_items = in->n_params};

    v.keys = arena_alloc(a, (in->n_params + 1) * sizeof(*v.keys));
    v.items = arena_alloc(a, (in->n_params + 1) * sizeof(*v.items));
    for (size_t i = 0; i < in->n_params; i++) {
        v.keys[i] = in->params[i].name;
        v.items[i] = in->params[i].value;
    }
    return v;
}

static struct value artifact_value(struct arena *a, const struct artifact *f)
{
    static const char *const keys[] = {"name", "uri", "metadata"};
    struct value v = {.kind = VALUE_STRUCT, .n_items = N_ELEMS(keys)};

    v.keys = arena_alloc(a, N_ELEMS(keys) * sizeof(*v.keys));
    v.items = arena_alloc(a, N_ELEMS(keys) * sizeof(*v.items));
    for (size_t i = 0; i < N_ELEMS(keys); i++)
        v.keys[i] = str_of(keys[i]);
    v.items[0] = text_of(f->name);
    v.items[1] = text_of(f->uri);
    v.items[2] = f->metadata ? *f->metadata : (struct value){.kind = VALUE_STRUCT};
    return v;
}

static struct value artifact_values(struct arena *a, const struct io_values *in)
{
    struct value all = {.kind = VALUE_STRUCT};

    for (size_t i = 0; i < in->n_artifacts; i++) {
        const struct named_artifacts *l = &in->artifacts[i];
        struct value list = {.kind = VALUE_LIST, .n_items = l->n_items};
        struct value one = {.kind = VALUE_STRUCT};

        list.items = arena_alloc(a, (l->n_items + 1) * sizeof(*list.items));
        for (size_t k = 0; k < l->n_items; k++)
            list.items[k] = artifact_value(a, &l->items[k]);
        put_member(a, &one, STR("artifacts"), list);
        put_member(a, &all, l->name, one);
    }
    return all;
}

static const struct value *condition_name(void *ctx, struct str name)
{
    return str_eqz(name, "inputs") ? ctx : NULL;
}

int task_condition(const struct task *t, bool *holds, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct value inputs = {.kind = VALUE_STRUCT}, result;

    *holds = true;
    if (!t->def->condition.len)
        return 0;
    put_member(&a, &inputs, STR("parameter_values"), parameter_values(&a, &t->in));
    put_member(&a, &inputs, STR("artifacts"), artifact_values(&a, &t->in));
    if (cond_eval_in(&a, t->def->condition, condition_name, &inputs, &result, e) < 0)
        return err_at(e, "condition %.*s", STR_ARG(t->def->condition));
    if (result.kind != VALUE_BOOL)
        return err_set(e, ERR_INPUT, "condition %.*s: its value is no bool but a %s",
                       STR_ARG(t->def->condition), value_kind_name(result.kind));
    *holds = result.b;
    return 0;
}

/* is every `word` in the text followed by `next`? */
static bool always_before(struct str text, const char *word, char next)
{
    size_t n = strlen(word);
    const char *end = text.ptr + text.len, *p = text.ptr;

    while ((p = memmem(p, (size_t)(end - p), word, n))) {
        p += n;
        if (p == end || *p != next)
            return false;
    }
    return true;
}

/* A dark input has no value here, and what has none leaves its mark on everything that it decides:
 * only `false && dark` and `true || dark` come to a value. That holds as long as inputs are asked for
 * by name; `x in inputs.parameter_values` would take an absent one for one that is not there. */
bool task_condition_known(const struct task *t, const uint8_t *dark, bool *holds)
{
    struct str text = t->def->condition;
    struct err why;

    if (memchr(dark, 1, t->def->n_params + t->def->n_artifacts) &&
        !(always_before(text, "inputs", '.') && always_before(text, "parameter_values", '[') &&
          always_before(text, "artifacts", '[')))
        return false;
    return task_condition(t, holds, &why) == 0;
}

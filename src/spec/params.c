/* SPDX-License-Identifier: Apache-2.0 */
/* params.c - the parameters of a run: given, default, absent
 *
 * The command line has only text, which is read by the declared type; a parameter file
 * has values, and they must have that type: 3 is no STRING. All that is required and
 * missing is named at once, so that nobody has to try five times.
 */
#include "spec/pipeline.h"

#include "base/nearest.h"

static int unknown(const struct io_defs *in, struct str name, struct err *e)
{
    AUTO_FREE const char **names = xalloc((in->n_params + 1) * sizeof(*names));
    const char *near;

    for (size_t i = 0; i < in->n_params; i++)
        names[i] = in->params[i].name.ptr;
    near = nearest(name, names, in->n_params);
    if (near)
        return err_set(e, ERR_INPUT,
                       "the pipeline has no parameter \"%.*s\", did you mean \"%.80s\"",
                       (int)(name.len < 80 ? name.len : 80), name.ptr, near);
    if (!in->n_params)
        return err_set(e, ERR_INPUT,
                       "the pipeline takes no parameters, \"%.*s\" neither",
                       (int)(name.len < 80 ? name.len : 80), name.ptr);
    return err_set(e, ERR_INPUT, "the pipeline has no parameter \"%.*s\"",
                   (int)(name.len < 80 ? name.len : 80), name.ptr);
}

static int convert(struct arena *a, const struct param_def *p,
                   const struct given_param *g, struct value *out, struct err *e)
{
    if (p->type == PARAM_FINAL_STATUS || p->type == PARAM_TASK_CONFIG)
        return err_set(e, ERR_INPUT, "a %s cannot be given", param_type_name(p->type));
    if (!g->value)
        return value_from_flag_in(a, p->type, g->text, out, e);
    if (g->value->kind == VALUE_NULL && p->optional) {
        *out = (struct value){.kind = VALUE_NULL};
        return 0;
    }
    if (value_check_strict(p->type, g->value, e) < 0)
        return -1;
    *out = value_copy_in(a, g->value);
    return 0;
}

static int take_given(struct arena *a, const struct param_def *p,
                      const struct given_param *g, struct value *out, struct err *e)
{
    struct value v = {0};

    if (convert(a, p, g, &v, e) < 0)
        return err_at(e, "parameter %.80s", p->name.ptr);
    if (v.kind != VALUE_NULL && !param_allows(p, &v)) {
        AUTO_BUF struct buf list = {0};

        for (size_t i = 0; i < p->n_literals && list.len < 200; i++) {
            buf_adds(&list, i ? ", " : "");
            value_to_json(&list, &p->literals[i]);
        }
        return err_set(e, ERR_INPUT, "parameter %.80s: want one of %.200s", p->name.ptr,
                       buf_str(&list));
    }
    *out = v;
    return 0;
}

int pipeline_root_params_in(struct arena *a, const struct pipeline *p,
                            const struct given_param *given, size_t n_given,
                            struct value *out, struct err *e)
{
    const struct io_defs *in = &p->root->in;
    AUTO_FREE const struct given_param **by_param =
        xalloc((in->n_params + 1) * sizeof(*by_param));
    AUTO_BUF struct buf missing = {0};
    struct value v = {.kind = VALUE_STRUCT, .n_items = in->n_params};
    const char *example = NULL;

    for (size_t i = 0; i < n_given; i++) { /* of several, the last counts */
        const struct param_def *def = io_param(in, given[i].name);

        if (!def)
            return unknown(in, given[i].name, e);
        by_param[def - in->params] = &given[i];
    }

    v.items = arena_alloc(a, in->n_params * sizeof(*v.items) + 1);
    v.keys = arena_alloc(a, in->n_params * sizeof(*v.keys) + 1);
    for (size_t i = 0; i < in->n_params; i++) {
        const struct param_def *def = &in->params[i];

        v.keys[i] = def->name;
        if (by_param[i]) {
            if (take_given(a, def, by_param[i], &v.items[i], e) < 0)
                return -1;
        } else if (def->default_value) {
            v.items[i] = *def->default_value;
        } else if (!def->optional) {
            buf_addf(&missing, "%s%.60s (%s)", missing.len ? ", " : "", def->name.ptr,
                     param_type_name(def->type));
            example = example ? example : def->name.ptr;
        }
    }
    if (missing.len)
        return err_set(e, ERR_INPUT,
                       "parameters without a value: %.300s; give them as -p %.60s=...",
                       buf_str(&missing), example);
    *out = v;
    return 0;
}

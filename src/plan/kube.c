/* SPDX-License-Identifier: Apache-2.0 */
/* kube.c - parameters of the platform document, answered by the enclosing DAG
 *
 * KFP evaluates them apart from the task's own inputs: componentInputParameter is an
 * input of the DAG that the task stands in, not of its component. The rules for null
 * and for types are fewer than those of inputs: null drops the entry, a name is a
 * non-empty string, JSON may be given as text.
 */
#include "plan/kube.h"

#include "base/limits.h"

/* *out NULL: null, or there is no such value (an optional input that was not given) */
static int fetch(struct arena *a, struct graph *g, const struct task *t,
                 const struct kube_value *v, const struct value **out, struct err *e)
{
    const struct source *s = &v->from;
    struct value *copy;

    *out = NULL;
    switch (s->kind) {
    case SOURCE_INPUT:
        *out = io_values_param(&t->scope->in, s->name);
        break;
    case SOURCE_TASK_OUTPUT:
        for (size_t i = 0; i < t->scope->dag->n_tasks; i++)
            if (str_eq(t->scope->dag->tasks[i].key, s->task))
                *out = io_values_param(&t->scope->tasks[i]->out, s->name);
        break;
    case SOURCE_CONSTANT:
        copy = arena_alloc(a, sizeof *copy);
        *copy = *s->constant;
        if (task_expand_constant(g, t, copy, e) < 0)
            return -1;
        *out = copy;
        break;
    case SOURCE_FINAL_STATUS:
        break; /* the reader gives none of these */
    }
    if (*out && (*out)->kind == VALUE_NULL)
        *out = NULL;
    return 0;
}

/* a name, or empty: the entry is dropped */
static int fetch_name(struct arena *a, struct graph *g, const struct task *t,
                      const struct kube_value *v, const char *what, struct str *out,
                      struct err *e)
{
    const struct value *got;

    *out = STR("");
    if (fetch(a, g, t, v, &got, e) < 0)
        return -1;
    if (!got)
        return 0;
    if (got->kind != VALUE_STRING)
        return err_set(e, ERR_INPUT, "the name of a %s must be a string, got %s", what,
                       value_kind_name(got->kind));
    if (!kube_name_ok(got->s))
        return err_set(e, ERR_INPUT, "\"%.80s\" is no name of a %s", got->s.ptr, what);
    *out = got->s;
    return 0;
}

static int resolve_env(struct arena *a, struct graph *g, const struct task *t,
                       struct kube_plan *out, struct err *e)
{
    for (size_t i = 0; i < out->def->n_store_env; i++) {
        const struct kube_store_env *s = &out->def->store_env[i];
        struct str name;

        if (fetch_name(a, g, t, &s->name,
                       s->store == KUBE_SECRET ? "secret" : "config map", &name, e) < 0)
            return -1;
        for (size_t k = 0; name.len && k < s->n_keys; k++) {
            out->env_from =
                arena_grow(a, out->env_from, &out->n_env_from, sizeof(*out->env_from));
            out->env_from[out->n_env_from - 1] = (struct kube_env_from){
                s->store, name, s->keys[k].key, s->keys[k].var, s->optional};
        }
    }
    return 0;
}

static const char *volume_noun(enum kube_volume_kind kind)
{
    return kind == KUBE_VOLUME_SECRET       ? "secret"
           : kind == KUBE_VOLUME_CONFIG_MAP ? "config map"
                                            : "volume claim";
}

static int resolve_mounts(struct arena *a, struct graph *g, const struct task *t,
                          struct kube_plan *out, struct err *e)
{
    for (size_t i = 0; i < out->def->n_volumes; i++) {
        const struct kube_volume *v = &out->def->volumes[i];
        struct str name = STR("");

        if (v->name.set &&
            fetch_name(a, g, t, &v->name, volume_noun(v->kind), &name, e) < 0)
            return err_at(e, "the mount at %s", v->mount_path.ptr);
        if (v->name.set && !name.len)
            continue;
        out->mounts = arena_grow(a, out->mounts, &out->n_mounts, sizeof(*out->mounts));
        out->mounts[out->n_mounts - 1] = (struct kube_mount){v, name};
    }
    return 0;
}

static int resolve_placement(struct arena *a, struct graph *g, const struct task *t,
                             const struct kube_placement *p, const struct value **out,
                             struct err *e)
{
    static const char *const fields[] = {"nodeSelectorJson", "tolerationJson",
                                         "nodeAffinityJson", "podAffinity"};
    const struct value *got = NULL;
    struct value *parsed;

    *out = p->literal;
    if (!p->json.set)
        return 0;
    if (fetch(a, g, t, &p->json, &got, e) < 0)
        return err_at(e, "%s", fields[p->kind]);
    if (got && got->kind == VALUE_STRING) {
        parsed = arena_alloc(a, sizeof *parsed);
        if (value_parse_in(a, got->s, parsed, e) < 0)
            return err_at(e, "%s", fields[p->kind]);
        got = parsed->kind == VALUE_NULL ? NULL : parsed;
    }
    if (got && got->kind != VALUE_STRUCT &&
        !(got->kind == VALUE_LIST && p->kind == KUBE_TOLERATION))
        return err_set(e, ERR_INPUT, "%s wants a JSON object, got %s", fields[p->kind],
                       value_kind_name(got->kind));
    *out = got;
    return 0;
}

int kube_resolve_in(struct arena *a, struct graph *g, const struct task *t,
                    struct kube_plan *out, struct err *e)
{
    const struct executor *x = t->def->component->executor;

    *out = (struct kube_plan){.def = x ? x->kube : NULL};
    if (!out->def)
        return 0;
    if (resolve_env(a, g, t, out, e) < 0 || resolve_mounts(a, g, t, out, e) < 0)
        return -1;
    out->pull_secrets =
        arena_alloc(a, (out->def->n_pull_secrets + 1) * sizeof(struct str));
    for (size_t i = 0; i < out->def->n_pull_secrets; i++) {
        struct str name;
        if (fetch_name(a, g, t, &out->def->pull_secrets[i], "secret", &name, e) < 0)
            return err_at(e, "imagePullSecret");
        if (name.len)
            out->pull_secrets[out->n_pull_secrets++] = name;
    }
    out->placements =
        arena_alloc(a, (out->def->n_placements + 1) * sizeof(*out->placements));
    for (size_t i = 0; i < out->def->n_placements; i++)
        if (resolve_placement(a, g, t, &out->def->placements[i], &out->placements[i],
                              e) < 0)
            return -1;
    return 0;
}

bool kube_known_name(const struct kube_value *v, const struct io_values *in,
                     struct str *out)
{
    const struct value *got = NULL;

    if (v->from.kind == SOURCE_CONSTANT)
        got = v->from.constant;
    else if (v->from.kind == SOURCE_INPUT && in)
        got = io_values_param(in, v->from.name);
    if (!got || got->kind != VALUE_STRING || !kube_name_ok(got->s))
        return false; /* a wrong kind fails the task, with its path */
    *out = got->s;
    return true;
}

/* ---- the cache key
 * ----------------------------------------------------------------------- */

static const struct env_var *find(const struct env_var *v, size_t n, struct str key)
{
    for (size_t i = 0; i < n; i++)
        if (str_eq(v[i].name, key))
            return &v[i];
    return NULL;
}

struct str kube_label(const struct kube *k, const struct kube_field_env *f)
{
    const struct env_var *v = f->field == KUBE_FIELD_LABEL
                                  ? find(k->labels, k->n_labels, f->key)
                                  : find(k->annotations, k->n_annotations, f->key);

    return v ? v->value : STR(""); /* unknown: the variable is set, and empty */
}

void kube_key_text(const struct kube_plan *k, struct buf *out)
{
    const struct kube *def = k->def;

    if (!def)
        return;
    for (size_t i = 0; i < k->n_env_from; i++)
        buf_addf(out, "env %.*s from %d %.*s/%.*s\n", STR_ARG(k->env_from[i].var),
                 (int)k->env_from[i].store, STR_ARG(k->env_from[i].name),
                 STR_ARG(k->env_from[i].key));
    for (size_t i = 0; i < def->n_field_env; i++) {
        const struct kube_field_env *f = &def->field_env[i];
        struct str value =
            f->field == KUBE_FIELD_LABEL || f->field == KUBE_FIELD_ANNOTATION
                ? kube_label(def, f)
                : STR("");
        buf_addf(out, "env %.*s field %d %.*s\n", STR_ARG(f->var), (int)f->field,
                 STR_ARG(value));
    }
    for (size_t i = 0; i < k->n_mounts; i++)
        buf_addf(out, "volume %.*s %d %.*s %.*s\n",
                 STR_ARG(k->mounts[i].def->mount_path), (int)k->mounts[i].def->kind,
                 STR_ARG(k->mounts[i].name), STR_ARG(k->mounts[i].def->sub_path));
    if (def->has_user || def->has_group)
        buf_addf(out, "user %lld:%lld\n", def->has_user ? (long long)def->user : -1,
                 def->has_group ? (long long)def->group : -1);
    for (size_t i = 0; i < def->n_inits; i++) {
        const struct kube_init *c = &def->inits[i];
        buf_addf(out, "init %.*s %.*s\n", STR_ARG(c->name), STR_ARG(c->image));
        for (size_t n = 0; n < c->n_argv; n++)
            buf_addf(out, " %.*s\n", STR_ARG(c->argv[n]));
        for (size_t n = 0; n < c->n_env; n++)
            buf_addf(out, " %.*s=%.*s\n", STR_ARG(c->env[n].name),
                     STR_ARG(c->env[n].value));
    }
}

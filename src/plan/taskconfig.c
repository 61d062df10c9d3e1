/* SPDX-License-Identifier: Apache-2.0 */
/* taskconfig.c - TASK_CONFIG: what KFP's driver would have put into the pod
 *
 * The members are those of a Kubernetes pod spec (affinity, tolerations, nodeSelector,
 * env, volumes, volumeMounts, resources), null where nothing is passed on. Secrets are
 * named, as in a pod spec, never read.
 */
#include "plan/taskconfig.h"

#include "base/limits.h"
#include "plan/execin.h"

static bool passes(const struct task *t, enum passthrough p)
{
    return t->def->component->pass[p].set;
}

static void put_str(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

/* ---- env
 * ---------------------------------------------------------------------------------------
 */

static void write_ref(struct jw *w, const struct kube_env_from *f)
{
    jw_obj(w);
    put_str(w, "name", f->var);
    jw_key(w, "valueFrom");
    jw_obj(w);
    jw_key(w, f->store == KUBE_SECRET ? "secretKeyRef" : "configMapKeyRef");
    jw_obj(w);
    put_str(w, "name", f->name);
    put_str(w, "key", f->key);
    if (f->optional)
        jw_kbool(w, "optional", true);
    jw_end_obj(w);
    jw_end_obj(w);
    jw_end_obj(w);
}

static void write_env(struct jw *w, const struct task *t, const struct kube_plan *k)
{
    const struct executor *x = t->def->component->executor;

    jw_arr(w);
    for (size_t i = 0; i < x->n_env; i++) {
        jw_obj(w);
        put_str(w, "name", x->env[i].name);
        put_str(w, "value", x->env[i].value);
        jw_end_obj(w);
    }
    for (size_t i = 0; i < k->n_env_from; i++)
        write_ref(w, &k->env_from[i]);
    jw_end_arr(w);
}

/* ---- volumes
 * --------------------------------------------------------------------------------------
 */

static void write_source(struct jw *w, const struct kube_mount *m)
{
    const struct kube_volume *v = m->def;

    switch (v->kind) {
    case KUBE_VOLUME_SECRET:
        jw_key(w, "secret");
        jw_obj(w);
        put_str(w, "secretName", m->name);
        break;
    case KUBE_VOLUME_CONFIG_MAP:
        jw_key(w, "configMap");
        jw_obj(w);
        put_str(w, "name", m->name);
        break;
    case KUBE_VOLUME_CLAIM:
        jw_key(w, "persistentVolumeClaim");
        jw_obj(w);
        put_str(w, "claimName", m->name);
        break;
    case KUBE_VOLUME_SCRATCH:
    case KUBE_VOLUME_MEMORY:
        jw_key(w, "emptyDir");
        jw_obj(w);
        if (v->kind == KUBE_VOLUME_MEMORY)
            jw_kstr(w, "medium", "Memory");
        break;
    }
    if (v->optional)
        jw_kbool(w, "optional", true);
    jw_end_obj(w);
}

static struct str volume_name(const struct kube_mount *m)
{
    return m->name.len ? m->name : m->def->volume_name;
}

static void write_volumes(struct jw *w, const struct kube_plan *k)
{
    jw_arr(w);
    for (size_t i = 0; i < k->n_mounts; i++) {
        jw_obj(w);
        put_str(w, "name", volume_name(&k->mounts[i]));
        write_source(w, &k->mounts[i]);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static void write_mounts(struct jw *w, const struct kube_plan *k)
{
    jw_arr(w);
    for (size_t i = 0; i < k->n_mounts; i++) {
        const struct kube_mount *m = &k->mounts[i];
        jw_obj(w);
        put_str(w, "name", volume_name(m));
        put_str(w, "mountPath", m->def->mount_path);
        if (m->def->kind == KUBE_VOLUME_CLAIM && m->def->sub_path.len)
            put_str(w, "subPath", m->def->sub_path);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

/* ---- placement
 * ------------------------------------------------------------------------------------
 */

/* a JSON value from a parameter stands for itself, a written entry is turned into one
 */
static bool from_json(const struct kube_plan *k, size_t i)
{
    return k->def->placements[i].json.set &&
           k->placements[i] != k->def->placements[i].literal;
}

static const struct value *part(const struct value *v, const char *key)
{
    return value_member(v, str_of(key));
}

static void write_tolerations(struct jw *w, const struct kube_plan *k)
{
    jw_arr(w);
    for (size_t i = 0; k->def && i < k->def->n_placements; i++) {
        const struct value *v = k->placements[i];
        if (!v || k->def->placements[i].kind != KUBE_TOLERATION)
            continue;
        if (v->kind != VALUE_LIST)
            value_write(w, v);
        for (size_t n = 0; v->kind == VALUE_LIST && n < v->n_items; n++)
            value_write(w, &v->items[n]);
    }
    jw_end_arr(w);
}

static void write_node_selector(struct jw *w, const struct kube_plan *k)
{
    jw_obj(w);
    for (size_t i = 0; k->def && i < k->def->n_placements; i++) {
        const struct value *v = k->placements[i];
        if (!v || k->def->placements[i].kind != KUBE_NODE_SELECTOR)
            continue;
        if (!from_json(k, i))
            v = part(v, "labels");
        for (size_t n = 0; v && n < v->n_items; n++) {
            jw_keystr(w, v->keys[n]);
            value_write(w, &v->items[n]);
        }
    }
    jw_end_obj(w);
}

static void write_term(struct jw *w, const struct value *v)
{
    static const char *const keys[] = {"matchExpressions", "matchFields"};

    jw_obj(w);
    for (size_t i = 0; i < N_ELEMS(keys); i++)
        if (part(v, keys[i])) {
            jw_key(w, keys[i]);
            value_write(w, part(v, keys[i]));
        }
    jw_end_obj(w);
}

/* with a weight it is a preference, else a demand */
static void write_node_terms(struct jw *w, const struct kube_plan *k, bool preferred)
{
    for (size_t i = 0; i < k->def->n_placements; i++) {
        const struct value *v = k->placements[i],
                           *weight = v ? part(v, "weight") : NULL;
        if (!v || k->def->placements[i].kind != KUBE_NODE_AFFINITY || from_json(k, i) ||
            (weight != NULL) != preferred)
            continue;
        if (!preferred) {
            write_term(w, v);
            continue;
        }
        jw_obj(w);
        jw_key(w, "weight");
        value_write(w, weight);
        jw_key(w, "preference");
        write_term(w, v);
        jw_end_obj(w);
    }
}

static void write_affinity(struct jw *w, const struct kube_plan *k)
{
    const struct value *whole = NULL;

    for (size_t i = 0; k->def && i < k->def->n_placements; i++)
        if (k->def->placements[i].kind == KUBE_NODE_AFFINITY && k->placements[i] &&
            from_json(k, i))
            whole = k->placements[i];
    jw_obj(w);
    jw_key(w, "nodeAffinity");
    if (whole) {
        value_write(w, whole);
    } else {
        jw_obj(w);
        jw_key(w, "requiredDuringSchedulingIgnoredDuringExecution");
        jw_obj(w);
        jw_key(w, "nodeSelectorTerms");
        jw_arr(w);
        if (k->def)
            write_node_terms(w, k, false);
        jw_end_arr(w);
        jw_end_obj(w);
        jw_key(w, "preferredDuringSchedulingIgnoredDuringExecution");
        jw_arr(w);
        if (k->def)
            write_node_terms(w, k, true);
        jw_end_arr(w);
        jw_end_obj(w);
    }
    jw_end_obj(w);
}

/* ---- resources
 * ---------------------------------------------------------------------------------------
 */

static void write_quantities(struct jw *w, const char *key, struct str cpu,
                             struct str memory, struct str gpu, struct str gpus)
{
    jw_key(w, key);
    jw_obj(w);
    if (cpu.len)
        put_str(w, "cpu", cpu);
    if (memory.len)
        put_str(w, "memory", memory);
    if (gpu.len) {
        jw_keystr(w, gpu);
        jw_str(w, gpus.len ? gpus : STR("1"));
    }
    jw_end_obj(w);
}

static int write_resources(struct jw *w, struct graph *g, const struct task *t,
                           struct err *e)
{
    const struct resources *r = &t->def->component->executor->res;
    struct str in[] = {r->cpu_limit,      r->memory_limit,     r->cpu_request,
                       r->memory_request, r->accelerator_type, r->accelerator_count};

    for (size_t i = 0; i < N_ELEMS(in); i++)
        if (exec_text(g->a, g, t, in[i], &in[i], e) < 0)
            return err_at(e, "resources");
    jw_obj(w);
    write_quantities(w, "limits", in[0], in[1], in[4], in[5]);
    write_quantities(w, "requests", in[2], in[3], STR(""), STR(""));
    jw_end_obj(w);
    return 0;
}

/* ---- all of it
 * ------------------------------------------------------------------------------------------
 */

static int write_config(struct jw *w, struct graph *g, const struct task *t,
                        const struct kube_plan *k, struct err *e)
{
    int rc = 0;

    jw_obj(w);
    jw_key(w, "affinity");
    passes(t, PASS_AFFINITY) ? write_affinity(w, k) : jw_null(w);
    jw_key(w, "tolerations");
    passes(t, PASS_TOLERATIONS) ? write_tolerations(w, k) : jw_null(w);
    jw_key(w, "nodeSelector");
    passes(t, PASS_NODE_SELECTOR) ? write_node_selector(w, k) : jw_null(w);
    jw_key(w, "env");
    passes(t, PASS_ENV) ? write_env(w, t, k) : jw_null(w);
    jw_key(w, "volumes");
    passes(t, PASS_VOLUMES) ? write_volumes(w, k) : jw_null(w);
    jw_key(w, "volumeMounts");
    passes(t, PASS_VOLUMES) ? write_mounts(w, k) : jw_null(w);
    jw_key(w, "resources");
    if (passes(t, PASS_RESOURCES)) {
        rc = write_resources(w, g, t, e);
    } else {
        jw_obj(w);
        jw_end_obj(w);
    }
    jw_end_obj(w);
    return rc;
}

int taskconfig_set(struct graph *g, struct task *t, const struct kube_plan *k,
                   struct err *e)
{
    const struct io_defs *in = &t->def->component->in;

    for (size_t i = 0; i < in->n_params; i++) {
        AUTO_BUF struct buf text = {0};
        struct value config, *had;
        struct jw w;

        if (in->params[i].type != PARAM_TASK_CONFIG)
            continue;
        buf_init(&text, LIMIT_VALUE_BYTES);
        jw_init(&w, &text);
        if (write_config(&w, g, t, k, e) < 0 ||
            value_parse_in(g->a, (struct str){buf_str(&text), text.len}, &config, e) <
                0)
            return err_at(e, "input %s", in->params[i].name.ptr);
        had = io_values_param(&t->in, in->params[i].name);
        if (had)
            *had = config;
        else
            io_values_add_param(g->a, &t->in, in->params[i].name, config);
    }
    return 0;
}

void taskconfig_trim(const struct task *t, struct kube_plan *k)
{
    const struct component *c = t->def->component;

    if (!component_applies(c, PASS_ENV)) {
        k->n_env_from = 0;
        k->no_field_env = true;
    }
    if (!component_applies(c, PASS_VOLUMES))
        k->n_mounts = 0;
}

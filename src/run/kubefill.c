/* SPDX-License-Identifier: Apache-2.0 */
/* kubefill.c - the platform document in one attempt, and in the record
 *
 * Everything is by name here: which file is which variable, which directory is mounted
 * where. The supervisor reads and mounts (pod.c).
 */
#include <errno.h>
#include <string.h>

#include "base/clock.h"
#include "lineage/record.h"
#include "run/kube.h"
#include "run/kubeinside.h"

/* ---- one attempt --------------------------------------------------------------- */

static struct str field_value(const struct engine *en, struct job *j,
                              const struct kube_field_env *f)
{
    char host[256];

    switch (f->field) {
    case KUBE_FIELD_NAME:
        return str_of(
            arena_printf(&j->a, "%s-%.*s", en->name, STR_ARG(j->t->def->key)));
    case KUBE_FIELD_NAMESPACE:
    case KUBE_FIELD_SERVICE_ACCOUNT:
        return STR("default");
    case KUBE_FIELD_UID:
        return str_of(j->t->uuid);
    case KUBE_FIELD_LABEL:
    case KUBE_FIELD_ANNOTATION:
        return kube_label(j->kube.def, f);
    case KUBE_FIELD_NODE:
        who_host(host);
        return arena_str(&j->a, str_of(host));
    case KUBE_FIELD_POD_IP:
    case KUBE_FIELD_HOST_IP:
        return STR("127.0.0.1");
    }
    return STR("");
}

/* names that --env or we ourselves have set: they win over everything of the document
 */
static bool is_settled(const struct engine *en, struct str var)
{
    static const char *const ours[] = {"KFP_POD_NAME", "KFP_POD_UID", "KFP_RETRY_INDEX",
                                       "DUGOUT_CHECKPOINT_DIR"};

    for (size_t i = 0; i < N_ELEMS(ours); i++)
        if (str_eqz(var, ours[i]))
            return true;
    for (size_t i = 0; i < en->o.n_env; i++)
        if (strncmp(en->o.env[i], var.ptr, var.len) == 0 &&
            en->o.env[i][var.len] == '=')
            return true;
    return false;
}

static bool is_field(const struct kube *k, struct str var)
{
    for (size_t i = 0; i < k->n_field_env; i++)
        if (str_eq(k->field_env[i].var, var))
            return true;
    return false;
}

static void set_env(struct job *j, struct attempt *at, struct str var, struct str value)
{
    char *kv = arena_printf(&j->a, "%.*s=%.*s", STR_ARG(var), STR_ARG(value));
    char **more;
    size_t i = 0;

    while (i < at->n_env && strncmp(at->env[i], kv, var.len + 1) != 0)
        i++;
    if (i == at->n_env) {
        more = arena_alloc(&j->a, (at->n_env + 2) * sizeof *more);
        memcpy(more, at->env, at->n_env * sizeof *more);
        at->env = more;
        at->n_env++;
    }
    at->env[i] = kv;
}

static void fill_env(const struct engine *en, struct job *j, struct attempt *at)
{
    const struct kube_plan *k = &j->kube;

    for (size_t i = 0; !k->no_field_env && i < k->def->n_field_env; i++)
        if (!is_settled(en, k->def->field_env[i].var))
            set_env(j, at, k->def->field_env[i].var,
                    field_value(en, j, &k->def->field_env[i]));
    at->pod.env = arena_alloc(&j->a, (k->n_env_from + 1) * sizeof(*at->pod.env));
    for (size_t i = 0; i < k->n_env_from; i++) {
        const struct kube_env_from *f = &k->env_from[i];
        if (is_settled(en, f->var) || is_field(k->def, f->var))
            continue;
        at->pod.env[at->pod.n_env++] = (struct pod_env){
            .file = str_of(arena_printf(&j->a, "%s/%.*s",
                                        kube_store_path(en, &j->a, f->store, f->name),
                                        STR_ARG(f->key))),
            .var = f->var,
            .what = str_of(arena_printf(&j->a, "key %.*s of %s %.*s", STR_ARG(f->key),
                                        kube_store_noun(f->store), STR_ARG(f->name))),
            .optional = f->optional};
    }
}

static void fill_user(struct job *j, const struct kube *k, struct attempt *at)
{
    const char *user = at->user.ptr ? at->user.ptr : "";

    if (k->has_user && k->has_group)
        at->user = str_of(arena_printf(&j->a, "%u:%u", k->user, k->group));
    else if (k->has_user)
        at->user = str_of(arena_printf(&j->a, "%u", k->user));
    else if (k->has_group)
        at->user = str_of(arena_printf(&j->a, "%.*s:%u", (int)strcspn(user, ":"),
                                       *user && *user != ':' ? user : "0", k->group));
}

static void add_bind(struct job *j, struct attempt *at, const char *src,
                     const char *sub, const char *dst)
{
    at->mounts = arena_grow(&j->a, at->mounts, &at->n_mounts, sizeof(*at->mounts));
    at->mounts[at->n_mounts - 1] =
        (struct attempt_mount){.src = src, .dst = dst, .rw = true, .sub = sub};
    at->shares = true;
}

static void fill_mount(const struct engine *en, struct job *j, struct attempt *at,
                       const struct kube_mount *m)
{
    static const enum pod_volume_kind kinds[] = {
        [KUBE_VOLUME_SECRET] = POD_FILES,
        [KUBE_VOLUME_CONFIG_MAP] = POD_FILES,
        [KUBE_VOLUME_SCRATCH] = POD_SCRATCH,
        [KUBE_VOLUME_MEMORY] = POD_MEMORY,
    };
    const struct kube_volume *v = m->def;
    enum kube_store store =
        v->kind == KUBE_VOLUME_SECRET ? KUBE_SECRET : KUBE_CONFIG_MAP;

    if (v->kind == KUBE_VOLUME_CLAIM) {
        const char *path = kube_volume_path(en, &j->a, m->name);
        add_bind(j, at, path, v->sub_path.len ? v->sub_path.ptr : NULL,
                 v->mount_path.ptr);
        return;
    }
    at->pod.volumes = arena_grow(&j->a, at->pod.volumes, &at->pod.n_volumes,
                                 sizeof(*at->pod.volumes));
    at->pod.volumes[at->pod.n_volumes - 1] = (struct pod_volume){
        .kind = kinds[v->kind],
        .src =
            m->name.len ? str_of(kube_store_path(en, &j->a, store, m->name)) : STR(""),
        .what = str_of(
            arena_printf(&j->a, "%s %.*s", kube_store_noun(store), STR_ARG(m->name))),
        .dst = v->mount_path,
        .name = v->volume_name,
        .size_bytes = v->size_bytes,
        .optional = v->optional};
}

static char **words_of(struct job *j, const struct str *words, size_t n)
{
    char **v = arena_alloc(&j->a, (n + 1) * sizeof *v);

    for (size_t i = 0; i < n; i++)
        v[i] = arena_strndup(&j->a, words[i].ptr, words[i].len);
    return v;
}

/* its command, else the image's own */
static void init_argv(struct job *j, const struct kube_init *c, const struct image *img,
                      struct pod_init *out)
{
    out->n_argv = c->n_argv;
    out->argv = words_of(j, c->argv, c->n_argv);
    if (c->n_argv)
        return;
    out->argv =
        arena_alloc(&j->a, (img->n_entrypoint + img->n_cmd + 1) * sizeof(*out->argv));
    for (size_t i = 0; i < img->n_entrypoint + img->n_cmd; i++)
        out->argv[out->n_argv++] = arena_strdup(
            &j->a, i < img->n_entrypoint ? img->entrypoint[i]
                                         : img->cmd[i - img->n_entrypoint]);
}

static void init_env(struct job *j, const struct kube_init *c, const struct image *img,
                     struct pod_init *out)
{
    struct attempt at = {.env = arena_alloc(&j->a, (img->n_env + 1) * sizeof(*at.env))};

    for (size_t i = 0; i < img->n_env; i++)
        at.env[at.n_env++] = arena_strdup(&j->a, img->env[i]);
    for (size_t i = 0; i < c->n_env; i++)
        set_env(j, &at, c->env[i].name, c->env[i].value);
    out->env = at.env;
    out->n_env = at.n_env;
}

/* Volumes that it shares with the task must be directories: a file system in memory
 * belongs to one box. */
static void init_mounts(struct job *j, struct attempt *at, const struct kube_init *c,
                        struct pod_init *out)
{
    out->mounts = arena_alloc(&j->a, (c->n_mounts + 1) * sizeof(*out->mounts));
    for (size_t i = 0; i < c->n_mounts; i++)
        for (size_t k = 0; k < at->pod.n_volumes; k++) {
            struct pod_volume *v = &at->pod.volumes[k];
            if (!str_eq(v->name, c->mounts[i].volume_name) || v->kind == POD_FILES)
                continue;
            v->kind = POD_SCRATCH;
            out->mounts[out->n_mounts++] =
                (struct pod_init_mount){.volume = k, .dst = c->mounts[i].mount_path};
            break;
        }
}

static int fill_init(struct engine *en, struct job *j, struct attempt *at,
                     const struct kube_init *c, struct err *e)
{
    const struct image_use *use = prepare_image(en, c->image, e);
    struct pod_init *out;

    if (!use)
        return -1;
    at->pod.inits =
        arena_grow(&j->a, at->pod.inits, &at->pod.n_inits, sizeof(*at->pod.inits));
    out = &at->pod.inits[at->pod.n_inits - 1];
    *out = (struct pod_init){
        .name = c->name,
        .side_car = c->side_car,
        .cwd = str_of(use->image.workdir[0] ? use->image.workdir : "/"),
        .user = str_of(use->image.user),
        .lowers = use->image.layers,
        .n_lowers = use->image.n_layers};
    init_argv(j, c, &use->image, out);
    if (!out->n_argv)
        return err_set(e, ERR_INPUT, "neither it nor image %.*s says what to run",
                       STR_ARG(c->image));
    init_env(j, c, &use->image, out);
    init_mounts(j, at, c, out);
    if (c->cpu_limit.len && exec_cpu_millis(c->cpu_limit, &out->cpu_millis, e) < 0)
        return err_at(e, "CPU limit");
    if (c->memory_limit.len && size_parse(c->memory_limit, &out->memory_bytes, e) < 0)
        return err_at(e, "memory limit");
    return 0;
}

int kube_fill(struct engine *en, struct job *j, struct attempt *at, struct err *e)
{
    const struct kube *k = j->kube.def;
    const char *workspace;

    if (j->workspace) {
        if (kube_make_workspace(en, &j->a, &workspace, e) < 0)
            return -1;
        add_bind(j, at, workspace, NULL, WORKSPACE_PATH);
    }
    if (!k)
        return 0;
    fill_env(en, j, at);
    fill_user(j, k, at);
    for (size_t i = 0; i < j->kube.n_mounts; i++)
        fill_mount(en, j, at, &j->kube.mounts[i]);
    for (size_t i = 0; i < k->n_inits; i++)
        if (fill_init(en, j, at, &k->inits[i], e) < 0)
            return err_at(e, "%s %s",
                          k->inits[i].side_car ? "side car" : "init container",
                          k->inits[i].name.ptr);
    if (k->shm_bytes)
        at->shm_bytes = k->shm_bytes;
    if (k->timeout_ms && (!at->wall_ms || k->timeout_ms < at->wall_ms))
        at->wall_ms = k->timeout_ms;
    return 0;
}

/* ---- the record ---------------------------------------------------------------- */

static int record_external(struct engine *en, struct job *j, const char *what,
                           struct str name, const char *path, struct str target,
                           bool read_only, struct err *e)
{
    struct db_external x = {
        .run = en->row,
        .task = j->row,
        .path = str_of(path),
        .target = target,
        .read_only = read_only,
        .what = str_of(arena_printf(&j->a, "%s %.*s", what, STR_ARG(name)))};

    return db_external_put(en->env->db, &x, e);
}

static int record_texts(struct engine *en, const struct job *j, enum db_label_kind kind,
                        const struct env_var *v, size_t n, struct err *e)
{
    for (size_t i = 0; i < n; i++)
        if (db_label_put(en->env->db, j->row, kind, v[i].name, v[i].value, e) < 0)
            return -1;
    return 0;
}

int kube_record_labels(struct engine *en, const struct job *j, struct err *e)
{
    const struct kube *k = j->kube.def;

    if (!k || record_texts(en, j, DB_LABEL, k->labels, k->n_labels, e) < 0)
        return k ? -1 : 0;
    return record_texts(en, j, DB_ANNOTATION, k->annotations, k->n_annotations, e);
}

int kube_record_seen(struct engine *en, struct job *j, struct err *e)
{
    const struct kube_plan *k = &j->kube;

    if (j->attempts > 1)
        return 0;
    for (size_t i = 0; i < k->n_env_from; i++) {
        const struct kube_env_from *f = &k->env_from[i];
        if (record_external(en, j, kube_store_noun(f->store), f->name,
                            kube_store_path(en, &j->a, f->store, f->name), f->var, true,
                            e) < 0)
            return -1;
    }
    for (size_t i = 0; i < k->n_mounts; i++) {
        const struct kube_volume *v = k->mounts[i].def;
        struct str name = k->mounts[i].name;
        bool claim = v->kind == KUBE_VOLUME_CLAIM;
        enum kube_store store =
            v->kind == KUBE_VOLUME_SECRET ? KUBE_SECRET : KUBE_CONFIG_MAP;

        if (name.len &&
            record_external(en, j, claim ? "volume" : kube_store_noun(store), name,
                            claim ? kube_volume_path(en, &j->a, name)
                                  : kube_store_path(en, &j->a, store, name),
                            v->mount_path, !claim, e) < 0)
            return -1;
    }
    return 0;
}

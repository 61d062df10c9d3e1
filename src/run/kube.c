/* SPDX-License-Identifier: Apache-2.0 */
/* kube.c - what the platform document asks for, mapped to files of this box
 *
 * Three looks at the same settings. Before the start every name that is known is looked
 * for, so that a nightly does not fail at four o'clock for a secret that was missing at
 * midnight. When the task starts its parameters are there, and names are looked for
 * once more. The supervisor opens the files at last.
 *
 * Caching: content of config maps enters the key. A secret must leave no trace, not
 * even a hash, and a volume changes behind our back; tasks that see either always run,
 * unless the volume is declared stable.
 */
#include "run/kube.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/record.h"
#include "plan/taskconfig.h"
#include "run/chore.h"
#include "run/door.h"
#include "run/modelcar.h"
#include "spec/placeholder.h"

/* ---- where things are
 * ------------------------------------------------------------------------ */

static const char *store_noun(enum kube_store s)
{
    return s == KUBE_SECRET ? "secret" : "config map";
}

static const char *store_path(const struct engine *en, struct arena *a,
                              enum kube_store s, struct str name)
{
    const char *dir = s == KUBE_SECRET ? en->o.secrets_dir : en->o.configmaps_dir;

    if (dir)
        return arena_printf(a, "%s/%.*s", dir, STR_ARG(name));
    return arena_printf(a, "%s/%s/%.*s", en->env->home,
                        s == KUBE_SECRET ? "secrets" : "configmaps", STR_ARG(name));
}

static const struct run_volume *volume_of(const struct engine *en, struct str name)
{
    for (size_t i = 0; i < en->o.n_volumes; i++)
        if (str_eqz(name, en->o.volumes[i].name))
            return &en->o.volumes[i];
    return NULL;
}

const char *kube_volume_path(const struct engine *en, struct arena *a, struct str name)
{
    const struct run_volume *v = volume_of(en, name);

    return v ? v->path
             : arena_printf(a, "%s/volumes/%.*s", en->env->home, STR_ARG(name));
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- is it there?
 * ---------------------------------------------------------------------------- */

static int look_for_store(const struct engine *en, struct arena *a, enum kube_store s,
                          struct str name, struct err *e)
{
    const char *path = store_path(en, a, s, name);

    if (is_dir(path))
        return 0;
    return err_set(
        e, ERR_MISSING,
        "%s %.*s is not here: make the directory %s with a file for each key",
        store_noun(s), STR_ARG(name), path);
}

static int look_for_key(const struct engine *en, struct arena *a, enum kube_store s,
                        struct str name, struct str key, struct err *e)
{
    const char *path =
        arena_printf(a, "%s/%.*s", store_path(en, a, s, name), STR_ARG(key));

    if (look_for_store(en, a, s, name, e) < 0)
        return -1;
    if (access(path, R_OK) == 0)
        return 0;
    if (errno == ENOENT)
        return err_set(e, ERR_MISSING, "%s %.*s has no key %.*s: write the file %s",
                       store_noun(s), STR_ARG(name), STR_ARG(key), path);
    return err_sys(e, errno, "%s", path);
}

static int look_for_claim(const struct engine *en, struct arena *a, struct str name,
                          struct str sub, struct err *e)
{
    const char *path = kube_volume_path(en, a, name);

    if (!is_dir(path))
        return err_set(
            e, ERR_MISSING,
            "volume %.*s is not here: make the directory %s, or set \"volumes: {%.*s: "
            "DIR}\" in the config",
            STR_ARG(name), path, STR_ARG(name));
    if (sub.len && !is_dir(arena_printf(a, "%s/%.*s", path, STR_ARG(sub))) &&
        access(arena_printf(a, "%s/%.*s", path, STR_ARG(sub)), F_OK) < 0)
        return err_set(e, ERR_MISSING, "volume %.*s has no %.*s: make %s/%.*s",
                       STR_ARG(name), STR_ARG(sub), path, STR_ARG(sub));
    return 0;
}

static int look_for_volume(const struct engine *en, struct arena *a,
                           const struct kube_volume *v, struct str name, struct err *e)
{
    switch (v->kind) {
    case KUBE_VOLUME_SECRET:
        return v->optional ? 0 : look_for_store(en, a, KUBE_SECRET, name, e);
    case KUBE_VOLUME_CONFIG_MAP:
        return v->optional ? 0 : look_for_store(en, a, KUBE_CONFIG_MAP, name, e);
    case KUBE_VOLUME_CLAIM:
        return look_for_claim(en, a, name, v->sub_path, e);
    case KUBE_VOLUME_SCRATCH:
    case KUBE_VOLUME_MEMORY:
        return 0;
    }
    return 0;
}

/* ---- before the start
 * ------------------------------------------------------------------------ */

struct check {
    struct engine *en;
    struct buf *missing;
    enum err_code *worst;
    bool makes_claims; /* a task of the pipeline creates volumes: their names prove
                          nothing */
    struct map seen;   /* components */
};

static void add_missing(struct check *c, const struct task_def *t,
                        const struct err *why)
{
    AUTO_BUF struct buf line = {0};

    buf_init(&line, 2048);
    buf_addf(&line, "task %.*s: %s", STR_ARG(t->key), why->text);
    if (c->missing->len && strstr(buf_str(c->missing), buf_str(&line)))
        return; /* several keys of one missing secret */
    buf_addf(c->missing, "%s%s", c->missing->len ? "; " : "", buf_str(&line));
    *c->worst = why->code;
}

static void check_stores(struct check *c, const struct task_def *t,
                         const struct io_values *in)
{
    const struct kube *k = t->component->executor->kube;
    struct str name;
    struct err why;

    for (size_t i = 0; i < k->n_store_env; i++) {
        const struct kube_store_env *s = &k->store_env[i];
        if (s->optional || !component_applies(t->component, PASS_ENV) ||
            !kube_known_name(&s->name, in, &name))
            continue;
        for (size_t n = 0; n < s->n_keys; n++)
            if (look_for_key(c->en, &c->en->a, s->store, name, s->keys[n].key, &why) <
                0)
                add_missing(c, t, &why);
    }
    for (size_t i = 0; i < k->n_volumes; i++) {
        const struct kube_volume *v = &k->volumes[i];
        if (!v->name.set || !component_applies(t->component, PASS_VOLUMES) ||
            !kube_known_name(&v->name, in, &name) ||
            (v->kind == KUBE_VOLUME_CLAIM && c->makes_claims))
            continue;
        if (look_for_volume(c->en, &c->en->a, v, name, &why) < 0)
            add_missing(c, t, &why);
    }
}

static bool is_root(const char *user)
{
    size_t n = strcspn(user, ":");

    return n == 0 || (n == 1 && user[0] == '0') ||
           (n == 4 && strncmp(user, "root", 4) == 0);
}

static int check_user(const struct kube *k, const struct image_use *img, struct err *e)
{
    if (!k->non_root || k->has_user || !is_root(img->image.user))
        return 0;
    return err_set(
        e, ERR_INPUT,
        "runAsNonRoot is set, and image %.*s runs as root: set runAsUser, or use an "
        "image with a user",
        STR_ARG(img->ref));
}

/* images of init containers, and the user of the task's own */
static void check_images(struct check *c, const struct task_def *t)
{
    const struct executor *x = t->component->executor;
    struct image_use *img;
    struct err why;

    for (size_t i = 0; i < x->kube->n_inits; i++)
        if (!prepare_image(c->en, x->kube->inits[i].image, &why)) {
            (void)err_at(&why, "%s %.*s", x->kube->inits[i].side_car ? "side car" : "init container",
                         STR_ARG(x->kube->inits[i].name));
            add_missing(c, t, &why);
        }
    if (!x->kube->non_root || placeholder_any(x->image))
        return;
    img = prepare_image(c->en, x->image,
                        &why); /* when it is missing others have said so */
    if (img && check_user(x->kube, img, &why) < 0)
        add_missing(c, t, &why);
}

static void check_dag(struct check *c, const struct component *dag,
                      const struct io_values *in)
{
    if (map_get(&c->seen, dag->name))
        return;
    map_put(&c->seen, dag->name, (void *)(uintptr_t)dag);
    for (size_t i = 0; i < dag->dag->n_tasks; i++) {
        const struct task_def *t = &dag->dag->tasks[i];
        struct err why;

        if (t->component->dag) {
            check_dag(c, t->component, NULL);
        } else if (t->component->executor->kind == EXECUTOR_IMPORTER) {
            if (chore_check(c->en, t, in, &why) < 0)
                add_missing(c, t, &why);
        } else if (t->component->executor->kube) {
            check_stores(c, t, in);
            check_images(c, t);
        }
    }
}

static void check_modes(struct engine *en)
{
    const char *dir = en->o.secrets_dir
                          ? en->o.secrets_dir
                          : arena_printf(&en->a, "%s/secrets", en->env->home);
    struct stat st;

    if (stat(dir, &st) == 0 && (st.st_mode & 077))
        engine_notice(en, NULL, "others than its owner may look into %s: chmod 700 it",
                      dir);
}

void kube_check(struct engine *en, struct buf *missing, enum err_code *worst)
{
    struct check c = {.en = en, .missing = missing, .worst = worst};
    bool secrets = false;

    for (size_t i = 0; i < en->p.n_executors; i++) {
        const struct executor *x = en->p.executors[i];
        c.makes_claims |=
            x->kind == EXECUTOR_CONTAINER && str_starts(x->image, "argostub/");
        for (size_t k = 0; x->kube && k < x->kube->n_store_env; k++)
            secrets |= x->kube->store_env[k].store == KUBE_SECRET;
        for (size_t k = 0; x->kube && k < x->kube->n_volumes; k++)
            secrets |= x->kube->volumes[k].kind == KUBE_VOLUME_SECRET;
    }
    if (secrets)
        check_modes(en);
    check_dag(&c, en->p.root, &en->g.root->in);
    map_done(&c.seen);
}

/* A semaphore's count is in a config map of the cluster; here it is always one. */
int kube_serialise(struct engine *en, struct err *e)
{
    const struct {
        const char *noun;
        struct str key;
    } keys[] = {{"mutex", en->p.mutex}, {"semaphore", en->p.semaphore}};

    for (size_t i = 0; i < N_ELEMS(keys); i++) {
        char hex[DIGEST_HEX], name[64];

        if (!keys[i].key.len)
            continue;
        sha256_hex(keys[i].key.ptr, keys[i].key.len,
                   hex); /* a key may hold any character */
        (void)snprintf(name, sizeof name, "%s-%.16s", keys[i].noun, hex);
        if (store_lock(en->env->store, name, LOCK_EX | LOCK_NB, &en->serial_fd[i], e) <
            0) {
            if (e->code != ERR_BUSY)
                return -1;
            engine_notice(en, NULL, "waiting for another run that holds the %s %.*s",
                          keys[i].noun, STR_ARG(keys[i].key));
            if (waits_for_lock(en, keys[i].noun, keys[i].key, name, &en->serial_fd[i],
                               e) < 0)
                return -1;
        }
        waits_have_lock(en, en->serial_fd[i]);
    }
    return 0;
}

/* ---- one task
 * ---------------------------------------------------------------------------------- */

int kube_plan_image(const struct job *j, struct err *e)
{
    return j->kube.def ? check_user(j->kube.def, j->image, e) : 0;
}

/* ---- the workspace ------------------------------------------------------------------
 */

int kube_make_workspace(const struct engine *en, struct arena *a, const char **inside,
                        struct err *e)
{
    const char *dir = arena_printf(a, "%s/runs/%s/workspace", en->env->home, en->id);

    return door_make(a, dir, inside, e);
}

static bool mentions(const char *text)
{
    return text && strstr(text, WORKSPACE_PATH);
}

/* argv holds the inputs as well, wherever a component reads them */
static bool wants_workspace(const struct job *j)
{
    const struct io_values *in = &j->t->in;

    for (size_t i = 0; i < j->plan.n_argv; i++)
        if (mentions(j->plan.argv[i]))
            return true;
    for (size_t i = 0; i < j->plan.n_env; i++)
        if (mentions(j->plan.env[i]))
            return true;
    for (size_t i = 0; i < in->n_params; i++)
        if (in->params[i].value.kind == VALUE_STRING &&
            mentions(in->params[i].value.s.ptr))
            return true;
    for (size_t i = 0; i < in->n_artifacts; i++)
        for (size_t k = 0; k < in->artifacts[i].n_items; k++)
            if (exec_in_workspace(&in->artifacts[i].items[k]))
                return true;
    return false;
}

int kube_plan_workspace(struct engine *en, struct job *j, struct err *e)
{
    j->workspace = wants_workspace(j);
    if (!j->workspace || en->p.workspace)
        return 0;
    j->workspace = false;
    for (size_t i = 0; i < j->t->in.n_artifacts; i++)
        for (size_t k = 0; k < j->t->in.artifacts[i].n_items; k++)
            if (exec_in_workspace(&j->t->in.artifacts[i].items[k]))
                return err_set(
                    e, ERR_INPUT,
                    "input %.*s lies in a workspace, and the pipeline has none",
                    STR_ARG(j->t->in.artifacts[i].name));
    return 0; /* a path that happens to look like it */
}

bool kube_opaque(const struct engine *en, const struct job *j)
{
    const struct kube_plan *k = &j->kube;

    if (j->workspace)
        return true;

    for (size_t i = 0; i < k->n_env_from; i++)
        if (k->env_from[i].store == KUBE_SECRET)
            return true;
    for (size_t i = 0; i < k->n_mounts; i++) {
        const struct run_volume *v;
        if (k->mounts[i].def->kind == KUBE_VOLUME_SECRET)
            return true;
        if (k->mounts[i].def->kind != KUBE_VOLUME_CLAIM)
            continue;
        v = volume_of(en, k->mounts[i].name);
        if (!v || !v->stable)
            return true;
    }
    return false;
}

static int by_text(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int hash_store(const struct engine *en, struct job *j, struct str name,
                      struct buf *out, struct err *e)
{
    const char *path = store_path(en, &j->a, KUBE_CONFIG_MAP, name);
    const char **keys = NULL;
    size_t n = 0;
    DIR *d = opendir(path);

    buf_addf(out, "config map %.*s\n", STR_ARG(name));
    if (!d)
        return 0; /* optional and absent */
    for (struct dirent *ent; (ent = readdir(d));)
        if (kube_key_ok(str_of(ent->d_name))) {
            keys = arena_grow(&j->a, keys, &n, sizeof *keys);
            keys[n - 1] = arena_strdup(&j->a, ent->d_name);
        }
    (void)closedir(d);
    if (n)
        qsort(keys, n, sizeof *keys, by_text);
    for (size_t i = 0; i < n; i++) {
        AUTO_BUF struct buf text = {0};
        char hex[DIGEST_HEX];

        buf_init(&text, LIMIT_STORE_BYTES);
        if (fd_read_file(AT_FDCWD, arena_printf(&j->a, "%s/%s", path, keys[i]), &text,
                         LIMIT_STORE_BYTES, e) < 0) {
            if (e->code == ERR_INPUT)
                continue; /* a directory: no key */
            return err_at(e, "config map %.*s", STR_ARG(name));
        }
        sha256_hex(buf_str(&text), text.len, hex);
        buf_addf(out, " %s %s\n", keys[i], hex);
    }
    return 0;
}

static int cache_text(struct engine *en, struct job *j, struct buf *out, struct err *e)
{
    const struct kube_plan *k = &j->kube;

    kube_key_text(k, out);
    for (size_t i = 0; i < k->n_env_from; i++)
        if (k->env_from[i].store == KUBE_CONFIG_MAP &&
            hash_store(en, j, k->env_from[i].name, out, e) < 0)
            return -1;
    for (size_t i = 0; i < k->n_mounts; i++)
        if (k->mounts[i].def->kind == KUBE_VOLUME_CONFIG_MAP &&
            hash_store(en, j, k->mounts[i].name, out, e) < 0)
            return -1;
    for (size_t i = 0; k->def && i < k->def->n_inits; i++) {
        const struct image_use *img = prepare_image(en, k->def->inits[i].image, e);
        if (!img)
            return -1;
        buf_addf(out, "init image %s\n", img->hex);
    }
    return 0;
}

int kube_plan_task(struct engine *en, struct job *j, struct err *e)
{
    struct kube_plan *k = &j->kube;
    AUTO_BUF struct buf text = {0};

    if (kube_resolve_in(&j->a, &en->g, j->t, k, e) < 0 ||
        taskconfig_set(&en->g, j->t, k, e) < 0)
        return -1;
    taskconfig_trim(j->t, k);
    for (size_t i = 0; i < k->n_env_from; i++)
        if (!k->env_from[i].optional &&
            look_for_key(en, &j->a, k->env_from[i].store, k->env_from[i].name,
                         k->env_from[i].key, e) < 0)
            return -1;
    for (size_t i = 0; i < k->n_mounts; i++)
        if (look_for_volume(en, &j->a, k->mounts[i].def, k->mounts[i].name, e) < 0)
            return -1;
    buf_init(&text, 0);
    if ((k->def && cache_text(en, j, &text, e) < 0) ||
        modelcar_check(en, j->t, &text, e) < 0)
        return -1;
    j->kube_text = arena_str(&j->a, (struct str){buf_str(&text), text.len});
    return 0;
}

/* ---- one attempt
 * -------------------------------------------------------------------------------- */

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
                                        store_path(en, &j->a, f->store, f->name),
                                        STR_ARG(f->key))),
            .var = f->var,
            .what = str_of(arena_printf(&j->a, "key %.*s of %s %.*s", STR_ARG(f->key),
                                        store_noun(f->store), STR_ARG(f->name))),
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
        .src = m->name.len ? str_of(store_path(en, &j->a, store, m->name)) : STR(""),
        .what =
            str_of(arena_printf(&j->a, "%s %.*s", store_noun(store), STR_ARG(m->name))),
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
            return err_at(e, "%s %s", k->inits[i].side_car ? "side car" : "init container",
                          k->inits[i].name.ptr);
    if (k->shm_bytes)
        at->shm_bytes = k->shm_bytes;
    if (k->timeout_ms && (!at->wall_ms || k->timeout_ms < at->wall_ms))
        at->wall_ms = k->timeout_ms;
    return 0;
}

/* ---- the record
 * ---------------------------------------------------------------------------------- */

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
        if (record_external(en, j, store_noun(f->store), f->name,
                            store_path(en, &j->a, f->store, f->name), f->var, true,
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
            record_external(en, j, claim ? "volume" : store_noun(store), name,
                            claim ? kube_volume_path(en, &j->a, name)
                                  : store_path(en, &j->a, store, name),
                            v->mount_path, !claim, e) < 0)
            return -1;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* kube.c - what the platform document asks for, mapped to files of this box
 *
 * Three looks at the same settings. Before the start every name that is known is looked
 * for (kubecheck.c), so that a nightly does not fail at four o'clock for a secret that
 * was missing at midnight. When the task starts its parameters are there, and names are
 * looked for once more; then its attempt is filled in (kubefill.c). The supervisor
 * opens the files at last.
 *
 * Caching: content of config maps enters the key. A secret must leave no trace, not
 * even a hash, and a volume changes behind our back; tasks that see either always run,
 * unless the volume is declared stable.
 */
#include "run/kube.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "plan/taskconfig.h"
#include "run/door.h"
#include "run/kubeinside.h"
#include "run/modelcar.h"

/* ---- where things are ---------------------------------------------------------- */

const char *kube_store_noun(enum kube_store s)
{
    return s == KUBE_SECRET ? "secret" : "config map";
}

const char *kube_store_path(const struct engine *en, struct arena *a, enum kube_store s,
                            struct str name)
{
    const char *dir = s == KUBE_SECRET ? en->o.secrets_dir : en->o.configmaps_dir;

    if (dir)
        return arena_printf(a, "%s/%.*s", dir, STR_ARG(name));
    return arena_printf(a, "%s/%s/%.*s", en->env->home,
                        s == KUBE_SECRET ? "secrets" : "configmaps", STR_ARG(name));
}

const struct run_volume *kube_volume_of(const struct engine *en, struct str name)
{
    for (size_t i = 0; i < en->o.n_volumes; i++)
        if (str_eqz(name, en->o.volumes[i].name))
            return &en->o.volumes[i];
    return NULL;
}

const char *kube_volume_path(const struct engine *en, struct arena *a, struct str name)
{
    const struct run_volume *v = kube_volume_of(en, name);

    return v ? v->path
             : arena_printf(a, "%s/volumes/%.*s", en->env->home, STR_ARG(name));
}

static bool is_dir(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0 && S_ISDIR(st.st_mode);
}

/* ---- is it there? -------------------------------------------------------------- */

static int look_for_store(const struct engine *en, struct arena *a, enum kube_store s,
                          struct str name, struct err *e)
{
    const char *path = kube_store_path(en, a, s, name);

    if (is_dir(path))
        return 0;
    return err_set(
        e, ERR_MISSING,
        "%s %.*s is not here: make the directory %s with a file for each key",
        kube_store_noun(s), STR_ARG(name), path);
}

int kube_look_for_key(const struct engine *en, struct arena *a, enum kube_store s,
                      struct str name, struct str key, struct err *e)
{
    const char *path =
        arena_printf(a, "%s/%.*s", kube_store_path(en, a, s, name), STR_ARG(key));

    if (look_for_store(en, a, s, name, e) < 0)
        return -1;
    if (access(path, R_OK) == 0)
        return 0;
    if (errno == ENOENT)
        return err_set(e, ERR_MISSING, "%s %.*s has no key %.*s: write the file %s",
                       kube_store_noun(s), STR_ARG(name), STR_ARG(key), path);
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

int kube_look_for_volume(const struct engine *en, struct arena *a,
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

static bool is_root(const char *user)
{
    size_t n = strcspn(user, ":");

    return n == 0 || (n == 1 && user[0] == '0') ||
           (n == 4 && strncmp(user, "root", 4) == 0);
}

int kube_check_user(const struct kube *k, const struct image_use *img, struct err *e)
{
    if (!k->non_root || k->has_user || !is_root(img->image.user))
        return 0;
    return err_set(
        e, ERR_INPUT,
        "runAsNonRoot is set, and image %.*s runs as root: set runAsUser, or use an "
        "image with a user",
        STR_ARG(img->ref));
}

/* ---- one task ------------------------------------------------------------------ */

int kube_plan_image(const struct job *j, struct err *e)
{
    return j->kube.def ? kube_check_user(j->kube.def, j->image, e) : 0;
}

/* ---- the workspace ------------------------------------------------------------- */

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
        v = kube_volume_of(en, k->mounts[i].name);
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
    const char *path = kube_store_path(en, &j->a, KUBE_CONFIG_MAP, name);
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
            kube_look_for_key(en, &j->a, k->env_from[i].store, k->env_from[i].name,
                              k->env_from[i].key, e) < 0)
            return -1;
    for (size_t i = 0; i < k->n_mounts; i++)
        if (kube_look_for_volume(en, &j->a, k->mounts[i].def, k->mounts[i].name, e) < 0)
            return -1;
    buf_init(&text, 0);
    if ((k->def && cache_text(en, j, &text, e) < 0) ||
        modelcar_check(en, j->t, &text, e) < 0)
        return -1;
    j->kube_text = arena_str(&j->a, (struct str){buf_str(&text), text.len});
    return 0;
}

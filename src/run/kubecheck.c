/* SPDX-License-Identifier: Apache-2.0 */
/* kubecheck.c - the platform document before the start: what is missing, and whose turn
 * it is
 *
 * Only names that are known by then are looked for: those in the document, and those
 * that come from the run's own parameters. Volumes that a task of the pipeline makes
 * prove nothing by their absence.
 */
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#include "run/chore.h"
#include "run/kube.h"
#include "run/kubeinside.h"
#include "spec/placeholder.h"

/* ---- before the start ---------------------------------------------------------- */

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
            if (kube_look_for_key(c->en, &c->en->a, s->store, name, s->keys[n].key,
                                  &why) < 0)
                add_missing(c, t, &why);
    }
    for (size_t i = 0; i < k->n_volumes; i++) {
        const struct kube_volume *v = &k->volumes[i];
        if (!v->name.set || !component_applies(t->component, PASS_VOLUMES) ||
            !kube_known_name(&v->name, in, &name) ||
            (v->kind == KUBE_VOLUME_CLAIM && c->makes_claims))
            continue;
        if (kube_look_for_volume(c->en, &c->en->a, v, name, &why) < 0)
            add_missing(c, t, &why);
    }
}

/* images of init containers, and the user of the task's own */
static void check_images(struct check *c, const struct task_def *t)
{
    const struct executor *x = t->component->executor;
    struct image_use *img;
    struct err why;

    for (size_t i = 0; i < x->kube->n_inits; i++)
        if (!prepare_image(c->en, x->kube->inits[i].image, &why)) {
            (void)err_at(&why, "%s %.*s",
                         x->kube->inits[i].side_car ? "side car" : "init container",
                         STR_ARG(x->kube->inits[i].name));
            add_missing(c, t, &why);
        }
    if (!x->kube->non_root || placeholder_any(x->image))
        return;
    img = prepare_image(c->en, x->image,
                        &why); /* when it is missing others have said so */
    if (img && kube_check_user(x->kube, img, &why) < 0)
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

/* SPDX-License-Identifier: Apache-2.0 */
/* prepare.c - what can be known before the first task starts
 *
 * A nightly that fails at 4 a.m. for an image that was missing at midnight is our fault. So
 * every image, every package and every GPU request that does not depend on a task's output
 * is looked at first, and everything that is missing is named at once.
 */
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/limits.h"
#include "lineage/images.h"
#include "run/admit.h"
#include "run/chore.h"
#include "run/engine.h"
#include "run/kube.h"
#include "spec/placeholder.h"

/* ---- images -------------------------------------------------------------------------------- */

static const char *alias_of(const struct engine *en, const char *name)
{
    for (size_t i = 0; i < en->o.n_aliases; i++)
        if (strcmp(en->o.aliases[i].from, name) == 0)
            return en->o.aliases[i].to;
    return name;
}

static int find_image(struct engine *en, struct str ref, struct db_image *row, struct err *e)
{
    char name[IMAGE_NAME_BYTES];
    struct err why = {0};
    const char *digest;

    if (str_starts(ref, "sha256:"))
        return db_image_find_in(&en->a, en->env->db, ref, row, e);
    if (image_name_normalise(ref, name, e) < 0)
        return -1;
    if (db_image_find_in(&en->a, en->env->db, str_of(alias_of(en, name)), row, &why) == 0)
        return 0;
    digest = image_name_digest(name); /* NAME@sha256:HEX: any name will do for these bytes */
    if (digest && db_image_find_in(&en->a, en->env->db, str_of(digest), row, &why) == 0)
        return 0;
    if (why.code != ERR_MISSING) {
        *e = why;
        return -1;
    }
    return err_set(e, ERR_MISSING,
                   "image %.*s is not here (dugout image load FILE, or dugout image tag SRC %.*s)",
                   STR_ARG(ref), STR_ARG(ref));
}

struct image_use *prepare_image(struct engine *en, struct str ref, struct err *e)
{
    struct image_use *u;
    struct db_image row;

    for (size_t i = 0; i < en->n_images; i++)
        if (str_eq(en->images[i]->ref, ref))
            return en->images[i];
    if (find_image(en, ref, &row, e) < 0)
        return NULL;
    u = arena_alloc(&en->a, sizeof *u);
    u->ref = arena_str(&en->a, ref);
    memcpy(u->hex, row.config_hex, sizeof u->hex);
    if (image_open_in(&en->a, en->env->store, u->hex, &u->image, e) < 0) {
        (void)err_at(e, "image %.*s", STR_ARG(ref));
        return NULL;
    }
    en->images = arena_grow(&en->a, en->images, &en->n_images, sizeof(*en->images));
    en->images[en->n_images - 1] = u;
    return u;
}

/* ---- packages --------------------------------------------------------------------------------- */

static bool runs_kfp(const struct executor *x)
{
    for (size_t i = 0; i < x->n_command; i++)
        if (memmem(x->command[i].ptr, x->command[i].len, "kfp.dsl.executor_main", 21) ||
            memmem(x->command[i].ptr, x->command[i].len, "kfp.components.executor_main", 28))
            return true;
    return false;
}

static int ask_image(struct engine *en, struct image_use *img, struct err *e)
{
    if (img->asked)
        return 0;
    if (facts_in(&en->a, en->env, img->hex, (const char *const *)img->image.layers,
                 img->image.n_layers, &img->facts, e) < 0)
        return -1;
    img->asked = true;
    return 0;
}

static void need_wheel(struct engine *en, struct str requirement, const struct image_use *img)
{
    struct needs *n = en->needs;

    if (!n)
        return;
    n->wheels = arena_grow(&en->a, n->wheels, &n->n_wheels, sizeof(*n->wheels));
    n->wheels[n->n_wheels - 1] = (struct need_wheel){
        .requirement = requirement, .image = img, .image_ref = img ? img->ref : (struct str){"", 0}};
}

/* one requirement that the user listed; kfp's own line is answered by the shim */
static int check_requirement(struct engine *en, struct image_use *img,
                             const struct pip_requirement *q, struct buf *missing, struct err *e)
{
    enum pip_answer answer;
    struct str have = {"", 0};

    if (pip_answer(&img->facts, q->text, &answer, &have, e) < 0)
        return -1;
    if (answer == PIP_SATISFIED || answer == PIP_NOT_NEEDED)
        return 0;
    if (answer == PIP_OTHER_VERSION && en->o.packages == PACKAGES_IMAGE) {
        engine_notice(en, NULL, "image %.*s has %.*s where %.*s was asked for (--packages image)",
                      STR_ARG(img->ref), STR_ARG(have), STR_ARG(q->text));
        return 0;
    }
    need_wheel(en, q->text, img);
    buf_adds(missing, missing->len ? ", " : "");
    buf_addstr(missing, q->text);
    if (answer == PIP_OTHER_VERSION)
        buf_addf(missing, " (the image has %.*s)", STR_ARG(have));
    return 0;
}

int prepare_packages(struct engine *en, const struct executor *x, struct image_use *img,
                     size_t *skip, bool *shim, struct buf *missing, struct err *e)
{
    struct pip_preamble pre;

    *skip = 0;
    *shim = false;
    if (en->o.packages == PACKAGES_NETWORK)
        return 0; /* run the command as compiled */
    if (pip_preamble_in(&en->a, x->command, x->n_command, &pre, e) < 0)
        return -1;
    if (!pre.found && !runs_kfp(x))
        return 0;
    if (ask_image(en, img, e) < 0)
        return -1;
    if (!img->facts.has_python && runs_kfp(x))
        return err_set(e, ERR_MISSING, "image %.*s has no python3, which this component needs",
                       STR_ARG(img->ref));
    for (size_t i = 0; i < pre.n_reqs; i++)
        if (!pre.reqs[i].kfp_line && check_requirement(en, img, &pre.reqs[i], missing, e) < 0)
            return -1;
    if (missing->len)
        return 0;
    *skip = pre.found ? pre.skip : 0;
    /* A kfp that the user lists himself, or that the image brings, must win over ours. */
    *shim = runs_kfp(x) && (pre.wants_kfp || !facts_dist(&img->facts, STR("kfp")));
    return 0;
}

/* ---- before the start ---------------------------------------------------------------------------- */

static void add_missing(struct buf *out, struct str where, const char *text)
{
    buf_addf(out, "%stask %.*s: %s", out->len ? "; " : "", STR_ARG(where), text);
}

/* an image that is not here, and the packages that it may or may not have */
static void need_image(struct engine *en, const struct executor *x)
{
    struct needs *n = en->needs;
    struct pip_preamble pre;
    struct err why;

    if (!n)
        return;
    for (size_t i = 0; i < n->n_images; i++)
        if (str_eq(n->images[i], x->image))
            return;
    n->images = arena_grow(&en->a, n->images, &n->n_images, sizeof(*n->images));
    n->images[n->n_images - 1] = x->image;
    if (en->o.packages == PACKAGES_NETWORK ||
        pip_preamble_in(&en->a, x->command, x->n_command, &pre, &why) < 0)
        return;
    for (size_t i = 0; i < pre.n_reqs; i++)
        if (!pre.reqs[i].kfp_line) {
            need_wheel(en, pre.reqs[i].text, NULL);
            n->wheels[n->n_wheels - 1].image_ref = x->image;
        }
}

/* e gets what makes the whole check impossible; *missing what is not there */
static int check_task(struct engine *en, const struct task_def *t, struct buf *missing,
                      enum err_code *worst, struct err *e)
{
    const struct executor *x = t->component->executor;
    AUTO_BUF struct buf wheels = {0};
    struct image_use *img;
    struct err why = {0}, no_gpu = {0};
    size_t skip;
    bool shim;

    img = placeholder_any(x->image) ? NULL : prepare_image(en, x->image, &why);
    if (gpus_check(en, x, img, &no_gpu) < 0) {
        add_missing(missing, t->key, no_gpu.text);
        *worst = no_gpu.code;
    }
    if (placeholder_any(x->image))
        return 0; /* known only when the task starts */
    if (!img) {
        if (why.code != ERR_MISSING && why.code != ERR_INPUT) {
            *e = why;
            return -1;
        }
        add_missing(missing, t->key, why.text);
        *worst = why.code;
        need_image(en, x);
        return 0;
    }
    buf_init(&wheels, 4096);
    if (prepare_packages(en, x, img, &skip, &shim, &wheels, &why) < 0) {
        if (why.code == ERR_SYS) {
            *e = why;
            return -1;
        }
        add_missing(missing, t->key, why.text);
        *worst = why.code;
    } else if (wheels.len) {
        AUTO_BUF struct buf text = {0};
        buf_init(&text, 8192);
        buf_addf(&text, "image %.*s lacks %s", STR_ARG(x->image), buf_str(&wheels));
        add_missing(missing, t->key, buf_str(&text));
        *worst = ERR_MISSING;
    }
    return 0;
}

/* More than this machine has would wait for ever, or fail at four in the morning. A limit on CPU may
 * be larger than the machine: it takes nothing from anybody. */
static int check_resources(const struct engine *en, const struct task_def *t, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct run_task_opts own = run_task_opts_in(&a, &en->o, t->key, t->key);
    struct exec_resources res;
    uint64_t budget = admit_budget(), bytes;
    uint32_t cpus = (uint32_t)sysconf(_SC_NPROCESSORS_ONLN);
    char want[24], have[24];

    if (exec_resources_known(t->component, &res, e) < 0)
        return -1;
    run_task_resources(&own, &res);
    bytes = res.memory_request_bytes ? res.memory_request_bytes : res.memory_limit_bytes;
    size_human(bytes, want);
    size_human(budget, have);
    if (budget && bytes > budget)
        return err_set(e, ERR_MISSING,
                       "it asks for %s of memory, and this box can promise %s at most (--memory "
                       "%.*s=SIZE runs it with less)",
                       want, have, STR_ARG(t->key));
    if (res.cpu_request_millis > 1000 * cpus)
        return err_set(e, ERR_MISSING,
                       "it asks for %g CPUs, and this box has %u (--cpus %.*s=%u runs it with those)",
                       res.cpu_request_millis / 1000.0, cpus, STR_ARG(t->key), cpus);
    return 0;
}

struct check {
    struct map groups, executors; /* by name, each looked at once */
    struct buf missing;
    enum err_code worst;
};

static int check_dag(struct engine *en, struct check *c, const struct dag *dag, struct err *e)
{
    for (size_t i = 0; i < dag->n_tasks; i++) {
        const struct task_def *t = &dag->tasks[i];
        struct map *seen = t->component->dag ? &c->groups : &c->executors;
        struct str name = t->component->dag ? t->component->name : t->component->executor->label;
        struct err why;
        int rc;

        if (!t->component->dag && !chore_is(t->component->executor) &&
            check_resources(en, t, &why) < 0) { /* a flag may name one of several alike */
            add_missing(&c->missing, t->key, why.text);
            c->worst = why.code;
        }
        if (map_get(seen, name))
            continue;
        map_put(seen, name, (void *)t);
        if (t->component->dag)
            rc = check_dag(en, c, t->component->dag, e);
        else if (!chore_is(t->component->executor))
            rc = check_task(en, t, &c->missing, &c->worst, e);
        else
            rc = 0;
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* Branches that may not be taken are looked at, too: nobody knows yet. */
int prepare_images(struct engine *en, struct err *e)
{
    struct check c = {.worst = ERR_NONE};
    int rc;

    buf_init(&c.missing, 64 * KIB);
    rc = check_dag(en, &c, en->p.root->dag, e);
    if (rc == 0)
        kube_check(en, &c.missing, &c.worst);
    if (rc == 0 && en->needs)
        buf_addstr(&en->needs->text, (struct str){buf_str(&c.missing), c.missing.len});
    else if (rc == 0 && c.missing.len)
        rc = err_set(e, c.worst, "%s", buf_str(&c.missing));
    map_done(&c.groups);
    map_done(&c.executors);
    buf_done(&c.missing);
    return rc;
}

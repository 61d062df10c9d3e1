/* SPDX-License-Identifier: Apache-2.0 */
/* gpus.c - the GPUs of a run's tasks: checked before the start, leased at the launch
 *
 *     gpus_check    before anything is recorded: are there enough, does the driver suit
 *     gpus_take     at the launch: the locks, which travel to the supervisor with the
 *                   spawn, or a place in the queue of the whole machine
 *     gpus_handed   the supervisor has them: ours are closed, its death frees them
 *     gpus_ended    what this run may have at a time (--gpus N) is counted
 *
 * An engine keeps one ticket for each kind of accelerator, for the first of its tasks
 * that waits; the others wait behind that one here. So ten thousand tasks of a loop
 * stand in the machine's queue as one, and runs take turns.
 */
#include <errno.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/json.h"
#include "gpu/drain.h"
#include "gpu/lease.h"
#include "run/engine.h"
#include "spec/placeholder.h"

#define HEADS 4 /* kinds of accelerators in one run that wait at the same time */

struct job_gpus {
    struct lease lease;
    struct ticket ticket;
    struct gpu_set set; /* what the lease points into */
};

/* ---- the machine
 * ---------------------------------------------------------------------------- */

static int look(struct engine *en, struct gpu_set *s, struct err *e)
{
    if (gpu_find(en->o.gpu_root, s, e) < 0)
        return -1;
    drain_load(s, en->env->home);
    return 0;
}

static int match(struct engine *en, struct gpu_set *s, const struct gpu_want *w,
                 struct gpu ***out, size_t *n, char notice[GPU_TEXT_BYTES],
                 struct err *e)
{
    *out = arena_alloc(&s->a, (s->n + 1) * sizeof(struct gpu *));
    if (gpu_match(s, w, *out, n, notice, e) < 0)
        return -1;
    if (en->o.gpus_max && w->count > en->o.gpus_max)
        return err_set(
            e, ERR_INPUT,
            "it asks for %u GPUs, and --gpus %u is all that this run may have",
            w->count, en->o.gpus_max);
    return gpu_enough(w, *out, *n, e);
}

/* ---- before the start
 * ------------------------------------------------------------------------ */

/* how many; 0 when that is known later only or is no number (checked when it is) */
static uint32_t constant_count(struct str count)
{
    uint32_t n = 0;

    if (!count.len)
        return 1;
    for (size_t i = 0; i < count.len; i++) {
        if (count.ptr[i] < '0' || count.ptr[i] > '9' || n > LEASE_MAX)
            return 0;
        n = n * 10 + (uint32_t)(count.ptr[i] - '0');
    }
    return n;
}

int gpus_check(struct engine *en, const struct executor *x, const struct image_use *img,
               struct err *e)
{
    struct gpu_want w = {x->res.accelerator_type,
                         constant_count(x->res.accelerator_count)};
    char notice[GPU_TEXT_BYTES], why[GPU_TEXT_BYTES];
    struct gpu_set s = {0};
    struct gpu **found;
    size_t n;
    int rc;

    if ((!w.type.len && !x->res.accelerator_count.len) || placeholder_any(w.type) ||
        !w.count)
        return 0;
    if (en->o.gpus_none) {
        engine_notice(en, NULL,
                      "executor %.*s asks for a GPU and runs without (--gpus none)",
                      STR_ARG(x->label));
        return 0;
    }
    rc = look(en, &s, e);
    if (rc == 0)
        rc = match(en, &s, &w, &found, &n, notice, e);
    if (rc == 0 && notice[0])
        engine_notice(en, NULL, "executor %.*s: %s", STR_ARG(x->label), notice);
    if (rc == 0 && img && n && found[0]->vendor == GPU_NVIDIA)
        switch (gpu_require((char *const *)img->image.env, img->image.n_env,
                            s.nvidia_driver, why)) {
        case GPU_REQUIRE_FAILED:
            rc = err_set(
                e, ERR_MISSING,
                "%s (NVIDIA_DISABLE_REQUIRE=1 in the image tries all the same)", why);
            break;
        case GPU_REQUIRE_MAYBE:
            engine_notice(en, NULL, "executor %.*s: %s", STR_ARG(x->label), why);
            break;
        case GPU_REQUIRE_MET:
            break;
        }
    gpu_set_done(&s);
    if (rc < 0 && e->code == ERR_MISSING)
        return err_set(e, ERR_MISSING, "%s; --gpus none runs it without", e->text);
    return rc;
}

/* ---- at the launch
 * ------------------------------------------------------------------------------ */

static struct job **head_of(struct engine *en, const struct job *j)
{
    struct job **empty = NULL;

    for (size_t i = 0; i < HEADS; i++) {
        if (!en->gpu_heads[i])
            empty = empty ? empty : &en->gpu_heads[i];
        else if (str_eq(en->gpu_heads[i]->res.accelerator_type,
                        j->res.accelerator_type))
            return &en->gpu_heads[i];
    }
    return empty;
}

uint32_t gpus_wanted(const struct engine *en, const struct job *j)
{
    return en->o.gpus_none ? 0 : j->res.accelerators;
}

static bool waited_out(const struct engine *en, struct job *j)
{
    if (!j->gpu_since_ns)
        j->gpu_since_ns = clock_mono_ns();
    return clock_mono_ns() - j->gpu_since_ns > en->o.gpu_wait_ms * 1000000;
}

bool gpus_must_wait(struct engine *en, struct job *j)
{
    struct job **head;

    if (!gpus_wanted(en, j) || waited_out(en, j))
        return false;
    if (en->o.gpus_max && en->gpus_used &&
        en->gpus_used + gpus_wanted(en, j) > en->o.gpus_max)
        return true; /* a task of ours that ends brings us here again */
    head = head_of(en, j);
    return !head || (*head && *head != j);
}

static void free_gpus(struct job *j)
{
    if (!j->gpus)
        return;
    lease_drop(&j->gpus->lease);
    ticket_drop(&j->gpus->ticket);
    gpu_set_done(&j->gpus->set);
    free(j->gpus);
    j->gpus = NULL;
}

void gpus_drop(struct engine *en, struct job *j)
{
    for (size_t i = 0; i < HEADS; i++)
        if (en->gpu_heads[i] == j)
            en->gpu_heads[i] = NULL;
    free_gpus(j);
}

static void note_lease(struct job *j, struct attempt *at)
{
    const struct lease *l = &j->gpus->lease;

    at->gpus = arena_alloc(&j->a, l->n * sizeof *at->gpus);
    for (size_t i = 0; i < l->n; i++) {
        const struct gpu *g = l->gpus[i];
        const struct gpu_node *node = g->n_nodes ? &g->nodes[g->n_nodes - 1] : NULL;
        if (g->vendor == GPU_NVIDIA)
            node = &g->nodes[0];
        at->gpus[at->n_gpus++] = (struct attempt_gpu){
            .id = arena_str(&j->a, str_of(g->id)),
            .pci = arena_str(&j->a, str_of(g->pci)),
            .node = arena_str(&j->a, str_of(node ? node->path : "")),
            .major = node ? node->major : 0,
            .minor = node ? node->minor : 0,
        };
    }
}

static int take(struct engine *en, struct job *j, struct err *e)
{
    struct gpu_want want = {j->res.accelerator_type, gpus_wanted(en, j)};
    char who[GPU_TEXT_BYTES], notice[GPU_TEXT_BYTES];
    struct lease_want w = {
        .count = want.count, .shared = en->o.gpus_shared, .who = who};
    struct gpu **found;
    int rc;

    snprintf(who, sizeof who, "run %.60s task %.*s", en->name,
             (int)(j->t->path.len < 80 ? j->t->path.len : 80), j->t->path.ptr);
    gpu_set_done(&j->gpus->set);
    if (look(en, &j->gpus->set, e) < 0 ||
        match(en, &j->gpus->set, &want, &found, &w.n, notice, e) < 0)
        return -1;
    w.candidates = found;
    rc = lease_take(&j->gpus->set, &w, &j->gpus->ticket, &j->gpus->lease, e);
    return rc == 0 && waited_out(en, j) ? lease_busy(&j->gpus->set, &w, e) : rc;
}

int gpus_take(struct engine *en, struct job *j, struct err *e)
{
    struct job **head = head_of(en, j);
    int rc;

    if (!gpus_wanted(en, j))
        return 1;
    if (!j->gpus) {
        j->gpus = xalloc(sizeof *j->gpus);
        ticket_init(&j->gpus->ticket);
        j->gpus->set.root_fd = -1;
    }
    rc = take(en, j, e);
    if (rc == 0) {
        if (!j->gpu_told)
            engine_notice(en, j->t, "task %.*s waits for %u GPU%s that others have",
                          STR_ARG(j->t->path), gpus_wanted(en, j),
                          gpus_wanted(en, j) == 1 ? "" : "s");
        j->gpu_told = true;
        if (head)
            *head = j;
        return 0;
    }
    for (size_t i = 0; i < HEADS; i++)
        if (en->gpu_heads[i] == j)
            en->gpu_heads[i] = NULL;
    j->gpu_since_ns = 0;
    j->gpu_told = false;
    if (rc < 0)
        free_gpus(j);
    else
        en->gpus_used += (uint32_t)j->gpus->lease.n;
    return rc;
}

void gpus_fill(struct engine *en, struct job *j, struct attempt *at)
{
    if (!j->gpus || !j->gpus->lease.n)
        return;
    at->gpu_root = str_of(en->o.gpu_root ? en->o.gpu_root : "");
    note_lease(j, at);
}

struct str gpus_json(struct job *j)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;

    if (!j->at->n_gpus)
        return (struct str){"", 0};
    buf_init(&b, 0);
    jw_init(&w, &b);
    jw_arr(&w);
    for (size_t i = 0; i < j->at->n_gpus; i++)
        jw_str(&w, j->at->gpus[i].id);
    jw_end_arr(&w);
    return arena_str(&j->a, (struct str){buf_str(&b), b.len});
}

const int *gpus_fds(const struct job *j, size_t *n)
{
    *n = j->gpus ? j->gpus->lease.n : 0;
    return j->gpus ? j->gpus->lease.fds : NULL;
}

void gpus_handed(struct job *j)
{
    free_gpus(j);
}

void gpus_ended(struct engine *en, const struct job *j)
{
    size_t n = j->at ? j->at->n_gpus : 0;

    en->gpus_used -= n < en->gpus_used ? (uint32_t)n : en->gpus_used;
}

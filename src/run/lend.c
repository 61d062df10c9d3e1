/* SPDX-License-Identifier: Apache-2.0 */
/* lend.c - what the supervisor does about the GPUs of its attempt
 *
 * The engine has chosen and locked them; the supervisor holds the locks and works out
 * anew what their boxes need, as it is now. When a step fails it looks whether a GPU
 * failed under it: then it is the host's failure and not the step's, the GPU is
 * drained, and the next attempt gets another.
 */
#include "run/lend.h"

#include <stdio.h>
#include <time.h>

#include "gpu/drain.h"
#include "gpu/grant.h"
#include "gpu/lease.h"

static void on_born(void *ctx, pid_t pid)
{
    const struct lend_locks *l = ctx;

    lease_box(l->fds, l->n, pid);
}

int lend_gpus(struct arena *a, const struct attempt *at, const struct lend_locks *locks,
              struct box_spec *spec, struct result *r, struct err *e)
{
    struct gpu **gpus = arena_alloc(a, (at->n_gpus + 1) * sizeof *gpus);
    struct grant *g = arena_alloc(a, sizeof *g);
    struct gpu_set s = {0};
    int rc;

    if (!at->n_gpus)
        return 0;
    rc = gpu_find(at->gpu_root.ptr, &s, e);
    for (size_t i = 0; rc == 0 && i < at->n_gpus; i++)
        if (!(gpus[i] = gpu_named(&s, at->gpus[i].id.ptr, e)))
            rc = err_set(e, ERR_SYS, "GPU %.*s was there a moment ago and is gone",
                         STR_ARG(at->gpus[i].id));
    if (rc == 0)
        rc = grant_make(a, &s, gpus, at->n_gpus, at->env, at->n_env, g, e);
    gpu_set_done(&s);
    if (rc < 0)
        return -1;
    spec->envp = g->env;
    spec->extras = &g->x;
    spec->born = on_born;
    spec->born_ctx = (void *)(uintptr_t)locks;
    for (size_t i = 0; i < g->n_notices; i++) {
        r->notices = arena_grow(a, r->notices, &r->n_notices, sizeof *r->notices);
        r->notices[r->n_notices - 1] = str_of(g->notices[i]);
    }
    return 0;
}

int64_t lend_mono_us(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000 + t.tv_nsec / 1000;
}

/* A MIG instance is drained with its card: the error was the card's. */
static void drain(const struct attempt *at, const char *id, const char *reason)
{
    struct gpu_set s = {0};
    char card[GPU_ID_BYTES];
    struct err ignored;

    (void)snprintf(card, sizeof card, "%s",
                   strncmp(id, "MIG-GPU-", 8) == 0 ? id + 4 : id);
    if (card != id && strncmp(id, "MIG-", 4) == 0)
        card[strcspn(card, "/")] = 0;
    if (gpu_find(at->gpu_root.ptr, &s, &ignored) == 0)
        (void)drain_put(&s, NULL, card, reason, &ignored);
    gpu_set_done(&s);
}

bool lend_failed(const struct attempt *at, int64_t since_mono_us, char *why,
                 size_t size)
{
    for (size_t i = 0; i < at->n_gpus; i++) {
        const struct attempt_gpu *g = &at->gpus[i];
        struct gpu_ref ref = {g->id.ptr, g->pci.ptr, g->node.ptr, g->major, g->minor};
        char text[GPU_TEXT_BYTES];
        if (!health_check(at->gpu_root.ptr, &ref, since_mono_us, text))
            continue;
        drain(at, g->id.ptr, text);
        (void)snprintf(why, size,
                       "GPU %.*s failed and is drained: %s (dugout gpu undrain %.*s)",
                       STR_ARG(g->id), text, STR_ARG(g->id));
        return true;
    }
    return false;
}

void lend_quarantine(const struct attempt *at, const char *reason)
{
    for (size_t i = 0; i < at->n_gpus; i++)
        drain(at, at->gpus[i].id.ptr, reason);
}

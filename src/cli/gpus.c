/* SPDX-License-Identifier: Apache-2.0 */
/* gpus.c - GPUs for a command that is no task of a run (box --gpus)
 *
 * The process that runs the box holds the leases; they end with it. Which GPUs: a
 * number, all, some by name, or a number of a type as pipelines spell it.
 */
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "box/box.h"
#include "cli/cli.h"
#include "gpu/drain.h"
#include "gpu/grant.h"
#include "gpu/lease.h"

#define ASK_AGAIN_NS (250 * 1000000L)

struct gpus_lent {
    struct gpu_set set;
    struct lease lease;
    struct gpu **wanted;
    size_t n_wanted;
    unsigned count;
    struct grant grant;
};

static int named(struct cli *c, struct gpus_lent *l, const char *list, struct err *e)
{
    char *copy = arena_strdup(&c->a, list), *save = NULL;

    for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        struct gpu *g = gpu_named(&l->set, w, e);
        if (!g)
            return -1;
        for (size_t i = 0; i < l->n_wanted; i++)
            if (l->wanted[i] == g)
                return err_set(e, ERR_INPUT, "--gpus: %s is named twice", g->id);
        if (l->n_wanted == l->set.n)
            break;
        l->wanted[l->n_wanted++] = g;
    }
    l->count = (unsigned)l->n_wanted;
    return l->count ? 0
                    : err_set(e, ERR_INPUT, "--gpus device=: name at least one GPU");
}

/* N, all or TYPE=N */
static int counted(struct gpus_lent *l, const char *text, struct err *e)
{
    const char *eq = strrchr(text, '='), *number = eq ? eq + 1 : text;
    struct gpu_want w = {.type = {text, eq ? (size_t)(eq - text) : 0}};
    char notice[GPU_TEXT_BYTES], *end;
    bool all = strcmp(number, "all") == 0;
    unsigned long n = all ? 1 : strtoul(number, &end, 10);

    if (!all && (end == number || *end || n < 1 || n > LEASE_MAX))
        return err_set(e, ERR_INPUT,
                       "--gpus %.80s: want N, all, none, device=ID,ID or TYPE=N", text);
    w.count = (unsigned)n;
    if (gpu_match(&l->set, &w, l->wanted, &l->n_wanted, notice, e) < 0)
        return -1;
    if (notice[0])
        log_note("%s", notice);
    if (all) {
        w.count = 0;
        for (size_t i = 0; i < l->n_wanted; i++)
            w.count += gpu_ready(l->wanted[i]);
        w.count += !w.count;
    }
    l->count = w.count;
    return gpu_enough(&w, l->wanted, l->n_wanted, e) < 0 ? err_at(e, "--gpus %s", text)
                                                         : 0;
}

static int wait_for(struct cli *c, struct gpus_lent *l, int64_t wait_ms, struct err *e)
{
    int64_t until = clock_mono_ns() + wait_ms * 1000000;
    struct lease_want w = {.candidates = l->wanted,
                           .n = l->n_wanted,
                           .count = l->count,
                           .shared = c->cfg.run.gpus_shared,
                           .who = arena_printf(&c->a, "dugout box %s (pid %d)",
                                               c->args[0], (int)getpid())};
    struct ticket t;
    int rc;

    ticket_init(&t);
    while ((rc = lease_take(&l->set, &w, &t, &l->lease, e)) == 0) {
        if (clock_mono_ns() >= until) {
            rc = lease_busy(&l->set, &w, e);
            break;
        }
        (void)nanosleep(&(struct timespec){.tv_nsec = ASK_AGAIN_NS}, NULL);
    }
    ticket_drop(&t);
    return rc < 0 ? -1 : 0;
}

static int check_cuda(const struct gpus_lent *l, const struct box_spec *s, size_t n_env,
                      struct err *e)
{
    char why[GPU_TEXT_BYTES];

    if (l->lease.gpus[0]->vendor != GPU_NVIDIA)
        return 0;
    switch (gpu_require(s->envp, n_env, l->set.nvidia_driver, why)) {
    case GPU_REQUIRE_FAILED:
        return err_set(e, ERR_MISSING,
                       "%s (NVIDIA_DISABLE_REQUIRE=1 tries all the same)", why);
    case GPU_REQUIRE_MAYBE:
        log_note("%s", why);
        break;
    case GPU_REQUIRE_MET:
        break;
    }
    return 0;
}

static void on_born(void *ctx, pid_t pid)
{
    const struct lease *l = ctx;

    lease_box(l->fds, l->n, pid);
}

static int lend(struct cli *c, struct box_spec *s, struct gpus_lent *l,
                const char *text, struct err *e)
{
    int64_t wait_ms = c->cfg.run.gpu_wait_ms;
    size_t n_env = 0;

    while (s->envp[n_env])
        n_env++;
    if (opt_duration(c, "gpu-wait", &wait_ms, e) < 0 ||
        gpu_find(c->cfg.run.gpu_root, &l->set, e) < 0)
        return -1;
    drain_load(&l->set, c->home);
    l->wanted = arena_alloc(&c->a, (l->set.n + 1) * sizeof(struct gpu *));
    if ((strncmp(text, "device=", 7) == 0 ? named(c, l, text + 7, e)
                                          : counted(l, text, e)) < 0 ||
        wait_for(c, l, wait_ms, e) < 0 || check_cuda(l, s, n_env, e) < 0 ||
        grant_make(&c->a, &l->set, l->lease.gpus, l->lease.n, s->envp, n_env, &l->grant,
                   e) < 0)
        return -1;
    for (size_t i = 0; i < l->grant.n_notices; i++)
        log_note("%s", l->grant.notices[i]);
    s->envp = l->grant.env;
    s->extras = &l->grant.x;
    s->born = on_born;
    s->born_ctx = &l->lease;
    return 0;
}

int gpus_lend(struct cli *c, struct box_spec *s, struct gpus_lent **gives,
              struct err *e)
{
    const char *text = opt_text(c, "gpus");
    struct gpus_lent *l;

    *gives = NULL;
    if (!text || strcmp(text, "none") == 0 || strcmp(text, "0") == 0)
        return 0;
    l = xalloc(sizeof *l);
    if (lend(c, s, l, text, e) < 0) {
        gpus_lent_done(l);
        return -1;
    }
    *gives = l;
    return 0;
}

void gpus_lent_done(struct gpus_lent *l)
{
    if (!l)
        return;
    lease_drop(&l->lease);
    gpu_set_done(&l->set);
    free(l);
}

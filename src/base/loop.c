/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - epoll and a heap of timers
 *
 * Watches are kept in a table by descriptor. A callback may watch and unwatch what it likes, itself
 * included: events of the same batch for a watch that has gone since are dropped, by comparing
 * the generation that was stored with the watch.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/mem.h"

#define BATCH 64

struct watch {
    loop_fn *fn; /* NULL: not watched */
    void *ctx;
    uint32_t generation;
};

struct timer {
    int64_t when;
    uint64_t id;
    loop_timer_fn *fn;
    void *ctx;
};

struct loop {
    int ep;
    struct watch *watches; /* by descriptor */
    size_t n_watches;
    struct timer *heap; /* earliest first, then in order of creation */
    size_t n_timers, cap_timers;
    uint64_t next_id;
};

int loop_new(struct loop **gives, struct err *e)
{
    struct loop *l = xalloc(sizeof *l);

    l->ep = epoll_create1(EPOLL_CLOEXEC);
    if (l->ep < 0) {
        free(l);
        return err_sys(e, errno, "epoll_create1");
    }
    l->next_id = 1;
    *gives = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    (void)close(l->ep);
    free(l->watches);
    free(l->heap);
    free(l);
}

int loop_watch(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *ctx, struct err *e)
{
    struct epoll_event ev = {.events = events};
    struct watch *w;

    must(fd >= 0);
    if ((size_t)fd >= l->n_watches) {
        size_t n = (size_t)fd * 2 + 16;
        l->watches = xrealloc(l->watches, n * sizeof(*l->watches));
        memset(l->watches + l->n_watches, 0, (n - l->n_watches) * sizeof(*l->watches));
        l->n_watches = n;
    }
    w = &l->watches[fd];
    w->generation++;
    ev.data.u64 = (uint64_t)w->generation << 32 | (uint32_t)fd;
    if (epoll_ctl(l->ep, w->fn ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_sys(e, errno, "watch a descriptor");
    w->fn = fn;
    w->ctx = ctx;
    return 0;
}

void loop_unwatch(struct loop *l, int fd)
{
    if (fd < 0 || (size_t)fd >= l->n_watches || !l->watches[fd].fn)
        return;
    l->watches[fd].fn = NULL;
    l->watches[fd].generation++;
    (void)epoll_ctl(l->ep, EPOLL_CTL_DEL, fd, NULL);
}

/* ---- timers ---------------------------------------------------------------------------- */

static bool earlier(const struct timer *a, const struct timer *b)
{
    return a->when != b->when ? a->when < b->when : a->id < b->id;
}

static void swap(struct loop *l, size_t i, size_t k)
{
    struct timer t = l->heap[i];
    l->heap[i] = l->heap[k];
    l->heap[k] = t;
}

static void sift_up(struct loop *l, size_t i)
{
    while (i && earlier(&l->heap[i], &l->heap[(i - 1) / 2])) {
        swap(l, i, (i - 1) / 2);
        i = (i - 1) / 2;
    }
}

static void sift_down(struct loop *l, size_t i)
{
    for (;;) {
        size_t least = i;
        for (size_t k = 2 * i + 1; k <= 2 * i + 2 && k < l->n_timers; k++)
            if (earlier(&l->heap[k], &l->heap[least]))
                least = k;
        if (least == i)
            return;
        swap(l, i, least);
        i = least;
    }
}

static void take_out(struct loop *l, size_t i)
{
    l->heap[i] = l->heap[--l->n_timers];
    if (i < l->n_timers) {
        sift_up(l, i);
        sift_down(l, i);
    }
}

uint64_t loop_at(struct loop *l, int64_t when_mono_ns, loop_timer_fn *fn, void *ctx)
{
    if (l->n_timers == l->cap_timers) {
        l->cap_timers = l->cap_timers ? l->cap_timers * 2 : 16;
        l->heap = xrealloc(l->heap, l->cap_timers * sizeof(*l->heap));
    }
    l->heap[l->n_timers] = (struct timer){when_mono_ns, l->next_id, fn, ctx};
    sift_up(l, l->n_timers++);
    return l->next_id++;
}

void loop_cancel(struct loop *l, uint64_t id)
{
    for (size_t i = 0; id && i < l->n_timers; i++)
        if (l->heap[i].id == id) {
            take_out(l, i);
            return;
        }
}

static int wait_ms(const struct loop *l, int max_wait_ms)
{
    int64_t left;

    if (!l->n_timers)
        return max_wait_ms;
    left = (l->heap[0].when - clock_mono_ns() + 999999) / 1000000; /* never early */
    if (left < 0)
        left = 0;
    if (left > 1000000000)
        left = 1000000000;
    return max_wait_ms >= 0 && max_wait_ms < left ? max_wait_ms : (int)left;
}

int loop_turn(struct loop *l, int max_wait_ms, struct err *e)
{
    struct epoll_event ev[BATCH];
    uint64_t newest;
    int64_t now;
    int n = epoll_wait(l->ep, ev, BATCH, wait_ms(l, max_wait_ms));

    if (n < 0 && errno != EINTR)
        return err_sys(e, errno, "epoll_wait");
    for (int i = 0; i < n; i++) {
        size_t fd = (uint32_t)ev[i].data.u64;
        const struct watch *w = &l->watches[fd];
        if (w->fn && w->generation == ev[i].data.u64 >> 32)
            w->fn(w->ctx, ev[i].events);
    }
    now = clock_mono_ns();
    newest = l->next_id; /* a timer that sets itself again for now waits for the next turn */
    while (l->n_timers && l->heap[0].when <= now && l->heap[0].id < newest) {
        struct timer t = l->heap[0];
        take_out(l, 0);
        t.fn(t.ctx);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* loop.c - epoll and a heap of timers
 *
 * Watches are kept in a table by descriptor. A callback may watch and unwatch what it
 * likes, itself included: each watch has a generation that travels with its events, and
 * an event of the same batch whose watch has gone or was replaced since is dropped.
 *
 * Timers are a binary heap; one timerfd stands for the earliest. epoll_wait's own
 * timeout would not do: it stops while the machine sleeps, and CLOCK_BOOTTIME does not.
 */
#include "base/loop.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"

#define BATCH 64
#define TIMER_DATA UINT64_MAX /* no descriptor and generation are that */

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
    int ep, timer_fd;
    int64_t armed_for;     /* what timer_fd is set to, 0 when to nothing */
    struct watch *watches; /* by descriptor */
    size_t n_watches;
    struct timer *heap; /* earliest first, then in order of creation */
    size_t n_timers, cap_timers;
    uint64_t next_id;
};

int loop_new(struct loop **gives, struct err *e)
{
    struct epoll_event ev = {.events = EPOLLIN, .data.u64 = TIMER_DATA};
    struct loop *l = xalloc(sizeof *l);

    l->next_id = 1;
    l->ep = epoll_create1(EPOLL_CLOEXEC);
    l->timer_fd = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    if (l->ep < 0 || l->timer_fd < 0 ||
        epoll_ctl(l->ep, EPOLL_CTL_ADD, l->timer_fd, &ev) < 0) {
        int saved = errno;
        loop_free(l);
        return err_sys(e, saved, "make an event loop");
    }
    *gives = l;
    return 0;
}

void loop_free(struct loop *l)
{
    if (!l)
        return;
    auto_fd(&l->ep);
    auto_fd(&l->timer_fd);
    free(l->watches);
    free(l->heap);
    free(l);
}

int loop_watch(struct loop *l, int fd, uint32_t events, loop_fn *fn, void *ctx,
               struct err *e)
{
    struct epoll_event ev = {.events = events};
    struct watch *w;

    must(fd >= 0 && fn);
    if ((size_t)fd >= l->n_watches) {
        size_t n = (size_t)fd * 2 + 16;
        l->watches = xrealloc(l->watches, n * sizeof(*l->watches));
        memset(l->watches + l->n_watches, 0, (n - l->n_watches) * sizeof(*l->watches));
        l->n_watches = n;
    }
    w = &l->watches[fd];
    ev.data.u64 = (uint64_t)(w->generation + 1) << 32 | (uint32_t)fd;
    if (epoll_ctl(l->ep, w->fn ? EPOLL_CTL_MOD : EPOLL_CTL_ADD, fd, &ev) < 0)
        return err_sys(e, errno, "watch descriptor %d", fd);
    w->generation++;
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

/* ---- timers
 * ---------------------------------------------------------------------------- */

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

/* set timer_fd to the earliest timer, when it is not yet */
static int arm(struct loop *l, struct err *e)
{
    struct itimerspec at = {0};
    int64_t when = l->n_timers ? l->heap[0].when : 0;

    if (l->n_timers && when < 1)
        when = 1; /* 0 would mean never */
    if (when == l->armed_for)
        return 0;
    at.it_value.tv_sec = (time_t)(when / 1000000000);
    at.it_value.tv_nsec = (long)(when % 1000000000);
    if (timerfd_settime(l->timer_fd, TFD_TIMER_ABSTIME, &at, NULL) < 0)
        return err_sys(e, errno, "set the timer of an event loop");
    l->armed_for = when;
    return 0;
}

static void deliver(struct loop *l, const struct epoll_event *ev)
{
    const struct watch *w;
    uint64_t times;

    if (ev->data.u64 == TIMER_DATA) {
        (void)!read(l->timer_fd, &times, sizeof times); /* or it stays readable */
        l->armed_for = 0;
        return;
    }
    w = &l->watches[(uint32_t)ev->data.u64];
    if (w->fn && w->generation == ev->data.u64 >> 32)
        w->fn(w->ctx, ev->events);
}

int loop_turn(struct loop *l, int max_wait_ms, struct err *e)
{
    struct epoll_event ev[BATCH];
    uint64_t newest;
    int64_t now;
    int n;

    if (arm(l, e) < 0)
        return -1;
    n = epoll_wait(l->ep, ev, BATCH, max_wait_ms);
    if (n < 0 && errno != EINTR)
        return err_sys(e, errno, "wait for events");
    for (int i = 0; i < n; i++)
        deliver(l, &ev[i]);

    now = clock_mono_ns();
    newest =
        l->next_id; /* a timer that sets itself again for now waits for the next turn */
    while (l->n_timers && l->heap[0].when <= now && l->heap[0].id < newest) {
        struct timer t = l->heap[0];
        take_out(l, 0);
        t.fn(t.ctx);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* loop.h - one epoll loop: descriptors and timers with callbacks, one thread */
#ifndef BASE_LOOP_H
#define BASE_LOOP_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"

struct loop;
typedef void loop_fn(void *ctx, uint32_t epoll_events);
typedef void loop_timer_fn(void *ctx);

int loop_new(struct loop **gives, struct err *e);
void loop_free(struct loop *l); /* NULL is fine; does not close watched descriptors */
/* loop_watch - call fn(ctx, events) while fd is ready; a second call for the same fd
 * replaces events, fn and ctx. The fd stays the caller's; call loop_unwatch before
 * closing it. Regular files cannot be watched (EPERM). A callback may watch, unwatch
 * and set timers freely. */
int loop_watch(struct loop *l, int fd, uint32_t epoll_events, loop_fn *fn, void *ctx,
               struct err *e);
void loop_unwatch(struct loop *l, int fd);
/* loop_at - call fn(ctx) once at clock_mono_ns() >= when, also when the machine slept
 * meanwhile; returns an id for loop_cancel, never 0. Equal times fire in the order set.
 */
uint64_t loop_at(struct loop *l, int64_t when_mono_ns, loop_timer_fn *fn, void *ctx);
void loop_cancel(struct loop *l, uint64_t timer_id); /* 0 and spent ids are fine */
/* loop_turn - wait for and deliver one batch of events; max_wait_ms -1 = no bound.
 * Returns early, with nothing delivered, when a signal handler ran. */
int loop_turn(struct loop *l, int max_wait_ms, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lend.h - what the supervisor does about the GPUs of its attempt */
#ifndef RUN_LEND_H
#define RUN_LEND_H

#include "box/box.h"
#include "run/attempt.h"

/* the locks on its GPUs that came with the spawn */
struct lend_locks {
    const int *fds;
    size_t n;
};

/* lend_gpus - put the attempt's GPUs into the spec: nodes, files, environment. What is
 * given lives in a; what a person should hear goes to the result's notices. The spec
 * keeps locks until the box has started. */
int lend_gpus(struct arena *a, const struct attempt *at, const struct lend_locks *locks,
              struct box_spec *spec, struct result *r, struct err *e);

/* lend_mono_us - now, as the kernel's log counts */
int64_t lend_mono_us(void);

/* lend_failed - did a GPU of the attempt fail since then? It is drained, and why gets a
 * sentence */
bool lend_failed(const struct attempt *at, int64_t since_mono_us, char *why,
                 size_t size);

/* lend_quarantine - nobody is to get these GPUs until somebody has looked */
void lend_quarantine(const struct attempt *at, const char *reason);

#endif

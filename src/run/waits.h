/* SPDX-License-Identifier: Apache-2.0 */
/* waits.h - what waits for what: written by engines for those who look, see waits.c */
#ifndef RUN_WAITS_H
#define RUN_WAITS_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "store/blob.h"

enum wait_for {
    WAIT_SLOT,   /* one of the run's jobs; amount: how many there are */
    WAIT_CPU,    /* amount: thousandths of a CPU */
    WAIT_MEMORY, /* amount: bytes */
    WAIT_GPU,    /* amount: GPUs */
    WAIT_RETRY,  /* the pause before another attempt; amount: its end, Unix ms */
    WAIT_KINDS
};
const char *wait_name(enum wait_for what); /* "slot", "cpu", "memory", "gpu", "retry" */

struct waiting_task {
    int64_t task; /* row */
    enum wait_for what;
    uint64_t amount;
    int64_t since_unix_ms; /* it could have started then */
};

struct waits {
    struct waiting_task *tasks;
    size_t n;
    int64_t more; /* tasks that may start as well, not listed */
};

/* waits_read_in - of the run whose directory is run_fd, while its engine lives. ERR_CORRUPT; no
 * file: nothing waits */
int waits_read_in(struct arena *a, int run_fd, struct waits *out, struct err *e);

/* a run that has not begun: another one has its pipeline's mutex */
struct waiting_run {
    struct str run, noun, key; /* name; "mutex" or "semaphore" */
    struct str holder;         /* name of the run that has it, "" unknown */
    int64_t since_unix_ms;
};
/* waits_runs_in - in the order of their names in locks/; what dead engines left is removed */
int waits_runs_in(struct arena *a, const struct store *s, struct waiting_run **out, size_t *n,
                  struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* beside.h - boxes beside the task's own: init containers and side cars of one attempt
 *
 * A side car is looked after by a process of its own, the tender: it starts the box, starts it
 * again when it ends, and stops it when it is told to. So the supervisor has one box to watch, and
 * whoever looks for the task's box among its children finds no other.
 */
#ifndef RUN_BESIDE_H
#define RUN_BESIDE_H

#include "run/attempt.h"

/* what they are started with, beside what attempt.json says of them */
struct beside {
    struct arena *a;
    const struct attempt *at;
    const char *dir;     /* absolute path of the directory in which the attempt's boxes write */
    int dir_fd;          /* the same */
    int log_fd;          /* where their output goes, and the task's */
    bool shared_network; /* they are in the network namespace of the caller */
    pid_t *tenders;      /* of the side cars that were started, in that order */
    size_t n_tenders;
};

/* beside_wants_network - has it side cars, and so needs a network that the task shares with them? */
bool beside_wants_network(const struct attempt *at);

/* beside_start_init - the box of one init container, in the scratch directory "box". gives: box */
int beside_start_init(const struct beside *b, const struct pod_init *c, struct box **gives,
                      struct err *e);

/* beside_start_car - returns when the side car's command has started, with the errors of
 * box_start() when it cannot be */
int beside_start_car(struct beside *b, const struct pod_init *c, struct err *e);

/* beside_scratch_name - of side car i, in the order of their start: where its box writes, below the
 * attempt's directory */
#define BESIDE_NAME 32
void beside_scratch_name(size_t i, char out[BESIDE_NAME]);

/* beside_stop - SIGTERM, and the kill after the grace of the attempt; the last one first, as
 * Kubernetes does. Returns when all are gone. */
void beside_stop(struct beside *b);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* spawner.h - the small process that forks supervisors
 *
 * Forked as the first act of a command that runs pipelines, before SQLite and YAML are touched:
 * a fork from the grown engine costs fifteen times more, and would hand every supervisor the
 * engine's locks and database descriptors.
 */
#ifndef RUN_SPAWNER_H
#define RUN_SPAWNER_H

#include <sys/types.h>

#include "base/err.h"

/* spawner_start - fork it; gives the engine's end of the socket. It ends when that is closed. */
int spawner_start(int *gives_fd, struct err *e);

#define SPAWN_FDS_MAX 64

/* spawner_run - have it fork a supervisor for the attempt in `dir` (absolute); waits for the
 * answer (a fraction of a millisecond). Gives a pidfd.
 *
 * fds  borrowed; the supervisor holds copies of these for its life (locks on GPUs) */
int spawner_run(int fd, const char *dir, const int *fds, size_t n_fds, int *gives_pidfd,
                pid_t *pid, struct err *e);

#endif

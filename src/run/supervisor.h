/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor.h - the process that owns one attempt: box, log, deadline, outputs
 *
 * Runs in a child of the spawner. It outlives the engine; the box's PID 1 dies with it.
 */
#ifndef RUN_SUPERVISOR_H
#define RUN_SUPERVISOR_H

#include <stddef.h>

/* supervisor_main - carry out the attempt whose directory is `dir` (absolute) and leave
 * result.json there. The caller's process image is the supervisor's own: it was just forked,
 * has default signal dispositions and no descriptor it minds. Never returns.
 *
 * locks  descriptors that are kept open for its life and closed by its death: locks on GPUs */
_Noreturn void supervisor_main(const char *dir, const int *locks, size_t n_locks);

#endif

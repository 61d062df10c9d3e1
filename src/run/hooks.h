/* SPDX-License-Identifier: Apache-2.0 */
/* hooks.h - programs of the user's that are told how a run ended */
#ifndef RUN_HOOKS_H
#define RUN_HOOKS_H

#include "run/run.h"

#define HOOK_TIMEOUT_MS 30000

/* hook_run - start `program` with the run's JSON on stdin (`show RUN --json`, with one member more,
 * "log": the last lines of the first failed task) and DUGOUT_RUN, DUGOUT_STATE in its env
 *
 * program  a path, no shell. Waits up to HOOK_TIMEOUT_MS, then kills it. Its output goes to stderr.
 * An error (absent, exit code, time-out) is for a notice: the run is over and stays as it is. */
int hook_run(struct run_env *env, const char *program, const char *run_id, struct err *e);

/* hook_start - the same, but a process of its own waits for it, and its output goes nowhere: for a
 * command that only happens to find a run whose engine died, and is about something else */
int hook_start(struct run_env *env, const char *program, const char *run_id, struct err *e);

#endif

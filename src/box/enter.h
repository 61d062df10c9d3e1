/* SPDX-License-Identifier: Apache-2.0 */
/* enter.h - one more command in a box that runs already */
#ifndef BOX_ENTER_H
#define BOX_ENTER_H

#include <sys/types.h>

#include "base/err.h"

struct box_entry {
    pid_t pid;         /* PID 1 of the box, as the caller sees it */
    const char *user;  /* as box_spec.user */
    const char *cwd;   /* absolute, in the box */
    char *const *argv; /* NULL-terminated */
    int stdin_fd, stdout_fd, stderr_fd; /* borrowed; the box's processes get copies */
    int signal_fd; /* a signalfd: what it delivers is passed on; -1: none */
    void (*started)(void *ctx); /* NULL, or called when the command has started */
    void *started_ctx;
};

/* box_enter - run a command in the namespaces, cgroups and root of a box, with its
 * environment, its filter and no more privilege than its own command has; to its end
 *
 * *status is the exit status, 128 + signal when killed by one. Errors as box_start(),
 * and box_start_status() says which status belongs to them. ERR_MISSING with .sys 0:
 * the box is gone. */
int box_enter(const struct box_entry *x, int *status, struct err *e);

/* box_pid_of - PID 1 of the box that the process `parent` started; ERR_MISSING */
int box_pid_of(pid_t parent, pid_t *pid, struct err *e);

#endif

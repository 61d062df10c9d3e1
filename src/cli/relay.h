/* SPDX-License-Identifier: Apache-2.0 */
/* relay.h - standard streams of a command in a box */
#ifndef CLI_RELAY_H
#define CLI_RELAY_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/err.h"

struct relay {
    int fds[3];  /* for the box: standard input, output, error; -1: none */
    int mine[3]; /* those of fds that are ends of our pipes, else -1 */
    int end_fd;  /* closed when the box has ended; -1: nothing is copied */
    pid_t pid;   /* who copies */
};

/* relay_open - what stands for 0, 1 and 2 of ours in a box; with_stdin false: fds[0] is
 * -1
 *
 * ERR_SYS. relay_close() after success and failure. */
int relay_open(struct relay *r, bool with_stdin, struct err *e);

/* relay_started - the box has its copies: ours would keep the end of its output from
 * being seen */
void relay_started(struct relay *r);

/* relay_close - the box has ended: copy what is left. ERR_SYS: output could not be
 * written */
int relay_close(struct relay *r, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - an attempt's log on disk: everything, or head and tail of it
 *
 * The first half of the ceiling goes to "log" as it comes; what follows goes round a ring in
 * "log.tail". runlog_close() joins both with one line that says how much is missing.
 */
#ifndef RUN_LOG_H
#define RUN_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct runlog {
    int dir_fd; /* borrowed */
    int head_fd, tail_fd;
    uint64_t half_bytes; /* of the ceiling */
    uint64_t total_bytes, lost_bytes; /* seen; not written for want of space */
};

int runlog_open(struct runlog *l, int dir_fd, uint64_t max_bytes, struct err *e);
void runlog_add(struct runlog *l, const void *bytes, size_t len); /* never fails: a full disk drops and counts */
void runlog_close(struct runlog *l);

/* runlog_last_lines - the last n lines of `log` below dir_fd, for hooks and error messages;
 * at most max_bytes. Appends nothing when there is no log. */
void runlog_last_lines(int dir_fd, unsigned n, size_t max_bytes, struct buf *out);

/* runlog_wants_network - do the last lines look as if there was no network to be had? */
bool runlog_wants_network(int dir_fd);

#endif

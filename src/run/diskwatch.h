/* SPDX-License-Identifier: Apache-2.0 */
/* diskwatch.h - does a box write more than it may?
 *
 * Neither overlayfs nor cgroups limit disk space, and quotas need a file system made
 * for them. So the supervisor counts now and then. It is a watch, not a wall: a box may
 * go past its limit by what it writes between two looks, and a file without a name is
 * not seen.
 */
#ifndef RUN_DISKWATCH_H
#define RUN_DISKWATCH_H

#include "box/box.h"

struct diskwatch {
    uint64_t limit_bytes; /* 0: no limit */
    uint64_t used_bytes;  /* at the last look */
    int64_t next_mono_ns; /* of the next look */
};

void diskwatch_init(struct diskwatch *w, uint64_t limit_bytes);

/* diskwatch_wait_ms - for poll(2): until the next look; -1 without a limit */
int diskwatch_wait_ms(const struct diskwatch *w);

/* diskwatch_over - look, when it is time to. true: the box is over its limit, or hides
 * what it writes too deep to be counted
 *
 * dir_fd, names, n  as for box_disk_usage
 */
bool diskwatch_over(struct diskwatch *w, const struct box *b, int dir_fd,
                    const char *const *names, size_t n);

/* diskwatch_memory_over - the same for the memory that the box holds, where no cgroup
 * limits it */
bool diskwatch_memory_over(struct diskwatch *w, const struct box *b);

/* diskwatch_tree_over - the same for one directory, as for box_tree_usage */
bool diskwatch_tree_over(struct diskwatch *w, const struct box *b, int dir_fd,
                         const char *name);

#endif

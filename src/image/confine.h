/* SPDX-License-Identifier: Apache-2.0 */
/* confine.h - shut a worker in before it reads foreign bytes */
#ifndef IMAGE_CONFINE_H
#define IMAGE_CONFINE_H

#include <stddef.h>

#include "base/err.h"

/* What a worker is left with. */
struct confine {
    int home_fd;   /* borrowed: files are made and removed below this directory only */
    int *read_fds; /* directories that are read below; replaced, the old ones are closed */
    size_t n_read_fds;
    int *new_root; /* not NULL: home_fd becomes "/" where the caller is root and may do that; gives
                      a descriptor of it, every other directory that we hold is closed */
};

/* confine - from here on this process starts no process and no program, has no network, mounts
 * nothing, gains no privilege, writes no file larger than a layer may be, and opens files only
 * below the directories named
 *
 * What a kernel or an outer container does not know or refuses is left out, as this is the
 * second lock on the door. ERR_SYS when it was left half-way.
 */
int confine(const struct confine *c, struct err *e);

#endif

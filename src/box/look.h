/* SPDX-License-Identifier: Apache-2.0 */
/* look.h - what a running box uses now, seen from outside by anybody who may look */
#ifndef BOX_LOOK_H
#define BOX_LOOK_H

#include <stdint.h>
#include <sys/types.h>

struct box;

/* What its cgroup had counted before the box came: cgroups are used again. */
struct box_base {
    uint64_t memory_bytes, cpu_usec;
};
/* box_base_of - of a box that we started; zeros where there is no cgroup */
void box_base_of(const struct box *b, struct box_base *out);

struct box_look {
    int64_t memory_bytes;      /* less file cache that the kernel would give up; -1: unknown */
    int64_t peak_memory_bytes; /* since its start; -1: unknown */
    uint64_t memory_limit_bytes; /* as the kernel enforces it; 0: none */
    int64_t cpu_usec;            /* user and system time since its start; -1: unknown */
    int64_t pids;                /* processes and threads, without PID 1; -1: unknown */
    uint64_t pids_max;           /* 0: none */
};

/* box_look - look at the box whose PID 1 is `pid`, as the caller sees it
 *
 * base  of this box; NULL: not known, and neither are then numbers that need it
 *
 * Without a cgroup memory is the sum of what its processes have resident, so shared pages
 * count more than once. Never fails: what cannot be read is unknown. */
void box_look(pid_t pid, const struct box_base *base, struct box_look *out);

#endif

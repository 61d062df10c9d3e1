/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.h - a pool of cgroups, one for each box that runs at the same time */
#ifndef BOX_CGROUP_H
#define BOX_CGROUP_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/err.h"
#include "box/box.h"

enum cg { CG_MEMORY, CG_PIDS, CG_CPU, CG_DEVICES, CG_N };

#define CG_POOL "dugout" /* the directory of the pool, and what names in it begin with */
#define CG_SLOT "slot-"
#define CG_TREES_MAX 16
#define CG_PATH 512

/* one mounted hierarchy; a v2 tree has no controllers here, they are read from its files */
struct cg_tree {
    bool v2;
    unsigned controllers;  /* v1: bit per enum cg */
    char mount[CG_PATH];   /* where it is mounted */
    char own[CG_PATH];     /* our cgroup, relative to mount: "" or "/a/b" */
};

struct cg_map {
    struct cg_tree trees[CG_TREES_MAX];
    size_t n;
};

/* cg_parse - which hierarchies there are, from the texts of /proc/self/mountinfo and
 * /proc/self/cgroup; a tree whose names do not fit is left out */
void cg_parse(const char *mountinfo, const char *self_cgroup, struct cg_map *out);

/* cg_kind - "v1", "v2", "hybrid" (both) or "none" */
const char *cg_kind(const struct cg_map *m);

struct cg_limits {
    uint64_t memory_bytes; /* 0: none; so for all */
    uint32_t cpu_millis;
    uint32_t cpu_share_millis; /* its part of the CPU when there is not enough; none: 1,000 */
    uint32_t pids_max;
    bool devices; /* only the harmless devices may be opened, and those granted */
    const struct box_device *granted;
    size_t n_granted;
};

struct cg_slot {
    int dir[CG_N];      /* the slot's directory in the tree of each controller, or -1 */
    bool enforced[CG_N];
    bool shares;        /* its part of the CPU is not the usual one */
    int v2_dir;         /* the slot in the v2 tree, owned; -1: not used */
    int owned[CG_N];    /* v1 directories to close */
    int join[CG_N];     /* cgroup.procs of v1 trees, open for writing */
    int n_owned, n_join;
    int peak_fd;        /* memory.peak, when it could be reset for us */
    uint64_t left_bytes; /* the kernel's, of earlier boxes, that a small limit was raised by */
    uint64_t limit_bytes, usage_at_start, peak_at_start, oom_at_start, cpu_at_start;
    uint64_t pids_hit_at_start;
    const char *kind; /* of what is used: "v1", "v2", "hybrid", "none" */
};

/* cg_take - take a free slot of the pool, set its limits, note its counters
 *
 * What cannot be had is left out: a dir of -1, enforced false. Never fails.
 */
void cg_take(struct cg_slot *s, const struct cg_limits *want);

/* cg_can - which controllers a slot would have here; changes nothing but may make directories */
void cg_can(bool can[CG_N], const char **kind);

struct cg_usage {
    bool oom;
    bool pids_hit; /* a process or thread was refused at the limit */
    uint64_t peak_memory_bytes, cpu_usec; /* 0: unknown */
};

/* cg_read - what the box used; call it when its processes are gone */
void cg_read(const struct cg_slot *s, struct cg_usage *out);

/* cg_read_u64, cg_read_key - a number from a file of a cgroup, alone or behind "KEY " at the start
 * of a line; 0 when there is none */
uint64_t cg_read_u64(int dir, const char *name);
uint64_t cg_read_key(int dir, const char *name, const char *key);

/* cg_release - give the slot back; accepts a zeroed-and-initialised or released one */
void cg_init(struct cg_slot *s);
void cg_release(struct cg_slot *s);

#define CG_GRANTED_MAX 96 /* eight cards with everything that belongs to them */

/* cg_v2_devices - let processes of a v2 cgroup open only the harmless devices and those granted,
 * whatever the rule was before; -1 and errno */
int cg_v2_devices(int cgroup_fd, const struct box_device *granted, size_t n);
/* cg_v1_devices - the same by the files of a v1 cgroup */
int cg_v1_devices(int cgroup_fd, const struct box_device *granted, size_t n);

struct cg_device {
    int major, minor; /* minor -1: any. Character devices, all of them */
};
extern const struct cg_device cg_devices[];
extern const unsigned cg_n_devices;

#endif

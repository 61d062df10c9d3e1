/* SPDX-License-Identifier: Apache-2.0 */
/* lease.h - who has which GPU: kernel locks, so that a crash frees what it held
 *
 * One directory for the whole machine, mode 01777: <root>/run/lock/dugout, or
 * <root>/tmp/dugout.lock where there is no /run/lock.
 *
 *     gpu.<id>     flock'ed while somebody has the GPU, exclusively or shared with
 * others that share. Its text: who, for people; on the next line PID 1 of the box,
 * which has to be gone, too, before somebody else gets it ticket.<n>   flock'ed by one
 * who waits; its text: how many, of which. <n>: the order queue        flock'ed around
 * every decision; its text: the last <n> drain.<id>   see drain.h
 */
#ifndef GPU_LEASE_H
#define GPU_LEASE_H

#include <sys/types.h>

#include "gpu/gpu.h"

#define LEASE_MAX 64 /* GPUs of one lease */

/* descriptors that hold the locks; they may be sent to another process, which then
 * holds them */
struct lease {
    int fds[LEASE_MAX];
    struct gpu *gpus[LEASE_MAX]; /* borrowed from the set */
    size_t n;
};

/* lease_box - the box that has these GPUs, by its PID 1 as we see it
 *
 * Nobody else gets them before that process is gone, even when the locks are free: the
 * box of a killed supervisor takes a moment to die, and one that hangs in a driver may
 * never. */
void lease_box(const int *fds, size_t n, pid_t pid);

/* a place in the queue; zeroed and then ticket_init'ed = none */
struct ticket {
    int fd, dir_fd;
    char name[32];
};

struct lease_want {
    struct gpu *const *candidates; /* those that are not gpu_ready() are passed over */
    size_t n;
    unsigned count;
    bool shared;     /* others that share may have the same */
    const char *who; /* one line, for people */
};

void lease_init(struct lease *l);
/* lease_drop - close the descriptors: the GPUs are free unless another process has
 * them, too */
void lease_drop(struct lease *l);

void ticket_init(struct ticket *t);
void ticket_drop(struct ticket *t);

/* lease_take - try to get `count` of the candidates, in fair order
 *
 * Returns 1 with the lease, 0 when it has to wait: *t then holds the place in the
 * queue, ask again with the same ticket. Who does not ask for 5 seconds keeps his place
 * but is passed over. Cards on one NUMA node are preferred. ERR_MISSING when the
 * candidates could never do, ERR_SYS. */
int lease_take(const struct gpu_set *s, const struct lease_want *w, struct ticket *t,
               struct lease *out, struct err *e);

/* lease_holder - "" when nobody has it, else who; a shared one ends in " (shared)" */
void lease_holder(const struct gpu_set *s, const struct gpu *g,
                  char out[GPU_TEXT_BYTES]);

/* lease_waiting - how many wait in the queue of this machine */
size_t lease_waiting(const struct gpu_set *s);

/* lease_busy - ERR_BUSY that names who has the GPUs that were waited for; returns -1 */
int lease_busy(const struct gpu_set *s, const struct lease_want *w, struct err *e);

/* lease_dir - open the directory, making it when it is missing; -1 and ERR_SYS */
int lease_dir(const struct gpu_set *s, struct err *e);
/* lease_file_name - PREFIX.<id> with what a file name cannot have replaced */
void lease_file_name(const char *prefix, const char *id, char out[GPU_ID_BYTES + 16]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.h - a box as its parent sees it */
#ifndef BOX_SPAWN_H
#define BOX_SPAWN_H

#include "box/inside.h"

struct box {
    pid_t pid;
    int pidfd, sock, root_fd, tty_fd, scratch_fd;
    int userns_fd; /* unless IDS_HOST */
    int mounts_fd; /* the mount namespace, see seal.c; -1: not kept */
    struct cg_slot cgroup;
    struct ids ids;
    bool flat, seccomp, host_network;
    bool asked_memory, asked_cpu, asked_pids;
    bool reaped;
};

/* box_spawn - all of box_start() but allocation; on failure the caller takes the box down */
int box_spawn(struct box *b, const struct box_spec *spec, struct err *e);

/* seal_hold - for box_seal(): called while the child waits to be told to go on */
void seal_hold(struct box *b);

/* box_take_down - kill and reap, close what belongs to the processes, empty scratch; the cgroup
 * stays. For another attempt or for the end. */
void box_take_down(struct box *b);

/* box_left_little - has the ended box written so little that its room is not missed? */
bool box_left_little(const struct box *b);

/* box_remove_tree_as - as box_remove_tree, in the user namespace of userns_fd unless it is -1 */
int box_remove_tree_as(int userns_fd, bool one_id, int dir_fd, const char *name, struct err *e);

/* box_hear - one message. 1: got it; 0: the other side is gone; -1 and errno */
int box_hear(int sock, struct box_msg *m, int *fd, int flags);

/* box_not_started - PID 1's NOT_STARTED as an error; of the plan: argv, user, ids, cwd */
int box_not_started(const struct plan *p, const struct box_msg *m, struct err *e);

/* box_sealed_init - the program of PID 1 in a sealed memory file, or in an unnamed one in
 * scratch where those may not be executed; gives the descriptor */
int box_sealed_init(const char *scratch, struct err *e);

#endif

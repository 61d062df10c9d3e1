/* SPDX-License-Identifier: Apache-2.0 */
/* seal.c - what a box wrote stays as it was when the box ended
 *
 * A process dies with its box, a descriptor need not: over a socket in a shared volume,
 * or over an abstract one of the host's network, it is handed to a process that lives
 * on. One without rights (O_PATH) is enough to open the file anew through
 * /proc/self/fd, whatever its mode says, for root at least; no lock and no lease on the
 * file tells of it. And the file is a blob by then.
 *
 * But a descriptor keeps the mount through which it was opened, and nothing can be
 * opened for writing through a read-only one. So the box's mount namespace is held
 * until the end, and all its mounts are made read-only at once. The kernel refuses
 * while something is open for writing: then whoever asked has to take a copy.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/spawn.h"

void seal_hold(struct box *b)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/ns/mnt", (int)b->pid);
    b->mounts_fd = open(path, O_RDONLY | O_CLOEXEC);
}

/* in a helper, which goes away */
static int make_read_only(void *arg, struct err *e)
{
    const struct sys_mount_attr a = {.attr_set = ATTR_RDONLY};
    const int *ns = arg;
    AUTO_FD int root = -1;

    if (setns(*ns, CLONE_NEWNS) < 0)
        return err_sys(e, errno, "enter the mounts of the box");
    root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root < 0 || sys_mount_setattr(root, TREE_RECURSIVE, &a) < 0)
        return err_sys(e, errno, "make the mounts of the box read-only");
    return 0;
}

static int in_a_fork(int *ns, struct err *e)
{
    int status = 0;
    pid_t pid = fork();

    if (pid == 0)
        _exit(make_read_only(ns, e) < 0 ? e->sys & 0xff : 0);
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (pid < 0 || !WIFEXITED(status))
        return err_sys(e, pid < 0 ? errno : EINTR,
                       "make the mounts of the box read-only");
    return WEXITSTATUS(status)
               ? err_sys(e, WEXITSTATUS(status), "make the mounts of the box read-only")
               : 0;
}

int box_seal(struct box *b, struct err *e)
{
    if (b->mounts_fd < 0)
        return err_set(e, ERR_SYS, "the mounts of the box were not kept");
    return b->userns_fd < 0 ? in_a_fork(&b->mounts_fd, e)
                            : ids_run_mapped(b->userns_fd, b->ids.kind == IDS_ONE,
                                             make_read_only, &b->mounts_fd, e);
}

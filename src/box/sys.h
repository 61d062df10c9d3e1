/* SPDX-License-Identifier: Apache-2.0 */
/* sys.h - system calls that the C libraries do not wrap, or wrap under clashing names
 *
 * glibc's <sys/mount.h> and <linux/mount.h> define the same enumerations twice, and musl has
 * none of them, so what we use is written down here under names of our own. All return -1
 * and set errno.
 */
#ifndef BOX_SYS_H
#define BOX_SYS_H

#include <stdint.h>
#include <sys/syscall.h>
#include <sys/types.h>
#include <unistd.h>

#ifndef SYS_clone3
#define SYS_clone3 435
#endif
#ifndef SYS_mount_setattr
#define SYS_mount_setattr 442
#endif

enum { FSC_FLAG = 0, FSC_STRING = 1, FSC_FD = 5, FSC_CREATE = 6 }; /* FSCONFIG_ */
enum {                                                             /* MOUNT_ATTR_ */
    ATTR_RDONLY = 0x1,
    ATTR_NOSUID = 0x2,
    ATTR_NODEV = 0x4,
    ATTR_NOEXEC = 0x8,
    ATTR_STRICTATIME = 0x20,
};
enum {
    TREE_CLONE = 1,            /* OPEN_TREE_CLONE */
    TREE_CLOEXEC = 02000000,   /* OPEN_TREE_CLOEXEC */
    TREE_RECURSIVE = 0x8000,   /* AT_RECURSIVE */
    TREE_EMPTY_PATH = 0x1000,  /* AT_EMPTY_PATH */
    TREE_NOFOLLOW = 0x100,     /* AT_SYMLINK_NOFOLLOW */
    MOVE_F_EMPTY_PATH = 0x4,   /* MOVE_MOUNT_F_EMPTY_PATH */
    MOVE_T_EMPTY_PATH = 0x40,  /* MOVE_MOUNT_T_EMPTY_PATH */
};

#define CLONE_INTO_CGROUP_FLAG 0x200000000ULL /* CLONE_INTO_CGROUP, 5.7 */

struct sys_clone_args { /* struct clone_args up to .cgroup, 88 bytes */
    uint64_t flags, pidfd, child_tid, parent_tid, exit_signal, stack, stack_size, tls, set_tid,
        set_tid_size, cgroup;
};

struct sys_mount_attr {
    uint64_t attr_set, attr_clr, propagation, userns_fd;
};

static inline pid_t sys_clone3(struct sys_clone_args *a, size_t size)
{
    return (pid_t)syscall(SYS_clone3, a, size);
}
static inline int sys_fsopen(const char *type)
{
    return (int)syscall(SYS_fsopen, type, 1 /* FSOPEN_CLOEXEC */);
}
static inline int sys_fsconfig(int fs, unsigned cmd, const char *key, const void *value, int aux)
{
    return (int)syscall(SYS_fsconfig, fs, cmd, key, value, aux);
}
static inline int sys_fsmount(int fs, unsigned attrs)
{
    return (int)syscall(SYS_fsmount, fs, 1 /* FSMOUNT_CLOEXEC */, attrs);
}
static inline int sys_open_tree(int dir, const char *path, unsigned flags)
{
    return (int)syscall(SYS_open_tree, dir, path, flags | TREE_CLOEXEC);
}
static inline int sys_move_mount(int from, int to)
{
    return (int)syscall(SYS_move_mount, from, "", to, "", MOVE_F_EMPTY_PATH | MOVE_T_EMPTY_PATH);
}
static inline int sys_mount_setattr(int fd, unsigned flags, const struct sys_mount_attr *a)
{
    return (int)syscall(SYS_mount_setattr, fd, "", flags | TREE_EMPTY_PATH, a, sizeof *a);
}
static inline int sys_pidfd_open(pid_t pid)
{
    return (int)syscall(SYS_pidfd_open, pid, 0);
}
static inline int sys_pidfd_send_signal(int pidfd, int sig)
{
    return (int)syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0);
}
static inline int sys_close_range(unsigned first, unsigned last, unsigned flags)
{
    return (int)syscall(SYS_close_range, first, last, flags);
}
static inline int sys_pivot_root(const char *new_root, const char *put_old)
{
    return (int)syscall(SYS_pivot_root, new_root, put_old);
}
static inline int sys_capset(const void *header, const void *data)
{
    return (int)syscall(SYS_capset, header, data);
}
static inline int sys_capget(void *header, void *data)
{
    return (int)syscall(SYS_capget, header, data);
}

#endif

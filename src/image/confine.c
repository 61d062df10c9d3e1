/* SPDX-License-Identifier: Apache-2.0 */
/* confine.c - shut a worker in before it reads foreign bytes
 *
 * The code that unpacks is written so that a hostile archive gets nowhere, and all that it works on
 * are descriptors. This is for the day on which it, libarchive or a decompressor has a hole:
 *
 *     own mount namespace with a directory of tmp/ as its root; directories outside are closed
 *     Landlock: files are opened, made and removed below the directories named, whatever the
 *         descriptor or path; for ordinary users this is what the namespace is for root
 *     no-new-privileges, no capability but those that unpacking takes, resource limits
 *     a filter: the file calls that are listed, EPERM for every other one
 *
 * A descriptor of a directory leads out of a new root by "..", so the worker opens its own anew
 * below that root, and lower layers are replaced by mounts of their own, whose top has no "..".
 * The filter is one comparison a call, the frequent ones first. A call that is not listed fails
 * and does not kill: an odd C library must not stop an import.
 */
#include "image/confine.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <stddef.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#define NATIVE_ARCH 0
#endif

#define WORKER_MEMORY_BYTES (2 * GIB) /* two million paths, or a window of zstd, and room */

/* as used by us and by either C library for what we use; x32 numbers are none of these */
static const uint16_t allowed[] = {
    SYS_openat, SYS_close, SYS_write, SYS_pwrite64, SYS_read, SYS_pread64, SYS_fchown,
    SYS_fchmod, SYS_utimensat, SYS_fstat, SYS_newfstatat, SYS_mkdirat, SYS_symlinkat,
    SYS_linkat, SYS_unlinkat, 437 /* openat2 */, SYS_fsetxattr, SYS_fremovexattr,
    SYS_flistxattr, SYS_fgetxattr, SYS_mknodat, SYS_fchownat, SYS_fchmodat,
    452 /* fchmodat2 */, SYS_readlinkat, SYS_getdents64, SYS_lseek, SYS_ftruncate,
    SYS_copy_file_range, SYS_mmap, SYS_munmap, SYS_mremap, SYS_brk, SYS_madvise,
    SYS_mprotect, SYS_futex, SYS_exit_group, SYS_exit, SYS_wait4, SYS_renameat,
    SYS_renameat2, SYS_fsync, SYS_fdatasync, SYS_sync_file_range, SYS_fallocate, SYS_flock,
    SYS_fcntl, SYS_umask, SYS_statx, SYS_fstatfs, SYS_faccessat, 439 /* faccessat2 */,
    SYS_getpid, SYS_gettid, SYS_geteuid, SYS_getuid, SYS_getegid, SYS_getgid,
    SYS_clock_gettime, SYS_gettimeofday, SYS_getrandom, SYS_rt_sigaction,
    SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_readv, SYS_writev, SYS_fadvise64, SYS_dup,
    SYS_sched_yield, SYS_tgkill,
#ifdef SYS_stat
    SYS_stat, SYS_lstat, SYS_access, SYS_readlink,
#endif
};

static int filter(struct err *e)
{
    struct sock_filter code[2 * N_ELEMS(allowed) + 8];
    struct sock_fprog prog = {.filter = code};
    unsigned short n = 0;

    if (!NATIVE_ARCH)
        return 0;
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, arch));
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS,
                                             offsetof(struct seccomp_data, nr));
    for (size_t i = 0; i < N_ELEMS(allowed); i++) {
        code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, allowed[i], 0, 1);
        code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    }
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM);
    prog.len = n;
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) < 0 &&
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0 && errno != EINVAL)
        return err_sys(e, errno, "install the filter of a worker");
    return 0; /* EINVAL: a kernel without filters */
}

/* Give up what unpacking does not take. SYS_ADMIN stays, as overlayfs's mark of an opaque
 * directory is a trusted.* attribute; the filter keeps the rest of it out of reach. */
static int drop_capabilities(struct err *e)
{
    static const uint8_t keep[] = {CAP_CHOWN,  CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH,
                                   CAP_FOWNER, CAP_FSETID,       CAP_MKNOD,
                                   CAP_SETFCAP, CAP_SYS_ADMIN};
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct have[2] = {{0}}, want[2] = {{0}};

    if (syscall(SYS_capget, &h, have) < 0)
        return err_sys(e, errno, "look at the capabilities of a worker");
    for (size_t i = 0; i < N_ELEMS(keep); i++)
        want[keep[i] / 32].permitted |= have[keep[i] / 32].permitted & 1U << keep[i] % 32;
    for (int i = 0; i < 2; i++)
        want[i].effective = want[i].permitted;
    if (syscall(SYS_capset, &h, want) < 0)
        return err_sys(e, errno, "give up the capabilities of a worker");
    return 0;
}

/* ---- Landlock ---------------------------------------------------------------------------- */

/* <linux/landlock.h> of older headers lacks some; the numbers are the kernel's for ever */
#define LL_READ (1ULL << 2 | 1ULL << 3) /* READ_FILE, READ_DIR */
#define LL_ALL_1 0x1fffULL              /* all of ABI 1 */
#define LL_REFER (1ULL << 13)           /* ABI 2: links and renames between directories */
#define LL_TRUNCATE (1ULL << 14)        /* ABI 3 */
#define LL_EXECUTE 1ULL
#define LL_CREATE_RULESET 444
#define LL_ADD_RULE 445
#define LL_RESTRICT_SELF 446

static void allow_below(int rules, int dir_fd, uint64_t access)
{
    struct __attribute__((packed)) {
        uint64_t access;
        int32_t fd;
    } rule = {access, dir_fd};

    (void)syscall(LL_ADD_RULE, rules, 1 /* PATH_BENEATH */, &rule, 0);
}

/* Before ABI 2 a link between two directories is always refused, which layers need. */
static void landlock(const struct confine *c, int root)
{
    long abi = syscall(LL_CREATE_RULESET, NULL, 0, 1 /* VERSION */);
    uint64_t all = LL_ALL_1 | LL_REFER | (abi >= 3 ? LL_TRUNCATE : 0);
    int rules;

    if (abi < 2)
        return;
    rules = (int)syscall(LL_CREATE_RULESET, &all, sizeof all, 0);
    if (rules < 0)
        return;
    allow_below(rules, root >= 0 ? root : c->home_fd, all & ~LL_EXECUTE);
    for (size_t i = 0; i < c->n_read_fds; i++)
        allow_below(rules, c->read_fds[i], LL_READ);
    (void)syscall(LL_RESTRICT_SELF, rules, 0);
    (void)close(rules);
}

/* ---- a root of its own ------------------------------------------------------------------- */

#define CALL_OPEN_TREE 428
#define CALL_MOVE_MOUNT 429
#define CLONE_FLAGS (1 /* OPEN_TREE_CLONE */ | 02000000 /* CLOEXEC */ | 0x1000 /* EMPTY_PATH */)

/* the directory as a mount of its own */
static int own_mount(int fd)
{
    return (int)syscall(CALL_OPEN_TREE, fd, "", CLONE_FLAGS);
}

static bool is_read_fd(const struct confine *c, int fd)
{
    for (size_t i = 0; i < c->n_read_fds; i++)
        if (c->read_fds[i] == fd)
            return true;
    return false;
}

static int close_directories(const struct confine *c, int root, struct err *e)
{
    DIR *d = opendir("/proc/self/fd");
    struct dirent *entry;
    struct stat st;

    if (!d)
        return err_sys(e, errno, "look at the descriptors of a worker");
    while ((entry = readdir(d))) {
        int fd = (int)strtol(entry->d_name, NULL, 10);
        if (entry->d_name[0] != '.' && fd != dirfd(d) && fd != root && fd > 2 &&
            !is_read_fd(c, fd) &&
            fstat(fd, &st) == 0 && S_ISDIR(st.st_mode))
            (void)close(fd);
    }
    (void)closedir(d);
    return 0;
}

static int half_way(struct err *e)
{
    return err_sys(e, errno, "give a worker a root of its own");
}

static int own_read_fds(const struct confine *c, struct err *e)
{
    for (size_t i = 0; i < c->n_read_fds; i++) {
        int fd = own_mount(c->read_fds[i]);
        if (fd < 0)
            return half_way(e);
        (void)close(c->read_fds[i]);
        c->read_fds[i] = fd;
    }
    return 0;
}

/* 1: not here. The mounts are made before the namespace is left, as descriptors keep to the one
 * that they were opened in; then the one of our directory goes over "/". */
static int own_root(const struct confine *c, struct err *e)
{
    int root = geteuid() == 0 ? own_mount(c->home_fd) : -1, fd;

    if (root < 0)
        return 1;
    if (own_read_fds(c, e) < 0)
        return -1;
    if (unshare(CLONE_NEWNS | CLONE_NEWNET | CLONE_NEWIPC) < 0 ||
        mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        syscall(CALL_MOVE_MOUNT, root, "", AT_FDCWD, "/", 0x4 /* from is empty */) < 0)
        return 1; /* an outer container has its own opinion of mounts */
    if (close_directories(c, root, e) < 0 || fchdir(root) < 0)
        return half_way(e);
    if (syscall(SYS_pivot_root, ".", ".") == 0) {
        if (umount2(".", MNT_DETACH) < 0)
            return half_way(e);
    } else if (chroot(".") < 0) { /* an initramfs cannot be pivoted away from; it is covered */
        return half_way(e);
    }
    (void)close(root);
    if (chdir("/") < 0 || (fd = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        return half_way(e);
    *c->new_root = fd;
    return 0;
}

static void set_rlimits(void)
{
    struct rlimit none = {0, 0}, file = {LIMIT_LAYER_BYTES, LIMIT_LAYER_BYTES};
    struct rlimit memory = {WORKER_MEMORY_BYTES, WORKER_MEMORY_BYTES};

    (void)setrlimit(RLIMIT_CORE, &none);
    (void)setrlimit(RLIMIT_FSIZE, &file);
    (void)setrlimit(RLIMIT_AS, &memory);
}

int confine(const struct confine *c, struct err *e)
{
    int rc = 1;

    if (c->new_root) {
        *c->new_root = -1;
        rc = own_root(c, e);
    }
    if (rc < 0)
        return -1;
    set_rlimits();
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return err_sys(e, errno, "confine a worker");
    landlock(c, rc == 0 ? *c->new_root : -1);
    return drop_capabilities(e) < 0 ? -1 : filter(e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp.c - which system calls a box may make
 *
 *     arch? --other--> EPERM        32-bit programs and int 0x80 do not run in a box
 *     nr > newest? --> ENOSYS       C libraries probe for new calls and have an answer to that;
 *       |                           x32 numbers have bit 30 set and end here as well
 *     binary tree over ranges of numbers with the same answer
 *       |            |          |
 *     ALLOW        EPERM     a look at one argument
 *
 * The table lists what is refused or looked at; every other call up to the newest one that
 * was reviewed is allowed. Refused is what reaches beyond the box or into rarely used, often
 * broken parts of the kernel: mounts and namespaces, modules, keys, BPF, io_uring, other
 * processes' memory placement. Most of it would fail without capabilities anyway; the filter
 * also covers a process that gets some in a user namespace, which it cannot make.
 *
 * Memory policy calls are allowed, other than in docker: they act on the caller alone, and
 * numactl, PyTorch and vLLM want them. clone3 hides its flags behind a pointer that BPF cannot
 * follow, so it is "not there", and callers fall back to clone.
 *
 * An integer argument is compared by its low 32 bits, as the kernel does: a filter that
 * compares 64 is passed by by setting a high bit (CVE-2019-10063).
 */
#include "box/seccomp.h"

#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"

#if defined(__x86_64__)
#define NATIVE_ARCH AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define NATIVE_ARCH AUDIT_ARCH_AARCH64
#else
#define NATIVE_ARCH 0
#endif

/* 424 and up have one number on all architectures; older headers lack some names. */
#define CALL_OPEN_TREE 428
#define CALL_MOVE_MOUNT 429
#define CALL_FSOPEN 430
#define CALL_FSCONFIG 431
#define CALL_FSMOUNT 432
#define CALL_FSPICK 433
#define CALL_CLONE3 435
#define CALL_PIDFD_GETFD 438
#define CALL_PROCESS_MADVISE 440
#define CALL_MOUNT_SETATTR 442
#define CALL_QUOTACTL_FD 443
#define CALL_OPEN_TREE_ATTR 467

enum answer {
    ALLOW,
    REFUSE, /* EPERM */
    ABSENT, /* ENOSYS */
    LOOK_CLONE,
    LOOK_PERSONALITY,
    LOOK_SOCKET,
    LOOK_IOCTL,
    LOOK_MBIND,
};

static const struct {
    uint16_t nr;
    uint8_t answer;
} table[] = {
    /* mounts, roots and namespaces */
    {SYS_mount, REFUSE},
    {SYS_umount2, REFUSE},
    {SYS_pivot_root, REFUSE},
    {SYS_chroot, REFUSE},
    {SYS_setns, REFUSE},
    {SYS_unshare, REFUSE},
    {SYS_sethostname, REFUSE},
    {SYS_setdomainname, REFUSE},
    {CALL_OPEN_TREE, REFUSE},
    {CALL_OPEN_TREE_ATTR, REFUSE},
    {CALL_MOVE_MOUNT, REFUSE},
    {CALL_FSOPEN, REFUSE},
    {CALL_FSCONFIG, REFUSE},
    {CALL_FSMOUNT, REFUSE},
    {CALL_FSPICK, REFUSE},
    {CALL_MOUNT_SETATTR, REFUSE},
    {SYS_clone, LOOK_CLONE},
    {CALL_CLONE3, ABSENT},
    /* the machine: modules, kexec, clock, swap, quota, ports, logs */
    {SYS_init_module, REFUSE},
    {SYS_finit_module, REFUSE},
    {SYS_delete_module, REFUSE},
    {SYS_kexec_load, REFUSE},
    {SYS_kexec_file_load, REFUSE},
    {SYS_reboot, REFUSE},
    {SYS_settimeofday, REFUSE},
    {SYS_clock_settime, REFUSE},
    {SYS_swapon, REFUSE},
    {SYS_swapoff, REFUSE},
    {SYS_quotactl, REFUSE},
    {CALL_QUOTACTL_FD, REFUSE},
    {SYS_acct, REFUSE},
    {SYS_syslog, REFUSE},
    {SYS_vhangup, REFUSE},
    {SYS_nfsservctl, REFUSE},
    {SYS_lookup_dcookie, REFUSE},
#ifdef SYS_iopl
    {SYS_iopl, REFUSE},
    {SYS_ioperm, REFUSE},
    {SYS_create_module, REFUSE},
    {SYS_get_kernel_syms, REFUSE},
    {SYS_query_module, REFUSE},
    {SYS_sysfs, REFUSE},
    {SYS_ustat, REFUSE},
    {SYS_uselib, REFUSE},
#endif
    /* large or delicate kernel parts that a step does not need */
    {SYS_bpf, REFUSE},
    {SYS_perf_event_open, REFUSE},
    {SYS_userfaultfd, REFUSE},
    {SYS_fanotify_init, REFUSE},
    {SYS_io_uring_setup, REFUSE},
    {SYS_io_uring_enter, REFUSE},
    {SYS_io_uring_register, REFUSE},
    {SYS_add_key, REFUSE},
    {SYS_request_key, REFUSE},
    {SYS_keyctl, REFUSE},
    {SYS_open_by_handle_at, REFUSE},
    /* other processes */
    {SYS_kcmp, REFUSE},
    {SYS_move_pages, REFUSE},
    {SYS_migrate_pages, REFUSE},
    {CALL_PIDFD_GETFD, REFUSE},
    {CALL_PROCESS_MADVISE, REFUSE},
    /* by argument */
    {SYS_personality, LOOK_PERSONALITY},
    {SYS_socket, LOOK_SOCKET},
    {SYS_ioctl, LOOK_IOCTL},
    {SYS_mbind, LOOK_MBIND},
};

#define ALLOW_RET SECCOMP_RET_ALLOW
#define ERRNO_RET(n) (SECCOMP_RET_ERRNO | (n))

struct prog {
    struct sock_filter *out;
    size_t n, max; /* n goes on counting past max */
};

static void emit(struct prog *p, uint16_t code, uint32_t k, uint8_t jt, uint8_t jf)
{
    if (p->n < p->max)
        p->out[p->n] = (struct sock_filter){code, jt, jf, k};
    p->n++;
}

static void emit_load(struct prog *p, size_t offset)
{
    emit(p, BPF_LD | BPF_W | BPF_ABS, (uint32_t)offset, 0, 0);
}

/* the low half of an argument; both architectures are little-endian */
static void emit_load_arg(struct prog *p, unsigned i)
{
    emit_load(p, offsetof(struct seccomp_data, args) + i * sizeof(uint64_t));
}

static void emit_ret(struct prog *p, uint32_t what)
{
    emit(p, BPF_RET | BPF_K, what, 0, 0);
}

/* A == one of k[n]: answer yes, else no */
static void emit_one_of(struct prog *p, const uint32_t *k, size_t n, uint32_t yes, uint32_t no)
{
    for (size_t i = 0; i < n; i++)
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, k[i], (uint8_t)(n - i), 0);
    emit_ret(p, no);
    emit_ret(p, yes);
}

static void emit_no_bits(struct prog *p, uint32_t bits)
{
    emit(p, BPF_JMP | BPF_JSET | BPF_K, bits, 1, 0);
    emit_ret(p, ALLOW_RET);
    emit_ret(p, ERRNO_RET(EPERM));
}

static void emit_answer(struct prog *p, enum answer a)
{
    static const uint32_t personalities[] = {0, 8, 0x20000, 0x20008, 0xffffffff};
    static const uint32_t ioctls[] = {0x5412 /* TIOCSTI */, 0x541c /* TIOCLINUX */};

    switch (a) {
    case ALLOW:
        emit_ret(p, ALLOW_RET);
        break;
    case REFUSE:
        emit_ret(p, ERRNO_RET(EPERM));
        break;
    case ABSENT:
        emit_ret(p, ERRNO_RET(ENOSYS));
        break;
    case LOOK_CLONE:
        emit_load_arg(p, 0);
        emit_no_bits(p, 0x7e020000); /* CLONE_NEW*: no namespaces */
        break;
    case LOOK_PERSONALITY:
        emit_load_arg(p, 0);
        emit_one_of(p, personalities, N_ELEMS(personalities), ALLOW_RET, ERRNO_RET(EPERM));
        break;
    case LOOK_SOCKET: /* no VSOCK (40): it reaches the hypervisor; no NETLINK (16) AUDIT (9) */
        emit_load_arg(p, 0);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 40, 4, 0);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 16, 0, 2);
        emit_load_arg(p, 2);
        emit(p, BPF_JMP | BPF_JEQ | BPF_K, 9, 1, 0);
        emit_ret(p, ALLOW_RET);
        emit_ret(p, ERRNO_RET(EPERM));
        break;
    case LOOK_IOCTL:
        emit_load_arg(p, 1);
        emit_one_of(p, ioctls, N_ELEMS(ioctls), ERRNO_RET(EPERM), ALLOW_RET);
        break;
    case LOOK_MBIND:
        emit_load_arg(p, 5);
        emit_no_bits(p, 4); /* MPOL_MF_MOVE_ALL moves other processes' pages */
        break;
    }
}

struct range {
    uint16_t first;
    uint8_t answer;
};

/* A balanced tree: "below the middle" falls through, "from it on" jumps over that half. */
static void emit_tree(struct prog *p, const struct range *r, size_t n)
{
    size_t at, left;

    if (n == 1) {
        emit_answer(p, (enum answer)r->answer);
        return;
    }
    at = p->n;
    emit(p, BPF_JMP | BPF_JGE | BPF_K, r[n / 2].first, 0, 1);
    emit(p, BPF_JMP | BPF_JA, 0, 0, 0); /* reaches further than the 255 of a condition */
    emit_tree(p, r, n / 2);
    left = p->n - at - 2;
    if (at + 1 < p->max)
        p->out[at + 1].k = (uint32_t)left;
    emit_tree(p, r + n / 2, n - n / 2);
}

size_t seccomp_program(struct sock_filter *out, size_t max)
{
    struct prog p = {out, 0, max};
    uint8_t answers[SECCOMP_NEWEST_CALL + 1] = {0};
    struct range ranges[2 * N_ELEMS(table) + 1];
    size_t n = 0;

    if (!NATIVE_ARCH)
        return 0;
    for (size_t i = 0; i < N_ELEMS(table); i++)
        answers[table[i].nr] = table[i].answer;
    for (uint16_t nr = 0; nr <= SECCOMP_NEWEST_CALL; nr++)
        if (nr == 0 || answers[nr] != answers[nr - 1])
            ranges[n++] = (struct range){nr, answers[nr]};

    emit_load(&p, offsetof(struct seccomp_data, arch));
    emit(&p, BPF_JMP | BPF_JEQ | BPF_K, NATIVE_ARCH, 1, 0);
    emit_ret(&p, ERRNO_RET(EPERM));
    emit_load(&p, offsetof(struct seccomp_data, nr));
    emit(&p, BPF_JMP | BPF_JGT | BPF_K, SECCOMP_NEWEST_CALL, 0, 1);
    emit_ret(&p, ERRNO_RET(ENOSYS));
    emit_tree(&p, ranges, n);
    return p.n <= max ? p.n : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The filter's verdicts, by running its program here: whatever this kernel knows or
 * lacks */
#include <errno.h>
#include <linux/audit.h>
#include <linux/seccomp.h>
#include <stdbool.h>
#include <string.h>
#include <sys/syscall.h>

#include "base/mem.h"
#include "box/seccomp.h"
#include "t.h"

#define PROGRAM_MAX 1024
#define ALLOWED 0
#define BROKEN -1

#if defined(__x86_64__)
#define ARCH AUDIT_ARCH_X86_64
#define OTHER_ARCH AUDIT_ARCH_I386
#else
#define ARCH AUDIT_ARCH_AARCH64
#define OTHER_ARCH AUDIT_ARCH_ARM
#endif

static struct sock_filter program[PROGRAM_MAX];
static size_t length;

/* one conditional jump; 0 when it is none that we emit */
static bool jump(const struct sock_filter *f, uint32_t a, size_t *pc)
{
    bool yes;

    switch (f->code) {
    case BPF_JMP | BPF_JEQ | BPF_K:
        yes = a == f->k;
        break;
    case BPF_JMP | BPF_JGE | BPF_K:
        yes = a >= f->k;
        break;
    case BPF_JMP | BPF_JGT | BPF_K:
        yes = a > f->k;
        break;
    case BPF_JMP | BPF_JSET | BPF_K:
        yes = (a & f->k) != 0;
        break;
    default:
        return false;
    }
    *pc += yes ? f->jt : f->jf;
    return true;
}

/* the errno that a call gets, ALLOWED, or BROKEN for a program that is none */
static int verdict(uint32_t arch, int nr, const uint64_t args[6])
{
    struct seccomp_data d = {.nr = nr, .arch = arch};
    uint32_t a = 0;

    for (int i = 0; args && i < 6; i++)
        d.args[i] = args[i];
    for (size_t pc = 0; pc < length; pc++) {
        const struct sock_filter *f = &program[pc];
        if (f->code == (BPF_LD | BPF_W | BPF_ABS) && f->k + sizeof a <= sizeof d)
            memcpy(&a, (const char *)&d + f->k, sizeof a);
        else if (f->code == (BPF_JMP | BPF_JA))
            pc += f->k;
        else if (f->code == (BPF_RET | BPF_K))
            return f->k == SECCOMP_RET_ALLOW ? ALLOWED : (int)(f->k & SECCOMP_RET_DATA);
        else if (!jump(f, a, &pc))
            return BROKEN;
    }
    return BROKEN;
}

static int of_call(int nr)
{
    return verdict(ARCH, nr, NULL);
}

static int with_arg(int nr, int i, uint64_t value)
{
    uint64_t args[6] = {0};

    args[i] = value;
    return verdict(ARCH, nr, args);
}

static void every_number_has_a_verdict(void)
{
    for (int nr = 0; nr <= SECCOMP_NEWEST_CALL; nr++) {
        int v = of_call(nr);
        CHECK(v == ALLOWED || v == EPERM || v == ENOSYS);
    }
}

static void numbers_of_the_future_are_not_there(void)
{
    CHECK_INT(of_call(SECCOMP_NEWEST_CALL + 1), ENOSYS);
    CHECK_INT(of_call(1000), ENOSYS);
    CHECK_INT(of_call(0x40000000 | SYS_getpid), ENOSYS); /* x32 */
    CHECK_INT(of_call(-1), ENOSYS);
}

static void another_architecture_may_do_nothing(void)
{
    for (int nr = 0; nr < 500; nr++)
        CHECK_INT(verdict(OTHER_ARCH, nr, NULL), EPERM);
}

static void every_call_for_namespaces_and_mounts_is_refused(void)
{
    static const int refused[] = {SYS_mount,
                                  SYS_umount2,
                                  SYS_pivot_root,
                                  SYS_chroot,
                                  SYS_setns,
                                  SYS_unshare,
                                  SYS_bpf,
                                  SYS_perf_event_open,
                                  SYS_userfaultfd,
                                  SYS_keyctl,
                                  SYS_open_by_handle_at,
                                  425 /* io_uring_setup */,
                                  428 /* open_tree */,
                                  429,
                                  430 /* fsopen */,
                                  431,
                                  432,
                                  433,
                                  442 /* mount_setattr */};

    for (size_t i = 0; i < N_ELEMS(refused); i++)
        CHECK_INT(of_call(refused[i]), EPERM);
    CHECK_INT(of_call(435), ENOSYS); /* clone3: C libraries fall back to clone */
}

static void clone_makes_processes_and_no_namespace(void)
{
    CHECK_INT(with_arg(SYS_clone, 0, 17), ALLOWED);
    for (int bit = 0; bit < 32; bit++) {
        bool space = 0x7e020000U >> bit & 1;
        CHECK_INT(with_arg(SYS_clone, 0, 1ULL << bit), space ? EPERM : ALLOWED);
        CHECK_INT(with_arg(SYS_clone, 0, 1ULL << bit | 1ULL << 40),
                  space ? EPERM : ALLOWED);
    }
}

static void arguments_are_compared_by_their_low_half(void)
{
    static const uint64_t high[] = {0, 1ULL << 32, 0xffffffffULL << 32};

    for (size_t i = 0; i < N_ELEMS(high); i++) {
        CHECK_INT(with_arg(SYS_ioctl, 1, high[i] | 0x5412), EPERM); /* TIOCSTI */
        CHECK_INT(with_arg(SYS_ioctl, 1, high[i] | 0x541c), EPERM); /* TIOCLINUX */
        CHECK_INT(with_arg(SYS_ioctl, 1, high[i] | 0x5413), ALLOWED);
        CHECK_INT(with_arg(SYS_socket, 0, high[i] | 40), EPERM); /* VSOCK */
        CHECK_INT(with_arg(SYS_socket, 0, high[i] | 1), ALLOWED);
        CHECK_INT(with_arg(SYS_personality, 0, high[i] | 0x40000), EPERM);
        CHECK_INT(with_arg(SYS_personality, 0, high[i] | 8), ALLOWED);
        CHECK_INT(with_arg(SYS_mbind, 5, high[i] | 4), EPERM); /* moves others' pages */
        CHECK_INT(with_arg(SYS_mbind, 5, high[i] | 2), ALLOWED);
    }
    CHECK_INT(verdict(ARCH, SYS_socket, (const uint64_t[6]){16, 3, 9}),
              EPERM); /* audit */
    CHECK_INT(verdict(ARCH, SYS_socket, (const uint64_t[6]){16, 3, 0}), ALLOWED);
}

static void a_program_that_does_not_fit_is_none(void)
{
    struct sock_filter few[16];

    CHECK_INT(seccomp_program(few, N_ELEMS(few)), 0);
    CHECK(length > 0 && length < PROGRAM_MAX);
}

int main(void)
{
    length = seccomp_program(program, PROGRAM_MAX);
    every_number_has_a_verdict();
    numbers_of_the_future_are_not_there();
    another_architecture_may_do_nothing();
    every_call_for_namespaces_and_mounts_is_refused();
    clone_makes_processes_and_no_namespace();
    arguments_are_compared_by_their_low_half();
    a_program_that_does_not_fit_is_none();
    return t_end();
}

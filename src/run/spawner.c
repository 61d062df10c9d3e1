/* SPDX-License-Identifier: Apache-2.0 */
/* spawner.c - fork supervisors from a process that is still small
 *
 *   engine  --- "<dir>" + locks on GPUs ----->  spawner  -- clone3(CLONE_PIDFD) --> supervisor
 *           <-- {pid, errno} + pidfd ---------
 *
 * SOCK_SEQPACKET keeps the messages apart. The spawner reaps nothing (SIGCHLD is ignored, so the
 * kernel does) and knows nothing: when the engine's end closes it exits, and its children go on
 * under init.
 *
 * Supervisors are born with SIGTERM and SIGINT blocked: a stop that comes before one looks for it
 * waits, where the ignoring that it inherits would lose it and the task would run to its end.
 */
#include "run/spawner.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "box/box.h"
#include "run/cold.h"
#include "run/supervisor.h"

struct answer {
    int32_t pid, error;
};

static pid_t fork_pidfd(int *pidfd)
{
    struct clone_args args = {
        .flags = CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)pidfd,
        .exit_signal = SIGCHLD,
    };
    return (pid_t)syscall(SYS_clone3, &args, sizeof args);
}

static void send_answer(int sock, pid_t pid, int error, int pidfd)
{
    struct answer a = {(int32_t)pid, (int32_t)error};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {&a, sizeof a};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    if (pidfd >= 0) {
        struct cmsghdr *c;
        m.msg_control = control.bytes;
        m.msg_controllen = sizeof control.bytes;
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = CMSG_LEN(sizeof(int));
        memcpy(CMSG_DATA(c), &pidfd, sizeof(int));
    }
    (void)sendmsg(sock, &m, MSG_NOSIGNAL);
}

/* the engine's next wish; 0 when it is gone */
static ssize_t hear_wish(int sock, char *dir, size_t size, int *fds, size_t *n_fds)
{
    union {
        char bytes[CMSG_SPACE(SPAWN_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control;
    struct iovec iov = {dir, size};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    const struct cmsghdr *c;
    ssize_t n;

    *n_fds = 0;
    do
        n = recvmsg(sock, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    c = n > 0 ? CMSG_FIRSTHDR(&m) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS) {
        *n_fds = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        memcpy(fds, CMSG_DATA(c), *n_fds * sizeof(int));
    }
    return n;
}

static _Noreturn void spawner_loop(int sock)
{
    char dir[LIMIT_PATH_BYTES];
    bool outside = false;
    int fds[SPAWN_FDS_MAX];

    for (;;) {
        size_t n_fds;
        ssize_t n = hear_wish(sock, dir, sizeof dir - 1, fds, &n_fds);
        AUTO_FD int pidfd = -1;
        pid_t pid;

        if (n <= 0)
            _exit(0);
        dir[n] = 0;
        if (!outside) /* supervisors inherit it; a run that is all cached does without */
            box_leave_unit();
        outside = true;
        pid = fork_pidfd(&pidfd);
        if (pid == 0) {
            (void)close(sock);
            (void)signal(SIGCHLD, SIG_DFL);
            supervisor_main(dir, fds, n_fds);
        }
        for (size_t i = 0; i < n_fds; i++)
            (void)close(fds[i]);
        if (pid < 0)
            pidfd = -1;
        send_answer(sock, pid, pid < 0 ? errno : 0, pidfd);
    }
}

static void block_stops(void)
{
    sigset_t stops;

    sigemptyset(&stops);
    sigaddset(&stops, SIGTERM);
    sigaddset(&stops, SIGINT);
    (void)sigprocmask(SIG_BLOCK, &stops, NULL);
}

int spawner_start(int *gives_fd, struct err *e)
{
    int sv[2];
    pid_t pid;

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, sv) < 0)
        return err_sys(e, errno, "socketpair for the spawner");
    pid = fork();
    if (pid < 0) {
        int saved = errno;
        (void)close(sv[0]);
        (void)close(sv[1]);
        return err_sys(e, saved, "fork the spawner");
    }
    if (pid == 0) {
        (void)close(sv[0]);
        (void)prctl(PR_SET_NAME, "dugout-spawner");
        /* A lost terminal or Ctrl-C is the engine's business. */
        (void)signal(SIGINT, SIG_IGN);
        (void)signal(SIGHUP, SIG_IGN);
        (void)signal(SIGTERM, SIG_IGN);
        (void)signal(SIGQUIT, SIG_IGN);
        (void)signal(SIGPIPE, SIG_IGN);
        (void)signal(SIGCHLD, SIG_IGN);
        block_stops();
        cold_code_part();
        spawner_loop(sv[1]);
    }
    (void)close(sv[1]);
    *gives_fd = sv[0];
    return 0;
}

static int send_wish(int sock, const char *dir, const int *fds, size_t n_fds)
{
    union {
        char bytes[CMSG_SPACE(SPAWN_FDS_MAX * sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {(void *)(uintptr_t)dir, strlen(dir)};
    struct msghdr m = {.msg_iov = &iov, .msg_iovlen = 1};

    must(n_fds <= SPAWN_FDS_MAX);
    if (n_fds) {
        struct cmsghdr *c;
        m.msg_control = control.bytes;
        m.msg_controllen = (socklen_t)CMSG_SPACE(n_fds * sizeof(int));
        c = CMSG_FIRSTHDR(&m);
        c->cmsg_level = SOL_SOCKET;
        c->cmsg_type = SCM_RIGHTS;
        c->cmsg_len = (socklen_t)CMSG_LEN(n_fds * sizeof(int));
        memcpy(CMSG_DATA(c), fds, n_fds * sizeof(int));
    }
    return sendmsg(sock, &m, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int spawner_run(int fd, const char *dir, const int *fds, size_t n_fds, int *gives_pidfd,
                pid_t *pid, struct err *e)
{
    struct answer a = {0};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {0};
    struct iovec iov = {&a, sizeof a};
    struct msghdr m = {.msg_iov = &iov,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    const struct cmsghdr *c;
    ssize_t n;

    if (send_wish(fd, dir, fds, n_fds) < 0)
        return err_sys(e, errno, "ask the spawner for a supervisor");
    do
        n = recvmsg(fd, &m, MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n != (ssize_t)sizeof a)
        return err_set(e, ERR_SYS, "the spawner is gone");
    if (a.error)
        return err_sys(e, a.error, "fork a supervisor");
    c = CMSG_FIRSTHDR(&m);
    if (!c || c->cmsg_type != SCM_RIGHTS)
        return err_set(e, ERR_SYS, "the spawner sent no pidfd");
    memcpy(gives_pidfd, CMSG_DATA(c), sizeof(int));
    *pid = a.pid;
    return 0;
}

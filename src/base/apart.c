/* SPDX-License-Identifier: Apache-2.0 */
/* apart.c - what is left to do when the caller has his answer
 *
 *     we      fork ── close what it should close last ── shutdown ──────── poll ── recv ── close
 *     child     └── close all but keep ── send ──── recv: end of file ── work ── end
 *
 * Nobody is woken for a word: each is there, or nearly so, when it is asked for. To wake an idle
 * processor of a virtual machine takes as long as removing a directory.
 */
#include "base/apart.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

static void let_go_but(const int *keep, size_t n_keep, int sock)
{
    int real[APART_KEEP_MAX + 1];
    size_t n = 0;

    for (size_t i = 0; i < n_keep; i++)
        if (keep[i] >= 0)
            real[n++] = keep[i];
    real[n++] = sock;
    fd_leave_stdio();
    fd_close_all_but(real, n);
}

/* a word from the other side, or that it has closed */
static void hear(int sock)
{
    char word;

    while (recv(sock, &word, 1, 0) < 0 && errno == EINTR)
        ;
}

bool apart_make(struct apart *a, void (*work)(void *), void *arg, const int *keep,
                size_t n_keep)
{
    int ends[2];

    must(n_keep <= APART_KEEP_MAX);
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, ends) < 0)
        return false;
    a->pid = fork();
    if (a->pid == 0) {
        (void)setsid();
        (void)close(ends[0]);
        let_go_but(keep, n_keep, ends[1]);
        (void)send(ends[1], "", 1, MSG_NOSIGNAL);
        hear(ends[1]);
        (void)close(ends[1]);
        work(arg);
        _exit(0);
    }
    (void)close(ends[1]);
    a->sock = ends[0];
    if (a->pid < 0) {
        (void)close(a->sock);
        return false;
    }
    return true;
}

void apart_go(struct apart *a, int wait_ms)
{
    struct pollfd p = {.fd = (int)syscall(SYS_pidfd_open, a->pid, 0), .events = POLLIN};

    (void)shutdown(a->sock, SHUT_WR);
    if (p.fd >= 0 && poll(&p, 1, wait_ms) > 0)
        (void)waitpid(a->pid, NULL, 0);
    else
        hear(a->sock);
    (void)close(a->sock);
    if (p.fd >= 0)
        (void)close(p.fd);
}

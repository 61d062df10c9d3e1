/* SPDX-License-Identifier: Apache-2.0 */
/* relay.c - no file of the host is open in a box
 *
 *     ours 0, 1, 2 ── a child of ours that copies ── pipes ── 0, 1, 2 of the box
 *
 * A descriptor is more than its bytes. Whoever has one of a file may open the file anew
 * through /proc/self/fd: a log that was given to append to can be read and cut off, an
 * input overwritten by a box with DAC_OVERRIDE; of a terminal he may change owner and
 * mode; and above a directory lies the host's root. Behind a pipe or a socket there is
 * nothing but the other end, and /dev/null is the same everywhere: those are handed
 * over as they are, which is what scripts use mostly.
 *
 * It is a process of its own so that a slow reader stops the command and nothing else.
 */
#include "cli/relay.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

#define PIPEFS 0x50495045 /* PIPEFS_MAGIC */
#define CHUNK_BYTES 65536

struct pump {
    int from, to; /* -1: it is done */
    size_t at, len;
    char *bytes; /* CHUNK_BYTES */
};

/* ---- which
 * ------------------------------------------------------------------------------------
 */

static bool may_be_given(int fd)
{
    struct statfs fs;
    struct stat st;

    if (fstat(fd, &st) < 0 || S_ISSOCK(st.st_mode))
        return true;          /* a closed one is refused later, by its number */
    if (S_ISFIFO(st.st_mode)) /* one with a name lies in a directory of the host */
        return fstatfs(fd, &fs) == 0 && fs.f_type == PIPEFS;
    return S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 3);
}

/* "2>&1": one pipe for both keeps their order */
static bool same_file(int a, int b)
{
    struct stat x, y;

    return fstat(a, &x) == 0 && fstat(b, &y) == 0 && x.st_dev == y.st_dev &&
           x.st_ino == y.st_ino;
}

/* ---- the child
 * ---------------------------------------------------------------------------------- */

static void shut(struct pump *p)
{
    if (p->from > 2)
        (void)close(p->from);
    if (p->to > 2)
        (void)close(p->to);
    p->from = p->to = -1;
}

/* one chunk in; false: there is no more, or none now */
static bool fill(struct pump *p)
{
    ssize_t n = read(p->from, p->bytes, CHUNK_BYTES);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return false;
    p->at = 0;
    p->len = n > 0 ? (size_t)n : 0;
    if (n <= 0)
        shut(p);
    return n > 0;
}

/* what can be written now; *failed gets the errno of output that was lost */
static void drain(struct pump *p, int *failed)
{
    ssize_t n = write(p->to, p->bytes + p->at, p->len);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n < 0) {
        if (p->to <= 2 && errno != EPIPE)
            *failed = errno;
        shut(p); /* the command gets a SIGPIPE */
        p->len = 0;
        return;
    }
    p->at += (size_t)n;
    p->len -= (size_t)n;
}

static void finish(struct pump *p, int *failed)
{
    if (p->from < 0 || p->from <= 2)
        return; /* input that nobody reads any more */
    do
        while (p->len) {
            (void)poll(&(struct pollfd){p->to, POLLOUT, 0}, 1, -1);
            drain(p, failed);
        }
    while (p->from >= 0 && fill(p));
}

static _Noreturn void copy(struct pump *pumps, size_t n, int end_fd)
{
    int failed = 0;

    for (;;) {
        struct pollfd p[7] = {{end_fd, POLLIN, 0}};

        for (size_t i = 0; i < n;
             i++) { /* of input it is told at once that nobody reads it */
            bool full = pumps[i].len > 0;
            p[1 + 2 * i] = (struct pollfd){full ? -1 : pumps[i].from, POLLIN, 0};
            p[2 + 2 * i] = (struct pollfd){
                full || pumps[i].from == 0 ? pumps[i].to : -1, full ? POLLOUT : 0, 0};
        }
        if (poll(p, (nfds_t)(1 + 2 * n), -1) < 0)
            continue;
        for (size_t i = 0; i < n; i++) {
            if (pumps[i].len && p[2 + 2 * i].revents)
                drain(&pumps[i], &failed);
            else if (p[2 + 2 * i].revents & POLLERR)
                shut(&pumps[i]);
            else if (p[1 + 2 * i].revents)
                (void)fill(&pumps[i]);
        }
        if (p[0].revents)
            break;
    }
    for (size_t i = 0; i < n; i++)
        finish(&pumps[i], &failed);
    _exit(failed & 0xff);
}

static _Noreturn void child(struct pump *pumps, size_t n, int end_fd)
{
    int keep[7] = {end_fd};
    size_t kept = 1;

    (void)signal(SIGPIPE, SIG_IGN);
    (void)prctl(PR_SET_NAME, "dugout-relay");
    for (size_t i = 0; i < n; i++) {
        int far = pumps[i].from > 2 ? pumps[i].from : pumps[i].to;
        keep[kept++] = far;
        (void)fcntl(far, F_SETFL, O_NONBLOCK);
        pumps[i].bytes = xalloc(CHUNK_BYTES);
    }
    fd_close_all_but(keep, kept);
    copy(pumps, n, end_fd);
}

/* ---- here
 * ------------------------------------------------------------------------------------------
 */

/* a pipe between one of ours and the box */
static int add_pump(struct relay *r, int i, struct pump *p, struct err *e)
{
    int fds[2];

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_sys(e, errno, "make a pipe");
    *p = i == 0 ? (struct pump){.from = 0, .to = fds[1]}
                : (struct pump){.from = fds[0], .to = i};
    r->fds[i] = r->mine[i] = fds[i != 0];
    return 0;
}

static int start_child(struct relay *r, struct pump *pumps, size_t n, struct err *e)
{
    int end[2];

    if (pipe2(end, O_CLOEXEC) < 0)
        return err_sys(e, errno, "make a pipe");
    r->pid = fork();
    if (r->pid == 0) {
        (void)close(end[1]);
        child(pumps, n, end[0]);
    }
    (void)close(end[0]);
    r->end_fd = end[1];
    return r->pid < 0 ? err_sys(e, errno, "fork") : 0;
}

int relay_open(struct relay *r, bool with_stdin, struct err *e)
{
    struct pump pumps[3];
    size_t n = 0;
    int rc = 0;

    *r = (struct relay){
        .fds = {with_stdin ? 0 : -1, 1, 2}, .mine = {-1, -1, -1}, .end_fd = -1};
    for (int i = 0; rc == 0 && i < 3; i++) {
        if (r->fds[i] < 0 || may_be_given(i))
            continue;
        if (i == 2 && r->mine[1] >= 0 && same_file(1, 2)) {
            r->fds[2] = r->mine[1];
            continue;
        }
        rc = add_pump(r, i, &pumps[n], e);
        n += rc == 0;
    }
    if (rc == 0 && n)
        rc = start_child(r, pumps, n, e);
    for (size_t i = 0; i < n; i++)
        shut(&pumps[i]);
    return rc;
}

void relay_started(struct relay *r)
{
    for (int i = 0; i < 3; i++)
        auto_fd(&r->mine[i]);
}

int relay_close(struct relay *r, struct err *e)
{
    int status = 0;

    relay_started(r);
    auto_fd(&r->end_fd);
    if (r->pid <= 0)
        return 0;
    while (waitpid(r->pid, &status, 0) < 0 && errno == EINTR)
        ;
    r->pid = 0;
    if (WIFEXITED(status) && WEXITSTATUS(status))
        return err_sys(e, WEXITSTATUS(status), "write what the command printed");
    return 0;
}

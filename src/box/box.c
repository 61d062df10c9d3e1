/* SPDX-License-Identifier: Apache-2.0 */
/* box.c - a box from outside: start, watch, finish, close
 *
 * PID 1 of the box says how the command ended, the kernel says how PID 1 ended; when PID 1 was
 * killed together with the rest (out of memory, box_kill) only the latter is known.
 */
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/apart.h"
#include "base/fd.h"
#include "base/mem.h"
#include "box/spawn.h"

#define UNWRITTEN_KIB (64 << 10)
#define APART_MS 2 /* what removing some empty directories takes, several times */

static void close_fd(int *fd)
{
    if (*fd >= 0)
        (void)close(*fd);
    *fd = -1;
}

int box_start(const struct box_spec *spec, struct box **gives, struct err *e)
{
    struct box *b = xalloc(sizeof *b);

    b->pid = -1;
    b->pidfd = b->sock = b->root_fd = b->tty_fd = b->userns_fd = b->mounts_fd = -1;
    b->host_network = spec->host_network;
    b->asked_memory = spec->memory_bytes != 0;
    b->asked_cpu = spec->cpu_millis != 0;
    b->asked_pids = spec->pids_max != 0;
    cg_init(&b->cgroup);
    b->scratch_fd = spec->scratch ? open(spec->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (box_spawn(b, spec, e) < 0) {
        box_close(b);
        return -1;
    }
    *gives = b;
    return 0;
}

int box_start_status(const struct err *e)
{
    if (e->code == ERR_MISSING && e->sys == ENOENT)
        return 127;
    return e->code == ERR_INPUT && e->sys ? 126 : 125;
}

int box_pidfd(const struct box *b)
{
    return b->pidfd;
}

pid_t box_pid(const struct box *b)
{
    return b->pid;
}

int box_tty_fd(const struct box *b)
{
    return b->tty_fd;
}

int box_news_fd(const struct box *b)
{
    return b->sock;
}

int box_root_fd(const struct box *b)
{
    return b->root_fd;
}

int box_signal(struct box *b, int sig)
{
    if (b->reaped || b->pid <= 0)
        return 0;
    return sys_pidfd_send_signal(b->pidfd, sig) < 0 && errno != ESRCH ? -1 : 0;
}

int box_kill(struct box *b)
{
    return box_signal(b, SIGKILL);
}

const char *box_unenforced(const struct box *b, char *buf, size_t size)
{
    const struct {
        const char *name;
        bool asked;
        enum cg cg;
    } limits[] = {{"memory", b->asked_memory, CG_MEMORY},
                  {"processes", b->asked_pids, CG_PIDS},
                  {"cpu", b->asked_cpu, CG_CPU}};
    const char *kind = b->cgroup.kind;
    size_t n = 0;

    buf[0] = 0;
    for (size_t i = 0; i < N_ELEMS(limits); i++)
        if (limits[i].asked && !b->cgroup.enforced[limits[i].cg] && n < size)
            n += (size_t)snprintf(buf + n, size - n, "%s%s", n ? ", " : "limits on ",
                                  limits[i].name);
    if (n && n < size)
        (void)snprintf(buf + n, size - n, strcmp(kind, "none") == 0 ? " (no writable cgroup)"
                                                                    : " (cgroup %s has none)",
                       kind);
    return buf;
}

/* ---- the end --------------------------------------------------------------------------------------------- */

static void set_status(struct box_result *out, int status)
{
    out->signal = WIFSIGNALED(status) ? WTERMSIG(status) : 0;
    out->exit_code = out->signal ? 128 + out->signal : WEXITSTATUS(status);
}

/* what PID 1 said last, when it could */
static bool last_words(const struct box *b, int *status)
{
    struct box_msg m;
    int fd;

    while (box_hear(b->sock, &m, &fd, MSG_DONTWAIT) > 0) {
        if (fd >= 0)
            (void)close(fd);
        if (m.kind == NEWS_ENDED) {
            *status = m.status;
            return true;
        }
    }
    return false;
}

static const char *yes(bool b)
{
    return b ? "true" : "false";
}

static void write_enforced(const struct box *b, char out[BOX_ENFORCED_BYTES])
{
    static const char *const ids[] = {"host", "range", "one"};
    const bool *on = b->cgroup.enforced;

    (void)snprintf(out, BOX_ENFORCED_BYTES,
                   "{\"overlay\":%s,\"userns\":%s,\"ids\":\"%s\",\"cgroup\":\"%s\","
                   "\"memory\":%s,\"cpu\":%s,\"pids\":%s,\"devices\":%s,\"seccomp\":%s,"
                   "\"network\":\"%s\"}",
                   yes(!b->flat), yes(b->ids.kind != IDS_HOST), ids[b->ids.kind], b->cgroup.kind,
                   yes(on[CG_MEMORY] || !b->asked_memory), yes(on[CG_CPU] || !b->asked_cpu),
                   yes(on[CG_PIDS] || !b->asked_pids),
                   yes(on[CG_DEVICES] || b->ids.kind != IDS_HOST), yes(b->seccomp),
                   b->host_network ? "host" : "none");
}

int box_finish(struct box *b, struct box_result *out, struct err *e)
{
    struct rusage ru = {0};
    struct cg_usage used;
    int status = 0, of_command;
    pid_t got;

    memset(out, 0, sizeof *out);
    must(!b->reaped);
    do
        got = wait4(b->pid, &status, __WALL, &ru);
    while (got < 0 && errno == EINTR);
    if (got != b->pid)
        return err_sys(e, errno, "wait for the box");
    b->reaped = true;
    set_status(out, last_words(b, &of_command) ? of_command : status);

    cg_read(&b->cgroup, &used);
    out->oom = used.oom;
    out->pids_hit = used.pids_hit;
    out->peak_memory_bytes = used.peak_memory_bytes;
    if (!out->peak_memory_bytes)
        out->peak_memory_bytes = (uint64_t)ru.ru_maxrss * 1024;
    out->cpu_usec = used.cpu_usec;
    if (!out->cpu_usec)
        out->cpu_usec = (uint64_t)(ru.ru_utime.tv_sec + ru.ru_stime.tv_sec) * 1000000 +
                        (uint64_t)(ru.ru_utime.tv_usec + ru.ru_stime.tv_usec);
    write_enforced(b, out->enforced);
    cg_release(&b->cgroup); /* for the next one, while we collect the outputs */
    return 0;
}

/* ---- closing ------------------------------------------------------------------------------------------------------ */

void box_take_down(struct box *b)
{
    static const char *const names[] = {"upper", "work", "root"};
    struct err ignored;

    if (b->pid > 0 && !b->reaped) {
        (void)box_kill(b);
        while (waitpid(b->pid, NULL, __WALL) < 0 && errno == EINTR)
            ;
    }
    close_fd(&b->pidfd);
    close_fd(&b->sock);
    close_fd(&b->root_fd);
    close_fd(&b->tty_fd);
    close_fd(&b->mounts_fd);
    for (size_t i = 0; b->scratch_fd >= 0 && i < N_ELEMS(names); i++)
        (void)box_remove_tree_as(b->userns_fd, b->ids.kind == IDS_ONE, b->scratch_fd, names[i],
                                 &ignored);
    close_fd(&b->userns_fd);
    b->pid = -1;
    b->reaped = false;
}

void box_close(struct box *b)
{
    if (!b)
        return;
    box_take_down(b);
    close_fd(&b->scratch_fd);
    cg_release(&b->cgroup);
    free(b);
}

/* Data that waits to be written makes every disk operation wait. Of all disks: which one a file
 * system is on, it does not always tell. */
static bool much_is_unwritten(void)
{
    uint64_t dirty, writeback;

    return !fd_meminfo("Dirty", &dirty) || !fd_meminfo("Writeback", &writeback) ||
           dirty + writeback > UNWRITTEN_KIB;
}

struct rest {
    struct box *b;
    void (*then)(void *);
    void *arg;
};

/* in the child, where its processes' descriptors are closed */
static void close_rest(void *arg)
{
    struct rest *r = arg;

    r->b->pidfd = r->b->sock = r->b->tty_fd = -1;
    box_close(r->b);
    if (r->then)
        r->then(r->arg);
}

void box_close_apart(struct box *b, void (*then)(void *), void *arg, int keep_fd,
                     int takes_fd)
{
    struct rest r = {b, then, arg};
    struct apart a;

    if (b && b->reaped && box_left_little(b) && much_is_unwritten()) {
        const int fds[] = {b->scratch_fd, b->userns_fd, b->root_fd,
                           b->mounts_fd,  keep_fd,      takes_fd};
        if (apart_make(&a, close_rest, &r, fds, N_ELEMS(fds))) {
            /* who closes a root last unmounts it, who closes a removed directory last frees it */
            box_abandon(b);
            close_fd(&takes_fd);
            apart_go(&a, APART_MS);
            return;
        }
    }
    box_close(b);
    if (then)
        then(arg);
    close_fd(&takes_fd);
}

void box_abandon(struct box *b)
{
    close_fd(&b->pidfd);
    close_fd(&b->sock);
    close_fd(&b->root_fd);
    close_fd(&b->tty_fd);
    close_fd(&b->mounts_fd);
    close_fd(&b->userns_fd);
    close_fd(&b->scratch_fd);
    cg_release(&b->cgroup);
    free(b);
}

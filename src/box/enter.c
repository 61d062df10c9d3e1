/* SPDX-License-Identifier: Apache-2.0 */
/* enter.c - one more command in a box that runs already
 *
 *     we ── fork ──> a helper: joins the box's cgroups and namespaces
 *      │                └── clone, as our child ──> the program of PID 1, in memory,
 *      │                                            which is told its job as ever
 *      └── wait, pass signals on
 *
 * A process takes on a pid namespace for its children only, hence the helper; it makes
 * the child ours, so that the child dies with us and we hear how it ended. What is
 * executed in the box is the same small program that box_start() puts there, never this
 * one: a command such as "/proc/self/exe" would otherwise be dugout itself, in reach of
 * everybody inside (CVE-2019-5736). The command is looked up, stripped of privileges
 * and filtered by that program, as the box's own was.
 */
#include "box/enter.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/seccomp.h"
#include "box/spawn.h"

#define FD_SAFE 10
#define INIT_FD 4

struct entering {
    const struct box_entry *x;
    int pidfd, root_fd, init_fd;
    int sock[2]; /* ours, the child's */
    char **env;
    struct buf environ_text;
    int joins[CG_TREES_MAX]; /* cgroup.procs of the box's cgroups */
    size_t n_joins;
    struct ids ids;
};

static int proc_file(pid_t pid, const char *name, struct buf *out, struct err *e)
{
    char path[64];

    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fd_read_file(AT_FDCWD, path, out, 16 * MIB, e);
}

/* is it PID 1 of a namespace below ours? "NSpid:\t4711\t1" */
static bool is_pid_one(pid_t pid)
{
    AUTO_BUF struct buf b = {0};
    struct err e;
    const char *p, *end;

    buf_init(&b, 64 * KIB);
    if (proc_file(pid, "status", &b, &e) < 0 || !(p = strstr(buf_str(&b), "\nNSpid:")))
        return false;
    end = strchr(p + 1, '\n');
    return end && end - p > 4 && end[-1] == '1' && end[-2] == '\t' && end[-3] != ':';
}

int box_pid_of(pid_t parent, pid_t *pid, struct err *e)
{
    AUTO_BUF struct buf b = {0};
    char name[48], *p;

    buf_init(&b, 64 * KIB);
    (void)snprintf(name, sizeof name, "task/%d/children", (int)parent);
    if (proc_file(parent, name, &b, e) < 0)
        return err_set(e, ERR_MISSING, "the box is gone");
    for (p = b.ptr; p && *p; p += strspn(p, " \n")) {
        long v = strtol(p, &p, 10);
        if (v > 1 && is_pid_one((pid_t)v)) {
            *pid = (pid_t)v;
            return 0;
        }
        if (!v)
            break;
    }
    return err_set(e, ERR_MISSING, "it has no box at the moment");
}

/* ---- what the parent prepares ---------------------------------------------------------- */

static bool same_namespace(pid_t pid, const char *name)
{
    char ours[64], theirs[64];
    struct stat a, b;

    (void)snprintf(ours, sizeof ours, "/proc/self/ns/%s", name);
    (void)snprintf(theirs, sizeof theirs, "/proc/%d/ns/%s", (int)pid, name);
    return stat(ours, &a) == 0 && stat(theirs, &b) == 0 && a.st_ino == b.st_ino;
}

/* the ids of the box, as far as its job needs them: one id can change to no other */
static void find_ids(struct entering *n)
{
    AUTO_BUF struct buf map = {0};
    unsigned inner = 0, outer = 0, count = 0;
    struct err e;

    n->ids = (struct ids){.kind = IDS_HOST};
    if (same_namespace(n->x->pid, "user"))
        return;
    buf_init(&map, 64 * KIB);
    n->ids.kind = IDS_RANGE;
    if (proc_file(n->x->pid, "uid_map", &map, &e) < 0 ||
        sscanf(buf_str(&map), "%u %u %u", &inner, &outer, &count) != 3 || count != 1 ||
        strchr(buf_str(&map), '\n') != strrchr(buf_str(&map), '\n'))
        return;
    n->ids.kind = IDS_ONE;
    n->ids.inner_uid = inner;
    buf_reset(&map);
    if (proc_file(n->x->pid, "gid_map", &map, &e) == 0 &&
        sscanf(buf_str(&map), "%u", &inner) == 1)
        n->ids.inner_gid = inner;
}

/* PID 1 has the environment of the box's command as its own */
static int read_environ(struct entering *n, struct err *e)
{
    size_t count = 0;

    buf_init(&n->environ_text, 4 * MIB);
    if (proc_file(n->x->pid, "environ", &n->environ_text, e) < 0)
        return err_at(e, "read the environment of the box");
    for (size_t i = 0; i < n->environ_text.len; i++)
        count += !n->environ_text.ptr[i];
    n->env = xalloc((count + 2) * sizeof *n->env);
    count = 0;
    for (size_t at = 0; at < n->environ_text.len;) {
        n->env[count++] = n->environ_text.ptr + at;
        at += strlen(n->environ_text.ptr + at) + 1;
    }
    return 0;
}

/* A cgroup that we may not write to is left out: the command then runs beside the box's
 * limits, where it was started. */
static void find_cgroups(struct entering *n)
{
    AUTO_BUF struct buf mounts = {0}, theirs = {0};
    AUTO_FREE struct cg_map *m = xalloc(sizeof *m);
    struct err e;

    buf_init(&mounts, 16 * MIB);
    buf_init(&theirs, MIB);
    if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, 16 * MIB, &e) < 0 ||
        proc_file(n->x->pid, "cgroup", &theirs, &e) < 0)
        return;
    cg_parse(buf_str(&mounts), buf_str(&theirs), m);
    for (size_t i = 0; i < m->n; i++) {
        char path[2 * CG_PATH + 16];
        int fd;
        (void)snprintf(path, sizeof path, "%s%s/cgroup.procs", m->trees[i].mount,
                       m->trees[i].own);
        fd = open(path, O_WRONLY | O_CLOEXEC);
        if (fd >= 0)
            n->joins[n->n_joins++] = fd;
    }
}

static int prepare(struct entering *n, struct err *e)
{
    char path[64];

    n->pidfd = sys_pidfd_open(n->x->pid);
    if (n->pidfd < 0 || !is_pid_one(n->x->pid))
        return err_set(e, ERR_MISSING, "the box is gone");
    (void)snprintf(path, sizeof path, "/proc/%d/root", (int)n->x->pid);
    n->root_fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (n->root_fd < 0)
        return err_sys(e, errno, "open the root of the box");
    find_ids(n);
    if (read_environ(n, e) < 0)
        return -1;
    find_cgroups(n);
    n->init_fd = box_sealed_init("/tmp", e);
    if (n->init_fd < 0)
        return -1;
    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, n->sock) < 0)
        return err_sys(e, errno, "make a socket pair");
    return 0;
}

static void release(struct entering *n)
{
    int *const fds[] = {&n->pidfd, &n->root_fd, &n->init_fd, &n->sock[0], &n->sock[1]};

    for (size_t i = 0; i < N_ELEMS(fds); i++)
        auto_fd(fds[i]);
    for (size_t i = 0; i < n->n_joins; i++)
        (void)close(n->joins[i]);
    free(n->env);
    buf_done(&n->environ_text);
}

/* ---- the helper and the child ------------------------------------------------------------ */

static _Noreturn void fail(const struct entering *n, struct err *e)
{
    struct box_msg msg = {.kind = NEWS_FAILED};

    memcpy(msg.text, e, sizeof *e);
    (void)send(n->sock[1], &msg, sizeof msg, MSG_NOSIGNAL);
    _exit(125);
}

static int place_fds(const struct entering *n)
{
    const int want[5] = {n->x->stdin_fd, n->x->stdout_fd, n->x->stderr_fd, n->sock[1],
                         n->init_fd};
    int high[5];

    for (int i = 0; i < 5; i++)
        if ((high[i] = fcntl(want[i], F_DUPFD_CLOEXEC, FD_SAFE)) < 0)
            return -1;
    for (int i = 0; i < 5; i++)
        if (dup3(high[i], i, i == INIT_FD ? O_CLOEXEC : 0) < 0)
            return -1;
    return sys_close_range(INIT_FD + 1, ~0U, 0);
}

static _Noreturn void child_in_box(struct entering *n)
{
    struct err e = {0};

    if (place_fds(n) < 0) {
        err_sys(&e, errno, "hand descriptors to the command");
        fail(n, &e);
    }
    n->sock[1] = PROTO_FD;
    (void)syscall(SYS_execveat, INIT_FD, "", n->x->argv, n->env, AT_EMPTY_PATH);
    err_sys(&e, errno, "start the command");
    fail(n, &e);
}

static _Noreturn void helper(struct entering *n, int answer)
{
    int spaces = CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET |
                 CLONE_NEWCGROUP | (n->ids.kind == IDS_HOST ? 0 : CLONE_NEWUSER);
    struct sys_clone_args a = {.flags = CLONE_PARENT};
    struct err e = {0};
    int32_t pid;

    for (size_t i = 0; i < n->n_joins; i++)
        (void)!write(n->joins[i], "0", 1);
    if (setns(n->pidfd, spaces) < 0) {
        err_sys(&e, errno, "enter the namespaces of the box");
        fail(n, &e);
    }
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    (void)umask(022);
    pid = (int32_t)sys_clone3(&a, offsetof(struct sys_clone_args, set_tid));
    if (pid == 0)
        child_in_box(n);
    if (pid < 0) {
        err_sys(&e, errno, "start a process in the box");
        fail(n, &e);
    }
    _exit(write(answer, &pid, sizeof pid) != (ssize_t)sizeof pid);
}

/* the child's pid; -1: the helper has said why on the socket */
static pid_t start(struct entering *n, struct err *e)
{
    int32_t pid = -1;
    pid_t middle;
    int p[2];

    if (pipe2(p, O_CLOEXEC) < 0)
        return err_sys(e, errno, "make a pipe");
    middle = fork();
    if (middle == 0)
        helper(n, p[1]);
    (void)close(p[1]);
    auto_fd(&n->sock[1]);
    if (middle < 0 || read(p[0], &pid, sizeof pid) != (ssize_t)sizeof pid)
        pid = -1;
    (void)close(p[0]);
    while (middle > 0 && waitpid(middle, NULL, 0) < 0 && errno == EINTR)
        ;
    return pid;
}

/* ---- the conversation ------------------------------------------------------------------------ */

static int send_job(const struct entering *n, struct err *e)
{
    AUTO_FREE struct box_job *job = xalloc(sizeof *job);
    struct box_user user;
    size_t size;

    if (box_resolve_user(n->root_fd, n->x->user, &user, e) < 0)
        return -1;
    if (n->ids.kind == IDS_ONE) {
        user.uid = n->ids.inner_uid;
        user.gid = n->ids.inner_gid;
    }
    job->uid = user.uid;
    job->gid = user.gid;
    job->flags = JOB_PARENT_DEATH | (n->ids.kind == IDS_ONE ? 0 : JOB_SETGROUPS);
    job->caps = user.uid == 0 ? BOX_CAPS_ROOT : 0;
    job->n_groups = (uint32_t)user.n_groups;
    for (size_t i = 0; i < user.n_groups; i++)
        job->groups[i] = user.groups[i];
    (void)snprintf(job->home, sizeof job->home, "%s", user.home[0] ? user.home : "/");
    (void)snprintf(job->cwd, sizeof job->cwd, "%s", n->x->cwd);
    job->n_filter = (uint32_t)seccomp_program(job->filter, JOB_FILTER);
    size = offsetof(struct box_job, filter) + job->n_filter * sizeof *job->filter;
    if (send(n->sock[0], job, size, MSG_NOSIGNAL) != (ssize_t)size)
        return errno == EPIPE ? 0 : err_sys(e, errno, "tell the command its job");
    return 0;
}

static int hear_start(const struct entering *n, struct err *e)
{
    struct box_spec spec = {.argv = n->x->argv, .user = n->x->user};
    AUTO_FREE struct plan *p = xalloc(sizeof *p);
    struct box_msg m;
    int fd;

    p->spec = &spec;
    p->ids = n->ids;
    (void)snprintf(p->cwd, sizeof p->cwd, "%s", n->x->cwd);
    if (box_hear(n->sock[0], &m, &fd, 0) <= 0)
        return err_set(e, ERR_SYS, "the box ended before the command started");
    if (m.kind == NEWS_FAILED)
        memcpy(e, m.text, sizeof *e);
    if (m.kind == NEWS_NOT_STARTED)
        return box_not_started(p, &m, e);
    return m.kind == NEWS_STARTED ? 0 : -1;
}

/* until it has ended; what it was told by signal goes to the command */
static void attend(const struct entering *n, int pidfd)
{
    struct pollfd p[] = {{pidfd, POLLIN, 0}, {n->x->signal_fd, POLLIN, 0}};

    while (!p[0].revents) {
        struct signalfd_siginfo info;
        if (poll(p, N_ELEMS(p), -1) < 0)
            continue;
        if (p[1].revents && read(n->x->signal_fd, &info, sizeof info) == (ssize_t)sizeof info &&
            info.ssi_signo != SIGCHLD && info.ssi_signo != SIGWINCH)
            (void)sys_pidfd_send_signal(pidfd, (int)info.ssi_signo);
    }
}

static int ended(const struct entering *n, pid_t pid)
{
    struct box_msg m;
    int fd, status = 0;

    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (box_hear(n->sock[0], &m, &fd, MSG_DONTWAIT) > 0 && m.kind == NEWS_ENDED)
        status = m.status;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

int box_enter(const struct box_entry *x, int *status, struct err *e)
{
    struct entering n = {.x = x, .pidfd = -1, .root_fd = -1, .init_fd = -1, .sock = {-1, -1}};
    AUTO_FD int pidfd = -1;
    pid_t pid = -1;
    int rc = prepare(&n, e);

    if (rc == 0) {
        pid = start(&n, e);
        pidfd = pid > 0 ? sys_pidfd_open(pid) : -1;
        rc = pid > 0 ? send_job(&n, e) : 0;
        if (rc == 0)
            rc = hear_start(&n, e);
    }
    if (rc == 0 && x->started)
        x->started(x->started_ctx);
    if (rc == 0)
        attend(&n, pidfd);
    else if (pid > 0)
        (void)kill(pid, SIGKILL);
    if (pid > 0)
        *status = ended(&n, pid);
    release(&n);
    return rc;
}

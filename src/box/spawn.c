/* SPDX-License-Identifier: Apache-2.0 */
/* spawn.c - starting a box: the parent's side, up to the word that the command runs
 *
 *     check the spec -> which ids -> cgroup slot -> scratch -> program of PID 1 in memory
 *        -> clone -> [map ids] -> hear of the root -> resolve the user -> send the job -> hear
 *
 * The child mounts while the parent looks up the user in the root that it was sent, so the
 * two overlap. When overlayfs refuses, everything is taken down, the layers are copied
 * into a directory, and the child is cloned once more.
 */
#include "box/spawn.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <sys/wait.h>

#include "assets/assets.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/seccomp.h"

#define DEFAULT_PATH "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

#ifndef MFD_EXEC
#define MFD_EXEC 0x0010U
#endif

uint64_t box_memory_total(void)
{
    struct sysinfo si;

    return sysinfo(&si) < 0 ? 0 : (uint64_t)si.totalram * si.mem_unit;
}

/* ---- the spec ------------------------------------------------------------------------------------ */

/* "/a//b/./c" -> "/a/b/c"; no "..", which would mean another place once a link is in the way */
static int normalise(const char *path, char out[PATH_MAX], const char *what, struct err *e)
{
    size_t n = 0;

    if (path[0] != '/')
        return err_set(e, ERR_INPUT, "%s %.200s: want an absolute path", what, path);
    for (const char *p = path; *p;) {
        size_t len = strcspn(p, "/");
        if (len == 2 && p[0] == '.' && p[1] == '.')
            return err_set(e, ERR_INPUT, "%s %.200s: \"..\" is not allowed here", what, path);
        if (len && !(len == 1 && p[0] == '.')) {
            if (len > 255 || n + len + 2 > PATH_MAX)
                return err_set(e, ERR_INPUT, "%s %.200s...: the path is too long", what, path);
            out[n++] = '/';
            memcpy(out + n, p, len);
            n += len;
        }
        p += len + (p[len] == '/');
    }
    if (!n)
        out[n++] = '/';
    out[n] = 0;
    return 0;
}

static bool is_below(const char *path, const char *dir)
{
    size_t n = strlen(dir);

    return strncmp(path, dir, n) == 0 && (path[n] == '/' || !path[n]);
}

int box_mount_target_ok(const char *dst, struct err *e)
{
    char at[PATH_MAX];

    if (normalise(dst ? dst : "", at, "mount target", e) < 0)
        return -1;
    if (!at[1] || strcmp(at, "/dev") == 0 || is_below(at, "/proc") || is_below(at, "/sys"))
        return err_set(e, ERR_INPUT, "mount target %s is the box's own", at);
    return 0;
}

static int check_mounts(struct plan *p, struct err *e)
{
    for (size_t i = 0; i < p->spec->n_mounts; i++) {
        const struct box_mount *m = &p->spec->mounts[i];
        if (m->kind == BOX_BIND && (!m->src || m->src[0] != '/'))
            return err_set(e, ERR_INPUT, "mount source %.200s: want an absolute path",
                           m->src ? m->src : "(none)");
        if (box_mount_target_ok(m->dst, e) < 0)
            return -1;
    }
    return 0;
}

/* what goes into /etc/hosts must not bring lines of its own */
void box_hostname(const char *name, char out[BOX_HOSTNAME_BYTES])
{
    size_t n = 0;

    for (name = name && *name ? name : "box"; *name && n < BOX_HOSTNAME_BYTES - 1; name++) {
        bool fine = (*name >= 'a' && *name <= 'z') || (*name >= 'A' && *name <= 'Z') ||
                    (*name >= '0' && *name <= '9') || *name == '.' || (*name == '-' && n);
        out[n++] = fine ? *name : '-';
    }
    out[n] = 0;
}

static int check_spec(struct plan *p, struct err *e)
{
    const struct box_spec *spec = p->spec;

    if (!spec->n_lowers)
        return err_set(e, ERR_INPUT, "the box has no layers");
    if (spec->n_lowers > LIMIT_LAYERS)
        return err_set(e, ERR_LIMIT, "%zu layers: overlayfs takes %d at most", spec->n_lowers,
                       LIMIT_LAYERS);
    for (size_t i = 0; i < spec->n_lowers; i++)
        if (spec->lowers[i][0] != '/')
            return err_set(e, ERR_INPUT, "layer %.200s: want an absolute path", spec->lowers[i]);
    if (!spec->scratch || spec->scratch[0] != '/' || strlen(spec->scratch) > PATH_MAX - 16)
        return err_set(e, ERR_INPUT, "the box has no usable scratch directory");
    if (!spec->argv || !spec->argv[0] || !spec->argv[0][0])
        return err_set(e, ERR_INPUT, "no command: neither the image nor the caller names one");
    if (normalise(spec->cwd && *spec->cwd ? spec->cwd : "/", p->cwd, "working directory", e) < 0 ||
        check_mounts(p, e) < 0 || extras_check(spec, e) < 0)
        return -1;
    if (is_below(p->cwd, "/proc") || is_below(p->cwd, "/sys"))
        return err_set(e, ERR_INPUT, "working directory %s: not below /proc or /sys", p->cwd);
    box_hostname(spec->hostname, p->hostname);
    return 0;
}

/* ---- what the child and PID 1 need --------------------------------------------------------------- */

static bool env_has(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return true;
    return false;
}

/* the spec's environment with PATH and HOSTNAME; HOME is added by PID 1. Gives one block, the
 * strings are the spec's or static or the plan's. */
static char **make_env(struct plan *p)
{
    static char *const none[] = {NULL};
    char *const *env = p->spec->envp ? p->spec->envp : none;
    size_t n = 0;
    char **out;

    while (env[n])
        n++;
    out = xalloc((n + 3) * sizeof *out);
    memcpy(out, env, n * sizeof *out);
    if (!env_has(env, "PATH"))
        out[n++] = (char *)DEFAULT_PATH;
    if (!env_has(env, "HOSTNAME")) {
        (void)snprintf(p->hostname_env, sizeof p->hostname_env, "HOSTNAME=%s", p->hostname);
        out[n++] = p->hostname_env;
    }
    return out;
}

/* where memory files may not be executed (vm.memfd_noexec=2): an unnamed file in scratch */
static int unnamed_init(const char *scratch, struct err *e)
{
    AUTO_FD int fd = open(scratch, O_TMPFILE | O_RDWR | O_CLOEXEC, 0500);
    char path[40];
    int again;

    if (fd < 0)
        return err_sys(e, errno, "make the program of PID 1 in %s", scratch);
    if (fd_write_all(fd, asset_init_start, (size_t)(asset_init_end - asset_init_start), e) < 0)
        return err_at(e, "make the program of PID 1 in %s", scratch);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    again = open(path, O_RDONLY | O_CLOEXEC); /* one that is open for writing is "busy" */
    return again < 0 ? err_sys(e, errno, "open the program of PID 1 again") : again;
}

/* The program of PID 1, in memory and sealed: what a box can reach through /proc/1/exe is
 * neither dugout's own file nor writable. */
int box_sealed_init(const char *scratch, struct err *e)
{
    unsigned flags = MFD_CLOEXEC | MFD_ALLOW_SEALING;
    AUTO_FD int fd = memfd_create("dugout-init", flags | MFD_EXEC);

    if (fd < 0 && errno == EINVAL) /* before 6.3 */
        fd = memfd_create("dugout-init", flags);
    if (fd < 0)
        return unnamed_init(scratch, e);
    if (fd_write_all(fd, asset_init_start, (size_t)(asset_init_end - asset_init_start), e) < 0)
        return err_at(e, "make the program of PID 1");
    if (fcntl(fd, F_ADD_SEALS, F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL) < 0)
        return err_sys(e, errno, "seal the program of PID 1");
    return fd_take(&fd);
}

/* ---- clone ------------------------------------------------------------------------------------------ */

static uint64_t namespaces(const struct plan *p)
{
    return CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS |
           (p->spec->host_network || p->spec->shared_network ? 0 : CLONE_NEWNET) |
           (p->ids.kind == IDS_HOST ? 0 : CLONE_NEWUSER);
}

static int refused_clone(const struct plan *p, int sys, struct err *e)
{
    const char *hint = p->ids.kind == IDS_HOST ? NULL : ids_hint();

    if (hint)
        return err_set(e, ERR_SYS, "make namespaces: %s", hint);
    return err_sys(e, sys, "make namespaces");
}

/* returns twice, as fork: 0 in the child */
static pid_t clone_child(struct box *b, struct plan *p, struct err *e)
{
    int pidfd = -1;
    struct sys_clone_args a = {.flags = namespaces(p) | CLONE_PIDFD,
                               .pidfd = (uintptr_t)&pidfd,
                               .exit_signal = SIGCHLD};
    pid_t pid = -1;

    p->joined = false;
    if (b->cgroup.v2_dir >= 0) {
        struct sys_clone_args into = a;
        into.flags |= CLONE_INTO_CGROUP_FLAG;
        into.cgroup = (uint64_t)b->cgroup.v2_dir;
        p->joined = true;
        pid = sys_clone3(&into, sizeof into);
    }
    if (pid < 0) {
        p->joined = false;
        pid = sys_clone3(&a, offsetof(struct sys_clone_args, set_tid));
    }
    if (pid < 0)
        return refused_clone(p, errno, e);
    b->pidfd = pidfd;
    return pid;
}

/* ---- what the box says ------------------------------------------------------------------------------ */

/* one message, with a descriptor if it brings one. 0 at the end, -1 on failure */
int box_hear(int sock, struct box_msg *m, int *fd, int flags)
{
    struct iovec io = {m, sizeof *m};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control;
    struct msghdr h = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c;
    ssize_t n;

    *fd = -1;
    memset(m, 0, sizeof *m);
    /* Who died with something unread resets the connection, and the reset is told before what he
     * had sent; it is told once. */
    do
        n = recvmsg(sock, &h, MSG_CMSG_CLOEXEC | flags);
    while (n < 0 && (errno == EINTR || errno == ECONNRESET));
    c = n > 0 ? CMSG_FIRSTHDR(&h) : NULL;
    if (c && c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_RIGHTS)
        memcpy(fd, CMSG_DATA(c), sizeof *fd);
    return n < 0 ? -1 : n > 0;
}

static int exec_failed(const struct plan *p, const struct box_msg *m, struct err *e)
{
    const char *name = p->spec->argv[0];
    int sys = m->sys;

    if (m->step == STEP_EXEC_LOADER)
        err_set(e, ERR_MISSING,
                "\"%.200s\" is in the image, but not the program that its first line or its ELF "
                "header asks for",
                name);
    else if (sys == ENOENT || sys == ENOTDIR)
        err_set(e, ERR_MISSING, "\"%.200s\" is not in the image%s", name,
                strchr(name, '/') ? "" : ", on no directory of its PATH");
    else if (sys == EACCES || sys == EISDIR)
        err_set(e, ERR_INPUT, "\"%.200s\" cannot be executed: permission denied", name);
    else if (sys == ENOEXEC || sys == ELIBBAD || sys == EINVAL)
        err_set(e, ERR_INPUT, "\"%.200s\" is no program for this machine, nor a script with #!",
                name);
    else
        err_set(e, ERR_INPUT, "\"%.200s\" cannot be executed: %s", name, strerror(sys));
    e->sys = e->code == ERR_MISSING ? ENOENT : sys == ENOEXEC || sys == EACCES ? sys : EACCES;
    return -1;
}

int box_not_started(const struct plan *p, const struct box_msg *m, struct err *e)
{
    switch ((enum box_step)m->step) {
    case STEP_CWD:
        return err_sys(e, m->sys, "enter the working directory %.200s", p->cwd);
    case STEP_CWD_PROC:
        return err_set(e, ERR_INPUT, "working directory %.200s leads out of the box", p->cwd);
    case STEP_CREDS:
        return err_sys(e, m->sys, "change to user \"%.80s\"%s",
                       p->spec->user ? p->spec->user : "0",
                       p->ids.kind == IDS_RANGE
                           ? " (is the id within the range of /etc/subuid? see dugout doctor)"
                           : "");
    case STEP_SECCOMP:
        return err_sys(e, m->sys, "install the system call filter");
    case STEP_FORK:
        return err_sys(e, m->sys, "start the command");
    case STEP_EXEC:
    case STEP_EXEC_LOADER:
        return exec_failed(p, m, e);
    case STEP_NONE:
    case STEP_JOB:
        break;
    }
    return err_sys(e, m->sys, "start PID 1 of the box");
}

/* it is gone without a word */
static int died(struct box *b, struct err *e)
{
    struct cg_usage used = {0};
    int status = 0;

    if (waitpid(b->pid, &status, __WALL) == b->pid)
        b->reaped = true;
    cg_read(&b->cgroup, &used);
    if (used.oom)
        return err_set(e, ERR_SYS, "the box ran out of memory before the command started: its "
                                   "limit is too small");
    if (WIFSIGNALED(status))
        return err_set(e, ERR_SYS, "the box was killed by signal %d while it was set up",
                       WTERMSIG(status));
    return err_set(e, ERR_SYS, "the box ended with status %d while it was set up",
                   WEXITSTATUS(status));
}

/* ---- the job --------------------------------------------------------------------------------------------- */

static int send_job(struct box *b, const struct plan *p, bool cwd_made, struct err *e)
{
    AUTO_FREE struct box_job *job = xalloc(sizeof *job);
    struct box_user user;
    size_t size;

    if (box_resolve_user(b->root_fd, p->spec->user, &user, e) < 0)
        return -1;
    if (p->ids.kind == IDS_ONE) { /* the only one there is */
        user.uid = p->ids.inner_uid;
        user.gid = p->ids.inner_gid;
    }
    job->uid = user.uid;
    job->gid = user.gid;
    job->flags = (p->spec->as_init_parent_death ? JOB_PARENT_DEATH : 0) |
                 (p->spec->tty ? JOB_TTY : 0) | (p->ids.kind == IDS_ONE ? 0 : JOB_SETGROUPS) |
                 (cwd_made ? JOB_OWN_CWD : 0);
    job->caps = user.uid == 0 ? BOX_CAPS_ROOT : 0;
    job->n_groups = (uint32_t)user.n_groups;
    for (size_t i = 0; i < user.n_groups; i++)
        job->groups[i] = user.groups[i];
    (void)snprintf(job->home, sizeof job->home, "%s", user.home[0] ? user.home : "/");
    (void)snprintf(job->cwd, sizeof job->cwd, "%s", p->cwd);
    job->n_filter = (uint32_t)seccomp_program(job->filter, JOB_FILTER);
    b->seccomp = job->n_filter > 0;
    size = offsetof(struct box_job, filter) + job->n_filter * sizeof *job->filter;
    if (send(b->sock, job, size, MSG_NOSIGNAL) != (ssize_t)size)
        return errno == EPIPE ? 0 : err_sys(e, errno, "send PID 1 its job");
    return 0; /* EPIPE: it died, and what it said is read next */
}

/* until STARTED. 1: overlayfs refused */
static int converse(struct box *b, const struct plan *p, struct err *e)
{
    struct box_msg m;
    int fd;

    for (;;) {
        int got = box_hear(b->sock, &m, &fd, 0);
        if (got < 0 && errno != ECONNRESET)
            return err_sys(e, errno, "hear from the box");
        if (got <= 0)
            return died(b, e);
        switch ((enum box_news)m.kind) {
        case NEWS_FAILED:
            memcpy(e, m.text, sizeof *e);
            return m.status ? 1 : -1;
        case NEWS_ROOT:
            b->root_fd = fd;
            if (send_job(b, p, m.status != 0, e) < 0)
                return -1;
            break;
        case NEWS_TTY:
            b->tty_fd = fd;
            break;
        case NEWS_NOT_STARTED:
            return box_not_started(p, &m, e);
        case NEWS_STARTED:
            return 0;
        case NEWS_ENDED:
            return err_set(e, ERR_SYS, "the box spoke out of turn");
        }
    }
}

/* the child waits, so that /proc still shows it to us and that a range can be mapped */
static int open_userns(struct box *b, const struct plan *p, struct err *e)
{
    char path[64];

    if (p->ids.kind == IDS_HOST)
        return 0;
    (void)snprintf(path, sizeof path, "/proc/%d/ns/user", (int)b->pid);
    b->userns_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (b->userns_fd < 0)
        return err_sys(e, errno, "open the box's user namespace");
    if (p->ids.kind == IDS_RANGE && ids_write_range(&p->ids, b->pid, e) < 0)
        return -1;
    return send(b->sock, "g", 1, MSG_NOSIGNAL) == 1 ? 0 : err_sys(e, errno, "start the box");
}

static int attempt(struct box *b, struct plan *p, struct err *e)
{
    uid_t euid = geteuid();
    gid_t egid = getegid();
    int pair[2];

    if (socketpair(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0, pair) < 0)
        return err_sys(e, errno, "make a socket pair");
    b->sock = pair[0];
    p->sock = pair[1];
    b->pid = clone_child(b, p, e);
    if (b->pid == 0) {
        (void)close(b->sock);
        child_main(p, euid, egid);
    }
    (void)close(p->sock);
    if (b->pid < 0)
        return -1;
    if (p->spec->may_seal)
        seal_hold(b);
    if (p->spec->born) /* it has no job yet */
        p->spec->born(p->spec->born_ctx, b->pid);
    if (open_userns(b, p, e) < 0)
        return -1;
    return converse(b, p, e);
}

int box_spawn(struct box *b, const struct box_spec *spec, struct err *e)
{
    AUTO_FREE struct plan *p = xalloc(sizeof *p);
    AUTO_FREE char **env = NULL;
    AUTO_FD int init = -1;
    int rc;

    p->spec = spec;
    if (check_spec(p, e) < 0 || ids_find(spec, &p->ids, e) < 0)
        return -1;
    p->userxattr = spec->userxattr || p->ids.kind != IDS_HOST || !ids_in_initial_ns();
    p->core_seed = (int)getpid();
    p->cgroup = &b->cgroup;
    env = make_env(p);
    p->envp = env;
    b->ids = p->ids;
    cg_take(&b->cgroup,
            &(struct cg_limits){.memory_bytes = spec->memory_bytes,
                                .cpu_millis = spec->cpu_millis,
                                .cpu_share_millis = spec->cpu_share_millis,
                                .pids_max = spec->pids_max,
                                .devices = p->ids.kind == IDS_HOST,
                                .granted = spec->extras ? spec->extras->devices : NULL,
                                .n_granted = spec->extras ? spec->extras->n_devices : 0});
    init = p->init_fd = box_sealed_init(spec->scratch, e);
    if (init < 0 || root_prepare(p, e) < 0)
        return -1;
    rc = attempt(b, p, e);
    if (rc > 0) {
        struct err first = *e;
        box_take_down(b);
        p->flat = b->flat = true;
        if (root_prepare(p, e) < 0)
            return err_at(e, "%s; then a copy of the layers", first.text);
        rc = attempt(b, p, e);
    }
    return rc;
}

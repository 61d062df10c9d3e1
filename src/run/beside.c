/* SPDX-License-Identifier: Apache-2.0 */
/* beside.c - init containers, and side cars with their tenders
 *
 *   supervisor ── box of the task
 *       └─ tender (one a side car) ── box of the side car
 *
 * A tender reports once, over a pipe, whether the first start worked: nothing, or a struct err. It
 * dies with the supervisor, and its box with it. What a side car leaves with does not count: it is
 * started again, at once after a good while, else after a pause that doubles.
 */
#include "run/beside.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "box/box.h"

#define GRACE_MS 10000      /* between the stop signal and the kill, as docker */
#define PAUSE_FIRST_MS 1000 /* before a side car is started again ... */
#define PAUSE_MAX_MS 60000  /* ... doubling up to this */
#define GOOD_WHILE_MS 60000 /* who ran this long starts afresh */
#define TENDER_EXTRA_MS 15000 /* a tender that does not end so long after the grace hangs */

bool beside_wants_network(const struct attempt *at)
{
    for (size_t i = 0; i < at->pod.n_inits; i++)
        if (at->pod.inits[i].side_car)
            return !at->network_host;
    return false;
}

static int64_t grace_ms(const struct attempt *at)
{
    return at->grace_ms ? at->grace_ms : GRACE_MS;
}

static int start_box(const struct beside *b, const struct pod_init *c, const char *scratch,
                     struct box **gives, struct err *e)
{
    const struct attempt *at = b->at;
    struct box_spec spec = {
        .hostname = at->hostname.ptr,
        .lowers = c->lowers,
        .n_lowers = c->n_lowers,
        .userxattr = geteuid() != 0,
        .scratch = arena_printf(b->a, "%s/%s", b->dir, scratch),
        .argv = c->argv,
        .envp = c->env,
        .cwd = c->cwd.ptr,
        .user = c->user.ptr,
        .mounts = pod_init_mounts_in(b->a, c, b->dir),
        .n_mounts = c->n_mounts,
        .host_network = at->network_host,
        .shared_network = b->shared_network,
        .memory_bytes = c->memory_bytes ? c->memory_bytes : at->memory_bytes,
        .cpu_millis = c->cpu_millis ? c->cpu_millis : at->cpu_millis,
        .pids_max = at->pids_max,
        .stdin_fd = -1,
        .stdout_fd = b->log_fd,
        .stderr_fd = b->log_fd,
        .stop_signal = SIGTERM,
        .as_init_parent_death = true,
    };

    if (box_remove_tree(b->dir_fd, scratch, e) < 0)
        return -1;
    if (mkdirat(b->dir_fd, scratch, 0700) < 0)
        return err_sys(e, errno, "make %s", scratch);
    return box_start(&spec, gives, e);
}

int beside_start_init(const struct beside *b, const struct pod_init *c, struct box **gives,
                      struct err *e)
{
    return start_box(b, c, "box", gives, e);
}

/* ---- the tender ------------------------------------------------------------------ */

/* readable: 1, the time is over: 0 */
static int wait_for(int fd, int64_t ms)
{
    struct pollfd p = {fd, POLLIN, 0};
    int n;

    do
        n = poll(&p, 1, ms < 0 ? -1 : (int)ms);
    while (n < 0 && errno == EINTR);
    return n > 0;
}

void beside_scratch_name(size_t i, char out[BESIDE_NAME])
{
    (void)snprintf(out, BESIDE_NAME, "side%zu", i);
}

/* until the box has ended or we are told to stop: then true */
static bool watch(struct box *box, int stop_fd, int64_t grace)
{
    struct pollfd p[] = {{box_pidfd(box), POLLIN, 0}, {stop_fd, POLLIN, 0}};

    while (!p[0].revents && !p[1].revents)
        (void)poll(p, N_ELEMS(p), -1);
    if (!p[1].revents)
        return false;
    (void)box_signal(box, SIGTERM);
    if (!wait_for(box_pidfd(box), grace))
        (void)box_kill(box);
    return true;
}

static _Noreturn void tend(const struct beside *b, const struct pod_init *c, int report_fd)
{
    char scratch[BESIDE_NAME];
    int64_t pause_ms = PAUSE_FIRST_MS;
    struct err e = {0};
    sigset_t mask;
    int stop_fd;

    sigemptyset(&mask);
    sigaddset(&mask, SIGTERM);
    (void)sigprocmask(SIG_SETMASK, &mask, NULL);
    stop_fd = signalfd(-1, &mask, SFD_CLOEXEC);
    beside_scratch_name(b->n_tenders, scratch);
    for (bool stop = false; !stop;) {
        int64_t began_ms = clock_mono_ns() / 1000000;
        struct box_result unused;
        struct box *box = NULL;

        if (start_box(b, c, scratch, &box, &e) < 0 && report_fd >= 0) {
            (void)!write(report_fd, &e, sizeof e);
            _exit(1);
        }
        if (report_fd >= 0)
            (void)close(report_fd);
        report_fd = -1;
        if (box) {
            stop = watch(box, stop_fd, grace_ms(b->at));
            (void)box_finish(box, &unused, &e);
            box_close(box);
        }
        if (clock_mono_ns() / 1000000 - began_ms > GOOD_WHILE_MS)
            pause_ms = PAUSE_FIRST_MS;
        if (!stop)
            stop = wait_for(stop_fd, pause_ms);
        pause_ms = 2 * pause_ms < PAUSE_MAX_MS ? 2 * pause_ms : PAUSE_MAX_MS;
    }
    (void)box_remove_tree(b->dir_fd, scratch, &e);
    _exit(0);
}

/* The child keeps three descriptors of ours: the lock that says that the supervisor lives, and those
 * on its GPUs, must end with the supervisor. */
static _Noreturn void become_tender(struct beside *b, const struct pod_init *c, int report_fd,
                                    pid_t parent)
{
    int keep[] = {b->dir_fd, b->log_fd, report_fd};

    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent)
        _exit(1);
    (void)prctl(PR_SET_NAME, "dugout-tender");
    fd_close_all_but(keep, N_ELEMS(keep));
    tend(b, c, report_fd);
}

int beside_start_car(struct beside *b, const struct pod_init *c, struct err *e)
{
    AUTO_FD int in = -1;
    AUTO_FD int out = -1;
    pid_t parent = getpid(), pid;
    struct err why;
    int fds[2];
    ssize_t n;

    if (pipe2(fds, O_CLOEXEC) < 0)
        return err_sys(e, errno, "prepare side car %s", c->name.ptr);
    in = fds[0];
    out = fds[1];
    pid = fork();
    if (pid == 0)
        become_tender(b, c, out, parent);
    if (pid < 0)
        return err_sys(e, errno, "fork for side car %s", c->name.ptr);
    b->tenders = arena_grow(b->a, b->tenders, &b->n_tenders, sizeof(*b->tenders));
    b->tenders[b->n_tenders - 1] = pid;
    (void)close(fd_take(&out));
    do
        n = read(in, &why, sizeof why);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return 0;
    *e = n == sizeof why ? why : (struct err){.code = ERR_SYS, .text = "its tender is gone"};
    return err_at(e, "side car %s", c->name.ptr);
}

void beside_stop(struct beside *b)
{
    for (size_t i = b->n_tenders; i-- > 0;)
        (void)kill(b->tenders[i], SIGTERM);
    for (size_t i = b->n_tenders; i-- > 0;) {
        AUTO_FD int pidfd = (int)syscall(SYS_pidfd_open, b->tenders[i], 0);

        if (pidfd >= 0 && !wait_for(pidfd, grace_ms(b->at) + TENDER_EXTRA_MS))
            (void)kill(b->tenders[i], SIGKILL);
        while (waitpid(b->tenders[i], NULL, 0) < 0 && errno == EINTR)
            ;
    }
    b->n_tenders = 0;
}

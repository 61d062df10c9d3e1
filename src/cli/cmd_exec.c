/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_exec.c - look into a running task: a command in its box */
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "base/fd.h"
#include "box/box.h"
#include "box/enter.h"
#include "cli/cli.h"
#include "cli/relay.h"
#include "lineage/query.h"
#include "run/attempt.h"

#define EXEC_FAILED 125

/* the directory of the attempt that runs now */
static int running_attempt(struct cli *c, const char *what, int *dir_fd, struct err *e)
{
    struct db_attempt *rows;
    struct db_task t;
    int64_t run, task;
    size_t n;

    if (db_task_find(c->db, str_of(what), &run, &task, e) < 0)
        return -1;
    if (!task)
        return err_set(e, ERR_INPUT, "exec wants RUN/TASK: %s is a run", what);
    if (db_task_get_in(&c->a, c->db, task, &t, e) < 0 ||
        db_attempts_in(&c->a, c->db, task, &rows, &n, e) < 0)
        return -1;
    if (n && rows[n - 1].state == DB_RUNNING && rows[n - 1].dir.len) {
        *dir_fd = open(arena_printf(&c->a, "%s/%s", c->home, rows[n - 1].dir.ptr),
                       O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (*dir_fd >= 0 && attempt_alive(*dir_fd))
            return 0;
    }
    return err_set(e, ERR_MISSING, "task %.*s does not run now (it is %s)", STR_ARG(t.path),
                   db_state_name(t.state));
}

/* the supervisor's pid, believed only while it is that process */
static int supervisor_of(int dir_fd, pid_t *pid, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_FD int pidfd = -1;

    buf_init(&text, 256);
    if (pid_file_open(dir_fd, "pid", &pidfd, e) < 0 ||
        fd_read_file(dir_fd, "pid", &text, 256, e) < 0)
        return err_at(e, "its supervisor");
    *pid = (pid_t)strtol(buf_str(&text), NULL, 10);
    return 0;
}

static int signals(void)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2};
    sigset_t mask;

    sigemptyset(&mask);
    for (size_t i = 0; i < N_ELEMS(all); i++)
        sigaddset(&mask, all[i]);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

static void started(void *ctx)
{
    relay_started(ctx);
}

int cmd_exec(struct cli *c)
{
    AUTO_FD int dir_fd = -1;
    AUTO_FD int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    struct relay relay;
    AUTO_FD int signal_fd = -1;
    struct box_entry x = {.started = NULL};
    struct attempt at;
    struct err e = {0};
    pid_t supervisor = 0;
    int status = EXEC_FAILED, rc;

    if (cli_open(c, DB_READ, &e) < 0 || running_attempt(c, c->args[0], &dir_fd, &e) < 0 ||
        attempt_read_in(&c->a, dir_fd, &at, &e) < 0 ||
        supervisor_of(dir_fd, &supervisor, &e) < 0 ||
        box_pid_of(supervisor, &x.pid, &e) < 0)
        return (void)cli_fail(&e), EXEC_FAILED;
    signal_fd = signals();
    x.user = opt_text(c, "user") ? opt_text(c, "user") : at.user.ptr;
    x.cwd = opt_text(c, "workdir") ? opt_text(c, "workdir") : at.cwd.ptr;
    x.argv = c->args + 1;
    x.signal_fd = signal_fd;
    if (x.cwd[0] != '/')
        return (void)cli_fail((err_set(&e, ERR_INPUT, "--workdir %.200s: want an absolute path",
                                       x.cwd),
                               &e)),
               EXEC_FAILED;
    rc = relay_open(&relay, opt_flag(c, "interactive"), &e);
    x.stdin_fd = relay.fds[0] < 0 ? null : relay.fds[0];
    x.stdout_fd = relay.fds[1];
    x.stderr_fd = relay.fds[2];
    x.started = started;
    x.started_ctx = &relay;
    if (rc == 0)
        rc = box_enter(&x, &status, &e);
    if (relay_close(&relay, rc < 0 ? &(struct err){0} : &e) < 0)
        rc = -1;
    if (rc < 0) {
        (void)cli_fail(&e);
        return box_start_status(&e);
    }
    return status;
}

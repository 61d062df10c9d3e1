/* SPDX-License-Identifier: Apache-2.0 */
/* hooks.c - on_success, on_failure, on_interrupted
 *
 * The hook reads a pipe that may be larger than it cares for, may hang, may fail, may not exist:
 * none of this is the run's problem. It gets its own session, so that its descendants can be
 * killed with it.
 */
#include "run/hooks.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/query.h"
#include "run/log.h"

#define HOOK_LOG_LINES 50

static int hook_text(struct run_env *env, const char *run_id, struct buf *out, char state[16],
                     struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf log = {0};
    struct db_task *tasks;
    struct db_attempt *attempts;
    struct db_run row;
    size_t n, n_attempts;
    int64_t run;
    struct jw w;

    jw_init(&w, out);
    if (db_run_by_uuid(env->db, str_of(run_id), &run, e) < 0 ||
        db_run_get_in(&a, env->db, run, &row, e) < 0 || db_run_json(env->db, run, &w, e) < 0 ||
        db_tasks_in(&a, env->db, run, &tasks, &n, e) < 0)
        return -1;
    snprintf(state, 16, "%s", db_state_name(row.state));
    buf_init(&log, 64 * KIB);
    for (size_t i = 0; i < n && !log.len; i++) {
        if (tasks[i].state != DB_FAILED ||
            db_attempts_in(&a, env->db, tasks[i].id, &attempts, &n_attempts, e) < 0 ||
            !n_attempts || !attempts[n_attempts - 1].dir.len)
            continue;
        char *path = arena_printf(&a, "%s/%.*s", env->home,
                                  STR_ARG(attempts[n_attempts - 1].dir));
        AUTO_FD int dir = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir >= 0)
            runlog_last_lines(dir, HOOK_LOG_LINES, 32 * KIB, &log);
    }
    if (out->len && out->ptr[out->len - 1] == '}') { /* one member more */
        out->ptr[--out->len] = 0;
        buf_adds(out, ",\"log\":");
        buf_add_json_string(out, (struct str){buf_str(&log), log.len});
        buf_adds(out, "}\n");
    }
    return 0;
}

static _Noreturn void become_hook(const char *program, int stdin_fd, const char *run_id,
                                  const char *state)
{
    sigset_t none;

    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    (void)signal(SIGXFSZ, SIG_DFL);
    (void)setsid();
    (void)dup2(stdin_fd, 0);
    (void)dup2(2, 1); /* stdout is for results */
    (void)setenv("DUGOUT_RUN", run_id, 1);
    (void)setenv("DUGOUT_STATE", state, 1);
    (void)execl(program, program, (char *)NULL);
    _exit(127);
}

/* feed stdin and wait, both bounded by one deadline */
static int attend(pid_t pid, int pidfd, int in, const struct buf *text, struct err *e)
{
    int64_t deadline = clock_mono_ns() + HOOK_TIMEOUT_MS * 1000000LL;
    size_t sent = 0;
    int status;

    for (;;) {
        struct pollfd p[] = {{pidfd, POLLIN, 0}, {in, POLLOUT, 0}};
        int64_t left = (deadline - clock_mono_ns()) / 1000000;

        if (left <= 0 || poll(p, 2, (int)left) == 0) {
            (void)kill(-pid, SIGKILL);
            (void)waitpid(pid, &status, 0);
            return err_set(e, ERR_SYS, "still running after %d s, killed",
                           HOOK_TIMEOUT_MS / 1000);
        }
        if (p[1].revents) {
            ssize_t n = write(in, text->ptr + sent, text->len - sent);
            if (n > 0)
                sent += (size_t)n;
            if ((n < 0 && errno != EAGAIN && errno != EINTR) || sent == text->len) {
                (void)close(in); /* it need not read it all */
                in = -1;
            }
        }
        if (p[0].revents)
            break;
    }
    if (in >= 0)
        (void)close(in);
    if (waitpid(pid, &status, 0) < 0)
        return err_sys(e, errno, "wait for it");
    if (WIFEXITED(status) && WEXITSTATUS(status) == 127)
        return err_set(e, ERR_MISSING, "could not be executed: is it there, and executable?");
    if (status != 0)
        return err_set(e, ERR_SYS, "ended with %s %d", WIFEXITED(status) ? "exit code" : "signal",
                       WIFEXITED(status) ? WEXITSTATUS(status) : WTERMSIG(status));
    return 0;
}

/* start it, feed it, wait for it */
static int call(const char *program, const char *run_id, const char *state, const struct buf *text,
                struct err *e)
{
    AUTO_FD int pidfd = -1;
    int in[2];
    pid_t pid;

    if (pipe2(in, O_CLOEXEC | O_NONBLOCK) < 0)
        return err_sys(e, errno, "pipe");
    pid = fork();
    if (pid == 0) {
        (void)fcntl(in[0], F_SETFL, 0);
        become_hook(program, in[0], run_id, state);
    }
    (void)close(in[0]);
    if (pid < 0) {
        (void)close(in[1]);
        return err_sys(e, errno, "fork");
    }
    pidfd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (pidfd < 0) {
        (void)close(in[1]);
        return err_sys(e, errno, "pidfd_open");
    }
    return attend(pid, pidfd, in[1], text, e);
}

int hook_run(struct run_env *env, const char *program, const char *run_id, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    char state[16];

    buf_init(&text, LIMIT_RESULT_BYTES);
    if (hook_text(env, run_id, &text, state, e) < 0)
        return -1;
    return call(program, run_id, state, &text, e);
}

int hook_start(struct run_env *env, const char *program, const char *run_id, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct err ignored = {0};
    char state[16];
    pid_t pid;

    buf_init(&text, LIMIT_RESULT_BYTES);
    if (hook_text(env, run_id, &text, state, e) < 0)
        return -1;
    pid = fork();
    if (pid < 0)
        return err_sys(e, errno, "fork");
    if (pid > 0)
        return 0;
    /* Whoever reads our output must not wait for the hook, nor may it keep a lock of ours. */
    (void)syscall(SYS_close_range, 3, ~0U, 0);
    for (int fd = 0; fd < 3; fd++)
        (void)close(fd);
    for (int fd = 0; fd < 3; fd++)
        (void)!open("/dev/null", O_RDWR);
    (void)setsid();
    (void)call(program, run_id, state, &text, &ignored);
    _exit(0);
}

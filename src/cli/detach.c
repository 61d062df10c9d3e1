/* SPDX-License-Identifier: Apache-2.0 */
/* detach.c - a run in the background, and how a command ends that carried one out
 *
 * With -d the engine runs in a child of its own session. The parent waits for one line on a pipe,
 * the run's name or an error, so that what is wrong before the start is still said here.
 */
#include "cli/detach.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/log.h"
#include "lineage/query.h"
#include "run/spawner.h"

struct detach_report {
    int32_t status; /* -1 = it started */
    char text[600];
};

static int detach_parent(struct cli *c, int fd)
{
    struct detach_report r = {.status = 6, .text = "the engine died before the run began"};
    size_t have = 0;
    ssize_t n;

    while (have < sizeof r && (n = read(fd, (char *)&r + have, sizeof r - have)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            break;
        have += (size_t)n;
    }
    if (r.status >= 0) {
        (void)fprintf(stderr, "dugout: %s\n", r.text);
        return r.status;
    }
    if (c->json)
        (void)printf("{\"run_id\":\"%.36s\",\"name\":\"%s\"}\n", r.text, r.text + 37);
    else
        (void)printf("%s\n", r.text + 37);
    return 0;
}

void detach_say(struct detach *d, int status, const char *id, const char *text)
{
    struct detach_report r = {.status = status};

    if (d->pipe_fd < 0)
        return;
    if (id)
        snprintf(r.text, sizeof r.text, "%.36s", id);
    snprintf(r.text + (id ? 37 : 0), sizeof r.text - 40, "%s", text);
    (void)!write(d->pipe_fd, &r, sizeof r);
    (void)close(d->pipe_fd);
    d->pipe_fd = -1;
}

int detach_begin(struct cli *c, struct detach *d, int *status, struct err *e)
{
    int p[2];
    pid_t pid;

    d->pipe_fd = -1;
    if (!opt_flag(c, "detach"))
        return 0;
    if (pipe2(p, O_CLOEXEC) < 0)
        return err_sys(e, errno, "pipe");
    pid = fork();
    if (pid < 0)
        return err_sys(e, errno, "fork");
    if (pid > 0) {
        (void)close(p[1]);
        *status = detach_parent(c, p[0]);
        return 1;
    }
    (void)close(p[0]);
    d->pipe_fd = p[1];
    (void)setsid();
    fd_leave_stdio();
    log_set_level(LOG_QUIET);
    return spawner_start(&c->spawner, e);
}

/* ---- the end ------------------------------------------------------------------------------------------- */

void detach_watch(void *ctx, const struct run_event *ev)
{
    struct watcher *w = ctx;

    if (ev->kind == RUN_EVENT_RECORDED)
        detach_say(w->d, -1, ev->run_id, ev->run_name);
    w->inner.event(w->inner.ctx, ev);
}

static int exit_status(const struct run_outcome *o)
{
    if (o->timed_out)
        return 124;
    if (o->state == TASK_CANCELED)
        return 128 + o->signal;
    return o->state == TASK_SUCCEEDED ? 0 : 1;
}

static void print_run_json(struct cli *c, const char *run_id)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;
    struct err e;
    int64_t run;

    buf_init(&b, 0);
    jw_init(&w, &b);
    if (db_run_by_uuid(c->db, str_of(run_id), &run, &e) == 0 &&
        db_run_json(c->db, run, &w, &e) == 0)
        cli_out_json(&b);
    else
        (void)cli_fail(&e);
}

int cli_report(struct cli *c, struct progress *p, const struct run_outcome *o)
{
    progress_summary(p, c, o);
    if (c->json && !o->detached)
        print_run_json(c, o->run_id);
    db_checkpoint(c->db);
    return exit_status(o);
}

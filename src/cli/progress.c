/* SPDX-License-Identifier: Apache-2.0 */
/* progress.c - what a person sees of a run: a live view on a terminal, plain lines elsewhere
 *
 * Lines of finished tasks scroll by; below them a block with one line for each running task is
 * drawn again every tick. Everything goes to stderr. What ended is always said by a plain line too,
 * so that a log of the terminal reads like a log of cron.
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/query.h"
#include "run/log.h"

#define MAX_BLOCK 20 /* lines of the live block */

struct progress {
    bool live, quiet;
    size_t drawn; /* lines of the block on the screen */
    FILE *events;
    char **said; /* notices, so that each is said once */
    size_t n_said;
};

static const char *colour(const struct progress *p, const char *code)
{
    return p->live ? code : "";
}

static void erase(struct progress *p)
{
    if (p->drawn)
        (void)fprintf(stderr, "\x1b[%zuA\x1b[J", p->drawn);
    p->drawn = 0;
}

static unsigned columns(void)
{
    struct winsize w;

    return ioctl(2, TIOCGWINSZ, &w) == 0 && w.ws_col > 20 ? w.ws_col : 80;
}

static void draw(struct progress *p, const struct graph *g)
{
    unsigned width = columns();
    size_t more = 0;
    int64_t now = clock_mono_ns();

    erase(p);
    for (size_t i = 0; i < g->n_tasks; i++) {
        const struct task *t = g->tasks[i];
        char human[24];
        int64_t started = run_task_started_ns(t);

        if (t->state != TASK_RUNNING || task_is_group(t))
            continue;
        if (p->drawn >= MAX_BLOCK) {
            more++;
            continue;
        }
        clock_human(started ? (now - started) / 1000000 : 0, human);
        (void)fprintf(stderr, "  %s*%s %-*.*s %s\n", colour(p, "\x1b[33m"), colour(p, "\x1b[0m"),
                      (int)(width > 60 ? 36 : 20),
                      (int)(t->path.len < width - 20 ? t->path.len : width - 20), t->path.ptr,
                      human);
        p->drawn++;
    }
    if (more) {
        (void)fprintf(stderr, "  and %zu more\n", more);
        p->drawn++;
    }
    (void)fflush(stderr);
}

/* A group is heard of where it is the cause: its condition was false, or it failed by itself. What
 * it holds then did not run, and goes without saying. */
static bool worth_a_line(const struct task *t)
{
    const struct task *owner = t->scope->owner;

    if (t->state == TASK_SKIPPED || t->state == TASK_CANCELED)
        return !owner || !task_state_final(owner->state);
    return !task_is_group(t) || (t->state == TASK_FAILED && !group_failed(t));
}

static void on_task(struct progress *p, const struct run_event *ev)
{
    const struct task *t = ev->task;
    char human[24];

    if (!worth_a_line(t))
        return;
    clock_human(ev->elapsed_ms, human);
    switch (t->state) {
    case TASK_RUNNING:
        if (!p->live)
            (void)fprintf(stderr, "  started    %.*s\n", STR_ARG(t->path));
        return;
    case TASK_SUCCEEDED:
        (void)fprintf(stderr, "  %s%s%s  %.*s%s%s\n", colour(p, "\x1b[32m"),
                      t->cached ? "cached   " : "succeeded", colour(p, "\x1b[0m"),
                      STR_ARG(t->path), t->cached ? "" : "  ", t->cached ? "" : human);
        return;
    case TASK_FAILED:
        (void)fprintf(stderr, "  %sfailed   %s  %.*s  %s: %.*s\n", colour(p, "\x1b[31m"),
                      colour(p, "\x1b[0m"), STR_ARG(t->path), human, STR_ARG(t->error));
        return;
    case TASK_SKIPPED:
    case TASK_CANCELED:
        (void)fprintf(stderr, "  %s  %.*s: %.*s\n",
                      t->state == TASK_SKIPPED ? "skipped  " : "canceled ", STR_ARG(t->path),
                      STR_ARG(t->reason));
        return;
    case TASK_PENDING:
    case TASK_STATES:
        return;
    }
}

static bool said_before(struct progress *p, const char *text)
{
    for (size_t i = 0; i < p->n_said; i++)
        if (strcmp(p->said[i], text) == 0)
            return true;
    p->said = xrealloc(p->said, (p->n_said + 1) * sizeof(*p->said));
    p->said[p->n_said++] = xstrdup(text);
    return false;
}

/* one JSON line for each event, for other programs */
static void write_event(struct progress *p, const struct run_event *ev)
{
    static const char *const names[] = {"run", "recorded", "task", "retry", "notice", "tick", "detached"};
    AUTO_BUF struct buf b = {0};
    struct jw w;
    char when[25];

    if (ev->kind == RUN_EVENT_TICK)
        return;
    buf_init(&b, 0);
    clock_rfc3339(clock_unix_ms(), when);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "time", when);
    jw_kstr(&w, "event", names[ev->kind]);
    jw_kstr(&w, "run_id", ev->run_id);
    jw_kstr(&w, "run", ev->run_name);
    if (ev->task) {
        jw_key(&w, "task");
        jw_str(&w, ev->task->path);
        jw_kstr(&w, "state", task_state_name(ev->task->state));
        jw_kbool(&w, "cached", ev->task->cached);
        jw_ki64(&w, "attempt", ev->attempt);
    }
    if (ev->text)
        jw_kstr(&w, "text", ev->text);
    jw_end_obj(&w);
    (void)fprintf(p->events, "%s\n", buf_str(&b));
    (void)fflush(p->events);
}

static void on_event(void *ctx, const struct run_event *ev)
{
    struct progress *p = ctx;

    if (p->events)
        write_event(p, ev);
    if (ev->kind == RUN_EVENT_DETACHED) { /* nobody is there any more */
        p->live = false;
        p->quiet = true;
        p->drawn = 0;
    }
    if (p->quiet)
        return;
    if (ev->kind == RUN_EVENT_TICK) {
        draw(p, ev->graph);
        return;
    }
    erase(p);
    if (ev->kind == RUN_EVENT_STARTED)
        (void)fprintf(stderr, "run %s%s%s\n", colour(p, "\x1b[1m"), ev->run_name,
                      colour(p, "\x1b[0m"));
    else if (ev->kind == RUN_EVENT_TASK)
        on_task(p, ev);
    else if (ev->kind == RUN_EVENT_RETRY)
        (void)fprintf(stderr, "  retry      %.*s  %s\n", STR_ARG(ev->task->path), ev->text);
    else if (ev->kind == RUN_EVENT_NOTICE && !said_before(p, ev->text))
        (void)fprintf(stderr, "dugout: %s\n", ev->text);
    if (p->live && ev->graph)
        draw(p, ev->graph);
}

struct progress *progress_new(void)
{
    struct progress *p = xalloc(sizeof *p);
    const char *term = getenv("TERM");

    p->quiet = log_get_level() < LOG_NORMAL;
    p->live = !p->quiet && isatty(2) && term && strcmp(term, "dumb") != 0;
    return p;
}

struct run_view progress_view(struct progress *p)
{
    return (struct run_view){.event = on_event, .ctx = p, .ticks = p->live};
}

void progress_events_to(struct progress *p, FILE *events)
{
    p->events = events;
}

void progress_free(struct progress *p)
{
    if (!p)
        return;
    erase(p);
    for (size_t i = 0; i < p->n_said; i++)
        free(p->said[i]);
    free(p->said);
    if (p->events)
        (void)fclose(p->events);
    free(p);
}

/* ---- the end ------------------------------------------------------------------------------------ */

static void print_log_tail(const char *log_path)
{
    AUTO_BUF struct buf tail = {0};
    AUTO_FREE char *dir = xstrdup(log_path);
    char *slash = strrchr(dir, '/');
    AUTO_FD int fd = -1;

    if (!slash)
        return;
    *slash = 0;
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    buf_init(&tail, 64 * KIB);
    if (fd >= 0)
        runlog_last_lines(fd, 15, 8 * KIB, &tail);
    if (!tail.len)
        return;
    (void)fprintf(stderr, "its last lines:\n");
    cli_quote(stderr, tail.ptr);
}

static void print_outputs(const struct cli *c, const char *run_id)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct db_run row;
    struct err e;
    json *params, *arts, *key;
    yyjson_obj_iter it;
    int64_t run;

    if (db_run_by_uuid(c->db, str_of(run_id), &run, &e) < 0 ||
        db_run_get_in(&a, c->db, run, &row, &e) < 0 || !row.outputs_json.len ||
        json_parse(row.outputs_json, LIMIT_RESULT_BYTES, &doc, &e) < 0)
        return;
    params = json_at(yyjson_doc_get_root(doc), "parameters");
    arts = json_at(yyjson_doc_get_root(doc), "artifacts");
    if (params) {
        yyjson_obj_iter_init(params, &it);
        while ((key = yyjson_obj_iter_next(&it))) {
            AUTO_BUF struct buf text = {0};
            struct value v = value_from_json_in(&a, yyjson_obj_iter_get_val(key));
            buf_init(&text, 0);
            value_text(&text, &v);
            (void)printf("%s: %s\n", yyjson_get_str(key), buf_str(&text));
        }
    }
    if (arts) {
        yyjson_obj_iter_init(arts, &it);
        while ((key = yyjson_obj_iter_next(&it))) {
            json *list = yyjson_obj_iter_get_val(key), *f;
            size_t i, max;
            yyjson_arr_foreach(list, i, max, f) {
                struct str type = json_as_str(json_at(f, "type"));
                (void)printf("%s: a%lld %.*s\n", yyjson_get_str(key),
                             (long long)yyjson_get_sint(json_at(f, "id")), STR_ARG(type));
            }
        }
    }
    (void)fflush(stdout);
}

/* the last line of --events: how it ended, and how much of it was known */
static void write_end(struct progress *p, const struct run_outcome *o)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;
    char when[25];

    buf_init(&b, 0);
    clock_rfc3339(clock_unix_ms(), when);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_kstr(&w, "time", when);
    jw_kstr(&w, "event", "end");
    jw_kstr(&w, "run_id", o->run_id);
    jw_kstr(&w, "run", o->name);
    jw_kstr(&w, "state", task_state_name(o->state));
    jw_kbool(&w, "timed_out", o->timed_out);
    jw_ki64(&w, "tasks", (int64_t)o->n_tasks);
    jw_ki64(&w, "cached", (int64_t)o->n_cached);
    jw_ki64(&w, "failed", (int64_t)o->n_failed);
    if (o->error[0])
        jw_kstr(&w, "text", o->error);
    jw_end_obj(&w);
    (void)fprintf(p->events, "%s\n", buf_str(&b));
    (void)fflush(p->events);
}

void progress_summary(struct progress *p, const struct cli *c, const struct run_outcome *o)
{
    char human[24];

    erase(p);
    if (p->events)
        write_end(p, o);
    if (o->detached)
        return;
    if (!c->json)
        print_outputs(c, o->run_id);
    if (p->quiet)
        return;
    clock_human(o->elapsed_ms, human);
    (void)fprintf(stderr, "run %s %s in %s (%zu task%s, %zu cached%s)\n", o->name,
                  o->timed_out                   ? "timed out"
                  : o->state == TASK_SUCCEEDED   ? "succeeded"
                  : o->state == TASK_CANCELED    ? "was canceled"
                                                 : "failed",
                  human, o->n_tasks, o->n_tasks == 1 ? "" : "s", o->n_cached, o->n_failed ? ", some failed" : "");
    if (o->failed_task[0]) {
        (void)fprintf(stderr, "task %s: %s\n", o->failed_task, o->error);
        if (o->log_path[0])
            print_log_tail(o->log_path);
        (void)fprintf(stderr,
                      "look closer: dugout %s %s/%s; after mending: dugout resume %s\n",
                      o->log_path[0] ? "logs" : "why", o->name, o->failed_task, o->name);
    } else if (o->nothing_new) {
        (void)fprintf(stderr, "nothing new: every result was known (--no-cache runs it all)\n");
    } else if (o->state == TASK_SUCCEEDED) {
        (void)fprintf(stderr, "look closer: dugout show %s\n", o->name);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_runs.c - runs, show, logs: looking back */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/query.h"

#define SHORT 12
#define FOLLOW_MS 200

static void duration(int64_t from, int64_t to, char out[24])
{
    if (!from)
        snprintf(out, 24, "-");
    else
        clock_human((to ? to : clock_unix_ms()) - from, out);
}

/* ---- runs -------------------------------------------------------------------------------------- */

int cmd_runs(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    const char *pipeline = opt_text(c, "pipeline"), *experiment = opt_text(c, "experiment"),
               *state = opt_text(c, "state");
    struct db_run_filter f = {0};
    struct db_run *rows;
    struct err e = {0};
    uint64_t limit = 20;
    enum db_state s;
    struct table t;
    struct jw w;
    size_t n;

    if (state && !db_state_from_name(str_of(state), &s))
        return cli_fail((err_set(&e, ERR_INPUT, "--state %.40s: want RUNNING, SUCCEEDED, FAILED, "
                                                "CANCELED or INTERRUPTED",
                                 state),
                         &e));
    if (state)
        f.states = DB_IS(s);
    if (pipeline)
        f.pipeline = str_of(pipeline);
    if (experiment)
        f.experiment = str_of(experiment);
    if (opt_u64(c, "limit", &limit, &e) < 0 || cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    f.limit = cli_one_more(limit);
    if (db_runs_in(&c->a, c->db, &f, &rows, &n, &e) < 0)
        return cli_fail(&e);
    n = cli_cut(n, limit);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 6, (const char *const[]){"RUN", "PIPELINE", "STATE", "CREATED", "TOOK", "TASKS"});
    for (size_t i = 0; i < n; i++) {
        struct db_run_counts k = {0};
        char when[25], took[24];
        if (db_run_row_json(c->db, &rows[i], &w, &e) < 0 ||
            db_run_counts(c->db, rows[i].id, &k, &e) < 0)
            return cli_fail(&e);
        clock_rfc3339(rows[i].created_unix_ms, when);
        duration(rows[i].created_unix_ms, rows[i].finished_unix_ms, took);
        table_addf(&t, "%.*s", STR_ARG(rows[i].name));
        table_addf(&t, "%.*s", STR_ARG(rows[i].pipeline));
        table_add(&t, db_state_name(rows[i].state));
        table_addf(&t, "%.10s %.5s", when, when + 11);
        table_add(&t, took);
        if (rows[i].all_cached)
            table_addf(&t, "%lld, nothing new", (long long)k.total);
        else
            table_addf(&t, "%lld of %lld%s", (long long)k.by_state[DB_SUCCEEDED],
                       (long long)k.total, k.by_state[DB_FAILED] ? ", some failed" : "");
    }
    jw_end_arr(&w);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&t, stdout);
    return 0;
}

/* ---- show -------------------------------------------------------------------------------------- */

static void line(const char *key, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
static void line(const char *key, const char *fmt, ...)
{
    va_list ap;

    (void)printf("%-11s ", key);
    va_start(ap, fmt);
    (void)vprintf(fmt, ap);
    va_end(ap);
    (void)putchar('\n');
}

static void text_line(const char *key, struct str text)
{
    if (text.len)
        line(key, "%.*s", STR_ARG(text));
}

static void print_json_members(struct cli *c, const char *heading, struct str text)
{
    struct value v;
    struct err e;

    if (!text.len || value_parse_in(&c->a, text, &v, &e) < 0 || !v.n_items)
        return;
    for (size_t i = 0; i < v.n_items; i++) {
        AUTO_BUF struct buf b = {0};
        buf_init(&b, 0);
        value_to_json(&b, &v.items[i]);
        line(i ? "" : heading, "%.*s = %.200s", STR_ARG(v.keys[i]), buf_str(&b));
    }
}

static int print_externals(struct cli *c, int64_t run, struct err *e)
{
    struct db_external_row *rows;
    size_t n;

    if (db_externals_in(&c->a, c->db, run, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        line(i ? "" : "external", "%.*s%s%.*s (%.*s, unverified%s)", STR_ARG(rows[i].path),
             rows[i].target.len ? " at " : "", STR_ARG(rows[i].target), STR_ARG(rows[i].what),
             str_eqz(rows[i].what, "mount") ? rows[i].read_only ? ", read-only" : ", read-write"
                                            : "");
    return 0;
}

static int print_task_table(struct cli *c, int64_t run, struct err *e)
{
    struct db_task *rows;
    struct table t;
    size_t n;

    if (db_tasks_in(&c->a, c->db, run, &rows, &n, e) < 0)
        return -1;
    (void)putchar('\n');
    table_init(&t, 5, (const char *const[]){"TASK", "STATE", "TOOK", "ATTEMPTS", ""});
    for (size_t i = 0; i < n; i++) {
        char took[24];
        duration(rows[i].started_unix_ms, rows[i].finished_unix_ms, took);
        table_addf(&t, "%.*s", STR_ARG(rows[i].path));
        table_addf(&t, "%s%s", db_state_name(rows[i].state), rows[i].cached ? " (cached)" : "");
        table_add(&t, rows[i].cached ? "-" : took);
        table_addf(&t, "%lld", (long long)rows[i].attempts);
        table_addf(&t, "%.*s", (int)(rows[i].error.len ? rows[i].error.len : rows[i].reason.len),
                   rows[i].error.len ? rows[i].error.ptr : rows[i].reason.ptr);
    }
    table_print(&t, stdout);
    return 0;
}

static int show_run(struct cli *c, int64_t run, struct err *e)
{
    struct db_run r;
    char when[25], took[24];

    if (db_run_get_in(&c->a, c->db, run, &r, e) < 0)
        return -1;
    clock_rfc3339(r.created_unix_ms, when);
    duration(r.created_unix_ms, r.finished_unix_ms, took);
    line("run", "%.*s  %.*s", STR_ARG(r.name), STR_ARG(r.uuid));
    line("pipeline", "%.*s (experiment %.*s)", STR_ARG(r.pipeline), STR_ARG(r.experiment));
    line("state", "%s%s", db_state_name(r.state), r.all_cached ? ", nothing new" : "");
    text_line("error", r.error);
    line("created", "%s, took %s", when, took);
    if (r.parent) {
        struct db_run parent;
        if (db_run_get_in(&c->a, c->db, r.parent, &parent, e) < 0)
            return -1;
        line("continues", "%.*s  %.*s", STR_ARG(parent.name), STR_ARG(parent.uuid));
    }
    line("by", "%.*s on %.*s, dugout %.*s", STR_ARG(r.user), STR_ARG(r.host), STR_ARG(r.version));
    if (r.login_uid >= 0)
        line("login uid", "%lld", (long long)r.login_uid);
    line("file", "%.*s  sha256:%.*s", STR_ARG(r.spec_file), SHORT, r.spec_hex);
    text_line("git commit", r.git_commit);
    text_line("command", r.argv_json);
    print_json_members(c, "parameters", r.parameters_json);
    if (print_externals(c, run, e) < 0 || print_task_table(c, run, e) < 0)
        return -1;
    if (r.outputs_json.len) {
        AUTO_JSON yyjson_doc *doc = NULL;
        AUTO_BUF struct buf b = {0};
        struct value v;
        const struct value *params;
        (void)doc;
        buf_init(&b, 0);
        if (value_parse_in(&c->a, r.outputs_json, &v, e) < 0)
            return -1;
        params = value_member(&v, STR("parameters"));
        if (params && params->n_items) {
            (void)putchar('\n');
            value_to_json(&b, params);
            print_json_members(c, "outputs", (struct str){buf_str(&b), b.len});
        }
    }
    return 0;
}

static int print_io(struct cli *c, int64_t task, enum db_io io, const char *heading, struct err *e)
{
    struct db_io_rows rows;

    if (db_task_io_in(&c->a, c->db, task, io, &rows, e) < 0)
        return -1;
    for (size_t i = 0; i < rows.n_params; i++)
        line(i ? "" : heading, "%.*s = %.200s", STR_ARG(rows.params[i].name),
             rows.params[i].value_json.ptr);
    for (size_t i = 0; i < rows.n_artifacts; i++) {
        const struct db_artifact *f = &rows.artifacts[i].artifact;
        line(i || rows.n_params ? "" : heading, "%.*s: a%lld %.*s %s%.*s",
             STR_ARG(rows.artifacts[i].name), (long long)f->id, STR_ARG(f->type),
             f->digest_hex[0] ? "sha256:" : "", SHORT, f->digest_hex);
    }
    return 0;
}

static int show_task(struct cli *c, int64_t task, struct err *e)
{
    struct db_attempt *rows;
    struct db_task t;
    char took[24], size[24];
    size_t n;

    if (db_task_get_in(&c->a, c->db, task, &t, e) < 0 ||
        db_attempts_in(&c->a, c->db, task, &rows, &n, e) < 0)
        return -1;
    line("task", "%.*s (%.*s)", STR_ARG(t.path), STR_ARG(t.kind));
    line("state", "%s%s", db_state_name(t.state), t.cached ? " (cached)" : "");
    text_line("reason", t.reason);
    text_line("error", t.error);
    if (t.image_hex[0])
        line("image", "sha256:%s", t.image_hex);
    if (t.cache_key_hex[0])
        line("cache key", "%s", t.cache_key_hex);
    if (print_io(c, task, DB_IN, "inputs", e) < 0 || print_io(c, task, DB_OUT, "outputs", e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct db_attempt *a = &rows[i];
        duration(a->started_unix_ms, a->finished_unix_ms, took);
        (void)printf("\n");
        line("attempt", "%lld  %s in %s on %.*s", (long long)a->number, db_state_name(a->state),
             took, STR_ARG(a->host));
        text_line("error", a->error);
        if (a->exit_code != DB_NO_EXIT)
            line("exit code", "%d", a->exit_code);
        if (a->signal)
            line("signal", "%d", a->signal);
        if (a->peak_memory_bytes > 0) {
            size_human((uint64_t)a->peak_memory_bytes, size);
            line("memory", "%s at most%s", size, a->oom ? ", killed for it" : "");
        }
        if (a->cpu_usec > 0)
            line("cpu", "%.2f s", (double)a->cpu_usec / 1e6);
        text_line("gpus", a->gpus_json);
        text_line("enforced", a->enforced_json);
        if (a->dir.len)
            line("log", "%s/%.*s/log", c->home, STR_ARG(a->dir));
    }
    return 0;
}

/* the task's object of the run's JSON */
static int show_task_json(struct cli *c, int64_t run, int64_t task, struct err *e)
{
    AUTO_BUF struct buf all = {0};
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct db_task t;
    struct value v;
    json *tasks, *x;
    size_t i, max;
    struct jw w;

    buf_init(&all, 0);
    buf_init(&out, 0);
    jw_init(&w, &all);
    if (db_task_get_in(&c->a, c->db, task, &t, e) < 0 || db_run_json(c->db, run, &w, e) < 0 ||
        json_parse((struct str){buf_str(&all), all.len}, 1 * GIB, &doc, e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "tasks", &tasks, e) < 0)
        return -1;
    yyjson_arr_foreach(tasks, i, max, x)
    {
        if (!str_eq(json_as_str(json_at(x, "path")), t.path))
            continue;
        v = value_from_json_in(&c->a, x);
        value_to_json(&out, &v);
        cli_out_json(&out);
        return 0;
    }
    return err_set(e, ERR_MISSING, "no such task");
}

int cmd_show(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct err e = {0};
    int64_t run, task;
    struct jw w;
    int rc;

    buf_init(&out, 0);
    if (cli_open(c, DB_READ, &e) < 0 ||
        db_task_find(c->db, str_of(c->args[0]), &run, &task, &e) < 0)
        return cli_fail(&e);
    if (opt_flag(c, "spec")) {
        if (db_run_spec(c->db, run, &out, &e) < 0)
            return cli_fail(&e);
        (void)fwrite(buf_str(&out), 1, out.len, stdout);
        return 0;
    }
    if (c->json && !task) {
        jw_init(&w, &out);
        if (db_run_json(c->db, run, &w, &e) < 0)
            return cli_fail(&e);
        cli_out_json(&out);
        return 0;
    }
    rc = c->json ? show_task_json(c, run, task, &e)
         : task  ? show_task(c, task, &e)
                 : show_run(c, run, &e);
    return rc < 0 ? cli_fail(&e) : 0;
}

/* ---- logs -------------------------------------------------------------------------------------- */

struct follow {
    struct cli *c;
    int64_t task, number;
    char path[LIMIT_PATH_BYTES];
    off_t at; /* printed up to here */
    bool over;
};

/* print what is new; false when there is no log */
static bool print_new(struct follow *f)
{
    char chunk[65536];
    AUTO_FD int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    ssize_t n;

    if (fd < 0)
        return false;
    while ((n = pread(fd, chunk, sizeof chunk, f->at)) > 0) {
        (void)fwrite(chunk, 1, (size_t)n, stdout);
        f->at += n;
    }
    (void)fflush(stdout);
    return true;
}

static void skip_to_tail(struct follow *f, uint64_t lines)
{
    AUTO_FD int fd = open(f->path, O_RDONLY | O_CLOEXEC);
    off_t end = fd >= 0 ? lseek(fd, 0, SEEK_END) : 0, at = end;
    char chunk[4096];
    uint64_t seen = 0;

    while (at > 0) {
        size_t n = at < (off_t)sizeof chunk ? (size_t)at : sizeof chunk;
        if (pread(fd, chunk, n, at - (off_t)n) != (ssize_t)n)
            break;
        for (size_t i = n; i-- > 0;)
            if (chunk[i] == '\n' && at - (off_t)n + (off_t)i + 1 < end && ++seen == lines) {
                f->at = at - (off_t)n + (off_t)i + 1;
                return;
            }
        at -= (off_t)n;
    }
}

static int pick_attempt(struct cli *c, const struct db_task *t, uint64_t number, struct follow *f,
                        struct err *e)
{
    struct db_attempt *rows;
    size_t n, i;

    if (db_attempts_in(&c->a, c->db, t->id, &rows, &n, e) < 0)
        return -1;
    if (!n && t->cached)
        return err_set(e, ERR_MISSING,
                       "task %.*s was taken from the cache and printed nothing in this run",
                       STR_ARG(t->path));
    if (!n)
        return err_set(e, ERR_MISSING, "task %.*s has not run", STR_ARG(t->path));
    i = n - 1;
    if (number)
        for (i = 0; i < n && rows[i].number != (int64_t)number; i++)
            ;
    if (i == n)
        return err_set(e, ERR_MISSING, "task %.*s has no attempt %llu (it had %zu)",
                       STR_ARG(t->path), (unsigned long long)number, n);
    if (!rows[i].dir.len)
        return err_set(e, ERR_MISSING, "the log of task %.*s was removed by gc", STR_ARG(t->path));
    *f = (struct follow){.c = c, .task = t->id, .number = rows[i].number};
    snprintf(f->path, sizeof f->path, "%s/%s/log", c->home, rows[i].dir.ptr);
    f->over = rows[i].state != DB_RUNNING;
    return 0;
}

static int follow_task(struct cli *c, const struct db_task *t, struct err *e)
{
    uint64_t number = 0, tail = UINT64_MAX;
    struct timespec nap = {0, FOLLOW_MS * 1000000};
    struct follow f;
    struct db_task now = *t;

    if (opt_u64(c, "attempt", &number, e) < 0 || opt_u64(c, "tail", &tail, e) < 0)
        return -1;
    while (opt_flag(c, "follow") && !now.attempts &&
           (now.state == DB_PENDING || now.state == DB_RUNNING)) {
        (void)nanosleep(&nap, NULL);
        if (db_task_get_in(&c->a, c->db, t->id, &now, e) < 0)
            return -1;
    }
    if (pick_attempt(c, &now, number, &f, e) < 0)
        return -1;
    if (tail != UINT64_MAX)
        skip_to_tail(&f, tail);
    for (;;) {
        AUTO_ARENA struct arena scratch = {0};
        struct db_attempt *rows;
        size_t n;
        bool was_over = f.over;

        if (!print_new(&f) && was_over)
            return err_set(e, ERR_MISSING, "the log of task %.*s is gone: %s", STR_ARG(t->path),
                           f.path);
        if (was_over || !opt_flag(c, "follow") || ferror(stdout))
            return 0;
        (void)nanosleep(&nap, NULL);
        if (db_attempts_in(&scratch, c->db, f.task, &rows, &n, e) < 0)
            return -1;
        for (size_t i = 0; i < n; i++)
            if (rows[i].number == f.number)
                f.over = rows[i].state != DB_RUNNING;
    }
}

int cmd_logs(struct cli *c)
{
    struct db_task *rows, one;
    struct err e = {0};
    int64_t run, task;
    size_t n, shown = 0;

    if (cli_open(c, DB_READ, &e) < 0 ||
        db_task_find(c->db, str_of(c->args[0]), &run, &task, &e) < 0)
        return cli_fail(&e);
    if (task)
        return db_task_get_in(&c->a, c->db, task, &one, &e) < 0 || follow_task(c, &one, &e) < 0
                   ? cli_fail(&e)
                   : 0;
    if (db_tasks_in(&c->a, c->db, run, &rows, &n, &e) < 0)
        return cli_fail(&e);
    for (size_t i = 0; i < n; i++) {
        if (!str_eqz(rows[i].kind, "container") || (!rows[i].attempts && !opt_flag(c, "follow")))
            continue;
        log_note("==> %.*s", STR_ARG(rows[i].path));
        if (follow_task(c, &rows[i], &e) < 0) {
            log_note("%s", e.text);
            continue;
        }
        shown++;
    }
    if (!shown)
        log_note("no task of this run has a log");
    return 0;
}

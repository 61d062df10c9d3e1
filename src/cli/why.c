/* SPDX-License-Identifier: Apache-2.0 */
/* why.c - why a task ran, was taken from the cache, was skipped, failed
 *
 * Nothing of this was written down as an explanation: it is read out of what is
 * recorded anyway. A miss is the difference between two lists of ingredients; a skip is
 * a walk up the YAML that ran, from task to what it needs, until one is found that
 * failed or whose condition was false; a failure is the newest attempt and the end of
 * its log.
 */
#include "cli/why.h"

#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/cache.h"
#include "plan/graph.h"
#include "plan/specdiff.h"
#include "run/attempt.h"
#include "run/log.h"

#define LOG_LINES 15

const char *why_kind_name(enum why_kind k)
{
    static const char *const names[WHY_KINDS] = {
        [WHY_HIT] = "hit",         [WHY_MISS] = "miss",    [WHY_OFF] = "not cached",
        [WHY_FAILED] = "failure",  [WHY_SKIPPED] = "skip", [WHY_CANCELED] = "cancel",
        [WHY_WAITING] = "waiting", [WHY_GROUP] = "group",
    };
    return names[k];
}

/* what the search works on */
struct asking {
    struct cli *c;
    struct why *w;
    struct pipeline p; /* as it ran; has_spec false when it cannot be read any more */
    bool has_spec;
    struct db_task *rows; /* of the run */
    size_t n_rows;
    struct run_opts opts; /* of the run */
};

static void next(struct asking *q, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
static void next(struct asking *q, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    if (q->w->n_next == N_ELEMS(q->w->next))
        return;
    buf_init(&b, 0);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    q->w->next[q->w->n_next++] = arena_strndup(&q->c->a, buf_str(&b), b.len);
}

static int read_spec(struct asking *q, int64_t run, struct pipeline *p, bool *ok,
                     struct err *e)
{
    static const struct pipeline_opts lenient = {.lenient = true};
    AUTO_BUF struct buf text = {0};
    struct err why;

    *ok = false;
    buf_init(&text, LIMIT_SPEC_BYTES);
    if (db_run_spec(q->c->db, run, &text, e) < 0)
        return -1;
    *ok = pipeline_parse_in(&q->c->a, STR("-"), (struct str){buf_str(&text), text.len},
                            &lenient, p, &why) == 0;
    return 0;
}

static const struct db_task *row_at(const struct asking *q, struct str path)
{
    for (size_t i = 0; i < q->n_rows; i++)
        if (str_eq(q->rows[i].path, path))
            return &q->rows[i];
    return NULL;
}

/* ---- hit and miss
 * ------------------------------------------------------------------------------ */

static int name_other(struct asking *q, int64_t task, struct db_task *other,
                      struct err *e)
{
    struct db_run run;

    if (db_task_get_in(&q->c->a, q->c->db, task, other, e) < 0 ||
        db_run_get_in(&q->c->a, q->c->db, other->run, &run, e) < 0)
        return -1;
    q->w->other_run = run.name;
    q->w->other_path = other->path;
    q->w->other_unix_ms = other->finished_unix_ms;
    return 0;
}

static int explain_hit(struct asking *q, struct err *e)
{
    struct db_task other;

    q->w->kind = WHY_HIT;
    q->w->summary = "was taken from the cache: an earlier task saw exactly the same";
    next(q, "dugout run FILE --refresh=%.*s", STR_ARG(q->w->task.path));
    if (!q->w->task.cached_from)
        return 0;
    if (name_other(q, q->w->task.cached_from, &other, e) < 0)
        return -1;
    if (q->w->run.parent && other.run == q->w->run.parent)
        q->w->summary = "was taken over from the run that this one continues: it saw "
                        "exactly the same";
    return 0;
}

static bool is_command(const struct change *c)
{
    return str_ends(c->what, "of the command") || str_ends(c->what, "of the arguments");
}

/* Long words are recorded by their digest. The scripts themselves are in the two YAML
 * files. */
static int name_lines(struct asking *q, const struct db_task *other, struct err *e)
{
    struct changes *c = &q->w->changes, better = {0};
    const struct task_def *now, *then;
    struct pipeline old;
    bool any = false, ok;

    for (size_t i = 0; i < c->n; i++)
        any |= is_command(&c->items[i]);
    if (!any || !q->has_spec)
        return 0;
    if (read_spec(q, other->run, &old, &ok, e) < 0)
        return -1;
    now = graph_def(&q->p, q->w->task.path);
    then = ok ? graph_def(&old, other->path) : NULL;
    if (!now || !then || !now->component->executor || !then->component->executor)
        return 0;
    specdiff_command(&q->c->a, then->component->executor, now->component->executor,
                     &better);
    for (size_t i = 0; i < c->n; i++)
        if (!is_command(&c->items[i]))
            change_add(&q->c->a, &better, c->items[i].what, c->items[i].before,
                       c->items[i].after);
    *c = better;
    return 0;
}

/* the ingredients of this task beside those of the newest earlier one */
static int compare(struct asking *q, struct err *e)
{
    AUTO_BUF struct buf mine = {0};
    AUTO_BUF struct buf theirs = {0};
    struct db_task other, recorded;
    int64_t before, source;

    buf_init(&mine, LIMIT_SPEC_BYTES);
    buf_init(&theirs, LIMIT_SPEC_BYTES);
    if (db_task_before(q->c->db, q->w->task.id, &before, &source, e) < 0 ||
        db_task_cache_text(q->c->db, q->w->task.id, &mine, e) < 0)
        return -1;
    if (!mine.len) {
        q->w->summary = "ran; what went into it was not recorded";
        return 0;
    }
    if (!before) {
        q->w->summary = "ran: it is the first of its kind, nothing earlier is recorded";
        return 0;
    }
    if (name_other(q, before, &other, e) < 0 ||
        db_task_cache_text(q->c->db, source, &theirs, e) < 0 ||
        db_task_get_in(&q->c->a, q->c->db, source, &recorded, e) < 0 ||
        keydiff_in(&q->c->a, (struct str){buf_str(&theirs), theirs.len},
                   (struct str){buf_str(&mine), mine.len}, &q->w->changes, e) < 0 ||
        name_lines(q, &recorded, e) < 0)
        return -1;
    if (q->w->changes.n)
        q->w->summary = "ran: something that it sees has changed";
    else if (other.state == DB_FAILED)
        q->w->summary = "ran: the earlier one saw the same, and failed";
    else
        q->w->summary =
            "ran, though an earlier one saw the same: that result was too old "
            "(--cache-max-age), was removed, or was not to be cached";
    return 0;
}

static bool was_refreshed(const struct asking *q)
{
    for (size_t i = 0; i < q->opts.n_refresh; i++)
        if (strcmp(q->opts.refresh[i], "*") == 0 ||
            str_eqz(q->w->task.path, q->opts.refresh[i]) ||
            str_eqz(q->w->task.name, q->opts.refresh[i]))
            return true;
    return false;
}

static int explain_run(struct asking *q, struct err *e)
{
    const struct task_def *t = q->has_spec ? graph_def(&q->p, q->w->task.path) : NULL;
    const char *off = t ? run_uncacheable(&q->opts, t, q->w->task.path) : NULL;

    q->w->kind = WHY_MISS;
    if (compare(q, e) < 0)
        return -1;
    if (off)
        q->w->summary = arena_printf(&q->c->a, "ran: %s", off);
    else if (q->opts.no_cache)
        q->w->summary = "ran: the run was told to run everything (--no-cache)";
    else if (was_refreshed(q))
        q->w->summary = "ran: the run was told to run it anew (--refresh)";
    else
        return 0;
    q->w->kind = WHY_OFF;
    return 0;
}

/* ---- failures
 * --------------------------------------------------------------------------------------
 */

static int newest_attempt(struct asking *q, struct err *e)
{
    AUTO_FREE char *dir = NULL;
    AUTO_FD int fd = -1;
    struct db_attempt *rows;
    struct attempt at;
    struct err why;
    size_t n;

    if (db_attempts_in(&q->c->a, q->c->db, q->w->task.id, &rows, &n, e) < 0)
        return -1;
    if (!n)
        return 0;
    q->w->has_attempt = true;
    q->w->attempt = rows[n - 1];
    if (!rows[n - 1].dir.len)
        return 0;
    dir = xasprintf("%s/%.*s", q->c->home, STR_ARG(rows[n - 1].dir));
    fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return 0;
    buf_reset(&q->w->log);
    runlog_last_lines(fd, LOG_LINES, 8 * KIB, &q->w->log);
    if (attempt_read_in(&q->c->a, fd, &at, &why) == 0) {
        q->w->memory_limit_bytes = at.memory_bytes;
        q->w->disk_limit_bytes = at.disk_bytes;
        q->w->task_timeout_ms = at.wall_ms;
        q->w->attempts_max = at.max_retries + 1;
    }
    if (!q->opts.network_host && runlog_wants_network(fd))
        next(q, "dugout run FILE --network host   (it looked for the network)");
    return 0;
}

static const char *oom_sentence(struct asking *q)
{
    char peak[24], limit[24];

    size_human((uint64_t)(q->w->attempt.peak_memory_bytes > 0
                              ? q->w->attempt.peak_memory_bytes
                              : 0),
               peak);
    size_human(q->w->memory_limit_bytes, limit);
    if (!q->w->memory_limit_bytes)
        return arena_printf(
            &q->c->a,
            "failed: out of memory, at a peak of %s; it has no limit of "
            "its own, the host had no more",
            peak);
    return arena_printf(&q->c->a,
                        "failed: out of memory, at a peak of %s under a limit of %s",
                        peak, limit);
}

static void suggest_memory(struct asking *q)
{
    char twice[24];

    if (!q->w->memory_limit_bytes)
        return;
    snprintf(twice, sizeof twice, "%lluMi",
             (unsigned long long)(2 * q->w->memory_limit_bytes / MIB));
    next(q, "dugout resume %.*s --memory %.*s=%s", STR_ARG(q->w->run.name),
         STR_ARG(q->w->task.name), twice);
}

/* The supervisor says in words which of its limits it was. */
static bool says(const struct why *w, const char *words)
{
    return memmem(w->task.error.ptr, w->task.error.len, words, strlen(words)) != NULL;
}

static void suggest_limit(struct asking *q)
{
    const struct why *w = q->w;

    if (w->task_timeout_ms && says(w, "the task's time-out"))
        next(q, "dugout resume %.*s --task-timeout %.*s=%llds", STR_ARG(w->run.name),
             STR_ARG(w->task.name), (long long)(2 * w->task_timeout_ms + 999) / 1000);
    if (w->disk_limit_bytes && says(w, "on disk"))
        next(q, "dugout resume %.*s --disk %.*s=%lluMi", STR_ARG(w->run.name),
             STR_ARG(w->task.name), (unsigned long long)(2 * w->disk_limit_bytes / MIB));
}

static int explain_failure(struct asking *q, struct err *e)
{
    struct why *w = q->w;

    w->kind = WHY_FAILED;
    if (newest_attempt(q, e) < 0)
        return -1;
    w->summary = arena_printf(&q->c->a, "failed: %.*s",
                              (int)(w->task.error.len ? w->task.error.len : 12),
                              w->task.error.len ? w->task.error.ptr : "without words");
    if (!w->has_attempt) {
        w->summary = arena_printf(&q->c->a, "could not be started: %.*s",
                                  STR_ARG(w->task.error));
    } else if (w->attempt.oom) {
        w->summary = oom_sentence(q);
        suggest_memory(q);
    } else if (w->attempt.timed_out) {
        next(q, "dugout resume %.*s --timeout DURATION", STR_ARG(w->run.name));
    } else if (w->attempt.host_failure) {
        next(q, "dugout doctor");
    } else {
        suggest_limit(q);
    }
    if (w->has_attempt && w->attempt.dir.len)
        next(q, "dugout logs %.*s/%.*s", STR_ARG(w->run.name), STR_ARG(w->task.path));
    next(q, "dugout resume %.*s", STR_ARG(w->run.name));
    return 0;
}

/* ---- skips
 * -------------------------------------------------------------------------------------------
 */

static void add_link(struct asking *q, const struct db_task *row, struct str text)
{
    struct why *w = q->w;

    w->chain = arena_grow(&q->c->a, w->chain, &w->n_chain, sizeof(*w->chain));
    w->chain[w->n_chain - 1] = (struct why_link){row->path, row->state, text};
}

static struct str said_of(const struct db_task *row)
{
    return row->error.len ? row->error : row->reason;
}

static struct str parent_path(struct str path)
{
    const char *slash = memrchr(path.ptr, '/', path.len);

    return (struct str){path.ptr, slash ? (size_t)(slash - path.ptr) : 0};
}

/* the row of the group that a task is in: of a loop, the row has no index */
static struct str group_path(const struct asking *q, struct str path)
{
    struct str parent = parent_path(path);
    const char *index = memrchr(parent.ptr, '[', parent.len);

    if (index && !row_at(q, parent))
        parent.len = (size_t)(index - parent.ptr);
    return parent;
}

static const struct dag *dag_of(const struct asking *q, struct str group)
{
    const struct task_def *t = group.len ? graph_def(&q->p, group) : NULL;

    return t ? t->component->dag : q->p.root->dag;
}

/* the sibling that t waits for which did not succeed; one that failed comes first */
static const struct db_task *blocking(const struct asking *q, const struct task_def *t,
                                      const struct dag *dag, struct str path)
{
    struct str parent = parent_path(path);
    const struct db_task *found = NULL;

    for (size_t i = 0; i < t->n_deps; i++) {
        struct str key = dag->tasks[t->deps[i]].key;
        AUTO_FREE char *sibling =
            parent.len ? xasprintf("%.*s/%.*s", STR_ARG(parent), STR_ARG(key))
                       : xasprintf("%.*s", STR_ARG(key));
        const struct db_task *row = row_at(q, str_of(sibling));

        if (!row || row->state == DB_SUCCEEDED || row->state == DB_PENDING)
            continue;
        if (!found || (row->state == DB_FAILED && found->state != DB_FAILED))
            found = row;
    }
    return found;
}

/* a task inside of a group that failed by itself */
static const struct db_task *failed_inside(const struct asking *q, struct str group)
{
    for (size_t i = 0; i < q->n_rows; i++) {
        const struct db_task *r = &q->rows[i];
        if (r->state == DB_FAILED && r->path.len > group.len &&
            str_starts(r->path, group.ptr) &&
            (r->path.ptr[group.len] == '/' || r->path.ptr[group.len] == '[') &&
            (str_eqz(r->kind, "container") || str_eqz(r->kind, "importer")))
            return r;
    }
    return NULL;
}

/* from a task that did not run towards the one that is the cause */
static void walk_up(struct asking *q, struct str path)
{
    const struct db_task *row = NULL;

    for (size_t steps = 0; q->has_spec && steps <= q->n_rows; steps++) {
        const struct task_def *t = graph_def(&q->p, path);
        struct str group = group_path(q, path);

        row = t ? blocking(q, t, dag_of(q, group), path) : NULL;
        if (!row && group.len) /* the group around it did not run, or has failed */
            row = row_at(q, group);
        if (!row || row->state == DB_SUCCEEDED || row->state == DB_RUNNING)
            return;
        add_link(q, row, said_of(row));
        path = row->path;
        if (row->state == DB_SKIPPED)
            continue;
        row = failed_inside(q, path);
        if (row)
            add_link(q, row, said_of(row));
        return;
    }
}

/* does the condition name this input, as in parameter_values['NAME']? */
static bool is_named(struct str condition, struct str input)
{
    const char *p = condition.ptr, *end = p + condition.len;

    while ((p = memmem(p, (size_t)(end - p), input.ptr, input.len))) {
        const char *behind = p + input.len;
        if (p > condition.ptr && behind < end && (p[-1] == '\'' || p[-1] == '"') &&
            *behind == p[-1])
            return true;
        p++;
    }
    return false;
}

static int explain_condition(struct asking *q, const struct db_task *row, struct err *e)
{
    const struct task_def *t = q->has_spec ? graph_def(&q->p, row->path) : NULL;
    bool looked = row->state == DB_SKIPPED  ? str_starts(row->reason, "its condition is false")
                  : row->state == DB_FAILED ? str_starts(row->error, "condition ")
                                            : row->state != DB_PENDING;
    struct db_io_rows in;
    struct why *w = q->w;

    if (!t || !t->condition.len || !looked)
        return 0;
    if (db_task_io_in(&q->c->a, q->c->db, row->id, DB_IN, &in, e) < 0)
        return -1;
    w->condition = t->condition;
    w->condition_of = row->path;
    w->saw = in.params;
    for (size_t i = 0; i < in.n_params; i++)
        if (in.params[i].name.len && is_named(t->condition, in.params[i].name))
            w->saw[w->n_saw++] = in.params[i];
    return 0;
}

static int explain_skip(struct asking *q, struct err *e)
{
    const struct db_task *row;
    struct why *w = q->w;
    const struct why_link *cause;

    w->kind = w->task.state == DB_CANCELED ? WHY_CANCELED : WHY_SKIPPED;
    w->summary = arena_printf(&q->c->a, "%s%s%.*s",
                              w->kind == WHY_CANCELED ? "was canceled" : "was skipped",
                              w->task.reason.len ? ": " : "", STR_ARG(w->task.reason));
    if (w->kind == WHY_CANCELED) {
        next(q, "dugout resume %.*s", STR_ARG(w->run.name));
        return 0;
    }
    walk_up(q, w->task.path);
    cause = w->n_chain ? &w->chain[w->n_chain - 1] : NULL;
    if (cause && cause->state == DB_FAILED) {
        next(q, "dugout why %.*s/%.*s", STR_ARG(w->run.name), STR_ARG(cause->path));
        next(q, "dugout resume %.*s", STR_ARG(w->run.name));
        return 0;
    }
    row = cause ? row_at(q, cause->path) : &w->task;
    return explain_condition(q, row, e);
}

/* ---- the rest
 * ------------------------------------------------------------------------------------------
 */

static int explain_group(struct asking *q, struct err *e)
{
    struct why *w = q->w;
    const struct db_task *inside = failed_inside(q, w->task.path);

    if (w->task.state != DB_FAILED) {
        w->kind = WHY_GROUP;
        w->summary = w->task.state == DB_SUCCEEDED
                         ? "holds tasks, and all of them are done"
                         : "holds tasks";
        next(q, "dugout show %.*s", STR_ARG(w->run.name));
        return explain_condition(q, &w->task, e);
    }
    if (explain_failure(q, e) < 0 || (!inside && explain_condition(q, &w->task, e) < 0))
        return -1;
    if (inside) {
        w->summary = "failed: a task inside it failed";
        w->n_next = 0;
        add_link(q, inside, said_of(inside));
        next(q, "dugout why %.*s/%.*s", STR_ARG(w->run.name), STR_ARG(inside->path));
    }
    return 0;
}

static int explain(struct asking *q, struct err *e)
{
    const struct db_task *t = &q->w->task;

    if (t->state == DB_SKIPPED || t->state == DB_CANCELED)
        return explain_skip(q, e);
    if (!str_eqz(t->kind, "container") && !str_eqz(t->kind, "importer"))
        return explain_group(q, e);
    if (t->state == DB_FAILED)
        return explain_failure(q, e);
    if (t->cached)
        return explain_hit(q, e);
    if (t->state == DB_PENDING) {
        q->w->kind = WHY_WAITING;
        q->w->summary =
            t->attempts ? "waits for its next attempt"
                        : "has not started: it waits for other tasks, for a job slot "
                          "or for memory";
        return newest_attempt(q, e);
    }
    return newest_attempt(q, e) < 0 ? -1 : explain_run(q, e);
}

int why_find(struct cli *c, int64_t run, int64_t task, struct why *out, struct err *e)
{
    struct asking q = {.c = c, .w = out};

    *out = (struct why){.summary = ""};
    buf_init(&out->log, 64 * KIB);
    if (db_run_get_in(&c->a, c->db, run, &out->run, e) < 0 ||
        db_task_get_in(&c->a, c->db, task, &out->task, e) < 0 ||
        db_tasks_in(&c->a, c->db, run, &q.rows, &q.n_rows, e) < 0 ||
        run_opts_in(&c->a,
                    out->run.options_json.len ? out->run.options_json : STR("{}"),
                    &q.opts, e) < 0 ||
        read_spec(&q, run, &q.p, &q.has_spec, e) < 0)
        return -1;
    return explain(&q, e);
}

void why_done(struct why *w)
{
    buf_done(&w->log);
}

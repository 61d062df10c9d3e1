/* SPDX-License-Identifier: Apache-2.0 */
/* resume.c - what dead engines leave behind: reconcile, resume, cancel
 *
 * A run belongs to whoever holds runs/<id>/lock. Reconcile takes that lock without waiting; when
 * it gets it the engine is dead, and every result that lies there is committed in its stead.
 * A supervisor that still lives keeps its attempt RUNNING, and the next reconcile, or a
 * resume that adopts it, commits what it leaves. commit_attempt() is compare-and-set besides,
 * so nothing depends on the lock for being written once.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "lineage/query.h"
#include "lineage/record.h"
#include "run/commit.h"
#include "run/engine.h"
#include "run/hooks.h"
#include "run/kube.h"

/* ---- reconcile -------------------------------------------------------------------------------- */

static int take_run(int home_fd, struct str uuid, int *gives_lock, struct err *e)
{
    char path[80];
    AUTO_FD int fd = -1;

    snprintf(path, sizeof path, "runs/%.*s/lock", STR_ARG(uuid));
    fd = openat(home_fd, path, O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    if (flock(fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_BUSY, "its engine is alive");
    *gives_lock = fd_take(&fd);
    return 0;
}

/* One attempt whose engine is dead. *alive when its supervisor is not. */
static int settle_attempt(struct run_env *env, int home_fd, const struct db_attempt *row,
                          bool *alive, size_t *changed, struct err *e)
{
    static const char vanished[] = "engine and supervisor both vanished without a result";
    AUTO_ARENA struct arena a = {0};
    AUTO_FD int dir = -1;
    struct attempt at = {.task_id = row->task, .number = (uint32_t)row->number, .cache_key = {"", 0}};
    struct result r;
    struct err why = {0};
    enum commit_verdict verdict;
    bool won;

    *alive = false;
    dir = openat(home_fd, row->dir.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    /* Where burying fails (a full disk) the commit below still says what happened. */
    if (dir >= 0 && attempt_bury(dir, vanished, alive, &why) == 0 && *alive)
        return 0;
    if (dir < 0 || attempt_read_in(&a, dir, &at, &why) < 0 ||
        result_read_in(&a, dir, &r, &why) < 0)
        r = (struct result){.end = END_HOST,
                            .error = str_of(vanished),
                            .finished_unix_ms = clock_unix_ms(),
                            .enforced = STR("{}")};
    if (commit_attempt(env->db, &at, &r, &won, &verdict, NULL, e) < 0)
        return -1;
    *changed += won;
    return 0;
}

static int reconcile_run(struct run_env *env, int home_fd, const struct db_run *run,
                         size_t *changed, size_t *living, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_attempt *open_rows;
    size_t n;

    *living = 0;
    if (db_begin(env->db, DB_DURABLE, e) < 0)
        return -1;
    if (db_attempts_open_in(&a, env->db, run->id, &open_rows, &n, e) < 0)
        goto undo;
    for (size_t i = 0; i < n; i++) {
        bool alive;
        if (settle_attempt(env, home_fd, &open_rows[i], &alive, changed, e) < 0)
            goto undo;
        *living += alive;
    }
    if (run->state == DB_RUNNING || run->state == DB_PENDING) {
        struct db_run_end end = {.state = DB_INTERRUPTED,
                                 .finished_unix_ms = clock_unix_ms(),
                                 .error = STR("the engine died; dugout resume continues it")};
        bool won;
        if (db_run_finish(env->db, run->id, &end, &won, e) < 0)
            goto undo;
        *changed += won;
    }
    return db_commit(env->db, e);
undo:
    db_rollback(env->db);
    return -1;
}

int run_reconcile(struct run_env *env, size_t *changed, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_FD int home = open(env->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct db_run_filter f = {.states =
                                  DB_IS(DB_RUNNING) | DB_IS(DB_PENDING) | DB_IS(DB_INTERRUPTED)};
    struct db_run *runs;
    size_t n, count = 0, living;

    if (home < 0)
        return err_sys(e, errno, "open %s", env->home);
    if (db_runs_in(&a, env->db, &f, &runs, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        AUTO_FD int lock = -1;
        struct db_attempt *open_rows;
        size_t n_open;
        struct err why = {0};

        if (runs[i].state == DB_INTERRUPTED &&
            (db_attempts_open_in(&a, env->db, runs[i].id, &open_rows, &n_open, e) < 0 || !n_open))
            continue; /* nothing left to commit */
        if (take_run(home, runs[i].uuid, &lock, &why) < 0 && why.code == ERR_BUSY)
            continue;
        if (reconcile_run(env, home, &runs[i], &count, &living, e) < 0)
            return -1;
        if (runs[i].state != DB_INTERRUPTED && env->hook_interrupted &&
            hook_start(env, env->hook_interrupted, runs[i].uuid.ptr, &why) < 0)
            log_note("hook %s: %s", env->hook_interrupted, why.text);
    }
    if (changed)
        *changed = count;
    return 0;
}

/* ---- resume ----------------------------------------------------------------------------------------- */

/* the artifacts that --input gave to the run, and its --tag */
static int old_inputs(struct engine *en, const struct db_run *row, struct io_values *in,
                      struct err *e)
{
    const struct run_input_id *ids;
    struct run_kept kept;

    if (run_kept_in(&en->a, row->options_json, &kept, e) < 0)
        return -1;
    en->tags = kept.tags;
    en->n_tags = kept.n_tags;
    en->exports = kept.exports;
    en->n_exports = kept.n_exports;
    ids = kept.inputs;
    for (size_t i = 0; i < kept.n_inputs; i++) {
        const struct artifact_def *def = io_artifact(&en->p.root->in, ids[i].name);
        struct artifact *f = arena_alloc(&en->a, sizeof *f);
        struct db_artifact x;

        if (db_artifact_get_in(&en->a, en->env->db, ids[i].artifact, &x, e) < 0 ||
            artifact_of_row(en, &x, f, e) < 0)
            return err_at(e, "input %.*s", STR_ARG(ids[i].name));
        if (x.state != DB_LIVE)
            return err_set(e, ERR_MISSING,
                           "input %.*s of the run, a%lld, is recorded, but its content is gone",
                           STR_ARG(ids[i].name), (long long)x.id);
        if (def)
            io_values_add_artifacts(&en->a, in, def->name,
                                    &(struct named_artifacts){.items = f,
                                                              .n_items = 1,
                                                              .type = f->type,
                                                              .type_version = f->type_version});
    }
    for (size_t i = 0; i < en->p.root->in.n_artifacts; i++) {
        const struct artifact_def *def = &en->p.root->in.artifacts[i];
        if (!def->optional && !io_values_artifact(in, def->name))
            return err_set(e, ERR_INPUT,
                           "run %s was recorded before its --input %.*s was: run it again",
                           en->name, STR_ARG(def->name));
    }
    return 0;
}

static int graph_of_run(struct engine *en, const struct db_run *row, struct err *e)
{
    struct pipeline_opts po = {.lenient = en->o.lenient};
    AUTO_BUF struct buf text = {0};
    struct io_values in = {0};
    struct value params;
    char when[25];

    buf_init(&text, LIMIT_SPEC_BYTES);
    if (db_run_spec(en->env->db, row->id, &text, e) < 0 ||
        pipeline_parse_in(&en->a, row->spec_file, (struct str){buf_str(&text), text.len}, &po,
                          &en->p, e) < 0 ||
        value_parse_in(&en->a, row->parameters_json, &params, e) < 0)
        return -1;
    in.params = arena_alloc(&en->a, (params.n_items + 1) * sizeof(*in.params));
    for (size_t i = 0; i < params.n_items; i++)
        in.params[in.n_params++] = (struct named_value){params.keys[i], params.items[i]};
    if (old_inputs(en, row, &in, e) < 0)
        return -1;
    graph_init(&en->g, &en->a, &en->p, &in);
    clock_rfc3339(row->created_unix_ms, when);
    en->g.run_id = str_of(en->id);
    en->g.run_name = str_of(en->name);
    en->g.resource_name = engine_resource_name(en);
    en->g.create_time = arena_str(&en->a, str_of(when));
    en->g.sdk_words = en->o.sdk_words;
    en->g.root_uri =
        en->p.default_root.len ? en->p.default_root : STR(EXEC_ROOT);
    for (size_t i = 0; i < en->g.root->in.n_artifacts; i++)
        root_input_place(en, &en->g.root->in.artifacts[i]);
    return 0;
}

/* the rows of the run's first life, for record_scope() */
static int find_old_rows(struct engine *en, const char *from_task, struct err *e)
{
    struct db_task *rows;
    size_t n;

    if (db_tasks_in(&en->a, en->env->db, en->row, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        map_put(&en->old_rows, rows[i].path, &rows[i]);
    en->from = str_of(from_task ? from_task : "");
    if (from_task && !map_get(&en->old_rows, en->from))
        return err_set(e, ERR_MISSING, "run %s has no task %s (dugout show %s lists them)",
                       en->name, from_task, en->name);
    return 0;
}

static int reopen(struct engine *en, const struct db_run *row, const char *from_task,
                  struct err *e)
{
    AUTO_BUF struct buf options = {0};
    bool won;

    buf_init(&options, LIMIT_JSON_BYTES);
    run_opts_write(&options, en);
    /* Time that the engine lay dead does not count: the time-out starts again. */
    en->deadline_unix_ms = en->o.timeout_ms ? clock_unix_ms() + en->o.timeout_ms : 0;
    if (db_begin(en->env->db, DB_DURABLE, e) < 0)
        return -1;
    en->in_txn = true;
    if (db_run_set_state(en->env->db, row->id,
                         DB_IS(DB_INTERRUPTED) | DB_IS(DB_FAILED) | DB_IS(DB_CANCELED) |
                             (from_task ? DB_IS(DB_SUCCEEDED) : 0),
                         DB_RUNNING, &won, e) < 0)
        return -1;
    if (!won)
        return err_set(e, ERR_INPUT, "run %s is %s: there is nothing to resume", en->name,
                       db_state_name(row->state));
    if (db_run_set_options(en->env->db, row->id,
                           (struct str){buf_str(&options), options.len}, en->deadline_unix_ms,
                           e) < 0)
        return -1;
    if (find_old_rows(en, from_task, e) < 0)
        return -1;
    return record_scope(en, en->g.root, e);
}

int run_resume(struct run_env *env, const char *run_id, const char *from_task,
               const struct run_opts *o, const struct run_view *view,
               struct run_outcome *out, struct err *e)
{
    struct engine en;
    struct db_run row;
    size_t changed = 0, living;
    int rc = -1;

    engine_init(&en, env, view, out);
    if (db_run_by_uuid(env->db, str_of(run_id), &en.row, e) < 0 ||
        db_run_get_in(&en.a, env->db, en.row, &row, e) < 0)
        goto done;
    snprintf(en.id, sizeof en.id, "%s", run_id);
    snprintf(en.name, sizeof en.name, "%.*s", STR_ARG(row.name));
    en.created_unix_ms = row.created_unix_ms;
    if (row.state == DB_SUCCEEDED) { /* what it made is evidence and stays */
        (void)err_set(e, ERR_INPUT, "run %s has succeeded: there is nothing to resume", en.name);
        goto done;
    }
    if (engine_lock(&en, e) < 0 || reconcile_run(env, en.home_fd, &row, &changed, &living, e) < 0 ||
        db_run_get_in(&en.a, env->db, en.row, &row, e) < 0)
        goto done;
    en.o = *o;
    if (store_lease(env->store, e) < 0 || engine_scratch(&en, e) < 0 || graph_of_run(&en, &row, e) < 0 || prepare_images(&en, e) < 0 ||
        kube_serialise(&en, e) < 0)
        goto done;
    db_ballast_load(env->db);
    if (reopen(&en, &row, from_task, e) < 0) {
        db_rollback(env->db);
        goto done;
    }
    engine_event(&en, RUN_EVENT_STARTED, NULL, NULL);
    rc = engine_loop(&en, e);
done:
    engine_done(&en);
    return rc;
}

/* ---- cancel ---------------------------------------------------------------------------------------------- */

/* How long one that stops is waited for: its tasks' grace, then what a box that hangs is given, on
 * a machine that is busy. */
#define STOP_WAIT_MS (300 * 1000)
#define NAP_MS 50

static void nap(void)
{
    struct timespec t = {0, NAP_MS * 1000 * 1000};

    (void)nanosleep(&t, NULL);
}

static int stop_orphans(struct run_env *env, int home_fd, const struct db_run *run, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_attempt *rows;
    size_t n;

    if (db_attempts_open_in(&a, env->db, run->id, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        AUTO_FD int dir = openat(home_fd, rows[i].dir.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (dir < 0 || !attempt_alive(dir))
            continue;
        if (attempt_signal(dir, SIGTERM, e) < 0)
            return err_at(e, "stop run %.*s", STR_ARG(run->name));
        for (int k = 0; k < STOP_WAIT_MS / NAP_MS && attempt_alive(dir); k++)
            nap();
        if (attempt_alive(dir))
            return err_set(e, ERR_SYS, "a task of run %.*s does not stop", STR_ARG(run->name));
    }
    return 0;
}

static int cancel_rows(struct run_env *env, int64_t run, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_task *rows;
    struct db_run_end end = {.state = DB_CANCELED, .error = STR("dugout cancel")};
    size_t n;
    bool won;

    end.finished_unix_ms = clock_unix_ms();
    if (db_tasks_in(&a, env->db, run, &rows, &n, e) < 0 || db_begin(env->db, DB_DURABLE, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct db_task_end t = {.state = DB_CANCELED,
                                .finished_unix_ms = end.finished_unix_ms,
                                .reason = STR("the run was canceled"),
                                .exit_code = DB_NO_EXIT,
                                .peak_memory_bytes = -1,
                                .cpu_usec = -1};
        if ((rows[i].state == DB_PENDING || rows[i].state == DB_RUNNING) &&
            db_task_finish(env->db, rows[i].id, &t, &won, e) < 0)
            goto undo;
    }
    if (db_run_finish(env->db, run, &end, &won, e) < 0)
        goto undo;
    return db_commit(env->db, e);
undo:
    db_rollback(env->db);
    return -1;
}

int run_cancel(struct run_env *env, const char *run_id, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_FD int home = open(env->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int lock = -1;
    struct db_run row;
    struct err why = {0};
    size_t changed = 0, living;
    int64_t run;

    if (home < 0)
        return err_sys(e, errno, "open %s", env->home);
    if (db_run_by_uuid(env->db, str_of(run_id), &run, e) < 0 ||
        db_run_get_in(&a, env->db, run, &row, e) < 0)
        return -1;
    if (row.state != DB_RUNNING && row.state != DB_INTERRUPTED && row.state != DB_PENDING)
        return err_set(e, ERR_INPUT, "run %.*s is %s already", STR_ARG(row.name),
                       db_state_name(row.state));
    if (take_run(home, row.uuid, &lock, &why) < 0 && why.code == ERR_BUSY) {
        AUTO_FD int dir = openat(home, arena_printf(&a, "runs/%s", run_id),
                                 O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        AUTO_FD int pidfd = -1;
        if (pid_file_open(dir, "engine", &pidfd, e) < 0)
            return err_at(e, "stop the engine of run %.*s", STR_ARG(row.name));
        if (syscall(SYS_pidfd_send_signal, pidfd, SIGTERM, NULL, 0) < 0)
            return err_sys(e, errno, "signal the engine");
        for (int k = 0; k < STOP_WAIT_MS / NAP_MS && take_run(home, row.uuid, &lock, &why) < 0; k++)
            nap();
        return lock >= 0 ? 0 : err_set(e, ERR_SYS, "the engine of run %.*s does not stop",
                                       STR_ARG(row.name));
    }
    if (stop_orphans(env, home, &row, e) < 0 ||
        reconcile_run(env, home, &row, &changed, &living, e) < 0)
        return -1;
    return cancel_rows(env, run, e);
}

int run_orphans(struct run_env *env, struct str pipeline_name, struct buf *out, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_FD int home = open(env->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct db_run_filter f = {.pipeline = pipeline_name, .states = DB_IS(DB_INTERRUPTED)};
    struct db_run *runs;
    size_t n;

    if (home < 0)
        return err_sys(e, errno, "open %s", env->home);
    if (db_runs_in(&a, env->db, &f, &runs, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct db_attempt *rows;
        size_t n_rows, alive = 0;
        if (db_attempts_open_in(&a, env->db, runs[i].id, &rows, &n_rows, e) < 0)
            return -1;
        for (size_t k = 0; k < n_rows; k++) {
            AUTO_FD int dir = openat(home, rows[k].dir.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            alive += dir >= 0 && attempt_alive(dir);
        }
        if (alive)
            buf_addf(out,
                     "%srun %.*s of this pipeline lost its engine, and %zu of its tasks still "
                     "run%s (dugout resume %.*s adopts, dugout cancel %.*s stops them)",
                     out->len ? "\n" : "", STR_ARG(runs[i].name), alive, alive == 1 ? "s" : "",
                     STR_ARG(runs[i].name), STR_ARG(runs[i].name));
    }
    return 0;
}

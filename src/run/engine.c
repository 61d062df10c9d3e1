/* SPDX-License-Identifier: Apache-2.0 */
/* engine.c - one run: a loop of turns
 *
 *   wait ──> events mark jobs as ended, timers queue tasks to examine
 *     ^        │
 *     │        v  begin (durable when something ended or may be a cache hit)
 *     │      ended jobs -> commit_attempt, outputs, retry or what depends on them
 *     │      examined tasks -> start, skip, cache hit, or wait for a slot
 *     │        v  commit
 *     │      spawn supervisors for what was recorded as RUNNING
 *     │        v  one fsync, while they build their boxes
 *     └── tell the view what has ended
 *
 * So a chain of N steps costs N fsynced commits (and one for the run itself): the commit that
 * ends a step is the commit that starts the next. Nothing is spawned before its row is there,
 * nothing is reported done before its row is durable.
 */
#include "run/engine.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "lineage/query.h"
#include "lineage/record.h"
#include "lineage/revoke.h"
#include "lineage/tags.h"
#include "run/hooks.h"

#define TICK_MS 100
#define ADOPTED_POLL_MS 100
#define READY_AHEAD 32 /* tasks planned beyond those that have a slot */

int64_t run_task_started_ns(const struct task *t)
{
    const struct job *j = t->user;

    return j ? j->started_mono_ns : 0;
}

/* ---- queues ---------------------------------------------------------------------------------- */

#define PUSH(array, n, cap, item)                                                        \
    do {                                                                                 \
        if ((n) == (cap)) {                                                              \
            (cap) = (cap) ? (cap)*2 : 64;                                                \
            (array) = xrealloc((array), (cap) * sizeof(*(array)));                       \
        }                                                                                \
        (array)[(n)++] = (item);                                                         \
    } while (0)

void engine_examine(struct engine *en, struct task *t)
{
    PUSH(en->examine, en->n_examine, en->cap_examine, t);
}

static void queue_ended(struct engine *en, struct job *j)
{
    if (j->ended)
        return;
    j->ended = true;
    PUSH(en->ended, en->n_ended, en->cap_ended, j);
}

struct job *job_of(struct engine *en, struct task *t)
{
    struct job *j = t->user;

    if (j)
        return j;
    j = arena_alloc(&en->a, sizeof *j);
    j->en = en;
    j->t = t;
    j->dir_fd = j->pidfd = -1;
    t->user = j;
    return j;
}

void job_landed(struct job *j)
{
    j->planned = false;
    j->plan = (struct exec_plan){0};
    j->at = NULL;
    arena_done(&j->a);
}

/* ---- watching attempts ------------------------------------------------------------------------ */

static void on_pidfd(void *ctx, uint32_t events)
{
    struct job *j = ctx;

    (void)events;
    loop_unwatch(j->en->loop, j->pidfd);
    queue_ended(j->en, j);
}

static void on_adopted_poll(void *ctx)
{
    struct job *j = ctx;
    struct err e;

    j->timer = 0;
    if (attempt_alive(j->dir_fd))
        (void)job_watch(j, &e);
    else
        queue_ended(j->en, j);
}

int job_watch(struct job *j, struct err *e)
{
    if (j->adopted) { /* its pid may be of another namespace: the lock tells */
        j->timer = loop_at(j->en->loop, clock_mono_ns() + ADOPTED_POLL_MS * 1000000LL,
                           on_adopted_poll, j);
        return 0;
    }
    return loop_watch(j->en->loop, j->pidfd, EPOLLIN, on_pidfd, j, e);
}

/* The first stop leaves exit tasks alone. */
static void signal_attempts(struct engine *en, int sig)
{
    struct err e;

    for (size_t i = 0; i < en->g.n_tasks; i++) {
        struct job *j = en->g.tasks[i]->user;
        if (!j || en->g.tasks[i]->state != TASK_RUNNING || j->ended)
            continue;
        if (!en->stopping_hard && task_outlives_stop(en->g.tasks[i]))
            continue;
        if (j->pidfd >= 0)
            (void)syscall(SYS_pidfd_send_signal, j->pidfd, sig, NULL, 0);
        else if (j->dir_fd >= 0)
            (void)attempt_signal(j->dir_fd, sig, &e);
    }
}

/* ---- signals and the time-out ------------------------------------------------------------------ */

static void detach_from_terminal(struct engine *en)
{
    int null;

    if (en->detached)
        return;
    en->detached = true;
    en->out->detached = true;
    engine_event(en, RUN_EVENT_DETACHED, NULL, NULL);
    null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null < 0)
        return;
    for (int fd = 0; fd < 3; fd++)
        if (isatty(fd))
            (void)dup2(null, fd);
    (void)close(null);
}

static void on_signal(void *ctx, uint32_t events)
{
    struct engine *en = ctx;
    struct signalfd_siginfo info;

    (void)events;
    while (read(en->signal_fd, &info, sizeof info) == (ssize_t)sizeof info) {
        if (info.ssi_signo == SIGHUP) {
            detach_from_terminal(en);
            continue;
        }
        if (info.ssi_signo == SIGCHLD)
            continue;
        en->stopping_hard = en->stopping != 0;
        if (!en->stopping) {
            en->stopping = (int)info.ssi_signo;
            engine_notice(en, NULL, "stopping: waiting up to 10 s for running tasks "
                                    "(once more kills them)");
        }
        signal_attempts(en, SIGTERM); /* the second one makes supervisors kill */
    }
}

static void on_deadline(void *ctx)
{
    struct engine *en = ctx;

    if (en->stopping || en->finished)
        return;
    en->timed_out = true;
    en->stopping = SIGALRM;
    engine_notice(en, NULL, "the run's time-out was reached: stopping");
    /* the supervisors have the same deadline: give their own timers the first word */
}

static int watch_signals(struct engine *en, struct err *e)
{
    static const int signals[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT};
    sigset_t mask;

    sigemptyset(&mask);
    for (size_t i = 0; i < N_ELEMS(signals); i++)
        sigaddset(&mask, signals[i]);
    (void)signal(SIGPIPE, SIG_IGN); /* EPIPE on stdout never ends a run */
    if (sigprocmask(SIG_BLOCK, &mask, NULL) < 0)
        return err_sys(e, errno, "block signals");
    en->signal_fd = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (en->signal_fd < 0)
        return err_sys(e, errno, "signalfd");
    return loop_watch(en->loop, en->signal_fd, EPOLLIN, on_signal, en, e);
}

/* ---- life of an engine ---------------------------------------------------------------------------- */

void engine_init(struct engine *en, struct run_env *env, const struct run_view *view,
                 struct run_outcome *out)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    *en = (struct engine){.env = env,
                          .view = view,
                          .out = out,
                          .home_fd = -1,
                          .run_fd = -1,
                          .lock_fd = -1,
                          .signal_fd = -1,
                          .serial_fd = {-1, -1},
                          .started_mono_ns = clock_mono_ns()};
    *out = (struct run_outcome){.state = TASK_FAILED};
    if (cpus < 1)
        cpus = 1;
    en->jobs_max = (uint32_t)cpus;
    en->cpu_millis_max = (uint32_t)cpus * 1000;
}

void engine_done(struct engine *en)
{
    for (size_t i = 0; i < en->g.n_tasks; i++) {
        struct job *j = en->g.tasks[i]->user;
        if (j && j->pidfd >= 0)
            (void)close(j->pidfd);
        if (j && j->dir_fd >= 0)
            (void)close(j->dir_fd);
        if (j) {
            gpus_drop(en, j);
            arena_done(&j->a);
        }
    }
    loop_free(en->loop);
    for (size_t i = 0; i < 4; i++) {
        int fd = (const int[]){en->home_fd, en->run_fd, en->signal_fd, en->lock_fd}[i];
        if (fd >= 0)
            (void)close(fd);
    }
    map_done(&en->old_rows);
    map_done(&en->taken_over);
    for (size_t i = 0; i < N_ELEMS(en->serial_fd); i++)
        if (en->serial_fd[i] >= 0)
            (void)close(en->serial_fd[i]);
    free(en->examine);
    free(en->ready);
    free(en->waiting);
    free(en->ended);
    free(en->spawns);
    events_done(en);
    map_done(&en->codes);
    map_done(&en->told);
    marks_done(en->marks);
    arena_done(&en->a);
}

int engine_lock(struct engine *en, struct err *e)
{
    char path[64];

    if (en->home_fd < 0)
        en->home_fd = open(en->env->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (en->home_fd < 0)
        return err_sys(e, errno, "open %s", en->env->home);
    snprintf(path, sizeof path, "runs/%s", en->id);
    if (fd_mkdirs(en->home_fd, path, 0750, e) < 0)
        return -1;
    en->run_fd = openat(en->home_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (en->run_fd < 0)
        return err_sys(e, errno, "open %s", path);
    en->lock_fd = openat(en->run_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (en->lock_fd < 0)
        return err_sys(e, errno, "create the lock of run %s", en->id);
    if (flock(en->lock_fd, LOCK_EX | LOCK_NB) < 0)
        return err_set(e, ERR_BUSY, "run %s is being executed by another dugout", en->name);
    return pid_file_write(en->run_fd, "engine", e);
}

int engine_scratch(struct engine *en, struct err *e)
{
    AUTO_FREE char *path = NULL;

    if (!en->o.scratch)
        return 0;
    if (store_scratch(en->env->store, en->o.scratch, &path, e) < 0)
        return -1;
    en->scratch = arena_strdup(&en->a, path);
    return 0;
}

/* ---- one turn --------------------------------------------------------------------------------------- */

/* Whatever is examined may be a cache hit, which is reported done. */
static bool turn_is_durable(const struct engine *en)
{
    return en->n_ended || en->stopping || en->n_examine || en->n_ready > en->first_ready;
}

int engine_txn(struct engine *en, struct err *e)
{
    if (en->in_txn)
        return 0;
    if (db_begin(en->env->db, DB_PROGRESS, e) < 0)
        return -1;
    en->in_txn = true;
    en->sync_due |= turn_is_durable(en);
    return 0;
}

static int examine_one(struct engine *en, struct task *t, struct err *e)
{
    struct str reason = {"", 0};

    if (t->state != TASK_PENDING)
        return 0;
    if (((struct job *)t->user)->planned)
        return task_start(en, t, e); /* a retry: what failed elsewhere since does not matter */
    switch (task_verdict(&en->g, t, &reason)) {
    case VERDICT_WAIT:
        return 0;
    case VERDICT_SKIP:
        return task_close(en, t, TASK_SKIPPED, reason, (struct str){"", 0}, e);
    case VERDICT_START:
        if (task_is_group(t))
            return task_start(en, t, e);
        PUSH(en->ready, en->n_ready, en->cap_ready, t);
        return 0;
    }
    return 0;
}

/* Inputs, argv and the cache key of a task are made when its turn is near: a loop of 10,000 does
 * not hold 10,000 command lines. */
static int start_ready(struct engine *en, struct err *e)
{
    while (en->first_ready < en->n_ready && en->n_waiting < en->jobs_max + READY_AHEAD) {
        struct task *t = en->ready[en->first_ready++];
        if (t->state == TASK_PENDING && task_start(en, t, e) < 0)
            return -1;
    }
    if (en->first_ready == en->n_ready)
        en->first_ready = en->n_ready = 0;
    return 0;
}

static int examine_all(struct engine *en, struct err *e)
{
    do {
        for (size_t i = 0; i < en->n_examine; i++) /* grows while we go */
            if (examine_one(en, en->examine[i], e) < 0)
                return -1;
        en->n_examine = 0;
        if (start_ready(en, e) < 0)
            return -1;
    } while (en->n_examine); /* cache hits wake what needs them */
    return 0;
}

static int launch_waiting(struct engine *en, struct err *e)
{
    size_t kept = 0;

    /* In order; one that does not fit does not hold up smaller ones behind it. */
    for (size_t i = 0; i < en->n_waiting; i++) {
        struct task *t = en->waiting[i];
        int rc = 0;

        if (t->state == TASK_PENDING && en->running < en->jobs_max)
            rc = task_launch(en, t, e);
        if (rc < 0)
            return -1;
        if (rc == 0 && t->state == TASK_PENDING)
            en->waiting[kept++] = t;
        else
            ((struct job *)t->user)->waiting = false;
        if (en->running >= en->jobs_max) {
            /* nothing further can start: keep the rest as it is */
            memmove(&en->waiting[kept], &en->waiting[i + 1],
                    (en->n_waiting - i - 1) * sizeof(*en->waiting));
            kept += en->n_waiting - i - 1;
            break;
        }
    }
    en->n_waiting = kept;
    return 0;
}

/* What has not started does not start any more, but for exit tasks (section 16). Groups under way
 * end by themselves when all in them has. */
static int cancel_pending(struct engine *en, struct err *e)
{
    struct str reason = en->timed_out ? STR("the run's time-out was reached")
                                      : STR("the run was canceled");

    for (size_t i = 0; i < en->g.n_tasks; i++) {
        struct task *t = en->g.tasks[i];
        const struct task *owner = t->scope->owner;
        bool may_run = task_outlives_stop(t) && !en->stopping_hard &&
                       (!owner || owner->state == TASK_RUNNING || task_outlives_stop(owner));

        if (t->state == TASK_PENDING && !may_run &&
            task_close(en, t, TASK_CANCELED, reason, (struct str){"", 0}, e) < 0)
            return -1;
    }
    return 0;
}

static int finish_run(struct engine *en, struct err *e);

/* Supervisors start as soon as their rows are there: what is not durable yet ends with them in a
 * power cut. They build their boxes while we wait for the disk; then what ended may be told. */
static int commit_turn(struct engine *en, struct err *e)
{
    en->in_txn = false;
    if (db_commit(en->env->db, e) < 0)
        return -1;
    for (size_t i = 0; i < en->n_spawns; i++)
        if (task_spawn(en, en->spawns[i], e) < 0)
            return -1;
    en->n_spawns = 0;
    if (en->sync_due && db_sync(en->env->db, e) < 0)
        return -1;
    en->sync_due = false;
    if (!en->recorded)
        engine_event(en, RUN_EVENT_RECORDED, NULL, NULL);
    en->recorded = true;
    events_tell(en);
    return 0;
}

static int turn(struct engine *en, struct err *e)
{
    bool busy = en->n_ended || en->n_examine || en->stopping ||
                (en->n_ready > en->first_ready && en->n_waiting < en->jobs_max + READY_AHEAD) ||
                (en->n_waiting && en->running < en->jobs_max);

    if (busy && engine_txn(en, e) < 0)
        return -1;
    for (size_t i = 0; i < en->n_ended; i++) {
        en->ended[i]->ended = false;
        if (task_ended(en, en->ended[i], e) < 0)
            return -1;
    }
    en->n_ended = 0;
    if (en->stopping && cancel_pending(en, e) < 0)
        return -1;
    if (examine_all(en, e) < 0)
        return -1;
    if (en->n_waiting && en->running < en->jobs_max && launch_waiting(en, e) < 0)
        return -1;
    if (en->g.root->n_left == 0 && !en->running && !en->finished &&
        (engine_txn(en, e) < 0 || finish_run(en, e) < 0))
        return -1;
    return en->in_txn ? commit_turn(en, e) : 0;
}

/* ---- the end ---------------------------------------------------------------------------------------- */

static void outputs_json(struct engine *en, const struct io_values *out, struct buf *b)
{
    const struct dag *dag = en->g.root->dag;
    struct jw w;

    jw_init(&w, b);
    jw_obj(&w);
    jw_key(&w, "parameters");
    jw_obj(&w);
    for (size_t i = 0; i < dag->n_params; i++) {
        const struct value *v = io_values_param(out, dag->params[i].name);
        jw_keystr(&w, dag->params[i].name);
        if (v)
            value_write(&w, v);
        else
            jw_null(&w); /* its producer was skipped or failed */
    }
    jw_end_obj(&w);
    jw_key(&w, "artifacts");
    jw_obj(&w);
    for (size_t i = 0; i < dag->n_artifacts; i++) {
        const struct named_artifacts *l = io_values_artifact(out, dag->artifacts[i].name);
        jw_keystr(&w, dag->artifacts[i].name);
        jw_arr(&w);
        for (size_t k = 0; l && k < l->n_items; k++) {
            struct db_artifact row;
            struct err e;
            if (db_artifact_get_in(&en->a, en->env->db, l->items[k].id, &row, &e) == 0)
                db_artifact_short_json(&row, &w);
        }
        jw_end_arr(&w);
    }
    jw_end_obj(&w);
    jw_end_obj(&w);
}

static void count_tasks(struct engine *en)
{
    size_t ran = 0;

    for (size_t i = 0; i < en->g.n_tasks; i++) {
        const struct task *t = en->g.tasks[i];
        if (task_is_group(t))
            continue;
        en->out->n_tasks++;
        en->out->n_cached += t->cached;
        en->out->n_failed += t->state == TASK_FAILED;
        ran += t->state == TASK_SUCCEEDED && !t->cached;
    }
    en->out->nothing_new = en->out->n_cached && !ran && !en->out->n_failed;
}

static int set_tag(struct engine *en, const struct run_tag *tag, const struct db_by *by,
                   struct err *e)
{
    const struct named_artifacts *l = NULL;
    int64_t id, was = 0;

    for (size_t k = 0; k < en->g.n_tasks && !l; k++)
        if (str_eqz(en->g.tasks[k]->path, tag->task))
            l = io_values_artifact(&en->g.tasks[k]->out, str_of(tag->output));
    if (!l || !l->n_items)
        return err_set(e, ERR_MISSING, "the run made no such artifact, so the tag stays as it was");
    id = l->items[0].id;
    if (db_tag_set(en->env->db, str_of(tag->name), id, true, by, &was, e) < 0)
        return -1;
    if (was && was != id)
        engine_notice(en, NULL, "%s moved from a%lld to a%lld (undo: dugout tag a%lld %s --move)",
                      tag->name, (long long)was, (long long)id, (long long)was, tag->name);
    else
        engine_notice(en, NULL, "%s is a%lld", tag->name, (long long)id);
    return 0;
}

/* The run is done all the same, and what one tag cannot be is no matter to the others: its task may
 * stand in a branch that was not taken. */
static void set_tags(struct engine *en)
{
    struct db_by by = {.reason = STR("run --tag"), .now_unix_ms = clock_unix_ms()};
    char user[64];

    who_user(user);
    by.user = str_of(user);
    for (size_t i = 0; i < en->n_tags; i++) {
        const struct run_tag *tag = &en->tags[i];
        struct err why = {0};
        if (set_tag(en, tag, &by, &why) < 0)
            engine_notice(en, NULL, "--tag %s:%s=%s: %s", tag->task, tag->output, tag->name,
                          why.text);
    }
}

static int finish_run(struct engine *en, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct io_values out = {0};
    struct db_run_end end = {.finished_unix_ms = clock_unix_ms()};
    bool won;

    buf_init(&text, LIMIT_RESULT_BYTES);
    scope_outputs(&en->g, en->g.root, &out);
    outputs_json(en, &out, &text);
    count_tasks(en);
    en->finished = true;
    if (en->timed_out) {
        en->out->state = TASK_FAILED;
        end.error = STR("the run's time-out was reached");
    } else if (en->stopping) {
        en->out->state = TASK_CANCELED;
        end.error = str_of(arena_printf(&en->a, "stopped by signal %d (%s)", en->stopping,
                                        strsignal(en->stopping)));
    } else {
        en->out->state = en->out->n_failed || en->g.root->failed ? TASK_FAILED : TASK_SUCCEEDED;
        if (en->out->state == TASK_FAILED)
            end.error = str_of(arena_printf(&en->a, "task %s: %s", en->out->failed_task,
                                            en->out->error));
    }
    en->out->signal = en->timed_out ? 0 : en->stopping;
    en->out->timed_out = en->timed_out;
    en->out->elapsed_ms = (clock_mono_ns() - en->started_mono_ns) / 1000000;
    end.state = en->out->state == TASK_SUCCEEDED ? DB_SUCCEEDED
                : en->out->state == TASK_FAILED  ? DB_FAILED
                                                 : DB_CANCELED;
    if (!en->out->error[0])
        snprintf(en->out->error, sizeof en->out->error, "%.*s", STR_ARG(end.error));
    end.outputs_json = (struct str){buf_str(&text), text.len};
    end.all_cached = en->out->nothing_new;
    if (en->out->state == TASK_SUCCEEDED)
        set_tags(en);
    return db_run_finish(en->env->db, en->row, &end, &won, e);
}

static void run_hook(struct engine *en)
{
    const char *program = en->out->state == TASK_SUCCEEDED ? en->o.hook_success
                          : en->out->state == TASK_FAILED  ? en->o.hook_failure
                                                           : en->o.hook_interrupted;
    struct err e = {0};

    if (program && hook_run(en->env, program, en->id, &e) < 0)
        engine_notice(en, NULL, "hook %s: %s (the run is not affected)", program, e.text);
}

static void on_tick(void *ctx)
{
    struct engine *en = ctx;

    engine_event(en, RUN_EVENT_TICK, NULL, NULL);
    (void)loop_at(en->loop, clock_mono_ns() + TICK_MS * 1000000LL, on_tick, en);
}

int engine_loop(struct engine *en, struct err *e)
{
    if (loop_new(&en->loop, e) < 0 || watch_signals(en, e) < 0)
        return -1;
    if (en->o.jobs)
        en->jobs_max = en->o.jobs;
    if (en->deadline_unix_ms) {
        int64_t left = en->deadline_unix_ms - clock_unix_ms();
        (void)loop_at(en->loop, clock_mono_ns() + (left > 0 ? left : 0) * 1000000LL,
                      on_deadline, en);
    }
    if (en->view && en->view->ticks)
        on_tick(en);
    for (size_t i = 0; i < en->g.n_tasks; i++) {
        struct job *j = en->g.tasks[i]->user;
        if (j && j->adopted && job_watch(j, e) < 0)
            return -1;
        if (!en->g.tasks[i]->scope->owner)
            engine_examine(en, en->g.tasks[i]);
    }
    for (;;) {
        if (turn(en, e) < 0) {
            db_rollback(en->env->db);
            return -1; /* supervisors go on; reconcile and resume find them */
        }
        waits_tell(en);
        if (en->finished)
            break;
        /* Memory may be freed by another run: look again now and then. */
        if (loop_turn(en->loop, en->blocked_by_memory ? 250 : -1, e) < 0)
            return -1;
        en->blocked_by_memory = false;
    }
    snprintf(en->out->run_id, sizeof en->out->run_id, "%s", en->id);
    snprintf(en->out->name, sizeof en->out->name, "%s", en->name);
    run_hook(en);
    return 0;
}

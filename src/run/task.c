/* SPDX-License-Identifier: Apache-2.0 */
/* task.c - one task from PENDING to its end
 *
 *   task_start   upstream is done: resolve inputs; a DAG opens its scope (group.c); a container is
 *                looked up in the cache (reuse.c) or queued for a slot
 *   task_launch  a slot is free: attempt directory, rows RUNNING; the supervisor is spawned after
 *                the commit (launch.c)
 *   task_ended   result.json -> rows, outputs; or another attempt after a while
 *   task_close   every way into a final state goes through here: it wakes what depends on the
 *                task, and ends the DAG around it when it was the last
 *
 * What is wrong with a task makes the task FAILED. Errors that come back from here are of the
 * database or the host and end the engine; its supervisors go on.
 */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "lineage/record.h"
#include "run/admit.h"
#include "run/chore.h"
#include "run/commit.h"
#include "run/engine.h"
#include "run/kube.h"
#include "run/log.h"

/* ---- final states ------------------------------------------------------------------------ */

static void note_failure(struct engine *en, const struct task *t, struct str error)
{
    const struct job *j = t->user;

    if (en->out->failed_task[0] || (task_is_group(t) && group_failed(t)))
        return; /* the first one, and the one that holds the cause */
    snprintf(en->out->failed_task, sizeof en->out->failed_task, "%.*s", STR_ARG(t->path));
    snprintf(en->out->error, sizeof en->out->error, "%.*s", STR_ARG(error));
    if (j && j->rel)
        snprintf(en->out->log_path, sizeof en->out->log_path, "%s/runs/%s/log", en->env->home,
                 j->rel);
}

void task_settle(struct engine *en, struct task *t, enum task_state state, struct str reason,
                 struct str error)
{
    struct scope *s = t->scope;
    const struct dag *dag = s->dag;
    size_t me = (size_t)(t->def - dag->tasks);
    struct job *j = t->user;

    t->state = state;
    t->reason = arena_str(&en->a, reason);
    t->error = arena_str(&en->a, error);
    s->n_left--;
    if (state == TASK_FAILED) {
        if (!s->failed)
            s->failed = t;
        note_failure(en, t, t->error);
    }
    for (size_t k = dag->first_dependent[me]; k < dag->first_dependent[me + 1]; k++)
        engine_examine(en, s->tasks[dag->dependents[k]]);
    engine_event(en, RUN_EVENT_TASK, t, NULL);
    if (j)
        job_landed(j);
}

int task_close(struct engine *en, struct task *t, enum task_state state, struct str reason,
               struct str error, struct err *e)
{
    struct db_task_end end = {.state = (enum db_state)state,
                              .finished_unix_ms = clock_unix_ms(),
                              .reason = reason,
                              .error = error,
                              .exit_code = DB_NO_EXIT,
                              .peak_memory_bytes = -1,
                              .cpu_usec = -1};
    bool won;

    if (db_task_finish(en->env->db, job_of(en, t)->row, &end, &won, e) < 0)
        return -1;
    task_settle(en, t, state, reason, error);
    if (state != TASK_SUCCEEDED && group_close_inner(en, t, e) < 0)
        return -1;
    return group_ended(en, t->scope, e);
}

/* a task that cannot even be tried */
int task_fail(struct engine *en, struct task *t, const struct err *why, struct err *e)
{
    return task_close(en, t, TASK_FAILED, NO_TEXT, str_of(why->text), e);
}

/* ---- starting ---------------------------------------------------------------------------------- */

static void queue_for_slot(struct engine *en, struct job *j)
{
    if (j->waiting)
        return;
    j->waiting = true;
    j->wait = WAIT_SLOT;
    j->ready_unix_ms = clock_unix_ms();
    if (en->n_waiting == en->cap_waiting) {
        en->cap_waiting = en->cap_waiting ? en->cap_waiting * 2 : 64;
        en->waiting = xrealloc(en->waiting, en->cap_waiting * sizeof(*en->waiting));
    }
    en->waiting[en->n_waiting++] = j->t;
}

/* everything that can go wrong with a container task before it runs */
static int plan_container(struct engine *en, struct job *j, struct err *e)
{
    struct task *t = j->t;
    AUTO_BUF struct buf missing = {0};
    struct run_task_opts own;

    if (chore_is(t->def->component->executor)) {
        j->planned = true;
        return chore_plan(en, j, e);
    }
    if (!t->uuid[0])
        uuid_new(t->uuid);
    if (chore_fetched(en, t, e) < 0 || kube_plan_task(en, j, e) < 0 || exec_plan_in(&j->a, &en->g, t, &j->plan, e) < 0 ||
        exec_resources(&j->a, &en->g, t, &j->res, e) < 0)
        return -1;
    own = run_task_opts_in(&j->a, &en->o, t->def->key, t->path);
    run_task_resources(&own, &j->res);
    if (j->plan.absent.len)
        engine_notice(en, t, "task %.*s: its input %.*s has no value: nothing stands in its place on "
                             "the command line", STR_ARG(t->path), STR_ARG(j->plan.absent));
    j->image = prepare_image(en, j->plan.image, e);
    if (!j->image || kube_plan_image(j, e) < 0 || kube_plan_workspace(en, j, e) < 0)
        return -1;
    buf_init(&missing, 4096);
    if (prepare_packages(en, t->def->component->executor, j->image, &j->skip_words, &j->shim,
                         &missing, e) < 0)
        return -1;
    if (missing.len)
        return err_set(e, ERR_MISSING, "packages are missing: %s", buf_str(&missing));
    j->planned = true;
    return 0;
}

/* what the condition saw is kept, so that `why` can tell */
static int skip_for_condition(struct engine *en, struct task *t, struct err *e)
{
    const char *reason =
        arena_printf(&en->a, "its condition is false: %.*s", STR_ARG(t->def->condition));

    if (task_put_params(en, t, e) < 0)
        return -1;
    return task_close(en, t, TASK_SKIPPED, str_of(reason), NO_TEXT, e);
}

int task_start(struct engine *en, struct task *t, struct err *e)
{
    struct job *j = job_of(en, t);
    struct err why = {0};
    int rc;

    if (!j->planned) {
        bool holds;
        if (task_resolve(&en->g, t, &why) < 0)
            return task_fail(en, t, &why, e);
        if (task_condition(t, &holds, &why) < 0)
            return task_put_params(en, t, e) < 0 ? -1 : task_fail(en, t, &why, e);
        if (!holds)
            return skip_for_condition(en, t, e);
        if (task_is_group(t))
            return group_start(en, t, e);
        if (plan_container(en, j, &why) < 0)
            return task_fail(en, t, &why, e);
        task_key(en, j);
        if (task_warn_revoked(en, t, e) < 0)
            return -1;
        rc = task_try_cache(en, j, e);
        if (rc)
            return rc < 0 ? -1 : 0;
    }
    queue_for_slot(en, j);
    return 0;
}

/* ---- the end of an attempt ------------------------------------------------------------------------------ */

/* out of the flight's arena into the run's */
static void keep_outputs(struct engine *en, struct task *t, const struct result *r,
                         const int64_t *ids)
{
    struct arena *a = &en->a;
    struct io_values *out = &t->out;

    *out = (struct io_values){0};
    for (size_t i = 0; i < r->n_params; i++)
        io_values_add_param(a, out, arena_str(a, r->params[i].name),
                            value_copy_in(a, &r->params[i].value));
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct result_artifact *f = &r->artifacts[i];
        struct artifact *one = arena_alloc(a, sizeof *one);
        struct value *metadata = f->metadata ? arena_alloc(a, sizeof *metadata) : NULL;

        if (metadata)
            *metadata = value_copy_in(a, f->metadata);
        *one = (struct artifact){.id = ids[i],
                                 .name = arena_str(a, f->name),
                                 .uri = arena_str(a, f->uri),
                                 .type = arena_str(a, f->type),
                                 .type_version = arena_str(a, f->type_version),
                                 .kind = arena_str(a, f->kind),
                                 .digest = arena_str(a, f->digest),
                                 .size_bytes = f->size_bytes,
                                 .n_files = f->n_files,
                                 .metadata = metadata};
        io_values_add_artifacts(a, out, one->name,
                                &(struct named_artifacts){.items = one,
                                                          .n_items = 1,
                                                          .type = one->type,
                                                          .type_version = one->type_version});
    }
}

static void on_backoff(void *ctx)
{
    struct job *j = ctx;

    j->timer = 0;
    j->en->n_backoff--;
    engine_examine(j->en, j->t);
}

#define HOST_BACKOFF_MS 1000 /* a host that has just failed: not at once */

static void plan_retry(struct engine *en, struct job *j, const struct result *r)
{
    struct retry_policy p = task_retry(en, j->t);
    int64_t wait_ms = r->end == END_HOST ? HOST_BACKOFF_MS
                                         : task_backoff_ms(&p, j->attempts - j->host_failures -
                                                             j->attempts_before);
    char human[24];
    AUTO_BUF struct buf text = {0};

    clock_human(wait_ms, human);
    buf_init(&text, 1024);
    buf_addf(&text, "attempt %u: %.*s; again%s%s", j->attempts, STR_ARG(r->error),
             wait_ms ? " in " : "", wait_ms ? human : "");
    j->t->state = TASK_PENDING;
    engine_event(en, RUN_EVENT_RETRY, j->t, buf_str(&text));
    if (en->stopping)
        return;
    en->n_backoff++;
    j->ready_unix_ms = clock_unix_ms();
    j->again_unix_ms = j->ready_unix_ms + wait_ms;
    j->timer = loop_at(en->loop, clock_mono_ns() + wait_ms * 1000000, on_backoff, j);
}

static void network_hint(struct engine *en, struct job *j)
{
    if (!j->at->network_host && runlog_wants_network(j->dir_fd))
        engine_notice(en, j->t,
                      "task %.*s looked for the network, and boxes have none "
                      "(--network host opens it)",
                      STR_ARG(j->t->path));
}

int task_ended(struct engine *en, struct job *j, struct err *e)
{
    struct task *t = j->t;
    struct result r;
    struct err why = {0};
    enum commit_verdict verdict = COMMIT_FAILED;
    int64_t *ids;
    bool won;

    if (j->pidfd >= 0)
        (void)close(j->pidfd);
    j->pidfd = -1;
    j->adopted = false;
    if (result_read_in(&j->a, j->dir_fd, &r, &why) < 0)
        r = (struct result){.end = END_HOST,
                            .error = why.code == ERR_MISSING
                                         ? STR("its supervisor vanished without a result")
                                         : arena_str(&j->a, str_of(why.text)),
                            .finished_unix_ms = clock_unix_ms(),
                            .enforced = STR("{}")};
    ids = arena_alloc(&j->a, (r.n_artifacts + 1) * sizeof *ids);
    if (commit_attempt(en->env->db, j->at, &r, &won, &verdict, ids, e) < 0)
        return -1;
    en->running--;
    en->cpu_millis_used -= job_cpu_millis(j) < en->cpu_millis_used ? job_cpu_millis(j)
                                                               : en->cpu_millis_used;
    if (job_memory_bytes(en, j))
        admit_give(en->home_fd, j->rel);
    gpus_ended(en, j);
    if (!won)
        return err_set(e, ERR_BUSY, "another dugout committed task %.*s of this run",
                       STR_ARG(t->path));
    for (size_t i = 0; i < r.n_notices; i++)
        if (str_starts(r.notices[i], "this host")) /* said once, whatever the task */
            engine_notice(en, t, "%.*s", STR_ARG(r.notices[i]));
        else
            engine_notice(en, t, "task %.*s: %.*s", STR_ARG(t->path), STR_ARG(r.notices[i]));
    if (r.end == END_HOST)
        j->host_failures++;
    switch (verdict) {
    case COMMIT_RETRY:
        plan_retry(en, j, &r);
        return 0;
    case COMMIT_SUCCEEDED:
        keep_outputs(en, t, &r, ids);
        task_settle(en, t, TASK_SUCCEEDED, NO_TEXT, NO_TEXT);
        break;
    case COMMIT_FAILED:
        network_hint(en, j);
        task_settle(en, t, TASK_FAILED, NO_TEXT, r.error);
        break;
    case COMMIT_CANCELED:
        task_settle(en, t, TASK_CANCELED, r.error, NO_TEXT);
        break;
    }
    if (j->dir_fd >= 0) /* it settled, and there may be thousands of them */
        (void)close(j->dir_fd);
    j->dir_fd = -1;
    return group_ended(en, t->scope, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* commit.c - what result.json means for the record
 *
 * attempt.json carries everything that is needed here, so that a reconcile can commit without
 * the pipeline. db_attempt_finish is compare-and-set: of an engine and two resumes that all see the
 * same result, one writes.
 */
#include "run/commit.h"

#include "base/json.h"
#include "lineage/cache.h"
#include "lineage/record.h"

static enum commit_verdict judge(const struct attempt *at, const struct result *r)
{
    uint32_t step_failures;

    if (result_ok(r))
        return COMMIT_SUCCEEDED;
    if (r->end == END_CANCELED)
        return COMMIT_CANCELED;
    if (r->end == END_TIMEOUT)
        return COMMIT_FAILED; /* the run's own deadline: another attempt has no time either */
    if (r->end == END_HOST)
        return at->host_failures < at->host_retries ? COMMIT_RETRY : COMMIT_FAILED;
    step_failures = at->number - at->host_failures;
    return step_failures <= at->max_retries ? COMMIT_RETRY : COMMIT_FAILED;
}

static struct str json_of(struct buf *b, const struct value *v)
{
    buf_reset(b);
    if (v)
        value_to_json(b, v);
    return (struct str){buf_str(b), b->len};
}

static int put_outputs(struct db *d, const struct attempt *at, const struct result *r,
                       int64_t *ids, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    buf_init(&text, 0);
    for (size_t i = 0; i < r->n_params; i++)
        if (db_param_put(d, at->task_id, DB_OUT, r->params[i].name,
                         json_of(&text, &r->params[i].value), e) < 0)
            return -1;
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct result_artifact *f = &r->artifacts[i];
        struct db_artifact_new row = {.type = f->type,
                                      .name = f->name,
                                      .kind = f->kind,
                                      .digest_hex = f->digest,
                                      .size_bytes = (int64_t)f->size_bytes,
                                      .n_files = (int64_t)f->n_files,
                                      .metadata_json = json_of(&text, f->metadata),
                                      .uri = f->uri,
                                      .source = at->work.source,
                                      .created_unix_ms = r->finished_unix_ms,
                                      .task = at->task_id};
        int64_t id = 0;
        /* an importer without reimport gives out the artifact of before, as a hit would */
        if (at->work.kind == WORK_IMPORT && !at->work.again &&
            db_artifact_again(d, &row, &id, e) < 0)
            return -1;
        if ((!id && db_artifact_insert(d, &row, &id, e) < 0) ||
            db_event_put(d, at->task_id, DB_OUT, f->name, 0, id, e) < 0)
            return -1;
        if (ids)
            ids[i] = id;
    }
    if (at->cache_key.len)
        return db_cache_put(d, at->cache_key, at->task_id, r->finished_unix_ms, e);
    return 0;
}

int commit_attempt(struct db *d, const struct attempt *at, const struct result *r, bool *won,
                   enum commit_verdict *verdict, int64_t *artifact_ids, struct err *e)
{
    enum commit_verdict v = judge(at, r);
    bool ran = r->end != END_HOST, task_won;
    struct db_attempt_end end = {
        .state = v == COMMIT_SUCCEEDED  ? DB_SUCCEEDED
                 : v == COMMIT_CANCELED ? DB_CANCELED
                                        : DB_FAILED,
        .finished_unix_ms = r->finished_unix_ms,
        .exit_code = ran && !r->signal ? r->exit_code : DB_NO_EXIT,
        .signal = r->signal,
        .error = r->error,
        .peak_memory_bytes = ran ? (int64_t)r->peak_memory_bytes : -1,
        .cpu_usec = ran ? (int64_t)r->cpu_usec : -1,
        .enforced_json = r->enforced,
        .oom = r->oom,
        .timed_out = r->end == END_TIMEOUT,
        .host_failure = r->end == END_HOST,
    };
    struct db_task_end task = {.state = end.state,
                               .finished_unix_ms = r->finished_unix_ms,
                               .error = r->error,
                               .exit_code = end.exit_code,
                               .peak_memory_bytes = end.peak_memory_bytes,
                               .cpu_usec = end.cpu_usec,
                               .host_failure = end.host_failure};

    if (db_attempt_finish(d, at->task_id, at->number, &end, won, e) < 0)
        return -1;
    if (!*won)
        return 0;
    *verdict = v;
    if (v == COMMIT_RETRY)
        return db_task_retry(d, at->task_id, end.host_failure, &task_won, e);
    if (v == COMMIT_SUCCEEDED && put_outputs(d, at, r, artifact_ids, e) < 0)
        return -1;
    return db_task_finish(d, at->task_id, &task, &task_won, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - runs, tasks and attempts, written as they happen
 *
 * A state moves by one UPDATE that names the states it may come from; the number of
 * rows changed says whether this process was the one that moved it. Several resumes, a
 * reconciler and an engine can race, and what follows from a step is still written
 * once: in the same transaction, by whoever won.
 *
 *     run      PENDING -> RUNNING -> SUCCEEDED | FAILED | CANCELED | INTERRUPTED ->
 * RUNNING ... task     PENDING -> RUNNING -> final        (retry: back to PENDING;
 * reset by a resume) attempt  RUNNING -> final
 */
#include "lineage/record.h"

#include "base/clock.h"
#include "base/sha256.h"
#include "lineage/rows.h"

/* ---- rows that others point at ------------------------------------------------------
 */

static int image_select(struct db *d, struct str config_hex, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM image WHERE config = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, config_hex);
    return q_one(&q, id, e);
}

int db_intern_image(struct db *d, struct str config_hex, int64_t *id, struct err *e)
{
    static const char sql[] = "INSERT INTO image (config) VALUES (?)";
    AUTO_Q struct q q = {0};

    *id = 0;
    if (!config_hex.len)
        return 0;
    if (image_select(d, config_hex, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, config_hex);
    return q_insert(&q, id, e);
}

static int pipeline_select(struct db *d, struct str name, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM pipeline WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_one(&q, id, e);
}

int db_intern_pipeline(struct db *d, struct str name, int64_t now_unix_ms, int64_t *id,
                       struct err *e)
{
    static const char sql[] = "INSERT INTO pipeline (name, created_ms) VALUES (?, ?)";
    AUTO_Q struct q q = {0};

    if (pipeline_select(d, name, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_i64(&q, now_unix_ms);
    return q_insert(&q, id, e);
}

static int doc_select(struct db *d, struct str hex, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM doc WHERE digest = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, hex);
    return q_one(&q, id, e);
}

int db_intern_doc(struct db *d, struct str hex, struct str text, int64_t *id,
                  struct err *e)
{
    static const char sql[] = "INSERT INTO doc (digest, text) VALUES (?, ?)";
    AUTO_Q struct q q = {0};

    *id = 0;
    if (!hex.len)
        return 0;
    if (doc_select(d, hex, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, hex);
    q_text(&q, text);
    return q_insert(&q, id, e);
}

/* ---- runs ---------------------------------------------------------------------------
 */

int db_run_create(struct db *d, const struct db_run_new *r, int64_t *id, struct err *e)
{
    static const char sql[] =
        "INSERT INTO run (uuid, name, pipeline, experiment, state, created_ms, "
        "deadline_ms,"
        " parent, spec, spec_file, git_commit, user, login_uid, host, version, argv,"
        " parameters, options)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    int64_t pipeline, spec;

    must(d->in_txn);
    if (db_intern_pipeline(d, r->pipeline, r->created_unix_ms, &pipeline, e) < 0 ||
        db_intern_doc(d, r->spec_hex, r->spec_text, &spec, e) < 0)
        return -1;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, r->uuid);
    q_text(&q, r->name);
    q_i64(&q, pipeline);
    q_text(&q, r->experiment.len ? r->experiment : STR("Default"));
    q_state(&q, r->state);
    q_i64(&q, r->created_unix_ms);
    q_id(&q, r->deadline_unix_ms);
    q_id(&q, r->parent);
    q_id(&q, spec);
    q_str(&q, r->spec_file);
    q_str(&q, r->git_commit);
    q_str(&q, r->user);
    q_known(&q, r->login_uid);
    q_str(&q, r->host);
    q_str(&q, r->version);
    q_str(&q, r->argv_json);
    q_str(&q, r->parameters_json);
    q_str(&q, r->options_json);
    if (q_insert(&q, id, e) < 0)
        return err_at(e, "run %.*s", STR_ARG(r->name));
    return 0;
}

int db_run_set_state(struct db *d, int64_t run, unsigned from_mask, enum db_state to,
                     bool *won, struct err *e)
{
    static const char sql[] = "UPDATE run SET state = ?1,"
                              " finished_ms = iif(?1 = 'RUNNING', NULL, finished_ms),"
                              " error = iif(?1 = 'RUNNING', NULL, error),"
                              " outputs = iif(?1 = 'RUNNING', NULL, outputs),"
                              " all_cached = iif(?1 = 'RUNNING', 0, all_cached)"
                              " WHERE id = ?2 AND instr(?3, state) > 0";
    AUTO_Q struct q q = {0};
    char from[96];

    must(d->in_txn);
    db_mask_text(from_mask, from);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_state(&q, to);
    q_i64(&q, run);
    q_text(&q, str_of(from));
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

int db_run_finish(struct db *d, int64_t run, const struct db_run_end *end, bool *won,
                  struct err *e)
{
    static const char sql[] =
        "UPDATE run SET state = ?1, finished_ms = ?2, error = ?3, outputs = ?4,"
        " all_cached = ?5"
        " WHERE id = ?6 AND state IN ('PENDING', 'RUNNING', 'INTERRUPTED')"
        " AND state <> ?1";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_state(&q, end->state);
    q_id(&q, end->finished_unix_ms);
    q_str(&q, end->error);
    q_str(&q, end->outputs_json);
    q_i64(&q, end->all_cached);
    q_i64(&q, run);
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

int db_run_set_options(struct db *d, int64_t run, struct str options_json,
                       int64_t deadline_unix_ms, struct err *e)
{
    static const char sql[] =
        "UPDATE run SET options = ?, deadline_ms = ? WHERE id = ?";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_str(&q, options_json);
    q_id(&q, deadline_unix_ms);
    q_i64(&q, run);
    return q_run(&q, e);
}

/* ---- tasks --------------------------------------------------------------------------
 */

static int code_intern(struct db *d, const struct db_task_new *t, int64_t *id,
                       struct err *e)
{
    static const char find[] = "SELECT id FROM code WHERE digest = ? AND component = ?";
    static const char put[] =
        "INSERT INTO code (digest, component, text) VALUES (?, ?, ?)";
    AUTO_Q struct q q = {0};
    AUTO_Q struct q insert = {0};

    *id = 0;
    if (!t->code_hex.len)
        return 0;
    if (q_open(&q, d, find, e) < 0)
        return -1;
    q_hex(&q, t->code_hex);
    q_text(&q, t->component);
    if (q_one(&q, id, e) < 0)
        return -1;
    if (*id)
        return 0;
    if (q_open(&insert, d, put, e) < 0)
        return -1;
    q_hex(&insert, t->code_hex);
    q_text(&insert, t->component);
    q_text(&insert, t->code_text);
    return q_insert(&insert, id, e);
}

int db_task_insert(struct db *d, const struct db_task_new *t, int64_t *id,
                   struct err *e)
{
    static const char sql[] =
        "INSERT INTO task (run, parent, path, name, kind, state, uuid, code)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    int64_t code;

    must(d->in_txn);
    if (code_intern(d, t, &code, e) < 0)
        return -1;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, t->run);
    q_id(&q, t->parent);
    q_text(&q, t->path);
    q_text(&q, t->name);
    q_text(&q, t->kind);
    q_state(&q, t->state);
    q_str(&q, t->uuid);
    q_id(&q, code);
    if (q_insert(&q, id, e) < 0)
        return err_at(e, "task %.*s", STR_ARG(t->path));
    return 0;
}

static int ingredients_put(struct db *d, int64_t task, struct str text, struct err *e)
{
    static const char sql[] = "INSERT OR REPLACE INTO ingredients VALUES (?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_text(&q, text);
    return q_run(&q, e);
}

int db_task_start(struct db *d, int64_t task, const struct db_task_start *s, bool *won,
                  struct err *e)
{
    static const char sql[] =
        "UPDATE task SET state = 'RUNNING', started_ms = coalesce(started_ms, ?), "
        "cache_key = ?,"
        " image = ?, uuid = coalesce(?, uuid) WHERE id = ? AND state = 'PENDING'";
    AUTO_Q struct q q = {0};
    int64_t image;
    bool moved;

    must(d->in_txn);
    if (db_intern_image(d, s->image_hex, &image, e) < 0)
        return -1;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, s->started_unix_ms);
    q_hex(&q, s->cache_key_hex);
    q_id(&q, image);
    q_str(&q, s->uuid);
    q_i64(&q, task);
    if (q_run(&q, e) < 0)
        return -1;
    moved = q_changes(&q) == 1;

    if (moved && s->cache_text.len && ingredients_put(d, task, s->cache_text, e) < 0)
        return -1;
    *won = moved;
    return 0;
}

int db_task_finish(struct db *d, int64_t task, const struct db_task_end *end, bool *won,
                   struct err *e)
{
    static const char sql[] =
        "UPDATE task SET state = ?, finished_ms = ?, reason = ?, error = ?, exit_code "
        "= ?,"
        " peak_memory = ?, cpu_usec = ?, host_failures = host_failures + ?"
        " WHERE id = ? AND state IN ('PENDING', 'RUNNING')";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_state(&q, end->state);
    q_id(&q, end->finished_unix_ms);
    q_str(&q, end->reason);
    q_str(&q, end->error);
    q_exit(&q, end->exit_code);
    q_known(&q, end->peak_memory_bytes);
    q_known(&q, end->cpu_usec);
    q_i64(&q, end->host_failure);
    q_i64(&q, task);
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

int db_task_retry(struct db *d, int64_t task, bool host_failure, bool *won,
                  struct err *e)
{
    static const char sql[] =
        "UPDATE task SET state = 'PENDING', host_failures = host_failures + ?"
        " WHERE id = ? AND state = 'RUNNING'";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, host_failure);
    q_i64(&q, task);
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

static int events_drop(struct db *d, int64_t task, struct err *e)
{
    static const char sql[] = "DELETE FROM event WHERE task = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    return q_run(&q, e);
}

static int params_drop(struct db *d, int64_t task, struct err *e)
{
    static const char sql[] = "DELETE FROM param WHERE task = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    return q_run(&q, e);
}

int db_task_reset(struct db *d, int64_t task, bool *won, struct err *e)
{
    static const char sql[] =
        "UPDATE task SET state = 'PENDING', started_ms = NULL, finished_ms = NULL,"
        " reason = NULL, error = NULL, exit_code = NULL, peak_memory = NULL, cpu_usec "
        "= NULL,"
        " cached = 0, cached_from = NULL, cache_key = NULL"
        " WHERE id = ? AND state <> 'PENDING'";
    AUTO_Q struct q q = {0};
    bool moved;

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    if (q_run(&q, e) < 0)
        return -1;
    moved = q_changes(&q) == 1;

    if (moved && (events_drop(d, task, e) < 0 || params_drop(d, task, e) < 0))
        return -1;
    *won = moved;
    return 0;
}

/* ---- attempts -----------------------------------------------------------------------
 */

static int attempts_count(struct db *d, int64_t task, int64_t number, struct err *e)
{
    static const char sql[] =
        "UPDATE task SET attempts = max(attempts, ?) WHERE id = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, number);
    q_i64(&q, task);
    return q_run(&q, e);
}

int db_attempt_start(struct db *d, const struct db_attempt_new *a, struct err *e)
{
    static const char sql[] =
        "INSERT INTO attempt (task, number, state, image, started_ms, host, dir, gpus)"
        " VALUES (?, ?, 'RUNNING', ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    int64_t image;

    must(d->in_txn);
    if (db_intern_image(d, a->image_hex, &image, e) < 0)
        return -1;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, a->task);
    q_i64(&q, a->number);
    q_id(&q, image);
    q_i64(&q, a->started_unix_ms);
    q_str(&q, a->host);
    q_str(&q, a->dir);
    q_str(&q, a->gpus_json);
    if (q_run(&q, e) < 0)
        return err_at(e, "attempt %lld of task %lld", (long long)a->number,
                      (long long)a->task);
    return attempts_count(d, a->task, a->number, e);
}

int db_attempt_finish(struct db *d, int64_t task, int64_t number,
                      const struct db_attempt_end *end, bool *won, struct err *e)
{
    static const char sql[] =
        "UPDATE attempt SET state = ?, finished_ms = ?, exit_code = ?, signal = ?, "
        "error = ?,"
        " peak_memory = ?, cpu_usec = ?, enforced = ?, oom = ?, timed_out = ?,"
        " host_failure = ? WHERE task = ? AND number = ? AND state = 'RUNNING'";
    AUTO_Q struct q q = {0};
    int64_t enforced = 0;

    must(d->in_txn);
    if (end->enforced_json.len) {
        char hex[DIGEST_HEX];
        sha256_hex(end->enforced_json.ptr, end->enforced_json.len, hex);
        if (db_intern_doc(d, str_of(hex), end->enforced_json, &enforced, e) < 0)
            return -1;
    }
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_state(&q, end->state);
    q_id(&q, end->finished_unix_ms);
    q_exit(&q, end->exit_code);
    q_id(&q, end->signal);
    q_str(&q, end->error);
    q_known(&q, end->peak_memory_bytes);
    q_known(&q, end->cpu_usec);
    q_id(&q, enforced);
    q_i64(&q, end->oom);
    q_i64(&q, end->timed_out);
    q_i64(&q, end->host_failure);
    q_i64(&q, task);
    q_i64(&q, number);
    if (q_run(&q, e) < 0)
        return -1;
    *won = q_changes(&q) == 1;
    return 0;
}

int db_external_put(struct db *d, const struct db_external *x, struct err *e)
{
    static const char sql[] =
        "INSERT INTO external (run, task, path, target, read_only, what)"
        " VALUES (?, ?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, x->run);
    q_id(&q, x->task);
    q_text(&q, x->path);
    q_str(&q, x->target);
    q_i64(&q, x->read_only);
    q_text(&q, x->what);
    return q_run(&q, e);
}

int db_label_put(struct db *d, int64_t task, enum db_label_kind kind, struct str key,
                 struct str value, struct err *e)
{
    static const char sql[] =
        "INSERT OR REPLACE INTO label (task, kind, key, value) VALUES (?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    must(d->in_txn);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_text(&q, kind == DB_LABEL ? STR("label") : STR("annotation"));
    q_text(&q, key);
    q_text(&q, value);
    return q_run(&q, e);
}

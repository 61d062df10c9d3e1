/* SPDX-License-Identifier: Apache-2.0 */
/* record.h - writing down what happens: runs, tasks, attempts, artifacts, events
 *
 * All functions need an open write transaction (db_begin) and borrow what they are
 * given. Texts that are empty are stored as absent. JSON texts are stored as they come
 * and must be valid. Digests are 64 hex digits without prefix, empty = none. Times are
 * Unix milliseconds, 0 = none. Row ids are never used again.
 *
 * Functions with `won` are compare-and-set: of several processes that try the same
 * step, exactly one gets won = true and may write what follows from it in the same
 * transaction. *won is set on success only.
 */
#ifndef LINEAGE_RECORD_H
#define LINEAGE_RECORD_H

#include "lineage/db.h"

struct db_run_new {
    struct str uuid;                 /* 36 characters, unique */
    struct str name;                 /* for people; need not be unique */
    struct str pipeline, experiment; /* experiment: "Default" when empty */
    enum db_state state;
    int64_t created_unix_ms, deadline_unix_ms;
    struct str user, host, version; /* of dugout */
    int64_t login_uid;              /* -1 = unknown */
    struct str argv_json;           /* array of strings */
    struct str spec_hex, spec_text; /* SHA-256 and full text of the YAML, kept once */
    struct str spec_file, git_commit;
    struct str parameters_json; /* object */
    struct str options_json; /* what a resume needs: retries, network, packages ... */
    int64_t parent;          /* run id, 0 = none */
};
/* db_run_create - ERR_INPUT when the uuid is taken */
int db_run_create(struct db *d, const struct db_run_new *r, int64_t *id, struct err *e);

/* db_run_set_state - from one of `from_mask` (DB_IS(...) | ...) to `to`. Going to
 * RUNNING forgets finished time, error and outputs. */
int db_run_set_state(struct db *d, int64_t run, unsigned from_mask, enum db_state to,
                     bool *won, struct err *e);

struct db_run_end {
    enum db_state state; /* SUCCEEDED, FAILED, CANCELED or INTERRUPTED */
    int64_t finished_unix_ms;
    struct str error, outputs_json; /* {"parameters": {...}, "artifacts": {...}} */
    bool all_cached;                /* "nothing new" */
};
/* db_run_finish - from PENDING or RUNNING; INTERRUPTED may become any of the others too
 */
int db_run_finish(struct db *d, int64_t run, const struct db_run_end *end, bool *won,
                  struct err *e);
/* db_run_set_options - a resume with other options or another deadline */
int db_run_set_options(struct db *d, int64_t run, struct str options_json,
                       int64_t deadline_unix_ms, struct err *e);

struct db_task_new {
    int64_t run, parent;   /* parent: id of the enclosing DAG's task, 0 = root */
    struct str path, name; /* path is unique in the run: "for-loop-2[0]/square" */
    struct str kind;       /* container, importer, dag, loop, condition */
    enum db_state state;
    struct str uuid; /* of its task root */
    /* what it runs, kept once: all three or none. code_hex is the digest of code_text */
    struct str component, code_hex, code_text;
};
int db_task_insert(struct db *d, const struct db_task_new *t, int64_t *id,
                   struct err *e);

struct db_task_start {
    int64_t started_unix_ms;
    struct str cache_key_hex,
        cache_text;       /* text: the ingredients, for `why`; may be empty */
    struct str image_hex; /* config digest */
    struct str uuid;      /* empty: keep what was inserted */
};
/* db_task_start - PENDING -> RUNNING */
int db_task_start(struct db *d, int64_t task, const struct db_task_start *s, bool *won,
                  struct err *e);

struct db_task_end {
    enum db_state state;
    int64_t finished_unix_ms;
    struct str reason, error;
    int32_t exit_code;                   /* DB_NO_EXIT = none */
    int64_t peak_memory_bytes, cpu_usec; /* -1 = unknown */
    bool host_failure;                   /* counts in host_failures */
};
/* db_task_finish - PENDING or RUNNING -> a final state; won = false when it was final
 * already */
int db_task_finish(struct db *d, int64_t task, const struct db_task_end *end, bool *won,
                   struct err *e);
/* db_task_retry - RUNNING -> PENDING before another attempt; host_failure is counted */
int db_task_retry(struct db *d, int64_t task, bool host_failure, bool *won,
                  struct err *e);
/* db_task_reset - for a resume: whatever it is -> PENDING, without the inputs and outputs
 * recorded for it. Attempts stay. */
int db_task_reset(struct db *d, int64_t task, bool *won, struct err *e);

struct db_attempt_new {
    int64_t task, number; /* from 1; also becomes the task's count */
    int64_t started_unix_ms;
    struct str dir; /* relative to the home: "runs/<uuid>/<task>.<number>" */
    struct str host, image_hex;
    struct str gpus_json; /* array of ids; empty = none */
};
/* db_attempt_start - ERR_INPUT when that number was recorded before */
int db_attempt_start(struct db *d, const struct db_attempt_new *a, struct err *e);

struct db_attempt_end {
    enum db_state state; /* SUCCEEDED, FAILED, CANCELED */
    int64_t finished_unix_ms;
    int32_t exit_code, signal; /* DB_NO_EXIT, 0 = none */
    struct str error;
    int64_t peak_memory_bytes, cpu_usec; /* -1 = unknown */
    struct str
        enforced_json; /* what the host really enforced; equal ones are kept once */
    bool oom, timed_out, host_failure;
};
/* db_attempt_finish - RUNNING -> state, exactly once */
int db_attempt_finish(struct db *d, int64_t task, int64_t number,
                      const struct db_attempt_end *end, bool *won, struct err *e);

/* db_param_put - one input or output parameter of a task; replaces */
int db_param_put(struct db *d, int64_t task, enum db_io io, struct str name,
                 struct str value_json, struct err *e);

struct db_artifact_new {
    struct str type; /* "system.Dataset" */
    struct str name; /* output key of its producer, or what the user called it */
    struct str kind; /* "file", "dir", "none": metadata only */
    struct str digest_hex;
    int64_t size_bytes, n_files;
    struct str metadata_json; /* object or empty; its numbers, texts and bools become
                                 searchable */
    struct str uri;           /* as the task saw it; may be empty */
    struct str source; /* path or URI outside that it was read from; may be empty */
    int64_t created_unix_ms;
    int64_t task;  /* producer, 0 = came from outside */
    bool imported; /* `artifact import`: kept by gc until removed by hand */
};
/* db_artifact_insert - ERR_INPUT when metadata_json is no object */
int db_artifact_insert(struct db *d, const struct db_artifact_new *n, int64_t *id,
                       struct err *e);
/* db_artifact_intern - for data from outside (task 0): gives the live artifact with
 * equal digest, type, name and metadata when there is one, else inserts */
int db_artifact_intern(struct db *d, const struct db_artifact_new *n, int64_t *id,
                       struct err *e);
/* db_artifact_again - the newest live artifact that tasks of the same pipeline made of the
 * same source with equal content, type, name and metadata; *id is 0 when there is none */
int db_artifact_again(struct db *d, const struct db_artifact_new *n, int64_t *id,
                      struct err *e);
/* db_artifact_remove - by hand: content goes at the next gc, the row stays. ERR_INPUT
 * when a tag points at it */
int db_artifact_remove(struct db *d, int64_t artifact, struct err *e);

/* db_event_put - the task read (DB_IN) or made (DB_OUT) the artifact as `name`; idx
 * counts from 0 within one name. Replaces. */
int db_event_put(struct db *d, int64_t task, enum db_io io, struct str name,
                 int64_t idx, int64_t artifact, struct err *e);

struct db_external {
    int64_t run, task; /* task 0: all tasks of the run */
    struct str path;   /* on the host */
    struct str target; /* in the box */
    bool read_only;
    struct str what; /* "mount", "volume NAME", "network" ... */
};
/* db_external_put - something a task could see that is outside the record: "external,
 * unverified" */
int db_external_put(struct db *d, const struct db_external *x, struct err *e);

enum db_label_kind { DB_LABEL, DB_ANNOTATION };
/* db_label_put - a label or annotation of the task's pods; replaces */
int db_label_put(struct db *d, int64_t task, enum db_label_kind kind, struct str key,
                 struct str value, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* query.h - looking back: rows, names given by people, JSON of design section 4
 *
 * Everything given lives in the caller's arena; strings have a NUL behind them, absent
 * ones are empty. Times are Unix milliseconds, 0 = none.
 */
#ifndef LINEAGE_QUERY_H
#define LINEAGE_QUERY_H

#include "base/json.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "lineage/db.h"

struct db_run {
    int64_t id, parent;
    struct str uuid, name, pipeline, experiment;
    enum db_state state;
    int64_t created_unix_ms, finished_unix_ms, deadline_unix_ms;
    struct str error, user, host, version;
    int64_t login_uid; /* -1 = unknown */
    struct str argv_json, spec_file, git_commit, parameters_json, options_json,
        outputs_json;
    char spec_hex[DIGEST_HEX];
    bool all_cached;
};

struct db_task {
    int64_t id, run, parent;
    struct str path, name, kind;
    enum db_state state;
    struct str reason, error;
    bool cached;
    int64_t cached_from;            /* task id of the producer, 0 = none */
    char cache_key_hex[DIGEST_HEX]; /* "" = none */
    char image_hex[DIGEST_HEX];
    int64_t attempts, host_failures;
    int64_t started_unix_ms, finished_unix_ms;
    int32_t exit_code;                   /* DB_NO_EXIT = none */
    int64_t peak_memory_bytes, cpu_usec; /* -1 = unknown */
    struct str uuid;
    struct str gpus_json; /* of its last attempt: array of ids; "" = none */
    struct str component;      /* what it runs; "" = not recorded, as is code_hex */
    char code_hex[DIGEST_HEX]; /* of its command, arguments and environment */
};

struct db_attempt {
    int64_t task, number;
    enum db_state state;
    int64_t started_unix_ms, finished_unix_ms;
    int32_t exit_code, signal;
    struct str error, enforced_json, dir, host; /* dir: empty once gc has removed it */
    int64_t peak_memory_bytes, cpu_usec;
    char image_hex[DIGEST_HEX];
    bool oom, timed_out, host_failure;
    struct str gpus_json; /* array of ids; "" = none */
};

enum db_artifact_state {
    DB_LIVE,
    DB_REMOVED, /* by hand; content may still be there until gc */
    DB_DELETED, /* content gone, the record stays */
};
const char *db_artifact_state_name(enum db_artifact_state s);

struct db_artifact {
    int64_t id;
    struct str type, name, kind, uri, source;
    char digest_hex[DIGEST_HEX];
    int64_t size_bytes, n_files, created_unix_ms;
    struct str metadata_json; /* "" = none */
    enum db_artifact_state state;
    int64_t task; /* producer, 0 = came from outside */
    bool imported;
};

struct db_param {
    struct str name, value_json;
};
struct db_io_artifact {
    struct str name;
    int64_t idx;
    struct db_artifact artifact;
};
struct db_io_rows { /* ordered by name, then idx */
    struct db_param *params;
    size_t n_params;
    struct db_io_artifact *artifacts;
    size_t n_artifacts;
};

/* Names given by people
 *
 * RUN is a run id, a unique prefix of one (4 characters or more), a name (the newest
 * run of that name), @latest or PIPELINE@latest. ARTIFACT is a7, sha256:PREFIX (6
 * digits or more; equal content recorded several times: the oldest), RUN/TASK:OUTPUT or
 * RUN/TASK:OUTPUT[2], a tag, TAG@DATE (the tag as it stood at the end of that UTC day;
 * also an RFC 3339 time). ERR_MISSING when there is none, with the nearest name;
 * ERR_INPUT when it is ambiguous, with the candidates. */
int db_run_find(struct db *d, struct str what, int64_t *run, struct err *e);
/* RUN/TASK; `task` is 0 when only a run was named. A TASK that is no full path may be a
 * task name that occurs once in the run. */
int db_task_find(struct db *d, struct str what, int64_t *run, int64_t *task,
                 struct err *e);
int db_artifact_find(struct db *d, struct str what, int64_t *artifact, struct err *e);
/* db_artifact_by_uri - the artifact that a URI of ours stands for: an output of the run whose
 * id is in it, or an input (".../inputs/a7/..."). *artifact is 0 when it is none of ours. */
int db_artifact_by_uri(struct db *d, struct str uri, int64_t *artifact, struct err *e);
/* db_artifact_by_digest - the oldest artifact with exactly this content; *artifact 0 =
 * none */
int db_artifact_by_digest(struct db *d, struct str digest_hex, int64_t *artifact,
                          struct err *e);

int db_run_get_in(struct arena *a, struct db *d, int64_t run, struct db_run *out,
                  struct err *e);
/* db_run_by_uuid - exact; ERR_MISSING */
int db_run_by_uuid(struct db *d, struct str uuid, int64_t *run, struct err *e);
int db_run_spec(struct db *d, int64_t run, struct buf *text,
                struct err *e); /* appends */

struct db_run_filter {
    struct str pipeline, experiment; /* empty = any */
    unsigned states;                 /* DB_IS(...) | ..., 0 = any */
    int64_t since_unix_ms;
    int64_t limit; /* 0 = all */
};
/* db_runs_in - newest first */
int db_runs_in(struct arena *a, struct db *d, const struct db_run_filter *f,
               struct db_run **out, size_t *n, struct err *e);

struct db_run_counts { /* of its tasks that are not DAGs, loops or conditions */
    int64_t by_state[DB_STATES], cached, total;
};
int db_run_counts(struct db *d, int64_t run, struct db_run_counts *out, struct err *e);

/* db_tasks_in - in order of creation */
int db_tasks_in(struct arena *a, struct db *d, int64_t run, struct db_task **out,
                size_t *n, struct err *e);
int db_task_get_in(struct arena *a, struct db *d, int64_t task, struct db_task *out,
                   struct err *e);
int db_task_io_in(struct arena *a, struct db *d, int64_t task, enum db_io io,
                  struct db_io_rows *out, struct err *e);
/* db_task_cache_text - the ingredients of its cache key; appends nothing when not
 * recorded */
int db_task_cache_text(struct db *d, int64_t task, struct buf *text, struct err *e);
int db_attempts_in(struct arena *a, struct db *d, int64_t task, struct db_attempt **out,
                   size_t *n, struct err *e);
/* db_attempts_open_in - state RUNNING in one run (0 = all runs): for reconcile */
int db_attempts_open_in(struct arena *a, struct db *d, int64_t run,
                        struct db_attempt **out, size_t *n, struct err *e);

struct db_external_row {
    int64_t task; /* 0 = all tasks of the run */
    struct str path, target, what;
    bool read_only;
};
int db_externals_in(struct arena *a, struct db *d, int64_t run,
                    struct db_external_row **out, size_t *n, struct err *e);

int db_artifact_get_in(struct arena *a, struct db *d, int64_t artifact,
                       struct db_artifact *out, struct err *e);

/* db_artifact_maker_in - run and task that made it; empty when it came from outside */
int db_artifact_maker_in(struct arena *a, struct db *d, const struct db_artifact *x,
                         struct str *run, struct str *task, struct err *e);

struct db_artifact_filter {
    struct str type;  /* "system.Dataset" or "Dataset"; empty = any */
    struct str where; /* "rows > 10000 and name = 'train'", see where.h; empty = any */
    struct str sort;  /* "-f1": see where.h; empty = newest first. By metadata, those
                         without that key are left out */
    struct str pipeline; /* given out by its runs */
    struct str digest_hex;
    int64_t run;   /* given out by this run, from the cache too; 0 = any */
    bool gone;     /* removed and deleted ones too */
    int64_t limit; /* 0 = all */
};
/* db_artifacts_in - newest first. ERR_INPUT with the position for a `where` that does
 * not parse, ERR_MISSING for a type that never occurred (names those that did) */
int db_artifacts_in(struct arena *a, struct db *d, const struct db_artifact_filter *f,
                    struct db_artifact **out, size_t *n, struct err *e);

/* db_query_in - artifacts by a query (where.h), at most `limit` (0 = all) unless it
 * says so itself. Errors as above */
int db_query_in(struct arena *a, struct db *d, struct str text, int64_t limit,
                struct db_artifact **out, size_t *n, struct err *e);

/* JSON. db_run_json is `run --json`, one object. db_run_row_json: the same without
 * tasks, for `runs --json`. db_artifact_json has digest, metadata, producer, consumers,
 * tags. */
int db_run_json(struct db *d, int64_t run, struct jw *w, struct err *e);
int db_run_row_json(struct db *d, const struct db_run *r, struct jw *w, struct err *e);
int db_artifact_json(struct db *d, int64_t artifact, struct jw *w, struct err *e);
/* the short form used for inputs and outputs of tasks */
void db_artifact_short_json(const struct db_artifact *x, struct jw *w);
/* its members, for an object that has more */
void db_artifact_short_fields(const struct db_artifact *x, struct jw *w);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* run.h - execute a pipeline: the engine, its supervisors, and what is left of dead engines
 *
 * One engine process a run, one epoll loop. Every attempt of a task is a process tree of its
 * own under a supervisor that outlives the engine; attempt.json and result.json in the
 * attempt's directory are the whole protocol between the two (attempt.h).
 */
#ifndef RUN_RUN_H
#define RUN_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "lineage/db.h"
#include "plan/graph.h"
#include "spec/pipeline.h"
#include "store/blob.h"

enum packages_policy { PACKAGES_WHEELS, PACKAGES_IMAGE, PACKAGES_NETWORK };

struct run_mount {
    const char *src, *dst; /* src absolute on the host, dst absolute in the box */
    bool rw;
};

/* Settings of one task over those of the run, see pertask.c */
struct run_task_opts {
    const char *task; /* its key or its path */
    bool must_exist;  /* a pipeline without it is refused */
    const struct run_mount *mounts;
    size_t n_mounts;
    bool has_network, network_host;
    bool has_retries;
    uint32_t retries;
    /* limits in the place of the pipeline's and the run's; 0 = not set */
    uint64_t memory_bytes, disk_bytes, shm_bytes;
    uint32_t cpu_millis;
    int64_t task_timeout_ms;
};

struct run_root_artifact { /* --input NAME=..., resolved by the cli */
    struct str name;
    struct artifact artifact; /* id 0: recorded by the run */
};

struct run_image_alias {
    const char *from, *to; /* normalised names */
};

struct run_volume { /* config: volumes */
    const char *name, *path; /* of the claim; absolute directory */
    bool stable;             /* its content does not change: tasks that see it may be cached */
};

struct run_import { /* config: imports */
    const char *prefix, *path; /* "gs://bucket/" -> absolute directory */
};

/* What a run is told beside the pipeline itself. Kept in the database as JSON, so that resume
 * goes on under the same rules; what only concerns this engine (jobs, view) is not. */
struct run_opts {
    bool no_cache;
    const char *const *refresh; /* --refresh: task keys never taken from the cache; "*" = all */
    size_t n_refresh;
    int64_t cache_max_age_ms;   /* 0 = any age */
    bool network_host;
    enum packages_policy packages;
    bool lenient;
    bool sdk_words;           /* final states are SUCCEEDED and CANCELLED, not COMPLETE and CANCELED */
    const struct run_mount *mounts;
    size_t n_mounts;
    const struct run_task_opts *tasks;
    size_t n_tasks;
    const char *const *env; /* "K=V", for every task */
    size_t n_env;
    uint32_t retries;         /* default for tasks without a retryPolicy */
    uint32_t host_retries;    /* failures of box or host, counted apart; default 3 */
    int64_t timeout_ms;       /* of the run, 0 = none */
    bool gpus_none;           /* --gpus none: GPU requests are dropped with a notice */
    bool gpus_shared;         /* GPUs may be shared with other tasks that share */
    uint32_t gpus_max;        /* GPUs that this run has at a time, 0 = all */
    int64_t gpu_wait_ms;      /* how long a task waits for GPUs that others have */
    const char *gpu_root;     /* where the driver's files are, NULL = "/"; of this machine's
                                 configuration, not kept with the run */
    uint32_t jobs;            /* tasks at a time, 0 = number of CPUs */
    uint64_t memory_bytes;    /* default limit of a task, 0 = none */
    uint32_t cpu_millis;      /* the same */
    uint32_t pids_max;        /* default 32768 */
    uint64_t log_max_bytes;
    uint64_t disk_bytes;      /* what an attempt may write: root and outputs; 0 = no limit */
    uint64_t shm_bytes;       /* size of /dev/shm; 0 = half of the memory limit */
    int64_t task_timeout_ms;  /* of each attempt, 0 = none */
    int64_t grace_ms;         /* between the stop signal and the kill, 0 = 10 s */
    const struct run_image_alias *aliases;
    size_t n_aliases;
    /* of the home, looked at before a run starts; 0 = none. Artifacts and images together */
    uint64_t quota_soft_bytes, quota_hard_bytes;
    uint64_t min_free_bytes; /* of its file system */
    const char *scratch; /* absolute directory for what attempts write, NULL = in the home; of
                            this machine's configuration, not kept with the run */
    const char *secrets_dir, *configmaps_dir; /* absolute; NULL: below the home */
    const struct run_volume *volumes;
    size_t n_volumes;
    const struct run_import *imports;
    size_t n_imports;
    const char *hook_success, *hook_failure, *hook_interrupted; /* program paths or NULL */
};

/* run_uncacheable - why a task's result can never come from the cache under these options (it
 * sees something outside its key), NULL when it can */
const char *run_uncacheable(const struct run_opts *o, const struct task_def *t, struct str path);
/* run_task_opts_in - what is set for one task: network_host counts the run's too, mounts are
 * only its own */
struct run_task_opts run_task_opts_in(struct arena *a, const struct run_opts *o, struct str key,
                                      struct str path);
bool run_task_fits(const struct run_task_opts *s, struct str key, struct str path);
/* run_task_known - has the pipeline a task of this key or path? ERR_INPUT, with the nearest */
int run_task_known(const struct pipeline *p, const char *task, struct err *e);
/* run_opts_in - options as recorded with a run; what is not (jobs, hooks, aliases ...) stays as it
 * is in *o */
int run_opts_in(struct arena *a, struct str json_text, struct run_opts *o, struct err *e);

/* --tag TASK:OUTPUT=NAME and --export TASK:OUTPUT=PATH */
struct run_tag {
    const char *task, *output, *name;
};

struct run_request {
    const char *file;            /* as typed */
    struct str text;             /* the YAML */
    const char *name;            /* --name or NULL */
    const char *experiment;      /* "Default" */
    const char *argv_json;       /* JSON array: how dugout was called */
    const struct given_param *params;
    size_t n_params;
    const struct run_root_artifact *inputs;
    size_t n_inputs;
    const struct run_tag *tags;
    size_t n_tags;
    const struct run_tag *exports; /* checked here, done by the cli when the run has succeeded */
    size_t n_exports;             /* their paths absolute: a resume does them, too */
    const struct run_opts *opts;
    /* a run that continues another with an edited pipeline: what did not change is taken over */
    int64_t parent;        /* row id of that run, 0 = none */
    const char *from_task; /* not even this task and what needs it; may be NULL */
};

enum run_event_kind {
    RUN_EVENT_STARTED,  /* all checks have passed: run_id, run_name are set */
    RUN_EVENT_RECORDED, /* the run is in the database: others can see it */
    RUN_EVENT_TASK,     /* a task changed its state */
    RUN_EVENT_RETRY,    /* text: "attempt 2 of 3 in 30 s: exit code 1" */
    RUN_EVENT_NOTICE,   /* text */
    RUN_EVENT_TICK,     /* about every 100 ms while a view wants it */
    RUN_EVENT_DETACHED, /* SIGHUP: the terminal is gone */
};
struct run_event {
    enum run_event_kind kind;
    const char *run_id, *run_name;
    const struct graph *graph;
    const struct task *task;
    int64_t started_mono_ns, elapsed_ms; /* of the task */
    uint32_t attempt;
    const char *log_path; /* of the attempt in question, may be NULL */
    const char *text;
};
struct run_view {
    void (*event)(void *ctx, const struct run_event *ev);
    void *ctx;
    bool ticks;
};

struct run_outcome {
    char run_id[37];
    char name[128];
    enum task_state state; /* SUCCEEDED FAILED CANCELED */
    int signal;            /* CANCELED by this signal */
    bool timed_out, nothing_new, detached;
    size_t n_tasks, n_cached, n_failed;
    int64_t elapsed_ms;
    char failed_task[512], error[480], log_path[512]; /* of the first failure */
};

/* CLOCK_BOOTTIME nanoseconds at which the task's attempt started, 0 when it has not */
int64_t run_task_started_ns(const struct task *t);

/* An engine's environment: opened once by the command */
struct run_env {
    const char *home; /* absolute */
    struct store *store;
    struct db *db;
    int spawner; /* socket from spawner_start() */
    const char *hook_interrupted; /* told of a run whose engine reconcile finds dead; NULL = none */
};

/* run_start - check everything that can be checked, record the run, execute it to its end
 *
 * ERR_INPUT, ERR_MISSING ... for what is wrong before the start (nothing is recorded then);
 * a failed task is no error: it is in the outcome. */
int run_start(struct run_env *env, const struct run_request *rq, const struct run_view *view,
              struct run_outcome *out, struct err *e);

/* what a recorded run was told beside its options: root artifacts, tags and exports for when it
 * succeeds */
struct run_input_id {
    struct str name;
    int64_t artifact;
};
struct run_kept {
    const struct run_input_id *inputs;
    size_t n_inputs;
    const struct run_tag *tags, *exports;
    size_t n_tags, n_exports;
};
int run_kept_in(struct arena *a, struct str options_json, struct run_kept *out, struct err *e);

/* run_resume - continue run `run_id` (full id): adopt living supervisors, commit finished results, go on.
 * o: the options that hold from now on, commonly run_opts_in() of the record with changes.
 * from_task NULL or the key of a task to do again (with all that needs it).
 * ERR_BUSY when another engine has it, ERR_INPUT when there is nothing to resume. */
int run_resume(struct run_env *env, const char *run_id, const char *from_task,
               const struct run_opts *o, const struct run_view *view,
               struct run_outcome *out, struct err *e);

/* run_cancel - stop the engine, or the orphaned supervisors of a dead one; waits until done */
int run_cancel(struct run_env *env, const char *run_id, struct err *e);

/* run_reconcile - for every command: commit finished results of dead engines, mark their runs
 * INTERRUPTED. Never waits. *changed counts what was committed; may be NULL. */
int run_reconcile(struct run_env *env, size_t *changed, struct err *e);

/* run_plan - what would run: one line a task into *out_json (a JSON document); *missing counts
 * images, wheels and so on that are not there */
int run_plan(struct run_env *env, const struct run_request *rq, const struct run_view *view,
             struct buf *out_json, size_t *missing, struct err *e);

/* run_orphans - living supervisors of interrupted runs of this pipeline name: a line for the user
 * in *out ("" when none) */
int run_orphans(struct run_env *env, struct str pipeline_name, struct buf *out, struct err *e);

/* run_space_check - is there room to store more? ERR_LIMIT over the hard quota or under the free
 * space wanted by the config; the soft one, and a disk that has less left than the last run of this
 * pipeline wrote, is a notice. pipeline may be empty; notices are appended to *out, a line each. */
int run_space_check(struct run_env *env, const struct run_opts *o, struct str pipeline,
                    struct buf *out, struct err *e);

/* run_over_soft - does the home hold its soft quota or more? false when it has none */
int run_over_soft(struct run_env *env, const struct run_opts *o, bool *over, struct err *e);

/* run_count_alive - runs of this home of which an engine or a supervisor lives now; `one` is the
 * id of one of them. Asks no database. */
size_t run_count_alive(const char *home, char one[37]);

/* the log of an attempt: head and tail are joined with a line that says what is missing */
int run_log_path(const char *home, const char *attempt_dir, char *out, size_t out_size);

#endif

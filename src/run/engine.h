/* SPDX-License-Identifier: Apache-2.0 */
/* engine.h - what the files of one engine share; nobody outside run/ includes it
 *
 *   engine.c   the loop: turns, signals, time-out, the end of a run
 *   task.c     one task: resolve, start, finish, retry
 *   group.c    tasks that hold tasks
 *   record.c   rows of task instances, those of an earlier life too
 *   reuse.c    inputs and outputs as rows, the cache
 *   launch.c   an attempt: directory, attempt.json, rows, supervisor
 *   prepare.c  what is checked before the start: images, packages, GPUs
 *   waits.c    what waits for what, for those who look
 *   start.c    a new run; resume.c an old one
 *
 * A turn of the loop: deliver events (they only mark jobs as ended), then one transaction that
 * holds every state change of the turn, then the spawns that were recorded in it.
 */
#ifndef RUN_ENGINE_H
#define RUN_ENGINE_H

#include "base/json.h"
#include "base/loop.h"
#include "image/image.h"
#include "lineage/cache.h"
#include "lineage/query.h"
#include "plan/execin.h"
#include "plan/kube.h"
#include "run/attempt.h"
#include "run/facts.h"
#include "run/pip.h"
#include "run/run.h"
#include "run/waits.h"

/* one image reference of the pipeline, resolved once for the whole run */
struct image_use {
    struct str ref; /* as in the pipeline */
    char hex[DIGEST_HEX];
    struct image image;
    bool asked;   /* facts are filled */
    bool own_etc; /* its /etc cannot be covered by a layer, see lowers.c */
    struct image_facts facts;
};

/* what the engine keeps about one container task; task->user. A wide loop has ten thousand of these:
 * what only a task in flight needs is in its arena. */
struct job {
    struct engine *en;
    struct task *t;
    struct arena a; /* of one flight: plan, attempt and result; emptied when the task has ended */
    int64_t row; /* in table task */
    uint32_t attempts, host_failures;
    uint32_t attempts_before; /* of a life that ended FAILED: a resume gives all retries again */
    struct image_use *image;
    struct attempt_work work; /* of a task without a box */
    struct kube_plan kube;
    struct str kube_text; /* of the cache key */
    bool workspace;       /* it mentions the run's workspace, and so sees it */
    struct exec_plan plan;
    struct exec_resources res;
    bool planned;
    char key[DIGEST_HEX]; /* cache key */
    bool cacheable;       /* it may be looked up and put */
    size_t skip_words;    /* of the pip preamble */
    bool shim;
    const char *rel; /* "<run>/<task>.<attempt>" of the current attempt */
    int dir_fd, pidfd;
    struct attempt *at; /* the current one, of a; NULL: none */
    int64_t started_mono_ns;
    uint64_t timer;      /* backoff */
    int64_t again_unix_ms; /* when that ends */
    int64_t ready_unix_ms; /* it could have started then, but for what it waits for */
    enum wait_for wait;    /* that, when there is a slot */
    bool waiting;        /* for a slot, in en->waiting */
    bool spawn, ended;   /* to be spawned after the commit; has an event to be looked at */
    bool adopted;        /* by resume: watched by its lock, not by a pidfd */
    bool gpu_told;          /* that it waits for GPUs */
    int64_t gpu_since_ns;   /* it waits for GPUs since then; 0: it does not */
    struct job_gpus *gpus;  /* gpus.c: leases until they are handed over, place in the queue */
};

struct needs;

/* waits.c: what has been written of tasks that wait */
struct told_waits {
    uint64_t digest; /* 0: nothing waits */
    int64_t at_mono_ns;
    uint64_t timer; /* to write again */
};

struct engine {
    struct run_env *env;
    struct arena a;
    struct pipeline p;
    struct graph g;
    struct run_opts o;
    const struct run_view *view;
    struct loop *loop;
    int64_t row; /* of the run */
    char id[37], name[128];
    struct str argv_json;
    int64_t created_unix_ms, deadline_unix_ms, started_mono_ns;
    const char *scratch; /* of the home, absolute; NULL: attempts write in the home */
    int home_fd, run_fd, lock_fd, signal_fd;
    int serial_fd[2]; /* the pipeline's mutex and semaphore, held for the run; -1 = none */
    struct image_use **images;
    size_t n_images;
    /* queues of tasks, all arrays living on the heap */
    struct task **examine; /* something upstream changed */
    size_t n_examine, cap_examine;
    struct task **ready; /* may start, not looked at yet; from first_ready on */
    size_t n_ready, cap_ready, first_ready;
    struct task **waiting; /* planned, no slot yet */
    size_t n_waiting, cap_waiting;
    struct job **ended;
    size_t n_ended, cap_ended;
    struct job **spawns;
    size_t n_spawns, cap_spawns;
    struct job *gpu_heads[4]; /* gpus.c: the first task that waits, of each kind of accelerator */
    uint32_t gpus_used;
    uint32_t running, jobs_max, cpu_millis_used, cpu_millis_max;
    size_t n_backoff;
    struct told_waits told_waits;
    bool in_txn, recorded, blocked_by_memory;
    bool sync_due; /* the turn's commit holds something that will be reported done */
    int stopping;       /* 0, or the signal that cancels the run */
    bool stopping_hard; /* told twice: exit tasks do not run either */
    bool timed_out, detached, finished;
    struct marks *marks; /* of what was revoked, as it stood when first asked */
    struct map told;     /* artifacts that were said to be flagged */
    struct map codes; /* component name -> struct code, what tasks are recorded to run */
    const struct run_tag *tags, *exports;
    size_t n_tags, n_exports;
    int64_t quota_next_mono_ns; /* when the quota is looked at again: space.c */
    const char *bottom;  /* directory of the layer below every image, once it is there */
    struct map old_rows; /* of a resume: path -> struct db_task */
    struct str from;     /* resume --from: this task and what needs it are done again */
    int64_t parent;      /* run that this one continues with another pipeline, 0 = none */
    struct map taken_over; /* its results: cache key -> struct db_key_task */
    struct run_outcome *out;
    struct needs *needs; /* NULL but for plan */
    struct held_event *held; /* of this turn, on the heap */
    size_t n_held, cap_held;
};

void engine_init(struct engine *en, struct run_env *env, const struct run_view *view,
                 struct run_outcome *out);
void engine_done(struct engine *en);
/* engine_lock - make runs/<id>/, take its lock; ERR_BUSY when another engine has the run */
int engine_lock(struct engine *en, struct err *e);
/* engine_has_room - before an attempt: ERR_LIMIT under the free space that the config wants, or
 * over the hard quota */
int engine_has_room(struct engine *en, struct err *e);
/* engine_scratch - the place that scratch: in the config names, before anything starts */
int engine_scratch(struct engine *en, struct err *e);
/* engine_loop - from "everything recorded as PENDING" to the end of the run */
int engine_loop(struct engine *en, struct err *e);

/* tell.c: what happens in a turn is told when its transaction is committed, and never otherwise */
void engine_notice(struct engine *en, const struct task *t, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
void engine_event(struct engine *en, enum run_event_kind kind, const struct task *t,
                  const char *text);
void events_tell(struct engine *en); /* after the commit */
void events_done(struct engine *en);
void engine_examine(struct engine *en, struct task *t);
/* engine_txn - make sure that the turn's transaction is open */
int engine_txn(struct engine *en, struct err *e);

struct job *job_of(struct engine *en, struct task *t); /* made at first use */
void job_landed(struct job *j); /* its task has ended: what only the flight needed goes */
int job_watch(struct job *j, struct err *e);  /* adopted attempts poll a lock instead */

/* task.c: all inside the turn's transaction; a task's own failure is no error of these */
int task_start(struct engine *en, struct task *t, struct err *e);
int task_launch(struct engine *en, struct task *t, struct err *e); /* a slot may be free: 1 started, 0 wait */
int task_ended(struct engine *en, struct job *j, struct err *e);
int task_close(struct engine *en, struct task *t, enum task_state state, struct str reason,
               struct str error, struct err *e);
int task_spawn(struct engine *en, struct job *j, struct err *e); /* after the commit */
/* task_fail - a task that cannot even be tried */
int task_fail(struct engine *en, struct task *t, const struct err *why, struct err *e);
/* task_settle - the final state in memory: wakes what depends on the task, tells the view */
void task_settle(struct engine *en, struct task *t, enum task_state state, struct str reason,
                 struct str error);

/* group.c */
int group_start(struct engine *en, struct task *t, struct err *e);
/* group_ended - a task of the scope has ended: when it was the last one, end what owns the scope,
 * or start the loop's next iterations */
int group_ended(struct engine *en, struct scope *s, struct err *e);
/* group_close_inner - the group t has ended before what it holds: that does not run either */
int group_close_inner(struct engine *en, struct task *t, struct err *e);

/* record.c: rows of task instances. A resumed run finds the rows of its first life here. */
int record_scope(struct engine *en, struct scope *s, struct err *e);

/* reuse.c */
int task_outputs_from_rows(struct engine *en, struct task *t, struct err *e);
/* task_put_params - only the values that it was given: a task that did not run has read no artifact */
int task_put_params(struct engine *en, struct task *t, struct err *e);
int task_put_inputs(struct engine *en, struct task *t, struct err *e);
/* artifact_of_row - in en->a */
int artifact_of_row(struct engine *en, const struct db_artifact *row, struct artifact *out,
                    struct err *e);
/* reuse_parent - find the results of the run that this one continues */
int reuse_parent(struct engine *en, struct err *e);
/* task_key - j->key and j->cacheable; task_ingredients - what went into it, for the record */
void task_key(struct engine *en, struct job *j);
void task_ingredients(struct engine *en, struct job *j, struct buf *out);
/* task_find_hit - an entry of the cache that this run may use. *stale: there was one, and its
 * bytes are gone */
int task_find_hit(struct engine *en, struct job *j, struct arena *tmp, struct db_hit *hit,
                  bool *found, bool *stale, struct err *e);
/* task_outputs_from_hit - t->out */
int task_outputs_from_hit(struct engine *en, struct task *t, const struct db_hit *hit,
                          struct err *e);
/* task_try_cache - 1: the task was closed from the cache */
int task_try_cache(struct engine *en, struct job *j, struct err *e);

/* lowers_fill - at->lowers, all of it, of an attempt whose hostname and network are set */
int lowers_fill(struct engine *en, struct job *j, struct attempt *at, struct err *e);

/* launch.c: what the job holds while it runs */
uint64_t job_memory_bytes(const struct engine *en, const struct job *j);
uint32_t job_cpu_millis(const struct job *j);

/* start.c: parse, parameters, graph: what needs neither images nor the record */
/* engine_resource_name - "churn-training-x7k2p": the run's name when none was given, and the resource
 * name that pipeline code sees; en->id and en->p are set */
struct str engine_resource_name(struct engine *en);
int engine_prepare(struct engine *en, const struct run_request *rq, struct err *e);

/* flags.c: task_warn_revoked - a notice, once, for each input that is flagged;
 * task_hit_sound - *sound is false for a cached result that is flagged, with a notice */
int task_warn_revoked(struct engine *en, struct task *t, struct err *e);
int task_hit_sound(struct engine *en, const struct task *t, const struct db_io_rows *rows,
                   bool *sound, struct err *e);

/* prepare.c */
/* what is missing on this box, for plan: prepare_images() fills en->needs when it is set, and
 * succeeds */
struct need_wheel {
    struct str requirement;
    const struct image_use *image; /* NULL: the image is missing, too, and may have it */
    struct str image_ref;
};
struct needs {
    struct str *images; /* references, each once */
    size_t n_images;
    struct need_wheel *wheels;
    size_t n_wheels;
    struct buf text; /* "task NAME: what; task NAME: what"; freed by who set en->needs */
};
int prepare_images(struct engine *en, struct err *e);
struct image_use *prepare_image(struct engine *en, struct str ref, struct err *e);
int prepare_packages(struct engine *en, const struct executor *x, struct image_use *img,
                     size_t *skip, bool *shim, struct buf *missing, struct err *e);

/* pertask.c: the retry policy that holds for a task (its own, of a DAG around it, of the run),
 * and the wait after so many failures, capped */
struct retry_policy task_retry(const struct engine *en, const struct task *t);
int64_t task_backoff_ms(const struct retry_policy *p, uint32_t failures);
/* what is set for one task alone over what it asks for, and over the attempt that is made of it */
void run_task_resources(const struct run_task_opts *own, struct exec_resources *res);
void run_task_limits(const struct run_task_opts *own, struct attempt *at);
void run_mounts_write(struct jw *w, const struct run_mount *m, size_t n);
int run_mounts_read_in(struct arena *a, json *from, const struct run_mount **out, size_t *n,
                       struct err *e);
void run_tasks_write(struct jw *w, const struct run_opts *o);
int run_tasks_read_in(struct arena *a, json *from, struct run_opts *o, struct err *e);

/* options, root artifacts and --tag as JSON in the run's row */
void run_opts_write(struct buf *out, const struct engine *en);
/* root_input_place - name and URI of a root artifact whose id is known: the box must find it at
 * a path that a URI maps to, whatever it was outside */
void root_input_place(struct engine *en, struct named_artifacts *in);

/* gpus.c: GPUs of tasks */
/* gpus_check - before the start: ERR_MISSING when the box lacks what the executor asks for; img NULL
 * when it is not known yet */
int gpus_check(struct engine *en, const struct executor *x, const struct image_use *img,
               struct err *e);
uint32_t gpus_wanted(const struct engine *en, const struct job *j);
/* gpus_must_wait - it is not this task's turn, without a look at the machine */
bool gpus_must_wait(struct engine *en, struct job *j);
/* gpus_take - 1: it has them (or wants none), 0: it waits, -1: it cannot have them */
int gpus_take(struct engine *en, struct job *j, struct err *e);
void gpus_fill(struct engine *en, struct job *j, struct attempt *at);
/* gpus_fds - the locks, to be sent with the attempt */
const int *gpus_fds(const struct job *j, size_t *n);
struct str gpus_json(struct job *j); /* the ids, for the record; empty when there are none */
void gpus_handed(struct job *j);
void gpus_ended(struct engine *en, const struct job *j);
void gpus_drop(struct engine *en, struct job *j); /* leases and place in the queue; none is fine */

/* waits.c: waits_tell - write down what waits for what, if that has changed; after each turn */
void waits_tell(struct engine *en);
/* waits_for_lock - take a lock of the home, and let others see that we wait for it and why;
 * waits_have_lock - and who has it */
int waits_for_lock(struct engine *en, const char *noun, struct str key, const char *lock, int *out,
                   struct err *e);
void waits_have_lock(const struct engine *en, int fd);

/* who.c: who and what a run is recorded with */
int64_t who_login_uid(void);
void who_user(char out[64]);
void who_host(char out[256]);
void who_git_commit(const char *file, char out[64]); /* "" when its folder is in no checkout */
void uuid_new(char out[37]);

#define NO_TEXT ((struct str){"", 0})

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h - a pipeline as task instances: who may start, what its inputs are
 *
 * A scope is one execution of a DAG: the run's root, a nested DAG or a branch that a condition
 * guards, one iteration of a loop. It holds the inputs of that DAG and one task instance for
 * every task of it. Scopes of nested DAGs exist from the beginning, those of iterations once the
 * loop has started. All functions here are pure: no I/O, memory from the graph's arena.
 */
#ifndef PLAN_GRAPH_H
#define PLAN_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "spec/pipeline.h"
#include "spec/placeholder.h"
#include "spec/value.h"

enum task_state {
    TASK_PENDING,
    TASK_RUNNING,
    TASK_SUCCEEDED,
    TASK_FAILED,
    TASK_SKIPPED,
    TASK_CANCELED,
    TASK_STATES
};
const char *task_state_name(enum task_state s); /* "PENDING" ... */
bool task_state_from_name(struct str name, enum task_state *out);
static inline bool task_state_final(enum task_state s)
{
    return s != TASK_PENDING && s != TASK_RUNNING;
}

/* one artifact as a task sees it */
struct artifact {
    int64_t id;          /* lineage id, 0 = not recorded yet */
    struct str name;     /* output key of its producer */
    struct str uri;
    struct str type, type_version;
    struct str kind;     /* "file", "dir", or "none": metadata only */
    struct str digest;   /* 64 hex digits, empty for "none" */
    uint64_t size_bytes, n_files;
    const struct value *metadata; /* STRUCT, may be NULL */
};

struct named_value {
    struct str name;
    struct value value;
};
struct named_artifacts {
    struct str name;
    struct artifact *items;
    size_t n_items;
    struct str type, type_version; /* as declared: for outputs */
};
struct io_values {
    struct named_value *params;
    size_t n_params;
    struct named_artifacts *artifacts;
    size_t n_artifacts;
};
struct value *io_values_param(const struct io_values *v, struct str name); /* or NULL */
struct named_artifacts *io_values_artifact(const struct io_values *v, struct str name);
/* io_values_add_... - append; what the value points to is borrowed for the life of `a` */
void io_values_add_param(struct arena *a, struct io_values *v, struct str name, struct value val);
void io_values_add_artifacts(struct arena *a, struct io_values *v, struct str name,
                             const struct named_artifacts *l);

/* A group holds tasks: a DAG, a DAG that a condition guards, or a loop over one. */
enum task_kind { TASK_CONTAINER, TASK_IMPORTER, TASK_DAG, TASK_CONDITION, TASK_LOOP };
const char *task_kind_name(enum task_kind k); /* "container" ... */

struct loop {
    size_t n_items, n_started, n_active; /* iterations: in all, instantiated, not yet ended */
    const struct task *failed;           /* the first task that failed in one: no more start */
    const struct value *values;          /* n_items of one of the two */
    const struct artifact *artifacts;
    struct scope **iterations;           /* n_started of them */
};

struct task {
    const struct task_def *def;
    struct scope *scope; /* the DAG execution it belongs to */
    struct scope *inner; /* TASK_DAG and TASK_CONDITION; else NULL */
    struct loop *loop;   /* TASK_LOOP once it has started, else NULL */
    struct str path;     /* "train", "outer/inner", "for-loop-2[0]/square" */
    enum task_kind kind;
    enum task_state state;
    struct str reason, error; /* why SKIPPED or CANCELED; what FAILED */
    bool cached;
    bool again; /* a resume does it again, with all that is inside it */
    struct io_values in, out; /* resolved at start; outputs once SUCCEEDED */
    char uuid[37];            /* of its task root */
    void *user;               /* run/'s own record */
    size_t index;             /* in graph.tasks */
};
static inline bool task_is_group(const struct task *t)
{
    return t->kind >= TASK_DAG;
}

struct scope {
    struct task *owner; /* NULL for the root */
    size_t iteration;   /* index, when the owner is a loop */
    const struct dag *dag;
    struct io_values in;
    struct task **tasks; /* dag->n_tasks */
    size_t n_left;       /* tasks not in a final state */
    const struct task *failed; /* the first task of it that failed: no new ordinary tasks start */
};

struct graph {
    struct arena *a;
    const struct pipeline *p;
    struct scope *root;
    struct task **tasks; /* every instance, in order of creation: owners before what they hold */
    size_t n_tasks;
    /* facts for placeholders */
    struct str run_id, run_name, resource_name, create_time, root_uri;
    bool sdk_words; /* final states as the SDK's documentation has them, not as KFP's backend */
};

/* graph_init - instances for the root DAG and, recursively, every nested DAG (whose inputs are
 * resolved when it starts). `in` holds the root's inputs. Keeps p, borrows nothing else. */
void graph_init(struct graph *g, struct arena *a, const struct pipeline *p, const struct io_values *in);

/* graph_check - expressions of conditions and selectors are well-formed; ERR_INPUT with
 * file:line:col of the task and the column inside the expression */
int graph_check(const struct pipeline *p, struct err *e);

/* graph_def - the definition that a task path such as "for-loop-2[0]/square" belongs to, whether
 * or not that iteration exists yet; NULL when there is none */
const struct task_def *graph_def(const struct pipeline *p, struct str path);

/* What should happen to a PENDING task now? */
enum task_verdict {
    VERDICT_WAIT,  /* something upstream is not done */
    VERDICT_START, /* all upstream succeeded, or ended where that is enough */
    VERDICT_SKIP,  /* an upstream failed or was skipped; *reason says which */
};
enum task_verdict task_verdict(struct graph *g, const struct task *t, struct str *reason);

/* task_outlives_stop - does it run even after the run was canceled: exit tasks, tasks that
 * ignore failures of their upstream, and whatever is inside of one (section 16) */
bool task_outlives_stop(const struct task *t);

/* task_resolve - section 7: fill t->in. Errors are ERR_INPUT and make the task FAILED */
int task_resolve(struct graph *g, struct task *t, struct err *e);

/* For looking ahead, when some inputs are not known yet ("dark"). dark: one byte a binding,
 * parameters then artifacts; 1 is dark. */
/* task_spread_dark - a constant that mentions a dark input is dark, too */
void task_spread_dark(struct graph *g, const struct task *t, uint8_t *dark);
/* task_resolve_known - as task_resolve, without the dark ones: they are absent from t->in */
int task_resolve_known(struct graph *g, struct task *t, const uint8_t *dark, struct err *e);
/* task_condition_known - does its condition hold, whatever the dark inputs turn out to be?
 * false: that cannot be said yet, and *holds is unset */
bool task_condition_known(const struct task *t, const uint8_t *dark, bool *holds);

/* task_expand_constant - fill the placeholders of a constant of the platform document, in place;
 * new text lives in the graph's arena */
int task_expand_constant(struct graph *g, const struct task *t, struct value *v, struct err *e);

/* task_fact - the text of a placeholder that stands for a fact of the run or the task; 0: it
 * stands for something else, 1: added */
int task_fact(const struct graph *g, const struct task *t, const struct placeholder *ph,
              struct buf *out);

/* task_condition - after task_resolve: does its condition hold? A task without one: true.
 * ERR_INPUT makes the task FAILED */
int task_condition(const struct task *t, bool *holds, struct err *e);

/* loop_open - after task_resolve of a TASK_LOOP: find its items, make t->loop. ERR_INPUT when
 * they are no list or do not fit the declared type; ERR_LIMIT for too many tasks */
int loop_open(struct graph *g, struct task *t, struct err *e);
/* loop_next - instantiate the next iteration; NULL when there is none or the parallelism of the
 * loop does not allow one now. The caller counts n_active down when one ends. */
struct scope *loop_next(struct graph *g, struct task *t);

/* group_failed - the task of the group that failed first, NULL when none did */
const struct task *group_failed(const struct task *t);

/* group_outputs - a group's outputs from its tasks' outputs; what was not produced is left out.
 * A loop's are lists, by index; artifacts of nested loops are one flat list, parameters lists of
 * lists (section 14) */
void group_outputs(struct graph *g, const struct task *t, struct io_values *out);
/* scope_outputs - the same for one scope: the root's are the run's outputs */
void scope_outputs(struct graph *g, const struct scope *s, struct io_values *out);

#endif

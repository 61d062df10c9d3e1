/* SPDX-License-Identifier: Apache-2.0 */
/* graph.h - a pipeline as task instances: who may start, what its inputs are
 *
 * A scope is one execution of a DAG (the run's root, or a nested DAG task); it holds the inputs of
 * that DAG and one task instance for every task of it. All functions here are pure: no I/O,
 * memory from the graph's arena.
 */
#ifndef PLAN_GRAPH_H
#define PLAN_GRAPH_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "spec/pipeline.h"
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

enum task_kind { TASK_CONTAINER, TASK_DAG, TASK_IMPORTER };

struct task {
    const struct task_def *def;
    struct scope *scope;  /* the DAG execution it belongs to */
    struct scope *inner;  /* TASK_DAG once started, else NULL */
    struct str path;      /* "train", "outer/inner" */
    enum task_kind kind;
    enum task_state state;
    struct str reason, error; /* why SKIPPED; what FAILED */
    bool cached;
    struct io_values in, out; /* resolved at start; outputs once SUCCEEDED */
    char uuid[37];            /* of its task root */
    void *user;               /* run/'s own record */
    size_t index;             /* in graph.tasks */
};

struct scope {
    struct scope *parent;
    struct task *owner; /* NULL for the root */
    const struct dag *dag;
    struct io_values in;
    struct task **tasks; /* dag->n_tasks */
    size_t *first_dependent; /* of task i: dependents[first_dependent[i]] up to [i + 1] */
    size_t *dependents;      /* indices of siblings that wait for it */
    size_t n_left;       /* tasks not in a final state */
    bool failed;         /* a task of it failed: no new ordinary tasks start */
};

struct graph {
    struct arena *a;
    const struct pipeline *p;
    struct scope *root;
    struct task **tasks; /* every instance, in order of creation */
    size_t n_tasks;
    /* facts for placeholders */
    struct str run_id, run_name, resource_name, create_time, root_uri;
};

/* graph_init - instances for the root DAG and, recursively, every nested DAG (whose inputs are
 * resolved when it starts). `in` holds the root's inputs. Keeps p, borrows nothing else. */
void graph_init(struct graph *g, struct arena *a, const struct pipeline *p, const struct io_values *in);

/* What should happen to a PENDING task now? */
enum task_verdict {
    VERDICT_WAIT,  /* something upstream is not done */
    VERDICT_START, /* all upstream succeeded */
    VERDICT_SKIP,  /* an upstream failed or was skipped; *reason says which */
};
enum task_verdict task_verdict(struct graph *g, const struct task *t, struct str *reason);

/* task_resolve - section 7: fill t->in. Errors are ERR_INPUT and make the task FAILED */
int task_resolve(struct graph *g, struct task *t, struct err *e);

/* scope_outputs - the DAG's outputs from its tasks' outputs; what was not produced is left out */
int scope_outputs(struct graph *g, const struct scope *s, struct io_values *out, struct err *e);

#endif

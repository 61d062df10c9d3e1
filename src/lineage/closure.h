/* SPDX-License-Identifier: Apache-2.0 */
/* closure.h - everything upstream or downstream of an artifact, as a graph, and its
 * writers
 *
 * Upstream of an artifact is the task that made it and what that task read. A later
 * task that got it from the cache did not make it and does not appear. Downstream are
 * the tasks that read it and what they gave out, cached ones included: their outputs
 * stand for this input.
 */
#ifndef LINEAGE_CLOSURE_H
#define LINEAGE_CLOSURE_H

#include "lineage/query.h"
#include "lineage/revoke.h"

enum db_direction { DB_UP = 1, DB_DOWN = 2 };

struct lineage_opts {
    unsigned directions; /* DB_UP, DB_DOWN or both */
    int64_t depth;       /* artifacts away from the start; 0 = no limit */
    struct str type; /* show only artifacts of this type (and the start); empty = all */
    bool filter_starts; /* a start of another type is not shown either */
    bool twins;         /* find byte-identical artifacts, too */
};

struct lineage_node {
    bool is_task; /* else an artifact */
    bool shown;   /* false: filtered out by type */
    int64_t id;
    int64_t
        depth; /* artifacts away from the nearest start; a task: as what it leads to */
    unsigned from; /* reached going DB_UP and/or DB_DOWN; 0 = a start */
    const struct db_artifact *artifact; /* NULL for a task */
    const struct db_task *task;         /* NULL for an artifact */
    struct str run_name, run_uuid,
        pipeline;         /* of the task, or of the artifact's producer */
    struct str task_path; /* likewise; empty = from outside */
    struct str tags;      /* of an artifact: "churn:prod, churn:v3" */
    const int64_t *twins; /* artifacts with the same bytes, tagged ones first, a few */
    size_t n_twins;       /* with opts.twins only */
    struct str twin_text; /* the first of them: "a9 model of fit in churn-x7k2p" */
    const struct db_mark
        *mark; /* lineage_flag: it is flagged by this; NULL = it is not */
};
struct lineage_edge { /* in the direction that data went */
    size_t from,
        to; /* indices of nodes: artifact -> task (read) or task -> artifact (made) */
    struct str name; /* of the input or output */
    int64_t idx;
    bool reused; /* the task took it from the cache */
};
struct lineage {
    struct lineage_node *nodes; /* starts first, then by distance */
    size_t n_nodes;
    struct lineage_edge *edges;
    size_t n_edges;
    size_t n_starts;
    struct lineage_opts opts;
};

/* db_lineage_in - breadth first; ERR_MISSING when a start does not exist, ERR_LIMIT
 * past 500,000 nodes */
int db_lineage_in(struct arena *a, struct db *d, const int64_t *starts, size_t n_starts,
                  const struct lineage_opts *o, struct lineage *out, struct err *e);
/* db_lineage_ids_in - only the artifact ids, by one recursive statement: the second way
 * to the same answer */
int db_lineage_ids_in(struct arena *a, struct db *d, int64_t start,
                      enum db_direction dir, int64_t **ids, size_t *n, struct err *e);

/* lineage_flag - set the marks of revoked artifacts; they live as long as m */
int lineage_flag(struct lineage *l, struct marks *m, struct err *e);

void lineage_tree(const struct lineage *l, struct buf *out); /* text for people */
void lineage_list(const struct lineage *l,
                  struct buf *out); /* a line an artifact, no tree */
void lineage_json(const struct lineage *l, struct jw *w);
void lineage_dot(const struct lineage *l, struct buf *out); /* Graphviz */

#endif

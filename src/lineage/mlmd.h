/* SPDX-License-Identifier: Apache-2.0 */
/* mlmd.h - inside lineage/: what the files that write ML Metadata share */
#ifndef LINEAGE_MLMD_H
#define LINEAGE_MLMD_H

#include "base/json.h"
#include "lineage/export.h"
#include "lineage/query.h"
#include "lineage/sql.h"

struct mlmd {
    struct db *d; /* ours, read */
    struct db *m; /* theirs, written */
    struct mlmd_done *done;
    char uuid[37];
    int64_t run_context;   /* added to the row id of a run: its context ... */
    int64_t run_execution; /* ... and its execution */
    int64_t type_pipeline, type_run, type_ref;
    int64_t type_dag, type_container, type_importer;
    struct arena a; /* of the run at hand */
    int64_t pipeline;
    struct db_run run;
    struct db_task *tasks;
    size_t n_tasks;
};

/* mlmd_put_run, mlmd_put_task - the Execution of x->run, or of one of its tasks, with
 * its properties and events */
int mlmd_put_run(struct mlmd *x, struct err *e);
int mlmd_put_task(struct mlmd *x, const struct db_task *t, struct err *e);
int mlmd_attribute(struct mlmd *x, int64_t context, int64_t artifact, struct err *e);

/* Properties, all "custom" (free) ones, which is what KFP writes. The first value given
 * for a name stays. A name over 255 bytes is not written: MySQL could not hold it.
 * *dropped counts what was not written. */
enum mlmd_node { MLMD_ARTIFACT, MLMD_EXECUTION, MLMD_CONTEXT };

struct mlmd_of { /* whose property */
    struct db *m;
    enum mlmd_node node;
    int64_t id;
    int64_t *dropped;
};

int mlmd_int(const struct mlmd_of *of, const char *name, int64_t v, struct err *e);
int mlmd_text(const struct mlmd_of *of, const char *name, struct str v, struct err *e);
/* mlmd_json - as KFP converts: texts, numbers as double, bools as int 0 or 1, lists and
 * objects as a struct {"list": [...]} or {"struct": {...}}; null is dropped */
int mlmd_json(const struct mlmd_of *of, struct str name, json *v, struct err *e);
/* mlmd_struct - a JSON object as a struct */
int mlmd_struct(const struct mlmd_of *of, const char *name, json *object,
                struct err *e);

/* mlmd_struct_text - append "mlmd-struct::" and the base64 of google.protobuf.Struct;
 * equal objects give equal texts, whatever the order of their members */
void mlmd_struct_text(json *object, struct buf *out);

#endif

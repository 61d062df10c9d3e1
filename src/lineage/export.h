/* SPDX-License-Identifier: Apache-2.0 */
/* export.h - the record in the forms that other tools read */
#ifndef LINEAGE_EXPORT_H
#define LINEAGE_EXPORT_H

#include "lineage/db.h"

/* db_export_openlineage - the events of OpenLineage 2-0-2, one JSON object a line
 *
 * run  only this one, 0 = all. The order is that of runs, and of time within a run
 * fn   gets each line with its line feed, borrowed for the call; -1 stops
 *
 * A run and each of its tasks is an OpenLineage run: one START, and one COMPLETE, FAIL
 * or ABORT once it is over. What was skipped never began and has no events. One
 * consistent view of the database. */
typedef int db_line_fn(void *ctx, struct str line, struct err *e);
int db_export_openlineage(struct db *d, int64_t run, db_line_fn *fn, void *ctx,
                          struct err *e);

/* db_export_mlmd - a file of ML Metadata, schema version 10, shaped as KFP v2 writes it
 *
 * path  must not exist (ERR_INPUT); it appears when it is whole and on disk
 * done  counts; `dropped` are properties that the format cannot hold: null values,
 * names over 255 bytes
 *
 * One consistent view of the database. */
struct mlmd_done {
    int64_t artifacts, executions, events, dropped;
};
int db_export_mlmd(struct db *d, const char *path, struct mlmd_done *done,
                   struct err *e);

#endif

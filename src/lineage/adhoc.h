/* SPDX-License-Identifier: Apache-2.0 */
/* adhoc.h - one statement that a person typed, which can read and do nothing else */
#ifndef LINEAGE_ADHOC_H
#define LINEAGE_ADHOC_H

#include "lineage/db.h"

struct db_cell {
    enum { CELL_NULL, CELL_INT, CELL_REAL, CELL_TEXT, CELL_BLOB } kind;
    int64_t i;
    double num;
    struct str text; /* of TEXT and BLOB: borrowed for the call */
};

/* Who gets the answer. Each returns 0 to go on, -1 with *e set to stop. */
struct db_sink {
    int (*head)(void *ctx, const char *const *names, int n, struct err *e);
    int (*row)(void *ctx, const struct db_cell *cells, int n, struct err *e);
    void *ctx;
};

/* db_views_make - make the views for people, in memory, on this connection alone; once */
int db_views_make(struct db *d, struct err *e);

/* db_sql - run one SELECT, with the views
 *
 * d           opened with DB_READ, for nothing else before or afterwards
 * timeout_ms  0 = none
 * ERR_INPUT with the place for what is no SQL, for a second statement, and for anything
 * that is more than reading; ERR_LIMIT when it took too long */
int db_sql(struct db *d, struct str text, int64_t timeout_ms,
           const struct db_sink *sink, struct err *e);

/* db_sql_views - the views made for this: a row each, its name and its columns; d as for db_sql() */
int db_sql_views(struct db *d, const struct db_sink *sink, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* wheresql.h - inside lineage/ only: a parsed condition as SQL, and what it needs while
 * it runs
 *
 * Conditions are over "artifact a" and "type y". Values are bound, never written into
 * the text. One struct where_run serves one statement: open, add conditions, prepare,
 * bind, step, done. While it is open no other may be used on the same connection.
 */
#ifndef LINEAGE_WHERESQL_H
#define LINEAGE_WHERESQL_H

#include "lineage/query.h"
#include "lineage/sql.h"
#include "lineage/where.h"

enum where_way {
    WHERE_PLANNED, /* relations from the end that is expected to be the smaller one */
    WHERE_SEARCH,  /* always by a search from each candidate: for tests */
    WHERE_SEEDS,   /* always from what fits the relation: for tests */
};

struct where_run;
int where_open(struct db *d, enum where_way way, struct where_run **gives,
               struct err *e);
/* where_add - append the condition to sql, in parentheses; NULL appends "1" */
int where_add(struct where_run *r, const struct where_node *n, struct buf *sql,
              struct err *e);
/* where_type - append "this is an artifact of that type"; indexed: let SQLite find them
 * by it */
int where_type(struct where_run *r, struct str type, bool indexed, struct buf *sql,
               struct err *e);
/* does an index find what the condition is about? */
bool where_narrows(const struct where_run *r);
/* where_bind - the values of all that was added, in order */
void where_bind(struct where_run *r, struct q *q);
/* where_step - q_step, with the failures of our own functions */
int where_step(struct where_run *r, struct q *q, struct err *e);
void where_done(struct where_run *r); /* accepts NULL */
void auto_where(struct where_run **r);
#define AUTO_WHERE __attribute__((cleanup(auto_where)))

/* db_query_way_in - as db_query_in, parsed already, by one of the ways */
int db_query_way_in(struct arena *a, struct db *d, const struct query *query,
                    int64_t limit, enum where_way way, struct db_artifact **out,
                    size_t *n, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* rows.h - inside lineage/ only: rows of artifacts, for statements in several files */
#ifndef LINEAGE_ROWS_H
#define LINEAGE_ROWS_H

#include "lineage/query.h"
#include "lineage/sql.h"

/* of "artifact a" and "type y", in the order that artifact_read wants them */
#define ARTIFACT_COLUMNS                                                               \
    "a.id, y.name, a.name, a.kind, a.digest, a.size, a.files, a.state, a.task,"        \
    " a.imported, a.created_ms, a.uri, a.source, a.metadata"
void artifact_read(struct arena *a, struct q *q, struct db_artifact *x);

/* db_mask_text - "|RUNNING|FAILED" for instr(?, state): no name of a state is part of
 * another */
void db_mask_text(unsigned mask, char out[96]);

/* db_moment - "2026-03-03" (the last millisecond of that day) or RFC 3339 in UTC */
bool db_moment(struct str s, int64_t *unix_ms);

#endif

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

/* of "task t", "image i" and "code c", in the order that task_read wants them */
#define TASK_COLUMNS                                                                   \
    "t.id, t.run, t.parent, t.path, t.name, t.kind, t.state, t.reason, t.error, "      \
    "t.cached,"                                                                        \
    " t.cached_from, t.cache_key, i.config, t.attempts, t.host_failures, "             \
    "t.started_ms,"                                                                    \
    " t.finished_ms, t.exit_code, t.peak_memory, t.cpu_usec, t.uuid,"                  \
    " (SELECT x.gpus FROM attempt x WHERE x.task = t.id AND x.number = t.attempts),"   \
    " c.component, c.digest"
#define TASK_JOINS                                                                     \
    " LEFT JOIN image i ON i.id = t.image LEFT JOIN code c ON c.id = t.code"
#define TASK_TABLES " FROM task t" TASK_JOINS
void task_read(struct arena *a, struct q *q, struct db_task *t);

/* db_mask_text - "|RUNNING|FAILED" for instr(?, state): no name of a state is part of
 * another */
void db_mask_text(unsigned mask, char out[96]);

/* db_type_check - ERR_MISSING for a type that neither occurred nor is one of KFP's */
int db_type_check(struct db *d, struct str type, struct err *e);
/* db_type_matches - is `type` ("Dataset" or "system.Dataset") what `full` is called? */
bool db_type_matches(struct str full, struct str type);

/* "sha256:..." or null */
void db_jw_digest(struct jw *w, const char *hex);

/* db_moment - "2026-03-03" (the last millisecond of that day) or RFC 3339 in UTC */
bool db_moment(struct str s, int64_t *unix_ms);

/* kept_runs_in - runs that gc keeps, by ascending id (keep.c) */
struct db_keep;
struct kept_run {
    int64_t id;
    bool open; /* not over */
    bool over; /* past the ceiling of bytes: never among those given */
};
int kept_runs_in(struct arena *a, struct db *d, const struct db_keep *keep,
                 struct kept_run **out, size_t *n, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* commit.h - a finished attempt, into the database: by its engine or by whoever reconciles */
#ifndef RUN_COMMIT_H
#define RUN_COMMIT_H

#include "lineage/db.h"
#include "run/attempt.h"

enum commit_verdict {
    COMMIT_SUCCEEDED,
    COMMIT_RETRY,    /* the task is PENDING again */
    COMMIT_FAILED,
    COMMIT_CANCELED,
};

/* commit_attempt - write attempt, task, outputs and cache entry into the open transaction
 *
 * won       false when another process committed this attempt first: nothing was written
 * verdict   what became of the task, set when won
 * artifact_ids  NULL, or r->n_artifacts row ids to fill */
int commit_attempt(struct db *d, const struct attempt *at, const struct result *r, bool *won,
                   enum commit_verdict *verdict, int64_t *artifact_ids, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* space.h - how many bytes the rows stand for */
#ifndef LINEAGE_SPACE_H
#define LINEAGE_SPACE_H

#include "lineage/query.h"

/* db_bytes_live - content of artifacts that is not gone, and of loaded images, each
 * once */
int db_bytes_live(struct db *d, uint64_t *bytes, struct err *e);
/* db_bytes_last_run - what the newest successful run of the pipeline that was not all
 * hits stored itself; 0 when there is none */
int db_bytes_last_run(struct db *d, struct str pipeline, uint64_t *bytes,
                      struct err *e);

struct db_space {
    struct str name, uuid; /* uuid: of a run */
    int64_t count, bytes;  /* artifacts that it made and that are not gone, each once */
};
/* by pipeline, by run: the biggest first */
int db_space_pipelines_in(struct arena *a, struct db *d, struct db_space **out,
                          size_t *n, struct err *e);
int db_space_runs_in(struct arena *a, struct db *d, struct db_space **out, size_t *n,
                     struct err *e);

#endif

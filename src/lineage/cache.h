/* SPDX-License-Identifier: Apache-2.0 */
/* cache.h - which finished task has the results for a cache key */
#ifndef LINEAGE_CACHE_H
#define LINEAGE_CACHE_H

#include "lineage/query.h"

struct db_hit {
    int64_t task; /* the producer */
    struct str run_uuid, run_name, path;
    int64_t created_unix_ms; /* when it was put */
    struct db_io_rows out;
};

/* db_cache_put - the task's recorded outputs answer for its key from now on; a newer
 * one replaces an older one. Needs db_begin. */
int db_cache_put(struct db *d, struct str key_hex, int64_t task, int64_t now_unix_ms,
                 struct err *e);

/* db_cache_find_in - a hit for key within one pipeline
 *
 * not_before_unix_ms  older entries are no hits (--cache-max-age); 0 = any age
 * found               false also when an artifact of it is not live any more
 *
 * Whether the bytes are really in the store is for the caller to see. */
int db_cache_find_in(struct arena *a, struct db *d, struct str key_hex,
                     struct str pipeline, int64_t not_before_unix_ms,
                     struct db_hit *hit, bool *found, struct err *e);

/* db_cache_reuse - finish `task` as SUCCEEDED, cached: the hit's parameters and
 * artifacts become its outputs. Its inputs are recorded by the caller. Needs db_begin.
 */
int db_cache_reuse(struct db *d, int64_t task, const struct db_hit *hit,
                   int64_t started_unix_ms, int64_t now_unix_ms, bool *won,
                   struct err *e);

/* db_cache_forget - no hit for this key any more: its bytes are gone. Needs db_begin.
 */
int db_cache_forget(struct db *d, struct str key_hex, struct str pipeline,
                    struct err *e);

/* db_run_keys_in - the cache keys of a run's tasks that succeeded, with the task that
 * made each result (of a hit: the one that it came from) */
struct db_key_task {
    char key_hex[DIGEST_HEX];
    int64_t task;
};
int db_run_keys_in(struct arena *a, struct db *d, int64_t run, struct db_key_task **out,
                   size_t *n, struct err *e);

/* db_task_before - the newest task of an earlier run at the same place of the same
 * pipeline whose ingredients can be told (db_task_cache_text of *recorded: of a hit,
 * that is the task that it came from); one that succeeded before one that failed.
 * *before 0 when there is none. */
int db_task_before(struct db *d, int64_t task, int64_t *before, int64_t *recorded,
                   struct err *e);

#endif

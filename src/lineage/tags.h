/* SPDX-License-Identifier: Apache-2.0 */
/* tags.h - names for artifacts, "churn:prod", that move on purpose and remember where
 * they were */
#ifndef LINEAGE_TAGS_H
#define LINEAGE_TAGS_H

#include "lineage/query.h"

struct db_tag {
    struct str name;
    int64_t artifact; /* 0 in the log: the tag was removed */
    int64_t set_unix_ms;
    struct str set_by; /* user */
    struct str reason; /* as given with -m; empty = none */
};

/* db_tag_name_ok - 1 to 128 of [A-Za-z0-9_.:-], not starting with '.' or '-', no '/',
 * and nothing that reads as another way to name an artifact (a7, sha256:...). ERR_INPUT
 * says why */
int db_tag_name_ok(struct str name, struct err *e);

/* db_tag_set - point `name` at artifact. Needs db_begin.
 *
 * move      false: ERR_INPUT when it points elsewhere already, naming both
 * previous  may be NULL; the artifact it pointed at before, 0 = none
 * ERR_MISSING when there is no such artifact; ERR_INPUT when its content is gone. */
int db_tag_set(struct db *d, struct str name, int64_t artifact, bool move,
               const struct db_by *by, int64_t *previous, struct err *e);
/* db_tag_remove - ERR_MISSING when there is none. Needs db_begin */
int db_tag_remove(struct db *d, struct str name, const struct db_by *by, struct err *e);

/* db_tag_find - where it points (at_unix_ms 0: now; else as it stood then); ERR_MISSING
 */
int db_tag_find(struct db *d, struct str name, int64_t at_unix_ms, int64_t *artifact,
                struct err *e);
int db_tags_in(struct arena *a, struct db *d, struct db_tag **out, size_t *n,
               struct err *e);
/* db_tag_log_in - oldest first; empty name = all tags */
int db_tag_log_in(struct arena *a, struct db *d, struct str name, struct db_tag **out,
                  size_t *n, struct err *e);
/* db_tags_of_in - names that point at one artifact now */
int db_tags_of_in(struct arena *a, struct db *d, int64_t artifact, struct db_tag **out,
                  size_t *n, struct err *e);

#endif

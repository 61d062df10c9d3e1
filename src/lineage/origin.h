/* SPDX-License-Identifier: Apache-2.0 */
/* origin.h - what an image or the code of a component has made */
#ifndef LINEAGE_ORIGIN_H
#define LINEAGE_ORIGIN_H

#include "lineage/query.h"

/* db_image_known - the config digest of an image that a task ran or that was loaded
 * once, by a prefix of it (6 digits or more, "sha256:" may be in front) or its whole
 * manifest digest. ERR_MISSING; ERR_INPUT when several fit. */
int db_image_known(struct db *d, struct str what, char hex[DIGEST_HEX], struct err *e);

/* db_made_by_image_in - ids of artifacts that tasks with this image made, oldest first
 */
int db_made_by_image_in(struct arena *a, struct db *d, struct str config_hex,
                        int64_t **ids, size_t *n, struct err *e);

/* db_made_by_component_in - ids of artifacts that a component made, oldest first
 *
 * what  a component's name ("comp-fit" or "fit"), a digest of its code (sha256:PREFIX,
 * 6 digits or more: any component with that code), or RUN/TASK: the code that it ran
 * ERR_MISSING when no task ever ran such a thing */
int db_made_by_component_in(struct arena *a, struct db *d, struct str what,
                            int64_t **ids, size_t *n, struct err *e);

#endif

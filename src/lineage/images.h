/* SPDX-License-Identifier: Apache-2.0 */
/* images.h - which images are here and what they are called
 *
 * An image is its config digest. Rows stay when an image is removed: tasks refer to
 * them.
 */
#ifndef LINEAGE_IMAGES_H
#define LINEAGE_IMAGES_H

#include "lineage/query.h"

struct db_image {
    char config_hex[DIGEST_HEX];   /* identity */
    char manifest_hex[DIGEST_HEX]; /* "" = unknown */
    struct str os, arch;
    int64_t created_unix_ms; /* as the config says */
    int64_t size_bytes;      /* unpacked */
    struct str layers_json;  /* [{"diff_id": "sha256:...", "digest": "sha256:..." of the
                                blob that is  kept or null, "size": n, "media_type":
                                "..."}], lowest first */
    int64_t loaded_unix_ms;
    struct str *names; /* normalised, sorted; ignored by db_image_put */
    size_t n_names;
};

/* db_image_put - insert, or refresh what is known of it. Needs db_begin */
int db_image_put(struct db *d, const struct db_image *i, struct err *e);
/* db_image_name_set - point a normalised name at an image; previous_hex (may be NULL)
 * gets the image it meant before, "" = none or the same. Needs db_begin. ERR_MISSING:
 * no such image */
int db_image_name_set(struct db *d, struct str name, struct str config_hex,
                      struct str user, int64_t now_unix_ms,
                      char previous_hex[DIGEST_HEX], struct err *e);
/* db_image_name_remove - ERR_MISSING. Needs db_begin */
int db_image_name_remove(struct db *d, struct str name, struct str user,
                         int64_t now_unix_ms, struct err *e);
/* db_image_remove - takes its names along; content goes at the next gc. Needs db_begin
 */
int db_image_remove(struct db *d, struct str config_hex, struct str user,
                    int64_t now_unix_ms, struct err *e);

/* db_image_find_in - by normalised name, "sha256:PREFIX" or PREFIX of the config digest
 * (6 digits or more) or the whole manifest digest. ERR_MISSING with the nearest name,
 * ERR_INPUT: ambiguous */
int db_image_find_in(struct arena *a, struct db *d, struct str what,
                     struct db_image *out, struct err *e);
/* db_images_in - all that were not removed, newest first */
int db_images_in(struct arena *a, struct db *d, struct db_image **out, size_t *n,
                 struct err *e);

/* db_image_name_kept - what a normalised name means, with no database opened: true and the digest
 * when HOME/dugout.db-names tells of the database as it is now, and of this name */
bool db_image_name_kept(int home_fd, const char *name, char config_hex[DIGEST_HEX]);
/* db_image_names_keep - write that file; leaves it when the database was written just now, and on
 * any error. home_fd: the directory that d is in */
void db_image_names_keep(struct db *d, int home_fd);

struct db_image_move {
    struct str name, set_by;
    char old_hex[DIGEST_HEX], new_hex[DIGEST_HEX]; /* "" = none */
    int64_t set_unix_ms;
};
/* db_image_log_in - how names moved, oldest first; empty name = all */
int db_image_log_in(struct arena *a, struct db *d, struct str name,
                    struct db_image_move **out, size_t *n, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* revoke.h - artifacts and images that somebody found to be bad, and all that they
 * touched
 *
 * A mark on an artifact is one on its content: an artifact is flagged when it, or
 * anything upstream of it, has the digest of a marked one, or was made by a task whose
 * image is marked. Nothing is written at the artifacts that are flagged, so a mark that
 * is lifted leaves no trace but its own row.
 */
#ifndef LINEAGE_REVOKE_H
#define LINEAGE_REVOKE_H

#include "lineage/query.h"

/* db_revoke_artifact, db_revoke_image - need db_begin. ERR_INPUT when it is marked
 * already; ERR_MISSING: no such artifact, no such image. An image is its config digest.
 */
int db_revoke_artifact(struct db *d, int64_t artifact, const struct db_by *by,
                       struct err *e);
int db_revoke_image(struct db *d, struct str config_hex, const struct db_by *by,
                    struct err *e);
/* db_unrevoke_* - lift the mark; ERR_MISSING when there is none. Needs db_begin */
int db_unrevoke_artifact(struct db *d, int64_t artifact, const struct db_by *by,
                         struct err *e);
int db_unrevoke_image(struct db *d, struct str config_hex, const struct db_by *by,
                      struct err *e);

struct db_mark {                 /* one that counts now */
    int64_t id, artifact;        /* artifact 0: an image is marked */
    char image_hex[DIGEST_HEX];  /* "" = none */
    char digest_hex[DIGEST_HEX]; /* of the artifact; "" = it has none */
    struct str what;             /* "a7 raw" or "image sha256:..." */
    struct str reason, set_by;
    int64_t set_unix_ms;
};

/* The marks that count, and what was found out with them so far. */
struct marks;
/* marks_open - gives: for marks_done. Without any mark all answers are free. */
int marks_open(struct db *d, struct marks **gives, struct err *e);
void marks_done(struct marks *m); /* accepts NULL */
void auto_marks(struct marks **m);
#define AUTO_MARKS __attribute__((cleanup(auto_marks)))
bool marks_any(const struct marks *m);
/* marks_look - *why: the mark that flags the artifact, NULL when none does; lives as
 * long as m */
int marks_look(struct marks *m, int64_t artifact, const struct db_mark **why,
               struct err *e);
/* marks_json - the member "revoked": null, or the mark as an object */
void marks_json(const struct db_mark *why, struct jw *w);

#endif

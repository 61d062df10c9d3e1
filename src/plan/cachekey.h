/* SPDX-License-Identifier: Apache-2.0 */
/* cachekey.h - a task's cache key: the SHA-256 of everything it can see
 *
 * Unlike KFP we compare input artifacts by content (digest, type and metadata), name the image by
 * its config digest, and count env: two tasks that differ only in env must not share results.
 */
#ifndef PLAN_CACHEKEY_H
#define PLAN_CACHEKEY_H

#include "base/sha256.h"
#include "plan/graph.h"

/* what is added to what the pipeline's own file says a task sees; both may be empty */
struct key_extra {
    struct str flags;    /* "--env" */
    struct str platform; /* Kubernetes settings: names, content of config maps */
};
void cachekey_of(const struct graph *g, const struct task *t, struct str image_config_hex,
                 const struct key_extra *extra, char out[DIGEST_HEX]);

/* cachekey_text - the canonical JSON that is hashed */
void cachekey_text(const struct graph *g, const struct task *t, struct str image_config_hex,
                   const struct key_extra *extra, struct buf *out);

/* cachekey_record - the same for the record, so that `why` can compare: texts and values of
 * more than CACHEKEY_KEPT_BYTES are replaced by "sha256:HEX (N bytes)" */
#define CACHEKEY_KEPT_BYTES 200
void cachekey_record(const struct graph *g, const struct task *t, struct str image_config_hex,
                     const struct key_extra *extra, struct buf *out);
/* component_code - what a container component runs apart from its image, as JSON: command,
 * arguments and env as compiled. For a Python component that is its source. */
void component_code(const struct executor *x, struct buf *out);

#endif

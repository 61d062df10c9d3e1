/* SPDX-License-Identifier: Apache-2.0 */
/* facts.h - what an image's Python is, asked once per config digest, in a box
 *
 * Kept as envs/facts-<config hex>-<shim>.json. The same box compiles the shim's byte code for that
 * Python into envs/shim-<...>/, which tasks then see read-only.
 */
#ifndef RUN_FACTS_H
#define RUN_FACTS_H

#include "base/err.h"
#include "base/mem.h"
#include "run/run.h"

#define SHIM_MOUNT "/run/dugout/py" /* first on PYTHONPATH inside the box */

struct dist {
    struct str name; /* normalised: lower case, runs of -_. are one '-' */
    struct str version;
};
struct image_facts {
    bool has_python;
    struct dist *dists;
    size_t n_dists;
    struct named_value *markers; /* PEP 508: python_version, sys_platform ... strings */
    size_t n_markers;
    struct str shim_dir; /* absolute host path to mount at SHIM_MOUNT */
};
const struct dist *facts_dist(const struct image_facts *f, struct str normalised_name);

/* facts_in - from the cache, or by running the image once (about 0.2 s)
 *
 * config_hex, lowers: of the image (image_open_in). ERR_SYS when no box can be had. */
int facts_in(struct arena *a, struct run_env *env, const char *config_hex,
             const char *const *lowers, size_t n_lowers, struct image_facts *out, struct err *e);

#endif

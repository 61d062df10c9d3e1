/* SPDX-License-Identifier: Apache-2.0 */
/* plan.h - what an archive says it holds: images, and where the bytes of each layer are
 */
#ifndef IMAGE_PLAN_H
#define IMAGE_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "image/archive.h"
#include "image/config.h"
#include "image/image.h"

struct layer_plan {
    char diff_hex[DIGEST_HEX];
    char blob_hex[DIGEST_HEX]; /* digest of the archive as it is; "" when not said */
    const char *member;        /* its name in the archive */
    uint64_t size_bytes; /* of the archive as it is; checked when blob_hex is there */
};

struct image_plan {
    const char *what; /* for messages: a name, or the start of a digest */
    char config_hex[DIGEST_HEX],
        manifest_hex[DIGEST_HEX]; /* manifest "" when there is none */
    struct str config_json, manifest_json;
    struct image_config config;
    struct layer_plan *layers; /* bottom first; config.n_layers of them */
    const char **names;        /* normalised */
    size_t n_names;
};

struct image_plans {
    struct arena *arena; /* borrowed; everything lives in it */
    struct image_archive *archive;
    struct platform platform;
    const char *ref; /* only this one; NULL: all */
    struct image_plan *items;
    size_t n;
};

/* plan_layout - read index.json and what it leads to. ERR_MISSING for a ref or blob
 * that is not there, ERR_INPUT when no image fits the platform, ERR_CORRUPT, ERR_LIMIT.
 */
int plan_layout(struct image_plans *p, struct err *e);
/* plan_docker - read manifest.json of a docker archive; errors as above */
int plan_docker(struct image_plans *p, struct err *e);

/* plan_config - parse config bytes that were verified, compare the count of its layers
 * and its platform */
int plan_config(struct image_plans *p, struct image_plan *image, size_t n_layers,
                struct err *e);
/* plan_name - add a name, once; one that is no image name is left out */
void plan_name(struct image_plans *p, struct image_plan *image, struct str name);

/* plan_manifest - write an OCI manifest for an image that came without: layers with
 * their blob_hex, size and format known */
void plan_manifest(const struct image_plan *image, const enum zip_format *formats,
                   struct buf *out);

#endif

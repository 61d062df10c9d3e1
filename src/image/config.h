/* SPDX-License-Identifier: Apache-2.0 */
/* config.h - the image config, the JSON document whose digest is the image */
#ifndef IMAGE_CONFIG_H
#define IMAGE_CONFIG_H

#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "image/platform.h"

struct image_config {
    struct platform platform;
    const char *created; /* NULL when not said */
    char (*diff_ids)[DIGEST_HEX];
    size_t n_layers;
    const char **env, **entrypoint, **cmd, **volumes;
    size_t n_env, n_entrypoint, n_cmd, n_volumes;
    const char *workdir, *user, *stop_signal; /* "" when not said */
};

/* config_parse_in - everything copied into the arena. Any optional field may be null.
 * ERR_CORRUPT with the field's path, ERR_LIMIT for more than LIMIT_LAYERS. */
int config_parse_in(struct arena *a, struct str json, struct image_config *out,
                    struct err *e);

#endif

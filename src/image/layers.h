/* SPDX-License-Identifier: Apache-2.0 */
/* layers.h - the directory layers/ of a home
 *
 *   layers/<id>/fs/       the file system of the layer
 *   layers/<id>/meta
 * {"tar_bytes":..,"entries":..,"blob":"<hex>","blob_bytes":..,"format":..}
 *   layers/<id>/implied   paths, NUL after each; absent when there are none
 *   layers/<id>/empty     exists when fs/ holds nothing and can be left out of a stack
 *   layers/<id>/etc/      what lies above its etc/ for `box`: run/lowers.c
 *   layers/userxattr      exists when opaque directories are marked with user.overlay.*
 *
 * layers/<id>/ is 0700: an image has directories where everybody may write (its /tmp),
 * and who may read a home must not be everybody there.
 */
#ifndef IMAGE_LAYERS_H
#define IMAGE_LAYERS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "image/inflate.h"
#include "store/blob.h"

struct layer_meta {
    uint64_t tar_bytes, entries;
    struct blob_id blob; /* the archive it was unpacked from, kept or not */
    enum zip_format format;
};

/* layer_meta_write - meta, implied and empty into the layer's directory (its
 * descriptor) */
int layer_meta_write(int dir_fd, const struct layer_meta *m, const struct buf *implied,
                     struct err *e);
/* layer_meta_read - ERR_MISSING when there is no such layer, ERR_CORRUPT */
int layer_meta_read(int layers_fd, const char *id, struct layer_meta *out,
                    struct err *e);
int layer_implied_read(int layers_fd, const char *id, struct buf *out, struct err *e);

bool layer_there(int layers_fd, const char *id);
bool layer_empty(int layers_fd, const char *id);
/* layer_fs - open layers/<id>/fs; -1 and errno */
int layer_fs(int layers_fd, const char *id);

/* layers_userxattr - how opaque directories are marked in this home: what was decided
 * when the first layer came, or what this process may do (and then it is written down)
 */
int layers_userxattr(struct store *s, bool *out, struct err *e);
bool layers_have_userxattr(const struct store *s);

/* stack_ids - the ids of the layers of an image as they lie in layers/, bottom first:
 * the ChainID where a layer was unpacked against those below, else the diff_id. The id
 * of the thin layer, or "", goes to thin. Without looking whether they are there. */
void stack_ids(int layers_fd, const char (*diff_ids)[DIGEST_HEX], size_t n,
               char (*ids)[DIGEST_HEX], char chain[DIGEST_HEX], char thin[DIGEST_HEX]);

#endif

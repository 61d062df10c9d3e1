/* SPDX-License-Identifier: Apache-2.0 */
/* lowers.h - the layers of a box that belongs to no run */
#ifndef RUN_LOWERS_H
#define RUN_LOWERS_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"
#include "image/image.h"

/* lowers_of_box - the image's layers, top first, and on top of them etc/ of a box that is called
 * "box" and has no network of its own, made when it is not there yet. *has_etc says whether it
 * could be had; without it box_start() writes the same into the box's writable layer.
 * In the arena; nothing fails. */
const char *const *lowers_of_box(struct arena *a, const struct image *img, size_t *n,
                                 bool *has_etc);

#endif

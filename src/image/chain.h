/* SPDX-License-Identifier: Apache-2.0 */
/* chain.h - what a stack of layers needs beyond its layers
 *
 * A tar may hold tmp/x without an entry for tmp. Unpacked by itself the layer then has
 * a directory tmp of no particular owner and mode, which overlayfs shows instead of the
 * 1777 below; or a real directory lib where below lib is a link to usr/lib.
 */
#ifndef IMAGE_CHAIN_H
#define IMAGE_CHAIN_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/sha256.h"
#include "image/stack.h"

/* chain_id - ChainID of a layer, given that of the layers below it ("" for the first)
 */
void chain_id(const char *below_hex, const char *diff_hex, char out[DIGEST_HEX]);

/* chain_conflict - does the layer imply a directory where `below` has a symbolic link?
 * It has to be unpacked again then, through the link. implied: NUL after each path. */
int chain_conflict(const struct stack *below, const struct buf *implied, bool *out,
                   struct err *e);

/* chain_thin - make in the empty directory fs_fd what has to lie on top of the stack,
 * so that implied directories show the owner, mode, attributes and times they have
 * below
 *
 * implied  one list for each layer of the stack
 * made     out: false when nothing is needed, and then fs_fd is still empty
 */
int chain_thin(const struct stack *s, const struct buf *implied, int fs_fd, bool owners,
               bool *made, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* hash.h - what a file or directory would be called in the store, without storing it
 *
 * Equal to what blob_put_file and tree_put give. Nothing is written, no store is
 * needed.
 */
#ifndef STORE_HASH_H
#define STORE_HASH_H

#include <stdbool.h>

#include "base/err.h"
#include "base/sha256.h"

/* hash_path - hash the file or directory NAME below dir_fd (or AT_FDCWD), links
 * followed at its end only
 *
 * hex     gets the blob's or the tree's digest
 * is_dir  gets which of the two
 *
 * ERR_MISSING when absent, ERR_INPUT when it is neither, ERR_LIMIT deeper than
 * LIMIT_PATH_DEPTH, else ERR_SYS. */
int hash_path(int dir_fd, const char *name, char hex[DIGEST_HEX], bool *is_dir,
              struct err *e);

#endif

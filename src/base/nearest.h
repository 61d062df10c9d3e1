/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.h - the name that was probably meant: for "did you mean" */
#ifndef BASE_NEAREST_H
#define BASE_NEAREST_H

#include <stddef.h>

#include "base/buf.h"

/* nearest - the closest of `n` names by edits (insert, delete, replace, swap of
 * neighbours); upper and lower case are alike
 *
 * Returns one of `names` (borrowed), or NULL when none is near: more edits than a third
 * of the longer name. Names over 128 bytes are never suggested. Of equals the first
 * wins. */
const char *nearest(struct str want, const char *const *names, size_t n);

/* nearest_edits - the measure itself, in half edits: two an edit, one when only the
 * case differs; `at_most` and more all look alike */
unsigned nearest_edits(struct str a, struct str b, unsigned at_most);

#endif

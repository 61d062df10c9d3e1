/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.h - is it UTF-8, and where is it not */
#ifndef SPEC_UTF8_H
#define SPEC_UTF8_H

#include <stdbool.h>

#include "base/buf.h"

/* utf8_check - strict UTF-8 (no surrogates, no overlong forms, at most U+10FFFF). When
 * it is not, *bad_at (may be NULL) is the offset of the first byte of the wrong
 * sequence */
bool utf8_check(struct str s, size_t *bad_at);

/* utf8_put - encode one code point, 1 to 4 bytes; returns how many. `code` is a scalar
 * value */
size_t utf8_put(unsigned code, char out[4]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* pos.h - a place in a pipeline file */
#ifndef SPEC_POS_H
#define SPEC_POS_H

#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"

struct pos {
    uint32_t line, col; /* from 1, columns in characters; 0 = unknown */
};

/* pos_err - err_set with "FILE:LINE:COL: " in front (the tail of a long file name);
 * returns -1 */
int pos_err(struct err *e, enum err_code code, struct str file, struct pos at,
            const char *fmt, ...) __attribute__((format(printf, 5, 6)));

#endif

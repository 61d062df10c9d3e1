/* SPDX-License-Identifier: Apache-2.0 */
/* keydiff.h - what makes two cache keys differ, in words
 *
 * Pure; memory from the given arena, texts with a NUL behind them.
 */
#ifndef PLAN_KEYDIFF_H
#define PLAN_KEYDIFF_H

#include "base/err.h"
#include "base/mem.h"

struct change {
    struct str what; /* "input parameter rows", "word 3 of the command" */
    struct str before,
        after; /* as JSON; empty: it was not there, it is not there now */
};
struct changes {
    struct change *items;
    size_t n;
};
/* change_add - one that is known already; borrows nothing */
void change_add(struct arena *a, struct changes *c, struct str what, struct str before,
                struct str after);
/* change_add_text - a text of two versions, given as it is: of a long one only the
 * first line that differs is kept, and `what` says which line that is. Nothing when
 * they are equal; ptr NULL means that there is none. */
void change_add_text(struct arena *a, struct changes *c, struct str what,
                     struct str before, struct str after);

/* keydiff_in - the differences of two texts of cachekey_record(), empty when they are
 * equal. ERR_CORRUPT when one is no JSON. */
int keydiff_in(struct arena *a, struct str before, struct str after,
               struct changes *out, struct err *e);

#endif

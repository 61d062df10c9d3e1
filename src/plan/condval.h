/* SPDX-License-Identifier: Apache-2.0 */
/* condval.h - operands of expressions and what is done to them; internal to cond.c
 *
 * Throughout: `mem` holds what an operand points to; `at` is where in the expression,
 * from 0. Functions that give an operand never fail: what has no value is bad.
 */
#ifndef PLAN_CONDVAL_H
#define PLAN_CONDVAL_H

#include "base/err.h"
#include "base/mem.h"
#include "spec/value.h"

struct operand {
    struct value v;
    const char *bad; /* "column 7: why there is no value"; NULL: there is */
};

static inline struct operand cond_good(struct value v)
{
    return (struct operand){.v = v};
}
static inline struct operand cond_bool(bool b)
{
    return cond_good((struct value){.kind = VALUE_BOOL, .b = b});
}
static inline struct operand cond_number(double n)
{
    return cond_good((struct value){.kind = VALUE_NUMBER, .n = n});
}
struct operand cond_bad(struct arena *mem, size_t at, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* cond_call - int(x) and the like; cond_method - of.name(arg), arg NULL: of.name().
 * ERR_INPUT when there is no such function, which is a mistake of form. */
int cond_call(struct arena *mem, size_t at, struct str name, const struct operand *arg,
              struct operand *out, struct err *e);
int cond_method(struct arena *mem, size_t at, struct str name, const struct operand *of,
                const struct operand *arg, struct operand *out, struct err *e);

/* of.key, of[index] */
struct operand cond_member(struct arena *mem, size_t at, const struct operand *of,
                           struct str key);
struct operand cond_element(struct arena *mem, size_t at, const struct operand *of,
                            const struct operand *index);

enum rel { REL_EQ, REL_NE, REL_LE, REL_GE, REL_LT, REL_GT, REL_IN, RELS };
extern const char *const rel_words[RELS]; /* longer ones before their beginnings */
struct operand cond_compare(struct arena *mem, size_t at, enum rel rel,
                            const struct operand *a, const struct operand *b);

/* cond_connect - a && b with deciding = false, a || b with deciding = true */
struct operand cond_connect(struct arena *mem, size_t at, bool deciding,
                            const struct operand *a, const struct operand *b);
struct operand cond_not(struct arena *mem, size_t at, const struct operand *of);
struct operand cond_minus(struct arena *mem, size_t at, const struct operand *of);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cond.h - expressions in a pipeline: conditions of tasks, selectors of loop items
 *
 * The language is the part of CEL that the KFP compiler writes, and what people write by hand in
 * its neighbourhood (spec section 13):
 *
 *     or    = and { "||" and }
 *     and   = rel { "&&" rel }
 *     rel   = unary { ("==" | "!=" | "<" | "<=" | ">" | ">=" | "in") unary }
 *     unary = { "!" | "-" } member
 *     member = primary { "." NAME | "[" or "]" | "." NAME "(" [or {"," or}] ")" }
 *     primary = NUMBER | STRING | "true" | "false" | "null" | NAME | NAME "(" or ")"
 *             | "(" or ")" | "[" [or {"," or}] "]"
 *
 * Functions: int double string bool size parseJson; methods: size startsWith endsWith contains.
 */
#ifndef PLAN_COND_H
#define PLAN_COND_H

#include "base/err.h"
#include "base/mem.h"
#include "spec/value.h"

/* cond_name_fn - what a free name stands for, such as "inputs"; NULL when there is no such name.
 * The value is borrowed until the evaluation ends. */
typedef const struct value *cond_name_fn(void *ctx, struct str name);

/* cond_check - is `text` well-formed? ERR_INPUT "column 12: want ...": columns are bytes from 1 */
int cond_check(struct str text, struct err *e);

/* cond_eval_in - the value of `text`
 *
 * a     what *out points to lives here or in the values that `name` answered
 * ERR_INPUT for a malformed text, and for one that has no value: an unknown key or name, text
 * compared with a number, int('x'). The message starts with the column. */
int cond_eval_in(struct arena *a, struct str text, cond_name_fn *name, void *ctx,
                 struct value *out, struct err *e);

#endif

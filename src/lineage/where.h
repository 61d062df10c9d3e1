/* SPDX-License-Identifier: Apache-2.0 */
/* where.h - inside lineage/ only: `--where 'rows > 10000 and name = "train"'`
 *
 *     where   := and ("or" and)*
 *     and     := unary ("and" unary)*
 *     unary   := "not" unary | "(" where ")" | KEY OP VALUE
 *     OP      := = == != <> < <= > >=
 *     VALUE   := number | 'text' | "text" | true | false | word
 *
 * KEY is a metadata key, dotted when nested ("train.rows"), or one of name, type, kind,
 * size, files, created, task, run, pipeline. metadata.KEY is always metadata. A quote
 * inside a text is written twice.
 */
#ifndef LINEAGE_WHERE_H
#define LINEAGE_WHERE_H

#include "base/mem.h"
#include "lineage/sql.h"

struct where_value {
    bool is_text;
    double num;
    struct str text;
};
struct where {
    struct buf sql; /* an expression over artifact a and type y, values as ? */
    struct where_value *values;
    size_t n_values;
};

/* where_parse - values and texts live in the arena, sql is for buf_done. ERR_INPUT with
 * the position, ERR_LIMIT past 4 KiB or 64 parentheses */
int where_parse(struct arena *a, struct str text, struct where *out, struct err *e);
void where_bind(const struct where *w, struct q *q);

#endif

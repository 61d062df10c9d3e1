/* SPDX-License-Identifier: Apache-2.0 */
/* where.h - the query language: `dugout query` and `artifacts --where`
 *
 *     query     := [TYPE | "artifacts"] ["where" where] ["order" "by" ["-"] KEY
 * ["desc"]]
 *                  ["limit" N]
 *     where     := and ("or" and)*
 *     and       := unary ("and" unary)*
 *     unary     := "not" unary | "(" where ")" | relation | test
 *     relation  := REL TYPE | REL [TYPE "."] test | REL [TYPE] "(" where ")"
 *     REL       := "upstream" | "downstream" | "input" | "identical"
 *     test      := KEY OP VALUE | KEY ["not"] "in" "(" VALUE ("," VALUE)* ")"
 *                | "has" KEY | "revoked"
 *     OP        := = == != <> < <= > >= ~          (~: a pattern with * and ?)
 *     VALUE     := number | 'text' | "text" | true | false | word
 *
 * TYPE is "Model", "system.Model" or 'any text': a word counts as one when its last
 * part begins with a capital. KEY is one of the fields below; "param.NAME", an input
 * parameter of the task that gave the artifact out; else a metadata key, dotted when
 * nested
 * ("train.rows"). "metadata.KEY" is always metadata, so is a KEY in quotes. A quote
 * inside a text is written twice.
 *
 *     id name type kind size files created state digest source uri tag revoked
 *     task run pipeline experiment image component code          (who gave it out)
 *
 * `upstream Dataset.rows > 10000` holds for an artifact when a dataset with that many
 * rows is anywhere upstream of it; `input` looks at what its producer read, `identical`
 * at other artifacts with the same bytes.
 */
#ifndef LINEAGE_WHERE_H
#define LINEAGE_WHERE_H

#include "base/err.h"
#include "base/mem.h"

enum where_kind {
    WHERE_AND,
    WHERE_OR,
    WHERE_NOT,
    WHERE_TEST,
    WHERE_HAS,
    WHERE_RELATION
};
enum where_op { OP_EQ, OP_NE, OP_LT, OP_LE, OP_GT, OP_GE, OP_LIKE, OP_HAS };
enum where_relation { REL_UPSTREAM, REL_DOWNSTREAM, REL_INPUT, REL_IDENTICAL };
enum where_field {
    FIELD_METADATA,
    FIELD_PARAM,
    FIELD_ID,
    FIELD_NAME,
    FIELD_TYPE,
    FIELD_KIND,
    FIELD_SIZE,
    FIELD_FILES,
    FIELD_CREATED,
    FIELD_STATE,
    FIELD_DIGEST,
    FIELD_SOURCE,
    FIELD_URI,
    FIELD_TAG,
    FIELD_REVOKED,
    FIELD_TASK,
    FIELD_RUN,
    FIELD_PIPELINE,
    FIELD_EXPERIMENT,
    FIELD_IMAGE,
    FIELD_COMPONENT,
    FIELD_CODE,
};

struct where_value {
    bool is_text;
    double num;
    struct str text; /* as written, of a number too */
};
struct where_node {
    enum where_kind kind;
    struct where_node *left, *right; /* NOT and RELATION have a left only; that of a
                                        relation may be NULL: any artifact will do */
    enum where_field field;          /* TEST, HAS */
    struct str key;                  /* of metadata or a parameter */
    enum where_op op;
    struct where_value value;
    enum where_relation relation;
    struct str type; /* of a relation; empty = any */
};

struct query {
    struct str type;          /* empty = any */
    struct where_node *where; /* NULL = all */
    struct str sort;          /* a key of metadata, or a field: see sort_field */
    enum where_field sort_field;
    bool descending;
    int64_t limit;  /* 0 = not said */
    bool any_state; /* it asks about the state: do not hide what is gone */
};

/* query_parse_where (a condition alone), query_parse - everything given lives in the
 * arena. ERR_INPUT with the position of what is wrong, ERR_LIMIT past 4 KiB or 64
 * levels. An empty text is all. */
int query_parse_where(struct arena *a, struct str text, struct query *out,
                      struct err *e);
int query_parse(struct arena *a, struct str text, struct query *out, struct err *e);
/* query_sort - "-f1", "size": as behind `order by` */
int query_sort(struct arena *a, struct str text, struct query *out, struct err *e);

#endif

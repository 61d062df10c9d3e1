/* SPDX-License-Identifier: Apache-2.0 */
/* tree.h - YAML or JSON text as nodes that know their line and column
 *
 * Scalars keep their text; what type a plain one has is decided when somebody asks
 * (node_type), by the rules of PyYAML, which writes these files. Nodes live in one
 * arena.
 */
#ifndef SPEC_TREE_H
#define SPEC_TREE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/mem.h"
#include "spec/pos.h"
#include "spec/value.h"

enum node_kind { NODE_SCALAR, NODE_LIST, NODE_MAP };

struct node {
    enum node_kind kind;
    bool plain;            /* a scalar without quotes: its text decides its type */
    struct pos pos;        /* of its first character */
    const struct node *up; /* NULL at the top of a document; for messages */
    struct str text;       /* scalars; a NUL follows */
    struct member
        *members; /* of a map, in document order, unique; of a list: without keys */
    size_t n;
    size_t
        weight; /* nodes in it, itself too, aliases counted as often as they are used */
};

struct member {
    struct str key;
    struct pos key_pos;
    struct node *value;
};

struct tree {
    struct node **docs; /* documents that hold something */
    size_t n_docs;
};

/* tree_read_in - YAML stream, or JSON when the text begins with an object in quotes
 *
 * text   borrowed for the call
 *
 * ERR_INPUT with "file:line:col: what" for bytes that are not UTF-8, bad syntax, a key
 * given twice, an alias inside its own anchor, tags of other types; ERR_LIMIT past
 * LIMIT_SPEC_BYTES, LIMIT_SPEC_DEPTH or LIMIT_SPEC_NODES (aliases counted each time).
 */
int tree_read_in(struct arena *a, struct str file, struct str text, struct tree *out,
                 struct err *e);

/* the member called `key`, NULL when absent or n is no map */
const struct node *node_member(const struct node *n, const char *key);

/* node_is_key - is `key` the field `camel`, written "camelCase" or "snake_case"? */
bool node_is_key(struct str key, const char *camel);

/* node_type - what a node is. A plain scalar: PyYAML's null, bool, int and float
 * (YAML 1.1: yes and off are bools, 0x1F and 017 are numbers, 1e5 is text) */
enum value_kind node_type(const struct node *n);
/* node_number - the number of a scalar whose type is VALUE_NUMBER */
double node_number(const struct node *n);
bool node_bool(const struct node *n); /* of one whose type is VALUE_BOOL */
static inline bool node_is_null(const struct node *n)
{
    return !n || node_type(n) == VALUE_NULL;
}

/* node_value_in - a node as a value in `a`. ERR_INPUT for .inf and .nan, and for plain
 * 12:30, which is a number of base 60 to PyYAML and text to others; ERR_LIMIT past
 * VALUE_DEPTH_MAX */
int node_value_in(struct arena *a, struct str file, const struct node *n,
                  struct value *out, struct err *e);

/* node_path - "root.dag.tasks.train.inputs", list items as "[2]"; the end of a long one
 */
void node_path(const struct node *n, char out[200]);

/* Building: yaml.c and jsontext.c call these in document order. The builder owns heap
 * memory until tree_build_done(). */
struct tree_open {
    struct node *node;
    size_t first;
    struct str key; /* its own, while it is open */
    struct pos key_pos;
};
struct tree_build {
    struct arena *a;
    struct str file;
    struct member *members; /* of all open containers, one after the other */
    size_t n_members, cap;
    struct tree_open open[LIMIT_SPEC_DEPTH];
    size_t depth;
    struct str key; /* waiting for its value */
    struct pos key_pos;
    bool has_key;
    size_t nodes;
    struct tree tree;
};
void tree_build_init(struct tree_build *t, struct arena *a, struct str file);
void tree_build_done(struct tree_build *t);
/* is the next scalar a key? */
bool tree_build_wants_key(const struct tree_build *t);
int tree_build_key(struct tree_build *t, struct str text, struct pos at, struct err *e);
/* text is copied; *out (may be NULL) is the new node */
int tree_build_scalar(struct tree_build *t, struct str text, bool plain, struct pos at,
                      struct node **out, struct err *e);
int tree_build_open(struct tree_build *t, enum node_kind kind, struct pos at,
                    struct node **out, struct err *e);
int tree_build_close(struct tree_build *t, struct err *e);
/* put a finished node in again */
int tree_build_alias(struct tree_build *t, struct node *n, struct pos at,
                     struct err *e);

/* line and column of a byte offset */
struct pos tree_pos(struct str text, size_t offset);

int yaml_read(struct tree_build *t, struct str text, struct err *e);
int jsontext_read(struct tree_build *t, struct str text, struct err *e);

#endif

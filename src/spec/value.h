/* SPDX-License-Identifier: Apache-2.0 */
/* value.h - the JSON-like values that parameters carry
 *
 * Numbers are IEEE doubles throughout, as in protobuf's Value. Everything lives in the
 * arena it was made in; strings are followed by a NUL.
 */
#ifndef SPEC_VALUE_H
#define SPEC_VALUE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"

/* no value is nested deeper, so that it can be written inside of other JSON
 * (LIMIT_JSON_DEPTH) */
#define VALUE_DEPTH_MAX 48

enum value_kind {
    VALUE_NULL,
    VALUE_BOOL,
    VALUE_NUMBER,
    VALUE_STRING,
    VALUE_LIST,
    VALUE_STRUCT
};

struct value {
    enum value_kind kind;
    bool b;
    double n;
    struct str s;
    struct value *items; /* list items, or struct member values */
    struct str *keys;    /* struct member names, document order, unique */
    size_t n_items;
};

enum param_type {
    PARAM_UNSPECIFIED,
    PARAM_INTEGER,
    PARAM_DOUBLE,
    PARAM_STRING,
    PARAM_BOOLEAN,
    PARAM_LIST,
    PARAM_STRUCT,
    PARAM_FINAL_STATUS,
    PARAM_TASK_CONFIG,
};

const char *param_type_name(enum param_type t); /* "NUMBER_INTEGER" ... */
const char *value_kind_name(
    enum value_kind k); /* "null", "bool", "number", "string", "list", "struct" */

/* value_member - member of a struct, NULL when absent or v is no struct */
const struct value *value_member(const struct value *v, struct str key);
bool value_equal(const struct value *a,
                 const struct value *b); /* deep; struct order is ignored */

/* value_from_json_in - strings are copied. Of
 * members with one name the last is kept. value_parse_in reads JSON text (ERR_INPUT),
 * at most LIMIT_VALUE_BYTES long and VALUE_DEPTH_MAX deep (ERR_LIMIT) */
struct value value_from_json_in(struct arena *a, json *j);
int value_parse_in(struct arena *a, struct str json_text, struct value *out,
                   struct err *e);
struct value value_string_in(struct arena *a, struct str s); /* copies */
struct value value_copy_in(struct arena *a, const struct value *v);

void value_write(
    struct jw *w,
    const struct value *v); /* compact JSON; integral doubles w/o fraction */
void value_to_json(struct buf *b, const struct value *v);
/* value_canonical - as JSON with struct keys sorted by bytes: for digests */
void value_canonical(struct buf *b, const struct value *v);
/* value_text - the text form of section 4: strings as they are, null empty, the rest
 * JSON */
void value_text(struct buf *b, const struct value *v);

/* value_check_in - does v fit the declared type? STRING takes anything and *v becomes
 * its text form in `a`; NUMBER_INTEGER wants an integral number; UNSPECIFIED takes all.
 * null fits STRING (as empty text) and UNSPECIFIED only. ERR_INPUT "want
 * NUMBER_INTEGER, got string \"x\"". Used for inputs of tasks. */
int value_check_in(struct arena *a, enum param_type type, struct value *v,
                   struct err *e);
/* value_check_strict - as value_check_in, but STRING takes only strings: root
 * parameters */
int value_check_strict(enum param_type type, const struct value *v, struct err *e);

/* value_from_file_text_in - content of an output parameter file (table of section 4);
 * ERR_INPUT when it does not fit the type, a STRING that is not UTF-8 too */
int value_from_file_text_in(struct arena *a, enum param_type type, struct str text,
                            struct value *out, struct err *e);
/* value_from_flag_in - NAME=VALUE of the command line, read by the declared type: a
 * STRING is the text as it is; numbers, true/false, JSON lists and structs otherwise. A
 * parameter of no declared type takes JSON, else text. An integer that a double would
 * round is ERR_INPUT here (a file's is rounded) */
int value_from_flag_in(struct arena *a, enum param_type type, struct str text,
                       struct value *out, struct err *e);

#endif

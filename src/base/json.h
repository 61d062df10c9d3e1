/* SPDX-License-Identifier: Apache-2.0 */
/* json.h - getters over yyjson that fail with a path
 *
 * `path` is dotted keys and numeric indexes: "config.digest", "layers.0.size". All
 * getters borrow; strings point into the document. Documents come from json_parse
 * (depth- and size-limited), are freed with json_free / AUTO_JSON.
 */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stdint.h>
#include <yyjson.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

typedef yyjson_val json; /* an immutable value, borrowed from its document */

/* ERR_CORRUPT with the byte offset on bad JSON; ERR_LIMIT over max_bytes or depth 64 */
int json_parse(struct str text, size_t max_bytes, yyjson_doc **gives, struct err *e);
void auto_json(yyjson_doc **doc);
#define AUTO_JSON __attribute__((cleanup(auto_json)))

json *json_at(json *root, const char *path); /* NULL when absent */
int json_str(json *root, const char *path, struct str *out, struct err *e);
/* json_cstr - as json_str, for what is used up to its NUL: ERR_CORRUPT when one is in
 * it */
int json_cstr(json *root, const char *path, struct str *out, struct err *e);
int json_str_opt(json *root, const char *path, struct str *out,
                 struct err *e); /* absent/null: unchanged */
int json_i64(json *root, const char *path, int64_t *out, struct err *e);
/* json_i64_in - ERR_CORRUPT too when it is below low or above high: for what becomes a
 * narrower type, or an enum */
int json_i64_in(json *root, const char *path, int64_t low, int64_t high, int64_t *out,
                struct err *e);
int json_i64_opt(json *root, const char *path, int64_t *out, struct err *e);
int json_bool_opt(json *root, const char *path, bool *out, struct err *e);
int json_arr(json *root, const char *path, json **out, struct err *e); /* want array */
int json_obj(json *root, const char *path, json **out, struct err *e); /* want object */
/* json_words_in - an array of strings, as a NULL-terminated array of copies;
 * ERR_CORRUPT as json_cstr */
int json_words_in(struct arena *a, json *root, const char *path, char ***out, size_t *n,
                  struct err *e);
static inline struct str json_as_str(json *v) /* empty when it is no string */
{
    return (struct str){yyjson_is_str(v) ? yyjson_get_str(v) : "",
                        yyjson_is_str(v) ? yyjson_get_len(v) : 0};
}

/* Writing: compact JSON straight into a buf. The writer puts the commas. */
struct jw {
    struct buf *b;
    unsigned depth; /* open objects and arrays */
    bool comma;     /* what comes next is not the first where it stands */
    bool after_key;
};
void jw_init(struct jw *w, struct buf *b);
void jw_obj(struct jw *w);
void jw_end_obj(struct jw *w);
void jw_arr(struct jw *w);
void jw_end_arr(struct jw *w);
void jw_key(struct jw *w, const char *key);
void jw_keystr(struct jw *w, struct str key);
void jw_str(struct jw *w, struct str s);
void jw_strz(struct jw *w, const char *z); /* NULL -> null */
void jw_i64(struct jw *w, int64_t v);
void jw_num(struct jw *w,
            double v); /* integral below 2^53 prints without fraction, else shortest */
void jw_bool(struct jw *w, bool v);
void jw_null(struct jw *w);
void jw_raw(struct jw *w, struct str json_text); /* already JSON */
/* key + value in one call */
#define jw_kstr(w, k, v) (jw_key(w, k), jw_strz(w, v))
#define jw_ki64(w, k, v) (jw_key(w, k), jw_i64(w, v))
#define jw_kbool(w, k, v) (jw_key(w, k), jw_bool(w, v))
#define jw_kraw(w, k, v) (jw_key(w, k), jw_raw(w, str_of(v)))

/* json_number_text - the fewest of 15, 16 or 17 digits (fewer for subnormal numbers)
 * that read back equal; integral below 2^53 without fraction; "null" for what JSON
 * cannot say */
void json_number_text(double v, char out[32]);

#endif

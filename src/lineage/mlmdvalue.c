/* SPDX-License-Identifier: Apache-2.0 */
/* mlmdvalue.c - properties as ML Metadata stores them
 *
 * A property is a row with exactly one of its value columns set. JSON that is no scalar
 * goes into string_value as "mlmd-struct::" and the base64 of a serialised protobuf
 * Struct:
 *
 *     Struct     repeated field 1: entry { 1: key string, 2: Value }
 *     Value      one of 1: null (varint 0), 2: number (fixed64 double), 3: string, 4:
 * bool, 5: Struct, 6: ListValue ListValue  repeated field 1: Value
 *
 * That is all of protobuf that is needed: a tag is (field << 3 | wire type), a message
 * is its length and its bytes. Members are written in order of their keys' bytes.
 *
 * Two values cannot be told as they are: a NUL ends a text for MLMD, so it becomes
 * U+FFFD, and SQLite turns NaN into NULL, which would break the reading of the whole
 * node, so it is the text "nan".
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "lineage/mlmd.h"

#define NAME_MAX_BYTES 255
#define PREFIX "mlmd-struct::"

enum wire { WIRE_VARINT = 0, WIRE_FIXED64 = 1, WIRE_BYTES = 2 };

static void put_varint(struct buf *b, uint64_t v)
{
    for (; v >= 0x80; v >>= 7)
        buf_addc(b, (char)(v | 0x80));
    buf_addc(b, (char)v);
}

static void put_tag(struct buf *b, unsigned field, enum wire wire)
{
    put_varint(b, field << 3 | wire);
}

static void put_bytes(struct buf *b, unsigned field, const void *bytes, size_t len)
{
    put_tag(b, field, WIRE_BYTES);
    put_varint(b, len);
    buf_add(b, bytes, len);
}

static void put_double(struct buf *b, unsigned field, double v)
{
    uint64_t bits;

    memcpy(&bits, &v, sizeof(bits));
    put_tag(b, field, WIRE_FIXED64);
    for (unsigned i = 0; i < 8; i++)
        buf_addc(b, (char)(bits >> 8 * i));
}

static void put_struct(struct buf *b, json *object);

static void put_value(struct buf *b, json *v)
{
    AUTO_BUF struct buf inner = {0};
    json *item;
    size_t i, max;

    if (yyjson_is_num(v)) {
        put_double(b, 2, yyjson_get_num(v));
    } else if (yyjson_is_str(v)) {
        put_bytes(b, 3, yyjson_get_str(v), yyjson_get_len(v));
    } else if (yyjson_is_bool(v)) {
        put_tag(b, 4, WIRE_VARINT);
        put_varint(b, yyjson_get_bool(v));
    } else if (yyjson_is_obj(v)) {
        put_struct(&inner, v);
        put_bytes(b, 5, inner.ptr, inner.len);
    } else if (yyjson_is_arr(v)) {
        yyjson_arr_foreach(v, i, max, item)
        {
            AUTO_BUF struct buf one = {0};
            put_value(&one, item);
            put_bytes(&inner, 1, one.ptr, one.len);
        }
        put_bytes(b, 6, inner.ptr, inner.len);
    } else {
        put_tag(b, 1, WIRE_VARINT);
        put_varint(b, 0);
    }
}

struct member {
    yyjson_val *key, *value;
};

static int by_key(const void *p, const void *q)
{
    struct str a = json_as_str(((const struct member *)p)->key);
    struct str b = json_as_str(((const struct member *)q)->key);
    int d = memcmp(a.ptr, b.ptr, a.len < b.len ? a.len : b.len);

    return d ? d : a.len < b.len ? -1 : a.len > b.len;
}

static void put_entry(struct buf *b, struct str key, json *value)
{
    AUTO_BUF struct buf entry = {0};
    AUTO_BUF struct buf inner = {0};

    put_bytes(&entry, 1, key.ptr, key.len);
    put_value(&inner, value);
    put_bytes(&entry, 2, inner.ptr, inner.len);
    put_bytes(b, 1, entry.ptr, entry.len);
}

static void put_struct(struct buf *b, json *object)
{
    struct member *m = xalloc((yyjson_obj_size(object) + 1) * sizeof(*m));
    yyjson_val *k, *v;
    size_t i, max;

    yyjson_obj_foreach(object, i, max, k, v) m[i] = (struct member){k, v};
    qsort(m, yyjson_obj_size(object), sizeof(*m), by_key);
    for (i = 0; i < yyjson_obj_size(object); i++)
        put_entry(b, json_as_str(m[i].key), m[i].value);
    free(m);
}

static void base64(const struct buf *in, struct buf *out)
{
    static const char digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    for (size_t i = 0; i < in->len; i += 3) {
        size_t n = in->len - i < 3 ? in->len - i : 3;
        uint32_t v = 0;
        for (size_t k = 0; k < 3; k++)
            v = v << 8 | (k < n ? (unsigned char)in->ptr[i + k] : 0);
        for (size_t k = 0; k < 4; k++)
            buf_addc(out, k <= n ? digits[v >> (18 - 6 * k) & 63] : '=');
    }
}

void mlmd_struct_text(json *object, struct buf *out)
{
    AUTO_BUF struct buf wire = {0};

    put_struct(&wire, object);
    buf_adds(out, PREFIX);
    base64(&wire, out);
}

/* ---- rows ---- */

struct value { /* one of them */
    const int64_t *i;
    const double *d;
    const struct str *s;
};

static int put(const struct mlmd_of *of, struct str name, struct value v, struct err *e)
{
    static const char artifact[] =
        "INSERT OR IGNORE INTO ArtifactProperty (artifact_id, name, is_custom_property,"
        " int_value, double_value, string_value) VALUES (?, ?, 1, ?, ?, ?)";
    static const char execution[] =
        "INSERT OR IGNORE INTO ExecutionProperty (execution_id, name, "
        "is_custom_property,"
        " int_value, double_value, string_value) VALUES (?, ?, 1, ?, ?, ?)";
    static const char context[] =
        "INSERT OR IGNORE INTO ContextProperty (context_id, name, is_custom_property,"
        " int_value, double_value, string_value) VALUES (?, ?, 1, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (!name.len || name.len > NAME_MAX_BYTES) {
        ++*of->dropped;
        return 0;
    }
    if (q_open(&q, of->m,
               of->node == MLMD_ARTIFACT    ? artifact
               : of->node == MLMD_EXECUTION ? execution
                                            : context,
               e) < 0)
        return -1;
    q_i64(&q, of->id);
    q_text(&q, name);
    v.i ? q_i64(&q, *v.i) : q_null(&q);
    v.d ? q_real(&q, *v.d) : q_null(&q);
    v.s ? q_text(&q, *v.s) : q_null(&q);
    return q_run(&q, e);
}

static int put_text(const struct mlmd_of *of, struct str name, struct str text,
                    struct err *e)
{
    AUTO_BUF struct buf clean = {0};

    if (!text.len || !memchr(text.ptr, 0, text.len))
        return put(
            of, name,
            (struct value){.s = &(struct str){text.len ? text.ptr : "", text.len}}, e);
    for (size_t i = 0; i < text.len; i++) {
        if (text.ptr[i])
            buf_addc(&clean, text.ptr[i]);
        else
            buf_adds(&clean, "\xef\xbf\xbd");
    }
    return put(of, name, (struct value){.s = &(struct str){clean.ptr, clean.len}}, e);
}

int mlmd_int(const struct mlmd_of *of, const char *name, int64_t v, struct err *e)
{
    return put(of, str_of(name), (struct value){.i = &v}, e);
}

int mlmd_text(const struct mlmd_of *of, const char *name, struct str v, struct err *e)
{
    return put_text(of, str_of(name), v, e);
}

/* {"list": v} or {"struct": v}, as KFP wraps what is no scalar */
static int put_wrapped(const struct mlmd_of *of, struct str name, json *v,
                       struct err *e)
{
    AUTO_BUF struct buf wire = {0};
    AUTO_BUF struct buf text = {0};
    struct str s;

    put_entry(&wire, yyjson_is_arr(v) ? STR("list") : STR("struct"), v);
    buf_adds(&text, PREFIX);
    base64(&wire, &text);
    s = (struct str){text.ptr, text.len};
    return put(of, name, (struct value){.s = &s}, e);
}

int mlmd_json(const struct mlmd_of *of, struct str name, json *v, struct err *e)
{
    double d = yyjson_get_num(v);
    int64_t i = yyjson_get_bool(v);

    if (yyjson_is_bool(v))
        return put(of, name, (struct value){.i = &i}, e);
    if (yyjson_is_num(v))
        return isnan(d) ? put_text(of, name, STR("nan"), e)
                        : put(of, name, (struct value){.d = &d}, e);
    if (yyjson_is_str(v))
        return put_text(of, name, json_as_str(v), e);
    if (yyjson_is_ctn(v))
        return put_wrapped(of, name, v, e);
    ++*of->dropped;
    return 0;
}

int mlmd_struct(const struct mlmd_of *of, const char *name, json *object, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct str s;

    mlmd_struct_text(object, &text);
    s = (struct str){text.ptr, text.len};
    return put(of, str_of(name), (struct value){.s = &s}, e);
}

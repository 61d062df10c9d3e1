/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a value: read by every declared type, written, read again: the same
 * value */
#include <stdint.h>

#include "spec/macro.h"
#include "spec/value.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void round_trip(struct arena *a, const struct value *v)
{
    AUTO_BUF struct buf text = {0}, again = {0}, canonical = {0};
    struct value back;
    struct err e = {.text = ""};

    value_to_json(&text, v);
    if (value_parse_in(a, (struct str){buf_str(&text), text.len}, &back, &e) < 0) {
        must(e.code == ERR_LIMIT); /* a string may hold a text that is nested deeper */
        return;
    }
    must(value_equal(v, &back));
    value_to_json(&again, &back);
    must(again.len == text.len &&
         memcmp(buf_str(&again), buf_str(&text), text.len) == 0);
    value_canonical(&text, v);
    value_canonical(&canonical, &back);
    must(text.len == canonical.len + again.len);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const enum param_type types[] = {
        PARAM_UNSPECIFIED, PARAM_INTEGER, PARAM_DOUBLE, PARAM_STRING,
        PARAM_BOOLEAN,     PARAM_LIST,    PARAM_STRUCT};
    struct macro_facts facts = {.run_uuid = STR("id"),
                                .current_unix_ms = 1772960707050};
    struct str text = {(const char *)data, size};
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf out = {0};

    for (size_t i = 0; i < N_ELEMS(types); i++) {
        struct value v = {.kind = VALUE_NULL};
        struct err e = {.text = ""};

        if (value_from_file_text_in(&a, types[i], text, &v, &e) < 0) {
            must(e.text[0]);
            continue;
        }
        must(value_check_strict(types[i], &v, &e) == 0);
        round_trip(&a, &v);
        if (value_from_flag_in(&a, types[i], text, &v, &e) == 0)
            round_trip(&a, &v);
        must(value_check_in(&a, PARAM_STRING, &v, &e) == 0 && v.kind == VALUE_STRING);
    }
    if (!macro_expand(text, &facts, &out))
        must(out.len == size && (!size || memcmp(buf_str(&out), data, size) == 0));
    return 0;
}

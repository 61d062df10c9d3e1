/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a condition: what is well-formed by cond_check() has a value or says why not, what
 * is malformed has none, and the answer is the same twice */
#include <stdint.h>

#include "plan/cond.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char world_json[] =
    "{\"inputs\":{\"parameter_values\":{\"n\":3,\"s\":\"heads\",\"l\":[1,\"x\",null],"
    "\"o\":{\"k\":1e300}},\"artifacts\":{\"m\":{\"artifacts\":[{\"metadata\":{\"f1\":0.9}}]}}}}";

static const struct value *name_of(void *ctx, struct str name)
{
    return value_member(ctx, name);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size, unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    AUTO_ARENA struct arena a = {0};
    struct value world, v = {.kind = VALUE_NULL}, again = {.kind = VALUE_NULL};
    struct err formed = {.text = ""}, e = {.text = ""}, e2 = {.text = ""};
    int well, rc;

    must(value_parse_in(&a, str_of(world_json), &world, &e) == 0);
    well = cond_check(text, &formed);
    rc = cond_eval_in(&a, text, name_of, &world, &v, &e);
    must(rc == 0 || e.text[0]);
    if (well < 0) {
        must(rc < 0 && strcmp(e.text, formed.text) == 0 && e.code == formed.code);
        return 0;
    }
    must(rc == cond_eval_in(&a, text, name_of, &world, &again, &e2));
    must(rc < 0 ? strcmp(e.text, e2.text) == 0
                : value_equal(&v, &again) || v.n != v.n || v.kind > VALUE_NUMBER);
    return 0;
}

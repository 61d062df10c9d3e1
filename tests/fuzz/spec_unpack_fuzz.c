/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as an archive with a pipeline in it */
#include <stdint.h>

#include "base/limits.h"
#include "spec/pipeline.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str bytes = {(const char *)data, size};
    struct buf out = {0};
    struct err e = {.text = ""};

    if (pipeline_unpack(bytes, STR("f"), &out, &e) == 0)
        must(out.len <= LIMIT_SPEC_BYTES);
    else
        must(out.len == 0 && e.text[0]);
    buf_done(&out);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* spec_unpack_fuzz.c - any bytes as an archive with a pipeline in it
 *
 * Deflate and its sum stand in front of the tar in a tar.gz, so a blind change of it
 * hardly ever reaches the tar: it is unpacked, changed as a tar, and packed again.
 */
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdint.h>

#include "base/limits.h"
#include "spec/pipeline.h"
#include "tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define INNER_MAX 65000 /* one stored block */

static size_t gunzip(const uint8_t *data, size_t size, uint8_t *out)
{
    static struct inflate_state z;

    isal_inflate_init(&z);
    z.crc_flag = ISAL_GZIP;
    z.next_in = (uint8_t *)(uintptr_t)data;
    z.avail_in = (uint32_t)size;
    z.next_out = out;
    z.avail_out = INNER_MAX;
    return isal_inflate(&z) == ISAL_DECOMP_OK && z.block_state == ISAL_BLOCK_FINISH
               ? INNER_MAX - z.avail_out
               : 0;
}

static void put_le(uint8_t *p, size_t v, size_t bytes)
{
    for (size_t i = 0; i < bytes; i++, v >>= 8)
        p[i] = (uint8_t)v;
}

/* header, one stored block, sum and length */
static size_t gzip(const uint8_t *in, size_t n, uint8_t *out, size_t room)
{
    static const uint8_t head[] = {0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1};

    if (n + sizeof head + 12 > room)
        return 0;
    memcpy(out, head, sizeof head);
    out += sizeof head;
    put_le(out, n, 2);
    put_le(out + 2, ~n, 2);
    memcpy(out + 4, in, n);
    put_le(out + 4 + n, crc32_gzip_refl(0, in, n), 4);
    put_le(out + 8 + n, n, 4);
    return n + sizeof head + 12;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    static uint8_t tar[INNER_MAX];
    size_t n = size > 18 && data[0] == 0x1f && seed % 8 ? gunzip(data, size, tar) : 0;

    if (n)
        n = gzip(tar, tar_mutate(tar, n, INNER_MAX, seed), data, max_size);
    return n ? n : LLVMFuzzerMutate(data, size, max_size);
}

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

/* SPDX-License-Identifier: Apache-2.0 */
/* uuid5.c - UUIDs that follow from a name (RFC 9562, version 5)
 *
 * The same database exported twice must name its tasks alike, so what other tools take
 * for the identity of a task is computed, not drawn. Version 5 wants SHA-1 (FIPS
 * 180-4, 6.1). Nothing here rests on its strength, and nothing else in dugout uses it.
 */
#include "lineage/uuid5.h"

#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/err.h"
#include "lineage/sql.h"

#define BLOCK 64

static uint32_t rol(uint32_t x, unsigned n)
{
    return x << n | x >> (32 - n);
}

static void sha1_block(uint32_t h[5], const uint8_t *p)
{
    static const uint32_t k[4] = {0x5a827999, 0x6ed9eba1, 0x8f1bbcdc, 0xca62c1d6};
    uint32_t w[80], a = h[0], b = h[1], c = h[2], d = h[3], e = h[4];

    for (unsigned i = 0; i < 16; i++)
        w[i] = (uint32_t)p[4 * i] << 24 | (uint32_t)p[4 * i + 1] << 16 |
               (uint32_t)p[4 * i + 2] << 8 | p[4 * i + 3];
    for (unsigned i = 16; i < 80; i++)
        w[i] = rol(w[i - 3] ^ w[i - 8] ^ w[i - 14] ^ w[i - 16], 1);
    for (unsigned i = 0; i < 80; i++) {
        uint32_t f = i < 20              ? (b & c) | (~b & d)
                     : i >= 40 && i < 60 ? (b & c) | (b & d) | (c & d)
                                         : b ^ c ^ d;
        uint32_t t = rol(a, 5) + f + e + k[i / 20] + w[i];
        e = d;
        d = c;
        c = rol(b, 30);
        b = a;
        a = t;
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
    h[4] += e;
}

/* of a text that fits two blocks with its padding: a UUID and a short name */
static void sha1_short(const uint8_t *bytes, size_t len, uint8_t out[20])
{
    uint32_t h[5] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476, 0xc3d2e1f0};
    uint8_t padded[2 * BLOCK] = {0};
    size_t size = len + 9 <= BLOCK ? BLOCK : 2 * BLOCK;

    must(len + 9 <= sizeof(padded));
    memcpy(padded, bytes, len);
    padded[len] = 0x80;
    padded[size - 2] = (uint8_t)(len * 8 >> 8);
    padded[size - 1] = (uint8_t)(len * 8);
    for (size_t i = 0; i < size; i += BLOCK)
        sha1_block(h, padded + i);
    for (size_t i = 0; i < 20; i++)
        out[i] = (uint8_t)(h[i / 4] >> (24 - 8 * (i % 4)));
}

bool uuid5(struct str space, struct str name, char out[37])
{
    uint8_t text[2 * BLOCK - 9], hash[20];
    char digits[33], hex[33];
    size_t n = 0;

    for (size_t i = 0; i < space.len && n < 32; i++)
        if (space.ptr[i] != '-')
            digits[n++] = space.ptr[i];
    if (space.len != 36 || n != 32 || !hex_bytes((struct str){digits, 32}, text, 16))
        return false;
    must(name.len <= sizeof(text) - 16);
    memcpy(text + 16, name.ptr, name.len);
    sha1_short(text, 16 + name.len, hash);
    hash[6] = (uint8_t)((hash[6] & 0x0f) | 0x50);
    hash[8] = (uint8_t)((hash[8] & 0x3f) | 0x80);
    hex_of(hash, 16, hex);
    (void)snprintf(out, 37, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12,
                   hex + 16, hex + 20);
    return true;
}

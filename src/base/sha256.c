/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.c - SHA-256 of FIPS 180-4, also with the SHA instructions of x86-64
 *
 * Two functions do whole blocks, chosen once by what the processor has (musl has no ifunc). The portable
 * one is section 6.2 of the standard with its loops unrolled, so that eight variables
 * can stay in registers. The other goes by Intel's description of SHA256RNDS2 (two
 * rounds on state words ABEF and CDGH) and SHA256MSG1/MSG2 (message schedule, four
 * words at a time) and is about five times as fast.
 */
#include "base/sha256.h"

#include <stdio.h>

#include "base/cpu.h"

#if defined(__x86_64__)
#include <immintrin.h>
#endif

static const uint32_t k256[64] = {
    0x428a2f98, 0x71374491, 0xb5c0fbcf, 0xe9b5dba5, 0x3956c25b, 0x59f111f1, 0x923f82a4,
    0xab1c5ed5, 0xd807aa98, 0x12835b01, 0x243185be, 0x550c7dc3, 0x72be5d74, 0x80deb1fe,
    0x9bdc06a7, 0xc19bf174, 0xe49b69c1, 0xefbe4786, 0x0fc19dc6, 0x240ca1cc, 0x2de92c6f,
    0x4a7484aa, 0x5cb0a9dc, 0x76f988da, 0x983e5152, 0xa831c66d, 0xb00327c8, 0xbf597fc7,
    0xc6e00bf3, 0xd5a79147, 0x06ca6351, 0x14292967, 0x27b70a85, 0x2e1b2138, 0x4d2c6dfc,
    0x53380d13, 0x650a7354, 0x766a0abb, 0x81c2c92e, 0x92722c85, 0xa2bfe8a1, 0xa81a664b,
    0xc24b8b70, 0xc76c51a3, 0xd192e819, 0xd6990624, 0xf40e3585, 0x106aa070, 0x19a4c116,
    0x1e376c08, 0x2748774c, 0x34b0bcb5, 0x391c0cb3, 0x4ed8aa4a, 0x5b9cca4f, 0x682e6ff3,
    0x748f82ee, 0x78a5636f, 0x84c87814, 0x8cc70208, 0x90befffa, 0xa4506ceb, 0xbef9a3f7,
    0xc67178f2,
};

static uint32_t ror(uint32_t x, unsigned n)
{
    return x >> n | x << (32 - n);
}

static uint32_t be32(const uint8_t *p)
{
    return (uint32_t)p[0] << 24 | (uint32_t)p[1] << 16 | (uint32_t)p[2] << 8 | p[3];
}

/* word i of the message schedule, from 16 on; it takes the place of word i - 16 */
static inline uint32_t schedule(uint32_t w[16], int i)
{
    uint32_t a = w[(i + 1) & 15], b = w[(i + 14) & 15];

    return w[i & 15] += (ror(a, 7) ^ ror(a, 18) ^ a >> 3) + w[(i + 9) & 15] +
                        (ror(b, 17) ^ ror(b, 19) ^ b >> 10);
}

/* Round i. The eight working variables stay where they are and change roles instead: a
 * is s[-i mod 8]. With i known to the compiler all of it stays in registers. */
static inline __attribute__((always_inline)) void round256(uint32_t s[8], int i,
                                                           uint32_t kw)
{
    uint32_t a = s[-i & 7], b = s[(1 - i) & 7], c = s[(2 - i) & 7];
    uint32_t e = s[(4 - i) & 7], f = s[(5 - i) & 7], g = s[(6 - i) & 7];
    uint32_t t = s[(7 - i) & 7] + (ror(e, 6) ^ ror(e, 11) ^ ror(e, 25)) +
                 (g ^ (e & (f ^ g))) + kw;

    s[(3 - i) & 7] += t;
    s[(7 - i) & 7] =
        t + (ror(a, 2) ^ ror(a, 13) ^ ror(a, 22)) + ((a & b) | (c & (a | b)));
}

static void blocks_portable(uint32_t state[8], const uint8_t *p, size_t n)
{
    uint32_t w[16], s[8];

    for (; n; n--, p += 64) {
        memcpy(s, state, sizeof s);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            w[i] = be32(p + 4 * i);
            round256(s, i, k256[i] + w[i]);
        }
        for (int i = 16; i < 64; i += 16) {
#pragma GCC unroll 16
            for (int k = 0; k < 16; k++)
                round256(s, k, k256[i + k] + schedule(w, k));
        }
        for (int i = 0; i < 8; i++)
            state[i] += s[i];
    }
}

#if defined(__x86_64__)
__attribute__((target("sha,sse4.1,ssse3"))) static void
blocks_sha_ni(uint32_t state[8], const uint8_t *p, size_t n)
{
    const __m128i swap = _mm_set_epi64x(0x0c0d0e0f08090a0bLL, 0x0405060700010203LL);
    __m128i lo = _mm_loadu_si128((const __m128i *)(const void *)state);
    __m128i hi = _mm_loadu_si128((const __m128i *)(const void *)(state + 4));
    __m128i abef, cdgh;

    lo = _mm_shuffle_epi32(lo, 0xb1);     /* CDAB */
    hi = _mm_shuffle_epi32(hi, 0x1b);     /* EFGH */
    abef = _mm_alignr_epi8(lo, hi, 8);    /* ABEF */
    cdgh = _mm_blend_epi16(hi, lo, 0xf0); /* CDGH */
    for (; n; n--, p += 64) {
        const __m128i abef_was = abef, cdgh_was = cdgh;
        __m128i m[4];

        for (int i = 0; i < 4; i++)
            m[i] = _mm_shuffle_epi8(
                _mm_loadu_si128((const __m128i *)(const void *)(p + 16 * i)), swap);
#pragma GCC unroll 16
        for (int i = 0; i < 16; i++) {
            __m128i wk = _mm_add_epi32(
                m[i & 3],
                _mm_loadu_si128((const __m128i *)(const void *)(k256 + 4 * i)));

            cdgh = _mm_sha256rnds2_epu32(cdgh, abef, wk);
            abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(wk, 0x0e));
            if (i < 12) { /* words 16 + 4i .. 19 + 4i take the place of 4i .. 4i + 3 */
                __m128i t = _mm_sha256msg1_epu32(m[i & 3], m[(i + 1) & 3]);
                t = _mm_add_epi32(t,
                                  _mm_alignr_epi8(m[(i + 3) & 3], m[(i + 2) & 3], 4));
                m[i & 3] = _mm_sha256msg2_epu32(t, m[(i + 3) & 3]);
            }
        }
        abef = _mm_add_epi32(abef, abef_was);
        cdgh = _mm_add_epi32(cdgh, cdgh_was);
    }
    lo = _mm_shuffle_epi32(abef, 0x1b); /* FEBA */
    hi = _mm_shuffle_epi32(cdgh, 0xb1); /* DCHG */
    _mm_storeu_si128((__m128i *)(void *)state, _mm_blend_epi16(lo, hi, 0xf0));
    _mm_storeu_si128((__m128i *)(void *)(state + 4), _mm_alignr_epi8(hi, lo, 8));
}
#endif

static void blocks(uint32_t state[8], const uint8_t *p, size_t n)
{
#if defined(__x86_64__)
    static int fast = -1;

    if (fast < 0)
        fast = cpu_has(CPU_SHA) && cpu_has(CPU_SSE4_1) && cpu_has(CPU_SSSE3);
    if (fast) {
        blocks_sha_ni(state, p, n);
        return;
    }
#endif
    blocks_portable(state, p, n);
}

void sha256_init(struct sha256 *h)
{
    static const uint32_t start[8] = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                      0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

    memcpy(h->state, start, sizeof start);
    h->total = 0;
}

void sha256_add(struct sha256 *h, const void *bytes, size_t len)
{
    const uint8_t *p = bytes;
    size_t have = h->total % 64;

    if (!len)
        return;
    h->total += len;
    if (have) {
        size_t take = len < 64 - have ? len : 64 - have;
        memcpy(h->block + have, p, take);
        p += take;
        len -= take;
        if (have + take < 64)
            return;
        blocks(h->state, h->block, 1);
    }
    if (len >= 64)
        blocks(h->state, p, len / 64);
    memcpy(h->block, p + (len & ~(size_t)63), len % 64);
}

void sha256_final(struct sha256 *h, uint8_t out[32])
{
    uint64_t bits = h->total * 8;
    size_t have = h->total % 64;

    h->block[have++] = 0x80;
    if (have > 56) {
        memset(h->block + have, 0, 64 - have);
        blocks(h->state, h->block, 1);
        have = 0;
    }
    memset(h->block + have, 0, 56 - have);
    for (int i = 0; i < 8; i++)
        h->block[56 + i] = (uint8_t)(bits >> (56 - 8 * i));
    blocks(h->state, h->block, 1);
    for (int i = 0; i < 32; i++)
        out[i] = (uint8_t)(h->state[i / 4] >> (24 - 8 * (i % 4)));
}

void sha256_final_hex(struct sha256 *h, char out[DIGEST_HEX])
{
    static const char digits[] = "0123456789abcdef";
    uint8_t raw[32];

    sha256_final(h, raw);
    for (int i = 0; i < 32; i++) {
        out[2 * i] = digits[raw[i] >> 4];
        out[2 * i + 1] = digits[raw[i] & 15];
    }
    out[64] = 0;
}

void sha256_hex(const void *bytes, size_t len, char out[DIGEST_HEX])
{
    struct sha256 h;

    sha256_init(&h);
    sha256_add(&h, bytes, len);
    sha256_final_hex(&h, out);
}

bool is_hex64_str(struct str s)
{
    if (s.len != 64)
        return false;
    for (size_t i = 0; i < 64; i++)
        if (!((s.ptr[i] >= '0' && s.ptr[i] <= '9') ||
              (s.ptr[i] >= 'a' && s.ptr[i] <= 'f')))
            return false;
    return true;
}

bool is_hex64(const char *z)
{
    return strnlen(z, 65) == 64 && is_hex64_str((struct str){z, 64});
}

bool digest_parse(struct str s, char out[DIGEST_HEX])
{
    if (!str_starts(s, "sha256:") || !is_hex64_str((struct str){s.ptr + 7, s.len - 7}))
        return false;
    memcpy(out, s.ptr + 7, 64);
    out[64] = 0;
    return true;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* sha256.h - FIPS 180-4 SHA-256, with the SHA extensions where the CPU has them */
#ifndef BASE_SHA256_H
#define BASE_SHA256_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

#define DIGEST_HEX 65 /* 64 lower-case hex digits and a NUL */

struct sha256 {
    uint32_t state[8];
    uint64_t total;
    uint8_t block[64];
};
void sha256_init(struct sha256 *h);
void sha256_add(struct sha256 *h, const void *bytes, size_t len);
void sha256_final(struct sha256 *h, uint8_t out[32]);
void sha256_final_hex(struct sha256 *h, char out[DIGEST_HEX]);
void sha256_hex(const void *bytes, size_t len, char out[DIGEST_HEX]);
bool is_hex64(const char *z); /* exactly 64 lower-case hex digits, then NUL */
bool is_hex64_str(struct str s);
/* digest_parse - "sha256:<64 hex>" -> out without the prefix; false on anything else */
bool digest_parse(struct str s, char out[DIGEST_HEX]);

#endif

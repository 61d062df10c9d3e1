/* SPDX-License-Identifier: Apache-2.0 */
/* utf8.c - is it UTF-8, and where is it not
 *
 * ASCII is skipped eight bytes at a time: pipeline files are almost nothing else. The
 * second byte of a sequence has the only ranges that depend on the first (they shut out
 * overlong forms, surrogates and code points past U+10FFFF), so one small switch says
 * it all.
 */
#include "spec/utf8.h"

#include <stdint.h>

/* the length of the valid sequence at p (2 to 4), 0 when there is none */
static size_t sequence(const unsigned char *p, size_t left)
{
    unsigned char low = 0x80, high = 0xBF;
    size_t len;

    if (p[0] >= 0xC2 && p[0] <= 0xDF)
        len = 2;
    else if ((p[0] & 0xF0) == 0xE0)
        len = 3;
    else if (p[0] >= 0xF0 && p[0] <= 0xF4)
        len = 4;
    else
        return 0;
    if (len > left)
        return 0;

    if (p[0] == 0xE0)
        low = 0xA0;
    else if (p[0] == 0xED)
        high = 0x9F;
    else if (p[0] == 0xF0)
        low = 0x90;
    else if (p[0] == 0xF4)
        high = 0x8F;
    if (p[1] < low || p[1] > high)
        return 0;
    for (size_t i = 2; i < len; i++) {
        if ((p[i] & 0xC0) != 0x80)
            return 0;
    }
    return len;
}

bool utf8_check(struct str s, size_t *bad_at)
{
    const unsigned char *p = (const unsigned char *)s.ptr;
    size_t i = 0;

    while (i < s.len) {
        uint64_t eight;

        if (i + sizeof(eight) <= s.len) {
            memcpy(&eight, p + i, sizeof(eight));
            if (!(eight & 0x8080808080808080ULL)) {
                i += sizeof(eight);
                continue;
            }
        }
        size_t len = p[i] < 0x80 ? 1 : sequence(p + i, s.len - i);

        if (!len) {
            if (bad_at)
                *bad_at = i;
            return false;
        }
        i += len;
    }
    return true;
}

size_t utf8_put(unsigned code, char out[4])
{
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xE0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3F));
        out[2] = (char)(0x80 | (code & 0x3F));
        return 3;
    }
    out[0] = (char)(0xF0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3F));
    out[2] = (char)(0x80 | (code >> 6 & 0x3F));
    out[3] = (char)(0x80 | (code & 0x3F));
    return 4;
}

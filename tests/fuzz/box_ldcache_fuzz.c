/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as /etc/ld.so.cache: what can be read can be written and read again, the
 * same */
#include <stdint.h>

#include "box/ldcache.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0}, again = {0};
    struct ldcache_lib *libs = NULL, *copy = NULL;
    struct err e = {.text = ""};
    struct buf b = {0};
    size_t n = 0, m = 0;

    if (ldcache_read_in(&a, (struct str){(const char *)data, size}, &libs, &n, &e) ==
        0) {
        buf_init(&b, 0);
        ldcache_write(&b, libs, n); /* sorts them */
        must(ldcache_read_in(&again, (struct str){buf_str(&b), b.len}, &copy, &m, &e) ==
                 0 &&
             m == n);
        for (size_t i = 0; i < n; i++)
            must(strcmp(libs[i].name, copy[i].name) == 0 &&
                 strcmp(libs[i].path, copy[i].path) == 0 &&
                 libs[i].flags == copy[i].flags);
    } else {
        must((e.code == ERR_CORRUPT || e.code == ERR_LIMIT) && e.text[0]);
    }
    buf_done(&b);
    arena_done(&a);
    arena_done(&again);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ldcache.h - /etc/ld.so.cache, read and written without ldconfig */
#ifndef BOX_LDCACHE_H
#define BOX_LDCACHE_H

#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

#define LIMIT_LDCACHE_BYTES (16ULL * 1024 * 1024) /* a full desktop has 200 KiB */

struct ldcache_lib {
    const char *name,
        *path;     /* "libcuda.so.1", "/usr/lib/x86_64-linux-gnu/libcuda.so.1" */
    int32_t flags; /* kind of library and ABI, LDCACHE_NATIVE for ours */
};

#if defined(__x86_64__)
#define LDCACHE_NATIVE 0x0303
#elif defined(__aarch64__)
#define LDCACHE_NATIVE 0x0a03
#else
#define LDCACHE_NATIVE 0x0003
#endif

/* ldcache_read_in - the libraries of a cache file, in its order; the bytes are foreign
 *
 * Variants for special CPUs (hwcap) are left out: the plain ones serve as well. Names
 * and paths are copied into a. ERR_CORRUPT for anything that is not the format of
 * glibc 2.2 or later, alone or behind the older one; ERR_LIMIT over
 * LIMIT_LDCACHE_BYTES. */
int ldcache_read_in(struct arena *a, struct str bytes, struct ldcache_lib **out,
                    size_t *n, struct err *e);

/* ldcache_write - append a cache file of these libraries; of equal names the earlier
 * one wins. The array is sorted on the way. */
void ldcache_write(struct buf *out, struct ldcache_lib *libs, size_t n);

#endif

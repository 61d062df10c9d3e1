/* SPDX-License-Identifier: Apache-2.0 */
/* image_inflate_fuzz.c - the bytes as a gzip, zstd or plain stream
 *
 * The same bytes are read from memory into one large buffer and from a file into a
 * small one; both must give the same output and the same verdict. The first byte says
 * how small.
 */
#include <stdint.h>
#include <sys/mman.h>

#include "image/inflate.h"
#include "place.h"

#define OUT_MAX (4 << 20)

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct answer {
    int rc;
    size_t len;
    char hex[DIGEST_HEX];
};

static struct answer inflate_all(const struct bytes_src *src, size_t step)
{
    AUTO_FREE uint8_t *out = xalloc(step);
    struct inflate_opts o = {.max_bytes = OUT_MAX};
    struct answer a = {.rc = -1};
    struct inflate *z = NULL;
    struct sha256 h;
    struct err e = {0};
    size_t got = 0;

    sha256_init(&h);
    a.rc = inflate_open(src, &o, &z, &e);
    while (a.rc == 0 && (a.rc = inflate_read(z, out, step, &got, &e)) == 0 && got) {
        sha256_add(&h, out, got);
        a.len += got;
    }
    if (a.rc == 0) {
        char hex[DIGEST_HEX], want[DIGEST_HEX];
        uint64_t bytes;
        inflate_rest(z, hex, &bytes);
        must(bytes == src->size);
        if (src->mem) {
            sha256_hex(src->mem, src->size, want);
            must(strcmp(hex, want) == 0);
        }
    } else {
        must(e.text[0] && e.code != ERR_NONE);
    }
    inflate_close(z);
    sha256_final_hex(&h, a.hex);
    return a;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct bytes_src mem, file;
    struct answer a, b;
    int fd;

    if (size < 2)
        return -1;
    fd = memfd_create("stream", MFD_CLOEXEC);
    must(fd >= 0 && write(fd, data + 1, size - 1) == (ssize_t)size - 1);
    mem = (struct bytes_src){.mem = data + 1, .size = size - 1};
    file = (struct bytes_src){.fd = fd, .size = size - 1};
    a = inflate_all(&mem, OUT_MAX + 1);
    b = inflate_all(&file, 1024 + data[0] * 64UL);
    must(a.rc == b.rc);
    if (a.rc == 0)
        must(a.len == b.len && strcmp(a.hex, b.hex) == 0);
    (void)close(fd);
    return 0;
}

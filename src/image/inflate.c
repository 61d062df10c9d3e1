/* SPDX-License-Identifier: Apache-2.0 */
/* inflate.c - gzip by igzip, zstd, or nothing, told by the first bytes and not by a
 * name
 *
 * Every byte read passes through refill(), which hashes it and hands it to the store;
 * so one pass verifies the archive, keeps it, and unpacks it. What follows the end of
 * the compressed data is part of the blob too and must pass through here before the
 * hash counts.
 *
 * igzip inflates about four times as fast as zlib. Its window is the output buffer
 * itself when that is large, which is why callers pass buffers of half a mebibyte.
 */
#include "image/inflate.h"

#include <errno.h>
#include <isa-l/igzip_lib.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zstd.h>

#include "base/limits.h"
#include "base/mem.h"

#define IN_BYTES (256 * 1024)

struct inflate {
    struct bytes_src src;
    struct inflate_opts opts;
    enum zip_format format;
    uint8_t *own;      /* IN_BYTES, unless the source is memory */
    const uint8_t *in; /* what was read and not yet used */
    size_t in_len;
    bool in_end; /* the source has no more */
    bool done;   /* the decompressed data has ended */
    struct sha256 hash;
    uint64_t in_total, out_total;
    struct inflate_state *gzip;
    bool member_open;
    ZSTD_DStream *zstd;
    bool frame_open;
};

static ssize_t read_some(struct inflate *z, uint8_t *p, size_t cap)
{
    ssize_t n;

    if (!z->src.stream) {
        uint64_t left = z->src.size - z->in_total;
        cap = left < cap ? (size_t)left : cap;
    }
    do {
        n = z->src.stream
                ? read(z->src.fd, p, cap)
                : pread(z->src.fd, p, cap, (off_t)(z->src.offset + z->in_total));
    } while (n < 0 && errno == EINTR);
    return n;
}

static int pass(struct inflate *z, const uint8_t *p, size_t n, struct err *e)
{
    sha256_add(&z->hash, p, n);
    if (z->opts.tee && blob_writer_add(z->opts.tee, p, n, e) < 0)
        return -1;
    if (z->opts.counter)
        atomic_fetch_add_explicit(z->opts.counter, n, memory_order_relaxed);
    z->in_total += n;
    return 0;
}

static int at_end(struct inflate *z, struct err *e)
{
    z->in_end = true;
    if (!z->src.stream && z->in_total < z->src.size)
        return err_set(e, ERR_CORRUPT, "the file ends early, %llu bytes are missing",
                       (unsigned long long)(z->src.size - z->in_total));
    return 0;
}

/* more input behind what is left of it; nothing more sets in_end */
static int refill(struct inflate *z, struct err *e)
{
    if (z->in_end)
        return 0;
    if (z->src.mem) {
        z->in = z->src.mem;
        z->in_len = (size_t)z->src.size;
        z->in_end = true;
        return pass(z, z->in, z->in_len, e);
    }
    if (z->in_len)
        memmove(z->own, z->in, z->in_len);
    z->in = z->own;
    ssize_t n = read_some(z, z->own + z->in_len, IN_BYTES - z->in_len);
    if (n < 0)
        return err_sys(e, errno, "read archive");
    if (n == 0)
        return at_end(z, e);
    z->in_len += (size_t)n;
    return pass(z, z->in + z->in_len - n, (size_t)n, e);
}

static bool starts(const struct inflate *z, const char *magic, size_t len)
{
    return z->in_len >= len && memcmp(z->in, magic, len) == 0;
}

static int sniff(struct inflate *z, struct err *e)
{
    while (z->in_len < 6 && !z->in_end)
        if (refill(z, e) < 0)
            return -1;
    if (starts(z, "\x1f\x8b", 2))
        z->format = ZIP_GZIP;
    else if (starts(z, "\x28\xb5\x2f\xfd", 4))
        z->format = ZIP_ZSTD;
    else if (z->in_len >= 4 && (z->in[0] & 0xf0) == 0x50 &&
             memcmp(z->in + 1, "\x2a\x4d\x18", 3) == 0)
        z->format = ZIP_ZSTD; /* a skippable frame first */
    else if (starts(z, "BZh", 3))
        return err_set(e, ERR_INPUT,
                       "it is compressed with bzip2, which is not read here: "
                       "unpack it with bunzip2 first");
    else if (starts(z,
                    "\xfd"
                    "7zXZ\0",
                    6))
        return err_set(e, ERR_INPUT,
                       "it is compressed with xz, which is not read here: "
                       "unpack it with unxz first");
    else
        z->format = ZIP_NONE;
    return 0;
}

static int start_zstd(struct inflate *z, struct err *e)
{
    z->zstd = ZSTD_createDStream();
    must(z->zstd);
    if (ZSTD_isError(ZSTD_DCtx_setParameter(z->zstd, ZSTD_d_windowLogMax,
                                            LIMIT_ZSTD_WINDOW_LOG)))
        return err_set(e, ERR_SYS, "zstd refuses its window limit");
    return 0;
}

int inflate_open(const struct bytes_src *src, const struct inflate_opts *opts,
                 struct inflate **gives, struct err *e)
{
    struct inflate *z = xalloc(sizeof(*z));

    z->src = *src;
    z->opts = *opts;
    sha256_init(&z->hash);
    if (!src->mem)
        z->own = xalloc(IN_BYTES);
    z->in = z->own;
    if (sniff(z, e) < 0)
        goto fail;
    if (z->format == ZIP_GZIP)
        z->gzip = xalloc(sizeof(*z->gzip));
    if (z->format == ZIP_ZSTD && start_zstd(z, e) < 0)
        goto fail;
    *gives = z;
    return 0;
fail:
    inflate_close(z);
    return -1;
}

enum zip_format inflate_format(const struct inflate *z)
{
    return z->format;
}

static int read_plain(struct inflate *z, uint8_t *out, size_t cap, size_t *got,
                      struct err *e)
{
    if (z->in_len == 0 && !z->in_end && !z->src.mem && cap >= IN_BYTES) {
        ssize_t n = read_some(z, out, cap); /* no copy of its own */
        if (n < 0)
            return err_sys(e, errno, "read archive");
        *got = (size_t)n;
        return n == 0 ? at_end(z, e) : pass(z, out, *got, e);
    }
    if (z->in_len == 0 && refill(z, e) < 0)
        return -1;
    *got = z->in_len < cap ? z->in_len : cap;
    memcpy(out, z->in, *got);
    z->in += *got;
    z->in_len -= *got;
    z->done = *got == 0 && z->in_end;
    return 0;
}

/* between members: step over zeros, which some tools pad with, up to the next one */
static int next_member(struct inflate *z, struct err *e)
{
    bool first = z->in_total == z->in_len && z->out_total == 0;

    for (;;) {
        while (!first && z->in_len && z->in[0] == 0) {
            z->in++;
            z->in_len--;
        }
        if (z->in_len >= 2 || z->in_end)
            break;
        if (refill(z, e) < 0)
            return -1;
    }
    if (z->in_len == 0) {
        z->done = true;
        return 0;
    }
    if (!starts(z, "\x1f\x8b", 2))
        return err_set(e, ERR_CORRUPT, "there is something else after the gzip stream");
    isal_inflate_init(z->gzip);
    z->gzip->crc_flag = ISAL_GZIP;
    z->member_open = true;
    return 0;
}

static int gzip_error(int r, struct err *e)
{
    if (r == ISAL_INCORRECT_CHECKSUM)
        return err_set(e, ERR_CORRUPT, "gzip stream: the checksum is wrong");
    if (r == ISAL_INVALID_WRAPPER || r == ISAL_UNSUPPORTED_METHOD)
        return err_set(e, ERR_CORRUPT, "gzip stream: the header is damaged");
    return err_set(e, ERR_CORRUPT, "gzip stream: the data is damaged");
}

static int read_gzip(struct inflate *z, uint8_t *out, size_t cap, size_t *got,
                     struct err *e)
{
    struct inflate_state *g = z->gzip;

    *got = 0;
    while (*got < cap && !z->done) {
        if (!z->member_open) {
            if (next_member(z, e) < 0)
                return -1;
            continue;
        }
        if (z->in_len == 0 && refill(z, e) < 0)
            return -1;
        size_t had = z->in_len;
        g->next_in = (uint8_t *)z->in;
        g->avail_in = (uint32_t)z->in_len;
        g->next_out = out + *got;
        g->avail_out = (uint32_t)(cap - *got);
        int r = isal_inflate(g);
        if (r != ISAL_DECOMP_OK && r != ISAL_END_INPUT)
            return gzip_error(r, e);
        size_t made = cap - *got - g->avail_out;
        z->in += had - g->avail_in;
        z->in_len = g->avail_in;
        *got += made;
        if (g->block_state == ISAL_BLOCK_FINISH)
            z->member_open = false;
        else if (z->in_end && z->in_len == 0 && made == 0)
            return err_set(e, ERR_CORRUPT, "gzip stream ends early");
    }
    return 0;
}

static int read_zstd(struct inflate *z, uint8_t *out, size_t cap, size_t *got,
                     struct err *e)
{
    ZSTD_outBuffer o = {out, cap, 0};

    while (o.pos < cap && !z->done) {
        if (z->in_len == 0 && refill(z, e) < 0)
            return -1;
        if (z->in_len == 0 && z->in_end && !z->frame_open) {
            z->done = true;
            break;
        }
        size_t had = o.pos;
        ZSTD_inBuffer i = {z->in, z->in_len, 0};
        size_t r = ZSTD_decompressStream(z->zstd, &o, &i);
        if (ZSTD_isError(r))
            return err_set(e, ERR_CORRUPT, "zstd stream: %s", ZSTD_getErrorName(r));
        z->in += i.pos;
        z->in_len -= i.pos;
        z->frame_open = r != 0;
        if (z->frame_open && z->in_end && z->in_len == 0 && o.pos == had)
            return err_set(e, ERR_CORRUPT, "zstd stream ends early");
    }
    *got = o.pos;
    return 0;
}

static int check_limits(const struct inflate *z, struct err *e)
{
    if (z->out_total > z->opts.max_bytes)
        return err_set(e, ERR_LIMIT, "it unpacks to more than %llu MiB",
                       (unsigned long long)(z->opts.max_bytes / MIB));
    if (z->format != ZIP_NONE && z->out_total > LIMIT_RATIO_AFTER_BYTES &&
        z->out_total / LIMIT_RATIO > z->in_total)
        return err_set(e, ERR_LIMIT, "it unpacks to more than %d times its size",
                       LIMIT_RATIO);
    return 0;
}

int inflate_read(struct inflate *z, void *buf, size_t cap, size_t *got, struct err *e)
{
    uint8_t *out = buf;
    size_t n = 0;

    while (n < cap && !z->done) {
        size_t some = 0;
        int r = z->format == ZIP_GZIP   ? read_gzip(z, out + n, cap - n, &some, e)
                : z->format == ZIP_ZSTD ? read_zstd(z, out + n, cap - n, &some, e)
                                        : read_plain(z, out + n, cap - n, &some, e);
        n += some;
        z->out_total += some;
        if (r < 0 || check_limits(z, e) < 0)
            return -1;
    }
    *got = n;
    return 0;
}

void inflate_rest(struct inflate *z, char hex[DIGEST_HEX], uint64_t *bytes)
{
    must(z->done && z->in_end && z->in_len == 0);
    sha256_final_hex(&z->hash, hex);
    *bytes = z->in_total;
}

void inflate_close(struct inflate *z)
{
    if (!z)
        return;
    (void)ZSTD_freeDStream(z->zstd);
    free(z->gzip);
    free(z->own);
    free(z);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* tar.h - mutations of a tar that leave it one
 *
 * Every header has a sum over itself, so nearly all that blind mutations make is thrown
 * away at the first block. These know members (header, bytes, padding): they change one
 * field, swap, double or drop members, put pax records in front, or let libFuzzer loose
 * on the bytes of a member; then all sums are made right again. One in sixteen goes
 * without that, so that wrong sums are tried, too.
 */
#ifndef FUZZ_TAR_H
#define FUZZ_TAR_H

#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

/* libFuzzer's own mutations; absent where seeds are only replayed */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
    __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);

#define TAR_BLOCK_BYTES 512
#define TAR_MEMBERS_MAX 64
#define TAR_GROWS_TO (24 << 10) /* slow inputs find little */

struct tar_field {
    size_t at, len;
};
static const struct tar_field tar_fields[] = {
    {0, 100} /* name */,
    {100, 8} /* mode */,
    {108, 8} /* uid */,
    {116, 8} /* gid */,
    {124, 12} /* size */,
    {136, 12} /* time */,
    {156, 1} /* type */,
    {157, 100} /* link */,
    {257, 8} /* magic */,
    {329, 16} /* node */,
    {345, 155} /* prefix, GNU's sparse map */,
};
#define TAR_NAME 0
#define TAR_SIZE 4
#define TAR_TYPE 6
#define TAR_LINK 7
#define TAR_MAGIC 8

struct tar_member {
    size_t at, len; /* with padding */
};

struct tar_edit {
    uint8_t *data;
    size_t size, max_size;
    unsigned seed;
    struct tar_member members[TAR_MEMBERS_MAX];
    size_t n;
};

static inline unsigned tar_any(struct tar_edit *t, size_t below)
{
    t->seed = t->seed * 1664525u + 1013904223u;
    return below ? (unsigned)((t->seed >> 8) % below) : 0;
}

static inline uint64_t tar_number(const uint8_t *field, size_t len)
{
    uint64_t v = 0;

    for (size_t i = 0; i < len; i++)
        if (field[i] >= '0' && field[i] <= '7')
            v = v << 3 | (uint64_t)(field[i] - '0');
        else if (field[i] != ' ')
            break;
    return v;
}

static inline void tar_find_members(struct tar_edit *t)
{
    size_t at = 0;

    for (t->n = 0; t->n < TAR_MEMBERS_MAX && t->size - at >= TAR_BLOCK_BYTES; t->n++) {
        const uint8_t *h = t->data + at;
        uint64_t bytes = h[0] && !strchr("123456", h[156] ? h[156] : '0')
                             ? tar_number(h + tar_fields[TAR_SIZE].at, 12)
                             : 0;
        size_t left = t->size - at - TAR_BLOCK_BYTES;
        size_t len = bytes < left ? (size_t)((bytes + 511) & ~511ULL) : left;

        t->members[t->n] =
            (struct tar_member){at, TAR_BLOCK_BYTES + (len < left ? len : left)};
        at += t->members[t->n].len;
    }
}

static inline void tar_sum(uint8_t *h)
{
    char text[8];
    unsigned sum = 0;

    memset(h + 148, ' ', 8);
    for (size_t i = 0; i < TAR_BLOCK_BYTES; i++)
        sum += h[i];
    (void)snprintf(text, sizeof text, "%06o", sum);
    memcpy(h + 148, text, 7);
}

static inline void tar_sums(struct tar_edit *t)
{
    tar_find_members(t);
    for (size_t i = 0; i < t->n; i++)
        if (t->data[t->members[i].at])
            tar_sum(t->data + t->members[i].at);
}

/* put room for len bytes at `at`; false when there is none */
static inline bool tar_gap(struct tar_edit *t, size_t at, size_t len)
{
    if (len > t->max_size - t->size)
        return false;
    memmove(t->data + at + len, t->data + at, t->size - at);
    t->size += len;
    return true;
}

static inline void tar_cut(struct tar_edit *t, size_t at, size_t len)
{
    memmove(t->data + at, t->data + at + len, t->size - at - len);
    t->size -= len;
}

static inline void tar_put_number(struct tar_edit *t, uint8_t *field, size_t len)
{
    static const uint64_t odd[] = {0,          1,          511,      512,
                                   513,        07777,      1 << 20,  0x7fffffff,
                                   0x80000000, 0xffffffff, 1u << 16, 1ull << 33,
                                   INT64_MAX,  UINT64_MAX, 2};
    uint64_t v = odd[tar_any(t, N_ELEMS(odd))];
    char text[32];

    if (tar_any(t, 4) == 0) { /* base 256 */
        for (size_t i = len; i-- > 0; v >>= 8)
            field[i] = (uint8_t)v;
        field[0] |= 0x80;
        return;
    }
    (void)snprintf(text, sizeof text, "%0*llo", (int)len - 1, (unsigned long long)v);
    memcpy(field, text, len);
}

static inline void tar_change_field(struct tar_edit *t, struct tar_member m)
{
    static const char types[] = "0012345567xxgLKSMNVDAXEP";
    static const char *const names[] = {
        "a",
        "a/b",
        "../x",
        "/x",
        ".",
        "..",
        "a/.wh.b",
        "a/.wh..wh..opq",
        "a/b/",
        ".wh.a",
        ".wh..wh.plnk/1",
        "./a",
        "GNUSparseFile.0/a",
    };
    static const char *const magics[] = {"ustar\00000", "ustar  ", "\0\0\0\0\0\0\0\0"};
    size_t which = tar_any(t, N_ELEMS(tar_fields));
    struct tar_field f = tar_fields[which];
    uint8_t *p = t->data + m.at + f.at;
    struct tar_member other = t->members[tar_any(t, t->n)];

    switch (which) {
    case TAR_TYPE:
        *p = (uint8_t)types[tar_any(t, sizeof types)];
        break;
    case TAR_MAGIC:
        memcpy(p, magics[tar_any(t, N_ELEMS(magics))], 8);
        break;
    case TAR_NAME:
    case TAR_LINK:
        if (tar_any(t, 3) == 0)
            memcpy(p,
                   t->data + other.at +
                       tar_fields[tar_any(t, 2) ? TAR_NAME : TAR_LINK].at,
                   f.len);
        else if (tar_any(t, 2))
            (void)snprintf((char *)p, f.len, "%s", names[tar_any(t, N_ELEMS(names))]);
        else
            (void)LLVMFuzzerMutate(p, f.len, f.len);
        break;
    default:
        if (tar_any(t, 2) && f.len <= 16)
            tar_put_number(t, p, f.len);
        else
            (void)LLVMFuzzerMutate(p, f.len, f.len);
    }
}

/* a record "LEN KEY=VALUE\n", LEN counting itself */
static inline void tar_pax_record(struct tar_edit *t, struct buf *out)
{
    static const char *const keys[] = {
        "path",
        "linkpath",
        "size",
        "uid",
        "gid",
        "uname",
        "gname",
        "mtime",
        "atime",
        "hdrcharset",
        "comment",
        "GNU.sparse.major",
        "GNU.sparse.minor",
        "GNU.sparse.name",
        "GNU.sparse.realsize",
        "GNU.sparse.size",
        "GNU.sparse.numblocks",
        "GNU.sparse.offset",
        "GNU.sparse.numbytes",
        "GNU.sparse.map",
        "SCHILY.xattr.user.a",
        "SCHILY.xattr.trusted.overlay.opaque",
        "SCHILY.xattr.security.capability",
        "SCHILY.acl.access",
        "SCHILY.acl.default",
        "SCHILY.acl.ace",
        "SCHILY.fflags",
        "SCHILY.dev",
        "SCHILY.devmajor",
        "SCHILY.devminor",
        "SCHILY.ino",
        "SCHILY.nlink",
        "SCHILY.realsize",
        "LIBARCHIVE.xattr.dXNlci5h",
        "LIBARCHIVE.creationtime",
        "LIBARCHIVE.symlinktype",
        "RHT.security.selinux",
        "SUN.holesdata",
    };
    static const char *const values[] = {
        "",
        "0",
        "1",
        "2",
        "512",
        "4096",
        "4294967296",
        "9223372036854775807",
        "-1",
        "1.5",
        "a",
        "a/b",
        "../../x",
        "/x",
        ".wh.a",
        "0,512,1024,512",
        " 0 1 4 1",
        "user::rwx,user:0:r--,group::r-x,mask::r--,other::---",
        "y",
        "BINARY",
        "ISO-IR 10646 2000 UTF-8",
        "1700000000.123456789",
        "-9223372036854775808.9",
        "QUJD",
        "nodump",
        "file",
    };
    char value[64];
    size_t n = (size_t)snprintf(value, sizeof value, "%s",
                                values[tar_any(t, N_ELEMS(values))]);
    const char *key = keys[tar_any(t, N_ELEMS(keys))];
    size_t digits;

    if (tar_any(t, 4) == 0)
        n = LLVMFuzzerMutate((uint8_t *)value, n, sizeof value);
    n += strlen(key) + 3; /* " ", "=" and the newline */
    digits = n + 1 < 10 ? 1 : n + 2 < 100 ? 2 : 3;
    buf_addf(out, "%zu %s=", n + digits, key);
    buf_add(out, value, n - strlen(key) - 3);
    buf_addc(out, '\n');
}

/* up to eight records in front of a member, or a long name the way of GNU */
static inline void tar_add_extension(struct tar_edit *t, size_t at)
{
    static const char kinds[] = "xxxxxxgLKA";
    AUTO_BUF struct buf body = {0};
    uint8_t h[TAR_BLOCK_BYTES] = "PaxHeader/a";
    size_t padded;

    h[156] = (uint8_t)kinds[tar_any(t, sizeof kinds - 1)];
    buf_init(&body, 0);
    if (h[156] == 'L' || h[156] == 'K')
        for (size_t i = tar_any(t, 200); i > 0; i--)
            buf_adds(&body, tar_any(t, 4) ? "a" : tar_any(t, 4) ? "/" : "..");
    else
        for (size_t i = 1 + tar_any(t, 8); i > 0; i--)
            tar_pax_record(t, &body);
    padded = (body.len + 511) & ~(size_t)511;
    (void)snprintf((char *)h + 100, 8, "%07o", 0644);
    (void)snprintf((char *)h + 124, 12, "%011zo", body.len);
    memcpy(h + 257, "ustar\00000", 8);
    if (!tar_gap(t, at, TAR_BLOCK_BYTES + padded))
        return;
    memcpy(t->data + at, h, sizeof h);
    memset(t->data + at + TAR_BLOCK_BYTES, 0, padded);
    memcpy(t->data + at + TAR_BLOCK_BYTES, buf_str(&body), body.len);
}

/* the bytes of a member, their number kept or written into the header */
static inline void tar_change_bytes(struct tar_edit *t, struct tar_member m)
{
    uint8_t *bytes = t->data + m.at + TAR_BLOCK_BYTES;
    size_t room = m.len - TAR_BLOCK_BYTES;
    size_t len = (size_t)tar_number(t->data + m.at + 124, 12);

    if (!room)
        return;
    len = LLVMFuzzerMutate(bytes, len < room ? len : room, room);
    if (tar_any(t, 2))
        (void)snprintf((char *)t->data + m.at + 124, 12, "%011zo", len);
}

static inline void tar_edit_once(struct tar_edit *t)
{
    struct tar_member m = t->members[tar_any(t, t->n)];
    struct tar_member to = t->members[tar_any(t, t->n)];

    switch (tar_any(t, t->size > TAR_GROWS_TO ? 7 : 10)) {
    case 0:
        tar_cut(t, m.at, m.len);
        break;
    case 1:
    case 2:
        tar_change_bytes(t, m);
        break;
    case 3:
    case 4:
    case 5:
    case 6:
        tar_change_field(t, m);
        break;
    case 7: /* once more, elsewhere: two of a name, or another order */
        if (tar_gap(t, to.at, m.len))
            memmove(t->data + to.at, t->data + m.at + (m.at >= to.at ? m.len : 0),
                    m.len);
        break;
    default:
        tar_add_extension(t, m.at);
    }
}

static inline size_t tar_mutate(uint8_t *data, size_t size, size_t max_size,
                                unsigned seed)
{
    struct tar_edit t = {data, size, max_size, seed, .n = 0};
    unsigned way = tar_any(&t, 16);

    if (size < TAR_BLOCK_BYTES || way < 2) {
        t.size = LLVMFuzzerMutate(data, size, max_size);
        if (way)
            tar_sums(&t);
        return t.size;
    }
    for (unsigned i = 1 + tar_any(&t, 3); i > 0; i--) {
        tar_find_members(&t);
        if (t.n)
            tar_edit_once(&t);
    }
    tar_sums(&t);
    return t.size;
}

#endif

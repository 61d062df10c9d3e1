/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - the pipeline inside of a zip or tar.gz
 *
 * Everything is in memory and at most 32 MiB, so an archive is one slice of bytes and
 * every offset in it is held against its length before it is used. Nothing is written
 * anywhere: no path of an archive is ever opened.
 *
 *   zip     end record (at the end) -> central directory -> entry -> local header ->
 * bytes tar.gz  gzip members -> 512-byte headers, each followed by its content
 *
 * Which entry it is: the one called pipeline.yaml, else the only .yaml, .yml or .json.
 */
#include "spec/pipeline.h"

#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <stdio.h>

#include "base/limits.h"

struct entry {
    struct str name;
    struct str bytes; /* tar: the content; zip: its central directory record */
};

/* what the walk over an archive has come across */
struct candidates {
    struct entry chosen;
    bool exact;        /* it is called pipeline.yaml */
    size_t n;          /* other candidates */
    struct str second; /* the name of one of them */
    size_t n_entries;
};

static bool is_candidate(struct str name)
{
    return str_ends(name, ".yaml") || str_ends(name, ".yml") || str_ends(name, ".json");
}

static void consider(struct candidates *c, struct str name, struct str bytes)
{
    struct str bare = name;

    c->n_entries++;
    if (str_starts(bare, "./")) {
        bare.ptr += 2;
        bare.len -= 2;
    }
    if (str_eqz(bare, "pipeline.yaml") && !c->exact) {
        c->exact = true;
        c->chosen = (struct entry){name, bytes};
        return;
    }
    if (c->exact || !is_candidate(bare))
        return;
    if (c->n++)
        c->second = name;
    else
        c->chosen = (struct entry){name, bytes};
}

/* a name from an archive, as it may be shown */
static const char *shown(struct str name, char out[64])
{
    size_t n = name.len < 60 ? name.len : 60;

    for (size_t i = 0; i < n; i++)
        out[i] = (unsigned char)name.ptr[i] < 0x20 || name.ptr[i] == 0x7F ? '?'
                                                                          : name.ptr[i];
    out[n] = '\0';
    return out;
}

static int choose(const struct candidates *c, struct str file, struct err *e)
{
    char one[64], two[64];

    if (c->exact || c->n == 1)
        return 0;
    if (!c->n)
        return err_set(
            e, ERR_INPUT,
            "%.*s: none of the %zu entries of this archive is a .yaml, .yml or .json",
            STR_ARG(file), c->n_entries);
    return err_set(
        e, ERR_INPUT,
        "%.*s: which one? The archive has %zu pipelines, among them %s and %s, and no "
        "pipeline.yaml",
        STR_ARG(file), c->n, shown(c->chosen.name, one), shown(c->second, two));
}

/* Inflating */

static int damaged(struct str file, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%.*s: %s", STR_ARG(file), what);
}

/* one deflate stream (crc_flag: with what around it) from *in, which moves past it, to
 * *out */
static int inflate_one(struct inflate_state *z, uint32_t crc_flag, struct str *in,
                       struct buf *out, struct str file, struct err *e)
{
    uint8_t chunk[64 * 1024];

    isal_inflate_init(z);
    z->crc_flag = crc_flag;
    z->next_in = (uint8_t *)(uintptr_t)in->ptr;
    z->avail_in = (uint32_t)in->len;
    do {
        int rc;

        z->next_out = chunk;
        z->avail_out = sizeof(chunk);
        rc = isal_inflate(z);
        if (rc != ISAL_DECOMP_OK)
            return damaged(file, "the compressed data is damaged", e);
        buf_add(out, chunk, sizeof(chunk) - z->avail_out);
        if (out->overflow)
            return err_set(e, ERR_LIMIT, "%.*s: larger than %llu MiB when unpacked",
                           STR_ARG(file), LIMIT_SPEC_BYTES / MIB);
        if (z->block_state != ISAL_BLOCK_FINISH && z->avail_out)
            return damaged(file, "the compressed data ends too early", e);
    } while (z->block_state != ISAL_BLOCK_FINISH);

    in->ptr = (const char *)z->next_in;
    in->len = z->avail_in;
    return 0;
}

static int gunzip(struct str in, struct buf *out, struct str file, struct err *e)
{
    AUTO_FREE struct inflate_state *z = xalloc(sizeof(*z));

    do {
        if (inflate_one(z, ISAL_GZIP, &in, out, file, e) < 0)
            return -1;
        while (in.len && !in.ptr[0]) { /* padding of tapes */
            in.ptr++;
            in.len--;
        }
    } while (str_starts(in, "\x1F\x8B"));
    return in.len ? damaged(file, "something follows the end of the gzip data", e) : 0;
}

/* Tar */

#define TAR_BLOCK 512

/* an octal field, or base 256 when the first bit is set; false when it is neither */
static bool tar_number(const char *p, size_t len, uint64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;

    if ((unsigned char)p[0] & 0x80) {
        for (i = 1; i < len; i++) {
            if (v >> 56)
                return false;
            v = v << 8 | (unsigned char)p[i];
        }
        *out = v;
        return p[0] == (char)0x80;
    }
    while (i < len && p[i] == ' ')
        i++;
    for (; i < len && p[i] >= '0' && p[i] <= '7'; i++)
        v = v << 3 | (uint64_t)(p[i] - '0');
    *out = v;
    return i == len || p[i] == ' ' || p[i] == '\0';
}

static bool tar_header_ok(const char *h)
{
    uint64_t want, sum = 0;

    for (size_t i = 0; i < TAR_BLOCK; i++)
        sum += i >= 148 && i < 156 ? ' ' : (unsigned char)h[i];
    return tar_number(h + 148, 8, &want) && sum == want;
}

static struct str text_field(const char *p, size_t max)
{
    return (struct str){p, strnlen(p, max)};
}

/* the value of `key` in pax records "LEN KEY=VALUE\n"; empty when absent or malformed
 */
static struct str pax_value(struct str records, const char *key)
{
    struct str found = {"", 0};

    while (records.len) {
        size_t len = 0, i = 0;

        for (;
             i < records.len && i < 8 && records.ptr[i] >= '0' && records.ptr[i] <= '9';
             i++)
            len = len * 10 + (size_t)(records.ptr[i] - '0');
        if (len > records.len || len < i + 3 || records.ptr[i] != ' ' ||
            records.ptr[len - 1] != '\n')
            return found;

        struct str record = {records.ptr + i + 1, len - i - 2};

        if (str_starts(record, key) && record.ptr[strlen(key)] == '=')
            found = (struct str){record.ptr + strlen(key) + 1,
                                 record.len - strlen(key) - 1};
        records.ptr += len;
        records.len -= len;
    }
    return found;
}

struct tar_walk {
    struct str left;
    struct str long_name; /* from a GNU 'L' or a pax header, for the next entry */
    struct str pax_size;
    struct arena names; /* of entries whose name is in two pieces */
};

static bool to_number(struct str s, uint64_t *out)
{
    *out = 0;
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '9' || i > 15)
            return false;
        *out = *out * 10 + (uint64_t)(s.ptr[i] - '0');
    }
    return true;
}

static bool is_zero(const char *block)
{
    return !block[0] && memcmp(block, block + 1, TAR_BLOCK - 1) == 0;
}

/* one header and its content: 1 = go on, 0 = the end, -1 */
static int tar_step(struct tar_walk *w, struct candidates *c, struct str file,
                    struct err *e)
{
    const char *h = w->left.ptr;
    struct str name, content;
    uint64_t size;
    char type;

    if (w->left.len < TAR_BLOCK || is_zero(h))
        return w->left.len && w->left.len < TAR_BLOCK
                   ? damaged(file, "the tar archive ends too early", e)
                   : 0;
    if (!tar_header_ok(h))
        return damaged(file, "the tar archive is damaged (a checksum is wrong)", e);
    if (!tar_number(h + 124, 12, &size) ||
        (w->pax_size.len && !to_number(w->pax_size, &size)))
        return damaged(file, "the tar archive is damaged (a size is wrong)", e);
    w->left.ptr += TAR_BLOCK;
    w->left.len -= TAR_BLOCK;
    type = h[156];
    if (type >= '1' && type <= '6') /* links, devices, directories have none */
        size = 0;
    if (size > w->left.len)
        return damaged(file, "the tar archive ends too early", e);
    content = (struct str){w->left.ptr, (size_t)size};
    size = (size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK;
    if (size > w->left.len)
        size = w->left.len;
    w->left.ptr += size;
    w->left.len -= (size_t)size;

    if (type == 'x') {
        w->long_name = pax_value(content, "path");
        w->pax_size = pax_value(content, "size");
        return 1;
    }
    if (type == 'L') {
        w->long_name = text_field(content.ptr, content.len);
        return 1;
    }
    name = w->long_name.len ? w->long_name : text_field(h, 100);
    if (!w->long_name.len && memcmp(h + 257, "ustar\0", 6) == 0 && h[345])
        name = str_of(arena_printf(&w->names, "%.155s/%.*s", h + 345, STR_ARG(name)));
    w->long_name = w->pax_size = (struct str){"", 0};
    if (type == '0' || type == '\0' || type == '7')
        consider(c, name, content);
    return 1;
}

static int untar(struct str tar, struct str file, struct buf *out, struct err *e)
{
    struct tar_walk w = {.left = tar};
    struct candidates c = {.n = 0};
    int rc;

    if (tar.len < TAR_BLOCK || !tar_header_ok(tar.ptr))
        return err_set(e, ERR_INPUT, "%.*s: gzip, but no tar archive inside",
                       STR_ARG(file));
    do {
        rc = tar_step(&w, &c, file, e);
    } while (rc > 0);
    if (rc == 0)
        rc = choose(&c, file, e);
    if (rc == 0)
        buf_addstr(out, c.chosen.bytes);
    arena_done(&w.names);
    return rc;
}

/* Zip */

#define ZIP_END_BYTES 22
#define ZIP_RECORD_BYTES 46
#define ZIP_LOCAL_BYTES 30

static uint32_t le16(const char *p)
{
    return (uint32_t)(unsigned char)p[0] | (uint32_t)(unsigned char)p[1] << 8;
}

static uint32_t le32(const char *p)
{
    return le16(p) | le16(p + 2) << 16;
}

/* the end record: the last place whose comment reaches exactly to the end of the file
 */
static const char *zip_end(struct str zip)
{
    for (size_t back = ZIP_END_BYTES; back <= zip.len && back <= ZIP_END_BYTES + 65535;
         back++) {
        const char *p = zip.ptr + zip.len - back;

        if (memcmp(p, "PK\5\6", 4) == 0 && ZIP_END_BYTES + le16(p + 20) == back)
            return p;
    }
    return NULL;
}

static int zip_walk(struct str zip, struct candidates *c, struct str file,
                    struct err *e)
{
    const char *end = zip_end(zip);
    size_t at, n;

    if (!end)
        return damaged(file, "the zip archive ends too early, or is none", e);
    n = le16(end + 10);
    at = le32(end + 16);
    if (n == 0xFFFF || at == 0xFFFFFFFF || le16(end + 4) || le16(end + 8) != n)
        return err_set(e, ERR_INPUT, "%.*s: zip64 and split archives are not supported",
                       STR_ARG(file));
    for (size_t i = 0; i < n; i++) {
        const char *p = zip.ptr + at;
        size_t name_len, len;

        if (at > zip.len || zip.len - at < ZIP_RECORD_BYTES ||
            memcmp(p, "PK\1\2", 4) != 0)
            return damaged(file, "the zip archive is damaged (its directory)", e);
        name_len = le16(p + 28);
        len = ZIP_RECORD_BYTES + name_len + le16(p + 30) + le16(p + 32);
        if (len > zip.len - at)
            return damaged(file, "the zip archive is damaged (its directory)", e);
        at += len;
        if (name_len && p[ZIP_RECORD_BYTES + name_len - 1] != '/')
            consider(c, (struct str){p + ZIP_RECORD_BYTES, name_len},
                     (struct str){p, len});
    }
    return 0;
}

/* the bytes of an entry, still compressed */
static int zip_data(struct str zip, const char *record, struct str *out,
                    struct str file, struct err *e)
{
    size_t size = le32(record + 20), at = le32(record + 42);
    const char *local;

    if (at > zip.len || zip.len - at < ZIP_LOCAL_BYTES)
        return damaged(file, "the zip archive is damaged (an offset)", e);
    local = zip.ptr + at;
    if (memcmp(local, "PK\3\4", 4) != 0)
        return damaged(file, "the zip archive is damaged (an offset)", e);
    at += ZIP_LOCAL_BYTES + le16(local + 26) + le16(local + 28);
    if (at > zip.len || size > zip.len - at)
        return damaged(file, "the zip archive ends too early", e);
    *out = (struct str){zip.ptr + at, size};
    return 0;
}

static int zip_content(struct str zip, const char *record, struct str file,
                       struct buf *out, struct err *e)
{
    uint32_t flags = le16(record + 8), method = le16(record + 10);
    size_t size = le32(record + 24), before = out->len;
    struct str data = STR("");

    if (flags & 1)
        return err_set(e, ERR_INPUT, "%.*s: the archive is encrypted", STR_ARG(file));
    if (method != 0 && method != 8)
        return err_set(e, ERR_INPUT, "%.*s: compression method %u is not supported",
                       STR_ARG(file), method);
    if (zip_data(zip, record, &data, file, e) < 0)
        return -1;
    if (method == 0) {
        buf_addstr(out, data);
    } else {
        AUTO_FREE struct inflate_state *z = xalloc(sizeof(*z));

        if (inflate_one(z, ISAL_DEFLATE, &data, out, file, e) < 0)
            return -1;
    }
    if (out->overflow)
        return err_set(e, ERR_LIMIT, "%.*s: larger than %llu MiB when unpacked",
                       STR_ARG(file), LIMIT_SPEC_BYTES / MIB);
    if (out->len - before != size ||
        crc32_gzip_refl(0, (const uint8_t *)buf_str(out) + before, size) !=
            le32(record + 16))
        return damaged(file, "the zip archive is damaged (a checksum is wrong)", e);
    return 0;
}

static int unzip(struct str zip, struct str file, struct buf *out, struct err *e)
{
    struct candidates c = {.n = 0};

    if (zip_walk(zip, &c, file, e) < 0 || choose(&c, file, e) < 0)
        return -1;
    must(c.chosen.bytes.ptr && c.chosen.bytes.len >= ZIP_RECORD_BYTES);
    return zip_content(zip, c.chosen.bytes.ptr, file, out, e);
}

static int unpack(struct str bytes, struct str file, struct buf *out, struct err *e)
{
    AUTO_BUF struct buf tar = {0};

    if (str_starts(bytes, "PK\3\4") || str_starts(bytes, "PK\5\6"))
        return unzip(bytes, file, out, e);
    if (str_starts(bytes, "\x1F\x8B")) {
        buf_init(&tar, LIMIT_SPEC_BYTES);
        if (gunzip(bytes, &tar, file, e) < 0)
            return -1;
        return untar((struct str){buf_str(&tar), tar.len}, file, out, e);
    }
    if (str_ends(file, ".zip"))
        return err_set(e, ERR_INPUT, "%.*s: this is no zip archive", STR_ARG(file));
    if (str_ends(file, ".tgz") || str_ends(file, ".gz"))
        return err_set(e, ERR_INPUT, "%.*s: this is no gzip archive", STR_ARG(file));
    buf_addstr(out, bytes);
    return 0;
}

int pipeline_unpack(struct str bytes, struct str file, struct buf *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    if (file.len > 200) { /* the tail of a long path says more than its head */
        file.ptr += file.len - 200;
        file.len = 200;
    }
    if (bytes.len > LIMIT_SPEC_BYTES)
        return err_set(e, ERR_LIMIT, "%.*s: larger than %llu MiB", STR_ARG(file),
                       LIMIT_SPEC_BYTES / MIB);
    buf_init(&text, LIMIT_SPEC_BYTES);
    if (unpack(bytes, file, &text, e) < 0)
        return -1;
    buf_addstr(out, (struct str){buf_str(&text), text.len});
    return 0;
}

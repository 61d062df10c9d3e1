/* SPDX-License-Identifier: Apache-2.0 */
/* Archives, made here byte by byte, whole and damaged in every place
 *
 * Nothing here compresses: deflate has stored blocks, which are data with five bytes in
 * front. Archives by other programs are in tests/cli/test_spec.py.
 */
#include "t.h"

#include <isa-l/crc.h>

#include "base/limits.h"
#include "base/mem.h"
#include "spec/pipeline.h"

static void le(struct buf *b, uint32_t v, int bytes)
{
    for (int i = 0; i < bytes; i++)
        buf_addc(b, (char)(v >> (8 * i)));
}

static uint32_t crc_of(struct str s)
{
    return crc32_gzip_refl(0, (const uint8_t *)s.ptr, s.len);
}

/* stored blocks of at most `block` bytes */
static void deflate(struct buf *b, struct str s, size_t block)
{
    do {
        size_t n = s.len < block ? s.len : block;

        buf_addc(b, n == s.len); /* the last one? */
        le(b, (uint32_t)n, 2);
        le(b, (uint32_t)~n, 2);
        buf_add(b, s.ptr, n);
        s.ptr += n;
        s.len -= n;
    } while (s.len);
}

static void gzip(struct buf *b, struct str s)
{
    buf_add(b, "\x1F\x8B\x08\0\0\0\0\0\0\x03", 10);
    deflate(b, s, 1000);
    le(b, crc_of(s), 4);
    le(b, (uint32_t)s.len, 4);
}

static void tar_entry(struct buf *b, const char *name, char type, struct str content)
{
    char h[512] = "";
    unsigned sum = 0;

    snprintf(h, 100, "%s", name);
    snprintf(h + 124, 12, "%011o", (unsigned)content.len);
    memset(h + 148, ' ', 8);
    h[156] = type;
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < 512; i++)
        sum += (unsigned char)h[i];
    snprintf(h + 148, 8, "%06o", sum);
    buf_add(b, h, 512);
    buf_addstr(b, content);
    while (b->len % 512)
        buf_addc(b, '\0');
}

static void tar_end(struct buf *b)
{
    for (int i = 0; i < 1024; i++)
        buf_addc(b, '\0');
}

struct zip_entry {
    const char *name, *content;
    uint32_t method; /* 0 stored, 8 deflate, others as a lie */
};

static void zip(struct buf *b, const struct zip_entry *entries, size_t n)
{
    AUTO_BUF struct buf directory = {0};
    uint32_t at;

    for (size_t i = 0; i < n; i++) {
        struct str s = str_of(entries[i].content), name = str_of(entries[i].name);
        AUTO_BUF struct buf data = {0};

        if (entries[i].method == 8)
            deflate(&data, s, 100);
        else
            buf_addstr(&data, s);
        at = (uint32_t)b->len;
        buf_adds(b, "PK\3\4");
        for (int header = 0; header < 2; header++) {
            struct buf *to = header ? &directory : b;

            if (header)
                buf_add(to, "PK\1\2\x14\0", 6);
            le(to, 20, 2);
            le(to, 0, 2);
            le(to, entries[i].method, 2);
            le(to, 0, 4);
            le(to, crc_of(s), 4);
            le(to, (uint32_t)data.len, 4);
            le(to, (uint32_t)s.len, 4);
            le(to, (uint32_t)name.len, 2);
            le(to, 0, 2);
            if (header) {
                le(to, 0, 2);
                le(to, 0, 4);
                le(to, 0, 4);
                le(to, at, 4);
            }
            buf_addstr(to, name);
        }
        buf_add(b, buf_str(&data), data.len);
    }
    at = (uint32_t)b->len;
    buf_add(b, buf_str(&directory), directory.len);
    buf_adds(b, "PK\5\6");
    le(b, 0, 4);
    le(b, (uint32_t)n, 2);
    le(b, (uint32_t)n, 2);
    le(b, (uint32_t)directory.len, 4);
    le(b, at, 4);
    le(b, 0, 2);
}

static struct str whole(const struct buf *b)
{
    return (struct str){buf_str(b), b->len};
}

/* what comes out, or the message */
static void expect(struct str bytes, const char *file, enum err_code code,
                   const char *want)
{
    AUTO_BUF struct buf out = {0};
    struct err e = {.code = ERR_NONE};
    int rc = pipeline_unpack(bytes, str_of(file), &out, &e);

    CHECK_INT(e.code, code);
    CHECK_STR(rc == 0 ? buf_str(&out) : e.text, want);
    if (rc < 0)
        CHECK_INT(out.len, 0); /* untouched */
}

static void plain_text_passes_unless_its_name_lies(void)
{
    expect(STR("a: 1\n"), "-", ERR_NONE, "a: 1\n");
    expect(STR(""), "x.yaml", ERR_NONE, "");
    expect(STR("a: 1\n"), "d/x.zip", ERR_INPUT, "d/x.zip: this is no zip archive");
    expect(STR("a: 1\n"), "x.tar.gz", ERR_INPUT, "x.tar.gz: this is no gzip archive");
    expect(STR("a: 1\n"), "x.tgz", ERR_INPUT, "x.tgz: this is no gzip archive");
}

static void zips_are_unpacked(void)
{
    static const struct {
        struct zip_entry e[3];
        enum err_code code;
        const char *want;
    } rows[] = {
        {{{"pipeline.yaml", "a: 1\n", 0}}, ERR_NONE, "a: 1\n"},
        {{{"pipeline.yaml", "a: 1\n", 8}}, ERR_NONE, "a: 1\n"},
        {{{"a.yaml", "a", 0}, {"b.yaml", "b", 0}, {"pipeline.yaml", "p", 8}},
         ERR_NONE,
         "p"},
        {{{"README", "r", 0}, {"d/", "", 0}, {"d/x.yml", "x", 8}}, ERR_NONE, "x"},
        {{{"spec.json", "{}", 0}}, ERR_NONE, "{}"},
        {{{"a.yaml", "a", 0}, {"b.yaml", "b", 0}},
         ERR_INPUT,
         "x.zip: which one? The archive has 2 pipelines, among them a.yaml and b.yaml, "
         "and no "
         "pipeline.yaml"},
        {{{"README", "r", 0}},
         ERR_INPUT,
         "x.zip: none of the 1 entries of this archive is a .yaml, .yml or .json"},
        {{{"pipeline.yaml", "a", 12}},
         ERR_INPUT,
         "x.zip: compression method 12 is not supported"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        size_t n = 0;

        while (n < 3 && rows[i].e[n].name)
            n++;
        zip(&b, rows[i].e, n);
        expect(whole(&b), "x.zip", rows[i].code, rows[i].want);
        if (!rows[i].code)
            expect(whole(&b), "-", ERR_NONE,
                   rows[i].want); /* told by its first bytes */
    }
}

static void tars_are_unpacked(void)
{
    AUTO_BUF struct buf tar = {0}, gz = {0}, twice = {0};
    struct str pax = STR("27 path=deep/pipeline.yaml\n"), text = STR("a: 1\n");

    tar_entry(&tar, "dir", '5', STR(""));
    tar_entry(&tar, "link.yaml", '2', STR(""));
    tar_entry(&tar, "./pipeline.yaml", '0', text);
    tar_entry(&tar, "other.yaml", '0', STR("other"));
    tar_end(&tar);
    gzip(&gz, whole(&tar));
    expect(whole(&gz), "x.tar.gz", ERR_NONE, "a: 1\n");

    /* two gzip members and padding, as tapes and some tools write */
    gzip(&twice, (struct str){tar.ptr, 600});
    gzip(&twice, (struct str){tar.ptr + 600, tar.len - 600});
    tar_end(&twice);
    expect(whole(&twice), "x.tgz", ERR_NONE, "a: 1\n");
    buf_addc(&twice, 'x');
    expect(whole(&twice), "x.tgz", ERR_CORRUPT,
           "x.tgz: something follows the end of the gzip data");

    buf_reset(&tar);
    buf_reset(&gz);
    tar_entry(&tar, "PaxHeader", 'x', pax);
    tar_entry(&tar, "short", '0', text);
    tar_entry(&tar, "././@LongLink", 'L', STR("a/long/name/of/a/thing.txt"));
    tar_entry(&tar, "thing.yaml", '0', STR("no"));
    gzip(&gz, whole(&tar)); /* no end marker: tolerated */
    expect(whole(&gz), "x.tar.gz", ERR_NONE, "a: 1\n");
}

static void odd_tars_are_refused(void)
{
    static const char *const want[] = {
        "x: gzip, but no tar archive inside",
        "x: the tar archive is damaged (a checksum is wrong)",
        "x: the tar archive ends too early",
        "x: the tar archive ends too early",
    };

    for (int i = 0; i < 4; i++) {
        AUTO_BUF struct buf tar = {0}, gz = {0};

        tar_entry(&tar, "a.yaml", '0', STR("a: 1\n"));
        tar_entry(&tar, "b.txt", '0', STR("b"));
        if (i == 0)
            tar.ptr[0] = 'b';
        if (i == 1)
            tar.ptr[1024] = 'c';
        if (i == 2)
            tar.len -= 600; /* in the second header */
        if (i == 3)
            tar.len = 514; /* in the first content */
        gzip(&gz, whole(&tar));
        expect(whole(&gz), "x", i ? ERR_CORRUPT : ERR_INPUT, want[i]);
    }
}

struct bits {
    struct buf *b;
    unsigned byte, n;
};

static void put_bits(struct bits *w, const char *zeros_and_ones)
{
    for (; *zeros_and_ones; zeros_and_ones++) {
        w->byte |= (unsigned)(*zeros_and_ones - '0') << w->n++;
        if (w->n < 8)
            continue;
        buf_addc(w->b, (char)w->byte);
        w->byte = w->n = 0;
    }
}

static void a_bomb_is_stopped_at_the_limit(void)
{
    AUTO_BUF struct buf b = {0};
    struct bits w = {.b = &b};

    buf_add(&b, "\x1F\x8B\x08\0\0\0\0\0\0\x03", 10);
    put_bits(&w, "110");      /* the last block, with fixed codes */
    put_bits(&w, "00110000"); /* a zero byte */
    for (size_t i = 0; i < 2 * LIMIT_SPEC_BYTES / 258; i++)
        put_bits(&w, "1100010100000"); /* 258 times the byte before */
    put_bits(&w, "000000000000000");   /* the end */
    CHECK(b.len < LIMIT_SPEC_BYTES / 50);
    expect(whole(&b), "bomb", ERR_LIMIT, "bomb: larger than 32 MiB when unpacked");
}

/* every byte of an archive spoilt, every length cut: an answer, never a crash (ASan
 * watches) */
static void damage_anywhere_is_survived(void)
{
    static const struct zip_entry entries[] = {{"a.txt", "x", 8},
                                               {"pipeline.yaml", "a: 1\n", 8}};
    AUTO_BUF struct buf z = {0}, tar = {0}, gz = {0};
    const struct buf *all[] = {&z, &gz};
    size_t accepted = 0;

    zip(&z, entries, 2);
    tar_entry(&tar, "h", 'x', STR("27 path=deep/pipeline.yaml\n"));
    tar_entry(&tar, "pipeline.yaml", '0', STR("a: 1\n"));
    gzip(&gz, whole(&tar));
    for (size_t k = 0; k < 2; k++) {
        struct str s = whole(all[k]);

        for (size_t i = 0; i < s.len; i++) {
            AUTO_BUF struct buf out = {0};
            AUTO_FREE char *cut =
                xalloc(i + 1); /* exact size: ASan sees one byte past it */
            struct err e;

            memcpy(cut, s.ptr, i);
            CHECK(pipeline_unpack((struct str){cut, i}, STR("x"), &out, &e) == 0 ||
                  e.code);
            for (int bit = 0; bit < 8; bit++) {
                AUTO_BUF struct buf spoilt = {0};
                AUTO_BUF struct buf got = {0};

                buf_addstr(&spoilt, s);
                spoilt.ptr[i] = (char)(spoilt.ptr[i] ^ 1 << bit);
                if (pipeline_unpack(whole(&spoilt), STR("x"), &got, &e) == 0)
                    accepted++;
            }
        }
    }
    CHECK(accepted > 0); /* time stamps, names of the other entry: nobody reads them */
}

int main(void)
{
    plain_text_passes_unless_its_name_lies();
    zips_are_unpacked();
    tars_are_unpacked();
    odd_tars_are_refused();
    a_bomb_is_stopped_at_the_limit();
    damage_anywhere_is_survived();
    return t_end();
}

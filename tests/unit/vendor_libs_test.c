/* SPDX-License-Identifier: Apache-2.0 */
/* vendor_libs_test.c - the vendored libraries as we configure and build them
 *
 * Not a test of the libraries but of what is ours about them: libarchive's hand-written
 * config.h, the choice of igzip's routines, the options of SQLite. gzip(1) and zstd's
 * own compressor are the other side.
 */
#include <archive.h>
#include <archive_entry.h>
#include <isa-l/crc.h>
#include <isa-l/igzip_lib.h>
#include <locale.h>
#include <sqlite3.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include <yaml.h>
#include <yyjson.h>
#include <zstd.h>

#include "t.h"

#define TEXT_BYTES (3u << 20)

/* Words of a small vocabulary with noise between: matches, literals, long and short
 * codes. */
static uint8_t *make_text(size_t n)
{
    uint8_t *p = malloc(n);
    uint32_t x = 2463534242u;

    for (size_t i = 0; p && i < n; i++) {
        x ^= x << 13;
        x ^= x >> 17;
        x ^= x << 5;
        p[i] =
            (x & 7) ? (uint8_t)("the quick brown fox, "[i % 21]) : (uint8_t)(x >> 24);
    }
    return p;
}

/* Read a whole file of at most `room` bytes into `to`; its size, or 0. */
static size_t slurp(const char *path, uint8_t *to, size_t room)
{
    FILE *f = fopen(path, "rb");
    size_t n = f ? fread(to, 1, room, f) : 0;

    if (f)
        (void)fclose(f);
    return n;
}

static void test_igzip_inflates_what_gzip_wrote_in_pieces(void)
{
    uint8_t *text = make_text(TEXT_BYTES);
    uint8_t *packed = malloc(TEXT_BYTES + 4096), *back = malloc(TEXT_BYTES);
    struct inflate_state *s = malloc(sizeof *s);
    char dir[] = "build/test/vendor_XXXXXX", raw[64], cmd[160];
    FILE *f;

    CHECK(text && packed && back && s && mkdtemp(dir));
    (void)snprintf(raw, sizeof raw, "%s/a", dir);
    f = fopen(raw, "wb");
    CHECK(f && fwrite(text, 1, TEXT_BYTES, f) == TEXT_BYTES && fclose(f) == 0);

    for (const char *level = "169"; *level; level++) {
        size_t packed_size, fed = 0;

        (void)snprintf(cmd, sizeof cmd, "gzip -%c -c %s > %s.gz", *level, raw, raw);
        f = popen(cmd, "r");
        CHECK(f && pclose(f) == 0);
        (void)snprintf(cmd, sizeof cmd, "%s.gz", raw);
        packed_size = slurp(cmd, packed, TEXT_BYTES + 4096);
        CHECK(packed_size > 0);

        isal_inflate_init(s);
        s->crc_flag = ISAL_GZIP;
        s->next_out = back;
        s->avail_out = TEXT_BYTES;
        while (s->block_state != ISAL_BLOCK_FINISH && fed < packed_size) {
            size_t piece = packed_size - fed < 10007 ? packed_size - fed : 10007;

            s->next_in = packed + fed;
            s->avail_in = (uint32_t)piece;
            CHECK_INT(isal_inflate(s), ISAL_DECOMP_OK);
            fed += piece - s->avail_in;
        }
        CHECK_INT(s->block_state, ISAL_BLOCK_FINISH);
        CHECK_INT(fed, packed_size);
        CHECK_INT(s->total_out, TEXT_BYTES);
        CHECK(memcmp(text, back, TEXT_BYTES) == 0);
    }

    packed[5000] ^= 0x10; /* one flipped bit does not go unseen */
    isal_inflate_init(s);
    s->crc_flag = ISAL_GZIP;
    s->next_in = packed;
    s->avail_in = (uint32_t)slurp(cmd, packed, 0) + TEXT_BYTES / 4;
    s->next_out = back;
    s->avail_out = TEXT_BYTES;
    CHECK(isal_inflate(s) != ISAL_DECOMP_OK || s->block_state != ISAL_BLOCK_FINISH);

    (void)unlink(cmd);
    (void)unlink(raw);
    (void)rmdir(dir);
    free(text);
    free(packed);
    free(back);
    free(s);
}

static void test_the_chosen_crc_agrees_with_the_portable_one(void)
{
    static const uint64_t lengths[] = {0, 1, 7, 15, 16, 17, 255, 256, 257, 4099, 65536};
    uint8_t *text = make_text(65536 + 3);

    CHECK_INT(crc32_gzip_refl(0, (const unsigned char *)"123456789", 9), 0xcbf43926);
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++)
        for (size_t shift = 0; shift < 3; shift++)
            CHECK_INT(crc32_gzip_refl(7, text + shift, lengths[i]),
                      crc32_gzip_refl_base(7, text + shift, lengths[i]));
    free(text);
}

static void test_zstd_gives_back_what_it_took(void)
{
    uint8_t *text = make_text(TEXT_BYTES), *back = malloc(TEXT_BYTES);
    size_t room = ZSTD_compressBound(TEXT_BYTES), packed_size;
    uint8_t *packed = malloc(room);

    packed_size = ZSTD_compress(packed, room, text, TEXT_BYTES, 3);
    CHECK(!ZSTD_isError(packed_size) && packed_size < TEXT_BYTES);
    CHECK_INT(ZSTD_decompress(back, TEXT_BYTES, packed, packed_size), TEXT_BYTES);
    CHECK(memcmp(text, back, TEXT_BYTES) == 0);
    CHECK(ZSTD_isError(ZSTD_decompress(back, TEXT_BYTES, packed, packed_size / 2)));
    free(text);
    free(back);
    free(packed);
}

static const struct row {
    const char *path;
    mode_t mode;
    int64_t mtime;
    const char *body;
} rows[] = {
    {"plain", S_IFREG | 0644, 1, "a"},
    {"usr/Gr\xc3\xbc\xc3\x9f"
     "e/\xe6\x97\xa5\xe6\x9c\xac",
     S_IFREG | 04755, 1700000000, "bb"},
    {"raw/\xff\xfe\x80name", S_IFREG | 0600, 0, ""},
    {"before/the/epoch", S_IFREG | 0640, -86400, "ccc"},
    {"a/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
     "123456789/"
     "123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
     "123456789/123456789/123456789/123456789/123456789/123456789/123456789/123456789/"
     "end",
     S_IFREG | 0644, 2, "dddd"},
};
#define N_ROWS (sizeof rows / sizeof *rows)

static void test_tar_keeps_names_modes_times_and_attributes(void)
{
    static char tar[1 << 16];
    size_t used = 0;
    struct archive *a = archive_write_new();
    struct archive_entry *e;

    CHECK(setlocale(LC_CTYPE, "C.UTF-8") != NULL);
    CHECK_INT(archive_write_set_format_pax_restricted(a), ARCHIVE_OK);
    CHECK_INT(archive_write_set_options(a, "xattrheader=SCHILY"), ARCHIVE_OK);
    CHECK_INT(archive_write_open_memory(a, tar, sizeof tar, &used), ARCHIVE_OK);
    for (size_t i = 0; i < N_ROWS; i++) {
        e = archive_entry_new();
        archive_entry_copy_pathname(e, rows[i].path);
        archive_entry_set_mode(e, rows[i].mode);
        archive_entry_set_uid(e, 3000000);
        archive_entry_set_size(e, (int64_t)strlen(rows[i].body));
        archive_entry_set_mtime(e, rows[i].mtime, 0);
        archive_entry_xattr_add_entry(e, "user.k", "v\0w", 3);
        CHECK(archive_write_header(a, e) >= ARCHIVE_WARN);
        CHECK_INT(archive_write_data(a, rows[i].body, strlen(rows[i].body)),
                  strlen(rows[i].body));
        archive_entry_free(e);
    }
    CHECK_INT(archive_write_close(a), ARCHIVE_OK);
    CHECK_INT(archive_write_free(a), ARCHIVE_OK);

    a = archive_read_new();
    CHECK_INT(archive_read_support_format_tar(a), ARCHIVE_OK);
    CHECK_INT(archive_read_open_memory(a, tar, used), ARCHIVE_OK);
    for (size_t i = 0; i < N_ROWS; i++) {
        const char *key;
        const void *value;
        size_t value_size;
        char body[16] = "";

        CHECK(archive_read_next_header(a, &e) >= ARCHIVE_WARN);
        CHECK_STR(archive_entry_pathname(e), rows[i].path);
        CHECK_INT(archive_entry_mode(e), rows[i].mode);
        CHECK_INT(archive_entry_mtime(e), rows[i].mtime);
        CHECK_INT(archive_entry_uid(e), 3000000);
        CHECK_INT(archive_entry_xattr_reset(e), 1);
        CHECK_INT(archive_entry_xattr_next(e, &key, &value, &value_size), ARCHIVE_OK);
        CHECK_STR(key, "user.k");
        CHECK(value_size == 3 && memcmp(value, "v\0w", 3) == 0);
        CHECK_INT(archive_read_data(a, body, sizeof body), strlen(rows[i].body));
        CHECK_STR(body, rows[i].body);
    }
    CHECK_INT(archive_read_next_header(a, &e), ARCHIVE_EOF);
    CHECK_INT(archive_read_free(a), ARCHIVE_OK);
}

/* ASan watches the buffer in which the name of the pax header is put together. */
static void test_a_long_name_of_slashes_makes_a_pax_header(void)
{
    static char tar[1 << 14], path[600];
    size_t used = 0;
    struct archive *a = archive_write_new();
    struct archive_entry *e = archive_entry_new();

    memset(path, '/', sizeof path - 1);
    memcpy(path, "foo", 3);
    memcpy(path + sizeof path - 4, "bar", 3);
    CHECK_INT(archive_write_set_format_pax(a), ARCHIVE_OK);
    CHECK_INT(archive_write_open_memory(a, tar, sizeof tar, &used), ARCHIVE_OK);
    archive_entry_copy_pathname(e, path);
    archive_entry_set_mode(e, S_IFDIR | 0755);
    CHECK_INT(archive_write_header(a, e), ARCHIVE_OK);
    archive_entry_free(e);
    CHECK_INT(archive_write_free(a), ARCHIVE_OK);

    a = archive_read_new();
    CHECK_INT(archive_read_support_format_tar(a), ARCHIVE_OK);
    CHECK_INT(archive_read_open_memory(a, tar, used), ARCHIVE_OK);
    CHECK_INT(archive_read_next_header(a, &e), ARCHIVE_OK);
    CHECK_INT(strncmp(archive_entry_pathname(e), path, sizeof path - 1), 0);
    CHECK_INT(archive_read_free(a), ARCHIVE_OK);
}

static void test_sqlite_is_the_version_and_the_build_we_asked_for(void)
{
    sqlite3 *db;
    sqlite3_stmt *q;

    CHECK(sqlite3_libversion_number() >= 3051003);
    CHECK_INT(sqlite3_threadsafe(), 0);
    CHECK(sqlite3_compileoption_used("DQS=0"));
    CHECK(sqlite3_compileoption_used("OMIT_LOAD_EXTENSION"));
    CHECK_INT(sqlite3_open(":memory:", &db), SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "create table t(a integer primary key, j text) strict",
                           NULL, NULL, NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_exec(db, "insert into t values(1, '{\"rows\": 5000}')", NULL,
                           NULL, NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_prepare_v2(db, "select \"text\"", -1, &q, NULL), SQLITE_ERROR);
    CHECK_INT(sqlite3_prepare_v2(db, "select j ->> '$.rows' from t where a = 1", -1, &q,
                                 NULL),
              SQLITE_OK);
    CHECK_INT(sqlite3_step(q), SQLITE_ROW);
    CHECK_INT(sqlite3_column_int(q, 0), 5000);
    CHECK_INT(sqlite3_finalize(q), SQLITE_OK);
    CHECK_INT(sqlite3_close(db), SQLITE_OK);
}

static void test_yaml_events_know_where_they_are(void)
{
    static const char text[] = "a: 1\nb: [x, \"y\"]\n";
    yaml_parser_t p;
    yaml_event_t e;
    int seen = 0, done = 0;

    CHECK(yaml_parser_initialize(&p));
    yaml_parser_set_input_string(&p, (const unsigned char *)text, sizeof text - 1);
    while (!done && yaml_parser_parse(&p, &e)) {
        if (e.type == YAML_SCALAR_EVENT && e.data.scalar.length == 1 &&
            e.data.scalar.value[0] == 'y') {
            CHECK_INT(e.start_mark.line, 1);
            CHECK_INT(e.start_mark.column, 7);
            seen = 1;
        }
        done = e.type == YAML_STREAM_END_EVENT;
        yaml_event_delete(&e);
    }
    CHECK(seen && done);
    yaml_parser_delete(&p);
}

static void test_json_keeps_the_digits_of_large_numbers(void)
{
    static const char text[] =
        "{\"n\": 18446744073709551615, \"x\": [1.5e300, \"\\u00fc\"]}";
    yyjson_doc *doc = yyjson_read(text, sizeof text - 1, 0);
    yyjson_val *root = yyjson_doc_get_root(doc);
    char *out;

    CHECK(yyjson_get_uint(yyjson_obj_get(root, "n")) == UINT64_MAX);
    out = yyjson_write(doc, 0, NULL);
    CHECK_STR(out, "{\"n\":18446744073709551615,\"x\":[1.5e300,\"\xc3\xbc\"]}");
    free(out);
    yyjson_doc_free(doc);
}

int main(void)
{
    test_igzip_inflates_what_gzip_wrote_in_pieces();
    test_the_chosen_crc_agrees_with_the_portable_one();
    test_zstd_gives_back_what_it_took();
    test_tar_keeps_names_modes_times_and_attributes();
    test_a_long_name_of_slashes_makes_a_pax_header();
    test_sqlite_is_the_version_and_the_build_we_asked_for();
    test_yaml_events_know_where_they_are();
    test_json_keeps_the_digits_of_large_numbers();
    return t_end();
}

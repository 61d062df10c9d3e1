/* SPDX-License-Identifier: Apache-2.0 */
/* store_pack_test.c - directories into packs and back, byte for byte */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "store/pack.h"
#include "store/tree.h"
#include "t.h"

static char home[64];
static struct store *s;
static struct err e;
static int at;

static void make(const char *path, const void *bytes, size_t len, mode_t mode)
{
    AUTO_FREE char *dir = xstrdup(path);

    *strrchr(dir, '/') = '\0';
    CHECK_INT(fd_mkdirs(at, dir, 0755, &e), 0);
    CHECK_INT(fd_write_file(at, path, bytes, len, mode, false, &e), 0);
}

static void put(const char *name, struct tree_id *id)
{
    CHECK_INT(tree_put(s, at, name, BLOB_ADOPT, id, &e), 0);
}

static void evict(const char *hex)
{
    bool gone = false;

    CHECK_INT(tree_evict(s, hex, clock_unix_ms() + 1000, &gone, &e), 0);
    CHECK(gone);
}

static int count(void *ctx, const char *hex, struct err *unused)
{
    (void)unused;
    CHECK(blob_has(s, hex));
    ++*(int *)ctx;
    return 0;
}

static void a_directory_comes_back_as_it_was(void)
{
    AUTO_FREE char *big = xalloc(PACK_BIG_BYTES + 3);
    struct pack_count n = {0};
    struct tree_id id;
    char name[300] = "t/deep/";
    int blobs = 0;
    bool gone;

    memset(big, 'b', PACK_BIG_BYTES + 3);
    make("t/a", "alpha", 5, 0644);
    make("t/empty", "", 0, 0644);
    make("t/run", "#!/bin/sh\n", 10, 0755);
    make("t/big", big, PACK_BIG_BYTES + 3, 0644);
    make("t/bigrun", big, PACK_BIG_BYTES + 2, 0755);
    make("t/edge", big, PACK_BIG_BYTES - 1, 0644);
    make("t/block", big, 512, 0644);
    memset(name + 7, 'n', 240);
    make(name, "long name", 9, 0644);
    make("t/aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa/"
         "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb/c", "split", 5, 0644);
    CHECK_INT(fd_mkdirs(at, "t/hollow", 0755, &e), 0);
    CHECK_INT(symlinkat("a", at, "t/link"), 0);
    put("t", &id);

    CHECK(!tree_is_packed(s, id.hex));
    CHECK_INT(tree_evict(s, id.hex, clock_unix_ms() + 1000, &gone, &e), 0);
    CHECK(!gone); /* not before it is packed */
    CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
    CHECK_INT(n.trees, 1);
    CHECK_INT(n.files, 6); /* not the empty one, not the big ones */
    CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
    CHECK_INT(n.trees, 1); /* packed already */
    CHECK_INT(pack_verify(s, id.hex, &e), 0);
    CHECK_INT(tree_evict(s, id.hex, clock_unix_ms() - 60000, &gone, &e), 0);
    CHECK(!gone); /* young */
    evict(id.hex);
    CHECK(tree_there(s, id.hex, &e));
    CHECK_INT(tree_verify(s, id.hex, &e), 0); /* as it is stored */
    CHECK_INT(tree_blobs_each(s, id.hex, count, &blobs, &e), 0);
    CHECK_INT(blobs, 5 + 1 + 2); /* tree objects, a pack, big files */
    CHECK_INT(tree_refresh(s, id.hex, &e), 0);

    CHECK_INT(tree_unpack(s, id.hex, &e), 0);
    CHECK_INT(tree_verify(s, id.hex, &e), 0);
    CHECK_INT(tree_unpack(s, id.hex, &e), 0); /* nothing to do */
}

static void a_pinned_checkout_is_not_evicted(void)
{
    struct pack_count n = {0};
    struct tree_id id;
    bool gone = true;
    int pin = -1;

    make("p/x", "x", 1, 0644);
    put("p", &id);
    CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
    evict(id.hex);
    CHECK_INT(tree_pin(s, id.hex, &pin, &e), 0); /* made again */
    CHECK_INT(tree_evict(s, id.hex, clock_unix_ms() + 1000, &gone, &e), 0);
    CHECK(!gone);
    (void)close(pin);
    evict(id.hex);
}

static void an_absent_directory_is_missing(void)
{
    char hex[DIGEST_HEX];
    int pin;

    sha256_hex("none", 4, hex);
    CHECK_INT(tree_unpack(s, hex, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK_INT(tree_pin(s, hex, &pin, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK(!tree_there(s, hex, &e));
    CHECK_INT(tree_refresh(s, hex, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
}

/* the pack of a known directory is these bytes for ever: other versions must read it. Python's
 * hashlib and tarfile (USTAR_FORMAT) gave the digests. */
static void the_encoding_is_fixed(void)
{
    static const char want_index[] =
        "dugout-packs 1\n"
        "21f36279519783bf24b6dee6f9a8ad2bb7025c91712934a6a62b93efea83a7c2 2\n"
        "end 2717fbd0742c7e386e84eeee29d68c688d742eeff91e0bfee28aaed19b402b23\n";
    AUTO_BUF struct buf index = {0};
    struct pack_count n = {0};
    struct tree_id id;

    make("v/b/exec", "#!/bin/true\n", 12, 0755);
    make("v/a", "one\n", 4, 0644);
    put("v", &id);
    CHECK_STR(id.hex, "982f31a432a584b627a8c8e5038e586a9b4010f067c1fa7ef755808bba767d9f");
    CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
    CHECK_INT(n.bytes, 6 * 512);
    CHECK_INT(fd_read_file(store_dir_fd(s, STORE_PACKS), id.hex, &index, 4096, &e), 0);
    CHECK_STR(buf_str(&index), want_index);
}

static void spoil(enum store_dir d, const char *name, size_t offset)
{
    int fd;

    CHECK_INT(fchmodat(store_dir_fd(s, d), name, 0644, 0), 0);
    fd = openat(store_dir_fd(s, d), name, O_RDWR);
    CHECK(fd >= 0);
    CHECK_INT(pwrite(fd, "#", 1, (off_t)offset), 1);
    (void)close(fd);
}

static char last_pack[DIGEST_HEX];
static int note_last(void *ctx, const char *hex, struct err *unused)
{
    (void)ctx;
    (void)unused;
    memcpy(last_pack, hex, DIGEST_HEX);
    return 0;
}

static void damage_is_found_and_nothing_is_made_of_it(void)
{
    const size_t places[] = {512 /* content */, 156 /* type */, 124 /* size */};
    struct pack_count n = {0};
    struct tree_id id;

    for (size_t i = 0; i < N_ELEMS(places); i++) {
        char text[16];
        (void)snprintf(text, sizeof(text), "damage %zu", i);
        make("d/f", text, strlen(text), 0644);
        put("d", &id);
        CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
        CHECK_INT(tree_blobs_each(s, id.hex, note_last, NULL, &e), 0);
        spoil(STORE_BLOBS, last_pack, places[i]);
        evict(id.hex);
        CHECK_INT(pack_verify(s, id.hex, &e), -1);
        CHECK_INT(e.code, ERR_CORRUPT);
        CHECK_INT(tree_unpack(s, id.hex, &e), -1);
        CHECK_INT(e.code, ERR_CORRUPT);
        CHECK_INT(faccessat(store_dir_fd(s, STORE_CHECKOUTS), id.hex, F_OK, 0), -1);
    }
    make("w/f", "index", 5, 0644);
    put("w", &id);
    CHECK_INT(tree_pack(s, id.hex, &n, &e), 0);
    spoil(STORE_PACKS, id.hex, 20);
    CHECK_INT(pack_verify(s, id.hex, &e), -1);
    CHECK_INT(e.code, ERR_CORRUPT);
    CHECK(!tree_there(s, id.hex, &e));
}

static void a_checkout_that_was_changed_is_not_packed(void)
{
    struct pack_count n = {0};
    struct tree_id id;
    AUTO_FREE char *path = NULL;

    make("c/f", "right", 5, 0644);
    put("c", &id);
    path = xasprintf("checkouts/%s/f", id.hex);
    CHECK_INT(fchmodat(at, path, 0644, 0), 0);
    CHECK_INT(fd_write_small(at, path, "wrong", &e), 0);
    CHECK_INT(tree_pack(s, id.hex, &n, &e), -1);
    CHECK_INT(e.code, ERR_CORRUPT);
    CHECK_INT(n.trees, 0);
    CHECK(!tree_is_packed(s, id.hex));
}

/* a file more changes one pack of several */
static void most_packs_stay_when_a_file_is_added(void)
{
    AUTO_DIGEST_SET struct digest_set before = {.n = 0};
    struct pack_count n = {0}, m = {0};
    struct tree_id one, two;
    struct gc_count used[GC_KINDS];
    char path[40], text[16];
    uint64_t blobs;

    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < 12000; i++) {
            (void)snprintf(path, sizeof(path), "m%d/%d", round, i);
            (void)snprintf(text, sizeof(text), "%d", i);
            if (i == 0)
                make(path, text, strlen(text), 0644);
            else
                CHECK_INT(fd_write_file(at, path, text, strlen(text), 0644, false, &e), 0);
        }
    }
    make("m1/5000x", "added", 5, 0644);
    put("m0", &one);
    put("m1", &two);
    CHECK_INT(tree_pack(s, one.hex, &n, &e), 0);
    CHECK(n.packs >= 2);
    CHECK_INT(store_usage(s, used, &e), 0);
    blobs = used[GC_BLOBS].n;
    CHECK_INT(tree_pack(s, two.hex, &m, &e), 0);
    CHECK_INT(store_usage(s, used, &e), 0);
    CHECK(used[GC_BLOBS].n - blobs <= 2);
}

int main(void)
{
    (void)snprintf(home, sizeof(home), "/tmp/store-pack-test-XXXXXX");
    CHECK(mkdtemp(home) != NULL);
    CHECK_INT(store_open(home, &s, &e), 0);
    at = store_home_fd(s);
    a_directory_comes_back_as_it_was();
    a_pinned_checkout_is_not_evicted();
    an_absent_directory_is_missing();
    the_encoding_is_fixed();
    damage_is_found_and_nothing_is_made_of_it();
    a_checkout_that_was_changed_is_not_packed();
    most_packs_stay_when_a_file_is_added();
    store_close(s);
    (void)fd_remove_tree(AT_FDCWD, home, &e);
    return t_end();
}

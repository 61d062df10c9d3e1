/* SPDX-License-Identifier: Apache-2.0 */
/* store_pack_fuzz.c - the bytes as a pack, the last block as the lines of its index
 *
 * The tree is always the same, its four small files among them; in the index "@P@" is
 * the digest of the pack, and the line with the sum is added. What can be unpacked is
 * the directory that the tree says, and nothing else can.
 */
#include <stdint.h>

#include "store.h"
#include "store/pack.h"
#include "store/tree.h"
#include "tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return tar_mutate(data, size, max_size, seed);
}

static void put_tree(struct store *s, struct fuzz_place *p, struct tree_id *id)
{
    struct err e = {0};

    must(mkdirat(p->work_fd, "t", 0755) == 0 && mkdirat(p->work_fd, "t/d", 0755) == 0);
    place_file(p->work_fd, "t/a", STR("one"));
    place_file(p->work_fd, "t/d/b", STR("two and more"));
    place_file(p->work_fd, "t/d/c", STR(""));
    place_file(p->work_fd, "t/e", STR("three"));
    must(symlinkat("../../canary", p->work_fd, "t/l") == 0);
    must(tree_put(s, p->work_fd, "t", 0, id, &e) == 0);
    must(store_drop(s, store_dir_fd(s, STORE_CHECKOUTS), id->hex, &e) == 0);
    place_clean(p);
}

static void put_index(struct store *s, const char *tree_hex, struct str lines,
                      const char *pack_hex)
{
    AUTO_BUF struct buf b = {0};
    char sum[DIGEST_HEX];

    buf_init(&b, 0);
    buf_adds(&b, "dugout-packs 1\n");
    for (; lines.len; lines.ptr++, lines.len--)
        if (str_starts(lines, "@P@")) {
            buf_adds(&b, pack_hex);
            lines.ptr += 2;
            lines.len -= 2;
        } else {
            buf_add(&b, lines.ptr, 1);
        }
    sha256_hex(buf_str(&b), b.len, sum);
    buf_addf(&b, "end %s\n", sum);
    (void)unlinkat(store_dir_fd(s, STORE_PACKS), tree_hex, 0);
    place_file(store_dir_fd(s, STORE_PACKS), tree_hex,
               (struct str){buf_str(&b), b.len});
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct store *s;
    struct str rest;
    struct blob_id pack;
    static struct tree_id tree;
    struct err e = {0}, e2 = {0};
    int unpacked;

    if (size < TAR_BLOCK_BYTES)
        return -1;
    s = fuzz_store();
    rest = (struct str){(const char *)data + size - TAR_BLOCK_BYTES, TAR_BLOCK_BYTES};
    if (!store_runs)
        put_tree(s, place_get(), &tree);
    must(blob_put_bytes(s, data, size - TAR_BLOCK_BYTES, 0, &pack, &e) == 0);
    put_index(s, tree.hex, place_part(&rest), pack.hex);
    unpacked = tree_unpack(s, tree.hex, &e);
    if (size / TAR_BLOCK_BYTES % 4 == 0) /* costly, and mostly the same */
        must(unpacked == pack_verify(s, tree.hex, &e2));
    if (unpacked == 0)
        must(tree_verify(s, tree.hex, &e) == 0);
    else
        must(e.text[0] && (e.code == ERR_CORRUPT || e.code == ERR_MISSING));
    must(store_drop(s, store_dir_fd(s, STORE_CHECKOUTS), tree.hex, &e) == 0);
    return 0;
}

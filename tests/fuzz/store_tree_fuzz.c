/* SPDX-License-Identifier: Apache-2.0 */
/* store_tree_fuzz.c - any bytes as a tree object
 *
 * There is one encoding of a tree: what is taken is written again, and must be the same
 * bytes. No name could lead out of a directory.
 */
#include <stdint.h>

#include "base/mem.h"
#include "store/tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int write_again(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct buf *b = ctx;

    (void)e;
    must(t->path.len > 0 && t->path.len <= 255 && !str_eqz(t->path, ".") &&
         !str_eqz(t->path, "..") && !memchr(t->path.ptr, '/', t->path.len) &&
         !memchr(t->path.ptr, 0, t->path.len));
    if (t->type == TREE_LINK) {
        must(t->target.len > 0 && t->target.len <= 4095);
        buf_addf(b, "l %.*s", STR_ARG(t->path));
        buf_addc(b, 0);
        buf_addstr(b, t->target);
    } else {
        must(is_hex64(t->hex));
        buf_addf(b, "%c %s %llu %.*s", "fxd"[t->type], t -> hex,
                 (unsigned long long)t -> size_bytes, STR_ARG(t->path));
    }
    buf_addc(b, 0);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF struct buf again = {0};
    struct err e = {0};

    buf_init(&again, 0);
    buf_add(&again, "dugout-tree 1", sizeof "dugout-tree 1");
    if (tree_parse((struct str){(const char *)data, size}, write_again, &again, &e) ==
        0)
        must(again.len == size && memcmp(buf_str(&again), data, size) == 0);
    else
        must(e.code == ERR_CORRUPT && e.text[0]);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ingest_bench.c - what a supervisor does with outputs, alone: adopt, make durable,
 * pack
 *
 *   ingest_bench file HOME PATH    the file becomes a blob
 *   ingest_bench dir HOME PATH     the directory becomes a checkout
 *   ingest_bench pack HOME TREE    as gc does: packs, and the checkout goes
 *
 * Prints one line: seconds, CPU seconds, digest.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "base/clock.h"
#include "store/pack.h"
#include "store/tree.h"

static int act(struct store *s, const char *what, const char *path,
               char hex[DIGEST_HEX], struct err *e)
{
    struct blob_id blob;
    struct tree_id tree;
    struct pack_count n = {0};
    bool gone;

    if (strcmp(what, "file") == 0) {
        if (blob_put_file(s, AT_FDCWD, path, BLOB_ADOPT, &blob, e) < 0)
            return -1;
        memcpy(hex, blob.hex, DIGEST_HEX);
    } else if (strcmp(what, "dir") == 0) {
        if (tree_put(s, AT_FDCWD, path, BLOB_ADOPT, &tree, e) < 0)
            return -1;
        memcpy(hex, tree.hex, DIGEST_HEX);
    } else {
        (void)snprintf(hex, DIGEST_HEX, "%s", path);
        if (tree_pack(s, path, &n, e) < 0 ||
            tree_evict(s, path, clock_unix_ms() + 1000, &gone, e) < 0)
            return -1;
    }
    return store_sync(s, e);
}

int main(int argc, char **argv)
{
    AUTO_STORE struct store *s = NULL;
    struct err e = {0};
    char hex[DIGEST_HEX] = "";
    int64_t began;

    if (argc != 4) {
        (void)fprintf(stderr, "usage: ingest_bench file|dir|pack HOME PATH|TREE\n");
        return 2;
    }
    began = clock_mono_ns();
    if (store_open(argv[2], &s, &e) == 0)
        store_put_off(s);
    if (!s || act(s, argv[1], argv[3], hex, &e) < 0) {
        (void)fprintf(stderr, "ingest_bench: %s\n", e.text);
        return err_exit(&e);
    }
    (void)printf("%.3f %.3f %s\n", (double)(clock_mono_ns() - began) / 1e9,
                 (double)clock() / CLOCKS_PER_SEC, hex);
    store_drop_apart(s);
    return 0;
}

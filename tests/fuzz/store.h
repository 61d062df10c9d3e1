/* SPDX-License-Identifier: Apache-2.0 */
/* store.h - a store in memory for fuzz targets, emptied now and then */
#ifndef FUZZ_STORE_H
#define FUZZ_STORE_H

#include "place.h"
#include "store/blob.h"

#define STORE_RUNS 500 /* what this many inputs leave behind is a few megabytes */

static struct store *the_store;
static unsigned store_runs; /* 0: it was just emptied */
static char the_home[64];

static inline void store_forget(void)
{
    struct err ignored;

    store_close(the_store);
    the_store = NULL;
    (void)fd_remove_tree(AT_FDCWD, the_home, &ignored);
}

static inline struct store *fuzz_store(void)
{
    struct err e = {0};

    if (the_store && ++store_runs % STORE_RUNS)
        return the_store;
    if (!the_home[0]) {
        (void)snprintf(the_home, sizeof the_home, "/dev/shm/dugout-fuzz-%d-home",
                       (int)getpid());
        (void)atexit(store_forget);
    }
    if (the_store)
        store_forget();
    store_runs = 0;
    must(store_open(the_home, &the_store, &e) == 0);
    return the_store;
}

/* text with every `mark` replaced by the digest of `of`, and every `size_mark` by its
 * length: right ones would never be found by chance */
static inline void fill_in(struct buf *out, struct str text, const char *mark,
                           const char *size_mark, struct str of)
{
    char hex[DIGEST_HEX];

    sha256_hex(of.ptr, of.len, hex);
    while (text.len) {
        size_t n = 1;
        if (str_starts(text, mark)) {
            buf_addf(out, "sha256:%s", hex);
            n = strlen(mark);
        } else if (str_starts(text, size_mark)) {
            buf_addf(out, "%zu", of.len);
            n = strlen(size_mark);
        } else {
            buf_add(out, text.ptr, 1);
        }
        text.ptr += n;
        text.len -= n;
    }
}

static inline void put_blob(int dir_fd, struct str text)
{
    char hex[DIGEST_HEX], path[96];

    sha256_hex(text.ptr, text.len, hex);
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", hex);
    place_file(dir_fd, path, text);
}

#endif

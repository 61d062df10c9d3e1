/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - make a checkout from packs, or only read them
 *
 * One walk over the tree, one pass over the packs beside it: the next small file of the
 * tree is the next entry of the packs. Every file is hashed before it gets its name,
 * and the checkout gets its own when all of it is on the disk, so there is never half
 * of one. Big files are clones or links of their blobs, copies where neither can be
 * had.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/packinside.h"

#define READ_BYTES (1 * MIB)

struct unpacker {
    struct store *store;
    struct pack_index index;
    size_t next;   /* pack to be opened next */
    uint64_t left; /* files still to come from the open one */
    int pack_fd;   /* -1 between packs */
    uint8_t *buf;  /* READ_BYTES of it, from at to end */
    size_t at, end;
    int root_fd;   /* where to, -1: only read */
    uint8_t *file; /* PACK_BIG_BYTES */
    uint64_t links;
};

/* ---- reading packs ---- */

static int take(struct unpacker *u, void *to, size_t len, struct err *e)
{
    uint8_t *out = to;

    while (len) {
        size_t n = u->end - u->at < len ? u->end - u->at : len;
        if (n == 0) {
            ssize_t got = read(u->pack_fd, u->buf, READ_BYTES);
            if (got < 0 && errno == EINTR)
                continue;
            if (got < 0)
                return err_sys(e, errno, "read a pack");
            if (got == 0)
                return err_set(e, ERR_CORRUPT, "a pack ends early");
            u->at = 0;
            u->end = (size_t)got;
            continue;
        }
        if (out)
            memcpy(out, u->buf + u->at, n);
        out = out ? out + n : NULL;
        u->at += n;
        len -= n;
    }
    return 0;
}

static int next_pack(struct unpacker *u, struct err *e)
{
    if (u->pack_fd >= 0)
        (void)close(u->pack_fd);
    u->pack_fd = -1;
    u->at = u->end = 0;
    if (u->next == u->index.n)
        return err_set(e, ERR_CORRUPT, "the packs have fewer files than the tree");
    u->left = u->index.packs[u->next].files;
    return blob_open(u->store, u->index.packs[u->next++].hex, &u->pack_fd, NULL, e);
}

static size_t padded(uint64_t size)
{
    return (size_t)((size + TAR_BLOCK - 1) / TAR_BLOCK * TAR_BLOCK);
}

/* the next file's bytes into u->file; its name is not looked at, its hash is */
static int next_file(struct unpacker *u, const struct tree_entry *t, struct err *e)
{
    char block[TAR_BLOCK], hex[DIGEST_HEX];
    uint64_t size;

    while (u->left == 0)
        if (next_pack(u, e) < 0)
            return -1;
    for (;;) {
        if (take(u, block, TAR_BLOCK, e) < 0)
            return -1;
        block[135] = '\0';
        size = strtoull(block + 124, NULL, 8);
        if (block[156] != 'x')
            break;
        if (size > MIB || take(u, NULL, padded(size), e) < 0)
            return err_set(e, ERR_CORRUPT, "a pack has a header that is too long");
    }
    if (block[156] != '0' || size != t->size_bytes || size >= PACK_BIG_BYTES)
        return err_set(e, ERR_CORRUPT, "a pack and its tree differ");
    if (take(u, u->file, (size_t)size, e) < 0 ||
        take(u, NULL, padded(size) - (size_t)size, e) < 0)
        return -1;
    sha256_hex(u->file, (size_t)size, hex);
    if (strcmp(hex, t->hex) != 0)
        return err_set(e, ERR_CORRUPT, "a packed file hashes to %.12s, want %.12s", hex,
                       t->hex);
    u->left--;
    return 0;
}

/* ---- making files ---- */

static mode_t mode_of(const struct tree_entry *t)
{
    return t->type == TREE_EXEC ? 0555 : 0444;
}

static int make_file(struct unpacker *u, const char *path, const struct tree_entry *t,
                     struct err *e)
{
    AUTO_FD int fd = openat(u->root_fd, path,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (fd < 0)
        return store_err(e, errno, "unpack", path);
    if (t->size_bytes && fd_write_all(fd, u->file, (size_t)t->size_bytes, e) < 0)
        return err_at(e, "unpack %s", path);
    if (fchmod(fd, mode_of(t)) < 0)
        return err_sys(e, errno, "chmod %s", path);
    return 0;
}

static int make_big_file(struct unpacker *u, const char *path,
                         const struct tree_entry *t, struct err *e)
{
    AUTO_FD int from = -1;
    AUTO_FD int to = -1;
    char hex[DIGEST_HEX];
    uint64_t size;

    if (blob_open(u->store, t->hex, &from, &size, e) < 0)
        return -1;
    if (u->root_fd < 0)
        return size == t->size_bytes
                   ? blob_verify(u->store, t->hex, e)
                   : err_set(e, ERR_CORRUPT, "blob %.12s has another size", t->hex);
    to = openat(u->root_fd, path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0600);
    if (to < 0)
        return store_err(e, errno, "unpack", path);
    if (ioctl(to, FICLONE, from) < 0) {
        if (t->type == TREE_FILE && unlinkat(u->root_fd, path, 0) == 0 &&
            linkat(u->store->dirs[STORE_BLOBS], t->hex, u->root_fd, path, 0) == 0)
            return 0;
        (void)close(fd_take(&to));
        (void)unlinkat(u->root_fd, path, 0);
        to = openat(u->root_fd, path,
                    O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (to < 0)
            return store_err(e, errno, "unpack", path);
        if (file_copy(u->store, from, to, size, path, hex, e) < 0)
            return -1;
        if (strcmp(hex, t->hex) != 0)
            return err_set(e, ERR_CORRUPT, "blob %.12s hashes to %.12s", t->hex, hex);
    }
    return fchmod(to, mode_of(t)) < 0 ? err_sys(e, errno, "chmod %s", path) : 0;
}

static int unpack_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct unpacker *u = ctx;
    AUTO_FREE char *path = xasprintf("%.*s", STR_ARG(t->path));
    AUTO_FREE char *target = NULL;

    if (is_packed_file(t) && next_file(u, t, e) < 0)
        return err_at(e, "%s", path);
    if (is_big_file(t))
        return make_big_file(u, path, t, e);
    if (u->root_fd < 0)
        return 0;
    switch (t->type) {
    case TREE_DIR:
        return mkdirat(u->root_fd, path, 0700) < 0 ? store_err(e, errno, "unpack", path)
                                                   : 0;
    case TREE_LINK:
        target = xasprintf("%.*s", STR_ARG(t->target));
        return symlinkat(target, u->root_fd, path) < 0
                   ? store_err(e, errno, "unpack", path)
                   : 0;
    case TREE_FILE:
    case TREE_EXEC:
        break;
    }
    return make_file(u, path, t, e);
}

/* directories get their mode when nothing more is made in them */
static int close_dir(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct unpacker *u = ctx;
    AUTO_FREE char *path = NULL;

    if (t->type != TREE_DIR)
        return 0;
    path = xasprintf("%.*s", STR_ARG(t->path));
    return fchmodat(u->root_fd, path, 0555, 0) < 0 ? err_sys(e, errno, "chmod %s", path)
                                                   : 0;
}

static int walk(struct store *s, const char *hex, int root_fd, struct err *e)
{
    struct unpacker u = {.store = s, .root_fd = root_fd, .pack_fd = -1};
    int rc = pack_index_read(s, hex, &u.index, e);

    u.buf = xalloc(READ_BYTES);
    u.file = xalloc(PACK_BIG_BYTES);
    if (rc == 0)
        rc = tree_walk(s, hex, unpack_entry, &u, e);
    if (rc == 0 && (u.left || u.next != u.index.n))
        rc = err_set(e, ERR_CORRUPT, "the packs have more files than the tree");
    if (rc == 0 && root_fd >= 0)
        rc = tree_walk(s, hex, close_dir, &u, e);
    if (u.pack_fd >= 0)
        (void)close(u.pack_fd);
    free(u.buf);
    free(u.file);
    pack_index_done(&u.index);
    return rc < 0 ? err_at(e, "packed directory %.12s", hex) : 0;
}

int pack_verify(struct store *s, const char *hex, struct err *e)
{
    return walk(s, hex, -1, e);
}

int tree_unpack(struct store *s, const char *hex, struct err *e)
{
    char tmp[STORE_TMP_NAME];
    AUTO_FD int dir = -1;
    AUTO_FD int one = -1;
    struct err ignored;

    if (!is_hex64(hex))
        return err_set(e, ERR_INPUT, "\"%.80s\" is not a sha256 digest", hex);
    if (faccessat(s->dirs[STORE_CHECKOUTS], hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    /* others who want the same wait for it instead of making it, too */
    if (store_lock(s, "unpack", LOCK_EX, &one, e) < 0)
        return -1;
    if (faccessat(s->dirs[STORE_CHECKOUTS], hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (!tree_is_packed(s, hex))
        return err_set(e, ERR_MISSING, "directory %.12s is not in the store any more",
                       hex);
    if (store_tmp_dir(s, "unpack", tmp, &dir, e) < 0)
        return -1;
    if (walk(s, hex, dir, e) == 0) {
        if (syncfs(dir) < 0)
            (void)store_err(e, errno, "make durable", "a directory");
        else if (publish_checkout(s, s->dirs[STORE_TMP], tmp, dir, hex, e) == 0)
            return store_sync(s, e);
    }
    (void)store_drop(s, s->dirs[STORE_TMP], tmp, &ignored);
    return -1;
}

int tree_pin(struct store *s, const char *hex, int *gives_fd, struct err *e)
{
    for (int i = 0; i < 100; i++) {
        if (tree_unpack(s, hex, e) < 0)
            return -1;
        if (store_pin(s, STORE_CHECKOUTS, hex, gives_fd, e) == 0) {
            (void)futimens(*gives_fd, NULL); /* used now: gc packs what is not */
            return 0;
        }
        if (e->code != ERR_MISSING) /* else gc was faster */
            return -1;
    }
    return -1;
}

/* ---- what a tree needs ---- */

struct each {
    blob_fn *fn;
    void *ctx;
    bool packed;
};

static int each_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct each *x = ctx;

    if (t->type == TREE_DIR || (x->packed && is_big_file(t)))
        return x->fn(x->ctx, t->hex, e);
    return 0;
}

int tree_blobs_each(struct store *s, const char *hex, blob_fn *fn, void *ctx,
                    struct err *e)
{
    struct each x = {fn, ctx, tree_is_packed(s, hex)};
    AUTO_INDEX struct pack_index index = {.n = 0};

    if (x.packed && pack_index_read(s, hex, &index, e) < 0)
        return -1;
    if (fn(ctx, hex, e) < 0 || tree_walk(s, hex, each_entry, &x, e) < 0)
        return -1;
    for (size_t i = 0; i < index.n; i++)
        if (fn(ctx, index.packs[i].hex, e) < 0)
            return -1;
    return 0;
}

static int want_blob(void *ctx, const char *hex, struct err *e)
{
    return blob_is_kept(ctx, hex)
               ? 0
               : err_set(e, ERR_MISSING, "no blob %.12s in the store", hex);
}

bool tree_there(struct store *s, const char *hex, struct err *e)
{
    bool checkout =
        faccessat(s->dirs[STORE_CHECKOUTS], hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0;

    if (!checkout && !tree_is_packed(s, hex)) {
        err_set(e, ERR_MISSING, "directory %.12s is not in the store any more", hex);
        return false;
    }
    return tree_blobs_each(s, hex, want_blob, s, e) == 0;
}

bool tree_is_old(struct store *s, const char *hex, int64_t young_unix_ms)
{
    struct stat st;
    bool checkout =
        fstatat(s->dirs[STORE_CHECKOUTS], hex, &st, AT_SYMLINK_NOFOLLOW) == 0;
    bool packed = tree_is_packed(s, hex);

    return (checkout || packed) &&
           (!checkout || gc_is_old(s, STORE_CHECKOUTS, hex, young_unix_ms)) &&
           (!packed || gc_is_old(s, STORE_PACKS, hex, young_unix_ms));
}

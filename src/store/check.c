/* SPDX-License-Identifier: Apache-2.0 */
/* check.c - compare what lies in the store with its names
 *
 * Names are read first, then each is looked at, so that what is published or swept
 * meanwhile cannot confuse the walk: a blob that has gone when its turn comes was
 * swept, which is no damage. A tree object is a blob like any other here; that a
 * checkout equals its tree is checked when the checkout's turn comes.
 */
#include "store/check.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/hash.h"
#include "store/inside.h"
#include "store/pack.h"
#include "store/tree.h"

struct check {
    struct store *store;
    const struct check_opts *o;
    struct check_count *n;
};

static void tell(struct check *c, enum check_what what, const char *name,
                 const char *text, bool damage, bool moved)
{
    struct check_finding f = {what, name, text, damage, moved};

    c->o->found(c->o->ctx, &f);
}

static bool wants_hash(const struct check *c, const char *hex)
{
    return c->o->wants_hash && c->o->wants_hash(c->o->ctx, hex);
}

static void right(struct check *c, const char *hex, uint64_t bytes)
{
    c->n->hashed++;
    c->n->hashed_bytes += bytes;
    if (c->o->right)
        c->o->right(c->o->ctx, hex);
}

/* ---- blobs ---- */

static void quarantine(struct check *c, enum check_what what, const char *hex,
                       const char *text)
{
    struct err e;
    bool moved = !c->o->dry_run && blob_quarantine(c->store, hex, &e) == 0;

    tell(c, what, hex, text, true, moved);
}

/* Somebody puts it just now, or did when the power went. No row names what is loose (settle.c). */
static void check_loose(struct check *c, const char *hex, uint64_t size)
{
    struct err e = {0};

    if (blob_verify(c->store, hex, &e) == 0) {
        right(c, hex, size);
        if (!c->o->dry_run)
            (void)settle_one(c->store, hex, &e);
    } else if (e.code == ERR_CORRUPT) {
        tell(c, CHECK_UNFINISHED, hex, "was being stored when the machine stopped", false,
             !c->o->dry_run && blob_quarantine(c->store, hex, &e) == 0);
    } else if (e.code != ERR_MISSING) {
        tell(c, CHECK_WRONG_BYTES, hex, e.text, true, false);
    }
}

static void check_blob(struct check *c, const char *hex)
{
    int dir = c->store->dirs[STORE_BLOBS];
    struct stat st;
    struct err e = {0};
    bool sealed;

    if (fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return; /* swept meanwhile */
    c->n->blobs++;
    if (!S_ISREG(st.st_mode)) {
        quarantine(c, CHECK_WRONG_BYTES, hex, "is no regular file");
        return;
    }
    if (is_loose(c->store, hex, &st)) {
        check_loose(c, hex, (uint64_t)st.st_size);
        return;
    }
    if ((st.st_mode & 07777) != 0444) {
        bool mended = !c->o->dry_run && fchmodat(dir, hex, 0444, 0) == 0;
        tell(c, CHECK_MODE, hex,
             mended ? "had a mode other than 0444" : "has a mode other than 0444",
             false, false);
    }
    sealed = blob_is_sealed(c->store, hex);
    c->n->sealed += sealed;
    if (!wants_hash(c, hex))
        return;
    if (blob_verify(c->store, hex, &e) == 0) {
        right(c, hex, (uint64_t)st.st_size);
        if (!c->o->dry_run && !sealed && blob_seal(c->store, hex))
            c->n->sealed++;
    } else if (e.code == ERR_CORRUPT) {
        quarantine(c, CHECK_WRONG_BYTES, hex, e.text);
    } else if (e.code != ERR_MISSING) {
        tell(c, CHECK_WRONG_BYTES, hex, e.text, true, false);
    }
}

/* ---- layers ---- */

/* What is in a layer is the image's affair; that nobody else gets there is ours. */
static void check_layer(struct check *c, const char *hex)
{
    int dir = c->store->dirs[STORE_LAYERS];
    struct stat st;

    if (fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode) ||
        (st.st_mode & 0777) == 0700)
        return;
    if (!c->o->dry_run && store_shut(dir, hex))
        tell(c, CHECK_MODE, hex, "is a layer that others could enter", false, false);
    else
        tell(c, CHECK_MODE, hex, "is a layer that others can enter", false, false);
}

/* ---- checkouts ---- */

static bool move_checkout(struct check *c, const char *hex)
{
    int dir = c->store->dirs[STORE_CHECKOUTS];
    char name[sizeof("corrupt-") + DIGEST_HEX];
    AUTO_FD int gc = -1;
    struct err e;

    if (c->o->dry_run || store_gc_lock(c->store, LOCK_SH, &gc, &e) < 0)
        return false;
    (void)snprintf(name, sizeof(name), "corrupt-%s", hex);
    if (fchmodat(dir, hex, 0755, 0) < 0 ||
        renameat(dir, hex, c->store->dirs[STORE_TRASH], name) < 0)
        return false;
    (void)utimensat(c->store->dirs[STORE_TRASH], name, NULL, AT_SYMLINK_NOFOLLOW);
    c->store->touched[STORE_CHECKOUTS] = true;
    return true;
}

/* A directory that is what its name says knows its tree objects: a copy of it is
 * stored, which writes them, and goes again since the directory is there. */
static bool made_objects_again(struct check *c, const char *hex)
{
    int dir = c->store->dirs[STORE_CHECKOUTS];
    char is[DIGEST_HEX];
    struct tree_id id;
    struct err e;
    bool is_dir;

    return !c->o->dry_run && hash_path(dir, hex, is, &is_dir, &e) == 0 &&
           strcmp(is, hex) == 0 && tree_put(c->store, dir, hex, 0, &id, &e) == 0 &&
           tree_there(c->store, hex, &e);
}

static int look_at_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    AUTO_FREE char *path = xasprintf("%.*s", STR_ARG(t->path));
    struct stat st;
    mode_t want = t->type == TREE_DIR    ? S_IFDIR
                  : t->type == TREE_LINK ? S_IFLNK
                                         : S_IFREG;

    if (fstatat(*(int *)ctx, path, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        errno == ENAMETOOLONG)
        return 0; /* deeper than one look reaches: --full goes there step by step */
    if (fstatat(*(int *)ctx, path, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT || errno == ENOTDIR
                   ? err_set(e, ERR_CORRUPT, "%s is not there", path)
                   : err_sys(e, errno, "look at %s", path);
    if ((st.st_mode & S_IFMT) != want)
        return err_set(e, ERR_CORRUPT, "%s is not what it was", path);
    if (want == S_IFREG && (uint64_t)st.st_size != t->size_bytes)
        return err_set(e, ERR_CORRUPT, "%s has %llu bytes, want %llu", path,
                       (unsigned long long)st.st_size,
                       (unsigned long long)t->size_bytes);
    return 0;
}

/* every file by name and size, none read */
static int look_at_checkout(struct check *c, const char *hex, struct err *e)
{
    AUTO_FD int fd = openat(c->store->dirs[STORE_CHECKOUTS], hex,
                            O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return err_sys(e, errno, "open directory %.12s", hex);
    return tree_walk(c->store, hex, look_at_entry, &fd, e) < 0
               ? err_at(e, "directory %.12s", hex)
               : 0;
}

static void check_checkout(struct check *c, const char *hex)
{
    struct stat st;
    struct err e = {0};
    bool full;
    int r;

    if (fstatat(c->store->dirs[STORE_CHECKOUTS], hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    c->n->checkouts++;
    if (!tree_there(c->store, hex, &e)) {
        if (made_objects_again(c, hex))
            tell(c, CHECK_NO_TREE, hex, "was made again from the directory", false,
                 false);
        else
            tell(c, CHECK_NO_TREE, hex, e.text, true, false);
        return;
    }
    full = wants_hash(c, hex);
    r = full ? tree_verify(c->store, hex, &e) : look_at_checkout(c, hex, &e);
    if (r == 0 && !full)
        return;
    if (r == 0)
        right(c, hex, store_bytes_of(c->store, STORE_CHECKOUTS, hex));
    else
        tell(c, CHECK_WRONG_TREE, hex, e.text, true,
             e.code == ERR_CORRUPT && move_checkout(c, hex));
}

/* ---- packed directories ---- */

/* Packs are blobs, checked as such; here, that the index and they make up the tree.
 * Where there is a checkout besides, a bad index is only dropped: gc packs again. */
static void check_index(struct check *c, const char *hex)
{
    int dir = c->store->dirs[STORE_PACKS];
    struct stat st;
    struct err e = {0};
    bool checkout, dropped;

    if (fstatat(dir, hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    checkout =
        faccessat(c->store->dirs[STORE_CHECKOUTS], hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
    c->n->packed++;
    if (!tree_there(c->store, hex, &e) ||
        (wants_hash(c, hex) && pack_verify(c->store, hex, &e) < 0)) {
        dropped = checkout && !c->o->dry_run && unlinkat(dir, hex, 0) == 0;
        tell(c, CHECK_WRONG_TREE, hex, e.text, !dropped, false);
    } else if (wants_hash(c, hex) && !checkout) {
        right(c, hex, 0);
    }
}

/* ---- the walk ---- */

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static int names_of(int at, char ***out, size_t *n, struct err *e)
{
    int fd = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);
    const struct dirent *ent;
    size_t cap = 0;

    if (!d) {
        int sys = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_sys(e, sys, "read a directory of the store");
    }
    while ((ent = readdir(d))) {
        if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
            continue;
        if (*n == cap) {
            cap = cap ? 2 * cap : 256;
            *out = xrealloc(*out, cap * sizeof(**out));
        }
        (*out)[(*n)++] = xstrdup(ent->d_name);
    }
    (void)closedir(d);
    if (*n > 1)
        qsort(*out, *n, sizeof(**out), by_name);
    return 0;
}

static int each_name(struct check *c, enum store_dir d,
                     void (*fn)(struct check *c, const char *hex), struct err *e)
{
    char **names = NULL;
    size_t n = 0;
    int r = names_of(c->store->dirs[d], &names, &n, e);

    for (size_t i = 0; i < n; i++) {
        if (r == 0 && is_hex64(names[i]))
            fn(c, names[i]);
        else if (r == 0 && d != STORE_LAYERS) /* which has other names, too */
            tell(c, CHECK_STRAY, names[i], "is no digest: not ours", false, false);
        free(names[i]);
    }
    free(names);
    return r;
}

int check_store(struct store *s, const struct check_opts *o, struct check_count *out,
                struct err *e)
{
    struct check c = {s, o, out};

    *out = (struct check_count){0};
    if (each_name(&c, STORE_BLOBS, check_blob, e) < 0 ||
        each_name(&c, STORE_PACKS, check_index, e) < 0 ||
        each_name(&c, STORE_CHECKOUTS, check_checkout, e) < 0 ||
        each_name(&c, STORE_LAYERS, check_layer, e) < 0)
        return -1;
    return store_sync(s, e);
}

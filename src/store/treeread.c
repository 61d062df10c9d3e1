/* SPDX-License-Identifier: Apache-2.0 */
/* treeread.c - read tree objects, walk a tree, compare a checkout with it
 *
 * The parser takes exactly the canonical form: a tree has one encoding, so two objects
 * with the same entries are the same blob. Everything else is ERR_CORRUPT with its byte
 * offset.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/openat2.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/inside.h"
#include "store/pack.h"
#include "store/tree.h"

#define LIMIT_TREE_OBJECT_BYTES (1 * GIB) /* ten million names */

struct reader {
    struct str text;
    size_t at;
};

static int bad(const struct reader *r, const char *what, struct err *e)
{
    return err_set(e, ERR_CORRUPT, "tree object, byte %zu: %s", r->at, what);
}

/* the bytes up to the next NUL, which is stepped over */
static bool read_z(struct reader *r, struct str *out)
{
    const char *from = r->text.ptr + r->at;
    const char *nul = memchr(from, '\0', r->text.len - r->at);

    if (!nul)
        return false;
    *out = (struct str){from, (size_t)(nul - from)};
    r->at += out->len + 1;
    return true;
}

static bool read_lit(struct reader *r, char c)
{
    if (r->at >= r->text.len || r->text.ptr[r->at] != c)
        return false;
    r->at++;
    return true;
}

static bool read_hex(struct reader *r, char hex[DIGEST_HEX])
{
    if (r->text.len - r->at < 64 ||
        !is_hex64_str((struct str){r->text.ptr + r->at, 64}))
        return false;
    memcpy(hex, r->text.ptr + r->at, 64);
    hex[64] = '\0';
    r->at += 64;
    return true;
}

static bool read_size(struct reader *r, uint64_t *out)
{
    size_t from = r->at;
    uint64_t v = 0;

    while (r->at < r->text.len && r->text.ptr[r->at] >= '0' &&
           r->text.ptr[r->at] <= '9') {
        uint64_t digit = (uint64_t)(r->text.ptr[r->at++] - '0');
        if (__builtin_mul_overflow(v, 10, &v) || __builtin_add_overflow(v, digit, &v))
            return false;
    }
    *out = v;
    return r->at > from && (r->text.ptr[from] != '0' || r->at == from + 1);
}

static bool name_ok(struct str s)
{
    return s.len > 0 && s.len <= NAME_MAX && !memchr(s.ptr, '/', s.len) &&
           !str_eqz(s, ".") && !str_eqz(s, "..");
}

static bool comes_after(struct str name, struct str last)
{
    size_t n = name.len < last.len ? name.len : last.len;
    int c = memcmp(name.ptr, last.ptr, n);

    return c > 0 || (c == 0 && name.len > last.len);
}

static int read_entry(struct reader *r, struct tree_entry *t, struct err *e)
{
    static const char letters[] = "fxdl";
    const char *letter = memchr(letters, r->text.ptr[r->at], 4);

    *t = (struct tree_entry){.hex = ""};
    if (!letter)
        return bad(r, "want an entry f, x, d or l", e);
    t->type = (enum tree_type)(letter - letters);
    r->at++;
    if (!read_lit(r, ' '))
        return bad(r, "want a space", e);
    if (t->type != TREE_LINK) {
        if (!read_hex(r, t->hex) || !read_lit(r, ' '))
            return bad(r, "want a digest", e);
        if (!read_size(r, &t->size_bytes) || !read_lit(r, ' '))
            return bad(r, "want a size", e);
    }
    if (!read_z(r, &t->path) || !name_ok(t->path))
        return bad(r, "want a name", e);
    if (t->type == TREE_LINK &&
        (!read_z(r, &t->target) || t->target.len == 0 || t->target.len >= PATH_MAX))
        return bad(r, "want the target of a link", e);
    return 0;
}

int tree_parse(struct str object, tree_fn *fn, void *ctx, struct err *e)
{
    struct reader r = {object, 0};
    struct str magic, last = {"", 0};
    struct tree_entry t;

    if (!read_z(&r, &magic) || !str_eqz(magic, TREE_MAGIC)) {
        r.at = 0;
        return bad(&r, "this is no tree object", e);
    }
    while (r.at < object.len) {
        if (read_entry(&r, &t, e) < 0)
            return -1;
        if (!comes_after(t.path, last))
            return bad(&r, "names are not sorted or not unique", e);
        last = t.path;
        if (fn(ctx, &t, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- walking ---- */

struct walk {
    struct store *store;
    tree_fn *fn;
    void *ctx;
    struct buf path;
    int depth;
};

static int walk_object(struct walk *w, const char *hex, struct err *e);

static int walk_entry(void *ctx, const struct tree_entry *entry, struct err *e)
{
    struct walk *w = ctx;
    struct tree_entry t = *entry;
    size_t parent = w->path.len;
    int r;

    if (parent)
        buf_addc(&w->path, '/');
    buf_addstr(&w->path, entry->path);
    t.path = (struct str){w->path.ptr, w->path.len};
    r = w->fn(w->ctx, &t, e);
    if (r == 0 && t.type == TREE_DIR)
        r = walk_object(w, t.hex, e);
    w->path.len = parent;
    return r;
}

static int walk_object(struct walk *w, const char *hex, struct err *e)
{
    AUTO_BUF struct buf text = {.ptr = NULL};
    int r;

    if (w->depth >= LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "tree %.12s is nested deeper than %d", hex,
                       LIMIT_PATH_DEPTH);
    if (blob_read(w->store, hex, &text, LIMIT_TREE_OBJECT_BYTES, e) < 0)
        return -1;
    w->depth++;
    r = tree_parse((struct str){buf_str(&text), text.len}, walk_entry, w, e);
    w->depth--;
    return r;
}

int tree_walk(struct store *s, const char *hex, tree_fn *fn, void *ctx, struct err *e)
{
    struct walk w = {.store = s, .fn = fn, .ctx = ctx};
    int r = walk_object(&w, hex, e);

    buf_done(&w.path);
    return r;
}

/* ---- a new grace period ---- */

static int refresh_blob(void *ctx, const char *hex, struct err *e)
{
    return blob_refresh(ctx, hex, e);
}

int tree_refresh(struct store *s, const char *hex, struct err *e)
{
    static const enum store_dir places[] = {STORE_CHECKOUTS, STORE_PACKS};
    AUTO_FD int gc = -1;
    bool there = false;

    if (!is_hex64(hex) || store_lease(s, e) < 0 || store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return err_set(e, ERR_MISSING, "no directory %.12s in the store", hex);
    for (size_t i = 0; i < N_ELEMS(places); i++) {
        if (utimensat(s->dirs[places[i]], hex, NULL, AT_SYMLINK_NOFOLLOW) == 0)
            there = true;
        else if (errno != ENOENT)
            return err_sys(e, errno, "refresh directory %.12s", hex);
    }
    if (!there)
        return err_set(e, ERR_MISSING, "directory %.12s is not in the store any more", hex);
    (void)close(fd_take(&gc));
    return tree_blobs_each(s, hex, refresh_blob, s, e);
}

/* ---- verifying a checkout ---- */

struct verify {
    struct store *store;
    int root_fd;
    uint64_t n_entries;
};

static int verify_file(struct verify *v, const char *path, const struct tree_entry *t,
                       struct err *e)
{
    AUTO_FD int fd = fd_openat2(v->root_fd, path, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0,
                                RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
    char hex[DIGEST_HEX];
    struct stat st;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR || errno == ELOOP))
        return err_set(e, ERR_CORRUPT, "%s is not there", path);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open %s", path);
    if (t->type == TREE_DIR)
        return S_ISDIR(st.st_mode)
                   ? 0
                   : err_set(e, ERR_CORRUPT, "%s is no directory", path);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_CORRUPT, "%s is no regular file", path);
    if ((uint64_t)st.st_size != t->size_bytes)
        return err_set(e, ERR_CORRUPT, "%s has %llu bytes, want %llu", path,
                       (unsigned long long)st.st_size,
                       (unsigned long long)t->size_bytes);
    if (!!(st.st_mode & S_IXUSR) != (t->type == TREE_EXEC))
        return err_set(e, ERR_CORRUPT, "%s: its executable bit has changed", path);
    if (file_hash(v->store, fd, t->size_bytes, path, hex, e) < 0)
        return -1;
    if (strcmp(hex, t->hex) != 0)
        return err_set(e, ERR_CORRUPT, "%s hashes to %.12s, want %.12s", path, hex,
                       t->hex);
    return 0;
}

static int verify_link(struct verify *v, const char *path, const struct tree_entry *t,
                       struct err *e)
{
    AUTO_FD int fd = fd_openat2(v->root_fd, path, O_PATH | O_NOFOLLOW | O_CLOEXEC, 0,
                                RESOLVE_BENEATH);
    char target[PATH_MAX];
    ssize_t n = fd < 0 ? -1 : readlinkat(fd, "", target, sizeof(target));

    if (n < 0 || !str_eq((struct str){target, (size_t)n}, t->target))
        return err_set(e, ERR_CORRUPT, "%s is not the link it was", path);
    return 0;
}

static int verify_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct verify *v = ctx;
    AUTO_FREE char *path = xasprintf("%.*s", STR_ARG(t->path));

    v->n_entries++;
    return t->type == TREE_LINK ? verify_link(v, path, t, e)
                                : verify_file(v, path, t, e);
}

static int count_entries(int dir_fd, uint64_t *n, struct err *e)
{
    DIR *d = fdopendir(dir_fd); /* takes dir_fd */
    struct dirent *ent;
    int r = 0;

    if (!d) {
        (void)close(dir_fd);
        return err_sys(e, errno, "read directory");
    }
    while (r == 0 && (ent = readdir(d))) {
        struct stat st;
        if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
            continue;
        ++*n;
        if (fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        int sub = openat(dirfd(d), ent->d_name,
                         O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        r = sub < 0 ? err_sys(e, errno, "open %s", ent->d_name)
                    : count_entries(sub, n, e);
    }
    (void)closedir(d);
    return r;
}

int tree_verify(struct store *s, const char *hex, struct err *e)
{
    char path[PATH_MAX];
    struct verify v = {.store = s};
    AUTO_FD int root = -1;
    uint64_t there = 0;

    if (tree_checkout_path(s, hex, path, sizeof(path), e) < 0)
        return -1;
    root = openat(s->dirs[STORE_CHECKOUTS], hex,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (root < 0 && errno == ENOENT)
        return pack_verify(s, hex, e);
    if (root < 0)
        return err_sys(e, errno, "open checkout %.12s", hex);
    v.root_fd = root;
    if (tree_walk(s, hex, verify_entry, &v, e) < 0 ||
        count_entries(fd_take(&root), &there, e) < 0)
        return err_at(e, "directory %.12s", hex);
    if (there != v.n_entries)
        return err_set(e, ERR_CORRUPT, "directory %.12s has %llu entries, want %llu",
                       hex, (unsigned long long)there, (unsigned long long)v.n_entries);
    return 0;
}

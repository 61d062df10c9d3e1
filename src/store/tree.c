/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - directory artifacts: hash a directory bottom up, take it over, read it back
 *
 * A task's output directory is not copied. Each file is hashed where it lies and made
 * read-only, each directory leaves one tree object among the blobs, and the directory
 * is then renamed to checkouts/<digest of its root object>: 100,000 files cost a read
 * each and not one new inode beyond the tree objects. Where it cannot be taken (another
 * file system, or the caller wants to keep it) the same walk copies it into tmp/ first.
 *
 * The tree object of a directory is written in one go from its sorted names, so memory
 * is the names of one directory per level, not the whole tree.
 */
#include "store/tree.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
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

#define OBJECT_FLUSH_BYTES (64 * KIB)

/* ---- writing tree objects ---- */

/* Small objects are hashed and looked up before they are written; one that outgrows the
 * buffer goes to a blob writer piece by piece. */
struct object {
    struct store *store;
    struct buf text;
    struct blob_writer *writer;
};

static void object_init(struct object *o, struct store *s)
{
    *o = (struct object){.store = s};
    buf_add(&o->text, TREE_MAGIC, sizeof(TREE_MAGIC));
}

static int object_flush(struct object *o, struct err *e)
{
    if (!o->writer &&
        blob_writer_open(o->store, BLOB_NOSYNC | BLOB_SURE, &o->writer, e) < 0)
        return -1;
    if (blob_writer_add(o->writer, o->text.ptr, o->text.len, e) < 0)
        return -1;
    buf_reset(&o->text);
    return 0;
}

static int object_add(struct object *o, const char *name, const struct tree_entry *t,
                      struct err *e)
{
    static const char letter[] = {
        [TREE_FILE] = 'f', [TREE_EXEC] = 'x', [TREE_DIR] = 'd', [TREE_LINK] = 'l'};

    if (t->type == TREE_LINK) {
        buf_adds(&o->text, "l ");
        buf_add(&o->text, name, strlen(name) + 1);
        buf_addstr(&o->text, t->target);
        buf_addc(&o->text, '\0');
    } else {
        buf_addf(&o->text, "%c %s %llu ", letter[t->type], t->hex,
                 (unsigned long long)t->size_bytes);
        buf_add(&o->text, name, strlen(name) + 1);
    }
    return o->text.len >= OBJECT_FLUSH_BYTES ? object_flush(o, e) : 0;
}

static int object_commit(struct object *o, struct blob_id *id, struct err *e)
{
    struct blob_writer *w = o->writer;

    if (!w)
        return blob_put_bytes(o->store, o->text.ptr, o->text.len,
                              BLOB_NOSYNC | BLOB_SURE, id, e);
    if (object_flush(o, e) < 0)
        return -1;
    o->writer = NULL;
    return blob_writer_commit(w, NULL, id, e);
}

static void object_done(struct object *o)
{
    blob_writer_abort(o->writer);
    buf_done(&o->text);
}

/* ---- names of a directory ---- */

struct names {
    char **at;
    size_t n, cap;
};

static void names_done(struct names *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct names){.at = NULL};
}
#define AUTO_NAMES __attribute__((cleanup(names_done)))

static int by_bytes(const void *a, const void *b)
{
    return strcmp(*(char *const *)a,
                  *(char *const *)b); /* unsigned bytes, shorter first */
}

static int names_read(int dir_fd, struct names *l, struct err *e)
{
    int fd = openat(dir_fd, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d) {
        int sys = errno;
        if (fd >= 0)
            (void)close(fd);
        return err_sys(e, sys, "read directory");
    }
    for (;;) {
        errno = 0;
        struct dirent *ent = readdir(d);
        if (!ent)
            break;
        if (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0)
            continue;
        if (l->n == l->cap) {
            l->cap = l->cap ? 2 * l->cap : 64;
            l->at = xrealloc(l->at, l->cap * sizeof(*l->at));
        }
        l->at[l->n++] = xstrdup(ent->d_name);
    }
    int sys = errno;
    (void)closedir(d);
    if (sys)
        return err_sys(e, sys, "read directory");
    if (l->n > 1)
        qsort(l->at, l->n, sizeof(*l->at), by_bytes);
    return 0;
}

/* ---- taking a directory in ---- */

struct put {
    struct store *store;
    bool copy; /* else the source itself becomes the checkout */
    struct tree_id id;
};

static int put_dir(struct put *p, int src, int dst, int depth, struct tree_entry *out,
                   struct err *e);

/* open a file or directory of the source, though its owner may have locked himself out
 */
static int open_entry(struct put *p, int src, const char *name, int flags,
                      struct err *e)
{
    int fd = openat(src, name, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    if (fd < 0 && errno == EACCES && !p->copy &&
        fchmodat(src, name, flags & O_DIRECTORY ? 0700 : 0400, 0) == 0)
        fd = openat(src, name, flags | O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s", name);
    return fd;
}

/* what belongs to another id (a rootless box has several) keeps its owner and mode */
static int make_ours(int fd, const struct stat *st, mode_t mode, const char *name,
                     struct err *e)
{
    if (st->st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0 &&
        errno != EPERM)
        return err_sys(e, errno, "take over %s", name);
    if (fchmod(fd, mode) < 0 && errno != EPERM)
        return err_sys(e, errno, "make %s read-only", name);
    return 0;
}

static bool others_write(int fd, const struct stat *st)
{
    if (st->st_nlink != 1)
        return true;
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return errno == EAGAIN || errno == EBUSY;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return false;
}

/* copy fd into the new file NAME of dst */
static int copy_as(struct put *p, int fd, const struct stat *st, int dst,
                   const char *name, char hex[DIGEST_HEX], struct err *e)
{
    AUTO_FD int out =
        openat(dst, name, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (out < 0)
        return store_err(e, errno, "write a copy of", name);
    if (file_copy(p->store, fd, out, (uint64_t)st->st_size, name, hex, e) < 0 ||
        file_unchanged(fd, st, name, e) < 0)
        return -1;
    if (fchmod(out, st->st_mode & S_IXUSR ? 0555 : 0444) < 0)
        return err_sys(e, errno, "chmod a copy of %s", name);
    return 0;
}

/* a file that others could still write to through another link makes way for a copy */
static int replace_by_copy(struct put *p, int fd, const struct stat *st, int dir,
                           const char *name, char hex[DIGEST_HEX], struct err *e)
{
    char tmp[STORE_TMP_NAME];

    store_unique(p->store, ".copy", tmp);
    if (copy_as(p, fd, st, dir, tmp, hex, e) == 0) {
        if (renameat(dir, tmp, dir, name) == 0)
            return 0;
        err_sys(e, errno, "replace %s by a copy", name);
    }
    (void)unlinkat(dir, tmp, 0);
    return -1;
}

static int take_file(struct put *p, int fd, const struct stat *st, const char *name,
                     char hex[DIGEST_HEX], struct err *e)
{
    if (file_hash(p->store, fd, (uint64_t)st->st_size, name, hex, e) < 0 ||
        file_unchanged(fd, st, name, e) < 0)
        return -1;
    return make_ours(fd, st, st->st_mode & S_IXUSR ? 0555 : 0444, name, e);
}

static int put_file(struct put *p, int src, int dst, const char *name,
                    struct tree_entry *t, struct err *e)
{
    AUTO_FD int fd = open_entry(p, src, name, 0, e);
    struct stat st;
    int r;

    if (fd < 0)
        return -1;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return err_set(e, ERR_BUSY, "%s changed while it was read", name);
    if (p->copy)
        r = copy_as(p, fd, &st, dst, name, t->hex, e);
    else if (others_write(fd, &st))
        r = replace_by_copy(p, fd, &st, src, name, t->hex, e);
    else
        r = take_file(p, fd, &st, name, t->hex, e);
    if (r < 0)
        return -1;
    t->type = st.st_mode & S_IXUSR ? TREE_EXEC : TREE_FILE;
    t->size_bytes = (uint64_t)st.st_size;
    p->id.n_files++;
    p->id.size_bytes += t->size_bytes;
    return 0;
}

static int put_link(struct put *p, int src, int dst, const char *name,
                    struct tree_entry *t, char target[PATH_MAX], struct err *e)
{
    ssize_t n = readlinkat(src, name, target, PATH_MAX);

    if (n <= 0 || n >= PATH_MAX)
        return err_sys(e, n < 0 ? errno : ENAMETOOLONG, "read link %s", name);
    target[n] = '\0';
    if (p->copy && symlinkat(target, dst, name) < 0)
        return store_err(e, errno, "make link", name);
    t->type = TREE_LINK;
    t->target = (struct str){target, (size_t)n};
    p->id.links++;
    return 0;
}

static int put_subdir(struct put *p, int src, int dst, const char *name, int depth,
                      struct tree_entry *t, struct err *e)
{
    AUTO_FD int from = open_entry(p, src, name, O_DIRECTORY, e);
    AUTO_FD int to = -1;

    if (from < 0)
        return -1;
    if (p->copy) {
        if (mkdirat(dst, name, 0700) < 0)
            return store_err(e, errno, "make directory", name);
        to = openat(dst, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (to < 0)
            return err_sys(e, errno, "open copy of %s", name);
    }
    if (put_dir(p, from, to, depth + 1, t, e) < 0)
        return err_at(e, "%s", name);
    if (p->copy && fchmod(to, 0555) < 0)
        return err_sys(e, errno, "make %s read-only", name);
    return 0;
}

/* 1: an entry for the tree; 0: left out */
static int put_entry(struct put *p, int src, int dst, const char *name, int depth,
                     struct tree_entry *t, char target[PATH_MAX], struct err *e)
{
    struct stat st;

    if (fstatat(src, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "look at %s", name);
    if (S_ISREG(st.st_mode))
        return put_file(p, src, dst, name, t, e) < 0 ? -1 : 1;
    if (S_ISLNK(st.st_mode))
        return put_link(p, src, dst, name, t, target, e) < 0 ? -1 : 1;
    if (S_ISDIR(st.st_mode))
        return put_subdir(p, src, dst, name, depth, t, e) < 0 ? -1 : 1;
    p->id.skipped++;
    if (!p->copy && unlinkat(src, name, 0) < 0) /* a checkout equals its tree */
        return err_sys(e, errno, "remove %s, which is no file", name);
    return 0;
}

/* src is open; dst is the directory that copies go to, or -1 */
static int put_dir(struct put *p, int src, int dst, int depth, struct tree_entry *out,
                   struct err *e)
{
    AUTO_NAMES struct names names = {.at = NULL};
    AUTO_FREE char *target = xalloc(PATH_MAX);
    uint64_t before = p->id.size_bytes;
    struct object object;
    struct blob_id id;
    struct stat st;
    int r = 0;

    if (depth > LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "directories are nested deeper than %d",
                       LIMIT_PATH_DEPTH);
    if (fstat(src, &st) < 0)
        return err_sys(e, errno, "look at directory");
    if (!p->copy && (st.st_mode & 0700) != 0700 && fchmod(src, 0700) < 0 &&
        errno != EPERM)
        return err_sys(e, errno, "open up directory");
    if (names_read(src, &names, e) < 0)
        return -1;

    object_init(&object, p->store);
    for (size_t i = 0; i < names.n && r >= 0; i++) {
        struct tree_entry t = {.hex = ""};
        r = put_entry(p, src, dst, names.at[i], depth, &t, target, e);
        if (r == 1)
            r = object_add(&object, names.at[i], &t, e);
    }
    if (r >= 0)
        r = object_commit(&object, &id, e);
    object_done(&object);
    if (r < 0)
        return -1;

    out->type = TREE_DIR;
    out->size_bytes = p->id.size_bytes - before;
    memcpy(out->hex, id.hex, sizeof(out->hex));
    /* the root of a checkout gets its mode when it is in place: to move a directory one
     * must be able to write to it */
    return p->copy || depth == 0 ? 0 : make_ours(src, &st, 0555, "directory", e);
}

/* ---- publishing a checkout ---- */

int meet_checkout(struct store *s, int at, const char *name, const char *hex, bool *met,
                  struct err *e)
{
    AUTO_FD int gc = -1;

    *met = false;
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    if (utimensat(s->dirs[STORE_CHECKOUTS], hex, NULL, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_sys(e, errno, "refresh checkout %.12s", hex);
    *met = true;
    s->touched[STORE_CHECKOUTS] = true; /* its name may be a moment old */
    (void)close(fd_take(&gc));          /* removing may take long */
    return store_drop_later(s, at, name, e);
}

/* rename(2) replaces an empty directory and no other, so it cannot destroy a checkout.
 */
int publish_checkout(struct store *s, int at, const char *name, int fd, const char *hex,
                     struct err *e)
{
    AUTO_FD int gc = -1;
    struct stat st;
    bool met;

    if (meet_checkout(s, at, name, hex, &met, e) < 0 || met)
        return met ? 0 : -1;
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    if (fstat(fd, &st) < 0 || (futimens(fd, NULL) < 0 && errno != EPERM))
        return err_sys(e, errno, "set time of %s", name);
    if (renameat(at, name, s->dirs[STORE_CHECKOUTS], hex) < 0) {
        if (errno != EEXIST && errno != ENOTEMPTY)
            return store_err(e, errno, "name checkout", hex);
        (void)close(fd_take(&gc));
        return publish_checkout(s, at, name, fd, hex, e); /* it came just now */
    }
    s->touched[STORE_CHECKOUTS] = true;
    return make_ours(fd, &st, 0555, name, e);
}

static int put_here(struct put *p, int dir_fd, const char *name, int src, struct err *e)
{
    struct tree_entry root = {.hex = ""};

    bool met;

    if (put_dir(p, src, -1, 0, &root, e) < 0)
        return -1;
    memcpy(p->id.hex, root.hex, sizeof(p->id.hex));
    /* what is known goes again: its bytes need not reach the disk */
    if (meet_checkout(p->store, dir_fd, name, root.hex, &met, e) < 0)
        return -1;
    if ((!met || store_is_loose(p->store)) && store_settle(p->store, e) < 0)
        return -1;
    return met ? 0 : publish_checkout(p->store, dir_fd, name, src, root.hex, e);
}

static int put_copy(struct put *p, int src, struct err *e)
{
    struct store *s = p->store;
    struct tree_entry root = {.hex = ""};
    char tmp[STORE_TMP_NAME];
    AUTO_FD int dst = -1;
    struct err ignored;
    int r;

    if (store_tmp_dir(s, "tree", tmp, &dst, e) < 0)
        return -1;
    r = put_dir(p, src, dst, 0, &root, e);
    if (r == 0)
        r = store_settle(s, e);
    if (r == 0) {
        memcpy(p->id.hex, root.hex, sizeof(p->id.hex));
        r = publish_checkout(s, s->dirs[STORE_TMP], tmp, dst, root.hex, e);
    }
    if (r < 0)
        (void)store_drop(s, s->dirs[STORE_TMP], tmp, &ignored);
    return r;
}

/* a directory can be taken when it lies on our file system and is ours */
static bool may_take(struct store *s, int fd, const struct stat *st)
{
    return same_mount(fd, s->dirs[STORE_CHECKOUTS]) &&
           (geteuid() == 0 || st->st_uid == geteuid());
}

int tree_put(struct store *s, int dir_fd, const char *name, unsigned flags,
             struct tree_id *out, struct err *e)
{
    AUTO_FD int src =
        openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct put p = {.store = s};
    struct stat st;

    if (src < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "%s does not exist", name);
    if (src < 0 && (errno == ENOTDIR || errno == ELOOP))
        return err_set(e, ERR_INPUT, "%s is not a directory", name);
    if (src < 0 || fstat(src, &st) < 0)
        return err_sys(e, errno, "open %s", name);

    if (store_lease(s, e) < 0)
        return -1;
    p.copy = !(flags & BLOB_ADOPT) || !may_take(s, src, &st);
    if ((p.copy ? put_copy(&p, src, e) : put_here(&p, dir_fd, name, src, e)) < 0)
        return err_at(e, "%s", name);
    if (p.copy && (flags & BLOB_ADOPT) && fd_remove_tree(dir_fd, name, e) < 0)
        return -1;
    *out = p.id;
    return 0;
}

int tree_checkout_path(struct store *s, const char *hex, char *out, size_t cap,
                       struct err *e)
{
    struct stat st;

    if (!hex || !is_hex64(hex))
        return err_set(e, ERR_INPUT, "\"%.80s\" is not a sha256 digest",
                       hex ? hex : "");
    if (fstatat(s->dirs[STORE_CHECKOUTS], hex, &st, AT_SYMLINK_NOFOLLOW) < 0 &&
        !tree_is_packed(s, hex)) {
        if (errno == ENOENT)
            return err_set(e, ERR_MISSING,
                           "directory %.12s is not in the store any more", hex);
        return err_sys(e, errno, "look at checkout %.12s", hex);
    }
    if ((size_t)snprintf(out, cap, "%s/checkouts/%s", s->home, hex) >= cap)
        return err_set(e, ERR_LIMIT, "the path of the home is too long: %.200s",
                       s->home);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* blob.c - put, open and verify blobs
 *
 * A blob is written without a name (O_TMPFILE), hashed in the same pass, and linked in
 * under its digest when all of it is there. linkat never overwrites: whoever comes
 * second finds the name taken, which is success, and makes its mtime new so that a
 * sweep which has seen the old one lets it live (gc.h). A large output is not copied at
 * all: the file itself gets a second name in the store and loses its first one.
 *
 * Writing out begins while hashing goes on (sync_file_range), so that the disk and the
 * processor work at the same time and the fdatasync at the end finds little left to do.
 *
 * We turned down rename for adopting: the name could have been exchanged since the file
 * was opened and hashed. A link made from the descriptor cannot.
 */
#include "store/blob.h"

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
#include "base/limits.h"
#include "base/log.h"
#include "base/mem.h"
#include "store/inside.h"

#define EARLY_WRITE_BYTES (8 * MIB) /* how much may wait before writing out is begun   \
                                     */

static int want_digest(const char *hex, struct err *e)
{
    if (hex && is_hex64(hex))
        return 0;
    return err_set(e, ERR_INPUT, "\"%.80s\" is not a sha256 digest", hex ? hex : "");
}

/* ---- hashing and copying open files ---- */

static bool same_time(struct timespec a, struct timespec b)
{
    return a.tv_sec == b.tv_sec && a.tv_nsec == b.tv_nsec;
}

/* read up to len bytes at offset; 0 only at the end of the file */
static ssize_t read_at(int fd, uint8_t *p, size_t len, uint64_t offset)
{
    ssize_t n;

    do {
        n = pread(fd, p, len, (off_t)offset);
    } while (n < 0 && errno == EINTR);
    return n;
}

static int changed(const char *name, struct err *e)
{
    return err_set(e, ERR_BUSY,
                   "%s changed while it was read: something still writes to it", name);
}

int file_unchanged(int fd, const struct stat *before, const char *name, struct err *e)
{
    struct stat now;

    if (fstat(fd, &now) < 0)
        return err_sys(e, errno, "look at %s", name);
    if (before->st_size != now.st_size || !same_time(before->st_mtim, now.st_mtim) ||
        !same_time(before->st_ctim, now.st_ctim))
        return changed(name, e);
    return 0;
}

int file_hash(struct store *s, int fd, uint64_t size, const char *name,
              char hex[DIGEST_HEX], struct err *e)
{
    uint8_t *p = store_hash_buf(s);
    uint64_t at = 0;
    struct sha256 h;

    sha256_init(&h);
    while (at < size) {
        uint64_t left = size - at;
        ssize_t n = read_at(fd, p, left < HASH_BUF_BYTES ? left : HASH_BUF_BYTES, at);
        if (n < 0)
            return err_sys(e, errno, "read %s", name);
        if (n == 0)
            return changed(name, e);
        sha256_add(&h, p, (size_t)n);
        at += (uint64_t)n;
    }
    sha256_final_hex(&h, hex);
    return 0;
}

static void hash_zeros(struct store *s, struct sha256 *h, uint64_t len)
{
    uint8_t *p = store_hash_buf(s);

    memset(p, 0, len < HASH_BUF_BYTES ? len : HASH_BUF_BYTES);
    for (; len > HASH_BUF_BYTES; len -= HASH_BUF_BYTES)
        sha256_add(h, p, HASH_BUF_BYTES);
    sha256_add(h, p, len);
}

static int copy_range(struct store *s, int src, int dst, uint64_t at, uint64_t end,
                      const char *name, struct sha256 *h, struct err *e)
{
    uint8_t *p = store_hash_buf(s);
    uint64_t early = at;

    while (at < end) {
        uint64_t left = end - at;
        ssize_t n = read_at(src, p, left < HASH_BUF_BYTES ? left : HASH_BUF_BYTES, at);
        if (n < 0)
            return err_sys(e, errno, "read %s", name);
        if (n == 0)
            return changed(name, e);
        sha256_add(h, p, (size_t)n);
        for (ssize_t done = 0; done < n;) {
            ssize_t w = pwrite(dst, p + done, (size_t)(n - done), (off_t)at + done);
            if (w < 0 && errno != EINTR)
                return store_err(e, errno, "write a copy of", name);
            done += w > 0 ? w : 0;
        }
        at += (uint64_t)n;
        if (at - early >= EARLY_WRITE_BYTES) {
            (void)sync_file_range(dst, (off_t)early, (off_t)(at - early),
                                  SYNC_FILE_RANGE_WRITE);
            early = at;
        }
    }
    return 0;
}

int file_copy(struct store *s, int src, int dst, uint64_t size, const char *name,
              char hex[DIGEST_HEX], struct err *e)
{
    struct sha256 h;
    uint64_t at = 0;

    if (size > 0 && ioctl(dst, FICLONE, src) == 0)
        return file_hash(s, dst, size, name, hex, e);

    sha256_init(&h);
    while (at < size) {
        off_t data = lseek(src, (off_t)at, SEEK_DATA);
        uint64_t from = data < 0 ? (errno == ENXIO ? size : at) : (uint64_t)data;
        off_t hole = data < 0 ? -1 : lseek(src, data, SEEK_HOLE);
        uint64_t to = hole < 0 ? size : (uint64_t)hole;

        from = from < size ? from : size;
        to = to < size ? to : size;
        hash_zeros(s, &h, from - at);
        if (copy_range(s, src, dst, from, to, name, &h, e) < 0)
            return -1;
        at = to;
    }
    if (ftruncate(dst, (off_t)size) < 0) /* a hole at the end */
        return store_err(e, errno, "write a copy of", name);
    sha256_final_hex(&h, hex);
    return 0;
}

int file_link(int fd, int dir_fd, const char *name)
{
    char proc[40];

    if (linkat(fd, "", dir_fd, name, AT_EMPTY_PATH) == 0)
        return 0;
    if (errno == EEXIST)
        return -1;
    /* AT_EMPTY_PATH wants CAP_DAC_READ_SEARCH on most kernels */
    (void)snprintf(proc, sizeof(proc), "/proc/self/fd/%d", fd);
    return linkat(AT_FDCWD, proc, dir_fd, name, AT_SYMLINK_FOLLOW);
}

/* ---- publishing ---- */

/* An open file that has no name in the store yet. Without O_TMPFILE it has one in tmp/.
 */
struct draft {
    int fd;
    char tmp_name[STORE_TMP_NAME];
};

static int draft_open(struct store *s, struct draft *d, struct err *e)
{
    AUTO_FD int gc = -1;

    d->tmp_name[0] = '\0';
    d->fd = openat(s->dirs[STORE_BLOBS], ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (d->fd >= 0)
        return 0;
    if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL && errno != ENOENT)
        return store_err(e, errno, "write into", "the store");
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    store_unique(s, "blob", d->tmp_name);
    d->fd = openat(s->dirs[STORE_TMP], d->tmp_name,
                   O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (d->fd < 0 || flock(d->fd, LOCK_SH) < 0)
        return store_err(e, errno, "write into", "the store");
    return 0;
}

static void draft_done(struct store *s, struct draft *d)
{
    if (d->tmp_name[0])
        (void)unlinkat(s->dirs[STORE_TMP], d->tmp_name, 0);
    if (d->fd >= 0)
        (void)close(d->fd);
    d->fd = -1;
    d->tmp_name[0] = '\0';
}

/* the name is taken: fine, unless what is there cannot be the same bytes */
static int meet_existing(struct store *s, const char *hex, uint64_t size, unsigned flags,
                         struct err *e)
{
    struct stat st;
    struct err why = {0};
    bool loose;

    if (fstatat(s->dirs[STORE_BLOBS], hex, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 1 : err_sys(e, errno, "look at blob %.12s", hex);
    loose = is_loose(s, hex, &st);
    if (!S_ISREG(st.st_mode) || (uint64_t)st.st_size != size ||
        ((loose || (flags & BLOB_SURE)) && blob_verify(s, hex, &why) < 0 &&
         why.code == ERR_CORRUPT)) {
        if (!loose) /* else nobody was told that it is there */
            log_note("blob %.12s in the store was damaged and is replaced", hex);
        return blob_quarantine(s, hex, e) < 0 ? -1 : 1;
    }
    if (loose && settle_one(s, hex, e) < 0)
        return -1;
    s->touched[STORE_BLOBS] = true; /* its name may be a moment old */
    if (utimensat(s->dirs[STORE_BLOBS], hex, NULL, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "refresh blob %.12s", hex);
    return 0;
}

/* give fd its name; the caller holds locks/gc shared */
static int publish_locked(struct store *s, int fd, const char *hex, uint64_t size,
                          unsigned flags, struct err *e)
{
    for (int i = 0; i < 100; i++) {
        if (file_link(fd, s->dirs[STORE_BLOBS], hex) == 0) {
            s->touched[STORE_BLOBS] = true;
            if (flags & BLOB_NOSYNC)
                loose_add(s, hex);
            return 0;
        }
        if (errno != EEXIST)
            return store_err(e, errno, "name blob", hex);
        int r = meet_existing(s, hex, size, flags, e);
        if (r <= 0)
            return r;
    }
    return err_set(e, ERR_BUSY,
                   "blob %.12s comes and goes: two processes repair the store", hex);
}

static int publish(struct store *s, int fd, const char *hex, uint64_t size,
                   unsigned flags, struct err *e)
{
    AUTO_FD int gc = -1;

    if (seal_wanted(s))
        (void)seal_file(fd); /* before the mode takes write access from its owner */
    if (fchmod(fd, loose_mode(flags)) < 0)
        return err_sys(e, errno, "chmod blob %.12s", hex);
    if (!(flags & BLOB_NOSYNC) && fdatasync(fd) < 0)
        return store_err(e, errno, "make durable blob", hex);
    if (store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    return publish_locked(s, fd, hex, size, flags, e);
}

int blob_link(struct store *s, int fd, const char *hex, uint64_t size, struct err *e)
{
    if (futimens(fd, NULL) < 0)
        return err_sys(e, errno, "set time of blob %.12s", hex);
    return publish(s, fd, hex, size, 0, e);
}

int blob_refresh(struct store *s, const char *hex, struct err *e)
{
    AUTO_FD int gc = -1;

    if (want_digest(hex, e) < 0 || store_lease(s, e) < 0 ||
        store_gc_lock(s, LOCK_SH, &gc, e) < 0)
        return -1;
    if (utimensat(s->dirs[STORE_BLOBS], hex, NULL, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    if (errno == ENOENT)
        return err_set(e, ERR_MISSING, "no blob %.12s in the store", hex);
    return err_sys(e, errno, "refresh blob %.12s", hex);
}

/* is a blob of this name and size there already? Then its grace period starts again. */
static bool known(struct store *s, const char *hex, uint64_t size)
{
    struct stat st;
    struct err e;

    if (fstatat(s->dirs[STORE_BLOBS], hex, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        !S_ISREG(st.st_mode) || (uint64_t)st.st_size != size || is_loose(s, hex, &st) ||
        blob_refresh(s, hex, &e) < 0)
        return false;
    s->touched[STORE_BLOBS] = true; /* its name may be a moment old */
    return true;
}

int blob_put_bytes(struct store *s, const void *bytes, size_t len, unsigned flags,
                   struct blob_id *out, struct err *e)
{
    struct blob_id id = {.size_bytes = len};
    struct draft d = {.fd = -1};
    struct err why;
    int r = -1;

    if (store_lease(s, e) < 0)
        return -1;
    sha256_hex(bytes, len, id.hex);
    if (known(s, id.hex, len) &&
        (!(flags & BLOB_SURE) || blob_verify(s, id.hex, &why) == 0)) {
        *out = id;
        return 0;
    }
    if (draft_open(s, &d, e) == 0 && fd_write_all(d.fd, bytes, len, e) == 0)
        r = publish(s, d.fd, id.hex, len, flags, e);
    draft_done(s, &d);
    if (r == 0)
        *out = id;
    return r;
}

/* ---- files ---- */

static int open_source(int dir_fd, const char *name, int *out, struct stat *st,
                       struct err *e)
{
    AUTO_FD int fd =
        openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "%s does not exist", name);
    if (fd < 0 && errno == ELOOP)
        return err_set(e, ERR_INPUT, "%s is a symbolic link, want a regular file",
                       name);
    if (fd < 0 && errno == ENXIO)
        return err_set(e, ERR_INPUT, "%s is a socket, want a regular file", name);
    if (fd < 0 || fstat(fd, st) < 0)
        return err_sys(e, errno, "open %s", name);
    if (!S_ISREG(st->st_mode))
        return err_set(e, ERR_INPUT, "%s is not a regular file", name);
    *out = fd_take(&fd);
    return 0;
}

/* A bind mount has the device of what it shows, and rename and link refuse all the same. */
static bool mount_of(int fd, int *id)
{
    struct file_handle none = {.handle_bytes = 0};

    return name_to_handle_at(fd, "", &none, id, AT_EMPTY_PATH) < 0 && errno == EOVERFLOW;
}

bool same_mount(int a, int b)
{
    struct stat sa, sb;
    int ma, mb;

    if (fstat(a, &sa) < 0 || fstat(b, &sb) < 0 || sa.st_dev != sb.st_dev)
        return false;
    return !mount_of(a, &ma) || !mount_of(b, &mb) || ma == mb;
}

/* may this very file become the blob? Nobody else may be able to write to it later. */
static bool may_adopt(struct store *s, int fd, const struct stat *st)
{
    if (st->st_nlink != 1 || !same_mount(fd, s->dirs[STORE_BLOBS]))
        return false;
    if (geteuid() != 0 && st->st_uid != geteuid())
        return false;
    /* a read lease is refused while somebody has the file open for writing; it is let
     * go at once, since a broken lease would come as SIGIO */
    if (fcntl(fd, F_SETLEASE, F_RDLCK) < 0)
        return errno != EAGAIN && errno != EBUSY;
    (void)fcntl(fd, F_SETLEASE, F_UNLCK);
    return true;
}

static int put_adopted(struct store *s, int fd, const struct stat *st, const char *name,
                       unsigned flags, struct blob_id *id, struct err *e)
{
    if (!(flags & BLOB_NOSYNC))
        (void)sync_file_range(fd, 0, 0, SYNC_FILE_RANGE_WRITE);
    if (file_hash(s, fd, id->size_bytes, name, id->hex, e) < 0 ||
        file_unchanged(fd, st, name, e) < 0)
        return -1;
    if (known(s, id->hex, id->size_bytes))
        return 0;
    if (st->st_uid != geteuid() && fchown(fd, geteuid(), getegid()) < 0)
        return err_sys(e, errno, "take over %s", name);
    if (futimens(fd, NULL) <
        0) /* the grace period starts now, not when the task wrote it */
        return err_sys(e, errno, "set time of %s", name);
    return publish(s, fd, id->hex, id->size_bytes, flags, e);
}

static int put_copied(struct store *s, int fd, const struct stat *st, const char *name,
                      unsigned flags, struct blob_id *id, struct err *e)
{
    struct draft d = {.fd = -1};
    int r = -1;

    if (draft_open(s, &d, e) == 0 &&
        file_copy(s, fd, d.fd, id->size_bytes, name, id->hex, e) == 0 &&
        file_unchanged(fd, st, name, e) == 0)
        r = publish(s, d.fd, id->hex, id->size_bytes, flags, e);
    draft_done(s, &d);
    return r;
}

int blob_put_file(struct store *s, int dir_fd, const char *name, unsigned flags,
                  struct blob_id *out, struct err *e)
{
    AUTO_FD int fd = -1;
    struct blob_id id = {.hex = ""};
    struct stat st;

    if (open_source(dir_fd, name, &fd, &st, e) < 0 || store_lease(s, e) < 0)
        return -1;
    id.size_bytes = (uint64_t)st.st_size;
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (((flags & BLOB_ADOPT) && may_adopt(s, fd, &st) ? put_adopted : put_copied)(
            s, fd, &st, name, flags, &id, e) < 0)
        return -1;
    if ((flags & BLOB_ADOPT) && unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT)
        return err_sys(e, errno, "remove %s, which is in the store now", name);
    *out = id;
    return 0;
}

/* ---- streams ---- */

struct blob_writer {
    struct store *store;
    unsigned flags;
    struct draft draft;
    struct sha256 hash;
    uint64_t size, early;
};

int blob_writer_open(struct store *s, unsigned flags, struct blob_writer **gives,
                     struct err *e)
{
    struct blob_writer *w;

    if (store_lease(s, e) < 0)
        return -1;
    w = xalloc(sizeof(*w));
    w->store = s;
    w->flags = flags;
    w->draft.fd = -1;
    sha256_init(&w->hash);
    if (draft_open(s, &w->draft, e) < 0) {
        blob_writer_abort(w);
        return -1;
    }
    *gives = w;
    return 0;
}

int blob_writer_add(struct blob_writer *w, const void *bytes, size_t len, struct err *e)
{
    sha256_add(&w->hash, bytes, len);
    if (fd_write_all(w->draft.fd, bytes, len, e) < 0)
        return err_at(e, "write into the store");
    w->size += len;
    if (w->size - w->early >= EARLY_WRITE_BYTES) {
        (void)sync_file_range(w->draft.fd, (off_t)w->early, (off_t)(w->size - w->early),
                              SYNC_FILE_RANGE_WRITE);
        w->early = w->size;
    }
    return 0;
}

int blob_writer_commit(struct blob_writer *w, const char *want_hex, struct blob_id *out,
                       struct err *e)
{
    struct blob_id id = {.size_bytes = w->size};
    int r;

    sha256_final_hex(&w->hash, id.hex);
    if (want_hex && strcmp(want_hex, id.hex) != 0)
        r = err_set(e, ERR_CORRUPT, "bytes hash to sha256:%.12s, want sha256:%.12s",
                    id.hex, want_hex);
    else
        r = publish(w->store, w->draft.fd, id.hex, id.size_bytes, w->flags, e);
    blob_writer_abort(w);
    if (r == 0)
        *out = id;
    return r;
}

void blob_writer_abort(struct blob_writer *w)
{
    if (!w)
        return;
    draft_done(w->store, &w->draft);
    free(w);
}

/* ---- reading ---- */

int blob_open(struct store *s, const char *hex, int *out, uint64_t *size_bytes,
              struct err *e)
{
    AUTO_FD int fd = -1;
    struct stat st;

    if (want_digest(hex, e) < 0)
        return -1;
    fd = openat(s->dirs[STORE_BLOBS], hex,
                O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "no blob %.12s in the store", hex);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open blob %.12s", hex);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_CORRUPT, "blob %.12s in the store is no regular file",
                       hex);
    if (size_bytes)
        *size_bytes = (uint64_t)st.st_size;
    *out = fd_take(&fd);
    return 0;
}

bool blob_has(struct store *s, const char *hex)
{
    struct stat st;

    return hex && is_hex64(hex) &&
           fstatat(s->dirs[STORE_BLOBS], hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode);
}

bool blob_is_kept(struct store *s, const char *hex)
{
    struct stat st;

    return hex && is_hex64(hex) &&
           fstatat(s->dirs[STORE_BLOBS], hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           S_ISREG(st.st_mode) && !is_loose(s, hex, &st);
}

int blob_copied(struct sha256 *sum, const char *hex, const char *what, struct err *e)
{
    char is[DIGEST_HEX];

    sha256_final_hex(sum, is);
    if (strcmp(is, hex) == 0)
        return 0;
    return err_set(e, ERR_CORRUPT,
                   "%s: its bytes in the store are damaged (sha256 %.12s, want %.12s): dugout "
                   "fsck --full says what that touches and what to do",
                   what, is, hex);
}

int blob_verify(struct store *s, const char *hex, struct err *e)
{
    AUTO_FD int fd = -1;
    char name[32], got[DIGEST_HEX];
    uint64_t size;

    if (blob_open(s, hex, &fd, &size, e) < 0)
        return -1;
    (void)snprintf(name, sizeof(name), "blob %.12s", hex);
    (void)posix_fadvise(fd, 0, 0, POSIX_FADV_SEQUENTIAL);
    if (file_hash(s, fd, size, name, got, e) < 0)
        return e->sys == EIO && seal_holds(fd)
                   ? err_set(e, ERR_CORRUPT,
                             "blob %.12s in the store is not what was sealed: its bytes on "
                             "the disk have changed",
                             hex)
                   : -1;
    if (strcmp(got, hex) != 0)
        return err_set(e, ERR_CORRUPT, "blob %.12s in the store hashes to %.12s", hex,
                       got);
    return 0;
}

bool blob_is_sealed(struct store *s, const char *hex)
{
    AUTO_FD int fd = -1;
    struct err ignored;

    return blob_open(s, hex, &fd, NULL, &ignored) == 0 && seal_holds(fd);
}

bool blob_seal(struct store *s, const char *hex)
{
    AUTO_FD int fd = -1;
    struct err ignored;

    return seal_wanted(s) && blob_open(s, hex, &fd, NULL, &ignored) == 0 && seal_file(fd);
}

int blob_quarantine(struct store *s, const char *hex, struct err *e)
{
    char name[sizeof("corrupt-") + DIGEST_HEX];

    if (want_digest(hex, e) < 0)
        return -1;
    (void)snprintf(name, sizeof(name), "corrupt-%s", hex);
    if (renameat(s->dirs[STORE_BLOBS], hex, s->dirs[STORE_TRASH], name) < 0 &&
        errno != ENOENT)
        return err_sys(e, errno, "move damaged blob %.12s to trash", hex);
    (void)utimensat(s->dirs[STORE_TRASH], name, NULL, AT_SYMLINK_NOFOLLOW);
    s->touched[STORE_BLOBS] = true;
    return 0;
}

int blob_read(struct store *s, const char *hex, struct buf *out, size_t max_bytes,
              struct err *e)
{
    AUTO_FD int fd = -1;
    AUTO_BUF struct buf b = {.ptr = NULL};
    char got[DIGEST_HEX];

    if (blob_open(s, hex, &fd, NULL, e) < 0)
        return -1;
    if (fd_read_all(fd, &b, max_bytes, e) < 0)
        return err_at(e, "blob %.12s", hex);
    sha256_hex(b.len ? b.ptr : "", b.len, got);
    if (strcmp(got, hex) != 0)
        return err_set(e, ERR_CORRUPT, "blob %.12s in the store hashes to %.12s", hex,
                       got);
    buf_add(out, b.ptr, b.len);
    return 0;
}

int blob_path(struct store *s, const char *hex, char *out, size_t cap, struct err *e)
{
    if (want_digest(hex, e) < 0)
        return -1;
    if ((size_t)snprintf(out, cap, "%s/store/blobs/sha256/%s", s->home, hex) >= cap)
        return err_set(e, ERR_LIMIT, "the path of the home is too long: %.200s",
                       s->home);
    return 0;
}

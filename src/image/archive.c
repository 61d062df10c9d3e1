/* SPDX-License-Identifier: Apache-2.0 */
/* archive.c - the members of an image archive, wherever they are
 *
 * The order of members means nothing: `docker save` writes its manifest last, skopeo
 * first. A plain tar on disk is walked once over its headers, the data skipped with
 * lseek, which leaves a table of name -> offset and size; layers are then read from the
 * file itself, by several workers at a time. Some archives name a layer by a symbolic
 * link to another member; such links are resolved in the table and can lead nowhere
 * else.
 */
#include "image/archive.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/feed.h"
#include "image/place.h"

#define LIMIT_MEMBERS 200000
#define LIMIT_LINKS 16
#define SMALL_BYTES LIMIT_JSON_BYTES  /* of a stream: what is kept in memory */
#define LIMIT_SMALL_BYTES (256 * MIB) /* all of them together */
#define READ_BYTES (64 * 1024)

struct member {
    const char *name;
    const char *link; /* another member's name; NULL: this has bytes of its own */
    uint64_t offset, size;
    const void *mem;
    char hex[DIGEST_HEX]; /* bytes are in this blob; "" */
};

struct image_archive {
    struct store *store;
    struct archive_opts opts;
    int dir_fd; /* a directory; then there is no table */
    int fd;     /* the tar, or the spool of a stream */
    uint64_t size;
    struct arena arena;
    struct map members;
    size_t n_members;
    const struct member *last; /* of a tar on disk: the member before the next header */
    uint64_t small_bytes, spool_bytes;

    struct archive *tar; /* while it is indexed */
    struct feed *feed;
    char *buf;
    struct err read_err;
};

static struct image_archive *archive_new(struct store *s,
                                         const struct archive_opts *opts)
{
    struct image_archive *a = xalloc(sizeof(*a));

    a->store = s;
    a->opts = *opts;
    a->dir_fd = a->fd = -1;
    return a;
}

void archive_close(struct image_archive *a)
{
    if (!a)
        return;
    if (a->tar)
        (void)archive_read_free(a->tar);
    feed_close(a->feed);
    if (a->dir_fd >= 0)
        (void)close(a->dir_fd);
    if (a->fd >= 0)
        (void)close(a->fd);
    free(a->buf);
    map_done(&a->members);
    arena_done(&a->arena);
    free(a);
}

/* ---- indexing ---- */

static la_ssize_t read_file(struct archive *tar, void *ctx, const void **block)
{
    struct image_archive *a = ctx;
    ssize_t n;

    (void)tar;
    do {
        n = read(a->fd, a->buf, READ_BYTES);
    } while (n < 0 && errno == EINTR);
    if (n < 0)
        (void)err_sys(&a->read_err, errno, "read archive");
    *block = a->buf;
    return n;
}

static la_int64_t skip_file(struct archive *tar, void *ctx, la_int64_t n)
{
    struct image_archive *a = ctx;

    (void)tar;
    /* beyond the end lseek would succeed too, and a truncated file look whole */
    off_t at = lseek(a->fd, 0, SEEK_CUR);
    if (at < 0 || (uint64_t)at + (uint64_t)n > a->size)
        return 0;
    return lseek(a->fd, n, SEEK_CUR) < 0 ? 0 : n;
}

static la_ssize_t read_feed(struct archive *tar, void *ctx, const void **block)
{
    struct image_archive *a = ctx;
    size_t len;

    (void)tar;
    return feed_next(a->feed, block, &len, &a->read_err) < 0 ? -1 : (la_ssize_t)len;
}

static int tar_error(struct image_archive *a, struct err *e)
{
    const char *text = archive_error_string(a->tar);

    if (a->read_err.code != ERR_NONE) {
        *e = a->read_err;
        return -1;
    }
    if (a->n_members == 0)
        return err_set(e, ERR_INPUT, "this is no tar archive (plain, gzip or zstd)");
    return err_set(e, ERR_CORRUPT, "the archive is damaged: %s",
                   text ? text : "unknown reason");
}

/* a link's target as the name of a member: relative to the link's directory, ".."
 * applied */
static char *resolve(struct arena *arena, const char *from, const char *target)
{
    char out[2 * PATH_MAX];
    size_t len = 0;
    AUTO_FREE char *both = NULL;
    const char *slash = strrchr(from, '/');

    if (strlen(target) >= PATH_MAX)
        return NULL;
    both = target[0] == '/' || !slash
               ? xstrdup(target)
               : xasprintf("%.*s/%s", (int)(slash - from), from, target);
    for (const char *c = both; *c;) {
        size_t n = strcspn(c, "/");
        if (n == 2 && memcmp(c, "..", 2) == 0) {
            if (len == 0)
                return NULL; /* out of the archive */
            while (len > 0 && out[--len] != '/')
                ;
        } else if (n > 0 && !(n == 1 && c[0] == '.')) {
            if (len)
                out[len++] = '/';
            memcpy(out + len, c, n);
            len += n;
        }
        c += n + (c[n] == '/');
    }
    return arena_strndup(arena, out, len);
}

static int read_to(struct image_archive *a, void (*put)(void *, const void *, size_t),
                   void *ctx, struct err *e)
{
    for (;;) {
        const void *p;
        size_t len;
        la_int64_t at;
        int r = archive_read_data_block(a->tar, &p, &len, &at);
        if (r == ARCHIVE_EOF)
            return 0;
        if (r < ARCHIVE_WARN)
            return tar_error(a, e);
        put(ctx, p, len);
    }
}

static void put_buf(void *ctx, const void *p, size_t len)
{
    buf_add(ctx, p, len);
}

/* A pax record may claim another size than the header has: for a sparse file, whose
 * holes are left out, or to make two readers see two archives. */
static int other_size(const struct member *m, struct err *e)
{
    return err_set(
        e, ERR_INPUT,
        "%.200s is stored as a sparse file: write the archive without --sparse",
        m->name);
}

static int take_small(struct image_archive *a, struct member *m, struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};

    a->small_bytes += m->size;
    if (a->small_bytes > LIMIT_SMALL_BYTES)
        return err_set(e, ERR_LIMIT,
                       "the small files of the archive are more than %llu MiB",
                       LIMIT_SMALL_BYTES / MIB);
    if (read_to(a, put_buf, &b, e) < 0)
        return -1;
    if (b.len != m->size)
        return err_set(e, ERR_CORRUPT, "%.200s has %zu bytes, want %llu", m->name,
                       b.len, (unsigned long long)m->size);
    m->mem = arena_strndup(&a->arena, buf_str(&b), b.len);
    return 0;
}

struct sink {
    struct blob_writer *blob; /* or: */
    int fd;
    uint64_t bytes;
    struct err err;
};

static void put_sink(void *ctx, const void *p, size_t len)
{
    struct sink *k = ctx;

    if (k->err.code != ERR_NONE)
        return;
    k->bytes += len;
    if (k->blob)
        (void)blob_writer_add(k->blob, p, len, &k->err);
    else
        (void)fd_write_all(k->fd, p, len, &k->err);
}

static int sink_into(struct image_archive *a, struct sink *k, const struct member *m,
                     struct err *e)
{
    if (read_to(a, put_sink, k, e) < 0)
        return -1;
    if (k->err.code != ERR_NONE) {
        *e = k->err;
        return -1;
    }
    return k->bytes == m->size ? 0 : other_size(m, e);
}

static int take_large(struct image_archive *a, struct member *m, struct err *e)
{
    struct sink k = {.fd = a->fd};
    struct blob_id id;

    if (!a->opts.keep) {
        m->offset = a->spool_bytes;
        a->spool_bytes += m->size;
        return sink_into(a, &k, m, e);
    }
    if (blob_writer_open(a->store, BLOB_NOSYNC, &k.blob, e) < 0)
        return -1;
    if (sink_into(a, &k, m, e) < 0) {
        blob_writer_abort(k.blob);
        return -1;
    }
    if (blob_writer_commit(k.blob, NULL, &id, e) < 0)
        return -1;
    memcpy(m->hex, id.hex, sizeof(m->hex));
    return 0;
}

static int take_member(struct image_archive *a, struct archive_entry *entry,
                       struct err *e)
{
    char name[PATH_MAX];
    const char *raw = archive_entry_pathname(entry);
    const char *link = archive_entry_hardlink(entry);
    struct member *m;

    if (!raw || place_normalise(raw, name, e) < 0 || !name[0])
        return 0; /* nothing that an image names */
    m = arena_alloc(&a->arena, sizeof(*m));
    m->name = arena_strdup(&a->arena, name);
    if (link) {
        m->link = resolve(&a->arena, "", link);
    } else if (archive_entry_filetype(entry) == AE_IFLNK) {
        const char *target = archive_entry_symlink(entry);
        m->link = target ? resolve(&a->arena, name, target) : NULL;
    } else if (archive_entry_filetype(entry) != AE_IFREG) {
        return 0;
    }
    if (!m->link && archive_entry_filetype(entry) == AE_IFREG) {
        m->size = (uint64_t)archive_entry_size(entry);
        if (archive_entry_size(entry) < 0 || archive_entry_sparse_count(entry) > 0)
            return other_size(m, e); /* GNU.sparse.realsize may say -1 */
        m->offset = (uint64_t)archive_filter_bytes(a->tar, 0);
        a->last = m;
        if (a->feed && (m->size <= SMALL_BYTES ? take_small : take_large)(a, m, e) < 0)
            return -1;
    } else if (!m->link) {
        return 0; /* a link that leads out of the archive */
    }
    map_put(&a->members, str_of(m->name), m);
    return 0;
}

/* the room between the last member's header and the one that was just read is that of
 * its bytes */
static int check_last(struct image_archive *a, struct err *e)
{
    const struct member *m = a->last;
    uint64_t next = (uint64_t)archive_read_header_position(a->tar);

    a->last = NULL;
    return !m || a->feed || next - m->offset == (m->size + 511) / 512 * 512
               ? 0
               : other_size(m, e);
}

static int index_members(struct image_archive *a, struct err *e)
{
    struct archive_entry *entry;

    for (;;) {
        int r = archive_read_next_header(a->tar, &entry);
        if (r < ARCHIVE_WARN)
            return tar_error(a, e);
        if (check_last(a, e) < 0)
            return -1;
        if (r == ARCHIVE_EOF)
            return 0;
        if (++a->n_members > LIMIT_MEMBERS)
            return err_set(e, ERR_LIMIT, "the archive has more than %d members",
                           LIMIT_MEMBERS);
        if (take_member(a, entry, e) < 0)
            return -1;
    }
}

static int index_tar(struct image_archive *a, struct err *e)
{
    int r;

    a->tar = archive_read_new();
    must(a->tar);
    (void)archive_read_support_format_tar(a->tar);
    r = archive_read_open2(a->tar, a, NULL, a->feed ? read_feed : read_file,
                           a->feed ? NULL : skip_file, NULL);
    r = r < ARCHIVE_WARN ? tar_error(a, e) : index_members(a, e);
    (void)archive_read_free(a->tar);
    a->tar = NULL;
    if (r == 0 && a->n_members == 0)
        return err_set(e, ERR_INPUT, "the archive is empty");
    return r;
}

/* a compressed archive ends with checksums, so it is read to its end */
static int drain(struct image_archive *a, struct err *e)
{
    const void *block;
    size_t len;

    do {
        if (feed_next(a->feed, &block, &len, e) < 0)
            return -1;
    } while (len > 0);
    return 0;
}

static int open_spool(struct image_archive *a, struct err *e)
{
    int tmp = store_dir_fd(a->store, STORE_TMP);

    a->fd = openat(tmp, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (a->fd < 0)
        return err_sys(e, errno, "make a temporary file in %s/tmp",
                       store_home(a->store));
    return 0;
}

static int read_stream(struct image_archive *a, int fd, struct err *e)
{
    struct bytes_src src = {.fd = fd, .stream = true};
    struct feed_opts opts = {.max_bytes = LIMIT_IMAGE_BYTES,
                             .counter = a->opts.counter};

    if (!a->opts.keep && open_spool(a, e) < 0)
        return -1;
    if (feed_open(&src, &opts, &a->feed, e) < 0 || index_tar(a, e) < 0 ||
        drain(a, e) < 0)
        return -1;
    feed_close(a->feed);
    a->feed = NULL;
    return 0;
}

static bool is_compressed(int fd)
{
    uint8_t m[4];

    if (pread(fd, m, sizeof(m), 0) != sizeof(m))
        return false;
    return (m[0] == 0x1f && m[1] == 0x8b) || memcmp(m, "\x28\xb5\x2f\xfd", 4) == 0 ||
           ((m[0] & 0xf0) == 0x50 && memcmp(m + 1, "\x2a\x4d\x18", 3) == 0) ||
           memcmp(m, "BZh", 3) == 0 ||
           memcmp(m,
                  "\xfd"
                  "7zX",
                  4) == 0;
}

static int open_file(struct image_archive *a, const char *path, struct err *e)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    struct stat st;

    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "there is no such file");
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open it");
    if (S_ISDIR(st.st_mode)) {
        a->dir_fd = fd_take(&fd);
        return 0;
    }
    a->size = S_ISREG(st.st_mode) ? (uint64_t)st.st_size : 0;
    if (!S_ISREG(st.st_mode) || is_compressed(fd))
        return read_stream(a, fd, e);
    a->fd = fd_take(&fd);
    a->buf = xalloc(READ_BYTES);
    return index_tar(a, e);
}

int archive_open(struct store *s, const char *path, const struct archive_opts *opts,
                 struct image_archive **gives, struct err *e)
{
    struct image_archive *a = archive_new(s, opts);
    int r = strcmp(path, "-") == 0 ? read_stream(a, STDIN_FILENO, e)
                                   : open_file(a, path, e);

    if (r < 0) {
        archive_close(a);
        return -1;
    }
    *gives = a;
    return 0;
}

uint64_t archive_size(const struct image_archive *a)
{
    return a->size;
}

/* ---- reading ---- */

static const struct member *find(struct image_archive *a, const char *name)
{
    const struct member *m = map_get(&a->members, str_of(name));

    for (int i = 0; m && m->link && i < LIMIT_LINKS; i++)
        m = map_get(&a->members, str_of(m->link));
    return m && !m->link ? m : NULL;
}

static int open_in_dir(struct image_archive *a, const char *name, struct bytes_src *out,
                       int *fd, struct err *e)
{
    AUTO_FD int file =
        fd_open_beneath(a->dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK, 0);
    struct stat st;

    if (file < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "%.200s is not in it", name);
    if (file < 0 || fstat(file, &st) < 0)
        return err_sys(e, errno, "open %.200s", name);
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "%.200s is no regular file", name);
    *out = (struct bytes_src){.fd = file, .size = (uint64_t)st.st_size};
    *fd = fd_take(&file);
    return 0;
}

int archive_bytes(struct image_archive *a, const char *name, struct bytes_src *out,
                  int *fd, struct err *e)
{
    char path[PATH_MAX];
    const struct member *m;

    *fd = -1;
    if (place_normalise(name, path, e) < 0)
        return err_at(e, "member %.200s", name);
    if (a->dir_fd >= 0)
        return open_in_dir(a, path, out, fd, e);
    m = find(a, path);
    if (!m)
        return err_set(e, ERR_MISSING, "%.200s is not in it", name);
    *out = (struct bytes_src){
        .fd = a->fd, .mem = m->mem, .offset = m->offset, .size = m->size};
    if (!m->hex[0])
        return 0;
    if (blob_open(a->store, m->hex, fd, NULL, e) < 0)
        return -1;
    out->fd = *fd;
    out->offset = 0;
    return 0;
}

bool archive_has(struct image_archive *a, const char *name)
{
    struct bytes_src src;
    struct err ignored;
    AUTO_FD int fd = -1;

    return archive_bytes(a, name, &src, &fd, &ignored) == 0;
}

int archive_read_small(struct image_archive *a, const char *name, size_t max_bytes,
                       struct buf *out, struct err *e)
{
    struct bytes_src src;
    AUTO_FD int fd = -1;
    AUTO_FREE char *p = NULL;

    if (archive_bytes(a, name, &src, &fd, e) < 0)
        return -1;
    if (src.size > max_bytes)
        return err_set(e, ERR_LIMIT, "%.200s has %llu bytes, at most %zu are read",
                       name, (unsigned long long)src.size, max_bytes);
    if (src.mem) {
        buf_add(out, src.mem, (size_t)src.size);
        return 0;
    }
    p = xalloc((size_t)src.size + 1);
    for (uint64_t done = 0; done < src.size;) {
        ssize_t n = pread(src.fd, p + done, (size_t)(src.size - done),
                          (off_t)(src.offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "read %.200s", name);
        if (n == 0)
            return err_set(e, ERR_CORRUPT, "%.200s ends early", name);
        done += (uint64_t)n;
    }
    buf_add(out, p, (size_t)src.size);
    return 0;
}

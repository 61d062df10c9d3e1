/* SPDX-License-Identifier: Apache-2.0 */
/* pack.c - put the small files of a checkout into packs
 *
 * The tree object already says name, size and digest of every file in one order. So a
 * pack needs no table of contents: it is the same files in the same order, and the
 * index is the list of packs. What is written is read from the checkout and hashed
 * against the tree on the way; nothing is packed that is not what it should be. A big
 * file becomes a blob by a second link, since it will lose its first with the checkout;
 * where links cannot be had (it is executable, or has too many), by a copy.
 */
#include "store/pack.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/packinside.h"

#define MAGIC "dugout-packs 1\n"
#define FLUSH_BYTES (1 * MIB)
#define CUT_MASK 0xfff /* one path in 4,096 ends a pack */
#define INDEX_BYTES_MAX (64 * MIB)

/* ---- the index ---- */

void pack_index_done(struct pack_index *x)
{
    free(x->packs);
    *x = (struct pack_index){.n = 0};
}

bool tree_is_packed(struct store *s, const char *hex)
{
    return faccessat(s->dirs[STORE_PACKS], hex, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static void index_add(struct pack_index *x, const char *hex, uint64_t files)
{
    x->packs = xrealloc(x->packs, (x->n + 1) * sizeof(*x->packs));
    memcpy(x->packs[x->n].hex, hex, DIGEST_HEX);
    x->packs[x->n++].files = files;
}

static bool index_line(const char **at, struct pack_index *x)
{
    char hex[DIGEST_HEX], *end;
    unsigned long long files;

    memcpy(hex, *at, 64);
    hex[64] = '\0';
    if (!is_hex64(hex) || (*at)[64] != ' ')
        return false;
    errno = 0;
    files = strtoull(*at + 65, &end, 10);
    if (errno || end == *at + 65 || *end != '\n')
        return false;
    index_add(x, hex, files);
    *at = end + 1;
    return true;
}

static bool index_parse(const char *text, size_t len, struct pack_index *x)
{
    const char *at = text + sizeof(MAGIC) - 1;
    const char *tail = text + len - (sizeof("end \n") - 1 + 64);
    char sum[DIGEST_HEX];

    if (len < sizeof(MAGIC) - 1 + sizeof("end \n") - 1 + 64 ||
        memcmp(text, MAGIC, sizeof(MAGIC) - 1) != 0 || memcmp(tail, "end ", 4) != 0)
        return false;
    sha256_hex(text, (size_t)(tail - text), sum);
    if (memcmp(tail + 4, sum, 64) != 0)
        return false;
    while (at < tail)
        if (tail - at < 67 || !index_line(&at, x))
            return false;
    return at == tail;
}

int pack_index_read(struct store *s, const char *hex, struct pack_index *out,
                    struct err *e)
{
    AUTO_BUF struct buf text = {.ptr = NULL};
    AUTO_INDEX struct pack_index x = {.n = 0};

    if (fd_read_file(s->dirs[STORE_PACKS], hex, &text, INDEX_BYTES_MAX, e) < 0)
        return e->code == ERR_MISSING
                   ? err_set(e, ERR_MISSING,
                             "directory %.12s is not in the store any more", hex)
                   : -1;
    if (!index_parse(buf_str(&text), text.len, &x))
        return err_set(e, ERR_CORRUPT,
                       "the index of the packed directory %.12s is damaged", hex);
    *out = x;
    x = (struct pack_index){.n = 0};
    return 0;
}

int pack_index_write(struct store *s, const char *hex, const struct pack_index *x,
                     struct err *e)
{
    AUTO_BUF struct buf text = {.ptr = NULL};
    char sum[DIGEST_HEX];

    buf_adds(&text, MAGIC);
    for (size_t i = 0; i < x->n; i++)
        buf_addf(&text, "%s %llu\n", x->packs[i].hex,
                 (unsigned long long)x->packs[i].files);
    sha256_hex(text.ptr, text.len, sum);
    buf_addf(&text, "end %s\n", sum);
    return fd_write_file(s->dirs[STORE_PACKS], hex, text.ptr, text.len, 0444, true, e);
}

/* ---- writing tar ---- */

struct packer {
    struct store *store;
    int root_fd; /* of the checkout */
    struct pack_index index;
    struct blob_writer *writer; /* of the pack at hand, NULL between two */
    struct buf out;
    uint64_t pack_bytes, pack_files;
    struct pack_count *count;
};

/* name and prefix of ustar: true when the path fits */
static bool set_path(char block[TAR_BLOCK], const char *path, size_t len)
{
    const char *slash;

    if (len <= 100) {
        memcpy(block, path, len);
        return true;
    }
    if (len > 256)
        return false;
    slash = memchr(path + len - 101, '/', 101);
    if (!slash || slash - path > 155 || slash == path + len - 1)
        return false;
    memcpy(block, slash + 1, len - (size_t)(slash - path) - 1);
    memcpy(block + 345, path, (size_t)(slash - path));
    return true;
}

static void seal(char block[TAR_BLOCK], char type, unsigned mode, uint64_t size)
{
    unsigned sum = 0;

    (void)snprintf(block + 100, 8, "%07o", mode);
    (void)snprintf(block + 108, 8, "%07o", 0);
    (void)snprintf(block + 116, 8, "%07o", 0);
    (void)snprintf(block + 124, 12, "%011llo", (unsigned long long)size);
    (void)snprintf(block + 136, 12, "%011o", 0);
    memset(block + 148, ' ', 8);
    block[156] = type;
    memcpy(block + 257,
           "ustar\0"
           "00",
           8);
    for (int i = 0; i < TAR_BLOCK; i++)
        sum += (unsigned char)block[i];
    (void)snprintf(block + 148, 8, "%06o", sum);
    block[155] = ' ';
}

static void pad(struct buf *b, uint64_t size)
{
    static const char zeros[TAR_BLOCK];

    if (size % TAR_BLOCK)
        buf_add(b, zeros, TAR_BLOCK - (size_t)(size % TAR_BLOCK));
}

/* "123 path=NAME\n": its length counts itself */
static void add_pax(struct buf *b, struct str path)
{
    char block[TAR_BLOCK] = "././@PaxHeader";
    AUTO_BUF struct buf record = {.ptr = NULL};
    size_t body = path.len + sizeof(" path=\n") - 1, len;

    for (size_t digits = 1;; digits++) {
        char text[24];
        len = body + digits;
        if ((size_t)snprintf(text, sizeof(text), "%zu", len) == digits)
            break;
    }
    buf_addf(&record, "%zu path=", len);
    buf_addstr(&record, path);
    buf_addc(&record, '\n');
    seal(block, 'x', 0644, record.len);
    buf_add(b, block, TAR_BLOCK);
    buf_add(b, record.ptr, record.len);
    pad(b, record.len);
}

static void add_header(struct buf *b, const struct tree_entry *t)
{
    char block[TAR_BLOCK] = "";

    if (!set_path(block, t->path.ptr, t->path.len)) {
        add_pax(b, t->path);
        memset(block, 0, TAR_BLOCK);
        memcpy(block, t->path.ptr, 100);
    }
    seal(block, '0', t->type == TREE_EXEC ? 0755 : 0644, t->size_bytes);
    buf_add(b, block, TAR_BLOCK);
}

/* ---- packs ---- */

static int flush(struct packer *p, struct err *e)
{
    if (blob_writer_add(p->writer, p->out.ptr, p->out.len, e) < 0)
        return -1;
    p->pack_bytes += p->out.len;
    buf_reset(&p->out);
    return 0;
}

static int end_pack(struct packer *p, struct err *e)
{
    static const char end[2 * TAR_BLOCK];
    struct blob_writer *w = p->writer;
    struct blob_id id;

    if (!w)
        return 0;
    buf_add(&p->out, end, sizeof(end));
    if (flush(p, e) < 0)
        return -1;
    p->writer = NULL;
    if (blob_writer_commit(w, NULL, &id, e) < 0)
        return -1;
    index_add(&p->index, id.hex, p->pack_files);
    p->count->packs++;
    p->count->bytes += id.size_bytes;
    p->pack_files = p->pack_bytes = 0;
    return 0;
}

static bool ends_pack(struct str path)
{
    uint8_t sum[32];
    struct sha256 h;

    sha256_init(&h);
    sha256_add(&h, path.ptr, path.len);
    sha256_final(&h, sum);
    return ((sum[0] << 8 | sum[1]) & CUT_MASK) == 0;
}

static int open_file(struct packer *p, const char *path)
{
    return fd_openat2(p->root_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK,
                      0, RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS);
}

static int is_not(const char *path, const struct tree_entry *t, const char *got,
                  struct err *e)
{
    return err_set(e, ERR_CORRUPT, "%s hashes to %.12s, want %.12s", path, got, t->hex);
}

static int pack_file(struct packer *p, const char *path, const struct tree_entry *t,
                     struct err *e)
{
    AUTO_FD int fd = open_file(p, path);
    char got[DIGEST_HEX];
    size_t from;

    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    if (!p->writer && blob_writer_open(p->store, 0, &p->writer, e) < 0)
        return -1;
    add_header(&p->out, t);
    from = p->out.len;
    if (fd_read_all(fd, &p->out, PACK_BIG_BYTES, e) < 0)
        return err_at(e, "%s", path);
    sha256_hex(p->out.ptr + from, p->out.len - from, got);
    if (p->out.len - from != t->size_bytes || strcmp(got, t->hex) != 0)
        return is_not(path, t, got, e);
    pad(&p->out, t->size_bytes);
    p->pack_files++;
    p->count->files++;
    if (p->out.len >= FLUSH_BYTES && flush(p, e) < 0)
        return -1;
    if (ends_pack(t->path) || p->pack_bytes + p->out.len >= PACK_MAX_BYTES)
        return end_pack(p, e);
    return 0;
}

static int keep_big_file(struct packer *p, const char *path, const struct tree_entry *t,
                         struct err *e)
{
    AUTO_FD int fd = open_file(p, path);
    struct blob_id id;
    char got[DIGEST_HEX];

    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    if (blob_is_kept(p->store, t->hex) && blob_refresh(p->store, t->hex, e) == 0)
        return 0;
    if (t->type == TREE_FILE) {
        if (file_hash(p->store, fd, t->size_bytes, path, got, e) < 0)
            return -1;
        if (strcmp(got, t->hex) != 0)
            return is_not(path, t, got, e);
        if (blob_link(p->store, fd, t->hex, t->size_bytes, e) == 0)
            return 0;
    }
    if (blob_put_file(p->store, p->root_fd, path, 0, &id, e) < 0)
        return -1;
    return strcmp(id.hex, t->hex) == 0 ? 0 : is_not(path, t, id.hex, e);
}

static int pack_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct packer *p = ctx;
    AUTO_FREE char *path = NULL;

    if (!is_packed_file(t) && !is_big_file(t))
        return 0;
    path = xasprintf("%.*s", STR_ARG(t->path));
    return is_big_file(t) ? keep_big_file(p, path, t, e) : pack_file(p, path, t, e);
}

static int count_small(void *ctx, const struct tree_entry *t, struct err *e)
{
    uint64_t *n = ctx;

    *n += is_packed_file(t);
    return *n >= PACK_WORTH_FILES ? err_set(e, ERR_LIMIT, "enough") : 0;
}

bool tree_worth_packing(struct store *s, const char *hex)
{
    uint64_t n = 0;
    struct err e;

    return tree_walk(s, hex, count_small, &n, &e) < 0 && n >= PACK_WORTH_FILES;
}

int tree_pack(struct store *s, const char *hex, struct pack_count *out, struct err *e)
{
    struct pack_count count = *out;
    struct packer p = {.store = s, .count = &count};
    AUTO_FD int root = -1;
    int rc;

    if (tree_is_packed(s, hex))
        return 0;
    if (store_pin(s, STORE_CHECKOUTS, hex, &root, e) < 0)
        return -1;
    p.root_fd = root;
    rc = tree_walk(s, hex, pack_entry, &p, e);
    if (rc == 0)
        rc = end_pack(&p, e);
    blob_writer_abort(p.writer);
    if (rc == 0)
        rc = store_sync(s, e);
    if (rc == 0)
        rc = pack_index_write(s, hex, &p.index, e);
    buf_done(&p.out);
    pack_index_done(&p.index);
    if (rc < 0)
        return err_at(e, "pack directory %.12s", hex);
    count.trees++;
    *out = count;
    return 0;
}

int tree_evict(struct store *s, const char *hex, int64_t young_unix_ms, bool *gone,
               struct err *e)
{
    AUTO_FD int gc = -1;
    AUTO_FD int held = -1;
    char name[STORE_TMP_NAME];

    *gone = false;
    if (!tree_is_packed(s, hex) || store_gc_lock(s, LOCK_EX, &gc, e) < 0)
        return gc < 0 && tree_is_packed(s, hex) ? -1 : 0;
    held = openat(s->dirs[STORE_CHECKOUTS], hex,
                  O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (held < 0 || flock(held, LOCK_EX | LOCK_NB) < 0 ||
        !gc_is_old(s, STORE_CHECKOUTS, hex, young_unix_ms))
        return 0;
    store_unique(s, "packed", name);
    if (fchmod(held, 0700) < 0 ||
        renameat(s->dirs[STORE_CHECKOUTS], hex, s->dirs[STORE_TRASH], name) < 0)
        return err_sys(e, errno, "move checkout %.12s to trash", hex);
    *gone = true;
    (void)close(fd_take(&gc)); /* removing may take long */
    return store_remove_tree(s, s->dirs[STORE_TRASH], name, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* artifactin.c - artifacts in, from OCI layouts
 *
 *   index.json -> the manifest that was asked for -> layers -> a blob, or a directory
 *
 * Every document and layer is held against the digest that named it. A layer whose
 * media type ends in .tar (plain, gzip or zstd) is unpacked, any other is a file; one
 * file alone is a file artifact, all else a directory. Files are made below a directory
 * descriptor by place.c, so a hostile tar can arrange links as it likes and stays
 * inside. What dugout wrote says the digest of the whole in an annotation: it has to
 * come out again.
 */
#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/archive.h"
#include "image/artifact.h"
#include "image/artifactmedia.h"
#include "image/place.h"
#include "store/tree.h"

#define CHUNK (256 * KIB)
#define LAYERS_MAX 10000

struct descriptor {
    struct str media, ref;
    char hex[DIGEST_HEX];
    uint64_t size_bytes;
};

struct intake {
    struct arena *a;
    struct store *store;
    struct image_archive *archive;
    struct oci_artifact *out;
    char name[STORE_TMP_NAME]; /* of the directory in tmp/ */
    int dir_fd, lock_fd;       /* of it; -1: none was needed */
    struct place place;
    uint64_t layer_bytes; /* of the files in the layer at hand, holes included */
};

/* ---- documents ---- */

static struct str note(json *d, const char *key)
{
    return json_as_str(yyjson_obj_get(yyjson_obj_get(d, "annotations"), key));
}

static int read_descriptor(json *d, struct descriptor *out, struct err *e)
{
    struct str digest;
    int64_t size;

    *out = (struct descriptor){.ref = note(d, NOTE_REF)};
    if (json_str(d, "digest", &digest, e) < 0 || json_i64(d, "size", &size, e) < 0 ||
        json_str(d, "mediaType", &out->media, e) < 0)
        return -1;
    if (!digest_parse(digest, out->hex) || size < 0)
        return err_set(e, ERR_CORRUPT, "want sha256: and 64 hex digits, and a size");
    out->size_bytes = (uint64_t)size;
    return 0;
}

static int read_blob(struct intake *x, const struct descriptor *d, yyjson_doc **gives,
                     struct err *e)
{
    AUTO_BUF struct buf text = {0};
    char name[96], got[DIGEST_HEX];

    (void)snprintf(name, sizeof(name), "blobs/sha256/%s", d->hex);
    if (archive_read_small(x->archive, name, LIMIT_JSON_BYTES, &text, e) < 0)
        return err_at(e, "blob sha256:%.12s", d->hex);
    sha256_hex(buf_str(&text), text.len, got);
    if (text.len != d->size_bytes || strcmp(got, d->hex) != 0)
        return err_set(e, ERR_CORRUPT, "blob sha256:%.12s hashes to %.12s", d->hex,
                       got);
    return json_parse((struct str){buf_str(&text), text.len}, LIMIT_JSON_BYTES, gives,
                      e);
}

static bool is_artifact(json *manifest)
{
    struct str type = json_as_str(json_at(manifest, "artifactType"));
    struct str config = json_as_str(json_at(manifest, "config.mediaType"));

    return type.len ||
           (config.len && !str_starts(config, "application/vnd.oci.image.config") &&
            !str_starts(config, "application/vnd.docker."));
}

struct found {
    yyjson_doc *doc;
    struct buf names; /* of all candidates, for the message */
    size_t n;
};

static int look_at(struct intake *x, json *entry, struct str ref, struct found *f,
                   struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct descriptor d;

    if (read_descriptor(entry, &d, e) < 0)
        return err_at(e, "index.json");
    if (!str_eqz(d.media, OCI_MANIFEST) || (ref.len && !str_eq(ref, d.ref)))
        return 0;
    if (read_blob(x, &d, &doc, e) < 0)
        return -1;
    if (!is_artifact(yyjson_doc_get_root(doc)) ||
        json_at(yyjson_doc_get_root(doc), "subject")) /* it speaks of another */
        return 0;
    buf_addf(&f->names, "%s%.*s", f->n ? ", " : "",
             STR_ARG(d.ref.len ? d.ref : STR("(no name)")));
    f->n++;
    if (f->doc)
        return 0;
    f->doc = doc;
    doc = NULL;
    return 0;
}

static int choose(struct intake *x, struct str ref, yyjson_doc **gives, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    AUTO_BUF struct buf text = {0};
    struct found f = {0};
    json *list, *entry;
    size_t i, max;
    int rc = 0;

    if (archive_read_small(x->archive, "index.json", LIMIT_JSON_BYTES, &text, e) < 0)
        return err_at(e, "no OCI layout");
    if (json_parse((struct str){buf_str(&text), text.len}, LIMIT_JSON_BYTES, &doc, e) <
            0 ||
        json_arr(yyjson_doc_get_root(doc), "manifests", &list, e) < 0)
        return err_at(e, "index.json");
    yyjson_arr_foreach(list, i, max, entry)
    {
        if (rc == 0 && i < LIMIT_INDEX_ENTRIES)
            rc = look_at(x, entry, ref, &f, e);
    }
    if (rc == 0 && !f.n)
        rc = err_set(e, ERR_INPUT,
                     "it holds no artifact%s%.*s (dugout image load reads images)",
                     ref.len ? " called " : "", STR_ARG(ref));
    if (rc == 0 && f.n > 1)
        rc = err_set(e, ERR_INPUT,
                     "it holds several artifacts: choose one with --ref: %.300s",
                     buf_str(&f.names));
    buf_done(&f.names);
    if (rc == 0)
        *gives = f.doc;
    else
        yyjson_doc_free(f.doc);
    return rc;
}

/* ---- layers ---- */

static int have_dir(struct intake *x, struct err *e)
{
    if (x->dir_fd >= 0)
        return 0;
    if (store_tmp_dir(x->store, "artifact", x->name, &x->lock_fd, e) < 0)
        return -1;
    if (mkdirat(x->lock_fd, "d", 0755) < 0)
        return err_sys(e, errno, "make a directory in tmp");
    x->dir_fd = openat(x->lock_fd, "d", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (x->dir_fd < 0)
        return err_sys(e, errno, "open a directory in tmp");
    place_init(&x->place, x->dir_fd);
    return 0;
}

/* the directory of a member at hand, its last component out; empty: the root itself */
static int enter_parent(struct intake *x, const char *name, char last[NAME_MAX + 1],
                        struct err *e)
{
    char path[PATH_MAX], *slash;
    bool was;

    if (place_normalise(name, path, e) < 0)
        return -1;
    slash = strrchr(path, '/');
    (void)snprintf(last, NAME_MAX + 1, "%s", slash ? slash + 1 : path);
    if (!last[0])
        return 0;
    if (slash)
        *slash = '\0';
    if (place_enter(&x->place, slash ? path : "", e) < 0)
        return -1;
    return place_clear(&x->place, last, &was, e);
}

/* bytes as they come, without unpacking whatever they may be */
static ssize_t read_at(const struct bytes_src *src, uint64_t at, char *buf, size_t cap)
{
    size_t left = src->size - at < cap ? (size_t)(src->size - at) : cap;

    if (!src->mem)
        return pread(src->fd, buf, left, (off_t)(src->offset + at));
    memcpy(buf, (const char *)src->mem + at, left);
    return (ssize_t)left;
}

static int raw_to_blob(struct intake *x, const struct descriptor *d,
                       const struct bytes_src *src, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(CHUNK);
    struct blob_writer *w;
    struct blob_id id;
    uint64_t at = 0;
    ssize_t n;

    if (blob_writer_open(x->store, 0, &w, e) < 0)
        return -1;
    while (at < src->size && (n = read_at(src, at, chunk, CHUNK)) > 0) {
        if (blob_writer_add(w, chunk, (size_t)n, e) < 0) {
            blob_writer_abort(w);
            return -1;
        }
        at += (uint64_t)n;
    }
    if (blob_writer_commit(w, d->hex, &id, e) < 0)
        return -1;
    x->out->digest_hex = arena_str(x->a, str_of(id.hex));
    x->out->size_bytes = id.size_bytes;
    x->out->n_files = 1;
    return 0;
}

static int raw_to_file(struct intake *x, const struct descriptor *d,
                       const struct bytes_src *src, const char *name, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(CHUNK);
    AUTO_FD int to = -1;
    char last[NAME_MAX + 1], got[DIGEST_HEX];
    struct sha256 sum;
    uint64_t at = 0;
    ssize_t n;

    if (have_dir(x, e) < 0 || enter_parent(x, name, last, e) < 0)
        return -1;
    to = openat(x->place.fd, last, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
                0644);
    if (to < 0)
        return err_sys(e, errno, "create %.200s", name);
    sha256_init(&sum);
    while (at < src->size && (n = read_at(src, at, chunk, CHUNK)) > 0) {
        if (fd_write_all(to, chunk, (size_t)n, e) < 0)
            return -1;
        sha256_add(&sum, chunk, (size_t)n);
        at += (uint64_t)n;
    }
    sha256_final_hex(&sum, got);
    return strcmp(got, d->hex) == 0
               ? 0
               : err_set(e, ERR_CORRUPT, "layer sha256:%.12s hashes to %.12s", d->hex,
                         got);
}

struct tar_in {
    struct inflate *z;
    char *chunk;
    struct err *e;
};

static la_ssize_t tar_block(struct archive *tar, void *ctx, const void **block)
{
    struct tar_in *t = ctx;
    size_t got;

    if (inflate_read(t->z, t->chunk, CHUNK, &got, t->e) < 0) {
        archive_set_error(tar, EIO, "%s", t->e->text);
        return -1;
    }
    *block = t->chunk;
    return (la_ssize_t)got;
}

/* A sparse file takes no room but is hashed in full: exabytes fit into a few bytes of
 * tar. */
static int count_bytes(struct intake *x, struct archive_entry *ent, struct err *e)
{
    int64_t size = archive_entry_size(ent);

    if (size < 0 || (uint64_t)size > LIMIT_LAYER_BYTES - x->layer_bytes)
        return err_set(e, ERR_LIMIT, "the files of one layer are over %llu GiB",
                       LIMIT_LAYER_BYTES / GIB);
    x->layer_bytes += (uint64_t)size;
    return 0;
}

static int write_file(struct intake *x, struct archive *tar, struct archive_entry *ent,
                      const char *last, struct err *e)
{
    mode_t mode = archive_entry_perm(ent) & 0100 ? 0755 : 0644;
    AUTO_FD int to = openat(x->place.fd, last,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    const void *block;
    size_t len;
    la_int64_t at;
    int rc;

    if (to < 0)
        return err_sys(e, errno, "create %.200s", last);
    if (count_bytes(x, ent, e) < 0)
        return err_at(e, "%.200s", last);
    while ((rc = archive_read_data_block(tar, &block, &len, &at)) == ARCHIVE_OK) {
        if (lseek(to, at, SEEK_SET) < 0)
            return err_sys(e, errno, "write %.200s", last);
        if (fd_write_all(to, block, len, e) < 0)
            return -1;
    }
    if (rc != ARCHIVE_EOF)
        return err_set(e, ERR_CORRUPT, "%.200s: %s", last, archive_error_string(tar));
    return ftruncate(to, archive_entry_size(ent)) == 0
               ? 0
               : err_sys(e, errno, "write %.200s", last);
}

static int place_entry(struct intake *x, struct archive *tar, struct archive_entry *ent,
                       struct err *e)
{
    const char *name = archive_entry_pathname(ent);
    char last[NAME_MAX + 1], path[PATH_MAX];

    if (!name)
        return err_set(e, ERR_CORRUPT, "a member without a name");
    if (archive_entry_filetype(ent) == AE_IFDIR && !archive_entry_hardlink(ent))
        return place_normalise(name, path, e) < 0 ? -1
                                                  : place_enter(&x->place, path, e);
    if (enter_parent(x, name, last, e) < 0)
        return -1;
    if (!last[0])
        return err_set(e, ERR_CORRUPT, "%.200s: a file cannot be the root", name);
    if (archive_entry_hardlink(ent))
        return err_set(e, ERR_INPUT, "%.200s: hard links are not read", name);
    if (archive_entry_filetype(ent) == AE_IFLNK) {
        const char *target = archive_entry_symlink(ent);
        if (!target || !*target)
            return err_set(e, ERR_CORRUPT, "%.200s: a link without a target", name);
        return symlinkat(target, x->place.fd, last) == 0
                   ? 0
                   : err_sys(e, errno, "link %.200s", name);
    }
    if (archive_entry_filetype(ent) != AE_IFREG)
        return err_set(e, ERR_INPUT, "%.200s: neither file, directory nor link", name);
    return write_file(x, tar, ent, last, e);
}

static int place_entries(struct intake *x, struct archive *tar, struct err *e)
{
    struct archive_entry *ent;
    uint64_t n = 0;
    int rc;

    while ((rc = archive_read_next_header(tar, &ent)) == ARCHIVE_OK ||
           rc == ARCHIVE_WARN) {
        if (++n > LIMIT_LAYER_ENTRIES)
            return err_set(e, ERR_LIMIT, "more than %d members", LIMIT_LAYER_ENTRIES);
        if (place_entry(x, tar, ent, e) < 0)
            return -1;
    }
    return rc == ARCHIVE_EOF
               ? 0
               : err_set(e, ERR_CORRUPT, "tar: %s", archive_error_string(tar));
}

static int read_tar(struct intake *x, struct tar_in *in, struct err *e)
{
    struct archive *tar = archive_read_new();
    size_t rest = 1;
    int rc;

    (void)archive_read_support_format_tar(tar);
    rc = archive_read_open(tar, in, NULL, tar_block, NULL) < ARCHIVE_WARN
             ? err_set(e, ERR_CORRUPT, "tar: %s", archive_error_string(tar))
             : place_entries(x, tar, e);
    (void)archive_read_free(tar);
    while (rc == 0 && rest) /* what stands behind the tar's end belongs to the digest */
        rc = inflate_read(in->z, in->chunk, CHUNK, &rest, e);
    return rc;
}

static int tar_to_dir(struct intake *x, const struct descriptor *d,
                      const struct bytes_src *src, struct err *e)
{
    struct inflate_opts opts = {.max_bytes = LIMIT_LAYER_BYTES};
    AUTO_FREE char *chunk = xalloc(CHUNK);
    struct tar_in in = {.chunk = chunk, .e = e};
    char got[DIGEST_HEX];
    uint64_t bytes;
    int rc;

    x->layer_bytes = 0;
    if (have_dir(x, e) < 0 || inflate_open(src, &opts, &in.z, e) < 0)
        return -1;
    rc = read_tar(x, &in, e);
    if (rc == 0) {
        inflate_rest(in.z, got, &bytes);
        if (strcmp(got, d->hex) != 0)
            rc = err_set(e, ERR_CORRUPT, "layer sha256:%.12s hashes to %.12s", d->hex,
                         got);
    }
    inflate_close(in.z);
    return rc;
}

static bool is_tar(struct str media)
{
    return str_ends(media, ".tar") || str_ends(media, ".tar+gzip") ||
           str_ends(media, ".tar+zstd") || str_ends(media, ".tar.gzip");
}

static struct str file_name(json *layer, const char *hex, struct arena *a)
{
    struct str name = note(layer, NOTE_MODEL_PATH);

    if (!name.len)
        name = note(layer, "org.cnai.model.filepath");
    if (!name.len)
        name = note(layer, NOTE_TITLE);
    return name.len ? arena_str(a, name) : str_of(arena_printf(a, "%.12s", hex));
}

static int take_layer(struct intake *x, json *layer, bool alone, struct err *e)
{
    AUTO_FD int fd = -1;
    struct descriptor d;
    struct bytes_src src;
    char name[96];

    if (read_descriptor(layer, &d, e) < 0)
        return -1;
    if (str_eqz(d.media, OCI_EMPTY))
        return 0;
    (void)snprintf(name, sizeof(name), "blobs/sha256/%s", d.hex);
    if (archive_bytes(x->archive, name, &src, &fd, e) < 0)
        return -1;
    if (src.size != d.size_bytes)
        return err_set(e, ERR_CORRUPT, "layer sha256:%.12s has %llu bytes, want %llu",
                       d.hex, (unsigned long long)src.size,
                       (unsigned long long)d.size_bytes);
    if (is_tar(d.media))
        return tar_to_dir(x, &d, &src, e);
    return alone ? raw_to_blob(x, &d, &src, e)
                 : raw_to_file(x, &d, &src, file_name(layer, d.hex, x->a).ptr, e);
}

/* ---- the artifact ---- */

static int take_dir(struct intake *x, struct err *e)
{
    struct tree_id id;

    if (place_leave(&x->place, e) < 0 ||
        tree_put(x->store, x->lock_fd, "d", BLOB_ADOPT, &id, e) < 0)
        return -1;
    x->out->kind = STR("dir");
    x->out->digest_hex = arena_str(x->a, str_of(id.hex));
    x->out->size_bytes = id.size_bytes;
    x->out->n_files = id.n_files;
    return 0;
}

static int take_layers(struct intake *x, json *manifest, struct err *e)
{
    json *list, *layer;
    size_t i, max, n;

    if (json_arr(manifest, "layers", &list, e) < 0)
        return -1;
    n = yyjson_arr_size(list);
    if (n > LAYERS_MAX)
        return err_set(e, ERR_LIMIT, "%zu layers, at most %d are read", n, LAYERS_MAX);
    x->out->kind = STR("none");
    yyjson_arr_foreach(list, i, max, layer)
    {
        if (take_layer(x, layer, n == 1, e) < 0)
            return err_at(e, "layers.%zu", i);
    }
    if (x->dir_fd >= 0)
        return take_dir(x, e);
    if (x->out->digest_hex.len)
        x->out->kind = STR("file");
    return 0;
}

static void read_notes(struct intake *x, json *manifest)
{
    struct oci_artifact *o = x->out;
    struct str type = json_as_str(json_at(manifest, "artifactType"));
    json *first = json_at(manifest, "layers.0");

    o->type = note(manifest, NOTE_TYPE);
    if (!o->type.len)
        o->type = memmem(type.ptr, type.len, ".model.", 7) ? STR("system.Model")
                                                           : STR("system.Artifact");
    o->name = note(manifest, NOTE_NAME);
    if (!o->name.len && first)
        o->name = note(first, NOTE_TITLE);
    if (!o->name.len)
        o->name = STR("imported");
    o->type = arena_str(x->a, o->type);
    o->name = arena_str(x->a, o->name);
    o->metadata_json = arena_str(x->a, note(manifest, NOTE_METADATA));
}

static int check_digest(struct intake *x, json *manifest, struct err *e)
{
    struct str want = note(manifest, NOTE_DIGEST);
    char hex[DIGEST_HEX];

    if (!want.len)
        return 0;
    if (!digest_parse(want, hex) || !str_eqz(x->out->digest_hex, hex))
        return err_set(e, ERR_CORRUPT,
                       "the content is sha256:%.12s, its manifest says %.19s",
                       x->out->digest_hex.len ? x->out->digest_hex.ptr : "-", want.ptr);
    return 0;
}

static int take(struct intake *x, struct str ref, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *manifest;

    if (choose(x, ref, &doc, e) < 0)
        return -1;
    manifest = yyjson_doc_get_root(doc);
    read_notes(x, manifest);
    if (take_layers(x, manifest, e) < 0 || check_digest(x, manifest, e) < 0)
        return -1;
    return store_sync(x->store, e);
}

int oci_artifact_import(struct arena *a, struct store *s, const char *path,
                        struct str ref, struct oci_artifact *out, struct err *e)
{
    struct archive_opts opts = {.keep = false};
    struct oci_artifact got = {0};
    struct intake x = {.a = a, .store = s, .out = &got, .dir_fd = -1, .lock_fd = -1};
    int rc;

    if (archive_open(s, path, &opts, &x.archive, e) < 0)
        return -1;
    rc = take(&x, ref, e);
    archive_close(x.archive);
    if (x.dir_fd >= 0) {
        place_done(&x.place);
        (void)close(x.dir_fd);
    }
    if (x.lock_fd >= 0) {
        (void)store_drop(s, store_dir_fd(s, STORE_TMP), x.name, &(struct err){0});
        (void)close(x.lock_fd);
    }
    if (rc == 0)
        *out = got;
    return rc < 0 ? err_at(e, "%s", path) : 0;
}

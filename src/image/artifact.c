/* SPDX-License-Identifier: Apache-2.0 */
/* artifact.c - artifacts out, as OCI artifacts
 *
 * A file is a raw layer: the blob of the store, byte for byte. A directory is one tar,
 * made here: entries in byte order, times and owners zero, modes 0644 or 0755, so that
 * it is the same tar every time; names over 100 bytes bring pax headers, which
 * libarchive writes without times. The tar is spooled in tmp/ to learn its digest
 * before it is named.
 *
 * What the media types do not say (KFP's type, metadata, the digest of a tree) stands
 * in annotations of the manifest, and comes back from there.
 */
#include "image/artifact.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/artifactmedia.h"
#include "image/sink.h"
#include "store/pack.h"
#include "store/tree.h"

struct layer {
    char hex[DIGEST_HEX];
    uint64_t size_bytes;
    const char *media;
    int fd; /* of a spooled tar, else -1 */
};

struct pack {
    struct store *store;
    const struct oci_artifact *a;
    const struct oci_media *media;
    struct layer layer;
    struct arena arena;
    int pin;    /* of the checkout, which gc may have packed */
    int src_fd; /* the checkout */
    struct archive *tar;
    struct sha256 sum;
    uint64_t written;
    int spool; /* nameless, in tmp/ */
};

/* ---- the tar of a directory ---- */

static la_ssize_t spool_write(struct archive *tar, void *ctx, const void *bytes,
                              size_t len)
{
    struct pack *p = ctx;
    struct err e;

    if (fd_write_all(p->spool, bytes, len, &e) < 0) {
        archive_set_error(tar, e.sys ? e.sys : EIO, "%s", e.text);
        return -1;
    }
    sha256_add(&p->sum, bytes, len);
    p->written += len;
    return (la_ssize_t)len;
}

static int tar_err(struct pack *p, const char *what, struct err *e)
{
    return err_sys(e, archive_errno(p->tar) ? archive_errno(p->tar) : EIO, "tar of %s",
                   what);
}

static int copy_file(struct pack *p, const char *path, const char *hex, struct err *e)
{
    struct sha256 sum;
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    AUTO_FD int fd = fd_open_beneath(p->src_fd, path, O_RDONLY | O_NOFOLLOW, 0);
    ssize_t n;

    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    sha256_init(&sum);
    while ((n = read(fd, chunk, 256 * KIB)) > 0) {
        sha256_add(&sum, chunk, (size_t)n);
        if (archive_write_data(p->tar, chunk, (size_t)n) < 0)
            return tar_err(p, path, e);
    }
    return n < 0 ? err_sys(e, errno, "read %s", path) : blob_copied(&sum, hex, path, e);
}

static int add_entry(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct pack *p = ctx;
    struct archive_entry *ent = archive_entry_new();
    char *path = arena_strndup(&p->arena, t->path.ptr, t->path.len);
    bool file = t->type == TREE_FILE || t->type == TREE_EXEC;
    int rc;

    archive_entry_set_pathname(ent, path);
    archive_entry_set_filetype(ent, t->type == TREE_DIR    ? AE_IFDIR
                                    : t->type == TREE_LINK ? AE_IFLNK
                                                           : AE_IFREG);
    archive_entry_set_perm(ent, t->type == TREE_FILE ? 0644 : 0755);
    archive_entry_set_mtime(ent, 0, 0);
    if (file)
        archive_entry_set_size(ent, (la_int64_t)t->size_bytes);
    if (t->type == TREE_LINK)
        archive_entry_set_symlink(
            ent, arena_strndup(&p->arena, t->target.ptr, t->target.len));
    rc = archive_write_header(p->tar, ent);
    archive_entry_free(ent);
    if (rc < ARCHIVE_WARN)
        return tar_err(p, path, e);
    return file && t->size_bytes ? copy_file(p, path, t->hex, e) : 0;
}

static int open_spool(struct pack *p, struct err *e)
{
    int dir = store_dir_fd(p->store, STORE_TMP);

    p->spool = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    return p->spool < 0 ? err_sys(e, errno, "make a file in tmp") : 0;
}

static int make_tar(struct pack *p, struct err *e)
{
    char path[LIMIT_PATH_BYTES];
    int rc;

    if (tree_pin(p->store, p->a->digest_hex.ptr, &p->pin, e) < 0 ||
        tree_checkout_path(p->store, p->a->digest_hex.ptr, path, sizeof(path), e) < 0)
        return -1;
    p->src_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (p->src_fd < 0)
        return err_sys(e, errno, "open %s", path);
    if (open_spool(p, e) < 0)
        return -1;
    sha256_init(&p->sum);
    p->tar = archive_write_new();
    (void)archive_write_set_format_pax_restricted(p->tar);
    (void)archive_write_set_bytes_per_block(p->tar, 256 * KIB);
    (void)archive_write_set_bytes_in_last_block(p->tar, 1);
    rc = archive_write_open(p->tar, p, NULL, spool_write, NULL) == ARCHIVE_OK
             ? 0
             : tar_err(p, path, e);
    if (rc == 0)
        rc = tree_walk(p->store, p->a->digest_hex.ptr, add_entry, p, e);
    if (rc == 0 && archive_write_close(p->tar) != ARCHIVE_OK)
        rc = tar_err(p, path, e);
    (void)archive_write_free(p->tar);
    if (rc < 0)
        return -1;
    sha256_final_hex(&p->sum, p->layer.hex);
    p->layer.size_bytes = p->written;
    p->layer.media = p->media->tar;
    p->layer.fd = p->spool;
    return lseek(p->spool, 0, SEEK_SET) == 0 ? 0 : err_sys(e, errno, "rewind a tar");
}

static int choose_layer(struct pack *p, struct err *e)
{
    AUTO_FD int fd = -1;

    p->layer.fd = -1;
    if (str_eqz(p->a->kind, "dir"))
        return make_tar(p, e);
    if (!str_eqz(p->a->kind, "file")) {
        sha256_hex("{}", 2, p->layer.hex);
        p->layer.size_bytes = 2;
        p->layer.media = OCI_EMPTY;
        return 0;
    }
    if (blob_open(p->store, p->a->digest_hex.ptr, &fd, &p->layer.size_bytes, e) < 0)
        return -1;
    (void)snprintf(p->layer.hex, sizeof(p->layer.hex), "%s", p->a->digest_hex.ptr);
    p->layer.media = p->media->raw;
    return 0;
}

/* ---- documents ---- */

static void put_descriptor(struct jw *w, const char *media, const char *hex,
                           uint64_t size)
{
    char digest[7 + DIGEST_HEX];

    (void)snprintf(digest, sizeof(digest), "sha256:%s", hex);
    jw_kstr(w, "mediaType", media);
    jw_kstr(w, "digest", digest);
    jw_ki64(w, "size", (int64_t)size);
}

static void put_note(struct jw *w, const char *key, struct str value)
{
    if (!value.len)
        return;
    jw_key(w, key);
    jw_str(w, value);
}

/* what ModelPack wants of a model's config; others have the empty one */
static void put_config(const struct pack *p, struct buf *out)
{
    char digest[7 + DIGEST_HEX];
    struct jw w;

    if (!p->media->config_is_model) {
        buf_adds(out, "{}");
        return;
    }
    (void)snprintf(digest, sizeof(digest), "sha256:%s", p->layer.hex);
    jw_init(&w, out);
    jw_obj(&w);
    jw_key(&w, "descriptor");
    jw_obj(&w);
    put_note(&w, "name", p->a->name);
    jw_end_obj(&w);
    jw_key(&w, "modelfs");
    jw_obj(&w);
    jw_kstr(&w, "type", "layers");
    jw_key(&w, "diffIds");
    jw_arr(&w);
    jw_strz(&w, digest);
    jw_end_arr(&w);
    jw_end_obj(&w);
    jw_key(&w, "config");
    jw_obj(&w);
    jw_end_obj(&w);
    jw_end_obj(&w);
}

static void put_manifest(const struct pack *p, const struct buf *config,
                         const char *config_hex, struct buf *out)
{
    char digest[7 + DIGEST_HEX];
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    jw_ki64(&w, "schemaVersion", 2);
    jw_kstr(&w, "mediaType", OCI_MANIFEST);
    jw_kstr(&w, "artifactType", p->media->artifact);
    jw_key(&w, "config");
    jw_obj(&w);
    put_descriptor(&w, p->media->config, config_hex, config->len);
    jw_end_obj(&w);
    jw_key(&w, "layers");
    jw_arr(&w);
    jw_obj(&w);
    put_descriptor(&w, p->layer.media, p->layer.hex, p->layer.size_bytes);
    if (!str_eqz(p->a->kind, "none")) {
        jw_key(&w, "annotations");
        jw_obj(&w);
        put_note(&w, NOTE_MODEL_PATH, p->a->name);
        put_note(&w, NOTE_TITLE, p->a->name);
        jw_end_obj(&w);
    }
    jw_end_obj(&w);
    jw_end_arr(&w);
    jw_key(&w, "annotations");
    jw_obj(&w);
    put_note(&w, NOTE_TYPE, p->a->type);
    put_note(&w, NOTE_NAME, p->a->name);
    put_note(&w, NOTE_KIND, p->a->kind);
    (void)snprintf(digest, sizeof(digest), "sha256:%.64s",
                   p->a->digest_hex.len ? p->a->digest_hex.ptr : "");
    if (p->a->digest_hex.len)
        put_note(&w, NOTE_DIGEST, str_of(digest));
    put_note(&w, NOTE_METADATA, p->a->metadata_json);
    jw_end_obj(&w);
    jw_end_obj(&w);
}

/* a manifest of its own, so that the artifact's digest does not depend on it */
static void put_provenance(struct str events, const char *subject_hex,
                           uint64_t subject_size, struct buf *out)
{
    char hex[DIGEST_HEX];
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    jw_ki64(&w, "schemaVersion", 2);
    jw_kstr(&w, "mediaType", OCI_MANIFEST);
    jw_kstr(&w, "artifactType", PROVENANCE_MEDIA);
    sha256_hex("{}", 2, hex);
    jw_key(&w, "config");
    jw_obj(&w);
    put_descriptor(&w, OCI_EMPTY, hex, 2);
    jw_end_obj(&w);
    sha256_hex(events.ptr, events.len, hex);
    jw_key(&w, "layers");
    jw_arr(&w);
    jw_obj(&w);
    put_descriptor(&w, OPENLINEAGE_MEDIA, hex, events.len);
    jw_key(&w, "annotations");
    jw_obj(&w);
    put_note(&w, NOTE_TITLE, STR("openlineage.ndjson"));
    jw_end_obj(&w);
    jw_end_obj(&w);
    jw_end_arr(&w);
    jw_key(&w, "subject");
    jw_obj(&w);
    put_descriptor(&w, OCI_MANIFEST, subject_hex, subject_size);
    jw_end_obj(&w);
    jw_end_obj(&w);
}

static void index_entry(struct jw *w, const char *hex, const struct buf *manifest,
                        const char *type, struct str ref)
{
    jw_obj(w);
    put_descriptor(w, OCI_MANIFEST, hex, manifest->len);
    jw_kstr(w, "artifactType", type);
    if (ref.len) {
        jw_key(w, "annotations");
        jw_obj(w);
        put_note(w, NOTE_REF, ref);
        jw_end_obj(w);
    }
    jw_end_obj(w);
}

/* ---- all of it ---- */

static char *blob_name(struct pack *p, const char *hex)
{
    return arena_printf(&p->arena, "blobs/sha256/%s", hex);
}

static int put_text_blob(struct pack *p, struct sink *k, struct str text,
                         char hex[DIGEST_HEX], struct err *e)
{
    char *name;

    sha256_hex(text.ptr, text.len, hex);
    name = blob_name(p, hex);
    if (map_get(&k->seen, str_of(name)))
        return 0;
    map_put(&k->seen, str_of(arena_strdup(&k->arena, name)), k);
    return sink_text(k, name, text, e);
}

static int put_layer(struct pack *p, struct sink *k, struct err *e)
{
    char hex[DIGEST_HEX];

    if (p->layer.fd >= 0)
        return sink_bytes(k, p->layer.fd, p->layer.size_bytes, p->layer.hex,
                          blob_name(p, p->layer.hex), e);
    if (str_eqz(p->a->kind, "none"))
        return put_text_blob(p, k, STR("{}"), hex, e);
    return sink_blob(k, p->layer.hex, blob_name(p, p->layer.hex), e);
}

static struct str text_of(const struct buf *b)
{
    return (struct str){buf_str(b), b->len};
}

/* index.json comes last: whoever reads a stream of it finds what it speaks of before */
static int write_members(struct pack *p, struct sink *k, const struct oci_export *to,
                         char manifest_hex[DIGEST_HEX], struct err *e)
{
    AUTO_BUF struct buf config = {0};
    AUTO_BUF struct buf manifest = {0};
    AUTO_BUF struct buf provenance = {0};
    AUTO_BUF struct buf index = {0};
    char hex[DIGEST_HEX];
    struct jw w;

    put_config(p, &config);
    if (sink_text(k, "oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), e) < 0 ||
        put_text_blob(p, k, text_of(&config), hex, e) < 0)
        return -1;
    put_manifest(p, &config, hex, &manifest);
    if (put_layer(p, k, e) < 0 ||
        put_text_blob(p, k, text_of(&manifest), manifest_hex, e) < 0)
        return -1;
    jw_init(&w, &index);
    jw_obj(&w);
    jw_ki64(&w, "schemaVersion", 2);
    jw_key(&w, "manifests");
    jw_arr(&w);
    index_entry(&w, manifest_hex, &manifest, p->media->artifact, to->ref);
    if (to->provenance.len) {
        put_provenance(to->provenance, manifest_hex, manifest.len, &provenance);
        if (put_text_blob(p, k, STR("{}"), hex, e) < 0 ||
            put_text_blob(p, k, to->provenance, hex, e) < 0 ||
            put_text_blob(p, k, text_of(&provenance), hex, e) < 0)
            return -1;
        index_entry(&w, hex, &provenance, PROVENANCE_MEDIA, STR(""));
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    return sink_text(k, "index.json", text_of(&index), e);
}

int oci_artifact_export(struct store *s, const struct oci_artifact *a,
                        const struct oci_export *to, char manifest_hex[DIGEST_HEX],
                        struct err *e)
{
    struct pack p = {.store = s,
                     .a = a,
                     .media = oci_media_of(a->type),
                     .pin = -1,
                     .src_fd = -1,
                     .spool = -1};
    struct sink k;
    int rc = choose_layer(&p, e);

    if (rc == 0)
        rc = sink_open(&k, s, to->path, to->tar, e);
    if (rc == 0)
        rc = sink_close(&k, write_members(&p, &k, to, manifest_hex, e), e);
    if (p.pin >= 0)
        (void)close(p.pin);
    if (p.src_fd >= 0)
        (void)close(p.src_fd);
    if (p.spool >= 0)
        (void)close(p.spool);
    arena_done(&p.arena);
    return rc;
}

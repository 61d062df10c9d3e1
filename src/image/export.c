/* SPDX-License-Identifier: Apache-2.0 */
/* export.c - an image to an OCI layout (directory or tar) or a docker archive
 *
 * The bytes that came in go out: config, manifest and layer archives by their digests, so the
 * image keeps its identity wherever it is carried. Three shapes, one list of members:
 *
 *   OCI      oci-layout, index.json, blobs/sha256/<hex> ...
 *   docker   manifest.json, <config hex>.json, <blob hex>.tar ...
 *
 * A tar is written to a temporary name and renamed; to standard output it streams.
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
#include "base/mem.h"
#include "image/image.h"

/* where members go: a tar or a directory */
struct sink {
    struct store *store;
    struct archive *tar; /* NULL: dir_fd */
    int dir_fd;
    struct map seen; /* layers that an image has twice are written once */
    struct arena arena;
};

static int tar_err(struct sink *k, const char *name, struct err *e)
{
    return err_sys(e, archive_errno(k->tar) ? archive_errno(k->tar) : EIO, "write %s", name);
}

static int begin_member(struct sink *k, const char *name, uint64_t size, struct err *e)
{
    struct archive_entry *ent = archive_entry_new();
    int rc;

    archive_entry_set_pathname(ent, name);
    archive_entry_set_filetype(ent, AE_IFREG);
    archive_entry_set_perm(ent, 0644);
    archive_entry_set_size(ent, (la_int64_t)size);
    archive_entry_set_mtime(ent, 0, 0); /* no clock: the same image, the same bytes */
    rc = archive_write_header(k->tar, ent);
    archive_entry_free(ent);
    return rc < ARCHIVE_WARN ? tar_err(k, name, e) : 0;
}

static int put_text(struct sink *k, const char *name, struct str text, struct err *e)
{
    if (!k->tar)
        return fd_write_file(k->dir_fd, name, text.ptr, text.len, 0644, false, e);
    if (begin_member(k, name, text.len, e) < 0)
        return -1;
    return archive_write_data(k->tar, text.ptr, text.len) < 0 ? tar_err(k, name, e) : 0;
}

static int put_blob(struct sink *k, const char *hex, const char *name, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    AUTO_FD int from = -1;
    AUTO_FD int to = -1;
    uint64_t size;
    ssize_t n;

    if (map_get(&k->seen, str_of(name)))
        return 0;
    map_put(&k->seen, str_of(arena_strdup(&k->arena, name)), k);
    if (blob_open(k->store, hex, &from, &size, e) < 0)
        return -1;
    if (k->tar) {
        if (begin_member(k, name, size, e) < 0)
            return -1;
    } else {
        to = openat(k->dir_fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (to < 0)
            return err_sys(e, errno, "create %s", name);
    }
    while ((n = read(from, chunk, 256 * KIB)) > 0) {
        if (k->tar ? archive_write_data(k->tar, chunk, (size_t)n) < 0
                   : fd_write_all(to, chunk, (size_t)n, e) < 0)
            return k->tar ? tar_err(k, name, e) : err_at(e, "%s", name);
    }
    return n < 0 ? err_sys(e, errno, "read blob %.12s", hex) : 0;
}

/* ---- what the manifest says ------------------------------------------------------------------- */

struct parts {
    struct buf manifest;
    yyjson_doc *doc;
    json *layers;
};

static int read_parts(struct store *s, const char *config_hex, const char *manifest_hex,
                      struct parts *p, struct err *e)
{
    json *layer;
    size_t i, max;
    char hex[DIGEST_HEX];
    struct str digest;

    if (!manifest_hex || !blob_has(s, manifest_hex))
        return err_set(e, ERR_MISSING,
                       "image %.12s has no manifest here: it was loaded with --no-blobs; load it "
                       "again without, then export",
                       config_hex);
    if (blob_read(s, manifest_hex, &p->manifest, LIMIT_JSON_BYTES, e) < 0 ||
        json_parse((struct str){buf_str(&p->manifest), p->manifest.len}, LIMIT_JSON_BYTES, &p->doc,
                   e) < 0 ||
        json_arr(yyjson_doc_get_root(p->doc), "layers", &p->layers, e) < 0)
        return err_at(e, "manifest %.12s", manifest_hex);
    yyjson_arr_foreach(p->layers, i, max, layer)
    {
        if (json_str(layer, "digest", &digest, e) < 0)
            return err_at(e, "manifest %.12s", manifest_hex);
        if (!digest_parse(digest, hex))
            return err_set(e, ERR_CORRUPT, "manifest %.12s: layer %zu has no sha256 digest",
                           manifest_hex, i + 1);
        if (!blob_has(s, hex))
            return err_set(e, ERR_MISSING,
                           "image %.12s: the archive of layer %zu was not kept: load the image "
                           "again without --no-blobs",
                           config_hex, i + 1);
    }
    return 0;
}

static int write_oci(struct sink *k, const char *config_hex, const char *manifest_hex,
                     const struct parts *p, const char *name, struct err *e)
{
    AUTO_BUF struct buf index = {0};
    char path[128], hex[DIGEST_HEX];
    json *layer;
    size_t i, max;
    struct str type = STR("application/vnd.oci.image.manifest.v1+json");

    (void)json_str_opt(yyjson_doc_get_root(p->doc), "mediaType", &type, e);
    buf_addf(&index, "{\"schemaVersion\":2,\"manifests\":[{\"mediaType\":");
    buf_add_json_string(&index, type);
    buf_addf(&index, ",\"digest\":\"sha256:%s\",\"size\":%zu", manifest_hex, p->manifest.len);
    if (name) {
        buf_adds(&index, ",\"annotations\":{\"org.opencontainers.image.ref.name\":");
        buf_add_json_string(&index, str_of(name));
        buf_adds(&index, ",\"io.containerd.image.name\":");
        buf_add_json_string(&index, str_of(name));
        buf_adds(&index, "}");
    }
    buf_adds(&index, "}]}");
    if (!k->tar && fd_mkdirs(k->dir_fd, "blobs/sha256", 0755, e) < 0)
        return -1;
    if (put_text(k, "oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), e) < 0 ||
        put_text(k, "index.json", (struct str){buf_str(&index), index.len}, e) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", manifest_hex);
    if (put_blob(k, manifest_hex, path, e) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", config_hex);
    if (put_blob(k, config_hex, path, e) < 0)
        return -1;
    yyjson_arr_foreach(p->layers, i, max, layer)
    {
        (void)digest_parse(json_as_str(json_at(layer, "digest")), hex);
        (void)snprintf(path, sizeof path, "blobs/sha256/%s", hex);
        if (put_blob(k, hex, path, e) < 0)
            return -1;
    }
    return 0;
}

static int write_docker(struct sink *k, const char *config_hex, const struct parts *p,
                        const char *name, struct err *e)
{
    AUTO_BUF struct buf list = {0};
    char path[128], hex[DIGEST_HEX];
    json *layer;
    size_t i, max;
    struct jw w;

    jw_init(&w, &list);
    jw_arr(&w);
    jw_obj(&w);
    (void)snprintf(path, sizeof path, "%s.json", config_hex);
    jw_kstr(&w, "Config", path);
    jw_key(&w, "RepoTags");
    jw_arr(&w);
    if (name)
        jw_strz(&w, image_name_short(name));
    jw_end_arr(&w);
    jw_key(&w, "Layers");
    jw_arr(&w);
    if (put_blob(k, config_hex, path, e) < 0)
        return -1;
    yyjson_arr_foreach(p->layers, i, max, layer)
    {
        (void)digest_parse(json_as_str(json_at(layer, "digest")), hex);
        (void)snprintf(path, sizeof path, "%s.tar", hex);
        jw_strz(&w, path);
        if (put_blob(k, hex, path, e) < 0)
            return -1;
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    jw_end_arr(&w);
    return put_text(k, "manifest.json", (struct str){buf_str(&list), list.len}, e);
}

/* ---- where to ----------------------------------------------------------------------------------- */

static int write_members(struct sink *k, const char *config_hex, const char *manifest_hex,
                         const struct parts *p, const struct image_export_opts *o, struct err *e)
{
    return o->format == IMAGE_DOCKER_TAR
               ? write_docker(k, config_hex, p, o->name, e)
               : write_oci(k, config_hex, manifest_hex, p, o->name, e);
}

static int write_tar(struct sink *k, const char *config_hex, const char *manifest_hex,
                     const struct parts *p, const char *path, const struct image_export_opts *o,
                     struct err *e)
{
    bool to_stdout = strcmp(path, "-") == 0;
    AUTO_FREE char *tmp = xasprintf("%s.dugout-%d", path, (int)getpid());
    AUTO_FD int fd = to_stdout ? dup(1)
                               : open(tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    int rc = 0;

    if (fd < 0)
        return err_sys(e, errno, "create %s", tmp);
    k->tar = archive_write_new();
    (void)archive_write_set_format_pax_restricted(k->tar);
    if (archive_write_open_fd(k->tar, fd) != ARCHIVE_OK)
        rc = tar_err(k, path, e);
    if (rc == 0)
        rc = write_members(k, config_hex, manifest_hex, p, o, e);
    if (rc == 0 && archive_write_close(k->tar) != ARCHIVE_OK)
        rc = tar_err(k, path, e);
    (void)archive_write_free(k->tar);
    k->tar = NULL;
    if (rc == 0 && !to_stdout && rename(tmp, path) < 0)
        rc = err_sys(e, errno, "name %s", path);
    if (rc < 0 && !to_stdout)
        (void)unlink(tmp);
    return rc;
}

static int write_dir(struct sink *k, const char *config_hex, const char *manifest_hex,
                     const struct parts *p, const char *path, const struct image_export_opts *o,
                     struct err *e)
{
    AUTO_FD int fd = -1;

    if (access(path, F_OK) == 0)
        return err_set(e, ERR_INPUT, "%s exists: choose another directory", path);
    if (fd_mkdirs(AT_FDCWD, path, 0755, e) < 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    k->dir_fd = fd;
    return write_members(k, config_hex, manifest_hex, p, o, e);
}

int image_export(struct store *s, const char *config_hex, const char *manifest_hex,
                 const char *path, const struct image_export_opts *opts, struct err *e)
{
    struct sink k = {.store = s, .dir_fd = -1};
    struct parts p = {.doc = NULL};
    int rc = read_parts(s, config_hex, manifest_hex, &p, e);

    if (rc == 0)
        rc = opts->format == IMAGE_OCI_DIR
                 ? write_dir(&k, config_hex, manifest_hex, &p, path, opts, e)
                 : write_tar(&k, config_hex, manifest_hex, &p, path, opts, e);
    map_done(&k.seen);
    arena_done(&k.arena);
    buf_done(&p.manifest);
    yyjson_doc_free(p.doc);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* layers.c - the directory layers/ of a home
 *
 * Whether something is there is asked of the file system, by name. There is no list
 * that could disagree with it.
 */
#include "image/layers.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/chain.h"
#include "image/image.h"

#define LIMIT_META_BYTES (64 * KIB)
#define LIMIT_IMPLIED_BYTES (1 * GIB)
#define USERXATTR "userxattr"
#define LAYER_PATH (DIGEST_HEX + 16)

static void path_in(const char *id, const char *name, char out[LAYER_PATH])
{
    (void)snprintf(out, LAYER_PATH, "%s/%s", id, name);
}

int layer_meta_write(int dir_fd, const struct layer_meta *m, const struct buf *implied,
                     struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    struct jw w;

    jw_init(&w, &b);
    jw_obj(&w);
    jw_ki64(&w, "tar_bytes", (int64_t)m->tar_bytes);
    jw_ki64(&w, "entries", (int64_t)m->entries);
    jw_kstr(&w, "blob", m->blob.hex);
    jw_ki64(&w, "blob_bytes", (int64_t)m->blob.size_bytes);
    jw_ki64(&w, "format", m->format);
    jw_end_obj(&w);
    if (fd_write_file(dir_fd, "meta", b.ptr, b.len, 0444, false, e) < 0)
        return -1;
    if (m->entries == 0 && fd_write_file(dir_fd, "empty", "", 0, 0444, false, e) < 0)
        return -1;
    if (implied->len == 0)
        return 0;
    return fd_write_file(dir_fd, "implied", implied->ptr, implied->len, 0444, false, e);
}

int layer_meta_read(int layers_fd, const char *id, struct layer_meta *out,
                    struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    AUTO_JSON yyjson_doc *doc = NULL;
    char path[LAYER_PATH];
    int64_t tar_bytes, entries, blob_bytes, format;
    struct str blob;
    json *root;

    path_in(id, "meta", path);
    if (fd_read_file(layers_fd, path, &b, LIMIT_META_BYTES, e) < 0)
        return err_at(e, "layer %.12s", id);
    if (json_parse((struct str){buf_str(&b), b.len}, LIMIT_META_BYTES, &doc, e) < 0)
        return err_at(e, "layer %.12s: meta", id);
    root = yyjson_doc_get_root(doc);
    if (json_i64(root, "tar_bytes", &tar_bytes, e) < 0 ||
        json_i64(root, "entries", &entries, e) < 0 ||
        json_str(root, "blob", &blob, e) < 0 ||
        json_i64(root, "blob_bytes", &blob_bytes, e) < 0 ||
        json_i64(root, "format", &format, e) < 0)
        return err_at(e, "layer %.12s: meta", id);
    if (!is_hex64_str(blob) || tar_bytes < 0 || entries < 0 || blob_bytes < 0 ||
        format < ZIP_NONE || format > ZIP_ZSTD)
        return err_set(e, ERR_CORRUPT, "layer %.12s: meta: a value is out of range",
                       id);
    *out = (struct layer_meta){.tar_bytes = (uint64_t)tar_bytes,
                               .entries = (uint64_t)entries,
                               .format = (enum zip_format)format};
    memcpy(out->blob.hex, blob.ptr, 64);
    out->blob.size_bytes = (uint64_t)blob_bytes;
    return 0;
}

int layer_implied_read(int layers_fd, const char *id, struct buf *out, struct err *e)
{
    char path[LAYER_PATH];

    path_in(id, "implied", path);
    if (faccessat(layers_fd, path, F_OK, 0) < 0 && errno == ENOENT)
        return 0;
    if (fd_read_file(layers_fd, path, out, LIMIT_IMPLIED_BYTES, e) < 0)
        return err_at(e, "layer %.12s", id);
    if (out->len && out->ptr[out->len - 1] != '\0')
        return err_set(e, ERR_CORRUPT, "layer %.12s: implied: it is cut off", id);
    return 0;
}

bool layer_there(int layers_fd, const char *id)
{
    return faccessat(layers_fd, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

bool layer_empty(int layers_fd, const char *id)
{
    char path[LAYER_PATH];

    path_in(id, "empty", path);
    return faccessat(layers_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

int layer_fs(int layers_fd, const char *id)
{
    char path[LAYER_PATH];

    path_in(id, "fs", path);
    return openat(layers_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

bool layers_have_userxattr(const struct store *s)
{
    return faccessat(store_dir_fd(s, STORE_LAYERS), USERXATTR, F_OK,
                     AT_SYMLINK_NOFOLLOW) == 0;
}

int layers_userxattr(struct store *s, bool *out, struct err *e)
{
    char name[STORE_TMP_NAME];
    AUTO_FD int fd = -1;
    struct err ignored;
    bool trusted;

    *out = layers_have_userxattr(s);
    if (*out)
        return 0;
    if (store_tmp_dir(s, "probe", name, &fd, e) < 0)
        return -1;
    /* trusted.* takes CAP_SYS_ADMIN in the first user namespace */
    trusted = fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0) == 0;
    (void)store_drop(s, store_dir_fd(s, STORE_TMP), name, &ignored);
    if (trusted)
        return 0;
    *out = true;
    return fd_write_file(store_dir_fd(s, STORE_LAYERS), USERXATTR, "", 0, 0444, false,
                         e);
}

void stack_ids(int layers_fd, const char (*diff_ids)[DIGEST_HEX], size_t n,
               char (*ids)[DIGEST_HEX], char chain[DIGEST_HEX], char thin[DIGEST_HEX])
{
    char below[DIGEST_HEX] = "";

    for (size_t i = 0; i < n; i++) {
        chain_id(below, diff_ids[i], chain);
        memcpy(below, chain, DIGEST_HEX);
        bool chained = i > 0 && layer_there(layers_fd, chain);
        memcpy(ids[i], chained ? chain : diff_ids[i], DIGEST_HEX);
    }
    image_thin_id(chain, thin);
    if (n < 2 || !layer_there(layers_fd, thin))
        thin[0] = '\0';
}

void image_thin_id(const char *chain_hex, char out[DIGEST_HEX])
{
    char text[sizeof("dugout thin layer of sha256:") + DIGEST_HEX];
    int n = snprintf(text, sizeof(text), "dugout thin layer of sha256:%s", chain_hex);

    sha256_hex(text, (size_t)n, out);
}

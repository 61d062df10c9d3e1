/* SPDX-License-Identifier: Apache-2.0 */
/* manifest.c - docker archives, and what both kinds of archive share
 *
 *   manifest.json: [{"Config": "<hex>.json", "RepoTags": ["a:b"], "Layers":
 * ["x/layer.tar"]}]
 *
 * There are no digests here but that of the config, which every tool puts into its file
 * name, and the diff_ids inside it; those cover every byte of the layers. Such an image
 * has no manifest either, so one is written: from the layers as they came, hence the
 * same for the same archive.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/json.h"
#include "base/limits.h"
#include "image/plan.h"

void plan_name(struct image_plans *p, struct image_plan *image, struct str name)
{
    char full[IMAGE_NAME_BYTES];
    struct err ignored;

    if (image_name_normalise(name, full, &ignored) < 0)
        return;
    for (size_t i = 0; i < image->n_names; i++)
        if (strcmp(image->names[i], full) == 0)
            return;
    image->names =
        arena_grow(p->arena, image->names, &image->n_names, sizeof(*image->names));
    image->names[image->n_names - 1] = arena_strdup(p->arena, full);
}

int plan_config(struct image_plans *p, struct image_plan *image, size_t n_layers,
                struct err *e)
{
    char want[PLATFORM_TEXT], have[PLATFORM_TEXT];

    if (config_parse_in(p->arena, image->config_json, &image->config, e) < 0)
        return err_at(e, "config %.12s", image->config_hex);
    if (image->config.n_layers != n_layers)
        return err_set(e, ERR_CORRUPT,
                       "config %.12s has %zu diff_ids, but there are %zu layers",
                       image->config_hex, image->config.n_layers, n_layers);
    if (!platform_fits(&p->platform, &image->config.platform)) {
        platform_text(&p->platform, want);
        platform_text(&image->config.platform, have);
        return err_set(e, ERR_INPUT, "the image is for %s, want %s (see --platform)",
                       have, want);
    }
    for (size_t i = 0; i < n_layers; i++)
        memcpy(image->layers[i].diff_hex, image->config.diff_ids[i], DIGEST_HEX);
    return 0;
}

/* the 64 hex digits at the start of a path's last component, if they are there */
static bool hex_in_name(struct str path, char out[DIGEST_HEX])
{
    const char *slash = memrchr(path.ptr, '/', path.len);
    const char *from = slash ? slash + 1 : path.ptr;
    size_t left = path.len - (size_t)(from - path.ptr);

    if (left < 64 || !is_hex64_str((struct str){from, 64}) ||
        (left > 64 && from[64] != '.'))
        return false;
    memcpy(out, from, 64);
    out[64] = '\0';
    return true;
}

static int read_config(struct image_plans *p, json *item, struct image_plan *image,
                       struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    char named[DIGEST_HEX];
    struct str path;

    if (json_str(item, "Config", &path, e) < 0)
        return -1;
    path = arena_str(p->arena, path);
    if (archive_read_small(p->archive, path.ptr, LIMIT_JSON_BYTES, &b, e) < 0)
        return err_at(e, "config");
    image->config_json = arena_str(p->arena, (struct str){buf_str(&b), b.len});
    sha256_hex(buf_str(&b), b.len, image->config_hex);
    if (hex_in_name(path, named) && strcmp(named, image->config_hex) != 0)
        return err_set(e, ERR_CORRUPT, "config %.12s hashes to %.12s", named,
                       image->config_hex);
    return 0;
}

static int read_layer(struct image_plans *p, json *item, struct layer_plan *out,
                      struct err *e)
{
    struct str path = json_as_str(item);
    struct bytes_src src;
    int fd = -1;

    if (path.len == 0)
        return err_set(e, ERR_CORRUPT, "want a file name");
    *out = (struct layer_plan){.member = arena_str(p->arena, path).ptr};
    if (archive_bytes(p->archive, out->member, &src, &fd, e) < 0)
        return -1;
    if (fd >= 0)
        (void)close(fd);
    out->size_bytes = src.size;
    if (str_starts(path, "blobs/sha256/"))
        (void)hex_in_name(path, out->blob_hex);
    return 0;
}

static int read_layers(struct image_plans *p, json *item, struct image_plan *image,
                       size_t *n, struct err *e)
{
    json *list, *layer;
    size_t i, max;

    if (json_arr(item, "Layers", &list, e) < 0)
        return -1;
    if (yyjson_arr_size(list) > LIMIT_LAYERS)
        return err_set(e, ERR_LIMIT, "%zu layers, overlayfs takes at most %d",
                       yyjson_arr_size(list), LIMIT_LAYERS);
    image->layers =
        arena_alloc(p->arena, (yyjson_arr_size(list) + 1) * sizeof(*image->layers));
    yyjson_arr_foreach(list, i, max, layer)
    {
        if (read_layer(p, layer, &image->layers[i], e) < 0)
            return err_at(e, "layer %zu of %zu", i + 1, yyjson_arr_size(list));
    }
    *n = yyjson_arr_size(list);
    return 0;
}

static bool read_names(struct image_plans *p, json *item, struct image_plan *image)
{
    json *list = yyjson_obj_get(item, "RepoTags"), *tag;
    bool wanted = !p->ref;
    size_t i, max;
    char want[IMAGE_NAME_BYTES] = "";
    struct err ignored;

    if (p->ref)
        (void)image_name_normalise(str_of(p->ref), want, &ignored);
    yyjson_arr_foreach(list, i, max, tag)
    {
        plan_name(p, image, json_as_str(tag));
    }
    for (i = 0; i < image->n_names; i++)
        wanted |= strcmp(image->names[i], want) == 0;
    return wanted;
}

static int read_image(struct image_plans *p, json *item, struct err *e)
{
    struct image_plan image = {.what = NULL};
    size_t n_layers = 0;

    if (!yyjson_is_obj(item))
        return err_set(e, ERR_CORRUPT, "want an object");
    if (!read_names(p, item, &image))
        return 0;
    image.what = image.n_names ? image_name_short(image.names[0]) : "image";
    if (read_config(p, item, &image, e) < 0 ||
        read_layers(p, item, &image, &n_layers, e) < 0 ||
        plan_config(p, &image, n_layers, e) < 0)
        return image.n_names ? err_at(e, "%s", image.what) : -1;
    p->items = arena_grow(p->arena, p->items, &p->n, sizeof(*p->items));
    p->items[p->n - 1] = image;
    return 0;
}

int plan_docker(struct image_plans *p, struct err *e)
{
    AUTO_BUF struct buf text = {.ptr = NULL};
    AUTO_JSON yyjson_doc *doc = NULL;
    json *list, *item;
    size_t i, max;

    if (archive_read_small(p->archive, "manifest.json", LIMIT_JSON_BYTES, &text, e) < 0)
        return -1;
    if (json_parse((struct str){buf_str(&text), text.len}, LIMIT_JSON_BYTES, &doc, e) <
        0)
        return err_at(e, "manifest.json");
    list = yyjson_doc_get_root(doc);
    if (!yyjson_is_arr(list))
        return err_set(e, ERR_CORRUPT, "manifest.json: want an array");
    if (yyjson_arr_size(list) > LIMIT_INDEX_ENTRIES)
        return err_set(e, ERR_LIMIT, "manifest.json: more than %d images",
                       LIMIT_INDEX_ENTRIES);
    yyjson_arr_foreach(list, i, max, item)
    {
        if (read_image(p, item, e) < 0)
            return err_at(e, "manifest.json");
    }
    if (p->n == 0 && p->ref)
        return err_set(e, ERR_MISSING, "there is no image %.200s in it", p->ref);
    return p->n ? 0 : err_set(e, ERR_INPUT, "manifest.json lists no image");
}

/* ---- a manifest of our own ---- */

static void put_descriptor(struct jw *w, const char *media, const char *hex,
                           uint64_t size)
{
    char digest[sizeof("sha256:") + DIGEST_HEX];

    (void)snprintf(digest, sizeof(digest), "sha256:%s", hex);
    jw_obj(w);
    jw_kstr(w, "mediaType", media);
    jw_kstr(w, "digest", digest);
    jw_ki64(w, "size", (int64_t)size);
    jw_end_obj(w);
}

void plan_manifest(const struct image_plan *image, const enum zip_format *formats,
                   struct buf *out)
{
    static const char *const media[] = {
        [ZIP_NONE] = "application/vnd.oci.image.layer.v1.tar",
        [ZIP_GZIP] = "application/vnd.oci.image.layer.v1.tar+gzip",
        [ZIP_ZSTD] = "application/vnd.oci.image.layer.v1.tar+zstd",
    };
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    jw_ki64(&w, "schemaVersion", 2);
    jw_kstr(&w, "mediaType", "application/vnd.oci.image.manifest.v1+json");
    jw_key(&w, "config");
    put_descriptor(&w, "application/vnd.oci.image.config.v1+json", image->config_hex,
                   image->config_json.len);
    jw_key(&w, "layers");
    jw_arr(&w);
    for (size_t i = 0; i < image->config.n_layers; i++)
        put_descriptor(&w, media[formats[i]], image->layers[i].blob_hex,
                       image->layers[i].size_bytes);
    jw_end_arr(&w);
    jw_end_obj(&w);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* export.c - an image to an OCI layout (directory or tar) or a docker archive
 *
 * The bytes that came in go out: config, manifest and layer archives by their digests, so the
 * image keeps its identity wherever it is carried. Three shapes, one list of members:
 *
 *   OCI      oci-layout, index.json, blobs/sha256/<hex> ...
 *   docker   manifest.json, <config hex>.json, <blob hex>.tar ...
 *
 * Where they go, sink.c knows.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/image.h"
#include "image/sink.h"

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
    if (sink_text(k, "oci-layout", STR("{\"imageLayoutVersion\":\"1.0.0\"}"), e) < 0 ||
        sink_text(k, "index.json", (struct str){buf_str(&index), index.len}, e) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", manifest_hex);
    if (sink_blob(k, manifest_hex, path, e) < 0)
        return -1;
    (void)snprintf(path, sizeof path, "blobs/sha256/%s", config_hex);
    if (sink_blob(k, config_hex, path, e) < 0)
        return -1;
    yyjson_arr_foreach(p->layers, i, max, layer)
    {
        (void)digest_parse(json_as_str(json_at(layer, "digest")), hex);
        (void)snprintf(path, sizeof path, "blobs/sha256/%s", hex);
        if (sink_blob(k, hex, path, e) < 0)
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
    if (sink_blob(k, config_hex, path, e) < 0)
        return -1;
    yyjson_arr_foreach(p->layers, i, max, layer)
    {
        (void)digest_parse(json_as_str(json_at(layer, "digest")), hex);
        (void)snprintf(path, sizeof path, "%s.tar", hex);
        jw_strz(&w, path);
        if (sink_blob(k, hex, path, e) < 0)
            return -1;
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    jw_end_arr(&w);
    return sink_text(k, "manifest.json", (struct str){buf_str(&list), list.len}, e);
}

static int write_members(struct sink *k, const char *config_hex, const char *manifest_hex,
                         const struct parts *p, const struct image_export_opts *o, struct err *e)
{
    return o->format == IMAGE_DOCKER_TAR
               ? write_docker(k, config_hex, p, o->name, e)
               : write_oci(k, config_hex, manifest_hex, p, o->name, e);
}

int image_export(struct store *s, const char *config_hex, const char *manifest_hex,
                 const char *path, const struct image_export_opts *opts, struct err *e)
{
    struct sink k;
    struct parts p = {.doc = NULL};
    int rc = read_parts(s, config_hex, manifest_hex, &p, e);

    if (rc == 0)
        rc = sink_open(&k, s, path, opts->format != IMAGE_OCI_DIR, e);
    if (rc == 0)
        rc = sink_close(&k, write_members(&k, config_hex, manifest_hex, &p, opts, e), e);
    buf_done(&p.manifest);
    yyjson_doc_free(p.doc);
    return rc;
}

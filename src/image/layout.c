/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c - an OCI layout: from index.json down to the layers of the images in it
 *
 *   index.json -> [index ->]... manifest -> config, layers     (all but the first by
 * digest)
 *
 * A descriptor gives digest, size and media type of a document, and all three are held
 * against the bytes before they are parsed as that type: a document that reads as an
 * index to one tool and as a manifest to another is refused. The digest becomes part of
 * a path only after it was found to be 64 hex digits.
 *
 * Entries of index.json that bear one name are one image for several platforms, and so
 * are the entries of a nested index; the best for this machine is taken.
 */
#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"
#include "image/plan.h"

#define OCI "application/vnd.oci.image."
#define DOCKER "application/vnd.docker."

enum doc_type { DOC_UNKNOWN, DOC_INDEX, DOC_MANIFEST };

struct descriptor {
    enum doc_type type;
    struct str media;
    char hex[DIGEST_HEX];
    uint64_t size_bytes;
    bool has_platform, attestation;
    struct platform platform;
    struct str name; /* from an annotation; empty without */
};

static enum doc_type doc_type(struct str media)
{
    if (str_eqz(media, OCI "index.v1+json") ||
        str_eqz(media, DOCKER "distribution.manifest.list.v2+json"))
        return DOC_INDEX;
    if (str_eqz(media, OCI "manifest.v1+json") ||
        str_eqz(media, DOCKER "distribution.manifest.v2+json"))
        return DOC_MANIFEST;
    return DOC_UNKNOWN;
}

static bool is_layer_type(struct str m)
{
    static const char *const types[] = {
        OCI "layer.v1.tar",
        OCI "layer.v1.tar+gzip",
        OCI "layer.v1.tar+zstd",
        OCI "layer.nondistributable.v1.tar",
        OCI "layer.nondistributable.v1.tar+gzip",
        OCI "layer.nondistributable.v1.tar+zstd",
        DOCKER "image.rootfs.diff.tar",
        DOCKER "image.rootfs.diff.tar.gzip",
        DOCKER "image.rootfs.diff.tar.zstd",
        DOCKER "image.rootfs.foreign.diff.tar.gzip",
    };

    for (size_t i = 0; i < N_ELEMS(types); i++)
        if (str_eqz(m, types[i]))
            return true;
    return false;
}

/* ---- descriptors ---- */

static struct str annotation(json *d, const char *key)
{
    return json_as_str(yyjson_obj_get(yyjson_obj_get(d, "annotations"), key));
}

static int read_digest(json *d, struct descriptor *out, struct err *e)
{
    struct str digest;
    int64_t size;

    if (json_str(d, "digest", &digest, e) < 0 || json_i64(d, "size", &size, e) < 0)
        return -1;
    if (str_starts(digest, "sha512:"))
        return err_set(e, ERR_INPUT, "digest: sha512 is not supported, want sha256");
    if (!digest_parse(digest, out->hex))
        return err_set(e, ERR_CORRUPT,
                       "digest: want sha256: and 64 lower-case hex digits, got "
                       "\"%.*s\"",
                       (int)(digest.len < 80 ? digest.len : 80), digest.ptr);
    if (size < 0)
        return err_set(e, ERR_CORRUPT, "size: %lld is negative", (long long)size);
    out->size_bytes = (uint64_t)size;
    return 0;
}

static int read_descriptor(json *d, struct descriptor *out, struct err *e)
{
    struct str os, arch, variant;
    json *platform;

    *out = (struct descriptor){.type = DOC_UNKNOWN};
    if (!yyjson_is_obj(d))
        return err_set(e, ERR_CORRUPT, "want a descriptor");
    if (read_digest(d, out, e) < 0 || json_str_opt(d, "mediaType", &out->media, e) < 0)
        return -1;
    out->type = doc_type(out->media);
    out->attestation = annotation(d, "vnd.docker.reference.type").len > 0;
    out->name = annotation(d, "io.containerd.image.name");
    if (out->name.len == 0)
        out->name = annotation(d, "org.opencontainers.image.ref.name");
    platform = yyjson_obj_get(d, "platform");
    if (!yyjson_is_obj(platform))
        return 0;
    os = json_as_str(yyjson_obj_get(platform, "os"));
    arch = json_as_str(yyjson_obj_get(platform, "architecture"));
    variant = json_as_str(yyjson_obj_get(platform, "variant"));
    out->has_platform = platform_set(&out->platform, os, arch, variant);
    out->attestation |= str_eqz(os, "unknown");
    return 0;
}

/* ---- documents ---- */

static void blob_name(const char *hex, char out[96])
{
    (void)snprintf(out, 96, "blobs/sha256/%s", hex);
}

static int read_blob(struct image_plans *p, const struct descriptor *d, struct str *out,
                     struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    char name[96], got[DIGEST_HEX];

    if (d->size_bytes > LIMIT_JSON_BYTES)
        return err_set(e, ERR_LIMIT,
                       "sha256:%.12s has %llu bytes, at most %llu are read", d->hex,
                       (unsigned long long)d->size_bytes, LIMIT_JSON_BYTES);
    blob_name(d->hex, name);
    if (archive_read_small(p->archive, name, LIMIT_JSON_BYTES, &b, e) < 0)
        return e->code == ERR_MISSING
                   ? err_set(e, ERR_MISSING, "blob sha256:%s is not in the archive",
                             d->hex)
                   : -1;
    if (b.len != d->size_bytes)
        return err_set(e, ERR_CORRUPT,
                       "blob sha256:%.12s has %zu bytes, its descriptor says %llu",
                       d->hex, b.len, (unsigned long long)d->size_bytes);
    sha256_hex(buf_str(&b), b.len, got);
    if (strcmp(got, d->hex) != 0)
        return err_set(e, ERR_CORRUPT, "blob sha256:%.12s hashes to %.12s", d->hex,
                       got);
    *out = arena_str(p->arena, (struct str){buf_str(&b), b.len});
    return 0;
}

/* the document must be what its descriptor says and nothing else besides */
static int check_type(json *root, const struct descriptor *d, struct err *e)
{
    struct str media = {NULL, 0};

    if (!yyjson_is_obj(root))
        return err_set(e, ERR_CORRUPT, "want a JSON object");
    if (json_str_opt(root, "mediaType", &media, e) < 0)
        return -1;
    if (media.len && d->media.len && !str_eq(media, d->media))
        return err_set(e, ERR_CORRUPT,
                       "mediaType: the document says \"%.*s\", its descriptor "
                       "\"%.*s\"",
                       (int)(media.len < 80 ? media.len : 80), media.ptr,
                       (int)(d->media.len < 80 ? d->media.len : 80), d->media.ptr);
    if (media.len && doc_type(media) != d->type)
        return err_set(e, ERR_CORRUPT,
                       "mediaType: \"%.*s\" is another kind of document",
                       (int)(media.len < 80 ? media.len : 80), media.ptr);
    bool index = yyjson_obj_get(root, "manifests") != NULL;
    bool manifest = yyjson_obj_get(root, "layers") || yyjson_obj_get(root, "config");
    if (index && manifest)
        return err_set(e, ERR_CORRUPT, "it is an index and a manifest at once");
    if (d->type == DOC_INDEX ? !index : !manifest)
        return err_set(e, ERR_CORRUPT, "it is not what its media type says");
    return 0;
}

static int read_layer(json *item, struct layer_plan *out, struct arena *arena,
                      struct err *e)
{
    struct descriptor d;
    char name[96];

    if (read_descriptor(item, &d, e) < 0)
        return -1;
    if (!is_layer_type(d.media))
        return err_set(e, ERR_INPUT,
                       "mediaType: \"%.*s\" is no layer that can be unpacked",
                       (int)(d.media.len < 100 ? d.media.len : 100), d.media.ptr);
    blob_name(d.hex, name);
    *out = (struct layer_plan){.member = arena_strdup(arena, name),
                               .size_bytes = d.size_bytes};
    memcpy(out->blob_hex, d.hex, sizeof(out->blob_hex));
    return 0;
}

static int read_layers(struct image_plans *p, json *root, struct image_plan *image,
                       size_t *n_layers, struct err *e)
{
    json *list, *item;
    size_t i, max;

    if (json_arr(root, "layers", &list, e) < 0)
        return -1;
    if (yyjson_arr_size(list) > LIMIT_LAYERS)
        return err_set(e, ERR_LIMIT, "%zu layers, overlayfs takes at most %d",
                       yyjson_arr_size(list), LIMIT_LAYERS);
    image->layers =
        arena_alloc(p->arena, (yyjson_arr_size(list) + 1) * sizeof(*image->layers));
    yyjson_arr_foreach(list, i, max, item)
    {
        if (read_layer(item, &image->layers[i], p->arena, e) < 0)
            return err_at(e, "layers.%zu", i);
    }
    *n_layers = yyjson_arr_size(list);
    return 0;
}

static int read_manifest(struct image_plans *p, const struct descriptor *d,
                         struct image_plan *image, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct descriptor config;
    size_t n_layers = 0;
    json *root;

    if (read_blob(p, d, &image->manifest_json, e) < 0)
        return -1;
    memcpy(image->manifest_hex, d->hex, sizeof(d->hex));
    if (json_parse(image->manifest_json, LIMIT_JSON_BYTES, &doc, e) < 0)
        return err_at(e, "manifest %.12s", d->hex);
    root = yyjson_doc_get_root(doc);
    if (check_type(root, d, e) < 0)
        return err_at(e, "manifest %.12s", d->hex);
    if (read_descriptor(yyjson_obj_get(root, "config"), &config, e) < 0)
        return err_at(e, "manifest %.12s: config", d->hex);
    if (read_layers(p, root, image, &n_layers, e) < 0)
        return err_at(e, "manifest %.12s", d->hex);
    if (read_blob(p, &config, &image->config_json, e) < 0)
        return err_at(e, "manifest %.12s: config", d->hex);
    memcpy(image->config_hex, config.hex, sizeof(config.hex));
    return plan_config(p, image, n_layers, e);
}

/* ---- choosing ---- */

/* The choice among the entries of one index, or of one name in index.json. */
struct choice {
    struct descriptor best;
    int fit;           /* of best; 0: none yet */
    struct buf others; /* platforms that did not fit, for the message */
};

struct walk {
    struct image_plans *plans;
    size_t n_descriptors;
    char path[LIMIT_INDEX_DEPTH][DIGEST_HEX]; /* the indexes that we are in */
    int depth;
};

static void other_platform(struct choice *c, const struct platform *p)
{
    char text[PLATFORM_TEXT];

    platform_text(p, text);
    if (c->others.len < 200)
        buf_addf(&c->others, "%s%s", c->others.len ? ", " : "", text);
}

static int consider_index(struct walk *w, const struct descriptor *d, struct choice *c,
                          struct err *e);

/* a manifest without a platform has to be opened to know its own */
static int manifest_platform(struct walk *w, struct descriptor *d, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct descriptor config;
    struct image_config parsed;
    struct str text;

    if (read_blob(w->plans, d, &text, e) < 0)
        return -1;
    if (json_parse(text, LIMIT_JSON_BYTES, &doc, e) < 0 ||
        check_type(yyjson_doc_get_root(doc), d, e) < 0 ||
        read_descriptor(yyjson_obj_get(yyjson_doc_get_root(doc), "config"), &config,
                        e) < 0)
        return err_at(e, "manifest %.12s", d->hex);
    if (read_blob(w->plans, &config, &text, e) < 0 ||
        config_parse_in(w->plans->arena, text, &parsed, e) < 0)
        return err_at(e, "manifest %.12s: config", d->hex);
    d->platform = parsed.platform;
    return 0;
}

static int consider(struct walk *w, struct descriptor d, struct choice *c,
                    struct err *e)
{
    int fit;

    if (++w->n_descriptors > LIMIT_INDEX_ENTRIES)
        return err_set(e, ERR_LIMIT, "more than %d entries in its indexes",
                       LIMIT_INDEX_ENTRIES);
    if (d.attestation || d.type == DOC_UNKNOWN)
        return 0;
    if (d.has_platform && !platform_fits(&w->plans->platform, &d.platform)) {
        other_platform(c, &d.platform);
        return 0;
    }
    if (d.type == DOC_INDEX)
        return consider_index(w, &d, c, e);
    if (!d.has_platform && manifest_platform(w, &d, e) < 0)
        return -1;
    fit = platform_fits(&w->plans->platform, &d.platform);
    if (!fit)
        other_platform(c, &d.platform);
    if (fit > c->fit) { /* the first one among equals */
        c->best = d;
        c->fit = fit;
    }
    return 0;
}

static int consider_entries(struct walk *w, json *list, struct choice *c, struct err *e)
{
    json *item;
    size_t i, max;

    yyjson_arr_foreach(list, i, max, item)
    {
        struct descriptor d;
        if (read_descriptor(item, &d, e) < 0 || consider(w, d, c, e) < 0)
            return err_at(e, "manifests.%zu", i);
    }
    return 0;
}

static int consider_index(struct walk *w, const struct descriptor *d, struct choice *c,
                          struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct str text;
    json *list;

    for (int i = 0; i < w->depth; i++)
        if (strcmp(w->path[i], d->hex) == 0)
            return err_set(e, ERR_CORRUPT, "index %.12s contains itself", d->hex);
    if (w->depth == LIMIT_INDEX_DEPTH)
        return err_set(e, ERR_LIMIT, "indexes are nested deeper than %d",
                       LIMIT_INDEX_DEPTH);
    if (read_blob(w->plans, d, &text, e) < 0)
        return -1;
    if (json_parse(text, LIMIT_JSON_BYTES, &doc, e) < 0 ||
        check_type(yyjson_doc_get_root(doc), d, e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "manifests", &list, e) < 0)
        return err_at(e, "index %.12s", d->hex);
    memcpy(w->path[w->depth++], d->hex, sizeof(d->hex));
    /* what is chosen borrows its strings from the text, which lives in the arena, not
     * from the parsed document: only digest, size and type of it are used later */
    int r = consider_entries(w, list, c, e);
    w->depth--;
    c->best.name = (struct str){NULL, 0};
    c->best.media = (struct str){NULL, 0};
    return r;
}

/* ---- index.json ---- */

/* A name of index.json with all entries that bear it; entries without a name stand
 * alone. */
struct group {
    struct str name;
    struct choice choice;
    bool seen; /* it has something that could be an image */
};

static struct group *group_of(struct group *groups, size_t *n, struct str name)
{
    for (size_t i = 0; i < *n && name.len; i++)
        if (str_eq(groups[i].name, name))
            return &groups[i];
    groups[*n].name = name;
    return &groups[(*n)++];
}

static bool is_wanted(const struct image_plans *p, struct str name)
{
    char a[IMAGE_NAME_BYTES], b[IMAGE_NAME_BYTES];
    struct err ignored;

    if (!p->ref || str_eqz(name, p->ref))
        return true;
    return image_name_normalise(name, a, &ignored) == 0 &&
           image_name_normalise(str_of(p->ref), b, &ignored) == 0 && strcmp(a, b) == 0;
}

/* "3.12" or "latest" is a tag, not a name */
static bool is_full_name(struct str s)
{
    return s.len && (memchr(s.ptr, '/', s.len) || memchr(s.ptr, ':', s.len));
}

static int take(struct image_plans *p, const struct group *g, struct err *e)
{
    struct image_plan *image = NULL;
    struct image_plan fresh = {.what = NULL};

    for (size_t i = 0; i < p->n && !image; i++)
        if (strcmp(p->items[i].manifest_hex, g->choice.best.hex) == 0)
            image = &p->items[i]; /* one image, another name */
    if (!image) {
        fresh.what = g->name.len ? arena_str(p->arena, g->name).ptr : "image";
        if (read_manifest(p, &g->choice.best, &fresh, e) < 0)
            return g->name.len ? err_at(e, "%.*s", STR_ARG(g->name)) : -1;
        p->items = arena_grow(p->arena, p->items, &p->n, sizeof(*p->items));
        image = &p->items[p->n - 1];
        *image = fresh;
    }
    if (is_full_name(g->name))
        plan_name(p, image, g->name);
    return 0;
}

static int no_fit(const struct image_plans *p, const struct group *g, struct err *e)
{
    char want[PLATFORM_TEXT];

    platform_text(&p->platform, want);
    return err_set(e, ERR_INPUT, "%.*s%sthere is no image for %s in it%s%s",
                   (int)(g->name.len < 200 ? g->name.len : 200), g->name.ptr,
                   g->name.len ? ": " : "", want,
                   g->choice.others.len ? ", it is for " : "",
                   buf_str(&g->choice.others));
}

static int take_groups(struct image_plans *p, const struct group *groups, size_t n,
                       struct err *e)
{
    bool any = false;

    for (size_t i = 0; i < n; i++) {
        if (!groups[i].seen)
            continue;
        any = true;
        if (!groups[i].choice.fit) {
            /* entries without a name are variants of what was taken already */
            if (groups[i].name.len || p->n == 0)
                return no_fit(p, &groups[i], e);
            continue;
        }
        if (take(p, &groups[i], e) < 0)
            return -1;
    }
    if (!any && p->ref)
        return err_set(e, ERR_MISSING, "there is no image %.200s in it", p->ref);
    return any ? 0 : err_set(e, ERR_INPUT, "index.json lists no image");
}

static int read_index(struct image_plans *p, json *list, struct group *groups,
                      size_t *n, struct err *e)
{
    struct walk w = {.plans = p};
    json *item;
    size_t i, max;

    yyjson_arr_foreach(list, i, max, item)
    {
        struct descriptor d;
        struct group *g;
        if (read_descriptor(item, &d, e) < 0)
            return err_at(e, "manifests.%zu", i);
        if (!is_wanted(p, d.name))
            continue;
        d.name = arena_str(p->arena, d.name);
        g = group_of(groups, n, d.name);
        g->seen |= d.type != DOC_UNKNOWN && !d.attestation;
        if (consider(&w, d, &g->choice, e) < 0)
            return err_at(e, "manifests.%zu", i);
    }
    return 0;
}

int plan_layout(struct image_plans *p, struct err *e)
{
    AUTO_BUF struct buf text = {.ptr = NULL};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct group *groups;
    size_t n = 0;
    json *list;
    int r;

    if (archive_read_small(p->archive, "index.json", LIMIT_JSON_BYTES, &text, e) < 0)
        return -1;
    if (json_parse((struct str){buf_str(&text), text.len}, LIMIT_JSON_BYTES, &doc, e) <
            0 ||
        json_arr(yyjson_doc_get_root(doc), "manifests", &list, e) < 0)
        return err_at(e, "index.json");
    if (yyjson_arr_size(list) > LIMIT_INDEX_ENTRIES)
        return err_set(e, ERR_LIMIT, "index.json: more than %d entries",
                       LIMIT_INDEX_ENTRIES);
    groups = arena_alloc(p->arena, (yyjson_arr_size(list) + 1) * sizeof(*groups));
    r = read_index(p, list, groups, &n, e);
    if (r < 0)
        (void)err_at(e, "index.json");
    else
        r = take_groups(p, groups, n, e);
    for (size_t i = 0; i < n; i++)
        buf_done(&groups[i].choice.others);
    return r;
}

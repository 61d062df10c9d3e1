/* SPDX-License-Identifier: Apache-2.0 */
/* image.c - load an archive, open an image for a box, say what gc must keep
 *
 * To open an image is to read its config and to look which layer directories are there;
 * no archive and no database is involved, so a box can start without either.
 */
#include "image/image.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "image/chain.h"
#include "image/load.h"

void image_list_done(struct image_list *l)
{
    arena_done(&l->arena);
    *l = (struct image_list){.items = NULL};
}

/* ---- image_load ---- */

/* An OCI layout if it is one, else a docker archive. Docker >= 25 writes both into one
 * archive, and some versions of it wrote an OCI half that was broken. */
static int make_plans(struct image_plans *p, struct err *e)
{
    struct err docker;

    if (archive_has(p->archive, "index.json")) {
        if (plan_layout(p, e) == 0)
            return 0;
        if (!archive_has(p->archive, "manifest.json"))
            return -1;
        p->items = NULL;
        p->n = 0;
        return plan_docker(p, &docker) == 0 ? 0 : -1;
    }
    if (archive_has(p->archive, "manifest.json"))
        return plan_docker(p, e);
    if (archive_has(p->archive, "repositories"))
        return err_set(e, ERR_INPUT,
                       "it was written by a docker before 1.10: load and save it "
                       "again with a newer one");
    return err_set(e, ERR_INPUT,
                   "it is no image (neither index.json nor manifest.json is in it); "
                   "dugout image import takes the tar of a root file system");
}

static int rename_image(struct image_plans *p, const char *name, struct err *e)
{
    char full[IMAGE_NAME_BYTES];

    if (!name)
        return 0;
    if (image_name_normalise(str_of(name), full, e) < 0)
        return -1;
    if (p->n > 1)
        return err_set(e, ERR_INPUT,
                       "there are %zu images in it, a name can be given to one", p->n);
    p->items[0].names = NULL;
    p->items[0].n_names = 0;
    plan_name(p, &p->items[0], str_of(full));
    return 0;
}

static int load(struct load *l, const char *path, const struct image_load_opts *opts,
                struct image_list *out, struct err *e)
{
    struct image_plans plans = {.arena = l->arena, .ref = opts->ref};
    struct archive_opts how = {.keep = !opts->no_blobs, .counter = &l->shared->counter};

    if (platform_parse(opts->platform, &plans.platform, e) < 0)
        return -1;
    if (archive_open(l->store, path, &how, &l->archive, e) < 0)
        return -1;
    plans.archive = l->archive;
    if (make_plans(&plans, e) < 0 || rename_image(&plans, opts->name, e) < 0 ||
        load_layers(l, plans.items, plans.n, e) < 0)
        return -1;
    return load_finish(l, plans.items, plans.n, out, e);
}

int image_load(struct store *s, const char *path, const struct image_load_opts *opts,
               struct image_list *out, struct err *e)
{
    static const struct image_load_opts defaults;
    struct image_list list = {.items = NULL};
    struct load l;
    int r;

    opts = opts ? opts : &defaults;
    r = load_open(&l, s, opts->jobs, e);
    l.arena = &list.arena;
    l.no_blobs = opts->no_blobs;
    l.progress = opts->progress;
    l.ctx = opts->ctx;
    if (r == 0)
        r = load(&l, path, opts, &list, e);
    load_close(&l);
    if (r < 0) {
        image_list_done(&list);
        return err_at(e, "%s", strcmp(path, "-") == 0 ? "standard input" : path);
    }
    *out = list;
    return 0;
}

/* ---- using ---- */

static int read_config(struct arena *a, struct store *s, const char *hex,
                       struct str *text, struct image_config *out, struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};

    if (blob_read(s, hex, &b, LIMIT_JSON_BYTES, e) < 0) {
        if (e->code == ERR_MISSING)
            return err_set(e, ERR_MISSING,
                           "image %.12s is not here (see dugout images)", hex);
        return err_at(e, "image %.12s", hex);
    }
    *text = arena_str(a, (struct str){buf_str(&b), b.len});
    if (config_parse_in(a, *text, out, e) < 0)
        return err_at(e, "image %.12s: config", hex);
    return 0;
}

struct ids {
    char (*at)[DIGEST_HEX];
    size_t n;
    char chain[DIGEST_HEX], thin[DIGEST_HEX];
};

static void ids_of(struct arena *a, struct store *s, const struct image_config *c,
                   struct ids *out)
{
    out->at = arena_alloc(a, c->n_layers * DIGEST_HEX);
    out->n = c->n_layers;
    stack_ids(store_dir_fd(s, STORE_LAYERS), (const char(*)[DIGEST_HEX])c->diff_ids,
              out->n, out->at, out->chain, out->thin);
}

/* older versions left layers open to readers of the home */
static void add_layer(struct arena *a, struct store *s, const char *id,
                      struct image *out)
{
    (void)store_shut(store_dir_fd(s, STORE_LAYERS), id);
    out->layers[out->n_layers++] =
        arena_printf(a, "%s/layers/%s/fs", store_home(s), id);
}

static bool comes_later(const struct ids *ids, size_t i)
{
    for (size_t k = i + 1; k < ids->n; k++)
        if (strcmp(ids->at[k], ids->at[i]) == 0)
            return true;
    return false;
}

/* Top first. overlayfs refuses a directory that is there twice; of two equal layers the
 * upper one shows all that the lower one has. Empty ones are left out, but for one. */
static int fill_stack(struct arena *a, struct store *s, const struct ids *ids,
                      struct image *out, struct err *e)
{
    int fd = store_dir_fd(s, STORE_LAYERS);

    out->layers = arena_alloc(a, (ids->n + 1) * sizeof(*out->layers));
    if (ids->thin[0])
        add_layer(a, s, ids->thin, out);
    for (size_t i = ids->n; i-- > 0;) {
        if (!layer_there(fd, ids->at[i]))
            return err_set(e, ERR_MISSING,
                           "image %.12s: layer %zu of %zu is not unpacked: load "
                           "the image again",
                           out->config_hex, i + 1, ids->n);
        bool last_chance = i == 0 && out->n_layers == 0;
        if (!comes_later(ids, i) && (last_chance || !layer_empty(fd, ids->at[i])))
            add_layer(a, s, ids->at[i], out);
    }
    if (out->n_layers == 0)
        add_layer(a, s, ids->at[ids->n - 1], out);
    return 0;
}

int image_open_in(struct arena *a, struct store *s, const char *config_hex,
                  struct image *out, struct err *e)
{
    struct image im = {.config_hex = arena_strdup(a, config_hex)};
    struct image_config c;
    struct ids ids;
    char platform[PLATFORM_TEXT];

    if (read_config(a, s, config_hex, &im.config_json, &c, e) < 0)
        return -1;
    ids_of(a, s, &c, &ids);
    if (fill_stack(a, s, &ids, &im, e) < 0)
        return -1;
    im.env = c.env;
    im.n_env = c.n_env;
    im.entrypoint = c.entrypoint;
    im.n_entrypoint = c.n_entrypoint;
    im.cmd = c.cmd;
    im.n_cmd = c.n_cmd;
    im.volumes = c.volumes;
    im.n_volumes = c.n_volumes;
    im.workdir = c.workdir;
    im.user = c.user;
    im.stop_signal = c.stop_signal;
    im.userxattr = layers_have_userxattr(s);
    platform_text(&c.platform, platform);
    im.platform = arena_strdup(a, platform);
    *out = im;
    return 0;
}

int image_pin(struct store *s, const struct image *img, struct err *e)
{
    for (size_t i = 0; i < img->n_layers; i++) {
        const char *end = strrchr(img->layers[i], '/'); /* ".../layers/ID/fs" */
        char id[DIGEST_HEX];
        int held; /* as long as we live */

        (void)snprintf(id, sizeof id, "%.64s", end - 64);
        if (store_pin(s, STORE_LAYERS, id, &held, e) < 0)
            return err_at(e, "image %.12s: load it again", img->config_hex);
    }
    return 0;
}

/* the layer archives that a manifest names */
static int mark_manifest(struct store *s, const char *hex, struct digest_set *blobs,
                         struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    AUTO_JSON yyjson_doc *doc = NULL;
    json *list, *item;
    size_t i, max;

    (void)digest_set_add(blobs, hex);
    if (!blob_has(s, hex))
        return 0;
    if (blob_read(s, hex, &b, LIMIT_JSON_BYTES, e) < 0 ||
        json_parse((struct str){buf_str(&b), b.len}, LIMIT_JSON_BYTES, &doc, e) < 0)
        return err_at(e, "manifest %.12s", hex);
    list = yyjson_obj_get(yyjson_doc_get_root(doc), "layers");
    yyjson_arr_foreach(list, i, max, item)
    {
        char layer[DIGEST_HEX];
        if (digest_parse(json_as_str(yyjson_obj_get(item, "digest")), layer))
            (void)digest_set_add(blobs, layer);
    }
    return 0;
}

int image_mark(struct store *s, const char *config_hex, const char *manifest_hex,
               struct digest_set *blobs, struct digest_set *layers, struct err *e)
{
    struct arena a = {.head = NULL};
    struct image_config c;
    struct str text;
    int r = 0;

    (void)digest_set_add(blobs, config_hex);
    if (manifest_hex && *manifest_hex)
        r = mark_manifest(s, manifest_hex, blobs, e);
    if (r == 0 && blob_has(s, config_hex)) {
        r = read_config(&a, s, config_hex, &text, &c, e);
        if (r == 0) {
            char chain[DIGEST_HEX] = "", next[DIGEST_HEX];
            for (size_t i = 0; i < c.n_layers; i++) {
                chain_id(chain, c.diff_ids[i], next);
                memcpy(chain, next, sizeof(chain));
                (void)digest_set_add(layers, c.diff_ids[i]);
                (void)digest_set_add(layers, chain);
            }
            image_thin_id(chain, next);
            (void)digest_set_add(layers, next);
        }
    }
    arena_done(&a);
    return r;
}

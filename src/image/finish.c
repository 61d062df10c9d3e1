/* SPDX-License-Identifier: Apache-2.0 */
/* finish.c - put unpacked layers on each other, and give them their names
 *
 * The layers of an image are opened bottom first, wherever they are. One that implies a
 * directory where there is a link below it, or that has a hard link to a file below it,
 * is unpacked again with a view of those below, under its ChainID; what differs in
 * implied directories otherwise goes into a thin layer on top. Then, once for all
 * images, everything is made durable and renamed into layers/.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "image/chain.h"
#include "image/load.h"

static int unit_fs(const struct load *l, const struct unit *u, struct err *e)
{
    char path[32];
    int fd;

    if (u->dir[0]) {
        (void)snprintf(path, sizeof(path), "%s/fs", u->dir);
        fd = openat(l->tmp_fd, path, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    } else {
        fd = layer_fs(store_dir_fd(l->store, STORE_LAYERS), u->id);
    }
    return fd < 0 ? err_sys(e, errno, "open layer %.12s", u->id) : fd;
}

static int unit_implied(const struct load *l, const struct unit *u, struct buf *out,
                        struct err *e)
{
    if (u->dir[0])
        return layer_implied_read(l->tmp_fd, u->dir, out, e);
    return layer_implied_read(store_dir_fd(l->store, STORE_LAYERS), u->id, out, e);
}

/* ---- stacks ---- */

/* Layers of one image while they are put on each other. */
struct pile {
    struct stack stack;
    struct buf implied[LIMIT_LAYERS];
    struct unit *units[LIMIT_LAYERS];
};

static void pile_done(struct pile *p)
{
    for (size_t i = 0; i < p->stack.n; i++) {
        (void)close(p->stack.fds[i]);
        buf_done(&p->implied[i]);
    }
    free(p);
}

static int pile_add(const struct load *l, struct pile *p, struct unit *u, struct err *e)
{
    int fd = unit_fs(l, u, e);

    if (fd < 0)
        return -1;
    p->stack.fds[p->stack.n] = fd;
    p->units[p->stack.n] = u;
    return unit_implied(l, u, &p->implied[p->stack.n++], e);
}

/* unpack a layer again, seeing those below it, under its ChainID */
static int unpack_chained(struct load *l, struct pile *p, struct image_plan *image,
                          size_t i, const char *chain, struct unit **out, struct err *e)
{
    struct tasks t = {.n = 0};
    struct unit *u;

    if (i == 0)
        return err_set(e, ERR_CORRUPT,
                       "%s: layer 1 of %zu: a hard link leads to a file that is "
                       "not in the image",
                       image->what, image->config.n_layers);
    u = unit_new(l, chain, image->what, i + 1);
    if (load_add(l, &t, image, i, u, true, e) < 0)
        return -1;
    t.jobs[0].below = &p->stack;
    if (load_run(l, &t, e) < 0)
        return -1;
    unit_made(l, u, &t.jobs[0]);
    *out = u;
    return 0;
}

static int pile_layer(struct load *l, struct pile *p, struct image_plan *image,
                      size_t i, const char *chain, struct err *e)
{
    struct unit *u;
    bool conflict;

    if (load_known(l, image->layers[i].diff_hex, chain, &u, e) < 0)
        return load_at(image, i, e);
    if (u && !u->needs_below) {
        if (pile_add(l, p, u, e) < 0)
            return load_at(image, i, e);
        if (i == 0 || strcmp(u->id, chain) == 0)
            return 0;
        p->stack.n--; /* is it at odds with those below it? */
        int r = chain_conflict(&p->stack, &p->implied[p->stack.n], &conflict, e);
        p->stack.n++;
        if (r < 0)
            return load_at(image, i, e);
        if (!conflict)
            return 0;
        p->stack.n--;
        (void)close(p->stack.fds[p->stack.n]);
        buf_done(&p->implied[p->stack.n]);
    }
    if (unpack_chained(l, p, image, i, chain, &u, e) < 0)
        return -1;
    return pile_add(l, p, u, e);
}

static int thin_layer(struct load *l, struct pile *p, const char *chain, struct err *e)
{
    char id[DIGEST_HEX], path[32];
    AUTO_FD int dir = -1;
    AUTO_FD int fs = -1;
    bool made, there;
    struct layer_meta meta = {.entries = 1};
    struct buf none = {.ptr = NULL};
    struct unit *u;

    image_thin_id(chain, id);
    if (unit_get(l, id))
        return 0;
    if (load_refresh(l, id, &there, e) < 0 || load_tmp(l, e) < 0)
        return -1;
    if (there)
        return 0;
    u = unit_new(l, id, "", 0);
    unit_dir(l, u);
    (void)snprintf(path, sizeof(path), "%s/fs", u->dir);
    if (fd_mkdirs(l->tmp_fd, u->dir, 0700, e) < 0 ||
        fd_mkdirs(l->tmp_fd, path, 0755, e) < 0)
        return -1;
    dir = openat(l->tmp_fd, u->dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    fs = openat(l->tmp_fd, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || fs < 0)
        return err_sys(e, errno, "make the top layer");
    if (chain_thin(&p->stack, p->implied, fs, l->pool.owners, &made, e) < 0)
        return err_at(e, "top layer");
    if (!made)
        return 0;
    memcpy(meta.blob.hex, chain,
           DIGEST_HEX); /* not from an archive; says what it belongs to */
    if (layer_meta_write(dir, &meta, &none, e) < 0)
        return -1;
    u->fresh = true;
    l->fresh = arena_grow(l->arena, l->fresh, &l->n_fresh, sizeof(*l->fresh));
    l->fresh[l->n_fresh - 1] = u;
    l->wrote = true;
    return 0;
}

static bool anything_implied(const struct pile *p)
{
    for (size_t i = 1; i < p->stack.n; i++)
        if (p->implied[i].len)
            return true;
    return false;
}

static int stack_image(struct load *l, struct image_plan *image, struct pile *p,
                       struct err *e)
{
    char chain[DIGEST_HEX] = "", next[DIGEST_HEX];

    p->stack.userxattr = l->pool.userxattr;
    for (size_t i = 0; i < image->config.n_layers; i++) {
        chain_id(chain, image->layers[i].diff_hex, next);
        memcpy(chain, next, sizeof(chain));
        if (pile_layer(l, p, image, i, chain, e) < 0)
            return -1;
    }
    return anything_implied(p) ? thin_layer(l, p, chain, e) : 0;
}

/* ---- facts ---- */

static void note(struct load *l, struct image_info *info, const char *text)
{
    info->notes =
        arena_grow(l->arena, info->notes, &info->n_notes, sizeof(*info->notes));
    info->notes[info->n_notes - 1] = arena_strdup(l->arena, text);
}

static void note_unit(struct load *l, struct image_info *info, const struct unit *u)
{
    char text[200];

    if (u->devices) {
        (void)snprintf(text, sizeof(text),
                       "layer %zu: %u device nodes left out (a box has its "
                       "own /dev)",
                       u->number, u->devices);
        note(l, info, text);
    }
    if (u->sockets) {
        (void)snprintf(text, sizeof(text), "layer %zu: %u sockets left out", u->number,
                       u->sockets);
        note(l, info, text);
    }
    if (u->attributes) {
        (void)snprintf(text, sizeof(text),
                       "layer %zu: %u extended attributes left out, such as "
                       "%s%s",
                       u->number, u->attributes, u->attribute,
                       u->no_xattrs ? " (the file system of the home has none)" : "");
        note(l, info, text);
    }
}

static void fill_layers(struct load *l, struct image_plan *image, const struct pile *p,
                        struct image_info *info, enum zip_format *formats)
{
    for (size_t i = 0; i < image->config.n_layers; i++) {
        const struct unit *u = p->units[i];
        struct layer_plan *layer = &image->layers[i];

        if (!layer->blob_hex[0]) {
            memcpy(layer->blob_hex, u->meta.blob.hex, DIGEST_HEX);
            layer->size_bytes = u->meta.blob.size_bytes;
        }
        formats[i] = u->meta.format;
        info->size_bytes += layer->size_bytes;
        info->layer_bytes += u->meta.tar_bytes;
        info->layers_new += u->fresh;
        info->layers_known += !u->fresh;
        if (u->fresh && u->what == image->what)
            note_unit(l, info, u);
    }
}

static int put_document(struct load *l, struct str text, char hex[DIGEST_HEX],
                        struct err *e)
{
    struct blob_id id;

    sha256_hex(text.ptr, text.len, id.hex);
    l->wrote |= !blob_is_kept(l->store, id.hex);
    if (blob_put_bytes(l->store, text.ptr, text.len, BLOB_NOSYNC, &id, e) < 0)
        return -1;
    memcpy(hex, id.hex, DIGEST_HEX);
    return 0;
}

static int fill_info(struct load *l, struct image_plan *image, const struct pile *p,
                     struct image_info *info, struct err *e)
{
    enum zip_format formats[LIMIT_LAYERS];
    AUTO_BUF struct buf manifest = {.ptr = NULL};
    char platform[PLATFORM_TEXT];

    info->n_layers = image->config.n_layers;
    fill_layers(l, image, p, info, formats);
    if (!image->manifest_json.ptr) {
        plan_manifest(image, formats, &manifest);
        image->manifest_json =
            arena_str(l->arena, (struct str){buf_str(&manifest), manifest.len});
    }
    if (put_document(l, image->config_json, info->config_digest, e) < 0 ||
        put_document(l, image->manifest_json, info->manifest_digest, e) < 0)
        return -1;
    info->size_bytes += image->config_json.len + image->manifest_json.len;
    info->names = (char **)image->names;
    info->n_names = image->n_names;
    platform_text(&image->config.platform, platform);
    info->platform = arena_strdup(l->arena, platform);
    info->created =
        image->config.created ? arena_strdup(l->arena, image->config.created) : NULL;
    return 0;
}

/* ---- the end ---- */

static int publish_unit(struct load *l, const struct unit *u, struct err *e)
{
    int layers = store_dir_fd(l->store, STORE_LAYERS);

    if (utimensat(l->tmp_fd, u->dir, NULL, 0) < 0)
        return err_sys(e, errno, "set the time of layer %.12s", u->id);
    /* EEXIST cannot be: the layer's lock is ours and it was not there */
    if (renameat(l->tmp_fd, u->dir, layers, u->id) < 0 && errno != EEXIST &&
        errno != ENOTEMPTY)
        return err_sys(e, errno, "name layer %.12s", u->id);
    return 0;
}

static int publish(struct load *l, struct err *e)
{
    AUTO_FD int gc = -1;

    if (!l->wrote && !store_is_loose(l->store))
        return 0;
    if (store_settle(l->store, e) < 0)
        return -1;
    if (store_lock(l->store, "gc", LOCK_SH, &gc, e) < 0)
        return -1;
    for (size_t i = 0; i < l->n_fresh; i++)
        if (publish_unit(l, l->fresh[i], e) < 0)
            return -1;
    store_touched(l->store, STORE_LAYERS);
    store_touched(l->store, STORE_BLOBS); /* workers have named some there */
    return store_sync(l->store, e);
}

int load_finish(struct load *l, struct image_plan *images, size_t n,
                struct image_list *out, struct err *e)
{
    struct image_info *items = arena_alloc(l->arena, (n + 1) * sizeof(*items));

    for (size_t i = 0; i < n; i++) {
        struct pile *p = xalloc(sizeof(*p));
        int r = stack_image(l, &images[i], p, e);
        if (r == 0)
            r = fill_info(l, &images[i], p, &items[i], e);
        pile_done(p);
        if (r < 0)
            return -1;
    }
    if (publish(l, e) < 0)
        return -1;
    out->items = items;
    out->n = n;
    return 0;
}

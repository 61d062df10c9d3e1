/* SPDX-License-Identifier: Apache-2.0 */
/* carry.c - bring what a database names from one store to another */
#include "cli/carry.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "image/image.h"
#include "lineage/health.h"
#include "lineage/images.h"
#include "store/pack.h"
#include "store/tree.h"

static void note_damage(struct carry *x, const char *hex, const char *text)
{
    x->damage = arena_grow(x->a, x->damage, &x->n_damage, sizeof *x->damage);
    x->damage[x->n_damage - 1] = arena_printf(x->a, "%.64s: %s", hex, text);
}

/* what is wrong with this one content is no reason to leave the others behind */
static int passed_over(struct carry *x, const char *hex, struct err *e)
{
    if (e->code != ERR_MISSING && e->code != ERR_CORRUPT && e->code != ERR_INPUT &&
        !(e->code == ERR_SYS && e->sys == EIO))
        return -1;
    note_damage(x, hex, e->text);
    *e = (struct err){0};
    return 0;
}

/* ---- small files ------------------------------------------------------------------------------------ */

static int carry_file(struct carry *x, const char *path, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    int from_fd = store_home_fd(x->from), to = store_home_fd(x->to);
    struct stat from, there;

    if (fstatat(from_fd, path, &from, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISREG(from.st_mode))
        return 0;
    if (fstatat(to, path, &there, AT_SYMLINK_NOFOLLOW) == 0 && there.st_size == from.st_size &&
        there.st_mtim.tv_sec == from.st_mtim.tv_sec && there.st_mtim.tv_nsec == from.st_mtim.tv_nsec)
        return 0;
    if (fd_read_file(from_fd, path, &text, 2 * LIMIT_LOG_BYTES, e) < 0 ||
        fd_write_file(to, path, buf_str(&text), text.len, 0640, false, e) < 0)
        return -1;
    x->stamps = arena_grow(x->a, x->stamps, &x->n_stamps, sizeof *x->stamps);
    x->stamps[x->n_stamps - 1] = (struct stamp){arena_strdup(x->a, path), from.st_mtim};
    return 0;
}

/* A file that has the time of its source counts as copied, so it gets that when it is durable. */
static int make_durable(struct carry *x, struct err *e)
{
    if (!x->to)
        return 0;
    if (store_settle(x->to, e) < 0 || store_sync(x->to, e) < 0)
        return -1;
    for (size_t i = 0; i < x->n_stamps; i++) {
        const struct timespec both[] = {x->stamps[i].mtime, x->stamps[i].mtime};

        if (utimensat(store_home_fd(x->to), x->stamps[i].path, both, 0) < 0)
            return err_sys(e, errno, "set the time of %s/%s", store_home(x->to), x->stamps[i].path);
    }
    x->n_stamps = 0;
    return 0;
}

/* ---- contents ----------------------------------------------------------------------------------- */

static bool is_there(struct carry *x, const char *hex)
{
    AUTO_FD int from = -1;
    AUTO_FD int to = -1;
    struct err ignored;
    uint64_t want, size;

    return x->to && blob_is_kept(x->to, hex) && blob_open(x->from, hex, &from, &want, &ignored) == 0 &&
           blob_open(x->to, hex, &to, &size, &ignored) == 0 && size == want;
}

static int carry_blob(struct carry *x, const char *hex, struct err *e)
{
    struct blob_id id = {.hex = ""};
    struct err ignored;
    int rc;

    if (is_there(x, hex)) {
        x->there++;
        return 0;
    }
    rc = x->to ? blob_put_file(x->to, store_dir_fd(x->from, STORE_BLOBS), hex, BLOB_NOSYNC, &id, e)
               : blob_verify(x->from, hex, e);
    if (rc == 0 && x->to && strcmp(id.hex, hex) != 0) {
        (void)store_drop(x->to, store_dir_fd(x->to, STORE_BLOBS), id.hex, &ignored);
        rc = err_set(e, ERR_CORRUPT, "hashes to %.12s", id.hex);
    }
    if (rc < 0)
        return passed_over(x, hex, e);
    x->copied++;
    x->copied_bytes += id.size_bytes;
    return 0;
}

static int carry_part(void *ctx, const char *hex, struct err *e)
{
    return carry_blob(ctx, hex, e);
}

/* packs and objects as blobs, then the index, which is text of a known form */
static int carry_packed(struct carry *x, const char *hex, struct err *e)
{
    if (!x->to)
        return pack_verify(x->from, hex, e) < 0 ? passed_over(x, hex, e) : 0;
    if (tree_blobs_each(x->from, hex, carry_part, x, e) < 0)
        return passed_over(x, hex, e);
    if (carry_file(x, arena_printf(x->a, "store/packs/%s", hex), e) < 0)
        return -1;
    return tree_there(x->to, hex, e) ? 0 : passed_over(x, hex, e);
}

static int carry_tree(struct carry *x, const char *hex, struct err *e)
{
    struct tree_id id = {.hex = ""};
    struct err ignored;

    if (x->to && tree_there(x->to, hex, &ignored)) {
        x->there++;
        return 0;
    }
    if (tree_is_packed(x->from, hex))
        return carry_packed(x, hex, e);
    if ((x->to ? tree_put(x->to, store_dir_fd(x->from, STORE_CHECKOUTS), hex, 0, &id, e)
               : tree_verify(x->from, hex, e)) < 0)
        return passed_over(x, hex, e);
    if (x->to && strcmp(id.hex, hex) != 0) {
        (void)store_drop(x->to, store_dir_fd(x->to, STORE_CHECKOUTS), id.hex, &ignored);
        (void)err_set(e, ERR_CORRUPT, "is directory %.12s", id.hex);
        return passed_over(x, hex, e);
    }
    x->copied++;
    x->copied_bytes += id.size_bytes;
    return 0;
}

static int carry_image(struct carry *x, const struct db_image *i, struct err *e)
{
    AUTO_DIGEST_SET struct digest_set blobs = {.n = 0};
    AUTO_DIGEST_SET struct digest_set layers = {.n = 0}; /* unpacked again on restore */
    const char *name = i->n_names ? i->names[0].ptr : i->config_hex;

    if (image_mark(x->from, i->config_hex, i->manifest_hex[0] ? i->manifest_hex : NULL, &blobs,
                   &layers, e) < 0)
        return passed_over(x, name, e);
    for (size_t k = 0; k < blobs.cap; k++) {
        char hex[DIGEST_HEX];
        if (!blobs.used[k])
            continue;
        digest_set_hex(&blobs, k, hex);
        if (!blob_has(x->from, hex))
            note_damage(x, name, "its archive was not kept (--no-blobs), so it has to be loaded again");
        else if (carry_blob(x, hex, e) < 0)
            return -1;
    }
    return 0;
}

int carry_contents(struct carry *x, struct db *d, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_content *all;
    struct db_image *images;
    size_t n, n_images;

    if (db_contents_in(&a, d, &all, &n, e) < 0 || db_images_in(&a, d, &images, &n_images, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if ((all[i].dir ? carry_tree : carry_blob)(x, all[i].hex, e) < 0)
            return -1;
    for (size_t i = 0; i < n_images; i++)
        if (carry_image(x, &images[i], e) < 0)
            return -1;
    return make_durable(x, e);
}

/* ---- files of runs --------------------------------------------------------------------------------- */

int carry_runs(struct carry *x, struct db *d, struct err *e)
{
    static const char *const names[] = {"attempt.json", "result.json", "log", "log.tail"};
    AUTO_ARENA struct arena a = {0};
    struct str *dirs;
    size_t n;

    if (db_ended_dirs_in(&a, d, &dirs, &n, e) < 0 || carry_file(x, "config.yaml", e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (fd_mkdirs(store_home_fd(x->to), dirs[i].ptr, 0750, e) < 0)
            return -1;
        for (size_t k = 0; k < N_ELEMS(names); k++)
            if (carry_file(x, arena_printf(&a, "%s/%s", dirs[i].ptr, names[k]), e) < 0)
                return -1;
    }
    return make_durable(x, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lowers.c - the layers of a box: those of its image, and some of our own around them
 *
 *     runs/RUN/etc/IMAGE.NAME.BOOT   on top: hosts, hostname, resolv.conf; one for all boxes of a run
 *                                    with the same image and host name, such as the turns of a loop
 *     the image's layers
 *     layers/bottom/fs               below all: directories that KFP promises to tasks
 *
 * and for a box without a run:
 *
 *     layers/ID/etc                  on top: the same three files above the etc/ of layer ID, the
 *                                    topmost that has any. They are the same for every such box, and
 *                                    go with the layer
 *     the image's layers
 *
 * KFP gives a task empty, world-writable /minio, /gcs and /s3 and places for caches at the root,
 * whatever its image has (spec section 10); outputs and checkpoints have their places, too. Made in
 * the writable layer of each box they would be twenty inodes, created and removed for every step,
 * which costs more than all else of a short one. In layers they are made once. What lies at the
 * bottom is only there where the image has nothing itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "run/engine.h"
#include "run/lowers.h"

#define BOTTOM_DIR "layers/bottom" /* 0700: others may read a home, not write where all may write */
#define BOTTOM BOTTOM_DIR "/fs"
#define OLD_BOTTOM "envs/bottom" /* of older versions, which may still run tasks on it */
#define ETC "etc"

static const struct {
    const char *path;
    mode_t mode;
} places[] = {
    {"minio", 0777},
    {"minio/mlpipeline", 0777},
    {"minio/mlpipeline/v2", 0777},
    {"minio/mlpipeline/v2/artifacts", 0777},
    {"gcs", 0777},
    {"s3", 0777},
    {".local", 0777},
    {".cache", 0777},
    {".config", 0777},
    {"tmp", 01777},
    {"tmp/kfp", 0755},
    {"tmp/kfp/outputs", 0777},
    {"run", 0755},
    {"run/dugout", 0755},
    {"run/dugout/checkpoint", 0755},
};

/* existing is fine: several engines may do this at once */
static int make_bottom(int home_fd, struct err *e)
{
    AUTO_FD int dir = -1;

    (void)store_shut(home_fd, OLD_BOTTOM);
    if (fd_mkdirs(home_fd, BOTTOM_DIR, 0700, e) < 0 || fd_mkdirs(home_fd, BOTTOM, 0755, e) < 0)
        return -1;
    dir = openat(home_fd, BOTTOM, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, errno, "open " BOTTOM);
    for (size_t i = 0; i < N_ELEMS(places); i++)
        if ((mkdirat(dir, places[i].path, places[i].mode) < 0 && errno != EEXIST) ||
            fchmodat(dir, places[i].path, places[i].mode, 0) < 0) /* whatever the umask */
            return err_sys(e, errno, "make " BOTTOM "/%s", places[i].path);
    return 0;
}

/* 1 it is there, 0 the image's /etc is a link and cannot be covered by a layer */
static int make_etc(struct engine *en, const struct attempt *at, const char *name, struct err *e)
{
    AUTO_FD int all = -1;
    AUTO_FD int dir = -1;
    int rc;

    if (fd_mkdirs(en->run_fd, ETC, 0755, e) < 0)
        return -1;
    all = openat(en->run_fd, ETC, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (all < 0)
        return err_sys(e, errno, "open " ETC " of the run");
    if (box_remove_tree(all, "new", e) < 0) /* of an engine that was killed right here */
        return -1;
    if (mkdirat(all, "new", 0755) < 0)
        return err_sys(e, errno, "make " ETC "/new of the run");
    dir = openat(all, "new", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, errno, "open " ETC "/new of the run");
    rc = box_etc_layer(at->lowers, at->n_lowers, at->hostname.ptr, at->network_host, dir, e);
    if (rc == 0)
        return box_remove_tree(all, "new", e);
    if (rc > 0 && renameat(all, "new", en->run_fd, name) < 0)
        return err_sys(e, errno, "make %s of the run", name);
    return rc;
}

/* put it on top of at->lowers, which has room for it */
static int add_etc(struct engine *en, struct job *j, struct attempt *at, struct err *e)
{
    char host[BOX_HOSTNAME_BYTES];
    const char *name;

    if (j->image->own_etc)
        return 0;
    box_hostname(at->hostname.ptr, host);
    /* Not synced, so one of before a power cut may be empty. */
    name = arena_printf(&j->a, ETC "/%.16s.%s.%.8s%s", j->image->hex, host, clock_boot_id(),
                        at->network_host ? ".host" : "");
    if (faccessat(en->run_fd, name, F_OK, AT_SYMLINK_NOFOLLOW) < 0) {
        int rc = make_etc(en, at, name, e);
        if (rc <= 0) {
            j->image->own_etc = rc == 0;
            return rc;
        }
    }
    memmove(at->lowers + 1, at->lowers, at->n_lowers * sizeof(*at->lowers));
    at->lowers[0] = arena_printf(&j->a, "%s/runs/%s/%s", en->env->home, en->id, name);
    at->n_lowers++;
    at->has_etc = true;
    return 0;
}

int lowers_fill(struct engine *en, struct job *j, struct attempt *at, struct err *e)
{
    const struct image *img = &j->image->image;

    at->lowers = arena_alloc(&j->a, (img->n_layers + 2) * sizeof(*at->lowers));
    memcpy(at->lowers, img->layers, img->n_layers * sizeof(*at->lowers)); /* top first */
    at->n_lowers = img->n_layers;
    at->has_etc = false;
    if (!en->bottom) {
        if (make_bottom(en->home_fd, e) < 0)
            return -1;
        en->bottom = arena_printf(&en->a, "%s/" BOTTOM, en->env->home);
    }
    if (img->n_layers + 2 > LIMIT_LAYERS)
        return 0; /* no room: the box makes them in its writable layer */
    if (add_etc(en, j, at, e) < 0)
        return -1;
    at->lowers[at->n_lowers++] = en->bottom;
    return 0;
}

/* ---- a box without a run ---- */

/* what is in the files must outlive a power cut once the name does */
static bool sync_etc(int layer_fd)
{
    static const char *const names[] = {"etc/hosts", "etc/hostname", "etc/resolv.conf", "etc", "."};

    for (size_t i = 0; i < N_ELEMS(names); i++) {
        AUTO_FD int fd = openat(layer_fd, names[i], O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || fsync(fd) < 0)
            return false;
    }
    return true;
}

/* layers[0] has an etc/; make `path` beside it. Another process may be doing the same. */
static bool make_box_etc(const char *const *layers, size_t n, const char *path, const char *draft)
{
    AUTO_FD int dir = -1;
    struct err e;
    bool done;

    if (mkdir(draft, 0755) < 0)
        return false; /* not our home, or a full disk */
    dir = open(draft, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    done = dir >= 0 && box_etc_layer(layers, n, "box", false, dir, &e) > 0 && sync_etc(dir) &&
           (rename(draft, path) == 0 || errno == EEXIST || errno == ENOTEMPTY);
    (void)box_remove_tree(AT_FDCWD, draft, &e); /* what was not renamed */
    return done;
}

const char *const *lowers_of_box(struct arena *a, const struct image *img, size_t *n, bool *has_etc)
{
    const char **all = arena_alloc(a, (img->n_layers + 1) * sizeof(*all));
    const char *path;
    struct stat st;
    size_t i = 0;

    memcpy(all + 1, img->layers, img->n_layers * sizeof(*all));
    *n = img->n_layers;
    *has_etc = false;
    while (i < *n && lstat(arena_printf(a, "%s/etc", img->layers[i]), &st) < 0)
        i++;
    if (i == *n || *n == LIMIT_LAYERS)
        return all + 1;
    path = arena_printf(a, "%.*s/etc", (int)(strrchr(img->layers[i], '/') - img->layers[i]),
                        img->layers[i]);
    if (access(path, F_OK) < 0 &&
        !make_box_etc(img->layers + i, *n - i, path, arena_printf(a, "%s.%d", path, (int)getpid())))
        return all + 1;
    all[0] = path;
    *has_etc = true;
    ++*n;
    return all;
}

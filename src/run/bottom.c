/* SPDX-License-Identifier: Apache-2.0 */
/* bottom.c - a layer below every image: directories that KFP promises to tasks
 *
 * KFP gives a task empty, world-writable /minio, /gcs and /s3 and places for caches at the root,
 * whatever its image has (spec section 10); output parameters have a directory, too. Made in each
 * box they would be ten directories of its writable layer, created and removed for every step. As
 * the lowest layer, made once for a home, they are only there where the image has nothing itself.
 */
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "run/engine.h"

#define BOTTOM_DIR "layers/bottom" /* 0700: others may read a home, not write where all may write */
#define BOTTOM BOTTOM_DIR "/fs"

static const struct {
    const char *path;
    mode_t mode;
} places[] = {
    {"minio", 0777},  {"gcs", 0777},     {"s3", 0777},   {".local", 0777},
    {".cache", 0777}, {".config", 0777}, {"tmp", 01777}, {"tmp/kfp", 0755},
    {"tmp/kfp/outputs", 0777},
};

/* existing is fine: several engines may do this at once */
static int make_bottom(int home_fd, struct err *e)
{
    AUTO_FD int dir = -1;

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

const char **bottom_lowers(struct engine *en, struct arena *a, const struct image *img, size_t *n,
                           struct err *e)
{
    const char **lowers = arena_alloc(a, (img->n_layers + 1) * sizeof *lowers);

    if (!en->bottom) {
        if (make_bottom(en->home_fd, e) < 0)
            return NULL;
        en->bottom = arena_printf(&en->a, "%s/" BOTTOM, en->env->home);
    }
    memcpy(lowers, img->layers, img->n_layers * sizeof *lowers); /* top first */
    *n = img->n_layers;
    if (*n == LIMIT_LAYERS)
        return lowers; /* no room: the box makes them in its writable layer */
    lowers[(*n)++] = en->bottom;
    return lowers;
}

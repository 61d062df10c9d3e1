/* SPDX-License-Identifier: Apache-2.0 */
/* scratch.c - where attempts write when that is not to be the home
 *
 *   HOME/scratches/<16 hex>  ->  PATH/dugout-<16 hex>/<run>/<task row>.<attempt>/
 *
 * The home may lie where a container cannot work: on a file system that overlayfs does
 * not take as its upper layer, on a slow disk, on one that is full of blobs. Then the
 * writable layers, outputs and volumes of attempts go below another directory. Homes
 * may share it, so each has a directory of its own there, named by where the home is,
 * and the home remembers every one that it ever had: gc empties them all, also when the
 * setting has changed since.
 *
 * What is below belongs to the attempt of the same name in runs/ and goes after it.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/inside.h"

#define ID_HEX 16

/* HEX gets what names the directory of this home below path */
static void id_of(const struct store *s, const char *path, char hex[DIGEST_HEX])
{
    AUTO_FREE char *seed = xasprintf("%s\n%s", s->home, path);

    sha256_hex(seed, strlen(seed), hex);
    hex[ID_HEX] = '\0';
}

static int usable(int fd, const char *path, struct err *e)
{
    struct stat st;

    if (fstat(fd, &st) < 0)
        return err_sys(e, errno, "look at %s", path);
    if (st.st_uid != geteuid() || (st.st_mode & 022))
        return err_set(
            e, ERR_INPUT,
            "%s is not ours alone: it belongs to somebody else or others may write "
            "to it; remove it, or choose another place for scratch:",
            path);
    return 0;
}

static int remember(struct store *s, const char *id, const char *path, struct err *e)
{
    char tmp[STORE_TMP_NAME];
    AUTO_FD int dir = -1;

    if (mkdirat(s->home_fd, SCRATCHES, 0700) < 0 && errno != EEXIST)
        return store_err(e, errno, "make", SCRATCHES);
    dir =
        openat(s->home_fd, SCRATCHES, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir < 0)
        return err_sys(e, errno, "open %s/" SCRATCHES, s->home);
    if (faccessat(dir, id, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return 0;
    store_unique(s, "new", tmp);
    if (symlinkat(path, dir, tmp) < 0 || renameat(dir, tmp, dir, id) < 0)
        return store_err(e, errno, "remember", path);
    return fsync(dir) == 0 ? 0
                           : err_sys(e, errno, "make durable %s/" SCRATCHES, s->home);
}

int store_scratch(struct store *s, const char *path, char **gives, struct err *e)
{
    AUTO_FREE char *own = NULL;
    char hex[DIGEST_HEX];
    AUTO_FD int fd = -1;

    id_of(s, path, hex);
    if (access(path, F_OK) < 0)
        return err_set(
            e, ERR_MISSING,
            "scratch: %s does not exist: make it, mount it, or change scratch: in the "
            "config",
            path);
    own = xasprintf("%s/dugout-%s", path, hex);
    if (mkdir(own, 0700) < 0 && errno != EEXIST)
        return err_sys(e, errno, "make %s (scratch: in the config)", own);
    fd = open(own, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s (scratch: in the config)", own);
    if (usable(fd, own, e) < 0 || remember(s, hex, own, e) < 0 ||
        probe_scratch(s, fd, own, hex, e) < 0)
        return -1;
    *gives = own;
    own = NULL;
    return 0;
}

static bool has(const struct store *s, const char *run, const char *attempt)
{
    AUTO_FREE char *path = xasprintf("runs/%s/%s", run, attempt);

    return faccessat(s->home_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static DIR *list(int at, const char *name, int more)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC | more);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        (void)close(fd);
    return d;
}

static const char *next(DIR *d)
{
    const struct dirent *ent;

    do
        ent = readdir(d);
    while (ent && ent->d_name[0] == '.');
    return ent ? ent->d_name : NULL;
}

static int each_attempt(struct store *s, int base, const char *run, scratch_fn *fn,
                        void *ctx, struct err *e)
{
    DIR *d = list(base, run, O_NOFOLLOW);
    const char *name;
    int r = 0;

    while (d && r == 0 && (name = next(d)))
        r = fn(ctx, dirfd(d), run, name, !has(s, run, name), e);
    if (d)
        (void)closedir(d);
    (void)unlinkat(base, run, AT_REMOVEDIR); /* only when it is empty */
    return r;
}

/* open the directory that `id` remembers; NULL: it is not there now, is not ours alone,
 * or was remembered by another home of which this one is a copy */
static DIR *open_own(const struct store *s, int all, const char *id)
{
    char path[PATH_MAX], hex[DIGEST_HEX];
    ssize_t n = readlinkat(all, id, path, sizeof(path) - 1);
    struct err ignored;
    char *slash;
    DIR *d;

    if (n <= 0)
        return NULL;
    path[n] = '\0';
    d = list(AT_FDCWD, path, O_NOFOLLOW);
    slash = strrchr(path, '/');
    if (d && slash) {
        *slash = '\0';
        id_of(s, path, hex);
        if (strcmp(hex, id) == 0 && usable(dirfd(d), path, &ignored) == 0)
            return d;
    }
    if (d)
        (void)closedir(d);
    return NULL;
}

int scratch_each(struct store *s, scratch_fn *fn, void *ctx, struct err *e)
{
    DIR *all = list(s->home_fd, SCRATCHES, O_NOFOLLOW);
    const char *id;
    int r = 0;

    while (all && r == 0 && (id = next(all))) {
        DIR *d = open_own(s, dirfd(all), id);
        const char *run;

        while (d && r == 0 && (run = next(d)))
            r = each_attempt(s, dirfd(d), run, fn, ctx, e);
        if (d)
            (void)closedir(d);
    }
    if (all)
        (void)closedir(all);
    return r;
}

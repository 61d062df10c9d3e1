/* SPDX-License-Identifier: Apache-2.0 */
/* stack.c - the merged view of layer directories, without mounting anything
 *
 * overlayfs merges by name: the topmost layer that has something at a path wins, and a
 * directory goes on to the layers below unless it is opaque. A layer ends the search
 * with a whiteout, with something that is no directory, or with an opaque directory on
 * the way. We need this for few paths (directories that a layer implies without an
 * entry, hard links to what is not in the layer), so each is walked component by
 * component, no link followed.
 */
#include "image/stack.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

bool is_whiteout(const struct stat *st)
{
    return S_ISCHR(st->st_mode) && st->st_rdev == 0;
}

const char *opaque_xattr(bool userxattr)
{
    return userxattr ? "user.overlay.opaque" : "trusted.overlay.opaque";
}

bool layer_is_opaque(int dir_fd, const char *name, bool userxattr)
{
    AUTO_FD int fd =
        openat(dir_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char y = 0;

    return fd >= 0 && fgetxattr(fd, opaque_xattr(userxattr), &y, 1) == 1 && y == 'y';
}

/* the next component of *path into name; false at the end */
static bool next_component(const char **path, char name[NAME_MAX + 1])
{
    size_t n = strcspn(*path, "/");

    if (n == 0 || n > NAME_MAX)
        return false;
    memcpy(name, *path, n);
    name[n] = '\0';
    *path += n + ((*path)[n] == '/');
    return true;
}

int layer_open(int fs_fd, const char *path, int flags)
{
    AUTO_FD int at = openat(fs_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[NAME_MAX + 1];

    if (at < 0)
        return -1;
    while (next_component(&path, name)) {
        bool last = *path == '\0';
        int fd = openat(at, name,
                        (last ? flags : O_PATH | O_DIRECTORY) | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0 || last)
            return fd;
        (void)close(at);
        at = fd;
    }
    return openat(at, ".", flags | O_CLOEXEC);
}

static enum look kind_of(const struct stat *st)
{
    return S_ISDIR(st->st_mode)   ? LOOK_DIR
           : S_ISLNK(st->st_mode) ? LOOK_LINK
                                  : LOOK_FILE;
}

int layer_look(int fs_fd, bool userxattr, const char *path, struct looked *out,
               struct err *e)
{
    AUTO_FD int at = openat(fs_fd, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    char name[NAME_MAX + 1];

    *out = (struct looked){.kind = LOOK_DIR};
    if (at < 0 || fstat(at, &out->st) < 0)
        return err_sys(e, errno, "open a layer");
    while (next_component(&path, name)) {
        if (fstatat(at, name, &out->st, AT_SYMLINK_NOFOLLOW) < 0) {
            out->kind = LOOK_NONE;
            return errno == ENOENT ? 0
                                   : err_sys(e, errno, "look at %s in a layer", name);
        }
        if (is_whiteout(&out->st)) {
            out->kind = LOOK_NONE;
            out->hides = true;
            return 0;
        }
        out->kind = kind_of(&out->st);
        if (out->kind != LOOK_DIR) {
            out->hides = true;
            if (*path)
                out->kind = LOOK_NONE;
            return 0;
        }
        out->hides |= layer_is_opaque(at, name, userxattr);
        int fd = openat(at, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (fd < 0)
            return err_sys(e, errno, "open %s in a layer", name);
        (void)close(at);
        at = fd;
    }
    return 0;
}

int stack_look(const struct stack *s, const char *path, struct looked *out,
               size_t *layer, struct err *e)
{
    *out = (struct looked){.kind = LOOK_NONE};
    for (size_t i = s->n; i-- > 0;) {
        struct looked l;
        if (layer_look(s->fds[i], s->userxattr, path, &l, e) < 0)
            return -1;
        if (l.kind != LOOK_NONE) {
            *out = l;
            *layer = i;
            return 0;
        }
        if (l.hides)
            return 0;
    }
    return 0;
}

/* ---- copying ---- */

static bool is_overlay_mark(const char *name)
{
    return strncmp(name, "trusted.overlay.", 16) == 0 ||
           strncmp(name, "user.overlay.", 13) == 0;
}

static int copy_xattrs(int from, int to, struct err *e)
{
    AUTO_FREE char *names = NULL;
    AUTO_FREE char *value = NULL;
    ssize_t n = flistxattr(from, NULL, 0);

    if (n <= 0)
        return n == 0 || errno == ENOTSUP ? 0 : err_sys(e, errno, "list attributes");
    names = xalloc((size_t)n);
    value = xalloc(LIMIT_XATTR_BYTES);
    n = flistxattr(from, names, (size_t)n);
    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1) {
        ssize_t len;
        if (is_overlay_mark(p))
            continue;
        len = fgetxattr(from, p, value, LIMIT_XATTR_BYTES);
        if (len < 0 || (fsetxattr(to, p, value, (size_t)len, 0) < 0 && errno != EPERM &&
                        errno != ENOTSUP))
            return err_sys(e, errno, "copy attribute %s", p);
    }
    return 0;
}

/* owner before mode, since a change of owner takes setuid away; times last */
static int copy_meta(int from, int to, const struct stat *st, bool owners,
                     struct err *e)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};

    if (owners && fchown(to, st->st_uid, st->st_gid) < 0)
        return err_sys(e, errno, "set the owner");
    if (fchmod(to, st->st_mode & 07777) < 0)
        return err_sys(e, errno, "set the mode");
    if (copy_xattrs(from, to, e) < 0)
        return -1;
    return futimens(to, times) < 0 ? err_sys(e, errno, "set the times") : 0;
}

int copy_dir_meta(int from, int to, bool owners, struct err *e)
{
    struct stat st;

    if (fstat(from, &st) < 0)
        return err_sys(e, errno, "look at a directory");
    return copy_meta(from, to, &st, owners, e);
}

static int copy_data(int from, int to, struct err *e)
{
    ssize_t n;

    do {
        n = copy_file_range(from, NULL, to, NULL, 1 << 30, 0);
    } while (n > 0);
    return n < 0 ? err_sys(e, errno, "copy a file of a lower layer") : 0;
}

static int copy_regular(int fs_fd, const char *path, int dir_fd, const char *name,
                        const struct stat *st, bool owners, struct err *e)
{
    AUTO_FD int from = layer_open(fs_fd, path, O_RDONLY);
    AUTO_FD int to = openat(dir_fd, name,
                            O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (from < 0 || to < 0)
        return err_sys(e, errno, "copy %s from a lower layer", path);
    if (copy_data(from, to, e) < 0)
        return -1;
    return copy_meta(from, to, st, owners, e);
}

static int copy_other(int fs_fd, const char *path, int dir_fd, const char *name,
                      const struct stat *st, bool owners, struct err *e)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};
    char target[PATH_MAX];
    int r;

    if (S_ISLNK(st->st_mode)) {
        AUTO_FD int from = layer_open(fs_fd, path, O_PATH);
        ssize_t n = from < 0 ? -1 : readlinkat(from, "", target, sizeof(target) - 1);
        if (n < 0)
            return err_sys(e, errno, "read link %s of a lower layer", path);
        target[n] = '\0';
        r = symlinkat(target, dir_fd, name);
    } else {
        r = mkfifoat(dir_fd, name, st->st_mode & 07777);
    }
    if (r < 0 ||
        (owners &&
         fchownat(dir_fd, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0) ||
        utimensat(dir_fd, name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "copy %s from a lower layer", path);
    return 0;
}

int copy_up(const struct stack *s, const char *path, int dir_fd, const char *name,
            bool owners, struct err *e)
{
    struct looked l;
    size_t layer;

    if (stack_look(s, path, &l, &layer, e) < 0)
        return -1;
    if (l.kind == LOOK_NONE || l.kind == LOOK_DIR)
        return err_set(e, ERR_MISSING, "%s is not in the layers below", path);
    if (S_ISREG(l.st.st_mode))
        return copy_regular(s->fds[layer], path, dir_fd, name, &l.st, owners, e);
    return copy_other(s->fds[layer], path, dir_fd, name, &l.st, owners, e);
}

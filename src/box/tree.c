/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - files that a box made, of ids that the caller may not have
 *
 * An ordinary user's box with a range of ids leaves files that belong to neither him nor
 * anybody else outside. A helper that is root in a user namespace with the same map removes
 * them, or gives them to id 0 of it, which is the user. Only ids count for that, so any
 * namespace with that map will do: the box's own while it is known, else a new one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "box/spawn.h"

struct tree_job {
    int dir_fd;
    const char *name;
};

static int remove_mapped(void *arg, struct err *e)
{
    const struct tree_job *t = arg;

    return fd_remove_tree(t->dir_fd, t->name, e);
}

int box_remove_tree_as(int userns_fd, int dir_fd, const char *name, struct err *e)
{
    struct tree_job t = {dir_fd, name};
    struct ids ids;

    if (fd_remove_tree(dir_fd, name, e) == 0)
        return 0;
    if (geteuid() == 0 || (e->sys != EPERM && e->sys != EACCES && e->sys != ENOTEMPTY) ||
        (userns_fd < 0 && !ids_subranges(&ids)))
        return -1;
    return ids_run_mapped(userns_fd, remove_mapped, &t, e);
}

int box_remove_tree(int dir_fd, const char *name, struct err *e)
{
    return box_remove_tree_as(-1, dir_fd, name, e);
}

/* ---- owning -------------------------------------------------------------------------------- */

static int own_entry(int dir, const char *name, unsigned depth, struct err *e);

static int own_children(int dir, unsigned depth, struct err *e)
{
    DIR *d = fdopendir(dir); /* takes it */
    struct dirent *entry;
    int rc = 0;

    must(d != NULL);
    while (rc == 0 && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = own_entry(dirfd(d), entry->d_name, depth + 1, e);
    (void)closedir(d);
    return rc;
}

static int own_entry(int dir, const char *name, unsigned depth, struct err *e)
{
    struct stat st;
    int fd;

    if (depth > LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "%s: more than %d directories deep", name, LIMIT_PATH_DEPTH);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        ((st.st_uid != 0 || st.st_gid != 0) &&
         fchownat(dir, name, 0, 0, AT_SYMLINK_NOFOLLOW) < 0))
        return err_sys(e, errno, "take over %s", name);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return 0;
    if ((st.st_mode & 0600) != 0600 || (S_ISDIR(st.st_mode) && !(st.st_mode & 0100)))
        if (fchmodat(dir, name, (st.st_mode & 07777) | (S_ISDIR(st.st_mode) ? 0700 : 0600), 0) < 0)
            return err_sys(e, errno, "take over %s", name);
    if (!S_ISDIR(st.st_mode))
        return 0;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? err_sys(e, errno, "take over %s", name) : own_children(fd, depth, e);
}

static int own_mapped(void *arg, struct err *e)
{
    const struct tree_job *t = arg;

    return own_entry(t->dir_fd, t->name, 0, e);
}

int box_own_tree(const struct box *b, int dir_fd, const char *name, struct err *e)
{
    struct tree_job t = {dir_fd, name};

    if (b->ids.kind != IDS_RANGE || b->userns_fd < 0)
        return 0;
    return ids_run_mapped(b->userns_fd, own_mapped, &t, e);
}

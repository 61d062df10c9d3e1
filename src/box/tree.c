/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - files that a box made, of ids that the caller may not have
 *
 * An ordinary user's box with a range of ids leaves files that belong to neither him nor
 * anybody else outside, and any box directories that keep everyone out. A helper that has all
 * capabilities in a user namespace with the same map removes them, gives them to the user, or
 * counts them. Only ids count for that, so any namespace with that map will do: the box's own
 * while it is known, else a new one.
 */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
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

int box_remove_tree_as(int userns_fd, bool one_id, int dir_fd, const char *name, struct err *e)
{
    struct tree_job t = {dir_fd, name};
    struct ids ids;

    if (fd_remove_tree(dir_fd, name, e) == 0)
        return 0;
    if (geteuid() == 0 || (e->sys != EPERM && e->sys != EACCES && e->sys != ENOTEMPTY) ||
        (userns_fd < 0 && !ids_subranges(&ids)))
        return -1;
    return ids_run_mapped(userns_fd, one_id, remove_mapped, &t, e);
}

int box_remove_tree(int dir_fd, const char *name, struct err *e)
{
    return box_remove_tree_as(-1, false, dir_fd, name, e);
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

/* read and write for a file, search as well for a directory; every other bit stays */
static int open_up(int dir, const char *name, const struct stat *st, struct err *e)
{
    mode_t need = S_ISDIR(st->st_mode) ? 0700 : 0600;

    if ((st->st_mode & need) != need &&
        fchmodat(dir, name, (st->st_mode & 07777) | need, 0) < 0)
        return err_sys(e, errno, "take over %s", name);
    return 0;
}

static int own_entry(int dir, const char *name, unsigned depth, struct err *e)
{
    uid_t uid = geteuid();
    gid_t gid = getegid();
    struct stat st;
    int fd;

    if (depth > LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "%s: more than %d directories deep", name, LIMIT_PATH_DEPTH);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        ((st.st_uid != uid || st.st_gid != gid) &&
         fchownat(dir, name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0))
        return err_sys(e, errno, "take over %s", name);
    if (!S_ISDIR(st.st_mode) && !S_ISREG(st.st_mode))
        return 0;
    if (open_up(dir, name, &st, e) < 0)
        return -1;
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

    if (b->userns_fd < 0)
        return 0;
    return ids_run_mapped(b->userns_fd, b->ids.kind == IDS_ONE, own_mapped, &t, e);
}

/* a directory on the way, which may be behind links, and what is in it stays as it is */
static int own_dir(int root_fd, const char *path, int *out, struct err *e)
{
    AUTO_FD int fd = fd_open_in_root(root_fd, path, O_PATH | O_DIRECTORY, 0);
    char name[40];
    struct stat st;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open /%s of the box", path);
    (void)snprintf(name, sizeof name, "/proc/self/fd/%d", fd);
    if (((st.st_uid != geteuid() || st.st_gid != getegid()) &&
         fchownat(fd, "", geteuid(), getegid(), AT_EMPTY_PATH) < 0) ||
        ((st.st_mode & 0700) != 0700 && chmod(name, (st.st_mode & 07777) | 0700) < 0))
        return err_sys(e, errno, "take over /%s of the box", path);
    if (out)
        *out = fd_take(&fd);
    return 0;
}

/* Through the mounted root, as overlayfs remembers what its upper directory was like. */
static int own_path(void *arg, struct err *e)
{
    const struct tree_job *t = arg;
    char so_far[PATH_MAX];
    AUTO_FD int parent = -1;
    const char *last = strrchr(t->name, '/');

    for (const char *slash = strchr(t->name, '/'); slash; slash = strchr(slash + 1, '/')) {
        if ((size_t)(slash - t->name) >= sizeof so_far)
            return err_sys(e, ENAMETOOLONG, "take over a path of the box");
        memcpy(so_far, t->name, (size_t)(slash - t->name));
        so_far[slash - t->name] = 0;
        if (so_far[0] && own_dir(t->dir_fd, so_far, slash == last ? &parent : NULL, e) < 0)
            return -1;
    }
    return own_entry(parent < 0 ? t->dir_fd : parent, last ? last + 1 : t->name, 0, e);
}

int box_own_path(const struct box *b, const char *path, struct err *e)
{
    struct tree_job t = {b->root_fd, path};

    if (b->userns_fd < 0)
        return 0;
    if (ids_run_mapped(b->userns_fd, b->ids.kind == IDS_ONE, own_path, &t, e) == 0)
        return 0;
    return e->sys == ENOENT ? 0 : -1;
}

static const char *own_root_name(const struct box *b)
{
    return b->flat ? "root" : "upper";
}

/* ---- counting ------------------------------------------------------------------------------ */

static int count_entry(int dir, const char *name, unsigned depth, uint64_t *bytes, struct err *e);

static int count_children(int dir, unsigned depth, uint64_t *bytes, struct err *e)
{
    DIR *d = fdopendir(dir); /* takes it */
    struct dirent *entry;
    int rc = 0;

    must(d != NULL);
    while (rc == 0 && (entry = readdir(d)))
        if (strcmp(entry->d_name, ".") != 0 && strcmp(entry->d_name, "..") != 0)
            rc = count_entry(dirfd(d), entry->d_name, depth + 1, bytes, e);
    (void)closedir(d);
    return rc;
}

/* The box runs on, so what has vanished meanwhile counts nothing. A file with several names is
 * shared out among them. */
static int count_entry(int dir, const char *name, unsigned depth, uint64_t *bytes, struct err *e)
{
    struct stat st;
    int fd;

    if (depth > LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "more than %d directories deep", LIMIT_PATH_DEPTH);
    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_sys(e, errno, "look at %s", name);
    *bytes += (uint64_t)st.st_blocks * 512 / (S_ISDIR(st.st_mode) || !st.st_nlink ? 1 : st.st_nlink);
    if (!S_ISDIR(st.st_mode))
        return 0;
    fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : err_sys(e, errno, "open %s", name);
    return count_children(fd, depth, bytes, e);
}

#define LITTLE_ENTRIES 32
#define LITTLE_BYTES (16U << 20)

static bool is_little(int dir, const char *name, unsigned *entries)
{
    int fd = openat(dir, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct dirent *entry;
    struct stat st;
    bool little = true;
    DIR *d;

    if (fd < 0)
        return false;
    d = fdopendir(fd); /* takes it */
    must(d != NULL);
    while (little && (entry = readdir(d))) {
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        little = ++*entries <= LITTLE_ENTRIES &&
                 fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
                 (uint64_t)st.st_blocks * 512 <= LITTLE_BYTES / LITTLE_ENTRIES &&
                 (!S_ISDIR(st.st_mode) || is_little(dirfd(d), entry->d_name, entries));
    }
    (void)closedir(d);
    return little;
}

bool box_left_little(const struct box *b)
{
    unsigned entries = 0;

    return is_little(b->scratch_fd, own_root_name(b), &entries);
}

struct count_job {
    const struct box *b;
    bool own_root; /* and not the names alone */
    int dir_fd;
    const char *const *names;
    size_t n;
    uint64_t *bytes; /* shared with the helper */
};

static int count_all(void *arg, struct err *e)
{
    const struct count_job *c = arg;

    *c->bytes = 0;
    if (c->own_root && count_entry(c->b->scratch_fd, own_root_name(c->b), 0, c->bytes, e) < 0)
        return -1;
    for (size_t i = 0; i < c->n; i++)
        if (count_entry(c->dir_fd, c->names[i], 0, c->bytes, e) < 0)
            return -1;
    return 0;
}

static int count(struct count_job c, uint64_t *out_bytes, struct err *e)
{
    const struct box *b = c.b;
    uint64_t bytes = 0, *shared;
    int rc;

    c.bytes = &bytes;
    rc = count_all(&c, e);
    if (rc < 0 && b->userns_fd >= 0 && (e->sys == EACCES || e->sys == EPERM)) {
        shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
                      0);
        if (shared == MAP_FAILED)
            return err_sys(e, errno, "map a counter");
        c.bytes = shared;
        *e = (struct err){0};
        rc = ids_run_mapped(b->userns_fd, b->ids.kind == IDS_ONE, count_all, &c, e);
        bytes = *shared;
        (void)munmap(shared, sizeof *shared);
    }
    if (rc == 0)
        *out_bytes = bytes;
    return rc;
}

int box_disk_usage(const struct box *b, int dir_fd, const char *const *names, size_t n,
                   uint64_t *out_bytes, struct err *e)
{
    return count((struct count_job){b, true, dir_fd, names, n, NULL}, out_bytes, e);
}

int box_tree_usage(const struct box *b, int dir_fd, const char *name, uint64_t *out_bytes,
                   struct err *e)
{
    return count((struct count_job){b, false, dir_fd, &name, 1, NULL}, out_bytes, e);
}

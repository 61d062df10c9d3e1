/* SPDX-License-Identifier: Apache-2.0 */
/* layer.c - unpack one layer's tar into a directory that overlayfs can stack
 *
 * libarchive reads the tar, this file writes it. A layer deletes by "whiteout": an
 * empty file .wh.NAME means that NAME of a lower layer goes, .wh..wh..opq that all
 * older content of its directory goes. overlayfs says the same with a character device
 * 0:0 and with an attribute, so a whiteout is translated, never written as it stands.
 * It means lower layers only, wherever it stands in the tar:
 *
 *   .wh.x, then x/      x/ is made and marked opaque     (lower x hidden, new x shown)
 *   x/, then .wh.x      the same
 *   .wh.x and file x    file x alone, which hides the lower one by itself
 *   .wh.x, then x/y     as .wh.x, then x/
 *   opaque d, d/.wh.x   no device: overlayfs would list it, and nothing is left to hide
 *
 * Devices are not made (a box has its own /dev), so a 0:0 device on disk is always ours
 * and the directory itself is the memory of what was whited out; no list is kept.
 *
 * archive_write_disk() would do the writing, but checks paths as strings and has a
 * history of following links. Here a name is always one component below an open
 * directory (place.h).
 */
#include "image/layer.h"

#include <archive.h>
#include <archive_entry.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <locale.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/place.h"

#define WHITEOUT ".wh."
#define OPAQUE ".wh..wh..opq"
#define AUFS ".wh..wh." /* housekeeping of an old file system: plnk/, aufs */

struct opaque {
    const char *path;
    struct opaque *next;
};

struct unpack {
    const struct layer_opts *opts;
    struct layer_facts *facts;
    struct place place;
    struct archive *tar;
    struct archive_entry *entry;
    layer_read_fn *read;
    void *ctx;
    struct err read_err; /* why read() failed; ERR_NONE: it did not */
    char path[PATH_MAX]; /* of the entry, normalised */
    const char *name;    /* its last component */
    bool at_end;         /* read() has given all */
    bool unpadded;       /* the tar ends with a file's last byte: umoci and others leave out the
                            rest of the block, and everyone takes it. The digest covers it all */
    uint64_t bytes;
    struct opaque *opaques;
    size_t n_opaques;
    uint64_t whiteouts;
    bool acl_default; /* a directory gives its ACL to what is made in it */
};

/* ---- owner, mode, attributes, times ---- */

static mode_t wanted_mode(const struct unpack *u)
{
    mode_t mode = archive_entry_perm(u->entry);

    /* rootless, a directory that keeps us out could not be filled or removed */
    if (archive_entry_filetype(u->entry) == AE_IFDIR && !u->opts->owners)
        mode |= 0700;
    return mode;
}

static bool wants_owner(const struct unpack *u)
{
    return u->opts->owners &&
           (archive_entry_uid(u->entry) != 0 || archive_entry_gid(u->entry) != 0 ||
            (u->place.st.st_mode & S_ISGID));
}

static int wanted_ids(const struct unpack *u, uid_t *uid, gid_t *gid, struct err *e)
{
    int64_t user = archive_entry_uid(u->entry), group = archive_entry_gid(u->entry);

    if (user < 0 || user >= UINT32_MAX || group < 0 || group >= UINT32_MAX)
        return err_set(e, ERR_CORRUPT, "owner %lld:%lld is out of range",
                       (long long)user, (long long)group);
    *uid = (uid_t)user;
    *gid = (gid_t)group;
    return 0;
}

static void wanted_times(const struct unpack *u, struct timespec out[2])
{
    out[1].tv_sec = archive_entry_mtime(u->entry);
    out[1].tv_nsec = archive_entry_mtime_nsec(u->entry);
    if (out[1].tv_nsec < 0 || out[1].tv_nsec > 999999999)
        out[1].tv_nsec = 0;
    out[0] = out[1];
}

/* Which attributes of a tar may be set. Those of overlayfs could forge an opaque
 * directory or redirect it; trusted.* and most of security.* and system.* speak of the
 * host. */
static bool attribute_allowed(const char *name)
{
    static const char *const allowed[] = {"user.", "system.posix_acl_access",
                                          "system.posix_acl_default",
                                          "security.capability"};

    if (str_starts(str_of(name), "user.overlay."))
        return false;
    for (size_t i = 0; i < N_ELEMS(allowed); i++)
        if (str_starts(str_of(name), allowed[i]))
            return true;
    return false;
}

static void drop_attribute(struct unpack *u, const char *name)
{
    u->facts->attributes++;
    (void)snprintf(u->facts->attribute, sizeof(u->facts->attribute), "%s", name);
}

static int set_attributes(struct unpack *u, int fd, struct err *e)
{
    const char *name;
    const void *value;
    size_t len;
    int n = archive_entry_xattr_reset(u->entry);

    if (n > LIMIT_XATTRS)
        return err_set(e, ERR_LIMIT, "%d extended attributes, %d are allowed", n,
                       LIMIT_XATTRS);
    while (archive_entry_xattr_next(u->entry, &name, &value, &len) == ARCHIVE_OK) {
        if (len > LIMIT_XATTR_BYTES)
            return err_set(e, ERR_LIMIT, "attribute %.64s has %zu bytes", name, len);
        if (!attribute_allowed(name)) {
            drop_attribute(u, name);
            continue;
        }
        if (fsetxattr(fd, name, value, len, 0) == 0) {
            u->acl_default |= strcmp(name, "system.posix_acl_default") == 0;
            continue;
        }
        if (errno == ENOSPC || errno == EDQUOT || errno == EIO)
            return err_sys(e, errno, "set attribute %.64s", name);
        u->facts->no_xattrs |= errno == ENOTSUP;
        drop_attribute(u, name);
    }
    return 0;
}

/* a reused directory keeps nothing of what it was */
static void clear_attributes(int fd)
{
    char names[4096];
    ssize_t n = flistxattr(fd, names, sizeof(names));

    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
        if (!strstr(p, "overlay.opaque"))
            (void)fremovexattr(fd, p);
}

/* owner, then mode (a change of owner takes setuid away), attributes, and times last */
static int set_meta(struct unpack *u, int fd, mode_t made_mode, struct err *e)
{
    struct timespec times[2];
    mode_t mode = wanted_mode(u);
    bool owner = wants_owner(u);
    uid_t uid;
    gid_t gid;

    if (wanted_ids(u, &uid, &gid, e) < 0)
        return -1;
    if (owner && fchown(fd, uid, gid) < 0)
        return err_sys(e, errno, "set the owner");
    if (archive_entry_xattr_count(u->entry) > 0 && set_attributes(u, fd, e) < 0)
        return -1;
    if ((mode != made_mode || owner || u->acl_default) && fchmod(fd, mode) < 0)
        return err_sys(e, errno, "set the mode");
    wanted_times(u, times);
    if (futimens(fd, times) < 0)
        return err_sys(e, errno, "set the times");
    return 0;
}

/* the same for what has no descriptor: links and fifos */
static int set_meta_at(struct unpack *u, struct err *e)
{
    struct timespec times[2];
    uid_t uid;
    gid_t gid;

    if (wanted_ids(u, &uid, &gid, e) < 0)
        return -1;
    if (wants_owner(u) &&
        fchownat(u->place.fd, u->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "set the owner");
    for (int n = archive_entry_xattr_reset(u->entry); n > 0; n--)
        drop_attribute(u, "of a link");
    wanted_times(u, times);
    if (utimensat(u->place.fd, u->name, times, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "set the times");
    return 0;
}

/* ---- kinds of entries ---- */

/* make way for an entry that is not a directory */
static int make_way(struct unpack *u, struct err *e)
{
    bool ignored;

    return place_clear(&u->place, u->name, &ignored, e);
}

static int write_data(struct unpack *u, int fd, int64_t size, struct err *e)
{
    int64_t end = 0;

    for (;;) {
        const void *p;
        size_t len;
        la_int64_t at;
        int r = archive_read_data_block(u->tar, &p, &len, &at);
        if (r == ARCHIVE_EOF)
            break;
        if (r < ARCHIVE_WARN && end == size && u->at_end) {
            u->unpadded = true;
            break;
        }
        if (r < ARCHIVE_WARN)
            return err_set(e, ERR_CORRUPT, "%s", archive_error_string(u->tar));
        if (at < end || at > size || (int64_t)len > size - at)
            return err_set(e, ERR_CORRUPT, "its data does not fit its size");
        for (size_t done = 0; done < len;) {
            ssize_t n =
                pwrite(fd, (const char *)p + done, len - done, at + (int64_t)done);
            if (n < 0 && errno != EINTR)
                return err_sys(e, errno, "write");
            done += n > 0 ? (size_t)n : 0;
        }
        end = at + (int64_t)len;
    }
    if (end < size && ftruncate(fd, size) < 0) /* a hole at the end */
        return err_sys(e, errno, "write");
    return 0;
}

static int count_bytes(struct unpack *u, int64_t size, struct err *e)
{
    if (size < 0 || (uint64_t)size > u->opts->max_bytes - u->bytes)
        return err_set(e, ERR_LIMIT, "the layer has more than %llu MiB of files",
                       (unsigned long long)(u->opts->max_bytes / MIB));
    u->bytes += (uint64_t)size;
    if (u->opts->budget && atomic_fetch_sub(&u->opts->budget->bytes, size) < size)
        return err_set(e, ERR_LIMIT,
                       "the layers have more files than fit an image or the disk");
    return 0;
}

static int count_entry(struct unpack *u, struct err *e)
{
    if (++u->facts->entries > u->opts->max_entries)
        return err_set(e, ERR_LIMIT, "the layer has more than %llu entries",
                       (unsigned long long)u->opts->max_entries);
    if (u->opts->budget && atomic_fetch_sub(&u->opts->budget->entries, 1) < 1)
        return err_set(e, ERR_LIMIT,
                       "the layers have more entries than fit an image or the disk");
    return 0;
}

static int put_file(struct unpack *u, struct err *e)
{
    static const int flags = O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC;
    int64_t size = archive_entry_size(u->entry);
    mode_t mode = archive_entry_perm(u->entry) & 0777;
    AUTO_FD int fd = -1;

    if (count_bytes(u, size, e) < 0)
        return -1;
    fd = openat(u->place.fd, u->name, flags, mode);
    if (fd < 0 && errno == EEXIST) { /* the last one wins */
        if (make_way(u, e) < 0)
            return -1;
        fd = openat(u->place.fd, u->name, flags, mode);
    }
    if (fd < 0)
        return err_sys(e, errno, "make the file");
    if (size > 0 && write_data(u, fd, size, e) < 0)
        return -1;
    return set_meta(u, fd, mode, e);
}

static int put_symlink(struct unpack *u, struct err *e)
{
    const char *target = archive_entry_symlink(u->entry);

    if (!target || !*target)
        return err_set(e, ERR_CORRUPT, "a symbolic link without a target");
    if (symlinkat(target, u->place.fd, u->name) < 0) {
        if (errno != EEXIST)
            return err_sys(e, errno, "make the link");
        if (make_way(u, e) < 0)
            return -1;
        if (symlinkat(target, u->place.fd, u->name) < 0)
            return err_sys(e, errno, "make the link");
    }
    return set_meta_at(u, e);
}

static int put_fifo(struct unpack *u, struct err *e)
{
    if (make_way(u, e) < 0)
        return -1;
    if (mkfifoat(u->place.fd, u->name, wanted_mode(u)) < 0 ||
        fchmodat(u->place.fd, u->name, wanted_mode(u), 0) < 0)
        return err_sys(e, errno, "make the fifo");
    return set_meta_at(u, e);
}

static int remember_opaque(struct unpack *u, const char *path, struct err *e)
{
    struct opaque *o;

    if (u->n_opaques >= LIMIT_IMPLIED_DIRS)
        return err_set(e, ERR_LIMIT, "more than %d opaque directories",
                       LIMIT_IMPLIED_DIRS);
    o = arena_alloc(&u->place.arena, sizeof(*o));
    o->path = arena_strdup(&u->place.arena, path);
    o->next = u->opaques;
    u->opaques = o;
    u->n_opaques++;
    return 0;
}

/* canonical path of the entry, links of the layer resolved */
static char *canonical(struct unpack *u)
{
    return *u->place.path ? xasprintf("%s/%s", u->place.path, u->name)
                          : xstrdup(u->name);
}

static int make_opaque(struct unpack *u, const char *name, struct err *e)
{
    AUTO_FREE char *path = canonical(u);

    if (place_mark_opaque(&u->place, u->place.fd, name, e) < 0)
        return -1;
    return remember_opaque(u, path, e);
}

/* an existing directory stays with what is in it, everything else makes way */
static int make_dir(struct unpack *u, bool *existed, struct err *e)
{
    bool whiteout = false;
    struct stat st;

    *existed = false;
    if (mkdirat(u->place.fd, u->name, 0700) == 0)
        return 0;
    if (errno != EEXIST || fstatat(u->place.fd, u->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "make the directory");
    if (S_ISDIR(st.st_mode)) {
        *existed = true;
        return 0;
    }
    if (place_clear(&u->place, u->name, &whiteout, e) < 0)
        return -1;
    if (mkdirat(u->place.fd, u->name, 0700) < 0)
        return err_sys(e, errno, "make the directory");
    return whiteout ? make_opaque(u, u->name, e) : 0;
}

static int put_dir(struct unpack *u, struct err *e)
{
    AUTO_FREE char *path = canonical(u);
    AUTO_FD int fd = -1;
    bool existed;

    if (make_dir(u, &existed, e) < 0)
        return -1;
    fd = openat(u->place.fd, u->name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open the directory");
    if (existed)
        clear_attributes(fd);
    place_explicit(&u->place, path);
    return set_meta(u, fd, (mode_t)-1, e);
}

/* The root of the layer is there already, and nothing but a directory may claim to be
 * it: a link there would lead every other entry astray. */
static int put_root(struct unpack *u, struct err *e)
{
    AUTO_FD int fd = -1;

    if (archive_entry_filetype(u->entry) != AE_IFDIR ||
        archive_entry_hardlink(u->entry))
        return err_set(e, ERR_CORRUPT, "the root must be a directory");
    if (place_leave(&u->place, e) < 0)
        return -1;
    u->place.st.st_mode = S_IFDIR;
    fd = openat(u->place.root, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open the root of the layer");
    place_explicit(&u->place, "");
    clear_attributes(fd);
    return set_meta(u, fd, (mode_t)-1, e);
}

/* ---- hard links ---- */

static int copy_linked(int dir_fd, const char *from, int to_fd, const char *to,
                       bool owners, struct err *e)
{
    struct stack here = {.fds = {dir_fd}, .n = 1};

    return copy_up(&here, from, to_fd, to, owners, e);
}

static int link_here(struct unpack *u, int dir_fd, const char *base,
                     const struct stat *target, struct err *e)
{
    struct stat st;

    if (fstatat(u->place.fd, u->name, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (st.st_ino == target->st_ino && st.st_dev == target->st_dev)
            return 0; /* a link to itself */
        if (make_way(u, e) < 0)
            return -1;
    }
    if (linkat(dir_fd, base, u->place.fd, u->name, 0) == 0)
        return 0;
    if (errno == EMLINK)
        return copy_linked(dir_fd, base, u->place.fd, u->name, u->opts->owners, e);
    return err_sys(e, errno, "make the hard link");
}

static int put_hardlink(struct unpack *u, struct err *e)
{
    const char *target = archive_entry_hardlink(u->entry);
    char path[PATH_MAX], dir[PATH_MAX];
    AUTO_FD int fd = -1;
    struct stat st;

    if (place_normalise(target, path, e) < 0)
        return err_at(e, "hard link to %.200s", target);
    char *slash = strrchr(path, '/');
    const char *base = slash ? slash + 1 : path;
    if (!*base)
        return err_set(e, ERR_CORRUPT, "a hard link to the root");
    if (slash)
        *slash = '\0';
    int r = place_find(&u->place, slash ? path : "", &fd, dir, e);
    if (r < 0)
        return err_at(e, "hard link to %.200s", target);
    if (r == 0 && fstatat(fd, base, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
        !is_whiteout(&st)) {
        if (S_ISDIR(st.st_mode))
            return err_set(e, ERR_CORRUPT, "a hard link to directory %.200s", target);
        return link_here(u, fd, base, &st, e);
    }
    if (!u->opts->below) {
        u->facts->needs_below = true;
        return 0;
    }
    AUTO_FREE char *full = *dir ? xasprintf("%s/%s", dir, base) : xstrdup(base);
    if (make_way(u, e) < 0)
        return -1;
    if (copy_up(u->opts->below, full, u->place.fd, u->name, u->opts->owners, e) < 0)
        return e->code == ERR_MISSING
                   ? err_set(e, ERR_CORRUPT,
                             "a hard link to %.200s, which is not in the image", target)
                   : -1;
    return 0;
}

/* ---- whiteouts ---- */

static int put_whiteout(struct unpack *u, const char *hidden, struct err *e)
{
    struct stat st;

    if (!*hidden || strcmp(hidden, ".") == 0 || strcmp(hidden, "..") == 0)
        return err_set(e, ERR_CORRUPT, "a whiteout of \"%s\"", hidden);
    if (fstatat(u->place.fd, hidden, &st, AT_SYMLINK_NOFOLLOW) == 0) {
        if (!S_ISDIR(st.st_mode))
            return 0; /* hides the lower one by itself, or is the same whiteout again */
        u->name = hidden;
        return make_opaque(u, hidden, e);
    }
    if (mknodat(u->place.fd, hidden, S_IFCHR, 0) < 0)
        return err_sys(e, errno,
                       "make a whiteout (the home must lie on a file system that can "
                       "hold overlay layers, such as ext4 or xfs)");
    u->whiteouts++;
    return 0;
}

static int put_opaque(struct unpack *u, struct err *e)
{
    if (place_mark_opaque(&u->place, u->place.fd, ".", e) < 0)
        return -1;
    return remember_opaque(u, u->place.path, e);
}

/* remove every whiteout at and below dir_fd (taken) */
static int drop_whiteouts(int dir_fd, struct err *e)
{
    DIR *d = fdopendir(dir_fd);
    struct dirent *ent;
    struct stat before, st;
    bool removed = false;
    int r = 0;

    if (!d || fstat(dirfd(d), &before) < 0) {
        int sys = errno;
        if (d)
            (void)closedir(d);
        else
            (void)close(dir_fd);
        return err_sys(e, sys, "read an opaque directory");
    }
    while (r == 0 && (ent = readdir(d))) {
        const char *name = ent->d_name;
        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0 ||
            fstatat(dirfd(d), name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        if (is_whiteout(&st)) {
            removed = true;
            if (unlinkat(dirfd(d), name, 0) < 0)
                r = err_sys(e, errno, "remove whiteout %s", name);
        } else if (S_ISDIR(st.st_mode)) {
            int sub =
                openat(dirfd(d), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
            r = sub < 0 ? err_sys(e, errno, "open %s", name) : drop_whiteouts(sub, e);
        }
    }
    if (removed) {
        struct timespec times[2] = {before.st_atim, before.st_mtim};
        (void)futimens(dirfd(d), times);
    }
    (void)closedir(d);
    return r;
}

static int tidy_opaques(struct unpack *u, struct err *e)
{
    if (u->whiteouts == 0)
        return 0;
    for (const struct opaque *o = u->opaques; o; o = o->next) {
        int fd = layer_open(u->place.root, o->path, O_RDONLY | O_DIRECTORY);
        if (fd < 0)
            continue; /* replaced by something else later on */
        if (drop_whiteouts(fd, e) < 0)
            return -1;
    }
    return 0;
}

/* ---- the tar ---- */

static int put_kind(struct unpack *u, struct err *e)
{
    if (archive_entry_hardlink(u->entry))
        return put_hardlink(u, e);
    switch (archive_entry_filetype(u->entry)) {
    case AE_IFREG:
        return put_file(u, e);
    case AE_IFDIR:
        return put_dir(u, e);
    case AE_IFLNK:
        return put_symlink(u, e);
    case AE_IFIFO:
        return put_fifo(u, e);
    case AE_IFCHR:
    case AE_IFBLK:
        u->facts->devices++;
        return 0;
    case AE_IFSOCK:
        u->facts->sockets++;
        return 0;
    default:
        return err_set(e, ERR_CORRUPT, "an entry of unknown kind");
    }
}

/* AUFS kept its hard-link pool and marks under such names; nothing else is called so */
static bool is_aufs(const char *name)
{
    return strncmp(name, AUFS, sizeof(AUFS) - 1) == 0 && strcmp(name, OPAQUE) != 0;
}

/* 1: the entry is of no interest */
static int check_dir(const char *dir, struct err *e)
{
    for (const char *c = dir; *c; c += strcspn(c, "/"), c += *c == '/') {
        if (strncmp(c, AUFS, sizeof(AUFS) - 1) == 0)
            return 1;
        if (strncmp(c, WHITEOUT, sizeof(WHITEOUT) - 1) == 0)
            return err_set(e, ERR_CORRUPT, "a whiteout is used as a directory");
    }
    return 0;
}

static int put_entry(struct unpack *u, struct err *e)
{
    const char *raw = archive_entry_pathname(u->entry);
    char *slash;

    if (!raw)
        return err_set(e, ERR_CORRUPT, "an entry without a name");
    if (place_normalise(raw, u->path, e) < 0)
        return -1;
    if (!u->path[0])
        return put_root(u, e);
    slash = strrchr(u->path, '/');
    u->name = slash ? slash + 1 : u->path;
    if (slash)
        *slash = '\0';
    int aufs = slash ? check_dir(u->path, e) : 0;
    if (aufs != 0 || is_aufs(u->name))
        return aufs < 0 ? -1 : 0;
    if (place_enter(&u->place, slash ? u->path : "", e) < 0)
        return -1;
    u->place.touched = true;
    if (strcmp(u->name, OPAQUE) == 0)
        return put_opaque(u, e);
    if (strncmp(u->name, WHITEOUT, sizeof(WHITEOUT) - 1) == 0)
        return put_whiteout(u, u->name + sizeof(WHITEOUT) - 1, e);
    return put_kind(u, e);
}

static la_ssize_t read_block(struct archive *a, void *ctx, const void **block)
{
    struct unpack *u = ctx;
    size_t len = 0;

    (void)a;
    if (u->read(u->ctx, block, &len, &u->read_err) < 0)
        return -1;
    u->at_end = len == 0;
    return (la_ssize_t)len;
}

/* libarchive wraps what read() said; ours is the message to show */
static int tar_error(struct unpack *u, struct err *e)
{
    const char *text = archive_error_string(u->tar);

    if (u->read_err.code != ERR_NONE) {
        *e = u->read_err;
        return -1;
    }
    return err_set(e, ERR_CORRUPT, "the tar is damaged: %s",
                   text ? text : "unknown reason");
}

static int read_entries(struct unpack *u, struct err *e)
{
    for (;;) {
        int r = archive_read_next_header(u->tar, &u->entry);
        if (r == ARCHIVE_EOF)
            return 0;
        /* a warning is a name that is not UTF-8, which arrives as the bytes it is */
        if (r < ARCHIVE_WARN)
            return tar_error(u, e);
        if (count_entry(u, e) < 0)
            return -1;
        if (put_entry(u, e) < 0) {
            if (u->read_err.code != ERR_NONE)
                return tar_error(u, e);
            return err_at(e, "entry %.200s",
                          archive_entry_pathname(u->entry)
                              ? archive_entry_pathname(u->entry)
                              : "?");
        }
        if (u->facts->needs_below || u->unpadded)
            return 0;
    }
}

/* what follows the tar's end is covered by the digest like the rest */
static int read_rest(struct unpack *u, struct err *e)
{
    const void *block;
    size_t len;

    do {
        if (u->read(u->ctx, &block, &len, e) < 0)
            return -1;
    } while (len > 0);
    return 0;
}

static int unpack_tar(struct unpack *u, struct err *e)
{
    int r;

    u->tar = archive_read_new();
    must(u->tar);
    (void)archive_read_support_format_tar(u->tar);
    if (archive_read_open(u->tar, u, NULL, read_block, NULL) < ARCHIVE_WARN)
        r = tar_error(u, e);
    else
        r = read_entries(u, e);
    (void)archive_read_free(u->tar);
    if (r < 0 || u->facts->needs_below)
        return r;
    if (place_leave(&u->place, e) < 0 || tidy_opaques(u, e) < 0)
        return -1;
    return read_rest(u, e);
}

void layer_facts_done(struct layer_facts *f)
{
    buf_done(&f->implied);
}

/* the new directory may have inherited a group or an ACL from the home */
static int prepare_root(const struct layer_opts *opts, struct place *p, struct err *e)
{
    static const struct timespec epoch[2] = {{0, 0}, {0, 0}};

    (void)fremovexattr(opts->fs_fd, "system.posix_acl_default");
    (void)fremovexattr(opts->fs_fd, "system.posix_acl_access");
    if ((opts->owners && fchown(opts->fs_fd, 0, 0) < 0) ||
        fchmod(opts->fs_fd, 0755) < 0 || futimens(opts->fs_fd, epoch) < 0)
        return err_sys(e, errno, "prepare the root of the layer");
    return place_imply_root(p, e);
}

int layer_unpack(layer_read_fn *read, void *ctx, const struct layer_opts *opts,
                 struct layer_facts *out, struct err *e)
{
    struct unpack u = {.opts = opts, .facts = out, .read = read, .ctx = ctx};
    /* libarchive asks the locale what a name's bytes mean, and must hear UTF-8 */
    locale_t utf8 = newlocale(LC_CTYPE_MASK, "C.UTF-8", (locale_t)0);
    locale_t before = utf8 ? uselocale(utf8) : (locale_t)0;
    mode_t mask = umask(0);
    int r;

    *out = (struct layer_facts){.entries = 0};
    place_init(&u.place, opts->fs_fd);
    u.place.owners = opts->owners;
    u.place.userxattr = opts->userxattr;
    u.place.below = opts->below;
    r = utf8 ? prepare_root(opts, &u.place, e)
             : err_sys(e, errno, "use the locale C.UTF-8");
    if (r == 0)
        r = unpack_tar(&u, e);
    if (r == 0)
        place_implied(&u.place, &out->implied);
    place_done(&u.place);
    (void)umask(mask);
    if (utf8) {
        (void)uselocale(before);
        freelocale(utf8);
    }
    return r;
}

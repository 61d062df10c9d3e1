/* SPDX-License-Identifier: Apache-2.0 */
/* sink.c - where an export goes: a directory, a tar file, or a tar on standard output
 *
 * What is written has no clock in it (times are zero, modes are given), so the same
 * content gives the same bytes.
 */
#include "image/sink.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"

#define CHUNK (256 * KIB)

static int tar_err(struct sink *k, const char *name, struct err *e)
{
    return err_sys(e, archive_errno(k->tar) ? archive_errno(k->tar) : EIO, "write %s",
                   name);
}

static int tar_open(struct sink *k, struct err *e)
{
    if (k->tmp)
        k->fd = open(k->tmp, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    else if (strcmp(k->path, "-") == 0)
        k->fd = dup(1);
    else
        k->fd = open(k->path, O_WRONLY | O_CLOEXEC);
    if (k->fd < 0)
        return err_sys(e, errno, "create %s", k->tmp ? k->tmp : k->path);
    k->tar = archive_write_new();
    (void)archive_write_set_format_pax_restricted(k->tar);
    return archive_write_open_fd(k->tar, k->fd) == ARCHIVE_OK ? 0
                                                              : tar_err(k, k->path, e);
}

static int dir_open(struct sink *k, struct err *e)
{
    if (access(k->path, F_OK) == 0)
        return err_set(e, ERR_INPUT, "%s exists: choose another directory", k->path);
    if (fd_mkdirs(AT_FDCWD, k->tmp, 0755, e) < 0)
        return -1;
    k->fd = open(k->tmp, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return k->fd < 0 ? err_sys(e, errno, "open %s", k->tmp) : 0;
}

int sink_open(struct sink *k, struct store *s, const char *path, bool tar,
              struct err *e)
{
    *k = (struct sink){.store = s, .fd = -1, .path = path};
    if (!tar || (strcmp(path, "-") != 0 && !fd_is_stream(path)))
        k->tmp = xasprintf("%s.dugout-%d", path, (int)getpid());
    if ((tar ? tar_open(k, e) : dir_open(k, e)) < 0)
        return sink_close(k, -1, e);
    return 0;
}

static int begin_member(struct sink *k, const char *name, uint64_t size, struct err *e)
{
    struct archive_entry *ent = archive_entry_new();
    int rc;

    archive_entry_set_pathname(ent, name);
    archive_entry_set_filetype(ent, AE_IFREG);
    archive_entry_set_perm(ent, 0644);
    archive_entry_set_size(ent, (la_int64_t)size);
    archive_entry_set_mtime(ent, 0, 0);
    rc = archive_write_header(k->tar, ent);
    archive_entry_free(ent);
    return rc < ARCHIVE_WARN ? tar_err(k, name, e) : 0;
}

static int make_parents(struct sink *k, const char *name, struct err *e)
{
    const char *slash = strrchr(name, '/');
    AUTO_FREE char *dir = slash ? xasprintf("%.*s", (int)(slash - name), name) : NULL;

    return dir ? fd_mkdirs(k->fd, dir, 0755, e) : 0;
}

int sink_text(struct sink *k, const char *name, struct str text, struct err *e)
{
    if (!k->tar)
        return make_parents(k, name, e) < 0
                   ? -1
                   : fd_write_file(k->fd, name, text.ptr, text.len, 0644, false, e);
    if (begin_member(k, name, text.len, e) < 0)
        return -1;
    return archive_write_data(k->tar, text.ptr, text.len) < 0 ? tar_err(k, name, e) : 0;
}

int sink_bytes(struct sink *k, int fd, uint64_t size, const char *hex, const char *name,
               struct err *e)
{
    AUTO_FREE char *chunk = xalloc(CHUNK);
    AUTO_FD int to = -1;
    struct sha256 sum;
    ssize_t n;

    if (k->tar) {
        if (begin_member(k, name, size, e) < 0)
            return -1;
    } else {
        if (make_parents(k, name, e) < 0)
            return -1;
        to = openat(k->fd, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
        if (to < 0)
            return err_sys(e, errno, "create %s", name);
    }
    sha256_init(&sum);
    while ((n = read(fd, chunk, CHUNK)) > 0) {
        sha256_add(&sum, chunk, (size_t)n);
        if (k->tar ? archive_write_data(k->tar, chunk, (size_t)n) < 0
                   : fd_write_all(to, chunk, (size_t)n, e) < 0)
            return k->tar ? tar_err(k, name, e) : err_at(e, "%s", name);
    }
    return n < 0 ? err_sys(e, errno, "read what becomes %s", name)
                 : blob_copied(&sum, hex, name, e);
}

int sink_blob(struct sink *k, const char *hex, const char *name, struct err *e)
{
    AUTO_FD int from = -1;
    uint64_t size;

    if (map_get(&k->seen, str_of(name)))
        return 0;
    map_put(&k->seen, str_of(arena_strdup(&k->arena, name)), k);
    if (blob_open(k->store, hex, &from, &size, e) < 0)
        return -1;
    return sink_bytes(k, from, size, hex, name, e);
}

int sink_close(struct sink *k, int rc, struct err *e)
{
    if (k->tar && rc == 0 && archive_write_close(k->tar) != ARCHIVE_OK)
        rc = tar_err(k, k->path, e);
    (void)archive_write_free(k->tar);
    if (k->fd >= 0)
        (void)close(k->fd);
    if (k->tmp && rc == 0 && rename(k->tmp, k->path) < 0)
        rc = err_sys(e, errno, "name %s", k->path);
    if (k->tmp && rc < 0)
        (void)fd_remove_tree(AT_FDCWD, k->tmp, &(struct err){0});
    free(k->tmp);
    map_done(&k->seen);
    arena_done(&k->arena);
    *k = (struct sink){.fd = -1};
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* hash.c - the digest of a file or a directory as it lies there
 *
 * A deployed model is looked up by its bytes; copying it into the store for that would
 * fill the disk of whoever asks. The tree object of a directory (tree.h) is made in
 * memory, one directory at a time, and only its hash goes up.
 */
#include "store/hash.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/inside.h"

#define CHUNK_BYTES ((size_t)1 << 20)

static int hash_fd(int fd, const char *name, char hex[DIGEST_HEX], uint64_t *size_bytes,
                   struct err *e)
{
    AUTO_FREE char *chunk = xalloc(CHUNK_BYTES);
    struct sha256 h;
    ssize_t n;

    sha256_init(&h);
    *size_bytes = 0;
    while ((n = read(fd, chunk, CHUNK_BYTES)) != 0) {
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return err_sys(e, errno, "read %s", name);
        sha256_add(&h, chunk, (size_t)n);
        *size_bytes += (uint64_t)n;
    }
    sha256_final_hex(&h, hex);
    return 0;
}

static int hash_dir(int fd, const char *name, unsigned depth, char hex[DIGEST_HEX],
                    uint64_t *size_bytes, struct err *e);

static int add_link(int dir, const char *name, struct buf *object, struct err *e)
{
    char target[4096];
    ssize_t n = readlinkat(dir, name, target, sizeof(target));

    if (n < 0)
        return err_sys(e, errno, "read the link %s", name);
    buf_adds(object, "l ");
    buf_add(object, name, strlen(name) + 1);
    buf_add(object, target, (size_t)n);
    buf_addc(object, '\0');
    return 0;
}

static int add_entry(int dir, const char *name, unsigned depth, struct buf *object,
                     uint64_t *total, struct err *e)
{
    char hex[DIGEST_HEX];
    uint64_t size = 0;
    struct stat st;
    AUTO_FD int fd = -1;
    bool is_dir;

    if (fstatat(dir, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "look at %s", name);
    if (S_ISLNK(st.st_mode))
        return add_link(dir, name, object, e);
    is_dir = S_ISDIR(st.st_mode);
    if (!is_dir && !S_ISREG(st.st_mode))
        return 0; /* as tree_put leaves them out */
    fd = openat(dir, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0)
        return err_sys(e, errno, "open %s", name);
    if (is_dir ? hash_dir(fd, name, depth + 1, hex, &size, e) < 0
               : hash_fd(fd, name, hex, &size, e) < 0)
        return -1;
    buf_addf(object, "%c %s %llu ",
             is_dir              ? 'd'
             : st.st_mode & 0100 ? 'x'
                                 : 'f',
             hex, (unsigned long long)size);
    buf_add(object, name, strlen(name) + 1);
    *total += size;
    return 0;
}

static int by_bytes(const struct dirent **a, const struct dirent **b)
{
    return strcmp((*a)->d_name, (*b)->d_name);
}

static int is_entry(const struct dirent *d)
{
    return strcmp(d->d_name, ".") != 0 && strcmp(d->d_name, "..") != 0;
}

static int hash_dir(int fd, const char *name, unsigned depth, char hex[DIGEST_HEX],
                    uint64_t *size_bytes, struct err *e)
{
    AUTO_BUF struct buf object = {0};
    struct dirent **list = NULL;
    char self[32];
    int n, rc = 0;

    if (depth > LIMIT_PATH_DEPTH)
        return err_set(e, ERR_LIMIT, "%s: nested deeper than %d directories", name,
                       LIMIT_PATH_DEPTH);
    (void)snprintf(self, sizeof(self), "/proc/self/fd/%d", fd);
    n = scandir(self, &list, is_entry, by_bytes);
    if (n < 0)
        return err_sys(e, errno, "list %s", name);

    *size_bytes = 0;
    buf_add(&object, TREE_MAGIC, sizeof(TREE_MAGIC));
    for (int i = 0; i < n && rc == 0; i++)
        rc = add_entry(fd, list[i]->d_name, depth, &object, size_bytes, e);
    for (int i = 0; i < n; i++)
        free(list[i]);
    free(list);
    if (rc < 0)
        return err_at(e, "%s", name);
    sha256_hex(object.ptr, object.len, hex);
    return 0;
}

int hash_path(int dir_fd, const char *name, char hex[DIGEST_HEX], bool *is_dir,
              struct err *e)
{
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    struct stat st;
    uint64_t size;

    if (fd < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "%s does not exist", name);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open %s", name);
    if (!S_ISREG(st.st_mode) && !S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "%s is neither a file nor a directory", name);
    *is_dir = S_ISDIR(st.st_mode);
    return *is_dir ? hash_dir(fd, name, 0, hex, &size, e)
                   : hash_fd(fd, name, hex, &size, e);
}

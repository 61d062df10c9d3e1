/* SPDX-License-Identifier: Apache-2.0 */
/* fd.h - descriptors and small file work; every descriptor is born close-on-exec */
#ifndef BASE_FD_H
#define BASE_FD_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

#include "base/buf.h"
#include "base/err.h"

void auto_fd(int *fd);
#define AUTO_FD __attribute__((cleanup(auto_fd)))
static inline int fd_take(int *fd)
{
    int f = *fd;
    *fd = -1;
    return f;
}

int fd_write_all(int fd, const void *bytes, size_t len, struct err *e);
/* fd_read_all - append everything up to EOF; ERR_LIMIT when it is over max_bytes, or
 * over the ceiling of *out. *out is as before on failure. */
int fd_read_all(int fd, struct buf *out, size_t max_bytes, struct err *e);
/* fd_read_file - whole file below dir_fd (or AT_FDCWD); ERR_MISSING when it is not
 * there, ERR_LIMIT when larger than max_bytes, ERR_INPUT when it is no regular file.
 * Links are followed. Appends to *out, which is as before on failure. */
int fd_read_file(int dir_fd, const char *path, struct buf *out, size_t max_bytes,
                 struct err *e);
/* fd_write_file - replace `path` as a whole: ".tmp-PID-N" beside it, then rename. The
 * umask applies to `mode`. With `sync` bytes and name have reached the disk on return.
 */
int fd_write_file(int dir_fd, const char *path, const void *bytes, size_t len,
                  mode_t mode, bool sync, struct err *e);
/* fd_is_stream - is path something to write to and not to replace: a device, pipe or socket, or
 * anything of /dev and /proc, where a name such as /dev/stdout may lead to any file */
bool fd_is_stream(const char *path);
/* fd_meminfo - a line of /proc/meminfo such as "MemTotal", in KiB; false when it cannot be had */
bool fd_meminfo(const char *name, uint64_t *kib);
/* fd_write_small - one open+write of an existing file (sysfs, cgroup, proc). errno in
 * e->sys */
int fd_write_small(int dir_fd, const char *path, const char *text, struct err *e);

/* openat2(2) with RESOLVE_* flags; -1 and errno as the system call (no fallback) */
int fd_openat2(int dir_fd, const char *path, int flags, mode_t mode, uint64_t resolve);
int fd_open_beneath(int dir_fd, const char *path, int flags,
                    mode_t mode); /* BENEATH|NO_MAGICLINKS */
int fd_open_in_root(int root_fd, const char *path, int flags,
                    mode_t mode); /* IN_ROOT|NO_MAGICLINKS */

/* fd_mkdirs - mkdir -p of a relative or absolute path below dir_fd; existing is fine */
int fd_mkdirs(int dir_fd, const char *path, mode_t mode, struct err *e);
/* fd_has_entries - is it a directory with something in it? "lost+found" does not count: a new file
 * system has it */
bool fd_has_entries(int dir_fd, const char *path);
/* fd_remove_tree - rm -rf of a path below dir_fd; absent is success
 *
 * Links are removed, never followed (but for those in front of the last name of the
 * path). Directories that deny access are chmod'ed first. Neither depth nor names
 * matter. Stops with ERR_SYS at the first thing that will not go, and with EXDEV in
 * e->sys at a mount point, bind mounts included: what is mounted there is not touched.
 */
int fd_remove_tree(int dir_fd, const char *path, struct err *e);

/* fd_lock - flock(2). op is LOCK_EX/LOCK_SH, with LOCK_NB: ERR_BUSY when held elsewhere
 */
int fd_lock(int fd, int op, struct err *e);

/* fd_leave_stdio - /dev/null as 0, 1 and 2: for a process that goes on without its caller */
void fd_leave_stdio(void);
/* fd_close_all_but - close every descriptor from 3 on but these: at most FD_KEEP_MAX, in any order */
#define FD_KEEP_MAX 64
void fd_close_all_but(const int *keep, size_t n);

/* path helpers */
bool path_name_ok(struct str s); /* [A-Za-z0-9_][A-Za-z0-9_.-]{0,127} */
/* path_join - "dir/name"; just `name` when it is absolute or dir is ""; gives malloc'ed
 */
char *path_join(const char *dir, const char *name);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - can this file system hold a store? Asked once, when the store is made
 *
 * Everything here rests on three things: a lock that another process sees, a rename
 * that replaces, a link that does not. A file system that lacks one would lose work
 * quietly, so it is refused while it is empty. What is merely better (files without a
 * name, clones, seals) is used where it is found. The answer is kept as locks/probe.
 *
 * A file system that several hosts may share is refused by its kind, whatever it can
 * do: locks of one host may not hold on another, and SQLite's write-ahead log needs
 * memory that all writers share. The config says network_home: true for who knows
 * better.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/inside.h"

const char *store_network_name(const char *path)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } kinds[] = {
        {0x6969, "NFS"},        {0x517b, "SMB"},      {0xff534d42, "CIFS"},
        {0xfe534d42, "SMB"},    {0x65735546, "FUSE"}, {0x0bd00bd0, "Lustre"},
        {0x01021997, "9p"},     {0x00c36400, "Ceph"}, {0x47504653, "GPFS"},
        {0x19830326, "BeeGFS"}, {0x5346414f, "AFS"},  {0x786f4256, "vboxsf"},
        {0x7461636f, "OCFS2"},  {0x01161970, "GFS2"},
    };
    AUTO_FREE char *at = xstrdup(path);
    struct statfs fs;

    while (statfs(at, &fs) < 0) { /* not made yet: what it will be made in */
        char *slash = strrchr(at, '/');
        if (errno != ENOENT || !slash || slash == at)
            return NULL;
        *slash = '\0';
    }
    for (size_t i = 0; i < N_ELEMS(kinds); i++)
        if ((uint32_t)fs.f_type == kinds[i].magic)
            return kinds[i].name;
    return NULL;
}

static int make(int dir, const char *name, struct err *e)
{
    int fd = openat(dir, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);

    return fd < 0 ? err_sys(e, errno, "create a file") : fd;
}

static int locks_hold(int dir, struct err *e)
{
    AUTO_FD int one = make(dir, "a", e);
    AUTO_FD int two = openat(dir, "a", O_RDWR | O_CLOEXEC);

    if (one < 0 || two < 0)
        return -1;
    if (flock(one, LOCK_EX | LOCK_NB) < 0)
        return err_sys(e, errno, "lock a file");
    if (flock(two, LOCK_EX | LOCK_NB) == 0)
        return err_set(e, ERR_SYS, "a lock does not keep a second one out");
    return 0;
}

static int renames_replace(int dir, struct err *e)
{
    AUTO_FD int a = make(dir, "a", e);
    AUTO_FD int b = a < 0 ? -1 : make(dir, "b", e);
    struct stat before, after;

    if (a < 0 || b < 0)
        return -1;
    if (fstat(a, &before) < 0 || renameat(dir, "a", dir, "b") < 0 ||
        fstatat(dir, "b", &after, AT_SYMLINK_NOFOLLOW) < 0)
        return err_sys(e, errno, "rename over a file");
    if (before.st_ino != after.st_ino)
        return err_set(e, ERR_SYS, "a rename does not keep the file");
    return 0;
}

static int links_do_not_replace(int dir, struct err *e)
{
    AUTO_FD int a = make(dir, "a", e);

    if (a < 0)
        return -1;
    if (linkat(dir, "a", dir, "c", 0) < 0)
        return err_sys(e, errno, "link a file");
    if (linkat(dir, "a", dir, "c", 0) == 0 || errno != EEXIST)
        return err_set(e, ERR_SYS, "a link replaces what was there");
    return 0;
}

static bool has_nameless(int dir)
{
    AUTO_FD int fd = openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);

    return fd >= 0;
}

static bool has_clones(int dir, int to_dir)
{
    AUTO_FD int from = openat(dir, "a", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    AUTO_FD int to = openat(to_dir, "d", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return from >= 0 && to >= 0 && pwrite(from, "x", 1, 0) == 1 &&
           ioctl(to, FICLONE, from) == 0;
}

static bool has_seals(int dir)
{
    AUTO_FD int fd = openat(dir, "e", O_RDWR | O_CREAT | O_CLOEXEC, 0600);

    return fd >= 0 && pwrite(fd, "x", 1, 0) == 1 && seal_file(fd);
}

int store_probe(struct store *s, struct err *e)
{
    char name[STORE_TMP_NAME], text[PROBE_BYTES];
    AUTO_FD int dir = -1;
    AUTO_FD int sweep = -1;
    struct err ignored;
    int n, rc;

    if (faccessat(s->dirs[STORE_LOCKS], PROBE_ANSWER, F_OK, 0) == 0)
        return 0;
    if (store_tmp_dir(s, PROBE_ANSWER, name, &dir, e) < 0)
        return -1;
    rc = locks_hold(dir, e) < 0 || renames_replace(dir, e) < 0 ||
                 links_do_not_replace(dir, e) < 0
             ? -1
             : 0;
    n = snprintf(text, sizeof(text), "nameless %s\nclones %s\n" PROBE_SEALS "%s\n",
                 has_nameless(dir) ? "yes" : "no", has_clones(dir, dir) ? "yes" : "no",
                 has_seals(dir) ? "yes" : "no");
    (void)store_drop(s, s->dirs[STORE_TMP], name, &ignored);
    /* made while there is room for a file, for the gc that is to make some */
    if (rc == 0)
        sweep = openat(s->dirs[STORE_LOCKS], SWEEP_LOCK, O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (rc == 0 && sweep < 0)
        rc = err_sys(e, errno, "make a lock");
    if (rc < 0)
        return err_at(e, "the file system of %s cannot hold a store", s->home);
    return fd_write_file(s->dirs[STORE_LOCKS], PROBE_ANSWER, text, (size_t)n, 0640, false, e);
}

/* Attempts need less than a home: a rename that replaces. That outputs can be cloned from
 * there into the home is worth knowing; else they are copied. */
int probe_scratch(struct store *s, int fd, const char *name, const char *hex, struct err *e)
{
    char answer[sizeof(PROBE_ANSWER) + 1 + DIGEST_HEX], tmp[STORE_TMP_NAME], text[64];
    AUTO_FD int home_dir = -1;
    AUTO_FD int dir = -1;
    struct err ignored;
    int n, rc;

    (void)snprintf(answer, sizeof(answer), PROBE_ANSWER "-%s", hex);
    if (faccessat(s->dirs[STORE_LOCKS], answer, F_OK, 0) == 0)
        return 0;
    if (store_tmp_dir(s, PROBE_ANSWER, tmp, &home_dir, e) < 0)
        return -1;
    if (mkdirat(fd, tmp, 0700) < 0)
        rc = err_sys(e, errno, "make a directory in %s", name);
    else if ((dir = openat(fd, tmp, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        rc = err_sys(e, errno, "open a directory in %s", name);
    else
        rc = renames_replace(dir, e);
    n = snprintf(text, sizeof(text), "clones %s\n",
                 rc == 0 && has_clones(dir, home_dir) ? "yes" : "no");
    (void)fd_remove_tree(fd, tmp, &ignored);
    (void)store_drop(s, s->dirs[STORE_TMP], tmp, &ignored);
    if (rc < 0)
        return err_at(e, "%s cannot be the scratch directory of attempts", name);
    return fd_write_file(s->dirs[STORE_LOCKS], answer, text, (size_t)n, 0640, false, e);
}

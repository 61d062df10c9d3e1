/* SPDX-License-Identifier: Apache-2.0 */
/* mount.c - everything that is mounted on a box's root
 *
 *     /dev             tmpfs with the harmless nodes, pts/, shm/, mqueue/
 *     /tmp /run ...    tmpfs, when the root is read-only
 *     binds            what the spec names, each in its place inside the root
 *     /proc /sys       of the new namespaces, dangerous parts masked or read-only
 *
 * No path is trusted twice. A target is opened once, with the box's root as the root for
 * links, and the mount is attached to that descriptor; /dev, /proc and /sys may not be
 * links at all. Below them we work on descriptors of the file systems that we mounted
 * ourselves, so links in the image lead nowhere (CVE-2025-31133, CVE-2019-16884).
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/inside.h"

#define ATTRS_DATA (ATTR_NOSUID | ATTR_NODEV)
#define ATTRS_NONE (ATTR_NOSUID | ATTR_NODEV | ATTR_NOEXEC)

/* ---- the calls -------------------------------------------------------------------------------- */

int mnt_new(const char *type, const char *const *options, unsigned attrs, int *out,
            struct err *e)
{
    AUTO_FD int fs = sys_fsopen(type);

    if (fs < 0)
        return err_sys(e, errno, "mount %s", type);
    for (; options && *options; options += 2)
        if (sys_fsconfig(fs, options[1] ? FSC_STRING : FSC_FLAG, options[0], options[1], 0) < 0)
            return err_sys(e, errno, "mount %s with %s=%s", type, options[0],
                           options[1] ? options[1] : "");
    if (sys_fsconfig(fs, FSC_CREATE, NULL, NULL, 0) < 0)
        return err_sys(e, errno, "mount %s", type);
    *out = sys_fsmount(fs, attrs);
    return *out < 0 ? err_sys(e, errno, "mount %s", type) : 0;
}

int mnt_clone(int dir_fd, const char *path, bool recursive, int *out, struct err *e)
{
    *out = sys_open_tree(dir_fd, path,
                         TREE_CLONE | (recursive ? TREE_RECURSIVE : 0) |
                             (*path ? 0 : TREE_EMPTY_PATH));
    return *out < 0 ? err_sys(e, errno, "bind %s", path) : 0;
}

int mnt_set(int mnt_fd, unsigned attrs, bool recursive, struct err *e)
{
    struct sys_mount_attr a = {.attr_set = attrs, .propagation = MS_PRIVATE};

    if (sys_mount_setattr(mnt_fd, recursive ? TREE_RECURSIVE : 0, &a) < 0)
        return err_sys(e, errno, "set the attributes of a mount");
    return 0;
}

int mnt_attach(int mnt_fd, int target_fd, const char *what, struct err *e)
{
    if (sys_move_mount(mnt_fd, target_fd) < 0)
        return err_sys(e, errno, "mount %s in the box", what);
    return 0;
}

/* before 5.12: attributes of an attached mount by mount(2), which wants all of them, those
 * that a less privileged namespace may not take away included */
static int remount(int target_fd, unsigned attrs, struct err *e)
{
    char path[40];
    struct statvfs st;
    unsigned long flags = MS_REMOUNT | MS_BIND;

    if (fstatvfs(target_fd, &st) < 0)
        return err_sys(e, errno, "look at a mount");
    flags |= st.f_flag & (ST_RDONLY | ST_NOSUID | ST_NODEV | ST_NOEXEC | ST_NOATIME |
                          ST_NODIRATIME | ST_RELATIME); /* the same bits as MS_ */
    flags |= (attrs & ATTR_RDONLY ? MS_RDONLY : 0) | (attrs & ATTR_NOSUID ? MS_NOSUID : 0) |
             (attrs & ATTR_NODEV ? MS_NODEV : 0) | (attrs & ATTR_NOEXEC ? MS_NOEXEC : 0);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", target_fd);
    if (mount(NULL, path, NULL, flags, NULL) < 0)
        return err_sys(e, errno, "set the attributes of a mount");
    return 0;
}

/* bind what lies at path of dir_fd onto target_fd. Without mount_setattr (before 5.12) what is
 * mounted below it stays behind, as it could not be made read-only. */
int mnt_bind(int dir_fd, const char *path, int target_fd, unsigned attrs, const char *what,
                struct err *e)
{
    AUTO_FD int tree = -1;
    int rc;

    if (mnt_clone(dir_fd, path, true, &tree, e) < 0)
        return err_at(e, "%s", what);
    if (!attrs)
        return mnt_attach(tree, target_fd, what, e);
    rc = mnt_set(tree, attrs, true, e);
    if (rc == 0)
        return mnt_attach(tree, target_fd, what, e);
    if (e->sys != ENOSYS)
        return err_at(e, "%s", what);
    (void)close(fd_take(&tree));
    if (mnt_clone(dir_fd, path, false, &tree, e) < 0 || mnt_attach(tree, target_fd, what, e) < 0)
        return err_at(e, "%s", what);
    return remount(tree, attrs, e);
}

/* ---- targets ----------------------------------------------------------------------------------- */

/* a directory directly below the root that may not be a link: /dev, /proc, /sys */
static int real_dir(int root_fd, const char *name, int *out, struct err *e)
{
    uint64_t how = RESOLVE_IN_ROOT | RESOLVE_NO_SYMLINKS;

    *out = fd_openat2(root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, how);
    if (*out < 0 && errno == ENOENT && mkdirat(root_fd, name, 0755) == 0)
        *out = fd_openat2(root_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW, 0, how);
    if (*out < 0 && (errno == ELOOP || errno == ENOTDIR))
        return err_set(e, ERR_CORRUPT, "the image's /%s is not a directory", name);
    if (*out < 0)
        return err_sys(e, errno, "make /%s in the box", name);
    return 0;
}

static int make_file(int root_fd, const char *dst, int *out, struct err *e)
{
    char dir[PATH_MAX];
    const char *slash = strrchr(dst, '/');
    AUTO_FD int parent = -1;
    bool made;

    (void)snprintf(dir, sizeof dir, "%.*s", (int)(slash - dst), dst);
    if (root_mkdirs(root_fd, dir, 0755, &made, &parent, e) < 0)
        return -1;
    *out = openat(parent, slash + 1, O_CREAT | O_EXCL | O_WRONLY | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (*out < 0)
        return err_sys(e, errno, "make the file %s in the box", dst);
    return 0;
}

/* open what is mounted on, making it when it is missing */
static int target(int root_fd, const char *dst, bool dir, int *out, struct err *e)
{
    struct stat st;
    bool made;

    if (dir)
        return root_mkdirs(root_fd, dst, 0755, &made, out, e);
    *out = fd_open_in_root(root_fd, dst, O_PATH, 0);
    if (*out < 0 && errno == ENOENT)
        return make_file(root_fd, dst, out, e);
    if (*out < 0 || fstat(*out, &st) < 0)
        return err_sys(e, errno, "open %s in the box", dst);
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "mount %s: a file cannot go where the image has a directory",
                       dst);
    return 0;
}

static void size_option(uint64_t wanted, uint64_t memory, char out[32])
{
    if (!wanted)
        wanted = (memory && memory < box_memory_total() ? memory : box_memory_total()) / 2;
    (void)snprintf(out, 32, "%llu", (unsigned long long)wanted);
}

static int new_tmpfs(int target_fd, uint64_t size, uint64_t memory, unsigned mode, unsigned attrs,
                     const char *what, struct err *e)
{
    char size_text[32], mode_text[16];
    const char *options[] = {"size", size_text, "mode", mode_text, NULL};
    AUTO_FD int fs = -1;

    size_option(size, memory, size_text);
    (void)snprintf(mode_text, sizeof mode_text, "%o", mode & 07777);
    if (mnt_new("tmpfs", options, attrs, &fs, e) < 0)
        return err_at(e, "%s", what);
    return mnt_attach(fs, target_fd, what, e);
}

/* ---- /dev ---------------------------------------------------------------------------------------- */

static const struct node {
    const char *name;
    unsigned minor;
    unsigned major;
} nodes[] = {{"null", 3, 1},   {"zero", 5, 1},    {"full", 7, 1},
             {"random", 8, 1}, {"urandom", 9, 1}, {"tty", 0, 5}};

static bool is_node(int dir_fd, const struct node *n)
{
    struct stat st;

    return fstatat(dir_fd, n->name, &st, AT_SYMLINK_NOFOLLOW) == 0 && S_ISCHR(st.st_mode) &&
           st.st_rdev == makedev(n->major, n->minor);
}

/* Root makes nodes. In a user namespace that is refused, so the host's are bound, and a
 * host's /dev/null that is something else is noticed. */
static int make_nodes(int dev_fd, struct err *e)
{
    for (size_t i = 0; i < N_ELEMS(nodes); i++) {
        const struct node *n = &nodes[i];
        AUTO_FD int file = -1;
        AUTO_FD int host = -1;
        char path[24];

        if (mknodat(dev_fd, n->name, S_IFCHR | 0666, makedev(n->major, n->minor)) == 0)
            continue;
        (void)snprintf(path, sizeof path, "/dev/%s", n->name);
        file = openat(dev_fd, n->name, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC, 0666);
        if (file < 0)
            return err_sys(e, errno, "make %s in the box", path);
        if (mnt_clone(AT_FDCWD, path, false, &host, e) < 0 ||
            mnt_attach(host, file, path, e) < 0)
            return -1;
        if (!is_node(dev_fd, n))
            return err_set(e, ERR_SYS, "the host's %s is not the device of that name", path);
    }
    return 0;
}

static int make_links(int dev_fd, struct err *e)
{
    static const char *const links[][2] = {{"fd", "/proc/self/fd"},
                                           {"stdin", "/proc/self/fd/0"},
                                           {"stdout", "/proc/self/fd/1"},
                                           {"stderr", "/proc/self/fd/2"},
                                           {"ptmx", "pts/ptmx"}};

    for (size_t i = 0; i < N_ELEMS(links); i++)
        if (symlinkat(links[i][1], dev_fd, links[i][0]) < 0)
            return err_sys(e, errno, "make /dev/%s in the box", links[i][0]);
    return 0;
}

static int below_dev(int dev_fd, const char *name, mode_t mode, int *out, struct err *e)
{
    if (mkdirat(dev_fd, name, mode) < 0 ||
        (*out = openat(dev_fd, name, O_PATH | O_DIRECTORY | O_CLOEXEC)) < 0)
        return err_sys(e, errno, "make /dev/%s in the box", name);
    return 0;
}

static int mount_pts(int dev_fd, bool map_tty_group, struct err *e)
{
    const char *options[] = {"ptmxmode", "0666", "mode", "0620", "gid", "5", NULL};
    AUTO_FD int at = -1;
    AUTO_FD int fs = -1;

    if (!map_tty_group)
        options[4] = NULL; /* group 5 does not exist in a namespace of one id */
    if (below_dev(dev_fd, "pts", 0755, &at, e) < 0 ||
        mnt_new("devpts", options, ATTR_NOSUID | ATTR_NOEXEC, &fs, e) < 0)
        return -1;
    return mnt_attach(fs, at, "/dev/pts", e);
}

static int mount_shm_and_queues(const struct mounter *m, struct err *e)
{
    const struct box_spec *spec = m->p->spec;
    AUTO_FD int shm = -1;
    AUTO_FD int mqueue = -1;
    AUTO_FD int fs = -1;

    if (below_dev(m->dev_fd, "shm", 01777, &shm, e) < 0 ||
        new_tmpfs(shm, spec->shm_bytes, spec->memory_bytes, 01777, ATTRS_NONE, "/dev/shm", e) < 0)
        return -1;
    if (below_dev(m->dev_fd, "mqueue", 0755, &mqueue, e) < 0)
        return -1;
    if (mnt_new("mqueue", NULL, ATTRS_NONE, &fs, e) < 0)
        return e->sys == ENODEV ? 0 : -1; /* a kernel without message queues */
    return mnt_attach(fs, mqueue, "/dev/mqueue", e);
}

static int scratch_dirs(const struct mounter *m, struct err *e)
{
    static const char *const dirs[] = {"/tmp", "/run", "/var/tmp"};

    for (size_t i = 0; i < N_ELEMS(dirs); i++) {
        AUTO_FD int at = -1;
        bool made;
        if (root_mkdirs(m->root_fd, dirs[i], 0755, &made, &at, e) < 0 ||
            new_tmpfs(at, 0, m->p->spec->memory_bytes, i == 1 ? 0755 : 01777, ATTRS_DATA, dirs[i],
                      e) < 0)
            return -1;
    }
    return 0;
}

int mnt_dev(struct mounter *m, struct err *e)
{
    const char *options[] = {"size", "1m", "mode", "0755", NULL};
    AUTO_FD int at = -1;

    if (real_dir(m->root_fd, "dev", &at, e) < 0 ||
        mnt_new("tmpfs", options, ATTR_NOSUID | ATTR_NOEXEC | ATTR_STRICTATIME, &m->dev_fd, e) < 0 ||
        mnt_attach(m->dev_fd, at, "/dev", e) < 0)
        return -1;
    if (make_nodes(m->dev_fd, e) < 0 || make_links(m->dev_fd, e) < 0 ||
        mount_pts(m->dev_fd, m->p->ids.kind != IDS_ONE, e) < 0 ||
        mount_shm_and_queues(m, e) < 0 || extras_dev(m, e) < 0)
        return -1;
    return m->p->spec->read_only_root ? scratch_dirs(m, e) : 0;
}

/* ---- what the spec names --------------------------------------------------------------------------- */

int mnt_bind_user(const struct mounter *m, const struct box_mount *b, struct err *e)
{
    AUTO_FD int src = open(b->src, O_PATH | O_CLOEXEC);
    AUTO_FD int at = -1;
    struct stat st;

    if (src < 0 || fstat(src, &st) < 0) {
        if (errno == ENOENT || errno == ENOTDIR)
            return err_set(e, ERR_INPUT, "mount %s: there is no such file or directory", b->src);
        return err_sys(e, errno, "mount %s", b->src);
    }
    if (b->sub) {
        int fd = fd_openat2(src, b->sub, O_PATH, 0,
                            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS);
        if (fd < 0 || fstat(fd, &st) < 0) {
            (void)err_set(e, errno == ENOENT || errno == ELOOP ? ERR_INPUT : ERR_SYS,
                          "mount %s of %s: %s", b->sub, b->src,
                          errno == ELOOP ? "it leads through a link" : strerror(errno));
            if (fd >= 0)
                (void)close(fd);
            return -1;
        }
        (void)close(src);
        src = fd;
    }
    if (target(m->root_fd, b->dst, S_ISDIR(st.st_mode), &at, e) < 0)
        return err_at(e, "mount %s", b->src);
    return mnt_bind(src, "", at, ATTRS_DATA | (b->rw ? 0 : ATTR_RDONLY), b->src, e);
}

static int put_files(int fs_fd, const struct box_mount *b, struct err *e)
{
    for (size_t i = 0; i < b->n_files; i++) {
        const struct box_tmpfile *f = &b->files[i];
        AUTO_FD int fd = openat(fs_fd, f->name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0400);

        if (fd < 0 || fd_write_all(fd, f->bytes, f->len, e) < 0 || fchmod(fd, 0444) < 0)
            return err_sys(e, errno, "make %s/%s in the box", b->dst, f->name);
    }
    return 0;
}

/* read-only comes after the files; before 5.12 only when it is in its place. *seal gets a sealed one */
static int tmpfs_user(const struct mounter *m, const struct box_mount *b, int *seal, struct err *e)
{
    uint64_t memory = m->p->spec->memory_bytes;
    unsigned mode = b->mode ? b->mode : 01777;
    unsigned attrs = ATTRS_DATA | (b->rw ? 0 : ATTR_RDONLY);
    char size_text[32], mode_text[16];
    const char *options[] = {"size", size_text, "mode", mode_text, NULL};
    AUTO_FD int at = -1;
    AUTO_FD int fs = -1;

    if (target(m->root_fd, b->dst, true, &at, e) < 0)
        return -1;
    if (!b->n_files && !b->sealed)
        return new_tmpfs(at, b->size_bytes, memory, mode, attrs, b->dst, e);
    size_option(b->size_bytes, memory, size_text);
    (void)snprintf(mode_text, sizeof mode_text, "%o", mode & 07777);
    if (mnt_new("tmpfs", options, ATTRS_DATA, &fs, e) < 0 || put_files(fs, b, e) < 0)
        return err_at(e, "%s", b->dst);
    if (b->sealed) {
        must(*seal < 0);
        if (mnt_attach(fs, at, b->dst, e) < 0)
            return -1;
        *seal = fd_take(&fs);
        return 0;
    }
    if (b->rw || mnt_set(fs, attrs, false, e) == 0)
        return mnt_attach(fs, at, b->dst, e);
    if (e->sys != ENOSYS)
        return err_at(e, "%s", b->dst);
    return mnt_attach(fs, at, b->dst, e) < 0 ? -1 : remount(fs, attrs, e);
}

int mnt_user(struct mounter *m, struct err *e)
{
    AUTO_FD int seal = -1;

    for (size_t i = 0; i < m->p->spec->n_mounts; i++) {
        const struct box_mount *b = &m->p->spec->mounts[i];
        if (b->kind == BOX_BIND ? mnt_bind_user(m, b, e) < 0 : tmpfs_user(m, b, &seal, e) < 0)
            return -1;
    }
    if (seal < 0 || mnt_set(seal, ATTR_RDONLY, false, e) == 0)
        return 0;
    return e->sys == ENOSYS ? remount(seal, ATTRS_DATA | ATTR_RDONLY, e) : -1;
}

/* ---- /proc and /sys --------------------------------------------------------------------------------- */

static const char *const masked_proc[] = {
    "acpi",        "asound",      "interrupts",  "kcore", "keys",
    "latency_stats", "sched_debug", "scsi",      "timer_list", "timer_stats"};
/* what tells of all cards of the machine, to a box that was given none */
static const char *const masked_drivers[] = {"driver/nvidia"};
static const char *const masked_sys[] = {"firmware", "devices/virtual/powercap"};
static const char *const read_only_proc[] = {"bus", "fs", "irq", "sys", "sysrq-trigger"};

/* cover a file with /dev/null and a directory with an empty one, the same for all. Clones
 * are taken of attached mounts: before 6.15 a detached one cannot be cloned. */
static int mask(int dev_fd, int fs_fd, const char *const *names, size_t n, int *empty,
                struct err *e)
{
    const char *options[] = {"size", "4k", "nr_inodes", "1", "mode", "0555", NULL};

    for (size_t i = 0; i < n; i++) {
        AUTO_FD int at = openat(fs_fd, names[i], O_PATH | O_NOFOLLOW | O_CLOEXEC);
        AUTO_FD int cover = -1;
        struct stat st;

        if (at < 0 && (errno == ENOENT || errno == ENOTDIR))
            continue;
        if (at < 0 || fstat(at, &st) < 0)
            return err_sys(e, errno, "hide %s from the box", names[i]);
        if (S_ISDIR(st.st_mode) && *empty < 0) {
            if (mnt_new("tmpfs", options, ATTR_RDONLY | ATTRS_NONE, empty, e) < 0 ||
                mnt_attach(*empty, at, names[i], e) < 0)
                return -1;
            continue;
        }
        if (mnt_clone(S_ISDIR(st.st_mode) ? *empty : dev_fd, S_ISDIR(st.st_mode) ? "" : "null",
                      false, &cover, e) < 0 ||
            mnt_attach(cover, at, names[i], e) < 0)
            return -1;
    }
    return 0;
}

static int make_read_only(int fs_fd, struct err *e)
{
    for (size_t i = 0; i < N_ELEMS(read_only_proc); i++) {
        const char *name = read_only_proc[i];
        AUTO_FD int at = openat(fs_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
        if (at < 0 && errno == ENOENT)
            continue;
        if (at < 0)
            return err_sys(e, errno, "make /proc/%s of the box read-only", name);
        if (mnt_bind(fs_fd, name, at, ATTR_RDONLY | ATTRS_NONE, name, e) < 0)
            return -1;
    }
    return 0;
}

static int mount_proc(const struct mounter *m, int *proc, struct err *e)
{
    AUTO_FD int at = -1;
    struct statfs fs;

    if (real_dir(m->root_fd, "proc", &at, e) < 0)
        return -1;
    if (mnt_new("proc", NULL, ATTRS_NONE, proc, e) < 0) {
        if (e->sys == EPERM && m->p->ids.kind != IDS_HOST)
            return err_set(e, ERR_SYS,
                           "/proc of a new namespace is refused here, as parts of our own are "
                           "covered: we are in a container ourselves, start that with an "
                           "unmasked /proc");
        return -1;
    }
    if (fstatfs(*proc, &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
        return err_set(e, ERR_SYS, "what was mounted on /proc is no procfs");
    return mnt_attach(*proc, at, "/proc", e);
}

/* sysfs shows one network namespace and may be mounted only by its owner, which an ordinary user
 * with the host's network is not: then it is the host's, read-only, with nothing of cgroups */
static int bind_host_sys(int at, int *sys, struct err *e)
{
    AUTO_FD int cgroup = -1;

    if (mnt_clone(AT_FDCWD, "/sys", true, sys, e) < 0 ||
        mnt_set(*sys, ATTR_RDONLY | ATTRS_NONE, true, e) < 0 || mnt_attach(*sys, at, "/sys", e) < 0)
        return -1;
    cgroup = openat(*sys, "fs/cgroup", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return cgroup < 0 ? 0
                      : new_tmpfs(cgroup, 4096, 0, 0555, ATTR_RDONLY | ATTRS_NONE,
                                  "/sys/fs/cgroup", e);
}

/* The box's own v2 cgroup, so that programs find their limits. v1 has a tree for each
 * controller; there the directory stays empty. */
static void mount_cgroup(int sys)
{
    AUTO_FD int at = openat(sys, "fs/cgroup", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    AUTO_FD int fs = -1;
    struct err ignored;

    if (at >= 0 && mnt_new("cgroup2", NULL, ATTR_RDONLY | ATTRS_NONE, &fs, &ignored) == 0)
        (void)mnt_attach(fs, at, "/sys/fs/cgroup", &ignored);
}

static int mount_sys(const struct mounter *m, int *sys, struct err *e)
{
    AUTO_FD int at = -1;
    struct statfs fs;
    bool v2 = statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;

    if (real_dir(m->root_fd, "sys", &at, e) < 0)
        return -1;
    if (mnt_new("sysfs", NULL, ATTR_RDONLY | ATTRS_NONE, sys, e) < 0)
        return e->sys == EPERM ? bind_host_sys(at, sys, e) : -1;
    if (mnt_attach(*sys, at, "/sys", e) < 0)
        return -1;
    if (v2)
        mount_cgroup(*sys);
    return 0;
}

int mnt_kernel(struct mounter *m, struct err *e)
{
    AUTO_FD int proc = -1;
    AUTO_FD int sys = -1;
    AUTO_FD int empty = -1;

    if (mount_proc(m, &proc, e) < 0 || make_read_only(proc, e) < 0 ||
        extras_proc(m, proc, e) < 0 ||
        mask(m->dev_fd, proc, masked_proc, N_ELEMS(masked_proc), &empty, e) < 0)
        return -1;
    if (!m->p->spec->extras && mask(m->dev_fd, proc, masked_drivers, N_ELEMS(masked_drivers),
                                    &empty, e) < 0)
        return -1;
    if (mount_sys(m, &sys, e) < 0)
        return -1;
    return mask(m->dev_fd, sys, masked_sys, N_ELEMS(masked_sys), &empty, e);
}

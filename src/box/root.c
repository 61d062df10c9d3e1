/* SPDX-License-Identifier: Apache-2.0 */
/* root.c - the root file system of a box: layers and an upper directory, or a flat copy
 *
 *     scratch/upper   what the box writes, and etc/hosts, hostname, resolv.conf from us, unless
 *                     a layer that several boxes share has these (box_etc_layer)
 *     scratch/work    overlayfs's own
 *     scratch/root    instead of the two, where overlayfs cannot be had
 *     scratch         in the box's mount namespace the merged root is mounted over it
 *
 * Options of fsconfig(2) end at 256 bytes and the option page of mount(2) at 4096, too little
 * for hundreds of layer paths. So layers are opened first: from 6.13 on their descriptors are
 * handed over as they are; before, the child stands in /proc/self/fd, where a descriptor's
 * number is its path, and gives mount(2) a list such as "7:8:9".
 *
 * The overlay is "volatile": without that, unmounting it syncs the whole file system, which
 * takes hundreds of milliseconds beside a big writer. A box's upper directory is never used
 * again, so there is nothing to lose. Features with which one layer may name files of
 * another (redirect_dir, metacopy) are off, as layers are foreign.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/magic.h>
#include <stdio.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/inside.h"

/* ---- generated files ------------------------------------------------------------------------ */

static void host_file(const char *path, struct buf *out)
{
    struct err e;

    if (fd_read_file(AT_FDCWD, path, out, 64 * KIB, &e) < 0)
        buf_reset(out);
    if (out->len && out->ptr[out->len - 1] != '\n')
        buf_addc(out, '\n');
}

static int put_file(int dir_fd, const char *name, const struct buf *text, struct err *e)
{
    AUTO_FD int fd = -1;

    (void)unlinkat(dir_fd, name, 0);
    fd = openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    if (fd < 0 || fchmod(fd, 0644) < 0)
        return err_sys(e, errno, "make /etc/%s of the box", name);
    (void)!fchown(fd, geteuid(), getegid()); /* a home may hand its group down */
    return fd_write_all(fd, buf_str(text), text->len, e);
}

int root_write_etc(const char *hostname, bool host_network, int etc_fd, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    if (host_network)
        host_file("/etc/hosts", &text);
    if (!text.len)
        buf_adds(&text, "127.0.0.1\tlocalhost\n::1\tlocalhost ip6-localhost ip6-loopback\n");
    buf_addf(&text, "127.0.1.1\t%s\n", hostname);
    if (put_file(etc_fd, "hosts", &text, e) < 0)
        return -1;
    buf_reset(&text);
    buf_addf(&text, "%s\n", hostname);
    if (put_file(etc_fd, "hostname", &text, e) < 0)
        return -1;
    buf_reset(&text);
    if (host_network)
        host_file("/etc/resolv.conf", &text);
    return put_file(etc_fd, "resolv.conf", &text, e);
}

/* ---- the upper directory ---------------------------------------------------------------------- */

static int like(int fd, const struct stat *st, bool owner, struct err *e)
{
    struct timespec times[2] = {st->st_atim, st->st_mtim};

    if ((owner && fchown(fd, st->st_uid, st->st_gid) < 0) || fchmod(fd, st->st_mode & 07777) < 0 ||
        futimens(fd, times) < 0)
        return err_sys(e, errno, "prepare the box's root");
    return 0;
}

/* the directory etc in a layer above the others, as the topmost of them has it. 0: it is a link
 * there and has to be followed in the merged root */
static int write_layer_etc(const char *const *lowers, size_t n, const char *hostname,
                           bool host_network, bool owner, int layer_fd, struct err *e)
{
    struct stat st = {.st_mode = S_IFDIR | 0755};
    AUTO_FD int etc = -1;
    bool found = false;

    for (size_t i = 0; i < n && !found; i++) {
        AUTO_FD int fd = open(lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        found = fstatat(fd, "etc", &st, AT_SYMLINK_NOFOLLOW) == 0;
    }
    if (found && S_ISCHR(st.st_mode)) /* a whiteout: below it there is none */
        st = (struct stat){.st_mode = S_IFDIR | 0755};
    if (!S_ISDIR(st.st_mode))
        return 0;
    if (mkdirat(layer_fd, "etc", 0700) < 0)
        return err_sys(e, errno, "make /etc of the box");
    etc = openat(layer_fd, "etc", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (etc < 0)
        return err_sys(e, errno, "make /etc of the box");
    if (root_write_etc(hostname, host_network, etc, e) < 0)
        return -1;
    if (found)
        return like(etc, &st, owner, e) < 0 ? -1 : 1;
    return fchmod(etc, 0755) < 0 ? err_sys(e, errno, "make /etc of the box") : 1;
}

int box_etc_layer(const char *const *lowers, size_t n, const char *hostname, bool host_network,
                  int layer_fd, struct err *e)
{
    bool owner = geteuid() == 0 && ids_have_cap(CAP_SYS_ADMIN); /* as ids_find() has it */
    char name[BOX_HOSTNAME_BYTES];

    box_hostname(hostname, name);
    return write_layer_etc(lowers, n, name, host_network, owner, layer_fd, e);
}

static int prepare_overlay(struct plan *p, int scratch_fd, struct err *e)
{
    const struct box_spec *spec = p->spec;
    const char *top = spec->lowers[spec->has_etc && spec->n_lowers > 1];
    AUTO_FD int upper = -1;
    struct stat st;
    int rc;

    if (stat(top, &st) < 0)
        return err_sys(e, errno, "layer %s", top);
    if (mkdirat(scratch_fd, "work", 0700) < 0 || mkdirat(scratch_fd, "upper", 0700) < 0)
        return err_sys(e, errno, "make directories in %s", p->spec->scratch);
    upper = openat(scratch_fd, "upper", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (upper < 0 || fchmod(upper, 0700) < 0) /* a home may hand its group down */
        return err_sys(e, errno, "open %s/upper", p->spec->scratch);
    rc = spec->has_etc ? 1
                       : write_layer_etc(spec->lowers, spec->n_lowers, p->hostname,
                                         spec->host_network, p->ids.kind == IDS_HOST, upper, e);
    if (rc < 0)
        return -1;
    p->etc_later = rc == 0;
    st.st_mode |= 0555; /* the mode of "/", whatever a layer's top directory has */
    return like(upper, &st, p->ids.kind == IDS_HOST, e);
}

static int prepare_flat(struct plan *p, int scratch_fd, struct err *e)
{
    AUTO_FD int root = -1;

    if (mkdirat(scratch_fd, "root", 0755) < 0)
        return err_sys(e, errno, "make a directory in %s", p->spec->scratch);
    root = openat(scratch_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return err_sys(e, errno, "open %s/root", p->spec->scratch);
    p->etc_later = !p->spec->has_etc;
    return flat_copy(p->spec->lowers, p->spec->n_lowers, p->userxattr, root, e);
}

int root_prepare(struct plan *p, struct err *e)
{
    AUTO_FD int scratch = open(p->spec->scratch, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (scratch < 0)
        return err_sys(e, errno, "open %s", p->spec->scratch);
    return p->flat ? prepare_flat(p, scratch, e) : prepare_overlay(p, scratch, e);
}

/* ---- mounting ------------------------------------------------------------------------------- */

static int open_dir(const char *dir, const char *name, struct err *e)
{
    char path[PATH_MAX];
    int fd;

    (void)snprintf(path, sizeof path, "%s%s%s", dir, name ? "/" : "", name ? name : "");
    fd = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s", path);
    return fd;
}

struct overlay {
    int lowers[LIMIT_LAYERS];
    size_t n;
    int upper, work, scratch;
    bool userxattr;
};

/* what the kernel wrote about the last failure into the file system context, else errno */
static int fs_context_err(int fs, const char *what, struct err *e)
{
    int sys = errno;
    char text[256];
    ssize_t n = read(fs, text, sizeof text - 1);

    if (n <= 2)
        return err_sys(e, sys, "%s", what);
    text[n] = 0;
    text[strcspn(text, "\n")] = 0;
    err_set(e, ERR_SYS, "%s: %s (%s)", what, strerror(sys), text + 2);
    e->sys = sys;
    return -1;
}

/* options that keep layers from referring to each other; "" is a flag */
static const char *const overlay_root[][2] = {
    {"redirect_dir", "nofollow"}, {"metacopy", "off"}, {"xino", "off"}, {"volatile", ""}};
static const char *const overlay_user[][2] = {{"userxattr", ""}, {"xino", "off"}, {"volatile", ""}};

static int set_options(int fs, const char *const (*options)[2], size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool flag = !options[i][1][0];
        if (sys_fsconfig(fs, flag ? FSC_FLAG : FSC_STRING, options[i][0],
                         flag ? NULL : options[i][1], 0) < 0)
            return -1;
    }
    return 0;
}

/* 6.13 and later: layers by descriptor. 1: not known here */
static int overlay_by_fd(const struct overlay *o, int *out, struct err *e)
{
    AUTO_FD int fs = sys_fsopen("overlay");

    if (fs < 0)
        return err_sys(e, errno, "mount overlayfs");
    for (size_t i = 0; i < o->n; i++)
        if (sys_fsconfig(fs, FSC_FD, "lowerdir+", NULL, o->lowers[i]) < 0)
            /* unknown option; no descriptors at all in the old style of options */
            return i == 0 && (errno == EINVAL || errno == EOPNOTSUPP)
                       ? 1
                       : fs_context_err(fs, "add a layer to the box", e);
    if (sys_fsconfig(fs, FSC_FD, "upperdir", NULL, o->upper) < 0 ||
        sys_fsconfig(fs, FSC_FD, "workdir", NULL, o->work) < 0 ||
        (o->userxattr ? set_options(fs, overlay_user, N_ELEMS(overlay_user))
                      : set_options(fs, overlay_root, N_ELEMS(overlay_root))) < 0 ||
        sys_fsconfig(fs, FSC_CREATE, NULL, NULL, 0) < 0)
        return fs_context_err(fs, "mount overlayfs", e);
    *out = sys_fsmount(fs, ATTR_NODEV | ATTR_NOSUID);
    if (*out < 0)
        return err_sys(e, errno, "mount overlayfs");
    return sys_move_mount(*out, o->scratch) < 0 ? err_sys(e, errno, "mount overlayfs") : 0;
}

/* older kernels: one page of options, names of one to three digits */
static int overlay_by_list(const struct overlay *o, const char *scratch, int *out,
                           struct err *e)
{
    char options[4096], target[16];
    struct statfs fs;
    size_t n = 0;

    if (chdir("/proc/self/fd") < 0 || statfs(".", &fs) < 0 || fs.f_type != PROC_SUPER_MAGIC)
        return err_set(e, ERR_SYS, "mount overlayfs: this kernel needs /proc for that; mount it");
    for (size_t i = 0; i < o->n; i++)
        n += (size_t)snprintf(options + n, sizeof options - n, "%s%d",
                              i ? ":" : "lowerdir=", o->lowers[i]);
    must(n < sizeof options / 2); /* LIMIT_LAYERS numbers of at most four digits */
    (void)snprintf(options + n, sizeof options - n, ",upperdir=%d,workdir=%d,xino=off,volatile%s",
                   o->upper, o->work,
                   o->userxattr ? ",userxattr" : ",redirect_dir=nofollow,metacopy=off");
    (void)snprintf(target, sizeof target, "%d", o->scratch);
    if (mount("overlay", target, "overlay", MS_NODEV | MS_NOSUID, options) < 0)
        return err_sys(e, errno, "mount overlayfs");
    *out = open_dir(scratch, NULL, e);
    return *out < 0 ? -1 : 0;
}

static int mount_overlay(const struct plan *p, int *out, bool *refused, struct err *e)
{
    struct overlay o = {.userxattr = p->userxattr};
    const char *scratch = p->spec->scratch;
    int rc;

    o.upper = open_dir(scratch, "upper", e);
    o.work = o.upper < 0 ? -1 : open_dir(scratch, "work", e);
    o.scratch = o.work < 0 ? -1 : open_dir(scratch, NULL, e);
    if (o.scratch < 0)
        return -1;
    for (; o.n < p->spec->n_lowers; o.n++)
        if ((o.lowers[o.n] = open_dir(p->spec->lowers[o.n], NULL, e)) < 0)
            return -1; /* descriptors end with this process or its execve */
    rc = overlay_by_fd(&o, out, e);
    if (rc > 0)
        rc = overlay_by_list(&o, scratch, out, e);
    *refused = rc < 0;
    for (size_t i = 0; i < o.n; i++)
        (void)close(o.lowers[i]);
    (void)close(o.upper);
    (void)close(o.work);
    (void)close(o.scratch);
    return rc;
}

static int mount_flat(const struct plan *p, int *out, struct err *e)
{
    AUTO_FD int scratch = open_dir(p->spec->scratch, NULL, e);

    if (scratch < 0 || mnt_clone(scratch, "root", false, out, e) < 0 ||
        mnt_set(*out, ATTR_NODEV | ATTR_NOSUID, false, e) < 0)
        return -1;
    return mnt_attach(*out, scratch, "the root", e);
}

int root_mount(const struct plan *p, int *out, bool *refused, struct err *e)
{
    *refused = false;
    return p->flat ? mount_flat(p, out, e) : mount_overlay(p, out, refused, e);
}

/* ---- making directories in the root ---------------------------------------------------------- */

static int next_dir(int root_fd, int parent, const char *so_far, const char *name, mode_t mode,
                    bool *made)
{
    int fd = fd_open_in_root(root_fd, so_far, O_PATH | O_DIRECTORY, 0);

    *made = false;
    if (fd >= 0 || errno != ENOENT)
        return fd;
    if (mkdirat(parent, name, mode) < 0)
        return -1; /* EEXIST: a link to nowhere */
    *made = true;
    /* No chmod by this name: a box that shares the directory may have put a link here, and the
     * host's files are still in reach. The child's umask is 0. */
    return openat(parent, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
}

int root_mkdirs(int root_fd, const char *path, mode_t mode, bool *made, int *out, struct err *e)
{
    AUTO_FD int parent = -1;
    char so_far[PATH_MAX];
    size_t n = 0;

    *made = false;
    *out = fd_open_in_root(root_fd, path[0] == '/' && !path[1] ? "." : path,
                           O_PATH | O_DIRECTORY, 0);
    if (*out >= 0)
        return 0;
    parent = fd_open_in_root(root_fd, ".", O_PATH | O_DIRECTORY, 0);
    while (*path) {
        size_t len = strcspn(path, "/");
        int fd;
        if (!len) {
            path++;
            continue;
        }
        if (n + len + 2 > sizeof so_far)
            return err_sys(e, ENAMETOOLONG, "make a directory of the box");
        if (n)
            so_far[n++] = '/';
        memcpy(so_far + n, path, len);
        so_far[n + len] = 0;
        fd = next_dir(root_fd, parent, so_far, so_far + n, mode, made);
        if (fd < 0)
            return err_sys(e, errno, "make the directory /%s of the box", so_far);
        n += len;
        path += len;
        (void)close(parent);
        parent = fd;
    }
    *out = fd_take(&parent);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* place.c - find and make places below the root of a layer, never outside it
 *
 * Entries of a tar come sorted by directory, so the directory at hand is nearly always
 * the one wanted next, and a change costs one openat2 that follows no link. Only where
 * that fails is the path walked component by component:
 *
 *   todo "lib/x86/mod"   done ""         lib is a link to usr/lib
 *   todo "usr/lib/x86/mod"  done ""      ...
 *   todo "mod"           done "usr/lib/x86"
 *
 * An absolute link starts again at the layer's root and ".." takes one component off
 * what is done, as chroot would have it; forty links are too many.
 *
 * The times of a directory change with everything made in it, and its own entry may
 * come before or after that. So its times are read when it is entered and put back when
 * it is left, which needs no list of directories, however many there are.
 */
#include "image/place.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <stdio.h>
#include <string.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"

#define LINK_BUDGET 40

void place_init(struct place *p, int root)
{
    *p = (struct place){.root = root, .fd = -1};
}

void place_done(struct place *p)
{
    if (p->fd >= 0)
        (void)close(p->fd);
    p->fd = -1;
    map_done(&p->implied);
    arena_done(&p->arena);
}

/* ---- paths ---- */

static int add_component(char out[PATH_MAX], size_t *len, const char *c, size_t n,
                         struct err *e)
{
    if (n > NAME_MAX)
        return err_set(e, ERR_LIMIT, "a name has %zu bytes, 255 are possible", n);
    if (*len + n + 2 > PATH_MAX)
        return err_set(e, ERR_LIMIT, "the path is longer than %d bytes", PATH_MAX - 1);
    if (*len)
        out[(*len)++] = '/';
    memcpy(out + *len, c, n);
    *len += n;
    out[*len] = '\0';
    return 0;
}

int place_normalise(const char *name, char out[PATH_MAX], struct err *e)
{
    size_t len = 0;
    int depth = 0;

    out[0] = '\0';
    for (const char *c = name; *c;) {
        size_t n = strcspn(c, "/");
        if (n == 2 && c[0] == '.' && c[1] == '.')
            return err_set(e, ERR_CORRUPT, "\"..\" in a path is not allowed");
        if (n > 0 && !(n == 1 && c[0] == '.')) {
            if (++depth > LIMIT_PATH_DEPTH)
                return err_set(e, ERR_LIMIT, "the path is deeper than %d",
                               LIMIT_PATH_DEPTH);
            if (add_component(out, &len, c, n, e) < 0)
                return -1;
        }
        c += n + (c[n] == '/');
    }
    return 0;
}

/* ---- directories that only exist because something lies in them ---- */

static int remember_implied(struct place *p, const char *path, struct err *e)
{
    struct implied *i = map_get(&p->implied, str_of(path));

    if (i) {
        i->explicit = false; /* it was replaced and is made again */
        return 0;
    }
    if (p->n_implied >= LIMIT_IMPLIED_DIRS)
        return err_set(e, ERR_LIMIT,
                       "more than %d directories have no entry of their own",
                       LIMIT_IMPLIED_DIRS);
    i = arena_alloc(&p->arena, sizeof(*i));
    i->path = arena_strdup(&p->arena, path);
    i->next = p->all_implied;
    p->all_implied = i;
    p->n_implied++;
    map_put(&p->implied, str_of(i->path), i);
    return 0;
}

int place_imply_root(struct place *p, struct err *e)
{
    return remember_implied(p, "", e);
}

void place_explicit(struct place *p, const char *path)
{
    struct implied *i = map_get(&p->implied, str_of(path));

    if (i)
        i->explicit = true;
}

void place_implied(struct place *p, struct buf *out)
{
    for (const struct implied *i = p->all_implied; i; i = i->next)
        if (!i->explicit)
            buf_add(out, i->path, strlen(i->path) + 1);
}

int place_mark_opaque(struct place *p, int at, const char *name, struct err *e)
{
    AUTO_FD int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (fd < 0)
        return err_sys(e, errno, "open %s", name);
    if (fsetxattr(fd, opaque_xattr(p->userxattr), "y", 1, 0) < 0)
        return err_sys(e, errno,
                       "mark %s as opaque (the file system of the home must have "
                       "extended attributes)",
                       name);
    return 0;
}

/* ---- the directory at hand ---- */

int place_leave(struct place *p, struct err *e)
{
    struct timespec times[2] = {p->st.st_atim, p->st.st_mtim};
    int fd = fd_take(&p->fd);
    int r = 0;

    if (fd < 0)
        return 0;
    if (p->touched && utimensat(fd, ".", times, 0) < 0)
        r = err_sys(e, errno, "put back the times of %s", p->path);
    (void)close(fd);
    return r;
}

static int at_hand(struct place *p, int fd, const char *asked, const char *path,
                   struct err *e)
{
    if (fstat(fd, &p->st) < 0) {
        (void)close(fd);
        return err_sys(e, errno, "look at %s", path);
    }
    p->fd = fd;
    p->touched = false;
    (void)snprintf(p->asked, sizeof(p->asked), "%s", asked);
    if (path != p->path)
        (void)snprintf(p->path, sizeof(p->path), "%s", path);
    return 0;
}

static int open_direct(int root, const char *path)
{
    if (!*path)
        return openat(root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return fd_openat2(root, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC, 0,
                      RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS |
                          RESOLVE_NO_XDEV);
}

/* ---- the walk ---- */

struct walk {
    struct place *p;
    bool make;
    char todo[2 * PATH_MAX]; /* components not yet looked at */
    char *done;              /* PATH_MAX: canonical path of at_fd */
    int at_fd;
    int links;
};

static int walk_to(struct walk *w, int fd, struct err *e)
{
    if (fd < 0)
        return err_sys(e, errno, "open %s",
                       *w->done ? w->done : "the root of the layer");
    (void)close(w->at_fd);
    w->at_fd = fd;
    return 0;
}

static int walk_up(struct walk *w, struct err *e)
{
    char *slash = strrchr(w->done, '/');

    *(slash ? slash : w->done) = '\0';
    return walk_to(w, layer_open(w->p->root, w->done, O_PATH | O_DIRECTORY), e);
}

static int walk_down(struct walk *w, const char *name, struct err *e)
{
    size_t len = strlen(w->done);
    int fd = openat(w->at_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);

    if (add_component(w->done, &len, name, strlen(name), e) < 0) {
        if (fd >= 0)
            (void)close(fd);
        return -1;
    }
    return walk_to(w, fd, e);
}

/* put a link's target in front of what is to do */
static int walk_link(struct walk *w, const char *name, const char *target, size_t len,
                     struct err *e)
{
    char rest[sizeof(w->todo)];

    if (++w->links > LINK_BUDGET)
        return err_set(e, ERR_CORRUPT, "too many symbolic links at %s", name);
    if (len + strlen(w->todo) + 2 > sizeof(w->todo))
        return err_set(e, ERR_LIMIT, "the path behind link %s is too long", name);
    memcpy(rest, w->todo, strlen(w->todo) + 1);
    (void)snprintf(w->todo, sizeof(w->todo), "%.*s/%s", (int)len, target, rest);
    if (target[0] != '/')
        return 0;
    w->done[0] = '\0';
    return walk_to(w, openat(w->p->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC), e);
}

static int walk_link_at(struct walk *w, int at, const char *name, struct err *e)
{
    char target[PATH_MAX];
    ssize_t n = readlinkat(at, name, target, sizeof(target));

    if (n < 0 || n == sizeof(target))
        return err_sys(e, n < 0 ? errno : ENAMETOOLONG, "read link %s", name);
    return walk_link(w, name, target, (size_t)n, e);
}

/* is there a link at this path in the layers below? 1: yes, and it was followed */
static int look_below(struct walk *w, const char *path, struct err *e)
{
    const struct stack *below = w->p->below;
    struct looked l;
    size_t layer;

    if (!below)
        return 0;
    if (stack_look(below, path, &l, &layer, e) < 0)
        return -1;
    if (l.kind != LOOK_LINK)
        return 0;
    AUTO_FD int link = layer_open(below->fds[layer], path, O_PATH);
    if (link < 0)
        return err_sys(e, errno, "open %s in a lower layer", path);
    return walk_link_at(w, link, "", e) < 0 ? -1 : 1;
}

/* a directory that no entry describes, yet */
static int make_implied(struct walk *w, const char *name, bool opaque, struct err *e)
{
    static const struct timespec epoch[2] = {{0, 0}, {0, 0}};
    char path[PATH_MAX];
    size_t len = strlen(w->done);
    AUTO_FD int fd = -1;
    struct stat st;

    memcpy(path, w->done, len + 1);
    if (add_component(path, &len, name, strlen(name), e) < 0)
        return -1;
    if (!opaque) {
        int r = look_below(w, path, e);
        if (r != 0)
            return r; /* 1: there was a link, nothing to make */
    }
    if (fstat(w->at_fd, &st) < 0)
        return err_sys(e, errno, "look at the directory of %s", path);
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (mkdirat(w->at_fd, name, 0755) < 0)
        return err_sys(e, errno, "make directory %s", path);
    fd = openat(w->at_fd, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fchmod(fd, 0755) < 0 || (w->p->owners && fchown(fd, 0, 0) < 0) ||
        futimens(fd, epoch) < 0)
        return err_sys(e, errno, "make directory %s", path);
    if (opaque && place_mark_opaque(w->p, w->at_fd, name, e) < 0)
        return -1;
    if (remember_implied(w->p, path, e) < 0)
        return -1;
    if (utimensat(w->at_fd, ".", times, 0) < 0)
        return err_sys(e, errno, "put back the times of the directory of %s", path);
    return walk_down(w, name, e);
}

/* NAME is not in this layer: follow what is a link below, else give the path that
 * remains */
static int absent(struct walk *w, const char *name, struct err *e)
{
    char path[PATH_MAX];
    size_t len = strlen(w->done);
    int r;

    memcpy(path, w->done, len + 1);
    if (add_component(path, &len, name, strlen(name), e) < 0)
        return -1;
    r = look_below(w, path, e);
    if (r != 0)
        return r < 0 ? -1 : 0;
    if ((size_t)snprintf(w->done, PATH_MAX, "%s%s%s", path, w->todo[0] ? "/" : "",
                         w->todo) >= PATH_MAX)
        return err_set(e, ERR_LIMIT, "the path behind %s is too long", path);
    return 1;
}

/* one component; 1: it is not there and nothing may be made */
static int step(struct walk *w, const char *name, struct err *e)
{
    struct stat st;

    if (strcmp(name, ".") == 0)
        return 0;
    if (strcmp(name, "..") == 0)
        return walk_up(w, e);
    if (fstatat(w->at_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
        if (errno != ENOENT)
            return err_sys(e, errno, "look at %s", name);
        return w->make ? (make_implied(w, name, false, e) < 0 ? -1 : 0)
                       : absent(w, name, e);
    }
    if (S_ISDIR(st.st_mode))
        return walk_down(w, name, e);
    if (S_ISLNK(st.st_mode))
        return walk_link_at(w, w->at_fd, name, e);
    if (!w->make)
        return 1;
    if (unlinkat(w->at_fd, name, 0) < 0)
        return err_sys(e, errno, "replace %s by a directory", name);
    return make_implied(w, name, is_whiteout(&st), e) < 0 ? -1 : 0;
}

/* 0: *fd is the directory; 1: it is not there */
static int walk(struct place *p, const char *path, bool make, char done[PATH_MAX],
                int *fd, struct err *e)
{
    struct walk w = {.p = p, .make = make, .done = done};
    int r = 0;

    *fd = -1;
    done[0] = '\0';
    (void)snprintf(w.todo, sizeof(w.todo), "%s", path);
    w.at_fd = openat(p->root, ".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (w.at_fd < 0)
        return err_sys(e, errno, "open the root of the layer");
    while (r == 0 && w.todo[0]) {
        char name[NAME_MAX + 1];
        size_t n = strcspn(w.todo, "/");
        if (n > NAME_MAX) {
            r = err_set(e, ERR_LIMIT, "a name has %zu bytes, 255 are possible", n);
            break;
        }
        memcpy(name, w.todo, n);
        name[n] = '\0';
        memmove(w.todo, w.todo + n + (w.todo[n] == '/'),
                strlen(w.todo + n + (w.todo[n] == '/')) + 1);
        if (n > 0)
            r = step(&w, name, e);
    }
    if (r == 0)
        *fd = w.at_fd;
    else
        (void)close(w.at_fd);
    return r;
}

int place_enter(struct place *p, const char *path, struct err *e)
{
    char done[PATH_MAX];
    int fd;

    if (p->fd >= 0 && strcmp(path, p->asked) == 0)
        return 0;
    if (place_leave(p, e) < 0)
        return -1;
    fd = open_direct(p->root, path);
    if (fd >= 0)
        return at_hand(p, fd, path, path, e);
    if (walk(p, path, true, done, &fd, e) < 0)
        return -1;
    return at_hand(p, fd, path, done, e);
}

int place_find(struct place *p, const char *path, int *fd, char canonical[PATH_MAX],
               struct err *e)
{
    *fd = open_direct(p->root, path);
    if (*fd >= 0) {
        (void)snprintf(canonical, PATH_MAX, "%s", path);
        return 0;
    }
    return walk(p, path, false, canonical, fd, e);
}

int place_clear(struct place *p, const char *name, bool *was_whiteout, struct err *e)
{
    struct stat st;

    *was_whiteout = false;
    if (fstatat(p->fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : err_sys(e, errno, "look at %s", name);
    *was_whiteout = is_whiteout(&st);
    p->touched = true;
    return fd_remove_tree(p->fd, name, e);
}

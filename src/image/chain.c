/* SPDX-License-Identifier: Apache-2.0 */
/* chain.c - what a stack of layers needs beyond its layers
 *
 * For overlayfs the topmost layer that has a directory says what the directory is like,
 * and a layer that merely puts a file in it has it too, as 0755 root. We know which
 * directories a layer only implies, so we can find the topmost layer that has an entry
 * for it, its source. Where top and source differ, one thin layer on top of all others
 * holds the directory again, empty, with the source's metadata, and so each directory
 * on the way to it. Most stacks need none; others a handful of directories.
 */
#include "image/chain.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

void chain_id(const char *below_hex, const char *diff_hex, char out[DIGEST_HEX])
{
    char text[2 * (DIGEST_HEX + sizeof("sha256:"))];

    if (!*below_hex) {
        memcpy(out, diff_hex, DIGEST_HEX);
        return;
    }
    int n = snprintf(text, sizeof(text), "sha256:%s sha256:%s", below_hex, diff_hex);
    sha256_hex(text, (size_t)n, out);
}

static const char *next_path(const struct buf *list, const char *p)
{
    const char *end = list->ptr + list->len;
    const char *next = p ? p + strlen(p) + 1 : list->ptr;

    return list->len && next < end ? next : NULL;
}

int chain_conflict(const struct stack *below, const struct buf *implied, bool *out,
                   struct err *e)
{
    *out = false;
    for (const char *p = next_path(implied, NULL); p; p = next_path(implied, p)) {
        struct looked l;
        size_t layer;
        if (!*p)
            continue;
        if (stack_look(below, p, &l, &layer, e) < 0)
            return -1;
        if (l.kind == LOOK_LINK) {
            *out = true;
            return 0;
        }
    }
    return 0;
}

struct thin {
    const struct stack *stack;
    struct map *implied; /* of each layer: path -> itself */
    struct arena arena;
    struct map wanted; /* path -> itself */
    const char **paths;
    size_t n_paths;
};

/* top: the layer whose directory overlayfs shows; source: the one that describes it,
 * the same when none does. 1: there is no directory. */
static int find_source(const struct thin *t, const char *path, size_t *top,
                       size_t *source, struct err *e)
{
    bool found = false;

    for (size_t i = t->stack->n; i-- > 0;) {
        struct looked l;
        if (layer_look(t->stack->fds[i], t->stack->userxattr, path, &l, e) < 0)
            return -1;
        if (l.kind == LOOK_DIR) {
            if (!found)
                *top = *source = i;
            found = true;
            if (!map_get(&t->implied[i], str_of(path))) {
                *source = i;
                return 0;
            }
        }
        if (l.hides)
            break;
    }
    return found ? 0 : 1;
}

static int open_dir(const struct thin *t, size_t layer, const char *path, struct err *e)
{
    int fd = layer_open(t->stack->fds[layer], path, O_RDONLY | O_DIRECTORY);

    return fd < 0 ? err_sys(e, errno, "open directory %s of a layer", path) : fd;
}

static bool has_attributes(int fd)
{
    char names[1024];
    ssize_t n = flistxattr(fd, names, sizeof(names));

    if (n < 0)
        return errno == ERANGE;
    for (const char *p = names; p < names + n; p += strlen(p) + 1)
        if (!strstr(p, ".overlay."))
            return true;
    return false;
}

/* would anybody see the difference? Times alone are not worth a layer. */
static int differs(const struct thin *t, const char *path, size_t top, size_t source,
                   bool *out, struct err *e)
{
    AUTO_FD int a = open_dir(t, top, path, e);
    AUTO_FD int b = a < 0 ? -1 : open_dir(t, source, path, e);
    struct stat x, y;

    if (a < 0 || b < 0)
        return -1;
    if (fstat(a, &x) < 0 || fstat(b, &y) < 0)
        return err_sys(e, errno, "look at directory %s of a layer", path);
    *out = x.st_mode != y.st_mode || x.st_uid != y.st_uid || x.st_gid != y.st_gid ||
           has_attributes(b);
    return 0;
}

static void want(struct thin *t, const char *path)
{
    if (map_get(&t->wanted, str_of(path)))
        return;
    t->paths = arena_grow(&t->arena, t->paths, &t->n_paths, sizeof(*t->paths));
    t->paths[t->n_paths - 1] = path;
    map_put(&t->wanted, str_of(path), (void *)path);
}

/* the path and every directory on the way to it */
static void want_all(struct thin *t, const char *path)
{
    want(t, "");
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/'))
        want(t, arena_strndup(&t->arena, path, (size_t)(slash - path)));
    want(t, path);
}

static int collect(struct thin *t, const struct buf *implied, struct err *e)
{
    for (size_t i = 1; i < t->stack->n; i++) {
        for (const char *p = next_path(&implied[i], NULL); p;
             p = next_path(&implied[i], p)) {
            size_t top = 0, source = 0;
            bool seen = false;
            int r = find_source(t, p, &top, &source, e);
            if (r < 0)
                return -1;
            if (r == 1 || top == source)
                continue;
            if (differs(t, p, top, source, &seen, e) < 0)
                return -1;
            if (seen)
                want_all(t, p);
        }
    }
    return 0;
}

static int by_path(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int give_meta(struct thin *t, const char *path, int fs_fd, bool owners,
                     struct err *e)
{
    size_t top, source;
    AUTO_FD int from = -1;
    AUTO_FD int to = -1;
    int r = find_source(t, path, &top, &source, e);

    must(r != 1);
    if (r < 0)
        return -1;
    from = open_dir(t, source, path, e);
    if (from < 0)
        return -1;
    to = layer_open(fs_fd, path, O_RDONLY | O_DIRECTORY);
    if (to < 0)
        return err_sys(e, errno, "open directory %s of the top layer", path);
    return copy_dir_meta(from, to, owners, e);
}

static int make_dirs(struct thin *t, int fs_fd, bool owners, struct err *e)
{
    qsort(t->paths, t->n_paths, sizeof(*t->paths), by_path); /* parents come first */
    for (size_t i = 0; i < t->n_paths; i++) {
        if (*t->paths[i] && mkdirat(fs_fd, t->paths[i], 0755) < 0)
            return err_sys(e, errno, "make directory %s of the top layer", t->paths[i]);
    }
    for (size_t i = t->n_paths;
         i-- > 0;) /* children first: they change their parent's times */
        if (give_meta(t, t->paths[i], fs_fd, owners, e) < 0)
            return -1;
    return 0;
}

int chain_thin(const struct stack *s, const struct buf *implied, int fs_fd, bool owners,
               bool *made, struct err *e)
{
    struct thin t = {.stack = s};
    int r;

    t.implied = xalloc((s->n + 1) * sizeof(*t.implied));
    for (size_t i = 0; i < s->n; i++)
        for (const char *p = next_path(&implied[i], NULL); p;
             p = next_path(&implied[i], p))
            map_put(&t.implied[i], str_of(p), (void *)p);
    r = collect(&t, implied, e);
    if (r == 0 && t.n_paths > 0)
        r = make_dirs(&t, fs_fd, owners, e);
    *made = r == 0 && t.n_paths > 0;
    for (size_t i = 0; i < s->n; i++)
        map_done(&t.implied[i]);
    free(t.implied);
    map_done(&t.wanted);
    arena_done(&t.arena);
    return r;
}

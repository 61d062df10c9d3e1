/* SPDX-License-Identifier: Apache-2.0 */
/* place.h - find and make places below the root of a layer, never outside it
 *
 * Everything goes through descriptors of directories; the names given to system calls
 * are single components. Links of the layer are resolved inside its root, so an archive
 * can arrange them as it likes.
 */
#ifndef IMAGE_PLACE_H
#define IMAGE_PLACE_H

#include <limits.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/mem.h"
#include "image/stack.h"

#define LIMIT_IMPLIED_DIRS                                                             \
    200000 /* directories of a layer without an entry of their own */

struct place {
    int root;       /* borrowed: the empty directory that the layer goes to */
    bool userxattr; /* how opaque directories are marked */
    bool owners;    /* may chown */
    const struct stack *below; /* NULL: the layer is unpacked by itself */

    /* the directory at hand; its times are put back when it is left */
    char asked[PATH_MAX]; /* the path that was asked for */
    char path[PATH_MAX];  /* the same without links */
    int fd;               /* O_PATH; -1: none */
    struct stat st;       /* as it was when it was entered */
    bool touched;         /* something was made or removed in it */

    struct arena arena;
    struct map implied; /* path -> struct implied */
    struct implied *all_implied;
    size_t n_implied;
};

struct implied {
    const char *path;
    bool explicit; /* an entry of its own came later */
    struct implied *next;
};

void place_init(struct place *p, int root);
void place_done(struct place *p);

/* place_normalise - a member's name as a path below the root
 *
 * Leading "/" and "./" go, so do "//" and "/." inside; "" is the root itself.
 * ERR_CORRUPT for "..", ERR_LIMIT for a name, path or depth that is too long.
 */
int place_normalise(const char *name, char out[PATH_MAX], struct err *e);

/* place_enter - make p->fd the directory `path` (normalised), making what is missing:
 * directories implied by it are 0755 and remembered, a file in the way makes way, a
 * whiteout in the way becomes an opaque directory */
int place_enter(struct place *p, const char *path, struct err *e);
/* place_leave - put the times of the directory at hand back; call it at the end, too */
int place_leave(struct place *p, struct err *e);

/* place_find - open the directory `path` without making anything
 *
 * canonical  out: the path without links. Returns 1 when there is none, then *fd is -1
 * and canonical the path that was looked for.
 */
int place_find(struct place *p, const char *path, int *fd, char canonical[PATH_MAX],
               struct err *e);

/* place_clear - remove what is called NAME in the directory at hand, a whole tree if
 * need be; *was_whiteout says what it was */
int place_clear(struct place *p, const char *name, bool *was_whiteout, struct err *e);

/* place_imply_root - the root is implied until an entry describes it */
int place_imply_root(struct place *p, struct err *e);
/* place_explicit - an entry describes this directory (canonical path): it is not
 * implied */
void place_explicit(struct place *p, const char *path);
/* place_implied - every directory that is implied at the end, NUL after each path */
void place_implied(struct place *p, struct buf *out);

int place_mark_opaque(struct place *p, int at, const char *name, struct err *e);

#endif

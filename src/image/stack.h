/* SPDX-License-Identifier: Apache-2.0 */
/* stack.h - look into layers as overlayfs would merge them
 *
 * A path here is relative, without "." or "..", "" being the root, and no symbolic link
 * in it is followed: a link is what one finds, and then nothing lies below it.
 */
#ifndef IMAGE_STACK_H
#define IMAGE_STACK_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/stat.h>

#include "base/err.h"
#include "base/limits.h"

enum look { LOOK_NONE, LOOK_DIR, LOOK_LINK, LOOK_FILE };

struct looked {
    enum look kind;
    bool hides;     /* nothing of the layers below shows through at this path */
    struct stat st; /* unless LOOK_NONE */
};

/* layer_look - what one layer directory has at path */
int layer_look(int fs_fd, bool userxattr, const char *path, struct looked *out,
               struct err *e);
/* layer_is_opaque - has the directory (open, or O_PATH) the mark of an opaque one? */
bool layer_is_opaque(int dir_fd, const char *name, bool userxattr);
bool is_whiteout(const struct stat *st);
const char *opaque_xattr(bool userxattr);

/* layer_open - open what lies at path of one layer, no links followed; -1 and errno */
int layer_open(int fs_fd, const char *path, int flags);

struct stack {
    int fds[LIMIT_LAYERS]; /* the fs directories, bottom first; borrowed */
    size_t n;
    bool userxattr;
};

/* stack_look - what the layers 0 to n-1 merge to at path; *layer is where it comes
 * from. The metadata of a directory is that of the topmost layer that has it. */
int stack_look(const struct stack *s, const char *path, struct looked *out,
               size_t *layer, struct err *e);

/* copy_dir_meta - give directory `to` owner, mode, extended attributes (not the marks
 * of overlayfs) and times of directory `from`; both open for reading */
int copy_dir_meta(int from, int to, bool owners, struct err *e);

/* copy_up - copy what is no directory at path of the stack to NAME in dir_fd, with
 * owner, mode, attributes and times. ERR_MISSING when there is no such thing. */
int copy_up(const struct stack *s, const char *path, int dir_fd, const char *name,
            bool owners, struct err *e);

#endif

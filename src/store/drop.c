/* SPDX-License-Identifier: Apache-2.0 */
/* drop.c - removing trees, now or when nobody waits for it
 *
 * What goes is renamed into trash/ first, so it is gone at once and whole; gc empties what a
 * crash leaves there. Removing itself may be slow: a task that gives out the same 100,000
 * files as the night before has them hashed in a second or two, and taking the second copy
 * apart can take ten times that on a disk that discards. Who reports a result therefore
 * puts removals off, and when the result is out a child of its own does them, which holds
 * no lock, no terminal and nobody's exit.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/apart.h"
#include "base/fd.h"
#include "base/mem.h"
#include "store/inside.h"

void store_set_remove(struct store *s, store_remove_fn *fn)
{
    s->remove = fn;
}

int store_remove_tree(const struct store *s, int dir_fd, const char *name, struct err *e)
{
    return s->remove ? s->remove(dir_fd, name, e) : fd_remove_tree(dir_fd, name, e);
}

int store_drop(struct store *s, int dir_fd, const char *name, struct err *e)
{
    char trash[STORE_TMP_NAME];

    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0) /* nothing in it: no need to go by trash/ */
        return 0;
    store_unique(s, "drop", trash);
    if (renameat(dir_fd, name, s->dirs[STORE_TRASH], trash) < 0) {
        if (errno == ENOENT)
            return 0;
        if (errno == EXDEV)
            return store_remove_tree(s, dir_fd, name, e);
        if (errno !=
            EACCES) /* a directory that its owner may not write: chmod, try again */
            return err_sys(e, errno, "move %s to trash", name);
        if (fchmodat(dir_fd, name, 0700, 0) < 0 ||
            renameat(dir_fd, name, s->dirs[STORE_TRASH], trash) < 0)
            return err_sys(e, errno, "move %s to trash", name);
    }
    return store_remove_tree(s, s->dirs[STORE_TRASH], trash, e);
}

/* ---- later ---- */

void store_put_off(struct store *s)
{
    s->put_off = true;
}

int store_drop_later(struct store *s, int dir_fd, const char *name, struct err *e)
{
    char trash[STORE_TMP_NAME];

    store_unique(s, "drop", trash);
    if (s->put_off)
        (void)store_shut(dir_fd, name); /* a task may have opened it to everybody */
    /* what cannot simply be moved is the business of the slow way */
    if (!s->put_off || renameat(dir_fd, name, s->dirs[STORE_TRASH], trash) < 0)
        return store_drop(s, dir_fd, name, e);
    s->off = xrealloc(s->off, (s->n_off + 1) * sizeof(*s->off));
    s->off[s->n_off++] = xstrdup(trash);
    return 0;
}

void drop_forget(struct store *s)
{
    for (size_t i = 0; i < s->n_off; i++)
        free(s->off[i]);
    free(s->off);
    s->off = NULL;
    s->n_off = 0;
}

static void remove_off(void *arg)
{
    struct store *s = arg;
    struct err ignored; /* gc meets what stays */

    for (size_t i = 0; i < s->n_off; i++)
        (void)store_remove_tree(s, s->dirs[STORE_TRASH], s->off[i], &ignored);
}

void store_drop_apart(struct store *s)
{
    struct apart a;

    if (s->n_off && apart_make(&a, remove_off, s, &s->dirs[STORE_TRASH], 1))
        apart_go(&a, 0);
    drop_forget(s);
}

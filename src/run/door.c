/* SPDX-License-Identifier: Apache-2.0 */
/* door.c - directories where every uid of a box may write, behind a door
 *
 *     runs/<run>/<task row>.checkpoint/      0700: the door
 *     runs/<run>/<task row>.checkpoint/in/   0777: bind-mounted into boxes
 *
 * Images run as any uid, so what a box may write to is open to all. On the host that
 * would be an invitation to those who may read a home: 0750 directories with a group
 * lead there. A box gets its part by a mount and never passes the door.
 *
 * Older versions had no door: the directory itself was 0777. Where it still is, a run
 * of then goes on, and its checkpoints are what it goes on from; it is used as it is.
 */
#include "run/door.h"

#include <errno.h>
#include <sys/stat.h>

const char *door_inside(struct arena *a, const char *dir)
{
    struct stat st;

    if (lstat(dir, &st) == 0 && (st.st_mode & 0007))
        return arena_strdup(a, dir);
    return arena_printf(a, "%s/in", dir);
}

int door_make(struct arena *a, const char *dir, const char **inside, struct err *e)
{
    if (mkdir(dir, 0700) < 0 && errno != EEXIST)
        return err_sys(e, errno, "make %s", dir);
    *inside = door_inside(a, dir);
    if (mkdir(*inside, 0700) < 0 && errno != EEXIST)
        return err_sys(e, errno, "make %s", *inside);
    /* whatever the umask; it may fail where a box gave it to a uid of its own */
    (void)chmod(*inside, 0777);
    return 0;
}

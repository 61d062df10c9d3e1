/* SPDX-License-Identifier: Apache-2.0 */
/* door.h - directories where every uid of a box may write, behind a door */
#ifndef RUN_DOOR_H
#define RUN_DOOR_H

#include "base/err.h"
#include "base/mem.h"

/* door_make - make dir (0700) and in it the directory that a box is given (0777);
 * existing is fine
 *
 * dir     absolute, borrowed
 * inside  out: its path, in `a`. ERR_SYS. */
int door_make(struct arena *a, const char *dir, const char **inside, struct err *e);
/* door_inside - where the box's directory is when it has been made, in `a` */
const char *door_inside(struct arena *a, const char *dir);

#endif

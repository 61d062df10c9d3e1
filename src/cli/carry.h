/* SPDX-License-Identifier: Apache-2.0 */
/* carry.h - bring what a database names from one store to another: backup and restore
 *
 * A backup has the layout of a home, so both ways are the same walk. What is there already, with
 * the right name and size, is not read again; what is copied is hashed on the way. Content that is
 * missing or wrong at the source is written down and does not stop the walk.
 */
#ifndef CLI_CARRY_H
#define CLI_CARRY_H

#include "cli/cli.h"

struct carry {
    struct arena *a;    /* for what is written down */
    struct store *from; /* borrowed, as is the next */
    struct store *to;   /* NULL: only read and hash what `from` has */
    uint64_t copied, copied_bytes, there;
    const char **damage; /* a line each */
    size_t n_damage;
    struct stamp { /* of a file below the home that was copied and is not durable yet */
        const char *path;
        struct timespec mtime;
    } *stamps;
    size_t n_stamps;
};

/* carry_contents - every blob and directory that live rows and loaded images of d name; durable on
 * return. Only what stops the walk is an error: a full or failing disk at the target. */
int carry_contents(struct carry *x, struct db *d, struct err *e);
/* carry_runs - logs and protocol files of attempts that are over, and config.yaml; durable on return */
int carry_runs(struct carry *x, struct db *d, struct err *e);

#endif

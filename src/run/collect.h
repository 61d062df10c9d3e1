/* SPDX-License-Identifier: Apache-2.0 */
/* collect.h - a finished box's outputs, into the store (spec section 12) */
#ifndef RUN_COLLECT_H
#define RUN_COLLECT_H

#include "box/box.h"
#include "run/attempt.h"
#include "store/blob.h"

struct collect {
    struct arena *a;
    const struct attempt *at;
    int dir_fd;  /* where the attempt has out/ and params/ */
    int root_fd; /* the box's root, -1 when there is none */
    const struct box *box; /* whose root that is */
    bool copy; /* others may still write to what it left: nothing is adopted */
    struct store *store;
};

/* collect_outputs - fill r->params and r->artifacts, storing the bytes
 *
 * The executor output file comes first, then parameter files. A declared parameter that is in
 * neither, or is of the wrong kind, sets r->error (the step's fault) and returns 0; -1 is the
 * host's fault (a full disk). Artifacts without bytes are kept as metadata.
 */
int collect_outputs(struct collect *c, struct result *r, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* modelcar.h - models that travel as images: the /models of oci://REGISTRY/NAME:TAG
 *
 * A Model artifact with an oci:// URI has no bytes of its own. Whoever reads it gets the
 * directory /models of that image, read-only, at the path that the URI maps to.
 */
#ifndef RUN_MODELCAR_H
#define RUN_MODELCAR_H

#include "run/engine.h"

bool modelcar_is(const struct artifact *f);

/* modelcar_check - are the images of t's model cars here, and can they be shown? For each a line
 * naming the image's digest is appended to *key. ERR_MISSING, ERR_INPUT: the task's failure */
int modelcar_check(struct engine *en, const struct task *t, struct buf *key, struct err *e);

/* modelcar_path - the host directory to mount, in `a`; after modelcar_check */
int modelcar_path(struct engine *en, struct arena *a, const struct artifact *f, const char **out,
                  struct err *e);

#endif

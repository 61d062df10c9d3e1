/* SPDX-License-Identifier: Apache-2.0 */
/* grant.h - what a box gets together with its GPUs */
#ifndef GPU_GRANT_H
#define GPU_GRANT_H

#include "box/box.h"
#include "gpu/gpu.h"

struct grant {
    struct box_extras x; /* for box_spec.extras */
    char **env; /* the whole environment of the command, "K=V", NULL-terminated */
    size_t n_env;
    const char **notices; /* what a person should hear: a stale CDI file and the like */
    size_t n_notices;
};

/* grant_make - nodes, libraries, files and environment for these GPUs
 *
 * a    everything that is given lives here
 * env  of the command so far: NVIDIA_DRIVER_CAPABILITIES in it chooses among the
 * libraries, nothing in it gives access to more
 *
 * A CDI file that names the GPUs is honoured; without one the driver's files are found
 * by themselves. ERR_MISSING when the driver's libraries are not there, ERR_INPUT for a
 * CDI file that asks for what is not done, ERR_SYS. */
int grant_make(struct arena *a, struct gpu_set *s, struct gpu *const *gpus, size_t n,
               char *const *env, size_t n_env, struct grant *out, struct err *e);

#endif

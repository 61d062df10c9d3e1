/* SPDX-License-Identifier: Apache-2.0 */
/* cdi.h - files of the Container Device Interface, versions 0.3 to 1.1 */
#ifndef GPU_CDI_H
#define GPU_CDI_H

#include "base/err.h"
#include "base/mem.h"
#include "gpu/gpu.h"

#define LIMIT_CDI_BYTES (1024 * 1024) /* nvidia-ctk writes 20 KiB for eight cards */

struct cdi_node {
    const char *path, *host_path; /* in the box, on the host */
    char type;                    /* 'c', 'u', 'b', 'p'; 0: not said */
    bool numbered;
    unsigned major, minor;
};

struct cdi_mount {
    const char *host_path, *path;
    bool rw;
};

struct cdi_hook {
    const char *path;
    const char **args; /* args[0] is the program's name, as in execve */
    size_t n_args;
};

struct cdi_edits {
    const char **env;
    size_t n_env;
    struct cdi_node *nodes;
    size_t n_nodes;
    struct cdi_mount *mounts;
    size_t n_mounts;
    struct cdi_hook *hooks;
    size_t n_hooks;
};

struct cdi_device {
    const char *name;
    struct cdi_edits edits;
    bool conflict; /* another file of the same directory has it, too: neither is used */
};

struct cdi_spec {
    const char *file, *kind; /* "nvidia.com/gpu" */
    unsigned priority;       /* of its directory: a later one wins */
    struct cdi_device *devices;
    size_t n_devices;
    struct cdi_edits all; /* for every box that gets one of the devices */
    const char **notices; /* keys that are not known */
    size_t n_notices;
};

/* cdi_parse_in - one file, JSON or YAML; the bytes are foreign
 *
 * ERR_INPUT with file:line for what is no CDI file, for a version that is not known,
 * and for fields that would change the box in ways that are not done (intelRdt,
 * netDevices). ERR_LIMIT. */
int cdi_parse_in(struct arena *a, const char *file, struct str text,
                 struct cdi_spec *out, struct err *e);

/* ---- used below gpu_find() and grant_make() ------------------------------------- */

struct granting;

/* cdi_load - read /etc/cdi and /var/run/cdi below the root; devices of kinds that were
 * not found otherwise are added to the set. Files that are refused leave a note in the
 * set. */
void cdi_load(struct gpu_set *s);

/* cdi_apply - put what the files say of these GPUs into the grant
 *
 * Returns 1 when that was done, 0 when no file names them all (or the one that does is
 * stale, which is noted): they are to be served otherwise. -1: ERR_INPUT, a file asks
 * for what is not done. */
int cdi_apply(struct granting *w, struct gpu *const *gpus, size_t n, struct err *e);

/* cdi_write - append a CDI file of the vendor's usable GPUs; ERR_MISSING when there is
 * none */
int cdi_write(struct gpu_set *s, enum gpu_vendor v, struct buf *out, struct err *e);

#endif

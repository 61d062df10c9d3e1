/* SPDX-License-Identifier: Apache-2.0 */
/* gpu.h - the GPUs of this machine: which there are, who has them, what a box needs
 *
 *     gpu_find -> gpu_match (what a task asks for) -> lease_take -> grant_make -> box
 *
 * Everything is read from files: a static program cannot load a vendor's library. The
 * driver's files are looked for below a root, which is "/" unless the configuration
 * says otherwise (a driver in a directory of its own, or a test's tree); it stands in
 * front of /dev, /proc, /sys, /etc and every library.
 */
#ifndef GPU_GPU_H
#define GPU_GPU_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"

enum gpu_vendor { GPU_NVIDIA, GPU_AMD, GPU_INTEL, GPU_TEGRA, GPU_CDI, GPU_VENDORS };
const char *gpu_vendor_name(enum gpu_vendor v); /* "nvidia", ... */

#define GPU_ID_BYTES 96
#define GPU_TEXT_BYTES 160

struct gpu_node {
    char path[96]; /* "/dev/nvidia0", the same inside and outside */
    unsigned major, minor;
    bool present; /* the host has that node, and it is this device */
};

struct gpu {
    enum gpu_vendor vendor;
    char id[GPU_ID_BYTES]; /* what it is leased, recorded and drained by: "GPU-<uuid>",
                              "MIG-GPU-<uuid>/<gi>/<ci>", a PCI address,
                              "vendor/class=name" */
    char name[GPU_ID_BYTES]; /* short: place by PCI address among its vendor's, "0"; a
                                MIG instance is "0:1:0" */
    char model[GPU_TEXT_BYTES];
    char pci[16];
    int numa;                      /* -1: unknown */
    unsigned minor;                /* of /dev/nvidiaN or /dev/dri/renderDN */
    int gi, ci;                    /* MIG instance; -1: a whole card */
    char unusable[GPU_TEXT_BYTES]; /* why it cannot be given to a box; "" when it can */
    char drained[GPU_TEXT_BYTES];  /* the reason; "" when it is not. See drain.h */
    struct gpu_node *nodes;
    size_t n_nodes;
};

/* All GPUs, ordered by vendor and PCI address. A card whose MIG instances are on is
 * listed with .unusable, then its instances. */
struct gpu_set {
    struct arena a;
    int root_fd;
    const char *root; /* "" for "/", else an absolute path without a slash at its end */
    struct gpu *gpus;
    size_t n;
    char nvidia_driver[32]; /* "535.104.05"; "" when it is not loaded */
    struct gpu_node
        *nvidia_all; /* nodes that every NVIDIA box gets: control, unified memory */
    size_t n_nvidia_all;
    struct cdi_spec *specs; /* CDI files, see cdi.h */
    size_t n_specs;
    const char **notes; /* what a person should hear, about files that were refused */
    size_t n_notes;
};

/* gpu_find - look at the machine; root NULL or "": "/"
 *
 * ERR_INPUT when root is no directory, ERR_LIMIT when a tree holds more than we
 * believe. No GPU at all is success with n = 0. gpu_set_done() accepts a zeroed set. */
int gpu_find(const char *root, struct gpu_set *out, struct err *e);
void gpu_set_done(struct gpu_set *s);

/* gpu_named - by id, a unique prefix of one (4 characters or more), name ("0" is
 * NVIDIA's first card when there are several vendors, "amd:0" says which) or PCI
 * address. NULL and ERR_MISSING or ERR_INPUT. */
struct gpu *gpu_named(struct gpu_set *s, const char *what, struct err *e);

/* ---- what a task asks for ------------------------------------------------------- */

struct gpu_want {
    struct str type; /* as in the pipeline: nvidia.com/gpu, NVIDIA_TESLA_T4,
                        amd.com/gpu, "" ... */
    unsigned count;
};

/* gpu_match - which GPUs could serve, usable or not
 *
 * out     s->n pointers of room; *n of them are set, in the order of preference
 * notice  told what was not taken literally ("asked for a T4, this is an A100"); ""
 * when nothing
 *
 * ERR_MISSING when the type is none that a box can have (a TPU, a typing error). */
int gpu_match(struct gpu_set *s, const struct gpu_want *w, struct gpu **out, size_t *n,
              char notice[GPU_TEXT_BYTES], struct err *e);

/* gpu_enough - ERR_MISSING, with the reason of each GPU that is not usable, when fewer
 * than w->count can serve */
int gpu_enough(const struct gpu_want *w, struct gpu *const *match, size_t n,
               struct err *e);

static inline bool gpu_ready(const struct gpu *g)
{
    return !g->unusable[0] && !g->drained[0];
}

/* ---- CUDA ----------------------------------------------------------------------- */

enum gpu_require { GPU_REQUIRE_MET, GPU_REQUIRE_MAYBE, GPU_REQUIRE_FAILED };

/* gpu_require - does the driver meet what an image's environment demands
 * (NVIDIA_REQUIRE_CUDA, other NVIDIA_REQUIRE_*, CUDA_VERSION)?
 *
 * env   "K=V" strings
 * text  what is wrong: "the image needs CUDA 12.8, whose driver is 570.26 or later;
 * this is 535.104.05"
 *
 * MAYBE: the driver is older, but of the same major CUDA version, which mostly works;
 * or the image says NVIDIA_DISABLE_REQUIRE. */
enum gpu_require gpu_require(char *const *env, size_t n_env, const char *driver,
                             char text[GPU_TEXT_BYTES]);

#endif

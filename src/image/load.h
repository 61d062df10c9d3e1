/* SPDX-License-Identifier: Apache-2.0 */
/* load.h - from image plans to layers in the home; shared by load.c and import.c */
#ifndef IMAGE_LOAD_H
#define IMAGE_LOAD_H

#include "base/err.h"
#include "image/plan.h"
#include "image/unpack.h"

/* A layer directory that was made or found: a unit of the stacks. */
struct unit {
    char id[DIGEST_HEX]; /* what it is or will be called in layers/ */
    char dir[16];        /* its name below the load's tmp directory; "": in layers/ */
    bool needs_below;    /* nothing was made: has to be unpacked for each chain */
    bool fresh;          /* was made now */
    const char *what;    /* for notes: the image it came with */
    size_t number;       /* and which of its layers it is, from 1 */
    struct layer_meta meta;
    uint32_t devices, sockets, attributes;
    char attribute[64];
    bool no_xattrs;
};

struct load_shared {
    _Atomic uint64_t counter; /* bytes read */
    struct layer_budget budget;
};

struct load {
    struct store *store;
    struct image_archive *archive;
    struct arena *arena;
    bool no_blobs;
    image_progress_fn *progress;
    void *ctx;
    struct image_progress shown;

    char tmp[STORE_TMP_NAME];
    int tmp_fd; /* -1 until there is something to write */
    unsigned n_dirs;
    struct unpack_pool pool;
    struct load_shared *shared; /* with the workers */
    int *locks;
    size_t n_locks;
    struct map units; /* id -> struct unit */
    struct unit **fresh;
    size_t n_fresh;
    bool wrote; /* something has to be made durable */
};

/* Archives to read, in parallel. What each job is about is beside the job itself. */
struct tasks {
    struct unpack_job *jobs;
    struct task {
        struct image_plan *image;
        size_t index; /* of the layer */
        struct unit *unit;
    } * tasks;
    size_t n, n_tasks;
};

int load_open(struct load *l, struct store *s, unsigned jobs, struct err *e);
/* load_close - tmp goes, locks go; what was published stays */
void load_close(struct load *l);

/* load_layers - have every layer of the images unpacked, in tmp or in layers/ */
int load_layers(struct load *l, struct image_plan *images, size_t n, struct err *e);
/* ---- for finish.c ---- */

int load_tmp(struct load *l, struct err *e); /* have tmp_fd */
/* load_refresh - is this layer in layers/? Then its grace period starts again, so that
 * gc lets it be. */
int load_refresh(struct load *l, const char *id, bool *there, struct err *e);
/* load_known - the unit for a layer in this chain, made now or found in layers/; NULL:
 * none */
int load_known(struct load *l, const char *diff, const char *chain, struct unit **out,
               struct err *e);
int load_add(struct load *l, struct tasks *t, struct image_plan *image, size_t index,
             struct unit *unit, bool unpack, struct err *e);
int load_run(struct load *l, struct tasks *t, struct err *e);
/* load_at - put "image: layer 2 of 5" in front of e; returns -1 */
int load_at(const struct image_plan *image, size_t i, struct err *e);
struct unit *unit_new(struct load *l, const char *id, const char *what, size_t number);
struct unit *unit_get(const struct load *l, const char *id);
void unit_dir(struct load *l, struct unit *u); /* choose a directory in tmp for it */
void unit_made(struct load *l, struct unit *u, const struct unpack_job *job);

/* load_finish - chain layers, configs and manifests, then make everything durable and
 * give it its name; fills *out */
int load_finish(struct load *l, struct image_plan *images, size_t n,
                struct image_list *out, struct err *e);

#endif

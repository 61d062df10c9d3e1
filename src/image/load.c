/* SPDX-License-Identifier: Apache-2.0 */
/* load.c - from an archive to layers in the home
 *
 *   plan      which images, which layers, where their bytes are (layout.c, manifest.c)
 *   lock      the layers wanted, in order, so that two loads cannot wait for each other
 *   unpack    what is not there yet, several at a time, into tmp/ (unpack.c)
 *   chain     layers that need those below them, and the thin top layer (chain.c)
 *   publish   syncfs, rename into layers/, fsync of the directories
 *
 * Nothing has a name before all of it is verified, so a load that fails or is killed
 * leaves the home as it was, but for a directory in tmp/ that gc finds without an
 * owner.
 */
#include "image/load.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "image/chain.h"

/* ---- the ground ---- */

/* of one layer, and of all that are unpacked together, which share the disk */
static void set_limits(struct load *l)
{
    uint64_t bytes = LIMIT_IMAGE_BYTES, entries = LIMIT_IMAGE_ENTRIES;
    struct statvfs v;

    if (fstatvfs(store_dir_fd(l->store, STORE_LAYERS), &v) == 0) {
        uint64_t room = (uint64_t)v.f_bavail * v.f_frsize / 20 * 19;
        bytes = room < bytes ? room : bytes;
        if (v.f_favail > 0 && v.f_favail / 20 * 19 < entries)
            entries = v.f_favail / 20 * 19;
    }
    l->pool.max_bytes = bytes < LIMIT_LAYER_BYTES ? bytes : LIMIT_LAYER_BYTES;
    l->pool.max_entries = entries < LIMIT_LAYER_ENTRIES ? entries : LIMIT_LAYER_ENTRIES;
    atomic_store(&l->shared->budget.bytes, (int64_t)bytes);
    atomic_store(&l->shared->budget.entries, (int64_t)entries);
}

static void tick(void *ctx, size_t jobs_done)
{
    struct load *l = ctx;

    if (!l->progress)
        return;
    struct image_progress p = l->shown;
    p.done_bytes += atomic_load_explicit(&l->shared->counter, memory_order_relaxed);
    p.layers_done += jobs_done;
    l->progress(l->ctx, &p);
}

int load_open(struct load *l, struct store *s, unsigned jobs, struct err *e)
{
    long cpus = sysconf(_SC_NPROCESSORS_ONLN);

    *l = (struct load){.store = s, .tmp_fd = -1};
    l->shared = mmap(NULL, sizeof(*l->shared), PROT_READ | PROT_WRITE,
                     MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (l->shared == MAP_FAILED) {
        l->shared = NULL;
        return err_sys(e, errno, "map a counter");
    }
    l->pool =
        (struct unpack_pool){.home = store_home(s),
                             .owners = geteuid() == 0,
                             .workers = jobs ? jobs : (unsigned)(cpus > 1 ? cpus : 1),
                             .counter = &l->shared->counter,
                             .budget = &l->shared->budget,
                             .tick = tick,
                             .ctx = l};
    set_limits(l);
    return layers_userxattr(s, &l->pool.userxattr, e);
}

void load_close(struct load *l)
{
    struct err ignored;

    if (l->tmp_fd >= 0) {
        (void)store_drop(l->store, store_dir_fd(l->store, STORE_TMP), l->tmp, &ignored);
        (void)close(l->tmp_fd);
    }
    for (size_t i = 0; i < l->n_locks; i++)
        if (l->locks[i] >= 0)
            (void)close(l->locks[i]);
    free(l->locks);
    map_done(&l->units);
    if (l->shared)
        (void)munmap(l->shared, sizeof(*l->shared));
    archive_close(l->archive);
    *l = (struct load){.tmp_fd = -1};
}

int load_tmp(struct load *l, struct err *e)
{
    if (l->tmp_fd >= 0)
        return 0;
    if (store_tmp_dir(l->store, "load", l->tmp, &l->tmp_fd, e) < 0)
        return -1;
    l->pool.tmp_fd = l->tmp_fd;
    return 0;
}

/* One lock for each first byte of a diff_id, taken in order. Who waits finds the layers
 * done. */
static int lock_layers(struct load *l, const struct image_plan *images, size_t n,
                       struct err *e)
{
    bool wanted[256] = {false};

    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < images[i].config.n_layers; k++) {
            unsigned byte = 0;
            (void)sscanf(images[i].layers[k].diff_hex, "%2x", &byte);
            wanted[byte] = true;
        }
    }
    l->locks = xalloc(256 * sizeof(*l->locks));
    for (unsigned b = 0; b < 256; b++) {
        char name[32];
        int fd = -1;
        if (!wanted[b])
            continue;
        (void)snprintf(name, sizeof(name), "layer-%02x", b);
        if (store_lock(l->store, name, LOCK_EX | LOCK_NB, &fd, e) < 0) {
            if (e->code != ERR_BUSY)
                return -1;
            log_verbose("waiting for another dugout that loads one of the layers");
            if (store_lock(l->store, name, LOCK_EX, &fd, e) < 0)
                return -1;
        }
        l->locks[l->n_locks++] = fd;
    }
    return 0;
}

/* is it in layers/? Then its grace period starts again, so that gc lets it be. */
int load_refresh(struct load *l, const char *id, bool *there, struct err *e)
{
    AUTO_FD int gc = -1;

    if (store_lock(l->store, "gc", LOCK_SH, &gc, e) < 0)
        return -1;
    *there = utimensat(store_dir_fd(l->store, STORE_LAYERS), id, NULL,
                       AT_SYMLINK_NOFOLLOW) == 0;
    if (!*there && errno != ENOENT)
        return err_sys(e, errno, "refresh layer %.12s", id);
    if (*there)
        (void)store_shut(store_dir_fd(l->store, STORE_LAYERS), id);
    return 0;
}

/* ---- units ---- */

struct unit *unit_new(struct load *l, const char *id, const char *what, size_t number)
{
    struct unit *u = arena_alloc(l->arena, sizeof(*u));

    memcpy(u->id, id, DIGEST_HEX);
    u->what = what;
    u->number = number;
    map_put(&l->units, (struct str){u->id, 64}, u);
    return u;
}

struct unit *unit_get(const struct load *l, const char *id)
{
    return map_get(&l->units, str_of(id));
}

void unit_made(struct load *l, struct unit *u, const struct unpack_job *job)
{
    u->fresh = true;
    u->meta = (struct layer_meta){.tar_bytes = job->sums.tar_bytes,
                                  .entries = job->entries,
                                  .blob = job->sums.as_came,
                                  .format = job->sums.format};
    u->devices = job->devices;
    u->sockets = job->sockets;
    u->attributes = job->attributes;
    u->no_xattrs = job->no_xattrs;
    memcpy(u->attribute, job->attribute, sizeof(u->attribute));
    l->fresh = arena_grow(l->arena, l->fresh, &l->n_fresh, sizeof(*l->fresh));
    l->fresh[l->n_fresh - 1] = u;
    l->wrote = true;
}

void unit_dir(struct load *l, struct unit *u)
{
    (void)snprintf(u->dir, sizeof(u->dir), "%u", l->n_dirs++);
}

/* ---- unpacking ---- */

int load_at(const struct image_plan *image, size_t i, struct err *e)
{
    return err_at(e, "%s: layer %zu of %zu", image->what, i + 1,
                  image->config.n_layers);
}

static int find_bytes(struct load *l, const struct layer_plan *layer,
                      struct unpack_job *job, struct err *e)
{
    if (archive_bytes(l->archive, layer->member, &job->src, &job->src_fd, e) < 0) {
        if (e->code == ERR_MISSING && layer->blob_hex[0])
            return err_set(e, ERR_MISSING, "blob sha256:%s is not in the archive",
                           layer->blob_hex);
        return -1;
    }
    if (layer->blob_hex[0] && job->src.size != layer->size_bytes)
        return err_set(e, ERR_CORRUPT,
                       "blob sha256:%.12s has %llu bytes, its descriptor says %llu",
                       layer->blob_hex, (unsigned long long)job->src.size,
                       (unsigned long long)layer->size_bytes);
    return 0;
}

int load_add(struct load *l, struct tasks *t, struct image_plan *image, size_t index,
             struct unit *unit, bool unpack, struct err *e)
{
    const struct layer_plan *layer = &image->layers[index];
    struct unpack_job job = {.src_fd = -1,
                             .want_blob = layer->blob_hex[0] ? layer->blob_hex : NULL,
                             .want_diff = layer->diff_hex[0] ? layer->diff_hex : NULL,
                             .keep = !l->no_blobs};

    if (find_bytes(l, layer, &job, e) < 0)
        return load_at(image, index, e);
    if (unpack) {
        unit_dir(l, unit);
        job.dir = unit->dir;
    }
    t->jobs = arena_grow(l->arena, t->jobs, &t->n, sizeof(*t->jobs));
    t->tasks = arena_grow(l->arena, t->tasks, &t->n_tasks, sizeof(*t->tasks));
    t->jobs[t->n - 1] = job;
    t->tasks[t->n - 1] = (struct task){image, index, unit};
    l->shown.total_bytes += job.src.size;
    return 0;
}

int load_run(struct load *l, struct tasks *t, struct err *e)
{
    size_t failed = 0;
    int r = 0;

    if (t->n > 0)
        r = load_tmp(l, e);
    if (r == 0 && t->n > 0) {
        r = unpack_run(&l->pool, t->jobs, t->n, &failed, e);
        if (r < 0)
            (void)load_at(t->tasks[failed].image, t->tasks[failed].index, e);
        l->shown.layers_done += t->n;
        l->wrote = true;
    }
    for (size_t i = 0; i < t->n; i++)
        if (t->jobs[i].src_fd >= 0)
            (void)close(t->jobs[i].src_fd);
    return r;
}

/* the archive of a layer that is there: is it to be kept, and is it not yet? */
static bool blob_wanted(const struct load *l, const struct layer_plan *layer,
                        const struct unit *u)
{
    const char *hex = layer->blob_hex[0] ? layer->blob_hex : u->meta.blob.hex;
    struct bytes_src src;
    struct err ignored;
    AUTO_FD int fd = -1;

    if (l->no_blobs)
        return false;
    if (blob_is_kept(l->store, hex) && blob_refresh(l->store, hex, &ignored) == 0)
        return false;
    /* a partial archive may leave out layers that it expects to be there */
    return archive_bytes(l->archive, layer->member, &src, &fd, &ignored) == 0;
}

/* a layer that the home has, by itself or unpacked for this chain; NULL: it has not */
int load_known(struct load *l, const char *diff, const char *chain, struct unit **out,
               struct err *e)
{
    const char *const ids[] = {chain, diff};

    *out = NULL;
    for (size_t i = strcmp(chain, diff) == 0; i < N_ELEMS(ids); i++) {
        bool there;
        if ((*out = unit_get(l, ids[i])))
            return 0;
        if (load_refresh(l, ids[i], &there, e) < 0)
            return -1;
        if (!there)
            continue;
        *out = unit_new(l, ids[i], "", 0);
        return layer_meta_read(store_dir_fd(l->store, STORE_LAYERS), ids[i],
                               &(*out)->meta, e);
    }
    return 0;
}

static int plan_tasks(struct load *l, struct image_plan *image, struct tasks *t,
                      struct err *e)
{
    char chain[DIGEST_HEX] = "";

    for (size_t i = 0; i < image->config.n_layers; i++) {
        struct layer_plan *layer = &image->layers[i];
        char next[DIGEST_HEX];
        struct unit *u;

        chain_id(chain, layer->diff_hex, next);
        memcpy(chain, next, sizeof(chain));
        if (load_known(l, layer->diff_hex, chain, &u, e) < 0)
            return load_at(image, i, e);
        if (!u) {
            u = unit_new(l, layer->diff_hex, image->what, i + 1);
            if (load_add(l, t, image, i, u, true, e) < 0)
                return -1;
        } else if (!u->dir[0] && blob_wanted(l, layer, u)) {
            if (load_add(l, t, image, i, u, false, e) < 0)
                return -1;
        }
    }
    return 0;
}

int load_layers(struct load *l, struct image_plan *images, size_t n, struct err *e)
{
    struct tasks t = {.n = 0};
    int r;

    if (lock_layers(l, images, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (plan_tasks(l, &images[i], &t, e) < 0)
            return -1;
    l->shown.layers = t.n;
    r = load_run(l, &t, e);
    for (size_t i = 0; i < t.n && r == 0; i++) {
        struct unit *u = t.tasks[i].unit;
        if (t.jobs[i].needs_below) {
            u->needs_below = true;
            u->dir[0] = '\0';
        } else if (t.jobs[i].dir) {
            unit_made(l, u, &t.jobs[i]);
        } else {
            u->meta.blob = t.jobs[i].sums.as_came;
            u->meta.format = t.jobs[i].sums.format;
        }
    }
    return r;
}

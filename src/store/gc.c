/* SPDX-License-Identifier: Apache-2.0 */
/* gc.c - sweep what the plan does not keep, and count what is there
 *
 * Each kind is one directory of names. Candidates are found without a lock; then, in
 * slices of SLICE names, locks/gc is taken exclusively, each candidate is looked at
 * again (its mtime may be new: somebody met it and relies on it), and renamed into
 * trash/. What is slow, removing, happens after the lock is gone. A sweep that dies
 * leaves trash/, which the next one empties first.
 */
#include "store/gc.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/inside.h"
#include "store/pack.h"

#define SLICE 256

/* ---- sets of digests ---- */

static bool digest_bytes(const char *hex, uint8_t out[32])
{
    if (!hex || !is_hex64(hex))
        return false;
    for (int i = 0; i < 32; i++) {
        int hi = hex[2 * i] <= '9' ? hex[2 * i] - '0' : hex[2 * i] - 'a' + 10;
        int lo =
            hex[2 * i + 1] <= '9' ? hex[2 * i + 1] - '0' : hex[2 * i + 1] - 'a' + 10;
        out[i] = (uint8_t)(hi << 4 | lo);
    }
    return true;
}

/* the slot of this digest, or the free one where it belongs; cap is a power of two */
static size_t slot_of(const struct digest_set *d, const uint8_t raw[32])
{
    uint64_t hash;

    memcpy(&hash, raw, sizeof(hash)); /* SHA-256 is its own hash function */
    size_t i = (size_t)hash & (d->cap - 1);
    while (d->used[i] && memcmp(d->slots[i], raw, 32) != 0)
        i = (i + 1) & (d->cap - 1);
    return i;
}

static void grow(struct digest_set *d)
{
    struct digest_set bigger = {.cap = d->cap ? 2 * d->cap : 64, .n = d->n};

    bigger.slots = xalloc(bigger.cap * sizeof(*bigger.slots));
    bigger.used = xalloc(bigger.cap);
    for (size_t i = 0; i < d->cap; i++) {
        if (!d->used[i])
            continue;
        size_t to = slot_of(&bigger, d->slots[i]);
        memcpy(bigger.slots[to], d->slots[i], 32);
        bigger.used[to] = 1;
    }
    struct digest_set old = *d;
    *d = bigger;
    digest_set_done(&old);
}

bool digest_set_add(struct digest_set *d, const char *hex)
{
    uint8_t raw[32];

    if (!digest_bytes(hex, raw))
        return false;
    if (5 * (d->n + 1) > 4 * d->cap)
        grow(d);
    size_t i = slot_of(d, raw);
    if (d->used[i])
        return false;
    memcpy(d->slots[i], raw, 32);
    d->used[i] = 1;
    d->n++;
    return true;
}

bool digest_set_has(const struct digest_set *d, const char *hex)
{
    uint8_t raw[32];

    return d->n > 0 && digest_bytes(hex, raw) && d->used[slot_of(d, raw)];
}

void digest_set_hex(const struct digest_set *d, size_t slot, char hex[DIGEST_HEX])
{
    for (int k = 0; k < 32; k++)
        (void)snprintf(hex + 2 * k, 3, "%02x", d->slots[slot][k]);
}

void digest_set_done(struct digest_set *d)
{
    free(d->slots);
    free(d->used);
    *d = (struct digest_set){.slots = NULL};
}

static int mark_blob(void *ctx, const char *hex, struct err *e)
{
    (void)e;
    (void)digest_set_add(ctx, hex);
    return 0;
}

int gc_mark_tree(struct store *s, const char *hex, struct digest_set *blobs,
                 struct err *e)
{
    if (tree_blobs_each(s, hex, mark_blob, blobs, e) < 0)
        return err_at(e, "directory %.12s", hex);
    return 0;
}

const char *gc_kind_name(enum gc_kind k)
{
    static const char *const names[GC_KINDS] = {
        [GC_BLOBS] = "blobs", [GC_LAYERS] = "layers", [GC_CHECKOUTS] = "checkouts",
        [GC_RUNS] = "runs",   [GC_TMP] = "tmp",       [GC_TRASH] = "trash",
        [GC_PACKS] = "packs",
    };

    return names[k];
}

/* ---- names of a directory ---- */

struct list {
    char **at;
    size_t n, cap;
};

static void list_done(struct list *l)
{
    for (size_t i = 0; i < l->n; i++)
        free(l->at[i]);
    free(l->at);
    *l = (struct list){.at = NULL};
}
#define AUTO_LIST __attribute__((cleanup(list_done)))

static void list_add(struct list *l, const char *name)
{
    if (l->n == l->cap) {
        l->cap = l->cap ? 2 * l->cap : 64;
        l->at = xrealloc(l->at, l->cap * sizeof(*l->at));
    }
    l->at[l->n++] = xstrdup(name);
}

static DIR *open_list(int at, const char *name)
{
    int fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d && fd >= 0)
        (void)close(fd);
    return d;
}

static struct dirent *next_entry(DIR *d)
{
    struct dirent *ent;

    do {
        ent = readdir(d);
    } while (ent && (strcmp(ent->d_name, ".") == 0 || strcmp(ent->d_name, "..") == 0));
    return ent;
}

/* ---- counting ---- */

static void count_one(const struct stat *st, uint64_t *bytes)
{
    uint64_t links = st->st_nlink > 0 && !S_ISDIR(st->st_mode) ? st->st_nlink : 1;

    *bytes += (uint64_t)st->st_blocks * 512 / links;
}

/* bytes on disk of NAME and what is below it; what vanishes meanwhile counts nothing */
static void count_tree(int at, const char *name, uint64_t *bytes)
{
    struct stat st;
    DIR *d;

    if (fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return;
    count_one(&st, bytes);
    if (!S_ISDIR(st.st_mode) || !(d = open_list(at, name)))
        return;
    for (struct dirent *ent = next_entry(d); ent; ent = next_entry(d))
        count_tree(dirfd(d), ent->d_name, bytes);
    (void)closedir(d);
}

uint64_t store_bytes_of(struct store *s, enum store_dir d, const char *name)
{
    uint64_t bytes = 0;

    count_tree(s->dirs[d], name, &bytes);
    return bytes;
}

uint64_t store_bytes_below(struct store *s, const char *path)
{
    uint64_t bytes = 0;

    count_tree(s->home_fd, path, &bytes);
    return bytes;
}

static void count_dir(int at, const char *name, struct gc_count *out)
{
    DIR *d = open_list(at, name);

    if (!d)
        return;
    for (struct dirent *ent = next_entry(d); ent; ent = next_entry(d)) {
        out->n++;
        count_tree(dirfd(d), ent->d_name, &out->bytes);
    }
    (void)closedir(d);
}

static int count_scratch(void *ctx, int at, const char *run, const char *name, bool orphan,
                         struct err *e)
{
    struct gc_count *out = ctx;

    (void)run, (void)orphan, (void)e;
    count_tree(at, name, &out->bytes);
    return 0;
}

int store_usage(struct store *s, struct gc_count out[GC_KINDS], struct err *e)
{
    static const enum store_dir dir_of[GC_KINDS] = {
        [GC_BLOBS] = STORE_BLOBS,         [GC_LAYERS] = STORE_LAYERS,
        [GC_CHECKOUTS] = STORE_CHECKOUTS, [GC_TMP] = STORE_TMP,
        [GC_TRASH] = STORE_TRASH,        [GC_PACKS] = STORE_PACKS,
    };

    memset(out, 0, GC_KINDS * sizeof(*out));
    for (int k = 0; k < GC_KINDS; k++) {
        if (k == GC_RUNS)
            count_dir(s->home_fd, "runs", &out[k]);
        else
            count_dir(s->dirs[dir_of[k]], ".", &out[k]);
    }
    return scratch_each(s, count_scratch, &out[GC_RUNS], e);
}

/* ---- sweeping ---- */

struct sweep {
    struct store *store;
    const struct gc_plan *plan;
    struct gc_count *out;
};

static int64_t mtime_ms(const struct stat *st)
{
    return (int64_t)st->st_mtim.tv_sec * 1000 + st->st_mtim.tv_nsec / 1000000;
}

static bool is_old(const struct sweep *w, int at, const char *name)
{
    struct stat st;

    return fstatat(at, name, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           mtime_ms(&st) < w->plan->young_unix_ms;
}

bool gc_is_old(struct store *s, enum store_dir d, const char *hex, int64_t young_unix_ms)
{
    struct stat st;

    return fstatat(s->dirs[d], hex, &st, AT_SYMLINK_NOFOLLOW) == 0 &&
           mtime_ms(&st) < young_unix_ms;
}

static void goes(struct sweep *w, enum gc_kind kind, const char *name, uint64_t bytes)
{
    w->out[kind].n++;
    w->out[kind].bytes += bytes;
    if (w->plan->going)
        w->plan->going(w->plan->ctx, kind, name, bytes);
}

/* does anybody hold a lock on this file or directory? */
static bool is_held(int at, const char *name)
{
    AUTO_FD int fd = openat(at, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) < 0;
}

/* into trash/ under the lock; what cannot be moved stays and is met again next time */
static int slice_to_trash(struct sweep *w, int at, const struct list *l, size_t from,
                          size_t to, enum gc_kind kind, struct list *trashed,
                          struct list *names, struct err *e)
{
    AUTO_FD int gc = -1;
    int trash = w->store->dirs[STORE_TRASH];

    if (store_gc_lock(w->store, LOCK_EX, &gc, e) < 0)
        return -1;
    for (size_t i = from; i < to; i++) {
        char name[STORE_TMP_NAME];
        if (kind != GC_TMP && !is_old(w, at, l->at[i]))
            continue;
        if (kind != GC_BLOBS && kind != GC_PACKS && is_held(at, l->at[i]))
            continue;
        store_unique(w->store, gc_kind_name(kind), name);
        if (renameat(at, l->at[i], trash, name) < 0 && errno == EACCES &&
            fchmodat(at, l->at[i], 0700, 0) == 0)
            (void)renameat(at, l->at[i], trash, name);
        list_add(trashed, name);
        list_add(names, l->at[i]);
    }
    return 0;
}

static int sweep_list(struct sweep *w, int at, const struct list *l, enum gc_kind kind,
                      struct err *e)
{
    int trash = w->store->dirs[STORE_TRASH];

    for (size_t from = 0; from < l->n; from += SLICE) {
        AUTO_LIST struct list trashed = {.at = NULL};
        AUTO_LIST struct list names = {.at = NULL}; /* as they were called */
        size_t to = from + SLICE < l->n ? from + SLICE : l->n;

        if (slice_to_trash(w, at, l, from, to, kind, &trashed, &names, e) < 0)
            return -1;
        for (size_t i = 0; i < trashed.n; i++) {
            uint64_t bytes = 0;
            struct stat st;
            if (fstatat(trash, trashed.at[i], &st, AT_SYMLINK_NOFOLLOW) < 0)
                continue;
            count_tree(trash, trashed.at[i], &bytes);
            goes(w, kind, names.at[i], bytes);
            if (store_remove_tree(w->store, trash, trashed.at[i], e) < 0)
                return -1;
        }
    }
    return 0;
}

static void count_list(struct sweep *w, int at, const struct list *l, enum gc_kind kind)
{
    for (size_t i = 0; i < l->n; i++) {
        uint64_t bytes = 0;
        if (kind != GC_BLOBS && kind != GC_PACKS && is_held(at, l->at[i]))
            continue;
        count_tree(at, l->at[i], &bytes);
        goes(w, kind, l->at[i], bytes);
    }
}

static int go(struct sweep *w, int at, const struct list *l, enum gc_kind kind,
              struct err *e)
{
    if (!w->plan->dry_run)
        return sweep_list(w, at, l, kind, e);
    count_list(w, at, l, kind);
    return 0;
}

/* names that are no digest are not ours to judge: an outside tool's temporary file, a
 * note */
static int sweep_digests(struct sweep *w, enum store_dir dir, enum gc_kind kind,
                         const struct digest_set *live, struct err *e)
{
    AUTO_LIST struct list l = {.at = NULL};
    DIR *d = live ? open_list(w->store->dirs[dir], ".") : NULL;

    if (!live)
        return 0;
    if (!d)
        return err_sys(e, errno, "read %s", gc_kind_name(kind));
    for (struct dirent *ent = next_entry(d); ent; ent = next_entry(d)) {
        if (!is_hex64(ent->d_name))
            continue;
        if (kind == GC_LAYERS && !w->plan->dry_run)
            (void)store_shut(dirfd(d), ent->d_name); /* an older version left it open */
        if (!digest_set_has(live, ent->d_name) && is_old(w, dirfd(d), ent->d_name))
            list_add(&l, ent->d_name);
    }
    (void)closedir(d);
    return go(w, w->store->dirs[dir], &l, kind, e);
}

static int sweep_attempts(struct sweep *w, int runs_fd, const char *run, bool *left,
                          struct err *e)
{
    AUTO_LIST struct list l = {.at = NULL};
    DIR *d = open_list(runs_fd, run);
    int r;

    *left = true;
    if (!d)
        return 0;
    *left = false;
    for (struct dirent *ent = next_entry(d); ent; ent = next_entry(d)) {
        if (!w->plan->attempt_lives(w->plan->ctx, run, ent->d_name) &&
            is_old(w, dirfd(d), ent->d_name))
            list_add(&l, ent->d_name);
        else
            *left = true;
    }
    r = go(w, dirfd(d), &l, GC_RUNS, e);
    (void)closedir(d);
    return r;
}

static int sweep_runs(struct sweep *w, struct err *e)
{
    DIR *d = w->plan->attempt_lives ? open_list(w->store->home_fd, "runs") : NULL;
    int r = 0;

    if (!d)
        return 0;
    for (struct dirent *ent = next_entry(d); ent && r == 0; ent = next_entry(d)) {
        bool left;
        struct stat st;
        if (fstatat(dirfd(d), ent->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
            !S_ISDIR(st.st_mode))
            continue;
        r = sweep_attempts(w, dirfd(d), ent->d_name, &left, e);
        if (r == 0 && !left && !w->plan->dry_run &&
            !w->plan->attempt_lives(w->plan->ctx, ent->d_name, ""))
            (void)unlinkat(dirfd(d), ent->d_name,
                           AT_REMOVEDIR); /* only when it is empty */
    }
    (void)closedir(d);
    return r;
}

static int sweep_scratch_of(void *ctx, int at, const char *run, const char *name, bool orphan,
                            struct err *e)
{
    struct sweep *w = ctx;
    uint64_t bytes = 0;

    if (!orphan &&
        !(w->plan->dry_run && !w->plan->attempt_lives(w->plan->ctx, run, name)))
        return 0;
    count_tree(at, name, &bytes);
    goes(w, GC_RUNS, name, bytes);
    return w->plan->dry_run ? 0 : store_remove_tree(w->store, at, name, e);
}

/* after the runs: what an attempt wrote elsewhere goes with it */
static int sweep_scratch(struct sweep *w, struct err *e)
{
    return w->plan->attempt_lives ? scratch_each(w->store, sweep_scratch_of, w, e) : 0;
}

static int sweep_tmp(struct sweep *w, struct err *e)
{
    AUTO_LIST struct list l = {.at = NULL};
    DIR *d = open_list(w->store->dirs[STORE_TMP], ".");

    if (!d)
        return err_sys(e, errno, "read tmp");
    for (struct dirent *ent = next_entry(d); ent; ent = next_entry(d))
        list_add(&l, ent->d_name);
    (void)closedir(d);
    return go(w, w->store->dirs[STORE_TMP], &l, GC_TMP, e);
}

static int sweep_trash(struct sweep *w, struct err *e)
{
    DIR *d = open_list(w->store->dirs[STORE_TRASH], ".");
    int r = 0;

    if (!d)
        return err_sys(e, errno, "read trash");
    for (struct dirent *ent = next_entry(d); ent && r == 0; ent = next_entry(d)) {
        uint64_t bytes = 0;
        if (str_starts(str_of(ent->d_name), "corrupt-") &&
            !is_old(w, dirfd(d), ent->d_name))
            continue;
        count_tree(dirfd(d), ent->d_name, &bytes);
        goes(w, GC_TRASH, ent->d_name, bytes);
        if (!w->plan->dry_run)
            r = store_remove_tree(w->store, dirfd(d), ent->d_name, e);
    }
    (void)closedir(d);
    return r;
}

int gc_enter(struct store *s, int *gives_fd, struct err *e)
{
    if (store_lock(s, SWEEP_LOCK, LOCK_EX | LOCK_NB, gives_fd, e) == 0)
        return 0;
    return e->code == ERR_BUSY
               ? err_set(e, ERR_BUSY, "another gc, fsck or backup is at work here")
               : -1;
}

int gc_sweep(struct store *s, const struct gc_plan *plan, struct gc_count out[GC_KINDS],
             struct err *e)
{
    struct sweep w = {.store = s, .plan = plan, .out = out};

    memset(out, 0, GC_KINDS * sizeof(*out));
    if (sweep_trash(&w, e) < 0 || sweep_tmp(&w, e) < 0 || sweep_runs(&w, e) < 0 || sweep_scratch(&w, e) < 0 ||
        sweep_digests(&w, STORE_CHECKOUTS, GC_CHECKOUTS, plan->checkouts, e) < 0 ||
        sweep_digests(&w, STORE_PACKS, GC_PACKS, plan->checkouts, e) < 0 ||
        sweep_digests(&w, STORE_LAYERS, GC_LAYERS, plan->layers, e) < 0)
        return -1;
    return sweep_digests(&w, STORE_BLOBS, GC_BLOBS, plan->blobs, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cgroup.c - limits and accounts of a box, from a pool of cgroups
 *
 *     BASE/dugout/            all boxes together: a memory limit below the machine's
 *     BASE/dugout/slot-0/     one running box each, taken by flock(2) on the directory
 *     BASE/dugout/slot-1/
 *     BASE/dugout/rest/       v2 only: processes that were in BASE, see make_room()
 *
 * in every hierarchy that has a controller we need. BASE is the top of the mount for root and
 * our own cgroup for others. A slot is never removed: making and removing a cgroup for each of
 * 10,000 steps leaves thousands of dying ones behind, as their page cache stays charged. So
 * a slot starts with the cache of earlier boxes, which is reclaimed before its limit hurts
 * anyone, and counters are read as differences.
 *
 * The lock says who has the slot, an empty cgroup.procs that nothing of an earlier box is
 * left in it (its supervisor may just have been killed); one whose boxes left files on a tmpfs is
 * passed over until they are gone. The device rule is set once in the
 * life of a slot. A controller may be mounted as v1 while another is in v2 ("hybrid"): each is
 * used where it is.
 */
#include "box/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysinfo.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

#define REST "rest"
#define SLOTS_MAX 4096
#define CPU_PERIOD_USEC 100000
#define SMALL_LIMIT_BYTES (16 * MIB)
#define LIMIT_RECLAIM_BYTES GIB /* of a slot that nobody is in: all that can be had */

static const char *const v2_file[CG_N] = {"memory.max", "pids.max", "cpu.max", NULL};
static const char *const v2_name[CG_N] = {"memory", "pids", "cpu", NULL};

/* ---- small files ------------------------------------------------------------------------ */

static bool write_file(int dir, const char *name, const char *text)
{
    AUTO_FD int fd = openat(dir, name, O_WRONLY | O_CLOEXEC);

    return fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text);
}

static bool write_u64(int dir, const char *name, uint64_t value)
{
    char text[24];

    (void)snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    return write_file(dir, name, text);
}

/* at most size - 1 bytes, NUL-terminated; the files we read are one page */
static bool read_file(int dir, const char *name, char *out, size_t size)
{
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, out, size - 1);

    out[n > 0 ? n : 0] = 0;
    return n >= 0;
}

uint64_t cg_read_u64(int dir, const char *name)
{
    char text[64];

    return read_file(dir, name, text, sizeof text) ? strtoull(text, NULL, 10) : 0;
}

/* the number after "KEY " at the start of a line */
uint64_t cg_read_key(int dir, const char *name, const char *key)
{
    char text[4096];
    size_t n = strlen(key);

    if (!read_file(dir, name, text, sizeof text))
        return 0;
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, key, n) == 0 && p[n] == ' ')
            return strtoull(p + n + 1, NULL, 10);
    }
    return 0;
}

static bool has_word(const char *text, const char *word)
{
    size_t n = strlen(word);

    for (const char *p = text; (p = strstr(p, word)); p += n)
        if ((p == text || p[-1] == ' ') && (p[n] == ' ' || p[n] == '\n' || !p[n]))
            return true;
    return false;
}

/* ---- the trees --------------------------------------------------------------------------- */

static void find_trees(struct cg_map *m)
{
    AUTO_BUF struct buf mounts = {0}, self = {0};
    struct err e;

    m->n = 0;
    if (fd_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, 16 * MIB, &e) == 0 &&
        fd_read_file(AT_FDCWD, "/proc/self/cgroup", &self, MIB, &e) == 0)
        cg_parse(buf_str(&mounts), buf_str(&self), m);
}

/* what is above all boxes: the machine's memory less what the rest of it needs */
static uint64_t parent_limit(void)
{
    struct sysinfo si;
    uint64_t total, keep;

    if (sysinfo(&si) < 0)
        return 0;
    total = (uint64_t)si.totalram * si.mem_unit;
    keep = total / 16;
    keep = keep < 64 * MIB ? 64 * MIB : keep > GIB ? GIB : keep;
    return total > 2 * keep ? total - keep : 0;
}

/* the directory of the base; the pool is below it */
static int open_base(const struct cg_tree *t)
{
    char path[2 * CG_PATH];
    size_t n;

    (void)snprintf(path, sizeof path, "%s%s", t->mount, geteuid() == 0 ? "" : t->own);
    n = strlen(path);
    if (n > sizeof "/" CG_POOL "/" REST &&
        strcmp(path + n - (sizeof "/" CG_POOL "/" REST - 1), "/" CG_POOL "/" REST) == 0)
        path[n - (sizeof "/" CG_POOL "/" REST - 1)] = 0; /* where make_room() put us */
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

/* Who can open a slot can hold its lock, so nobody else may: the pool is 0700. */
static int own_pool(int fd)
{
    struct stat st;

    if (fd >= 0 && (fstat(fd, &st) < 0 || st.st_uid != geteuid() ||
                    ((st.st_mode & 077) && fchmod(fd, 0700) < 0))) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

/* the pool below the base; -1 when it cannot be had, as with one that is another user's */
static int open_pool(const struct cg_tree *t, int base)
{
    int fd = openat(base, CG_POOL, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    uint64_t limit;

    if (fd >= 0 || errno != ENOENT)
        return own_pool(fd);
    if (mkdirat(base, CG_POOL, 0700) < 0 && errno != EEXIST)
        return -1;
    fd = own_pool(openat(base, CG_POOL, O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    limit = geteuid() == 0 ? parent_limit() : 0;
    if (fd >= 0 && !t->v2 && (t->controllers & (1U << CG_MEMORY))) {
        (void)write_file(fd, "memory.use_hierarchy", "1");
        if (limit)
            (void)write_u64(fd, "memory.limit_in_bytes", limit);
    }
    return fd;
}

/* A v2 cgroup with processes cannot have controllers below it, unless it is the real root.
 * So those in the base, which is ours or that of a whole container, move aside. */
static void make_room(int base)
{
    AUTO_BUF struct buf procs = {0};
    AUTO_FD int list = openat(base, "cgroup.procs", O_RDONLY | O_CLOEXEC);
    AUTO_FD int to = -1;
    struct err e;

    (void)mkdirat(base, CG_POOL "/" REST, 0755);
    to = openat(base, CG_POOL "/" REST "/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (list < 0 || to < 0 || fd_read_all(list, &procs, MIB, &e) < 0)
        return;
    for (char *p = procs.ptr; p && *p;) {
        size_t n = strcspn(p, "\n");
        (void)!write(to, p, n);
        p += n + (p[n] == '\n');
    }
}

static bool enable(int dir, enum cg c)
{
    char text[16];

    (void)snprintf(text, sizeof text, "+%s", v2_name[c]);
    return write_file(dir, "cgroup.subtree_control", text);
}

/* turn on, for the slots, what the base has of the controllers */
static void enable_below(int base, int pool)
{
    char have[256], on[256];

    if (!read_file(base, "cgroup.controllers", have, sizeof have))
        return;
    (void)read_file(base, "cgroup.subtree_control", on, sizeof on);
    for (enum cg c = 0; c < CG_N; c++) {
        if (!v2_name[c] || !has_word(have, v2_name[c]))
            continue;
        if (!has_word(on, v2_name[c]) && !enable(base, c) && errno == EBUSY) {
            make_room(base);
            (void)enable(base, c);
        }
        (void)enable(pool, c);
    }
    if (geteuid() == 0 && parent_limit())
        (void)write_u64(pool, "memory.max", parent_limit());
}

/* ---- taking a slot ------------------------------------------------------------------------ */

static bool v2_has(int slot, enum cg c)
{
    return v2_file[c] && faccessat(slot, v2_file[c], W_OK, AT_EACCESS) == 0;
}

static int open_slot(int pool, unsigned n)
{
    char name[24];
    int fd;

    (void)snprintf(name, sizeof name, CG_SLOT "%u", n);
    fd = openat(pool, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT && (mkdirat(pool, name, 0755) == 0 || errno == EEXIST))
        fd = openat(pool, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd;
}

#define KEPT_MAX_BYTES (16 * MIB)

/* What earlier boxes wrote to a tmpfs stays charged to their slot until the files are removed, and no
 * limit reclaims it: the next box would get less memory than it may have, or no limit at all. The
 * sum is cheap to ask for, the parts are not. */
static bool holds_tmpfs_files(int slot)
{
    uint64_t bytes = cg_read_u64(slot, "memory.usage_in_bytes") + cg_read_u64(slot, "memory.current");

    return bytes > KEPT_MAX_BYTES && cg_read_key(slot, "memory.stat", "shmem") > KEPT_MAX_BYTES;
}

/* lock the first free slot; -1 when this tree cannot be written */
static int lock_slot(int pool, unsigned *number)
{
    for (unsigned n = 0; n < SLOTS_MAX; n++) {
        char procs[16];
        AUTO_FD int fd = open_slot(pool, n);
        if (fd < 0)
            return -1;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
            if (errno == EWOULDBLOCK)
                continue;
            return -1;
        }
        if (!read_file(fd, "cgroup.procs", procs, sizeof procs))
            return -1;
        if (!procs[0] && !holds_tmpfs_files(fd)) {
            *number = n;
            return fd_take(&fd);
        }
    }
    return -1;
}

/* For a thread that moves itself the kernel skips a lock whose price is an RCU grace period, some
 * milliseconds on a busy machine; for a process by cgroup.procs it does not. Ours has one thread. */
static int open_join(int slot)
{
    return openat(slot, "tasks", O_WRONLY | O_CLOEXEC);
}

/* the v2 tree: its slot is locked when it is the first that was taken */
static void take_v2(struct cg_slot *s, const struct cg_tree *t, unsigned *number, bool *locked)
{
    AUTO_FD int base = open_base(t);
    AUTO_FD int pool = base < 0 ? -1 : open_pool(t, base);
    bool all = true;

    if (pool < 0)
        return;
    s->v2_dir = *locked ? open_slot(pool, *number) : lock_slot(pool, number);
    if (s->v2_dir < 0)
        return;
    *locked = true;
    for (enum cg c = 0; c < CG_N; c++)
        all = all && (!v2_file[c] || s->dir[c] >= 0 || v2_has(s->v2_dir, c));
    if (!all)
        enable_below(base, pool);
    for (enum cg c = 0; c < CG_N; c++)
        if (s->dir[c] < 0 && v2_has(s->v2_dir, c))
            s->dir[c] = s->v2_dir;
}

static void take_v1(struct cg_slot *s, const struct cg_tree *t, unsigned needed,
                    unsigned *number, bool *locked)
{
    AUTO_FD int base = open_base(t);
    AUTO_FD int pool = base < 0 ? -1 : open_pool(t, base);
    AUTO_FD int slot = -1;
    int join;

    if (pool < 0)
        return;
    slot = *locked ? open_slot(pool, *number) : lock_slot(pool, number);
    join = slot < 0 || !(t->controllers & needed) ? -1 : open_join(slot);
    if (slot < 0)
        return;
    *locked = true;
    s->owned[s->n_owned++] = slot; /* also when it is only the lock */
    if (join >= 0) {
        s->join[s->n_join++] = join;
        for (enum cg c = 0; c < CG_N; c++)
            if (t->controllers & (1U << c))
                s->dir[c] = slot;
    }
    (void)fd_take(&slot);
}

static unsigned needed_of(const struct cg_limits *want)
{
    return 1U << CG_MEMORY | (want->pids_max ? 1U << CG_PIDS : 0) |
           (want->cpu_millis || want->cpu_share_millis ? 1U << CG_CPU : 0) | (want->devices ? 1U << CG_DEVICES : 0);
}

/* Every process must lock in the same tree, whatever it needs: the v1 tree with the memory
 * controller, else the v2 tree, else the first one. */
static void take_trees(struct cg_slot *s, const struct cg_map *m, unsigned needed)
{
    unsigned number = 0, in_v1 = 0;
    bool locked = false;

    for (size_t i = 0; i < m->n; i++) {
        in_v1 |= m->trees[i].controllers;
        if (m->trees[i].controllers & (1U << CG_MEMORY))
            take_v1(s, &m->trees[i], needed, &number, &locked);
    }
    for (size_t i = 0; i < m->n; i++)
        if (m->trees[i].v2 && (!locked || (needed & ~in_v1)))
            take_v2(s, &m->trees[i], &number, &locked);
    for (size_t i = 0; i < m->n && s->n_owned < CG_N; i++) {
        unsigned has = m->trees[i].controllers;
        if (has && !(has & (1U << CG_MEMORY)) && (!locked || (has & needed)))
            take_v1(s, &m->trees[i], needed, &number, &locked);
    }
}

/* ---- limits -------------------------------------------------------------------------------- */

static bool limit_memory(const struct cg_slot *s, uint64_t bytes)
{
    int d = s->dir[CG_MEMORY];

    if (d == s->v2_dir) {
        (void)write_file(d, "memory.oom.group", "1");
        (void)write_file(d, "memory.swap.max", bytes ? "0" : "max");
        return bytes ? write_u64(d, "memory.max", bytes) : write_file(d, "memory.max", "max");
    }
    /* memory and swap together may never be below memory alone */
    (void)write_file(d, "memory.memsw.limit_in_bytes", "-1");
    if (!bytes)
        return write_file(d, "memory.limit_in_bytes", "-1");
    if (!write_u64(d, "memory.limit_in_bytes", bytes))
        return false;
    (void)write_u64(d, "memory.memsw.limit_in_bytes", bytes);
    return true;
}

/* What the kernel itself keeps of earlier boxes in a slot, such as dying file systems, it may give back
 * late or never: some hundred KiB. A small limit would have no room beside it, so that comes on top. */
static uint64_t left_behind(const struct cg_slot *s, uint64_t limit_bytes)
{
    int d = s->dir[CG_MEMORY];

    if (d < 0 || !limit_bytes || limit_bytes > SMALL_LIMIT_BYTES)
        return 0;
    if (d == s->v2_dir) {
        (void)write_u64(d, "memory.reclaim", LIMIT_RECLAIM_BYTES);
        return cg_read_u64(d, "memory.current");
    }
    (void)write_file(d, "memory.force_empty", "0");
    return cg_read_u64(d, "memory.usage_in_bytes");
}

/* none (0) is written as well: an earlier box of the slot may have had a limit */
static bool limit_cpu(const struct cg_slot *s, uint32_t millis)
{
    uint64_t quota = (uint64_t)millis * CPU_PERIOD_USEC / 1000;
    int d = s->dir[CG_CPU];
    char text[48];

    quota = quota < 1000 ? 1000 : quota; /* the kernel's least */
    if (d == s->v2_dir) {
        (void)snprintf(text, sizeof text, "%llu %d", (unsigned long long)quota, CPU_PERIOD_USEC);
        return write_file(d, "cpu.max", millis ? text : "max");
    }
    if (!millis)
        return write_file(d, "cpu.cfs_quota_us", "-1");
    return write_u64(d, "cpu.cfs_period_us", CPU_PERIOD_USEC) &&
           write_u64(d, "cpu.cfs_quota_us", quota);
}

/* One core is what the kernel gives to whoever asks for nothing: 100 in v2, 1024 in v1. */
static void share_cpu(const struct cg_slot *s, uint32_t millis)
{
    uint64_t v2 = millis / 10, v1 = (uint64_t)millis * 1024 / 1000;

    if (s->dir[CG_CPU] == s->v2_dir)
        (void)write_u64(s->v2_dir, "cpu.weight", v2 < 1 ? 1 : v2 > 10000 ? 10000 : v2);
    else
        (void)write_u64(s->dir[CG_CPU], "cpu.shares", v1 < 2 ? 2 : v1 > 262144 ? 262144 : v1);
}

static void set_limits(struct cg_slot *s, const struct cg_limits *want)
{
    s->left_bytes = left_behind(s, want->memory_bytes);
    s->shares = want->cpu_share_millis && s->dir[CG_CPU] >= 0;
    if (s->shares)
        share_cpu(s, want->cpu_share_millis);
    if (s->dir[CG_MEMORY] >= 0)
        s->enforced[CG_MEMORY] = limit_memory(s, want->memory_bytes + s->left_bytes);
    if (s->dir[CG_CPU] >= 0)
        s->enforced[CG_CPU] = limit_cpu(s, want->cpu_millis);
    if (s->dir[CG_PIDS] >= 0)
        s->enforced[CG_PIDS] =
            want->pids_max ? write_u64(s->dir[CG_PIDS], "pids.max", want->pids_max + 1ULL)
                           : write_file(s->dir[CG_PIDS], "pids.max", "max"); /* + PID 1 */
    if (want->devices) {
        if (s->dir[CG_DEVICES] >= 0)
            s->enforced[CG_DEVICES] = cg_v1_devices(s->dir[CG_DEVICES], want->granted, want->n_granted) == 0;
        else if (s->v2_dir >= 0)
            s->enforced[CG_DEVICES] = cg_v2_devices(s->v2_dir, want->granted, want->n_granted) == 0;
    }
}

/* ---- counters ------------------------------------------------------------------------------ */

static uint64_t oom_kills(const struct cg_slot *s)
{
    int d = s->dir[CG_MEMORY];

    if (d < 0)
        return 0;
    return d == s->v2_dir ? cg_read_key(d, "memory.events", "oom_kill")
                          : cg_read_key(d, "memory.oom_control", "oom_kill");
}

static uint64_t pids_hits(const struct cg_slot *s)
{
    return s->dir[CG_PIDS] < 0 ? 0 : cg_read_key(s->dir[CG_PIDS], "pids.events", "max");
}

static void note_counters(struct cg_slot *s, uint64_t limit_bytes)
{
    int d = s->dir[CG_MEMORY];

    s->limit_bytes = limit_bytes;
    s->oom_at_start = oom_kills(s);
    s->pids_hit_at_start = pids_hits(s);
    if (s->v2_dir >= 0)
        s->cpu_at_start = cg_read_key(s->v2_dir, "cpu.stat", "usage_usec");
    if (d < 0)
        return;
    if (d != s->v2_dir) {
        (void)write_file(d, "memory.max_usage_in_bytes", "0");
        s->usage_at_start = cg_read_u64(d, "memory.usage_in_bytes");
        return;
    }
    s->usage_at_start = cg_read_u64(d, "memory.current");
    s->peak_at_start = cg_read_u64(d, "memory.peak");
    /* from 6.12 on a write starts a peak of its own for this descriptor */
    s->peak_fd = openat(d, "memory.peak", O_RDWR | O_CLOEXEC);
    if (s->peak_fd >= 0 && write(s->peak_fd, "0", 1) != 1) {
        (void)close(s->peak_fd);
        s->peak_fd = -1;
    }
}

static uint64_t peak_of_fd(int fd)
{
    char text[32];
    ssize_t n = pread(fd, text, sizeof text - 1, 0);

    text[n > 0 ? n : 0] = 0;
    return strtoull(text, NULL, 10);
}

static uint64_t peak_memory(const struct cg_slot *s)
{
    int d = s->dir[CG_MEMORY];
    uint64_t peak;

    if (d < 0)
        return 0;
    if (d != s->v2_dir)
        peak = cg_read_u64(d, "memory.max_usage_in_bytes");
    else if (s->peak_fd >= 0)
        peak = peak_of_fd(s->peak_fd);
    else
        peak = cg_read_u64(d, "memory.peak");
    if (d == s->v2_dir && s->peak_fd < 0 && peak <= s->peak_at_start)
        return 0; /* an earlier box had more: nothing is known of this one */
    /* At the limit the cache of earlier boxes has been reclaimed: all of it is this box's. */
    if (s->limit_bytes && peak >= s->limit_bytes - s->limit_bytes / 16)
        return peak > s->left_bytes ? peak - s->left_bytes : peak;
    return peak > s->usage_at_start ? peak - s->usage_at_start : 0;
}

void cg_read(const struct cg_slot *s, struct cg_usage *out)
{
    uint64_t cpu = s->v2_dir < 0 ? 0 : cg_read_key(s->v2_dir, "cpu.stat", "usage_usec");

    out->oom = oom_kills(s) > s->oom_at_start;
    out->pids_hit = pids_hits(s) > s->pids_hit_at_start;
    out->peak_memory_bytes = peak_memory(s);
    out->cpu_usec = cpu > s->cpu_at_start ? cpu - s->cpu_at_start : 0;
}

/* ---- from and to the pool ------------------------------------------------------------------ */

void cg_init(struct cg_slot *s)
{
    *s = (struct cg_slot){.v2_dir = -1, .peak_fd = -1, .kind = "none"};
    for (int c = 0; c < CG_N; c++)
        s->dir[c] = s->owned[c] = s->join[c] = -1;
}

static void name_kind(struct cg_slot *s)
{
    bool v1 = s->n_join > 0, v2 = s->v2_dir >= 0;

    s->kind = v1 && v2 ? "hybrid" : v1 ? "v1" : v2 ? "v2" : "none";
}

void cg_take(struct cg_slot *s, const struct cg_limits *want)
{
    struct cg_map m;

    cg_init(s);
    find_trees(&m);
    take_trees(s, &m, needed_of(want));
    set_limits(s, want);
    note_counters(s, want->memory_bytes + s->left_bytes);
    name_kind(s);
}

void cg_can(bool can[CG_N], const char **kind)
{
    struct cg_limits all = {.cpu_millis = 1000, .pids_max = 1000, .devices = geteuid() == 0};
    struct cg_slot s;

    cg_take(&s, &all);
    for (enum cg c = 0; c < CG_N; c++)
        can[c] = s.enforced[c];
    *kind = s.kind;
    cg_release(&s);
}

void cg_release(struct cg_slot *s)
{
    if (s->shares)
        share_cpu(s, 1000); /* the next one who has the slot may ask for nothing */
    s->shares = false;
    for (int i = 0; i < s->n_join; i++)
        (void)close(s->join[i]);
    for (int i = 0; i < s->n_owned; i++)
        (void)close(s->owned[i]); /* the lock goes with the descriptor */
    if (s->v2_dir >= 0)
        (void)close(s->v2_dir);
    if (s->peak_fd >= 0)
        (void)close(s->peak_fd);
    cg_init(s);
}

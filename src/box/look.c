/* SPDX-License-Identifier: Apache-2.0 */
/* look.c - what a running box uses now, seen from outside
 *
 *     /proc/<PID 1>/cgroup ──> the slot's directories ──> memory, processes, CPU time (v2)
 *     descendants of PID 1 ──> /proc/<pid>/stat       ──> CPU time, and all of it without a slot
 *
 * Every process of a box descends from its PID 1, since that is who adopts orphans; only those
 * that `exec` brought in do not. The time of processes that have ended is in the counters of
 * their parents, so the sum over the living ones is all there was.
 *
 * A slot serves one box after the other and its counters go on. The supervisor knows what they
 * were when its box began and leaves it in the attempt's directory, from where it comes back to
 * us as the base.
 */
#include "box/look.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/spawn.h"

#define PROCESSES_MAX 100000 /* looked at in one box */
#define NO_LIMIT (1ULL << 60) /* v1 says "none" by a number near 2^63 */

void box_base_of(const struct box *b, struct box_base *out)
{
    *out = (struct box_base){b->cgroup.usage_at_start, b->cgroup.cpu_at_start};
}

/* ---- processes ---------------------------------------------------------------------------- */

struct sum {
    uint64_t cpu_ticks, resident_pages, threads;
    uint64_t own_kib; /* memory, what is shared counted in parts; what may not be seen counts nothing */
    bool want_own;    /* and nothing else is */
    size_t n;         /* processes so far */
};

static bool read_proc(pid_t pid, const char *name, struct buf *out)
{
    char path[64];
    struct err e;

    buf_reset(out);
    (void)snprintf(path, sizeof path, "/proc/%d/%s", (int)pid, name);
    return fd_read_file(AT_FDCWD, path, out, MIB, &e) == 0;
}

/* fields 14 to 17, 20 and 24 of proc(5); the name, in parentheses, may hold anything */
static void add_process(struct sum *s, struct buf *text, pid_t pid)
{
    unsigned long in_user, in_kernel;
    long of_children[2], threads, pages;
    const char *p;

    if (!read_proc(pid, "stat", text) || !(p = strrchr(buf_str(text), ')')))
        return;
    if (sscanf(p, ") %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu %ld %ld %*d %*d %ld %*d "
                  "%*u %*u %ld",
               &in_user, &in_kernel, &of_children[0], &of_children[1], &threads, &pages) != 6)
        return;
    s->cpu_ticks += in_user + in_kernel + (unsigned long)of_children[0] +
                    (unsigned long)of_children[1];
    s->threads += (unsigned long)threads;
    s->resident_pages += (unsigned long)pages;
}

/* smaps_rollup: a page that n processes share is an n-th of one for each, so a forked worker is not
 * taken for a copy of its parent. Files that are mapped the kernel may take back. */
static void add_own(struct sum *s, struct buf *text, pid_t pid)
{
    static const char *const keys[] = {"\nPss_Anon:", "\nPss_Shmem:"};

    if (!read_proc(pid, "smaps_rollup", text))
        return;
    for (size_t i = 0; i < N_ELEMS(keys); i++) {
        const char *p = strstr(buf_str(text), keys[i]);
        s->own_kib += p ? strtoull(p + strlen(keys[i]), NULL, 10) : 0;
    }
}

/* pid and all that descend from it; a process lists the children of each of its threads */
static void add_tree(struct sum *s, struct buf *text, pid_t pid)
{
    AUTO_BUF struct buf children = {0};
    char path[64];
    DIR *d;

    if (s->n++ >= PROCESSES_MAX)
        return;
    if (s->want_own)
        add_own(s, text, pid);
    else
        add_process(s, text, pid);
    (void)snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    d = opendir(path);
    buf_init(&children, MIB);
    for (struct dirent *x; d && (x = readdir(d));) {
        char name[300];
        if (x->d_name[0] == '.')
            continue;
        (void)snprintf(name, sizeof name, "task/%s/children", x->d_name);
        if (!read_proc(pid, name, &children))
            continue;
        for (char *p = children.ptr; p && *p;) {
            long child = strtol(p, &p, 10);
            p += strspn(p, " \n");
            if (child <= 1)
                break;
            add_tree(s, text, (pid_t)child);
        }
    }
    if (d)
        (void)closedir(d);
}

/* ---- the slot ------------------------------------------------------------------------------ */

static int open_slot(const struct cg_tree *t)
{
    char path[2 * CG_PATH];

    if (!strstr(t->own, "/" CG_POOL "/" CG_SLOT))
        return -1;
    (void)snprintf(path, sizeof path, "%s%s", t->mount, t->own);
    return open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static uint64_t limit_of(int dir, const char *name)
{
    uint64_t n = cg_read_u64(dir, name); /* "max" reads as 0 */

    return n < NO_LIMIT ? n : 0;
}

/* Cache can be taken back, so it does not count. What earlier boxes of the slot left does not either,
 * but some of that may be gone since the start: no less is shown than the processes have themselves. */
static void look_memory(int dir, bool v2, const struct box_base *base, uint64_t resident,
                        struct box_look *out)
{
    uint64_t used = cg_read_u64(dir, v2 ? "memory.current" : "memory.usage_in_bytes");
    uint64_t cache = cg_read_key(dir, "memory.stat", v2 ? "inactive_file" : "total_inactive_file");
    uint64_t peak = v2 ? 0 : cg_read_u64(dir, "memory.max_usage_in_bytes"); /* v2's is of all boxes */
    uint64_t held;

    out->memory_limit_bytes = limit_of(dir, v2 ? "memory.max" : "memory.limit_in_bytes");
    held = used > cache ? used - cache : 0;
    out->memory_bytes = (int64_t)held;
    if (base) {
        uint64_t own = used > base->memory_bytes ? used - base->memory_bytes : 0;
        own = own > resident ? own : resident;
        out->memory_bytes = (int64_t)(own < held ? own : held);
    }
    if (!base || !peak)
        return;
    peak -= base->memory_bytes < peak ? base->memory_bytes : peak;
    out->peak_memory_bytes = (int64_t)peak > out->memory_bytes ? (int64_t)peak : out->memory_bytes;
}

static void look_tree(const struct cg_tree *t, const struct box_base *base, uint64_t resident,
                      struct box_look *out)
{
    AUTO_FD int dir = open_slot(t);
    uint64_t n;

    if (dir < 0)
        return;
    if (t->v2 ? faccessat(dir, "memory.current", R_OK, 0) == 0
              : (t->controllers & (1U << CG_MEMORY)) != 0)
        look_memory(dir, t->v2, base, resident, out);
    if (t->v2 && base && (n = cg_read_key(dir, "cpu.stat", "usage_usec")) >= base->cpu_usec)
        out->cpu_usec = (int64_t)(n - base->cpu_usec);
    n = cg_read_u64(dir, "pids.current");
    if (n) {
        out->pids = (int64_t)n - 1; /* PID 1 is not the task's; so it is added to the limit */
        n = limit_of(dir, "pids.max");
        out->pids_max = n ? n - 1 : 0;
    }
}

void box_look(pid_t pid, const struct box_base *base, struct box_look *out)
{
    AUTO_BUF struct buf mounts = {0}, text = {0};
    AUTO_FREE struct cg_map *m = xalloc(sizeof *m);
    struct sum s = {0};
    uint64_t resident;
    struct err e;

    *out = (struct box_look){
        .memory_bytes = -1, .peak_memory_bytes = -1, .cpu_usec = -1, .pids = -1};
    buf_init(&mounts, 16 * MIB);
    buf_init(&text, MIB);
    if (read_proc(pid, "cgroup", &text) &&
        fd_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, 16 * MIB, &e) == 0)
        cg_parse(buf_str(&mounts), buf_str(&text), m);
    add_tree(&s, &text, pid);
    resident = s.resident_pages * (uint64_t)sysconf(_SC_PAGESIZE);
    for (size_t i = 0; i < m->n; i++)
        look_tree(&m->trees[i], base, resident, out);
    if (!s.threads)
        return; /* it is gone */
    if (out->cpu_usec < 0)
        out->cpu_usec = (int64_t)(s.cpu_ticks * 1000000 / (uint64_t)sysconf(_SC_CLK_TCK));
    if (out->memory_bytes < 0)
        out->memory_bytes = (int64_t)resident;
    if (out->pids < 0)
        out->pids = (int64_t)s.threads - 1;
}

/* ---- a limit without a cgroup ----------------------------------------------------------------- */

struct own_job {
    pid_t pid;
    uint64_t *bytes; /* shared with the helper */
};

static int sum_own(void *arg, struct err *e)
{
    const struct own_job *j = arg;
    AUTO_BUF struct buf text = {0};
    struct sum s = {.want_own = true};

    (void)e;
    buf_init(&text, MIB);
    add_tree(&s, &text, j->pid);
    *j->bytes = s.own_kib * KIB;
    return 0;
}

int box_memory(const struct box *b, uint64_t *out_bytes, struct err *e)
{
    uint64_t *shared;
    int rc;

    *out_bytes = 0;
    if (b->userns_fd < 0)
        return sum_own(&(struct own_job){b->pid, out_bytes}, e);
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        return err_sys(e, errno, "map a counter");
    rc = ids_run_mapped(b->userns_fd, b->ids.kind == IDS_ONE, sum_own,
                        &(struct own_job){b->pid, shared}, e);
    *out_bytes = *shared;
    (void)munmap(shared, sizeof *shared);
    return rc;
}

bool box_limits_memory(const struct box *b)
{
    return b->cgroup.enforced[CG_MEMORY];
}

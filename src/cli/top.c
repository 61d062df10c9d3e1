/* SPDX-License-Identifier: Apache-2.0 */
/* top.c - what runs now and what waits for what, as facts
 *
 * Nobody keeps a list of it, so it is put together from what each knows:
 *
 *     the database      runs and attempts that are said to run
 *     locks             whether engine and supervisor live
 *     attempt.json      GPUs; pid -> supervisor -> PID 1 of the box -> its cgroup (box/look.h)
 *     runs/ID/waiting   what the engine holds back, and why (run/waits.h)
 *     locks/            runs that wait for a mutex, memory that is promised
 *     tmp/box-PID-...   commands of `dugout box`
 *
 * All of that may change while it is read; a box that has gone meanwhile is shown without numbers
 * or not at all, and the next look sees it right.
 */
#include "cli/top.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "box/enter.h"
#include "gpu/lease.h"
#include "run/admit.h"
#include "run/attempt.h"

#define COMMAND_BYTES 200

struct looking {
    struct cli *c;
    struct arena *a;
    const struct top_memory *before;
    struct top_memory now;
    struct top *t;
};

/* ---- CPU ------------------------------------------------------------------------------------- */

/* since the last look, or since its start when there was none */
static int64_t percent(struct looking *l, int64_t key, int64_t cpu_usec, int64_t age_ms)
{
    int64_t now = clock_mono_ns(), used = cpu_usec, usec = age_ms * 1000;
    struct top_memory *m = &l->now;

    if (cpu_usec < 0)
        return -1;
    for (size_t i = 0; i < l->before->n; i++)
        if (l->before->items[i].key == key && l->before->items[i].cpu_usec <= cpu_usec) {
            used = cpu_usec - l->before->items[i].cpu_usec;
            usec = (now - l->before->items[i].at_mono_ns) / 1000;
        }
    m->items = xrealloc(m->items, (m->n + 1) * sizeof *m->items);
    m->items[m->n++] = (struct top_seen){key, cpu_usec, now};
    return usec > 0 ? (used * 100 + usec / 2) / usec : -1;
}

/* ---- tasks that run -------------------------------------------------------------------------- */

/* the box of an attempt, when it has one now */
static void look_at_box(struct looking *l, int dir_fd, struct top_task *x)
{
    AUTO_BUF struct buf text = {0};
    AUTO_FD int pidfd = -1;
    struct box_base base;
    bool begun = attempt_base(dir_fd, &base);
    struct err e;
    pid_t pid;

    buf_init(&text, 256);
    x->phase = begun ? "storing" : "starting";
    if (pid_file_open(dir_fd, "pid", &pidfd, &e) < 0 ||
        fd_read_file(dir_fd, "pid", &text, 256, &e) < 0 ||
        box_pid_of((pid_t)strtol(buf_str(&text), NULL, 10), &pid, &e) < 0)
        return;
    box_look(pid, begun ? &base : NULL, &x->look);
    x->looked = x->look.cpu_usec >= 0;
    x->phase = begun ? "running" : "starting";
    x->cpu_percent = percent(l, x->row, x->look.cpu_usec, l->t->now_unix_ms - x->since_unix_ms);
}

static bool look_at_attempt(struct looking *l, const struct db_attempt *row, struct top_task *x)
{
    AUTO_FD int dir = -1;
    struct attempt at;
    struct err e;

    x->attempt = row->number;
    x->since_unix_ms = row->started_unix_ms;
    x->cpu_percent = -1;
    if (!row->dir.len)
        return false;
    dir = open(arena_printf(l->a, "%s/%s", l->c->home, row->dir.ptr),
               O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0 || attempt_read_in(l->a, dir, &at, &e) < 0)
        return false;
    x->gpus = arena_alloc(l->a, (at.n_gpus + 1) * sizeof *x->gpus);
    for (size_t i = 0; i < at.n_gpus; i++)
        x->gpus[x->n_gpus++] = at.gpus[i].id;
    if (at.work.kind != WORK_BOX)
        x->phase = "working";
    else if (!attempt_alive(dir))
        x->phase = faccessat(dir, "result.json", F_OK, 0) == 0 ? "storing" : "starting";
    else
        look_at_box(l, dir, x);
    return true;
}

static struct top_task *add_task(struct looking *l, struct top_run *r, const struct db_task *row)
{
    struct top_task *x;

    r->tasks = arena_grow(l->a, r->tasks, &r->n_tasks, sizeof *r->tasks);
    x = &r->tasks[r->n_tasks - 1];
    *x = (struct top_task){.row = row->id, .path = row->path, .cpu_percent = -1};
    return x;
}

static int running_tasks(struct looking *l, struct top_run *r, struct err *e)
{
    struct db_attempt *rows;
    size_t n;

    if (db_attempts_open_in(l->a, l->c->db, r->row.id, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        struct db_task row;
        if (db_task_get_in(l->a, l->c->db, rows[i].task, &row, e) < 0)
            return -1;
        if (!look_at_attempt(l, &rows[i], add_task(l, r, &row)))
            r->n_tasks--;
    }
    return 0;
}

/* ---- tasks that wait ------------------------------------------------------------------------- */

static struct str in_words(struct looking *l, const struct waiting_task *w)
{
    char want[24], promised[24], budget[24];

    switch (w->what) {
    case WAIT_SLOT:
        return str_of(arena_printf(l->a, "for one of %llu jobs", (unsigned long long)w->amount));
    case WAIT_CPU:
        return str_of(arena_printf(l->a, "for %g CPUs: other tasks of the run have them",
                                   (double)w->amount / 1000));
    case WAIT_MEMORY:
        size_human(w->amount, want);
        size_human(l->t->promised_bytes, promised);
        size_human(l->t->budget_bytes, budget);
        return str_of(arena_printf(l->a, "for %s of memory: %s of %s are promised", want, promised,
                                   budget));
    case WAIT_GPU:
        return str_of(arena_printf(l->a, "for %llu GPU%s", (unsigned long long)w->amount,
                                   w->amount == 1 ? "" : "s"));
    case WAIT_RETRY:
        clock_human((int64_t)w->amount > l->t->now_unix_ms
                        ? (int64_t)w->amount - l->t->now_unix_ms
                        : 0,
                    want);
        return str_of(arena_printf(l->a, "for its next attempt, in %s", want));
    case WAIT_KINDS:
        break;
    }
    return STR("");
}

static int waiting_tasks(struct looking *l, struct top_run *r, int run_fd, struct err *e)
{
    struct waits w;

    if (waits_read_in(l->a, run_fd, &w, e) < 0)
        return -1;
    for (size_t i = 0; i < w.n; i++) {
        struct db_task row;
        struct top_task *x;
        if (db_task_get_in(l->a, l->c->db, w.tasks[i].task, &row, e) < 0)
            return -1;
        if (row.state != DB_PENDING)
            continue; /* it has started since */
        x = add_task(l, r, &row);
        x->since_unix_ms = w.tasks[i].since_unix_ms;
        x->what = w.tasks[i].what;
        x->amount = w.tasks[i].amount;
        x->why = in_words(l, &w.tasks[i]);
    }
    r->more = w.more;
    return 0;
}

/* ---- runs ------------------------------------------------------------------------------------ */

static bool is_held(int dir_fd, const char *name)
{
    AUTO_FD int fd = openat(dir_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

static int look_at_run(struct looking *l, const struct db_run *row, struct err *e)
{
    AUTO_FD int fd = open(arena_printf(l->a, "%s/runs/%s", l->c->home, row->uuid.ptr),
                          O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct top_run r = {.row = *row};

    r.engine = fd >= 0 && is_held(fd, "lock");
    if (db_run_counts(l->c->db, row->id, &r.counts, e) < 0 || running_tasks(l, &r, e) < 0 ||
        (r.engine && waiting_tasks(l, &r, fd, e) < 0))
        return -1;
    if (!r.engine && !r.n_tasks)
        return 0; /* interrupted, and nothing of it runs */
    l->t->runs = arena_grow(l->a, l->t->runs, &l->t->n_runs, sizeof *l->t->runs);
    l->t->runs[l->t->n_runs - 1] = r;
    return 0;
}

static int look_at_runs(struct looking *l, struct err *e)
{
    struct db_run_filter f = {.states = DB_IS(DB_RUNNING) | DB_IS(DB_INTERRUPTED)};
    struct db_run *rows;
    size_t n;

    if (db_runs_in(l->a, l->c->db, &f, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        if (look_at_run(l, &rows[i], e) < 0)
            return -1;
    return waits_runs_in(l->a, l->c->store, &l->t->waiting_runs, &l->t->n_waiting_runs, e);
}

/* ---- boxes of their own ---------------------------------------------------------------------- */

static struct str command_of(struct arena *a, pid_t pid)
{
    AUTO_BUF struct buf text = {0};
    struct err e;

    buf_init(&text, MIB);
    (void)fd_read_file(AT_FDCWD, arena_printf(a, "/proc/%d/cmdline", (int)pid), &text, MIB, &e);
    if (text.len > COMMAND_BYTES)
        text.len = COMMAND_BYTES;
    for (size_t i = 0; i < text.len; i++)
        if ((unsigned char)text.ptr[i] < ' ' || text.ptr[i] == 0x7f)
            text.ptr[i] = ' ';
    while (text.len && text.ptr[text.len - 1] == ' ')
        text.len--;
    return arena_str(a, (struct str){buf_str(&text), text.len});
}

static void add_box(struct looking *l, pid_t pid)
{
    int64_t ticks = (int64_t)clock_process_ticks(pid);
    int64_t age_ms = clock_mono_ns() / 1000000 - ticks * 1000 / sysconf(_SC_CLK_TCK);
    struct top_box *x;
    struct err e;
    pid_t one;

    if (!ticks || box_pid_of(pid, &one, &e) < 0)
        return;
    l->t->boxes = arena_grow(l->a, l->t->boxes, &l->t->n_boxes, sizeof *l->t->boxes);
    x = &l->t->boxes[l->t->n_boxes - 1];
    *x = (struct top_box){.pid = pid, .command = command_of(l->a, pid)};
    x->since_unix_ms = l->t->now_unix_ms - age_ms;
    box_look(one, NULL, &x->look);
    x->cpu_percent = percent(l, -(int64_t)pid, x->look.cpu_usec, age_ms);
}

static void look_at_boxes(struct looking *l)
{
    int fd = openat(store_dir_fd(l->c->store, STORE_TMP), ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    if (!d)
        auto_fd(&fd);
    for (struct dirent *x; d && (x = readdir(d));) {
        int pid = 0;
        if (sscanf(x->d_name, "box-%d-", &pid) == 1 && pid > 1)
            add_box(l, pid);
    }
    if (d)
        (void)closedir(d);
}

int top_look(struct cli *c, struct arena *a, const struct gpu_set *gpus, struct top_memory *before,
             struct top *out, struct err *e)
{
    struct looking l = {.c = c, .a = a, .before = before, .t = out};
    int rc;

    *out = (struct top){.now_unix_ms = clock_unix_ms(),
                        .budget_bytes = admit_budget(),
                        .promised_bytes = admit_promised(store_home_fd(c->store)),
                        .cpus = sysconf(_SC_NPROCESSORS_ONLN),
                        .gpu_queue = lease_waiting(gpus)};
    rc = look_at_runs(&l, e);
    look_at_boxes(&l);
    free(before->items);
    *before = l.now;
    return rc;
}

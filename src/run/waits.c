/* SPDX-License-Identifier: Apache-2.0 */
/* waits.c - what waits for what: written by engines for those who look
 *
 *     runs/<run>/waiting        tasks that may start and do not, with the reason of each:
 *         {"version":1,"tasks":[{"task":12,"for":"memory","amount":8589934592,"since":...}],"more":0}
 *     locks/wait-NOUN-<run id>  flock'ed while the run waits for a mutex:
 *         "RUN\nNOUN\nKEY\nNAME OF THE LOCK\nSINCE\n"; the lock's own text is the name of its holder
 *
 * An engine knows why it does not start a task and nobody else can find out. So it writes that
 * down, when it has changed and at most once a second: a loop of 10,000 steps changes what waits
 * 10,000 times, and a look once a second sees no more. What a dead engine left is not believed:
 * whoever reads asks for its lock first.
 */
#include "run/waits.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "run/engine.h"

#define WAITING "waiting"
#define PREFIX "wait-"
#define LISTED 100 /* tasks in the file */
#define PAUSE_NS 1000000000LL
#define LIMIT_WAITING_BYTES MIB

static const char *const names[WAIT_KINDS] = {
    [WAIT_SLOT] = "slot", [WAIT_CPU] = "cpu",     [WAIT_MEMORY] = "memory",
    [WAIT_GPU] = "gpu",   [WAIT_RETRY] = "retry",
};

const char *wait_name(enum wait_for what)
{
    return names[what];
}

/* ---- the engine: tasks ------------------------------------------------------------------------ */

struct list {
    struct waiting_task tasks[LISTED];
    size_t n;
    int64_t more;
};

static void list_add(struct list *l, struct waiting_task t)
{
    if (l->n < LISTED)
        l->tasks[l->n++] = t;
    else
        l->more++;
}

static uint64_t amount_of(const struct engine *en, const struct job *j, enum wait_for what)
{
    switch (what) {
    case WAIT_SLOT:
        return en->jobs_max;
    case WAIT_CPU:
        return job_cpu_millis(j);
    case WAIT_MEMORY:
        return job_memory_bytes(en, j);
    case WAIT_GPU:
        return gpus_wanted(en, j);
    case WAIT_RETRY:
        return (uint64_t)j->again_unix_ms;
    case WAIT_KINDS:
        break;
    }
    return 0;
}

static void list_jobs(struct engine *en, struct list *l)
{
    bool full = en->running >= en->jobs_max;

    for (size_t i = 0; i < en->n_waiting; i++) {
        const struct job *j = en->waiting[i]->user;
        enum wait_for what = full ? WAIT_SLOT : j->wait; /* only the first matter can be told */
        if (en->waiting[i]->state == TASK_PENDING)
            list_add(l, (struct waiting_task){j->row, what, amount_of(en, j, what),
                                              j->ready_unix_ms});
    }
    for (size_t i = 0; en->n_backoff && i < en->g.n_tasks; i++) {
        const struct job *j = en->g.tasks[i]->user;
        if (j && j->timer && !j->adopted && en->g.tasks[i]->state == TASK_PENDING)
            list_add(l, (struct waiting_task){j->row, WAIT_RETRY, amount_of(en, j, WAIT_RETRY),
                                              j->ready_unix_ms});
    }
    l->more += (int64_t)(en->n_ready - en->first_ready);
}

static uint64_t digest(const struct list *l)
{
    uint64_t h = (uint64_t)l->more + 1;

    for (size_t i = 0; i < l->n; i++)
        h = (h ^ (uint64_t)l->tasks[i].task ^ l->tasks[i].amount << 20 ^
             (uint64_t)l->tasks[i].what << 60) *
            0x9e3779b97f4a7c15ULL;
    return l->n || l->more ? h : 0;
}

static void write_list(struct engine *en, const struct list *l)
{
    AUTO_BUF struct buf text = {0};
    struct err ignored; /* who looks sees less; the run is not touched */
    struct jw w;

    if (!l->n && !l->more) {
        (void)unlinkat(en->run_fd, WAITING, 0);
        return;
    }
    buf_init(&text, LIMIT_WAITING_BYTES);
    jw_init(&w, &text);
    jw_obj(&w);
    jw_ki64(&w, "version", 1);
    jw_key(&w, "tasks");
    jw_arr(&w);
    for (size_t i = 0; i < l->n; i++) {
        jw_obj(&w);
        jw_ki64(&w, "task", l->tasks[i].task);
        jw_kstr(&w, "for", names[l->tasks[i].what]);
        jw_ki64(&w, "amount", (int64_t)l->tasks[i].amount);
        jw_ki64(&w, "since", l->tasks[i].since_unix_ms);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_ki64(&w, "more", l->more);
    jw_end_obj(&w);
    (void)fd_write_file(en->run_fd, WAITING, buf_str(&text), text.len, 0640, false, &ignored);
}

static void on_pause(void *ctx)
{
    struct engine *en = ctx;

    en->told_waits.timer = 0;
    waits_tell(en);
}

void waits_tell(struct engine *en)
{
    struct told_waits *told = &en->told_waits;
    int64_t now;
    uint64_t h;

    if (!told->digest && !en->n_waiting && !en->n_backoff && en->n_ready == en->first_ready)
        return;
    AUTO_FREE struct list *l = xalloc(sizeof *l);
    if (!en->finished)
        list_jobs(en, l);
    h = digest(l);
    if (h == told->digest || (told->timer && !en->finished))
        return;
    now = clock_mono_ns();
    if (now < told->at_mono_ns + PAUSE_NS && !en->finished) {
        told->timer = loop_at(en->loop, told->at_mono_ns + PAUSE_NS, on_pause, en);
        return;
    }
    told->digest = h;
    told->at_mono_ns = now;
    write_list(en, l);
}

/* ---- the engine: a run ------------------------------------------------------------------------- */

int waits_for_lock(struct engine *en, const char *noun, struct str key, const char *lock, int *out,
                   struct err *e)
{
    AUTO_BUF struct buf text = {0};
    int locks = store_dir_fd(en->env->store, STORE_LOCKS);
    char name[64], making[72];
    AUTO_FD int fd = -1;
    int rc;

    snprintf(name, sizeof name, PREFIX "%s-%s", noun, en->id);
    snprintf(making, sizeof making, "new-%s", name);
    buf_init(&text, LIMIT_WAITING_BYTES);
    buf_addf(&text, "%s\n%s\n%.*s", en->name, noun, (int)(key.len < 200 ? key.len : 200), key.ptr);
    for (char *p = text.ptr + strlen(en->name) + strlen(noun) + 2; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = '?'; /* a key may hold anything, and these are lines */
    buf_addf(&text, "\n%s\n%" PRId64 "\n", lock, clock_unix_ms());
    /* it has its name when it is locked, and no longer: who finds it unlocked removes it */
    if (store_lock(en->env->store, making, LOCK_EX | LOCK_NB, &fd, e) == 0 &&
        fd_write_all(fd, buf_str(&text), text.len, e) == 0)
        (void)renameat(locks, making, locks, name);
    rc = store_lock(en->env->store, lock, LOCK_EX, out, e);
    (void)unlinkat(locks, name, 0);
    return rc;
}

void waits_have_lock(const struct engine *en, int fd)
{
    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, en->name, strlen(en->name), 0);
}

/* ---- those who look ---------------------------------------------------------------------------- */

static bool kind_of(struct str name, enum wait_for *out)
{
    for (int k = 0; k < WAIT_KINDS; k++)
        if (str_eqz(name, names[k])) {
            *out = (enum wait_for)k;
            return true;
        }
    return false;
}

int waits_read_in(struct arena *a, int run_fd, struct waits *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root, *list, *item;
    size_t i, max;

    *out = (struct waits){0};
    buf_init(&text, LIMIT_WAITING_BYTES);
    if (fd_read_file(run_fd, WAITING, &text, LIMIT_WAITING_BYTES, e) < 0)
        return e->code == ERR_MISSING ? 0 : -1;
    if (json_parse((struct str){buf_str(&text), text.len}, LIMIT_WAITING_BYTES, &doc, e) < 0)
        return err_at(e, WAITING);
    root = yyjson_doc_get_root(doc);
    if (json_arr(root, "tasks", &list, e) < 0 || json_i64(root, "more", &out->more, e) < 0)
        return err_at(e, WAITING);
    out->tasks = arena_alloc(a, (yyjson_arr_size(list) + 1) * sizeof *out->tasks);
    yyjson_arr_foreach(list, i, max, item)
    {
        struct waiting_task *t = &out->tasks[out->n];
        struct str what;
        int64_t amount;
        if (json_i64(item, "task", &t->task, e) < 0 || json_str(item, "for", &what, e) < 0 ||
            json_i64(item, "amount", &amount, e) < 0 ||
            json_i64(item, "since", &t->since_unix_ms, e) < 0)
            return err_at(e, WAITING);
        t->amount = (uint64_t)amount;
        out->n += kind_of(what, &t->what); /* a newer dugout may know more reasons */
    }
    return 0;
}

static struct str holder_of(struct arena *a, int locks, struct str lock)
{
    AUTO_BUF struct buf text = {0};
    char name[80];
    struct err e;

    buf_init(&text, LIMIT_WAITING_BYTES);
    snprintf(name, sizeof name, "%.*s", STR_ARG(lock));
    if (strchr(name, '/') || fd_read_file(locks, name, &text, LIMIT_WAITING_BYTES, &e) < 0)
        return NO_TEXT;
    return arena_str(a, (struct str){buf_str(&text), text.len});
}

static bool read_run(struct arena *a, int locks, int fd, struct waiting_run *out)
{
    AUTO_BUF struct buf text = {0};
    struct str part[5], rest;
    struct err e;

    buf_init(&text, LIMIT_WAITING_BYTES);
    if (fd_read_all(fd, &text, LIMIT_WAITING_BYTES, &e) < 0)
        return false;
    rest = (struct str){buf_str(&text), text.len};
    for (size_t i = 0; i < N_ELEMS(part); i++) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        if (!end)
            return false;
        part[i] = arena_str(a, (struct str){rest.ptr, (size_t)(end - rest.ptr)});
        rest.len -= (size_t)(end + 1 - rest.ptr);
        rest.ptr = end + 1;
    }
    *out = (struct waiting_run){.run = part[0],
                                .noun = part[1],
                                .key = part[2],
                                .holder = holder_of(a, locks, part[3]),
                                .since_unix_ms = strtoll(part[4].ptr, NULL, 10)};
    return true;
}

int waits_runs_in(struct arena *a, const struct store *s, struct waiting_run **out, size_t *n,
                  struct err *e)
{
    int locks = store_dir_fd(s, STORE_LOCKS);
    int fd = openat(locks, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd < 0 ? NULL : fdopendir(fd);

    *out = NULL;
    *n = 0;
    if (!d)
        return err_sys(e, errno, "read the locks of the home");
    for (struct dirent *x; (x = readdir(d));) {
        AUTO_FD int one = -1;
        struct waiting_run r;
        if (strncmp(x->d_name, PREFIX, sizeof PREFIX - 1) != 0)
            continue;
        one = openat(locks, x->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (one < 0)
            continue;
        if (flock(one, LOCK_SH | LOCK_NB) == 0) {
            (void)unlinkat(locks, x->d_name, 0);
            continue;
        }
        if (!read_run(a, locks, one, &r))
            continue;
        *out = arena_grow(a, *out, n, sizeof **out);
        (*out)[*n - 1] = r;
    }
    (void)closedir(d);
    return 0;
}

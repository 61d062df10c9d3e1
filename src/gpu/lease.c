/* SPDX-License-Identifier: Apache-2.0 */
/* lease.c - taking GPUs by flock(2), and a fair queue without anybody who runs it
 *
 * A lock belongs to an open file, and an open file can be inherited and sent. So the
 * engine takes the locks, hands the descriptors to the supervisor with the attempt and
 * closes its own: the supervisor's death, of whatever cause, frees them in the same
 * instant, and nothing has to be cleaned up. Its box dies an instant later; so whoever
 * gets the lock also looks whether PID 1 of the last box is gone.
 *
 * Decisions are made under one lock ("queue"). Whoever decides looks at the tickets in
 * order and sets aside what those before him are going to take: if enough is free for
 * one, just that; if not, all of its candidates, so that a task that wants four cards
 * is not passed for ever by tasks that want one. What is left is his.
 *
 *     ticket 7  wants 2 of {0,1}     free: 1        -> 1 is set aside
 *     ticket 8  wants 1 of {0,1,2}   free: 1, 2     -> gets 2
 *
 * Waiting is asking again a few times a second. A lock that others hold cannot be
 * waited for together with timers and signals, and a free GPU for a quarter of a second
 * costs nobody anything.
 */
#include "gpu/lease.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "gpu/inside.h"

#define QUEUE "queue"
#define TICKET "ticket."
#define TICKETS_MAX 4096
#define POOL_MAX 512
#define ALIVE_S 5 /* one who has not asked for so long is passed over */

/* ---- the directory -------------------------------------------------------------- */

static int make_shared_dir(int at, const char *name, struct err *e)
{
    AUTO_FD int fd = -1;
    struct stat st;

    if (mkdirat(at, name, 0700) == 0 && fchmodat(at, name, 01777, 0) < 0)
        return err_sys(e, errno, "make the directory of GPU locks");
    fd = openat(at, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open the directory of GPU locks (%s)", name);
    /* a user was first: root takes it over, so that nobody can throw away other
     * people's locks */
    if (geteuid() == 0 && st.st_uid != 0 &&
        (fchown(fd, 0, 0) < 0 || fchmod(fd, 01777) < 0))
        return err_sys(e, errno, "take over the directory of GPU locks");
    return fd_take(&fd);
}

int lease_dir(const struct gpu_set *s, struct err *e)
{
    AUTO_FD int lock =
        fd_open_in_root(s->root_fd, "/run/lock", O_RDONLY | O_DIRECTORY, 0);
    AUTO_FD int tmp = -1;

    if (lock >= 0)
        return make_shared_dir(lock, "dugout", e);
    tmp = fd_open_in_root(s->root_fd, "/tmp", O_RDONLY | O_DIRECTORY, 0);
    if (tmp < 0)
        return err_sys(e, errno, "GPU locks need %s/run/lock or %s/tmp: open", s->root,
                       s->root);
    return make_shared_dir(tmp, "dugout.lock", e);
}

void lease_file_name(const char *prefix, const char *id, char out[GPU_ID_BYTES + 16])
{
    (void)snprintf(out, GPU_ID_BYTES + 16, "%s.%s", prefix, id);
    for (char *p = out; *p; p++)
        if (*p == '/')
            *p = '_';
}

/* A file that anybody may open and lock. In a sticky directory the kernel refuses
 * O_CREAT for a file of somebody else (fs.protected_regular), so it is made only when
 * it is missing. */
static int open_shared(int dir, const char *name)
{
    int flags = O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK;
    struct stat st;

    for (int tries = 0; tries < 100; tries++) {
        AUTO_FD int fd = openat(dir, name, flags);
        if (fd < 0 && errno == ENOENT) {
            fd = openat(dir, name, flags | O_CREAT | O_EXCL, 0666);
            if (fd >= 0)
                (void)fchmod(fd, 0666); /* whatever the umask */
            else if (errno == EEXIST)
                continue;
        }
        if (fd < 0 || fstat(fd, &st) < 0)
            return -1;
        if (!S_ISREG(st.st_mode)) {
            errno = EINVAL;
            return -1;
        }
        return fd_take(&fd);
    }
    errno = EBUSY;
    return -1;
}

/* is what we have open still what the name means? */
static bool is_current(int dir, const char *name, int fd)
{
    struct stat a, b;

    return fstat(fd, &a) == 0 && fstatat(dir, name, &b, AT_SYMLINK_NOFOLLOW) == 0 &&
           a.st_ino == b.st_ino && a.st_dev == b.st_dev;
}

static int lock_queue(int dir, struct err *e)
{
    AUTO_FD int fd = open_shared(dir, QUEUE);

    if (fd < 0)
        return err_sys(e, errno, "open the queue of GPU locks");
    while (flock(fd, LOCK_EX) < 0)
        if (errno != EINTR)
            return err_sys(e, errno, "lock the queue of GPU locks");
    return fd_take(&fd);
}

static bool try_lock(int fd, int op)
{
    int rc;

    do
        rc = flock(fd, op | LOCK_NB);
    while (rc < 0 && errno == EINTR);
    return rc == 0;
}

/* ---- small ends ----------------------------------------------------------------- */

void lease_init(struct lease *l)
{
    l->n = 0;
}

void lease_drop(struct lease *l)
{
    for (size_t i = 0; i < l->n; i++)
        (void)close(l->fds[i]);
    l->n = 0;
}

void ticket_init(struct ticket *t)
{
    *t = (struct ticket){.fd = -1, .dir_fd = -1};
}

void ticket_drop(struct ticket *t)
{
    if (t->fd >= 0) {
        (void)unlinkat(t->dir_fd, t->name, 0);
        (void)close(t->fd);
        (void)close(t->dir_fd);
    }
    ticket_init(t);
}

/* ---- what is free --------------------------------------------------------------- */

/* one GPU that somebody may want; we hold its lock when it is free */
struct pooled {
    char name[GPU_ID_BYTES + 16];
    int fd;    /* -1: others have it */
    bool idle; /* nobody has it, not even shared */
    bool set_aside;
};

struct pool {
    int dir;
    bool shared;
    struct pooled *items;
    size_t n;
};

static void pool_done(struct pool *p)
{
    for (size_t i = 0; i < p->n; i++)
        if (p->items[i].fd >= 0)
            (void)close(p->items[i].fd);
    free(p->items);
}

/* "who\nPID TICKS\n": does the box of the last holder still live? A number that is not
 * to be seen from here (another pid namespace) counts as gone. */
static bool box_lingers(int fd)
{
    char text[GPU_TEXT_BYTES + 64], *line;
    ssize_t n = pread(fd, text, sizeof text - 1, 0);
    unsigned long long ticks = 0;
    int pid = 0;

    text[n > 0 ? n : 0] = 0;
    line = strchr(text, '\n');
    return line && sscanf(line + 1, "%d %llu", &pid, &ticks) == 2 && pid > 1 && ticks &&
           clock_process_ticks(pid) == ticks;
}

static struct pooled *pool_get(struct pool *p, const char *name)
{
    struct pooled *x;

    for (size_t i = 0; i < p->n; i++)
        if (strcmp(p->items[i].name, name) == 0)
            return &p->items[i];
    if (p->n == POOL_MAX)
        return NULL;
    if (!p->items)
        p->items =
            xalloc(POOL_MAX * sizeof *p->items); /* they are pointed at: never moved */
    x = &p->items[p->n++];
    *x = (struct pooled){.fd = open_shared(p->dir, name)};
    (void)snprintf(x->name, sizeof x->name, "%s", name);
    if (x->fd < 0)
        return x;
    x->idle = try_lock(x->fd, LOCK_EX);
    if ((!x->idle && !(p->shared && try_lock(x->fd, LOCK_SH))) ||
        !is_current(p->dir, name, x->fd) || (x->idle && box_lingers(x->fd))) {
        (void)close(x->fd);
        x->fd = -1;
    }
    return x;
}

/* ---- tickets -------------------------------------------------------------------- */

static int by_text(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* the tickets in order, in a; those whose owners are gone are removed on the way */
static char **live_tickets(struct arena *a, int dir, size_t *n)
{
    int fd = openat(dir, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    DIR *d = fd >= 0 ? fdopendir(fd) : NULL;
    const struct dirent *x;
    char **names = NULL;

    *n = 0;
    if (!d) {
        auto_fd(&fd);
        return NULL;
    }
    while (*n < TICKETS_MAX && (x = readdir(d))) {
        AUTO_FD int ticket = -1;
        if (strncmp(x->d_name, TICKET, sizeof TICKET - 1) != 0)
            continue;
        ticket = openat(dir, x->d_name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
        if (ticket < 0)
            continue;
        if (try_lock(ticket, LOCK_SH)) {
            (void)unlinkat(dir, x->d_name, 0);
            continue;
        }
        names = arena_grow(a, names, n, sizeof *names);
        names[*n - 1] = arena_strdup(a, x->d_name);
    }
    (void)closedir(d);
    if (*n)
        qsort(names, *n, sizeof *names, by_text); /* the numbers have leading zeros */
    return names;
}

static int new_ticket(int queue, int dir, const struct lease_want *w, struct ticket *t,
                      struct err *e)
{
    AUTO_BUF struct buf text = {0};
    char number[24] = "";
    unsigned long long last;

    (void)!pread(queue, number, sizeof number - 1, 0);
    last = strtoull(number, NULL, 10) + 1;
    (void)snprintf(number, sizeof number, "%012llu\n", last % 1000000000000ULL);
    if (pwrite(queue, number, strlen(number), 0) != (ssize_t)strlen(number))
        return err_sys(e, errno, "take a number in the queue for GPUs");
    (void)snprintf(t->name, sizeof t->name, TICKET "%.12s", number);
    t->dir_fd = fcntl(dir, F_DUPFD_CLOEXEC, 3);
    t->fd = t->dir_fd < 0 ? -1 : open_shared(dir, t->name);
    if (t->fd < 0 || !try_lock(t->fd, LOCK_EX)) {
        int saved = errno;
        auto_fd(&t->fd);
        auto_fd(&t->dir_fd);
        ticket_init(t);
        return err_sys(e, saved, "queue for GPUs");
    }
    buf_init(&text, LIMIT_GPU_TEXT);
    buf_addf(&text, "%u\n", w->count);
    for (size_t i = 0; i < w->n; i++) {
        char name[GPU_ID_BYTES + 16];
        if (!gpu_ready(w->candidates[i]))
            continue;
        lease_file_name("gpu", w->candidates[i]->id, name);
        buf_addf(&text, "%s\n", name);
    }
    return fd_write_all(t->fd, buf_str(&text), text.len, e);
}

/* its owner has asked lately */
static bool is_asking(int fd)
{
    struct timespec now;
    struct stat st;

    (void)clock_gettime(CLOCK_REALTIME, &now);
    return fstat(fd, &st) == 0 && now.tv_sec - st.st_mtim.tv_sec <= ALIVE_S &&
           st.st_mtim.tv_sec - now.tv_sec <= ALIVE_S;
}

/* set aside what the owner of this ticket, who comes before us, is going to take */
static void serve_first(struct pool *p, const char *ticket)
{
    AUTO_FD int fd =
        openat(p->dir, ticket, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    AUTO_BUF struct buf text = {0};
    struct pooled *its[POOL_MAX];
    struct str rest, line;
    unsigned long count;
    size_t n = 0;
    struct err e;

    buf_init(&text, LIMIT_GPU_TEXT);
    if (fd < 0 || !is_asking(fd) || fd_read_all(fd, &text, LIMIT_GPU_TEXT, &e) < 0)
        return;
    rest = (struct str){buf_str(&text), text.len};
    if (!next_line(&rest, &line))
        return;
    count = strtoul(line.ptr, NULL, 10);
    while (n < POOL_MAX && next_line(&rest, &line)) {
        char name[GPU_ID_BYTES + 16];
        struct pooled *x;
        (void)snprintf(name, sizeof name, "%.*s", STR_ARG(line));
        if (strncmp(name, "gpu.", 4) != 0 || strchr(name, '/'))
            continue;
        x = pool_get(p, name);
        if (x && x->fd >= 0 && x->idle && !x->set_aside)
            its[n++] = x;
    }
    for (size_t i = 0; i < n && (n < count || i < count); i++)
        its[i]->set_aside = true;
}

/* ---- choosing ------------------------------------------------------------------- */

static bool is_free(const struct pooled *x)
{
    return x && x->fd >= 0 && !x->set_aside;
}

/* how many of the free ones lie on this NUMA node (-2: any) */
static size_t free_on(struct pool *p, const struct lease_want *w, int numa)
{
    char name[GPU_ID_BYTES + 16];
    size_t n = 0;

    for (size_t i = 0; i < w->n; i++) {
        lease_file_name("gpu", w->candidates[i]->id, name);
        n += gpu_ready(w->candidates[i]) && is_free(pool_get(p, name)) &&
             (numa == -2 || w->candidates[i]->numa == numa);
    }
    return n;
}

void lease_box(const int *fds, size_t n, pid_t pid)
{
    unsigned long long ticks = clock_process_ticks(pid);

    for (size_t i = 0; i < n; i++) {
        char text[GPU_TEXT_BYTES + 64];
        ssize_t len = pread(fds[i], text, GPU_TEXT_BYTES, 0);
        char *end = len > 0 ? memchr(text, '\n', (size_t)len) : NULL;
        int more;
        if (!end)
            continue;
        more = snprintf(end + 1, 48, "%d %llu\n", (int)pid, ticks);
        (void)!pwrite(fds[i], end + 1, (size_t)more, end + 1 - text);
    }
}

static void note_holder(int fd, const char *who)
{
    char text[GPU_TEXT_BYTES];
    int n = snprintf(text, sizeof text, "%.150s\n", who);

    if (ftruncate(fd, 0) == 0)
        (void)!pwrite(fd, text, (size_t)n, 0);
}

/* idle ones first, then those that others share */
static void choose(struct pool *p, const struct lease_want *w, int numa,
                   struct lease *out)
{
    char name[GPU_ID_BYTES + 16];

    for (int idle = 1; idle >= 0; idle--)
        for (size_t k = 0; k < w->n && out->n < w->count; k++) {
            /* those who share spread out */
            size_t i = idle ? k : (k + (size_t)getpid()) % w->n;
            struct gpu *g = w->candidates[i];
            struct pooled *x;
            lease_file_name("gpu", g->id, name);
            x = gpu_ready(g) ? pool_get(p, name) : NULL;
            if (!is_free(x) || x->idle != idle || (numa != -2 && g->numa != numa))
                continue;
            if (w->shared && x->idle)
                (void)flock(x->fd, LOCK_SH);
            note_holder(x->fd, w->who);
            out->gpus[out->n] = g;
            out->fds[out->n++] = fd_take(&x->fd);
        }
}

static int pick(struct pool *p, const struct lease_want *w, struct lease *out)
{
    int numa = -2;

    if (free_on(p, w, -2) < w->count)
        return 0;
    for (size_t i = 0; w->count > 1 && numa == -2 && i < w->n; i++)
        if (free_on(p, w, w->candidates[i]->numa) >= w->count)
            numa = w->candidates[i]->numa;
    choose(p, w, numa, out);
    return 1;
}

int lease_take(const struct gpu_set *s, const struct lease_want *w, struct ticket *t,
               struct lease *out, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_FD int dir = lease_dir(s, e);
    AUTO_FD int queue = dir < 0 ? -1 : lock_queue(dir, e);
    struct pool p = {.dir = dir, .shared = w->shared};
    size_t n, ready = 0;
    char **tickets;
    int rc;

    lease_init(out);
    for (size_t i = 0; i < w->n; i++)
        ready += gpu_ready(w->candidates[i]);
    if (queue < 0)
        return -1;
    if (w->count > LEASE_MAX || ready < w->count)
        return gpu_enough(&(struct gpu_want){STR(""), w->count}, w->candidates, w->n,
                          e) < 0
                   ? -1
                   : err_set(e, ERR_LIMIT, "%u GPUs: a task can have %d at most",
                             w->count, LEASE_MAX);
    tickets = live_tickets(&a, dir, &n);
    for (size_t i = 0; i < n && (t->fd < 0 || strcmp(tickets[i], t->name) < 0); i++)
        serve_first(&p, tickets[i]);
    rc = pick(&p, w, out);
    pool_done(&p);
    if (rc == 1)
        ticket_drop(t);
    else if (t->fd < 0)
        rc = new_ticket(queue, dir, w, t, e);
    else
        (void)futimens(t->fd, NULL);
    return rc;
}

void lease_holder(const struct gpu_set *s, const struct gpu *g,
                  char out[GPU_TEXT_BYTES])
{
    struct err e;
    AUTO_FD int dir = lease_dir(s, &e);
    AUTO_FD int queue = dir < 0 ? -1 : lock_queue(dir, &e);
    AUTO_FD int fd = -1;
    char name[GPU_ID_BYTES + 16];
    ssize_t n;

    out[0] = 0;
    lease_file_name("gpu", g->id, name);
    fd = queue < 0 ? -1
                   : openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0 || (try_lock(fd, LOCK_EX) && !box_lingers(fd)))
        return;
    n = pread(fd, out, GPU_TEXT_BYTES - 16, 0);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < ' ' || *c == 0x7f)
            *c = '?';
    if (!out[0])
        (void)snprintf(out, GPU_TEXT_BYTES, "somebody");
    if (try_lock(fd, LOCK_EX))
        (void)snprintf(out + strlen(out), GPU_TEXT_BYTES - strlen(out),
                       ", whose box has not died yet");
    else if (try_lock(fd, LOCK_SH))
        (void)snprintf(out + strlen(out), GPU_TEXT_BYTES - strlen(out), " (shared)");
}

size_t lease_waiting(const struct gpu_set *s)
{
    AUTO_ARENA struct arena a = {0};
    struct err e;
    AUTO_FD int dir = s->n ? lease_dir(s, &e) : -1;
    AUTO_FD int queue = dir < 0 ? -1 : lock_queue(dir, &e);
    size_t n = 0;

    if (queue >= 0)
        (void)live_tickets(&a, dir, &n);
    return n;
}

int lease_busy(const struct gpu_set *s, const struct lease_want *w, struct err *e)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 300);
    for (size_t i = 0; i < w->n; i++) {
        char who[GPU_TEXT_BYTES];
        lease_holder(s, w->candidates[i], who);
        if (who[0])
            buf_addf(&b, "%s%.60s is in use by %.100s", b.len ? "; " : "",
                     w->candidates[i]->id, who);
    }
    return err_set(e, ERR_BUSY, "no GPU became free in time: %s",
                   b.len ? buf_str(&b) : "others were before us in the queue");
}

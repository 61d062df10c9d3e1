/* SPDX-License-Identifier: Apache-2.0 */
/* unpack.c - forked workers that unpack layers, several at a time
 *
 *   load (this process)  ->  a worker for each layer: tar -> files   ->  its feed:
 * inflate
 *
 * A worker writes one result into a pipe when it is done; a pipe that ends without one
 * means that it died. Layers do not depend on each other, so they are unpacked in any
 * order; those that turn out to need the layers below them come back with needs_below.
 */
#include "image/unpack.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/confine.h"
#include "image/layer.h"

#define TICK_MS 200

struct result {
    struct err err;
    bool needs_below;
    struct feed_sums sums;
    uint64_t entries;
    uint32_t devices, sockets, attributes;
    char attribute[64];
    bool no_xattrs;
};

/* ---- the worker ---- */

static int read_feed(void *ctx, const void **block, size_t *len, struct err *e)
{
    return feed_next(ctx, block, len, e);
}

static int drain(struct feed *f, struct err *e)
{
    const void *block;
    size_t len;

    do {
        if (feed_next(f, &block, &len, e) < 0)
            return -1;
    } while (len > 0);
    return 0;
}

static int make_dirs(int tmp_fd, const char *dir, int *dir_fd, int *fs_fd, struct err *e)
{
    (void)umask(0);
    if (mkdirat(tmp_fd, dir, 0700) < 0)
        return err_sys(e, errno, "make a directory for the layer");
    *dir_fd = openat(tmp_fd, dir, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (*dir_fd < 0 || mkdirat(*dir_fd, "fs", 0755) < 0)
        return err_sys(e, errno, "make a directory for the layer");
    *fs_fd = openat(*dir_fd, "fs", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return *fs_fd < 0 ? err_sys(e, errno, "make a directory for the layer") : 0;
}

static void note_facts(struct result *r, const struct layer_facts *facts)
{
    r->needs_below = facts->needs_below;
    r->entries = facts->entries;
    r->devices = facts->devices;
    r->sockets = facts->sockets;
    r->attributes = facts->attributes;
    r->no_xattrs = facts->no_xattrs;
    memcpy(r->attribute, facts->attribute, sizeof(r->attribute));
}

static int check_sums(const struct unpack_job *job, struct feed *f, struct result *r,
                      struct err *e)
{
    feed_sums(f, &r->sums);
    if (job->want_diff && strcmp(job->want_diff, r->sums.tar_hex) != 0)
        return err_set(e, ERR_CORRUPT,
                       "its tar hashes to sha256:%.12s, want diff_id sha256:%.12s",
                       r->sums.tar_hex, job->want_diff);
    return 0;
}

static int unpack_into(const struct unpack_pool *pool, const struct unpack_job *job,
                       struct feed *f, struct result *r, struct err *e)
{
    AUTO_FD int dir_fd = -1;
    AUTO_FD int fs_fd = -1;
    AUTO_FD int root = -1;
    struct stack below = job->below ? *job->below : (struct stack){.n = 0};
    struct confine shut = {.home_fd = pool->tmp_fd,
                           .read_fds = below.fds,
                           .n_read_fds = below.n,
                           .new_root = &root};
    struct layer_opts opts = {.owners = pool->owners,
                              .userxattr = pool->userxattr,
                              .below = job->below ? &below : NULL,
                              .max_bytes = pool->max_bytes,
                              .max_entries = pool->max_entries,
                              .budget = pool->budget};
    struct layer_facts facts;
    struct layer_meta meta;
    int ret;

    if (confine(&shut, e) < 0 ||
        make_dirs(root >= 0 ? root : pool->tmp_fd, job->dir, &dir_fd, &fs_fd, e) < 0)
        return -1;
    opts.fs_fd = fs_fd;
    ret = layer_unpack(read_feed, f, &opts, &facts, e);
    note_facts(r, &facts);
    if (ret == 0 && !facts.needs_below) {
        ret = check_sums(job, f, r, e);
        meta = (struct layer_meta){.tar_bytes = r->sums.tar_bytes,
                                   .entries = facts.entries,
                                   .blob = r->sums.as_came,
                                   .format = r->sums.format};
        if (ret == 0)
            ret = layer_meta_write(dir_fd, &meta, &facts.implied, e);
    }
    layer_facts_done(&facts);
    return ret;
}

static int work(const struct unpack_pool *pool, const struct unpack_job *job,
                struct result *r, struct err *e)
{
    struct feed_opts opts = {.home = pool->home,
                             .want_hex = job->want_blob,
                             .keep = job->keep,
                             .max_bytes = LIMIT_LAYER_BYTES,
                             .counter = pool->counter};
    struct feed *f = NULL;
    int ret;

    if (feed_open(&job->src, &opts, &f, e) < 0)
        return -1;
    if (job->dir) {
        ret = unpack_into(pool, job, f, r, e);
    } else {
        ret = drain(f, e);
        if (ret == 0)
            ret = check_sums(job, f, r, e);
    }
    feed_close(f);
    return ret;
}

static int start(const struct unpack_pool *pool, struct unpack_job *job, struct err *e)
{
    pid_t parent = getpid();
    int result[2];

    if (pipe2(result, O_CLOEXEC) < 0)
        return err_sys(e, errno, "make a pipe");
    job->pid = fork();
    if (job->pid == 0) {
        struct result r = {.needs_below = false};
        struct err ignored;
        (void)signal(SIGPIPE, SIG_IGN);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        (void)work(pool, job, &r, &r.err);
        _exit(fd_write_all(result[1], &r, sizeof(r), &ignored) < 0);
    }
    (void)close(result[1]);
    job->result_fd = result[0];
    if (job->pid < 0) {
        (void)close(result[0]);
        return err_sys(e, errno, "fork a worker");
    }
    return 0;
}

/* ---- here ---- */

static void reap(struct unpack_job *job, bool end)
{
    if (job->pid <= 0)
        return;
    if (end)
        (void)kill(job->pid, SIGKILL);
    while (waitpid(job->pid, NULL, 0) < 0 && errno == EINTR)
        ;
    job->pid = 0;
    (void)close(job->result_fd);
}

static int collect(struct unpack_job *job, struct err *e)
{
    AUTO_BUF struct buf b = {.ptr = NULL};
    struct result r;
    int ret = fd_read_all(job->result_fd, &b, sizeof(r), e);

    reap(job, false);
    if (ret < 0)
        return -1;
    if (b.len != sizeof(r))
        return err_set(e, ERR_SYS,
                       "the worker that unpacks it died (is there enough memory?)");
    memcpy(&r, b.ptr, sizeof(r));
    if (r.err.code != ERR_NONE) {
        *e = r.err;
        return -1;
    }
    job->needs_below = r.needs_below;
    job->sums = r.sums;
    job->entries = r.entries;
    job->devices = r.devices;
    job->sockets = r.sockets;
    job->attributes = r.attributes;
    job->no_xattrs = r.no_xattrs;
    memcpy(job->attribute, r.attribute, sizeof(job->attribute));
    return 0;
}

/* wait for any of the jobs from `first` to `next` and collect those that are done */
static int wait_some(const struct unpack_pool *pool, struct unpack_job *jobs,
                     size_t next, size_t *running, size_t *done, size_t *failed,
                     struct err *e)
{
    AUTO_FREE struct pollfd *fds = xalloc((*running + 1) * sizeof(*fds));
    AUTO_FREE size_t *index = xalloc((*running + 1) * sizeof(*index));
    nfds_t n = 0;

    for (size_t i = 0; i < next; i++) {
        if (jobs[i].pid <= 0)
            continue;
        index[n] = i;
        fds[n++] = (struct pollfd){.fd = jobs[i].result_fd, .events = POLLIN};
    }
    int r = poll(fds, n, TICK_MS);
    if (r < 0 && errno != EINTR)
        return err_sys(e, errno, "wait for workers");
    for (nfds_t k = 0; r > 0 && k < n; k++) {
        if (!fds[k].revents)
            continue;
        *failed = index[k];
        if (collect(&jobs[index[k]], e) < 0)
            return -1;
        --*running;
        ++*done;
    }
    if (pool->tick)
        pool->tick(pool->ctx, *done);
    return 0;
}

int unpack_run(const struct unpack_pool *pool, struct unpack_job *jobs, size_t n,
               size_t *failed, struct err *e)
{
    size_t next = 0, running = 0, done = 0;
    int r = 0;

    while (r == 0 && done < n) {
        if (next < n && running < pool->workers) {
            *failed = next;
            r = start(pool, &jobs[next], e);
            next += r == 0;
            running += r == 0;
        } else {
            r = wait_some(pool, jobs, next, &running, &done, failed, e);
        }
    }
    for (size_t i = 0; i < next; i++)
        reap(&jobs[i], true);
    return r;
}

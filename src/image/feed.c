/* SPDX-License-Identifier: Apache-2.0 */
/* feed.c - two processes on one layer: one inflates, the other writes files
 *
 *   worker: read -> SHA-256 -> blob -> inflate -> slot of a shared ring
 *   here:   slot -> SHA-256 -> tar reader -> files          (hands the slot back)
 *
 * The data itself never goes through a pipe, only the numbers of slots do: full ones
 * one way, empty ones the other. A pipe wakes its reader, and its end tells each side
 * that the other one died. The hash of the tar is made here, where there is time while
 * the worker inflates; for a layer that is not compressed it is the worker's hash
 * already.
 */
#include "image/feed.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "image/confine.h"

#define SLOTS 4
#define SLOT_BYTES (512 * 1024)

/* what the worker says; the last message has last set */
struct message {
    uint32_t slot, len;
    bool last;
    enum zip_format format;
    struct blob_id as_came;
    struct err err; /* ERR_NONE: fine */
};

struct feed {
    pid_t worker;
    int full_fd, free_fd; /* read slots that are full, write those that are empty */
    uint8_t *ring;
    int held; /* the slot that the caller looks at, or -1 */
    bool ended;
    struct sha256 hash;
    struct feed_sums sums;
};

static int read_full(int fd, void *p, size_t len)
{
    uint8_t *at = p;

    while (len) {
        ssize_t n = read(fd, at, len);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return -1;
        at += n;
        len -= (size_t)n;
    }
    return 0;
}

/* ---- the worker ---- */

struct worker {
    const struct feed_opts *opts;
    int full_fd, free_fd;
    uint8_t *ring;
    struct store *store;
    struct blob_writer *tee;
    struct inflate *z;
};

static void send_message(struct worker *w, const struct message *m)
{
    struct err ignored;

    if (fd_write_all(w->full_fd, m, sizeof(*m), &ignored) < 0)
        _exit(1); /* nobody listens any more */
}

/* it may name blobs in the home, and open nothing else */
static int shut_in(const struct feed_opts *opts, struct err *e)
{
    AUTO_FD int home = open(opts->keep ? opts->home : "/proc/self/fd",
                            O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct confine c = {.home_fd = home};

    return confine(&c, e);
}

/* a blob that the store has needs no second copy, but is hashed all the same */
static int worker_open(struct worker *w, const struct bytes_src *src, struct err *e)
{
    struct inflate_opts o = {.max_bytes = w->opts->max_bytes,
                             .counter = w->opts->counter};

    if (w->opts->keep) {
        if (store_open(w->opts->home, &w->store, e) < 0)
            return -1;
        if (!w->opts->want_hex || !blob_is_kept(w->store, w->opts->want_hex)) {
            if (blob_writer_open(w->store, 0, &w->tee, e) < 0)
                return -1;
        }
    }
    o.tee = w->tee;
    return shut_in(w->opts, e) < 0 ? -1 : inflate_open(src, &o, &w->z, e);
}

static int worker_pump(struct worker *w, struct err *e)
{
    struct message m = {.format = inflate_format(w->z)};
    uint32_t n = 0;

    for (;; n++) {
        size_t len;
        uint8_t slot = (uint8_t)n;
        if (n >= SLOTS && read_full(w->free_fd, &slot, 1) < 0)
            _exit(1);
        if (inflate_read(w->z, w->ring + (size_t)slot * SLOT_BYTES, SLOT_BYTES, &len,
                         e) < 0)
            return -1;
        if (len == 0)
            return 0;
        m.slot = slot;
        m.len = (uint32_t)len;
        send_message(w, &m);
    }
}

static int worker_finish(struct worker *w, struct message *m, struct err *e)
{
    const char *want = w->opts->want_hex;
    struct blob_writer *tee = w->tee;

    inflate_rest(w->z, m->as_came.hex, &m->as_came.size_bytes);
    if (want && strcmp(want, m->as_came.hex) != 0)
        return err_set(e, ERR_CORRUPT,
                       "its bytes hash to sha256:%.12s, want sha256:%.12s",
                       m->as_came.hex, want);
    w->tee = NULL;
    if (tee)
        return blob_writer_commit(tee, m->as_came.hex, &m->as_came, e);
    return w->store ? blob_refresh(w->store, m->as_came.hex, e) : 0;
}

static _Noreturn void worker_main(struct worker *w, const struct bytes_src *src)
{
    struct message m = {.last = true};

    if (worker_open(w, src, &m.err) == 0 && worker_pump(w, &m.err) == 0)
        (void)worker_finish(w, &m, &m.err);
    if (w->z)
        m.format = inflate_format(w->z);
    blob_writer_abort(w->tee);
    send_message(w, &m);
    _exit(0);
}

/* ---- here ---- */

static int start_worker(struct feed *f, const struct bytes_src *src,
                        const struct feed_opts *opts, struct err *e)
{
    int full[2] = {-1, -1}, empty[2] = {-1, -1};
    pid_t parent = getpid();

    if (pipe2(full, O_CLOEXEC) < 0)
        return err_sys(e, errno, "make a pipe");
    f->full_fd = full[0];
    if (pipe2(empty, O_CLOEXEC) < 0) {
        (void)close(full[1]);
        return err_sys(e, errno, "make a pipe");
    }
    f->free_fd = empty[1];
    f->worker = fork();
    if (f->worker == 0) {
        struct worker w = {
            .opts = opts, .full_fd = full[1], .free_fd = empty[0], .ring = f->ring};
        (void)close(full[0]);
        (void)close(empty[1]);
        (void)signal(SIGPIPE, SIG_IGN);
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        worker_main(&w, src);
    }
    (void)close(full[1]);
    (void)close(empty[0]);
    if (f->worker < 0)
        return err_sys(e, errno, "fork a worker");
    return 0;
}

int feed_open(const struct bytes_src *src, const struct feed_opts *opts,
              struct feed **gives, struct err *e)
{
    struct feed *f = xalloc(sizeof(*f));

    f->worker = -1;
    f->full_fd = f->free_fd = f->held = -1;
    sha256_init(&f->hash);
    f->ring = mmap(NULL, SLOTS * SLOT_BYTES, PROT_READ | PROT_WRITE,
                   MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (f->ring == MAP_FAILED) {
        f->ring = NULL;
        feed_close(f);
        return err_sys(e, errno, "map a buffer");
    }
    if (start_worker(f, src, opts, e) < 0) {
        feed_close(f);
        return -1;
    }
    *gives = f;
    return 0;
}

static int at_end(struct feed *f, const struct message *m, struct err *e)
{
    if (m->err.code != ERR_NONE) {
        *e = m->err;
        return -1;
    }
    f->ended = true;
    f->sums.as_came = m->as_came;
    f->sums.format = m->format;
    if (m->format == ZIP_NONE)
        memcpy(f->sums.tar_hex, m->as_came.hex, sizeof(f->sums.tar_hex));
    else
        sha256_final_hex(&f->hash, f->sums.tar_hex);
    return 0;
}

int feed_next(struct feed *f, const void **block, size_t *len, struct err *e)
{
    struct message m;

    *len = 0;
    if (f->ended)
        return 0;
    if (f->held >= 0) {
        uint8_t slot = (uint8_t)f->held;
        f->held = -1;
        (void)!write(f->free_fd, &slot,
                     1); /* fails when the worker is done, which is fine */
    }
    if (read_full(f->full_fd, &m, sizeof(m)) < 0)
        return err_set(e, ERR_SYS, "the worker that reads the archive died");
    if (m.last)
        return at_end(f, &m, e);
    f->held = (int)m.slot;
    *block = f->ring + (size_t)m.slot * SLOT_BYTES;
    *len = m.len;
    f->sums.tar_bytes += m.len;
    if (m.format != ZIP_NONE)
        sha256_add(&f->hash, *block, m.len);
    return 0;
}

void feed_sums(struct feed *f, struct feed_sums *out)
{
    must(f->ended);
    *out = f->sums;
}

void feed_close(struct feed *f)
{
    if (!f)
        return;
    if (f->full_fd >= 0)
        (void)close(f->full_fd);
    if (f->free_fd >= 0)
        (void)close(f->free_fd);
    if (f->worker > 0) {
        if (!f->ended)
            (void)kill(f->worker, SIGKILL);
        while (waitpid(f->worker, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    if (f->ring)
        (void)munmap(f->ring, SLOTS * SLOT_BYTES);
    free(f);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* store_gc_test.c - digest sets, the sweep, and what it must never take */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/mem.h"
#include "store/gc.h"
#include "store/tree.h"
#include "t.h"

static char home[64];
static struct store *s;
static struct err e;
static const struct timespec old[2] = {{1000, 0}, {1000, 0}};

static void digest_of(int i, char hex[DIGEST_HEX])
{
    sha256_hex(&i, sizeof(i), hex);
}

static void age(enum store_dir d, const char *name)
{
    CHECK_INT(utimensat(store_dir_fd(s, d), name, old, AT_SYMLINK_NOFOLLOW), 0);
}

static bool there(enum store_dir d, const char *name)
{
    return faccessat(store_dir_fd(s, d), name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static struct gc_count sweep(const struct gc_plan *plan, enum gc_kind kind)
{
    struct gc_count out[GC_KINDS];

    CHECK_INT(gc_sweep(s, plan, out, &e), 0);
    return out[kind];
}

static void a_set_holds_what_was_added_and_nothing_else(void)
{
    AUTO_DIGEST_SET struct digest_set d = {.slots = NULL};
    char hex[DIGEST_HEX];
    int wrong = 0;

    digest_of(0, hex);
    CHECK(!digest_set_has(&d, hex));
    for (int i = 0; i < 20000; i += 2) {
        digest_of(i, hex);
        wrong += !digest_set_add(&d, hex);
    }
    CHECK(!digest_set_add(&d, hex));
    CHECK(!digest_set_add(&d, "no digest"));
    for (int i = 0; i < 20000; i++) {
        digest_of(i, hex);
        wrong += digest_set_has(&d, hex) != (i % 2 == 0);
    }
    CHECK_INT(wrong, 0);
    CHECK_INT(d.n, 10000);
}

static void blobs_go_when_they_are_old_and_unnamed(void)
{
    AUTO_DIGEST_SET struct digest_set live = {.slots = NULL};
    struct gc_plan plan = {.blobs = &live, .young_unix_ms = clock_unix_ms() - 60000, .dry_run = true};
    struct blob_id keep, young, gone;

    CHECK_INT(blob_put_bytes(s, "keep", 4, 0, &keep, &e), 0);
    CHECK_INT(blob_put_bytes(s, "young", 5, 0, &young, &e), 0);
    CHECK_INT(blob_put_bytes(s, "gone", 4, 0, &gone, &e), 0);
    age(STORE_BLOBS, keep.hex);
    age(STORE_BLOBS, gone.hex);
    CHECK(digest_set_add(&live, keep.hex));
    CHECK_INT(fd_write_file(store_dir_fd(s, STORE_BLOBS), "no-digest", "x", 1, 0644,
                            false, &e),
              0);
    age(STORE_BLOBS, "no-digest");

    CHECK_INT(sweep(&plan, GC_BLOBS).n, 1);
    CHECK(blob_has(s, gone.hex));
    plan.dry_run = false;
    CHECK_INT(sweep(&plan, GC_BLOBS).n, 1);
    CHECK(!blob_has(s, gone.hex));
    CHECK(blob_has(s, keep.hex));
    CHECK(blob_has(s, young.hex));
    CHECK(there(STORE_BLOBS, "no-digest"));
    plan.blobs = NULL; /* leave blobs alone */
    age(STORE_BLOBS, young.hex);
    CHECK_INT(sweep(&plan, GC_BLOBS).n, 0);
    CHECK(blob_has(s, young.hex));
}

static void a_tree_keeps_the_objects_below_it(void)
{
    AUTO_DIGEST_SET struct digest_set live = {.slots = NULL};
    struct gc_plan plan = {.blobs = &live,
                           .checkouts = &live,
                           .young_unix_ms = clock_unix_ms()};
    struct tree_id id;

    CHECK_INT(fd_mkdirs(AT_FDCWD, home, 0755, &e), 0);
    int at = open(home, O_RDONLY | O_DIRECTORY);
    CHECK_INT(fd_mkdirs(at, "tree/a/b", 0755, &e), 0);
    CHECK_INT(fd_write_file(at, "tree/a/b/f", "x", 1, 0644, false, &e), 0);
    CHECK_INT(tree_put(s, at, "tree", BLOB_ADOPT, &id, &e), 0);
    (void)close(at);
    CHECK_INT(gc_mark_tree(s, id.hex, &live, &e), 0);
    CHECK_INT(live.n, 3);
    CHECK(sweep(&plan, GC_BLOBS).n > 0); /* of the tests before */
    AUTO_DIGEST_SET struct digest_set again = {.slots = NULL};
    CHECK_INT(gc_mark_tree(s, id.hex, &again, &e), 0);
    CHECK_INT(tree_verify(s, id.hex, &e), 0);

    AUTO_DIGEST_SET struct digest_set none = {.slots = NULL};
    plan.blobs = plan.checkouts = &none;
    plan.young_unix_ms = clock_unix_ms() + 1000;
    CHECK_INT(sweep(&plan, GC_CHECKOUTS).n, 1);
    CHECK_INT(gc_mark_tree(s, id.hex, &again, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
}

static void a_pinned_layer_stays(void)
{
    AUTO_DIGEST_SET struct digest_set none = {.slots = NULL};
    struct gc_plan plan = {.layers = &none, .young_unix_ms = clock_unix_ms() + 1000};
    char hex[DIGEST_HEX];
    int pin = -1;

    digest_of(5, hex);
    CHECK_INT(mkdirat(store_dir_fd(s, STORE_LAYERS), hex, 0755), 0);
    CHECK_INT(store_pin(s, STORE_LAYERS, hex, &pin, &e), 0);
    CHECK_INT(sweep(&plan, GC_LAYERS).n, 0);
    CHECK(there(STORE_LAYERS, hex));
    (void)close(pin);
    CHECK_INT(sweep(&plan, GC_LAYERS).n, 1);
    CHECK(!there(STORE_LAYERS, hex));
}

static void leftovers_in_tmp_go_but_work_in_progress_stays(void)
{
    struct gc_plan plan = {.young_unix_ms = clock_unix_ms() - 60000};
    char busy[STORE_TMP_NAME], dead[STORE_TMP_NAME];
    int lock = -1, dead_lock = -1;

    CHECK_INT(store_tmp_dir(s, "busy", busy, &lock, &e), 0);
    CHECK_INT(store_tmp_dir(s, "dead", dead, &dead_lock, &e), 0);
    CHECK_INT(mkdirat(dead_lock, "sub", 0), 0);
    (void)close(dead_lock); /* as when its process died */
    plan.dry_run = true;
    CHECK_INT(sweep(&plan, GC_TMP).n, 1);
    plan.dry_run = false;
    CHECK_INT(sweep(&plan, GC_TMP).n, 1);
    CHECK(there(STORE_TMP, busy));
    CHECK(!there(STORE_TMP, dead));
    (void)close(lock);
}

static bool lives(void *ctx, const char *run, const char *attempt)
{
    (void)ctx;
    return strcmp(run, "run2") == 0 && (strcmp(attempt, "7.1") == 0 || !*attempt);
}

static void attempts_go_as_the_caller_says(void)
{
    struct gc_plan plan = {.attempt_lives = lives, .young_unix_ms = clock_unix_ms() + 1000};
    int at = open(home, O_RDONLY | O_DIRECTORY);
    struct stat st;

    CHECK_INT(fd_mkdirs(at, "runs/run1/1.1/out", 0755, &e), 0);
    CHECK_INT(fd_mkdirs(at, "runs/run2/7.1", 0755, &e), 0);
    CHECK_INT(fd_mkdirs(at, "runs/run2/8.1", 0755, &e), 0);
    CHECK_INT(sweep(&plan, GC_RUNS).n, 2);
    CHECK_INT(fstatat(at, "runs/run1", &st, 0), -1);
    CHECK_INT(fstatat(at, "runs/run2/7.1", &st, 0), 0);
    CHECK_INT(fstatat(at, "runs/run2/8.1", &st, 0), -1);
    plan.attempt_lives = NULL;
    CHECK_INT(sweep(&plan, GC_RUNS).n, 0);
    (void)close(at);
}

static void trash_is_emptied_but_damaged_blobs_wait(void)
{
    struct gc_plan plan = {.young_unix_ms = clock_unix_ms() - 60000};
    struct blob_id id;
    char name[100];

    CHECK_INT(blob_put_bytes(s, "bad", 3, 0, &id, &e), 0);
    CHECK_INT(blob_quarantine(s, id.hex, &e), 0);
    CHECK(!blob_has(s, id.hex));
    (void)snprintf(name, sizeof(name), "corrupt-%s", id.hex);
    CHECK_INT(mkdirat(store_dir_fd(s, STORE_TRASH), "drop-1-2", 0755), 0);
    CHECK_INT(sweep(&plan, GC_TRASH).n, 1);
    CHECK(there(STORE_TRASH, name));
    age(STORE_TRASH, name);
    CHECK_INT(sweep(&plan, GC_TRASH).n, 1);
    CHECK(!there(STORE_TRASH, name));
}

static void a_lease_lasts_as_long_as_its_holder(void)
{
    struct store *other = NULL;
    struct blob_id id;
    int64_t oldest = 0, before = clock_unix_ms() - 1000; /* the clock of files ticks, and late when busy */
    int status, pipe_fds[2];
    char c;

    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest == INT64_MAX); /* its own does not count */
    CHECK_INT(store_open(home, &other, &e), 0);
    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest == INT64_MAX); /* it has published nothing yet */
    CHECK_INT(blob_put_bytes(other, "leased", 6, 0, &id, &e), 0);
    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest >= before && oldest <= clock_unix_ms());
    CHECK(!gc_is_old(s, STORE_BLOBS, id.hex, oldest));
    store_close(other);
    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest == INT64_MAX);

    CHECK_INT(pipe(pipe_fds), 0);
    pid_t pid = fork();
    if (pid == 0) {
        if (store_open(home, &other, &e) < 0 || store_lease(other, &e) < 0)
            _exit(1);
        (void)!write(pipe_fds[1], "x", 1);
        for (;;)
            (void)pause();
    }
    CHECK_INT(read(pipe_fds[0], &c, 1), 1);
    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest != INT64_MAX);
    (void)kill(pid, SIGKILL);
    CHECK_INT(waitpid(pid, &status, 0), pid);
    CHECK_INT(gc_leases(s, &oldest, &e), 0);
    CHECK(oldest == INT64_MAX);
    (void)close(pipe_fds[0]);
    (void)close(pipe_fds[1]);
}

static void usage_counts_by_kind(void)
{
    struct gc_count now[GC_KINDS];
    struct blob_id id;
    char zeros[8192] = {1};

    CHECK_INT(store_usage(s, now, &e), 0);
    uint64_t before = now[GC_BLOBS].bytes, n = now[GC_BLOBS].n;
    CHECK_INT(blob_put_bytes(s, zeros, sizeof(zeros), 0, &id, &e), 0);
    CHECK_INT(store_usage(s, now, &e), 0);
    CHECK_INT(now[GC_BLOBS].n, n + 1);
    CHECK_INT(now[GC_BLOBS].bytes - before, 8192);
}

/* A publisher that meets a blob about to be swept must end up with the blob, whatever
 * the timing: it either refreshed the blob in time or stored it again. */
static void a_sweep_never_takes_what_was_just_published(void)
{
    AUTO_DIGEST_SET struct digest_set none = {.slots = NULL};
    struct gc_plan plan = {.blobs = &none, .young_unix_ms = clock_unix_ms() - (3600 * 1000)};
    int64_t end = clock_mono_ns() + 1500000000;
    int status, lost = 0;
    pid_t sweeper = fork();

    if (sweeper == 0) {
        struct gc_count out[GC_KINDS];
        struct store *own;
        if (store_open(home, &own, &e) < 0)
            _exit(1);
        while (clock_mono_ns() < end)
            if (gc_sweep(own, &plan, out, &e) < 0)
                _exit(1);
        _exit(0);
    }
    for (int i = 0; clock_mono_ns() < end; i = (i + 1) % 16) {
        struct blob_id id;
        char text[16];
        int n = snprintf(text, sizeof(text), "race %d", i);
        if (blob_put_bytes(s, text, (size_t)n, BLOB_NOSYNC, &id, &e) < 0 ||
            !blob_has(s, id.hex))
            lost++;
        (void)utimensat(store_dir_fd(s, STORE_BLOBS), id.hex, old,
                        0); /* fair game again */
    }
    CHECK_INT(waitpid(sweeper, &status, 0), sweeper);
    CHECK_INT(status, 0);
    CHECK_INT(lost, 0);
}

int main(void)
{
    (void)snprintf(home, sizeof(home), "/tmp/store-gc-XXXXXX");
    if (!mkdtemp(home) || store_open(home, &s, &e) < 0)
        return 1;
    a_set_holds_what_was_added_and_nothing_else();
    blobs_go_when_they_are_old_and_unnamed();
    a_tree_keeps_the_objects_below_it();
    a_pinned_layer_stays();
    leftovers_in_tmp_go_but_work_in_progress_stays();
    attempts_go_as_the_caller_says();
    trash_is_emptied_but_damaged_blobs_wait();
    a_lease_lasts_as_long_as_its_holder();
    usage_counts_by_kind();
    a_sweep_never_takes_what_was_just_published();
    store_close(s);
    CHECK_INT(fd_remove_tree(AT_FDCWD, home, &e), 0);
    return t_end();
}

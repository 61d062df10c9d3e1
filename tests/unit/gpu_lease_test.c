/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "gpu/drain.h"
#include "gpu/lease.h"
#include "t.h"

static char root[64];
static struct gpu_set set;
static struct gpu *all[4];

/* a set without a machine behind it: leases care for ids, nodes and reasons only */
static void make_set(size_t n)
{
    struct err e;
    char path[96];

    (void)snprintf(root, sizeof root, "/tmp/dugout-lease-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    (void)snprintf(path, sizeof path, "%s/tmp", root);
    CHECK_INT(mkdir(path, 01777), 0);
    CHECK_INT(gpu_find(root, &set, &e), 0);
    set.gpus = arena_alloc(&set.a, n * sizeof *set.gpus);
    for (set.n = 0; set.n < n; set.n++) {
        set.gpus[set.n] = (struct gpu){.numa = (int)set.n / 2};
        (void)snprintf(set.gpus[set.n].id, GPU_ID_BYTES, "GPU-%zu", set.n);
        all[set.n] = &set.gpus[set.n];
    }
}

static void drop_set(void)
{
    struct err e;

    gpu_set_done(&set);
    CHECK_INT(fd_remove_tree(AT_FDCWD, root, &e), 0);
}

static struct lease_want want(unsigned count)
{
    return (struct lease_want){
        .candidates = all, .n = set.n, .count = count, .who = "a test"};
}

static void a_gpu_has_one_holder_and_is_free_when_he_drops_it(void)
{
    struct lease_want w = want(1);
    struct lease a, b, c;
    struct ticket t;
    char who[GPU_TEXT_BYTES];
    struct err e;

    make_set(2);
    w.n = 2;
    ticket_init(&t);
    CHECK_INT(lease_take(&set, &w, &t, &a, &e), 1);
    CHECK_INT(lease_take(&set, &w, &t, &b, &e), 1);
    CHECK(a.gpus[0] != b.gpus[0]);
    lease_holder(&set, a.gpus[0], who);
    CHECK_STR(who, "a test");
    CHECK_INT(lease_take(&set, &w, &t, &c, &e), 0);
    CHECK(t.fd >= 0);
    lease_drop(&a);
    CHECK_INT(lease_take(&set, &w, &t, &c, &e), 1);
    CHECK_INT(t.fd, -1);
    lease_drop(&b);
    lease_drop(&c);
    lease_holder(&set, all[0], who);
    CHECK_STR(who, "");
    drop_set();
}

static void those_who_share_share_and_never_with_one_who_does_not(void)
{
    struct lease_want w = want(1), mine = want(1);
    struct lease a, b, c;
    struct ticket t;
    char who[GPU_TEXT_BYTES];
    struct err e;

    make_set(1);
    ticket_init(&t);
    w.n = mine.n = 1;
    w.shared = true;
    CHECK_INT(lease_take(&set, &w, &t, &a, &e), 1);
    CHECK_INT(lease_take(&set, &w, &t, &b, &e), 1);
    lease_holder(&set, all[0], who);
    CHECK_STR(who, "a test (shared)");
    CHECK_INT(lease_take(&set, &mine, &t, &c, &e), 0);
    lease_drop(&a);
    CHECK_INT(lease_take(&set, &mine, &t, &c, &e), 0);
    lease_drop(&b);
    CHECK_INT(lease_take(&set, &mine, &t, &c, &e), 1);
    lease_drop(&c);
    drop_set();
}

static void two_that_lie_together_are_taken_together(void)
{
    struct lease_want one = want(1), two = want(2);
    struct lease a, b;
    struct ticket t;
    struct err e;

    make_set(4); /* 0 and 1 on node 0, 2 and 3 on node 1 */
    ticket_init(&t);
    one.n = two.n = 4;
    CHECK_INT(lease_take(&set, &one, &t, &a, &e), 1);
    CHECK_STR(a.gpus[0]->id, "GPU-0");
    CHECK_INT(lease_take(&set, &two, &t, &b, &e), 1);
    CHECK_STR(b.gpus[0]->id, "GPU-2");
    CHECK_STR(b.gpus[1]->id, "GPU-3");
    lease_drop(&a);
    lease_drop(&b);
    drop_set();
}

static void the_first_in_the_queue_is_served_first_and_big_ones_do_not_starve(void)
{
    struct lease_want one = want(1), two = want(2);
    struct lease a, b, big, small;
    struct ticket none, first, second;
    struct err e;

    make_set(2);
    one.n = two.n = 2;
    ticket_init(&none);
    ticket_init(&first);
    ticket_init(&second);
    CHECK_INT(lease_take(&set, &one, &none, &a, &e), 1);
    CHECK_INT(lease_take(&set, &one, &none, &b, &e), 1);
    CHECK_INT(lease_take(&set, &two, &first, &big, &e), 0);
    CHECK_INT(lease_take(&set, &one, &second, &small, &e), 0);
    lease_drop(&a); /* enough for the second, who may not pass */
    CHECK_INT(lease_take(&set, &one, &second, &small, &e), 0);
    CHECK_INT(lease_take(&set, &one, &none, &small, &e), 0);
    ticket_drop(&none);
    lease_drop(&b);
    CHECK_INT(lease_take(&set, &two, &first, &big, &e), 1);
    CHECK_INT(lease_take(&set, &one, &second, &small, &e), 0);
    lease_drop(&big);
    CHECK_INT(lease_take(&set, &one, &second, &small, &e), 1);
    lease_drop(&small);
    drop_set();
}

static void a_waiter_who_sleeps_is_passed_over_and_one_who_is_gone_is_forgotten(void)
{
    struct timespec old[2] = {{.tv_sec = 1}, {.tv_sec = 1}};
    struct lease_want one = want(1);
    struct lease a, b;
    struct ticket none, first;
    struct err e;

    make_set(1);
    one.n = 1;
    ticket_init(&none);
    ticket_init(&first);
    CHECK_INT(lease_take(&set, &one, &none, &a, &e), 1);
    CHECK_INT(lease_take(&set, &one, &first, &b, &e), 0);
    lease_drop(&a);
    CHECK_INT(lease_take(&set, &one, &none, &b, &e), 0);
    ticket_drop(&none);
    CHECK_INT(futimens(first.fd, old), 0);
    CHECK_INT(lease_take(&set, &one, &none, &b, &e), 1);
    lease_drop(&b);
    (void)close(first.fd); /* as a crash does: the file stays */
    CHECK_INT(lease_take(&set, &one, &none, &b, &e), 1);
    CHECK(faccessat(first.dir_fd, first.name, F_OK, 0) < 0);
    (void)close(first.dir_fd);
    lease_drop(&b);
    drop_set();
}

static void a_gpu_is_not_free_before_the_box_of_its_last_holder_is_gone(void)
{
    struct lease_want one = want(1);
    struct lease a, b;
    struct ticket t;
    char who[GPU_TEXT_BYTES];
    struct err e;
    pid_t box = fork();

    if (box == 0) {
        (void)pause();
        _exit(0);
    }
    make_set(1);
    one.n = 1;
    ticket_init(&t);
    CHECK_INT(lease_take(&set, &one, &t, &a, &e), 1);
    lease_box(a.fds, a.n, box);
    lease_drop(&a); /* as when the supervisor is killed */
    CHECK_INT(lease_take(&set, &one, &t, &b, &e), 0);
    lease_holder(&set, all[0], who);
    CHECK_STR(who, "a test, whose box has not died yet");
    (void)kill(box, SIGKILL);
    while (clock_process_ticks(box)) /* a zombie counts as gone */
        (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
    CHECK_INT(lease_take(&set, &one, &t, &b, &e), 1);
    (void)waitpid(box, NULL, 0);
    lease_drop(&b);
    CHECK_INT(lease_take(&set, &one, &t, &b, &e),
              1); /* the next holder's line is his */
    lease_drop(&b);
    drop_set();
}

static void what_can_never_be_had_is_said(void)
{
    struct lease_want w = want(2);
    struct lease a;
    struct ticket t;
    struct err e;

    make_set(2);
    w.n = 2;
    ticket_init(&t);
    CHECK_INT(drain_put(&set, NULL, "GPU-1", "it smells", &e), 0);
    drain_load(&set, NULL);
    CHECK_INT(lease_take(&set, &w, &t, &a, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK(strstr(e.text, "it smells") != NULL);
    drop_set();
}

/* ---- twenty processes and a killer ---------------------------------------------- */

#define PROCS 20
#define CARDS 2
/* at least that long, and until enough was leased and killed on however slow a machine */
#define ROUNDS_MS 4000
#define ROUNDS_MAX_MS 300000

struct shared {
    unsigned taken, both; /* leases taken; two holders of one card */
};

/* The oracle: POSIX locks of the same life. Their file is opened before the lease, so
 * that the kernel closes it first when the process is killed. */
static void holder(struct shared *x, unsigned seed)
{
    char path[96];
    int oracle;

    (void)snprintf(path, sizeof path, "%s/oracle", root);
    oracle = open(path, O_RDWR | O_CREAT, 0600);
    for (;;) {
        struct timespec nap = {0, (long)(seed % 7 + 1) * 300000};
        struct lease_want w = want(seed % 5 == 0 ? 2 : 1);
        struct lease l;
        struct ticket t;
        struct err e;
        int rc;

        w.n = CARDS;
        seed = seed * 1103515245 + 12345;
        ticket_init(&t);
        while ((rc = lease_take(&set, &w, &t, &l, &e)) == 0)
            (void)nanosleep(&(struct timespec){0, 1000000}, NULL);
        if (rc < 0)
            _exit(9);
        for (size_t i = 0; i < l.n; i++) {
            struct flock f = {
                .l_type = F_WRLCK, .l_start = l.gpus[i] - set.gpus, .l_len = 1};
            if (fcntl(oracle, F_SETLK, &f) < 0)
                __atomic_fetch_add(&x->both, 1, __ATOMIC_SEQ_CST);
        }
        __atomic_fetch_add(&x->taken, 1, __ATOMIC_SEQ_CST);
        (void)nanosleep(&nap, NULL);
        for (size_t i = 0; i < l.n; i++) {
            struct flock f = {
                .l_type = F_UNLCK, .l_start = l.gpus[i] - set.gpus, .l_len = 1};
            (void)fcntl(oracle, F_SETLK, &f);
        }
        lease_drop(&l);
    }
}

static pid_t start_holder(struct shared *x, unsigned seed)
{
    pid_t pid = fork();

    if (pid == 0) {
        holder(x, seed);
        _exit(0);
    }
    return pid;
}

static void twenty_processes_and_a_killer_never_share_and_never_lose_a_gpu(void)
{
    struct shared *x = mmap(NULL, sizeof *x, PROT_READ | PROT_WRITE,
                            MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    pid_t pids[PROCS];
    unsigned kills = 0, seed = 1, broken = 0;
    int64_t start;
    bool enough;
    struct lease_want w = want(CARDS);
    struct lease l;
    struct ticket t;
    struct err e;

    make_set(CARDS);
    w.n = CARDS;
    for (unsigned i = 0; i < PROCS; i++)
        pids[i] = start_holder(x, i + 1);
    start = clock_mono_ns();
    do {
        unsigned victim = (seed = seed * 1103515245 + 12345) / 65536 % PROCS;
        int status;
        (void)nanosleep(&(struct timespec){0, (long)(seed / 7 % 20) * 500000}, NULL);
        (void)kill(pids[victim], SIGKILL);
        (void)waitpid(pids[victim], &status, 0);
        broken += WIFEXITED(status);
        pids[victim] = start_holder(x, seed);
        kills++;
        enough = __atomic_load_n(&x->taken, __ATOMIC_SEQ_CST) > 20 && kills > 50;
    } while (clock_mono_ns() - start < (enough ? ROUNDS_MS : ROUNDS_MAX_MS) * 1000000LL);
    for (unsigned i = 0; i < PROCS; i++) {
        (void)kill(pids[i], SIGKILL);
        (void)waitpid(pids[i], NULL, 0);
    }
    printf("%u leases, %u kills\n", x->taken, kills);
    CHECK(enough);
    CHECK_INT(x->both, 0);
    CHECK_INT(broken, 0);
    ticket_init(&t);
    CHECK_INT(lease_take(&set, &w, &t, &l, &e), 1); /* both are there, at once */
    lease_drop(&l);
    drop_set();
    (void)munmap(x, sizeof *x);
}

int main(void)
{
    a_gpu_has_one_holder_and_is_free_when_he_drops_it();
    those_who_share_share_and_never_with_one_who_does_not();
    two_that_lie_together_are_taken_together();
    the_first_in_the_queue_is_served_first_and_big_ones_do_not_starve();
    a_waiter_who_sleeps_is_passed_over_and_one_who_is_gone_is_forgotten();
    a_gpu_is_not_free_before_the_box_of_its_last_holder_is_gone();
    what_can_never_be_had_is_said();
    twenty_processes_and_a_killer_never_share_and_never_lose_a_gpu();
    return t_end();
}

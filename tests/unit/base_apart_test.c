/* SPDX-License-Identifier: Apache-2.0 */
/* base_apart_test.c - a child for what is left to do: what it holds, when it begins, how long it
 * is waited for
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/apart.h"
#include "t.h"

#define FOR_EVER (-1)

static int in[2], out[2]; /* to the child, and from it */

static void tell_what_is_open(void *arg)
{
    char open_fds[64], word;
    const int *fd = arg;
    struct stat st;

    for (int i = 0; i < 64; i++)
        open_fds[i] = fstat(i, &st) < 0             ? '.'
                      : st.st_rdev == makedev(1, 3) ? '0' /* /dev/null */
                                                    : 'x';
    open_fds[*fd] = fcntl(*fd, F_GETFD) >= 0 ? 'X' : '!';
    (void)!write(out[1], open_fds, sizeof open_fds);
    (void)!read(in[0], &word, 1);
    (void)!write(out[1], &word, 1);
}

static void the_child_has_what_it_is_given_and_nothing_else(void)
{
    int other = open("/proc/self/exe", O_RDONLY | O_CLOEXEC);
    const int keep[] = {in[0], out[1], -1};
    char got[64];
    struct apart a;

    CHECK(apart_make(&a, tell_what_is_open, &other, keep, 3));
    apart_go(&a, 0); /* it waits for a word: this returns all the same */
    CHECK_INT(read(out[0], got, sizeof got), sizeof got);
    for (int i = 0; i < 64; i++) {
        if (i == other)
            CHECK_INT(got[i], '!');
        else
            CHECK_INT(got[i], i < 3 ? '0' : i == in[0] || i == out[1] ? 'x' : '.');
    }
    CHECK_INT(write(in[1], "w", 1), 1);
    CHECK_INT(read(out[0], got, 1), 1);
    CHECK_INT(got[0], 'w');
    CHECK_INT(waitpid(a.pid, NULL, 0), a.pid); /* no more than a child of ours */
    (void)close(other);
}

static void a_lock_is_free_while_it_works(void)
{
    char path[] = "/tmp/apart-test-XXXXXX";
    int lock = mkstemp(path), again = open(path, O_RDWR | O_CLOEXEC);
    const int keep[] = {in[0], out[1]};
    char got[64];
    struct apart a;

    CHECK_INT(flock(lock, LOCK_EX | LOCK_NB), 0);
    CHECK(apart_make(&a, tell_what_is_open, &lock, keep, 2));
    CHECK_INT(fcntl(out[0], F_SETFL, O_NONBLOCK), 0);
    CHECK_INT(read(out[0], got, 1), -1); /* nothing was said: it has not begun */
    CHECK_INT(fcntl(out[0], F_SETFL, 0), 0);
    (void)close(lock);
    apart_go(&a, 0);
    CHECK_INT(flock(again, LOCK_EX | LOCK_NB), 0);
    CHECK_INT(waitpid(a.pid, NULL, WNOHANG), 0);
    CHECK_INT(write(in[1], "w", 1), 1);
    CHECK_INT(read(out[0], got, sizeof got), sizeof got);
    CHECK_INT(read(out[0], got, 1), 1);
    CHECK_INT(waitpid(a.pid, NULL, 0), a.pid);
    (void)close(again);
    (void)unlink(path);
}

static void who_waits_long_enough_sees_it_end(void)
{
    const int keep[] = {in[0], out[1]};
    char got[65];
    int fd = 0;
    struct apart a;

    CHECK_INT(write(in[1], "w", 1), 1);
    CHECK(apart_make(&a, tell_what_is_open, &fd, keep, 2));
    apart_go(&a, FOR_EVER);
    CHECK_INT(waitpid(a.pid, NULL, WNOHANG), -1);
    CHECK_INT(read(out[0], got, sizeof got), sizeof got);
}

/* as when we are killed between the two calls */
static void it_begins_when_its_maker_ends(void)
{
    const int keep[] = {in[0], out[1]};
    char got[64];
    struct apart a;
    pid_t maker;

    CHECK_INT(write(in[1], "w", 1), 1);
    maker = fork();
    if (maker == 0) {
        int fd = 0;
        _exit(!apart_make(&a, tell_what_is_open, &fd, keep, 2));
    }
    CHECK_INT(waitpid(maker, NULL, 0), maker);
    CHECK_INT(read(out[0], got, sizeof got), sizeof got);
    CHECK_INT(got[0], 'X'); /* /dev/null */
    CHECK_INT(read(out[0], got, 1), 1);
}

int main(void)
{
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return 1;
    the_child_has_what_it_is_given_and_nothing_else();
    a_lock_is_free_while_it_works();
    who_waits_long_enough_sees_it_end();
    it_begins_when_its_maker_ends();
    return t_end();
}

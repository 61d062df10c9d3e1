/* SPDX-License-Identifier: Apache-2.0 */
/* admit.c - the ledger of promised memory
 *
 * A line is "<bytes> <run>/<attempt>\n". It counts while the attempt's supervisor or the run's
 * engine holds its lock and there is no result yet; so nothing has to be cleaned up after a
 * kill -9, the next reader does it.
 */
#include "run/admit.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/file.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "run/attempt.h"

#define LEDGER "locks/memory"

uint64_t admit_budget(void)
{
    uint64_t kib;

    return fd_meminfo("MemTotal", &kib) ? kib * KIB / 20 * 19 : 0;
}

static bool counts(int runs_fd, const char *rel)
{
    AUTO_FD int dir = openat(runs_fd, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int engine = -1;

    if (dir < 0 || faccessat(dir, "result.json", F_OK, 0) == 0)
        return false;
    if (attempt_alive(dir))
        return true;
    engine = openat(dir, "../lock", O_RDONLY | O_CLOEXEC);
    return engine >= 0 && flock(engine, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

/* Copy living lines other than `rel` to *out; gives their sum */
static uint64_t read_ledger(int home_fd, int fd, const char *rel, struct buf *out)
{
    AUTO_BUF struct buf text = {0};
    AUTO_FD int runs = openat(home_fd, "runs", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e;
    uint64_t sum = 0;
    char *save = NULL;

    buf_init(&text, 16 * MIB);
    if (runs < 0 || fd_read_all(fd, &text, 16 * MIB, &e) < 0 || !text.len)
        return 0;
    for (char *line = strtok_r(text.ptr, "\n", &save); line;
         line = strtok_r(NULL, "\n", &save)) {
        uint64_t bytes = 0;
        char name[256] = "";
        if (sscanf(line, "%" SCNu64 " %255s", &bytes, name) != 2 || strcmp(name, rel) == 0 ||
            !counts(runs, name))
            continue;
        sum += bytes;
        buf_addf(out, "%" PRIu64 " %s\n", bytes, name);
    }
    return sum;
}

static int write_ledger(int fd, const struct buf *text, struct err *e)
{
    if (ftruncate(fd, 0) < 0 || lseek(fd, 0, SEEK_SET) < 0)
        return err_sys(e, errno, "rewrite %s", LEDGER);
    return fd_write_all(fd, buf_str(text), text->len, e);
}

static int open_ledger(int home_fd, struct err *e)
{
    AUTO_FD int fd = openat(home_fd, LEDGER, O_RDWR | O_CREAT | O_CLOEXEC, 0660);

    if (fd < 0 || flock(fd, LOCK_EX) < 0)
        return err_sys(e, errno, "lock %s", LEDGER);
    return fd_take(&fd);
}

uint64_t admit_promised(int home_fd)
{
    AUTO_BUF struct buf out = {0};
    AUTO_FD int fd = openat(home_fd, LEDGER, O_RDONLY | O_CLOEXEC);

    buf_init(&out, 0);
    if (fd < 0 || flock(fd, LOCK_SH) < 0)
        return 0;
    return read_ledger(home_fd, fd, "", &out);
}

int admit_take(int home_fd, const char *rel, uint64_t bytes, struct err *e)
{
    AUTO_BUF struct buf out = {0};
    AUTO_FD int fd = -1;
    uint64_t budget = admit_budget(), sum;

    if (!bytes)
        return 1;
    if (budget && bytes > budget) {
        char want[24], have[24];
        size_human(bytes, want);
        size_human(budget, have);
        return err_set(e, ERR_LIMIT,
                       "asks for %s of memory, and this box can promise %s at most", want, have);
    }
    buf_init(&out, 0);
    fd = open_ledger(home_fd, e);
    if (fd < 0)
        return -1;
    sum = read_ledger(home_fd, fd, rel, &out);
    if (budget && sum + bytes > budget)
        return 0;
    buf_addf(&out, "%" PRIu64 " %s\n", bytes, rel);
    return write_ledger(fd, &out, e) < 0 ? -1 : 1;
}

void admit_give(int home_fd, const char *rel)
{
    AUTO_BUF struct buf out = {0};
    struct err e;
    AUTO_FD int fd = open_ledger(home_fd, &e);

    if (fd < 0)
        return;
    buf_init(&out, 0);
    (void)read_ledger(home_fd, fd, rel, &out);
    (void)write_ledger(fd, &out, &e);
}

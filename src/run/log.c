/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - head and tail of what a task printed
 *
 * A step that prints for ten hours must neither fill the disk nor lose its last words. A full
 * disk must not stop the step either: what cannot be written is counted and mentioned.
 */
#include "run/log.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"

int runlog_open(struct runlog *l, int dir_fd, uint64_t max_bytes, struct err *e)
{
    *l = (struct runlog){.dir_fd = dir_fd, .head_fd = -1, .tail_fd = -1,
                         .half_bytes = max_bytes / 2};
    l->head_fd = openat(dir_fd, "log", O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
    if (l->head_fd < 0)
        return err_sys(e, errno, "create the log");
    return 0;
}

static void write_at(struct runlog *l, int fd, const char *p, size_t len, uint64_t offset)
{
    while (len) {
        ssize_t n = pwrite(fd, p, len, (off_t)offset);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0) {
            l->lost_bytes += len;
            return;
        }
        p += n;
        len -= (size_t)n;
        offset += (uint64_t)n;
    }
}

void runlog_add(struct runlog *l, const void *bytes, size_t len)
{
    const char *p = bytes;

    while (len) {
        uint64_t at = l->total_bytes;
        size_t n = len;

        if (at < l->half_bytes) {
            if (n > l->half_bytes - at)
                n = (size_t)(l->half_bytes - at);
            write_at(l, l->head_fd, p, n, at);
        } else {
            uint64_t pos = (at - l->half_bytes) % l->half_bytes;
            if (n > l->half_bytes - pos)
                n = (size_t)(l->half_bytes - pos);
            if (l->tail_fd < 0)
                l->tail_fd = openat(l->dir_fd, "log.tail",
                                    O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0640);
            write_at(l, l->tail_fd, p, n, pos);
        }
        l->total_bytes += n;
        p += n;
        len -= n;
    }
}

/* append bytes [from, from + len) of the ring file to the head file */
static uint64_t append_ring(struct runlog *l, uint64_t from, uint64_t len, uint64_t to)
{
    char chunk[16384];

    while (len) {
        size_t want = len < sizeof chunk ? (size_t)len : sizeof chunk;
        ssize_t n = pread(l->tail_fd, chunk, want, (off_t)from);
        if (n <= 0)
            break;
        write_at(l, l->head_fd, chunk, (size_t)n, to);
        from += (uint64_t)n;
        to += (uint64_t)n;
        len -= (uint64_t)n;
    }
    return to;
}

void runlog_close(struct runlog *l)
{
    char line[160], human[24];
    uint64_t end;

    if (l->head_fd < 0)
        return;
    if (l->tail_fd >= 0) {
        uint64_t past = l->total_bytes - l->half_bytes;
        uint64_t kept = past < l->half_bytes ? past : l->half_bytes;

        end = l->half_bytes;
        if (past > kept) {
            size_human(past - kept, human);
            snprintf(line, sizeof line, "\n[dugout: %s left out here, over the log's ceiling]\n",
                     human);
            write_at(l, l->head_fd, line, strlen(line), end);
            end += strlen(line);
            end = append_ring(l, past % l->half_bytes, l->half_bytes - past % l->half_bytes, end);
            (void)append_ring(l, 0, past % l->half_bytes, end);
        } else {
            (void)append_ring(l, 0, kept, end);
        }
        (void)close(l->tail_fd);
        (void)unlinkat(l->dir_fd, "log.tail", 0);
    }
    if (l->lost_bytes) {
        size_human(l->lost_bytes, human);
        snprintf(line, sizeof line, "\n[dugout: %s could not be written to this log]\n", human);
        (void)!pwrite(l->head_fd, line, strlen(line), lseek(l->head_fd, 0, SEEK_END));
    }
    (void)close(l->head_fd);
    l->head_fd = l->tail_fd = -1;
}

void runlog_last_lines(int dir_fd, unsigned n, size_t max_bytes, struct buf *out)
{
    AUTO_FD int fd = openat(dir_fd, "log", O_RDONLY | O_CLOEXEC);
    AUTO_FREE char *text = NULL;
    struct stat st;
    off_t from;
    ssize_t len;
    const char *p;

    if (fd < 0 || fstat(fd, &st) < 0 || st.st_size == 0)
        return;
    from = st.st_size > (off_t)max_bytes ? st.st_size - (off_t)max_bytes : 0;
    text = xalloc(max_bytes + 1);
    len = pread(fd, text, max_bytes, from);
    if (len <= 0)
        return;
    p = text + len;
    if (p[-1] == '\n')
        p--;
    for (unsigned lines = 0; p > text; p--)
        if (p[-1] == '\n' && ++lines == n)
            break;
    buf_add(out, p, (size_t)(text + len - p));
}

bool runlog_wants_network(int dir_fd)
{
    static const char *const signs[] = {"Temporary failure in name resolution",
                                        "Network is unreachable", "Name or service not known",
                                        "Could not resolve host"};
    AUTO_BUF struct buf log = {0};

    buf_init(&log, 64 * KIB);
    runlog_last_lines(dir_fd, 40, 32 * KIB, &log);
    for (size_t i = 0; i < N_ELEMS(signs); i++)
        if (strstr(buf_str(&log), signs[i]))
            return true;
    return false;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* health.c - did a GPU fail under a task?
 *
 * The driver says it in the kernel's log, with the PCI address of the card:
 *
 *     4,1234,5678901,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=8, GPU has fallen off ...
 *     3,1235,5678902,-;amdgpu 0000:c1:00.0: amdgpu: GPU reset(2) failed
 *
 * The third number is microseconds since boot. A program that reads outside its memory
 * makes an Xid as well, which is its own fault and comes again on any card; those
 * numbers are known. A card that is gone takes its node or its entry in /proc along,
 * and needs no log.
 */
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#include "base/fd.h"
#include "gpu/drain.h"
#include "gpu/inside.h"

#define LOG_MAX                                                                        \
    (4 * 1024 * 1024) /* the kernel's ring has at most this much that matters */

/* Xids that a program brings about: engine exception, page fault, channel stopped or
 * preempted, a video error, contained memory error (the driver has retired the page) */
static const int of_programs[] = {13, 31, 43, 45, 68, 69, 94};

/* "0000:3b:00" of "0000:3b:00.0": the log leaves the function out */
static size_t slot_length(const char *pci)
{
    const char *dot = strrchr(pci, '.');

    return dot ? (size_t)(dot - pci) : strlen(pci);
}

static bool xid_line(const char *text, const char *pci, char why[GPU_TEXT_BYTES])
{
    const char *at = strstr(text, "NVRM: Xid (PCI:");
    size_t n = slot_length(pci);
    char *end;
    long xid;

    if (!at || strncasecmp(at + 15, pci, n) != 0 || !(at = strchr(at + 15 + n, ')')) ||
        at[1] != ':')
        return false;
    xid = strtol(at + 2, &end, 10);
    for (size_t i = 0; i < N_ELEMS(of_programs); i++)
        if (xid == of_programs[i])
            return false;
    at = strrchr(end, ',');
    at = at ? at + 1 : end;
    at += strspn(at, " ");
    (void)snprintf(why, GPU_TEXT_BYTES, "Xid %ld%s%.100s", xid, *at ? ": " : "", at);
    return true;
}

static bool amdgpu_line(const char *text, const char *pci, char why[GPU_TEXT_BYTES])
{
    static const char *const signs[] = {"GPU reset begin", "GPU reset", "device lost",
                                        "GPU is lost", "RAS: uncorrectable"};
    const char *at = strstr(text, "amdgpu ");

    if (!at || strncasecmp(at + 7, pci, strlen(pci)) != 0)
        return false;
    for (size_t i = 0; i < N_ELEMS(signs); i++)
        if ((at = strstr(text, signs[i]))) {
            (void)snprintf(why, GPU_TEXT_BYTES, "amdgpu: %.100s", at);
            return true;
        }
    return false;
}

/* "prio,seq,microseconds,flags;text" */
static bool bad_line(char *line, const char *pci, int64_t since,
                     char why[GPU_TEXT_BYTES])
{
    char *text = strchr(line, ';'), *p = line;
    long long when;

    if (!text)
        return false;
    *text++ = 0;
    for (int i = 0; i < 2; i++)
        if (!(p = strchr(p, ',')) || !*++p)
            return false;
    when = strtoll(p, NULL, 10);
    return when >= since && (xid_line(text, pci, why) || amdgpu_line(text, pci, why));
}

static bool search(struct buf *log, const char *pci, int64_t since,
                   char why[GPU_TEXT_BYTES])
{
    for (char *line = log->ptr, *end; line && *line; line = end) {
        end = strchr(line, '\n');
        if (end)
            *end++ = 0;
        if (bad_line(line, pci, since, why))
            return true;
    }
    return false;
}

static bool log_says(int root_fd, const char *pci, int64_t since,
                     char why[GPU_TEXT_BYTES])
{
    AUTO_FD int fd = fd_open_in_root(root_fd, "/dev/kmsg", O_RDONLY | O_NONBLOCK, 0);
    AUTO_BUF struct buf log = {0};
    char record[8192]; /* a read gives one record of the device, or a piece of a file */
    ssize_t n;

    if (fd < 0 || !pci[0])
        return false;
    buf_init(&log, LOG_MAX);
    for (int i = 0; i < 200000 && !log.overflow; i++) {
        n = read(fd, record, sizeof record);
        if (n < 0 && (errno == EPIPE || errno == EINTR))
            continue; /* overwritten under us: the next one is there */
        if (n <= 0)
            break;
        buf_add(&log, record, (size_t)n);
    }
    for (size_t i = 0; i < log.len; i++)
        if (!log.ptr[i])
            log.ptr[i] = ' ';
    return search(&log, pci, since, why);
}

static bool is_gone(int root_fd, const struct gpu_ref *g, char why[GPU_TEXT_BYTES])
{
    AUTO_FD int fd = fd_open_in_root(root_fd, g->node, O_PATH | O_NOFOLLOW, 0);
    char path[96];
    struct stat st;

    if (fd < 0 && errno == ENOENT) {
        (void)snprintf(why, GPU_TEXT_BYTES, "%.96s vanished", g->node);
        return true;
    }
    if (fd >= 0 && fstat(fd, &st) == 0 && S_ISCHR(st.st_mode) &&
        st.st_rdev != makedev(g->major, g->minor)) {
        (void)snprintf(why, GPU_TEXT_BYTES, "%.96s is another device now", g->node);
        return true;
    }
    if (strncmp(g->node, "/dev/nvidia", 11) != 0 || !g->pci[0])
        return false;
    (void)snprintf(path, sizeof path, "/proc/driver/nvidia/gpus/%.16s/information",
                   g->pci);
    {
        AUTO_FD int info = fd_open_in_root(root_fd, path, O_RDONLY, 0);
        if (info >= 0 || errno != ENOENT)
            return false;
    }
    (void)snprintf(why, GPU_TEXT_BYTES, "the driver does not list %.16s any more",
                   g->pci);
    return true;
}

bool health_check(const char *root, const struct gpu_ref *g, int64_t since_mono_us,
                  char why[GPU_TEXT_BYTES])
{
    AUTO_FD int root_fd =
        open(root && *root ? root : "/", O_PATH | O_DIRECTORY | O_CLOEXEC);

    return root_fd >= 0 &&
           (is_gone(root_fd, g, why) || log_says(root_fd, g->pci, since_mono_us, why));
}

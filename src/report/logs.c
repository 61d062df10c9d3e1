/* SPDX-License-Identifier: Apache-2.0 */
/* logs.c - what a task printed, as plain text
 *
 * A log is bytes from a stranger: colours, progress bars that rewrite their line a
 * thousand times, half a UTF-8 character, titles for the terminal window. A reader
 * wants the words. Escape sequences (ECMA-48) are recognised by form and dropped:
 *
 *     ESC [ parameters(0x20-0x3f)* final(0x40-0x7e)       colours, cursor
 *     ESC ] P X ^ _ text, ended by BEL or ESC \           titles, hyperlinks, images
 *     ESC intermediates(0x20-0x2f)* final                 the rest
 *
 * Making the text safe for HTML is the business of html.c.
 */
#include "report/logs.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

/* where the sequence that begins at raw[i] == ESC ends */
static size_t escape_end(struct str raw, size_t i)
{
    const unsigned char *p = (const unsigned char *)raw.ptr;

    if (++i >= raw.len)
        return i;
    if (p[i] == '[') {
        for (i++; i < raw.len && p[i] >= 0x20 && p[i] <= 0x3f;)
            i++;
        return i < raw.len && p[i] >= 0x40 && p[i] <= 0x7e ? i + 1 : i;
    }
    if (strchr("]PX^_", p[i]) && p[i]) {
        for (i++; i < raw.len && p[i] != '\a' && p[i] != '\n'; i++)
            if (p[i] == 0x1b)
                return i + 1 < raw.len && p[i + 1] == '\\' ? i + 2 : i;
        return i < raw.len && p[i] == '\a' ? i + 1 : i;
    }
    while (i < raw.len && p[i] >= 0x20 && p[i] <= 0x2f)
        i++;
    return i < raw.len && p[i] >= 0x30 && p[i] <= 0x7e ? i + 1 : i;
}

void logs_clean(struct str raw, struct buf *out)
{
    size_t line = out->len, i = 0;

    while (i < raw.len) {
        size_t n = i;
        while (n < raw.len && raw.ptr[n] != 0x1b && raw.ptr[n] != '\r' &&
               raw.ptr[n] != '\n')
            n++;
        buf_add(out, raw.ptr + i, n - i);
        i = n;
        if (i == raw.len)
            break;
        if (raw.ptr[i] == 0x1b) {
            i = escape_end(raw, i);
        } else if (raw.ptr[i] == '\n') {
            buf_addc(out, '\n');
            line = out->len;
            i++;
        } else { /* back to the start: what follows, if anything does, replaces the line
                  */
            while (i < raw.len && raw.ptr[i] == '\r')
                i++;
            if (i < raw.len && raw.ptr[i] != '\n' && out->len > line) {
                out->len = line;
                out->ptr[line] = '\0';
            }
        }
    }
}

struct str logs_last(struct str text, unsigned n)
{
    size_t end = text.len, at;

    while (end && text.ptr[end - 1] == '\n')
        end--;
    at = end;
    while (at && n) {
        if (text.ptr[at - 1] == '\n' && --n == 0)
            break;
        at--;
    }
    return (struct str){text.ptr + at, end - at};
}

/* len bytes at `at`, cleaned; a piece that begins inside a line begins after it */
static void add_piece(int fd, off_t at, size_t len, struct buf *out)
{
    AUTO_FREE char *raw = xalloc(len + 1);
    ssize_t n = pread(fd, raw, len, at);
    const char *cut;

    if (n <= 0)
        return;
    cut = at ? memchr(raw, '\n', (size_t)n) : NULL;
    cut = cut ? cut + 1 : raw;
    logs_clean((struct str){cut, (size_t)(raw + n - cut)}, out);
}

bool logs_read(const char *home, const char *dir, size_t max_bytes, struct buf *out)
{
    AUTO_FD int home_fd = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int fd = -1;
    AUTO_FREE char *path = path_join(dir, "log");
    size_t head = max_bytes / 4;
    struct stat st;

    if (home_fd >= 0)
        fd = fd_open_beneath(home_fd, path, O_RDONLY | O_NOFOLLOW | O_NONBLOCK, 0);
    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return false;
    if ((size_t)st.st_size <= max_bytes) {
        add_piece(fd, 0, (size_t)st.st_size, out);
        return true;
    }
    add_piece(fd, 0, head, out);
    buf_addf(out, "\n[... %llu bytes are left out here ...]\n",
             (unsigned long long)st.st_size - max_bytes);
    add_piece(fd, st.st_size - (off_t)(max_bytes - head), max_bytes - head, out);
    return true;
}

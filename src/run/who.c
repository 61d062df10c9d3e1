/* SPDX-License-Identifier: Apache-2.0 */
/* who.c - user, host, git commit and random ids: what is asked about a run years later */
#include <errno.h>
#include <fcntl.h>
#include <pwd.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "run/engine.h"

int64_t who_login_uid(void)
{
    AUTO_FD int fd = open("/proc/self/loginuid", O_RDONLY | O_CLOEXEC);
    char text[16] = "";
    unsigned long uid;

    if (fd < 0 || read(fd, text, sizeof text - 1) <= 0)
        return -1;
    uid = strtoul(text, NULL, 10);
    return uid == 0xFFFFFFFFUL ? -1 : (int64_t)uid; /* unset: a daemon's child */
}

void who_user(char out[64])
{
    const struct passwd *pw = getpwuid(geteuid());

    if (pw)
        snprintf(out, 64, "%s", pw->pw_name);
    else
        snprintf(out, 64, "%u", (unsigned)geteuid());
}

void who_host(char out[256])
{
    if (gethostname(out, 256) < 0)
        snprintf(out, 256, "localhost");
    out[255] = 0;
}

void uuid_new(char out[37])
{
    uint8_t b[16];

    must(getrandom(b, sizeof b, 0) == (ssize_t)sizeof b);
    b[6] = (uint8_t)((b[6] & 0x0f) | 0x40); /* RFC 9562, version 4 */
    b[8] = (uint8_t)((b[8] & 0x3f) | 0x80);
    for (size_t i = 0, o = 0; i < sizeof b; i++) {
        if (i == 4 || i == 6 || i == 8 || i == 10)
            out[o++] = '-';
        o += (size_t)snprintf(out + o, 3, "%02x", b[i]);
    }
}

/* ---- git, without git: HEAD, a ref, packed-refs ------------------------------------------ */

/* a whole file without its last line feed */
static bool read_text(int dir, const char *name, struct buf *out)
{
    struct err e;

    buf_reset(out);
    if (fd_read_file(dir, name, out, 16 * MIB, &e) < 0)
        return false;
    while (out->len && out->ptr[out->len - 1] == '\n')
        out->ptr[--out->len] = 0;
    return out->len > 0;
}

static bool hex40(const char *p)
{
    for (int i = 0; i < 40; i++)
        if (!strchr("0123456789abcdef", p[i]) || !p[i])
            return false;
    return true;
}

/* refs of a linked work tree lie in the directory that its `commondir` names */
static int common_dir(int git)
{
    AUTO_BUF struct buf text = {0};

    buf_init(&text, 16 * MIB);
    if (!read_text(git, "commondir", &text))
        return dup(git);
    return openat(git, buf_str(&text), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

static bool packed_ref(int common, const char *ref, struct buf *out)
{
    AUTO_BUF struct buf packed = {0};
    const char *hit;

    buf_init(&packed, 16 * MIB);
    if (!read_text(common, "packed-refs", &packed))
        return false;
    hit = strstr(buf_str(&packed), ref);
    if (!hit || hit - buf_str(&packed) < 41)
        return false;
    buf_reset(out);
    buf_add(out, hit - 41, 40);
    return true;
}

static void resolve_head(int git, char out[64])
{
    AUTO_BUF struct buf text = {0};
    AUTO_FD int common = -1;
    char ref[512];

    buf_init(&text, 16 * MIB);
    if (!read_text(git, "HEAD", &text))
        return;
    if (sscanf(buf_str(&text), "ref: %511s", ref) == 1) {
        common = common_dir(git);
        if (common < 0 ||
            (!read_text(common, ref, &text) && !packed_ref(common, ref, &text)))
            return;
    }
    if (text.len >= 40 && hex40(buf_str(&text)))
        snprintf(out, 64, "%.40s", buf_str(&text));
}

/* DIR/.git is a directory, or in a linked work tree a file "gitdir: PATH" */
static int open_git(const char *dir)
{
    AUTO_FREE char *path = xasprintf("%s/.git", dir);
    AUTO_BUF struct buf text = {0};
    AUTO_FD int at = -1;
    int git = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (git >= 0 || errno != ENOTDIR)
        return git;
    buf_init(&text, 16 * KIB);
    at = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || !read_text(at, ".git", &text) || strncmp(buf_str(&text), "gitdir: ", 8) != 0)
        return -1;
    return openat(at, buf_str(&text) + 8, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
}

void who_git_commit(const char *file, char out[64])
{
    AUTO_FREE char *real = realpath(file, NULL);

    out[0] = 0;
    while (real) {
        char *slash = strrchr(real, '/');
        AUTO_FD int git = -1;

        if (!slash)
            return;
        *slash = 0;
        git = open_git(real);
        if (git >= 0) {
            resolve_head(git, out);
            return;
        }
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* user.c - who a command runs as: an image's User against its own passwd and group
 *
 * Both files are the image's and believed for names only. A string of digits is a number
 * whatever the files say: looking digits up as a name, or letting them wrap, has made root out
 * of strangers (CVE-2024-40635, CVE-2026-46680). The files are opened with the image as
 * the root, must be regular, and are read up to a ceiling (CVE-2024-9676).
 */
#include "box/box.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"

#define ID_MAX 0xfffffffeU /* (uid_t)-1 means "leave as it is" */

/* an optional file of the image; absent leaves *out empty */
static int read_db(int root_fd, const char *path, struct buf *out, struct err *e)
{
    AUTO_FD int fd = fd_open_in_root(root_fd, path, O_RDONLY | O_NONBLOCK | O_NOCTTY, 0);
    struct stat st;

    if (fd < 0 && (errno == ENOENT || errno == ENOTDIR))
        return 0;
    if (fd < 0 || fstat(fd, &st) < 0)
        return err_set(e, ERR_INPUT, "the image's /%s cannot be opened: %s", path,
                       strerror(errno));
    if (!S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "the image's /%s is not a regular file", path);
    if (fd_read_all(fd, out, LIMIT_PASSWD_BYTES, e) < 0) {
        e->code = ERR_INPUT;
        return err_at(e, "the image's /%s", path);
    }
    return 0;
}

static bool next_line(struct str *rest, struct str *line)
{
    const char *nl;

    if (!rest->len)
        return false;
    nl = memchr(rest->ptr, '\n', rest->len);
    line->ptr = rest->ptr;
    line->len = nl ? (size_t)(nl - rest->ptr) : rest->len;
    rest->ptr += line->len + (nl != NULL);
    rest->len -= line->len + (nl != NULL);
    return true;
}

/* cut the text before the next `sep` off *rest */
static struct str next_field(struct str *rest, char sep)
{
    const char *end = rest->len ? memchr(rest->ptr, sep, rest->len) : NULL;
    struct str f = {rest->ptr, end ? (size_t)(end - rest->ptr) : rest->len};

    rest->ptr += f.len + (end != NULL);
    rest->len -= f.len + (end != NULL);
    return f;
}

static bool all_digits(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] < '0' || s.ptr[i] > '9')
            return false;
    return s.len > 0;
}

static bool parse_id(struct str s, uint32_t *out)
{
    uint64_t v = 0;

    if (!all_digits(s))
        return false;
    for (size_t i = 0; i < s.len; i++) {
        v = v * 10 + (uint64_t)(s.ptr[i] - '0');
        if (v > ID_MAX)
            return false;
    }
    *out = (uint32_t)v;
    return true;
}

/* what is meant by a user or group: a number, or else a name to be looked up */
static int number_or_name(struct str s, const char *what, bool *is_number, uint32_t *id,
                          struct err *e)
{
    bool minus = s.len > 1 && s.ptr[0] == '-' && all_digits((struct str){s.ptr + 1, s.len - 1});

    *is_number = all_digits(s);
    if (minus || (*is_number && !parse_id(s, id)))
        return err_set(e, ERR_INPUT, "%s %.*s is no id: want 0 to %u", what, STR_ARG(s), ID_MAX);
    return 0;
}

struct passwd_line {
    struct str name, home;
    uint32_t uid, gid;
};

/* name:password:uid:gid:gecos:home:shell; lines that are not so are passed over */
static bool parse_passwd(struct str line, struct passwd_line *out)
{
    struct str uid, gid;

    out->name = next_field(&line, ':');
    (void)next_field(&line, ':');
    uid = next_field(&line, ':');
    gid = next_field(&line, ':');
    (void)next_field(&line, ':');
    out->home = next_field(&line, ':');
    return out->name.len && parse_id(uid, &out->uid) && parse_id(gid, &out->gid);
}

static bool find_user(const struct buf *passwd, bool by_id, uint32_t uid, struct str name,
                      struct passwd_line *out)
{
    struct str rest = {buf_str(passwd), passwd->len}, line;

    while (next_line(&rest, &line))
        if (parse_passwd(line, out) && (by_id ? out->uid == uid : str_eq(out->name, name)))
            return true;
    return false;
}

/* name:password:gid:member,member */
static bool parse_group(struct str line, struct str *name, uint32_t *gid, struct str *members)
{
    struct str id;

    *name = next_field(&line, ':');
    (void)next_field(&line, ':');
    id = next_field(&line, ':');
    *members = next_field(&line, ':');
    return name->len && parse_id(id, gid);
}

static bool find_group(const struct buf *group, struct str want, uint32_t *gid)
{
    struct str rest = {buf_str(group), group->len}, line, name, members;

    while (next_line(&rest, &line))
        if (parse_group(line, &name, gid, &members) && str_eq(name, want))
            return true;
    return false;
}

static bool has_member(struct str members, struct str user)
{
    while (members.len)
        if (str_eq(next_field(&members, ','), user))
            return true;
    return false;
}

static void add_groups(const struct buf *group, struct str user, struct box_user *out)
{
    struct str rest = {buf_str(group), group->len}, line, name, members;
    uint32_t gid;

    while (next_line(&rest, &line)) {
        bool known = false;
        if (!parse_group(line, &name, &gid, &members) || gid == out->gid ||
            !has_member(members, user))
            continue;
        for (size_t i = 0; i < out->n_groups; i++)
            known = known || out->groups[i] == gid;
        if (!known && out->n_groups < BOX_GROUPS_MAX)
            out->groups[out->n_groups++] = gid;
    }
}

int box_resolve_user(int root_fd, const char *user, struct box_user *out, struct err *e)
{
    AUTO_BUF struct buf passwd = {0}, group = {0};
    struct str rest = str_of(user && *user ? user : "0"), who, whose;
    struct passwd_line found;
    bool by_id, group_by_id, known, has_group;

    memset(out, 0, sizeof *out);
    who = next_field(&rest, ':');
    has_group = who.len < strlen(user && *user ? user : "0");
    whose = rest;
    if (!who.len || (has_group && (!whose.len || memchr(whose.ptr, ':', whose.len))))
        return err_set(e, ERR_INPUT, "user \"%.80s\": want NAME, UID, NAME:GROUP or UID:GID",
                       user);
    if (number_or_name(who, "user", &by_id, &out->uid, e) < 0 ||
        number_or_name(whose, "group", &group_by_id, &out->gid, e) < 0 ||
        read_db(root_fd, "etc/passwd", &passwd, e) < 0)
        return -1;

    known = find_user(&passwd, by_id, out->uid, who, &found);
    if (!known && !by_id)
        return err_set(e, ERR_INPUT, "user \"%.*s\" is not in the image's /etc/passwd",
                       STR_ARG(who));
    if (known) {
        out->uid = found.uid;
        if (found.home.len && found.home.len < sizeof out->home && found.home.ptr[0] == '/')
            (void)snprintf(out->home, sizeof out->home, "%.*s", STR_ARG(found.home));
    }
    if (has_group && group_by_id)
        return 0;
    if (has_group || known)
        if (read_db(root_fd, "etc/group", &group, e) < 0)
            return -1;
    if (has_group) {
        if (!find_group(&group, whose, &out->gid))
            return err_set(e, ERR_INPUT, "group \"%.*s\" is not in the image's /etc/group",
                           STR_ARG(whose));
    } else if (known) {
        out->gid = found.gid;
        add_groups(&group, found.name, out);
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cgmap.c - which cgroup hierarchies are mounted, and where in them we are
 *
 * /proc/self/mountinfo says what is mounted where, /proc/self/cgroup which cgroup is ours:
 *
 *     31 23 0:32 /docker/ab /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory
 *                ^ root     ^ mount point              ^ type        ^ controllers
 *     4:memory:/docker/ab/job
 *
 * Our path below the mount point is the path less the mount's root. Controllers are taken
 * from the super block's options, never from directory names: "cpu" and "cpuacct" are one
 * hierarchy on most machines and two on others.
 */
#include "box/cgroup.h"

#include <stdio.h>
#include <string.h>

#include "base/buf.h"
#include "base/mem.h"

static const char *const v1_names[CG_N] = {"memory", "pids", "cpu", "devices"};

static bool cut(struct str *rest, char sep, struct str *out)
{
    const char *end;

    if (!rest->len)
        return false;
    end = memchr(rest->ptr, sep, rest->len);
    out->ptr = rest->ptr;
    out->len = end ? (size_t)(end - rest->ptr) : rest->len;
    rest->ptr += out->len + (end != NULL);
    rest->len -= out->len + (end != NULL);
    return true;
}

/* the byte that \ooo stands for; 0, which no path has, when this is no escape */
static char escaped(struct str s)
{
    unsigned v = 0;

    if (s.len < 4 || s.ptr[0] != '\\')
        return 0;
    for (size_t i = 1; i < 4; i++) {
        if (s.ptr[i] < '0' || s.ptr[i] > '7')
            return 0;
        v = v << 3 | (unsigned)(s.ptr[i] - '0');
    }
    return (char)v;
}

/* a field of mountinfo: \040 and the like are octal escapes */
static bool unescape(struct str s, char *out, size_t size)
{
    size_t n = 0;

    for (size_t i = 0; i < s.len; i++) {
        char c = escaped((struct str){s.ptr + i, s.len - i});
        if (c)
            i += 3;
        else
            c = s.ptr[i];
        if (n + 1 >= size)
            return false;
        out[n++] = c;
    }
    out[n] = 0;
    return true;
}

static unsigned controllers_of(struct str options)
{
    unsigned bits = 0;
    struct str o;

    while (cut(&options, ',', &o))
        for (unsigned c = 0; c < CG_N; c++)
            if (str_eqz(o, v1_names[c]))
                bits |= 1U << c;
    return bits;
}

/* our path in the hierarchy whose /proc/self/cgroup line names these controllers */
static bool own_path(struct str text, const struct cg_tree *t, char *out, size_t size)
{
    struct str line, id, names;

    while (cut(&text, '\n', &line)) {
        if (!cut(&line, ':', &id) || !line.len)
            continue;
        names = (struct str){line.ptr, 0};
        if (line.ptr[0] != ':') {
            if (!cut(&line, ':', &names))
                continue;
        } else {
            line.ptr++;
            line.len--;
        }
        if (t->v2 ? (str_eqz(id, "0") && names.len == 0)
                  : (controllers_of(names) & t->controllers) != 0) {
            if (line.len >= size)
                return false;
            memcpy(out, line.ptr, line.len);
            out[line.len] = 0;
            return true;
        }
    }
    return false;
}

static bool climbs(const char *path)
{
    for (const char *c = path; (c = strstr(c, "/..")); c += 3)
        if (!c[3] || c[3] == '/')
            return true;
    return false;
}

/* path relative to the mount's root; outside of it (another namespace's) counts as the root */
static void below_root(const char *path, const char *root, char *out, size_t size)
{
    size_t n = strcmp(root, "/") == 0 ? 0 : strlen(root);
    const char *rest = path;

    if (strncmp(path, root, n) == 0 && (path[n] == '/' || path[n] == 0))
        rest = path + n;
    else
        rest = "";
    if (strcmp(rest, "/") == 0 || climbs(rest))
        rest = "";
    (void)snprintf(out, size, "%s", rest);
}

static bool parse_mount(struct str line, struct str self, struct cg_tree *t)
{
    struct str f, root = {0}, point = {0}, type = {0}, options = {0};
    char root_text[CG_PATH], path[CG_PATH];
    int after_dash = -1;

    for (int i = 0; cut(&line, ' ', &f); i++) {
        if (i == 3)
            root = f;
        else if (i == 4)
            point = f;
        else if (i > 5 && after_dash < 0 && str_eqz(f, "-"))
            after_dash = 0;
        else if (after_dash == 0 || after_dash == 1 || after_dash == 2) {
            if (after_dash == 0)
                type = f;
            if (after_dash == 2)
                options = f;
            after_dash++;
        }
    }
    *t = (struct cg_tree){.v2 = str_eqz(type, "cgroup2")};
    if (!t->v2 && !str_eqz(type, "cgroup"))
        return false;
    t->controllers = t->v2 ? 0 : controllers_of(options);
    if ((!t->v2 && !t->controllers) || !unescape(root, root_text, sizeof root_text) ||
        !unescape(point, t->mount, sizeof t->mount) ||
        !own_path(self, t, path, sizeof path))
        return false;
    below_root(path, root_text, t->own, sizeof t->own);
    return true;
}

void cg_parse(const char *mountinfo, const char *self_cgroup, struct cg_map *out)
{
    struct str rest = str_of(mountinfo), line;

    out->n = 0;
    while (out->n < CG_TREES_MAX && cut(&rest, '\n', &line)) {
        struct cg_tree *t = &out->trees[out->n];
        bool again = false;
        if (!parse_mount(line, str_of(self_cgroup), t))
            continue;
        for (size_t i = 0; i < out->n; i++) /* the same hierarchy, mounted a second time */
            again = again || (out->trees[i].v2 == t->v2 &&
                              out->trees[i].controllers == t->controllers);
        if (!again)
            out->n++;
    }
}

const char *cg_kind(const struct cg_map *m)
{
    bool v1 = false, v2 = false;

    for (size_t i = 0; i < m->n; i++) {
        v1 = v1 || !m->trees[i].v2;
        v2 = v2 || m->trees[i].v2;
    }
    return v1 && v2 ? "hybrid" : v1 ? "v1" : v2 ? "v2" : "none";
}

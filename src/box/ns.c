/* SPDX-License-Identifier: Apache-2.0 */
/* ns.c - user namespaces: which ids a box of an ordinary user has
 *
 *     IDS_HOST    root with CAP_SYS_ADMIN: no user namespace
 *     IDS_RANGE   /etc/subuid gives the caller a range, newuidmap may map it:
 *                     inside 0 = caller, 1, 2, ... = the range
 *     IDS_ONE     else: one id, the caller's own, under the number that the image wants
 *
 * The map of one id is written by the child itself, that of a range by the setuid helpers,
 * which the parent runs while the child waits.
 *
 * Files of the range belong to nobody that the caller could be outside. Whoever has to read or
 * remove them does it in a helper process inside a user namespace, see ids_run_mapped().
 */
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/inside.h"

#define INITIAL_USER_NS 0xEFFFFFFDU /* PROC_USER_INIT_INO, the same on every machine */

bool ids_have_cap(unsigned cap)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};

    return sys_capget(&h, d) == 0 && (d[cap / 32].effective >> (cap % 32) & 1);
}

bool ids_in_initial_ns(void)
{
    struct stat st;

    return stat("/proc/self/ns/user", &st) < 0 || st.st_ino == INITIAL_USER_NS;
}

static long sysctl_value(const char *path)
{
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC);
    char text[32];
    ssize_t n = fd < 0 ? -1 : read(fd, text, sizeof text - 1);

    if (n <= 0)
        return -1;
    text[n] = 0;
    return strtol(text, NULL, 10);
}

const char *ids_hint(void)
{
    if (sysctl_value("/proc/sys/user/max_user_namespaces") == 0)
        return "user namespaces are switched off here: as root, run sysctl -w "
               "user.max_user_namespaces=15000";
    if (sysctl_value("/proc/sys/kernel/unprivileged_userns_clone") == 0)
        return "user namespaces are kept to root here: as root, run sysctl -w "
               "kernel.unprivileged_userns_clone=1";
    if (sysctl_value("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == 1)
        return "AppArmor keeps user namespaces from programs without a profile: as root, run "
               "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or load a profile "
               "for dugout that has the rule \"userns,\"";
    return NULL;
}

/* ---- /etc/subuid --------------------------------------------------------------------------- */

static bool user_name(uid_t uid, char *out, size_t size)
{
    AUTO_BUF struct buf text = {0};
    struct err e;
    char want[16];

    (void)snprintf(want, sizeof want, "%u", uid);
    if (fd_read_file(AT_FDCWD, "/etc/passwd", &text, LIMIT_PASSWD_BYTES, &e) < 0)
        return false;
    for (char *line = text.ptr, *next; line && *line; line = next) {
        char *name = line, *colon = strchr(line, ':'), *id;
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (!colon || (next && colon >= next) || !(id = strchr(colon + 1, ':')))
            continue;
        *colon = 0;
        id++;
        if (strncmp(id, want, strlen(want)) == 0 && id[strlen(want)] == ':' &&
            strlen(name) < size) {
            (void)snprintf(out, size, "%s", name);
            return true;
        }
    }
    return false;
}

/* lines OWNER:START:COUNT, where owner is a name or a number; the longest one counts */
static bool find_range(const char *path, const char *name, uint32_t *start, uint32_t *count)
{
    AUTO_BUF struct buf text = {0};
    char number[16];
    struct err e;

    *count = 0;
    (void)snprintf(number, sizeof number, "%u", getuid());
    if (fd_read_file(AT_FDCWD, path, &text, LIMIT_PASSWD_BYTES, &e) < 0)
        return false;
    for (char *line = text.ptr, *next; line && *line; line = next) {
        char *colon = strchr(line, ':'), *end;
        unsigned long long first, n;
        next = strchr(line, '\n');
        if (next)
            *next++ = 0;
        if (!colon || (next && colon >= next))
            continue;
        *colon = 0;
        if (strcmp(line, number) != 0 && (!name[0] || strcmp(line, name) != 0))
            continue;
        first = strtoull(colon + 1, &end, 10);
        n = *end == ':' ? strtoull(end + 1, &end, 10) : 0;
        if (n > *count && first > 0 && first < UINT32_MAX && n < UINT32_MAX - first) {
            *start = (uint32_t)first;
            *count = (uint32_t)n;
        }
    }
    return *count > 0;
}

static const char *find_helper(const char *name, char path[64])
{
    static const char *const dirs[] = {"/usr/bin", "/bin", "/usr/local/bin", "/usr/sbin"};

    for (size_t i = 0; i < N_ELEMS(dirs); i++) {
        (void)snprintf(path, 64, "%s/%s", dirs[i], name);
        if (access(path, X_OK) == 0)
            return path;
    }
    return NULL;
}

bool ids_subranges(struct ids *out)
{
    char name[256] = "", path[64];

    (void)user_name(getuid(), name, sizeof name);
    return find_range("/etc/subuid", name, &out->sub_uid, &out->n_uids) &&
           find_range("/etc/subgid", name, &out->sub_gid, &out->n_gids) &&
           find_helper("newuidmap", path) && find_helper("newgidmap", path);
}

/* ---- which ids ------------------------------------------------------------------------------ */

/* The user's number must be known before there is a merged root to look it up in, so ask the
 * topmost layer that has an etc/passwd. */
static int wanted_user(const struct box_spec *spec, struct box_user *out, struct err *e)
{
    for (size_t i = 0; i < spec->n_lowers; i++) {
        AUTO_FD int fd = open(spec->lowers[i], O_PATH | O_DIRECTORY | O_CLOEXEC);
        AUTO_FD int passwd = fd < 0 ? -1 : fd_open_in_root(fd, "etc/passwd", O_PATH, 0);
        if (passwd >= 0 || i + 1 == spec->n_lowers)
            return box_resolve_user(fd, spec->user, out, e);
    }
    return err_set(e, ERR_INPUT, "the box has no layers");
}

int ids_find(const struct box_spec *spec, struct ids *out, struct err *e)
{
    struct box_user user;

    memset(out, 0, sizeof *out);
    if (geteuid() == 0 && ids_have_cap(CAP_SYS_ADMIN))
        return 0;
    out->kind = IDS_RANGE;
    if (geteuid() != 0 && ids_subranges(out))
        return 0;
    if (wanted_user(spec, &user, e) < 0)
        return -1;
    *out = (struct ids){.kind = IDS_ONE, .inner_uid = user.uid, .inner_gid = user.gid};
    return 0;
}

/* ---- writing maps ----------------------------------------------------------------------------- */

int ids_refused(const char *what, struct err *e)
{
    int sys = errno;
    const char *hint = ids_hint();

    return hint ? err_set(e, ERR_SYS, "%s: %s", what, hint) : err_sys(e, sys, "%s", what);
}

int ids_write_own(const struct ids *ids, uid_t euid, gid_t egid, struct err *e)
{
    struct err ignored;
    char map[48];

    (void)fd_write_small(AT_FDCWD, "/proc/self/setgroups", "deny", &ignored);
    (void)snprintf(map, sizeof map, "%u %u 1", ids->inner_uid, euid);
    if (fd_write_small(AT_FDCWD, "/proc/self/uid_map", map, e) < 0)
        return ids_refused("map the user into the box", e);
    (void)snprintf(map, sizeof map, "%u %u 1", ids->inner_gid, egid);
    if (fd_write_small(AT_FDCWD, "/proc/self/gid_map", map, e) < 0)
        return ids_refused("map the group into the box", e);
    return 0;
}

static pid_t run_helper(const char *name, pid_t pid, uint32_t own, uint32_t first,
                        uint32_t count)
{
    char path[64], target[16], own_text[16], first_text[16], count_text[16];
    char *argv[] = {path, target, "0", own_text, "1", "1", first_text, count_text, NULL};
    char *env[] = {NULL};
    pid_t helper;

    if (!find_helper(name, path))
        return -1;
    (void)snprintf(target, sizeof target, "%d", (int)pid);
    (void)snprintf(own_text, sizeof own_text, "%u", own);
    (void)snprintf(first_text, sizeof first_text, "%u", first);
    (void)snprintf(count_text, sizeof count_text, "%u", count);
    helper = fork();
    if (helper == 0) {
        (void)execve(path, argv, env);
        _exit(127);
    }
    return helper;
}

static bool ended_well(pid_t pid)
{
    int status = 0;

    if (pid < 0)
        return false;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return false;
    return status == 0;
}

int ids_write_range(const struct ids *ids, pid_t pid, struct err *e)
{
    pid_t u = run_helper("newuidmap", pid, geteuid(), ids->sub_uid, ids->n_uids);
    pid_t g = run_helper("newgidmap", pid, getegid(), ids->sub_gid, ids->n_gids);
    bool u_ok = ended_well(u), g_ok = ended_well(g);
    const char *hint = ids_hint();

    if (u_ok && g_ok)
        return 0;
    return err_set(e, ERR_SYS, "%s did not map the range of ids that /etc/sub%s names: %s",
                   u_ok ? "newgidmap" : "newuidmap", u_ok ? "gid" : "uid",
                   hint ? hint : IDS_HELPER_REMEDY);
}

/* ---- a helper inside -------------------------------------------------------------------------- */

struct helper {
    int userns_fd;
    int (*fn)(void *arg, struct err *e);
    void *arg;
    int go_read, report_write;
    bool one_id;
};

static _Noreturn void helper_main(const struct helper *h)
{
    struct err e = {0};
    char go = 0;

    if (h->userns_fd >= 0 ? setns(h->userns_fd, CLONE_NEWUSER) : unshare(CLONE_NEWUSER)) {
        (void)err_sys(&e, errno, "enter a user namespace");
        (void)!write(h->report_write, &e, sizeof e);
        _exit(1);
    }
    if (h->userns_fd < 0) {
        (void)!write(h->report_write, &e, sizeof e); /* an empty error: "map me" */
        if (read(h->go_read, &go, 1) != 1)
            _exit(1);
    }
    /* With one id there may be no 0; the capabilities come with entering, whoever we are. */
    if (!h->one_id && (setresgid(0, 0, 0) < 0 || setresuid(0, 0, 0) < 0))
        (void)err_sys(&e, errno, "become root in a user namespace");
    else
        (void)h->fn(h->arg, &e);
    (void)!write(h->report_write, &e, sizeof e);
    _exit(0);
}

static int helper_wait(int report, struct err *e)
{
    ssize_t n = read(report, e, sizeof *e);

    if (n != (ssize_t)sizeof *e)
        return err_set(e, ERR_SYS, "the helper in the user namespace died");
    return e->code == ERR_NONE ? 0 : -1;
}

int ids_run_mapped(int userns_fd, bool one_id, int (*fn)(void *arg, struct err *e), void *arg,
                   struct err *e)
{
    AUTO_FD int go_read = -1;
    AUTO_FD int go_write = -1;
    AUTO_FD int report = -1;
    struct ids ids = {0};
    int go[2], rep[2], rc;
    pid_t pid;

    if (userns_fd < 0 && !ids_subranges(&ids))
        return err_set(e, ERR_SYS, "no range of ids in /etc/subuid");
    if (pipe2(go, O_CLOEXEC) < 0)
        return err_sys(e, errno, "pipe");
    go_read = go[0];
    go_write = go[1];
    if (pipe2(rep, O_CLOEXEC) < 0)
        return err_sys(e, errno, "pipe");
    report = rep[0];
    pid = fork();
    if (pid == 0) {
        (void)close(go_write);
        helper_main(&(struct helper){userns_fd, fn, arg, go_read, rep[1], one_id});
    }
    (void)close(rep[1]);
    if (pid < 0)
        return err_sys(e, errno, "fork");
    rc = 0;
    if (userns_fd < 0) {
        rc = helper_wait(report, e);
        if (rc == 0)
            rc = ids_write_range(&ids, pid, e);
        if (rc == 0)
            (void)!write(go_write, "g", 1);
    }
    (void)close(fd_take(&go_write)); /* without "go" it ends */
    if (rc == 0)
        rc = helper_wait(report, e);
    (void)ended_well(pid);
    return rc;
}

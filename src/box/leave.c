/* SPDX-License-Identifier: Apache-2.0 */
/* leave.c - out of the cgroup by which systemd knows a unit or a session
 *
 * A stopped unit, and a logout where KillUserProcesses is set, is a SIGKILL to every
 * process of one cgroup: of the v2 tree, and where v1 is mounted also of the tree named
 * "systemd". Whoever should outlive the unit has to be elsewhere, here in
 *
 *     MOUNT/dugout/supervisors
 *
 * of each of the two trees. Trees with controllers are left alone: an administrator's
 * limit on the unit is no business of ours (in v2 one tree is both, and boxes have
 * their own cgroups there anyway). For an ordinary user the kernel refuses, and the
 * unit keeps what it started.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "box/box.h"

#define POOL "dugout"
#define PLACE POOL "/supervisors"

static const struct {
    const char *ours; /* how its line of /proc/self/cgroup goes on after the id */
    const char *type, *option; /* how its line of mountinfo ends */
} trees[] = {
    {"::", " - cgroup2 ", ""},
    {":name=systemd:", " - cgroup ", "name=systemd"},
};

/* are we below the top of this tree? At the top no unit can be meant. */
static bool in_a_unit(const char *self, const char *ours)
{
    for (const char *p = self; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        const char *rest = p + strspn(p, "0123456789");
        size_t n = strlen(ours);
        if (strncmp(rest, ours, n) == 0)
            return rest[n] == '/' && rest[n + 1] && rest[n + 1] != '\n';
    }
    return false;
}

static bool mounted_at(const char *mounts, const char *type, const char *option,
                       char at[1024])
{
    for (const char *p = mounts; *p; p += strcspn(p, "\n"), p += *p == '\n') {
        size_t len = strcspn(p, "\n");
        const char *t = memmem(p, len, type, strlen(type));
        if (t && memmem(t, len - (size_t)(t - p), option, strlen(option)))
            return sscanf(p, "%*d %*d %*s %*s %1023s", at) == 1;
    }
    return false;
}

static void move_below(const char *mount)
{
    AUTO_FD int top = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int procs = -1;

    if (top < 0)
        return;
    (void)mkdirat(top, POOL, 0755);
    (void)mkdirat(top, PLACE, 0755);
    procs = openat(top, PLACE "/cgroup.procs", O_WRONLY | O_CLOEXEC);
    if (procs >= 0)
        (void)!write(procs, "0", 1);
}

void box_leave_unit(void)
{
    AUTO_BUF struct buf self = {0}, mounts = {0};
    char at[1024];
    struct err e;

    if (fd_read_file(AT_FDCWD, "/proc/self/cgroup", &self, MIB, &e) < 0 ||
        fd_read_file(AT_FDCWD, "/proc/self/mountinfo", &mounts, 16 * MIB, &e) < 0)
        return;
    for (size_t i = 0; i < N_ELEMS(trees); i++)
        if (in_a_unit(buf_str(&self), trees[i].ours) &&
            mounted_at(buf_str(&mounts), trees[i].type, trees[i].option, at))
            move_below(at);
}

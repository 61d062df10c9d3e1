/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - what this machine can give a box, found out by trying it
 *
 * Versions say little: distributions backport, and an outer container's filter answers
 * ENOSYS or EPERM for what its kernel has. So each thing is done once, overlayfs and
 * namespaces in a child that goes away. For `doctor`; a box itself finds out on its way.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/inside.h"

#define USUAL_IDS 65535 /* above 0: up to nobody (65534) and nogroup */

static void fact(struct box_facts *f, const char *name, enum box_fact_state state,
                 const char *remedy, const char *fmt, ...) __attribute__((format(printf, 5, 6)));

static void fact(struct box_facts *f, const char *name, enum box_fact_state state,
                 const char *remedy, const char *fmt, ...)
{
    struct box_fact *x = &f->facts[f->n];
    va_list ap;

    must(f->n < BOX_FACTS_MAX);
    f->n++;
    *x = (struct box_fact){.name = name, .state = state, .remedy = remedy};
    va_start(ap, fmt);
    (void)vsnprintf(x->value, sizeof x->value, fmt, ap);
    va_end(ap);
}

/* fn in a child with new namespaces as a box has them; its errno, 0 when it worked */
static int in_namespaces(uint64_t flags, int (*fn)(const void *arg), const void *arg)
{
    struct sys_clone_args a = {.flags = flags, .exit_signal = SIGCHLD};
    pid_t pid = sys_clone3(&a, offsetof(struct sys_clone_args, set_tid));
    int status = 0;

    if (pid < 0)
        return errno;
    if (pid == 0)
        _exit(fn(arg) < 0 ? (errno & 0xff) : 0);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    return WIFEXITED(status) ? WEXITSTATUS(status) : EIO;
}

/* ---- overlay ------------------------------------------------------------------------------- */

struct try_root {
    struct plan plan;
    struct box_spec spec;
    const char *lowers[2];
    char dir[PATH_MAX - 32], paths[2][PATH_MAX];
    uid_t euid;
    gid_t egid;
};

static int mount_it(const void *arg)
{
    const struct try_root *t = arg;
    struct err e = {0};
    bool refused;
    int fd;

    if (t->plan.ids.kind != IDS_HOST && ids_write_own(&t->plan.ids, t->euid, t->egid, &e) < 0)
        errno = e.sys ? e.sys : EPERM;
    else if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        ;
    else if (root_mount(&t->plan, &fd, &refused, &e) < 0)
        errno = e.sys ? e.sys : EINVAL;
    else
        return 0;
    return -1;
}

/* mount two layers as a box of ours would, on the file system where boxes will be */
static int try_overlay(const char *home, const struct ids *ids)
{
    AUTO_FREE struct try_root *t = xalloc(sizeof *t);
    struct err e = {0};
    int rc = EIO;

    (void)snprintf(t->dir, sizeof t->dir, "%s/.dugout-probe-XXXXXX", home);
    if (!mkdtemp(t->dir))
        return errno;
    for (int i = 0; i < 2; i++) {
        (void)snprintf(t->paths[i], sizeof t->paths[i], "%s/lower%d", t->dir, i);
        t->lowers[i] = t->paths[i];
        (void)mkdir(t->paths[i], 0755);
    }
    t->spec = (struct box_spec){.lowers = t->lowers, .n_lowers = 2, .scratch = t->dir};
    t->plan.spec = &t->spec;
    t->plan.ids = *ids;
    if (ids->kind == IDS_RANGE) /* overlayfs is the same with one id, and that needs no helper */
        t->plan.ids = (struct ids){.kind = IDS_ONE};
    t->plan.userxattr = ids->kind != IDS_HOST || !ids_in_initial_ns();
    t->euid = geteuid();
    t->egid = getegid();
    if (root_prepare(&t->plan, &e) == 0)
        rc = in_namespaces(CLONE_NEWNS | (ids->kind == IDS_HOST ? 0 : CLONE_NEWUSER), mount_it, t);
    (void)fd_remove_tree(AT_FDCWD, t->dir, &e);
    return rc;
}

static void probe_overlay(const char *home, const struct ids *ids, struct box_facts *f)
{
    int why = try_overlay(home, ids);

    if (!why)
        fact(f, "overlayfs", BOX_FACT_GOOD, NULL, "mounts on %.120s", home);
    else
        fact(f, "overlayfs", BOX_FACT_WORSE,
             "load the module (modprobe overlay), or keep the home on ext4, xfs or btrfs; until "
             "then each box gets a copy of its image",
             "cannot be mounted on %.90s: %s", home, strerror(why));
}

/* ---- namespaces ------------------------------------------------------------------------------ */

static int nothing(const void *arg)
{
    (void)arg;
    return 0;
}

static int map_one(const void *arg)
{
    const uid_t *ids = arg;
    struct ids one = {.kind = IDS_ONE};
    struct err e;

    if (ids_write_own(&one, ids[0], ids[1], &e) < 0) {
        errno = EPERM;
        return -1;
    }
    return mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL);
}

static bool probe_namespaces(const struct ids *ids, struct box_facts *f)
{
    const uint64_t all =
        CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC | CLONE_NEWUTS | CLONE_NEWNET;
    uid_t me[2] = {geteuid(), getegid()};
    int why;

    why = ids->kind == IDS_HOST ? in_namespaces(all, nothing, NULL)
                                : in_namespaces(all | CLONE_NEWUSER, map_one, me);
    if (!why)
        fact(f, "namespaces", BOX_FACT_GOOD, NULL, "mount, pid, ipc, uts, network%s",
             ids->kind == IDS_HOST ? "" : ", user");
    else
        fact(f, "namespaces", BOX_FACT_BAD,
             ids_hint() ? ids_hint()
                        : "run dugout as root, or allow user namespaces for this user",
             "cannot be made: %s", strerror(why));
    return why == 0;
}

static int nothing_mapped(void *arg, struct err *e)
{
    (void)arg;
    (void)e;
    return 0;
}

static void probe_range(const struct ids *ids, bool try_it, struct box_facts *f)
{
    unsigned least = ids->n_uids < ids->n_gids ? ids->n_uids : ids->n_gids;
    struct err e;

    if (try_it && ids_run_mapped(-1, false, nothing_mapped, NULL, &e) < 0)
        fact(f, "ids", BOX_FACT_BAD, IDS_HELPER_REMEDY,
             "newuidmap or newgidmap does not map the range of this user");
    else if (least < USUAL_IDS)
        fact(f, "ids", BOX_FACT_WORSE,
             "images may have any user up to 65534 (nobody): as root, give this user 65536 ids: "
             "usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME",
             "only %u: a box cannot have users above that", least);
    else
        fact(f, "ids", BOX_FACT_GOOD, NULL, "%u from %u on, by newuidmap", ids->n_uids,
             ids->sub_uid);
}

static void probe_ids(const struct ids *ids, bool try_it, struct box_facts *f)
{
    switch (ids->kind) {
    case IDS_HOST:
        fact(f, "ids", BOX_FACT_GOOD, NULL, "those of the host (root)");
        return;
    case IDS_RANGE:
        probe_range(ids, try_it, f);
        return;
    case IDS_ONE:
        fact(f, "ids", BOX_FACT_WORSE,
             "for images that change users, install newuidmap (package uidmap) and give this "
             "user a range: usermod --add-subuids 100000-165535 --add-subgids 100000-165535 NAME",
             "one: only your own user id");
        return;
    }
}

/* ---- the rest ---------------------------------------------------------------------------------- */

/* who gives what is missing depends on the version that is mounted and on who rules it */
static const char *cgroup_remedy(bool root)
{
    struct statfs fs;
    bool there = access("/sys/fs/cgroup/cgroup.procs", F_OK) == 0;
    bool v2 = there && statfs("/sys/fs/cgroup", &fs) == 0 && fs.f_type == CGROUP2_SUPER_MAGIC;

    if (root && v2)
        return "as root: echo +memory +pids +cpu >/sys/fs/cgroup/cgroup.subtree_control; in a "
               "container, start that with its cgroup writable";
    if (root)
        return "mount what is missing: mount -t cgroup2 cgroup2 /sys/fs/cgroup, or for v1 mount -t "
               "cgroup -o memory cgroup /sys/fs/cgroup/memory, and so each controller";
    if (!v2)
        return "cgroup v1 is never handed to users: boot with cgroup v2 (on the kernel's command "
               "line: systemd.unified_cgroup_hierarchy=1), or run dugout as root";
    if (access("/run/systemd/system", F_OK) == 0)
        return "start dugout by: systemd-run --user --scope -p Delegate=yes dugout ...; as root, "
               "[Service] Delegate=cpu memory pids in /etc/systemd/system/user@.service.d/dugout.conf";
    return "as root, give this user a cgroup: mkdir /sys/fs/cgroup/NAME; chown NAME "
           "/sys/fs/cgroup/NAME and cgroup.procs, cgroup.subtree_control in it; then start his shell "
           "there: echo PID >/sys/fs/cgroup/NAME/cgroup.procs";
}

static void probe_cgroup(const struct ids *ids, struct box_facts *f)
{
    static const char *const names[CG_N] = {"memory", "pids", "cpu", "devices"};
    char have[64] = "", lack[64] = "";
    bool can[CG_N];
    const char *kind;

    cg_can(can, &kind);
    for (int c = 0; c < CG_N; c++) {
        char *list = can[c] ? have : lack;
        size_t n = strlen(list);
        if (c == CG_DEVICES && ids->kind != IDS_HOST)
            continue; /* nodes cannot be made in a user namespace anyway */
        (void)snprintf(list + n, sizeof have - n, "%s%s", n ? " " : "", names[c]);
    }
    if (!lack[0])
        fact(f, "cgroup", BOX_FACT_GOOD, NULL, "%s: %s", kind, have);
    else
        fact(f, "cgroup", BOX_FACT_WORSE,
             cgroup_remedy(ids->kind == IDS_HOST), "%s: %s%snot %s", kind, have, have[0] ? ", " : "", lack);
}

static void probe_small(struct box_facts *f)
{
    uint32_t action = SECCOMP_RET_ERRNO;
    int fd = memfd_create("dugout-probe", MFD_CLOEXEC | 0x10);
    int pidfd = sys_pidfd_open(getpid());

    if (fd < 0 && errno == EINVAL)
        fd = memfd_create("dugout-probe", MFD_CLOEXEC);
    if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &action) == 0)
        fact(f, "seccomp", BOX_FACT_GOOD, NULL, "filters");
    else
        fact(f, "seccomp", BOX_FACT_BAD, "use a kernel with CONFIG_SECCOMP_FILTER", "%s",
             strerror(errno));
    if (fd >= 0)
        fact(f, "memory files", BOX_FACT_GOOD, NULL, "can be executed");
    else
        fact(f, "memory files", BOX_FACT_WORSE,
             "sysctl -w vm.memfd_noexec=0; until then PID 1 is started from a file in the home",
             "cannot be executed: %s", strerror(errno));
    if (pidfd >= 0)
        fact(f, "pidfd", BOX_FACT_GOOD, NULL, "yes");
    else
        fact(f, "pidfd", BOX_FACT_BAD, "use Linux 5.10 or later", "%s", strerror(errno));
    auto_fd(&fd);
    auto_fd(&pidfd);
}

static void probe_mount_api(struct box_facts *f)
{
    AUTO_FD int fs = sys_fsopen("tmpfs");
    struct sys_mount_attr a = {0};
    /* with nothing to set it succeeds before it looks at the descriptor */
    bool setattr = sys_mount_setattr(-1, 0, &a) == 0 || errno != ENOSYS;

    if (fs < 0 && errno != EPERM)
        fact(f, "mounts", BOX_FACT_BAD, "use Linux 5.10 or later; in a container, one whose "
                                        "filter allows fsopen",
             "no fsopen: %s", strerror(errno));
    else if (!setattr)
        fact(f, "mounts", BOX_FACT_WORSE,
             "use Linux 5.12 or later; until then a read-only mount leaves out what is mounted "
             "below its source",
             "no mount_setattr");
    else
        fact(f, "mounts", BOX_FACT_GOOD, NULL, "by descriptor");
}

void box_probe(const char *home, struct box_facts *out)
{
    static const char *const layers[] = {"/"};
    struct box_spec nobody = {.lowers = layers, .n_lowers = 1, .user = "0"};
    struct utsname u;
    struct ids ids;
    struct err e;

    out->n = 0;
    if (uname(&u) == 0)
        fact(out, "kernel", BOX_FACT_GOOD, NULL, "%.60s %.60s", u.release, u.machine);
    if (ids_find(&nobody, &ids, &e) < 0)
        ids = (struct ids){.kind = IDS_ONE};
    probe_ids(&ids, probe_namespaces(&ids, out), out);
    probe_mount_api(out);
    probe_overlay(home ? home : "/tmp", &ids, out);
    probe_cgroup(&ids, out);
    probe_small(out);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* child.c - from clone to the execve of PID 1
 *
 * The child is a fork in new namespaces. It reads the plan, builds the box around itself
 * and turns into PID 1 (init.c). It only makes system calls and uses its stack; what goes
 * wrong travels to the parent as a struct err, and it leaves by _exit.
 *
 *     ids -> own process (score, limits, death) -> root -> /dev -> binds -> ROOT to the parent
 *         -> /proc, /sys -> names, loopback -> pivot -> cgroups -> descriptors -> execve
 *
 * The box joins v1 cgroups last, so that what the set-up costs is not charged to a small
 * limit; only then the cgroup namespace is made, whose root is where we are. Host paths are
 * resolved before the pivot, everything inside the root through its descriptor.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <net/if.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/inside.h"

#define OOM_SCORE "500"
#define NOFILE_DEFAULT 1048576
#define KEYCTL_JOIN_SESSION_KEYRING 1
#define FD_SAFE 10 /* descriptors from here on do not collide with 0-4 of PID 1 */
#define INIT_FD 4

struct child {
    struct plan *p; /* ours, as this is a fork */
    struct mounter m;
    int tree; /* a second mount of the root alone, for the parent */
    int tty;  /* the slave, -1 without */
    bool cwd_made;
    bool refused;
};

/* ---- to the parent ------------------------------------------------------------------------------- */

static int send_fd(int sock, enum box_news kind, int fd, int status)
{
    struct box_msg msg = {.kind = kind, .status = status};
    struct iovec io = {&msg, offsetof(struct box_msg, text)};
    union {
        char bytes[CMSG_SPACE(sizeof(int))];
        struct cmsghdr align;
    } control = {{0}};
    struct msghdr h = {.msg_iov = &io,
                       .msg_iovlen = 1,
                       .msg_control = control.bytes,
                       .msg_controllen = sizeof control.bytes};
    struct cmsghdr *c = CMSG_FIRSTHDR(&h);

    c->cmsg_level = SOL_SOCKET;
    c->cmsg_type = SCM_RIGHTS;
    c->cmsg_len = CMSG_LEN(sizeof fd);
    memcpy(CMSG_DATA(c), &fd, sizeof fd);
    return sendmsg(sock, &h, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

static _Noreturn void fail(const struct child *c, const struct err *e)
{
    struct box_msg msg = {.kind = NEWS_FAILED, .status = c->refused};

    _Static_assert(sizeof *e <= sizeof msg.text, "an error fits a message");
    memcpy(msg.text, e, sizeof *e);
    (void)send(c->p->sock, &msg, sizeof msg, MSG_NOSIGNAL);
    _exit(125);
}

/* ---- ourselves -------------------------------------------------------------------------------------- */

static int take_ids(const struct plan *p, uid_t euid, gid_t egid, struct err *e)
{
    char go;

    if (p->ids.kind == IDS_HOST)
        return 0;
    if (p->ids.kind == IDS_ONE && ids_write_own(&p->ids, euid, egid, e) < 0)
        return -1;
    if (recv(p->sock, &go, 1, 0) != 1)
        _exit(125); /* the parent could not map us or open our namespace, and knows why */
    if (p->ids.kind == IDS_ONE)
        return 0;
    if (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0 ||
        syscall(SYS_setgroups, 0, NULL) < 0)
        return ids_refused("become root in the box", e);
    return 0;
}

static void die_with_parent(const struct plan *p)
{
    char c;

    if (!p->spec->as_init_parent_death)
        return;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (recv(p->sock, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
        _exit(125);
}

/* through the host's /proc, if that is what it is */
static void raise_oom_score(void)
{
    AUTO_FD int fd = open("/proc/self/oom_score_adj", O_WRONLY | O_CLOEXEC);
    struct statfs fs;

    if (fd >= 0 && fstatfs(fd, &fs) == 0 && fs.f_type == PROC_SUPER_MAGIC)
        (void)!write(fd, OOM_SCORE, sizeof OOM_SCORE - 1);
}

static void set_rlimits(void)
{
    struct rlimit none = {0, 0}, files;

    (void)setrlimit(RLIMIT_CORE, &none);
    if (getrlimit(RLIMIT_NOFILE, &files) == 0) {
        rlim_t want = files.rlim_max < NOFILE_DEFAULT ? files.rlim_max : NOFILE_DEFAULT;
        if (files.rlim_cur < want) {
            files.rlim_cur = want;
            (void)setrlimit(RLIMIT_NOFILE, &files);
        }
    }
}

/* without a cgroup for it: as many cores as the limit rounds up to, not always the same ones */
static void limit_cores(const struct plan *p)
{
    cpu_set_t have, want;
    int n, keep, first;

    if (!p->spec->cpu_millis || p->cgroup->enforced[CG_CPU] ||
        sched_getaffinity(0, sizeof have, &have) < 0)
        return;
    n = CPU_COUNT(&have);
    keep = (int)((p->spec->cpu_millis + 999) / 1000);
    if (keep >= n)
        return;
    first = p->core_seed % n;
    CPU_ZERO(&want);
    for (int cpu = 0, i = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &have))
            continue;
        if ((i - first + n) % n < keep)
            CPU_SET(cpu, &want);
        i++;
    }
    (void)sched_setaffinity(0, sizeof want, &want);
}

/* ---- the root ------------------------------------------------------------------------------------------ */

static int make_places(struct child *c, struct err *e)
{
    const struct box_spec *spec = c->p->spec;
    int root = c->m.root_fd;

    for (size_t i = 0; i < spec->n_writable_dirs; i++) {
        AUTO_FD int fd = -1;
        bool made;
        if (root_mkdirs(root, spec->writable_dirs[i], 0777, &made, &fd, e) < 0)
            return -1;
    }
    {
        AUTO_FD int fd = -1;
        if (root_mkdirs(root, c->p->cwd, 0755, &c->cwd_made, &fd, e) < 0)
            return err_at(e, "working directory");
    }
    return 0;
}

static int write_etc(struct child *c, struct err *e)
{
    AUTO_FD int at = -1;
    AUTO_FD int etc = -1;
    bool made;

    if (root_mkdirs(c->m.root_fd, "/etc", 0755, &made, &at, e) < 0)
        return -1;
    etc = openat(at, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (etc < 0)
        return err_sys(e, errno, "open /etc of the box");
    return root_write_etc(c->p->hostname, c->p->spec->host_network, etc, e);
}

static int build_root(struct child *c, struct err *e)
{
    if (mount("", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return c->p->ids.kind == IDS_HOST ? err_sys(e, errno, "make mounts private")
                                          : ids_refused("make mounts private", e);
    if (root_mount(c->p, &c->m.root_fd, &c->refused, e) < 0 ||
        mnt_clone(c->m.root_fd, "", false, &c->tree, e) < 0)
        return -1;
    c->refused = false;
    if (c->p->etc_later && write_etc(c, e) < 0)
        return -1;
    if (extras_etc(&c->m, e) < 0 || mnt_dev(&c->m, e) < 0 || mnt_user(&c->m, e) < 0 ||
        extras_root(&c->m, e) < 0)
        return -1;
    return make_places(c, e);
}

/* The terminal is one of the box's own devpts, so that its name means something inside. */
static int open_tty(struct child *c, struct err *e)
{
    AUTO_FD int master = -1;
    int unlock = 0;

    if (!c->p->spec->tty)
        return 0;
    master = openat(c->m.dev_fd, "pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlock) < 0)
        return err_sys(e, errno, "open a terminal for the box");
    c->tty = openat(c->m.dev_fd, "pts/0", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (c->tty < 0)
        return err_sys(e, errno, "open a terminal for the box");
    if (send_fd(c->p->sock, NEWS_TTY, master, 0) < 0)
        return err_sys(e, errno, "hand over the terminal");
    return 0;
}

static int join_cgroups(const struct plan *p, struct err *e)
{
    const struct cg_slot *s = p->cgroup;

    for (int i = 0; i < s->n_join; i++)
        if (write(s->join[i], "0", 1) < 0)
            return err_sys(e, errno, "join a cgroup");
    if (s->v2_dir >= 0 && !p->joined &&
        fd_write_small(s->v2_dir, "cgroup.procs", "0", e) < 0)
        return err_at(e, "join a cgroup");
    (void)unshare(CLONE_NEWCGROUP); /* a kernel without cgroups has none */
    return 0;
}

static int loopback_up(struct err *e)
{
    AUTO_FD int sock = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq lo = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};

    if (sock < 0 && errno == EAFNOSUPPORT)
        return 0; /* a kernel without IPv4 */
    if (sock < 0 || ioctl(sock, SIOCSIFFLAGS, &lo) < 0)
        return ids_refused("bring up the loopback interface of the box", e);
    return 0;
}

int box_share_network(struct err *e)
{
    if (unshare(CLONE_NEWNET) < 0)
        return err_sys(e, errno, "make a network namespace for several boxes");
    return loopback_up(e);
}

static int name_and_network(const struct plan *p, struct err *e)
{
    if (sethostname(p->hostname, strlen(p->hostname)) < 0)
        return err_sys(e, errno, "name the box");
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    return p->spec->host_network || p->spec->shared_network ? 0 : loopback_up(e);
}

/* On an initramfs "/" is no mount that could be put away, so the root is moved over it. */
static int enter_root(struct child *c, struct err *e)
{
    char where[8];

    if (c->p->spec->read_only_root && mnt_set(c->m.root_fd, ATTR_RDONLY, false, e) < 0)
        return -1;
    if (fchdir(c->m.root_fd) < 0)
        return err_sys(e, errno, "enter the root of the box");
    if (sys_pivot_root(".", ".") == 0) {
        if (umount2(".", MNT_DETACH) < 0)
            return err_sys(e, errno, "put the host's root away");
    } else if (errno != EINVAL || mount(".", "/", NULL, MS_MOVE, NULL) < 0 || chroot(".") < 0) {
        return err_sys(e, errno, "make the box's root the root");
    }
    if (chdir("/") < 0 || syscall(SYS_getcwd, where, sizeof where) < 0 ||
        strcmp(where, "/") != 0)
        return err_sys(e, errno, "enter the root of the box");
    return 0;
}

/* ---- the last steps --------------------------------------------------------------------------------------- */

/* 0, 1, 2 of the command; 3 the socket, 4 the program of PID 1; nothing else */
static int place_fds(struct child *c, struct err *e)
{
    const struct box_spec *spec = c->p->spec;
    int want[5] = {spec->stdin_fd, spec->stdout_fd, spec->stderr_fd, c->p->sock, c->p->init_fd};
    int high[5];

    for (int i = 0; i < 3; i++)
        if (c->tty >= 0)
            want[i] = c->tty;
        else if (want[i] < 0 && (want[i] = openat(c->m.dev_fd, "null", O_RDWR | O_CLOEXEC)) < 0)
            return err_sys(e, errno, "open /dev/null of the box");
    for (int i = 0; i < 5; i++)
        if ((high[i] = fcntl(want[i], F_DUPFD_CLOEXEC, FD_SAFE)) < 0)
            return err_sys(e, errno, "hand descriptor %d to the box", want[i]);
    for (int i = 0; i < 5; i++)
        if (dup3(high[i], i, i == INIT_FD ? O_CLOEXEC : 0) < 0)
            return err_sys(e, errno, "hand over descriptor %d", i);
    if (sys_close_range(INIT_FD + 1, ~0U, 0) < 0)
        return err_sys(e, errno, "close the other descriptors");
    return 0;
}

/* PID 1 drops what the command must not have; but an id other than 0 loses all capabilities in
 * execve, and then nobody could. */
static void bound_caps(const struct plan *p)
{
    uint64_t keep = p->ids.kind == IDS_ONE && p->ids.inner_uid != 0 ? 0 : BOX_CAPS_INIT;

    for (int cap = 0; cap <= BOX_CAPS_MAX; cap++)
        if (!(keep & BOX_CAP(cap)))
            (void)prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
}

static int build(struct child *c, uid_t euid, gid_t egid, struct err *e)
{
    struct plan *p = c->p;
    bool early; /* a v2 tree is mounted in the box, and shows the cgroup we are in then */

    /* out of the way of descriptors 0 to 4 */
    if ((p->sock = fcntl(p->sock, F_DUPFD_CLOEXEC, FD_SAFE)) < 0)
        _exit(125);
    raise_oom_score();
    if (take_ids(p, euid, egid, e) < 0)
        return -1;
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* shuts /proc/self, which was needed so far */
    (void)setsid();
    die_with_parent(p);
    (void)umask(0);
    set_rlimits();
    if (build_root(c, e) < 0 || open_tty(c, e) < 0)
        return -1;
    if (send_fd(p->sock, NEWS_ROOT, c->tree, c->cwd_made) < 0)
        return err_sys(e, errno, "hand over the root of the box");
    early = p->cgroup->n_join == 0;
    if ((early && join_cgroups(p, e) < 0) || mnt_kernel(&c->m, e) < 0 || name_and_network(p, e) < 0)
        return -1;
    limit_cores(p);
    if (enter_root(c, e) < 0 || (!early && join_cgroups(p, e) < 0) || place_fds(c, e) < 0)
        return -1;
    (void)umask(022);
    bound_caps(p);
    p->sock = PROTO_FD; /* for fail() */
    return 0;
}

_Noreturn void child_main(struct plan *p, uid_t euid, gid_t egid)
{
    struct child c = {.p = p, .m = {.p = p, .root_fd = -1, .dev_fd = -1}, .tree = -1, .tty = -1};
    struct err e = {0};

    if (build(&c, euid, egid, &e) < 0)
        fail(&c, &e);
    (void)syscall(SYS_execveat, INIT_FD, "", p->spec->argv, p->envp, AT_EMPTY_PATH);
    err_sys(&e, errno, "start PID 1 of the box");
    if (e.sys == E2BIG) {
        err_set(&e, ERR_INPUT, "arguments and environment are too long for the kernel: a single one may "
                              "have 128 KiB; mount what is larger as a file");
        e.sys = E2BIG;
    }
    fail(&c, &e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* init.c - PID 1 of a box: a program of its own, carried inside the dugout binary
 *
 * It is started from a sealed memory file, so /proc/1/exe is no way back to the host's
 * dugout (CVE-2019-5736), with the command's argv and environment as its own. It
 *
 *   reads its job from the socket -> gives up privileges -> starts the command ->
 *   passes signals on and reaps orphans -> reports the command's end -> exits,
 *
 * and with it the kernel kills whatever else is left in the pid namespace.
 *
 * The command is started by vfork: when vfork returns, execve has either succeeded or its
 * errno lies in our memory, so no pipe is needed to tell. The system call filter is
 * installed before the vfork and holds for PID 1 as well. Nothing here allocates, and
 * there is no stdio: what is small is soon copied into its memory file.
 */
#include "proto.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/statfs.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define PROC_MAGIC 0x9fa0
#define FALLBACK_PATH "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

static struct box_job job;

static void tell(enum box_news kind, enum box_step step, int sys, int status)
{
    struct box_msg m = {.kind = kind, .step = step, .sys = sys, .status = status};

    (void)send(PROTO_FD, &m, offsetof(struct box_msg, text), MSG_NOSIGNAL);
}

static _Noreturn void give_up(enum box_step step, int sys)
{
    tell(NEWS_NOT_STARTED, step, sys, 0);
    _exit(125);
}

/* ---- before the command ---------------------------------------------------------------- */

static void read_job(void)
{
    ssize_t n;

    do
        n = recv(PROTO_FD, &job, sizeof job, 0);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        _exit(125); /* the parent is gone */
    if (n < (ssize_t)offsetof(struct box_job, filter) || job.n_filter > JOB_FILTER ||
        job.n_groups > JOB_GROUPS ||
        (size_t)n < offsetof(struct box_job, filter) + job.n_filter * sizeof *job.filter)
        give_up(STEP_JOB, EBADMSG);
}

static void enter_cwd(void)
{
    static char where[JOB_PATH];
    struct statfs fs;

    if (chdir(job.cwd) < 0)
        give_up(STEP_CWD, errno);
    /* A directory reached through /proc may be the host's (CVE-2024-21626), and one outside
     * the root has a name that does not begin with a slash. */
    if (statfs(".", &fs) < 0 || fs.f_type == PROC_MAGIC ||
        syscall(SYS_getcwd, where, sizeof where) < 0 || where[0] != '/')
        give_up(STEP_CWD_PROC, EACCES);
    if (job.flags & JOB_OWN_CWD)
        (void)!chown(".", job.uid, job.gid);
}

static void set_caps(uint64_t caps)
{
    struct __user_cap_header_struct h = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct d[2] = {{0}};

    d[0].effective = d[0].permitted = (uint32_t)caps;
    d[1].effective = d[1].permitted = (uint32_t)(caps >> 32);
    if (syscall(SYS_capset, &h, d) < 0)
        give_up(STEP_CREDS, errno);
}

static void drop_privileges(void)
{
    /* Dropping from the bounding set takes SETPCAP, so that one goes last. Without it (one
     * mapped id that is not 0) the child did this before the execve. */
    for (int c = 0; c <= BOX_CAPS_MAX; c++)
        if (c != 8 && !(job.caps & BOX_CAP(c)))
            (void)prctl(PR_CAPBSET_DROP, c, 0, 0, 0);
    (void)prctl(PR_CAPBSET_DROP, 8, 0, 0, 0);
    (void)prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
    if ((job.flags & JOB_SETGROUPS) && syscall(SYS_setgroups, job.n_groups, job.groups) < 0)
        give_up(STEP_CREDS, errno);
    if (syscall(SYS_setresgid, job.gid, job.gid, job.gid) < 0 ||
        syscall(SYS_setresuid, job.uid, job.uid, job.uid) < 0)
        give_up(STEP_CREDS, errno);
    set_caps(job.caps);
    /* A change of ids resets both: who may look into us, and who we die with. */
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
    if (job.flags & JOB_PARENT_DEATH) {
        char c;
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
        if (recv(PROTO_FD, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0)
            _exit(125); /* it died before we asked */
    }
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        give_up(STEP_CREDS, errno);
}

static void install_filter(void)
{
    struct sock_fprog prog = {(unsigned short)job.n_filter, job.filter};

    /* SPEC_ALLOW: without it kernels before 5.16 slow the command down */
    if (job.n_filter &&
        syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_SPEC_ALLOW, &prog) < 0 &&
        prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &prog) < 0)
        give_up(STEP_SECCOMP, errno);
}

static const char *env_of(char *const *env, const char *name)
{
    size_t n = strlen(name);

    for (; *env; env++)
        if (strncmp(*env, name, n) == 0 && (*env)[n] == '=')
            return *env + n + 1;
    return NULL;
}

/* the environment with HOME; a new array, because the kernel's has no room at its end */
static char **with_home(char **env)
{
    static char home[5 + JOB_HOME] = "HOME=";
    size_t n = 0;
    char **more;

    if (!job.home[0] || env_of(env, "HOME"))
        return env;
    while (env[n])
        n++;
    more = mmap(NULL, (n + 2) * sizeof *more, PROT_READ | PROT_WRITE,
                MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (more == MAP_FAILED)
        return env;
    memcpy(home + 5, job.home, sizeof job.home - 1);
    memcpy(more, env, n * sizeof *more);
    more[n] = home;
    return more;
}

/* ---- the command ------------------------------------------------------------------------ */

static volatile int exec_errno;
static volatile int exec_step;

static void try_exec(const char *path, char **argv, char **env)
{
    execve(path, argv, env);
    /* "No such file" about a file that is there means its #! line or its ELF loader. */
    if (errno == ENOENT && access(path, F_OK) == 0)
        exec_step = STEP_EXEC_LOADER;
}

/* argv[0] in the directory of n bytes at dir; an empty one is the working directory. errno */
static int exec_in(const char *dir, size_t n, char **argv, char **env)
{
    static char path[JOB_PATH];
    size_t len = strlen(argv[0]);

    if (!n) {
        dir = ".";
        n = 1;
    }
    if (n + len + 2 > sizeof path)
        return ENOENT;
    memcpy(path, dir, n);
    path[n] = '/';
    memcpy(path + n + 1, argv[0], len + 1);
    if (access(path, F_OK) == 0) /* a failing execve costs ten times that */
        try_exec(path, argv, env);
    return errno;
}

/* as execvpe(3), which would look into our environment instead of the command's */
static int find_and_exec(char **argv, char **env)
{
    const char *dirs = env_of(env, "PATH");
    int result = ENOENT;

    if (!argv[0][0])
        return ENOENT;
    if (strchr(argv[0], '/')) {
        try_exec(argv[0], argv, env);
        return errno;
    }
    for (const char *d = dirs ? dirs : FALLBACK_PATH; *d;) {
        size_t n = strcspn(d, ":");
        int why = exec_in(d, n, argv, env);

        if (exec_step == STEP_EXEC_LOADER)
            return why;
        if (why == EACCES)
            result = EACCES;
        else if (why != ENOENT && why != ENOTDIR)
            return why;
        d += n;
        if (*d)
            d++;
    }
    return result;
}

static _Noreturn void command(char **argv, char **env)
{
    struct sigaction dfl = {.sa_handler = SIG_DFL};
    sigset_t none;

    /* An ignored SIGCHLD or SIGPIPE would be inherited by the command. */
    for (int s = 1; s < _NSIG; s++)
        (void)sigaction(s, &dfl, NULL);
    (void)setsid();
    if (getppid() != 1) /* PID 1 takes all along when it dies; we are another's child */
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    if (job.flags & JOB_TTY)
        (void)ioctl(0, TIOCSCTTY, 0);
    (void)syscall(SYS_close_range, 3, ~0U, 0);
    sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    exec_errno = find_and_exec(argv, env);
    _exit(127);
}

/* pass signals on and reap until the command has ended; returns its wait status */
static int watch(pid_t pid, const sigset_t *all)
{
    for (;;) {
        int sig = sigwaitinfo(all, NULL);
        int status;
        pid_t dead;

        if (sig < 0)
            continue;
        if (sig != SIGCHLD) {
            if (kill(-pid, sig) < 0)
                (void)kill(pid, sig);
            continue;
        }
        while ((dead = waitpid(-1, &status, WNOHANG)) > 0)
            if (dead == pid)
                return status;
    }
}

static pid_t start(char **argv, char **env)
{
    pid_t pid;

    exec_step = STEP_EXEC;
    pid = vfork(); /* NOLINT(clang-analyzer-security.insecureAPI.vfork): a copy costs more */
    if (pid == 0)
        command(argv, env); /* NOLINT(clang-analyzer-unix.Vfork): system calls and its stack */
    if (pid < 0)
        give_up(STEP_FORK, errno);
    if (exec_errno)
        give_up((enum box_step)exec_step, exec_errno);
    return pid;
}

int main(int argc, char **argv, char **env)
{
    sigset_t all;
    pid_t pid;

    if (argc < 1) /* not always PID 1: a command that enters a running box is started by us, too */
        return 125;
    (void)fcntl(PROTO_FD, F_SETFD, FD_CLOEXEC);
    (void)prctl(PR_SET_DUMPABLE, 0, 0, 0, 0); /* execve has set it again */
    sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
    read_job();
    enter_cwd();
    drop_privileges();
    env = with_home(env);
    install_filter();
    pid = start(argv, env);
    tell(NEWS_STARTED, STEP_NONE, 0, 0);
    /* Our copies would keep the parent from seeing the end of the command's output. */
    (void)close(0);
    (void)close(1);
    (void)close(2);
    tell(NEWS_ENDED, STEP_NONE, 0, watch(pid, &all));
    return 0;
}

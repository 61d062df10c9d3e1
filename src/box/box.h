/* SPDX-License-Identifier: Apache-2.0 */
/* box.h - run one command in a Linux container, without a runtime beside us
 *
 *     box_start -> poll box_pidfd -> box_finish -> collect through box_root_fd -> box_close
 *
 * A box has its own mount, pid, ipc, uts, cgroup and (unless it shares the host's) network
 * namespaces, a user namespace too when the caller is not root, a root file system stacked
 * from layer directories, limits from a pooled cgroup, a reduced set of capabilities and a
 * system call filter. What a machine cannot give is left out and said: box_unenforced()
 * before, box_result.enforced after.
 *
 * The caller is single-threaded. No signal handler is installed and no signal is blocked
 * by these functions, except that SIGPIPE is never raised. Descriptors that the caller
 * holds do not reach the box, close-on-exec or not.
 */
#ifndef BOX_BOX_H
#define BOX_BOX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

enum box_mount_kind { BOX_BIND, BOX_TMPFS };

struct box_tmpfile {
    const char *name; /* one component, not "." or ".." */
    const void *bytes;
    size_t len;
};

struct box_mount {
    enum box_mount_kind kind;
    const char *src;     /* BOX_BIND: absolute host path of a file or directory */
    const char *dst;     /* absolute path in the box, made when it is missing; "/", "/dev"
                            and everything below /proc and /sys are refused */
    const char *sub;     /* BOX_BIND: of src only what lies here: relative, and no part of it
                            may be a link, since a box may have written it. NULL: all of src */
    bool rw;             /* else read-only, including what is mounted below src */
    uint64_t size_bytes; /* BOX_TMPFS: 0 means half of the memory limit or of the host */
    unsigned mode;       /* BOX_TMPFS: permission bits, 0 means 01777 */
    const struct box_tmpfile *files; /* BOX_TMPFS: what lies in it at the start, 0444; held in
                                     memory only, so it may be secret */
    size_t n_files;
    bool sealed;         /* BOX_TMPFS, one of a spec: read-only once all mounts are made. What
                            later ones are mounted on in it costs no inodes of a disk */
};

/* A character device that the box may open for reading and writing. Root makes the node anew, so
 * that any user inside may use it; in a user namespace the host's node is bound. */
struct box_device {
    const char *path; /* in the box, below /dev; directories on the way are made */
    const char *src;  /* the host's node */
    unsigned major, minor;
};

struct box_link {
    const char *path, *target; /* both in the box; an existing path is left as it is */
};

struct box_file {
    const char *path;
    struct str text;
};

/* What devices bring along beyond their nodes, see extras.c. All absolute paths in the box. */
struct box_extras {
    const struct box_device *devices;
    size_t n_devices;
    const char *tree; /* a directory of its own for files below, read-only to the box; NULL: none */
    const struct box_mount *mounts; /* binds, made after the tree and before the links */
    size_t n_mounts;
    const struct box_link *links;
    size_t n_links;
    const struct box_lib *libs; /* what the dynamic linker is to find */
    size_t n_libs;
    const char *const *lib_dirs; /* where they are, for those who run ldconfig */
    size_t n_lib_dirs;
    const char *proc_dir;              /* "driver/nvidia": this directory of /proc shows only... */
    const struct box_file *proc_files; /* ...these files, paths relative to it */
    size_t n_proc_files;
};

struct box_lib {
    const char *name, *path; /* "libcuda.so.1" and the file in the box */
};

struct box_spec {
    const char *hostname;      /* NULL or "" means "box"; cut to 63 bytes */
    const char *const *lowers; /* unpacked layer directories, TOP FIRST, absolute */
    size_t n_lowers;           /* at least 1, at most LIMIT_LAYERS */
    bool userxattr;            /* opaque directories of the layers are marked user.overlay.*;
                                  implied when the caller is not root */
    const char *scratch;       /* absolute path of an existing empty directory; upper/ and
                                  work/, or root/ where overlayfs cannot be had, are made in
                                  it and removed by box_close */
    char *const *argv;         /* NULL-terminated, argv[0] is looked up in the box's PATH */
    char *const *envp;         /* NULL-terminated; PATH, HOME and HOSTNAME are added when
                                  absent. NULL means empty */
    const char *cwd;           /* NULL or "" means "/"; made when it is missing */
    const char *user;          /* as an image's User: NAME, UID, NAME:GROUP, UID:GID ... */
    const struct box_mount *mounts;
    size_t n_mounts;
    const char *const *writable_dirs; /* made 0777 in the root before the start when absent;
                                         an existing one is left as it is */
    size_t n_writable_dirs;
    bool has_etc;              /* lowers[0] is of box_etc_layer() */
    bool host_network;   /* else a namespace with nothing but loopback */
    bool shared_network; /* the caller's namespace, which box_share_network() made; also "none" */
    bool read_only_root; /* then /tmp, /run and /var/tmp are tmpfs */
    bool tty;            /* descriptors 0-2 are a new terminal of the box, see box_tty_fd() */
    uint64_t memory_bytes; /* 0: no limit */
    uint32_t cpu_millis;   /* thousandths of a core; 0: no limit */
    uint32_t cpu_share_millis; /* its part beside other boxes when there is not enough; 0: as 1,000 */
    uint32_t pids_max;     /* processes and threads; 0: no limit */
    uint64_t shm_bytes;    /* size of /dev/shm; 0: half of the memory limit or of the host */
    int stdin_fd, stdout_fd, stderr_fd; /* borrowed; -1: the box's /dev/null */
    const struct box_extras *extras;    /* NULL: none */
    /* NULL, or called by box_start() once PID 1 exists and before the command starts; once
     * more when overlayfs refuses and a second one is tried */
    void (*born)(void *ctx, pid_t pid);
    void *born_ctx;
    int stop_signal;                    /* kept for the caller; nothing here sends it */
    bool as_init_parent_death;          /* PID 1 dies with this process */
    bool may_seal;                      /* box_seal() is going to be called */
};

#define BOX_HOSTNAME_BYTES 64
#define BOX_ENFORCED_BYTES 320

struct box_result {
    int exit_code; /* 0..255; 128 + signal when killed by one */
    int signal;    /* 0: it exited */
    bool oom;      /* the kernel killed something of the box for lack of memory */
    bool pids_hit; /* it was refused a process or thread at its limit */
    uint64_t peak_memory_bytes; /* of the whole box where a cgroup counts it, else of its
                                   largest process; 0: unknown */
    uint64_t cpu_usec;          /* user and system time of the whole box */
    char enforced[BOX_ENFORCED_BYTES]; /* JSON object: {"overlay":true,"userns":false,
        "cgroup":"v1|v2|hybrid|none","memory":true,"cpu":true,"pids":true,"devices":true,
        "seccomp":true,"network":"none|host","ids":"host|range|one"}. A limit that was not
        asked for counts as enforced. */
};

struct box;

/* box_start - build a box and start the command; returns after its execve(2) succeeded
 *
 * spec   borrowed for the call
 * gives  box_close() it
 *
 * Nothing is left behind on failure, except what lies in scratch. Errors name the step and
 * the path. ERR_MISSING: argv[0] is not in the box (.sys ENOENT). ERR_INPUT: argv[0] cannot
 * be executed (.sys EACCES, ENOEXEC, EISDIR or E2BIG), or the spec is wrong: no such user
 * or mount source (.sys 0). ERR_CORRUPT: the image would lead out of its root. ERR_LIMIT:
 * too many layers. ERR_SYS: the host said no. box_start_status() tells them apart.
 */
int box_start(const struct box_spec *spec, struct box **gives, struct err *e);

/* box_hostname - the name that a box has for its box_spec.hostname: what no host name may contain
 * becomes "-" */
void box_hostname(const char *name, char out[BOX_HOSTNAME_BYTES]);

/* box_etc_layer - make what box_start() would write for these layers (top first) into etc/ of the
 * box's writable layer, in the empty directory layer_fd instead: many boxes may have that on top
 * of their layers, with box_spec.has_etc. 1 done; 0 not possible, as /etc of the topmost layer
 * that has one is no directory: leave it to box_start(). ERR_SYS. */
int box_etc_layer(const char *const *lowers, size_t n, const char *hostname, bool host_network,
                  int layer_fd, struct err *e);

/* box_leave_unit - move the calling process out of the cgroup that its init system would kill as a
 * whole, as far as the kernel lets us; what it forks from now on is outside, too */
void box_leave_unit(void);

/* box_share_network - give the calling process a network namespace with nothing but loopback, which
 * its boxes with .shared_network have in common. Root only: ERR_SYS (EPERM) for others. */
int box_share_network(struct err *e);

/* box_mount_target_ok - may something be mounted at dst? ERR_INPUT: not an absolute path, "..", or a
 * place that the box needs for itself. What box_start() would say, before anything is started. */
int box_mount_target_ok(const char *dst, struct err *e);

/* box_start_status - the exit status of a command whose box_start() failed with *e: 127 it
 * is not there, 126 it is there and cannot be executed, 125 the box could not be built */
int box_start_status(const struct err *e);

/* box_pidfd - readable (POLLIN) once PID 1 of the box has ended. Borrowed: do not close. */
int box_pidfd(const struct box *b);

/* box_pid - pid of the box's PID 1 as the caller sees it; for messages, not for kill(2) */
pid_t box_pid(const struct box *b);

/* box_tty_fd - the master side of the terminal of a box started with .tty; -1 without.
 * Borrowed, close-on-exec, blocking. Set its size with TIOCSWINSZ. */
int box_tty_fd(const struct box *b);

/* box_unenforced - what its spec asks and cannot be enforced here, one line such as "limits on memory,
 * cpu (no writable cgroup)"; "" when nothing. Until box_finish(). Returns buf. */
const char *box_unenforced(const struct box *b, char *buf, size_t size);

/* box_limits_memory - is its limit on memory, if it has one, held by the kernel? */
bool box_limits_memory(const struct box *b);

/* box_memory - what all its processes hold now, shared pages counted once and files not; for whoever
 * has to watch a limit. It costs a walk over their page tables. ERR_SYS. */
int box_memory(const struct box *b, uint64_t *out_bytes, struct err *e);

/* box_signal - send a signal to the command's process group, through PID 1. 0, also when
 * the box has ended already; -1 and errno. SIGKILL ends the whole box. */
int box_signal(struct box *b, int sig);

/* box_kill - end every process of the box now; wait for box_pidfd() or box_finish() */
int box_kill(struct box *b);

/* box_news_fd - readable once the command has ended or PID 1 is gone; what the command left behind
 * is being killed then. Borrowed. For whoever wants to notice that it does not die. */
int box_news_fd(const struct box *b);

/* box_abandon - instead of box_finish() and box_close() for a box that does not die: nothing is waited
 * for, its cgroup and scratch stay as they are. Takes b. */
void box_abandon(struct box *b);

/* box_finish - wait until every process of the box has ended, then fill *out; once
 *
 * The verdict, the peak and the CPU time are read before the cgroup is used again. */
int box_finish(struct box *b, struct box_result *out, struct err *e);

/* box_root_fd - the box's root file system without the mounts on it: an O_PATH descriptor for
 * fd_open_in_root(), borrowed, good until box_close() even after the box has ended */
int box_root_fd(const struct box *b);

/* box_seal - after box_finish(): nothing can be written any more through a descriptor that processes
 * of the box handed to others. ERR_SYS when that cannot be had, as when somebody has something open
 * for writing (EBUSY): then what the box wrote may still change. */
int box_seal(struct box *b, struct err *e);

/* box_own_tree - make NAME below dir_fd, and all in it, the caller's and readable for him
 *
 * An ordinary user's box with a range of ids leaves files of ids that the caller does not
 * have, and any leaves directories that he may not enter. For root this does nothing.
 * Links are not followed. ERR_SYS, ERR_LIMIT when it is too deep. Call it before outputs
 * are collected.
 */
int box_own_tree(const struct box *b, int dir_fd, const char *name, struct err *e);

/* box_own_path - the same for a path in the box's root (no leading slash, links mean that
 * root), and the directories on the way to it; absent is success */
int box_own_path(const struct box *b, const char *path, struct err *e);

/* box_disk_usage - bytes that the box has on disk: its own root, and NAMES below dir_fd
 *
 * Files that are open but have no name any more are not seen. ERR_LIMIT when something lies
 * too deep to be counted, ERR_SYS.
 */
int box_disk_usage(const struct box *b, int dir_fd, const char *const *names, size_t n,
                   uint64_t *out_bytes, struct err *e);

/* box_tree_usage - the same for NAME below dir_fd alone, which its box may have shut */
int box_tree_usage(const struct box *b, int dir_fd, const char *name, uint64_t *out_bytes,
                   struct err *e);

/* box_close - kill what still runs, give the cgroup back, remove what lies in scratch.
 * Accepts NULL. */
void box_close(struct box *b);

/* box_close_apart - box_close() for who has his answer, then then(arg), which may be NULL
 *
 * A disk that is busy with writing takes 300 ms to free a directory. When one is, and the box left
 * next to nothing, a child does both (see apart.h), and is waited for only some ms. Otherwise it is
 * done here: it is quick, or the room that it frees may be wanted by the next one. Accepts NULL.
 *
 * keep_fd   what then() needs, or -1
 * takes_fd  closed when then() has returned, in whichever process: a lock, or -1
 */
void box_close_apart(struct box *b, void (*then)(void *), void *arg, int keep_fd,
                     int takes_fd);

/* box_remove_tree - as fd_remove_tree, also for files of the ids of an ordinary user's
 * range, by a helper in a user namespace. Absent is success. ERR_SYS. */
int box_remove_tree(int dir_fd, const char *name, struct err *e);


/* ---- what this machine can do -------------------------------------------------------------- */

enum box_fact_state { BOX_FACT_GOOD, BOX_FACT_WORSE, BOX_FACT_BAD };

struct box_fact {
    const char *name;          /* "overlay", "user namespaces", ...; static */
    enum box_fact_state state; /* WORSE: a box runs with less; BAD: none can be started */
    char value[160];           /* what was found */
    const char *remedy;        /* what to do about it; NULL when nothing need be; static */
};

#define BOX_FACTS_MAX 24

struct box_facts {
    struct box_fact facts[BOX_FACTS_MAX];
    size_t n;
};

/* box_probe - find out by trying, as the calling user
 *
 * home  an existing directory on the file system where layers and runs are kept; overlayfs
 *       is tried in a temporary directory below it. NULL: /tmp
 */
void box_probe(const char *home, struct box_facts *out);

/* ---- users ----------------------------------------------------------------------------------- */

#define BOX_GROUPS_MAX 64

struct box_user {
    uid_t uid;
    gid_t gid;
    gid_t groups[BOX_GROUPS_MAX]; /* supplementary, without gid */
    size_t n_groups;
    char home[256]; /* from passwd, "" when there is no entry */
};

/* box_resolve_user - what "NAME", "UID", "NAME:GROUP" and so on mean inside a root
 *
 * root_fd  a directory; etc/passwd and etc/group are opened in it as its root
 * user     "" or NULL: root
 *
 * Digits are a number, never a name. ERR_INPUT when there is no such name, the number does
 * not fit, or the files are not sane regular files.
 */
int box_resolve_user(int root_fd, const char *user, struct box_user *out, struct err *e);

#endif

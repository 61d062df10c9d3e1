/* SPDX-License-Identifier: Apache-2.0 */
/* inside.h - what the files of src/box share; nobody else includes this */
#ifndef BOX_INSIDE_H
#define BOX_INSIDE_H

#include <limits.h>
#include <sys/mount.h>

#include "box/box.h"
#include "box/cgroup.h"
#include "box/proto.h"
#include "box/sys.h"

enum box_ids {
    IDS_HOST,  /* no user namespace */
    IDS_RANGE, /* user namespace: our id is 0, a range of /etc/subuid is 1, 2, ... */
    IDS_ONE,   /* user namespace with our id alone, under the number that the image wants */
};

/* a user namespace's numbers */
struct ids {
    enum box_ids kind;
    uid_t inner_uid; /* what we are inside */
    gid_t inner_gid;
    uid_t sub_uid; /* IDS_RANGE: first id and length of the range */
    gid_t sub_gid;
    uint32_t n_uids, n_gids;
};

/* What the parent prepared; the child is a fork and reads it there. */
struct plan {
    const struct box_spec *spec;
    char hostname[BOX_HOSTNAME_BYTES], hostname_env[BOX_HOSTNAME_BYTES + 16];
    char cwd[PATH_MAX];
    struct ids ids;
    bool flat;      /* the root is scratch/root, not an overlay */
    bool userxattr; /* overlay attributes are user.overlay.* */
    bool etc_later; /* the generated files are written in the mounted root */
    int sock;       /* the child's end */
    int init_fd;    /* the program of PID 1 */
    const struct cg_slot *cgroup;
    bool joined;   /* it was cloned into the v2 cgroup */
    int core_seed; /* differs from box to box */
    char *const *envp;
};

/* ---- child.c ----------------------------------------------------------------------------- */

/* child_main - all of the child; euid, egid: the caller's, as they were before clone */
_Noreturn void child_main(struct plan *p, uid_t euid, gid_t egid);

/* ---- ns.c: user namespaces ---------------------------------------------------------------- */

/* ids_find - which kind of user namespace we need and can have; user is the spec's */
int ids_find(const struct box_spec *spec, struct ids *out, struct err *e);
/* ids_write_own - IDS_ONE: called by the child, in its new user namespace */
int ids_write_own(const struct ids *ids, uid_t euid, gid_t egid, struct err *e);
/* ids_write_range - IDS_RANGE: called by the parent, runs newuidmap and newgidmap */
int ids_write_range(const struct ids *ids, pid_t pid, struct err *e);
/* ids_in_initial_ns - are we in the machine's first user namespace? */
bool ids_in_initial_ns(void);
bool ids_have_cap(unsigned cap);
/* ids_hint - why the kernel may have refused a user namespace, NULL when it is not known */
const char *ids_hint(void);
/* ids_refused - what could not be done in a new user namespace, with the hint instead of errno when
 * there is one: AppArmor lets it be made and refuses what is done first in it. -1 */
int ids_refused(const char *what, struct err *e);
#define IDS_HELPER_REMEDY                                                                          \
    "as root, chmod u+s the two programs (package uidmap does); where no program may gain "        \
    "privileges (no_new_privs, nosuid), take this user's lines out of /etc/subuid and "            \
    "/etc/subgid, and boxes have one id"
/* ids_subranges - the ranges of /etc/subuid and /etc/subgid for the caller; false: none */
bool ids_subranges(struct ids *out);
/* ids_run_mapped - run fn(arg) in a helper process that has all capabilities in the user
 * namespace of userns_fd, or (-1) in a new one with the caller's range; as its id 0 unless it
 * has one id only */
int ids_run_mapped(int userns_fd, bool one_id, int (*fn)(void *arg, struct err *e), void *arg,
                   struct err *e);

/* ---- root.c: the root file system, before and after it is mounted --------------------------- */

/* root_prepare - make upper/ and work/ (or fill root/) in scratch and put the generated files
 * there. Parent. */
int root_prepare(struct plan *p, struct err *e);
/* root_write_etc - hosts, hostname and resolv.conf into the directory etc_fd */
int root_write_etc(const char *hostname, bool host_network, int etc_fd, struct err *e);
/* root_mount - mount it; gives an O_PATH descriptor of its top, attached at scratch/root or over
 * scratch. Child. *refused: overlayfs itself said no, a flat copy may do */
int root_mount(const struct plan *p, int *out, bool *refused, struct err *e);
/* root_mkdirs - as mkdir -p in the root as seen from inside; *made: the last one was missing;
 * gives an O_PATH descriptor of it */
int root_mkdirs(int root_fd, const char *path, mode_t mode, bool *made, int *out,
                struct err *e);

/* flat_copy - the merged view of the layers as an ordinary directory */
int flat_copy(const char *const *lowers, size_t n, bool userxattr, int to_fd, struct err *e);

/* ---- mount.c: mounting by descriptor --------------------------------------------------------- */

/* new file system, detached; options is a NULL-terminated list of KEY, VALUE, ... with a NULL
 * value for a flag */
int mnt_new(const char *type, const char *const *options, unsigned attrs, int *out,
            struct err *e);
/* clone of what lies at path of dir_fd, with what is mounted below it, detached */
int mnt_clone(int dir_fd, const char *path, bool recursive, int *out, struct err *e);
/* set attributes of a detached or attached mount; recursive needs mount_setattr */
int mnt_set(int mnt_fd, unsigned attrs, bool recursive, struct err *e);
int mnt_attach(int mnt_fd, int target_fd, const char *what, struct err *e);

/* what is mounted on a box's root */
struct mounter {
    const struct plan *p;
    int root_fd;
    int dev_fd; /* top of /dev, once mnt_dev() was called */
};
int mnt_dev(struct mounter *m, struct err *e);    /* /dev, and /tmp and /run when they must be */
int mnt_user(struct mounter *m, struct err *e);   /* the spec's mounts */
int mnt_kernel(struct mounter *m, struct err *e); /* /proc, /sys and their masks */

/* mnt_bind - what lies at path of dir_fd, with what is mounted below it, onto target_fd */
int mnt_bind(int dir_fd, const char *path, int target_fd, unsigned attrs, const char *what,
             struct err *e);
/* mnt_bind_user - one bind of a spec, its target made when it is missing */
int mnt_bind_user(const struct mounter *m, const struct box_mount *b, struct err *e);

/* ---- extras.c: what devices bring along; all of them do nothing when the spec has none ---------- */

int extras_etc(const struct mounter *m, struct err *e);   /* linker files, before any mount */
int extras_dev(const struct mounter *m, struct err *e);   /* nodes, in the mounted /dev */
int extras_root(const struct mounter *m, struct err *e);  /* tree, binds, links, files */
int extras_proc(const struct mounter *m, int proc_fd, struct err *e);
/* extras_check - are all paths of the spec's extras what they may be? ERR_INPUT */
int extras_check(const struct box_spec *spec, struct err *e);

/* ---- spawn.c --------------------------------------------------------------------------------- */

uint64_t box_memory_total(void);

#endif

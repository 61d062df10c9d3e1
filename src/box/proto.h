/* SPDX-License-Identifier: Apache-2.0 */
/* proto.h - what parent, child and PID 1 of a box tell each other
 *
 * One SOCK_SEQPACKET pair, one struct a packet, all on one machine and from one build:
 *
 *     parent                     child (after clone)            PID 1 (init.c, after exec)
 *       | ---- "go" --------------> |  only in a user namespace     |
 *       | <--- FAILED: struct err - |  ... or                       |
 *       | <--- ROOT + fd ---------- |                               |
 *       | <--- TTY + fd ----------- |  only with a terminal         |
 *       | ---- struct box_job ------------------------------------> |
 *       | <--------------------------------- NOT_STARTED / STARTED  |
 *       | <-------------------------------------------------- ENDED |
 *
 * init.c is a program of its own and includes nothing else of ours.
 */
#ifndef BOX_PROTO_H
#define BOX_PROTO_H

#include <linux/filter.h>
#include <stdint.h>
#include <sys/types.h>

#define PROTO_FD 3 /* the socket's number in PID 1 */

enum box_news {
    NEWS_FAILED = 1,  /* .text: a struct err as bytes */
    NEWS_ROOT,        /* SCM_RIGHTS: the root file system; .status: cwd was made for us */
    NEWS_TTY,         /* SCM_RIGHTS: the master of the terminal */
    NEWS_NOT_STARTED, /* .step, .sys */
    NEWS_STARTED,     /* execve succeeded */
    NEWS_ENDED,       /* .status as wait(2) */
};

/* what PID 1 was doing when it had to give up */
enum box_step {
    STEP_NONE,
    STEP_JOB,
    STEP_CWD,
    STEP_CWD_PROC, /* the directory leads into /proc */
    STEP_CREDS,
    STEP_SECCOMP,
    STEP_FORK,
    STEP_EXEC,
    STEP_EXEC_LOADER, /* the file is there, what should load it is not */
};

struct box_msg {
    uint32_t kind; /* enum box_news */
    uint32_t step; /* enum box_step */
    int32_t sys;   /* errno */
    int32_t status;
    char text[520];
};

#define JOB_GROUPS 64
#define JOB_PATH 4096
#define JOB_HOME 256
#define JOB_FILTER 1024 /* instructions; ours has about 400 */

enum {
    JOB_PARENT_DEATH = 1, /* die with the parent */
    JOB_TTY = 2,          /* descriptor 0 becomes the controlling terminal */
    JOB_SETGROUPS = 4,    /* the kernel lets us set groups */
    JOB_OWN_CWD = 8,      /* the working directory was made for the user: chown it */
};

struct box_job {
    uint32_t flags, uid, gid, n_groups, n_filter;
    uint32_t groups[JOB_GROUPS];
    uint64_t caps; /* permitted, effective and bounding set of the command */
    char home[JOB_HOME];
    char cwd[JOB_PATH];
    struct sock_filter filter[JOB_FILTER]; /* the packet ends after n_filter of them */
};

/* Capabilities that uid 0 keeps in a box; others have none. Docker's default less MKNOD,
 * NET_RAW, SYS_CHROOT, AUDIT_WRITE and SETPCAP. */
#define BOX_CAP(n) (1ULL << (n))
#define BOX_CAPS_ROOT                                                                          \
    (BOX_CAP(0) /* CHOWN */ | BOX_CAP(1) /* DAC_OVERRIDE */ | BOX_CAP(3) /* FOWNER */ |        \
     BOX_CAP(4) /* FSETID */ | BOX_CAP(5) /* KILL */ | BOX_CAP(6) /* SETGID */ |               \
     BOX_CAP(7) /* SETUID */ | BOX_CAP(10) /* NET_BIND_SERVICE */ | BOX_CAP(31) /* SETFCAP */)
/* what PID 1 itself needs before it drops to those above */
#define BOX_CAPS_INIT (BOX_CAPS_ROOT | BOX_CAP(8) /* SETPCAP */)
#define BOX_CAPS_MAX 63

#endif

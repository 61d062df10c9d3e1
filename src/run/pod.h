/* SPDX-License-Identifier: Apache-2.0 */
/* pod.h - what Kubernetes settings add to one attempt: the member "pod" of attempt.json
 *
 * The engine fills it (kube.h), the supervisor carries it out. It names files of
 * secrets and config maps; their contents are read by the supervisor when the box is
 * built and are in no file of ours.
 */
#ifndef RUN_POD_H
#define RUN_POD_H

#include "base/json.h"
#include "base/mem.h"
#include "box/box.h"

#define LIMIT_STORE_BYTES                                                              \
    (1 * 1024 * 1024) /* of one secret or config map, as Kubernetes */

struct pod_env { /* a variable whose value is a file */
    struct str file, var;
    struct str what; /* "secret db, key password": for messages */
    bool optional;
};

enum pod_volume_kind {
    POD_FILES,   /* the files of a directory, read-only, in memory */
    POD_SCRATCH, /* an empty directory of the attempt */
    POD_MEMORY,  /* an empty file system in memory */
};
struct pod_volume {
    enum pod_volume_kind kind;
    struct str src, what; /* POD_FILES: absolute directory */
    struct str dst;
    struct str name;     /* of a scratch volume; not in attempt.json */
    uint64_t size_bytes; /* POD_MEMORY, 0 = half of the memory limit */
    bool optional;
};

struct pod_init { /* a container that runs to its end before the task's own, or a side car */
    bool side_car;
    struct str name, cwd, user;
    const char **lowers; /* top first */
    size_t n_lowers;
    char **argv, **env; /* NULL-terminated */
    size_t n_argv, n_env;
    struct pod_init_mount {
        size_t volume; /* index in attempt_pod.volumes: a scratch one */
        struct str dst;
    } * mounts;
    size_t n_mounts;
    uint64_t memory_bytes; /* 0 = the task's */
    uint32_t cpu_millis;   /* 0 = the task's */
};

struct attempt_pod {
    struct pod_env *env;
    size_t n_env;
    struct pod_volume *volumes;
    size_t n_volumes;
    struct pod_init *inits;
    size_t n_inits;
};

/* pod_write - as the value of a member; pod_read_in takes it back (NULL: nothing is
 * set) */
void pod_write(struct jw *w, const struct attempt_pod *p);
int pod_read_in(struct arena *a, json *from, struct attempt_pod *out, struct err *e);

/* pod_env_in - env with the variables that are files, replaced or added
 *
 * env  NULL-terminated "K=V"; gives another one in `a`. One newline at the end of a
 * file is not part of the value. ERR_MISSING naming what is absent and not optional;
 * ERR_INPUT for a value with a NUL character. */
int pod_env_in(struct arena *a, const struct attempt_pod *p, char *const *env,
               char ***out, struct err *e);

/* pod_scratch_name - where scratch volume i is, below the attempt's directory */
#define POD_VOLUMES "volumes"
#define POD_NAME 40
void pod_scratch_name(size_t i, char out[POD_NAME]);

/* pod_make_scratch - the directories of scratch volumes, empty, below volumes/ of the
 * attempt's directory */
int pod_make_scratch(const struct attempt_pod *p, int dir_fd, struct err *e);

/* pod_mounts_in - the box mounts of the volumes, appended to `mounts` (room for
 * n_volumes)
 *
 * dir  absolute path of the attempt's directory */
int pod_mounts_in(struct arena *a, const struct attempt_pod *p, const char *dir,
                  struct box_mount *mounts, size_t *n, struct err *e);

/* pod_init_mounts_in - the same for one init container: only what it mounts. gives: an
 * array */
struct box_mount *pod_init_mounts_in(struct arena *a, const struct pod_init *c,
                                     const char *dir);

#endif

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
    uint64_t size_bytes; /* POD_MEMORY, 0 = half of the memory limit */
    bool optional;
};

struct attempt_pod {
    struct pod_env *env;
    size_t n_env;
    struct pod_volume *volumes;
    size_t n_volumes;
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

/* pod_mounts_in - the box mounts of the volumes, appended to `mounts` (room for
 * n_volumes)
 *
 * dir     absolute path of the attempt's directory; scratch volumes are made below
 * volumes/ dir_fd  the same, open */
int pod_mounts_in(struct arena *a, const struct attempt_pod *p, const char *dir,
                  int dir_fd, struct box_mount *mounts, size_t *n, struct err *e);

#endif

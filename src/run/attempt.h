/* SPDX-License-Identifier: Apache-2.0 */
/* attempt.h - attempt.json and result.json: the protocol between engine and supervisor
 *
 * An attempt's directory, runs/<run id>/<task row id>.<attempt>/:
 *
 *   attempt.json  what to do (engine, before the spawn)
 *   lock          flock'ed for life by the supervisor: held = alive
 *   pid           "<pid> <start ticks> <boot id>": only for signalling. Once there is a box, on the
 *                 next line "<memory> <CPU us>": its cgroup's counters before it (box/look.h)
 *   log           what the task printed; log.tail is the ring of the newest bytes past half
 *   io/           0700, a door as in door.c, since what is in it is for any uid of the box
 *     out/        the task root, bind-mounted read-write
 *     params/     output parameter files, bind-mounted read-write
 *   box/          scratch of the box (overlay upper), gone when it ended
 *   scratch       with scratch: in the config, a link to where io/ and box/ are then
 *   result.json   how it ended (supervisor, by rename). Its presence ends the attempt.
 *
 * Neither file is fsynced: a power cut ends the attempt anyway. Both carry a version.
 */
#ifndef RUN_ATTEMPT_H
#define RUN_ATTEMPT_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/mem.h"
#include "box/look.h"
#include "plan/graph.h"
#include "run/pod.h"
#include "run/work.h"

#define ATTEMPT_VERSION 2
#define ATTEMPT_OUT "io/out"
#define ATTEMPT_PARAMS "io/params"

struct attempt_mount {
    const char *src, *dst;
    bool rw;
    const char *sub; /* as in struct box_mount; NULL: all of src */
};

struct attempt_input {
    struct str uri, kind, digest;
    uint64_t size_bytes, n_files;
};

struct attempt_output {
    struct str name, type, type_version; /* artifacts */
    enum param_type param_type;          /* parameters */
    struct str uri, path;                /* path inside the box */
    const struct value *metadata;        /* artifacts: declared, may be NULL */
};

/* a GPU that the attempt was given; its lock came with the spawn */
struct attempt_gpu {
    struct str id, pci, node;
    uint32_t major, minor;
};

struct attempt {
    struct str run_id, task_path, task_key;
    int64_t task_id; /* database row */
    uint32_t number; /* from 1 */
    struct str image_hex;
    const char **lowers; /* top first */
    size_t n_lowers;
    bool has_etc; /* lowers[0] is of box_etc_layer() */
    char **argv; /* NULL-terminated */
    size_t n_argv;
    char **env;
    size_t n_env;
    struct str cwd, user, hostname;
    int stop_signal;
    struct attempt_mount *mounts;
    size_t n_mounts;
    bool network_host;
    bool shares; /* it sees what other processes see, and may hand them descriptors */
    uint64_t memory_bytes;
    uint32_t cpu_millis, cpu_share_millis, pids_max;
    int64_t deadline_unix_ms; /* 0 = none; the run's, so that it holds when the engine is dead */
    uint64_t log_max_bytes;
    uint64_t disk_bytes, shm_bytes;   /* 0 = no limit; 0 = the box's own size */
    int64_t wall_ms;                  /* of this attempt, 0 = none */
    int64_t grace_ms;                 /* between the stop signal and the kill, 0 = 10 s */
    struct str home;          /* absolute */
    struct str scratch;       /* of the home, absolute; "" = the attempt's own directory */
    struct str task_root_path, output_file;
    struct attempt_output *params, *artifacts;
    size_t n_params, n_artifacts;
    /* what reconcile must know to commit without the pipeline at hand */
    struct str cache_key;      /* hex, empty when not cacheable */
    uint32_t max_retries;      /* of the step */
    uint32_t host_failures, host_retries; /* of earlier attempts; how many are put up with */
    struct attempt_input *inputs;         /* a task may return an input as its output */
    size_t n_inputs;
    struct str gpu_root; /* where the driver's files are, "" for "/" */
    struct attempt_gpu *gpus;
    size_t n_gpus;
    struct attempt_work work;  /* instead of a box */
    struct attempt_pod pod;    /* what Kubernetes settings add */
    bool bare;                 /* no outputs to collect, not in the database: a question to an image */
};

enum attempt_end {
    END_EXITED,    /* the workload ended by itself (exit_code, signal) */
    END_TIMEOUT,   /* the deadline */
    END_CANCELED,  /* we were asked to stop it */
    END_HOST,      /* box or host, not the step: see error */
    END_NOT_START, /* the command could not be executed (126, 127) */
};
const char *attempt_end_name(enum attempt_end end);

struct result_artifact {
    struct str name, type, type_version, uri, kind, digest; /* as struct artifact */
    uint64_t size_bytes, n_files;
    const struct value *metadata;
};

struct result {
    enum attempt_end end;
    int exit_code, signal;
    bool oom;
    struct str error; /* one line, empty when the attempt succeeded */
    int64_t started_unix_ms, finished_unix_ms;
    uint64_t peak_memory_bytes, cpu_usec;
    struct str enforced; /* JSON */
    struct named_value *params;
    size_t n_params;
    struct result_artifact *artifacts;
    size_t n_artifacts;
    struct str *notices;
    size_t n_notices;
};
/* succeeded: exited with 0 and every declared output parameter was there */
static inline bool result_ok(const struct result *r)
{
    return r->end == END_EXITED && r->exit_code == 0 && r->signal == 0 && !r->error.len;
}

int attempt_write(int dir_fd, const struct attempt *at, struct err *e);
/* attempt_read_in - ERR_MISSING; ERR_CORRUPT for what no attempt_write wrote: numbers and enums
 * are in their ranges, names and paths hold no NUL, argv and env end with NULL. *out changes only
 * on success, which result_read_in keeps to, too. */
int attempt_read_in(struct arena *a, int dir_fd, struct attempt *out, struct err *e);
/* result_reserve - set room aside for result_write, so that it works on a full disk. Best effort */
void result_reserve(int dir_fd);
int result_write(int dir_fd, const struct result *r, struct err *e);
/* ERR_MISSING when the attempt has not ended */
int result_read_in(struct arena *a, int dir_fd, struct result *out, struct err *e);

/* attempt_alive - does a supervisor hold this directory's lock? */
bool attempt_alive(int dir_fd);
/* attempt_bury - when no supervisor has this attempt, see to it that none will
 *
 * A spawner may still hold the order of an engine that was killed, so a supervisor may come after
 * somebody has looked whether one lives. It goes away when it finds a result. So this takes the
 * lock and leaves one (END_HOST, `why`) unless there is one already.
 * *alive: a supervisor has it, and nothing was done. */
int attempt_bury(int dir_fd, const char *why, bool *alive, struct err *e);
/* attempt_base - what the supervisor noted of its box's cgroup; false: it has no box, yet */
bool attempt_base(int dir_fd, struct box_base *out);
/* attempt_signal - signal the supervisor through a pidfd, when its pid file is of this boot and
 * pid namespace; ERR_MISSING when it cannot be found */
int attempt_signal(int dir_fd, int sig, struct err *e);
/* pid_file_write - "<pid> <start ticks> <boot id>" of the calling process */
int pid_file_write(int dir_fd, const char *name, struct err *e);
int pid_file_open(int dir_fd, const char *name, int *gives_pidfd, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_t.h - for the tests of lineage/: a home that goes away, short ways to record
 */
#ifndef TESTS_LINEAGE_T_H
#define TESTS_LINEAGE_T_H

#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "lineage/cache.h"
#include "lineage/closure.h"
#include "lineage/images.h"
#include "lineage/live.h"
#include "lineage/record.h"
#include "lineage/sql.h"
#include "lineage/tags.h"
#include "t.h"

#define T_UNUSED __attribute__((unused))

/* success is expected: says where and what else */
#define OK(call)                                                                       \
    do {                                                                               \
        struct err e_ = {0};                                                           \
        struct err *e = &e_;                                                           \
        if ((call) == 0) {                                                             \
            t_passed++;                                                                \
        } else {                                                                       \
            t_failed++;                                                                \
            printf("%s:%d: %s: %s\n", __FILE__, __LINE__, #call, e_.text);             \
        }                                                                              \
    } while (0)
/* failure is expected, with this code and this part in its text */
#define FAILS(call, want_code, part)                                                   \
    do {                                                                               \
        struct err e_ = {0};                                                           \
        struct err *e = &e_;                                                           \
        CHECK_INT((call), -1);                                                         \
        CHECK_INT(e_.code, (want_code));                                               \
        if (strstr(e_.text, (part))) {                                                 \
            t_passed++;                                                                \
        } else {                                                                       \
            t_failed++;                                                                \
            printf("%s:%d: \"%s\" does not say \"%s\"\n", __FILE__, __LINE__, e_.text, \
                   (part));                                                            \
        }                                                                              \
    } while (0)

#define BY(name, ms) (&(struct db_by){.user = STR(name), .now_unix_ms = (ms)})

static char t_home[64];

static T_UNUSED void home_make(void)
{
    (void)setvbuf(stdout, NULL, _IOLBF, 0);
    (void)snprintf(t_home, sizeof(t_home), "/tmp/lineage-test-XXXXXX");
    must(mkdtemp(t_home));
}

static T_UNUSED void home_remove(void)
{
    struct err e;

    (void)fd_remove_tree(AT_FDCWD, t_home, &e);
}

static T_UNUSED struct db *home_open(enum db_mode mode)
{
    struct db *d = NULL;

    OK(db_open(t_home, mode, &d, e));
    must(d);
    return d;
}

static T_UNUSED char *in_home(const char *name) /* for free() */
{
    return path_join(t_home, name);
}

/* Short ways to record. Each is a transaction of its own unless one is open. */
static T_UNUSED bool txn_open(struct db *d)
{
    bool mine = !d->in_txn;

    if (mine)
        OK(db_begin(d, DB_PROGRESS, e));
    return mine;
}

static T_UNUSED void txn_close(struct db *d, bool mine)
{
    if (mine)
        OK(db_commit(d, e));
}

static T_UNUSED int64_t a_run(struct db *d, const char *uuid, const char *name,
                              const char *pipeline)
{
    bool mine = txn_open(d);
    int64_t id = 0;

    OK(db_run_create(d,
                     &(struct db_run_new){.uuid = str_of(uuid),
                                          .name = str_of(name),
                                          .pipeline = str_of(pipeline),
                                          .state = DB_RUNNING,
                                          .created_unix_ms = 1000,
                                          .login_uid = -1},
                     &id, e));
    txn_close(d, mine);
    return id;
}

static T_UNUSED int64_t a_task(struct db *d, int64_t run, const char *path)
{
    bool mine = txn_open(d);
    const char *slash = strrchr(path, '/');
    int64_t id = 0;

    OK(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(slash ? slash + 1 : path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &id, e));
    txn_close(d, mine);
    return id;
}

static T_UNUSED void finish(struct db *d, int64_t task, enum db_state state)
{
    bool mine = txn_open(d), won = false;

    OK(db_task_finish(d, task,
                      &(struct db_task_end){.state = state,
                                            .finished_unix_ms = 3000,
                                            .exit_code = DB_NO_EXIT,
                                            .peak_memory_bytes = -1,
                                            .cpu_usec = -1},
                      &won, e));
    CHECK(won);
    txn_close(d, mine);
}

/* a digest made of one number: its hex digits, repeated to 64 */
static T_UNUSED const char *digest_no(unsigned n, char out[DIGEST_HEX])
{
    for (int i = 0; i < 8; i++)
        (void)snprintf(out + 8 * i, 9, "%08x", i ? n * 2654435761u : n);
    return out;
}

/* what task gave out as `name`; task 0: from outside. content 0: metadata only */
static T_UNUSED int64_t an_artifact(struct db *d, int64_t task, const char *name,
                                    const char *type, unsigned content,
                                    const char *metadata)
{
    bool mine = txn_open(d);
    char hex[DIGEST_HEX] = "";
    int64_t id = 0;

    if (content)
        digest_no(content, hex);
    OK(db_artifact_insert(
        d,
        &(struct db_artifact_new){.type = str_of(type),
                                  .name = str_of(name),
                                  .kind = content ? STR("file") : STR("none"),
                                  .digest_hex = str_of(hex),
                                  .size_bytes = content ? 100 : 0,
                                  .metadata_json = str_of(metadata),
                                  .created_unix_ms = 2000,
                                  .task = task},
        &id, e));
    if (task)
        OK(db_event_put(d, task, DB_OUT, str_of(name), 0, id, e));
    txn_close(d, mine);
    return id;
}

static T_UNUSED void reads(struct db *d, int64_t task, const char *name,
                           int64_t artifact)
{
    bool mine = txn_open(d);

    OK(db_event_put(d, task, DB_IN, str_of(name), 0, artifact, e));
    txn_close(d, mine);
}

/* `task` as a cache hit of what `from` gave out */
static T_UNUSED void reuses(struct db *d, int64_t task, int64_t from)
{
    AUTO_ARENA struct arena a = {0};
    struct db_hit hit = {.task = from};
    bool won = false;

    OK(db_task_io_in(&a, d, from, DB_OUT, &hit.out, e));
    OK(db_cache_reuse(d, task, &hit, 4000, 4000, &won, e));
    CHECK(won);
}

static T_UNUSED int64_t sql_i64(struct db *d, const char *sql)
{
    AUTO_Q struct q q = {0};
    int64_t v = -1;

    OK(q_open_text(&q, d, sql, e));
    OK(q_one(&q, &v, e));
    return v;
}

/* run fn in a process of its own, which gives its exit status by returning */
static T_UNUSED pid_t in_child(int (*fn)(int arg), int arg)
{
    pid_t pid;

    (void)fflush(stdout);
    pid = fork();
    must(pid >= 0);
    if (pid == 0)
        _exit(fn(arg));
    return pid;
}

static T_UNUSED int status_of(pid_t pid)
{
    int status = 0;

    must(waitpid(pid, &status, 0) == pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_publish.c - what it costs to record a step, as the engine records it */
#include <time.h>

#include "lineage/cache.h"
#include "lineage/record.h"
#include "lineage_bench.h"

#define STEPS 2000
#define OWN_KEYS (1ull << 50) /* apart from those of the data */

struct watch {
    double cpu_ms, wall_ms;
};

static struct watch now(void)
{
    struct timespec t;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (struct watch){(double)t.tv_sec * 1e3 + (double)t.tv_nsec / 1e6,
                          (double)clock_mono_ns() / 1e6};
}

static void tell(const char *what, struct watch began)
{
    struct watch end = now();

    printf("  %-44s %8.3f ms, CPU %.3f ms\n", what,
           (end.wall_ms - began.wall_ms) / STEPS, (end.cpu_ms - began.cpu_ms) / STEPS);
}

static int64_t new_run(struct db *d, const char *name)
{
    int64_t run;

    DO(db_run_create(d,
                     &(struct db_run_new){.uuid = str_of(name),
                                          .name = str_of(name),
                                          .pipeline = STR("publish"),
                                          .state = DB_RUNNING,
                                          .created_unix_ms = clock_unix_ms(),
                                          .parameters_json = STR("{\"n\":100}")},
                     &run, &e));
    return run;
}

static int64_t new_task(struct db *d, int64_t run, int i)
{
    char path[32];
    int64_t task;

    (void)snprintf(path, sizeof(path), "step-%d", i);
    DO(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &task, &e));
    return task;
}

static int64_t start(struct db *d, int64_t run, int i, int64_t reads)
{
    char key[DIGEST_HEX], image[DIGEST_HEX], dir[64];
    int64_t task = new_task(d, run, i);
    bool won;

    (void)snprintf(dir, sizeof(dir), "runs/publish/%d.1", i);
    data_hex(1u << 30, image);
    DO(db_task_start(d, task,
                     &(struct db_task_start){
                         .started_unix_ms = 1,
                         .cache_key_hex = str_of(data_hex(OWN_KEYS + (uint64_t)i, key)),
                         .image_hex = str_of(image)},
                     &won, &e));
    DO(db_param_put(d, task, DB_IN, STR("n"), STR("3"), &e));
    DO(db_param_put(d, task, DB_IN, STR("mode"), STR("\"fast\""), &e));
    if (reads)
        DO(db_event_put(d, task, DB_IN, STR("dataset"), 0, reads, &e));
    DO(db_attempt_start(d,
                        &(struct db_attempt_new){.task = task,
                                                 .number = 1,
                                                 .started_unix_ms = 1,
                                                 .dir = str_of(dir),
                                                 .host = STR("box"),
                                                 .image_hex = str_of(image)},
                        &e));
    return task;
}

static int64_t finish(struct db *d, int64_t task, int i)
{
    static const char enforced[] =
        "{\"memory\":\"cgroup v1\",\"cpu\":\"cgroup v1\",\"pids\":\"cgroup v1\"}";
    char key[DIGEST_HEX], content[DIGEST_HEX];
    int64_t made;
    bool won;

    DO(db_attempt_finish(d, task, 1,
                         &(struct db_attempt_end){.state = DB_SUCCEEDED,
                                                  .finished_unix_ms = 2,
                                                  .peak_memory_bytes = 1 << 20,
                                                  .cpu_usec = 1000,
                                                  .enforced_json = STR(enforced)},
                         &won, &e));
    DO(db_artifact_insert(
        d,
        &(struct db_artifact_new){
            .type = STR("system.Dataset"),
            .name = STR("out"),
            .kind = STR("file"),
            .digest_hex = str_of(data_hex(2 * OWN_KEYS + (uint64_t)i, content)),
            .size_bytes = 1000,
            .metadata_json = STR("{\"rows\":777,\"auc\":0.875}"),
            .created_unix_ms = 2,
            .task = task},
        &made, &e));
    DO(db_event_put(d, task, DB_OUT, STR("out"), 0, made, &e));
    DO(db_param_put(d, task, DB_OUT, STR("Output"), STR("9"), &e));
    DO(db_task_finish(d, task,
                      &(struct db_task_end){.state = DB_SUCCEEDED,
                                            .finished_unix_ms = 2,
                                            .peak_memory_bytes = 1 << 20,
                                            .cpu_usec = 1000},
                      &won, &e));
    DO(db_cache_put(d, str_of(data_hex(OWN_KEYS + (uint64_t)i, key)), task, 2, &e));
    return made;
}

static void reuse(struct db *d, struct arena *a, int64_t run, int i)
{
    int64_t task = new_task(d, run, i);
    char key[DIGEST_HEX];
    struct db_hit hit;
    bool found, won;

    DO(db_cache_find_in(a, d, str_of(data_hex(OWN_KEYS + (uint64_t)i, key)),
                        STR("publish"), 0, &hit, &found, &e));
    must(found);
    DO(db_param_put(d, task, DB_IN, STR("n"), STR("3"), &e));
    DO(db_event_put(d, task, DB_IN, STR("dataset"), 0, hit.out.artifacts[0].artifact.id,
                    &e));
    DO(db_cache_reuse(d, task, &hit, 3, 3, &won, &e));
    arena_reset(a);
}

void publish_rows(struct db *d)
{
    AUTO_ARENA struct arena a = {0};
    struct watch began = now();
    int64_t run, last = 0;

    DO(db_begin(d, DB_PROGRESS, &e));
    run = new_run(d, "publish-steps");
    DO(db_commit(d, &e));
    for (int i = 0; i < STEPS; i++) {
        int64_t task;
        DO(db_begin(d, DB_PROGRESS, &e));
        task = start(d, run, i, last);
        DO(db_commit(d, &e));
        DO(db_begin(d, DB_DURABLE, &e));
        last = finish(d, task, i);
        DO(db_commit(d, &e));
    }
    tell("record a step: a progress, a durable commit", began);

    began = now();
    DO(db_begin(d, DB_DURABLE, &e));
    run = new_run(d, "publish-cached");
    for (int i = 0; i < STEPS; i++)
        reuse(d, &a, run, i);
    DO(db_commit(d, &e));
    tell("record a cached step, all in one commit", began);
}

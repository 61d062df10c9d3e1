/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_data.c - a record of many runs: 3,000 are 300,000 tasks, 1,000,000 artifacts
 * with three properties each, 2,500,000 events
 */
#include "lineage/cache.h"
#include "lineage/record.h"
#include "lineage/tags.h"
#include "lineage_bench.h"

const char *data_hex(uint64_t n, char out[DIGEST_HEX])
{
    sha256_hex(&n, sizeof(n), out);
    return out;
}

uint64_t data_key_no(int64_t task)
{
    return (1ull << 40) + (uint64_t)task;
}

static unsigned outputs_of(int64_t task)
{
    return (unsigned)(data_first_output(task + 1) - data_first_output(task));
}

static int64_t output(struct db *d, int64_t row, int64_t task, unsigned k)
{
    static const char *const types[] = {"system.Model", "system.Dataset",
                                        "system.Metrics", "system.Dataset"};
    char content[DIGEST_HEX], meta[96], name[8];
    int64_t made;

    (void)snprintf(name, sizeof(name), "out%u", k);
    (void)snprintf(meta, sizeof(meta),
                   "{\"rows\":%lld,\"f1\":%.6f,\"split\":\"s%lld\"}",
                   (long long)(task * 7919 % 20000),
                   (double)(task * 104729 % 1000000) / 1e6, (long long)(task % 10));
    DO(db_artifact_insert(
        d,
        &(struct db_artifact_new){.type = str_of(types[k]),
                                  .name = str_of(name),
                                  .kind = STR("file"),
                                  .digest_hex =
                                      str_of(data_hex((uint64_t)task * 4 + k, content)),
                                  .size_bytes = 1000,
                                  .metadata_json = str_of(meta),
                                  .created_unix_ms = 2,
                                  .task = row},
        &made, &e));
    DO(db_event_put(d, row, DB_OUT, str_of(name), 0, made, &e));
    return made;
}

static void one_task(struct db *d, int64_t run, int64_t task, int64_t *last)
{
    int64_t first_of_run = data_first_output(task - task % DATA_TASKS), row;
    char key[DIGEST_HEX], image[DIGEST_HEX], path[32];
    bool won;

    (void)snprintf(path, sizeof(path), "step-%lld", (long long)(task % DATA_TASKS));
    DO(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = str_of(path),
                                            .name = str_of(path),
                                            .kind = STR("container"),
                                            .state = DB_PENDING},
                      &row, &e));
    DO(db_task_start(d, row,
                     &(struct db_task_start){
                         .started_unix_ms = 1,
                         .cache_key_hex = str_of(data_hex(data_key_no(task), key)),
                         .image_hex = str_of(data_hex(1u << 30, image))},
                     &won, &e));
    DO(db_param_put(d, row, DB_IN, STR("n"), STR("3"), &e));
    for (int64_t k = 0; k < DATA_READS && *last - k >= first_of_run; k++) {
        char name[8];
        (void)snprintf(name, sizeof(name), "in%d", (int)k);
        DO(db_event_put(d, row, DB_IN, str_of(name), 0, *last - k, &e));
    }
    for (unsigned k = 0; k < outputs_of(task); k++)
        *last = output(d, row, task, k);
    must(*last + 1 == data_first_output(task + 1));
    DO(db_task_finish(d, row,
                      &(struct db_task_end){.state = DB_SUCCEEDED,
                                            .finished_unix_ms = 2,
                                            .peak_memory_bytes = -1,
                                            .cpu_usec = -1},
                      &won, &e));
    DO(db_cache_put(d, str_of(key), row, 2, &e));
}

void data_fill(struct db *d, uint64_t runs)
{
    int64_t task = 0, last = 0;

    for (uint64_t r = 0; r < runs; r++) {
        char uuid[37], name[32];
        int64_t run;

        (void)snprintf(uuid, sizeof(uuid), "%08x-0000-4000-8000-%012llx",
                       (unsigned)(r * 2654435761u), (unsigned long long)r);
        (void)snprintf(name, sizeof(name), "night-%llu", (unsigned long long)r);
        DO(db_begin(d, DB_PROGRESS, &e));
        DO(db_run_create(
            d,
            &(struct db_run_new){.uuid = str_of(uuid),
                                 .name = str_of(name),
                                 .pipeline = r % 10 ? STR("big") : STR("small"),
                                 .state = DB_RUNNING,
                                 .created_unix_ms = (int64_t)r + 1,
                                 .parameters_json = STR("{\"n\":100}")},
            &run, &e));
        for (int i = 0; i < DATA_TASKS; i++)
            one_task(d, run, task++, &last);
        DO(db_run_finish(d, run, &(struct db_run_end){.state = DB_SUCCEEDED},
                         &(bool){false}, &e));
        DO(db_commit(d, &e));
    }
    DO(db_begin(d, DB_DURABLE, &e));
    DO(db_tag_set(d, STR(DATA_TAG), data_first_output(task - 1), false,
                  &(struct db_by){.user = STR("bench"), .now_unix_ms = 1}, NULL, &e));
    DO(db_commit(d, &e));
}

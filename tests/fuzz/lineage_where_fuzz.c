/* SPDX-License-Identifier: Apache-2.0 */
/* Any text as a query: it is refused with a reason, or becomes SQL that SQLite takes */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

#include "base/fd.h"
#include "base/mem.h"
#include "lineage/record.h"
#include "lineage/wheresql.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static char home[] = "/tmp/where-fuzz-XXXXXX";
static struct db *db;

static void home_end(void)
{
    struct err e;

    db_close(db);
    (void)fd_remove_tree(AT_FDCWD, home, &e);
}

/* a dataset, a task, a model: so that conditions are really asked */
static void home_begin(void)
{
    struct err e = {.text = ""};
    int64_t run, task, x;

    must(mkdtemp(home) && atexit(home_end) == 0);
    must(db_open(home, DB_WRITE, &db, &e) == 0 && db_begin(db, DB_PROGRESS, &e) == 0);
    must(db_run_create(
             db,
             &(struct db_run_new){.uuid = STR("11111111-1111-4111-8111-111111111111"),
                                  .name = STR("r"),
                                  .pipeline = STR("p"),
                                  .state = DB_RUNNING,
                                  .created_unix_ms = 1},
             &run, &e) == 0);
    must(db_task_insert(db,
                        &(struct db_task_new){.run = run,
                                              .path = STR("t"),
                                              .name = STR("t"),
                                              .kind = STR("container"),
                                              .state = DB_PENDING},
                        &task, &e) == 0);
    for (int i = 0; i < 2; i++) {
        must(db_artifact_insert(
                 db,
                 &(struct db_artifact_new){.type = i ? STR("system.Model")
                                                     : STR("system.Dataset"),
                                           .name = STR("x"),
                                           .kind = STR("none"),
                                           .metadata_json = STR("{\"x\":{\"y\":1}}"),
                                           .task = i ? task : 0},
                 &x, &e) == 0);
        must(db_event_put(db, task, i ? DB_OUT : DB_IN, STR("x"), 0, x, &e) == 0);
    }
    must(db_commit(db, &e) == 0);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size};
    struct err e = {.text = ""};
    struct query q = {.limit = 77};

    if (!db)
        home_begin();
    for (enum where_way way = WHERE_PLANNED; way <= WHERE_SEEDS; way++) {
        AUTO_ARENA struct arena a = {0};
        struct db_artifact *rows;
        size_t n;

        if (query_parse(&a, text, &q, &e) < 0) {
            must(e.text[0] && (e.code == ERR_INPUT || e.code == ERR_LIMIT));
            return 0;
        }
        if (db_query_way_in(&a, db, &q, 5, way, &rows, &n, &e) < 0)
            must(e.code == ERR_MISSING); /* a type that never was */
        else
            must(n <= 2);
    }
    return 0;
}

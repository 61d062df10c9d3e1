/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_mlmd_test.c - golden rows of the ML Metadata export, and what KFP's shapes
 * cannot say */
#include "lineage/export.h"
#include "lineage/mlmd.h"
#include "lineage_t.h"

/* ---- structs: bytes worked out by hand from the wire format ---- */

static void structs_have_the_bytes_of_protobuf(void)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"{}", "mlmd-struct::"},
        /* 0a 0a | 0a 01 'a' | 12 05.. : entry{key "a", value{string "x"}} */
        {"{\"a\":\"x\"}", "mlmd-struct::CggKAWESAxoBeA=="},
        {"{\"a\":1}", "mlmd-struct::Cg4KAWESCREAAAAAAADwPw=="},
        {"{\"a\":true}", "mlmd-struct::CgcKAWESAiAB"},
        {"{\"a\":null}", "mlmd-struct::CgcKAWESAggA"},
        {"{\"a\":[]}", "mlmd-struct::CgcKAWESAjIA"},
        {"{\"a\":{}}", "mlmd-struct::CgcKAWESAioA"},
        {"{\"b\":false,\"a\":[\"x\",{\"c\":null}]}",
         "mlmd-struct::ChkKAWESFDISCgMaAXgKCyoJCgcKAWMSAggACgcKAWISAiAA"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_JSON yyjson_doc *doc = NULL;
        AUTO_BUF struct buf out = {0};
        OK(json_parse(str_of(rows[i].json), 1000, &doc, e));
        mlmd_struct_text(yyjson_doc_get_root(doc), &out);
        CHECK_STR(buf_str(&out), rows[i].text);
    }
}

static void the_order_of_members_does_not_matter(void)
{
    static const char *const same[] = {"{\"b\":1,\"a\":{\"y\":1,\"x\":2},\"aa\":3}",
                                       "{\"aa\":3,\"a\":{\"x\":2,\"y\":1},\"b\":1}"};
    struct buf out[2] = {{0}};

    for (int i = 0; i < 2; i++) {
        AUTO_JSON yyjson_doc *doc = NULL;
        OK(json_parse(str_of(same[i]), 1000, &doc, e));
        mlmd_struct_text(yyjson_doc_get_root(doc), &out[i]);
    }
    CHECK_STR(buf_str(&out[0]), buf_str(&out[1]));
    buf_done(&out[0]);
    buf_done(&out[1]);
}

/* ---- a file ---- */

static sqlite3 *t_file;

static long long got(const char *sql)
{
    sqlite3_stmt *st;
    long long v = -999;

    must(sqlite3_prepare_v2(t_file, sql, -1, &st, NULL) == SQLITE_OK);
    if (sqlite3_step(st) == SQLITE_ROW)
        v = sqlite3_column_int64(st, 0);
    (void)sqlite3_finalize(st);
    return v;
}

static const char *got_text(const char *sql)
{
    static char out[400];
    sqlite3_stmt *st;

    must(sqlite3_prepare_v2(t_file, sql, -1, &st, NULL) == SQLITE_OK);
    (void)snprintf(out, sizeof out, "(none)");
    if (sqlite3_step(st) == SQLITE_ROW && sqlite3_column_text(st, 0))
        (void)snprintf(out, sizeof out, "%s", (const char *)sqlite3_column_text(st, 0));
    (void)sqlite3_finalize(st);
    return out;
}

static void export_it(struct db *d, const char *name, struct mlmd_done *done)
{
    AUTO_FREE char *path = in_home(name);

    OK(db_export_mlmd(d, path, done, e));
    (void)sqlite3_close(t_file);
    must(sqlite3_open_v2(path, &t_file, SQLITE_OPEN_READONLY, NULL) == SQLITE_OK);
}

#define PROP(table, id, name)                                                          \
    "FROM " table "Property WHERE " id " AND name = '" name "'"

static void every_kind_of_value_has_its_column(struct db *d)
{
    static const char metadata[] =
        "{\"text\":\"x\",\"int\":10000,\"real\":1e-7,\"yes\":true,\"no\":false,"
        "\"list\":[1],\"object\":{\"k\":\"v\"},\"null\":null,\"nul\":\"a\\u0000b\","
        "\"dugout.digest\":\"forged\",\"_kfp_workspace\":\"x\",\"display_name\":"
        "\"mine\"}";
    int64_t run = a_run(d, "r-1", "one", "p"), task = a_task(d, run, "make");
    struct mlmd_done n;

    (void)an_artifact(d, task, "data", "system.Dataset", 5, metadata); /* a1 */
    finish(d, task, DB_SUCCEEDED);
    export_it(d, "values.db", &n);
#define OF "artifact_id = 1"
    CHECK_STR(got_text("SELECT string_value " PROP("Artifact", OF, "text")), "x");
    CHECK_STR(got_text("SELECT typeof(double_value) || int_value IS NULL " PROP(
                  "Artifact", OF, "int")),
              "1");
    CHECK_INT(got("SELECT double_value = 10000.0 " PROP("Artifact", OF, "int")), 1);
    CHECK_INT(got("SELECT double_value = 1e-7 " PROP("Artifact", OF, "real")), 1);
    CHECK_INT(got("SELECT int_value " PROP("Artifact", OF, "yes")), 1);
    CHECK_INT(got("SELECT int_value " PROP("Artifact", OF, "no")), 0);
    /* {"list": [1]} and {"struct": {"k": "v"}} */
    CHECK_STR(got_text("SELECT string_value " PROP("Artifact", OF, "list")),
              "mlmd-struct::ChUKBGxpc3QSDTILCgkRAAAAAAAA8D8=");
    CHECK_STR(got_text("SELECT string_value " PROP("Artifact", OF, "object")),
              "mlmd-struct::ChYKBnN0cnVjdBIMKgoKCAoBaxIDGgF2");
    CHECK_INT(got("SELECT count(*) " PROP("Artifact", OF, "null")), 0);
    CHECK_STR(got_text("SELECT string_value " PROP("Artifact", OF, "nul")),
              "a\xef\xbf\xbd"
              "b");
    CHECK_STR(got_text("SELECT substr(string_value, 1, 15) " PROP("Artifact", OF,
                                                                  "dugout.digest")),
              "sha256:00000005");
    CHECK_INT(got("SELECT count(*) " PROP("Artifact", OF, "_kfp_workspace")), 0);
    CHECK_STR(got_text("SELECT string_value " PROP("Artifact", OF, "display_name")),
              "mine");
    CHECK_INT(got("SELECT int_value " PROP("Artifact", OF, "dugout.size")), 100);
    CHECK_STR(got_text("SELECT substr(uri, 1, 21) FROM Artifact WHERE id = 1"),
              "cas://sha256/00000005");
#undef OF
    CHECK_INT(n.dropped, 1);
    CHECK_INT(n.artifacts, 1);
    CHECK_INT(n.executions, 2);
    CHECK_INT(n.events, 1);
    /* exactly one value each, and no other column is ever used */
    CHECK_INT(
        got("SELECT count(*) FROM ArtifactProperty WHERE (int_value IS NOT NULL) +"
            " (double_value IS NOT NULL) + (string_value IS NOT NULL) <> 1"
            " OR byte_value IS NOT NULL OR proto_value IS NOT NULL OR bool_value IS "
            "NOT NULL"),
        0);
}

static void what_one_event_cannot_say_stands_beside_it(struct db *d)
{
    int64_t run = a_run(d, "r-2", "two", "p"), task = a_task(d, run, "join");
    struct mlmd_done n;

    reads(d, task, "left", 1);
    reads(d, task, "right", 1);
    finish(d, task, DB_SUCCEEDED);
    export_it(d, "twice.db", &n);
    CHECK_INT(got("SELECT count(*) FROM Event WHERE execution_id = 2 AND type = 3"), 1);
    CHECK_STR(got_text("SELECT step_key FROM EventPath JOIN Event ON id = event_id"
                       " WHERE execution_id = 2"),
              "left");
    /* {"left": [1], "right": [1]} */
    CHECK_STR(got_text("SELECT string_value " PROP("Execution", "execution_id = 2",
                                                   "dugout.input_names")),
              "mlmd-struct::"
              "ChUKBGxlZnQSDTILCgkRAAAAAAAA8D8KFgoFcmlnaHQSDTILCgkRAAAAAAAA8D8=");
    CHECK_INT(got("SELECT count(*) " PROP("Execution", "execution_id = 1",
                                          "dugout.input_names")),
              0);
}

static void states_have_their_meaning_there(struct db *d)
{
    static const struct {
        const char *path;
        enum db_state state;
        int want;
    } rows[] = {
        {"ok", DB_SUCCEEDED, 3},  {"bad", DB_FAILED, 4},   {"not", DB_SKIPPED, 6},
        {"stop", DB_CANCELED, 4}, {"wait", DB_PENDING, 1},
    };
    int64_t run = a_run(d, "r-3", "three", "p"), hit;
    struct mlmd_done n;
    char sql[200];

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        int64_t t = a_task(d, run, rows[i].path);
        if (rows[i].state != DB_PENDING)
            finish(d, t, rows[i].state);
    }
    hit = a_task(d, run, "hit");
    OK(db_begin(d, DB_PROGRESS, e));
    reuses(d, hit, 1);
    OK(db_commit(d, e));
    export_it(d, "states.db", &n);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        (void)snprintf(
            sql, sizeof sql,
            "SELECT last_known_state FROM Execution JOIN ExecutionProperty p ON"
            " p.execution_id = Execution.id WHERE p.name = 'task_name' AND"
            " string_value = '%s'",
            rows[i].path);
        CHECK_INT(got(sql), rows[i].want);
    }
    CHECK_INT(got("SELECT count(*) FROM ExecutionProperty WHERE name = 'dugout.state'"),
              1);
    (void)snprintf(sql, sizeof sql,
                   "SELECT last_known_state FROM Execution WHERE id = %lld",
                   (long long)hit);
    CHECK_INT(got(sql), 5);
    (void)snprintf(
        sql, sizeof sql,
        "SELECT string_value = '1' FROM ExecutionProperty WHERE execution_id = %lld"
        " AND name = 'cached_execution_id'",
        (long long)hit);
    CHECK_INT(got(sql), 1);
    CHECK_INT(got("SELECT count(*) FROM Event WHERE artifact_id = 1 AND type = 4"), 2);
}

static void loops_count_their_iterations(struct db *d)
{
    int64_t run = a_run(d, "r-4", "four", "loops"), loop = 0;
    struct mlmd_done n;
    char path[40], sql[200];

    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .path = STR("for-loop-1"),
                                            .name = STR("for-loop-1"),
                                            .kind = STR("loop"),
                                            .state = DB_PENDING},
                      &loop, e));
    for (int i = 0; i < 6; i++) {
        int64_t t;
        (void)snprintf(path, sizeof path, "for-loop-1[%d]/%s", i / 2,
                       i % 2 ? "b" : "a");
        OK(db_task_insert(d,
                          &(struct db_task_new){.run = run,
                                                .parent = loop,
                                                .path = str_of(path),
                                                .name = str_of(i % 2 ? "b" : "a"),
                                                .kind = STR("container"),
                                                .state = DB_PENDING},
                          &t, e));
    }
    OK(db_commit(d, e));
    export_it(d, "loops.db", &n);
#define OF                                                                             \
    "execution_id = (SELECT execution_id FROM ExecutionProperty WHERE string_value = " \
    "'for-loop-1' LIMIT 1)"
    CHECK_INT(got("SELECT int_value " PROP("Execution", OF, "iteration_count")), 3);
    CHECK_INT(got("SELECT int_value " PROP("Execution", OF, "total_dag_tasks")), 2);
#undef OF
    CHECK_INT(
        got("SELECT count(*) FROM ExecutionProperty WHERE name = 'iteration_index' AND"
            " int_value = 2"),
        2);
    (void)snprintf(
        sql, sizeof sql,
        "SELECT count(*) FROM ExecutionProperty WHERE name = 'parent_dag_id' AND"
        " int_value = %lld",
        (long long)loop);
    CHECK_INT(got(sql), 6);
}

static void tags_are_contexts_and_tombstones_are_deleted(struct db *d)
{
    struct mlmd_done n;

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_tag_set(d, STR("churn:prod"), 1, false, BY("me", 5000), NULL, e));
    OK(db_commit(d, e));
    (void)an_artifact(d, 0, "outside", "google.VertexModel", 0, "");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_artifact_remove(d, 2, e));
    OK(db_commit(d, e));
    export_it(d, "tags.db", &n);
    CHECK_STR(
        got_text("SELECT c.name FROM Context c JOIN Type t ON t.id = c.type_id JOIN"
                 " Attribution a ON a.context_id = c.id WHERE t.name = 'dugout.Ref' AND"
                 " a.artifact_id = 1"),
        "churn:prod");
    CHECK_INT(got("SELECT state FROM Artifact WHERE id = 2"), 3);
    CHECK_STR(got_text("SELECT uri FROM Artifact WHERE id = 2"), "");
    CHECK_INT(got("SELECT count(*) FROM Type WHERE name = 'google.VertexModel' AND "
                  "type_kind = 1"),
              1);
}

static void a_file_that_is_there_stays(struct db *d)
{
    AUTO_FREE char *path = in_home("tags.db");
    AUTO_FREE char *nowhere = in_home("no/such.db");
    struct mlmd_done n = {.events = 77};

    FAILS(db_export_mlmd(d, path, &n, e), ERR_INPUT, "exists");
    FAILS(db_export_mlmd(d, nowhere, &n, e), ERR_SYS, "such.db");
    CHECK_INT(n.events, 77);
}

int main(void)
{
    struct db *d;

    structs_have_the_bytes_of_protobuf();
    the_order_of_members_does_not_matter();
    home_make();
    d = home_open(DB_WRITE);
    every_kind_of_value_has_its_column(d);
    what_one_event_cannot_say_stands_beside_it(d);
    states_have_their_meaning_there(d);
    loops_count_their_iterations(d);
    tags_are_contexts_and_tombstones_are_deleted(d);
    a_file_that_is_there_stays(d);
    (void)sqlite3_close(t_file);
    db_close(d);
    home_remove();
    return t_end();
}

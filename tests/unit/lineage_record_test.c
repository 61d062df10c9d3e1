/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_record_test.c - states that move once, what is read back, JSON, cache */
#include "lineage/adhoc.h"
#include "lineage_t.h"

static const char *const uuid1 = "11111111-1111-4111-8111-111111111111";
static const char *const uuid2 = "22222222-2222-4222-8222-222222222222";

static enum db_state run_state(struct db *d, int64_t run)
{
    AUTO_ARENA struct arena a = {0};
    struct db_run r = {0};

    OK(db_run_get_in(&a, d, run, &r, e));
    return r.state;
}

static enum db_state task_state(struct db *d, int64_t task)
{
    AUTO_ARENA struct arena a = {0};
    struct db_task t = {0};

    OK(db_task_get_in(&a, d, task, &t, e));
    return t.state;
}

static void what_is_known_of_a_run_comes_back(void)
{
    static const char yaml[] = "pipelineInfo:\n  name: churn\n";
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    char hex[DIGEST_HEX];
    struct db_run r = {0};
    struct db_run_new in = {.uuid = str_of(uuid1),
                            .name = STR("churn-x7k2p"),
                            .pipeline = STR("churn"),
                            .experiment = STR("night"),
                            .state = DB_PENDING,
                            .created_unix_ms = 1700000000123,
                            .deadline_unix_ms = 1700000600000,
                            .user = STR("ada"),
                            .host = STR("box1"),
                            .version = STR("0.1.0"),
                            .login_uid = 1000,
                            .argv_json = STR("[\"dugout\",\"run\"]"),
                            .spec_text = STR(yaml),
                            .spec_file = STR("churn.yaml"),
                            .git_commit = STR("0123abcd"),
                            .parameters_json = STR("{\"n\":3}"),
                            .options_json = STR("{\"retries\":2}")};
    struct db *d;
    int64_t run = 0, child = 0;

    home_make();
    d = home_open(DB_ENGINE);
    sha256_hex(yaml, sizeof(yaml) - 1, hex);
    in.spec_hex = str_of(hex);
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_run_create(d, &in, &run, e));
    FAILS(db_run_create(d, &in, &child, e), ERR_INPUT, "run churn-x7k2p");
    in.uuid = str_of(uuid2);
    in.parent = run;
    OK(db_run_create(d, &in, &child, e));
    OK(db_run_set_options(d, child, STR("{\"retries\":5}"), 0, e));
    OK(db_commit(d, e));

    OK(db_run_get_in(&a, d, run, &r, e));
    CHECK_STR(r.uuid.ptr, uuid1);
    CHECK_STR(r.name.ptr, "churn-x7k2p");
    CHECK_STR(r.pipeline.ptr, "churn");
    CHECK_STR(r.experiment.ptr, "night");
    CHECK_INT(r.state, DB_PENDING);
    CHECK_INT(r.created_unix_ms, 1700000000123);
    CHECK_INT(r.finished_unix_ms, 0);
    CHECK_INT(r.deadline_unix_ms, 1700000600000);
    CHECK_STR(r.user.ptr, "ada");
    CHECK_INT(r.login_uid, 1000);
    CHECK_STR(r.host.ptr, "box1");
    CHECK_STR(r.version.ptr, "0.1.0");
    CHECK_STR(r.argv_json.ptr, "[\"dugout\",\"run\"]");
    CHECK_STR(r.spec_hex, hex);
    CHECK_STR(r.spec_file.ptr, "churn.yaml");
    CHECK_STR(r.git_commit.ptr, "0123abcd");
    CHECK_STR(r.parameters_json.ptr, "{\"n\":3}");
    CHECK_STR(r.options_json.ptr, "{\"retries\":2}");
    CHECK_INT(r.outputs_json.len, 0);
    CHECK(!r.all_cached);
    OK(db_run_spec(d, run, &text, e));
    CHECK_STR(buf_str(&text), yaml);

    OK(db_run_get_in(&a, d, child, &r, e));
    CHECK_INT(r.parent, run);
    CHECK_STR(r.options_json.ptr, "{\"retries\":5}");
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM doc"), 1); /* the YAML is kept once */
    FAILS(db_run_get_in(&a, d, 99, &r, e), ERR_MISSING, "99");
    db_close(d);
    home_remove();
}

static void a_run_moves_only_from_the_states_named(void)
{
    static const struct row {
        enum db_state is;
        unsigned from;
        enum db_state to;
        bool won;
    } rows[] = {
        {DB_PENDING, DB_IS(DB_PENDING), DB_RUNNING, true},
        {DB_PENDING, DB_IS(DB_RUNNING), DB_INTERRUPTED, false},
        {DB_RUNNING, DB_IS(DB_RUNNING), DB_INTERRUPTED, true},
        {DB_RUNNING, DB_IS(DB_FAILED) | DB_IS(DB_INTERRUPTED), DB_RUNNING, false},
        {DB_INTERRUPTED, DB_IS(DB_FAILED) | DB_IS(DB_INTERRUPTED), DB_RUNNING, true},
        {DB_FAILED, DB_IS(DB_FAILED) | DB_IS(DB_CANCELED), DB_RUNNING, true},
        {DB_SUCCEEDED, DB_IS(DB_FAILED) | DB_IS(DB_CANCELED), DB_RUNNING, false},
        {DB_SUCCEEDED, 0, DB_RUNNING, false},
    };
    struct db *d;

    home_make();
    d = home_open(DB_ENGINE);
    OK(db_begin(d, DB_PROGRESS, e));
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        char uuid[37];
        int64_t run;
        bool won = !rows[i].won;
        AUTO_FREE char *set = NULL;

        (void)snprintf(uuid, sizeof(uuid), "%08zu-1111-4111-8111-111111111111", i);
        run = a_run(d, uuid, "r", "p");
        set = xasprintf("UPDATE run SET state = '%s' WHERE id = %lld",
                        db_state_name(rows[i].is), (long long)run);
        OK(db_exec(d, set, e));
        OK(db_run_set_state(d, run, rows[i].from, rows[i].to, &won, e));
        CHECK_INT(won, rows[i].won);
        CHECK_INT(run_state(d, run), rows[i].won ? rows[i].to : rows[i].is);
    }
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static void a_finished_run_stays_finished_until_it_is_resumed(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_run_end failed = {.state = DB_FAILED,
                                .finished_unix_ms = 5000,
                                .error = STR("train: exit 1"),
                                .outputs_json = STR("{}")};
    struct db_run_end interrupted = {.state = DB_INTERRUPTED, .finished_unix_ms = 6000};
    struct db_run r = {0};
    struct db *d;
    int64_t run;
    bool won = false;

    home_make();
    d = home_open(DB_ENGINE);
    run = a_run(d, uuid1, "r", "p");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_run_finish(d, run, &interrupted, &won, e));
    CHECK(won);
    OK(db_run_finish(d, run, &interrupted, &won, e));
    CHECK(!won); /* said once */
    OK(db_run_finish(d, run, &failed, &won, e));
    CHECK(won);
    OK(db_run_finish(d, run, &failed, &won, e));
    CHECK(!won);
    OK(db_run_get_in(&a, d, run, &r, e));
    CHECK_INT(r.finished_unix_ms, 5000);
    CHECK_STR(r.error.ptr, "train: exit 1");

    OK(db_run_set_state(d, run, DB_IS(DB_FAILED), DB_RUNNING, &won, e));
    CHECK(won);
    OK(db_run_get_in(&a, d, run, &r, e));
    CHECK_INT(r.finished_unix_ms, 0);
    CHECK_INT(r.error.len, 0);
    CHECK_INT(r.outputs_json.len, 0);
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static void a_task_goes_its_way_once(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    char key[DIGEST_HEX], image[DIGEST_HEX];
    struct db_task_start start = {.started_unix_ms = 1500,
                                  .cache_key_hex = str_of(digest_no(7, key)),
                                  .cache_text = STR("{\"env\":[]}"),
                                  .image_hex = str_of(digest_no(9, image)),
                                  .uuid = str_of(uuid2)};
    struct db_task_end end = {.state = DB_FAILED,
                              .finished_unix_ms = 3000,
                              .error = STR("exit 3"),
                              .exit_code = 3,
                              .peak_memory_bytes = 1 << 20,
                              .cpu_usec = 250000};
    struct db_task t = {0};
    struct db_io_rows io = {0};
    struct db *d;
    int64_t run, task, x;
    bool won = false;

    home_make();
    d = home_open(DB_ENGINE);
    run = a_run(d, uuid1, "r", "p");
    task = a_task(d, run, "outer/inner");
    x = an_artifact(d, 0, "data", "system.Dataset", 1, "");
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_task_start(d, task, &start, &won, e));
    CHECK(won);
    OK(db_task_start(d, task, &start, &won, e));
    CHECK(!won);
    OK(db_event_put(d, task, DB_IN, STR("data"), 0, x, e));
    OK(db_param_put(d, task, DB_IN, STR("n"), STR("3"), e));
    OK(db_task_retry(d, task, true, &won, e));
    CHECK(won);
    CHECK_INT(task_state(d, task), DB_PENDING);
    start.started_unix_ms = 1800;
    OK(db_task_start(d, task, &start, &won, e));
    CHECK(won);
    OK(db_task_finish(d, task, &end, &won, e));
    CHECK(won);
    end.state = DB_SUCCEEDED;
    OK(db_task_finish(d, task, &end, &won, e));
    CHECK(!won);

    OK(db_task_get_in(&a, d, task, &t, e));
    CHECK_STR(t.path.ptr, "outer/inner");
    CHECK_STR(t.name.ptr, "inner");
    CHECK_INT(t.state, DB_FAILED);
    CHECK_STR(t.error.ptr, "exit 3");
    CHECK_STR(t.cache_key_hex, key);
    CHECK_STR(t.image_hex, image);
    CHECK_STR(t.uuid.ptr, uuid2);
    CHECK_INT(t.host_failures, 1);
    CHECK_INT(t.started_unix_ms, 1500); /* of the first try */
    CHECK_INT(t.finished_unix_ms, 3000);
    CHECK_INT(t.exit_code, 3);
    CHECK_INT(t.peak_memory_bytes, 1 << 20);
    CHECK_INT(t.cpu_usec, 250000);
    OK(db_task_cache_text(d, task, &text, e));
    CHECK_STR(buf_str(&text), "{\"env\":[]}");
    OK(db_task_io_in(&a, d, task, DB_IN, &io, e));
    CHECK_INT(io.n_params, 1);
    CHECK_INT(io.n_artifacts, 1);

    OK(db_task_reset(d, task, &won, e));
    CHECK(won);
    OK(db_task_reset(d, task, &won, e));
    CHECK(!won); /* PENDING already */
    OK(db_task_get_in(&a, d, task, &t, e));
    CHECK_INT(t.state, DB_PENDING);
    CHECK_INT(t.exit_code, DB_NO_EXIT);
    CHECK_INT(t.cpu_usec, -1);
    CHECK_INT(t.error.len, 0);
    OK(db_task_io_in(&a, d, task, DB_IN, &io, e));
    CHECK_INT(io.n_params + io.n_artifacts, 0);
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static void attempts_are_counted_and_finished_once(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_attempt_new one = {.number = 1,
                                 .started_unix_ms = 100,
                                 .dir = STR("runs/x/1.1"),
                                 .host = STR("box1")};
    struct db_attempt_end end = {.state = DB_FAILED,
                                 .finished_unix_ms = 200,
                                 .exit_code = DB_NO_EXIT,
                                 .signal = 9,
                                 .error = STR("killed: out of memory"),
                                 .peak_memory_bytes = 77,
                                 .cpu_usec = -1,
                                 .enforced_json = STR("{\"memory\":\"cgroup v1\"}"),
                                 .oom = true};
    struct db_attempt *m = NULL;
    struct db_task t = {0};
    size_t n = 0;
    struct db *d;
    int64_t run;
    bool won = false;

    home_make();
    d = home_open(DB_ENGINE);
    run = a_run(d, uuid1, "r", "p");
    one.task = a_task(d, run, "train");
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_attempt_start(d, &one, e));
    FAILS(db_attempt_start(d, &one, e), ERR_INPUT, "attempt 1");
    OK(db_attempts_open_in(&a, d, 0, &m, &n, e));
    CHECK_INT(n, 1);
    OK(db_attempts_open_in(&a, d, run + 1, &m, &n, e));
    CHECK_INT(n, 0);
    OK(db_attempt_finish(d, one.task, 1, &end, &won, e));
    CHECK(won);
    OK(db_attempt_finish(d, one.task, 1, &end, &won, e));
    CHECK(!won);
    OK(db_attempt_finish(d, one.task, 5, &end, &won, e));
    CHECK(!won); /* there is none */
    one.number = 2;
    OK(db_attempt_start(d, &one, e));
    OK(db_attempt_finish(d, one.task, 2, &end, &won, e));
    OK(db_attempts_open_in(&a, d, run, &m, &n, e));
    CHECK_INT(n, 0);

    OK(db_attempts_in(&a, d, one.task, &m, &n, e));
    CHECK_INT(n, 2);
    CHECK_INT(m[0].number, 1);
    CHECK_INT(m[0].state, DB_FAILED);
    CHECK_INT(m[0].exit_code, DB_NO_EXIT);
    CHECK_INT(m[0].signal, 9);
    CHECK_STR(m[0].error.ptr, "killed: out of memory");
    CHECK_STR(m[0].enforced_json.ptr, "{\"memory\":\"cgroup v1\"}");
    CHECK_STR(m[0].dir.ptr, "runs/x/1.1");
    CHECK_STR(m[0].host.ptr, "box1");
    CHECK_INT(m[0].peak_memory_bytes, 77);
    CHECK_INT(m[0].cpu_usec, -1);
    CHECK(m[0].oom && !m[0].timed_out && !m[0].host_failure);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM doc"), 1); /* equal ones once */
    OK(db_task_get_in(&a, d, one.task, &t, e));
    CHECK_INT(t.attempts, 2);
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static int64_t raced_task;

/* what a reconciler does: commit a finished attempt, and what follows if it won */
static int reconcile(int nth)
{
    struct db *d = NULL;
    struct err e_, *e = &e_;
    int64_t x;
    bool won = false, moved = false;

    if (db_open(t_home, DB_WRITE, &d, e) < 0 || db_begin(d, DB_DURABLE, e) < 0)
        return 90;
    if (db_attempt_finish(d, raced_task, 1,
                          &(struct db_attempt_end){.state = DB_SUCCEEDED,
                                                   .finished_unix_ms = nth + 1},
                          &won, e) < 0)
        return 91;
    if (won &&
        (db_artifact_insert(d,
                            &(struct db_artifact_new){.type = STR("system.Model"),
                                                      .name = STR("model"),
                                                      .kind = STR("none"),
                                                      .task = raced_task},
                            &x, e) < 0 ||
         db_event_put(d, raced_task, DB_OUT, STR("model"), 0, x, e) < 0 ||
         db_task_finish(d, raced_task, &(struct db_task_end){.state = DB_SUCCEEDED},
                        &moved, e) < 0))
        return 92;
    if (db_commit(d, e) < 0)
        return 93;
    db_close(d);
    return won != moved ? 94 : won;
}

static void of_racing_reconcilers_one_commits(void)
{
    enum { RACERS = 5, ROUNDS = 8 };
    pid_t pids[RACERS];
    struct db *d;
    int64_t run;

    home_make();
    d = home_open(DB_WRITE);
    run = a_run(d, uuid1, "r", "p");
    for (int round = 0; round < ROUNDS; round++) {
        char path[16];
        int won = 0;

        (void)snprintf(path, sizeof(path), "t%d", round);
        raced_task = a_task(d, run, path);
        OK(db_begin(d, DB_PROGRESS, e));
        OK(db_attempt_start(
            d, &(struct db_attempt_new){.task = raced_task, .number = 1}, e));
        OK(db_commit(d, e));
        for (int i = 0; i < RACERS; i++)
            pids[i] = in_child(reconcile, i);
        for (int i = 0; i < RACERS; i++)
            won += status_of(pids[i]);
        CHECK_INT(won, 1);
    }
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM artifact"), ROUNDS);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM task WHERE state = 'SUCCEEDED'"),
              ROUNDS);
    db_close(d);
    home_remove();
}

static void artifacts_keep_their_metadata_and_make_it_searchable(void)
{
    static const char metadata[] =
        "{\"rows\":5000,\"auc\":0.93,\"final\":true,\"note\":\"caf\\u00e9\",\"gone\":"
        "null,"
        "\"train\":{\"rows\":4000,\"deep\":{\"x\":-1}},\"list\":[1,2],\"big\":"
        "12345678901234567890}";
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf longer = {0};
    struct db_artifact x = {0};
    struct db *d;
    int64_t id, n;

    home_make();
    d = home_open(DB_WRITE);
    id = an_artifact(d, 0, "train", "system.Dataset", 3, metadata);
    OK(db_artifact_get_in(&a, d, id, &x, e));
    CHECK_STR(x.metadata_json.ptr, metadata);
    CHECK_STR(x.type.ptr, "system.Dataset");
    CHECK_STR(x.kind.ptr, "file");
    CHECK_INT(x.state, DB_LIVE);
    CHECK_INT(x.size_bytes, 100);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM property"), 7);
    CHECK_INT(sql_i64(d, "SELECT value FROM property WHERE key = 'train.deep.x'"), -1);
    CHECK_INT(sql_i64(d, "SELECT value FROM property WHERE key = 'final'"), 1);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM property WHERE key = 'auc'"
                         " AND value > 0.92 AND value < 0.94"),
              1);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM property WHERE value = 'café'"), 1);
    CHECK_INT(
        sql_i64(d, "SELECT count(*) FROM property WHERE key = 'big' AND value > 1e19"),
        1);

    buf_adds(&longer, "{");
    for (int i = 0; i < 1000; i++)
        buf_addf(&longer, "%s\"k%d\":%d", i ? "," : "", i, i);
    buf_adds(&longer, "}");
    an_artifact(d, 0, "many", "system.Metrics", 0, buf_str(&longer));
    n = sql_i64(d, "SELECT count(*) FROM property WHERE key LIKE 'k%'");
    CHECK(n >= 100 && n < 1000); /* shown whole, searchable in part */

    OK(db_begin(d, DB_PROGRESS, e));
    n = 77;
    FAILS(db_artifact_insert(d,
                             &(struct db_artifact_new){.type = STR("t"),
                                                       .name = STR("bad"),
                                                       .kind = STR("none"),
                                                       .metadata_json = STR("[1]")},
                             &n, e),
          ERR_INPUT, "artifact bad: want a JSON object");
    FAILS(db_artifact_insert(d,
                             &(struct db_artifact_new){.type = STR("t"),
                                                       .name = STR("bad"),
                                                       .kind = STR("none"),
                                                       .metadata_json = STR("{\"a\":")},
                             &n, e),
          ERR_INPUT, "metadata of artifact bad");
    FAILS(db_artifact_insert(d,
                             &(struct db_artifact_new){.type = STR("t"),
                                                       .name = STR("bad"),
                                                       .kind = STR("file"),
                                                       .digest_hex = STR("xyz")},
                             &n, e),
          ERR_INPUT, "not a sha256 digest");
    FAILS(db_artifact_insert(d,
                             &(struct db_artifact_new){.type = STR("t"),
                                                       .name = STR("bad"),
                                                       .kind = STR("socket")},
                             &n, e),
          ERR_INPUT, "artifact bad");
    FAILS(db_event_put(d, 4711, DB_IN, STR("x"), 0, id, e), ERR_INPUT, "FOREIGN KEY");
    CHECK_INT(n, 77);
    db_rollback(d);
    db_close(d);
    home_remove();
}

static void data_from_outside_is_recorded_once_for_equal_content(void)
{
    char hex[DIGEST_HEX], other[DIGEST_HEX];
    struct db_artifact_new in = {.type = STR("system.Dataset"),
                                 .name = STR("data"),
                                 .kind = STR("file"),
                                 .digest_hex = str_of(digest_no(5, hex)),
                                 .source = STR("/srv/data.csv")};
    struct db *d;
    int64_t first = 0, id = 0, run, made;

    home_make();
    d = home_open(DB_WRITE);
    run = a_run(d, uuid1, "r", "p");
    made = an_artifact(d, a_task(d, run, "t"), "data", "system.Dataset", 5, "");
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_artifact_intern(d, &in, &first, e));
    CHECK(first != made); /* what a task made is not from outside */
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK_INT(id, first);
    in.imported = true;
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK_INT(id, first);
    CHECK_INT(sql_i64(d, "SELECT sum(imported) FROM artifact"), 1);
    in.metadata_json = STR("{\"rows\":1}");
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK(id != first);
    in.metadata_json = STR("");
    in.digest_hex = str_of(digest_no(6, other));
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK(id != first);

    in = (struct db_artifact_new){.type = STR("system.Model"),
                                  .name = STR("m"),
                                  .kind = STR("none"),
                                  .uri = STR("s3://bucket/model")};
    OK(db_artifact_intern(d, &in, &first, e));
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK_INT(id, first);
    in.uri = STR("s3://bucket/model2");
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK(id != first);

    OK(db_artifact_remove(d, first, e));
    in.uri = STR("s3://bucket/model");
    OK(db_artifact_intern(d, &in, &id, e));
    CHECK(id != first); /* removed is not live */
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static void parameters_are_visible_as_numbers(void)
{
    static const struct row {
        const char *json, *num;
    } rows[] = {
        {"3", "3.0"},      {"-0.5", "-0.5"}, {"true", "1.0"}, {"false", "0.0"},
        {"\"3\"", "none"}, {"null", "none"}, {"[3]", "none"}, {"{\"a\":1}", "none"},
    };
    struct db *d;
    int64_t task;

    home_make();
    d = home_open(DB_WRITE);
    task = a_task(d, a_run(d, uuid1, "r", "p"), "t");
    OK(db_begin(d, DB_PROGRESS, e));
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_FREE char *sql = NULL;
        OK(db_param_put(d, task, DB_IN, STR("p"), str_of(rows[i].json), e));
        sql = xasprintf(
            "SELECT coalesce(num, 'none') = %s%s%s AND value = '%s' FROM param",
            rows[i].num[0] == 'n' ? "'" : "", rows[i].num,
            rows[i].num[0] == 'n' ? "'" : "", rows[i].json);
        CHECK_INT(sql_i64(d, sql), 1);
    }
    OK(db_commit(d, e));
    db_close(d);
    home_remove();
}

static void run_json_is_what_the_design_says(void)
{
    static const char want[] =
        "{\"run_id\":\"11111111-1111-4111-8111-111111111111\",\"name\":\"r\","
        "\"pipeline\":\"p\",\"experiment\":\"Default\",\"state\":\"SUCCEEDED\","
        "\"created\":\"1970-01-01T00:00:01.000Z\",\"finished\":\"1970-01-01T00:00:09."
        "000Z\","
        "\"error\":null,\"parameters\":{},"
        "\"outputs\":{\"parameters\":{\"Output\":3},\"artifacts\":{}},"
        "\"tasks\":[{\"path\":\"for-loop-2[0]/square\",\"name\":\"square\","
        "\"kind\":\"container\",\"state\":\"SUCCEEDED\",\"attempts\":0,\"cached\":"
        "false,"
        "\"exit_code\":0,\"error\":null,\"reason\":null,\"image\":null,\"started\":"
        "null,"
        "\"finished\":\"1970-01-01T00:00:03.000Z\",\"peak_memory_bytes\":4096,"
        "\"cpu_seconds\":0.25,"
        "\"inputs\":{\"parameters\":{\"a\":\"x\",\"n\":3},\"artifacts\":{\"dataset\":["
        "{\"id\":1,\"name\":\"data\",\"type\":\"system.Dataset\",\"digest\":\"sha256:"
        "000000019e3779b19e3779b19e3779b19e3779b19e3779b19e3779b19e3779b1\",\"size\":"
        "100,"
        "\"metadata\":{\"rows\":5000}},{\"id\":2,\"name\":\"more\","
        "\"type\":\"system.Dataset\",\"digest\":null,\"size\":0,\"metadata\":{}}]}},"
        "\"outputs\":{\"parameters\":{\"Output\":9},\"artifacts\":{}},"
        "\"host_failures\":0,\"gpus\":[]}],";
    AUTO_BUF struct buf out = {0};
    struct jw w;
    struct db *d;
    int64_t run, task;
    bool won;

    home_make();
    d = home_open(DB_WRITE);
    run = a_run(d, uuid1, "r", "p");
    task = a_task(d, run, "for-loop-2[0]/square");
    reads(d, task, "dataset",
          an_artifact(d, 0, "data", "system.Dataset", 1, "{\"rows\":5000}"));
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_event_put(d, task, DB_IN, STR("dataset"), 1,
                    an_artifact(d, 0, "more", "system.Dataset", 0, ""), e));
    OK(db_param_put(d, task, DB_IN, STR("n"), STR("3"), e));
    OK(db_param_put(d, task, DB_IN, STR("a"), STR("\"x\""), e));
    OK(db_param_put(d, task, DB_OUT, STR("Output"), STR("9"), e));
    OK(db_task_finish(d, task,
                      &(struct db_task_end){.state = DB_SUCCEEDED,
                                            .finished_unix_ms = 3000,
                                            .peak_memory_bytes = 4096,
                                            .cpu_usec = 250000},
                      &won, e));
    OK(db_run_finish(
        d, run,
        &(struct db_run_end){
            .state = DB_SUCCEEDED,
            .finished_unix_ms = 9000,
            .outputs_json = STR("{\"parameters\":{\"Output\":3},\"artifacts\":{}}")},
        &won, e));
    OK(db_external_put(d,
                       &(struct db_external){.run = run,
                                             .path = STR("/srv/x"),
                                             .target = STR("/x"),
                                             .read_only = true,
                                             .what = STR("mount")},
                       e));
    OK(db_commit(d, e));

    jw_init(&w, &out);
    OK(db_run_json(d, run, &w, e));
    if (out.len > sizeof(want) - 1) {
        CHECK(strstr(buf_str(&out),
                     "\"external\":[{\"what\":\"mount\",\"path\":\"/srv/x\","
                     "\"target\":\"/x\",\"read_only\":true,"
                     "\"verified\":false}]}"));
        out.ptr[sizeof(want) - 1] = '\0'; /* the keys of the contract come first */
    }
    CHECK_STR(buf_str(&out), want);
    db_close(d);
    home_remove();
}

static void runs_are_listed_newest_first_and_filtered(void)
{
    static const struct row {
        const char *pipeline, *experiment;
        unsigned states;
        int64_t since, limit;
        const char *want;
    } rows[] = {
        {"", "", 0, 0, 0, "dcba"},
        {"", "", 0, 0, 2, "dc"},
        {"p", "", 0, 0, 0, "dca"},
        {"q", "", 0, 0, 0, "b"},
        {"none", "", 0, 0, 0, ""},
        {"", "", DB_IS(DB_RUNNING), 0, 0, "da"},
        {"p", "", DB_IS(DB_RUNNING) | DB_IS(DB_INTERRUPTED), 0, 1, "d"},
        {"", "", DB_IS(DB_FAILED), 0, 0, "c"},
        {"p", "", DB_IS(DB_FAILED) | DB_IS(DB_SUCCEEDED), 0, 0, "c"},
        {"", "", 0, 1001, 0, ""},
        {"", "Default", 0, 1000, 0, "dcba"},
        {"", "other", 0, 0, 0, ""},
    };
    struct db *d;
    int64_t b, c;
    bool won;

    home_make();
    d = home_open(DB_WRITE);
    a_run(d, "aaaaaaaa-1111-4111-8111-111111111111", "a", "p");
    b = a_run(d, "bbbbbbbb-1111-4111-8111-111111111111", "b", "q");
    c = a_run(d, "cccccccc-1111-4111-8111-111111111111", "c", "p");
    a_run(d, "dddddddd-1111-4111-8111-111111111111", "d", "p");
    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_run_finish(d, b, &(struct db_run_end){.state = DB_SUCCEEDED}, &won, e));
    OK(db_run_finish(d, c, &(struct db_run_end){.state = DB_FAILED}, &won, e));
    OK(db_commit(d, e));
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct db_run_filter f = {.pipeline = str_of(rows[i].pipeline),
                                  .experiment = str_of(rows[i].experiment),
                                  .states = rows[i].states,
                                  .since_unix_ms = rows[i].since,
                                  .limit = rows[i].limit};
        struct db_run *runs = NULL;
        char got[8] = "";
        size_t n = 0;

        OK(db_runs_in(&a, d, &f, &runs, &n, e));
        for (size_t k = 0; k < n && k < 7; k++)
            got[k] = runs[k].name.ptr[0];
        CHECK_STR(got, rows[i].want);
    }
    db_close(d);
    home_remove();
}

/* a task that has run: one parameter, one artifact, entered in the cache */
static int64_t a_result(struct db *d, int64_t run, const char *path, const char *key)
{
    bool mine = txn_open(d);
    int64_t task = a_task(d, run, path);

    an_artifact(d, task, "model", "system.Model", 11, "");
    OK(db_param_put(d, task, DB_OUT, STR("auc"), STR("0.9"), e));
    finish(d, task, DB_SUCCEEDED);
    OK(db_cache_put(d, str_of(key), task, 10000, e));
    txn_close(d, mine);
    return task;
}

static bool hit(struct db *d, const char *key, const char *pipeline, int64_t not_before,
                struct arena *a, struct db_hit *h)
{
    bool found = false;

    OK(db_cache_find_in(a, d, str_of(key), str_of(pipeline), not_before, h, &found, e));
    return found;
}

static void a_hit_gives_out_the_same_artifacts_and_never_becomes_the_answer(void)
{
    AUTO_ARENA struct arena a = {0};
    char key[DIGEST_HEX], other[DIGEST_HEX];
    struct db_hit h = {0};
    struct db_run_counts counts = {0};
    struct db_task t = {0};
    struct db_io_rows io = {0};
    struct db *d;
    int64_t run2, made, task;
    bool won = false;

    home_make();
    d = home_open(DB_ENGINE);
    digest_no(21, key);
    digest_no(22, other);
    made = a_result(d, a_run(d, uuid1, "r1", "p"), "train", key);
    run2 = a_run(d, uuid2, "r2", "p");
    task = a_task(d, run2, "train");

    CHECK(!hit(d, other, "p", 0, &a, &h));
    CHECK(!hit(d, key, "q", 0, &a, &h));     /* another pipeline */
    CHECK(!hit(d, key, "p", 10001, &a, &h)); /* too old */
    CHECK(hit(d, key, "p", 10000, &a, &h));
    CHECK_INT(h.task, made);
    CHECK_STR(h.run_name.ptr, "r1");
    CHECK_STR(h.path.ptr, "train");
    CHECK_INT(h.out.n_params, 1);
    CHECK_INT(h.out.n_artifacts, 1);

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_cache_reuse(d, task, &h, 11000, 11001, &won, e));
    CHECK(won);
    OK(db_cache_reuse(d, task, &h, 11000, 11001, &won, e));
    CHECK(!won);
    OK(db_commit(d, e));
    OK(db_task_get_in(&a, d, task, &t, e));
    CHECK_INT(t.state, DB_SUCCEEDED);
    CHECK(t.cached);
    CHECK_INT(t.cached_from, made);
    OK(db_task_io_in(&a, d, task, DB_OUT, &io, e));
    CHECK_STR(io.params[0].value_json.ptr, "0.9");
    CHECK_INT(io.artifacts[0].artifact.id, h.out.artifacts[0].artifact.id);
    CHECK_INT(io.artifacts[0].artifact.task, made);
    OK(db_run_counts(d, run2, &counts, e));
    CHECK_INT(counts.total, 1);
    CHECK_INT(counts.cached, 1);
    CHECK_INT(counts.by_state[DB_SUCCEEDED], 1);

    made = a_result(d, run2, "train2", key); /* a newer one takes its place */
    CHECK(hit(d, key, "p", 0, &a, &h));
    CHECK_INT(h.task, made);

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_artifact_remove(d, h.out.artifacts[0].artifact.id, e));
    OK(db_commit(d, e));
    CHECK(!hit(d, key, "p", 0, &a, &h)); /* content on its way out */

    made = a_result(d, run2, "train3", key);
    CHECK(hit(d, key, "p", 0, &a, &h));
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_cache_forget(d, str_of(key), STR("p"), e));
    OK(db_commit(d, e));
    CHECK(!hit(d, key, "p", 0, &a, &h));
    db_close(d);
    home_remove();
}

static void views_for_people_answer(void)
{
    static const char *const views[] = {"runs", "tasks", "artifacts", "tags"};
    struct db *d;
    int64_t run;

    home_make();
    d = home_open(DB_WRITE);
    run = a_run(d, uuid1, "r", "p");
    an_artifact(d, a_task(d, run, "t"), "m", "system.Model", 3, "{\"auc\":1}");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_tag_set(d, STR("m:prod"), 1, false, BY("ada", 1), NULL, e));
    OK(db_commit(d, e));
    OK(db_views_make(d, e));
    for (size_t i = 0; i < N_ELEMS(views); i++) {
        AUTO_FREE char *sql = xasprintf("SELECT count(*) FROM %s", views[i]);
        CHECK_INT(sql_i64(d, sql), 1);
    }
    CHECK_INT(
        sql_i64(d,
                "SELECT count(*) FROM artifacts WHERE digest LIKE 'sha256:00000003%'"
                " AND artifact = 'a1' AND run = 'r' AND created LIKE '1970-01-01T%'"),
        1);
    db_close(d);
    home_remove();
}

int main(void)
{
    what_is_known_of_a_run_comes_back();
    a_run_moves_only_from_the_states_named();
    a_finished_run_stays_finished_until_it_is_resumed();
    a_task_goes_its_way_once();
    attempts_are_counted_and_finished_once();
    of_racing_reconcilers_one_commits();
    artifacts_keep_their_metadata_and_make_it_searchable();
    data_from_outside_is_recorded_once_for_equal_content();
    parameters_are_visible_as_numbers();
    run_json_is_what_the_design_says();
    runs_are_listed_newest_first_and_filtered();
    a_hit_gives_out_the_same_artifacts_and_never_becomes_the_answer();
    views_for_people_answer();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_find_test.c - what people type: runs, tasks, artifacts, tags, images,
 * conditions */
#include "lineage_t.h"

#include "lineage/where.h"

static void runs_and_tasks_are_found_by_what_people_type(void)
{
    static const struct row {
        const char *what;
        enum err_code code;
        const char *says; /* the failure, or the run's name and the task's path */
    } rows[] = {
        {"@latest", ERR_NONE, "nightly "},
        {"churn@latest", ERR_NONE, "churn-b "},
        {"churm@latest", ERR_MISSING, "did you mean churn?"},
        {"zzzzzzzzzzzz@latest", ERR_MISSING, "no run of a pipeline zzzzzzzzzzzz"},
        {"churn-a", ERR_NONE, "churn-a "},
        {"aaaa1111-1111-4111-8111-111111111111", ERR_NONE, "churn-a "},
        {"aaaa1", ERR_NONE, "churn-a "},
        {"aaaa", ERR_INPUT,
         "aaaa fits several runs: aaaa1111-1111 (churn-a), aaaa2222"},
        {"aaa", ERR_MISSING, "no run aaa"}, /* too short for a prefix */
        {"AAAA1", ERR_MISSING, "no run AAAA1"},
        {"churn-c", ERR_MISSING, "did you mean churn-"},
        {"nightly", ERR_NONE, "nightly "}, /* the newest of that name */
        {"", ERR_INPUT, "which run?"},
        {"churn-a/train", ERR_NONE, "churn-a train"},
        {"churn-a/outer/inner", ERR_NONE, "churn-a outer/inner"},
        {"churn-a/inner", ERR_NONE, "churn-a outer/inner"}, /* its name occurs once */
        {"churn-a/square", ERR_INPUT, "square fits several of the run: loop[0]/square"},
        {"churn-a/loop[1]/square", ERR_NONE, "churn-a loop[1]/square"},
        {"churn-a/trian", ERR_MISSING,
         "no task trian in this run: did you mean train?"},
        {"churn-a/", ERR_MISSING, "no task"},
        {"churn@latest/train", ERR_MISSING, "no task train in this run"},
        {"nowhere/train", ERR_MISSING, "no run nowhere"},
    };
    static const char *const tasks[] = {"train", "outer/inner", "loop[0]/square",
                                        "loop[1]/square"};
    struct db *d;
    int64_t first, newest;

    home_make();
    d = home_open(DB_WRITE);
    FAILS(db_run_find(d, STR("@latest"), &first, e), ERR_MISSING, "no runs yet");
    first = a_run(d, "aaaa1111-1111-4111-8111-111111111111", "churn-a", "churn");
    a_run(d, "aaaa2222-1111-4111-8111-111111111111", "nightly", "churn");
    a_run(d, "bbbb1111-1111-4111-8111-111111111111", "churn-b", "churn");
    newest = a_run(d, "cccc1111-1111-4111-8111-111111111111", "nightly", "other");
    for (size_t i = 0; i < N_ELEMS(tasks); i++)
        a_task(d, first, tasks[i]);

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        int64_t run = 77, task = 77;
        struct db_run r = {0};
        struct db_task t = {.path = STR("")};
        char got[128];

        if (rows[i].code) {
            FAILS(db_task_find(d, str_of(rows[i].what), &run, &task, e), rows[i].code,
                  rows[i].says);
            CHECK_INT(run + task, 154); /* untouched */
            continue;
        }
        OK(db_task_find(d, str_of(rows[i].what), &run, &task, e));
        OK(db_run_get_in(&a, d, run, &r, e));
        if (task)
            OK(db_task_get_in(&a, d, task, &t, e));
        (void)snprintf(got, sizeof(got), "%s %s", r.name.ptr, t.path.ptr);
        CHECK_STR(got, rows[i].says);
    }
    OK(db_run_find(d, STR("nightly"), &first, e));
    CHECK_INT(first, newest);
    OK(db_run_by_uuid(d, STR("bbbb1111-1111-4111-8111-111111111111"), &first, e));
    FAILS(db_run_by_uuid(d, STR("bbbb"), &first, e), ERR_MISSING, "bbbb");
    db_close(d);
    home_remove();
}

static void artifacts_are_found_by_what_people_type(void)
{
    static const struct row {
        const char *what;
        enum err_code code;
        const char *says; /* or "aN" */
    } rows[] = {
        {"a1", ERR_NONE, "a1"},
        {"a99", ERR_MISSING, "no artifact a99"},
        {"a0", ERR_MISSING, "no artifact a0"},
        {"sha256:00000005", ERR_NONE,
         "a2"}, /* equal content: the oldest that is live */
        {"sha256:000000", ERR_INPUT, "fits several artifacts: a1 (00000003daa6 model)"},
        {"sha256:00000", ERR_INPUT, "want 6 digits or more"},
        {"sha256:xyzxyz", ERR_INPUT, "want hex digits"},
        {"sha256:ffffffff", ERR_MISSING, "no artifact with content"},
        {"r/train:model", ERR_NONE, "a1"},
        {"p@latest/train:model", ERR_NONE, "a1"},
        {"r/train:modell", ERR_MISSING, "the task has model, parts"},
        {"r/train:parts", ERR_INPUT, "has 2 artifacts: say which, [0] to [1]"},
        {"r/train:parts[1]", ERR_NONE, "a4"},
        {"r/train:parts[0]", ERR_NONE, "a3"},
        {"r/train:parts[2]", ERR_MISSING, "the task has model, parts"},
        {"r/empty:x", ERR_MISSING, "no output artifacts"},
        {"r/train", ERR_INPUT, "want RUN/TASK:OUTPUT"},
        {"r/nope:model", ERR_MISSING, "no task nope"},
        {"churn:prod", ERR_NONE, "a3"},
        {"churn:pord", ERR_MISSING, "did you mean churn:prod?"},
        {"qqqqqqqqqqqqqqqqqqqqqq", ERR_MISSING, "want a7, sha256:PREFIX"},
        {"churn:prod@2026-03-03", ERR_NONE, "a1"},
        {"churn:prod@2026-03-04", ERR_NONE, "a2"},
        {"churn:prod@2026-03-04T11:59:59Z", ERR_NONE, "a1"},
        {"churn:prod@2026-03-04T12:00:00Z", ERR_NONE, "a2"},
        {"churn:prod@2026-03-05T12:00:00.000Z", ERR_MISSING, "nothing at that time"},
        {"churn:prod@2026-03-02", ERR_MISSING, "nothing at that time"},
        {"churn:prod@2026-13-01", ERR_INPUT, "want TAG@2026-03-03"},
        {"churn:prod@yesterday", ERR_INPUT, "want TAG@2026-03-03"},
    };
    const int64_t march_3 = 1772496000000, hour = 3600000;
    struct db *d;
    int64_t run, task, one, two, three, four;

    home_make();
    d = home_open(DB_WRITE);
    run = a_run(d, "aaaa1111-1111-4111-8111-111111111111", "r", "p");
    task = a_task(d, run, "train");
    a_task(d, run, "empty");
    one = an_artifact(d, task, "model", "system.Model", 3, "");
    two = an_artifact(d, 0, "data", "system.Dataset", 5, "");
    three = an_artifact(d, task, "parts", "system.Dataset", 6, "");
    four = an_artifact(d, 0, "part", "system.Dataset", 5, "");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_event_put(d, task, DB_OUT, STR("parts"), 1, four, e));
    OK(db_tag_set(d, STR("churn:prod"), one, false, BY("ada", march_3 + hour), NULL,
                  e));
    OK(db_tag_set(d, STR("churn:prod"), two, true, BY("ada", march_3 + 36 * hour), NULL,
                  e));
    OK(db_tag_remove(d, STR("churn:prod"), BY("bob", march_3 + 50 * hour), e));
    OK(db_tag_set(d, STR("churn:prod"), three, false, BY("ada", march_3 + 90 * hour),
                  NULL, e));
    OK(db_commit(d, e));

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        int64_t id = 77;
        char got[24];

        if (rows[i].code) {
            FAILS(db_artifact_find(d, str_of(rows[i].what), &id, e), rows[i].code,
                  rows[i].says);
            CHECK_INT(id, 77);
            continue;
        }
        OK(db_artifact_find(d, str_of(rows[i].what), &id, e));
        (void)snprintf(got, sizeof(got), "a%lld", (long long)id);
        CHECK_STR(got, rows[i].says);
    }
    db_close(d);
    home_remove();
}

static void names_of_tags_cannot_be_taken_for_anything_else(void)
{
    static const struct row {
        const char *name;
        const char *says; /* NULL: fine */
    } rows[] = {
        {"churn:prod", NULL},  {"v1.2-rc_3", NULL},
        {"a", NULL},           {"a7b", NULL},
        {"sha256", NULL},      {"", "1 to 128"},
        {"a7", "reads as"},    {"sha256:ab", "reads as"},
        {"a/b", "got \"/\""},  {"x@y", "got \"@\""},
        {".x", "starts with"}, {"-x", "starts with"},
        {":x", "starts with"}, {"caf\xc3\xa9", "want letters"},
        {"x y", "got \" \""},
    };
    char longer[130];

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        if (rows[i].says)
            FAILS(db_tag_name_ok(str_of(rows[i].name), e), ERR_INPUT, rows[i].says);
        else
            OK(db_tag_name_ok(str_of(rows[i].name), e));
    }
    memset(longer, 'x', sizeof(longer));
    OK(db_tag_name_ok((struct str){longer, 128}, e));
    FAILS(db_tag_name_ok((struct str){longer, 129}, e), ERR_INPUT, "1 to 128");
}

static void tags_move_on_purpose_and_remember(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_tag *tags = NULL;
    size_t n = 0;
    struct db *d;
    int64_t one, two, before = 77;

    home_make();
    d = home_open(DB_WRITE);
    one = an_artifact(d, 0, "m1", "system.Model", 1, "");
    two = an_artifact(d, 0, "m2", "system.Model", 2, "");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_tag_set(d, STR("m:prod"), one, false, BY("ada", 100), &before, e));
    CHECK_INT(before, 0);
    OK(db_tag_set(d, STR("m:prod"), one, false, BY("ada", 150), &before, e));
    CHECK_INT(before, one); /* it is there already: nothing to log */
    FAILS(db_tag_set(d, STR("m:prod"), two, false, BY("bob", 200), &before, e),
          ERR_INPUT, "points at a1 already: --move moves it to a2");
    OK(db_tag_set(d, STR("m:prod"), two, true, BY("bob", 200), &before, e));
    CHECK_INT(before, one);
    OK(db_tag_set(d, STR("m:old"), two, true, BY("bob", 210), NULL, e));
    FAILS(db_tag_set(d, STR("m:new"), 99, true, BY("bob", 300), NULL, e), ERR_MISSING,
          "a99");
    FAILS(db_artifact_remove(d, two, e), ERR_INPUT, "a2 is tagged m:");
    OK(db_artifact_remove(d, one, e));
    FAILS(db_tag_set(d, STR("m:new"), one, true, BY("bob", 300), NULL, e), ERR_INPUT,
          "content was removed");
    FAILS(db_tag_remove(d, STR("m:none"), BY("bob", 400), e), ERR_MISSING, "m:none");
    OK(db_tag_remove(d, STR("m:old"), BY("bob", 400), e));
    OK(db_commit(d, e));

    OK(db_tags_in(&a, d, &tags, &n, e));
    CHECK_INT(n, 1);
    CHECK_STR(tags[0].name.ptr, "m:prod");
    CHECK_INT(tags[0].artifact, two);
    CHECK_STR(tags[0].set_by.ptr, "bob");
    OK(db_tag_log_in(&a, d, STR("m:prod"), &tags, &n, e));
    CHECK_INT(n, 2);
    CHECK_INT(tags[0].artifact, one);
    CHECK_INT(tags[0].set_unix_ms, 100);
    CHECK_INT(tags[1].artifact, two);
    OK(db_tag_log_in(&a, d, STR(""), &tags, &n, e));
    CHECK_INT(n, 4);
    CHECK_INT(tags[3].artifact, 0); /* the removal */
    OK(db_tags_of_in(&a, d, two, &tags, &n, e));
    CHECK_INT(n, 1);
    db_close(d);
    home_remove();
}

static int tag_race(int nth)
{
    struct db *d = NULL;
    struct err e_, *e = &e_;
    int rc;

    if (db_open(t_home, DB_WRITE, &d, e) < 0 || db_begin(d, DB_DURABLE, e) < 0)
        return 90;
    rc = db_tag_set(d, STR("m:prod"), nth, false, BY("ada", 100), NULL, e);
    if (rc < 0 && e->code != ERR_INPUT)
        return 91;
    if (db_commit(d, e) < 0)
        return 92;
    db_close(d);
    return rc == 0;
}

static void of_two_that_set_a_tag_at_once_one_wins_and_the_other_is_told(void)
{
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    for (int round = 0; round < 8; round++) {
        pid_t pids[4];
        int won = 0;

        for (unsigned i = 0; i < N_ELEMS(pids); i++)
            an_artifact(d, 0, "m", "system.Model", 1 + i, "");
        for (int i = 0; i < (int)N_ELEMS(pids); i++)
            pids[i] = in_child(tag_race, i + 1);
        for (size_t i = 0; i < N_ELEMS(pids); i++)
            won += status_of(pids[i]);
        CHECK_INT(won, 1);
        CHECK_INT(sql_i64(d, "SELECT count(*) FROM ref_log"), 1);
        CHECK_INT(sql_i64(d, "SELECT l.artifact = r.artifact FROM ref r, ref_log l"),
                  1);
        OK(db_exec(d, "DELETE FROM ref; DELETE FROM ref_log", e));
    }
    db_close(d);
    home_remove();
}

static void images_have_names_that_move_and_prefixes(void)
{
    AUTO_ARENA struct arena a = {0};
    char before[DIGEST_HEX] = "x", manifest[DIGEST_HEX];
    struct db_image one = {.os = STR("linux"),
                           .arch = STR("amd64"),
                           .size_bytes = 123,
                           .created_unix_ms = 50,
                           .loaded_unix_ms = 100,
                           .layers_json = STR("[{\"diff_id\":\"sha256:00\"}]")};
    struct db_image two = one, got = {0}, *all = NULL;
    struct db_image_move *moves = NULL;
    size_t n = 0;
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    digest_no(0x11, one.config_hex);
    digest_no(0x12, two.config_hex);
    digest_no(0x99, manifest);
    memcpy(two.manifest_hex, manifest, DIGEST_HEX);
    two.loaded_unix_ms = 200;
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_image_put(d, &one, e));
    OK(db_image_put(d, &two, e));
    OK(db_image_put(d, &one, e)); /* loading it again */
    OK(db_image_name_set(d, STR("docker.io/library/python:3.12-slim"),
                         str_of(one.config_hex), STR("ada"), 100, before, e));
    CHECK_STR(before, "");
    OK(db_image_name_set(d, STR("docker.io/library/python:3.12-slim"),
                         str_of(one.config_hex), STR("ada"), 110, before, e));
    CHECK_STR(before, "");
    OK(db_image_name_set(d, STR("docker.io/library/python:3.12-slim"),
                         str_of(two.config_hex), STR("ada"), 120, before, e));
    CHECK_STR(before, one.config_hex);
    OK(db_image_name_set(d, STR("docker.io/library/tiny:latest"),
                         str_of(two.config_hex), STR("ada"), 130, NULL, e));
    FAILS(db_image_name_set(d, STR("x"), str_of(manifest), STR("ada"), 1, NULL, e),
          ERR_MISSING, "no image sha256:0000009");
    FAILS(db_image_name_remove(d, STR("nope"), STR("ada"), 1, e), ERR_MISSING, "nope");
    OK(db_commit(d, e));

    OK(db_image_find_in(&a, d, STR("docker.io/library/python:3.12-slim"), &got, e));
    CHECK_STR(got.config_hex, two.config_hex);
    CHECK_STR(got.manifest_hex, manifest);
    CHECK_STR(got.os.ptr, "linux");
    CHECK_INT(got.size_bytes, 123);
    CHECK_INT(got.n_names, 2);
    CHECK_STR(got.names[1].ptr, "docker.io/library/tiny:latest");
    OK(db_image_find_in(&a, d, STR("sha256:00000011"), &got, e));
    CHECK_STR(got.config_hex, one.config_hex);
    CHECK_INT(got.n_names, 0);
    OK(db_image_find_in(&a, d, STR("00000012"), &got, e));
    CHECK_STR(got.config_hex, two.config_hex);
    OK(db_image_find_in(&a, d, str_of(manifest), &got, e));
    CHECK_STR(got.config_hex, two.config_hex);
    FAILS(db_image_find_in(&a, d, STR("sha256:000000"), &got, e), ERR_INPUT,
          "fits several images: sha256:00000011");
    FAILS(db_image_find_in(&a, d, STR("docker.io/library/pyton:3.12-slim"), &got, e),
          ERR_MISSING, "did you mean docker.io/library/python:3.12-slim?");
    FAILS(
        db_image_find_in(&a, d, STR("qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq"), &got, e),
        ERR_MISSING, "dugout image load");

    OK(db_images_in(&a, d, &all, &n, e));
    CHECK_INT(n, 2);
    CHECK_STR(all[0].config_hex, two.config_hex); /* the newest first */
    OK(db_image_log_in(&a, d, STR("docker.io/library/python:3.12-slim"), &moves, &n,
                       e));
    CHECK_INT(n, 2);
    CHECK_STR(moves[0].old_hex, "");
    CHECK_STR(moves[0].new_hex, one.config_hex);
    CHECK_STR(moves[1].old_hex, one.config_hex);
    CHECK_STR(moves[1].new_hex, two.config_hex);

    OK(db_begin(d, DB_DURABLE, e));
    OK(db_image_remove(d, str_of(two.config_hex), STR("bob"), 300, e));
    FAILS(db_image_remove(d, str_of(two.config_hex), STR("bob"), 300, e), ERR_MISSING,
          "00000012");
    OK(db_commit(d, e));
    FAILS(db_image_find_in(&a, d, STR("sha256:00000012"), &got, e), ERR_MISSING,
          "no image");
    OK(db_images_in(&a, d, &all, &n, e));
    CHECK_INT(n, 1);
    OK(db_image_log_in(&a, d, STR(""), &moves, &n, e));
    CHECK_INT(n, 5); /* two names went with it */
    CHECK_STR(moves[4].new_hex, "");
    CHECK_STR(moves[4].set_by.ptr, "bob");
    db_close(d);
    home_remove();
}

/* six artifacts told apart by their first letters */
static void some_artifacts(struct db *d)
{
    int64_t run = a_run(d, "aaaa1111-1111-4111-8111-111111111111", "night-1", "churn");
    int64_t task = a_task(d, run, "outer/train");

    an_artifact(d, 0, "small", "system.Dataset", 1, "{\"rows\":100,\"lang\":\"de\"}");
    an_artifact(d, 0, "big", "system.Dataset", 2,
                "{\"rows\":20000.5,\"lang\":\"en\",\"checked\":true}");
    an_artifact(d, 0, "text", "system.Dataset", 3, "{\"rows\":\"many\",\"size\":1}");
    an_artifact(d, task, "model", "system.Model", 4,
                "{\"auc\":0.93,\"train\":{\"rows\":20000},\"it's\":\"a \\\"q\\\"\"}");
    an_artifact(d, task, "nested", "custom.Dataset", 0, "{\"auc\":-1e-3}");
    an_artifact(d, 0, "plain", "system.Artifact", 0, "");
}

static void conditions_select_what_they_say(void)
{
    static const struct row {
        const char *where;
        const char *want; /* first letters, newest first */
    } rows[] = {
        {"rows > 10000", "b"},
        {"rows >= 100", "bs"}, /* a text is no number */
        {"rows < 10000", "s"},
        {"rows <= 20000.5", "bs"},
        {"rows = 100", "s"},
        {"rows == 100.0", "s"},
        {"rows != 100", "b"},
        {"rows <> 100", "b"},
        {"rows = 'many'", "t"},
        {"rows > 'a'", "t"},
        {"rows != 'other'", "t"},
        {"lang = de", "s"},
        {"lang = \"de\" or lang = 'en'", "bs"},
        {"lang != 'de'", "b"},
        {"checked = true", "b"},
        {"checked = false", ""},
        {"checked = TRUE", "b"},
        {"train.rows > 1e4", "m"},
        {"auc < 0", "n"},
        {"auc > -0.5 and auc < +.95", "nm"},
        {"rows > 10000 AND lang = en", "b"},
        {"rows > 10000 and lang = de", ""},
        {"rows = 100 or rows > 1 and lang = en", "bs"}, /* and binds more tightly */
        {"(rows = 100 or rows > 1) and lang = en", "b"},
        {"not rows > 10000", "pnmts"},
        {"not (rows > 10000 or auc > 0)", "pnts"},
        {"not not auc > 0", "m"},
        {"'it''s' = 'a \"q\"'", "m"},
        {"\"it's\" = \"a \"\"q\"\"\"", "m"},
        {"name = 'model'", "m"},
        {"name != model", "pntbs"},
        {"type = Dataset", "ntbs"},
        {"type = 'system.Dataset'", "tbs"},
        {"type != Dataset", "pm"},
        {"kind = none", "pn"},
        {"size > 0", "mtbs"},
        {"metadata.size = 1", "t"},
        {"'size' = 1", "t"}, /* in quotes it is a key */
        {"files = 0 and size >= 100", "mtbs"},
        {"task = train", "nm"},
        {"run = 'night-1'", "nm"},
        {"pipeline = churn and auc > 0", "m"},
        {"created = '1970-01-01'", "pnmtbs"},
        {"created != '1970-01-01'", ""},
        {"created >= '1970-01-01' and created <= 1970-01-01", "pnmtbs"},
        {"created < '1970-01-01'", ""},
        {"created < '1970-01-02'", "pnmtbs"},
        {"created > '1970-01-01'", ""},
        {"created > '1970-01-01T00:00:01Z'", "pnmtbs"},
        {"name = 3", ""},
        {"name in (model, 'big', 3)", "mb"},
        {"rows not in (100, 200)", "pnmtb"},
        {"name ~ '*e?'", "nm"},
        {"name ~ '*e*'", "nmt"},
        {"lang ~ 'd*'", "s"},
        {"has rows", "tbs"},
        {"has train.rows and not has rows", "m"},
        {"id = a2", "b"},
        {"id != 2", "pnmts"},
        {"state = LIVE", "pnmtbs"},
        {"state != LIVE", ""},
        {"digest = 00000002", "b"},
        {"digest = sha256:00000002", "b"},
        {"source = ''", "pnmtbs"},
        {"has tag", ""},
        {"revoked", ""},
        {"not revoked and auc < 0", "n"},
        {"task = nobody", ""},
        {"task != train", "ptbs"},
        {"", "pnmtbs"},
    };
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    some_artifacts(d);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct db_artifact_filter f = {.where = str_of(rows[i].where)};
        struct db_artifact *x = NULL;
        char got[16] = "";
        struct err e;
        size_t n = 0;

        if (db_artifacts_in(&a, d, &f, &x, &n, &e) < 0)
            (void)snprintf(got, sizeof(got), "syntax");
        for (size_t k = 0; k < n && k < 15; k++)
            got[k] = x[k].name.ptr[0];
        CHECK_STR(got, rows[i].want);
    }
    db_close(d);
    home_remove();
}

static void a_condition_that_does_not_parse_says_where(void)
{
    static const struct row {
        const char *where;
        const char *says;
    } rows[] = {
        {"rows", "ends where one of = != < <= > >= ~ in is wanted"},
        {"rows >", "ends where a number or a text in quotes is wanted"},
        {"rows > 1 and", "ends where a key, upstream"},
        {"rows > > 1", "character 8: want a number or a text in quotes, got > 1"},
        {"rows => 1", "character 6: want one of"},
        {"rows > 1 2", "character 10: want and, or, got 2"},
        {"(rows > 1", "ends where and, or, ) is wanted"},
        {"rows > 1)", "character 9: want and, or, got )"},
        {"rows = 'open", "character 8: want a number or a text in quotes, got 'open"},
        {"= 3", "character 1: want a key"},
        {"rows ; drop", "character 6"},
        {"size = 'big'", "character 8: want a number"},
        {"id < 3", "character 6: want = or !="},
        {"id = b3", "character 6: want an id such as a7"},
        {"size ~ 'b*'", "character 8: want another operator"},
        {"rows ~ 3", "character 8: want a pattern in quotes"},
        {"digest = soon", "character 10: want a digest"},
        {"state = GONE", "character 9: want LIVE, REMOVED or DELETED"},
        {"revoked = 'x'", "character 11: want true or false"},
        {"name in ()", "character 10: want a number or a text"},
        {"name in (a b)", "character 12: want , or )"},
        {"name not = a", "character 10: want in"},
        {"has size", "character 5: want a metadata key, a parameter or tag"},
        {"upstream", "ends where a type, a key or ( is wanted"},
        {"upstream Dataset.rows", "ends where one of"},
        {"upstream Dataset (rows > 1", "ends where and, or, ) is wanted"},
        {"upstream Dataset rows > 1", "character 18: want and, or"},
        {"type > Dataset", "want = or !="},
        {"created > 'soon'", "character 11: want a day such as"},
        {"((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((((x",
         "deeper"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct query q;
        FAILS(query_parse_where(&a, str_of(rows[i].where), &q, e),
              strcmp(rows[i].says, "deeper") ? ERR_INPUT : ERR_LIMIT, rows[i].says);
    }
}

static void lists_filter_by_type_run_content_and_state(void)
{
    AUTO_ARENA struct arena a = {0};
    struct db_artifact_filter f = {.type = STR("Dataset")};
    struct db_artifact *x = NULL;
    char hex[DIGEST_HEX];
    size_t n = 0;
    struct db *d;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_artifacts_in(&a, d, &f, &x, &n, e)); /* KFP has it, none here so far */
    CHECK_INT(n, 0);
    some_artifacts(d);
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 4);
    f.type = STR("system.Dataset");
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 3);
    f.limit = 2;
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 2);
    CHECK_STR(x[0].name.ptr, "text");
    f.type = STR("Datasett");
    FAILS(db_artifacts_in(&a, d, &f, &x, &n, e), ERR_MISSING,
          "there are: custom.Dataset, system.Artifact");
    f = (struct db_artifact_filter){.run = 1, .where = STR("auc > 0")};
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 1);
    f = (struct db_artifact_filter){.digest_hex = str_of(digest_no(2, hex))};
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 1);
    CHECK_STR(x[0].name.ptr, "big");
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_artifact_remove(d, x[0].id, e));
    OK(db_commit(d, e));
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 0);
    f.gone = true;
    OK(db_artifacts_in(&a, d, &f, &x, &n, e));
    CHECK_INT(n, 1);
    CHECK_INT(x[0].state, DB_REMOVED);
    db_close(d);
    home_remove();
}

int main(void)
{
    runs_and_tasks_are_found_by_what_people_type();
    artifacts_are_found_by_what_people_type();
    names_of_tags_cannot_be_taken_for_anything_else();
    tags_move_on_purpose_and_remember();
    of_two_that_set_a_tag_at_once_one_wins_and_the_other_is_told();
    images_have_names_that_move_and_prefixes();
    conditions_select_what_they_say();
    a_condition_that_does_not_parse_says_where();
    lists_filter_by_type_run_content_and_state();
    return t_end();
}

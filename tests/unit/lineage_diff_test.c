/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_diff_test.c - two runs beside each other */
#include "lineage_t.h"

#include "lineage/diff.h"

static int64_t a_night(struct db *d, const char *uuid, const char *name, unsigned data,
                       const char *metrics)
{
    int64_t run = a_run(d, uuid, name, "p"), load = a_task(d, run, "load"),
            eval = a_task(d, run, "eval"), raw;

    raw = an_artifact(d, load, "raw", "system.Dataset", data, "");
    reads(d, eval, "data", raw);
    OK(db_param_put(d, eval, DB_IN, STR("n"), data > 1 ? STR("2") : STR("1"), e));
    (void)an_artifact(d, eval, "metrics", "system.Metrics", 0, metrics);
    finish(d, load, DB_SUCCEEDED);
    finish(d, eval, data > 1 ? DB_FAILED : DB_SUCCEEDED);
    return run;
}

static void rows_name_what_differs_and_metrics_stand_side_by_side(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf got = {0};
    struct run_diff diff = {.n = 0};
    const struct diff_row *f1 = NULL;
    struct db *d;
    int64_t one, two, three;

    home_make();
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_PROGRESS, e));
    one = a_night(d, "11111111-1111-4111-8111-111111111111", "one", 1,
                  "{\"f1\":0.5,\"kind\":\"x\"}");
    two = a_night(d, "22222222-1111-4111-8111-111111111111", "two", 2, "{\"f1\":0.75}");
    three = a_night(d, "33333333-1111-4111-8111-111111111111", "three", 1,
                    "{\"f1\":0.5,\"kind\":\"x\"}");
    OK(db_commit(d, e));

    OK(db_diff_in(&a, d, one, two, &diff, e));
    for (size_t i = 0; i < diff.n; i++) {
        const struct diff_row *r = &diff.rows[i];
        if (r->kind == DIFF_STATE || r->kind == DIFF_OUTPUT)
            buf_addf(&got, "%s %.*s %.*s %.*s %.*s\n", diff_kind_name(r->kind),
                     STR_ARG(r->task), STR_ARG(r->name), STR_ARG(r->a), STR_ARG(r->b));
        if (r->kind == DIFF_METRIC && str_eqz(r->name, "metrics.f1"))
            f1 = r;
    }
    CHECK(strstr(buf_str(&got), "state eval state SUCCEEDED FAILED\n"));
    CHECK(strstr(buf_str(&got), "output load raw a1 sha256:000000019e37 a3 sha256:"));
    CHECK(f1 && f1->numeric && !f1->same && f1->num_b - f1->num_a == 0.25);
    CHECK_INT(diff.n_tasks, 2);
    CHECK_INT(diff.n_same, 0);
    CHECK_INT(diff.n_outputs, 1);
    CHECK_INT(diff.n_outputs_same, 0);

    OK(db_diff_in(&a, d, one, three, &diff, e));
    CHECK_INT(diff.n_same, 2);
    CHECK_INT(diff.n_outputs_same, 1);
    for (size_t i = 0; i < diff.n; i++)
        CHECK(diff.rows[i].kind == DIFF_METRIC && diff.rows[i].same);
    FAILS(db_diff_in(&a, d, one, 99, &diff, e), ERR_MISSING, "99");
    db_close(d);
    home_remove();
}

int main(void)
{
    rows_name_what_differs_and_metrics_stand_side_by_side();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_plan.c - what would run, what is cached, what is missing */
#include "base/limits.h"
#include "cli/detach.h"

int cmd_plan(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct run_request rq;
    struct run_opts opts;
    struct run_env env;
    struct err e = {0};
    size_t missing = 0, i, max;
    struct table t;
    json *tasks, *task, *why;

    buf_init(&out, 0);
    if (cli_open(c, DB_ENGINE, &e) < 0 || cli_request(c, c->args[0], &rq, &opts, &e) < 0)
        return cli_fail(&e);
    env = cli_run_env(c);
    if (run_plan(&env, &rq, &out, &missing, &e) < 0)
        return cli_fail(&e);
    if (c->json) {
        cli_out_json(&out);
        return missing ? 3 : 0;
    }
    if (json_parse((struct str){buf_str(&out), out.len}, LIMIT_RESULT_BYTES, &doc, &e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "tasks", &tasks, &e) < 0)
        return cli_fail(&e);
    table_init(&t, 3, (const char *const[]){"TASK", "WOULD", "IMAGE"});
    yyjson_arr_foreach(tasks, i, max, task)
    {
        struct str path = json_as_str(json_at(task, "path"));
        struct str image = json_as_str(json_at(task, "image"));
        table_addf(&t, "%.*s", STR_ARG(path));
        table_add(&t, yyjson_is_true(json_at(task, "cached")) ? "be cached" : "run");
        table_addf(&t, "%.*s", STR_ARG(image));
    }
    table_print(&t, stdout);
    why = json_at(yyjson_doc_get_root(doc), "missing");
    if (yyjson_is_str(why))
        (void)fprintf(stderr, "dugout: missing: %s\n", yyjson_get_str(why));
    return missing ? 3 : 0;
}


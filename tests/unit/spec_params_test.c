/* SPDX-License-Identifier: Apache-2.0 */
/* Root parameters: given, default, absent, wrong */
#include "t.h"

#include "base/mem.h"
#include "spec/pipeline.h"

static const char text[] =
    "pipelineInfo: {name: p}\n"
    "schemaVersion: 2.1.0\n"
    "deploymentSpec: {executors: {x: {container: {image: i}}}}\n"
    "components: {c: {executorLabel: x}}\n"
    "root:\n"
    "  dag: {tasks: {t: {componentRef: {name: c}}}}\n"
    "  inputDefinitions:\n"
    "    parameters:\n"
    "      rows: {parameterType: NUMBER_INTEGER}\n"
    "      rate: {parameterType: NUMBER_DOUBLE, defaultValue: 0.5}\n"
    "      name: {parameterType: STRING}\n"
    "      tags: {parameterType: LIST, isOptional: true}\n"
    "      mode: {parameterType: STRING, defaultValue: fast,\n"
    "             literals: [fast, slow]}\n"
    "      status: {parameterType: TASK_FINAL_STATUS, isOptional: true}\n";

static struct arena a;
static struct pipeline p;

#define GIVEN(n, t)                                                                    \
    {                                                                                  \
        .name = {n, sizeof(n) - 1}, .text = { t, sizeof(t) - 1 }                       \
    }

static void text_is_read_by_the_declared_type(void)
{
    static const struct {
        struct given_param given[3];
        const char *want; /* the values as JSON, or the message */
    } rows[] = {
        {{GIVEN("rows", "7"), GIVEN("name", "7")},
         "{\"rows\":7,\"rate\":0.5,\"name\":\"7\",\"tags\":null,\"mode\":\"fast\","
         "\"status\":null}"},
        {{GIVEN("rows", "7"), GIVEN("name", ""), GIVEN("tags", "[1]")},
         "{\"rows\":7,\"rate\":0.5,\"name\":\"\",\"tags\":[1],\"mode\":\"fast\","
         "\"status\":null}"},
        {{GIVEN("rows", "7"), GIVEN("name", "n"), GIVEN("rows", "8")},
         "{\"rows\":8,\"rate\":0.5,\"name\":\"n\",\"tags\":null,\"mode\":\"fast\","
         "\"status\":null}"},
        {{GIVEN("rate", "1")},
         "parameters without a value: rows (NUMBER_INTEGER), name (STRING); "
         "give them as -p rows=..."},
        {{GIVEN("rows", "many"), GIVEN("name", "n")},
         "parameter rows: want NUMBER_INTEGER, got \"many\""},
        {{GIVEN("row", "7"), GIVEN("name", "n")},
         "the pipeline has no parameter \"row\", did you mean \"rows\""},
        {{GIVEN("learning_rate", "7"), GIVEN("name", "n")},
         "the pipeline has no parameter \"learning_rate\""},
        {{GIVEN("rows", "7"), GIVEN("name", "n"), GIVEN("mode", "medium")},
         "parameter mode: want one of \"fast\", \"slow\""},
        {{GIVEN("rows", "7"), GIVEN("name", "n"), GIVEN("status", "{}")},
         "parameter status: a TASK_FINAL_STATUS cannot be given"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        struct value v = {.kind = VALUE_NUMBER, .n = 77};
        struct err e = {.code = ERR_NONE};
        size_t n = 0;

        while (n < 3 && rows[i].given[n].name.len)
            n++;
        if (pipeline_root_params_in(&a, &p, rows[i].given, n, &v, &e) < 0) {
            CHECK_STR(e.text, rows[i].want);
            CHECK_INT(e.code, ERR_INPUT);
            CHECK(v.n == 77);
            continue;
        }
        value_to_json(&b, &v);
        CHECK_STR(buf_str(&b), rows[i].want);
    }
}

static void values_must_have_the_declared_type(void)
{
    static const struct {
        const char *name, *json, *want; /* NULL when accepted */
    } rows[] = {
        {"name", "\"n\"", NULL},
        {"name", "3", "parameter name: want STRING, got number 3"},
        {"rows", "3.0", NULL},
        {"rows", "\"3\"", "parameter rows: want NUMBER_INTEGER, got string \"3\""},
        {"rows", "null", "parameter rows: want NUMBER_INTEGER, got null"},
        {"tags", "null", NULL},
        {"tags", "{}", "parameter tags: want LIST, got struct {}"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct value given, v;
        struct given_param g[] = {GIVEN("rows", "1"),
                                  GIVEN("name", "n"),
                                  {.name = str_of(rows[i].name), .value = &given}};
        struct err e = {.text = ""};

        CHECK_INT(value_parse_in(&a, str_of(rows[i].json), &given, &e), 0);
        CHECK_INT(pipeline_root_params_in(&a, &p, g, 3, &v, &e), rows[i].want ? -1 : 0);
        CHECK_STR(e.text, rows[i].want ? rows[i].want : "");
        if (!rows[i].want)
            CHECK(value_equal(value_member(&v, str_of(rows[i].name)), &given));
    }
}

int main(void)
{
    struct err e = {.text = ""};

    CHECK_INT(pipeline_parse_in(&a, STR("p.yaml"), STR(text), NULL, &p, &e), 0);
    CHECK_STR(e.text, "");
    if (e.text[0])
        return t_end();
    text_is_read_by_the_declared_type();
    values_must_have_the_declared_type();
    arena_done(&a);
    return t_end();
}

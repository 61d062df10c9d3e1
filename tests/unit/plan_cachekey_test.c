/* SPDX-License-Identifier: Apache-2.0 */
/* Cache keys: everything that a task can see counts, and nothing else */
#include "t.h"

#include "plan/cachekey.h"
#include "plan/graph.h"

static const char text[] =
    "pipelineInfo: {name: p}\n"
    "schemaVersion: 2.1.0\n"
    "deploymentSpec: {executors: {x: {container: {image: i, command: [run], args: "
    "[-v],\n"
    "  env: [{name: A, value: '1'}], resources: {resourceMemoryLimit: 1Gi}}}}}\n"
    "components:\n"
    "  c:\n"
    "    executorLabel: x\n"
    "    inputDefinitions: {parameters: {n: {parameterType: NUMBER_INTEGER},\n"
    "      s: {parameterType: STRUCT, defaultValue: {b: 1, a: 2}, isOptional: true}}}\n"
    "    outputDefinitions: {artifacts: {o: {artifactType: {schemaTitle: "
    "system.Model}}}}\n"
    "root:\n"
    "  dag: {tasks: {t: {componentRef: {name: c}, cachingOptions: {enableCache: "
    "true},\n"
    "    inputs: {parameters: {n: {runtimeValue: {constant: 3.0}}}}}}}\n";

struct variant {
    const char *from, *to; /* replaced in the text; NULL: nothing is */
    const char *image, *extra;
    const char *platform;
    bool same;
};

static struct str replaced(struct arena *a, const char *from, const char *to)
{
    const char *at = from ? strstr(text, from) : NULL;

    if (!at)
        return str_of(text);
    return str_of(
        arena_printf(a, "%.*s%s%s", (int)(at - text), text, to, at + strlen(from)));
}

static void key_of(const struct variant *v, char out[DIGEST_HEX])
{
    AUTO_ARENA struct arena a = {0};
    struct key_extra extra = {STR(""), str_of(v->platform)};
    struct io_values none = {0};
    struct err e = {.text = ""};
    struct pipeline p;
    struct graph g;

    out[0] = 0;
    CHECK_INT(pipeline_parse_in(&a, STR("p.yaml"), replaced(&a, v->from, v->to), NULL,
                                &p, &e),
              0);
    CHECK_STR(e.text, "");
    if (e.text[0])
        return;
    graph_init(&g, &a, &p, &none);
    g.run_id = g.run_name = g.resource_name = g.create_time = g.root_uri = STR("x");
    CHECK_INT(task_resolve(&g, g.tasks[0], &e), 0);
    extra.flags = str_of(v->extra);
    cachekey_of(&g, g.tasks[0], str_of(v->image), &extra, out);
}

static void what_a_task_sees_counts(void)
{
    static const struct variant rows[] = {
        {"[run]", "[go]", "aa", "", "", false},
        {"[-v]", "[-w]", "aa", "", "", false},
        {"[run], args: [-v]", "[run, -v]", "aa", "", "", false},
        {"name: A", "name: B", "aa", "", "", false},
        {"value: '1'", "value: '2'", "aa", "", "", false},
        {"constant: 3.0", "constant: 4.0", "aa", "", "", false},
        {"{b: 1, a: 2}", "{b: 1, a: 3}", "aa", "", "", false},
        {"system.Model", "system.Dataset", "aa", "", "", false},
        {"{o: {", "{q: {", "aa", "", "", false},
        {"name: p", "name: q", "aa", "", "", false},
        {NULL, NULL, "bb", "", "", false},
        {NULL, NULL, "aa", "B=1", "", false},
        {NULL, NULL, "aa", "", "config map c: x", false},
        /* the same under another name, or spelled otherwise */
        {NULL, NULL, "aa", "", "", true},
        {"{b: 1, a: 2}", "{a: 2.0, b: 1.0}", "aa", "", "", true},
        {"constant: 3.0", "constant: 3", "aa", "", "", true},
        {"image: i", "image: j", "aa", "", "", true}, /* its digest is what counts */
        {"1Gi", "2Gi", "aa", "", "", true},
        {"tasks: {t:", "tasks: {u:", "aa", "", "", true},
        {"enableCache: true", "enableCache: false", "aa", "", "", true},
    };
    struct variant base = {.image = "aa", .extra = "", .platform = ""};
    char want[DIGEST_HEX], got[DIGEST_HEX];

    key_of(&base, want);
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        key_of(&rows[i], got);
        if ((strcmp(want, got) == 0) != rows[i].same)
            CHECK_STR(rows[i].from ? rows[i].from : rows[i].extra, "another answer");
    }
}

static void a_custom_key_counts_alone(void)
{
    static const struct variant a = {
        "enableCache: true", "enableCache: true, cacheKey: k1", "aa", "", "", true};
    static const struct variant b = {
        "enableCache: true", "enableCache: true, cacheKey: k1", "bb", "B=1", "", true};
    static const struct variant c = {
        "enableCache: true", "enableCache: true, cacheKey: k2", "aa", "", "", true};
    char one[DIGEST_HEX], two[DIGEST_HEX], three[DIGEST_HEX];

    key_of(&a, one);
    key_of(&b, two);
    key_of(&c, three);
    CHECK_STR(one, two);
    CHECK(strcmp(one, three) != 0);
}

static void the_record_keeps_long_texts_by_digest(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf full = {0}, brief = {0};
    struct io_values none = {0};
    struct err e = {.text = ""};
    struct key_extra extra = {STR(""), STR("")};
    char script[600];
    struct pipeline p;
    struct graph g;

    memset(script, 'x', sizeof script - 1);
    script[sizeof script - 1] = 0;
    CHECK_INT(pipeline_parse_in(&a, STR("p.yaml"),
                                replaced(&a, "[run]", arena_printf(&a, "[%s]", script)),
                                NULL, &p, &e),
              0);
    graph_init(&g, &a, &p, &none);
    CHECK_INT(task_resolve(&g, g.tasks[0], &e), 0);
    cachekey_text(&g, g.tasks[0], STR("aa"), &extra, &full);
    cachekey_record(&g, g.tasks[0], STR("aa"), &extra, &brief);
    CHECK(strstr(buf_str(&full), script) != NULL);
    CHECK(strstr(buf_str(&brief), script) == NULL);
    CHECK(strstr(buf_str(&brief), "(599 bytes)") != NULL);
    CHECK(strstr(buf_str(&brief), "\"n\":3") != NULL);
}

int main(void)
{
    what_a_task_sees_counts();
    a_custom_key_counts_alone();
    the_record_keeps_long_texts_by_digest();
    return t_end();
}

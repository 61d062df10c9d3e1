/* SPDX-License-Identifier: Apache-2.0 */
/* plan_kube_test.c - the platform document, typed, and its parameters filled in */
#include "plan/kube.h"
#include "plan/taskconfig.h"
#include "t.h"

/* a pipeline of two tasks, `name` (output `out`) and `use`, with `platform` for use's
 * executor; root inputs `which` and `none` */
static const char head[] =
    "pipelineInfo: {name: p}\n"
    "schemaVersion: 2.1.0\n"
    "deploymentSpec:\n"
    "  executors:\n"
    "    exec-name: {container: {image: i, command: [c]}}\n"
    "    exec-use: {container: {image: i, command: [c]}}\n"
    "components:\n"
    "  comp-name:\n"
    "    executorLabel: exec-name\n"
    "    outputDefinitions: {parameters: {out: {parameterType: STRING}}}\n"
    "  comp-use: {executorLabel: exec-use}\n"
    "root:\n"
    "  inputDefinitions:\n"
    "    parameters:\n"
    "      which: {parameterType: STRING}\n"
    "      none: {parameterType: STRING, isOptional: true}\n"
    "      json: {parameterType: STRUCT, isOptional: true}\n"
    "  dag:\n"
    "    tasks:\n"
    "      name: {taskInfo: {name: name}, componentRef: {name: comp-name}}\n"
    "      use: {taskInfo: {name: use}, componentRef: {name: comp-use}}\n"
    "---\n"
    "platforms:\n"
    "  kubernetes:\n"
    "    deploymentSpec:\n"
    "      executors:\n"
    "        exec-use:\n";

struct fixture {
    struct arena a;
    struct pipeline p;
    struct graph g;
    struct err e;
};

static int parse(struct fixture *f, const char *platform)
{
    AUTO_BUF struct buf text = {0};
    struct pipeline_opts o = {0};

    buf_init(&text, 0);
    buf_adds(&text, head);
    buf_adds(&text, platform);
    return pipeline_parse_in(&f->a, STR("p.yaml"),
                             (struct str){buf_str(&text), text.len}, &o, &f->p, &f->e);
}

static struct value text_value(const char *z)
{
    return (struct value){.kind = VALUE_STRING, .s = str_of(z)};
}

/* parse, make the graph, give the inputs and name's output, resolve */
static int resolve(struct fixture *f, const char *platform, struct kube_plan *k)
{
    struct io_values in = {0};

    *k = (struct kube_plan){0};
    if (parse(f, platform) < 0)
        return -1;
    io_values_add_param(&f->a, &in, STR("which"), text_value("one"));
    io_values_add_param(&f->a, &in, STR("none"), (struct value){.kind = VALUE_NULL});
    io_values_add_param(&f->a, &in, STR("json"), (struct value){.kind = VALUE_STRUCT});
    graph_init(&f->g, &f->a, &f->p, &in);
    f->g.run_id = STR("RUN");
    io_values_add_param(&f->a, &f->g.root->tasks[0]->out, STR("out"),
                        text_value("two"));
    return kube_resolve_in(&f->a, &f->g, f->g.root->tasks[1], k, &f->e);
}

static void names_come_from_constants_inputs_and_siblings(void)
{
    struct fixture f = {.a = {0}};
    struct kube_plan k;

    CHECK_INT(
        resolve(&f,
                "          secretAsEnv:\n"
                "          - {secretName: lit, keyToEnv: [{secretKey: k, envVar: A}]}\n"
                "          - secretName: old\n"
                "            secretNameParameter: {componentInputParameter: which}\n"
                "            keyToEnv: [{secretKey: k, envVar: B}, {secretKey: l, "
                "envVar: C}]\n"
                "          - secretNameParameter: {componentInputParameter: none}\n"
                "            keyToEnv: [{secretKey: k, envVar: D}]\n"
                "          configMapAsEnv:\n"
                "          - configMapNameParameter:\n"
                "              taskOutputParameter: {producerTask: name, "
                "outputParameterKey: out}\n"
                "            keyToEnv: [{configMapKey: k, envVar: E}]\n"
                "          pvcMount:\n"
                "          - {constant: vol, mountPath: /d/, subPath: a/b}\n"
                "          - pvcNameParameter: {runtimeValue: {constant: "
                "'v-{{$.pipeline_job_uuid}}'}}\n"
                "            mountPath: /e\n",
                &k),
        0);
    CHECK_INT(k.n_env_from, 4);
    CHECK_STR(k.env_from[0].name.ptr, "lit");
    CHECK_STR(k.env_from[1].name.ptr, "one"); /* the source wins over the literal */
    CHECK_STR(k.env_from[2].key.ptr, "l");
    CHECK_STR(k.env_from[3].name.ptr, "two");
    CHECK_INT(k.env_from[3].store, KUBE_CONFIG_MAP);
    CHECK_INT(k.n_mounts, 2);
    CHECK_STR(k.mounts[0].def->mount_path.ptr, "/d");
    CHECK_STR(k.mounts[0].def->sub_path.ptr, "a/b");
    CHECK_STR(k.mounts[1].name.ptr, "v-RUN");
    CHECK_INT(f.g.root->tasks[1]->def->n_deps,
              1); /* it waits for whom it takes a name from */
    arena_done(&f.a);
}

static void what_is_known_before_the_run(void)
{
    struct fixture f = {.a = {0}};
    struct kube_plan k;
    struct str name = STR("");
    const struct kube_store_env *s;

    CHECK_INT(resolve(&f,
                      "          secretAsEnv:\n"
                      "          - {secretName: lit, keyToEnv: []}\n"
                      "          - {secretNameParameter: {componentInputParameter: "
                      "which}, keyToEnv: []}\n"
                      "          - secretNameParameter:\n"
                      "              taskOutputParameter: {producerTask: name, "
                      "outputParameterKey: out}\n",
                      &k),
              0);
    s = f.p.executors[1]->kube->store_env;
    CHECK(kube_known_name(&s[0].name, NULL, &name));
    CHECK_STR(name.ptr, "lit");
    CHECK(!kube_known_name(&s[1].name, NULL, &name));
    CHECK(kube_known_name(&s[1].name, &f.g.root->in, &name));
    CHECK_STR(name.ptr, "one");
    CHECK(!kube_known_name(&s[2].name, &f.g.root->in, &name));
    arena_done(&f.a);
}

static void bad_documents_are_refused(void)
{
    static const struct {
        const char *platform, *want;
    } rows[] = {
        {"          activeDeadlineSeconds: soon\n", "want a number"},
        {"          activeDeadlineSeconds: -1\n", "want a whole number from 0"},
        {"          enabledSharedMemory: {volumeName: s, size: big}\n", "is no size"},
        {"          emptyDirMounts: [{volumeName: a, mountPath: /a, medium: Disk}]\n",
         "medium is \"Memory\" or empty"},
        {"          securityContext: {runAsUser: 0, runAsNonRoot: true}\n",
         "contradict each other"},
        {"          secretAsEnv: [{secretName: s, keyToEnv: [{secretKey: k, envVar: "
         "A=B}]}]\n",
         "is no name of an environment variable"},
        {"          secretAsEnv: [{secretName: s, keyToEnv: [{secretKey: '..', envVar: "
         "A}]}]\n",
         "is no secretKey"},
        {"          secretAsVolume: [{secretName: .s, mountPath: /a}]\n",
         "is no name of a secret"},
        {"          pvcMount: [{mountPath: /a}]\n",
         "the name of the volume claim is missing"},
        {"          pvcMount: [{componentInputParameter: which, mountPath: /a},\n"
         "                     {constant: b, mountPath: /a}]\n",
         "two volumes are mounted at /a"},
        {"          pvcMount: [{pvcNameParameter: {taskFinalStatus: {producerTask: "
         "name}}, mountPath: /a}]\n",
         "unknown field \"taskFinalStatus\""},
        {"          tolerations: [{tolerationJson: {componentInputParameter: nope}}]\n",
         "has no input parameter \"nope\""},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct fixture f = {.a = {0}};

        f.e.text[0] = 0;
        CHECK_INT(parse(&f, rows[i].platform), -1);
        CHECK_INT(f.e.code, ERR_INPUT);
        if (!strstr(f.e.text, rows[i].want))
            CHECK_STR(f.e.text, rows[i].want);
        arena_done(&f.a);
    }
}

static void values_of_the_wrong_kind_fail_the_task(void)
{
    static const struct {
        const char *platform, *want;
    } rows[] = {
        {"          secretAsVolume: [{secretNameParameter: {componentInputParameter: "
         "json}, mountPath: /a}]\n",
         "the mount at /a: the name of a secret must be a string, got struct"},
        {"          imagePullSecret: [{secretNameParameter: {runtimeValue: {constant: "
         "a/b}}}]\n",
         "imagePullSecret: \"a/b\" is no name of a secret"},
        {"          nodeSelector: {nodeSelectorJson: {runtimeValue: {constant: "
         "[1]}}}\n",
         "nodeSelectorJson wants a JSON object, got list"},
        {"          nodeSelector: {nodeSelectorJson: {componentInputParameter: "
         "which}}\n",
         "nodeSelectorJson"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct fixture f = {.a = {0}};
        struct kube_plan k;

        f.e.text[0] = 0;
        CHECK_INT(resolve(&f, rows[i].platform, &k), -1);
        if (!strstr(f.e.text, rows[i].want))
            CHECK_STR(f.e.text, rows[i].want);
        arena_done(&f.a);
    }
}

static void labels_that_are_unknown_are_empty(void)
{
    struct fixture f = {.a = {0}};
    struct kube_plan k;

    CHECK_INT(
        resolve(&f,
                "          podMetadata: {labels: {a: x}, annotations: {a/b: y z}}\n"
                "          fieldPathAsEnv:\n"
                "          - {name: A, fieldPath: \"metadata.labels['a']\"}\n"
                "          - {name: B, fieldPath: \"metadata.annotations['a/b']\"}\n"
                "          - {name: C, fieldPath: \"metadata.labels['a/b']\"}\n",
                &k),
        0);
    CHECK_INT(k.def->n_field_env, 3);
    CHECK_STR(kube_label(k.def, &k.def->field_env[0]).ptr, "x");
    CHECK_STR(kube_label(k.def, &k.def->field_env[1]).ptr, "y z");
    CHECK_STR(kube_label(k.def, &k.def->field_env[2]).ptr, "");
    arena_done(&f.a);
}

static void the_cache_text_has_names_and_nothing_for_no_settings(void)
{
    struct fixture f = {.a = {0}}, g = {.a = {0}};
    struct kube_plan k, none;
    AUTO_BUF struct buf text = {0}, empty = {0};

    buf_init(&text, 0);
    buf_init(&empty, 0);
    CHECK_INT(
        resolve(&f, "          secretAsVolume: [{secretName: s, mountPath: /m}]\n", &k),
        0);
    kube_key_text(&k, &text);
    CHECK(strstr(buf_str(&text), "/m") != NULL);
    CHECK_INT(resolve(&g, "          {}\n", &none), 0);
    kube_key_text(&none, &empty);
    CHECK_INT(empty.len, 0);
    arena_done(&f.a);
    arena_done(&g.a);
}

int main(void)
{
    names_come_from_constants_inputs_and_siblings();
    what_is_known_before_the_run();
    bad_documents_are_refused();
    values_of_the_wrong_kind_fail_the_task();
    labels_that_are_unknown_are_empty();
    the_cache_text_has_names_and_nothing_for_no_settings();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* One good pipeline, and one edit at a time that spoils it: each row says what must be
 * said */
#include "t.h"

#include "base/mem.h"
#include "spec/pipeline.h"

static const char good[] =
    "# PIPELINE DEFINITION\n"                               /* 1 */
    "components:\n"                                         /* 2 */
    "  comp-load:\n"                                        /* 3 */
    "    executorLabel: exec-load\n"                        /* 4 */
    "    inputDefinitions:\n"                               /* 5 */
    "      parameters:\n"                                   /* 6 */
    "        rows:\n"                                       /* 7 */
    "          parameterType: NUMBER_INTEGER\n"             /* 8 */
    "        mode:\n"                                       /* 9 */
    "          defaultValue: fast\n"                        /* 10 */
    "          isOptional: true\n"                          /* 11 */
    "          literals: [fast, slow]\n"                    /* 12 */
    "          parameterType: STRING\n"                     /* 13 */
    "    outputDefinitions:\n"                              /* 14 */
    "      artifacts:\n"                                    /* 15 */
    "        data:\n"                                       /* 16 */
    "          artifactType:\n"                             /* 17 */
    "            schemaTitle: system.Dataset\n"             /* 18 */
    "            schemaVersion: 0.0.1\n"                    /* 19 */
    "      parameters:\n"                                   /* 20 */
    "        count:\n"                                      /* 21 */
    "          parameterType: NUMBER_INTEGER\n"             /* 22 */
    "        names:\n"                                      /* 23 */
    "          parameterType: LIST\n"                       /* 24 */
    "  comp-train:\n"                                       /* 25 */
    "    executorLabel: exec-train\n"                       /* 26 */
    "    inputDefinitions:\n"                               /* 27 */
    "      artifacts:\n"                                    /* 28 */
    "        data:\n"                                       /* 29 */
    "          artifactType:\n"                             /* 30 */
    "            schemaTitle: system.Dataset\n"             /* 31 */
    "      parameters:\n"                                   /* 32 */
    "        rows:\n"                                       /* 33 */
    "          parameterType: NUMBER_INTEGER\n"             /* 34 */
    "    outputDefinitions:\n"                              /* 35 */
    "      parameters:\n"                                   /* 36 */
    "        Output:\n"                                     /* 37 */
    "          parameterType: NUMBER_DOUBLE\n"              /* 38 */
    "deploymentSpec:\n"                                     /* 39 */
    "  executors:\n"                                        /* 40 */
    "    exec-load:\n"                                      /* 41 */
    "      container:\n"                                    /* 42 */
    "        image: python:3.12-slim\n"                     /* 43 */
    "        command: [load]\n"                             /* 44 */
    "        args: ['{{$.inputs.parameters[''rows'']}}']\n" /* 45 */
    "        env:\n"                                        /* 46 */
    "        - {name: LEVEL, value: '3'}\n"                 /* 47 */
    "        resources:\n"                                  /* 48 */
    "          cpuLimit: 2.0\n"                             /* 49 */
    "          resourceMemoryLimit: 512Mi\n"                /* 50 */
    "    exec-train:\n"                                     /* 51 */
    "      container:\n"                                    /* 52 */
    "        image: python:3.12-slim\n"                     /* 53 */
    "        command: [train]\n"                            /* 54 */
    "pipelineInfo:\n"                                       /* 55 */
    "  name: churn\n"                                       /* 56 */
    "root:\n"                                               /* 57 */
    "  dag:\n"                                              /* 58 */
    "    outputs:\n"                                        /* 59 */
    "      parameters:\n"                                   /* 60 */
    "        score:\n"                                      /* 61 */
    "          valueFromParameter:\n"                       /* 62 */
    "            producerSubtask: train\n"                  /* 63 */
    "            outputParameterKey: Output\n"              /* 64 */
    "    tasks:\n"                                          /* 65 */
    "      load:\n"                                         /* 66 */
    "        cachingOptions: {enableCache: true}\n"         /* 67 */
    "        componentRef: {name: comp-load}\n"             /* 68 */
    "        inputs:\n"                                     /* 69 */
    "          parameters:\n"                               /* 70 */
    "            rows: {componentInputParameter: rows}\n"   /* 71 */
    "        retryPolicy:\n"                                /* 72 */
    "          maxRetryCount: 2\n"                          /* 73 */
    "          backoffDuration: 30s\n"                      /* 74 */
    "        taskInfo: {name: load}\n"                      /* 75 */
    "      train:\n"                                        /* 76 */
    "        componentRef: {name: comp-train}\n"            /* 77 */
    "        dependentTasks: [load]\n"                      /* 78 */
    "        inputs:\n"                                     /* 79 */
    "          artifacts:\n"                                /* 80 */
    "            data:\n"                                   /* 81 */
    "              taskOutputArtifact:\n"                   /* 82 */
    "                outputArtifactKey: data\n"             /* 83 */
    "                producerTask: load\n"                  /* 84 */
    "          parameters:\n"                               /* 85 */
    "            rows:\n"                                   /* 86 */
    "              taskOutputParameter:\n"                  /* 87 */
    "                outputParameterKey: count\n"           /* 88 */
    "                producerTask: load\n"                  /* 89 */
    "        taskInfo: {name: train}\n"                     /* 90 */
    "  inputDefinitions:\n"                                 /* 91 */
    "    parameters:\n"                                     /* 92 */
    "      rows:\n"                                         /* 93 */
    "        defaultValue: 5000.0\n"                        /* 94 */
    "        isOptional: true\n"                            /* 95 */
    "        parameterType: NUMBER_INTEGER\n"               /* 96 */
    "  outputDefinitions:\n"                                /* 97 */
    "    parameters:\n"                                     /* 98 */
    "      score: {parameterType: NUMBER_DOUBLE}\n"         /* 99 */
    "schemaVersion: 2.1.0\n"                                /* 100 */
    "sdkVersion: kfp-2.15.2\n"                              /* 101 */
    "---\n"                                                 /* 102 */
    "platforms:\n"                                          /* 103 */
    "  kubernetes:\n"                                       /* 104 */
    "    deploymentSpec:\n"                                 /* 105 */
    "      executors:\n"                                    /* 106 */
    "        exec-train:\n"                                 /* 107 */
    "          nodeSelector:\n"                             /* 108 */
    "            labels: {gpu: big}\n"                      /* 109 */
    "    pipelineConfig:\n"                                 /* 110 */
    "      activeDeadlineSeconds: 3600\n";                  /* 111 */

/* `good` with the first `find` after `behind` replaced */
static void edit(struct buf *out, const char *behind, const char *find, const char *put)
{
    const char *from = strstr(good, behind), *at = from ? strstr(from, find) : NULL;

    CHECK(at != NULL);
    if (!at)
        return;
    buf_add(out, good, (size_t)(at - good));
    buf_adds(out, put);
    buf_adds(out, at + strlen(find));
}

static int parse(struct arena *a, const char *text, bool lenient, struct pipeline *p,
                 struct err *e)
{
    struct pipeline_opts o = {.lenient = lenient};

    return pipeline_parse_in(a, STR("churn.yaml"), str_of(text), &o, p, e);
}

static void a_good_pipeline_is_read(void)
{
    AUTO_ARENA struct arena a = {0};
    struct pipeline p;
    struct err e;

    CHECK_INT(parse(&a, good, false, &p, &e), 0);
    CHECK_STR(p.name.ptr, "churn");
    CHECK_STR(p.file.ptr, "churn.yaml");
    CHECK_STR(p.sdk_version.ptr, "kfp-2.15.2");
    CHECK_INT(p.deadline_ms, 3600000);
    CHECK_INT(p.n_components, 2);
    CHECK_INT(p.n_executors, 2);
    CHECK_INT(p.n_notices, 1);
    CHECK_STR(p.notices[0],
              "churn.yaml:108:11: platforms.kubernetes.deploymentSpec.executors."
              "exec-train.nodeSelector: ignored: it means nothing on one machine");
    CHECK(is_hex64(p.text_hex));

    const struct dag *g = p.root->dag;

    CHECK_INT(g->n_tasks, 2);
    CHECK_INT(p.root->n_inside, 2);

    const struct task_def *load = &g->tasks[0], *train = &g->tasks[1];

    CHECK_STR(load->key.ptr, "load");
    CHECK_STR(load->component->name.ptr, "comp-load");
    CHECK(load->cache_enabled);
    CHECK(!train->cache_enabled);
    CHECK_INT(load->pos.line, 66);
    CHECK_INT(load->pos.col, 7);
    CHECK_INT(load->retry.max_retries, 2);
    CHECK_INT(load->retry.backoff_ms, 30000);
    CHECK_INT(load->retry.backoff_max_ms, 3600000);
    CHECK(load->retry.backoff_factor == 2);
    CHECK(load->retry.set && !train->retry.set);
    CHECK_INT(load->params[0].from.kind, SOURCE_INPUT);
    CHECK_INT(load->n_deps, 0);
    CHECK_INT(train->n_deps, 1); /* named three times, kept once */
    CHECK_INT(train->deps[0], 0);
    CHECK_INT(train->artifacts[0].from.kind, SOURCE_TASK_OUTPUT);
    CHECK_STR(train->artifacts[0].from.name.ptr, "data");
    CHECK_INT(g->params[0].n_from, 1);
    CHECK_INT(g->params[0].from[0].task_index, 1);

    const struct io_defs *in = &load->component->in;

    CHECK_INT(in->n_params, 2);
    CHECK(io_param(in, STR("mode"))->optional);
    CHECK_STR(io_param(in, STR("mode"))->default_value->s.ptr, "fast");
    CHECK_INT(io_param(in, STR("mode"))->n_literals, 2);
    CHECK(io_param(in, STR("nothing")) == NULL);
    CHECK_STR(load->component->out.artifacts[0].schema_title.ptr, "system.Dataset");
    CHECK_STR(train->component->in.artifacts[0].schema_version.ptr, "0.0.1");

    const struct executor *x = load->component->executor;

    CHECK_STR(x->image.ptr, "python:3.12-slim");
    CHECK_STR(x->env[0].value.ptr, "3");
    CHECK_STR(x->res.cpu_limit.ptr, "2");
    CHECK_STR(x->res.memory_limit.ptr, "512Mi");
    CHECK_STR(x->res.accelerator_type.ptr, "");
    CHECK_INT(pipeline_supported(&p, &e), 0);
}

static void each_mistake_is_named_with_its_place(void)
{
#define TRAIN "root.dag.tasks.train."
    static const struct {
        const char *behind, *find, *put, *want;
    } rows[] = {
        /* references */
        {"rows:\n              taskOutput", "producerTask: load", "producerTask: lod",
         "churn.yaml:89:31: " TRAIN
         "inputs.parameters.rows.taskOutputParameter.producerTask: "
         "task \"lod\" does not exist, did you mean \"load\""},
        {"rows:\n              taskOutput", "outputParameterKey: count",
         "outputParameterKey: cuont",
         "churn.yaml:88:37: " TRAIN "inputs.parameters.rows.taskOutputParameter."
         "outputParameterKey: task \"load\" has no output parameter \"cuont\", did you "
         "mean "
         "\"count\""},
        {"rows:\n              taskOutput", "outputParameterKey: count",
         "outputParameterKey: data",
         "churn.yaml:88:37: " TRAIN "inputs.parameters.rows.taskOutputParameter."
         "outputParameterKey: output \"data\" of task \"load\" is no parameter"},
        {"rows:\n              taskOutput", "outputParameterKey: count",
         "outputParameterKey: names",
         "churn.yaml:89:31: " TRAIN
         "inputs.parameters.rows: want NUMBER_INTEGER, but output "
         "\"names\" of task \"load\" is LIST"},
        {"      train:\n", "name: comp-train", "name: comp-trian",
         "churn.yaml:77:30: " TRAIN
         "componentRef.name: component \"comp-trian\" does not exist, "
         "did you mean \"comp-train\""},
        {"      train:\n", "[load]", "[load, loda]",
         "churn.yaml:78:32: " TRAIN
         "dependentTasks[1]: task \"loda\" does not exist, did you "
         "mean \"load\""},
        {"", "executorLabel: exec-load", "executorLabel: load",
         "churn.yaml:4:20: components.comp-load.executorLabel: executor \"load\" does "
         "not exist"},
        {"", "componentInputParameter: rows", "componentInputParameter: row",
         "churn.yaml:71:45: "
         "root.dag.tasks.load.inputs.parameters.rows.componentInputParameter: "
         "root has no input parameter \"row\", did you mean \"rows\""},
        {"    outputs:\n", "producerSubtask: train", "producerSubtask: trian",
         "churn.yaml:63:30: root.dag.outputs.parameters.score.valueFromParameter."
         "producerSubtask: task \"trian\" does not exist, did you mean \"train\""},
        {"  outputDefinitions:\n    parameters:\n      score", "score:", "scores:",
         "churn.yaml:99:7: root.dag: no task gives the declared output parameter "
         "\"scores\""},
        {"        exec-train:\n", "exec-train:", "exec-trai:",
         "churn.yaml:107:9: platforms.kubernetes.deploymentSpec.executors: executor "
         "\"exec-trai\" does not exist, did you mean \"exec-train\""},
        /* inputs */
        {"", "rows: {componentInputParameter: rows}",
         "mode: {componentInputParameter: rows}",
         "churn.yaml:66:7: root.dag.tasks.load: the required input parameter \"rows\" "
         "of "
         "component comp-load is not given"},
        {"      train:\n", "            data:\n              task",
         "            dat:\n              task",
         "churn.yaml:76:7: root.dag.tasks.train: the required input artifact \"data\" "
         "of "
         "component comp-train is not given"},
        {"", "{componentInputParameter: rows}", "{runtimeValue: {constant: many}}",
         "churn.yaml:71:45: root.dag.tasks.load.inputs.parameters.rows: want "
         "NUMBER_INTEGER, got "
         "string \"many\""},
        {"", "{componentInputParameter: rows}", "{runtimeValue: {constant: 1.5}}",
         "churn.yaml:71:45: root.dag.tasks.load.inputs.parameters.rows: want "
         "NUMBER_INTEGER, got "
         "number 1.5"},
        {"", "{componentInputParameter: rows}",
         "{componentInputParameter: rows}\n            mode: {runtimeValue: {constant: "
         "medium}}",
         "churn.yaml:72:45: root.dag.tasks.load.inputs.parameters.mode: the constant "
         "is none of "
         "the literals of input \"mode\" of comp-load"},
        {"", "{componentInputParameter: rows}",
         "{componentInputParameter: rows, runtimeValue: {constant: 3}}",
         "churn.yaml:71:13: root.dag.tasks.load.inputs.parameters.rows: want exactly "
         "one of "
         "componentInputParameter, taskOutputParameter, runtimeValue and "
         "taskFinalStatus"},
        {"", "{componentInputParameter: rows}", "{runtimeValue: {constant: 12:30}}",
         "churn.yaml:71:45: "
         "root.dag.tasks.load.inputs.parameters.rows.runtimeValue.constant: "
         "YAML readers disagree whether 12:30 is text or a number: put it in quotes"},
        /* types and defaults */
        {"        rows:\n", "NUMBER_INTEGER", "NUMBER_INTEGR",
         "churn.yaml:8:26: "
         "components.comp-load.inputDefinitions.parameters.rows.parameterType: "
         "unknown type \"NUMBER_INTEGR\", did you mean \"NUMBER_INTEGER\""},
        {"", "defaultValue: 5000.0", "defaultValue: '5000'",
         "churn.yaml:94:23: root.inputDefinitions.parameters.rows.defaultValue: want "
         "NUMBER_INTEGER, got string \"5000\""},
        {"", "defaultValue: fast", "defaultValue: fats",
         "churn.yaml:10:25: "
         "components.comp-load.inputDefinitions.parameters.mode.defaultValue: "
         "the default is none of the literals"},
        {"", "literals: [fast, slow]", "literals: [fast, 2]",
         "churn.yaml:12:28: "
         "components.comp-load.inputDefinitions.parameters.mode.literals[1]: "
         "want STRING, got number 2"},
        {"", "        data:\n", "        count:\n",
         "churn.yaml:16:9: components.comp-load.outputDefinitions.artifacts: \"count\" "
         "is the "
         "name of a parameter too"},
        /* unknown and wrong fields */
        {"", "componentRef: {name: comp-load}",
         "componentRef: {name: comp-load}, retry: 3",
         NULL}, /* bad YAML: only that it is refused */
        {"", "        taskInfo: {name: load}", "        taskinfo: {name: load}",
         "churn.yaml:75:9: root.dag.tasks.load: unknown field \"taskinfo\", did you "
         "mean "
         "\"taskInfo\""},
        {"", "sdkVersion: kfp", "sdkversion: kfp",
         "churn.yaml:101:1: unknown field \"sdkversion\", did you mean \"sdkVersion\""},
        {"", "nodeSelector:", "nodeSelectr:",
         "churn.yaml:108:11: platforms.kubernetes.deploymentSpec.executors.exec-train: "
         "unknown "
         "field \"nodeSelectr\", did you mean \"nodeSelector\""},
        {"", "labels: {gpu: big}", "label: {gpu: big}",
         "churn.yaml:109:13: platforms.kubernetes.deploymentSpec.executors.exec-train."
         "nodeSelector: unknown field \"label\", did you mean \"labels\""},
        {"", "enableCache: true", "enableCache: 'true'",
         "churn.yaml:67:39: root.dag.tasks.load.cachingOptions.enableCache: want a "
         "bool, got "
         "the string true"},
        {"", "command: [load]", "command: [load, 3]",
         "churn.yaml:44:25: deploymentSpec.executors.exec-load.container.command[1]: "
         "want a "
         "string, got the number 3: put it in quotes"},
        {"", "value: '3'", "value: on",
         "churn.yaml:47:32: deploymentSpec.executors.exec-load.container.env[0].value: "
         "want a "
         "string, got the bool on: put it in quotes"},
        {"", "name: LEVEL", "name: A=B",
         "churn.yaml:47:11: deploymentSpec.executors.exec-load.container.env[0]: "
         "\"A=B\" is no "
         "name of an environment variable"},
        {"", "command: [load]", "command: load",
         "churn.yaml:44:18: deploymentSpec.executors.exec-load.container.command: want "
         "a list, "
         "got the string load"},
        {"", "maxRetryCount: 2", "maxRetryCount: -2",
         "churn.yaml:73:26: root.dag.tasks.load.retryPolicy.maxRetryCount: want a "
         "whole number "
         "from 0 to 4294967295, got -2"},
        {"", "backoffDuration: 30s", "backoffDuration: soon",
         "churn.yaml:74:28: root.dag.tasks.load.retryPolicy.backoffDuration: want a "
         "duration "
         "such as \"30s\", got \"soon\""},
        {"", "        image: python:3.12-slim\n", "",
         "churn.yaml:41:5: deploymentSpec.executors.exec-load.container: the container "
         "has no "
         "image"},
        {"    exec-load:\n", "container:", "resolver:",
         "churn.yaml:43:9: deploymentSpec.executors.exec-load.resolver: executors of "
         "this kind "
         "are not supported"},
        {"", "      train:\n", "      tr/ain:\n",
         "churn.yaml:76:7: root.dag.tasks: character 0x2f must not be in the name "
         "\"tr/ain\""},
        {"", "      train:\n", "      load:\n",
         "churn.yaml:76:7: \"load\" is given twice, first at line 66"},
        {"", "cachingOptions: {enableCache: true}",
         "caching_options: {}\n        cachingOptions: {}",
         "churn.yaml:68:9: root.dag.tasks.load: \"cachingOptions\" is given in both "
         "spellings"},
        {"", "componentRef: {name: comp-load}", "dependentTasks: []",
         "churn.yaml:66:7: root.dag.tasks.load: the task has no componentRef"},
        /* the top */
        {"", "schemaVersion: 2.1.0", "schemaVersion: 2.0.0",
         "churn.yaml:100:16: schemaVersion: schemaVersion is \"2.0.0\": only 2.1.0 is "
         "understood"},
        {"", "name: churn\n", "name: Churn\n",
         "churn.yaml:56:9: pipelineInfo.name: \"Churn\" is no name of a pipeline: want "
         "lower-case "
         "letters, digits, - and . (at most 128)"},
        {"", "name: churn\n", "name: ''\n",
         "churn.yaml:56:9: pipelineInfo.name: the pipeline has no name"},
        {"", "platforms:\n", "components: {}\nroot: {}\n---\nplatforms:\n",
         "churn.yaml:103:1: a second pipeline spec: the first begins at line 2"},
        {"", "platforms:\n", "hello: 1\n---\nplatforms:\n",
         "churn.yaml:103:1: neither a pipeline spec (pipelineInfo, root) nor a "
         "platform spec "
         "(platforms)"},
        /* circles */
        {"", "        retryPolicy:",
         "        dependentTasks: [train]\n        retryPolicy:",
         "churn.yaml:66:7: root.dag.tasks: tasks wait for each other: load -> train -> "
         "load"},
        {"",
         "        retryPolicy:", "        dependentTasks: [load]\n        retryPolicy:",
         "churn.yaml:66:7: root.dag.tasks: tasks wait for each other: load -> load"},
        {"", "    executorLabel: exec-train\n",
         "    dag:\n      tasks:\n        again:\n          componentRef: {name: "
         "comp-train}\n"
         "          inputs:\n            artifacts: {data: {componentInputArtifact: "
         "data}}\n"
         "            parameters: {rows: {componentInputParameter: rows}}\n"
         "      outputs: {parameters: {Output: {valueFromParameter: {producerSubtask: "
         "again,"
         " outputParameterKey: Output}}}}\n",
         "churn.yaml:28:9: task \"again\": a component contains itself: comp-train -> "
         "comp-train"},
        /* placeholders */
        {"    exec-load:\n", "''rows''", "''row''",
         "churn.yaml:41:5: deploymentSpec.executors.exec-load.container.args[0]: input "
         "parameter "
         "\"row\" is not known to component comp-load"},
        {"    exec-load:\n", "['{{$.inputs.parameters[''rows'']}}']",
         "['{{$.outputs.artifacts[''dat''].path}}']",
         "churn.yaml:41:5: deploymentSpec.executors.exec-load.container.args[0]: "
         "output artifact "
         "\"dat\" is not known to component comp-load"},
        {"    exec-load:\n", "['{{$.inputs.parameters[''rows'']}}']",
         "['{\"IfPresent\": {\"InputName\": \"rwos\", \"Then\": \"a\"}}']",
         "churn.yaml:41:5: deploymentSpec.executors.exec-load.container.args[0]: input "
         "parameter "
         "\"rwos\" is not known to component comp-load"},
        {"    exec-load:\n", "['{{$.inputs.parameters[''rows'']}}']",
         "['{\"Concat\": 3}']",
         "churn.yaml:41:5: deploymentSpec.executors.exec-load.container.args[0]: an "
         "IfPresent or "
         "Concat word: Concat wants a list"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf text = {0};
        struct pipeline p = {.n_components = 77};
        struct err e = {.text = "accepted"};

        edit(&text, rows[i].behind, rows[i].find, rows[i].put);
        CHECK_INT(parse(&a, buf_str(&text), false, &p, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_INT(p.n_components, 77); /* untouched */
        if (rows[i].want)
            CHECK_STR(e.text, rows[i].want);
    }
}

static void unknown_fields_are_only_noted_when_lenient(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct pipeline p;
    struct err e;

    edit(&text, "", "nodeSelector:", "nodeSelectr:");
    CHECK_INT(parse(&a, buf_str(&text), true, &p, &e), 0);
    CHECK_INT(p.n_notices, 1);
    CHECK_STR(p.notices[0],
              "churn.yaml:108:11: platforms.kubernetes.deploymentSpec.executors."
              "exec-train: unknown field \"nodeSelectr\", did you mean "
              "\"nodeSelector\"");
}

static void unknown_fields_of_containers_are_noted(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct pipeline p;
    struct err e;

    edit(&text, "", "command: [train]", "comand: [train]");
    CHECK_INT(parse(&a, buf_str(&text), false, &p, &e), 0);
    CHECK_INT(p.n_notices, 2);
    CHECK_STR(p.notices[0],
              "churn.yaml:54:9: deploymentSpec.executors.exec-train.container: "
              "unknown field \"comand\" is ignored");
}

static void both_spellings_of_fields_are_read(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct pipeline p;
    struct err e;

    edit(&text, "      load:\n", "cachingOptions: {enableCache: true}",
         "caching_options: {enable_cache: true}");
    CHECK_INT(parse(&a, buf_str(&text), false, &p, &e), 0);
    CHECK(p.root->dag->tasks[0].cache_enabled);
}

static void what_is_not_run_yet_is_named(void)
{
    static const struct {
        const char *behind, *find, *put, *want;
    } rows[] = {
        {"      train:\n", "        taskInfo:",
         "        parameterIterator: {itemInput: rows, items: {raw: '[1, 2]'}}\n"
         "        taskInfo:",
         "churn.yaml:76:7: task \"train\": this version does not run loops "
         "over a component that is no DAG yet"},
        {"    exec-train:\n", "command: [train]",
         "command: [train, '{{$.workspace_path}}']",
         "churn.yaml:51:5: executor \"exec-train\" uses {{$.workspace_path}}, and the "
         "pipeline has no workspace (dsl.PipelineConfig(workspace=...))"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf text = {0};
        struct pipeline p;
        struct err e = {.text = "supported"};

        edit(&text, rows[i].behind, rows[i].find, rows[i].put);
        if (parse(&a, buf_str(&text), false, &p, &e) < 0) {
            CHECK_STR(e.text, "");
            continue;
        }
        CHECK_INT(pipeline_supported(&p, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_STR(e.text, rows[i].want);
    }
}

static void add_indented(struct buf *out, const char *text, const char *end)
{
    while (text < end) {
        size_t len = strcspn(text, "\n");

        buf_addf(out, "    %.*s\n", (int)len, text);
        text += len + 1;
    }
}

static void wrapped_specs_are_found(void)
{
    const char *platform = strstr(good, "---\n");
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf manifest = {0}, request = {0};
    struct pipeline p;
    struct err e = {.text = ""};

    buf_adds(&manifest,
             "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: Pipeline\n"
             "metadata: {name: churn}\n---\n"
             "apiVersion: pipelines.kubeflow.org/v2beta1\nkind: PipelineVersion\n"
             "metadata: {name: churn-1}\nspec:\n  pipelineSpec:\n");
    add_indented(&manifest, good, platform);
    buf_adds(&manifest, "  platformSpec:\n");
    add_indented(&manifest, platform + 4, platform + strlen(platform));
    CHECK_INT(parse(&a, buf_str(&manifest), false, &p, &e), 0);
    CHECK_STR(e.text, "");
    CHECK_INT(p.deadline_ms, 3600000);

    buf_adds(
        &request,
        "runtimeConfig: {parameterValues: {rows: 7}, gcsOutputDirectory: 'gs://b'}\n"
        "pipeline_spec:\n");
    add_indented(&request, good, platform);
    CHECK_INT(parse(&a, buf_str(&request), false, &p, &e), 0);
    CHECK_STR(e.text, "");
    CHECK_STR(p.default_root.ptr, "gs://b");
    CHECK(p.root->in.params[0].default_value->n == 7);
}

static void what_is_no_pipeline_is_called_by_its_name(void)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "churn.yaml: no pipeline in this file: it is empty"},
        {"# nothing but comments\n",
         "churn.yaml: no pipeline in this file: it is empty"},
        {"---\n---\n", "churn.yaml: no pipeline in this file: it is empty"},
        {"platforms: {}\n", "churn.yaml: no pipeline spec in this file"},
        {"just text\n", "churn.yaml:1:1: no pipeline: want a map, got plain text"},
        {"- 1\n", "churn.yaml:1:1: no pipeline: want a map, got a list"},
        {"apiVersion: argoproj.io/v1alpha1\nkind: Workflow\n",
         "churn.yaml:1:13: apiVersion: an Argo workflow, as KFP v1 wrote them: compile "
         "with kfp 2 "
         "or newer"},
        {"apiVersion: v1\nkind: Pod\n",
         "churn.yaml:1:13: apiVersion: a Kubernetes object that is no pipeline"},
        {"name: x\nimplementation: {container: {image: y}}\n",
         "churn.yaml:1:1: a component, not a pipeline: compile a pipeline that uses "
         "it"},
        {"pipelineInfo: {name: x}\nschemaVersion: 2.1.0\n",
         "churn.yaml:1:1: the pipeline has no root"},
        {"pipelineInfo: {name: x}\nschemaVersion: 2.1.0\nroot: {dag: {tasks: {}}}\n",
         "churn.yaml:3:13: root.dag: a dag without tasks"},
        {"pipelineInfo: {name: x}\nroot: 3\n",
         "churn.yaml:1:1: schemaVersion is \"\": only 2.1.0 is understood"},
        {"pipelineInfo: {name: x}\nschemaVersion: 2.1.0\nroot: 3\n",
         "churn.yaml:3:7: root: want a map, got the number 3"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct pipeline p;
        struct err e = {.text = "accepted"};

        CHECK_INT(parse(&a, rows[i].text, false, &p, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_STR(e.text, rows[i].want);
    }
}

/* level k holds ten tasks of level k + 1: 10^n task instances in a few kilobytes */
static void tower(struct buf *b, int levels, int width)
{
    buf_adds(b, "pipelineInfo: {name: tower}\nschemaVersion: 2.1.0\n"
                "deploymentSpec: {executors: {x: {container: {image: i}}}}\n"
                "root: {dag: {tasks: {t: {componentRef: {name: c0}}}}}\ncomponents:\n");
    for (int i = 0; i < levels; i++) {
        buf_addf(b, "  c%d:\n    dag:\n      tasks:\n", i);
        for (int k = 0; k < width; k++)
            buf_addf(b, "        t%d: {componentRef: {name: c%d}}\n", k, i + 1);
    }
    buf_addf(b, "  c%d: {executorLabel: x}\n", levels);
}

static void towers_of_pipelines_are_bounded(void)
{
    static const struct {
        int levels, width;
        enum err_code code;
        const char *want;
    } rows[] = {
        {5, 10, ERR_NONE, ""},
        {20, 10, ERR_LIMIT, "more than 1000000 tasks"},
        {98, 1, ERR_NONE, ""},
        {500, 1, ERR_LIMIT, "pipelines nested more than 100 levels deep"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf text = {0};
        struct pipeline p;
        struct err e = {.text = ""};

        tower(&text, rows[i].levels, rows[i].width);
        CHECK_INT(parse(&a, buf_str(&text), false, &p, &e), rows[i].code ? -1 : 0);
        CHECK_INT(e.code, rows[i].code);
        CHECK(strstr(e.text, rows[i].want) != NULL);
    }
}

static void ten_thousand_tasks_are_read(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct pipeline p;
    struct err e = {.text = ""};

    buf_adds(&text, "pipelineInfo: {name: long}\nschemaVersion: 2.1.0\n"
                    "deploymentSpec: {executors: {x: {container: {image: i}}}}\n"
                    "components: {c: {executorLabel: x}}\nroot:\n  dag:\n    tasks:\n");
    for (int i = 0; i < 10000; i++) {
        buf_addf(&text, "      t%d:\n        componentRef: {name: c}\n", i);
        if (i)
            buf_addf(&text, "        dependentTasks: [t%d]\n", i - 1);
    }
    CHECK_INT(parse(&a, buf_str(&text), false, &p, &e), 0);
    CHECK_STR(e.text, "");
    CHECK_INT(p.root->dag->n_tasks, 10000);
    CHECK_INT(p.root->dag->tasks[9999].deps[0], 9998);
    CHECK(a.used_bytes < 16 << 20);
}

int main(void)
{
    a_good_pipeline_is_read();
    each_mistake_is_named_with_its_place();
    unknown_fields_are_only_noted_when_lenient();
    unknown_fields_of_containers_are_noted();
    both_spellings_of_fields_are_read();
    what_is_not_run_yet_is_named();
    wrapped_specs_are_found();
    what_is_no_pipeline_is_called_by_its_name();
    towers_of_pipelines_are_bounded();
    ten_thousand_tasks_are_read();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Placeholders: what is one, what a command line becomes */
#include "t.h"

#include "base/mem.h"
#include "spec/placeholder.h"

static const char *const kinds[] = {
    [PH_EXECUTOR_INPUT] = "input",
    [PH_JSON_ESCAPE] = "escape",
    [PH_INPUT_PARAM] = "in-param",
    [PH_INPUT_ARTIFACT] = "in-art",
    [PH_INPUT_ARTIFACT_URI] = "in-uri",
    [PH_INPUT_ARTIFACT_PATH] = "in-path",
    [PH_INPUT_ARTIFACT_META] = "in-meta",
    [PH_OUTPUT_PARAM_FILE] = "out-file",
    [PH_OUTPUT_ARTIFACT_URI] = "out-uri",
    [PH_OUTPUT_ARTIFACT_PATH] = "out-path",
    [PH_OUTPUT_ARTIFACT_META] = "out-meta",
    [PH_OUTPUT_FILE] = "output-file",
    [PH_JOB_NAME] = "job",
    [PH_JOB_RESOURCE_NAME] = "job-resource",
    [PH_JOB_UUID] = "job-uuid",
    [PH_TASK_NAME] = "task",
    [PH_TASK_UUID] = "task-uuid",
    [PH_CREATE_TIME] = "create",
    [PH_SCHEDULE_TIME] = "schedule",
    [PH_WORKSPACE] = "workspace",
    [PH_PIPELINE_ROOT] = "root",
};

/* answers with the kind and names; leaves those named "skip", fails on "fail" */
static int answer(void *ctx, const struct placeholder *ph, struct buf *out,
                  struct err *e)
{
    (void)ctx;
    if (str_eqz(ph->name, "skip"))
        return 0;
    if (str_eqz(ph->name, "fail"))
        return err_set(e, ERR_MISSING, "no such thing");
    if (str_eqz(ph->name, "evil")) {
        buf_adds(out, "{{$.pipeline_job_name}}\"'");
        return 1;
    }
    if (str_eqz(ph->name, "nul")) {
        buf_addc(out, '\0');
        return 1;
    }
    buf_addf(out, "<%s", kinds[ph->kind]);
    if (ph->name.len)
        buf_addf(out, " %.*s", STR_ARG(ph->name));
    if (ph->key.len)
        buf_addf(out, " %.*s", STR_ARG(ph->key));
    if (ph->times)
        buf_addf(out, " %u", ph->times);
    buf_adds(out, ">");
    return 1;
}

static void every_form_is_known(void)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"{{$}}", "<input>"},
        {"a {{$}} b{{$}}", "a <input> b<input>"},
        {"{{$.json_escape[1]}}", "<escape 1>"},
        {"{{$.inputs.parameters['n']}}", "<in-param n>"},
        {"{{$.inputs.parameters['pipelinechannel--a-b.c d']}}",
         "<in-param pipelinechannel--a-b.c d>"},
        {"{{$.inputs.artifacts['x']}}", "<in-art x>"},
        {"{{$.inputs.artifacts['x'].uri}}", "<in-uri x>"},
        {"{{$.inputs.artifacts['x'].path}}", "<in-path x>"},
        {"{{$.inputs.artifacts['x'].metadata}}", "<in-meta x>"},
        {"{{$.inputs.artifacts['x'].metadata['k']}}", "<in-meta x k>"},
        {"{{$.outputs.parameters['o'].output_file}}", "<out-file o>"},
        {"{{$.outputs.artifacts['o'].uri}}", "<out-uri o>"},
        {"{{$.outputs.artifacts['o'].path}}", "<out-path o>"},
        {"{{$.outputs.artifacts['o'].metadata['k']}}", "<out-meta o k>"},
        {"{{$.outputs.output_file}}", "<output-file>"},
        {"{{$.pipeline_job_name}}{{$.pipeline_job_resource_name}}",
         "<job><job-resource>"},
        {"{{$.pipeline_job_uuid}}{{$.pipeline_task_uuid}}", "<job-uuid><task-uuid>"},
        {"{{$.pipeline_task_name}}", "<task>"},
        {"{{$.pipeline_job_create_time_utc}}", "<create>"},
        {"{{$.pipeline_job_schedule_time_utc}}", "<schedule>"},
        {"{{$.workspace_path}}/x", "<workspace>/x"},
        {"{{$.pipeline_root}}", "<root>"},
        /* none of them: left as they are */
        {"", ""},
        {"plain {{ jinja }} {$} {{", "plain {{ jinja }} {$} {{"},
        {"{{$", "{{$"},
        {"{{$.inputs.parameters['n'}}", "{{$.inputs.parameters['n'}}"},
        {"{{$.inputs.parameters[\"n\"]}}", "{{$.inputs.parameters[\"n\"]}}"},
        {"{{$.inputs.parameters['n']}", "{{$.inputs.parameters['n']}"},
        {"{{$.outputs.parameters['n']}}", "{{$.outputs.parameters['n']}}"},
        {"{{$.outputs.artifacts['n']}}", "{{$.outputs.artifacts['n']}}"},
        {"{{$.json_escape[]}}{{$.json_escape[99]}}",
         "{{$.json_escape[]}}{{$.json_escape[99]}}"},
        {"{{$.scheduledTime.strftime('%Y')}}", "{{$.scheduledTime.strftime('%Y')}}"},
        {"{{$.inputs.parameters['skip']}}!", "{{$.inputs.parameters['skip']}}!"},
        {"{{$.bad {{$}}", "{{$.bad <input>"},
        {"{{$.inputs.parameters['{{$}}']}}", "<in-param {{$}}>"},
        /* what was put in is not looked at again */
        {"{{$.inputs.parameters['evil']}}", "{{$.pipeline_job_name}}\"'"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf out = {0};
        struct err e;

        CHECK_INT(placeholder_expand(str_of(rows[i].text), answer, NULL, &out, &e), 0);
        CHECK_STR(buf_str(&out), rows[i].want);
    }
}

static void a_failing_answer_ends_it(void)
{
    AUTO_BUF struct buf out = {0};
    struct err e;

    CHECK_INT(placeholder_expand(STR("{{$.inputs.parameters['fail']}}"), answer, NULL,
                                 &out, &e),
              -1);
    CHECK_INT(e.code, ERR_MISSING);
}

static void whole_and_any_are_told_apart(void)
{
    struct placeholder ph = {.times = 77};

    CHECK(!placeholder_whole(STR("{{$.inputs.parameters['n']}} "), &ph));
    CHECK(!placeholder_whole(STR(""), &ph));
    CHECK_INT(ph.times, 77);
    CHECK(placeholder_whole(STR("{{$.inputs.parameters['n']}}"), &ph));
    CHECK_INT(ph.kind, PH_INPUT_PARAM);
    CHECK(str_eqz(ph.name, "n"));
    CHECK(placeholder_any(STR("x{{$}}y")));
    CHECK(!placeholder_any(STR("x{{$.y}}")));
}

static bool is_there(void *ctx, struct str name)
{
    (void)ctx;
    return str_eqz(name, "here");
}

#define IF_HERE "{\"IfPresent\": {\"InputName\": \"here\", "
#define IF_GONE "{\"IfPresent\": {\"InputName\": \"gone\", "

static void command_lines_come_out_as_words(void)
{
    static const struct {
        const char *word;
        const char *want; /* words joined by '|', or the message */
    } rows[] = {
        {"plain", "plain"},
        {"", ""},
        {"--x={{$.inputs.parameters['n']}}", "--x=<in-param n>"},
        {IF_HERE "\"Then\": \"yes\"}}", "yes"},
        {IF_HERE "\"Then\": [\"--a\", \"{{$.inputs.parameters['here']}}\"]}}",
         "--a|<in-param here>"},
        {IF_GONE "\"Then\": \"yes\"}}", NULL},
        {IF_GONE "\"Then\": \"yes\", \"Else\": [\"no\", \"no\"]}}", "no|no"},
        {IF_GONE "\"Then\": \"yes\", \"Else\": null}}", NULL},
        {"  {\"Concat\": [\"a\", \"-\", \"{{$}}\"]} ", "a-<input>"},
        {"{\"Concat\": [\"a\", " IF_GONE "\"Then\": \"b\"}}, " IF_HERE
         "\"Then\": [\"c\", {\"Concat\": [\"d\", \"e\"]}]}}]}",
         "acde"},
        {IF_HERE "\"Then\": [\"x\", " IF_HERE
                 "\"Then\": {\"Concat\": [\"y\", \"z\"]}}}, " IF_GONE
                 "\"Then\": \"q\"}}]}}",
         "x|yz"},
        {"{\"Concat\": [\"{{$.inputs.parameters['evil']}}\"]}",
         "{{$.pipeline_job_name}}\"'"},
        {"{\"IfPresent\":3}",
         "an IfPresent or Concat word: IfPresent wants InputName and Then"},
        {"{\"Concat\":[{\"Other\": 1}]}",
         "an IfPresent or Concat word: want IfPresent or Concat"},
        {"{\"Concat\":[1]}",
         "an IfPresent or Concat word: want a string, or an object of "
         "IfPresent or Concat alone"},
        {"{\"Other\": 1}", "{\"Other\": 1}"},
        {"{{$.inputs.parameters['nul']}}",
         "word 1 of the command line holds a NUL character"},
        {"{{$.inputs.parameters['fail']}}", "no such thing"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf joined = {0};
        struct str words[] = {STR("first"), str_of(rows[i].word), STR("last")};
        struct err e = {.text = ""};
        char **argv = NULL;
        size_t n = 77;
        int rc =
            placeholder_argv_in(&a, words, 3, answer, is_there, NULL, &argv, &n, &e);

        if (rc < 0) {
            CHECK_STR(e.text, rows[i].want);
            CHECK(argv == NULL && n == 77);
            continue;
        }
        CHECK(argv[n] == NULL);
        CHECK_STR(argv[0], "first");
        CHECK_STR(argv[n - 1], "last");
        for (size_t k = 1; k + 1 < n; k++)
            buf_addf(&joined, "%s%s", k > 1 ? "|" : "", argv[k]);
        CHECK_INT(n > 2, rows[i].want != NULL);
        CHECK_STR(buf_str(&joined), rows[i].want ? rows[i].want : "");
    }
}

static void no_words_are_an_empty_line(void)
{
    AUTO_ARENA struct arena a = {0};
    struct err e;
    char **argv = NULL;
    size_t n = 77;

    CHECK_INT(placeholder_argv_in(&a, NULL, 0, answer, is_there, NULL, &argv, &n, &e),
              0);
    CHECK_INT(n, 0);
    CHECK(argv && argv[0] == NULL);
}

static int collect(void *ctx, struct str name, struct err *e)
{
    buf_addf(ctx, "%.*s ", STR_ARG(name));
    return str_eqz(name, "bad") ? err_set(e, ERR_INPUT, "bad one") : 0;
}

static void structured_words_are_checked_in_all_branches(void)
{
    AUTO_BUF struct buf names = {0};
    struct err e = {.text = ""};

    CHECK_INT(placeholder_word_check(STR("{{$}} {\"Concat\""), collect, &names, &e), 0);
    CHECK_INT(placeholder_word_check(STR("{\"Concat\": [" IF_HERE "\"Then\": " IF_GONE
                                         "\"Then\": \"x\"}}, \"Else\": [" IF_HERE
                                         "\"Then\": []}}]}}]}"),
                                     collect, &names, &e),
              0);
    CHECK_STR(buf_str(&names), "here gone here ");
    CHECK_INT(placeholder_word_check(
                  STR("{\"IfPresent\": {\"InputName\": \"bad\", \"Then\": 1}}"),
                  collect, &names, &e),
              -1);
    CHECK_STR(e.text, "bad one");
    CHECK_INT(placeholder_word_check(STR("{\"Concat\": [\"a\""), collect, &names, &e),
              -1);
    CHECK_INT(e.code, ERR_INPUT);
}

static void half_placeholders_cost_no_more(void)
{
    AUTO_BUF struct buf text = {0}, out = {0};
    struct err e;

    for (int i = 0; i < 200000; i++)
        buf_adds(&text, "{{$.inputs.parameters['x");
    CHECK_INT(
        placeholder_expand((struct str){text.ptr, text.len}, answer, NULL, &out, &e),
        0);
    CHECK(out.len == text.len && memcmp(out.ptr, text.ptr, out.len) == 0);
}

int main(void)
{
    every_form_is_known();
    a_failing_answer_ends_it();
    whole_and_any_are_told_apart();
    command_lines_come_out_as_words();
    no_words_are_an_empty_line();
    structured_words_are_checked_in_all_branches();
    half_placeholders_cost_no_more();
    return t_end();
}

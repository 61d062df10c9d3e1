/* SPDX-License-Identifier: Apache-2.0 */
/* run_pip_test.c - pip scripts in compiled commands, and what an image answers
 *
 * With a file as its argument the program checks that file's rows instead
 * (tests/cli/test_pip_oracle.py makes them and asks `packaging` and sh):
 *
 *   marker  MARKER                0|1|none
 *   answer  REQUIREMENT  VERSION  satisfied|unneeded|other|absent|none   by an image
 * with some-package VERSION words   SCRIPT                what pip is to install, each
 * followed by |
 *
 * In SCRIPT and the words \n is a new line, \t a tab, \\ a backslash.
 */
#include <stdio.h>
#include <stdlib.h>

#include "run/pep508.h"
#include "run/pip.h"
#include "t.h"

#define KFP_LINE(v)                                                                    \
    "python3 -m pip install --quiet --no-warn-script-location 'kfp==" v                \
    "' '--no-deps' 'typing-extensions>=3.7.4,<5; python_version<\"3.9\"'"
#define FIND_PIP                                                                       \
    "\nif ! [ -x \"$(command -v pip)\" ]; then\n"                                      \
    "    python3 -m ensurepip || python3 -m ensurepip --user || apt-get install "      \
    "python3-pip\nfi\n\nPIP_DISABLE_PIP_VERSION_CHECK=1 "
#define PIP "python3 -m pip install --quiet --no-warn-script-location "
#define GO " && \"$0\" \"$@\"\n"
#define TYPING "typing-extensions>=3.7.4,<5; python_version<\"3.9\""

/* ---- an image ------------------------------------------------------------------- */

static struct named_value linux_markers[] = {
    {STR("os_name"), {.kind = VALUE_STRING, .s = STR("posix")}},
    {STR("sys_platform"), {.kind = VALUE_STRING, .s = STR("linux")}},
    {STR("platform_machine"), {.kind = VALUE_STRING, .s = STR("x86_64")}},
    {STR("platform_system"), {.kind = VALUE_STRING, .s = STR("Linux")}},
    {STR("platform_release"), {.kind = VALUE_STRING, .s = STR("6.1.0-18-amd64")}},
    {STR("platform_version"), {.kind = VALUE_STRING, .s = STR("#1 SMP Debian 6.1.76")}},
    {STR("platform_python_implementation"),
     {.kind = VALUE_STRING, .s = STR("CPython")}},
    {STR("python_version"), {.kind = VALUE_STRING, .s = STR("3.11")}},
    {STR("python_full_version"), {.kind = VALUE_STRING, .s = STR("3.11.7")}},
    {STR("implementation_name"), {.kind = VALUE_STRING, .s = STR("cpython")}},
    {STR("implementation_version"), {.kind = VALUE_STRING, .s = STR("3.11.7")}},
};

static struct image_facts image_with(struct dist *dists, size_t n)
{
    return (struct image_facts){.has_python = true,
                                .dists = dists,
                                .n_dists = n,
                                .markers = linux_markers,
                                .n_markers = N_ELEMS(linux_markers)};
}

static const char *answer(const struct image_facts *f, const char *requirement,
                          struct str *have)
{
    static const char *const names[] = {[PIP_SATISFIED] = "satisfied",
                                        [PIP_NOT_NEEDED] = "unneeded",
                                        [PIP_OTHER_VERSION] = "other",
                                        [PIP_ABSENT] = "absent"};
    enum pip_answer out = PIP_SATISFIED;
    struct err e = {0};

    if (pip_answer(f, str_of(requirement), &out, have, &e) < 0)
        return e.code == ERR_INPUT && e.text[0] ? "none"
                                                : "an error that is no ERR_INPUT";
    return names[out];
}

static const char *marker(const char *text)
{
    bool out = false;
    struct err e = {0};

    if (pep508_marker(str_of(text), linux_markers, N_ELEMS(linux_markers), &out, &e) <
        0)
        return e.code == ERR_INPUT ? "none" : "an error that is no ERR_INPUT";
    return out ? "1" : "0";
}

/* ---- a command ------------------------------------------------------------------ */

/* "3 kfp: kfp==2.14.3* pandas": words to skip, is kfp wanted, requirements, those of
 * kfp's line with a star; "not found"; "error: TEXT" */
static void describe(struct arena *a, const struct str *command, size_t n,
                     struct buf *out)
{
    struct pip_preamble p;
    struct err e = {0};

    if (pip_preamble_in(a, command, n, &p, &e) < 0) {
        buf_addf(out, "error: %s%s", e.code == ERR_INPUT ? "" : "(not ERR_INPUT) ",
                 e.text);
        return;
    }
    if (!p.found) {
        buf_adds(out, p.skip || p.n_reqs || p.wants_kfp ? "not found, but filled"
                                                        : "not found");
        return;
    }
    buf_addf(out, "%zu%s:", p.skip, p.wants_kfp ? " kfp" : "");
    for (size_t i = 0; i < p.n_reqs; i++)
        buf_addf(out, " %.*s%s", STR_ARG(p.reqs[i].text),
                 p.reqs[i].kfp_line ? "*" : "");
}

static const char *preamble(struct buf *out, const char *script)
{
    AUTO_ARENA struct arena a = {0};
    struct str command[] = {STR("sh"),  STR("-c"),  str_of(script), STR("sh"),
                            STR("-ec"), STR("run"), STR("source")};

    buf_reset(out);
    describe(&a, command, N_ELEMS(command), out);
    return buf_str(out);
}

static void check_preamble(const char *script, const char *want)
{
    AUTO_BUF struct buf out;

    buf_init(&out, 0);
    CHECK_STR(preamble(&out, script), want);
}

static void check_refused(const char *script, const char *want_in_text)
{
    AUTO_BUF struct buf out;

    buf_init(&out, 0);
    (void)preamble(&out, script);
    if (!str_starts((struct str){buf_str(&out), out.len}, "error: the pip script") ||
        !strstr(buf_str(&out), want_in_text))
        printf("%s\n  got %s\n", script, buf_str(&out));
    CHECK(strncmp(buf_str(&out), "error: the pip script", 21) == 0);
    CHECK(strstr(buf_str(&out), want_in_text) != NULL);
}

/* ---- rows of a file ------------------------------------------------------------- */

static void unescape(char *s)
{
    char *to = s;

    for (; *s; s++)
        *to++ = *s != '\\' ? *s : *++s == 'n' ? '\n' : *s == 't' ? '\t' : *s;
    *to = '\0';
}

static void words_of(const char *script, struct buf *out)
{
    AUTO_ARENA struct arena a = {0};
    struct str command[] = {STR("sh"), STR("-c"), str_of(script)};
    struct pip_preamble p;
    struct err e = {0};

    if (pip_preamble_in(&a, command, N_ELEMS(command), &p, &e) < 0)
        buf_addf(out, "error: %s", e.text);
    for (size_t i = 0; !e.code && i < p.n_reqs; i++)
        buf_addf(out, "%.*s|", STR_ARG(p.reqs[i].text));
}

static void check_row(char *line, int number)
{
    AUTO_BUF struct buf got;
    struct dist dist = {STR("some-package"), STR("")};
    struct image_facts f = image_with(&dist, 1);
    struct str have;
    char *kind = strsep(&line, "\t"), *text = strsep(&line, "\t"), *want;

    buf_init(&got, 0);
    if (strcmp(kind, "answer") == 0) {
        dist.version = str_of(strsep(&line, "\t"));
        buf_adds(&got, answer(&f, text, &have));
    } else if (strcmp(kind, "marker") == 0) {
        buf_adds(&got, marker(text));
    } else {
        unescape(text);
        words_of(text, &got);
    }
    want = strsep(&line, "\t");
    unescape(want);
    if (strcmp(buf_str(&got), want) == 0) {
        t_passed++;
        return;
    }
    t_failed++;
    printf("row %d: %s %s %.*s is %s, want %s\n", number, kind, text,
           STR_ARG(dist.version), buf_str(&got), want);
}

static int check_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int number = 0;

    if (!f) {
        perror(path);
        return 2;
    }
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        check_row(line, ++number);
    }
    free(line);
    (void)fclose(f);
    return t_end();
}

/* ---- scripts of the SDKs -------------------------------------------------------- */

static void every_compiled_form_is_recognised(void)
{
    check_preamble(FIND_PIP KFP_LINE("2.14.3") GO, "3 kfp: kfp==2.14.3* " TYPING "*");
    /* packages after kfp's line (to 2.9), before it (since) */
    check_preamble(FIND_PIP KFP_LINE("2.9.0") "  &&  " PIP
                                              "'pandas==2.2.0' 'scikit-learn'" GO,
                   "3 kfp: kfp==2.9.0* " TYPING "* pandas==2.2.0 scikit-learn");
    check_preamble(FIND_PIP PIP "'nbclient>=0.10,<1' 'jupyter_client>=7,<9'"
                                "  &&  " KFP_LINE("2.14.2") GO,
                   "3 kfp: nbclient>=0.10,<1 jupyter_client>=7,<9 kfp==2.14.2* " TYPING
                   "*");
    /* install_kfp_package=False */
    check_preamble(FIND_PIP PIP "'requests'" GO, "3: requests");
    /* index options on both lines, in both forms */
    check_preamble(
        FIND_PIP PIP
        "--index-url https://a/simple --extra-index-url https://b --trusted-host "
        "https://a 'x'  &&  python3 -m pip install --quiet --no-warn-script-location "
        "--index-url=https://a/simple --trusted-host=https://a -f/w --find-links /w "
        "'kfp==2.14.3' '--no-deps' '" TYPING "'" GO,
        "3 kfp: x kfp==2.14.3* " TYPING "*");
    /* use_venv, with packages of the user before it */
    check_preamble(FIND_PIP PIP "'x'  && \nexport PIP_DISABLE_PIP_VERSION_CHECK=1\n"
                                "tmp=$(mktemp -d)\n"
                                "python3 -m venv \"$tmp/venv\" --system-site-packages\n"
                                ". \"$tmp/venv/bin/activate\"\n " KFP_LINE("2.14.6") GO,
                   "3 kfp: x kfp==2.14.6* " TYPING "*");
    /* components of v1: the same once more with --user */
    check_preamble("(PIP_DISABLE_PIP_VERSION_CHECK=1 " PIP "'dill==0.3.4' 'pandas' || "
                   "PIP_DISABLE_PIP_VERSION_CHECK=1 " PIP
                   "'dill==0.3.4' 'pandas' --user)"
                   " && \"$0\" \"$@\"",
                   "3: dill==0.3.4 pandas");
}

static void old_sdks_put_kfp_at_the_end_of_their_one_line(void)
{
    check_preamble(FIND_PIP
                   "python3 -m pip install --quiet     --no-warn-script-location "
                   "'pandas' 'kfp==2.0.1'" GO,
                   "3 kfp: pandas kfp==2.0.1*");
    check_preamble(FIND_PIP PIP "'kfp==2.0.0-beta.16'" GO,
                   "3 kfp: kfp==2.0.0-beta.16*");
    check_preamble(FIND_PIP PIP "'kfp==1.8.22'" GO, "3 kfp: kfp==1.8.22*");
    check_preamble(FIND_PIP
                   "python3 -m pip install --quiet \\\n    --no-warn-script-location "
                   "'kfp==2.0.0b1'" GO,
                   "3 kfp: kfp==2.0.0b1*");
    /* one listed by the user as well stays his */
    check_preamble(FIND_PIP PIP "'kfp==2.0.0' 'kfp==2.0.0'" GO,
                   "3 kfp: kfp==2.0.0 kfp==2.0.0*");
}

static void a_kfp_of_the_user_is_his(void)
{
    check_preamble(FIND_PIP PIP "'kfp==2.14.3'" GO, "3: kfp==2.14.3");
    check_preamble(FIND_PIP PIP "'kfp==2.14.3' 'pandas'" GO, "3: kfp==2.14.3 pandas");
    check_preamble(FIND_PIP PIP "'pandas' 'kfp[kubernetes]>=2'" GO,
                   "3: pandas kfp[kubernetes]>=2");
    check_preamble(FIND_PIP PIP "'kfp-kubernetes==2.0.0'" GO,
                   "3: kfp-kubernetes==2.0.0");
    check_preamble(FIND_PIP PIP "'kfp==2.14.3' '--no-deps' 'pandas'" GO,
                   "3: kfp==2.14.3 pandas");
    check_preamble(FIND_PIP PIP "'pandas'  &&  " PIP "'kfp>=2'" GO, "3: pandas kfp>=2");
}

static void kfp_package_path_is_answered_like_kfp(void)
{
#define REPO "git+https://github.com/kubeflow/pipelines"
    check_preamble(FIND_PIP PIP "'" REPO ".git@master#subdirectory=sdk/python'" GO,
                   "3 kfp: " REPO ".git@master#subdirectory=sdk/python*");
    check_preamble(FIND_PIP PIP "'x'  &&  " PIP "'" REPO
                                "#egg=kfp&subdirectory=sdk/python'" GO,
                   "3 kfp: x " REPO "#egg=kfp&subdirectory=sdk/python*");
    check_preamble(FIND_PIP PIP "'kfp @ " REPO "@main'" GO,
                   "3 kfp: kfp @ " REPO "@main*");
    check_preamble(FIND_PIP PIP "'./dist/kfp-2.7.0.tar.gz'" GO,
                   "3 kfp: ./dist/kfp-2.7.0.tar.gz*");
    /* packages of the user are all on one line, so this one is the component's */
    check_preamble(FIND_PIP PIP "'x'  &&  " PIP "'kfp==2.7.0'" GO,
                   "3 kfp: x kfp==2.7.0*");
    /* other projects of that repository are no kfp */
    check_preamble(FIND_PIP PIP "'" REPO
                                "@main#subdirectory=components/google-cloud'" GO,
                   "3: " REPO "@main#subdirectory=components/google-cloud");
    check_preamble(FIND_PIP PIP "'" REPO "#egg=kfp-azure-databricks&subdirectory=x'" GO,
                   "3: " REPO "#egg=kfp-azure-databricks&subdirectory=x");
}

/* ---- shells --------------------------------------------------------------------- */

static void words_are_cut_as_the_shell_cuts_them(void)
{
    check_preamble("pip install 'a'\"b\"\\c 'd e' \"f'g\" 'h\"i' \"j\\\"k\\\\l\\m\"" GO,
                   "3: abc d e f'g h\"i j\"k\\l\\m");
    check_preamble("pip install a\\\nb \\\n  c # d e\n\"$0\" \"$@\"", "3: ab c");
    check_preamble("# pip install a\npip install b#c '#d'; \"$0\" \"$@\"", "3: b#c #d");
    check_preamble("pip install pandas>=2 >/dev/null 2>&1" GO, "3: pandas");
    check_preamble("pip install 2 a 2>>log" GO, "3: 2 a");
    check_preamble("pip install 'pandas>=2' '*' '$x' \\$y a~=1.0 b==1.*" GO,
                   "3: pandas>=2 * $x $y a~=1.0 b==1.*");
    check_preamble("pip install -q #x\n\"$0\" \"$@\"", "3:");
    check_preamble("pip install ''" GO, "3: ");
}

static void programs_and_options_may_be_written_in_many_ways(void)
{
    static const char *const same[] = {
        "pip install a b",
        "pip3 install a b",
        "python -m pip install a b",
        "/usr/bin/python3.11 -m pip install a b",
        "A=1 B='2 3' pip install a b",
        "pip -q install a b",
        "pip install -qqU a -i https://x/simple -fhttps://y b",
        "pip install a -- b",
        "pip install --timeout 9 --retries=3 --no-cache-dir --break-system-packages a "
        "b",
        "pip install a && pip install b",
        "set -e\nexport PIP_NO_INPUT=1; PIP_QUIET=1\npip install a\npip install b || "
        "true",
        "((pip install a) && (pip install b))",
        "pip install a b || (pip install c && pip install d || pip install e)",
        "true || pip install c; pip install a b",
    };
    AUTO_BUF struct buf script;

    buf_init(&script, 0);
    for (size_t i = 0; i < N_ELEMS(same); i++) {
        buf_reset(&script);
        buf_addf(&script, "%s && exec \"$0\" \"$@\"", same[i]);
        check_preamble(buf_str(&script), "3: a b");
    }
}

static void the_shell_may_have_another_name(void)
{
    static const char *const shells[][2] = {
        {"bash", "-c"}, {"/bin/sh", "-ec"}, {"/usr/bin/bash", "-euxc"}, {"dash", "-ce"},
        {"zsh", "-c"},  {"sh", "-lc"},      {"python3", "-c"},          {"sh", "c"},
    };

    for (size_t i = 0; i < N_ELEMS(shells); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf out;
        struct str command[] = {str_of(shells[i][0]), str_of(shells[i][1]),
                                STR("pip install x && \"$0\" \"$@\"")};
        buf_init(&out, 0);
        describe(&a, command, N_ELEMS(command), &out);
        CHECK_STR(buf_str(&out), i < 3 ? "3: x" : "not found");
    }
}

static void two_scripts_in_a_row_both_count(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf out;
    struct str command[] = {STR("sh"), STR("-c"),  STR("pip install a" GO),
                            STR("sh"), STR("-c"),  STR(PIP "'b' 'kfp==2.0.1'" GO),
                            STR("sh"), STR("-ec"), STR("run \"$0\" \"$@\"")};

    buf_init(&out, 0);
    for (size_t n = 0; n <= N_ELEMS(command); n++) {
        buf_reset(&out);
        describe(&a, command, n, &out);
        CHECK_STR(buf_str(&out), n < 3   ? "not found"
                                 : n < 6 ? "3: a"
                                         : "6 kfp: a b kfp==2.0.1*");
    }
}

static void a_command_of_the_user_is_left_alone(void)
{
    static const char *const not [] = {
        "pip install x && python train.py",
        "pip install x && \"$0\"",
        "pip install x && '$0' '$@'",
        "echo pip install x && \"$0\" \"$@\"",
        "echo \"pip install x\"; \"$0\" \"$@\"",
        "# pip install x\n\"$0\" \"$@\"",
        "apt-get install pip-tools && \"$0\" \"$@\"",
        "\"$0\" \"$@\"",
        "",
    };

    for (size_t i = 0; i < N_ELEMS(not ); i++)
        check_preamble(not [i], "not found");
}

static void a_script_that_does_more_is_refused_by_name(void)
{
    check_refused("apt-get install -y git && pip install x" GO,
                  "\"apt-get install -y git\"");
    check_refused("pip install x && export TOKEN=1" GO, "\"export TOKEN=1\"");
    check_refused("pip install x; cd /src" GO, "\"cd /src\"");
    check_refused("pip install x; PATH=/x" GO, "\"PATH=/x\"");
    check_refused("pip uninstall -y x && pip install y" GO, "pip uninstall");
    check_refused("pip install -r requirements.txt" GO, "-r reads a file");
    check_refused("pip install --constraint=c.txt x" GO,
                  "--constraint=c.txt reads a file");
    check_refused("pip install --target /x y" GO, "--target is not understood");
    check_refused("pip install -qX y" GO, "-qX is not understood");
    check_refused("pip install $PACKAGES" GO, "install $PACKAGES, which");
    check_refused("pip install \"x==${V}\"" GO, "install x==${V}, which");
    check_refused("pip install `cat list`" GO, "install `cat list`, which");
    check_refused("yes | pip install x" GO, "it uses |");
    check_refused("pip install x <<EOF\nEOF\n\"$0\" \"$@\"", "it uses <<");
    check_refused("pip install x & \"$0\" \"$@\"", "it uses &");
    check_refused("pip install x || \"$0\" \"$@\"", "only when pip does not work");
    check_refused("pip install 'x && \"$0\" \"$@\"", "' is not closed");
    check_refused("pip install $(x \"$(y)\" && \"$0\" \"$@\"", "$( is not closed");
    check_refused("(pip install x" GO, "( without a )");
    check_refused("pip install x)" GO, ") without a (");
}

/* ---- answers -------------------------------------------------------------------- */

static void an_image_answers_each_requirement(void)
{
    static const char *const rows[][3] = {
        {"pandas", "satisfied", "2.2.3"},
        {"Pandas >= 2, < 3", "satisfied", "2.2.3"},
        {"pandas==2.2.*", "satisfied", "2.2.3"},
        {"pandas==2.2.0", "other", "2.2.3"},
        {"pandas[sql,parquet]~=2.1", "satisfied", "2.2.3"},
        {"pandas (>=3)", "other", "2.2.3"},
        {"scikit.learn", "satisfied", "1.6.0"},
        {"SCIKIT__learn>1.5", "satisfied", "1.6.0"},
        {"torch==2.1", "satisfied", "2.1+cpu"},
        {"nightly>=1.0", "satisfied",
         "1.1.dev3"}, /* pip keeps an installed pre-release */
        {"nightly<1.1", "other", "1.1.dev3"},
        {"odd", "satisfied", "build-7"},
        {"odd>0", "other", "build-7"},
        {"odd===build-7", "satisfied", "build-7"},
        {"xgboost", "absent", ""},
        {"xgboost; python_version<'3.9'", "unneeded", ""},
        {"pandas==1; python_version<'3.9'", "unneeded", "2.2.3"},
        {"pandas==2.2.3; sys_platform=='linux' and python_version>='3.9'", "satisfied",
         "2.2.3"},
        {TYPING, "unneeded", ""},
        {"xgboost; extra=='gpu'", "unneeded", ""},
    };
    struct dist dists[] = {{STR("pandas"), STR("2.2.3")},
                           {STR("scikit-learn"), STR("1.6.0")},
                           {STR("torch"), STR("2.1+cpu")},
                           {STR("nightly"), STR("1.1.dev3")},
                           {STR("odd"), STR("build-7")}};
    struct image_facts f = image_with(dists, N_ELEMS(dists));

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct str have = STR("?");
        CHECK_STR(answer(&f, rows[i][0], &have), rows[i][1]);
        CHECK(str_eqz(have, rows[i][2]));
    }
}

static void an_image_without_python_has_nothing(void)
{
    struct image_facts f = {0};
    struct str have;

    CHECK_STR(answer(&f, "pandas", &have), "absent");
    CHECK_STR(answer(&f, "pandas; python_version<'3'", &have), "absent");
    CHECK_STR(answer(&f, "pandas;", &have), "none");
}

static void what_cannot_be_read_is_named(void)
{
    static const char *const rows[][2] = {
        {"git+https://host/x.git@main", "cannot be answered offline"},
        {"https://host/x-1.0-py3-none-any.whl", "cannot be answered offline"},
        {"./wheels/x", "cannot be answered offline"},
        {"/wheels/x", "cannot be answered offline"},
        {"x-1.0-py3-none-any.whl", "cannot be answered offline"},
        {"x @ https://host/x.whl ; python_version>'3'", "cannot be answered offline"},
        {"", "no package name"},
        {"==1.0", "no package name"},
        {"{{$.inputs.parameters['p']}}", "no package name"},
        {"x=1.0", "\"=1.0\" is no version specifier"},
        {"x>=1.*", "\">=1.*\" is no version specifier"},
        {"x 1.0", "\"1.0\" is no version specifier"},
        {"x>=1,,<2", "\"\" is no version specifier"},
        {"x (>=1", "not closed"},
        {"x (>=1) y", "\"y\" is one thing too many"},
        {"x[a", "not closed"},
        {"x[a b]", "\"a b\" is no name of an extra"},
        {"x[a,]", "ends in a comma"},
        {"x @", "no URL"},
        {"x;", "no marker"},
        {"x; python_version", "want an operator"},
        {"x; python_version >", "missing at its end"},
        {"x; python == '3'", "\"python\" is no variable"},
        {"x; python_version > '3", "not closed"},
        {"x; python_version > '3' python_version < '4'", "want \"and\" or \"or\""},
        {"x; (python_version > '3'", "a ( is not closed"},
        {"x; python_version not '3'", "want \"in\""},
        {"x; sys_platform ~= 'lin'", "wants versions"},
        {"x; python_version => '3'", "want an operator"},
        {"x; 3 < python_version", "\"3\" is no variable"},
    };
    struct image_facts f = image_with(NULL, 0);

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        enum pip_answer out = PIP_OTHER_VERSION;
        struct str have = STR("?");
        struct err e = {0};
        CHECK_INT(pip_answer(&f, str_of(rows[i][0]), &out, &have, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        if (!strstr(e.text, rows[i][1]))
            printf("%s: %s\n", rows[i][0], e.text);
        CHECK(strstr(e.text, rows[i][1]) != NULL);
        CHECK_INT(out, PIP_OTHER_VERSION); /* untouched */
    }
}

static void markers_compare_versions_as_versions_and_texts_as_texts(void)
{
    static const char *const rows[][2] = {
        {"python_version < '3.9'", "0"}, /* as texts 3.11 would be below */
        {"python_version >= \"3.9\"", "1"},
        {"'3.9' <= python_version", "1"},
        {"python_version == '3.*'", "1"},
        {"python_full_version ~= '3.11.2'", "1"},
        {"python_version in '3.10 3.11'", "1"},
        {"python_version not in '3.10 3.11'", "0"},
        {"python_version not\tin '3.9'", "1"},
        {"'linux' in sys_platform", "1"},
        {"sys_platform == 'win32' or os_name == 'posix'", "1"},
        {"sys_platform == 'win32' or os_name == 'posix' and python_version < '3'", "0"},
        {"(sys_platform == 'win32' or os_name == 'posix') and python_version > '3'",
         "1"},
        {"((((os_name=='posix'))))", "1"},
        {"platform_release >= '5'", "1"}, /* 6.1.0-18-amd64 is no version: texts */
        {"platform_machine != 'arm64'", "1"},
        {"os.name == 'posix' and python_implementation == 'CPython'", "1"},
        {"implementation_name === 'cpython'", "1"},
        {"extra == 'x' or extra == ''", "1"},
        {"'a' < 'b'", "1"},
        {"os_name=='posix'and os_name=='nt'", "0"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        if (strcmp(marker(rows[i][0]), rows[i][1]) != 0)
            printf("%s\n", rows[i][0]);
        CHECK_STR(marker(rows[i][0]), rows[i][1]);
    }
}

static void nesting_has_an_end(void)
{
    AUTO_BUF struct buf text;

    for (int depth = 40; depth <= 100000; depth *= 50) {
        buf_init(&text, 0);
        for (int i = 0; i < depth; i++)
            buf_addc(&text, '(');
        buf_adds(&text, "os_name=='posix'");
        for (int i = 0; i < depth; i++)
            buf_addc(&text, ')');
        CHECK_STR(marker(buf_str(&text)), depth == 40 ? "1" : "none");

        buf_reset(&text);
        for (int i = 0; i < depth; i++)
            buf_addc(&text, '(');
        buf_adds(&text, "pip install x && \"$0\" \"$@\"");
        check_refused(buf_str(&text), depth == 40 ? "( without a )" : "nested deeper");

        buf_reset(&text);
        buf_adds(&text, "pip install ");
        for (int i = 0; i < depth; i++)
            buf_adds(&text, "$(");
        buf_adds(&text, " && \"$0\" \"$@\"");
        check_refused(buf_str(&text), "$( is not closed");
        buf_done(&text);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return check_file(argv[1]);
    every_compiled_form_is_recognised();
    old_sdks_put_kfp_at_the_end_of_their_one_line();
    a_kfp_of_the_user_is_his();
    kfp_package_path_is_answered_like_kfp();
    words_are_cut_as_the_shell_cuts_them();
    programs_and_options_may_be_written_in_many_ways();
    the_shell_may_have_another_name();
    two_scripts_in_a_row_both_count();
    a_command_of_the_user_is_left_alone();
    a_script_that_does_more_is_refused_by_name();
    an_image_answers_each_requirement();
    an_image_without_python_has_nothing();
    what_cannot_be_read_is_named();
    markers_compare_versions_as_versions_and_texts_as_texts();
    nesting_has_an_end();
    return t_end();
}

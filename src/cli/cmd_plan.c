/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_plan.c - plan: what would run, what is cached, what is missing; what differs
 * between specs
 *
 * run_plan() gives one JSON document; text, Graphviz and the shopping list are views of
 * it.
 */
#include <sys/utsname.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log.h"
#include "cli/detach.h"
#include "image/image.h"
#include "lineage/query.h"
#include "plan/specdiff.h"

static struct str text_at(json *v, const char *key)
{
    return json_as_str(json_at(v, key));
}

static bool is_true(json *v, const char *key)
{
    return yyjson_is_true(json_at(v, key));
}

/* ---- text
 * ---------------------------------------------------------------------------------- */

static const char *would_in_words(json *task)
{
    static const struct {
        const char *would, *sure, *maybe;
    } words[] = {
        {"cached", "be cached", "maybe be cached"},
        {"run", "run", "maybe run"},
        {"import", "import", "maybe import"},
        {"depends", "run, unless known", "maybe run"},
        {"skip", "be skipped", "be skipped"},
        {"fail", "fail", "maybe fail"},
    };

    for (size_t i = 0; i < N_ELEMS(words); i++)
        if (str_eqz(text_at(task, "would"), words[i].would))
            return is_true(task, "maybe") ? words[i].maybe : words[i].sure;
    return "";
}

static void add_reason(struct table *t, json *task)
{
    json *iterations = json_at(task, "iterations");
    struct str kind = text_at(task, "kind"), reason = text_at(task, "reason"),
               run = text_at(task, "from.run");

    if (reason.len)
        table_addf(t, "%.*s", STR_ARG(reason));
    else if (run.len)
        table_addf(t, "from %.*s", STR_ARG(run));
    else if (!str_eqz(kind, "loop"))
        table_addf(t, "%.*s", STR_ARG(text_at(task, "image")));
    else if (yyjson_is_int(iterations))
        table_addf(t, "%lld iterations", (long long)yyjson_get_sint(iterations));
    else
        table_add(t, "as many iterations as its list will have");
}

/* what follows "task NAME: " */
static struct str what_of(json *line)
{
    struct str s = json_as_str(line);
    const char *colon = memmem(s.ptr, s.len, ": ", 2);

    return colon ? (struct str){colon + 2, s.len - (size_t)(colon + 2 - s.ptr)} : s;
}

/* one line for each thing, with the tasks that need it */
static void print_missing(json *lines)
{
    size_t n = yyjson_arr_size(lines);

    for (size_t i = 0; i < n; i++) {
        json *line = yyjson_arr_get(lines, i);
        struct str what = what_of(line), all = json_as_str(line);
        size_t k = 0, more = 0;

        while (k < i && !str_eq(what_of(yyjson_arr_get(lines, k)), what))
            k++;
        if (k < i)
            continue; /* said already */
        for (k = i + 1; k < n; k++)
            more += str_eq(what_of(yyjson_arr_get(lines, k)), what);
        (void)fprintf(stderr, "dugout: missing: %.*s", (int)(all.len - what.len - 2),
                      all.ptr);
        if (more)
            (void)fprintf(stderr, " and %zu more", more);
        (void)fprintf(stderr, ": %.*s\n", STR_ARG(what));
    }
}

static void print_counts(json *counts)
{
    static const char *const names[] = {"cached", "run", "import", "depends", "skip", "fail"};
    static const char *const words[] = {"cached", "to run", "to import", "to run unless known",
                                        "skipped", "failing"};
    AUTO_BUF struct buf b = {0};
    long long total = 0;

    buf_init(&b, 0);
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        long long n = yyjson_get_sint(json_at(counts, names[i]));

        total += n;
        if (n)
            buf_addf(&b, "%s%lld %s", b.len ? ", " : "", n, words[i]);
    }
    cli_note("%lld task%s: %s", total, total == 1 ? "" : "s", buf_str(&b));
}

static void print_text(json *root)
{
    json *task;
    struct table t;
    size_t i, max;

    table_init(&t, 3, (const char *const[]){"TASK", "WOULD", ""});
    yyjson_arr_foreach(json_at(root, "tasks"), i, max, task)
    {
        table_addf(&t, "%.*s", STR_ARG(text_at(task, "path")));
        table_add(&t, would_in_words(task));
        add_reason(&t, task);
    }
    table_print(&t, stdout);
    (void)fflush(stdout);
    print_missing(json_at(root, "missing"));
    print_counts(json_at(root, "counts"));
}

/* ---- Graphviz
 * --------------------------------------------------------------------------------- */

static void dot_quoted(struct str s)
{
    (void)putchar('"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"' || s.ptr[i] == '\\')
            (void)putchar('\\');
        (void)putchar(s.ptr[i]);
    }
    (void)putchar('"');
}

static const char *dot_style(json *task)
{
    struct str would = text_at(task, "would");

    if (str_eqz(would, "cached"))
        return "style=filled, fillcolor=lightgrey";
    if (str_eqz(would, "skip"))
        return "style=dotted, fontcolor=grey";
    if (str_eqz(would, "fail"))
        return "color=red, fontcolor=red";
    return is_true(task, "maybe") ? "style=dashed" : "style=solid";
}

/* a group is a node of another shape, with thin lines to what it holds */
static void print_dot(json *root)
{
    json *tasks = json_at(root, "tasks"), *task, *from;
    size_t i, max, k, n;

    (void)printf("digraph plan {\n  rankdir=LR;\n  node [shape=box];\n");
    yyjson_arr_foreach(tasks, i, max, task)
    {
        struct str path = text_at(task, "path"), kind = text_at(task, "kind");
        const char *slash = memrchr(path.ptr, '/', path.len);
        bool leaf = str_eqz(kind, "container") || str_eqz(kind, "importer");

        (void)printf("  ");
        dot_quoted(path);
        (void)printf(" [%s%s];\n", dot_style(task), leaf ? "" : ", shape=folder");
        yyjson_arr_foreach(json_at(task, "after"), k, n, from)
        {
            (void)printf("  ");
            dot_quoted(json_as_str(from));
            (void)printf(" -> ");
            dot_quoted(path);
            (void)printf(";\n");
        }
        if (slash) {
            struct str group = {path.ptr, (size_t)(slash - path.ptr)};
            const char *index = memrchr(group.ptr, '[', group.len);
            if (index && group.ptr[group.len - 1] == ']')
                group.len = (size_t)(index - group.ptr);
            (void)printf("  ");
            dot_quoted(group);
            (void)printf(" -> ");
            dot_quoted(path);
            (void)printf(" [style=dotted, arrowhead=none];\n");
        }
    }
    (void)printf("}\n");
}

/* ---- the shopping list
 * ---------------------------------------------------------------------------- */

/* 'text' for a shell */
static void shell_quoted(struct str s)
{
    (void)putchar('\'');
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] == '\'')
            (void)printf("'\\''");
        else
            (void)putchar(s.ptr[i]);
    (void)putchar('\'');
}

/* as registries call it: the connected machine may be another one */
static const char *this_arch(void)
{
    static struct utsname u;

    if (uname(&u) < 0 || strcmp(u.machine, "x86_64") == 0)
        return "amd64";
    return strcmp(u.machine, "aarch64") == 0 ? "arm64" : u.machine;
}

static void print_image(struct str ref)
{
    char name[IMAGE_NAME_BYTES], file[IMAGE_NAME_BYTES];
    const char *at;
    struct err e;

    if (image_name_normalise(ref, name, &e) < 0) {
        (void)printf("# image %.*s: %s\n", STR_ARG(ref), e.text);
        return;
    }
    snprintf(file, sizeof file, "%s", name);
    for (char *p = file; *p; p++)
        if (strchr("/:@", *p))
            *p = '_';
    at = strchr(name, '@');
    (void)printf("skopeo --override-os linux --override-arch %s copy ", this_arch());
    (void)printf("'docker://%s' 'oci-archive:%s.tar%s%s'\n", name, file, at ? "" : ":",
                 at ? "" : name);
    (void)printf("#   here: dugout image load %s.tar --name %.*s\n", file,
                 STR_ARG(ref));
}

/* one line for all that an image's tasks ask for: pip has to agree on their
 * dependencies */
static void print_wheels(json *wheels, size_t first)
{
    json *w = yyjson_arr_get(wheels, first);
    struct str python = text_at(w, "python_version"), machine = text_at(w, "machine"),
               image = text_at(w, "image");
    size_t n = yyjson_arr_size(wheels), k;

    for (k = 0; k < first; k++)
        if (str_eq(text_at(yyjson_arr_get(wheels, k), "image"), image))
            return; /* printed with that one */
    if (!python.len)
        (void)printf("# what image %.*s has not; best run with the same Python as the "
                     "image's:\n",
                     STR_ARG(image));
    (void)printf("pip download --dest wheels --only-binary=:all:");
    if (python.len)
        (void)printf(
            " --implementation cp --python-version %.*s --platform manylinux2014_%.*s"
            " --platform manylinux_2_28_%.*s",
            STR_ARG(python), STR_ARG(machine), STR_ARG(machine));
    for (size_t i = first; i < n; i++) {
        json *one = yyjson_arr_get(wheels, i);
        struct str q = text_at(one, "requirement");
        if (!str_eq(text_at(one, "image"), image))
            continue;
        for (k = first; k < i; k++)
            if (str_eq(text_at(yyjson_arr_get(wheels, k), "image"), image) &&
                str_eq(text_at(yyjson_arr_get(wheels, k), "requirement"), q))
                break;
        if (k < i)
            continue; /* another task wants it, too */
        (void)putchar(' ');
        shell_quoted(q);
    }
    (void)putchar('\n');
}

/* what is neither an image nor a wheel has to come from somebody who knows it */
static bool is_for_people(json *root, struct str line)
{
    json *one;
    size_t i, max;

    yyjson_arr_foreach(json_at(root, "images"), i, max,
                       one) if (memmem(line.ptr, line.len, yyjson_get_str(one),
                                       yyjson_get_len(one))) return false;
    yyjson_arr_foreach(json_at(root, "wheels"), i, max, one)
    {
        struct str q = text_at(one, "requirement");
        if (memmem(line.ptr, line.len, q.ptr, q.len))
            return false;
    }
    return true;
}

static void print_shopping(json *root)
{
    json *one;
    size_t i, max;

    if (!yyjson_arr_size(json_at(root, "missing"))) {
        cli_note("nothing is missing");
        return;
    }
    (void)printf("# what pipeline %.*s needs and this box has not\n",
                 STR_ARG(text_at(root, "pipeline")));
    yyjson_arr_foreach(json_at(root, "images"), i, max, one)
        print_image(json_as_str(one));
    for (i = 0; i < yyjson_arr_size(json_at(root, "wheels")); i++)
        print_wheels(json_at(root, "wheels"), i);
    yyjson_arr_foreach(json_at(root, "missing"), i, max,
                       one) if (is_for_people(root, json_as_str(one)))(void)
        printf("# %s\n", yyjson_get_str(one));
}

/* ---- two specs
 * -------------------------------------------------------------------------------------
 */

static int read_side(struct cli *c, const char *what, struct pipeline *p, struct err *e)
{
    static const struct pipeline_opts lenient = {.lenient = true};
    AUTO_BUF struct buf text = {0};
    struct str file = str_of(what), bytes = {"", 0};
    struct db_run row;
    int64_t run;

    if (strcmp(what, "-") == 0 || access(what, F_OK) == 0) {
        if (cli_pipeline(c, what, &bytes, e) < 0)
            return -1;
        return pipeline_parse_in(&c->a, file, bytes, &lenient, p, e);
    }
    buf_init(&text, LIMIT_SPEC_BYTES);
    if (cli_open(c, DB_READ, e) < 0)
        return -1;
    if (db_run_find(c->db, file, &run, e) < 0) {
        struct err why = *e;
        return err_set(e, why.code, "--against %.100s is no file, and %s", what,
                       why.text);
    }
    if (db_run_get_in(&c->a, c->db, run, &row, e) < 0 ||
        db_run_spec(c->db, run, &text, e) < 0)
        return -1;
    return pipeline_parse_in(&c->a, row.spec_file,
                             (struct str){buf_str(&text), text.len}, &lenient, p, e);
}

static void print_differences(const struct spec_change *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        (void)printf("%s %.*s\n", spec_change_word(list[i].kind),
                     STR_ARG(list[i].path));
        for (size_t k = 0; k < list[i].changes.n; k++) {
            const struct change *x = &list[i].changes.items[k];
            (void)printf("  %.*s\n      was %.*s\n      is  %.*s\n", STR_ARG(x->what),
                         x->before.len ? (int)x->before.len : 7,
                         x->before.len ? x->before.ptr : "nothing",
                         x->after.len ? (int)x->after.len : 7,
                         x->after.len ? x->after.ptr : "nothing");
        }
    }
    if (!n)
        (void)printf("no difference\n");
}

static void json_differences(const struct spec_change *list, size_t n)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(&w);
        jw_kstr(&w, "change", spec_change_word(list[i].kind));
        jw_key(&w, "task");
        jw_str(&w, list[i].path);
        jw_key(&w, "fields");
        jw_arr(&w);
        for (size_t k = 0; k < list[i].changes.n; k++) {
            jw_obj(&w);
            jw_key(&w, "field");
            jw_str(&w, list[i].changes.items[k].what);
            jw_key(&w, "before");
            jw_raw(&w, list[i].changes.items[k].before);
            jw_key(&w, "after");
            jw_raw(&w, list[i].changes.items[k].after);
            jw_end_obj(&w);
        }
        jw_end_arr(&w);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    cli_out_json(&out);
}

static int compare(struct cli *c, const char *against)
{
    struct pipeline before, after;
    struct spec_change *list;
    struct err e = {0};
    size_t n;

    if (read_side(c, c->args[0], &after, &e) < 0 ||
        read_side(c, against, &before, &e) < 0)
        return cli_fail(&e);
    specdiff_in(&c->a, &before, &after, &list, &n);
    if (c->json)
        json_differences(list, n);
    else
        print_differences(list, n);
    return 0;
}

/* ---- the command
 * ------------------------------------------------------------------------------------
 */

int cmd_plan(struct cli *c)
{
    const char *against = opt_text(c, "against");
    AUTO_BUF struct buf out = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct run_request rq;
    struct run_opts opts;
    struct run_env env;
    struct err e = {0};
    size_t missing = 0;

    if (against)
        return compare(c, against);
    buf_init(&out, 0);
    if (cli_open(c, DB_ENGINE, &e) < 0 ||
        cli_request(c, c->args[0], &rq, &opts, &e) < 0)
        return cli_fail(&e);
    env = cli_run_env(c);
    if (run_plan(&env, &rq, NULL, &out, &missing, &e) < 0 ||
        json_parse((struct str){buf_str(&out), out.len}, LIMIT_RESULT_BYTES, &doc, &e) <
            0)
        return cli_fail(&e);
    if (c->json)
        cli_out_json(&out);
    else if (opt_flag(c, "missing"))
        print_shopping(yyjson_doc_get_root(doc));
    else if (opt_flag(c, "dot"))
        print_dot(yyjson_doc_get_root(doc));
    else
        print_text(yyjson_doc_get_root(doc));
    return missing ? 3 : 0;
}

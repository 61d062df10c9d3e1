/* SPDX-License-Identifier: Apache-2.0 */
/* audit.c - the audit page of a model, on two printed sheets
 *
 * The questions are an auditor's, years later, in front of paper: which bytes are
 * these, what data made them and in which role, with which code, image and parameters,
 * how good were they found to be, who put them into service, when, and why. Sheet one
 * says what it is and how it was made; sheet two how it was judged and promoted, with
 * its lineage and lines to sign. Digests stand in full: they are what makes paper worth
 * something.
 *
 * Evaluation is what tasks that read the model gave out as metrics. A dataset has the
 * role of the input that it entered by; those that only evaluating tasks read are
 * listed too, as such. Tables end after some rows and say how many are left out, so
 * that two sheets suffice; the page of the run has everything.
 */
#include "base/limits.h"
#include "lineage/closure.h"
#include "lineage/images.h"
#include "lineage/revoke.h"
#include "lineage/tags.h"
#include "report/page.h"
#include "store/tree.h"

#define DATA_ROWS 7
#define TASK_ROWS 10
#define TAG_ROWS 12
#define PARAM_ROWS 21
#define VALUE_CHARS 120 /* of a parameter */
#define EXTERNAL_ROWS 6
#define NAMES_SHOWN 3

struct audit {
    struct page p;
    struct str asked; /* as the command named it: a tag, most likely */
    struct db_artifact x;
    struct db_task made; /* id 0: it came from outside */
    struct db_run run;   /* of it */
    struct lineage up, down;
    struct page_artifact *judged; /* metrics of tasks that read it */
    size_t n_judged;
    size_t n_data;
    int64_t n_rows; /* of the training data together, -1 = not recorded */
};

/* ---- gathering ---- */

static int64_t rows_in(struct str metadata_json)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err unread;
    json *v;

    if (!metadata_json.len ||
        json_parse(metadata_json, LIMIT_VALUE_BYTES, &doc, &unread) < 0)
        return -1;
    v = json_at(yyjson_doc_get_root(doc), "rows");
    return yyjson_is_num(v) && yyjson_get_num(v) >= 0 ? (int64_t)yyjson_get_num(v) : -1;
}

static bool is_data(const struct lineage_node *n)
{
    return !n->is_task && type_is(n->artifact, "Dataset");
}

/* what a node of the task's inputs is called there */
static struct str input_name(const struct lineage *l, size_t artifact, size_t task)
{
    for (size_t i = 0; i < l->n_edges; i++)
        if (l->edges[i].from == artifact &&
            (task == SIZE_MAX || l->edges[i].to == task))
            return l->edges[i].name;
    return STR("");
}

static size_t node_of_task(const struct lineage *l, int64_t task)
{
    for (size_t i = 0; i < l->n_nodes; i++)
        if (l->nodes[i].is_task && l->nodes[i].id == task)
            return i;
    return SIZE_MAX;
}

static bool task_reads(const struct lineage *l, size_t artifact, size_t task)
{
    for (size_t i = 0; i < l->n_edges; i++)
        if (l->edges[i].from == artifact && l->edges[i].to == task)
            return true;
    return false;
}

static void count_data(struct audit *x)
{
    size_t task = node_of_task(&x->up, x->made.id);

    x->n_rows = -1;
    for (size_t i = x->up.n_starts; i < x->up.n_nodes; i++) {
        int64_t rows;
        if (!is_data(&x->up.nodes[i]))
            continue;
        x->n_data++;
        rows = rows_in(x->up.nodes[i].artifact->metadata_json);
        if (rows >= 0 && task_reads(&x->up, i, task))
            x->n_rows = rows + (x->n_rows > 0 ? x->n_rows : 0);
    }
}

static void collect_judgements(struct audit *x)
{
    const struct lineage *l = &x->down;

    for (size_t i = l->n_starts; i < l->n_nodes; i++) {
        const struct lineage_node *n = &l->nodes[i];
        if (n->is_task ||
            !memmem(n->artifact->type.ptr, n->artifact->type.len, "Metrics", 7))
            continue;
        x->judged = arena_grow(x->p.a, x->judged, &x->n_judged, sizeof(*x->judged));
        x->judged[x->n_judged - 1] = (struct page_artifact){
            .x = *n->artifact, .task = n->task_path, .output = n->artifact->name};
    }
}

static int gather(struct audit *x, int64_t artifact, struct err *e)
{
    struct lineage_opts up = {.directions = DB_UP},
                        down = {.directions = DB_DOWN, .depth = 1};

    if (db_artifact_get_in(x->p.a, x->p.d, artifact, &x->x, e) < 0 ||
        db_lineage_in(x->p.a, x->p.d, &artifact, 1, &up, &x->up, e) < 0 ||
        db_lineage_in(x->p.a, x->p.d, &artifact, 1, &down, &x->down, e) < 0)
        return -1;
    if (x->x.task && (db_task_get_in(x->p.a, x->p.d, x->x.task, &x->made, e) < 0 ||
                      db_run_get_in(x->p.a, x->p.d, x->made.run, &x->run, e) < 0))
        return -1;
    count_data(x);
    collect_judgements(x);
    return 0;
}

/* ---- what it is ---- */

static void print_answer(struct audit *x)
{
    struct page *p = &x->p;

    buf_adds(p->b, "<p class='answer'>");
    if (!x->made.id)
        HTML(p->b, "It came from outside on <b>$</b>$$; no run made it.",
             page_time(p, x->x.created_unix_ms),
             x->x.source.len ? STR(", from ") : STR(""), x->x.source);
    else
        HTML(p->b, "Made by task <b>$</b> of run <b>$</b> on <b>$</b>", x->made.path,
             x->run.name, page_time(p, x->x.created_unix_ms));
    if (x->n_data)
        HTML(p->b, " from <b>$ dataset$</b>", fmt_in(p->a, "%zu", x->n_data),
             x->n_data > 1 ? STR("s") : STR(""));
    if (x->n_rows >= 0)
        HTML(p->b, ", trained on <b>$ rows</b>",
             fmt_in(p->a, "%lld", (long long)x->n_rows));
    buf_adds(p->b, ".</p>\n");
}

/* said first of all: nobody should have to find it */
static int print_revoked(struct audit *x, struct err *e)
{
    AUTO_MARKS struct marks *marks = NULL;
    const struct db_mark *why = NULL;

    if (marks_open(x->p.d, &marks, e) < 0 || marks_look(marks, x->x.id, &why, e) < 0)
        return -1;
    if (why)
        HTML(x->p.b,
             "<p class='cause'><b>Revoked: it is, or was made with, $.</b> $ ($, "
             "$)</p>\n",
             why->what, why->reason, why->set_by, page_time(&x->p, why->set_unix_ms));
    return 0;
}

static int print_tags_now(struct audit *x, struct err *e)
{
    struct db_tag *tags;
    struct str all = STR("");
    size_t n;

    if (db_tags_of_in(x->p.a, x->p.d, x->x.id, &tags, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        all = fmt_in(x->p.a, "%.*s%s%.*s", STR_ARG(all), i ? ", " : "",
                     STR_ARG(tags[i].name));
    page_fact(&x->p, "tags now", n ? all : STR("none"));
    return 0;
}

static bool content_is_there(struct audit *x)
{
    char path[LIMIT_PATH_BYTES];
    struct err gone;

    if (str_eqz(x->x.kind, "dir"))
        return tree_checkout_path(x->p.s, x->x.digest_hex, path, sizeof(path), &gone) ==
               0;
    return blob_has(x->p.s, x->x.digest_hex);
}

static int print_head(struct audit *x, struct err *e)
{
    struct page *p = &x->p;

    HTML(p->b,
         "<header class='verdict'>\n<p class='over'>dugout \u00b7 audit of a $</p>\n"
         "<h1>$</h1>\n",
         page_type(x->x.type), x->asked);
    if (print_revoked(x, e) < 0)
        return -1;
    print_answer(x);
    buf_adds(p->b, "<dl>\n");
    page_fact(p, "artifact",
              fmt_in(p->a, "a%lld, %.*s", (long long)x->x.id, STR_ARG(x->x.name)));
    page_fact(p, "type", x->x.type);
    if (x->x.digest_hex[0]) {
        page_fact_code(p, "digest", fmt_in(p->a, "sha256:%s", x->x.digest_hex));
        page_fact(p, "size",
                  str_eqz(x->x.kind, "dir")
                      ? fmt_in(p->a, "%lld bytes in %lld files",
                               (long long)x->x.size_bytes, (long long)x->x.n_files)
                      : fmt_in(p->a, "%lld bytes", (long long)x->x.size_bytes));
        page_fact(p, "content",
                  content_is_there(x) ? STR("in the store when this was made")
                                      : STR("no longer in the store"));
    } else {
        page_fact(p, "content", STR("none: metadata only"));
    }
    if (print_tags_now(x, e) < 0)
        return -1;
    page_fact(p, "metadata", page_scalars(p, x->x.metadata_json, 300));
    buf_adds(p->b, "</dl>\n</header>\n");
    return 0;
}

/* ---- data ---- */

static struct str origin_of(struct audit *x, const struct lineage_node *n)
{
    struct str source = n->artifact->source;

    if (n->task_path.len && source.len)
        return fmt_in(x->p.a, "imported by %.*s in %.*s from %.*s",
                      STR_ARG(n->task_path), STR_ARG(n->run_name), STR_ARG(source));
    if (n->task_path.len)
        return fmt_in(x->p.a, "made by %.*s in %.*s", STR_ARG(n->task_path),
                      STR_ARG(n->run_name));
    if (source.len)
        return fmt_in(x->p.a, "from outside: %.*s", STR_ARG(source));
    return n->artifact->uri.len ? n->artifact->uri : STR("from outside");
}

static void print_dataset(struct audit *x, const struct db_artifact *f, struct str role,
                          struct str origin)
{
    struct page *p = &x->p;
    int64_t rows = rows_in(f->metadata_json);

    HTML(p->b,
         "<tr class='two'><td class='id'>a$</td><th scope='row'>$</th><td>$</td>"
         "<td class='num'>$</td><td>$</td></tr>\n",
         fmt_in(p->a, "%lld", (long long)f->id), f->name, role,
         rows >= 0 ? fmt_in(p->a, "%lld", (long long)rows) : STR("?"), origin);
    HTML(p->b, "<tr><td></td><td class='mono' colspan='4'>$</td></tr>\n",
         f->digest_hex[0] ? fmt_in(p->a, "sha256:%s", f->digest_hex)
                          : STR("no content recorded, metadata only"));
}

static size_t print_training_data(struct audit *x)
{
    const struct lineage *l = &x->up;
    size_t task = node_of_task(l, x->made.id), n = 0;

    for (size_t i = l->n_starts; i < l->n_nodes; i++) {
        const struct lineage_node *d = &l->nodes[i];
        bool direct = task != SIZE_MAX && task_reads(l, i, task);
        struct str name = input_name(l, i, direct ? task : SIZE_MAX);
        if (!is_data(d) || n++ >= DATA_ROWS)
            continue;
        print_dataset(x, d->artifact,
                      fmt_in(x->p.a,
                             direct ? "training, input %.*s" : "upstream, input %.*s",
                             STR_ARG(name)),
                      origin_of(x, d));
    }
    return n;
}

/* what the judging tasks read besides the model */
static int print_test_data(struct audit *x, size_t *n, struct err *e)
{
    for (size_t i = 0; i < x->down.n_nodes; i++) {
        const struct lineage_node *t = &x->down.nodes[i];
        struct db_io_rows io;
        if (!t->is_task || db_task_io_in(x->p.a, x->p.d, t->id, DB_IN, &io, e) < 0) {
            if (t->is_task)
                return -1;
            continue;
        }
        for (size_t k = 0; k < io.n_artifacts; k++) {
            const struct db_artifact *f = &io.artifacts[k].artifact;
            if (!type_is(f, "Dataset") || (*n)++ >= DATA_ROWS)
                continue;
            print_dataset(x, f,
                          fmt_in(x->p.a, "read by %.*s, input %.*s",
                                 STR_ARG(t->task_path), STR_ARG(io.artifacts[k].name)),
                          fmt_in(x->p.a, "run %.*s", STR_ARG(t->run_name)));
        }
    }
    return 0;
}

static int print_data(struct audit *x, struct err *e)
{
    struct page *p = &x->p;
    size_t n;

    page_section(p, "data", "Data");
    buf_adds(p->b, "<table><thead><tr><th>id</th><th>dataset</th><th>role</th>"
                   "<th class='num'>rows</th><th>origin</th></tr></thead><tbody>\n");
    n = print_training_data(x);
    if (print_test_data(x, &n, e) < 0)
        return -1;
    buf_adds(p->b, "</tbody></table>\n");
    if (!n)
        buf_adds(p->b, "<p class='note'>No dataset is recorded upstream of it.</p>\n");
    if (n > DATA_ROWS)
        HTML(p->b,
             "<p class='note'>$ more: dugout lineage a$ --up --type Dataset</p>\n",
             fmt_in(p->a, "%zu", n - DATA_ROWS),
             fmt_in(p->a, "%lld", (long long)x->x.id));
    buf_adds(p->b, "</section>\n");
    return 0;
}

/* ---- how it was made ---- */

static void print_image(struct audit *x, const struct db_task *t)
{
    struct db_image image = {0};
    struct str names = STR("");
    struct err unknown;

    if (!t->image_hex[0])
        return;
    if (db_image_find_in(x->p.a, x->p.d, fmt_in(x->p.a, "sha256:%s", t->image_hex),
                         &image, &unknown) == 0)
        for (size_t i = 0; i < image.n_names && i < NAMES_SHOWN; i++)
            names = fmt_in(x->p.a, "%.*s%s %.*s", STR_ARG(names),
                           i ? "," : " now called", STR_ARG(image.names[i]));
    HTML(x->p.b, "<dt>image</dt><dd><code>sha256:$</code>$</dd>\n",
         str_of(t->image_hex), names);
}

static int print_externals(struct audit *x, struct err *e)
{
    struct db_external_row *rows;
    size_t n, shown = 0;

    if (db_externals_in(x->p.a, x->p.d, x->run.id, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if ((rows[i].task && rows[i].task != x->made.id) || shown++ >= EXTERNAL_ROWS)
            continue;
        HTML(x->p.b,
             "<dt>not verified</dt><dd>$ <code>$</code>: seen beside the record</dd>\n",
             rows[i].what, rows[i].path);
    }
    return 0;
}

static int print_making(struct audit *x, struct err *e)
{
    struct page *p = &x->p;
    const struct db_run *r = &x->run;

    if (!x->made.id)
        return 0;
    page_section(p, "making", "How it was made");
    buf_adds(p->b, "<dl>\n");
    page_fact(p, "task",
              fmt_in(p->a, "%.*s, attempt %lld, %.*s", STR_ARG(x->made.path),
                     (long long)x->made.attempts,
                     STR_ARG(page_took(p, x->made.started_unix_ms,
                                       x->made.finished_unix_ms))));
    page_fact(p, "run",
              fmt_in(p->a, "%.*s (%.*s)", STR_ARG(r->name), STR_ARG(r->uuid)));
    page_fact(p, "pipeline",
              fmt_in(p->a, "%.*s, experiment %.*s", STR_ARG(r->pipeline),
                     STR_ARG(r->experiment)));
    if (r->user.len)
        page_fact(
            p, "started by",
            r->login_uid >= 0
                ? fmt_in(p->a, "%.*s (login uid %lld) on %.*s", STR_ARG(r->user),
                         (long long)r->login_uid, STR_ARG(r->host))
                : fmt_in(p->a, "%.*s on %.*s", STR_ARG(r->user), STR_ARG(r->host)));
    print_image(x, &x->made);
    page_fact_code(p, "code digest",
                   x->made.code_hex[0] ? fmt_in(p->a, "sha256:%s", x->made.code_hex)
                                       : STR(""));
    page_fact(p, "component", x->made.component);
    page_fact_code(p, "pipeline digest",
                   r->spec_hex[0] ? fmt_in(p->a, "sha256:%s", r->spec_hex) : STR(""));
    page_fact_code(p, "git commit", r->git_commit);
    page_fact(p, "dugout", r->version);
    if (print_externals(x, e) < 0)
        return -1;
    buf_adds(p->b, "</dl>\n</section>\n");
    return 0;
}

static void print_param(struct audit *x, struct str name, json *v)
{
    AUTO_FREE char *text = yyjson_is_str(v) ? NULL : yyjson_val_write(v, 0, NULL);
    struct str value = text ? str_of(text) : json_as_str(v);

    HTML(x->p.b, "<li><b>$</b> <span class='value'>$</span></li>\n", name,
         text_cut_in(x->p.a, value, VALUE_CHARS));
}

static void print_task_params(struct audit *x, const struct db_io_rows *io)
{
    HTML(x->p.b, "<h3>of task $</h3>\n<ul class='params'>\n", x->made.path);
    for (size_t i = 0; i < io->n_params && i < PARAM_ROWS; i++) {
        AUTO_JSON yyjson_doc *doc = NULL;
        struct err unread;
        if (json_parse(io->params[i].value_json, LIMIT_VALUE_BYTES, &doc, &unread) == 0)
            print_param(x, io->params[i].name, yyjson_doc_get_root(doc));
    }
    buf_adds(x->p.b, "</ul>\n");
    if (io->n_params > PARAM_ROWS)
        HTML(x->p.b, "<p class='note'>$ more: dugout show $/$</p>\n",
             fmt_in(x->p.a, "%zu", io->n_params - PARAM_ROWS), x->run.name,
             x->made.path);
}

/* false: it has none */
static bool print_run_params(struct audit *x)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err unread;
    yyjson_val *k, *v;
    json *root;
    size_t i, max;

    if (!x->run.parameters_json.len ||
        json_parse(x->run.parameters_json, LIMIT_VALUE_BYTES, &doc, &unread) < 0)
        return false;
    root = yyjson_doc_get_root(doc);
    if (!yyjson_obj_size(root))
        return false;
    buf_adds(x->p.b, "<h3>of the run</h3>\n<ul class='params'>\n");
    yyjson_obj_foreach(root, i, max, k, v)
    {
        if (i < PARAM_ROWS)
            print_param(x, json_as_str(k), v);
    }
    buf_adds(x->p.b, "</ul>\n");
    if (yyjson_obj_size(root) > PARAM_ROWS)
        HTML(x->p.b, "<p class='note'>$ more: dugout show $</p>\n",
             fmt_in(x->p.a, "%zu", yyjson_obj_size(root) - PARAM_ROWS), x->run.name);
    return true;
}

static int print_parameters(struct audit *x, struct err *e)
{
    struct page *p = &x->p;
    struct db_io_rows io;

    if (!x->made.id)
        return 0;
    if (db_task_io_in(p->a, p->d, x->made.id, DB_IN, &io, e) < 0)
        return -1;
    page_section(p, "parameters", "Parameters");
    if (io.n_params)
        print_task_params(x, &io);
    if (!print_run_params(x) && !io.n_params)
        buf_adds(p->b, "<p class='note'>None were recorded.</p>\n");
    buf_adds(p->b, "</section>\n");
    return 0;
}

/* ---- how it was judged and promoted ---- */

static void print_evaluation(struct audit *x)
{
    struct page *p = &x->p;

    if (!x->n_judged) {
        page_section(p, "metrics", "Evaluation");
        buf_adds(
            p->b,
            "<p class='note'>No task that read it gave out metrics.</p></section>\n");
        return;
    }
    page_metrics(p, x->judged, x->n_judged);
    page_classification(p, x->judged, x->n_judged, 1);
}

static void print_tag_row(struct audit *x, const struct db_tag *t, int64_t before)
{
    struct page *p = &x->p;
    struct str what =
        t->artifact == x->x.id
            ? before && before != x->x.id
                  ? fmt_in(p->a, "moved here from a%lld", (long long)before)
                  : STR("set")
        : t->artifact ? fmt_in(p->a, "moved away to a%lld", (long long)t->artifact)
                      : STR("removed");

    HTML(p->b,
         "<tr><td class='id'>$</td><th scope='row'>$</th><td>$</td><td>$</td><td>$</td>"
         "</tr>\n",
         page_time(p, t->set_unix_ms), t->name, what, t->set_by, t->reason);
}

/* every move of a tag to or from this artifact */
static int print_promotion(struct audit *x, struct err *e)
{
    struct page *p = &x->p;
    struct db_tag *log;
    size_t n, shown = 0;
    struct map at = {0}; /* tag -> its last row */

    if (db_tag_log_in(p->a, p->d, STR(""), &log, &n, e) < 0)
        return -1;
    page_section(p, "promotion", "Who promoted it");
    buf_adds(p->b, "<table><thead><tr><th>when</th><th>tag</th><th>what</th><th>by</"
                   "th><th>why</th>"
                   "</tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++) {
        const struct db_tag *last = map_get(&at, log[i].name);
        int64_t before = last ? last->artifact : 0;
        if ((log[i].artifact == x->x.id || before == x->x.id) && shown++ < TAG_ROWS)
            print_tag_row(x, &log[i], before);
        map_put(&at, log[i].name, &log[i]);
    }
    map_done(&at);
    buf_adds(p->b, "</tbody></table>\n");
    if (!shown)
        buf_adds(p->b, "<p class='note'>No tag ever named it.</p>\n");
    if (shown > TAG_ROWS)
        HTML(p->b, "<p class='note'>$ more: dugout tag log</p>\n",
             fmt_in(p->a, "%zu", shown - TAG_ROWS));
    buf_adds(p->b, "</section>\n");
    return 0;
}

/* ---- lineage ---- */

static void print_task_row(struct audit *x, const struct lineage_node *n)
{
    struct page *p = &x->p;
    const struct db_task *t = n->task;

    HTML(p->b,
         "<tr><th scope='row'>$</th><td>$</td><td class='id'>$</td><td "
         "class='mono'>$</td>"
         "<td class='mono'>$</td></tr>\n",
         n->task_path, n->run_name, page_time(p, t->started_unix_ms),
         page_digest(p, t->image_hex), page_digest(p, t->code_hex));
}

static int print_lineage(struct audit *x, struct err *e)
{
    struct page *p = &x->p;
    size_t n = 0;

    page_section(p, "lineage", "Lineage");
    if (page_lineage(p, x->x.id, e) < 0)
        return -1;
    buf_adds(p->b,
             "<table><thead><tr><th>task upstream</th><th>run</th><th>started</th>"
             "<th>image</th><th>code</th></tr></thead><tbody>\n");
    for (size_t i = 0; i < x->up.n_nodes; i++)
        if (x->up.nodes[i].is_task && n++ < TASK_ROWS)
            print_task_row(x, &x->up.nodes[i]);
    buf_adds(p->b, "</tbody></table>\n");
    if (n > TASK_ROWS)
        HTML(p->b, "<p class='note'>$ more: dugout lineage a$ --up</p>\n",
             fmt_in(p->a, "%zu", n - TASK_ROWS),
             fmt_in(p->a, "%lld", (long long)x->x.id));
    buf_adds(p->b, "</section>\n");
    return 0;
}

static int print_body(struct audit *x, struct err *e)
{
    struct page *p = &x->p;

    if (print_head(x, e) < 0 || print_data(x, e) < 0 || print_making(x, e) < 0 ||
        print_parameters(x, e) < 0)
        return -1;
    buf_adds(p->b, "<div class='sheet'>\n");
    if (print_promotion(x, e) < 0)
        return -1;
    print_evaluation(x);
    if (print_lineage(x, e) < 0)
        return -1;
    buf_adds(
        p->b,
        "</div>\n<div class='sign'><span>prepared by, date</span><span>reviewed by, "
        "date</span><span>approved by, date</span></div>\n");
    HTML(p->b,
         "<footer>Made $ by dugout from its record. Check the bytes: sha256sum of the "
         "file "
         "that <code>dugout artifact export a$ FILE</code> writes.</footer>\n",
         page_time(p, p->o->now_unix_ms), fmt_in(p->a, "%lld", (long long)x->x.id));
    return 0;
}

int report_artifact(struct db *d, struct store *s, int64_t artifact, struct str asked,
                    const struct report_opts *o, struct buf *html, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf body = {0};
    struct audit x = {.p = {.a = &a, .d = d, .s = s, .o = o, .b = &body},
                      .asked = asked};
    int rc;

    if (db_read_begin(d, e) < 0)
        return -1;
    rc = gather(&x, artifact, e) < 0 || print_body(&x, e) < 0 ? -1 : 0;
    db_read_end(d);
    if (rc == 0)
        page_wrap(html, fmt_in(&a, "audit of %.*s", STR_ARG(asked)), STR("audit"),
                  (struct str){buf_str(&body), body.len});
    return rc;
}

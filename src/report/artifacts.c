/* SPDX-License-Identifier: Apache-2.0 */
/* artifacts.c - metrics, evaluations, documents and lineage on a page
 *
 * An HTML artifact may hold anything. It is shown in a frame that is sandboxed (an
 * origin of its own, no script, no forms, no way out) and that inherits the policy of
 * the page (no network). Markdown is rendered by markdown.c. What needs its scripts has
 * to be opened by hand, and the page says how.
 */
#include "base/limits.h"
#include "lineage/closure.h"
#include "report/charts.h"
#include "report/markdown.h"
#include "report/page.h"
#include "report/picture.h"

#define DOCUMENT_MAX (2 * MIB) /* of one HTML or Markdown artifact on a page */
#define DOCUMENTS_MAX 12
#define METRIC_COLUMNS 8
#define METRIC_ROWS 50
#define LINEAGE_BOXES 80
#define LINEAGE_TEXT_MAX (256 * KIB) /* what is past it is left out */

static struct str source_in(struct page *p, const struct page_artifact *x)
{
    return x->task.len
               ? fmt_in(p->a, "%.*s : %.*s", STR_ARG(x->task), STR_ARG(x->output))
               : x->x.name;
}

/* ---- metrics ---- */

static bool is_scalar(json *v)
{
    return yyjson_is_num(v) || yyjson_is_str(v) || yyjson_is_bool(v);
}

/* (yyjson's loops evaluate their argument more than once: call this before them) */
static json *parsed(struct str text, yyjson_doc **doc)
{
    struct err e;

    if (!text.len || json_parse(text, LIMIT_VALUE_BYTES, doc, &e) < 0)
        return NULL;
    return yyjson_doc_get_root(*doc);
}

/* six digits to read, all of them on hover */
static void metric_value(struct page *p, json *v)
{
    if (yyjson_is_real(v))
        HTML(p->b, "<span title='$'>$</span>",
             fmt_in(p->a, "%.17g", yyjson_get_real(v)),
             fmt_in(p->a, "%.6g", yyjson_get_real(v)));
    else
        page_value(p, v);
}

/* one set of metrics: large numbers */
static void metric_tiles(struct page *p, const struct page_artifact *x)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root = parsed(x->x.metadata_json, &doc);
    yyjson_val *k, *v;
    size_t i, max, nested = 0;

    buf_adds(p->b, "<div class='tiles'>\n");
    yyjson_obj_foreach(root, i, max, k, v)
    {
        if (!is_scalar(v)) {
            nested++;
            continue;
        }
        HTML(p->b, "<div class='tile'><b>$</b><strong>", json_as_str(k));
        metric_value(p, v);
        buf_adds(p->b, "</strong></div>\n");
    }
    HTML(p->b, "</div><p class='note'>$, a$$</p>\n", source_in(p, x),
         fmt_in(p->a, "%lld", (long long)x->x.id),
         nested ? fmt_in(p->a, "; %zu nested values are not shown", nested) : STR(""));
}

/* the keys that several sets have between them, most common order kept */
static struct str *metric_keys(struct page *p, const struct page_artifact *x, size_t n,
                               size_t *n_keys)
{
    struct str *keys = NULL;

    *n_keys = 0;
    for (size_t i = 0; i < n; i++) {
        AUTO_JSON yyjson_doc *doc = NULL;
        json *root;
        yyjson_val *k, *v;
        size_t j, max;
        if (!type_is(&x[i].x, "Metrics"))
            continue;
        root = parsed(x[i].x.metadata_json, &doc);
        yyjson_obj_foreach(root, j, max, k, v)
        {
            size_t at = 0;
            while (at < *n_keys && !str_eq(keys[at], json_as_str(k)))
                at++;
            if (at < *n_keys || *n_keys == METRIC_COLUMNS || !is_scalar(v))
                continue;
            keys = arena_grow(p->a, keys, n_keys, sizeof(*keys));
            keys[*n_keys - 1] = arena_str(p->a, json_as_str(k));
        }
    }
    return keys;
}

static void metric_row(struct page *p, const struct page_artifact *x,
                       const struct str *keys, size_t n_keys)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root = parsed(x->x.metadata_json, &doc);

    HTML(p->b, "<tr><th scope='row'>$</th>", source_in(p, x));
    for (size_t i = 0; i < n_keys; i++) {
        json *v = yyjson_obj_getn(root, keys[i].ptr, keys[i].len);
        buf_adds(p->b, "<td class='num'>");
        if (v)
            metric_value(p, v);
        buf_adds(p->b, "</td>");
    }
    buf_adds(p->b, "</tr>\n");
}

static void metric_table(struct page *p, const struct page_artifact *x, size_t n)
{
    size_t n_keys, rows = 0;
    const struct str *keys = metric_keys(p, x, n, &n_keys);

    buf_adds(p->b, "<div class='scroll'><table><thead><tr><th>task : output</th>");
    for (size_t i = 0; i < n_keys; i++)
        HTML(p->b, "<th class='num'>$</th>", keys[i]);
    buf_adds(p->b, "</tr></thead><tbody>\n");
    for (size_t i = 0; i < n; i++)
        if (type_is(&x[i].x, "Metrics") && rows++ < METRIC_ROWS)
            metric_row(p, &x[i], keys, n_keys);
    buf_adds(p->b, "</tbody></table></div>\n");
    if (rows > METRIC_ROWS)
        HTML(p->b,
             "<p class='note'>The first $ of $ are shown; dugout artifacts --type "
             "Metrics has all.</p>\n",
             fmt_in(p->a, "%d", METRIC_ROWS), fmt_in(p->a, "%zu", rows));
}

void page_metrics(struct page *p, const struct page_artifact *x, size_t n)
{
    const struct page_artifact *one = NULL;
    size_t found = 0;

    for (size_t i = 0; i < n; i++)
        if (type_is(&x[i].x, "Metrics") && x[i].x.metadata_json.len > 2) {
            one = &x[i];
            found++;
        }
    if (!found)
        return;
    page_section(p, "metrics", "Metrics");
    if (found == 1)
        metric_tiles(p, one);
    else
        metric_table(p, x, n);
    buf_adds(p->b, "</section>\n");
}

/* ---- classification ---- */

/* what is drawn of one artifact, itself or its slices; how many drawings */
static size_t evaluations(struct page *p, struct buf *b, json *root, size_t limit)
{
    json *list = json_at(root, "evaluationSlices"), *item;
    size_t i, max, shown = 0;

    if (charts_classification(b, p->a, root))
        return 1;
    yyjson_arr_foreach(list, i, max, item)
    {
        AUTO_BUF struct buf charts = {0};
        if (shown == limit ||
            !charts_classification(&charts, p->a,
                                   json_at(item, "sliceClassificationMetrics")))
            continue;
        HTML(b, "<h4>slice $</h4>\n", json_as_str(json_at(item, "slice")));
        buf_add(b, charts.ptr, charts.len);
        shown++;
    }
    return shown;
}

void page_classification(struct page *p, const struct page_artifact *x, size_t n,
                         size_t limit)
{
    AUTO_BUF struct buf all = {0};
    size_t shown = 0, rest = 0;

    for (size_t i = 0; i < n; i++) {
        AUTO_JSON yyjson_doc *doc = NULL;
        AUTO_BUF struct buf one = {0};
        size_t drawn;
        if (!type_is(&x[i].x, "ClassificationMetrics") &&
            !type_is(&x[i].x, "SlicedClassificationMetrics"))
            continue;
        drawn = shown < limit ? evaluations(p, &one, parsed(x[i].x.metadata_json, &doc),
                                            limit - shown)
                              : 0;
        if (!drawn) {
            rest++;
            continue;
        }
        HTML(&all, "<h3>$ <small>a$</small></h3>\n", source_in(p, &x[i]),
             fmt_in(p->a, "%lld", (long long)x[i].x.id));
        buf_add(&all, one.ptr, one.len);
        shown += drawn;
    }
    if (!shown)
        return;
    page_section(p, "classification", "Classification");
    buf_add(p->b, all.ptr, all.len);
    if (rest)
        HTML(p->b,
             "<p class='note'>$ more evaluations are recorded, not drawn here.</p>\n",
             fmt_in(p->a, "%zu", rest));
    buf_adds(p->b, "</section>\n");
}

/* ---- documents ---- */

static void document(struct page *p, const struct page_artifact *x)
{
    AUTO_BUF struct buf text = {0};
    struct err e = {0};
    bool html = type_is(&x->x, "HTML");
    struct str content;

    HTML(p->b, "<h3>$ <small>a$, $</small></h3>\n", source_in(p, x),
         fmt_in(p->a, "%lld", (long long)x->x.id), page_size(p, x->x.size_bytes));
    if (!str_eqz(x->x.kind, "file") ||
        blob_read(p->s, x->x.digest_hex, &text, DOCUMENT_MAX, &e) < 0) {
        HTML(p->b, "<p class='note'>Not shown: $.</p>\n",
             e.code == ERR_LIMIT ? STR("it is too large for a page")
             : e.code            ? str_of(e.text)
                                 : STR("it is no file"));
        return;
    }
    content = (struct str){buf_str(&text), text.len};
    if (html) {
        HTML(p->b, "<iframe sandbox title='$' srcdoc='$'></iframe>\n", source_in(p, x),
             content);
        HTML(p->b,
             "<p class='note'>Shown without scripts and network. With them: "
             "<code>dugout "
             "artifact cat a$ &gt; page.html</code></p>\n",
             fmt_in(p->a, "%lld", (long long)x->x.id));
    } else {
        buf_adds(p->b, "<article class='markdown'>\n");
        markdown_html(p->b, content);
        buf_adds(p->b, "</article>\n");
    }
}

void page_documents(struct page *p, const struct page_artifact *x, size_t n)
{
    size_t found = 0;

    for (size_t i = 0; i < n; i++) {
        if (!type_is(&x[i].x, "HTML") && !type_is(&x[i].x, "Markdown"))
            continue;
        if (!found++)
            page_section(p, "documents", "Documents");
        if (found <= DOCUMENTS_MAX)
            document(p, &x[i]);
    }
    if (found > DOCUMENTS_MAX)
        HTML(p->b, "<p class='note'>The first $ of $ documents are shown.</p>\n",
             fmt_in(p->a, "%d", DOCUMENTS_MAX), fmt_in(p->a, "%zu", found));
    if (found)
        buf_adds(p->b, "</section>\n");
}

/* ---- lineage ---- */

static void artifact_box(struct page *p, struct pic_box *b,
                         const struct lineage_node *n, bool is_start)
{
    const struct db_artifact *x = n->artifact;
    struct str type = page_type(x->type);

    b->name = x->name;
    b->note = fmt_in(p->a, "%.*s a%lld%s%.12s", STR_ARG(type), (long long)x->id,
                     x->digest_hex[0] ? " " : "", x->digest_hex);
    b->style = is_start ? "k-start" : "k-artifact";
    b->glyph = type_is(x, "Model") ? "M" : type_is(x, "Dataset") ? "D" : "\u2022";
    b->title =
        fmt_in(p->a, "%.*s %.*s sha256:%s %.*s", STR_ARG(x->type), STR_ARG(x->name),
               x->digest_hex[0] ? x->digest_hex : "none", STR_ARG(n->tags));
}

/* the run is named where it is another than that which the picture is about */
static void task_box(struct page *p, struct pic_box *b, const struct lineage_node *n,
                     const struct lineage_node *start)
{
    b->name = n->task_path;
    b->note = str_eq(n->run_uuid, start->run_uuid)
                  ? STR("task")
                  : fmt_in(p->a, "in %.*s", STR_ARG(n->run_name));
    b->style = "k-task";
    b->glyph = "\u2699";
    b->title =
        fmt_in(p->a, "task %.*s of run %.*s, pipeline %.*s", STR_ARG(n->task_path),
               STR_ARG(n->run_name), STR_ARG(n->pipeline));
}

static void lineage_picture(struct page *p, const struct lineage *l)
{
    struct picture pic = {.label = STR("What this artifact was made from")};

    pic.boxes = arena_alloc(p->a, (l->n_nodes + 1) * sizeof(*pic.boxes));
    pic.lines = arena_alloc(p->a, (l->n_edges + 1) * sizeof(*pic.lines));
    for (size_t i = 0; i < l->n_nodes; i++) {
        pic.boxes[i].parent = PIC_TOP;
        if (l->nodes[i].is_task)
            task_box(p, &pic.boxes[i], &l->nodes[i], &l->nodes[0]);
        else
            artifact_box(p, &pic.boxes[i], &l->nodes[i], i < l->n_starts);
    }
    for (size_t i = 0; i < l->n_edges; i++)
        pic.lines[i] = (struct pic_line){.from = l->edges[i].from,
                                         .to = l->edges[i].to,
                                         .title = l->edges[i].name,
                                         .dashed = l->edges[i].reused};
    pic.n_boxes = l->n_nodes;
    pic.n_lines = l->n_edges;
    picture_svg(p->b, &pic);
}

int page_lineage(struct page *p, int64_t artifact, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct lineage_opts o = {.directions = DB_UP};
    struct lineage l;

    buf_init(&text, LINEAGE_TEXT_MAX);
    if (db_lineage_in(p->a, p->d, &artifact, 1, &o, &l, e) < 0)
        return -1;
    if (l.n_nodes <= LINEAGE_BOXES)
        lineage_picture(p, &l);
    else
        HTML(p->b,
             "<p class='note'>$ artifacts and tasks are too many for a drawing.</p>\n",
             fmt_in(p->a, "%zu", l.n_nodes));
    lineage_tree(&l, &text);
    HTML(p->b, "<details><summary>as text</summary><pre>$</pre></details>\n",
         (struct str){buf_str(&text), text.len});
    return 0;
}

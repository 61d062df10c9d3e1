/* SPDX-License-Identifier: Apache-2.0 */
/* charts.c - classification metrics as pictures
 *
 * The shapes are those that KFP's ClassificationMetrics writes:
 *
 *   confusionMatrix    {"annotationSpecs": [{"displayName": "cat"}, ...],
 *                       "rows": [{"row": [50, 2]}, ...]}          row: actual class
 *   confidenceMetrics  [{"confidenceThreshold": t, "recall": tpr,
 *                        "falsePositiveRate": fpr}, ...]
 *
 * A matrix is an HTML table, so that its numbers can be selected and read aloud; each
 * cell is shaded by its share of its row (what became of that class), in eleven steps
 * that are classes of the style sheet. A curve is SVG in a unit square, one polyline,
 * with the area under it by the trapezoid rule.
 */
#include "report/charts.h"

#include <math.h>

#include "report/html.h"

#define CLASSES_MAX 40  /* more cannot be read */
#define POINTS_MAX 5000 /* of a curve; more than pixels */
#define SIDE 240.0      /* pixels of the unit square */
#define LEFT 44.0       /* of it: labels */
#define TOP 10.0
#define SHADES 10

/* ---- confusion matrix ---- */

static struct str number_in(struct arena *a, double v)
{
    char text[32];

    json_number_text(v, text);
    return fmt_in(a, "%s", text);
}

static double row_sum(json *row)
{
    double sum = 0;
    json *v;
    size_t i, max;

    yyjson_arr_foreach(row, i, max, v)
    {
        if (yyjson_is_num(v) && yyjson_get_num(v) > 0)
            sum += yyjson_get_num(v);
    }
    return sum;
}

static void matrix_row(struct buf *b, struct arena *a, json *row, struct str name,
                       size_t at)
{
    double sum = row_sum(row);
    json *v;
    size_t i, max;

    HTML(b, "<tr><th scope='row'>$</th>", name);
    yyjson_arr_foreach(row, i, max, v)
    {
        double n = yyjson_is_num(v) ? yyjson_get_num(v) : 0;
        double share = sum > 0 && n > 0 ? n / sum : 0;
        int shade = (int)lround(share * SHADES);

        if (!yyjson_is_num(v))
            buf_adds(b, "<td>?</td>");
        else
            HTML(b, "<td class='h$$'>$<small>$%</small></td>", fmt_in(a, "%d", shade),
                 i == at ? STR(" hit") : STR(""), number_in(a, n),
                 fmt_in(a, "%.0f", 100 * share));
    }
    buf_adds(b, "</tr>\n");
}

/* share of all samples on the diagonal; -1 when there are none */
static double accuracy(json *rows)
{
    double hits = 0, all = 0;
    json *row;
    size_t i, max;

    yyjson_arr_foreach(rows, i, max, row)
    {
        json *cells = json_at(row, "row"), *hit = yyjson_arr_get(cells, i);
        all += row_sum(cells);
        if (yyjson_is_num(hit) && yyjson_get_num(hit) > 0)
            hits += yyjson_get_num(hit);
    }
    return all > 0 ? hits / all : -1;
}

static void matrix_table(struct buf *b, struct arena *a, json *names, json *rows)
{
    json *name, *row;
    size_t i, max;
    double right = accuracy(rows);

    buf_adds(
        b,
        "<figure class='matrix'><table><caption>Confusion matrix</caption><thead><tr>"
        "<td class='corner'>actual \\ predicted</td>");
    yyjson_arr_foreach(names, i, max, name)
        HTML(b, "<th scope='col'>$</th>", json_as_str(json_at(name, "displayName")));
    buf_adds(b, "</tr></thead><tbody>\n");
    yyjson_arr_foreach(rows, i, max, row)
        matrix_row(b, a, json_at(row, "row"),
                   json_as_str(json_at(yyjson_arr_get(names, i), "displayName")), i);
    buf_adds(b, "</tbody></table>");
    if (right >= 0)
        HTML(b,
             "<figcaption>$ % of the samples lie on the diagonal. Shades and "
             "percentages: "
             "share of the row.</figcaption>",
             fmt_in(a, "%.1f", 100 * right));
    buf_adds(b, "</figure>\n");
}

bool charts_matrix(struct buf *b, struct arena *a, json *metrics)
{
    json *names = json_at(metrics, "confusionMatrix.annotationSpecs");
    json *rows = json_at(metrics, "confusionMatrix.rows"), *row;
    size_t n = yyjson_arr_size(names), i, max;

    if (!n || yyjson_arr_size(rows) != n)
        return false;
    yyjson_arr_foreach(rows, i, max, row)
    {
        if (yyjson_arr_size(json_at(row, "row")) != n)
            return false;
    }
    if (n > CLASSES_MAX) {
        HTML(b,
             "<p class='note'>A confusion matrix of $ classes is too large for a "
             "page.</p>",
             fmt_in(a, "%zu", n));
        return true;
    }
    matrix_table(b, a, names, rows);
    return true;
}

/* ---- ROC curve ---- */

struct roc_point {
    double fpr, tpr;
};

static bool rate(json *v, double *out)
{
    if (!yyjson_is_num(v))
        return false;
    *out = yyjson_get_num(v);
    return isfinite(*out) && *out >= 0 && *out <= 1;
}

static int by_fpr(const void *p, const void *q)
{
    const struct roc_point *x = p, *y = q;

    if (x->fpr != y->fpr)
        return x->fpr < y->fpr ? -1 : 1;
    return x->tpr < y->tpr ? -1 : x->tpr > y->tpr;
}

static struct roc_point *read_points(struct arena *a, json *list, size_t *n,
                                     size_t *odd)
{
    struct roc_point *p = arena_alloc(a, (yyjson_arr_size(list) + 1) * sizeof(*p));
    json *item;
    size_t i, max;

    *n = *odd = 0;
    yyjson_arr_foreach(list, i, max, item)
    {
        struct roc_point x;
        if (rate(json_at(item, "falsePositiveRate"), &x.fpr) &&
            rate(json_at(item, "recall"), &x.tpr))
            p[(*n)++] = x;
        else
            ++*odd;
    }
    qsort(p, *n, sizeof(*p), by_fpr);
    return p;
}

/* by trapezoids, from (0,0) to (1,1) */
static double area(const struct roc_point *p, size_t n)
{
    struct roc_point last = {0, 0};
    double sum = 0;

    for (size_t i = 0; i <= n; i++) {
        struct roc_point x = i < n ? p[i] : (struct roc_point){1, 1};
        sum += (x.fpr - last.fpr) * (x.tpr + last.tpr) / 2;
        last = x;
    }
    return sum;
}

static void axes(struct buf *b)
{
    for (int i = 0; i <= 4; i++) {
        double v = i / 4.0, x = LEFT + SIDE * v, y = TOP + SIDE * (1 - v);
        buf_addf(b, "<path class='grid' d='M%.1f %.1fV%.1fM%.1f %.1fH%.1f'/>", x, TOP,
                 TOP + SIDE, LEFT, y, LEFT + SIDE);
        buf_addf(b,
                 "<text class='tick' x='%.1f' y='%.1f' text-anchor='middle'>%g</text>",
                 x, TOP + SIDE + 14, v);
        buf_addf(b, "<text class='tick' x='%.1f' y='%.1f' text-anchor='end'>%g</text>",
                 LEFT - 5, y + 4, v);
    }
    buf_addf(
        b,
        "<path class='chance' d='M%.1f %.1fL%.1f %.1f'/>"
        "<text class='axis' x='%.1f' y='%.1f' text-anchor='middle'>false positive rate"
        "</text><text class='axis' transform='translate(12 %.1f) rotate(-90)' "
        "text-anchor='middle'>true positive rate</text>",
        LEFT, TOP + SIDE, LEFT + SIDE, TOP, LEFT + SIDE / 2, TOP + SIDE + 30,
        TOP + SIDE / 2);
}

static void curve(struct buf *b, const struct roc_point *p, size_t n)
{
    size_t step = n / POINTS_MAX + 1;

    buf_addf(b, "<path class='fill' d='M%.1f %.1f", LEFT, TOP + SIDE);
    for (size_t i = 0; i < n; i += step)
        buf_addf(b, "L%.1f %.1f", LEFT + SIDE * p[i].fpr, TOP + SIDE * (1 - p[i].tpr));
    buf_addf(b, "L%.1f %.1fV%.1fZ'/>", LEFT + SIDE, TOP, TOP + SIDE);
    buf_addf(b, "<path class='roc' d='M%.1f %.1f", LEFT, TOP + SIDE);
    for (size_t i = 0; i < n; i += step)
        buf_addf(b, "L%.1f %.1f", LEFT + SIDE * p[i].fpr, TOP + SIDE * (1 - p[i].tpr));
    buf_addf(b, "L%.1f %.1f'/>", LEFT + SIDE, TOP);
}

bool charts_roc(struct buf *b, struct arena *a, json *metrics)
{
    json *list = json_at(metrics, "confidenceMetrics");
    size_t n, odd;
    const struct roc_point *p;
    struct str auc;

    if (!yyjson_arr_size(list))
        return false;
    p = read_points(a, list, &n, &odd);
    if (!n)
        return false;
    auc = fmt_in(a, "%.3f", area(p, n));
    HTML(b,
         "<figure class='curve'><svg viewBox='0 0 $ $' width='$' role='img' "
         "aria-label='ROC curve, area under it $'>",
         fmt_in(a, "%.0f", LEFT + SIDE + 12), fmt_in(a, "%.0f", TOP + SIDE + 36),
         fmt_in(a, "%.0f", LEFT + SIDE + 12), auc);
    axes(b);
    curve(b, p, n);
    HTML(b,
         "<text class='auc' x='$' y='$' text-anchor='end'>AUC $</text></svg>"
         "<figcaption>ROC curve of $ points$.</figcaption></figure>\n",
         fmt_in(a, "%.0f", LEFT + SIDE - 10), fmt_in(a, "%.0f", TOP + SIDE - 14), auc,
         fmt_in(a, "%zu", n),
         odd ? fmt_in(a, ", %zu were no rates and are left out", odd) : STR(""));
    return true;
}

bool charts_classification(struct buf *b, struct arena *a, json *metrics)
{
    AUTO_BUF struct buf both = {0};
    bool any = charts_roc(&both, a, metrics);

    any = charts_matrix(&both, a, metrics) || any;
    if (!any)
        return false;
    buf_adds(b, "<div class='charts'>");
    buf_add(b, both.ptr, both.len);
    buf_adds(b, "</div>\n");
    return true;
}

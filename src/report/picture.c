/* SPDX-License-Identifier: Apache-2.0 */
/* picture.c - boxes, groups of boxes and arrows as inline SVG
 *
 * Arrows join boxes of one parent only, as KFP's do: what flows into a group is an
 * input of the group. So each group is a drawing of its own, placed by layout.c from
 * the inside out; to its parent it is a box like any other, only larger. Positions are
 * relative until the outermost drawing is placed, then one pass in order of index makes
 * them absolute.
 *
 * The browser measures text, we do not have it: widths are estimated from the number of
 * characters, generously, and names that are too long are cut and whole on hover.
 * Colours are classes of the style sheet, so that one drawing serves light, dark and
 * paper.
 */
#include "report/picture.h"

#include <math.h>

#include "report/html.h"
#include "report/layout.h"

#define BOX_HEIGHT 46.0
#define NAME_CHAR 8.8 /* pixels of a character of the first line ... */
#define NOTE_CHAR 7.0 /* ... and of the second */
#define NAME_LEFT 34.0
#define BOX_MIN 116.0
#define NAME_CHARS 26
#define NOTE_CHARS 32
#define GROUP_TITLE 32.0
#define GROUP_PAD 14.0
#define GAP 16.0
#define LAYER_GAP 44.0
#define PAGE_WIDTH 1060.0
#define TURN_AT 1.3    /* wider than so many pages: rather downward */
#define SHRINK_MAX 1.6 /* wider than so many pages: scroll instead of tiny letters */
#define MARGIN 2.0

struct drawing { /* one group, or the whole */
    size_t *box; /* indices of what stands in it */
    size_t n_boxes;
    size_t *line;
    size_t n_lines;
    struct layout l;
};

struct work {
    struct arena *a;
    const struct picture *p;
    struct drawing *in; /* of each box (groups only), the last is the top */
    bool down;
};

static size_t slot(const struct work *k, size_t parent)
{
    return parent == PIC_TOP ? k->p->n_boxes : parent;
}

static double box_width(const struct pic_box *x)
{
    size_t name = text_width(x->name), note = text_width(x->note);
    double w;

    name = name > NAME_CHARS ? NAME_CHARS : name;
    note = note > NOTE_CHARS ? NOTE_CHARS : note;
    w = NAME_LEFT + 10 + fmax(NAME_CHAR * (double)name, NOTE_CHAR * (double)note);
    return ceil(fmax(w, BOX_MIN));
}

static double title_width(const struct pic_box *x)
{
    return NAME_LEFT + 20 + NAME_CHAR * (double)text_width(x->name) +
           NOTE_CHAR * (double)text_width(x->note);
}

static void sort_into_drawings(struct work *k)
{
    const struct picture *p = k->p;

    k->in = arena_alloc(k->a, (p->n_boxes + 1) * sizeof(*k->in));
    for (size_t i = 0; i < p->n_boxes; i++) {
        struct drawing *d = &k->in[slot(k, p->boxes[i].parent)];
        d->box = arena_grow(k->a, d->box, &d->n_boxes, sizeof(*d->box));
        d->box[d->n_boxes - 1] = i;
    }
    for (size_t i = 0; i < p->n_lines; i++) {
        struct drawing *d = &k->in[slot(k, p->boxes[p->lines[i].from].parent)];
        d->line = arena_grow(k->a, d->line, &d->n_lines, sizeof(*d->line));
        d->line[d->n_lines - 1] = i;
    }
}

static size_t index_in(const struct drawing *d, size_t box)
{
    size_t low = 0, high = d->n_boxes;

    while (low + 1 < high) { /* they stand in order */
        size_t mid = (low + high) / 2;
        if (d->box[mid] <= box)
            low = mid;
        else
            high = mid;
    }
    return low;
}

static void place_drawing(struct work *k, struct drawing *d)
{
    const struct picture *p = k->p;

    d->l = (struct layout){
        .nodes = arena_alloc(k->a, (d->n_boxes + 1) * sizeof(*d->l.nodes)),
        .n_nodes = d->n_boxes,
        .edges = arena_alloc(k->a, (d->n_lines + 1) * sizeof(*d->l.edges)),
        .n_edges = d->n_lines,
        .down = k->down,
        .gap = GAP,
        .layer_gap = LAYER_GAP};
    for (size_t i = 0; i < d->n_boxes; i++) {
        d->l.nodes[i].w = p->boxes[d->box[i]].w;
        d->l.nodes[i].h = p->boxes[d->box[i]].h;
    }
    for (size_t i = 0; i < d->n_lines; i++) {
        d->l.edges[i].from = index_in(d, p->lines[d->line[i]].from);
        d->l.edges[i].to = index_in(d, p->lines[d->line[i]].to);
    }
    layout_place_in(k->a, &d->l);
    for (size_t i = 0; i < d->n_boxes; i++) {
        p->boxes[d->box[i]].x = d->l.nodes[i].x;
        p->boxes[d->box[i]].y = d->l.nodes[i].y;
    }
}

/* leaves of one parent are equally wide, which looks like a plan and not like a cloud
 */
static void size_leaves(struct work *k)
{
    for (size_t s = 0; s <= k->p->n_boxes; s++) {
        const struct drawing *d = &k->in[s];
        double w = 0;
        for (size_t i = 0; i < d->n_boxes; i++)
            if (!k->p->boxes[d->box[i]].is_group)
                w = fmax(w, box_width(&k->p->boxes[d->box[i]]));
        for (size_t i = 0; i < d->n_boxes; i++) {
            struct pic_box *x = &k->p->boxes[d->box[i]];
            x->w = w;
            x->h = BOX_HEIGHT;
        }
    }
}

static void place_all(struct work *k)
{
    const struct picture *p = k->p;

    size_leaves(k);
    for (size_t i = p->n_boxes; i-- > 0;) {
        struct pic_box *x = &p->boxes[i];
        if (!x->is_group)
            continue;
        place_drawing(k, &k->in[i]);
        x->w = fmax(k->in[i].l.width + 2 * GROUP_PAD, title_width(x));
        x->h = k->in[i].l.height + GROUP_TITLE + GROUP_PAD;
    }
    place_drawing(k, &k->in[p->n_boxes]);
    for (size_t i = 0; i < p->n_boxes; i++) {
        struct pic_box *x = &p->boxes[i];
        x->x += x->parent == PIC_TOP ? MARGIN : p->boxes[x->parent].x + GROUP_PAD;
        x->y += x->parent == PIC_TOP ? MARGIN : p->boxes[x->parent].y + GROUP_TITLE;
    }
}

/* ---- out ---- */

/* Every other segment lies within a layer that the arrow only passes: those are
 * straight. */
static void draw_line(struct work *k, struct buf *b, const struct drawing *d, size_t i,
                      double dx, double dy)
{
    const struct lay_edge *e = &d->l.edges[i];
    const struct pic_line *line = &k->p->lines[d->line[i]];
    const struct lay_point *p = e->points;
    struct lay_point end;
    double way;

    if (e->n_points < 2)
        return;
    buf_addf(b, "<path class='line%s' d='M%.1f %.1f", line->dashed ? " dashed" : "",
             p[0].x + dx, p[0].y + dy);
    for (size_t j = 1; j < e->n_points; j++) {
        double x0 = p[j - 1].x + dx, y0 = p[j - 1].y + dy, x1 = p[j].x + dx,
               y1 = p[j].y + dy;
        double mx = (x0 + x1) / 2, my = (y0 + y1) / 2;
        if (j % 2 == 0)
            buf_addf(b, "L%.1f %.1f", x1, y1);
        else if (k->down)
            buf_addf(b, "C%.1f %.1f %.1f %.1f %.1f %.1f", x0, my, x1, my, x1, y1);
        else
            buf_addf(b, "C%.1f %.1f %.1f %.1f %.1f %.1f", mx, y0, mx, y1, x1, y1);
    }
    HTML(b, "'><title>$</title></path>", line->title);
    end = p[e->n_points - 1];
    end.x += dx;
    end.y += dy;
    way =
        k->down ? end.y - p[e->n_points - 2].y - dy : end.x - p[e->n_points - 2].x - dx;
    way = way < 0 ? -1 : 1;
    if (k->down)
        buf_addf(b, "<path class='tip' d='M%.1f %.1fl-4 %.0fh8z'/>", end.x, end.y,
                 -7 * way);
    else
        buf_addf(b, "<path class='tip' d='M%.1f %.1fl%.0f -4v8z'/>", end.x, end.y,
                 -7 * way);
    buf_addc(b, '\n');
}

static void draw_leaf(struct work *k, struct buf *b, const struct pic_box *x)
{
    buf_addf(b,
             "<rect class='edge' x='%.1f' y='%.1f' width='%.1f' height='%.1f' rx='8'/>",
             x->x, x->y, x->w, x->h);
    buf_addf(b, "<circle class='dot' cx='%.1f' cy='%.1f' r='9'/>", x->x + 18,
             x->y + x->h / 2);
    buf_addf(b, "<text class='glyph' x='%.1f' y='%.1f' text-anchor='middle'>%s</text>",
             x->x + 18, x->y + x->h / 2 + 4, x->glyph);
    HTML(b, "<text class='name' x='$' y='$'>$</text>",
         fmt_in(k->a, "%.1f", x->x + NAME_LEFT),
         fmt_in(k->a, "%.1f", x->y + (x->note.len ? 20 : x->h / 2 + 5)),
         text_cut_in(k->a, x->name, NAME_CHARS));
    if (x->note.len)
        HTML(b, "<text class='sub' x='$' y='$'>$</text>",
             fmt_in(k->a, "%.1f", x->x + NAME_LEFT), fmt_in(k->a, "%.1f", x->y + 36),
             text_cut_in(k->a, x->note, NOTE_CHARS));
}

static void draw_group(struct work *k, struct buf *b, const struct pic_box *x)
{
    buf_addf(
        b, "<rect class='group' x='%.1f' y='%.1f' width='%.1f' height='%.1f' rx='10'/>",
        x->x, x->y, x->w, x->h);
    buf_addf(b, "<circle class='dot' cx='%.1f' cy='%.1f' r='7'/>", x->x + 18,
             x->y + 16);
    buf_addf(
        b, "<text class='glyph small' x='%.1f' y='%.1f' text-anchor='middle'>%s</text>",
        x->x + 18, x->y + 19.5, x->glyph);
    HTML(b,
         "<text class='name' x='$' y='$'>$<tspan class='sub' dx='8'>$</tspan></text>",
         fmt_in(k->a, "%.1f", x->x + NAME_LEFT), fmt_in(k->a, "%.1f", x->y + 20.5),
         x->name, x->note);
}

static void draw_box(struct work *k, struct buf *b, const struct pic_box *x)
{
    buf_addf(b, "<g class='box %s'>", x->style);
    HTML(b, "<title>$</title>", x->title);
    if (x->href.len)
        HTML(b, "<a href='$'>", x->href);
    if (x->is_group)
        draw_group(k, b, x);
    else
        draw_leaf(k, b, x);
    buf_adds(b, x->href.len ? "</a></g>\n" : "</g>\n");
}

static void draw_all(struct work *k, struct buf *b)
{
    const struct picture *p = k->p;
    const struct layout *top = &k->in[p->n_boxes].l;
    double w = ceil(top->width + 2 * MARGIN), h = ceil(top->height + 2 * MARGIN);

    HTML(b,
         "<div class='picture'><svg class='$' viewBox='0 0 $ $' width='$' height='$' "
         "role='img' aria-label='$'>\n",
         w > SHRINK_MAX * PAGE_WIDTH ? STR("wide") : STR("fit"),
         fmt_in(k->a, "%.0f", w), fmt_in(k->a, "%.0f", h), fmt_in(k->a, "%.0f", w),
         fmt_in(k->a, "%.0f", h), p->label);
    for (size_t i = 0; i < p->n_boxes; i++)
        if (p->boxes[i].is_group)
            draw_box(k, b, &p->boxes[i]);
    for (size_t s = 0; s <= p->n_boxes; s++) {
        double dx = s < p->n_boxes ? p->boxes[s].x + GROUP_PAD : MARGIN;
        double dy = s < p->n_boxes ? p->boxes[s].y + GROUP_TITLE : MARGIN;
        for (size_t i = 0; i < k->in[s].n_lines; i++)
            draw_line(k, b, &k->in[s], i, dx, dy);
    }
    for (size_t i = 0; i < p->n_boxes; i++)
        if (!p->boxes[i].is_group)
            draw_box(k, b, &p->boxes[i]);
    buf_adds(b, "</svg></div>\n");
}

void picture_svg(struct buf *b, const struct picture *p)
{
    AUTO_ARENA struct arena a = {0};
    struct work k = {.a = &a, .p = p};
    double right;

    if (!p->n_boxes)
        return;
    sort_into_drawings(&k);
    place_all(&k);
    right = k.in[p->n_boxes].l.width;
    if (right > TURN_AT * PAGE_WIDTH) {
        k.down = true;
        place_all(&k);
        if (k.in[p->n_boxes].l.width > right) {
            k.down = false;
            place_all(&k);
        }
    }
    draw_all(&k, b);
}

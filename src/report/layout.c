/* SPDX-License-Identifier: Apache-2.0 */
/* layout.c - a layered drawing of a graph
 *
 * Five steps, each simple (after Sugiyama, Tagawa and Toda):
 *
 *   1 turn     edges that close a cycle are turned round for the time being
 *   2 layer    a node stands one layer after the last of those that it needs
 *   3 bend     an edge that passes layers gets a small invisible vertex in each
 *   4 order    in each layer by the mean place of the neighbours; sweeps to and fro;
 *              the order with the fewest crossings wins
 *   5 place    each vertex wants to stand where its neighbours are, on average; to
 *              come close, without changing the order and with room between, is a
 *              least squares problem; "pool adjacent violators" solves it exactly
 *
 * "Along" is the direction from layer to layer, "across" the direction within a layer;
 * which of them is x matters only where sizes come in and points go out.
 */
#include "report/layout.h"

#include <math.h>
#include <stdint.h>

#define SWEEPS 12
#define BEND_SIZE 6.0   /* pixels that a passing edge claims in a layer */
#define BEND_WEIGHT 4.0 /* long edges are straight before boxes are centred */

struct vert {
    size_t node; /* SIZE_MAX: a bend */
    size_t layer, place;
    double across, along; /* sizes */
    double at;            /* centre, across */
    double want, weight;
    size_t *before, n_before; /* neighbours in the layer before, and after */
    size_t *after, n_after;
};

struct row {
    size_t *v, n;
    double from, thick; /* along */
};

struct work {
    struct arena *a;
    struct layout *l;
    bool *turned; /* of each edge */
    struct vert *v;
    size_t n_v;
    struct row *rows;
    size_t n_rows;
    size_t **chain; /* of each edge: vertices from its upper end to its lower end */
    size_t *n_chain;
};

static size_t tail(const struct work *k, size_t e)
{
    return k->turned[e] ? k->l->edges[e].to : k->l->edges[e].from;
}

static size_t head(const struct work *k, size_t e)
{
    return k->turned[e] ? k->l->edges[e].from : k->l->edges[e].to;
}

static bool is_drawn(const struct work *k, size_t e)
{
    return k->l->edges[e].from != k->l->edges[e].to;
}

/* ---- 1 turn ---- */

enum { WHITE, GREY, BLACK };

/* depth first with an own stack: an edge into a node that is still open closes a cycle
 */
static void turn_cycles(struct work *k)
{
    const struct layout *l = k->l;
    char *colour = arena_alloc(k->a, l->n_nodes + 1);
    size_t *stack = arena_alloc(k->a, (l->n_nodes + 1) * sizeof(*stack));
    size_t *next = arena_alloc(k->a, (l->n_nodes + 1) * sizeof(*next));

    for (size_t root = 0; root < l->n_nodes; root++) {
        size_t n = 0;
        if (colour[root] != WHITE)
            continue;
        colour[root] = GREY;
        stack[n++] = root;
        while (n) {
            size_t at = stack[n - 1], e = next[at]++;
            if (e >= l->n_edges) {
                colour[at] = BLACK;
                n--;
                continue;
            }
            if (l->edges[e].from != at || !is_drawn(k, e))
                continue;
            if (colour[l->edges[e].to] == GREY) {
                k->turned[e] = true;
            } else if (colour[l->edges[e].to] == WHITE) {
                colour[l->edges[e].to] = GREY;
                stack[n++] = l->edges[e].to;
            }
        }
    }
}

/* ---- 2 layer ---- */

static void set_layers(struct work *k, size_t *layer)
{
    const struct layout *l = k->l;
    bool *fed = arena_alloc(k->a, l->n_nodes + 1);
    bool moved = true;

    while (moved) { /* longest path; ends because there is no cycle any more */
        moved = false;
        for (size_t e = 0; e < l->n_edges; e++) {
            if (!is_drawn(k, e) || layer[head(k, e)] > layer[tail(k, e)])
                continue;
            layer[head(k, e)] = layer[tail(k, e)] + 1;
            moved = true;
        }
    }
    for (size_t e = 0; e < l->n_edges; e++)
        if (is_drawn(k, e))
            fed[head(k, e)] = true;
    for (size_t i = 0; i < l->n_nodes;
         i++) { /* what needs nothing stands near its use */
        size_t nearest = SIZE_MAX;
        for (size_t e = 0; e < l->n_edges && !fed[i]; e++)
            if (is_drawn(k, e) && tail(k, e) == i && layer[head(k, e)] < nearest)
                nearest = layer[head(k, e)];
        if (nearest != SIZE_MAX)
            layer[i] = nearest - 1;
    }
}

/* ---- 3 bend ---- */

static void link_verts(struct work *k, size_t upper, size_t lower)
{
    struct vert *u = &k->v[upper], *w = &k->v[lower];

    u->after = arena_grow(k->a, u->after, &u->n_after, sizeof(*u->after));
    u->after[u->n_after - 1] = lower;
    w->before = arena_grow(k->a, w->before, &w->n_before, sizeof(*w->before));
    w->before[w->n_before - 1] = upper;
}

static void add_edge(struct work *k, size_t e, const size_t *layer)
{
    size_t from = tail(k, e), to = head(k, e), last = from;

    k->chain[e] = arena_alloc(k->a, (layer[to] - layer[from] + 1) * sizeof(size_t));
    k->chain[e][k->n_chain[e]++] = from;
    for (size_t i = layer[from] + 1; i < layer[to]; i++) {
        k->v[k->n_v] = (struct vert){
            .node = SIZE_MAX, .layer = i, .across = BEND_SIZE, .weight = BEND_WEIGHT};
        link_verts(k, last, k->n_v);
        last = k->n_v;
        k->chain[e][k->n_chain[e]++] = k->n_v++;
    }
    link_verts(k, last, to);
    k->chain[e][k->n_chain[e]++] = to;
}

static void make_verts(struct work *k, const size_t *layer)
{
    const struct layout *l = k->l;
    size_t n = l->n_nodes;

    for (size_t e = 0; e < l->n_edges; e++)
        if (is_drawn(k, e))
            n += layer[head(k, e)] - layer[tail(k, e)] - 1;
    k->v = arena_alloc(k->a, (n + 1) * sizeof(*k->v));
    for (size_t i = 0; i < l->n_nodes; i++) {
        const struct lay_node *x = &l->nodes[i];
        k->v[i] = (struct vert){.node = i,
                                .layer = layer[i],
                                .across = l->down ? x->w : x->h,
                                .along = l->down ? x->h : x->w,
                                .weight = 1};
    }
    k->n_v = l->n_nodes;
    for (size_t e = 0; e < l->n_edges; e++)
        if (is_drawn(k, e))
            add_edge(k, e, layer);
}

static void make_rows(struct work *k)
{
    for (size_t i = 0; i < k->n_v; i++)
        if (k->v[i].layer >= k->n_rows)
            k->n_rows = k->v[i].layer + 1;
    k->rows = arena_alloc(k->a, (k->n_rows + 1) * sizeof(*k->rows));
    for (size_t i = 0; i < k->n_v; i++) {
        struct row *r = &k->rows[k->v[i].layer];
        r->v = arena_grow(k->a, r->v, &r->n, sizeof(*r->v));
        k->v[i].place = r->n - 1;
        r->v[r->n - 1] = i;
    }
}

/* ---- 4 order ---- */

static size_t crossings(const struct work *k)
{
    size_t n = 0;

    for (size_t r = 0; r + 1 < k->n_rows; r++) {
        const struct row *row = &k->rows[r];
        for (size_t i = 0; i < row->n; i++)
            for (size_t j = i + 1; j < row->n; j++) {
                const struct vert *p = &k->v[row->v[i]], *q = &k->v[row->v[j]];
                for (size_t x = 0; x < p->n_after; x++)
                    for (size_t y = 0; y < q->n_after; y++)
                        n += k->v[p->after[x]].place > k->v[q->after[y]].place;
            }
    }
    return n;
}

/* insertion sort: stable, and nearly sorted is the usual case */
static void sort_row(struct work *k, struct row *r)
{
    for (size_t i = 1; i < r->n; i++) {
        size_t x = r->v[i], j = i;
        for (; j && k->v[r->v[j - 1]].want > k->v[x].want; j--)
            r->v[j] = r->v[j - 1];
        r->v[j] = x;
    }
    for (size_t i = 0; i < r->n; i++)
        k->v[r->v[i]].place = i;
}

static void order_row(struct work *k, struct row *r, bool by_before)
{
    for (size_t i = 0; i < r->n; i++) {
        struct vert *x = &k->v[r->v[i]];
        const size_t *near = by_before ? x->before : x->after;
        size_t n = by_before ? x->n_before : x->n_after;
        double sum = 0;

        for (size_t j = 0; j < n; j++)
            sum += (double)k->v[near[j]].place;
        x->want = n ? sum / (double)n : (double)x->place;
    }
    sort_row(k, r);
}

static void order_rows(struct work *k)
{
    size_t *best = arena_alloc(k->a, (k->n_v + 1) * sizeof(*best));
    size_t fewest = SIZE_MAX;

    for (unsigned s = 0; s <= SWEEPS && fewest; s++) {
        size_t now = crossings(k);
        if (now < fewest) {
            fewest = now;
            for (size_t i = 0; i < k->n_v; i++)
                best[i] = k->v[i].place;
        }
        for (size_t i = 1; i < k->n_rows; i++) {
            if (s % 2 == 0)
                order_row(k, &k->rows[i], true);
            else
                order_row(k, &k->rows[k->n_rows - 1 - i], false);
        }
    }
    for (size_t i = 0; i < k->n_v; i++) {
        k->v[i].place = best[i];
        k->rows[k->v[i].layer].v[best[i]] = i;
    }
}

/* ---- 5 place ---- */

static double room(const struct work *k, const struct vert *p, const struct vert *q)
{
    bool bends = p->node == SIZE_MAX || q->node == SIZE_MAX;

    return (p->across + q->across) / 2 + (bends ? k->l->gap / 2 : k->l->gap);
}

struct pool {
    double mean, weight;
    size_t n;
};

/* The centres x_i nearest to the wishes with x_{i+1} - x_i >= room_i. With the rooms
 * subtracted the x only have to grow: neighbours that do not are pooled to their mean.
 */
static void place_row(struct work *k, const struct row *r)
{
    struct pool *p = xalloc((r->n + 1) * sizeof(*p));
    size_t n = 0, at = 0;
    double shift = 0;

    for (size_t i = 0; i < r->n; i++) {
        const struct vert *x = &k->v[r->v[i]];
        if (i)
            shift += room(k, &k->v[r->v[i - 1]], x);
        p[n++] = (struct pool){x->want - shift, x->weight, 1};
        while (n > 1 && p[n - 2].mean > p[n - 1].mean) {
            double w = p[n - 2].weight + p[n - 1].weight;
            p[n - 2].mean =
                (p[n - 2].mean * p[n - 2].weight + p[n - 1].mean * p[n - 1].weight) / w;
            p[n - 2].weight = w;
            p[n - 2].n += p[n - 1].n;
            n--;
        }
    }
    shift = 0;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < p[i].n; j++, at++) {
            if (at)
                shift += room(k, &k->v[r->v[at - 1]], &k->v[r->v[at]]);
            k->v[r->v[at]].at = p[i].mean + shift;
        }
    free(p);
}

static void wish(struct work *k, struct vert *x, bool before, bool after)
{
    size_t n = (before ? x->n_before : 0) + (after ? x->n_after : 0);
    double sum = 0;

    for (size_t i = 0; before && i < x->n_before; i++)
        sum += k->v[x->before[i]].at;
    for (size_t i = 0; after && i < x->n_after; i++)
        sum += k->v[x->after[i]].at;
    x->weight = x->node == SIZE_MAX ? BEND_WEIGHT : n ? 1 : 0.05;
    x->want = n ? sum / (double)n : x->at;
}

static void place_rows(struct work *k)
{
    for (unsigned s = 0; s <= SWEEPS; s++)
        for (size_t i = 0; i < k->n_rows; i++) {
            struct row *r = &k->rows[s % 2 ? k->n_rows - 1 - i : i];
            bool last = s == SWEEPS;
            for (size_t j = 0; j < r->n; j++)
                wish(k, &k->v[r->v[j]], last || s % 2 == 0, last || s % 2);
            place_row(k, r);
        }
}

/* ---- out ---- */

static struct lay_point point(const struct work *k, double along, double across)
{
    return k->l->down ? (struct lay_point){across, along}
                      : (struct lay_point){along, across};
}

static void give_nodes(struct work *k)
{
    struct layout *l = k->l;
    double low = 0, high = 0, along = 0;

    for (size_t i = 0; i < k->n_v; i++) {
        low = fmin(i ? low : INFINITY, k->v[i].at - k->v[i].across / 2);
        high = fmax(i ? high : -INFINITY, k->v[i].at + k->v[i].across / 2);
    }
    for (size_t i = 0; i < k->n_rows; i++) {
        struct row *r = &k->rows[i];
        for (size_t j = 0; j < r->n; j++)
            r->thick = fmax(r->thick, k->v[r->v[j]].along);
        r->from = along;
        along += r->thick + (i + 1 < k->n_rows ? l->layer_gap : 0);
    }
    for (size_t i = 0; i < k->n_v; i++) {
        struct vert *x = &k->v[i];
        x->at -= low;
        if (x->node == SIZE_MAX)
            continue;
        struct lay_point p = point(k, k->rows[x->layer].from, x->at - x->across / 2);
        l->nodes[x->node].x = p.x;
        l->nodes[x->node].y = p.y;
    }
    l->width = l->down ? high - low : along;
    l->height = l->down ? along : high - low;
}

/* A bend gives two points, where the edge enters its layer and where it leaves it. */
static void give_edge(struct work *k, size_t e)
{
    struct lay_edge *x = &k->l->edges[e];
    size_t n = k->n_chain[e], made = 0;
    struct lay_point *p = arena_alloc(k->a, 2 * n * sizeof(*p));

    for (size_t i = 0; i < n; i++) {
        const struct vert *v = &k->v[k->chain[e][i]];
        const struct row *r = &k->rows[v->layer];
        double end = r->from + (v->node == SIZE_MAX ? r->thick : v->along);
        if (i)
            p[made++] = point(k, r->from, v->at);
        if (i + 1 < n)
            p[made++] = point(k, end, v->at);
    }
    for (size_t i = 0; k->turned[e] && i < made / 2; i++) {
        struct lay_point t = p[i];
        p[i] = p[made - 1 - i];
        p[made - 1 - i] = t;
    }
    x->points = p;
    x->n_points = made;
}

void layout_place_in(struct arena *a, struct layout *l)
{
    AUTO_ARENA struct arena scratch = {0};
    struct work k = {.a = &scratch, .l = l};
    size_t *layer = arena_alloc(&scratch, (l->n_nodes + 1) * sizeof(*layer));

    k.turned = arena_alloc(&scratch, l->n_edges + 1);
    k.chain = arena_alloc(&scratch, (l->n_edges + 1) * sizeof(*k.chain));
    k.n_chain = arena_alloc(&scratch, (l->n_edges + 1) * sizeof(*k.n_chain));
    turn_cycles(&k);
    set_layers(&k, layer);
    make_verts(&k, layer);
    make_rows(&k);
    order_rows(&k);
    place_rows(&k);
    give_nodes(&k);
    k.a = a; /* what is given outlives the work */
    for (size_t e = 0; e < l->n_edges; e++) {
        l->edges[e].points = NULL;
        l->edges[e].n_points = 0;
        if (is_drawn(&k, e))
            give_edge(&k, e);
    }
}

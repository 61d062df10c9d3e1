/* SPDX-License-Identifier: Apache-2.0 */
/* report_layout_test.c - drawings hold what a reader relies on, for known and for
 * random graphs */
#include <math.h>
#include <stdint.h>

#include "report/layout.h"
#include "t.h"

static struct layout a_layout(struct lay_node *nodes, size_t n, struct lay_edge *edges,
                              size_t m)
{
    for (size_t i = 0; i < n; i++)
        nodes[i] = (struct lay_node){.w = 100 + (double)(i % 3) * 20, .h = 40};
    return (struct layout){.nodes = nodes,
                           .n_nodes = n,
                           .edges = edges,
                           .n_edges = m,
                           .gap = 16,
                           .layer_gap = 40};
}

static bool apart(const struct lay_node *p, const struct lay_node *q, double gap)
{
    return p->x + p->w + gap <= q->x + 1e-6 || q->x + q->w + gap <= p->x + 1e-6 ||
           p->y + p->h + gap <= q->y + 1e-6 || q->y + q->h + gap <= p->y + 1e-6;
}

static bool inside(const struct layout *l, double x, double y)
{
    return x >= -1e-6 && y >= -1e-6 && x <= l->width + 1e-6 && y <= l->height + 1e-6;
}

/* nothing overlaps, nothing leaves the picture, lines begin and end at their boxes */
static bool is_sound(const struct layout *l)
{
    for (size_t i = 0; i < l->n_nodes; i++) {
        const struct lay_node *p = &l->nodes[i];
        if (!inside(l, p->x, p->y) || !inside(l, p->x + p->w, p->y + p->h))
            return false;
        for (size_t j = 0; j < i; j++)
            if (!apart(p, &l->nodes[j], l->gap))
                return false;
    }
    for (size_t i = 0; i < l->n_edges; i++) {
        const struct lay_edge *e = &l->edges[i];
        const struct lay_node *f = &l->nodes[e->from];
        if (e->from == e->to) {
            if (e->points)
                return false;
            continue;
        }
        if (e->n_points < 2)
            return false;
        for (size_t k = 0; k < e->n_points; k++)
            if (!inside(l, e->points[k].x, e->points[k].y))
                return false;
        if (e->points[0].x < f->x - 1e-6 || e->points[0].x > f->x + f->w + 1e-6 ||
            e->points[0].y < f->y - 1e-6 || e->points[0].y > f->y + f->h + 1e-6)
            return false;
    }
    return true;
}

static void a_chain_is_a_straight_line(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lay_node n[4];
    struct lay_edge e[] = {
        {.from = 0, .to = 1}, {.from = 1, .to = 2}, {.from = 2, .to = 3}};
    struct layout l = a_layout(n, 4, e, 3);

    layout_place_in(&a, &l);
    CHECK(is_sound(&l));
    CHECK_INT(l.height, 40);
    CHECK_INT(l.width, 100 + 120 + 140 + 100 + 3 * 40);
    for (int i = 0; i < 3; i++)
        CHECK(n[i].x + n[i].w <= n[i + 1].x - 39.9 && fabs(n[i].y - n[i + 1].y) < 1e-6);

    l.down = true;
    layout_place_in(&a, &l);
    CHECK(is_sound(&l));
    CHECK_INT(l.width, 140);
    CHECK_INT(l.height, 4 * 40 + 3 * 40);
}

static void a_diamond_stands_symmetrically(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lay_node n[4];
    struct lay_edge e[] = {{.from = 0, .to = 1},
                           {.from = 0, .to = 2},
                           {.from = 1, .to = 3},
                           {.from = 2, .to = 3}};
    struct layout l = a_layout(n, 4, e, 4);

    layout_place_in(&a, &l);
    CHECK(is_sound(&l));
    CHECK(fabs(n[0].y - n[3].y) < 0.5);
    CHECK(fabs((n[1].y + n[2].y) / 2 - n[0].y) < 0.5);
    CHECK(n[1].y < n[2].y); /* in the order given */
}

/* two lines that start crossed: 0 -> 3, 1 -> 2 */
static void crossings_that_need_not_be_are_not(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lay_node n[4];
    struct lay_edge e[] = {{.from = 0, .to = 3}, {.from = 1, .to = 2}};
    struct layout l = a_layout(n, 4, e, 2);

    layout_place_in(&a, &l);
    CHECK((n[0].y < n[1].y) == (n[3].y < n[2].y));
}

static void a_source_stands_near_its_use(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lay_node n[4];
    struct lay_edge e[] = {
        {.from = 0, .to = 1}, {.from = 1, .to = 2}, {.from = 3, .to = 2}};
    struct layout l = a_layout(n, 4, e, 3);

    layout_place_in(&a, &l);
    CHECK(fabs(n[3].x - n[1].x) < 1e-6);
}

static void cycles_and_loops_are_drawn_too(void)
{
    AUTO_ARENA struct arena a = {0};
    struct lay_node n[3];
    struct lay_edge e[] = {{.from = 0, .to = 1},
                           {.from = 1, .to = 2},
                           {.from = 2, .to = 0},
                           {.from = 1, .to = 1}};
    struct layout l = a_layout(n, 3, e, 4);

    layout_place_in(&a, &l);
    CHECK(is_sound(&l));
    CHECK(e[2].points[0].x > e[2].points[e[2].n_points - 1].x); /* runs backwards */
    CHECK(!e[3].points);
}

static void nothing_is_a_graph_too(void)
{
    AUTO_ARENA struct arena a = {0};
    struct layout l = {.gap = 1};

    layout_place_in(&a, &l);
    CHECK_INT(l.width, 0);
    CHECK_INT(l.height, 0);
}

static uint32_t next_random(uint32_t *s)
{
    *s = *s * 1664525u + 1013904223u;
    return *s >> 8;
}

static void random_graphs_are_sound(void)
{
    uint32_t seed = 7;
    int bad = 0;

    for (int round = 0; round < 300; round++) {
        AUTO_ARENA struct arena a = {0};
        struct lay_node n[40];
        struct lay_edge e[80];
        size_t nodes = 1 + next_random(&seed) % 40, edges = next_random(&seed) % 80;
        struct layout l = a_layout(n, nodes, e, edges);

        for (size_t i = 0; i < edges; i++)
            e[i] = (struct lay_edge){.from = next_random(&seed) % nodes,
                                     .to = next_random(&seed) % nodes};
        l.down = round % 2;
        layout_place_in(&a, &l);
        bad += !is_sound(&l);
    }
    CHECK_INT(bad, 0);
}

int main(void)
{
    a_chain_is_a_straight_line();
    a_diamond_stands_symmetrically();
    crossings_that_need_not_be_are_not();
    a_source_stands_near_its_use();
    cycles_and_loops_are_drawn_too();
    nothing_is_a_graph_too();
    random_graphs_are_sound();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* layout.h - where to draw the boxes and lines of a graph, layer by layer */
#ifndef REPORT_LAYOUT_H
#define REPORT_LAYOUT_H

#include <stdbool.h>
#include <stddef.h>

#include "base/mem.h"

/* All lengths are pixels of an SVG; y grows downward. */
struct lay_point {
    double x, y;
};
struct lay_node {
    double w, h; /* given */
    double x, y; /* placed: the upper left corner */
};
struct lay_edge {
    size_t from, to;          /* given: indices of nodes; the same twice is ignored */
    struct lay_point *points; /* placed: border of `from` ... border of `to`; NULL for
                                 an edge that was ignored */
    size_t n_points;
};
struct layout {
    struct lay_node *nodes;
    size_t n_nodes;
    struct lay_edge *edges;
    size_t n_edges;
    bool down;             /* layers follow each other downward, else to the right */
    double gap, layer_gap; /* between neighbours of a layer, between layers */
    double width, height;  /* placed: of everything; the corner is 0,0 */
};

/* layout_place_in - place nodes and edges; the points live in the arena. Cycles are
 * fine: some of their edges run backwards. Meant for hundreds of nodes, not thousands
 */
void layout_place_in(struct arena *a, struct layout *l);

#endif

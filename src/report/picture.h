/* SPDX-License-Identifier: Apache-2.0 */
/* picture.h - inside report/: boxes, groups of boxes and arrows as inline SVG */
#ifndef REPORT_PICTURE_H
#define REPORT_PICTURE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/mem.h"

#define PIC_TOP SIZE_MAX

struct pic_box {
    struct str name, note; /* first and second line; a group has both in its title */
    struct str title;      /* on hover */
    struct str href;       /* "#t12"; empty: no link */
    const char *style;     /* class of the style sheet: "s-failed" */
    const char *glyph;     /* one character that says the same without colour */
    size_t parent;         /* index of the group it stands in, less than its own; or
                              PIC_TOP */
    bool is_group;
    double x, y, w, h; /* placed */
};
struct pic_line {
    size_t from, to; /* boxes of one parent */
    struct str title;
    bool dashed;
};
struct picture {
    struct pic_box *boxes;
    size_t n_boxes;
    struct pic_line *lines;
    size_t n_lines;
    struct str label; /* what it shows, for who cannot see it */
};

/* picture_svg - place everything and append <svg>: to the right when that fits the
 * width of a page, else downward, else whichever is narrower */
void picture_svg(struct buf *b, const struct picture *p);

#endif

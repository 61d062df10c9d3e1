/* SPDX-License-Identifier: Apache-2.0 */
/* taskgraph.h - inside report/: the tasks of a run as a picture */
#ifndef REPORT_TASKGRAPH_H
#define REPORT_TASKGRAPH_H

#include "report/report.h"

/* taskgraph_svg - append the drawing, or one line that says why there is none. Boxes
 * link to "#t<row id>". */
void taskgraph_svg(struct buf *b, const struct db_task *tasks, size_t n,
                   const struct report_opts *o);

/* How a state looks: its class in the style sheet and a character that says it too. */
const char *state_style(enum db_state s);
const char *state_glyph(enum db_state s, bool cached);
/* "succeeded", "taken from the cache", ... */
struct str task_note_in(struct arena *a, const struct db_task *t, int64_t now_unix_ms);

#endif

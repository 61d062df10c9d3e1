/* SPDX-License-Identifier: Apache-2.0 */
/* markdown.h - inside report/: Markdown to HTML that cannot do anything */
#ifndef REPORT_MARKDOWN_H
#define REPORT_MARKDOWN_H

#include "base/buf.h"

/* markdown_html - append text as HTML
 *
 * Headings (from <h4>), paragraphs, lists, quotes, code, rules, tables, emphasis, links
 * to http, https and mailto. HTML inside is shown as text, pictures as their
 * description: a report loads nothing. Any bytes give well-formed HTML. */
void markdown_html(struct buf *b, struct str text);

#endif

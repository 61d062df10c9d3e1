/* SPDX-License-Identifier: Apache-2.0 */
/* page.h - inside report/: what the sections of a page share */
#ifndef REPORT_PAGE_H
#define REPORT_PAGE_H

#include "report/html.h"
#include "report/report.h"

struct page {
    struct arena *a; /* lives as long as the page is being made */
    struct db *d;
    struct store *s;
    const struct report_opts *o;
    struct buf *b; /* the body */
};

/* page_wrap - append the whole document: the template with title and body in it */
void page_wrap(struct buf *html, struct str title, struct str class, struct str body);

/* page_section - open <section id=ID><h2>; close it with "</section>" */
void page_section(struct page *p, const char *id, const char *heading);

/* rows of a <dl>; page_fact writes nothing for an empty value */
void page_fact(struct page *p, const char *key, struct str value);
void page_fact_code(struct page *p, const char *key, struct str value);

/* page_value - a JSON value as people read it: texts without quotes, the rest as JSON,
 * long ones folded */
void page_value(struct page *p, json *v);
/* page_members - a table of the members of a JSON object text; false when there are
 * none
 */
bool page_members(struct page *p, struct str json_text, const char *caption);

/* page_scalars - "rows=5000, split=train": the plain members of a JSON object text, and
 * how many others there are */
struct str page_scalars(struct page *p, struct str json_text, size_t max_chars);

struct str page_time(struct page *p, int64_t unix_ms); /* "2026-11-27 09:31:37 UTC" */
struct str page_took(struct page *p, int64_t from_ms, int64_t to_ms);
struct str page_size(struct page *p, int64_t bytes);
struct str page_digest(struct page *p, const char *hex);     /* "sha256:3accce0b644e" */
struct str page_type(struct str type);                       /* without "system." */
bool type_is(const struct db_artifact *x, const char *name); /* "Model": system.Model */
/* page_run_ref - how to name a run in a command: its name when that finds it, else its
 * id
 */
struct str page_run_ref(struct page *p, const struct db_run *r);

/* page_command - a line to paste into a shell, with what it is for */
void page_command(struct page *p, struct str command, const char *why);

/* ---- sections that a run and a model share: artifacts.c ---- */

#define EVALUATIONS_MAX 24 /* drawn on a page */

struct page_artifact { /* an output, by the task that gave it out */
    struct db_artifact x;
    struct str task, output;
    int64_t task_id;
};
void page_metrics(struct page *p, const struct page_artifact *x, size_t n);
/* page_classification - at most `limit` of them are drawn */
void page_classification(struct page *p, const struct page_artifact *x, size_t n,
                         size_t limit);
void page_documents(struct page *p, const struct page_artifact *x, size_t n);
/* page_lineage - everything upstream of one artifact as a picture */
int page_lineage(struct page *p, int64_t artifact, struct err *e);

#endif

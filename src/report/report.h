/* SPDX-License-Identifier: Apache-2.0 */
/* report.h - a run, or the making of a model, as one HTML page for people
 *
 * A page is one file: no script, no network (its own policy forbids both), drawn as
 * SVG, light or dark as the reader likes, and made for paper too. Whatever stands on it
 * that did not come from dugout is escaped.
 */
#ifndef REPORT_REPORT_H
#define REPORT_REPORT_H

#include "lineage/query.h"
#include "store/blob.h"

/* An arrow of the pipeline: within the DAG at `scope` (the path of its task without
 * loop indices, "" for the root) the task `to` waits for `from`. */
struct report_dep {
    struct str scope, from, to;
};

struct report_opts {
    const struct report_dep *deps; /* of the run's pipeline; borrowed */
    size_t n_deps;
    struct str pipeline_text; /* description of the pipeline, may be empty */
    int64_t now_unix_ms;
};

/* report_run - append the page of one run
 *
 * Whatever is missing (logs that gc removed, content that is gone) is said in its
 * place. ERR_MISSING: no such run; else as the database fails. */
int report_run(struct db *d, struct store *s, int64_t run, const struct report_opts *o,
               struct buf *html, struct err *e);

/* report_artifact - append the audit page of a model (or of any other artifact)
 *
 * asked  what it was called by who wants the page: "churn:prod"
 * On A4 it takes two sheets, unless its evaluation is long. ERR_MISSING: no such
 * artifact */
int report_artifact(struct db *d, struct store *s, int64_t artifact, struct str asked,
                    const struct report_opts *o, struct buf *html, struct err *e);

#endif

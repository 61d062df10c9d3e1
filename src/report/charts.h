/* SPDX-License-Identifier: Apache-2.0 */
/* charts.h - inside report/: classification metrics as pictures */
#ifndef REPORT_CHARTS_H
#define REPORT_CHARTS_H

#include "base/json.h"
#include "base/mem.h"

/* charts_classification - append what `metrics` has of confusionMatrix (a table with
 * shades) and confidenceMetrics (a ROC curve as SVG)
 *
 * metrics  metadata of a system.ClassificationMetrics or one slice of it
 * false: neither could be read, nothing was appended. What is odd in a part (a row of
 * another length, a rate that is no number) is said in its place. */
bool charts_classification(struct buf *b, struct arena *a, json *metrics);

/* charts_matrix, charts_roc - one of the two */
bool charts_matrix(struct buf *b, struct arena *a, json *metrics);
bool charts_roc(struct buf *b, struct arena *a, json *metrics);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* logs.h - inside report/: what a task printed, as plain text */
#ifndef REPORT_LOGS_H
#define REPORT_LOGS_H

#include <stdbool.h>

#include "base/buf.h"

/* logs_clean - append raw terminal output as it would stand on a screen: escape
 * sequences go, a line that was written over by carriage returns shows what came last.
 * Other bytes stay, whatever they are. */
void logs_clean(struct str raw, struct buf *out);

/* logs_last - the last n lines of a cleaned text (a part of it) */
struct str logs_last(struct str text, unsigned n);

/* logs_read - append the cleaned log of an attempt: its head and its tail, max_bytes
 * together, with a line between that counts what is left out
 *
 * home  directory, borrowed;  dir  below it, as recorded for the attempt
 * false: there is no log (gc removed it, or the task never started) */
bool logs_read(const char *home, const char *dir, size_t max_bytes, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* macro.h - what KFP fills into string parameters of a run: its times and its id
 *
 *   [[RunUUID]]  [[Index]]  [[ScheduledTime]]  [[CurrentTime]]
 *   [[CurrentTime.2006-01-02]]                   a layout as Go writes it
 *   {{$.currentTime.strftime('%Y-%m-%d')}}       and $.scheduledTime
 */
#ifndef SPEC_MACRO_H
#define SPEC_MACRO_H

#include "base/buf.h"
#include "base/mem.h"

struct macro_facts {
    struct str run_uuid;
    int64_t current_unix_ms;
    int64_t scheduled_unix_ms; /* 0: not started by a schedule */
    int64_t index;             /* of the run in its schedule, from 1; 0 as above */
};

/* macro_expand - copy text to *out with every macro filled in, in UTC; true when there
 * was one. What is no macro stays as it is, and so do the macros of schedules in a run
 * that no schedule started: KFP leaves them too. */
bool macro_expand(struct str text, const struct macro_facts *f, struct buf *out);

#endif

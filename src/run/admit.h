/* SPDX-License-Identifier: Apache-2.0 */
/* admit.h - memory of all runs on this box, admitted under one lock
 *
 * Two nightly runs must not each believe that they own all of the memory. The ledger is
 * locks/memory below the home: a line for each attempt that asked for memory, read and
 * rewritten under flock. Lines of attempts that died are dropped on the way.
 */
#ifndef RUN_ADMIT_H
#define RUN_ADMIT_H

#include <stdint.h>

#include "base/err.h"

/* admit_budget - bytes that tasks may promise to use: memory of the box (or of our own cgroup,
 * when that is less) without a twentieth; 0 when unknown */
uint64_t admit_budget(void);

/* admit_promised - the sum of what living attempts have reserved */
uint64_t admit_promised(int home_fd);

/* admit_take - reserve bytes for the attempt in runs/`rel`
 *
 * Returns 1 when it was admitted (or bytes is 0), 0 when other attempts use too much now. A
 * request over the whole budget is ERR_LIMIT. */
int admit_take(int home_fd, const char *rel, uint64_t bytes, struct err *e);
void admit_give(int home_fd, const char *rel); /* the attempt has ended; unknown is fine */

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* apart.h - what is left to do when the caller has his answer */
#ifndef BASE_APART_H
#define BASE_APART_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#define APART_KEEP_MAX 8

struct apart {
    pid_t pid;
    int sock; /* to the child */
};

/* apart_make - a child that will call work(arg) and may outlive us
 *
 * It has a session of its own, /dev/null as 0, 1 and 2, and of our other descriptors only `keep`
 * (those that are -1 are passed over). It begins with apart_go(), or when we end; what it should be
 * the last to close, we close in between. false: no child can be made, and nothing will be done.
 */
bool apart_make(struct apart *a, void (*work)(void *), void *arg, const int *keep,
                size_t n_keep);

/* apart_go - let it begin, and wait up to wait_ms for its end
 *
 * On return it has let go of all descriptors but its own, so nobody who waits for a pipe or a lock
 * of ours waits for it.
 */
void apart_go(struct apart *a, int wait_ms);

#endif

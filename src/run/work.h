/* SPDX-License-Identifier: Apache-2.0 */
/* work.h - attempts without a box: importers and volumes that tasks make and drop
 *
 * Hashing what is imported may take an hour, and removing a volume, too. So these tasks
 * are attempts as any other, with a supervisor that does the work itself instead of
 * starting a box: retries, resume and a killed engine need no second set of rules. The
 * member "work" of attempt.json says what to do.
 */
#ifndef RUN_WORK_H
#define RUN_WORK_H

#include "base/json.h"
#include "plan/graph.h"
#include "store/blob.h"

enum work_kind {
    WORK_BOX, /* none of these: the attempt has a box */
    WORK_IMPORT,
    WORK_MAKE_VOLUME,
    WORK_DROP_VOLUME,
};

struct attempt_work {
    enum work_kind kind;
    /* volumes: their directory and name; an import: the file or directory to read,
     * empty when the bytes are in the store already or are not to be had */
    struct str path, name;
    /* WORK_IMPORT */
    struct str source;        /* the URI as the pipeline has it: for the record */
    struct artifact artifact; /* as far as it is known; uri is what consumers see */
    struct str copy_to; /* relative path in the run's workspace, empty = no copy */
    bool again;         /* reimport: never an artifact of before */
};

/* work_write - as the value of a member; work_read_in takes it back (NULL: WORK_BOX) */
void work_write(struct jw *w, const struct attempt_work *k);
int work_read_in(struct arena *a, json *from, struct attempt_work *out, struct err *e);

struct attempt;
struct result;
/* work_do - carry it out and fill *r. What is wrong with the task sets r->error and
 * returns 0; -1 is the host's fault */
int work_do(struct arena *a, const struct attempt *at, struct result *r, struct err *e);
/* work_say - one line about what was done, for the log */
void work_say(const struct attempt *at, const struct result *r, struct buf *out);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* why.h - what is known about how a task came to its state
 *
 * Gathered from the record, the attempt's directory and the YAML that ran; cmd_why.c
 * prints it. Everything lives in the command's arena.
 */
#ifndef CLI_WHY_H
#define CLI_WHY_H

#include "cli/cli.h"
#include "lineage/query.h"
#include "plan/keydiff.h"

enum why_kind {
    WHY_HIT,  /* taken from the cache */
    WHY_MISS, /* ran: no known result fits */
    WHY_OFF,  /* ran: its results are not to be cached, or the run did not want them */
    WHY_FAILED,
    WHY_SKIPPED,
    WHY_CANCELED,
    WHY_WAITING, /* has not started */
    WHY_GROUP,   /* a task that holds tasks, and did not fail */
    WHY_KINDS
};
const char *why_kind_name(enum why_kind k);

struct why_link { /* one step towards the cause of a skip, or a failure inside of a
                     group */
    struct str path;
    enum db_state state;
    struct str text; /* its error or reason */
};

struct why {
    struct db_run run;
    struct db_task task;
    enum why_kind kind;
    const char
        *summary; /* one sentence without the task's name: "failed: exit code 7" */
    /* what it was compared with; empty names: nothing */
    struct str other_run, other_path;
    int64_t other_unix_ms;
    struct changes changes;
    struct why_link *chain;
    size_t n_chain;
    /* the condition that decided, of the task itself or of a group around it; empty: none did */
    struct str condition, condition_of;
    struct db_param *saw; /* the values of the inputs that it names */
    size_t n_saw;
    /* of a task that ran: its newest attempt */
    bool has_attempt;
    struct db_attempt attempt;
    uint32_t attempts_max;       /* 0 = unknown */
    uint64_t memory_limit_bytes; /* 0 = none, or unknown; so is: */
    uint64_t disk_limit_bytes;
    int64_t task_timeout_ms;
    struct buf log;              /* its last lines; freed by why_done */
    const char *next[4];         /* commands to type */
    size_t n_next;
};

/* why_find - task is a row id. Errors are those of the database. */
int why_find(struct cli *c, int64_t run, int64_t task, struct why *out, struct err *e);
void why_done(struct why *w);

#endif

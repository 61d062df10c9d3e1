/* SPDX-License-Identifier: Apache-2.0 */
/* detach.h - what run and resume share: the background, the watching, the end */
#ifndef CLI_DETACH_H
#define CLI_DETACH_H

#include "cli/cli.h"

struct detach {
    int pipe_fd; /* the child's end, -1 = not detached */
};
/* detach_begin - with --detach go on in a child. 1: this is the parent, *status is what to exit
 * with; 0: carry the run out */
int detach_begin(struct cli *c, struct detach *d, int *status, struct err *e);
/* detach_say - end the parent's wait: status -1 and the run's id and name, or an exit status and
 * an error. Once; without a parent it does nothing. */
void detach_say(struct detach *d, int status, const char *id, const char *text);

/* detach_watch - an event function for struct run_view: tells the parent that the run is
 * recorded, and hands everything on to `inner` */
struct watcher {
    struct run_view inner;
    struct detach *d;
};
void detach_watch(void *ctx, const struct run_event *ev);

/* cli_report - print the outcome; gives the exit status */
int cli_report(struct cli *c, struct progress *p, const struct run_outcome *o);
/* cli_ended - cli_report, then the run's exports when it has succeeded, then gc when the config
 * wants it over the soft quota; gives the exit status */
int cli_ended(struct cli *c, struct progress *p, const struct run_outcome *o);

/* cli_request - everything that flags say about a run of a pipeline file, cmd_run.c. What it
 * holds lives in c->a. */
int cli_request(struct cli *c, const char *file, struct run_request *rq, struct run_opts *o,
                struct err *e);
/* parts of it, for resume: the file's text; -p and --params behind what *rq has; -v --env ... */
int cli_pipeline(struct cli *c, const char *file, struct str *text, struct err *e);
int cli_params(struct cli *c, struct run_request *rq, struct err *e);
const char *cli_argv_json(struct cli *c);
int cli_artifact(struct cli *c, int64_t id, struct artifact *f, struct err *e); /* ERR_MISSING */

#endif

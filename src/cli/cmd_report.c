/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_report.c - a run, or the making of a model, as one HTML page
 *
 * The record says what ran; which task waited for which stands in the pipeline's text,
 * which only spec/ can read. So the arrows are gathered here and handed to report/. A
 * text that this version cannot read any more costs the arrows, not the page.
 */
#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/cli.h"
#include "report/report.h"
#include "spec/pipeline.h"

#define PAGE_MAX (512 * MIB)

struct arrows {
    struct arena *a;
    struct report_dep *deps;
    size_t n;
};

static void add_dag(struct arrows *x, const struct dag *dag, struct str scope,
                    unsigned depth)
{
    for (size_t i = 0; i < dag->n_tasks && depth < LIMIT_SPEC_DEPTH; i++) {
        const struct task_def *t = &dag->tasks[i];
        for (size_t k = 0; k < t->n_deps; k++) {
            x->deps = arena_grow(x->a, x->deps, &x->n, sizeof(*x->deps));
            x->deps[x->n - 1] = (struct report_dep){
                .scope = scope, .from = dag->tasks[t->deps[k]].key, .to = t->key};
        }
        if (t->component && t->component->dag)
            add_dag(x, t->component->dag,
                    str_of(scope.len ? arena_printf(x->a, "%.*s/%.*s", STR_ARG(scope),
                                                    STR_ARG(t->key))
                                     : arena_strndup(x->a, t->key.ptr, t->key.len)),
                    depth + 1);
    }
}

static int read_arrows(struct cli *c, int64_t run, struct report_opts *o, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct pipeline_opts lenient = {.lenient = true};
    struct arrows x = {.a = &c->a};
    struct pipeline p;
    struct err unread;

    if (db_run_spec(c->db, run, &text, e) < 0)
        return e->code == ERR_MISSING ? 0 : -1;
    if (!text.len ||
        pipeline_parse_in(&c->a, STR("recorded pipeline"),
                          (struct str){text.ptr, text.len}, &lenient, &p, &unread) < 0)
        return 0;
    add_dag(&x, p.root->dag, STR(""), 0);
    o->deps = x.deps;
    o->n_deps = x.n;
    return 0;
}

/* A name may be that of a run or of an artifact. Which of them is meant is not guessed.
 */
static int make_page(struct cli *c, struct buf *html, struct err *e)
{
    struct report_opts o = {.now_unix_ms = clock_unix_ms()};
    struct str what = str_of(c->args[0]);
    int64_t run = 0, artifact = 0;
    struct err no_artifact = {0};
    bool is_run = db_run_find(c->db, what, &run, e) == 0;

    if (!is_run && e->code != ERR_MISSING)
        return -1;
    if (db_artifact_find(c->db, what, &artifact, &no_artifact) == 0 && is_run)
        return err_set(
            e, ERR_INPUT,
            "report %s: both a run and an artifact are called so: name the run by its "
            "id, or the artifact as a%lld",
            c->args[0], (long long)artifact);
    if (!is_run && !artifact &&
        cli_find_holder(c, c->args[0], &artifact, &no_artifact) < 0)
        return err_set(e, ERR_MISSING,
                       "report %s: no run, tag or artifact is called so (dugout "
                       "runs, dugout tags and dugout artifacts list them)",
                       c->args[0]);
    if (!is_run)
        return report_artifact(c->db, c->store, artifact, what, &o, html, e);
    if (read_arrows(c, run, &o, e) < 0)
        return -1;
    return report_run(c->db, c->store, run, &o, html, e);
}

static int write_page(const char *file, const struct buf *html, struct err *e)
{
    AUTO_FD int fd = -1;

    if (!fd_is_stream(file))
        return fd_write_file(AT_FDCWD, file, html->ptr, html->len, 0644, false, e);
    fd = open(file, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return err_sys(e, errno, "open %s", file);
    return fd_write_all(fd, html->ptr, html->len, e) < 0 ? err_at(e, "%s", file) : 0;
}

int cmd_report(struct cli *c)
{
    AUTO_BUF struct buf html = {0};
    const char *file = opt_text(c, "output");
    struct err e = {0};

    if (!file && isatty(1))
        return cli_fail(
            (err_set(&e, ERR_INPUT,
                     "report: a page is nothing for a terminal: name a file with -o "
                     "FILE.html"),
             &e));
    buf_init(&html, PAGE_MAX);
    if (cli_open(c, DB_READ, &e) < 0 || make_page(c, &html, &e) < 0)
        return cli_fail(&e);
    if (html.overflow)
        return cli_fail(
            (err_set(&e, ERR_LIMIT, "report %s: the page is over 512 MiB", c->args[0]),
             &e));
    if (!file || strcmp(file, "-") == 0)
        return fd_write_all(1, html.ptr, html.len, &e) < 0 && e.sys != EPIPE
                   ? cli_fail(&e)
                   : 0;
    if (write_page(file, &html, &e) < 0)
        return cli_fail(&e);
    log_note("%s is written: open it in a browser", file);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* ended.c - what is done when a run or a resume is over and recorded
 *
 * The outcome is printed first. Exports (run --export) are done by whoever sees the run
 * succeed, so they are kept with the run and a resume does them, too. Last, when the
 * config wants it and the home is over its soft quota, gc: nobody waits for it then,
 * and the next run finds room.
 */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "cli/detach.h"
#include "lineage/query.h"

static int export_one(struct cli *c, const struct run_tag *x, const char *run_id,
                      struct err *e)
{
    struct export_to to = {
        .path = x->name, .replace = true, .own_dir_only = true, .provenance = true};
    const char *what = arena_printf(&c->a, "%s/%s:%s", run_id, x->task, x->output);
    int64_t id;

    if (db_artifact_find(c->db, str_of(what), &id, e) < 0)
        return err_at(e, "--export %s:%s", x->task, x->output);
    if (cli_export(c, id, &to, e) < 0) {
        err_at(e, "--export %s:%s", x->task, x->output);
        log_note("the run has succeeded and has its output: dugout artifact export "
                 "a%lld PATH",
                 (long long)id);
        return -1;
    }
    log_note("%s is a%lld (%s.provenance.json says what it was made from)", x->name,
             (long long)id, x->name);
    return 0;
}

/* The run has succeeded; what goes wrong here is said, and the exit status tells. */
static int export_outputs(struct cli *c, const char *run_id)
{
    struct run_kept kept;
    struct db_run row;
    struct err e = {0};
    int64_t run;
    int status = 0;

    if (db_run_find(c->db, str_of(run_id), &run, &e) < 0 ||
        db_run_get_in(&c->a, c->db, run, &row, &e) < 0 ||
        run_kept_in(&c->a, row.options_json, &kept, &e) < 0)
        return cli_fail(&e);
    for (size_t i = 0; i < kept.n_exports; i++)
        if (export_one(c, &kept.exports[i], run_id, &e) < 0)
            status = cli_fail(&e);
    return status;
}

static void gc_when_over(struct cli *c)
{
    struct run_env env = cli_run_env(c);
    struct err e = {0};
    uint64_t freed;
    char size[24];
    bool over;

    if (!c->cfg.quota_gc || run_over_soft(&env, &c->cfg.run, &over, &e) < 0 || !over)
        return;
    if (cli_gc(c, &freed, &e) < 0) {
        if (e.code != ERR_BUSY) /* another one is at it */
            log_note("gc for the soft quota: %s", e.text);
        return;
    }
    size_human(freed, size);
    log_note("over the soft quota: gc freed %s", size);
}

int cli_ended(struct cli *c, struct progress *p, const struct run_outcome *o)
{
    int status = cli_report(c, p, o);

    if (status == 0)
        status = export_outputs(c, o->run_id);
    if (!o->detached)
        gc_when_over(c);
    return status;
}

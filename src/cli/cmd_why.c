/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_why.c - why: how a task came to its state, and what to type next
 *
 * RUN/TASK gives the whole story of one task, RUN alone the stories of the tasks that
 * failed, or one line for each task of a run without failures.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "base/log.h"
#include "cli/why.h"

#define SHOWN_BYTES 70 /* of a value, in text */

/* ---- text
 * --------------------------------------------------------------------------------------
 */

static const char *shown(struct cli *c, struct str text)
{
    if (!text.len)
        return "nothing";
    if (text.len > 80 && str_starts(text, "\"sha256:"))
        return arena_printf(&c->a, "%.19s...", text.ptr + 1);
    if (text.len <= SHOWN_BYTES)
        return arena_strndup(&c->a, text.ptr, text.len);
    return arena_printf(&c->a, "%.*s...", SHOWN_BYTES - 3, text.ptr);
}

static void print_changes(struct cli *c, const struct why *w)
{
    char when[25];

    if (!w->other_run.len)
        return;
    clock_rfc3339(w->other_unix_ms, when);
    (void)printf("%s %.*s/%.*s of %.10s %.5s%s\n",
                 w->kind == WHY_HIT ? "it is the result of" : "compared with",
                 STR_ARG(w->other_run), STR_ARG(w->other_path), when, when + 11,
                 w->kind == WHY_HIT ? ""
                 : w->changes.n     ? ":"
                                    : ": nothing that it sees has changed");
    for (size_t i = 0; i < w->changes.n; i++) {
        const struct change *x = &w->changes.items[i];
        (void)printf("  %.*s\n      was %s\n      is  %s\n", STR_ARG(x->what),
                     shown(c, x->before), shown(c, x->after));
    }
}

static void print_chain(const struct why *w)
{
    for (size_t i = 0; i < w->n_chain; i++)
        (void)printf("  %.*s %s%s%.*s\n", STR_ARG(w->chain[i].path),
                     w->chain[i].state == DB_FAILED     ? "failed"
                     : w->chain[i].state == DB_CANCELED ? "was canceled"
                                                        : "was skipped",
                     w->chain[i].text.len ? ": " : "", STR_ARG(w->chain[i].text));
}

static void print_condition(struct cli *c, const struct why *w)
{
    if (!w->condition.len)
        return;
    (void)printf("the condition of %.*s: %.*s\n", STR_ARG(w->condition_of), STR_ARG(w->condition));
    for (size_t i = 0; i < w->n_saw; i++)
        (void)printf("  saw %.*s = %s\n", STR_ARG(w->saw[i].name), shown(c, w->saw[i].value_json));
}

static void print_attempt(const struct why *w)
{
    const struct db_attempt *a = &w->attempt;
    char took[24], peak[24];

    if (!w->has_attempt || w->kind == WHY_MISS || w->kind == WHY_OFF)
        return;
    clock_human((a->finished_unix_ms ? a->finished_unix_ms : clock_unix_ms()) -
                    a->started_unix_ms,
                took);
    (void)printf("attempt %lld", (long long)a->number);
    if (w->attempts_max)
        (void)printf(" of %u", w->attempts_max);
    (void)printf(" on %.*s took %s", STR_ARG(a->host), took);
    if (a->peak_memory_bytes > 0) {
        size_human((uint64_t)a->peak_memory_bytes, peak);
        (void)printf(", %s of memory at most", peak);
    }
    (void)putchar('\n');
}

static void print_log(const struct why *w)
{
    if (w->kind != WHY_FAILED || !w->log.len)
        return;
    (void)printf("its last lines:\n");
    cli_quote(stdout, buf_str(&w->log));
}

static void print_why(struct cli *c, const struct why *w)
{
    (void)printf("task %.*s of run %.*s %s\n", STR_ARG(w->task.path),
                 STR_ARG(w->run.name), w->summary);
    print_chain(w);
    print_condition(c, w);
    print_changes(c, w);
    print_attempt(w);
    print_log(w);
    for (size_t i = 0; i < w->n_next; i++)
        (void)printf("%s %s\n", i ? "     " : "next:", w->next[i]);
}

/* ---- JSON
 * ----------------------------------------------------------------------------------------
 */

static void key_text(struct jw *w, const char *key, struct str text)
{
    jw_key(w, key);
    if (text.len)
        jw_str(w, text);
    else
        jw_null(w);
}

static void json_attempt(struct jw *w, const struct why *y)
{
    const struct db_attempt *a = &y->attempt;

    jw_key(w, "attempt");
    if (!y->has_attempt) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    jw_ki64(w, "number", a->number);
    jw_key(w, "of");
    if (y->attempts_max)
        jw_i64(w, y->attempts_max);
    else
        jw_null(w);
    jw_key(w, "exit_code");
    if (a->exit_code != DB_NO_EXIT)
        jw_i64(w, a->exit_code);
    else
        jw_null(w);
    jw_key(w, "signal");
    if (a->signal)
        jw_i64(w, a->signal);
    else
        jw_null(w);
    jw_kbool(w, "oom", a->oom);
    jw_kbool(w, "timed_out", a->timed_out);
    jw_kbool(w, "host_failure", a->host_failure);
    jw_key(w, "peak_memory_bytes");
    if (a->peak_memory_bytes > 0)
        jw_i64(w, a->peak_memory_bytes);
    else
        jw_null(w);
    jw_key(w, "memory_limit_bytes");
    if (y->memory_limit_bytes)
        jw_i64(w, (int64_t)y->memory_limit_bytes);
    else
        jw_null(w);
    jw_end_obj(w);
}

static void json_condition(struct jw *w, const struct why *y)
{
    jw_key(w, "condition");
    if (!y->condition.len) {
        jw_null(w);
        return;
    }
    jw_obj(w);
    key_text(w, "task", y->condition_of);
    key_text(w, "text", y->condition);
    jw_key(w, "saw");
    jw_obj(w);
    for (size_t i = 0; i < y->n_saw; i++) {
        jw_keystr(w, y->saw[i].name);
        jw_raw(w, y->saw[i].value_json);
    }
    jw_end_obj(w);
    jw_end_obj(w);
}

static void json_compared(struct jw *w, const struct why *y)
{
    jw_key(w, y->kind == WHY_HIT ? "from" : "against");
    if (y->other_run.len) {
        jw_obj(w);
        key_text(w, "run", y->other_run);
        key_text(w, "task", y->other_path);
        jw_end_obj(w);
    } else {
        jw_null(w);
    }
    jw_key(w, "changes");
    jw_arr(w);
    for (size_t i = 0; i < y->changes.n; i++) {
        jw_obj(w);
        key_text(w, "what", y->changes.items[i].what);
        jw_key(w, "before");
        jw_raw(w, y->changes.items[i].before); /* empty is null */
        jw_key(w, "after");
        jw_raw(w, y->changes.items[i].after);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static void json_why(struct jw *w, const struct why *y)
{
    jw_obj(w);
    key_text(w, "run_id", y->run.uuid);
    key_text(w, "run", y->run.name);
    key_text(w, "task", y->task.path);
    jw_kstr(w, "state", db_state_name(y->task.state));
    jw_kstr(w, "kind", why_kind_name(y->kind));
    jw_kstr(w, "summary", y->summary);
    key_text(w, "reason", y->task.reason);
    key_text(w, "error", y->task.error);
    json_compared(w, y);
    jw_key(w, "chain");
    jw_arr(w);
    for (size_t i = 0; i < y->n_chain; i++) {
        jw_obj(w);
        key_text(w, "task", y->chain[i].path);
        jw_kstr(w, "state", db_state_name(y->chain[i].state));
        key_text(w, "text", y->chain[i].text);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    json_condition(w, y);
    json_attempt(w, y);
    jw_key(w, "log");
    if (y->kind == WHY_FAILED && y->log.len)
        jw_str(w, (struct str){buf_str(&y->log), y->log.len});
    else
        jw_null(w);
    jw_key(w, "next");
    jw_arr(w);
    for (size_t i = 0; i < y->n_next; i++)
        jw_strz(w, y->next[i]);
    jw_end_arr(w);
    jw_end_obj(w);
}

/* ---- the command
 * -----------------------------------------------------------------------------------
 */

static int one_task(struct cli *c, int64_t run, int64_t task, struct jw *w, bool whole,
                    struct err *e)
{
    struct why y;
    int rc = why_find(c, run, task, &y, e);

    if (rc == 0 && c->json)
        json_why(w, &y);
    else if (rc == 0 && whole)
        print_why(c, &y);
    else if (rc == 0)
        (void)printf("%.*s %s%s\n", STR_ARG(y.task.path), y.summary,
                     y.changes.n == 1 ? arena_printf(&c->a, ": %.*s",
                                                     STR_ARG(y.changes.items[0].what))
                                      : "");
    why_done(&y);
    return rc;
}

static int all_tasks(struct cli *c, int64_t run, struct jw *w, struct err *e)
{
    struct db_task *rows;
    size_t n, failed = 0, said = 0;

    if (db_tasks_in(&c->a, c->db, run, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        failed += rows[i].state == DB_FAILED && str_eqz(rows[i].kind, "container");
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        bool leaf =
            str_eqz(rows[i].kind, "container") || str_eqz(rows[i].kind, "importer");
        if (!c->json && (!leaf || (failed && rows[i].state != DB_FAILED)))
            continue;
        if (failed && !c->json && said++)
            (void)putchar('\n');
        if (one_task(c, run, rows[i].id, w, failed > 0, e) < 0)
            return -1;
    }
    jw_end_arr(w);
    return 0;
}

int cmd_why(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct err e = {0};
    int64_t run, task;
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    if (cli_open(c, DB_READ, &e) < 0 ||
        db_task_find(c->db, str_of(c->args[0]), &run, &task, &e) < 0 ||
        (task ? one_task(c, run, task, &w, true, &e) : all_tasks(c, run, &w, &e)) < 0)
        return cli_fail(&e);
    if (c->json)
        cli_out_json(&out);
    return 0;
}

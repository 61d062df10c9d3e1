/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_diff.c - diff RUN RUN: what was done differently, and what came out differently
 */
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/diff.h"

#define SHORT 12

/* a digest is long and only its beginning is read; other values are cut where they bore
 */
static void cell(struct table *t, enum diff_kind kind, struct str s)
{
    bool digest = kind == DIFF_IMAGE || kind == DIFF_CODE;

    if (!s.len)
        table_add(t, "-");
    else if (digest)
        table_addf(t, "sha256:%.*s", SHORT, s.ptr);
    else
        table_addf(t, "%.*s%s", (int)(s.len > 60 ? 60 : s.len), s.ptr,
                   s.len > 60 ? "..." : "");
}

static void cell_delta(struct table *t, const struct diff_row *r)
{
    char number[32];
    double delta = r->num_b - r->num_a;

    if (!r->numeric || r->same) {
        table_add(t, r->same ? "=" : "");
        return;
    }
    json_number_text(delta, number);
    table_addf(t, "%s%s", delta > 0 ? "+" : "", number);
}

static size_t print_kinds(const struct run_diff *d, const char *heading, unsigned kinds)
{
    struct table t;
    size_t n = 0;

    for (size_t i = 0; i < d->n; i++)
        n += (kinds & 1u << d->rows[i].kind) != 0;
    if (!n)
        return 0;
    (void)printf("\n%s\n", heading);
    table_init(&t, 5, (const char *const[]){"  TASK", "WHAT", "A", "B", ""});
    for (size_t i = 0; i < d->n; i++) {
        const struct diff_row *r = &d->rows[i];
        if (!(kinds & 1u << r->kind))
            continue;
        table_addf(&t, "  %.*s", STR_ARG(r->task));
        if (r->kind == DIFF_IMAGE || r->kind == DIFF_CODE || r->kind == DIFF_INPUT ||
            r->kind == DIFF_OUTPUT)
            table_addf(&t, "%s %.*s", diff_kind_name(r->kind),
                       r->kind == DIFF_IMAGE ? 0 : (int)r->name.len, r->name.ptr);
        else
            table_addf(&t, "%.*s", STR_ARG(r->name));
        cell(&t, r->kind, r->a);
        cell(&t, r->kind, r->b);
        cell_delta(&t, r);
    }
    table_print(&t, stdout);
    return n;
}

static void print_text(const struct run_diff *d)
{
    size_t n = 0;

    (void)printf("A  %.*s  %.*s\nB  %.*s  %.*s\n", STR_ARG(d->a.name),
                 STR_ARG(d->a.uuid), STR_ARG(d->b.name), STR_ARG(d->b.uuid));
    n += print_kinds(d, "run", 1u << DIFF_RUN | 1u << DIFF_PARAMETER);
    n += print_kinds(d, "tasks", 1u << DIFF_TASK | 1u << DIFF_STATE);
    n += print_kinds(d, "what went in",
                     1u << DIFF_IMAGE | 1u << DIFF_CODE | 1u << DIFF_TASK_PARAMETER |
                         1u << DIFF_INPUT);
    n += print_kinds(d, "what came out",
                     1u << DIFF_OUTPUT_PARAMETER | 1u << DIFF_OUTPUT);
    (void)print_kinds(d, "metrics and metadata", 1u << DIFF_METRIC);
    (void)printf("\n%zu of %zu tasks that both have are the same%s\n", d->n_same,
                 d->n_tasks, n ? "" : ": nothing differs");
}

static void json_value(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    if (s.len)
        jw_str(w, s);
    else
        jw_null(w);
}

static void print_json(const struct run_diff *d)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    json_value(&w, "a", d->a.uuid);
    json_value(&w, "b", d->b.uuid);
    jw_ki64(&w, "tasks_in_both", (int64_t)d->n_tasks);
    jw_ki64(&w, "tasks_same", (int64_t)d->n_same);
    jw_key(&w, "rows");
    jw_arr(&w);
    for (size_t i = 0; i < d->n; i++) {
        const struct diff_row *r = &d->rows[i];
        jw_obj(&w);
        jw_kstr(&w, "kind", diff_kind_name(r->kind));
        json_value(&w, "task", r->task);
        json_value(&w, "name", r->name);
        json_value(&w, "a", r->a);
        json_value(&w, "b", r->b);
        jw_kbool(&w, "same", r->same);
        jw_key(&w, "delta");
        if (r->numeric)
            jw_num(&w, r->num_b - r->num_a);
        else
            jw_null(&w);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_end_obj(&w);
    cli_out_json(&out);
}

int cmd_diff(struct cli *c)
{
    struct run_diff d;
    struct err e = {0};
    int64_t a, b;

    if (cli_open(c, DB_READ, &e) < 0 ||
        db_run_find(c->db, str_of(c->args[0]), &a, &e) < 0 ||
        db_run_find(c->db, str_of(c->args[1]), &b, &e) < 0 ||
        db_diff_in(&c->a, c->db, a, b, &d, &e) < 0)
        return cli_fail(&e);
    if (c->json)
        print_json(&d);
    else
        print_text(&d);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_query.c - artifacts, query: lists of artifacts, and who leads them */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/query.h"
#include "lineage/revoke.h"
#include "lineage/where.h"

#define SHORT 12
#define LIMIT_DEFAULT 50
#define META_SHOWN 60 /* bytes of metadata on a line */

struct listing {
    struct cli *c;
    struct marks *marks;
    const char *key; /* of metadata that was sorted by: a column of its own; NULL */
    struct table t;
    struct jw w;
    struct err *e;
};

static void cell_type(struct table *t, struct str type)
{
    size_t skip = str_starts(type, "system.") ? 7 : 0;

    table_addf(t, "%.*s", (int)(type.len - skip), type.ptr + skip);
}

/* the value of a dotted key; empty text when there is none */
static void cell_value(struct listing *l, const struct db_artifact *x)
{
    AUTO_BUF struct buf text = {0};
    const struct value *found = NULL;
    struct value v;
    struct err unused;

    if (x->metadata_json.len &&
        value_parse_in(&l->c->a, x->metadata_json, &v, &unused) == 0) {
        struct str key = str_of(l->key);
        const char *dot;
        found = value_member(&v, key);
        for (const struct value *at = &v; !found && at; key.ptr = dot + 1) {
            dot = memchr(key.ptr, '.', strlen(key.ptr));
            if (!dot)
                break;
            at = value_member(at, (struct str){key.ptr, (size_t)(dot - key.ptr)});
            found = at ? value_member(at, str_of(dot + 1)) : NULL;
        }
    }
    buf_init(&text, 0);
    if (found)
        value_text(&text, found);
    table_add(&l->t, buf_str(&text));
}

static void cell_metadata(struct listing *l, const struct db_artifact *x)
{
    struct str m = x->metadata_json;
    size_t n = m.len;

    if (n > META_SHOWN) /* not through the middle of a character */
        for (n = META_SHOWN; n && ((unsigned char)m.ptr[n] & 0xc0) == 0x80; n--)
            ;
    table_addf(&l->t, "%.*s%s", m.len > 2 ? (int)n : 0, m.ptr, n < m.len ? "..." : "");
}

static int row(struct listing *l, const struct db_artifact *x)
{
    struct table *t = &l->t;
    const struct db_mark *why;
    struct str run, task;
    char size[24], when[25];

    if (marks_look(l->marks, x->id, &why, l->e) < 0 ||
        db_artifact_maker_in(&l->c->a, l->c->db, x, &run, &task, l->e) < 0)
        return -1;
    size_human((uint64_t)x->size_bytes, size);
    clock_rfc3339(x->created_unix_ms, when);
    table_addf(t, "a%lld", (long long)x->id);
    cell_type(t, x->type);
    table_addf(t, "%.*s", STR_ARG(x->name));
    if (l->key) {
        cell_value(l, x);
    } else {
        table_add(t, str_eqz(x->kind, "none") ? "-" : size);
        table_addf(t, "%.*s", SHORT, x->digest_hex[0] ? x->digest_hex : "-");
    }
    table_addf(t, "%.10s %.5s", when, when + 11);
    table_addf(t, "%.*s%s%.*s", STR_ARG(run),
               task.len  ? "/"
               : x->task ? ""
                         : "outside",
               STR_ARG(task));
    if (why)
        table_addf(t, "REVOKED (%.*s: %.*s)", STR_ARG(why->what), STR_ARG(why->reason));
    else
        cell_metadata(l, x);

    jw_obj(&l->w);
    db_artifact_short_fields(x, &l->w);
    jw_key(&l->w, "run");
    run.len ? jw_str(&l->w, run) : jw_null(&l->w);
    jw_key(&l->w, "task");
    task.len ? jw_str(&l->w, task) : jw_null(&l->w);
    marks_json(why, &l->w);
    jw_end_obj(&l->w);
    return 0;
}

static int print_rows(struct cli *c, const char *key, const struct db_artifact *rows,
                      size_t n, struct err *e)
{
    AUTO_MARKS struct marks *marks = NULL;
    AUTO_BUF struct buf out = {0};
    struct listing l = {.c = c, .key = key, .e = e};

    if (marks_open(c->db, &marks, e) < 0)
        return -1;
    l.marks = marks;
    buf_init(&out, 0);
    jw_init(&l.w, &out);
    if (key)
        table_init(&l.t, 7,
                   (const char *const[]){"ID", "TYPE", "NAME", key, "CREATED",
                                         "MADE BY", "METADATA"});
    else
        table_init(&l.t, 8,
                   (const char *const[]){"ID", "TYPE", "NAME", "SIZE", "DIGEST",
                                         "CREATED", "MADE BY", "METADATA"});
    jw_arr(&l.w);
    for (size_t i = 0; i < n; i++) {
        if (row(&l, &rows[i]) < 0)
            return -1;
    }
    jw_end_arr(&l.w);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&l.t, stdout);
    return 0;
}

/* "-f1" -> "f1" when that is no column of the list anyway */
static const char *sort_key(const char *sort)
{
    static const char *const shown[] = {"id", "name", "size", "created", "files"};

    if (!sort)
        return NULL;
    sort += sort[0] == '-';
    for (size_t i = 0; i < N_ELEMS(shown); i++) {
        if (strcmp(sort, shown[i]) == 0)
            return NULL;
    }
    return strncmp(sort, "metadata.", 9) == 0 ? sort + 9 : sort;
}

static struct str given(struct cli *c, const char *flag)
{
    const char *text = opt_text(c, flag);

    return text ? str_of(text) : (struct str){"", 0};
}

int cmd_artifacts(struct cli *c)
{
    const char *run = opt_text(c, "run");
    struct db_artifact_filter f = {.gone = opt_flag(c, "all"),
                                   .type = given(c, "type"),
                                   .where = given(c, "where"),
                                   .sort = given(c, "sort"),
                                   .pipeline = given(c, "pipeline")};
    struct db_artifact *rows;
    struct err e = {0};
    uint64_t limit = LIMIT_DEFAULT;
    size_t n;

    if (opt_u64(c, "limit", &limit, &e) < 0 || cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    f.limit = cli_one_more(limit);
    if ((run && db_run_find(c->db, str_of(run), &f.run, &e) < 0) ||
        db_artifacts_in(&c->a, c->db, &f, &rows, &n, &e) < 0 ||
        print_rows(c, sort_key(opt_text(c, "sort")), rows, cli_cut(n, limit), &e) < 0)
        return cli_fail(&e);
    if (!n && f.sort.len && !c->json)
        log_note("nothing here has %s to sort by (what has not is left out; dugout sql "
                 "\"select distinct name from properties\" lists what there is)",
                 f.sort.ptr + (f.sort.ptr[0] == '-'));
    return 0;
}

int cmd_query(struct cli *c)
{
    AUTO_BUF struct buf text = {0};
    struct db_artifact *rows;
    struct query query;
    struct err e = {0};
    uint64_t limit = LIMIT_DEFAULT;
    size_t n;

    buf_init(&text, 0);
    for (int i = 0; i < c->n_args; i++) /* quotes forgotten: as the shell split it */
        buf_addf(&text, "%s%s", i ? " " : "", c->args[i]);
    if (opt_u64(c, "limit", &limit, &e) < 0 || cli_open(c, DB_READ, &e) < 0 ||
        query_parse(&c->a, (struct str){buf_str(&text), text.len}, &query, &e) < 0 ||
        db_query_in(&c->a, c->db, (struct str){buf_str(&text), text.len},
                    cli_one_more(limit), &rows, &n, &e) < 0 ||
        print_rows(c, NULL, rows, query.limit ? n : cli_cut(n, limit), &e) < 0)
        return cli_fail(&e);
    return 0;
}

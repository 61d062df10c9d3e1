/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_tag.c - names for artifacts that move on purpose and remember where they were */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/revoke.h"
#include "lineage/tags.h"

/* the tag is set all the same: the person may know better, and the log has the reason */
static int warn_of_mark(struct cli *c, int64_t artifact, struct err *e)
{
    AUTO_MARKS struct marks *marks = NULL;
    const struct db_mark *why;

    if (marks_open(c->db, &marks, e) < 0 || marks_look(marks, artifact, &why, e) < 0)
        return -1;
    if (why)
        log_note("a%lld is flagged: %.*s is revoked (%.*s)", (long long)artifact,
                 STR_ARG(why->what), STR_ARG(why->reason));
    return 0;
}

static int set_tag(struct cli *c, const char *what, const char *name, struct err *e)
{
    const char *reason = opt_text(c, "message");
    char user[64];
    struct db_by by = {.reason = str_of(reason ? reason : ""), .now_unix_ms = clock_unix_ms()};
    int64_t artifact, was = 0;

    cli_user(user);
    by.user = str_of(user);
    if (db_tag_name_ok(str_of(name), e) < 0 || cli_find_artifact(c, what, &artifact, e) < 0 ||
        db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if (db_tag_set(c->db, str_of(name), artifact, opt_flag(c, "move"), &by, &was, e) < 0) {
        db_rollback(c->db);
        return -1;
    }
    if (db_commit(c->db, e) < 0)
        return -1;
    if (was && was != artifact)
        log_note("%s moved from a%lld to a%lld (undo: dugout tag a%lld %s --move)", name,
                 (long long)was, (long long)artifact, (long long)was, name);
    else
        log_note("%s is a%lld", name, (long long)artifact);
    return warn_of_mark(c, artifact, e);
}

static int remove_tag(struct cli *c, const char *name, struct err *e)
{
    const char *reason = opt_text(c, "message");
    char user[64];
    struct db_by by = {.reason = str_of(reason ? reason : ""), .now_unix_ms = clock_unix_ms()};

    cli_user(user);
    by.user = str_of(user);
    if (db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if (db_tag_remove(c->db, str_of(name), &by, e) < 0) {
        db_rollback(c->db);
        return -1;
    }
    if (db_commit(c->db, e) < 0)
        return -1;
    log_note("the tag %s is gone (dugout tag log %s has where it was)", name, name);
    return 0;
}

int cmd_tag(struct cli *c)
{
    bool del = opt_flag(c, "delete");
    struct err e = {0};
    int rc;

    if (c->n_args != (del ? 1 : 2))
        return cli_fail((err_set(&e, ERR_INPUT, "usage: dugout tag ARTIFACT NAME, or dugout tag "
                                                "--delete NAME"),
                         &e));
    if (cli_open(c, DB_WRITE, &e) < 0)
        return cli_fail(&e);
    rc = del ? remove_tag(c, c->args[0], &e) : set_tag(c, c->args[0], c->args[1], &e);
    return rc < 0 ? cli_fail(&e) : 0;
}

static void print_tags(struct cli *c, const struct db_tag *rows, size_t n)
{
    AUTO_BUF struct buf out = {0};
    struct table t;
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 5, (const char *const[]){"TAG", "ARTIFACT", "SET", "BY", "REASON"});
    for (size_t i = 0; i < n; i++) {
        char when[25];
        clock_rfc3339(rows[i].set_unix_ms, when);
        table_addf(&t, "%.*s", STR_ARG(rows[i].name));
        if (rows[i].artifact)
            table_addf(&t, "a%lld", (long long)rows[i].artifact);
        else
            table_add(&t, "removed");
        table_addf(&t, "%.10s %.8s", when, when + 11);
        table_addf(&t, "%.*s", STR_ARG(rows[i].set_by));
        table_addf(&t, "%.*s", STR_ARG(rows[i].reason));
        jw_obj(&w);
        jw_key(&w, "tag");
        jw_str(&w, rows[i].name);
        jw_key(&w, "artifact");
        if (rows[i].artifact)
            jw_i64(&w, rows[i].artifact);
        else
            jw_null(&w);
        jw_kstr(&w, "set", when);
        jw_key(&w, "by");
        jw_str(&w, rows[i].set_by);
        jw_key(&w, "reason");
        if (rows[i].reason.len)
            jw_str(&w, rows[i].reason);
        else
            jw_null(&w);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    if (c->json)
        cli_out_json(&out);
    else
        table_print(&t, stdout);
}

int cmd_tag_log(struct cli *c)
{
    struct db_tag *rows;
    struct err e = {0};
    size_t n;

    if (cli_open(c, DB_READ, &e) < 0 ||
        db_tag_log_in(&c->a, c->db, str_of(c->n_args ? c->args[0] : ""), &rows, &n, &e) < 0)
        return cli_fail(&e);
    if (c->n_args && !n)
        return cli_fail((err_set(&e, ERR_MISSING, "there never was a tag %s", c->args[0]), &e));
    print_tags(c, rows, n);
    return 0;
}

int cmd_tags(struct cli *c)
{
    struct db_tag *rows;
    struct err e = {0};
    size_t n;

    if (cli_open(c, DB_READ, &e) < 0 || db_tags_in(&c->a, c->db, &rows, &n, &e) < 0)
        return cli_fail(&e);
    print_tags(c, rows, n);
    return 0;
}

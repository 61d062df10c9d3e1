/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_sql.c - sql: a SELECT over the record, as a table, JSON or CSV */
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/adhoc.h"

#define TIMEOUT_MS 30000

struct answer {
    const char *const *names;
    struct table t;
    struct buf out;
    size_t n_rows;
    bool table_open;
};

static void blob_text(struct str bytes, struct buf *out)
{
    static const char digits[] = "0123456789abcdef";

    for (size_t i = 0; i < bytes.len; i++) {
        unsigned char c = (unsigned char)bytes.ptr[i];
        buf_addc(out, digits[c >> 4]);
        buf_addc(out, digits[c & 15]);
    }
}

/* NULL is empty; what would break a line of a table becomes a space there */
static void cell_text(const struct db_cell *x, bool one_line, struct buf *out)
{
    char number[32];

    switch (x->kind) {
    case CELL_NULL:
        break;
    case CELL_INT:
        buf_addf(out, "%lld", (long long)x->i);
        break;
    case CELL_REAL:
        json_number_text(x->num, number);
        buf_adds(out, number);
        break;
    case CELL_TEXT:
        for (size_t i = 0; i < x->text.len; i++) {
            char c = x->text.ptr[i];
            buf_addc(out, one_line && ((unsigned char)c < ' ' || c == 0x7f) ? ' ' : c);
        }
        break;
    case CELL_BLOB:
        blob_text(x->text, out);
        break;
    }
}

/* ---- a table ------------------------------------------------------------------------
 */

static int table_head(void *ctx, const char *const *names, int n, struct err *e)
{
    struct answer *a = ctx;

    (void)e;
    table_init(&a->t, (size_t)n, names);
    a->table_open = true;
    return 0;
}

static int table_row(void *ctx, const struct db_cell *cells, int n, struct err *e)
{
    struct answer *a = ctx;

    (void)e;
    for (int i = 0; i < n; i++) {
        AUTO_BUF struct buf text = {0};
        cell_text(&cells[i], true, &text);
        table_add(&a->t, buf_str(&text));
    }
    return 0;
}

/* ---- JSON: an array of objects, written row by row
 * ------------------------------------
 */

static int json_head(void *ctx, const char *const *names, int n, struct err *e)
{
    struct answer *a = ctx;
    const char **copy = xalloc(((size_t)n + 1) * sizeof *copy);

    (void)e;
    for (int i = 0; i < n; i++)
        copy[i] = xstrdup(names[i]);
    a->names = copy;
    (void)putchar('[');
    return 0;
}

static void json_cell(struct jw *w, const struct db_cell *x)
{
    AUTO_BUF struct buf hex = {0};

    switch (x->kind) {
    case CELL_NULL:
        jw_null(w);
        break;
    case CELL_INT:
        jw_i64(w, x->i);
        break;
    case CELL_REAL:
        jw_num(w, x->num);
        break;
    case CELL_TEXT:
        jw_str(w, x->text);
        break;
    case CELL_BLOB:
        blob_text(x->text, &hex);
        jw_str(w, (struct str){buf_str(&hex), hex.len});
        break;
    }
}

static int json_row(void *ctx, const struct db_cell *cells, int n, struct err *e)
{
    struct answer *a = ctx;
    struct jw w;

    (void)e;
    buf_reset(&a->out);
    jw_init(&w, &a->out);
    jw_obj(&w);
    for (int i = 0; i < n; i++) {
        jw_key(&w, a->names[i]);
        json_cell(&w, &cells[i]);
    }
    jw_end_obj(&w);
    (void)fputs(a->n_rows++ ? ",\n" : "\n", stdout);
    (void)fwrite(buf_str(&a->out), 1, a->out.len, stdout);
    return 0;
}

/* ---- CSV, as RFC 4180 has it
 * -----------------------------------------------------------
 */

static void csv_field(struct str s, struct buf *out)
{
    bool quote = false;

    for (size_t i = 0; i < s.len; i++)
        quote |=
            s.ptr[i] == '"' || s.ptr[i] == ',' || s.ptr[i] == '\n' || s.ptr[i] == '\r';
    if (quote)
        buf_addc(out, '"');
    for (size_t i = 0; i < s.len; i++) {
        if (s.ptr[i] == '"')
            buf_addc(out, '"');
        buf_addc(out, s.ptr[i]);
    }
    if (quote)
        buf_addc(out, '"');
}

static void csv_line(struct answer *a)
{
    buf_adds(&a->out, "\r\n");
    (void)fwrite(buf_str(&a->out), 1, a->out.len, stdout);
    buf_reset(&a->out);
}

static int csv_head(void *ctx, const char *const *names, int n, struct err *e)
{
    struct answer *a = ctx;

    (void)e;
    for (int i = 0; i < n; i++) {
        buf_adds(&a->out, i ? "," : "");
        csv_field(str_of(names[i]), &a->out);
    }
    csv_line(a);
    return 0;
}

static int csv_row(void *ctx, const struct db_cell *cells, int n, struct err *e)
{
    struct answer *a = ctx;

    (void)e;
    for (int i = 0; i < n; i++) {
        AUTO_BUF struct buf text = {0};
        cell_text(&cells[i], false, &text);
        buf_adds(&a->out, i ? "," : "");
        csv_field((struct str){buf_str(&text), text.len}, &a->out);
    }
    csv_line(a);
    return 0;
}

/* ---- the command
 * --------------------------------------------------------------------- */

/* What dead engines left is committed first, by a connection that may write; the
 * statement gets one that may not. */
static int open_to_read(struct cli *c, struct err *e)
{
    if (cli_open(c, DB_READ, e) < 0)
        return -1;
    db_close(c->db);
    c->db = NULL;
    return db_open(c->home, DB_READ, &c->db, e);
}

int cmd_sql(struct cli *c)
{
    const char *format = opt_text(c, "format");
    struct answer a = {0};
    struct db_sink sink = {table_head, table_row, &a};
    int64_t timeout_ms = TIMEOUT_MS;
    struct err e = {0};
    bool as_json = c->json || (format && strcmp(format, "json") == 0);
    int rc;

    if (as_json)
        sink = (struct db_sink){json_head, json_row, &a};
    else if (format && strcmp(format, "csv") == 0)
        sink = (struct db_sink){csv_head, csv_row, &a};
    if (opt_duration(c, "timeout", &timeout_ms, &e) < 0 || open_to_read(c, &e) < 0)
        return cli_fail(&e);
    buf_init(&a.out, 0);
    rc = c->n_args ? db_sql(c->db, str_of(c->args[0]), timeout_ms, &sink, &e)
                   : db_sql_views(c->db, &sink, &e);
    if (rc == 0 && a.table_open)
        table_print(&a.t, stdout);
    if (rc == 0 && as_json)
        (void)fputs(a.n_rows ? "\n]\n" : "]\n", stdout);
    buf_done(&a.out);
    return rc < 0 ? cli_fail(&e) : 0;
}

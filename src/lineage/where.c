/* SPDX-License-Identifier: Apache-2.0 */
/* where.c - conditions on artifacts, from text to SQL with bound values
 *
 * Recursive descent, one token ahead. Nothing the user wrote becomes part of the SQL:
 * keys and values are bound, operators and columns come from the tables below. A
 * metadata term is a range of the property index; since numbers sort before all texts
 * there, a comparison with a number says so at the open end, and text and number never
 * match each other:
 *
 *     rows > 10000   a.id IN (SELECT artifact FROM property
 *                             WHERE key = ? AND value > ? AND value < '')
 */
#include "lineage/where.h"

#include <ctype.h>
#include <stdlib.h>

#include "lineage/rows.h"

#define WHERE_BYTES_MAX 4096
#define WHERE_DEPTH_MAX 64

enum token { T_END, T_WORD, T_NUMBER, T_TEXT, T_OP, T_OPEN, T_CLOSE, T_BAD };

struct parser {
    struct arena *a;
    struct str text;
    size_t at;       /* behind the token */
    size_t token_at; /* where it begins */
    enum token token;
    struct str word; /* of T_WORD, T_TEXT, T_OP */
    double num;
    unsigned depth;
    struct where *w;
    struct err *e;
};

static const char *const ops[][2] = {
    {"=", "="}, {"==", "="},  {"!=", "<>"}, {"<>", "<>"},
    {"<", "<"}, {"<=", "<="}, {">", ">"},   {">=", ">="},
};

enum column_kind { COLUMN_TEXT, COLUMN_NUMBER, COLUMN_TYPE, COLUMN_TIME };
static const struct column {
    const char *name;
    enum column_kind kind;
    const char *sql;
} columns[] = {
    {"name", COLUMN_TEXT, "a.name"},
    {"kind", COLUMN_TEXT, "a.kind"},
    {"type", COLUMN_TYPE, "y.name"},
    {"size", COLUMN_NUMBER, "a.size"},
    {"files", COLUMN_NUMBER, "a.files"},
    {"created", COLUMN_TIME, "a.created_ms"},
    {"task", COLUMN_TEXT, "(SELECT t.name FROM task t WHERE t.id = a.task)"},
    {"run", COLUMN_TEXT,
     "(SELECT r.name FROM task t CROSS JOIN run r ON r.id = t.run WHERE t.id = "
     "a.task)"},
    {"pipeline", COLUMN_TEXT,
     "(SELECT p.name FROM task t CROSS JOIN run r ON r.id = t.run"
     " CROSS JOIN pipeline p ON p.id = r.pipeline WHERE t.id = a.task)"},
};

/* ---- tokens -------------------------------------------------------------------------
 */

static bool word_char(char c, bool first)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80 ||
           (!first && (isdigit((unsigned char)c) || strchr(".-:/", c)));
}

static int bad(struct parser *p, const char *want)
{
    size_t left = p->text.len - p->token_at;

    if (!left)
        return err_set(p->e, ERR_INPUT, "condition: it ends where %s is wanted", want);
    return err_set(p->e, ERR_INPUT, "condition, character %zu: want %s, got %.*s",
                   p->token_at + 1, want, (int)(left < 20 ? left : 20),
                   p->text.ptr + p->token_at);
}

static void read_text(struct parser *p, char quote)
{
    char *out = arena_alloc(p->a, p->text.len - p->at + 1);
    size_t n = 0, at = p->at;

    p->token = T_BAD;
    for (; at < p->text.len; at++) {
        if (p->text.ptr[at] == quote) {
            if (at + 1 >= p->text.len || p->text.ptr[at + 1] != quote)
                break;
            at++;
        }
        out[n++] = p->text.ptr[at];
    }
    if (at >= p->text.len)
        return; /* no closing quote */
    p->token = T_TEXT;
    p->word = (struct str){out, n};
    p->at = at + 1;
}

static void read_number(struct parser *p)
{
    char copy[64], *end;
    size_t left = p->text.len - p->at;
    size_t n = left < sizeof(copy) - 1 ? left : sizeof(copy) - 1;

    memcpy(copy, p->text.ptr + p->at, n);
    copy[n] = '\0';
    p->num = strtod(copy, &end);
    p->token = end > copy && !word_char(*end, true) ? T_NUMBER : T_BAD;
    p->at += (size_t)(end - copy);
}

static void read_op(struct parser *p)
{
    size_t n = 1;

    if (p->at + 1 < p->text.len && strchr("=>", p->text.ptr[p->at + 1]))
        n = 2;
    p->word = (struct str){p->text.ptr + p->at, n};
    p->token = T_OP;
    p->at += n;
}

static void next(struct parser *p)
{
    char c;

    while (p->at < p->text.len && isspace((unsigned char)p->text.ptr[p->at]))
        p->at++;
    p->token_at = p->at;
    p->token = T_END;
    if (p->at >= p->text.len)
        return;

    c = p->text.ptr[p->at];
    if (c == '(' || c == ')') {
        p->token = c == '(' ? T_OPEN : T_CLOSE;
        p->at++;
    } else if (c == '\'' || c == '"') {
        p->at++;
        read_text(p, c);
    } else if (c && strchr("=!<>", c)) {
        read_op(p);
    } else if (isdigit((unsigned char)c) || c == '-' || c == '+' || c == '.') {
        read_number(p);
    } else if (word_char(c, true)) {
        size_t from = p->at;
        while (p->at < p->text.len && word_char(p->text.ptr[p->at], p->at == from))
            p->at++;
        p->word = (struct str){p->text.ptr + from, p->at - from};
        p->token = T_WORD;
    } else {
        p->token = T_BAD;
    }
}

static bool is_word(const struct parser *p, const char *lower)
{
    if (p->token != T_WORD || p->word.len != strlen(lower))
        return false;
    for (size_t i = 0; i < p->word.len; i++) {
        if (tolower((unsigned char)p->word.ptr[i]) != lower[i])
            return false;
    }
    return true;
}

/* ---- terms --------------------------------------------------------------------------
 */

static void add_value(struct parser *p, struct where_value v)
{
    struct where *w = p->w;

    w->values = arena_grow(p->a, w->values, &w->n_values, sizeof(*w->values));
    w->values[w->n_values - 1] = v;
}

static void add_text(struct parser *p, struct str s)
{
    add_value(p, (struct where_value){.is_text = true, .text = s});
}

/* A day is compared as a whole: before it, in it, after it. */
static int time_term(struct parser *p, const struct column *c, const char *op,
                     int64_t ms, bool day)
{
    int64_t begin = day ? ms - 86399999 : ms;
    bool equal = strcmp(op, "=") == 0, differs = strcmp(op, "<>") == 0;
    bool from_begin = strcmp(op, "<") == 0 || strcmp(op, ">=") == 0;

    if (equal || differs) {
        buf_addf(&p->w->sql, "%s %s ? AND ?", c->sql,
                 equal ? "BETWEEN" : "NOT BETWEEN");
        add_value(p, (struct where_value){.num = (double)begin});
    } else {
        buf_addf(&p->w->sql, "%s %s ?", c->sql, op);
    }
    add_value(p, (struct where_value){.num = (double)(from_begin ? begin : ms)});
    return 0;
}

static int column_term(struct parser *p, const struct column *c, const char *op,
                       struct where_value v, size_t value_at)
{
    int64_t ms;

    p->token_at = value_at;
    switch (c->kind) {
    case COLUMN_NUMBER:
        if (v.is_text)
            return bad(p, "a number");
        break;
    case COLUMN_TIME:
        if (!v.is_text || !db_moment(v.text, &ms))
            return bad(p, "a day such as '2026-03-03'");
        return time_term(p, c, op, ms, v.text.len == 10);
    case COLUMN_TEXT:
        if (!v.is_text)
            return bad(p, "a text in quotes");
        break;
    case COLUMN_TYPE:
        if (!v.is_text || (strcmp(op, "=") != 0 && strcmp(op, "<>") != 0))
            return bad(p, "= or != and the name of a type");
        buf_addf(&p->w->sql, "(y.name = ? OR y.name LIKE '%%.' || ?) = %d",
                 op[0] == '=');
        add_value(p, v);
        add_value(p, v);
        return 0;
    }
    buf_addf(&p->w->sql, "%s %s ?", c->sql, op);
    add_value(p, v);
    return 0;
}

static void property_term(struct parser *p, struct str key, const char *op,
                          struct where_value v)
{
    buf_addf(&p->w->sql,
             "a.id IN (SELECT artifact FROM property WHERE key = ? AND value %s ?%s)",
             op,
             op[0] == '=' ? ""
             : v.is_text  ? " AND value >= ''"
                          : " AND value < ''");
    add_text(p, key);
    add_value(p, v);
}

static int parse_value(struct parser *p, struct where_value *v)
{
    if (p->token == T_NUMBER)
        *v = (struct where_value){.num = p->num};
    else if (is_word(p, "true") || is_word(p, "false"))
        *v = (struct where_value){.num = is_word(p, "true")};
    else if (p->token == T_TEXT || p->token == T_WORD)
        *v = (struct where_value){.is_text = true, .text = p->word};
    else
        return bad(p, "a number or a text in quotes");
    return 0;
}

static int parse_term(struct parser *p)
{
    bool quoted = p->token == T_TEXT;
    struct str key = p->word;
    const char *op = NULL;
    struct where_value v;
    size_t value_at;

    if (p->token != T_WORD && p->token != T_TEXT)
        return bad(p, "a metadata key");
    next(p);
    for (size_t i = 0; p->token == T_OP && i < N_ELEMS(ops); i++) {
        if (str_eqz(p->word, ops[i][0]))
            op = ops[i][1];
    }
    if (!op)
        return bad(p, "one of = != < <= > >=");
    next(p);
    value_at = p->token_at;
    if (parse_value(p, &v) < 0)
        return -1;
    next(p);

    if (!quoted && str_starts(key, "metadata.")) {
        property_term(p, (struct str){key.ptr + 9, key.len - 9}, op, v);
        return 0;
    }
    for (size_t i = 0; !quoted && i < N_ELEMS(columns); i++) {
        if (str_eqz(key, columns[i].name)) {
            size_t after = p->token_at;
            int rc = column_term(p, &columns[i], op, v, value_at);
            p->token_at = after;
            return rc;
        }
    }
    property_term(p, key, op, v);
    return 0;
}

static int parse_or(struct parser *p);

static int parse_unary(struct parser *p)
{
    int rc;

    if (p->depth >= WHERE_DEPTH_MAX)
        return err_set(p->e, ERR_LIMIT, "condition: nested deeper than %d",
                       WHERE_DEPTH_MAX);
    if (is_word(p, "not")) {
        next(p);
        buf_adds(&p->w->sql, "NOT ");
        p->depth++;
        rc = parse_unary(p);
        p->depth--;
        return rc;
    }
    if (p->token != T_OPEN)
        return parse_term(p);

    next(p);
    buf_addc(&p->w->sql, '(');
    p->depth++;
    if (parse_or(p) < 0)
        return -1;
    p->depth--;
    if (p->token != T_CLOSE)
        return bad(p, "and, or, )");
    next(p);
    buf_addc(&p->w->sql, ')');
    return 0;
}

static int parse_and(struct parser *p)
{
    if (parse_unary(p) < 0)
        return -1;
    while (is_word(p, "and")) {
        next(p);
        buf_adds(&p->w->sql, " AND ");
        if (parse_unary(p) < 0)
            return -1;
    }
    return 0;
}

static int parse_or(struct parser *p)
{
    if (parse_and(p) < 0)
        return -1;
    while (is_word(p, "or")) {
        next(p);
        buf_adds(&p->w->sql, " OR ");
        if (parse_and(p) < 0)
            return -1;
    }
    return 0;
}

int where_parse(struct arena *a, struct str text, struct where *out, struct err *e)
{
    struct parser p = {.a = a, .text = text, .w = out, .e = e};

    *out = (struct where){0};
    if (text.len > WHERE_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "condition: over %d bytes", WHERE_BYTES_MAX);
    next(&p);
    if (parse_or(&p) < 0)
        goto undo;
    if (p.token != T_END) {
        (void)bad(&p, "and, or");
        goto undo;
    }
    return 0;
undo:
    buf_done(&out->sql);
    return -1;
}

void where_bind(const struct where *w, struct q *q)
{
    for (size_t i = 0; i < w->n_values; i++)
        w->values[i].is_text ? q_text(q, w->values[i].text)
                             : q_real(q, w->values[i].num);
}

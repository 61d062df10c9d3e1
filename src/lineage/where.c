/* SPDX-License-Identifier: Apache-2.0 */
/* where.c - the query language, from text to a tree
 *
 * Recursive descent, one token ahead; what follows the condition of a query is read by
 * the same parser. Values are checked against their field here, so that everything that
 * can be wrong with a text is said with its place. A list of values becomes a chain of
 * "or".
 */
#include "lineage/where.h"

#include <ctype.h>
#include <stdlib.h>

#include "base/nearest.h"
#include "lineage/rows.h"

#define WHERE_BYTES_MAX 4096
#define WHERE_DEPTH_MAX 64
#define WHERE_NODES_MAX 800 /* SQLite takes expressions 1,000 deep */

enum token {
    T_END,
    T_WORD,
    T_NUMBER,
    T_TEXT,
    T_OP,
    T_OPEN,
    T_CLOSE,
    T_COMMA,
    T_MINUS,
    T_BAD
};

struct parser {
    struct arena *a;
    struct str text;
    size_t at;       /* behind the token */
    size_t token_at; /* where it begins */
    enum token token;
    struct str word; /* of all but T_END and T_BAD */
    double num;
    unsigned depth, n_nodes;
    bool any_state; /* the state was asked about */
    struct err *e;
};

static const struct {
    const char *text;
    enum where_op op;
} ops[] = {
    {"=", OP_EQ}, {"==", OP_EQ}, {"!=", OP_NE}, {"<>", OP_NE},  {"<", OP_LT},
    {">", OP_GT}, {"<=", OP_LE}, {">=", OP_GE}, {"~", OP_LIKE},
};

/* what a field may be compared with */
enum want { WANT_ANY, WANT_NUMBER, WANT_TEXT, WANT_NAME, WANT_TIME, WANT_BOOL };
static const struct field {
    const char *name;
    enum where_field field;
    enum want want; /* WANT_NAME: a text, and only = != in ~ make sense */
} fields[] = {
    {"id", FIELD_ID, WANT_NAME},
    {"name", FIELD_NAME, WANT_TEXT},
    {"type", FIELD_TYPE, WANT_NAME},
    {"kind", FIELD_KIND, WANT_NAME},
    {"size", FIELD_SIZE, WANT_NUMBER},
    {"files", FIELD_FILES, WANT_NUMBER},
    {"created", FIELD_CREATED, WANT_TIME},
    {"state", FIELD_STATE, WANT_NAME},
    {"digest", FIELD_DIGEST, WANT_NAME},
    {"source", FIELD_SOURCE, WANT_TEXT},
    {"uri", FIELD_URI, WANT_TEXT},
    {"tag", FIELD_TAG, WANT_NAME},
    {"revoked", FIELD_REVOKED, WANT_BOOL},
    {"task", FIELD_TASK, WANT_NAME},
    {"run", FIELD_RUN, WANT_NAME},
    {"pipeline", FIELD_PIPELINE, WANT_NAME},
    {"experiment", FIELD_EXPERIMENT, WANT_NAME},
    {"image", FIELD_IMAGE, WANT_NAME},
    {"component", FIELD_COMPONENT, WANT_NAME},
    {"code", FIELD_CODE, WANT_NAME},
};

static const char *const relations[] = {
    [REL_UPSTREAM] = "upstream",
    [REL_DOWNSTREAM] = "downstream",
    [REL_INPUT] = "input",
    [REL_IDENTICAL] = "identical",
};

/* ---- tokens -------------------------------------------------------------------------
 */

static bool word_char(char c, bool first)
{
    return isalpha((unsigned char)c) || c == '_' || (unsigned char)c >= 0x80 ||
           (!first && (isdigit((unsigned char)c) || (c && strchr(".-:/@[]", c))));
}

static int bad_at(struct parser *p, size_t at, const char *want)
{
    size_t left = p->text.len - at;

    if (!left)
        return err_set(p->e, ERR_INPUT, "query: it ends where %s is wanted", want);
    return err_set(p->e, ERR_INPUT, "query, character %zu: want %s, got %.*s", at + 1,
                   want, (int)(left < 20 ? left : 20), p->text.ptr + at);
}

static int bad(struct parser *p, const char *want)
{
    return bad_at(p, p->token_at, want);
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

static void read_word(struct parser *p)
{
    size_t from = p->at++;

    while (p->at < p->text.len && word_char(p->text.ptr[p->at], false))
        p->at++;
    p->word = (struct str){p->text.ptr + from, p->at - from};
    p->token = T_WORD;
}

/* "2026-11-03" and "3f2a9c" begin like numbers and are words */
static void read_number(struct parser *p)
{
    char copy[64], *end;
    size_t left = p->text.len - p->at;
    size_t n = left < sizeof(copy) - 1 ? left : sizeof(copy) - 1;

    memcpy(copy, p->text.ptr + p->at, n);
    copy[n] = '\0';
    p->num = strtod(copy, &end);
    if (end == copy || word_char(*end, false)) {
        if (isdigit((unsigned char)copy[0]))
            read_word(p);
        else
            p->token = T_BAD;
        return;
    }
    p->word = (struct str){p->text.ptr + p->at, (size_t)(end - copy)};
    p->token = T_NUMBER;
    p->at += p->word.len;
}

static void read_op(struct parser *p)
{
    size_t n = 1;

    if (p->at + 1 < p->text.len &&
        (p->text.ptr[p->at + 1] == '=' || p->text.ptr[p->at + 1] == '>'))
        n = 2;
    p->word = (struct str){p->text.ptr + p->at, n};
    p->token = T_OP;
    p->at += n;
}

static void next(struct parser *p)
{
    static const char single[] = "(),";
    static const enum token singles[] = {T_OPEN, T_CLOSE, T_COMMA};
    const char *s;
    char c, c2;

    while (p->at < p->text.len && isspace((unsigned char)p->text.ptr[p->at]))
        p->at++;
    p->token_at = p->at;
    p->token = T_END;
    if (p->at >= p->text.len)
        return;

    c = p->text.ptr[p->at];
    c2 = p->at + 1 < p->text.len ? p->text.ptr[p->at + 1] : '\0';
    s = c ? strchr(single, c) : NULL;
    if (s) {
        p->token = singles[s - single];
        p->at++;
    } else if (c == '\'' || c == '"') {
        p->at++;
        read_text(p, c);
    } else if (c && strchr("=!<>~", c)) {
        read_op(p);
    } else if (c == '-' && word_char(c2, true)) {
        p->token = T_MINUS;
        p->at++;
    } else if (isdigit((unsigned char)c) || (c && strchr("-+.", c))) {
        read_number(p);
    } else if (word_char(c, true)) {
        read_word(p);
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

/* ---- keys and values ----------------------------------------------------------------
 */

static struct str tail(struct str s, size_t from)
{
    return (struct str){s.ptr + from, s.len - from};
}

static const struct field *field_of(enum where_field f)
{
    for (size_t i = 0; i < N_ELEMS(fields); i++) {
        if (fields[i].field == f)
            return &fields[i];
    }
    return NULL;
}

/* what a KEY means */
static void key_read(struct str key, bool quoted, enum where_field *field,
                     struct str *name)
{
    *field = FIELD_METADATA;
    *name = key;
    if (quoted)
        return;
    if (str_starts(key, "metadata.") && key.len > 9) {
        *name = tail(key, 9);
    } else if (str_starts(key, "param.") && key.len > 6) {
        *field = FIELD_PARAM;
        *name = tail(key, 6);
    }
    for (size_t i = 0; i < N_ELEMS(fields); i++) {
        if (str_eqz(key, fields[i].name))
            *field = fields[i].field;
    }
}

static int parse_value(struct parser *p, struct where_value *v)
{
    *v = (struct where_value){.text = p->word};
    if (p->token == T_NUMBER)
        v->num = p->num;
    else if (is_word(p, "true") || is_word(p, "false"))
        v->num = is_word(p, "true");
    else if (p->token == T_TEXT || p->token == T_WORD)
        v->is_text = true;
    else
        return bad(p, "a number or a text in quotes");
    return 0;
}

static bool digest_ok(struct str s)
{
    uint8_t low[32], high[32];

    if (str_starts(s, "sha256:"))
        s = tail(s, 7);
    return s.len >= 6 && hex_range(s, low, high);
}

static bool id_ok(struct str s)
{
    if (s.len && s.ptr[0] == 'a')
        s = tail(s, 1);
    for (size_t i = 0; i < s.len; i++) {
        if (!isdigit((unsigned char)s.ptr[i]))
            return false;
    }
    return s.len > 0 && s.len < 19;
}

static bool state_ok(struct str s)
{
    return str_eqz(s, "LIVE") || str_eqz(s, "REMOVED") || str_eqz(s, "DELETED");
}

/* does the value fit the field? `at` is where it stands */
static int value_check(struct parser *p, const struct where_node *n, size_t at)
{
    const struct field *f = field_of(n->field);
    const struct where_value *v = &n->value;
    bool order = n->op >= OP_LT && n->op <= OP_GE;
    int64_t ms;

    if (n->op == OP_LIKE && !v->is_text)
        return bad_at(p, at, "a pattern in quotes such as 'churn*'");
    if (!f)
        return 0;
    if (n->op == OP_LIKE &&
        (f->want == WANT_NUMBER || f->want == WANT_TIME || f->want == WANT_BOOL ||
         n->field == FIELD_DIGEST || n->field == FIELD_CODE || n->field == FIELD_ID))
        return bad_at(p, at, "another operator than ~ in front of this");
    switch (f->want) {
    case WANT_NUMBER:
        return v->is_text ? bad_at(p, at, "a number") : 0;
    case WANT_TIME:
        return db_moment(v->text, &ms) ? 0 : bad_at(p, at, "a day such as 2026-03-03");
    case WANT_BOOL:
        return v->is_text || order ? bad_at(p, at, "true or false") : 0;
    case WANT_NAME:
        if (order)
            return bad_at(p, at, "= or != in front of this");
        break;
    case WANT_TEXT:
    case WANT_ANY:
        break;
    }
    if ((n->field == FIELD_DIGEST || n->field == FIELD_CODE) && !digest_ok(v->text))
        return bad_at(p, at, "a digest: sha256: and 6 digits or more");
    if (n->field == FIELD_ID && !id_ok(v->text))
        return bad_at(p, at, "an id such as a7");
    if (n->field == FIELD_STATE && n->op != OP_LIKE && !state_ok(v->text))
        return bad_at(p, at, "LIVE, REMOVED or DELETED");
    return 0;
}

/* ---- terms --------------------------------------------------------------------------
 */

static struct where_node *node(struct parser *p, enum where_kind kind)
{
    struct where_node *n = arena_alloc(p->a, sizeof(*n));

    n->kind = kind;
    p->n_nodes++;
    return n;
}

static struct where_node *join(struct parser *p, enum where_kind kind,
                               struct where_node *left, struct where_node *right)
{
    struct where_node *n = node(p, kind);

    n->left = left;
    n->right = right;
    return n;
}

/* the values of `in (...)`, as equals joined by or */
static int parse_list(struct parser *p, const struct where_node *like,
                      struct where_node **out)
{
    if (p->token != T_OPEN)
        return bad(p, "( and a list of values");
    *out = NULL;
    do {
        struct where_node *n = node(p, WHERE_TEST);
        size_t at;

        next(p);
        *n = *like;
        n->op = OP_EQ;
        at = p->token_at;
        if (parse_value(p, &n->value) < 0 || value_check(p, n, at) < 0)
            return -1;
        next(p);
        *out = *out ? join(p, WHERE_OR, *out, n) : n;
    } while (p->token == T_COMMA);
    if (p->token != T_CLOSE)
        return bad(p, ", or )");
    next(p);
    return 0;
}

static bool op_read(struct parser *p, enum where_op *op)
{
    for (size_t i = 0; p->token == T_OP && i < N_ELEMS(ops); i++) {
        if (str_eqz(p->word, ops[i].text)) {
            *op = ops[i].op;
            return true;
        }
    }
    return false;
}

/* behind a key: an operator and a value, or a list */
static int parse_test(struct parser *p, struct str key, bool quoted,
                      struct where_node **out)
{
    struct where_node *n = node(p, WHERE_TEST);
    bool not = false;
    size_t at;

    key_read(key, quoted, &n->field, &n->key);
    p->any_state |= n->field == FIELD_STATE;
    if (n->field == FIELD_REVOKED && p->token != T_OP) {
        n->value.num = 1;
        *out = n;
        return 0;
    }
    if (is_word(p, "not")) {
        not = true;
        next(p);
        if (!is_word(p, "in"))
            return bad(p, "in");
    }
    if (is_word(p, "in")) {
        next(p);
        if (parse_list(p, n, &n) < 0)
            return -1;
        *out = not ? join(p, WHERE_NOT, n, NULL) : n;
        return 0;
    }
    if (!op_read(p, &n->op))
        return bad(p, "one of = != < <= > >= ~ in");
    next(p);
    at = p->token_at;
    if (parse_value(p, &n->value) < 0 || value_check(p, n, at) < 0)
        return -1;
    next(p);
    *out = n;
    return 0;
}

static int parse_has(struct parser *p, struct where_node **out)
{
    struct where_node *n = node(p, WHERE_HAS);

    next(p);
    if (p->token != T_WORD && p->token != T_TEXT)
        return bad(p, "a metadata key, a parameter or tag");
    key_read(p->word, p->token == T_TEXT, &n->field, &n->key);
    if (n->field != FIELD_METADATA && n->field != FIELD_PARAM && n->field != FIELD_TAG)
        return bad(p, "a metadata key, a parameter or tag");
    n->op = OP_HAS;
    next(p);
    *out = n;
    return 0;
}

/* "Dataset.train.rows": how much of it is the type, 0 = nothing */
static size_t type_part(struct str word)
{
    size_t from = 0;

    for (size_t i = 0; i <= word.len; i++) {
        if (i < word.len && word.ptr[i] != '.')
            continue;
        if (i > from && isupper((unsigned char)word.ptr[from]))
            return i;
        from = i + 1;
    }
    return 0;
}

static int parse_or(struct parser *p, struct where_node **out);
static int parse_deeper(struct parser *p, struct where_node **out);

static int parse_parens(struct parser *p, struct where_node **out)
{
    next(p);
    if (parse_or(p, out) < 0)
        return -1;
    if (p->token != T_CLOSE)
        return bad(p, "and, or, )");
    next(p);
    return 0;
}

/* behind upstream, downstream, input or identical */
static int parse_relation(struct parser *p, enum where_relation rel,
                          struct where_node **out)
{
    struct where_node *n = node(p, WHERE_RELATION);
    bool state = p->any_state;
    struct str key;
    size_t type;
    bool quoted;

    n->relation = rel;
    next(p);
    if (p->token == T_WORD && (type = type_part(p->word))) {
        n->type = (struct str){p->word.ptr, type};
        key = type < p->word.len ? tail(p->word, type + 1) : (struct str){"", 0};
        next(p);
        if (key.len && parse_test(p, key, false, &n->left) < 0)
            return -1;
        if (!key.len && p->token == T_OPEN && parse_parens(p, &n->left) < 0)
            return -1;
    } else if (p->token == T_OPEN) {
        if (parse_parens(p, &n->left) < 0)
            return -1;
    } else if (p->token == T_WORD || p->token == T_TEXT) {
        key = p->word;
        quoted = p->token == T_TEXT;
        next(p);
        if (quoted && p->token == T_OPEN) { /* a type of any name */
            n->type = key;
            if (parse_parens(p, &n->left) < 0)
                return -1;
        } else if (parse_test(p, key, quoted, &n->left) < 0) {
            return -1;
        }
    } else {
        return bad(p, "a type, a key or (");
    }
    p->any_state = state; /* that of another artifact */
    *out = n;
    return 0;
}

static int parse_unary(struct parser *p, struct where_node **out)
{
    struct str key;
    bool quoted;

    if (is_word(p, "not")) {
        next(p);
        *out = node(p, WHERE_NOT);
        return parse_deeper(p, &(*out)->left);
    }
    if (p->token == T_OPEN)
        return parse_parens(p, out);
    if (is_word(p, "has"))
        return parse_has(p, out);
    for (size_t i = 0; i < N_ELEMS(relations); i++) {
        if (is_word(p, relations[i]))
            return parse_relation(p, (enum where_relation)i, out);
    }
    if (p->token != T_WORD && p->token != T_TEXT)
        return bad(p, "a key, upstream, downstream, has, not or (");
    key = p->word;
    quoted = p->token == T_TEXT;
    next(p);
    return parse_test(p, key, quoted, out);
}

/* what can nest goes through here, so the depth is held in one place */
static int parse_deeper(struct parser *p, struct where_node **out)
{
    int rc;

    if (p->depth >= WHERE_DEPTH_MAX)
        return err_set(p->e, ERR_LIMIT, "query: nested deeper than %d",
                       WHERE_DEPTH_MAX);
    p->depth++;
    rc = parse_unary(p, out);
    p->depth--;
    return rc;
}

static int parse_and(struct parser *p, struct where_node **out)
{
    struct where_node *right;

    if (parse_deeper(p, out) < 0)
        return -1;
    while (is_word(p, "and")) {
        next(p);
        if (parse_deeper(p, &right) < 0)
            return -1;
        *out = join(p, WHERE_AND, *out, right);
    }
    return 0;
}

static int parse_or(struct parser *p, struct where_node **out)
{
    struct where_node *right;

    if (parse_and(p, out) < 0)
        return -1;
    while (is_word(p, "or")) {
        next(p);
        if (parse_and(p, &right) < 0)
            return -1;
        *out = join(p, WHERE_OR, *out, right);
    }
    return 0;
}

/* ---- the whole ----------------------------------------------------------------------
 */

static int parser_open(struct parser *p, struct arena *a, struct str text,
                       struct err *e)
{
    *p = (struct parser){.a = a, .e = e};
    if (text.len > WHERE_BYTES_MAX)
        return err_set(e, ERR_LIMIT, "query: over %d bytes", WHERE_BYTES_MAX);
    p->text = arena_str(a, text); /* what is given points into it */
    next(p);
    return 0;
}

static int too_long(struct err *e)
{
    return err_set(e, ERR_LIMIT, "query: over %d terms", WHERE_NODES_MAX);
}

int query_parse_where(struct arena *a, struct str text, struct query *out,
                      struct err *e)
{
    struct query q = {0};
    struct parser p;

    if (parser_open(&p, a, text, e) < 0)
        return -1;
    if (p.token != T_END && parse_or(&p, &q.where) < 0)
        return -1;
    if (p.n_nodes > WHERE_NODES_MAX)
        return too_long(e);
    if (p.token != T_END)
        return bad(&p, "and, or");
    q.any_state = p.any_state;
    *out = q;
    return 0;
}

static int parse_sort(struct parser *p, struct query *q)
{
    if (p->token == T_MINUS) {
        q->descending = true;
        next(p);
    }
    if (p->token != T_WORD && p->token != T_TEXT)
        return bad(p, "a key to sort by");
    key_read(p->word, p->token == T_TEXT, &q->sort_field, &q->sort);
    if (q->sort_field != FIELD_METADATA && q->sort_field != FIELD_ID &&
        q->sort_field != FIELD_NAME && q->sort_field != FIELD_SIZE &&
        q->sort_field != FIELD_FILES && q->sort_field != FIELD_CREATED)
        return bad(p, "a metadata key, id, name, size, files or created");
    next(p);
    if (is_word(p, "desc") || is_word(p, "asc")) {
        q->descending = is_word(p, "desc");
        next(p);
    }
    return 0;
}

int query_sort(struct arena *a, struct str text, struct query *out, struct err *e)
{
    struct query q = *out;
    struct parser p;

    if (parser_open(&p, a, text, e) < 0 || parse_sort(&p, &q) < 0)
        return -1;
    if (p.token != T_END)
        return bad(&p, "the end");
    *out = q;
    return 0;
}

static int parse_head(struct parser *p, struct query *q)
{
    if (is_word(p, "where") || is_word(p, "order") || is_word(p, "limit") ||
        p->token == T_END)
        return 0;
    if (p->token != T_WORD && p->token != T_TEXT)
        return bad(p, "a type such as Model, artifacts, or where");
    if (p->token == T_TEXT || type_part(p->word) == p->word.len)
        q->type = p->word;
    else if (!is_word(p, "artifacts"))
        return bad(p, "a type such as Model, artifacts, or where");
    next(p);
    return 0;
}

static int parse_query(struct parser *p, struct query *q)
{
    if (parse_head(p, q) < 0)
        return -1;
    if (is_word(p, "where")) {
        next(p);
        if (parse_or(p, &q->where) < 0)
            return -1;
    }
    if (is_word(p, "order")) {
        next(p);
        if (!is_word(p, "by"))
            return bad(p, "by");
        next(p);
        if (parse_sort(p, q) < 0)
            return -1;
    }
    if (is_word(p, "limit")) {
        next(p);
        if (p->token != T_NUMBER || p->num < 1 || p->num > 1e9 ||
            p->num != (double)(int64_t)p->num)
            return bad(p, "a whole number");
        q->limit = (int64_t)p->num;
        next(p);
    }
    if (p->n_nodes > WHERE_NODES_MAX)
        return too_long(p->e);
    if (p->token != T_END)
        return bad(p, q->where ? "and, or, order by, limit" : "where, order by, limit");
    q->any_state = p->any_state;
    return 0;
}

int query_parse(struct arena *a, struct str text, struct query *out, struct err *e)
{
    struct query q = {0};
    struct parser p;

    if (parser_open(&p, a, text, e) < 0 || parse_query(&p, &q) < 0)
        return -1;
    *out = q;
    return 0;
}

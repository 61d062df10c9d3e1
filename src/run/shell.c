/* SPDX-License-Identifier: Apache-2.0 */
/* shell.c - cut a shell script into simple commands
 *
 * Enough of POSIX 2.2 (quoting) and 2.3 (tokens) to know which words a simple command
 * gets: 'single' takes all as it is, "double" keeps $ and ` alive and knows five
 * escapes, \ takes the next byte, \ at a line's end joins lines. What the shell would
 * replace ($NAME, $(...),
 * `...`) cannot be known here; it is copied as written and the word says so. Nothing is
 * expanded and nothing is run. Of the grammar above that only as much is kept as tells
 * which command is somebody's stand-in: `if` and ( ) fall away, || marks what follows.
 */
#include "run/shell.h"

/* $( inside of $( inside of ...: people stop at two. The reader of it recurses. */
#define SUBSTITUTION_DEPTH_MAX 40
#define GROUP_DEPTH_MAX 60 /* ( inside of (: one bit each */

enum kind {
    KIND_WORD,
    KIND_AND,      /* && */
    KIND_OR,       /* || */
    KIND_NEXT,     /* ; or the end of a line */
    KIND_OPEN,     /* ( */
    KIND_CLOSE,    /* ) */
    KIND_REDIRECT, /* > >> < >& 2> ...: the word after it names a file */
    KIND_OTHER,    /* | & << ;; */
};

struct token {
    enum kind kind;
    struct shell_word word; /* of an operator: its text */
};

struct cutter {
    struct arena *a;
    struct str s;
    size_t i;
    struct buf word;
    struct token *tokens;
    size_t n_tokens;
};

static char at(const struct cutter *c, size_t ahead)
{
    return c->i + ahead < c->s.len ? c->s.ptr[c->i + ahead] : '\0';
}

static bool left(const struct cutter *c)
{
    return c->i < c->s.len;
}

static void add(struct cutter *c, enum kind kind, struct shell_word word)
{
    c->tokens = arena_grow(c->a, c->tokens, &c->n_tokens, sizeof(*c->tokens));
    c->tokens[c->n_tokens - 1] = (struct token){kind, word};
}

/* ---- words ---------------------------------------------------------------------- */

/* go past `closer`, which ends what was just opened, with all that is quoted or nested
 * in it */
static bool skip_past(struct cutter *c, char closer, int depth)
{
    if (depth > SUBSTITUTION_DEPTH_MAX)
        return false;
    while (left(c)) {
        char ch = at(c, 0), opens = 0;
        c->i++;
        if (ch == closer)
            return true;
        if (closer == '\'')
            continue;
        if (ch == '\\')
            c->i += left(c);
        else if (ch == '$' && (at(c, 0) == '(' || at(c, 0) == '{'))
            opens = at(c, 0) == '(' ? ')' : '}';
        else if (ch == '(' && closer == ')')
            opens = ')';
        else if (ch == '`' || (closer != '"' && (ch == '"' || ch == '\'')))
            opens = ch;
        if (!opens)
            continue;
        c->i += ch == '$';
        if (!skip_past(c, opens, depth + 1))
            return false;
    }
    return false;
}

/* $... or `...`: into the word as it stands */
static int take_expansion(struct cutter *c, struct err *e)
{
    size_t start = c->i;
    char closer = 0;

    if (at(c, 0) == '`')
        closer = '`';
    else if (at(c, 1) == '(')
        closer = ')';
    else if (at(c, 1) == '{')
        closer = '}';
    c->i += closer && closer != '`' ? 2 : 1;
    if (closer && !skip_past(c, closer, 0))
        return err_set(e, ERR_INPUT, "a %s is not closed",
                       closer == '`'   ? "`"
                       : closer == ')' ? "$("
                                       : "${");
    buf_add(&c->word, c->s.ptr + start, c->i - start);
    return 0;
}

static int take_single_quoted(struct cutter *c, struct err *e)
{
    size_t start = ++c->i;

    if (!skip_past(c, '\'', 0))
        return err_set(e, ERR_INPUT, "a ' is not closed");
    buf_add(&c->word, c->s.ptr + start, c->i - 1 - start);
    return 0;
}

static int take_double_quoted(struct cutter *c, struct shell_word *w, struct err *e)
{
    c->i++;
    while (left(c)) {
        char ch = at(c, 0);
        if (ch == '"') {
            c->i++;
            return 0;
        }
        if (ch == '$' || ch == '`') {
            w->expands = true;
            if (take_expansion(c, e) < 0)
                return -1;
            continue;
        }
        if (ch == '\\' && c->i + 1 < c->s.len && memchr("$`\"\\\n", at(c, 1), 5)) {
            c->i++;
            ch = at(c, 0);
            if (ch == '\n') {
                c->i++;
                continue;
            }
        }
        buf_addc(&c->word, ch);
        c->i++;
    }
    return err_set(e, ERR_INPUT, "a \" is not closed");
}

static bool ends_word(char ch)
{
    return memchr(" \t\n;&|<>()", ch, 10) != NULL;
}

static int take_word_parts(struct cutter *c, struct shell_word *w, struct err *e)
{
    while (left(c) && !ends_word(at(c, 0))) {
        char ch = at(c, 0);
        int rc = 0;
        if (ch == '\'' || ch == '"') {
            w->quoted = true;
            rc = ch == '"' ? take_double_quoted(c, w, e) : take_single_quoted(c, e);
        } else if (ch == '$' || ch == '`') {
            w->expands = true;
            rc = take_expansion(c, e);
        } else if (ch == '\\') {
            c->i++;
            w->quoted = true;
            if (left(c) && at(c, 0) != '\n')
                buf_addc(&c->word, at(c, 0));
            c->i += left(c);
        } else {
            buf_addc(&c->word, ch);
            c->i++;
        }
        if (rc < 0)
            return -1;
    }
    return 0;
}

static bool is_number(const struct buf *b)
{
    for (size_t i = 0; i < b->len; i++)
        if (b->ptr[i] < '0' || b->ptr[i] > '9')
            return false;
    return b->len > 0;
}

static int take_word(struct cutter *c, struct err *e)
{
    struct shell_word w = {0};

    buf_reset(&c->word);
    if (take_word_parts(c, &w, e) < 0)
        return -1;
    if (!w.quoted && is_number(&c->word) && (at(c, 0) == '<' || at(c, 0) == '>'))
        return 0; /* the 2 of 2>file */
    w.text = arena_str(c->a, (struct str){buf_str(&c->word), c->word.len});
    add(c, KIND_WORD, w);
    return 0;
}

/* ---- operators ------------------------------------------------------------------ */

static const struct {
    const char *text;
    enum kind kind;
} operators[] = {
    /* the longer ones first */
    {"<<", KIND_OTHER},    {">>", KIND_REDIRECT}, {"<>", KIND_REDIRECT},
    {">&", KIND_REDIRECT}, {"<&", KIND_REDIRECT}, {">|", KIND_REDIRECT},
    {"&&", KIND_AND},      {"||", KIND_OR},       {";;", KIND_OTHER},
    {"<", KIND_REDIRECT},  {">", KIND_REDIRECT},  {";", KIND_NEXT},
    {"\n", KIND_NEXT},     {"(", KIND_OPEN},      {")", KIND_CLOSE},
    {"&", KIND_OTHER},     {"|", KIND_OTHER},
};

static bool take_operator(struct cutter *c)
{
    struct str rest = {c->s.ptr + c->i, c->s.len - c->i};

    for (size_t i = 0; i < N_ELEMS(operators); i++) {
        size_t len = strlen(operators[i].text);
        if (!str_starts(rest, operators[i].text))
            continue;
        add(c, operators[i].kind, (struct shell_word){.text = {rest.ptr, len}});
        c->i += len;
        return true;
    }
    return false;
}

static bool skip_blank_or_comment(struct cutter *c)
{
    if (at(c, 0) == ' ' || at(c, 0) == '\t') {
        c->i++;
        return true;
    }
    if (at(c, 0) == '\\' && at(c, 1) == '\n') {
        c->i += 2;
        return true;
    }
    if (at(c, 0) != '#')
        return false;
    while (left(c) && at(c, 0) != '\n')
        c->i++;
    return true;
}

static int cut(struct cutter *c, struct err *e)
{
    int rc = 0;

    buf_init(&c->word, 0);
    while (rc == 0 && left(c))
        if (!skip_blank_or_comment(c) && !take_operator(c))
            rc = take_word(c, e);
    buf_done(&c->word);
    return rc;
}

/* ---- from tokens to simple commands --------------------------------------------- */

struct group {
    uint64_t fallbacks; /* a bit for each depth: is what comes now a fallback? */
    unsigned depth;
};

static bool is_keyword(const struct shell_word *w)
{
    static const char *const keywords[] = {"if", "then", "else", "fi", "!"};

    for (size_t i = 0; i < N_ELEMS(keywords); i++)
        if (!w->quoted && str_eqz(w->text, keywords[i]))
            return true;
    return false;
}

/* `||` makes what follows a fallback until the next `&&`, `;` or line end of its group
 */
static int read_operator(struct group *g, const struct token *t, struct err *e)
{
    uint64_t here = 1ULL << g->depth;

    switch (t->kind) {
    case KIND_OR:
        g->fallbacks |= here;
        return 0;
    case KIND_AND:
    case KIND_NEXT:
        g->fallbacks &= ~here;
        if (g->depth)
            g->fallbacks |= (g->fallbacks << 1) & here;
        return 0;
    case KIND_OPEN:
        if (++g->depth > GROUP_DEPTH_MAX)
            return err_set(e, ERR_INPUT, "its ( are nested deeper than %d",
                           GROUP_DEPTH_MAX);
        g->fallbacks = (g->fallbacks & ~(here << 1)) | (g->fallbacks & here) << 1;
        return 0;
    case KIND_CLOSE:
        if (!g->depth)
            return err_set(e, ERR_INPUT, "it has a ) without a (");
        g->depth--;
        return 0;
    case KIND_WORD:
    case KIND_REDIRECT:
    case KIND_OTHER:
        break;
    }
    return err_set(e, ERR_INPUT,
                   "it uses %.*s, and only && || ; ( ) < > are understood there",
                   STR_ARG(t->word.text));
}

/* the words up to the next operator; returns how many tokens that took */
static size_t take_command(struct arena *a, const struct token *t, size_t n,
                           struct shell_command *out)
{
    size_t i = 0;

    for (; i < n && (t[i].kind == KIND_WORD || t[i].kind == KIND_REDIRECT); i++) {
        if (t[i].kind == KIND_REDIRECT) {
            i += i + 1 < n && t[i + 1].kind == KIND_WORD;
        } else if (out->n_words || !is_keyword(&t[i].word)) {
            out->words = arena_grow(a, out->words, &out->n_words, sizeof(*out->words));
            out->words[out->n_words - 1] = t[i].word;
        }
    }
    return i;
}

int shell_commands_in(struct arena *a, struct str script, struct shell_command **out,
                      size_t *n_out, struct err *e)
{
    struct cutter c = {.a = a, .s = script};
    struct shell_command *commands = NULL;
    struct group g = {0};
    size_t n = 0;

    if (cut(&c, e) < 0)
        return -1;
    for (size_t i = 0; i < c.n_tokens;) {
        const struct token *t = &c.tokens[i];
        struct shell_command next = {.fallback = g.fallbacks >> g.depth & 1};
        if (t->kind != KIND_WORD && t->kind != KIND_REDIRECT) {
            if (read_operator(&g, t, e) < 0)
                return -1;
            i++;
            continue;
        }
        i += take_command(a, t, c.n_tokens - i, &next);
        if (next.n_words) {
            commands = arena_grow(a, commands, &n, sizeof(*commands));
            commands[n - 1] = next;
        }
    }
    if (g.depth)
        return err_set(e, ERR_INPUT, "it has a ( without a )");
    *out = commands;
    *n_out = n;
    return 0;
}

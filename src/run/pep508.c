/* SPDX-License-Identifier: Apache-2.0 */
/* pep508.c - Python's requirements and their markers
 *
 *   name [extra, ...] specifier, ...  ; marker
 *   name [extra, ...] (specifier, ...) ; marker
 *   name [extra, ...] @ URL ; marker
 *
 * The first half is cut into views. A marker is read and evaluated in one go by
 * recursive descent; both sides of `and` and `or` are always read, so that a wrong half
 * is noticed whatever the other half says:
 *
 *   any  = all { "or" all }
 *   all  = term { "and" term }
 *   term = "(" any ")"  |  value operator value
 *
 * Two values are compared as versions when the right one makes a specifier with the
 * operator and the left one is a version, otherwise as texts: python_version < "3.10"
 * is about versions, sys_platform == "linux" about texts, with one grammar for both.
 */
#include "run/pep508.h"

#include "base/mem.h"
#include "run/pep440.h"

/* Real markers nest twice. The reader recurses, and its text comes from outside. */
#define MARKER_DEPTH_MAX 50

/* ---- text ----------------------------------------------------------------------- */

static bool is_alnum(char c)
{
    return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str from(struct str s, size_t n)
{
    return (struct str){s.ptr + n, s.len - n};
}

static struct str skip_blanks(struct str s)
{
    while (s.len && is_blank(s.ptr[0]))
        s = from(s, 1);
    return s;
}

static struct str trim(struct str s)
{
    s = skip_blanks(s);
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static bool starts(struct str s, char c)
{
    return s.len && s.ptr[0] == c;
}

static size_t find(struct str s, char c) /* s.len when it is not there */
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;

    return p ? (size_t)(p - s.ptr) : s.len;
}

static bool contains(struct str s, struct str part)
{
    return !part.len || (s.len && memmem(s.ptr, s.len, part.ptr, part.len));
}

/* for messages: a piece short enough that the rest of the sentence fits */
static struct str piece(struct str s)
{
    s = trim(s);
    return s.len > 120 ? (struct str){s.ptr, 120} : s;
}

void pep503_write(struct buf *b, struct str name)
{
    bool dash = false;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '-' || c == '_' || c == '.') {
            if (!dash)
                buf_addc(b, '-');
            dash = true;
            continue;
        }
        dash = false;
        buf_addc(b, c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c);
    }
}

/* ---- requirements --------------------------------------------------------------- */

struct str pep508_name(struct str text)
{
    struct str s = skip_blanks(text);
    size_t n = 0;

    if (!s.len || !is_alnum(s.ptr[0]))
        return (struct str){s.ptr, 0};
    while (n < s.len && (is_alnum(s.ptr[n]) || memchr("-_.", s.ptr[n], 3)))
        n++;
    while (!is_alnum(s.ptr[n - 1]))
        n--;
    return (struct str){s.ptr, n};
}

bool pep508_direct(struct str text)
{
    static const char *const archives[] = {".whl", ".zip",     ".tar.gz",
                                           ".tgz", ".tar.bz2", ".tar.xz"};
    struct str s = trim(text), name = pep508_name(s), rest = from(s, name.len);

    if (!s.len)
        return false;
    /* ./wheels, /src, ~/src, https://..., git+ssh://..., sub/dir, C:\src */
    if (memchr("./~", s.ptr[0], 3) || (rest.len && memchr("/:\\+", rest.ptr[0], 4)))
        return true;
    for (size_t i = 0; i < N_ELEMS(archives); i++)
        if (str_ends(name, archives[i]))
            return true;
    return false;
}

static int read_extras(struct str *s, struct pep508 *r, struct err *e)
{
    size_t end = find(*s, ']');
    struct str rest;

    if (end == s->len)
        return err_set(e, ERR_INPUT, "the [ of its extras is not closed");
    r->extras = trim((struct str){s->ptr + 1, end - 1});
    for (rest = r->extras; rest.len;) {
        struct str extra = trim((struct str){rest.ptr, find(rest, ',')});
        if (!extra.len || pep508_name(extra).len != extra.len)
            return err_set(e, ERR_INPUT, "\"%.*s\" is no name of an extra",
                           STR_ARG(piece(extra)));
        rest = from(rest, find(rest, ','));
        if (rest.len && !trim(from(rest, 1)).len)
            return err_set(e, ERR_INPUT, "its list of extras ends in a comma");
        rest = rest.len ? from(rest, 1) : rest;
    }
    *s = skip_blanks(from(*s, end + 1));
    return 0;
}

/* the next clause of "a, b, c" into *clause; false at the end. A comma at the end is
 * fine. */
static bool next_clause(struct str *specifiers, struct str *clause)
{
    size_t comma = find(*specifiers, ',');

    if (!trim(*specifiers).len)
        return false;
    *clause = trim((struct str){specifiers->ptr, comma});
    *specifiers = from(*specifiers, comma + (comma < specifiers->len));
    return true;
}

static int read_specifiers(struct str *s, struct pep508 *r, struct err *e)
{
    bool parenthesised = starts(*s, '(');
    size_t end = find(*s, parenthesised ? ')' : ';');
    struct pep440_clause read;
    struct str rest, clause;

    if (parenthesised && end == s->len)
        return err_set(e, ERR_INPUT, "the ( of its versions is not closed");
    r->specifiers = trim((struct str){s->ptr + parenthesised, end - parenthesised});
    for (rest = r->specifiers; next_clause(&rest, &clause);)
        if (!pep440_clause_read(clause, &read))
            return err_set(
                e, ERR_INPUT,
                "\"%.*s\" is no version specifier (one looks like >=1.2 or ==1.2.*)",
                STR_ARG(piece(clause)));
    *s = skip_blanks(from(*s, end + parenthesised));
    return 0;
}

static int read_parts(struct str s, struct pep508 *r, struct err *e)
{
    r->name = pep508_name(s);
    if (!r->name.len)
        return err_set(e, ERR_INPUT, "it starts with no package name");
    s = skip_blanks(from(s, r->name.len));
    if (starts(s, '[') && read_extras(&s, r, e) < 0)
        return -1;
    if (starts(s, '@')) {
        s = skip_blanks(from(s, 1));
        while (r->url.len < s.len && !is_blank(s.ptr[r->url.len]))
            r->url = (struct str){s.ptr, r->url.len + 1};
        s = skip_blanks(from(s, r->url.len));
        if (!r->url.len)
            return err_set(e, ERR_INPUT, "no URL follows the @");
    } else if (read_specifiers(&s, r, e) < 0) {
        return -1;
    }
    if (!s.len)
        return 0;
    if (!starts(s, ';'))
        return err_set(e, ERR_INPUT, "\"%.*s\" is one thing too many",
                       STR_ARG(piece(s)));
    r->marker = trim(from(s, 1));
    if (!r->marker.len)
        return err_set(e, ERR_INPUT, "no marker follows the ;");
    return 0;
}

int pep508_read(struct str text, struct pep508 *out, struct err *e)
{
    struct pep508 r = {0};
    struct str s = trim(text);

    if (pep508_direct(s))
        return err_set(e, ERR_INPUT,
                       "\"%.*s\" is a URL or a path, not a package by name",
                       STR_ARG(piece(s)));
    if (read_parts(s, &r, e) < 0)
        return err_at(e, "requirement \"%.*s\"", STR_ARG(piece(s)));
    *out = r;
    return 0;
}

bool pep508_allows(const struct pep508 *r, struct str version)
{
    struct str rest = r->specifiers, clause;
    struct pep440_clause c;

    while (next_clause(&rest, &clause))
        if (!pep440_clause_read(clause, &c) || !pep440_clause_allows(&c, version))
            return false;
    return true;
}

/* ---- markers -------------------------------------------------------------------- */

struct marker {
    struct str s; /* what is left to read */
    const struct named_value *env;
    size_t n_env;
    int depth;
};

/* The names of PEP 508, and those of PEP 345 that old packages still use. */
static const struct {
    const char *name, *now;
} variables[] = {
    {"os_name", NULL},
    {"sys_platform", NULL},
    {"platform_machine", NULL},
    {"platform_python_implementation", NULL},
    {"platform_release", NULL},
    {"platform_system", NULL},
    {"platform_version", NULL},
    {"python_version", NULL},
    {"python_full_version", NULL},
    {"implementation_name", NULL},
    {"implementation_version", NULL},
    {"extra", NULL},
    {"os.name", "os_name"},
    {"sys.platform", "sys_platform"},
    {"platform.machine", "platform_machine"},
    {"platform.version", "platform_version"},
    {"platform.python_implementation", "platform_python_implementation"},
    {"python_implementation", "platform_python_implementation"},
};

static int variable(const struct marker *m, struct str name, struct str *out,
                    struct err *e)
{
    for (size_t v = 0; v < N_ELEMS(variables); v++) {
        const char *now = variables[v].now ? variables[v].now : variables[v].name;
        if (!str_eqz(name, variables[v].name))
            continue;
        *out = STR("");
        for (size_t i = 0; i < m->n_env; i++)
            if (str_eqz(m->env[i].name, now) && m->env[i].value.kind == VALUE_STRING)
                *out = m->env[i].value.s;
        return 0;
    }
    return err_set(e, ERR_INPUT,
                   "\"%.*s\" is no variable of markers (python_version is one)",
                   STR_ARG(piece(name)));
}

static struct str word_at(struct str s)
{
    struct str word = {s.ptr, 0};

    while (word.len < s.len &&
           (is_alnum(s.ptr[word.len]) || memchr("_.", s.ptr[word.len], 2)))
        word.len++;
    return word;
}

static bool take_word(struct marker *m, const char *word)
{
    m->s = skip_blanks(m->s);
    if (!str_eqz(word_at(m->s), word))
        return false;
    m->s = from(m->s, strlen(word));
    return true;
}

static int read_value(struct marker *m, struct str *out, struct err *e)
{
    struct str s = m->s = skip_blanks(m->s), name;

    if (starts(s, '\'') || starts(s, '"')) {
        size_t end = find(from(s, 1), s.ptr[0]);
        if (end == s.len - 1)
            return err_set(e, ERR_INPUT, "the quote in %.*s is not closed",
                           STR_ARG(piece(s)));
        *out = (struct str){s.ptr + 1, end};
        m->s = from(s, end + 2);
        return 0;
    }
    name = word_at(s);
    if (!name.len)
        return err_set(e, ERR_INPUT,
                       s.len ? "want a variable or a text in quotes, got \"%.*s\""
                             : "a variable or a text is missing at its end%.*s",
                       STR_ARG(piece(s)));
    m->s = from(s, name.len);
    return variable(m, name, out, e);
}

static int read_operator(struct marker *m, const char **out, struct err *e)
{
    static const char *const symbols[] = {
        "===", "==", "!=", "~=", "<=", ">=", "<", ">"};

    if (take_word(m, "in")) {
        *out = "in";
        return 0;
    }
    if (take_word(m, "not")) {
        *out = "not in";
        return take_word(m, "in") ? 0
                                  : err_set(e, ERR_INPUT, "want \"in\" after \"not\"");
    }
    for (size_t i = 0; i < N_ELEMS(symbols); i++)
        if (str_starts(m->s, symbols[i])) {
            *out = symbols[i];
            m->s = from(m->s, strlen(symbols[i]));
            return 0;
        }
    return err_set(e, ERR_INPUT, "want an operator such as == or in, got \"%.*s\"",
                   STR_ARG(piece(m->s)));
}

static int compare_texts(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;
    int c = n ? memcmp(a.ptr, b.ptr, n) : 0;

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

/* false when the two are no versions, or the operator has another meaning for them */
static bool compare_as_versions(struct str a, const char *op, struct str b, bool *out)
{
    AUTO_BUF struct buf text = {0};
    struct pep440_clause clause;
    struct pep440_version version;

    buf_init(&text, 0);
    buf_adds(&text, op);
    buf_addstr(&text, b);
    if (!pep440_clause_read((struct str){buf_str(&text), text.len}, &clause))
        return false;
    if (clause.op != PEP440_SAME_TEXT && !pep440_read(a, &version))
        return false;
    *out = pep440_clause_allows(&clause, a);
    return true;
}

static int compare_values(struct str a, const char *op, struct str b, bool *out,
                          struct err *e)
{
    int c = compare_texts(a, b);

    if (strcmp(op, "in") == 0 || strcmp(op, "not in") == 0) {
        *out = contains(b, a) == (op[0] == 'i');
        return 0;
    }
    if (compare_as_versions(a, op, b, out))
        return 0;
    if (op[0] == '~')
        return err_set(e, ERR_INPUT, "~= wants versions, got \"%.*s\" and \"%.*s\"",
                       STR_ARG(piece(a)), STR_ARG(piece(b)));
    switch (op[0]) {
    case '<':
        *out = op[1] == '=' ? c <= 0 : c < 0;
        break;
    case '>':
        *out = op[1] == '=' ? c >= 0 : c > 0;
        break;
    default:
        *out = (c == 0) == (op[0] == '=');
    }
    return 0;
}

static int any_of(struct marker *m, bool *out, struct err *e);

static int term(struct marker *m, bool *out, struct err *e)
{
    struct str left, right;
    const char *op;

    m->s = skip_blanks(m->s);
    if (!starts(m->s, '(')) {
        if (read_value(m, &left, e) < 0 || read_operator(m, &op, e) < 0 ||
            read_value(m, &right, e) < 0)
            return -1;
        return compare_values(left, op, right, out, e);
    }
    if (++m->depth > MARKER_DEPTH_MAX)
        return err_set(e, ERR_INPUT, "it is nested deeper than %d parentheses",
                       MARKER_DEPTH_MAX);
    m->s = from(m->s, 1);
    if (any_of(m, out, e) < 0)
        return -1;
    m->s = skip_blanks(m->s);
    if (!starts(m->s, ')'))
        return err_set(e, ERR_INPUT, "a ( is not closed");
    m->s = from(m->s, 1);
    m->depth--;
    return 0;
}

static int all_of(struct marker *m, bool *out, struct err *e)
{
    bool next;

    if (term(m, out, e) < 0)
        return -1;
    while (take_word(m, "and")) {
        if (term(m, &next, e) < 0)
            return -1;
        *out = *out && next;
    }
    return 0;
}

static int any_of(struct marker *m, bool *out, struct err *e)
{
    bool next;

    if (all_of(m, out, e) < 0)
        return -1;
    while (take_word(m, "or")) {
        if (all_of(m, &next, e) < 0)
            return -1;
        *out = *out || next;
    }
    return 0;
}

int pep508_marker(struct str marker, const struct named_value *env, size_t n_env,
                  bool *out, struct err *e)
{
    struct marker m = {.s = marker, .env = env, .n_env = n_env};
    bool result;
    int rc = any_of(&m, &result, e);

    if (rc == 0 && skip_blanks(m.s).len)
        rc = err_set(e, ERR_INPUT, "want \"and\" or \"or\", got \"%.*s\"",
                     STR_ARG(piece(m.s)));
    if (rc < 0)
        return err_at(e, "marker \"%.*s\"", STR_ARG(piece(marker)));
    *out = result;
    return 0;
}

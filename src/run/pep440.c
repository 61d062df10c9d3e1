/* SPDX-License-Identifier: Apache-2.0 */
/* pep440.c - Python's versions and version specifiers (PEP 440)
 *
 *   [v] [EPOCH!] N(.N)*  [-_.]a|b|rc[N]  [-_.]post[N] or -N  [-_.]dev[N]  [+local]
 *
 * The reader goes from left to right once. Every part but the release may be left out,
 * and separators inside are optional, so each part first looks whether its word comes
 * next and otherwise leaves the cursor alone. A version stays a view of its text:
 * release segments are walked where they stand, and a number is its digits without
 * leading zeros, compared by length and then bytes. So 20240229235959123 needs no wider
 * integer than 7 does.
 */
#include "run/pep440.h"

#include "base/mem.h"

/* ---- text ----------------------------------------------------------------------- */

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static char lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (char)(c + ('a' - 'A')) : c;
}

static bool is_alnum(char c)
{
    return is_digit(c) || (lower(c) >= 'a' && lower(c) <= 'z');
}

static bool is_separator(char c)
{
    return c == '-' || c == '_' || c == '.';
}

static bool is_blank(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

static struct str trim(struct str s)
{
    while (s.len && is_blank(s.ptr[0]))
        s = (struct str){s.ptr + 1, s.len - 1};
    while (s.len && is_blank(s.ptr[s.len - 1]))
        s.len--;
    return s;
}

static int sign(size_t a, size_t b)
{
    return (a > b) - (a < b);
}

/* ---- reading -------------------------------------------------------------------- */

/* what is left to read; past the end it reads as NUL, which is part of no version */
static char at(const struct str *s, size_t i)
{
    return i < s->len ? s->ptr[i] : '\0';
}

static void advance(struct str *s, size_t n)
{
    s->ptr += n;
    s->len -= n;
}

/* digits at the cursor, without leading zeros; false when there are none */
static bool take_number(struct str *s, struct str *out)
{
    size_t n = 0, zeros = 0;

    while (is_digit(at(s, n)))
        n++;
    while (zeros < n && s->ptr[zeros] == '0')
        zeros++;
    if (n == 0)
        return false;
    *out = (struct str){s->ptr + zeros, n - zeros};
    advance(s, n);
    return true;
}

/* one of the words, longest first in the table, after an optional separator */
static const char *take_word(struct str *s, const char *const *words, size_t n_words)
{
    size_t from = is_separator(at(s, 0)) ? 1 : 0;

    for (size_t w = 0; w < n_words; w++) {
        size_t len = strlen(words[w]), i = 0;
        while (i < len && lower(at(s, from + i)) == words[w][i])
            i++;
        if (i == len) {
            advance(s, from + len);
            return words[w];
        }
    }
    return NULL;
}

/* the number that may follow such a word; "1.0a-" and "1.0a" both mean a0. A separator
 * that another word follows belongs to that word */
static struct str take_suffix_number(struct str *s)
{
    struct str number = {"", 0};

    if (is_separator(at(s, 0)) && (is_digit(at(s, 1)) || !is_alnum(at(s, 1))))
        advance(s, 1);
    (void)take_number(s, &number);
    return number;
}

static struct str take_release(struct str *s)
{
    struct str release = {s->ptr, 0}, ignored;

    while (take_number(s, &ignored)) {
        release.len = (size_t)(s->ptr - release.ptr);
        if (at(s, 0) != '.' || !is_digit(at(s, 1)))
            break;
        advance(s, 1);
    }
    return release;
}

static bool take_local(struct str *s, struct str *out)
{
    size_t n = 1;

    if (at(s, 0) != '+')
        return true;
    while (is_alnum(at(s, n)) ||
           (n > 1 && is_separator(at(s, n)) && is_alnum(at(s, n + 1))))
        n++;
    *out = (struct str){s->ptr + 1, n - 1};
    advance(s, n);
    return n > 1;
}

static void take_pre(struct str *s, struct pep440_version *v)
{
    static const char *const words[] = {"alpha",   "a",   "beta", "b",
                                        "preview", "pre", "rc",   "c"};
    const char *word = take_word(s, words, N_ELEMS(words));

    if (!word)
        return;
    v->pre = word[0] == 'a' || word[0] == 'b' ? word[0] : 'c';
    v->pre_number = take_suffix_number(s);
}

static void take_post(struct str *s, struct pep440_version *v)
{
    static const char *const words[] = {"post", "rev", "r"};

    if (at(s, 0) == '-' && is_digit(at(s, 1))) {
        advance(s, 1);
        v->has_post = take_number(s, &v->post_number);
    } else if (take_word(s, words, N_ELEMS(words))) {
        v->has_post = true;
        v->post_number = take_suffix_number(s);
    }
}

static void take_dev(struct str *s, struct pep440_version *v)
{
    static const char *const words[] = {"dev"};

    if (!take_word(s, words, N_ELEMS(words)))
        return;
    v->has_dev = true;
    v->dev_number = take_suffix_number(s);
}

bool pep440_read(struct str text, struct pep440_version *out)
{
    struct pep440_version v = {0};
    struct str s = trim(text);

    if (lower(at(&s, 0)) == 'v')
        advance(&s, 1);
    v.release = take_release(&s);
    if (v.release.len && at(&s, 0) == '!' &&
        !memchr(v.release.ptr, '.', v.release.len)) {
        (void)take_number(&v.release, &v.epoch);
        advance(&s, 1);
        v.release = take_release(&s);
    }
    if (!v.release.len)
        return false;
    take_pre(&s, &v);
    take_post(&s, &v);
    take_dev(&s, &v);
    if (!take_local(&s, &v.local) || s.len)
        return false;
    *out = v;
    return true;
}

/* ---- ordering ------------------------------------------------------------------- */

static int compare_bytes(struct str a, struct str b)
{
    size_t n = a.len < b.len ? a.len : b.len;

    for (size_t i = 0; i < n; i++)
        if (lower(a.ptr[i]) != lower(b.ptr[i]))
            return lower(a.ptr[i]) < lower(b.ptr[i]) ? -1 : 1;
    return sign(a.len, b.len);
}

static int compare_numbers(struct str a, struct str b)
{
    return a.len == b.len ? compare_bytes(a, b) : sign(a.len, b.len);
}

/* the next segment of "1.02.0" as a number; 0 for ever past the end */
static struct str next_segment(struct str *release)
{
    struct str number = {"", 0};

    if (take_number(release, &number) && release->len)
        advance(release, 1);
    return number;
}

static int compare_releases(struct str a, struct str b)
{
    while (a.len || b.len) {
        int c = compare_numbers(next_segment(&a), next_segment(&b));
        if (c)
            return c;
    }
    return 0;
}

/* where a version stands among those of its release: 1.dev < 1a < 1b < 1rc < 1 */
static int pre_rank(const struct pep440_version *v)
{
    if (v->pre)
        return v->pre;
    return v->has_dev && !v->has_post ? 0 : 127;
}

/* one segment of a local label: numbers are above words, and a missing one is below
 * both */
static int compare_local_segments(struct str a, struct str b)
{
    struct str rest_a = a, rest_b = b, na = {0}, nb = {0};
    bool number_a = take_number(&rest_a, &na) && !rest_a.len;
    bool number_b = take_number(&rest_b, &nb) && !rest_b.len;

    if (number_a && number_b)
        return compare_numbers(na, nb);
    if (number_a != number_b)
        return number_a ? 1 : -1;
    return compare_bytes(a, b);
}

static struct str next_label(struct str *local)
{
    struct str label = {local->ptr, 0};

    while (label.len < local->len && !is_separator(local->ptr[label.len]))
        label.len++;
    advance(local, label.len + (label.len < local->len));
    return label;
}

static int compare_locals(struct str a, struct str b)
{
    while (a.len && b.len) {
        int c = compare_local_segments(next_label(&a), next_label(&b));
        if (c)
            return c;
    }
    return sign(a.len, b.len);
}

static int compare_public(const struct pep440_version *a,
                          const struct pep440_version *b)
{
    int c = compare_numbers(a->epoch, b->epoch);

    if (!c)
        c = compare_releases(a->release, b->release);
    if (!c)
        c = pre_rank(a) - pre_rank(b);
    if (!c)
        c = compare_numbers(a->pre_number, b->pre_number);
    if (!c)
        c = a->has_post - b->has_post;
    if (!c)
        c = compare_numbers(a->post_number, b->post_number);
    if (!c)
        c = b->has_dev - a->has_dev; /* the one that is in development comes first */
    if (!c)
        c = compare_numbers(a->dev_number, b->dev_number);
    return c;
}

int pep440_compare(const struct pep440_version *a, const struct pep440_version *b)
{
    int c = compare_public(a, b);

    return c ? c : compare_locals(a->local, b->local);
}

/* ---- writing -------------------------------------------------------------------- */

static void write_number(struct buf *b, struct str number)
{
    buf_addstr(b, number.len ? number : STR("0"));
}

static void write_local(struct buf *b, struct str local)
{
    for (const char *dot = "+"; local.len; dot = ".") {
        struct str label = next_label(&local), rest = label, number;
        buf_adds(b, dot);
        if (take_number(&rest, &number) && !rest.len)
            write_number(b, number);
        else
            for (size_t i = 0; i < label.len; i++)
                buf_addc(b, lower(label.ptr[i]));
    }
}

void pep440_write(struct buf *b, const struct pep440_version *v)
{
    struct str release = v->release;

    if (v->epoch.len) {
        buf_addstr(b, v->epoch);
        buf_addc(b, '!');
    }
    for (const char *dot = ""; release.len; dot = ".") {
        buf_adds(b, dot);
        write_number(b, next_segment(&release));
    }
    if (v->pre) {
        buf_adds(b, v->pre == 'a' ? "a" : v->pre == 'b' ? "b" : "rc");
        write_number(b, v->pre_number);
    }
    if (v->has_post) {
        buf_adds(b, ".post");
        write_number(b, v->post_number);
    }
    if (v->has_dev) {
        buf_adds(b, ".dev");
        write_number(b, v->dev_number);
    }
    write_local(b, v->local);
}

/* ---- clauses -------------------------------------------------------------------- */

static const struct {
    const char *text;
    enum pep440_op op;
} operators[] = {
    {"===", PEP440_SAME_TEXT}, {"==", PEP440_EQ}, {"!=", PEP440_NE},
    {"~=", PEP440_COMPATIBLE}, {"<=", PEP440_LE}, {">=", PEP440_GE},
    {"<", PEP440_LT},          {">", PEP440_GT},
};

static bool is_plain_release(const struct pep440_version *v)
{
    return !v->pre && !v->has_post && !v->has_dev && !v->local.len;
}

static bool read_right_side(struct pep440_clause *c)
{
    bool equality = c->op == PEP440_EQ || c->op == PEP440_NE;
    struct str text = c->text;

    if (c->op == PEP440_SAME_TEXT) {
        for (size_t i = 0; i < text.len; i++)
            if (is_blank(text.ptr[i]) || text.ptr[i] == ';' || text.ptr[i] == ')')
                return false;
        return text.len > 0;
    }
    if (equality && str_ends(text, ".*")) {
        c->prefix = true;
        text.len -= 2;
        if (!text.len || is_blank(text.ptr[text.len - 1]))
            return false;
    }
    if (!pep440_read(text, &c->version))
        return false;
    if (c->prefix)
        return is_plain_release(&c->version);
    if (c->op == PEP440_COMPATIBLE &&
        !memchr(c->version.release.ptr, '.', c->version.release.len))
        return false;
    return equality || !c->version.local.len;
}

bool pep440_clause_read(struct str text, struct pep440_clause *out)
{
    struct pep440_clause c = {0};

    text = trim(text);
    for (size_t i = 0; i < N_ELEMS(operators); i++) {
        if (!str_starts(text, operators[i].text))
            continue;
        c.op = operators[i].op;
        advance(&text, strlen(operators[i].text));
        c.text = trim(text);
        if (!read_right_side(&c))
            return false;
        *out = c;
        return true;
    }
    return false;
}

static bool same_base(const struct pep440_version *a, const struct pep440_version *b)
{
    return compare_numbers(a->epoch, b->epoch) == 0 &&
           compare_releases(a->release, b->release) == 0;
}

static bool is_prerelease(const struct pep440_version *v)
{
    return v->pre || v->has_dev;
}

/* does the release of v start with that of prefix? 1 counts as 1.0.0 here, too */
static bool has_prefix(const struct pep440_version *v,
                       const struct pep440_version *prefix, bool leave_out_last)
{
    struct str mine = v->release, want = prefix->release;

    if (leave_out_last)
        while (want.len && want.ptr[--want.len] != '.')
            ;
    if (compare_numbers(v->epoch, prefix->epoch))
        return false;
    while (want.len)
        if (compare_numbers(next_segment(&mine), next_segment(&want)))
            return false;
    return true;
}

static bool same_text(struct str want, struct str installed)
{
    AUTO_BUF struct buf normal = {0};
    struct pep440_version v;

    buf_init(&normal, 0);
    if (pep440_read(installed, &v))
        pep440_write(&normal, &v);
    else
        buf_addstr(&normal, trim(installed));
    return compare_bytes(want, (struct str){buf_str(&normal), normal.len}) == 0;
}

bool pep440_clause_allows(const struct pep440_clause *c, struct str installed)
{
    const struct pep440_version *want = &c->version;
    struct pep440_version v;

    if (c->op == PEP440_SAME_TEXT)
        return same_text(c->text, installed);
    if (!pep440_read(installed, &v))
        return false;

    switch (c->op) {
    case PEP440_EQ:
    case PEP440_NE:
        if (c->prefix)
            return has_prefix(&v, want, false) == (c->op == PEP440_EQ);
        /* A clause without a local label does not look at the one installed: torch==2.1
         * is met by 2.1+cpu. */
        return ((want->local.len ? pep440_compare(&v, want)
                                 : compare_public(&v, want)) == 0) ==
               (c->op == PEP440_EQ);
    case PEP440_COMPATIBLE:
        return compare_public(&v, want) >= 0 && has_prefix(&v, want, true);
    case PEP440_LE:
        return compare_public(&v, want) <= 0;
    case PEP440_GE:
        return compare_public(&v, want) >= 0;
    case PEP440_LT: /* <2.0 is not met by 2.0a1 */
        return compare_public(&v, want) < 0 &&
               (is_prerelease(want) || !is_prerelease(&v) || !same_base(&v, want));
    case PEP440_GT: /* >1.7 is met neither by 1.7.post1 nor by 1.7+x */
        return pep440_compare(&v, want) > 0 &&
               (want->has_post || !v.has_post || !same_base(&v, want)) &&
               (!v.local.len || !same_base(&v, want));
    case PEP440_SAME_TEXT:
        break;
    }
    return false;
}

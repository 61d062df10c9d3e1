/* SPDX-License-Identifier: Apache-2.0 */
/* jsontext.c - JSON text -> tree
 *
 * libyaml reads most of JSON, but not all: keys over 1,024 bytes, surrogate pairs and
 * 1e5 come out wrong or not at all. yyjson reads all of it and keeps no positions. So
 * here is a small strict reader (RFC 8259) that feeds the same builder. It does not
 * recurse: the builder's stack of open containers is the only state.
 */
#include "spec/tree.h"

#include "spec/utf8.h"

struct jsontext {
    struct tree_build *t;
    struct str text;
    size_t at;      /* byte offset */
    size_t counted; /* columns are known up to this offset */
    struct pos counted_pos;
    struct buf scratch; /* the string being read */
};

/* all of it may stand on one line: count each character once */
static struct pos here(struct jsontext *j)
{
    for (; j->counted < j->at; j->counted++) {
        char c = j->text.ptr[j->counted];

        if (c == '\n')
            j->counted_pos = (struct pos){j->counted_pos.line + 1, 1};
        else
            j->counted_pos.col += ((unsigned char)c & 0xC0) != 0x80;
    }
    return j->counted_pos;
}

static int bad(struct jsontext *j, const char *what, struct err *e)
{
    if (j->at >= j->text.len)
        return pos_err(e, ERR_INPUT, j->t->file, here(j),
                       "JSON: the text ends too early");
    return pos_err(e, ERR_INPUT, j->t->file, here(j), "JSON: %s", what);
}

static int peek(const struct jsontext *j)
{
    return j->at < j->text.len ? (unsigned char)j->text.ptr[j->at] : -1;
}

static void skip_space(struct jsontext *j)
{
    while (j->at < j->text.len && j->text.ptr[j->at] &&
           strchr(" \t\r\n", j->text.ptr[j->at]))
        j->at++;
}

static int hex4(struct jsontext *j, unsigned *out, struct err *e)
{
    *out = 0;
    for (int i = 0; i < 4; i++, j->at++) {
        int c = peek(j);
        int digit = c >= '0' && c <= '9'                     ? c - '0'
                    : (c | 0x20) >= 'a' && (c | 0x20) <= 'f' ? (c | 0x20) - 'a' + 10
                                                             : -1;
        if (c < 0 || digit < 0)
            return bad(j, "want four hex digits after \\u", e);
        *out = *out * 16 + (unsigned)digit;
    }
    return 0;
}

static int unicode_escape(struct jsontext *j, struct err *e)
{
    unsigned code, low;
    char utf8[4];

    if (hex4(j, &code, e) < 0)
        return -1;
    if (code >= 0xD800 && code < 0xDC00) {
        if (j->text.len - j->at < 6 || memcmp(j->text.ptr + j->at, "\\u", 2) != 0)
            return bad(j, "half a surrogate pair", e);
        j->at += 2;
        if (hex4(j, &low, e) < 0)
            return -1;
        if (low < 0xDC00 || low > 0xDFFF)
            return bad(j, "half a surrogate pair", e);
        code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
    } else if (code >= 0xDC00 && code <= 0xDFFF) {
        return bad(j, "half a surrogate pair", e);
    }
    buf_add(&j->scratch, utf8, utf8_put(code, utf8));
    return 0;
}

static int escape(struct jsontext *j, struct err *e)
{
    static const char from[] = "\"\\/bfnrt", to[] = "\"\\/\b\f\n\r\t";
    int c = peek(j);
    const char *found = c > 0 ? strchr(from, c) : NULL;

    if (c == 'u') {
        j->at++;
        return unicode_escape(j, e);
    }
    if (!found)
        return bad(j, "an unknown escape in a string", e);
    buf_addc(&j->scratch, to[found - from]);
    j->at++;
    return 0;
}

/* at the opening quote; the text is in j->scratch after */
static int read_string(struct jsontext *j, struct err *e)
{
    buf_reset(&j->scratch);
    for (j->at++;;) {
        size_t run = 0;
        int c;

        while (j->at + run < j->text.len &&
               (unsigned char)j->text.ptr[j->at + run] >= 0x20 &&
               j->text.ptr[j->at + run] != '"' && j->text.ptr[j->at + run] != '\\')
            run++;
        buf_add(&j->scratch, j->text.ptr + j->at, run);
        j->at += run;
        c = peek(j);
        if (c != '"' && c != '\\')
            return bad(j, "a control character in a string", e);
        j->at++;
        if (c == '"')
            return 0;
        if (escape(j, e) < 0)
            return -1;
    }
}

static size_t digits_from(const struct jsontext *j, size_t i)
{
    size_t n = 0;

    while (i + n < j->text.len && j->text.ptr[i + n] >= '0' &&
           j->text.ptr[i + n] <= '9')
        n++;
    return n;
}

static bool char_at(const struct jsontext *j, size_t i, const char *set)
{
    return i < j->text.len && j->text.ptr[i] && strchr(set, j->text.ptr[i]);
}

/* the number at j->at: how long it is, 0 when there is none */
static size_t number_len(const struct jsontext *j, bool *integral)
{
    size_t i = j->at + char_at(j, j->at, "-");
    size_t n = digits_from(j, i);

    *integral = true;
    if (!n || (n > 1 && j->text.ptr[i] == '0'))
        return 0;
    i += n;
    if (char_at(j, i, ".")) {
        *integral = false;
        n = digits_from(j, i + 1);
        if (!n)
            return 0;
        i += 1 + n;
    }
    if (char_at(j, i, "eE")) {
        *integral = false;
        i++;
        i += char_at(j, i, "+-");
        n = digits_from(j, i);
        if (!n)
            return 0;
        i += n;
    }
    return i - j->at;
}

/* Numbers become plain scalars. PyYAML's rules would not see one in 1e5, so what is not
 * integral is spelled anew with a dot and a signed exponent. */
static int read_number(struct jsontext *j, struct err *e)
{
    struct pos at = here(j);
    bool integral;
    size_t len = number_len(j, &integral);
    struct str text = {j->text.ptr + j->at, len};

    if (!len)
        return bad(j, "want a value", e);
    if (!integral) {
        bool dot = memchr(text.ptr, '.', len);

        buf_reset(&j->scratch);
        for (size_t i = 0; i < len; i++) {
            bool exponent = (text.ptr[i] | 0x20) == 'e';

            if (exponent && !dot)
                buf_addc(&j->scratch, '.');
            buf_addc(&j->scratch, text.ptr[i]);
            if (exponent && text.ptr[i + 1] >= '0')
                buf_addc(&j->scratch, '+');
        }
        text = (struct str){j->scratch.ptr, j->scratch.len};
    }
    j->at += len;
    return tree_build_scalar(j->t, text, true, at, NULL, e);
}

static int read_word(struct jsontext *j, struct err *e)
{
    static const char *const words[] = {"true", "false", "null"};
    struct str rest = {j->text.ptr + j->at, j->text.len - j->at};
    struct pos at = here(j);

    for (size_t i = 0; i < N_ELEMS(words); i++) {
        if (!str_starts(rest, words[i]))
            continue;
        j->at += strlen(words[i]);
        return tree_build_scalar(j->t, str_of(words[i]), true, at, NULL, e);
    }
    return read_number(j, e);
}

static int read_value(struct jsontext *j, bool *opened, struct err *e)
{
    struct pos at = here(j);
    int c = peek(j);

    *opened = c == '{' || c == '[';
    if (*opened) {
        j->at++;
        return tree_build_open(j->t, c == '{' ? NODE_MAP : NODE_LIST, at, NULL, e);
    }
    if (c != '"')
        return read_word(j, e);
    if (read_string(j, e) < 0)
        return -1;
    return tree_build_scalar(j->t, (struct str){buf_str(&j->scratch), j->scratch.len},
                             false, at, NULL, e);
}

static int read_key(struct jsontext *j, struct err *e)
{
    struct pos at = here(j);

    if (peek(j) != '"')
        return bad(j, "want a key in double quotes", e);
    if (read_string(j, e) < 0)
        return -1;
    if (tree_build_key(j->t, (struct str){buf_str(&j->scratch), j->scratch.len}, at,
                       e) < 0)
        return -1;
    skip_space(j);
    if (peek(j) != ':')
        return bad(j, "want a colon after the key", e);
    j->at++;
    return 0;
}

static char closer(const struct jsontext *j)
{
    return j->t->open[j->t->depth - 1].node->kind == NODE_MAP ? '}' : ']';
}

/* close containers for as long as their end follows; then there is a comma, or all is
 * read */
static int after_value(struct jsontext *j, struct err *e)
{
    for (;;) {
        skip_space(j);
        if (!j->t->depth)
            return 0;
        if (peek(j) == ',') {
            j->at++;
            return 0;
        }
        if (peek(j) != closer(j))
            return bad(j, closer(j) == '}' ? "want a comma or }" : "want a comma or ]",
                       e);
        j->at++;
        if (tree_build_close(j->t, e) < 0)
            return -1;
    }
}

static int read_all(struct jsontext *j, struct err *e)
{
    do {
        bool opened;

        skip_space(j);
        if (tree_build_wants_key(j->t) && read_key(j, e) < 0)
            return -1;
        skip_space(j);
        if (read_value(j, &opened, e) < 0)
            return -1;
        skip_space(j);
        if (opened && peek(j) != closer(j))
            continue;
        if (after_value(j, e) < 0)
            return -1;
    } while (j->t->depth);

    skip_space(j);
    return j->at < j->text.len ? bad(j, "text after the end of the object", e) : 0;
}

int jsontext_read(struct tree_build *t, struct str text, struct err *e)
{
    struct jsontext j = {.t = t, .text = text, .counted_pos = {1, 1}};
    int rc;

    buf_init(&j.scratch, 0);
    rc = read_all(&j, e);
    buf_done(&j.scratch);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* markdown.c - Markdown to HTML that cannot do anything
 *
 * The part of CommonMark (and GitHub's tables) that reports of training runs use, in
 * one pass over lines with recursion for what nests. There is no raw HTML, no image,
 * and no link but to http, https and mailto, so a hostile text can at most look ugly.
 * Two rules keep the time linear: emphasis whose end was searched for in vain is not
 * searched for again, and nesting ends at DEPTH_MAX, below which text is only text.
 */
#include "report/markdown.h"

#include <ctype.h>

#include "report/html.h"

#define DEPTH_MAX 8

static void blocks(struct buf *b, struct str text, unsigned depth);

/* ---- inside a paragraph ---- */

static struct str from(struct str s, size_t at)
{
    return (struct str){s.ptr + at, s.len - at};
}

static size_t find(struct str s, size_t at, const char *what)
{
    const char *p =
        at < s.len ? memmem(s.ptr + at, s.len - at, what, strlen(what)) : NULL;

    return p ? (size_t)(p - s.ptr) : SIZE_MAX;
}

static const struct mark {
    const char *text, *tag;
} marks[] = {
    {"**", "strong"}, {"__", "strong"}, {"~~", "del"}, {"*", "em"}, {"_", "em"},
};

struct spans {
    struct buf *b;
    unsigned depth;
    bool in_vain[N_ELEMS(marks)]; /* no end further on */
    bool no_code_end, no_bracket, no_paren;
};

static bool is_word(char c)
{
    return isalnum((unsigned char)c) || (unsigned char)c >= 0x80;
}

static void inline_text(struct buf *b, struct str s, unsigned depth);

static size_t try_mark(struct spans *x, struct str s, size_t i)
{
    for (size_t m = 0; m < N_ELEMS(marks); m++) {
        size_t n = strlen(marks[m].text), end;
        if (!str_starts(from(s, i), marks[m].text))
            continue;
        if (i + n >= s.len || isspace((unsigned char)s.ptr[i + n]) || x->in_vain[m])
            return 0;
        if (marks[m].text[0] == '_' && i && is_word(s.ptr[i - 1]))
            return 0; /* snake_case is no emphasis */
        end = find(s, i + n + 1, marks[m].text);
        if (end == SIZE_MAX) {
            x->in_vain[m] = true;
            return 0;
        }
        if (isspace((unsigned char)s.ptr[end - 1]))
            return 0;
        buf_addf(x->b, "<%s>", marks[m].tag);
        inline_text(x->b, (struct str){s.ptr + i + n, end - i - n}, x->depth + 1);
        buf_addf(x->b, "</%s>", marks[m].tag);
        return end + n - i;
    }
    return 0;
}

static size_t try_code(struct spans *x, struct str s, size_t i)
{
    char fence[17] = {0};
    size_t n = 0, end;

    while (i + n < s.len && s.ptr[i + n] == '`' && n < 16)
        fence[n++] = '`';
    end = x->no_code_end ? SIZE_MAX : find(s, i + n, fence);
    if (end == SIZE_MAX) {
        x->no_code_end = n == 1;
        return 0;
    }
    HTML(x->b, "<code>$</code>", str_trim((struct str){s.ptr + i + n, end - i - n}));
    return end + n - i;
}

static bool link_ok(struct str url)
{
    if (!str_starts(url, "http://") && !str_starts(url, "https://") &&
        !str_starts(url, "mailto:"))
        return false;
    for (size_t i = 0; i < url.len; i++)
        if ((unsigned char)url.ptr[i] <= ' ')
            return false;
    return true;
}

/* [text](url "title") and ![text](url) */
static size_t try_link(struct spans *x, struct str s, size_t i)
{
    bool picture = s.ptr[i] == '!';
    size_t open = i + picture, close, end;
    struct str text, url;

    if (open >= s.len || s.ptr[open] != '[' || x->no_bracket || x->no_paren)
        return 0;
    close = find(s, open, "](");
    if (close == SIZE_MAX) {
        x->no_bracket = true;
        return 0;
    }
    end = find(s, close, ")");
    if (end == SIZE_MAX) {
        x->no_paren = true;
        return 0;
    }
    text = (struct str){s.ptr + open + 1, close - open - 1};
    url = str_trim((struct str){s.ptr + close + 2, end - close - 2});
    for (size_t k = 0; k < url.len; k++)
        if (isspace((unsigned char)url.ptr[k]))
            url.len = k; /* a title follows */
    if (picture) {
        HTML(x->b, "<span class='picture'>[picture: $]</span>", text);
    } else if (link_ok(url)) {
        HTML(x->b, "<a rel='noopener noreferrer' href='$'>", url);
        inline_text(x->b, text, x->depth + 1);
        buf_adds(x->b, "</a>");
    } else {
        inline_text(x->b, text, x->depth + 1);
    }
    return end + 1 - i;
}

static size_t try_span(struct spans *x, struct str s, size_t i)
{
    switch (s.ptr[i]) {
    case '\\':
        if (i + 1 < s.len && ispunct((unsigned char)s.ptr[i + 1])) {
            html_text(x->b, (struct str){s.ptr + i + 1, 1});
            return 2;
        }
        return 0;
    case '`':
        return try_code(x, s, i);
    case '!':
    case '[':
        return try_link(x, s, i);
    case '*':
    case '_':
    case '~':
        return try_mark(x, s, i);
    default:
        return 0;
    }
}

static void inline_text(struct buf *b, struct str s, unsigned depth)
{
    struct spans x = {.b = b, .depth = depth};
    size_t plain = 0, i = 0;

    while (i < s.len) {
        size_t n = 0;
        if (depth < DEPTH_MAX && strchr("\\`![*_~", s.ptr[i]) && s.ptr[i]) {
            html_text(b, (struct str){s.ptr + plain, i - plain});
            plain = i;
            n = try_span(&x, s, i);
        } else if (s.ptr[i] == '\n' && i >= 2 && s.ptr[i - 1] == ' ' &&
                   s.ptr[i - 2] == ' ') {
            html_text(b, (struct str){s.ptr + plain, i - plain});
            buf_adds(b, "<br>");
            plain = i;
        }
        i += n ? n : 1;
        if (n)
            plain = i;
    }
    html_text(b, (struct str){s.ptr + plain, s.len - plain});
}

/* ---- lines ---- */

struct lines {
    struct str text;
    size_t at;
};

/* the line at l->at without its end; its length with the end in *len */
static struct str peek(const struct lines *l, size_t *len)
{
    const char *p = l->text.ptr + l->at;
    size_t left = l->text.len - l->at;
    const char *nl = left ? memchr(p, '\n', left) : NULL;
    struct str line = {p, nl ? (size_t)(nl - p) : left};

    *len = nl ? line.len + 1 : left;
    if (line.len && line.ptr[line.len - 1] == '\r')
        line.len--;
    return line;
}

static size_t indent_of(struct str line)
{
    size_t n = 0;

    while (n < line.len && line.ptr[n] == ' ')
        n++;
    return n;
}

static bool is_blank(struct str line)
{
    return !str_trim(line).len;
}

static size_t heading_level(struct str line)
{
    size_t n = 0;

    while (n < line.len && line.ptr[n] == '#')
        n++;
    return n >= 1 && n <= 6 && (n == line.len || line.ptr[n] == ' ') ? n : 0;
}

static bool is_rule(struct str line)
{
    size_t n = 0;
    char c;

    line = str_trim(line);
    c = line.len ? line.ptr[0] : 0;
    if (!c || !strchr("-*_", c))
        return false;
    for (size_t i = 0; i < line.len; i++) {
        if (line.ptr[i] == c)
            n++;
        else if (line.ptr[i] != ' ')
            return false;
    }
    return n >= 3;
}

/* bytes of "- " or "12. " with the indent before, 0 when the line is no item */
static size_t item_prefix(struct str line, bool *numbered)
{
    size_t i = indent_of(line), digits = 0;

    if (i > 3 || i >= line.len)
        return 0;
    while (i + digits < line.len && isdigit((unsigned char)line.ptr[i + digits]) &&
           digits < 9)
        digits++;
    *numbered = digits > 0;
    i += digits;
    if (i >= line.len || !strchr(*numbered ? ".)" : "-*+", line.ptr[i]) || !line.ptr[i])
        return 0;
    if (++i < line.len && line.ptr[i] != ' ')
        return 0;
    return i < line.len ? i + 1 : i;
}

static size_t fence_length(struct str line, char *c)
{
    size_t n = 0;

    line = from(line, indent_of(line));
    if (!line.len || (line.ptr[0] != '`' && line.ptr[0] != '~'))
        return 0;
    *c = line.ptr[0];
    while (n < line.len && line.ptr[n] == *c)
        n++;
    return n >= 3 ? n : 0;
}

/* ---- tables ---- */

static bool is_delimiter_row(struct str line)
{
    bool dash = false;

    if (!line.len || !memchr(line.ptr, '|', line.len))
        return false;
    for (size_t i = 0; i < line.len; i++) {
        if (!strchr("|-: ", line.ptr[i]) || !line.ptr[i])
            return false;
        dash |= line.ptr[i] == '-';
    }
    return dash;
}

static void table_row(struct buf *b, struct str line, const char *cell, unsigned depth)
{
    line = str_trim(line);
    if (line.len && line.ptr[0] == '|')
        line = from(line, 1);
    if (line.len && line.ptr[line.len - 1] == '|')
        line.len--;
    buf_adds(b, "<tr>");
    for (;;) {
        size_t n = 0;
        while (n < line.len && (line.ptr[n] != '|' || (n && line.ptr[n - 1] == '\\')))
            n++;
        buf_addf(b, "<%s>", cell);
        inline_text(b, str_trim((struct str){line.ptr, n}), depth);
        buf_addf(b, "</%s>", cell);
        if (n == line.len)
            break;
        line = from(line, n + 1);
    }
    buf_adds(b, "</tr>\n");
}

static bool try_table(struct buf *b, struct lines *l, unsigned depth)
{
    struct lines ahead = *l;
    size_t len, len2;
    struct str head = peek(&ahead, &len), line;

    ahead.at += len;
    if (!head.len || !memchr(head.ptr, '|', head.len) ||
        !is_delimiter_row(peek(&ahead, &len2)))
        return false;
    l->at = ahead.at + len2;
    buf_adds(b, "<table><thead>");
    table_row(b, head, "th", depth);
    buf_adds(b, "</thead><tbody>");
    while (l->at < l->text.len) {
        line = peek(l, &len);
        if (is_blank(line) || !memchr(line.ptr, '|', line.len))
            break;
        table_row(b, line, "td", depth);
        l->at += len;
    }
    buf_adds(b, "</tbody></table>\n");
    return true;
}

/* ---- blocks ---- */

static void fenced(struct buf *b, struct lines *l)
{
    char c = 0, d = 0;
    size_t len, n = fence_length(peek(l, &len), &c);

    buf_adds(b, "<pre><code>");
    l->at += len;
    while (l->at < l->text.len) {
        struct str line = peek(l, &len);
        l->at += len;
        if (fence_length(line, &d) >= n && d == c)
            break;
        html_text(b, line);
        buf_addc(b, '\n');
    }
    buf_adds(b, "</code></pre>\n");
}

static void indented(struct buf *b, struct lines *l)
{
    size_t len;

    buf_adds(b, "<pre><code>");
    while (l->at < l->text.len) {
        struct str line = peek(l, &len);
        if (indent_of(line) < 4)
            break;
        html_text(b, from(line, 4));
        buf_addc(b, '\n');
        l->at += len;
    }
    buf_adds(b, "</code></pre>\n");
}

static void quote(struct buf *b, struct lines *l, unsigned depth)
{
    AUTO_BUF struct buf inner = {0};
    size_t len;

    while (l->at < l->text.len) {
        struct str line = peek(l, &len);
        if (!line.len || line.ptr[0] != '>')
            break;
        line = from(line, 1);
        if (line.len && line.ptr[0] == ' ')
            line = from(line, 1);
        buf_addstr(&inner, line);
        buf_addc(&inner, '\n');
        l->at += len;
    }
    buf_adds(b, "<blockquote>");
    blocks(b, (struct str){buf_str(&inner), inner.len}, depth + 1);
    buf_adds(b, "</blockquote>\n");
}

/* one item: its line and the lines that stand under its text */
static void item(struct buf *b, struct lines *l, size_t prefix, unsigned depth)
{
    AUTO_BUF struct buf inner = {0};
    size_t len;
    struct str line = peek(l, &len);
    bool one = true;

    buf_addstr(&inner, from(line, prefix));
    buf_addc(&inner, '\n');
    l->at += len;
    while (l->at < l->text.len) {
        line = peek(l, &len);
        if (!is_blank(line) && indent_of(line) < 2)
            break;
        if (is_blank(line)) { /* belongs here only when more of the item follows */
            struct lines ahead = {l->text, l->at + len};
            size_t unused;
            if (ahead.at >= l->text.len || indent_of(peek(&ahead, &unused)) < 2)
                break;
        }
        one = false;
        buf_addstr(&inner,
                   from(line, indent_of(line) < prefix ? indent_of(line) : prefix));
        buf_addc(&inner, '\n');
        l->at += len;
    }
    buf_adds(b, "<li>");
    if (one)
        inline_text(b, str_trim((struct str){buf_str(&inner), inner.len}), depth);
    else
        blocks(b, (struct str){buf_str(&inner), inner.len}, depth + 1);
    buf_adds(b, "</li>\n");
}

static void list(struct buf *b, struct lines *l, bool numbered, unsigned depth)
{
    buf_adds(b, numbered ? "<ol>\n" : "<ul>\n");
    while (l->at < l->text.len) {
        bool kind;
        size_t len, prefix = item_prefix(peek(l, &len), &kind);
        if (!prefix || kind != numbered)
            break;
        item(b, l, prefix, depth);
    }
    buf_adds(b, numbered ? "</ol>\n" : "</ul>\n");
}

static bool begins_block(struct str line)
{
    bool numbered;
    char c;

    return is_blank(line) || heading_level(line) || is_rule(line) ||
           line.ptr[0] == '>' || fence_length(line, &c) || item_prefix(line, &numbered);
}

static void paragraph(struct buf *b, struct lines *l, unsigned depth)
{
    size_t from_at = l->at, end = l->at, len;

    while (l->at < l->text.len) {
        struct str line = peek(l, &len);
        if (l->at > from_at && begins_block(line))
            break;
        end = l->at + line.len;
        l->at += len;
    }
    buf_adds(b, "<p>");
    inline_text(b, (struct str){l->text.ptr + from_at, end - from_at}, depth);
    buf_adds(b, "</p>\n");
}

static void heading(struct buf *b, struct str line, size_t level, unsigned depth)
{
    struct str text = str_trim(from(line, level));
    unsigned h = level + 3 > 6 ? 6 : (unsigned)level + 3;

    while (text.len && text.ptr[text.len - 1] == '#')
        text.len--;
    buf_addf(b, "<h%u>", h);
    inline_text(b, str_trim(text), depth);
    buf_addf(b, "</h%u>\n", h);
}

static void blocks(struct buf *b, struct str text, unsigned depth)
{
    struct lines l = {text, 0};

    if (depth > DEPTH_MAX) {
        html_text(b, text);
        return;
    }
    while (l.at < text.len) {
        size_t len, level;
        struct str line = peek(&l, &len);
        bool numbered;
        char c;

        if (is_blank(line)) {
            l.at += len;
        } else if ((level = heading_level(line))) {
            heading(b, line, level, depth);
            l.at += len;
        } else if (fence_length(line, &c)) {
            fenced(b, &l);
        } else if (is_rule(line)) {
            buf_adds(b, "<hr>\n");
            l.at += len;
        } else if (line.ptr[0] == '>') {
            quote(b, &l, depth);
        } else if (indent_of(line) >= 4) {
            indented(b, &l);
        } else if (item_prefix(line, &numbered)) {
            list(b, &l, numbered, depth);
        } else if (!try_table(b, &l, depth)) {
            paragraph(b, &l, depth);
        }
    }
}

void markdown_html(struct buf *b, struct str text)
{
    blocks(b, text, 0);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* report_html_test.c - what strangers wrote becomes text: HTML, Markdown, logs */
#include "base/mem.h"
#include "report/html.h"
#include "report/logs.h"
#include "report/markdown.h"
#include "t.h"

struct pair {
    const char *in, *out;
};

static void every_value_is_escaped(void)
{
    static const struct pair rows[] = {
        {"plain", "plain"},
        {"<script>alert('x')</script>",
         "&lt;script&gt;alert(&#39;x&#39;)&lt;/script&gt;"},
        {"a & b \"c\"", "a &amp; b &quot;c&quot;"},
        {"$ stays $", "$ stays $"},
        {"caf\xc3\xa9 \xf0\x9f\x9a\xa3", "caf\xc3\xa9 \xf0\x9f\x9a\xa3"},
        {"\xff\xc3(", "\xef\xbf\xbd\xef\xbf\xbd("},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"bell\a esc\x1b[31m", "bell\xef\xbf\xbd esc\xef\xbf\xbd[31m"},
        {"line\n\ttab", "line\n\ttab"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        AUTO_BUF struct buf want = {0};
        HTML(&b, "<b title='$'>$</b>", str_of(rows[i].in), str_of(rows[i].in));
        buf_addf(&want, "<b title='%s'>%s</b>", rows[i].out, rows[i].out);
        CHECK_STR(buf_str(&b), buf_str(&want));
    }
}

static void texts_are_cut_between_characters(void)
{
    AUTO_ARENA struct arena a = {0};

    CHECK_STR(text_cut_in(&a, STR("abcdef"), 6).ptr, "abcdef");
    CHECK_STR(text_cut_in(&a, STR("abcdef"), 4).ptr, "abc\xe2\x80\xa6");
    CHECK_STR(text_cut_in(&a, STR("\xc3\xa4\xc3\xb6\xc3\xbc\xc3\x9f"), 3).ptr,
              "\xc3\xa4\xc3\xb6\xe2\x80\xa6");
    CHECK_INT(text_width(STR("\xc3\xa4\xff")), 2);
}

static void commands_can_be_pasted(void)
{
    AUTO_ARENA struct arena a = {0};

    CHECK_STR(shell_word_in(&a, STR("churn-x7/train:model")).ptr,
              "churn-x7/train:model");
    CHECK_STR(shell_word_in(&a, STR("my run")).ptr, "'my run'");
    CHECK_STR(shell_word_in(&a, STR("it's $(x)")).ptr, "'it'\\''s $(x)'");
    CHECK_STR(shell_word_in(&a, STR("")).ptr, "''");
}

static void logs_read_as_on_a_screen(void)
{
    static const struct pair rows[] = {
        {"plain\nlines\n", "plain\nlines\n"},
        {"\x1b[31mred\x1b[0m and \x1b[1;38;5;9mbold\x1b[m", "red and bold"},
        {" 10%\r 50%\r100%\ndone", "100%\ndone"},
        {"dos\r\nlines\r\n", "dos\nlines\n"},
        {"50%\r", "50%"},
        {"\x1b]0;title\adone", "done"},
        {"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"},
        {"\x1b(Bcharset", "charset"},
        {"cut\x1b[31", "cut"},
        {"cut\x1b", "cut"},
        {"an open title\x1b]0;never\nends", "an open title\nends"},
        {"\xff\xfe stays", "\xff\xfe stays"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        logs_clean(str_of(rows[i].in), &b);
        CHECK_STR(buf_str(&b), rows[i].out);
    }
}

static void the_last_lines_are_the_last(void)
{
    struct str s = logs_last(STR("a\nb\nc\n\n"), 2);

    CHECK(str_eqz(s, "b\nc"));
    CHECK(str_eqz(logs_last(STR("a\nb"), 5), "a\nb"));
    CHECK(str_eqz(logs_last(STR("a"), 1), "a"));
    CHECK(str_eqz(logs_last(STR("\n\n"), 3), ""));
    CHECK(str_eqz(logs_last(STR(""), 3), ""));
}

static void markdown_becomes_html(void)
{
    static const struct pair rows[] = {
        {"# Title #\ntext", "<h4>Title</h4>\n<p>text</p>\n"},
        {"one\ntwo\n\nthree", "<p>one\ntwo</p>\n<p>three</p>\n"},
        {"**bold** and *em* and `a<b`", "<p><strong>bold</strong> and <em>em</em> and "
                                        "<code>a&lt;b</code></p>\n"},
        {"snake_case_name 2 * 3 * 4", "<p>snake_case_name 2 * 3 * 4</p>\n"},
        {"- a\n- b\n  - c\n",
         "<ul>\n<li>a</li>\n<li><p>b</p>\n<ul>\n<li>c</li>\n</ul>\n"
         "</li>\n</ul>\n"},
        {"1. a\n2. b", "<ol>\n<li>a</li>\n<li>b</li>\n</ol>\n"},
        {"> quoted\n> more", "<blockquote><p>quoted\nmore</p>\n</blockquote>\n"},
        {"```python\nx < 1\n```\nafter",
         "<pre><code>x &lt; 1\n</code></pre>\n<p>after</p>\n"},
        {"    code", "<pre><code>code\n</code></pre>\n"},
        {"---", "<hr>\n"},
        {"| a | b |\n|---|--:|\n| 1 | **2** |\n",
         "<table><thead><tr><th>a</th><th>b</th></tr>\n</thead><tbody><tr><td>1</td>"
         "<td><strong>2</strong></td></tr>\n</tbody></table>\n"},
        {"[x](https://a.example/?q=1&r=2)",
         "<p><a rel='noopener noreferrer' "
         "href='https://a.example/?q=1&amp;r=2'>x</a></p>\n"},
        {"\\*not em\\*", "<p>*not em*</p>\n"},
        {"", ""},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        markdown_html(&b, str_of(rows[i].in));
        CHECK_STR(buf_str(&b), rows[i].out);
    }
}

static void hostile_markdown_stays_text(void)
{
    static const struct pair rows[] = {
        {"<script>alert(1)</script>", "<p>&lt;script&gt;alert(1)&lt;/script&gt;</p>\n"},
        {"[x](javascript:alert(1))", "<p>x)</p>\n"},
        {"[x](data:text/html,hi)", "<p>x</p>\n"},
        {"[x](https://a' onclick='b)", "<p><a rel='noopener noreferrer' "
                                       "href='https://a&#39;'>x</a></p>\n"},
        {"![x](http://tracker/1.gif)",
         "<p><span class='picture'>[picture: x]</span></p>\n"},
        {"<img src=x onerror=y>", "<p>&lt;img src=x onerror=y&gt;</p>\n"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        markdown_html(&b, str_of(rows[i].in));
        CHECK_STR(buf_str(&b), rows[i].out);
    }
}

/* nothing here may take quadratic time or a deep stack; the sizes make either obvious
 */
static void long_texts_of_one_mark_end(void)
{
    static const char *const seeds[] = {"*a ", "[a", "`",  "> ", "[a](b ",
                                        "**",  "- ", "_a", "|"};

    for (size_t i = 0; i < N_ELEMS(seeds); i++) {
        AUTO_BUF struct buf in = {0};
        AUTO_BUF struct buf out = {0};
        while (in.len < 200000)
            buf_adds(&in, seeds[i]);
        markdown_html(&out, (struct str){in.ptr, in.len});
        CHECK(out.len > 0);
    }
}

int main(void)
{
    every_value_is_escaped();
    texts_are_cut_between_characters();
    commands_can_be_pasted();
    logs_read_as_on_a_screen();
    the_last_lines_are_the_last();
    markdown_becomes_html();
    hostile_markdown_stays_text();
    long_texts_of_one_mark_end();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* report_markdown_fuzz.c - Markdown, logs and texts of strangers: whatever comes in,
 * what goes out is well-formed HTML of tags that are ours, and valid UTF-8 */
#include <stdint.h>
#include <stdlib.h>

#include "base/err.h"
#include "report/html.h"
#include "report/logs.h"
#include "report/markdown.h"
#include "text.h"

static const char *const known[] = {
    "h4",  "h5", "h6",   "p",     "strong",     "em", "del",   "code",
    "pre", "a",  "span", "ul",    "ol",         "li", "table", "thead",
    "tr",  "th", "td",   "tbody", "blockquote", "hr", "br",
};

#define DEPTH 4096

/* each tag is known, closed in order, and nothing else looks like one */
static void check_tags(const struct buf *b)
{
    static unsigned char open[DEPTH];
    size_t depth = 0;

    for (size_t i = 0; i < b->len; i++) {
        bool closes;
        size_t n, k = 0;
        const char *name;

        must((unsigned char)b->ptr[i] >= 0x20 || b->ptr[i] == '\n' ||
             b->ptr[i] == '\t');
        if (b->ptr[i] != '<')
            continue;
        closes = b->ptr[i + 1] == '/';
        name = b->ptr + i + 1 + closes;
        n = strcspn(name, " >");
        while (k < N_ELEMS(known) &&
               (strlen(known[k]) != n || memcmp(known[k], name, n) != 0))
            k++;
        must(k < N_ELEMS(known));
        if (strcmp(known[k], "hr") == 0 || strcmp(known[k], "br") == 0)
            continue;
        must(closes ? depth > 0 && open[--depth] == k : depth < DEPTH);
        if (!closes)
            open[depth++] = (unsigned char)k;
    }
    must(depth == 0);
}

static void check_utf8(const struct buf *b)
{
    for (size_t i = 0; i < b->len;) {
        size_t n = str_utf8_len((struct str){b->ptr + i, b->len - i});
        must(n);
        i += n;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str in = {(const char *)data, size};
    struct buf out = {0}, clean = {0};

    markdown_html(&out, in);
    check_tags(&out);
    check_utf8(&out);
    logs_clean(in, &clean);
    buf_reset(&out);
    html_text(&out, logs_last((struct str){buf_str(&clean), clean.len}, 3));
    check_tags(&out);
    check_utf8(&out);
    buf_done(&clean);
    buf_done(&out);
    return 0;
}

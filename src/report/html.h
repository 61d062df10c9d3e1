/* SPDX-License-Identifier: Apache-2.0 */
/* html.h - inside report/: text into HTML, so that only literals of ours are markup */
#ifndef REPORT_HTML_H
#define REPORT_HTML_H

#include "base/buf.h"
#include "base/mem.h"

/* HTML - append `fmt`, each '$' in it replaced by the next value, escaped
 *
 *     HTML(b, "<td class='$'>$</td>", str_of(class), task->name);
 *
 * fmt must be a literal, and quotes around attributes must stand in it. */
#define HTML(b, fmt, ...)                                                              \
    html_fill(b, "" fmt, (const struct str[]){__VA_ARGS__},                            \
              sizeof((const struct str[]){__VA_ARGS__}) / sizeof(struct str))
void html_fill(struct buf *b, const char *fmt, const struct str *values, size_t n);

/* html_text - append s as text or as the value of a quoted attribute. Bytes that are
 * not UTF-8 and control characters (all but line feed and tab) become U+FFFD. */
void html_text(struct buf *b, struct str s);

/* fmt_in - printf to a value for HTML() */
struct str fmt_in(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* text_width - characters, for boxes that must hold them; text_cut_in - at most `chars`
 * of them, with an ellipsis when some are missing */
size_t text_width(struct str s);
struct str text_cut_in(struct arena *a, struct str s, size_t chars);

/* shell_word_in - s as one word of a POSIX shell, quoted only when it has to be */
struct str shell_word_in(struct arena *a, struct str s);

#endif

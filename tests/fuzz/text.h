/* SPDX-License-Identifier: Apache-2.0 */
/* text.h - mutations of JSON, YAML and other texts made of words
 *
 * A blind change of a byte mostly breaks the syntax, and the code behind the parser is
 * rarely seen. These know words, quoted strings, bracketed pieces and lines: a piece is
 * replaced by an odd value or by another piece, doubled or dropped. One time in three
 * libFuzzer does as it likes, with the words of tests/fuzz/dict/TARGET.
 */
#ifndef FUZZ_TEXT_H
#define FUZZ_TEXT_H

#include <ctype.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include "base/mem.h"

/* libFuzzer's own mutations; absent where seeds are only replayed */
size_t LLVMFuzzerMutate(uint8_t *data, size_t size, size_t max_size)
    __attribute__((weak));
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed);

#define TEXT_PIECE_MAX 2048 /* larger ones are left alone */
#define TEXT_PIECES_MAX 4096
#define TEXT_GROWS_TO 6144 /* slow inputs find little */

struct text_piece {
    size_t at, len;
};

struct text_edit {
    uint8_t *data;
    size_t size, max_size;
    unsigned seed;
    struct text_piece pieces[TEXT_PIECES_MAX];
    size_t n;
};

static inline size_t text_any(struct text_edit *t, size_t below)
{
    t->seed = t->seed * 1664525u + 1013904223u;
    return below ? (t->seed >> 8) % below : 0;
}

static inline size_t text_word(const uint8_t *p, size_t left)
{
    size_t n = 0;

    while (n < left &&
           (isalnum(p[n]) || p[n] >= 0x80 || (p[n] && strchr("_-.+", p[n]))))
        n++;
    return n;
}

static inline size_t text_quoted(const uint8_t *p, size_t left)
{
    for (size_t n = 1; n < left && p[n] != '\n'; n++) {
        if (p[n] == p[0])
            return n + 1;
        n += p[n] == '\\';
    }
    return 0;
}

static inline size_t text_bracketed(const uint8_t *p, size_t left)
{
    size_t depth = 0;

    for (size_t n = 0; n < left; n++) {
        if (p[n] && strchr("{[(", p[n]))
            depth++;
        else if (p[n] && strchr("}])", p[n]) && --depth == 0)
            return n + 1;
    }
    return 0;
}

static inline void text_note(struct text_edit *t, size_t at, size_t len)
{
    if (len && len <= TEXT_PIECE_MAX && t->n < TEXT_PIECES_MAX)
        t->pieces[t->n++] = (struct text_piece){at, len};
}

static inline void text_find_pieces(struct text_edit *t)
{
    t->n = 0;
    for (size_t at = 0; at < t->size;) {
        const uint8_t *p = t->data + at, *end;
        size_t left = t->size - at, n;

        if (at == 0 || p[-1] == '\n') {
            end = memchr(p, '\n', left);
            text_note(t, at, end ? (size_t)(end - p) + 1 : left);
        }
        n = *p == '"' || *p == '\'' ? text_quoted(p, left) : text_word(p, left);
        text_note(t, at, n);
        if (*p && strchr("{[(", *p))
            text_note(t, at,
                      text_bracketed(p, left < TEXT_PIECE_MAX ? left : TEXT_PIECE_MAX));
        at += n ? n : 1;
    }
}

/* put `len` bytes in the place of a piece; nothing is done when there is no room */
static inline void text_replace(struct text_edit *t, struct text_piece p,
                                const void *with, size_t len)
{
    size_t after = p.at + p.len;

    if (t->size - p.len + len > t->max_size)
        return;
    memmove(t->data + p.at + len, t->data + after, t->size - after);
    memcpy(t->data + p.at, with, len);
    t->size = t->size - p.len + len;
}

static inline void text_edit_once(struct text_edit *t)
{
    static const char *const odd[] = {
        "null",
        "true",
        "false",
        "0",
        "-1",
        "1",
        "1.5",
        "1e300",
        "-1e-300",
        "1e999",
        "\"\"",
        "{}",
        "[]",
        "''",
        "9223372036854775807",
        "18446744073709551616",
        "[{}]",
        "a",
        "\"a\"",
        "~",
        "[null]",
        "{\"a\":1}",
        "\"\\u0000\"",
        "\"\\ud800\"",
        "\"..\"",
        "\"/\"",
        "\"../a\"",
        "\"a/../../b\"",
        "\"\xc3\xa4\"",
        "\"{{$.inputs.parameters['a']}}\"",
    };
    struct text_piece to = t->pieces[text_any(t, t->n)];
    struct text_piece from = t->pieces[text_any(t, t->n)];
    uint8_t with[2 * TEXT_PIECE_MAX + 1];
    const char *value = odd[text_any(t, N_ELEMS(odd))];

    memcpy(with, t->data + from.at, from.len);
    switch (text_any(t, 8)) {
    case 0:
        text_replace(t, to, "", 0);
        break;
    case 1: /* with the comma behind it */
        to.len += to.at + to.len < t->size && t->data[to.at + to.len] == ',';
        text_replace(t, to, "", 0);
        break;
    case 2:
    case 3:
        text_replace(t, to, value, strlen(value));
        break;
    case 4: /* once more, as the next element */
        with[from.len] = ',';
        memcpy(with + from.len + 1, t->data + from.at, from.len);
        text_replace(t, from, with, 2 * from.len + 1);
        break;
    case 5:
        text_replace(t, (struct text_piece){to.at, 0}, with, from.len);
        break;
    case 6: {
        size_t len = LLVMFuzzerMutate(with, from.len, TEXT_PIECE_MAX);
        text_replace(t, from, with, len);
        break;
    }
    default:
        text_replace(t, to, with, from.len);
    }
}

static inline size_t text_mutate(uint8_t *data, size_t size, size_t max_size,
                                 unsigned seed)
{
    static struct text_edit t;

    t.data = data;
    t.size = size;
    t.max_size = max_size < TEXT_GROWS_TO ? max_size : TEXT_GROWS_TO;
    t.max_size = t.max_size < size ? size : t.max_size;
    t.seed = seed;
    if (text_any(&t, 3) == 0)
        return LLVMFuzzerMutate(data, size, t.max_size);
    for (size_t i = 1 + text_any(&t, 3); i > 0; i--) {
        text_find_pieces(&t);
        if (t.n)
            text_edit_once(&t);
    }
    return t.size ? t.size : LLVMFuzzerMutate(data, t.size, t.max_size);
}

#endif

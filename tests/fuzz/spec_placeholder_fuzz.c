/* SPDX-License-Identifier: Apache-2.0 */
/* Any lines as words of a command line: placeholders nobody answers stay as they are */
#include <stdint.h>

#include "base/mem.h"
#include "spec/placeholder.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int leave(void *ctx, const struct placeholder *ph, struct buf *out,
                 struct err *e)
{
    (void)out, (void)e;
    must(ph->kind <= PH_PIPELINE_ROOT && ph->name.ptr && ph->key.ptr);
    ++*(size_t *)ctx;
    return 0;
}

static bool is_odd(void *ctx, struct str name)
{
    (void)ctx;
    return name.len & 1;
}

static int any_name(void *ctx, struct str name, struct err *e)
{
    (void)ctx, (void)name, (void)e;
    return 0;
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str text = {(const char *)data, size}, words[8];
    struct arena a = {0};
    struct buf out = {0};
    struct placeholder ph;
    struct err e = {.text = ""};
    size_t found = 0, n_words = 0, n_argv;
    char **argv;

    must(placeholder_expand(text, leave, &found, &out, &e) == 0);
    must(out.len == size && (!size || memcmp(out.ptr, data, size) == 0));
    must(placeholder_any(text) == (found > 0));
    must(!placeholder_whole(text, &ph) || found == 1);
    buf_done(&out);

    for (size_t at = 0; at <= size && n_words < N_ELEMS(words); n_words++) {
        const char *end = size > at ? memchr(text.ptr + at, '\n', size - at) : NULL;
        size_t len = end ? (size_t)(end - text.ptr) - at : size - at;

        words[n_words] = (struct str){text.ptr + at, len};
        at += len + 1;
        must(placeholder_word_check(words[n_words], any_name, NULL, &e) == 0 ||
             e.text[0]);
    }
    if (placeholder_argv_in(&a, words, n_words, leave, is_odd, &found, &argv, &n_argv,
                            &e) == 0)
        must(argv[n_argv] == NULL);
    else
        must(e.text[0]);
    arena_done(&a);
    return 0;
}

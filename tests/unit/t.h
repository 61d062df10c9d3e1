/* SPDX-License-Identifier: Apache-2.0 */
/* t.h - unit tests: CHECK macros, one program a file, last line "N passed, N failed" */
#ifndef TESTS_T_H
#define TESTS_T_H

#include <stdio.h>
#include <string.h>

static int t_passed, t_failed;

#define CHECK(cond)                                                                      \
    do {                                                                                 \
        if (cond) {                                                                      \
            t_passed++;                                                                  \
        } else {                                                                         \
            t_failed++;                                                                  \
            printf("%s:%d: CHECK(%s)\n", __FILE__, __LINE__, #cond);                     \
        }                                                                                \
    } while (0)
#define CHECK_INT(got, want)                                                             \
    do {                                                                                 \
        long long g_ = (long long)(got), w_ = (long long)(want);                         \
        if (g_ == w_) {                                                                  \
            t_passed++;                                                                  \
        } else {                                                                         \
            t_failed++;                                                                  \
            printf("%s:%d: %s is %lld, want %lld\n", __FILE__, __LINE__, #got, g_, w_);  \
        }                                                                                \
    } while (0)
#define CHECK_STR(got, want)                                                             \
    do {                                                                                 \
        const char *g_ = (got), *w_ = (want);                                            \
        if (g_ && strcmp(g_, w_) == 0) {                                                 \
            t_passed++;                                                                  \
        } else {                                                                         \
            t_failed++;                                                                  \
            printf("%s:%d: %s is \"%s\", want \"%s\"\n", __FILE__, __LINE__, #got,       \
                   g_ ? g_ : "(null)", w_);                                              \
        }                                                                                \
    } while (0)

static int t_end(void)
{
    printf("%d passed, %d failed\n", t_passed, t_failed);
    return t_failed != 0;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* shell.h - the simple commands of a POSIX shell script, as sh itself would cut them */
#ifndef RUN_SHELL_H
#define RUN_SHELL_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"

struct shell_word {
    struct str text; /* without quotes and backslashes; $... and `...` as written */
    bool quoted;     /* some of it stood in quotes, so it is no keyword */
    bool expands;    /* it has a $ or ` that the shell replaces */
};

/* a program and its words, or assignments alone; keywords (if, then, else, fi, !) in
 * front of it and redirections are left out */
struct shell_command {
    struct shell_word *words;
    size_t n_words; /* at least 1 */
    bool fallback;  /* after ||: runs only when what stands before did not work */
};

/* shell_commands_in - every simple command, in order, whatever if and ( ) they stand in
 *
 * ERR_INPUT when a quote, $(, ${, ` or ( is not closed, and for what is not understood:
 * pipes,
 * &, here-documents, ;; */
int shell_commands_in(struct arena *a, struct str script, struct shell_command **out,
                      size_t *n_out, struct err *e);

#endif

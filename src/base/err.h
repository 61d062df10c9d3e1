/* SPDX-License-Identifier: Apache-2.0 */
/* err.h - a failure travels as a value
 *
 * 0 is success, -1 is failure, `struct err *e` comes last and is never NULL. Whoever
 * notices a failure sets it; each caller may put where it was in front (err_at). Only
 * cli/ shows it. The struct owns nothing and fits one pipe write, so it can cross a
 * process border as bytes.
 */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stdbool.h>

#include "base/banned.h"

enum err_code {
    ERR_NONE,    /* exit 1 is kept for "it ran, and a task failed" */
    ERR_INPUT,   /* the user's file or flag is wrong      -> exit 2 */
    ERR_MISSING, /* a named thing does not exist          -> exit 3 */
    ERR_CORRUPT, /* bytes do not match digest or format   -> exit 4 */
    ERR_LIMIT,   /* one of our own ceilings was hit       -> exit 5 */
    ERR_SYS,     /* the kernel said no; .sys is its errno -> exit 6 */
    ERR_BUSY,    /* somebody else holds it, try later     -> exit 75 */
};

struct err {
    enum err_code code;
    int sys;
    char text[480];
};

/* err_set - fill *e and return -1. The text names the thing, what is wrong, what to do.
 * Control characters become spaces, and what is too long loses its middle. Arguments
 * may point into e->text. */
int err_set(struct err *e, enum err_code code, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* err_sys - as err_set with ERR_SYS; ": " and the text of errno value `sys` are added
 */
int err_sys(struct err *e, int sys, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));

/* err_at - put "where: " in front of a text that is already set; returns -1 */
int err_at(struct err *e, const char *fmt, ...) __attribute__((format(printf, 2, 3)));

#if defined(__clang_analyzer__) && !defined(BASE_ERR_C)
/* It sees one file at a time, and would follow every failure as if it were a success. */
#define err_set(...) (err_set(__VA_ARGS__), -1)
#define err_sys(...) (err_sys(__VA_ARGS__), -1)
#define err_at(...) (err_at(__VA_ARGS__), -1)
#endif

/* err_exit - the process exit status that belongs to e->code */
int err_exit(const struct err *e);

/* err_is_full - did the kernel say no because a disk is full, or a quota of one? */
bool err_is_full(const struct err *e);

/* must - a broken invariant: file:line and abort, in releases too */
#define must(cond) ((cond) ? (void)0 : must_fail(__FILE__, __LINE__, #cond))
_Noreturn void must_fail(const char *file, int line, const char *cond);

#endif

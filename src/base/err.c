/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - failures as values: building their text */
#include "base/err.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void fill(struct err *e, const char *fmt, va_list ap)
{
    (void)vsnprintf(e->text, sizeof e->text, fmt, ap);
    for (char *p = e->text; *p; p++) /* one line, whatever was named in it */
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    va_list ap;

    e->code = code;
    e->sys = 0;
    va_start(ap, fmt);
    fill(e, fmt, ap);
    va_end(ap);
    return -1;
}

int err_sys(struct err *e, int sys, const char *fmt, ...)
{
    va_list ap;
    size_t n;

    e->code = ERR_SYS;
    e->sys = sys;
    va_start(ap, fmt);
    fill(e, fmt, ap);
    va_end(ap);
    n = strlen(e->text);
    (void)snprintf(e->text + n, sizeof e->text - n, ": %s", strerror(sys));
    return -1;
}

int err_at(struct err *e, const char *fmt, ...)
{
    struct err where;
    char old[sizeof e->text];
    va_list ap;
    size_t n;

    memcpy(old, e->text, sizeof old);
    va_start(ap, fmt);
    fill(&where, fmt, ap);
    va_end(ap);
    /* the cause matters more than the place */
    (void)snprintf(e->text, sizeof e->text, "%.240s: ", where.text);
    n = strlen(e->text);
    (void)snprintf(e->text + n, sizeof e->text - n, "%s", old);
    return -1;
}

int err_exit(const struct err *e)
{
    switch (e->code) {
    case ERR_NONE:
        return 0;
    case ERR_INPUT:
        return 2;
    case ERR_MISSING:
        return 3;
    case ERR_CORRUPT:
        return 4;
    case ERR_LIMIT:
        return 5;
    case ERR_SYS:
        return 6;
    case ERR_BUSY:
        return 75;
    }
    return 6;
}

void must_fail(const char *file, int line, const char *cond)
{
    (void)fprintf(stderr, "dugout: %s:%d: broken invariant: %s\n", file, line, cond);
    abort();
}

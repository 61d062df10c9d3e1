/* SPDX-License-Identifier: Apache-2.0 */
/* err.c - failures as values: building their text
 *
 * A text is one line, whatever was named in it, and of bounded length. What a person
 * needs most stands at both ends, the outermost place and the reason, so a text that
 * grew too long loses its middle. Nothing here allocates: box/child.c sets errors
 * between clone and exec.
 */
#define BASE_ERR_C /* the functions themselves */
#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LONG_TEXT 2048

static bool inside_utf8(char c)
{
    return ((unsigned char)c & 0xc0) == 0x80;
}

/* store `text`, on one line and shortened in the middle; it may have been made from
 * e->text */
static void settle(struct err *e, char text[LONG_TEXT])
{
    size_t len = strlen(text), head = len, tail = len;

    if (len >= sizeof e->text) {
        head = sizeof e->text / 2 - 3;
        tail = len - (sizeof e->text - 1 - head - 3);
        while (head && inside_utf8(text[head]))
            head--;
        while (tail < len && inside_utf8(text[tail]))
            tail++;
    }
    for (size_t i = 0; i < len; i++) /* nor may it move the cursor of a terminal */
        if ((unsigned char)text[i] < 0x20 || text[i] == 0x7f)
            text[i] = ' ';
    (void)snprintf(e->text, sizeof e->text, "%.*s%s%s", (int)head, text,
                   head < tail ? "..." : "", text + tail);
}

int err_set(struct err *e, enum err_code code, const char *fmt, ...)
{
    char text[LONG_TEXT];
    va_list ap;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text, fmt, ap);
    va_end(ap);
    settle(e, text);
    e->code = code;
    e->sys = 0;
    return -1;
}

int err_sys(struct err *e, int sys, const char *fmt, ...)
{
    const char *reason = strerror(sys);
    char text[LONG_TEXT];
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text - strlen(reason) - 2, fmt, ap);
    va_end(ap);
    n = strlen(text);
    (void)snprintf(text + n, sizeof text - n, ": %s", reason);
    settle(e, text);
    e->code = ERR_SYS;
    e->sys = sys;
    return -1;
}

int err_at(struct err *e, const char *fmt, ...)
{
    char text[LONG_TEXT];
    va_list ap;
    size_t n;

    va_start(ap, fmt);
    (void)vsnprintf(text, sizeof text - sizeof e->text - 2, fmt, ap);
    va_end(ap);
    n = strlen(text);
    (void)snprintf(text + n, sizeof text - n, ": %s", e->text);
    settle(e, text);
    return -1;
}

bool err_is_full(const struct err *e)
{
    return e->code == ERR_SYS && (e->sys == ENOSPC || e->sys == EDQUOT);
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
    return 6; /* a code that came as bytes from another process */
}

void must_fail(const char *file, int line, const char *cond)
{
    (void)fprintf(stderr, "dugout: %s:%d: broken invariant: %s\n", file, line, cond);
    abort();
}

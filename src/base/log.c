/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - lines for people on stderr
 *
 * A note is one line by one write, so lines of several processes do not mix; bytes that
 * could end it early or steer a terminal become spaces, for notes name things out of
 * images.
 */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"

#define PREFIX "dugout: "

static enum log_level level = LOG_NORMAL;
static void (*hook)(void *ctx, const char *line);
static void *hook_ctx;

void log_set_level(enum log_level l)
{
    level = l;
}

enum log_level log_get_level(void)
{
    return level;
}

void log_hook(void (*fn)(void *ctx, const char *line), void *ctx)
{
    hook = fn;
    hook_ctx = ctx;
}

static void emit(const char *fmt, va_list ap)
{
    AUTO_BUF struct buf line = {0};
    const size_t start = strlen(PREFIX);

    buf_adds(&line, PREFIX);
    buf_addvf(&line, fmt, ap);
    if (line.len > LIMIT_LOG_LINE_BYTES) {
        line.len = LIMIT_LOG_LINE_BYTES;
        line.ptr[line.len] = 0;
    }
    for (char *p = line.ptr; *p; p++)
        if ((unsigned char)*p < 0x20 || *p == 0x7f)
            *p = ' ';
    if (hook) {
        hook(hook_ctx, line.ptr + start);
        return;
    }
    buf_addc(&line, '\n');
    (void)!write(2, line.ptr, line.len); /* nowhere to say that nobody can be told */
}

void log_note(const char *fmt, ...)
{
    va_list ap;

    if (level < LOG_NORMAL)
        return;
    va_start(ap, fmt);
    emit(fmt, ap);
    va_end(ap);
}

void log_verbose(const char *fmt, ...)
{
    va_list ap;

    if (level < LOG_VERBOSE)
        return;
    va_start(ap, fmt);
    emit(fmt, ap);
    va_end(ap);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* log.c - lines for people on stderr */
#include "base/log.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/limits.h"

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
    AUTO_BUF struct buf b;

    buf_init(&b, LIMIT_LOG_LINE_BYTES);
    buf_addvf(&b, fmt, ap);
    if (hook) {
        hook(hook_ctx, buf_str(&b));
        return;
    }
    {
        AUTO_BUF struct buf line; /* one write: lines of several processes do not mix */
        buf_init(&line, 0);
        buf_addf(&line, "dugout: %s\n", buf_str(&b));
        (void)!write(2, line.ptr, line.len);
    }
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

/* SPDX-License-Identifier: Apache-2.0 */
/* log.h - what a person may read on stderr. Modules below cli/ may only use log_note
 * for facts that do not stop anything (and at most once a cause); failures travel as
 * struct err. */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdbool.h>

enum log_level { LOG_QUIET, LOG_NORMAL, LOG_VERBOSE };
void log_set_level(enum log_level l);
enum log_level log_get_level(void);
/* log_note - "dugout: text", unless --quiet */
void log_note(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* log_verbose - only with --verbose */
void log_verbose(const char *fmt, ...) __attribute__((format(printf, 1, 2)));
/* log_hook - where lines go instead of stderr (the live view); NULL resets */
void log_hook(void (*fn)(void *ctx, const char *line), void *ctx);

#endif

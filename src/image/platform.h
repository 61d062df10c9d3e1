/* SPDX-License-Identifier: Apache-2.0 */
/* platform.h - os/architecture/variant: what an image is for, and what this machine
 * runs */
#ifndef IMAGE_PLATFORM_H
#define IMAGE_PLATFORM_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"

struct platform {
    char os[16], arch[16], variant[16]; /* OCI's words, "" when not said */
};

/* platform_parse - "linux/arm64/v8" or "arm64"; NULL: this machine. ERR_INPUT. */
int platform_parse(const char *text, struct platform *out, struct err *e);
/* platform_set - from three JSON strings; false when one does not fit */
bool platform_set(struct platform *p, struct str os, struct str arch,
                  struct str variant);
/* platform_fits - 0 when `have` does not run on `want`, else the greater the better */
int platform_fits(const struct platform *want, const struct platform *have);
#define PLATFORM_TEXT 52
void platform_text(const struct platform *p, char out[PLATFORM_TEXT]);

#endif

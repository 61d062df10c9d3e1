/* SPDX-License-Identifier: Apache-2.0 */
/* label.h - backup.json: what a directory says about the backup in it
 *
 * It is written last, so a directory without one holds no backup, or one that never
 * ended. Other programs may have carried it here, so it is not believed but read.
 */
#ifndef CLI_LABEL_H
#define CLI_LABEL_H

#include <stdint.h>

#include "base/err.h"

#define LABEL_FILE "backup.json"

struct label {
    char uuid[37]; /* of the home's database: 36 lower-case characters */
    int64_t created_unix_ms;
};

/* what is known besides, for people and later versions; nothing reads it */
struct label_notes {
    const char *home;
    const char *const *not_in_it; /* damaged or missing contents, a line each */
    size_t n_not_in_it;
};

/* label_read - ERR_MISSING when there is none; ERR_CORRUPT; ERR_INPUT when a newer
 * dugout wrote it. `dir` is for messages. *out changes only on success */
int label_read(int dir_fd, const char *dir, struct label *out, struct err *e);
/* label_write - durable when it returns */
int label_write(int dir_fd, const struct label *l, const struct label_notes *notes,
                struct err *e);

#endif

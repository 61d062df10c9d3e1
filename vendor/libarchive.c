/* SPDX-License-Identifier: Apache-2.0 */
/* libarchive.c - the one thing that the tar writers want from a file we leave out
 *
 * libarchive says it in the file that knows every format it can write, and with it
 * would come all of them.
 */
#include "archive_platform.h"

#include <errno.h>

#include "archive.h"
#include "archive_entry.h"
#include "archive_private.h"
#include "archive_write_set_format_private.h"

void __archive_write_entry_filetype_unsupported(struct archive *a,
                                                struct archive_entry *entry,
                                                const char *format)
{
    archive_set_error(a, ARCHIVE_ERRNO_FILE_FORMAT,
                      "%s: a file of mode 0%lo has no place in a %s archive",
                      archive_entry_pathname(entry),
                      (unsigned long)archive_entry_mode(entry), format);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* banned.h - calls that this code base does without, made into compile errors
 *
 * err.h includes this, so it holds everywhere. A poisoned name may not even be declared
 * after the pragma: the headers that declare them come first, and their include guards
 * keep them out later. Not for vendored code, which never sees it.
 *
 *   instead of                     use
 *   strcpy, strcat, sprintf ...    struct buf, snprintf, arena_printf
 *   strncpy, strncat               memcpy with a length that was checked
 *   strtok                         strcspn on what is borrowed
 *   atoi, atof ...                 size_parse, clock_parse_duration, strtol with its
 * end system, popen                  fork and exec with an argument list gmtime, ctime
 * ...              clock_rfc3339, gmtime_r mktemp ... fd_write_file, O_EXCL below a
 * directory descriptor alloca                         an arena rand getrandom
 */
#ifndef BASE_BANNED_H
#define BASE_BANNED_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#undef alloca
#pragma GCC poison strcpy stpcpy strcat strncpy strncat sprintf vsprintf gets strtok
#pragma GCC poison atoi atol atoll atof system popen tmpnam tempnam mktemp alloca
#pragma GCC poison asctime asctime_r ctime ctime_r gmtime localtime rand rand_r srand

#endif

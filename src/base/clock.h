/* SPDX-License-Identifier: Apache-2.0 */
/* clock.h - time. _unix_ms is milliseconds since 1970 UTC, _mono_ns CLOCK_BOOTTIME
 * nanoseconds */
#ifndef BASE_CLOCK_H
#define BASE_CLOCK_H

#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/err.h"

int64_t clock_unix_ms(void);
int64_t clock_mono_ns(void);
/* "2026-11-23T02:00:00.000Z", 25 bytes with the NUL; held within the years 0 and 9999
 */
void clock_rfc3339(int64_t unix_ms, char out[25]);
/* clock_parse_duration - "90", "90s", "15m", "2h", "1h30m", "1.5s", "250ms", "2d" ->
 * ms; ERR_INPUT otherwise, negative or beyond ten years. A bare number is seconds. */
int clock_parse_duration(struct str text, int64_t *out_ms, struct err *e);
/* "0.4 s", "12 s", "3 m 02 s", "2 h 05 m" */
void clock_human(int64_t ms, char out[24]);
/* "512 B", "3.4 MiB": powers of 1024 */
void size_human(uint64_t bytes, char out[24]);
/* size_parse - Kubernetes quantity or plain bytes: "512Mi", "1G", "1e9", "64k" ->
 * bytes, fractions rounded up; ERR_INPUT otherwise, negative or from 2^63 on */
int size_parse(struct str text, uint64_t *out_bytes, struct err *e);

/* boot id of this kernel (36 characters + NUL), "" when unreadable */
const char *clock_boot_id(void);

/* clock_process_ticks - when a process began, in clock ticks since boot; 0 when there is
 * none of that number, or when it has ended and only waits for its parent to notice */
unsigned long long clock_process_ticks(pid_t pid);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* seccomp.h - the system call filter of a box, as a classic BPF program */
#ifndef BOX_SECCOMP_H
#define BOX_SECCOMP_H

#include <linux/filter.h>
#include <stddef.h>

#define SECCOMP_NEWEST_CALL 469 /* file_setattr; what comes after it is "not there" (ENOSYS) */

/* seccomp_program - write the filter to out; returns the number of instructions, 0 when it
 * needs more than max or this architecture has no table */
size_t seccomp_program(struct sock_filter *out, size_t max);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* cold.c - where in the binary the code ends that a supervisor runs
 *
 * Hundreds of supervisors may wait for tasks, and all that they need is a quarter of the binary.
 * But a kernel maps what lies around the page that is touched: 64 KiB, and since Linux 6.18 all of
 * the folio that the page cache happens to hold, up to 2 MiB (filemap_map_pages), as far as the
 * mapping goes. So the Makefile links what supervisors run, then this file, then the rest, and an
 * advice of another kind for the rest makes two mappings of one.
 */
#include "run/cold.h"

#include <stdint.h>
#include <sys/mman.h>

extern const char etext[]; /* the linker's, see end(3) */

/* the first cold byte; never called */
__attribute__((used)) static void cold_code(void)
{
}

void cold_code_part(void)
{
    const uintptr_t page = 4096; /* 64 KiB pages on some arm64: then madvise refuses, no harm */
    uintptr_t start = ((uintptr_t)cold_code + page - 1) & -page;
    uintptr_t end = (uintptr_t)etext & -page;

    if (start < end)
        (void)madvise((void *)start, end - start, MADV_RANDOM);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* mem.h - memory: aborting allocators, arenas, growing arrays
 *
 * Running out of memory aborts in xalloc: every state change is a rename or a SQLite
 * transaction, so dying is safe. Sizes from outside are held against limits.h first.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>

#include "base/buf.h"

#define N_ELEMS(a) (sizeof(a) / sizeof((a)[0]))

#define NEVER_NULL __attribute__((returns_nonnull))

/* all give memory for free(); size 0 gives some, too */
void *xalloc(size_t size) NEVER_NULL;              /* zeroed */
void *xrealloc(void *old, size_t size) NEVER_NULL; /* what is new is not zeroed */
char *xstrdup(const char *z) NEVER_NULL;
char *xasprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2))) NEVER_NULL;

void auto_free(void *pp);
#define AUTO_FREE __attribute__((cleanup(auto_free)))

/* An arena: allocations live until arena_done. Zero-initialised = empty. */
struct arena {
    struct arena_block *head;
    size_t used_bytes; /* total handed out */
};
void *arena_alloc(struct arena *a, size_t size) NEVER_NULL; /* zeroed, 16-aligned */
char *arena_strdup(struct arena *a, const char *z);
char *arena_strndup(struct arena *a, const char *p, size_t len);
struct str arena_str(struct arena *a, struct str s); /* NUL follows the copy */
char *arena_printf(struct arena *a, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
void arena_reset(struct arena *a); /* frees all but one block */
void arena_done(struct arena *a);
#define AUTO_ARENA __attribute__((cleanup(arena_done)))

/* arena_grow - append room for one element to an array living in an arena
 *
 * Use: items = arena_grow(a, items, &n, sizeof(*items)); items[n - 1] is the new zeroed
 * one. Doubles at powers of two; the old array is left to the arena. */
void *arena_grow(struct arena *a, void *items, size_t *n, size_t elem_size);

/* A string -> pointer hash map that borrows its keys (they must outlive it) */
struct map {
    struct map_slot *slots;
    size_t n, cap;
};
void map_put(struct map *m, struct str key,
             void *value);                          /* replaces; value is not NULL */
void *map_get(const struct map *m, struct str key); /* NULL when absent */
void map_done(struct map *m);

#endif

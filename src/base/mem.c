/* SPDX-License-Identifier: Apache-2.0 */
/* mem.c - aborting allocators, arenas, a hash map
 *
 * An arena is a chain of blocks that double in size up to 1 MiB; what is larger than
 * half a block gets a block of its own. Nothing is freed before the whole.
 *
 * The map is a table with open addressing, at most three quarters full. Its keys come
 * from pipelines and images, whose authors could pick two million names that all meet
 * in one slot of any hash they can compute; so the hash is SipHash-1-3 (Aumasson and
 * Bernstein) under a key that the kernel drew for this process. Nothing walks a map, so
 * its order is never seen.
 */
#include "base/mem.h"

#include <stdint.h>
#include <stdio.h>
#include <sys/auxv.h>

#include "base/err.h"

#define FIRST_BLOCK_BYTES 4096
#define MAX_BLOCK_BYTES (1024 * 1024)

static _Noreturn void exhausted(size_t size)
{
    (void)fprintf(stderr, "dugout: out of memory: no %zu bytes to be had\n", size);
    abort();
}

void *xalloc(size_t size)
{
    void *p = calloc(1, size ? size : 1);

    if (!p)
        exhausted(size);
    return p;
}

void *xrealloc(void *old, size_t size)
{
    void *p = realloc(old, size ? size : 1);

    if (!p)
        exhausted(size);
    return p;
}

char *xstrdup(const char *z)
{
    size_t n = strlen(z) + 1;
    char *p = xalloc(n);

    memcpy(p, z, n);
    return p;
}

char *xasprintf(const char *fmt, ...)
{
    struct buf b = {0};
    va_list ap;

    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    return buf_take(&b);
}

void auto_free(void *pp)
{
    void *p;

    memcpy(&p, pp, sizeof p);
    free(p);
}

/* ---- arenas
 * ------------------------------------------------------------------------------- */

struct arena_block {
    struct arena_block *next;
    size_t size, used; /* of bytes[] */
    _Alignas(16) unsigned char bytes[];
};

static struct arena_block *block_new(size_t size)
{
    struct arena_block *b;
    size_t whole;

    must(!__builtin_add_overflow(sizeof *b, size, &whole));
    b = xalloc(whole);
    b->size = size;
    return b;
}

void *arena_alloc(struct arena *a, size_t size)
{
    struct arena_block *b = a->head;
    size_t need;
    void *p;

    must(!__builtin_add_overflow(size ? size : 1, (size_t)15, &need));
    need &= ~(size_t)15;
    a->used_bytes += size;
    if (!b || b->size - b->used < need) {
        size_t grow = b ? b->size * 2 : FIRST_BLOCK_BYTES;

        if (grow > MAX_BLOCK_BYTES)
            grow = MAX_BLOCK_BYTES;
        if (b && need > grow / 2) { /* behind the head, so that its rest stays in use */
            struct arena_block *own = block_new(need);
            own->used = need;
            own->next = b->next;
            b->next = own;
            return own->bytes;
        }
        b = block_new(need > grow ? need : grow);
        b->next = a->head;
        a->head = b;
    }
    p = b->bytes + b->used;
    b->used += need;
    return p;
}

char *arena_strndup(struct arena *a, const char *p, size_t len)
{
    char *copy;

    must(len < SIZE_MAX);
    copy = arena_alloc(a, len + 1);
    if (len)
        memcpy(copy, p, len);
    return copy;
}

char *arena_strdup(struct arena *a, const char *z)
{
    return arena_strndup(a, z, strlen(z));
}

struct str arena_str(struct arena *a, struct str s)
{
    return (struct str){arena_strndup(a, s.ptr, s.len), s.len};
}

char *arena_printf(struct arena *a, const char *fmt, ...)
{
    va_list ap, again;
    char *p;
    int n;

    va_start(ap, fmt);
    va_copy(again, ap);
    n = vsnprintf(NULL, 0, fmt, ap);
    va_end(ap);
    must(n >= 0);
    p = arena_alloc(a, (size_t)n + 1);
    (void)vsnprintf(p, (size_t)n + 1, fmt, again);
    va_end(again);
    return p;
}

void arena_reset(struct arena *a)
{
    struct arena_block *keep = a->head;

    if (!keep)
        return;
    for (struct arena_block *b = keep->next, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    memset(keep->bytes, 0, keep->used); /* arena_alloc promises zeroes */
    keep->used = 0;
    keep->next = NULL;
    a->used_bytes = 0;
}

void arena_done(struct arena *a)
{
    for (struct arena_block *b = a->head, *next; b; b = next) {
        next = b->next;
        free(b);
    }
    *a = (struct arena){0};
}

void *arena_grow(struct arena *a, void *items, size_t *n, size_t elem_size)
{
    size_t old = *n;

    if ((old & (old - 1)) == 0) { /* 0 and powers of two: full */
        size_t cap = old ? old * 2 : 1;
        size_t bytes;
        void *bigger;

        must(!__builtin_mul_overflow(cap, elem_size, &bytes));
        bigger = arena_alloc(a, bytes);
        if (old)
            memcpy(bigger, items, old * elem_size);
        items = bigger;
    }
    memset((char *)items + old * elem_size, 0,
           elem_size); /* may be left of one taken off */
    *n = old + 1;
    return items;
}

/* ---- a hash map
 * ---------------------------------------------------------------------- */

struct map_slot {
    struct str key;
    void *value;
};

/* 16 random bytes that every process finds beside its arguments */
static const uint64_t *secret(void)
{
    static uint64_t key[2];
    const void *random = (const void *)getauxval(AT_RANDOM);

    if (!key[0] && random)
        memcpy(key, random, sizeof key);
    return key;
}

static uint64_t rol(uint64_t x, unsigned n)
{
    return x << n | x >> (64 - n);
}

static void sip_round(uint64_t v[4])
{
    v[0] += v[1];
    v[2] += v[3];
    v[1] = rol(v[1], 13) ^ v[0];
    v[3] = rol(v[3], 16) ^ v[2];
    v[0] = rol(v[0], 32) + v[3];
    v[2] += v[1];
    v[3] = rol(v[3], 21) ^ v[0];
    v[1] = rol(v[1], 17) ^ v[2];
    v[2] = rol(v[2], 32);
}

static size_t hash(struct str key)
{
    const uint64_t *k = secret();
    uint64_t v[4] = {k[0] ^ 0x736f6d6570736575, k[1] ^ 0x646f72616e646f6d,
                     k[0] ^ 0x6c7967656e657261, k[1] ^ 0x7465646279746573};
    uint64_t last = (uint64_t)key.len << 56, word;
    size_t i = 0;

    for (; key.len - i >= 8; i += 8) {
        memcpy(&word, key.ptr + i,
               8); /* in the order of this machine: nobody compares */
        v[3] ^= word;
        sip_round(v);
        v[0] ^= word;
    }
    for (unsigned shift = 0; i < key.len; i++, shift += 8)
        last |= (uint64_t)(unsigned char)key.ptr[i] << shift;
    v[3] ^= last;
    sip_round(v);
    v[0] ^= last;
    v[2] ^= 0xff;
    for (int n = 0; n < 3; n++)
        sip_round(v);
    return (size_t)(v[0] ^ v[1] ^ v[2] ^ v[3]);
}

static struct map_slot *slot_of(const struct map *m, struct str key)
{
    size_t i = hash(key) & (m->cap - 1);

    while (m->slots[i].value && !str_eq(m->slots[i].key, key))
        i = (i + 1) & (m->cap - 1);
    return &m->slots[i];
}

static void grow(struct map *m)
{
    struct map bigger = {.cap = m->cap ? m->cap * 2 : 16, .n = m->n};

    bigger.slots = xalloc(bigger.cap * sizeof(*bigger.slots));
    for (size_t i = 0; i < m->cap; i++)
        if (m->slots[i].value)
            *slot_of(&bigger, m->slots[i].key) = m->slots[i];
    free(m->slots);
    *m = bigger;
}

void map_put(struct map *m, struct str key, void *value)
{
    struct map_slot *s;

    must(value != NULL);
    if (m->n * 4 >= m->cap * 3)
        grow(m);
    s = slot_of(m, key);
    if (!s->value)
        m->n++;
    s->key = key;
    s->value = value;
}

void *map_get(const struct map *m, struct str key)
{
    return m->cap ? slot_of(m, key)->value : NULL;
}

void map_done(struct map *m)
{
    free(m->slots);
    *m = (struct map){0};
}

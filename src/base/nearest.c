/* SPDX-License-Identifier: Apache-2.0 */
/* nearest.c - the name that was probably meant
 *
 * Edit distance with swaps of neighbours ("lod" is one from "load", "tarin" one from
 * "train"), three rows of the usual table on the stack. Upper and lower case are alike,
 * but for names that differ in nothing else: costs are counted in halves, and that is
 * one. Rows that are past the bound end the work early, which keeps a look through
 * 10,000 task names at a few milliseconds.
 */
#include "base/nearest.h"

#define NAME_MAX_BYTES 128

static unsigned lower(char c)
{
    return c >= 'A' && c <= 'Z' ? (unsigned)(c - 'A' + 'a') : (unsigned char)c;
}

static unsigned min2(unsigned a, unsigned b)
{
    return a < b ? a : b;
}

static unsigned replace_cost(char a, char b)
{
    return lower(a) == lower(b) ? 0 : 2;
}

unsigned nearest_edits(struct str a, struct str b, unsigned at_most)
{
    unsigned rows[3][NAME_MAX_BYTES + 1];
    size_t gap = a.len > b.len ? a.len - b.len : b.len - a.len;

    if (a.len > NAME_MAX_BYTES || b.len > NAME_MAX_BYTES || gap * 2 >= at_most)
        return at_most;
    for (size_t j = 0; j <= b.len; j++)
        rows[0][j] = (unsigned)j * 2;

    for (size_t i = 1; i <= a.len; i++) {
        unsigned *row = rows[i % 3], *up = rows[(i + 2) % 3], *up2 = rows[(i + 1) % 3];
        unsigned best = row[0] = (unsigned)i * 2;

        for (size_t j = 1; j <= b.len; j++) {
            unsigned cost = up[j - 1] + replace_cost(a.ptr[i - 1], b.ptr[j - 1]);

            cost = min2(cost, min2(up[j], row[j - 1]) + 2);
            if (i > 1 && j > 1 && !replace_cost(a.ptr[i - 1], b.ptr[j - 2]) &&
                !replace_cost(a.ptr[i - 2], b.ptr[j - 1]))
                cost = min2(cost, up2[j - 2] + 2);
            row[j] = cost;
            best = min2(best, cost);
        }
        /* a swap may reach two rows back, but never below the cheapest cell there */
        if (best >= at_most + 2)
            return at_most;
    }

    unsigned edits = rows[a.len % 3][b.len];

    return min2(edits || str_eq(a, b) ? edits : 1, at_most);
}

const char *nearest(struct str want, const char *const *names, size_t n)
{
    const char *found = NULL;
    unsigned found_edits = ~0U;

    for (size_t i = 0; i < n; i++) {
        struct str name = str_of(names[i]);
        size_t longer = name.len > want.len ? name.len : want.len;
        /* a third, in halves; one edit of two letters, none of one */
        unsigned allowed = longer < 2 ? 1 : longer == 2 ? 2 : (unsigned)longer * 2 / 3;
        unsigned bound = min2(allowed + 1, found_edits);
        unsigned edits = nearest_edits(want, name, bound);

        if (edits < bound) {
            found = names[i];
            found_edits = edits;
        }
    }
    return found;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* diskwatch.c - does a box write more than it may?
 *
 * A look walks all that the box has written, so its cost grows with the number of
 * files. The pause before the next look is fifty times what the last one took, from a
 * quarter of a second to ten seconds: two hundredths of one CPU at most are spent on
 * watching.
 */
#include "run/diskwatch.h"

#include "base/clock.h"

#define MS_NS 1000000LL
#define PAUSE_LEAST_NS (250 * MS_NS)
#define PAUSE_MOST_NS (10000 * MS_NS)
#define PAUSE_FACTOR 50

void diskwatch_init(struct diskwatch *w, uint64_t limit_bytes)
{
    *w = (struct diskwatch){.limit_bytes = limit_bytes,
                            .next_mono_ns = clock_mono_ns() + PAUSE_LEAST_NS};
}

int diskwatch_wait_ms(const struct diskwatch *w)
{
    int64_t left = w->next_mono_ns - clock_mono_ns();

    if (!w->limit_bytes)
        return -1;
    return left > 0 ? (int)(left / MS_NS + 1) : 0;
}

static bool is_due(const struct diskwatch *w)
{
    return w->limit_bytes && clock_mono_ns() >= w->next_mono_ns;
}

static bool looked(struct diskwatch *w, int64_t begun, int rc, const struct err *e)
{
    int64_t pause = (clock_mono_ns() - begun) * PAUSE_FACTOR;

    pause = pause < PAUSE_LEAST_NS  ? PAUSE_LEAST_NS
            : pause > PAUSE_MOST_NS ? PAUSE_MOST_NS
                                    : pause;
    w->next_mono_ns = clock_mono_ns() + pause;
    if (rc < 0)
        return e->code == ERR_LIMIT;
    return w->used_bytes > w->limit_bytes;
}

bool diskwatch_over(struct diskwatch *w, const struct box *b, int dir_fd,
                    const char *const *names, size_t n)
{
    int64_t begun = clock_mono_ns();
    struct err e = {0};

    return is_due(w) &&
           looked(w, begun, box_disk_usage(b, dir_fd, names, n, &w->used_bytes, &e),
                  &e);
}

bool diskwatch_tree_over(struct diskwatch *w, const struct box *b, int dir_fd,
                         const char *name)
{
    int64_t begun = clock_mono_ns();
    struct err e = {0};

    return is_due(w) &&
           looked(w, begun, box_tree_usage(b, dir_fd, name, &w->used_bytes, &e), &e);
}

bool diskwatch_memory_over(struct diskwatch *w, const struct box *b)
{
    int64_t begun = clock_mono_ns();
    struct err e = {0};

    return is_due(w) && looked(w, begun, box_memory(b, &w->used_bytes, &e), &e);
}

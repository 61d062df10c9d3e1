/* SPDX-License-Identifier: Apache-2.0 */
/* box_cgmap_fuzz.c - /proc/self/mountinfo and /proc/self/cgroup, NUL between them
 *
 * What is found is a list of hierarchies, no two the same; a path of ours below one
 * begins with a slash or is empty and never climbs out.
 */
#include <stdint.h>

#include "base/mem.h"
#include "box/cgroup.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(const struct cg_map *m)
{
    must(m->n <= CG_TREES_MAX && cg_kind(m)[0]);
    for (size_t i = 0; i < m->n; i++) {
        const struct cg_tree *t = &m->trees[i];
        must(t->v2 ? !t->controllers : t->controllers != 0);
        must(strlen(t->mount) < CG_PATH && strlen(t->own) < CG_PATH);
        must(!t->own[0] || t->own[0] == '/');
        for (const char *c = t->own; (c = strstr(c, "/..")); c += 3)
            must(c[3] && c[3] != '/');
        for (size_t k = 0; k < i; k++)
            must(t->v2 != m->trees[k].v2 || t->controllers != m->trees[k].controllers);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_FREE char *text = xalloc(size + 2);
    struct cg_map m;
    size_t n;

    if (size)
        memcpy(text, data, size);
    n = strlen(text);
    cg_parse(text, n < size ? text + n + 1 : text + size, &m);
    check(&m);
    return 0;
}

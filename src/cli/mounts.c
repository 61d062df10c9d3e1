/* SPDX-License-Identifier: Apache-2.0 */
/* mounts.c - what -v, --volume and --mount say
 *
 *   SRC:DST[:rw|:ro]                                   docker's -v
 *   type=bind,source=SRC,target=DST[,rw|,readonly]     docker's --mount
 *
 * One difference: nothing is writable unless it says so. What we cannot honour
 * (volumes, SELinux labels, propagation) is refused by name, since a task that runs
 * without it is another task.
 */
#include <errno.h>
#include <stdlib.h>

#include "box/box.h"
#include "cli/cli.h"

static int unknown(const char *flag, const char *word, struct err *e)
{
    return err_set(e, ERR_INPUT, "-v %.200s: \"%.40s\" is not known (rw and ro are)",
                   flag, word);
}

/* one word of type=bind,... */
static int take_word(const char *flag, char *word, struct run_mount *m, struct err *e)
{
    char *v = strchr(word, '=');

    if (v)
        *v++ = 0;
    if (v && strcmp(word, "type") == 0) {
        if (strcmp(v, "bind") != 0)
            return err_set(e, ERR_INPUT, "-v %.200s: only type=bind is known", flag);
    } else if (v && (strcmp(word, "source") == 0 || strcmp(word, "src") == 0)) {
        m->src = v;
    } else if (v && (strcmp(word, "target") == 0 || strcmp(word, "dst") == 0 ||
                     strcmp(word, "destination") == 0)) {
        m->dst = v;
    } else if (strcmp(word, "readonly") == 0 || strcmp(word, "ro") == 0) {
        m->rw = v && (strcmp(v, "false") == 0 || strcmp(v, "0") == 0);
    } else if (!v && strcmp(word, "rw") == 0) {
        m->rw = true;
    } else {
        return unknown(flag, word, e);
    }
    return 0;
}

static int split_words(const char *flag, char *copy, struct run_mount *m, struct err *e)
{
    char *save = NULL;

    for (char *w = strtok_r(copy, ",", &save); w; w = strtok_r(NULL, ",", &save))
        if (take_word(flag, w, m, e) < 0)
            return -1;
    return 0;
}

static int split_colons(const char *flag, char *copy, struct run_mount *m,
                        struct err *e)
{
    char *dst = strchr(copy, ':'), *opts, *save = NULL;

    m->src = copy;
    if (!dst)
        return 0; /* the caller says what is missing */
    *dst++ = 0;
    m->dst = dst;
    opts = strchr(dst, ':');
    if (!opts)
        return 0;
    *opts++ = 0;
    for (char *w = strtok_r(opts, ",", &save); w; w = strtok_r(NULL, ",", &save)) {
        m->rw = strcmp(w, "rw") == 0;
        if (!m->rw && strcmp(w, "ro") != 0)
            return unknown(flag, w, e);
    }
    return 0;
}

int cli_mount(struct cli *c, const char *flag, struct run_mount *m,
                       struct err *e)
{
    char *copy = arena_strdup(&c->a, flag), *real;

    *m = (struct run_mount){0};
    if (strncmp(flag, "type=", 5) == 0 ? split_words(flag, copy, m, e) < 0
                                       : split_colons(flag, copy, m, e) < 0)
        return -1;
    if (!m->src || !m->src[0] || !m->dst || m->dst[0] != '/')
        return err_set(e, ERR_INPUT,
                       "-v %.200s: want SRC:DST[:rw] with an absolute DST", flag);
    if (box_mount_target_ok(m->dst, e) < 0)
        return err_at(e, "-v %.200s", flag);
    real = realpath(m->src, NULL);
    if (!real)
        return err_set(e, ERR_MISSING, "-v %.200s: %s", m->src, strerror(errno));
    m->src = arena_strdup(&c->a, real);
    free(real);
    return 0;
}

int cli_mounts(struct cli *c, const struct run_mount **out, size_t *n_out,
               struct err *e)
{
    size_t n;
    const char **flags = opt_list(c, "volume", &n);
    struct run_mount *m = arena_alloc(&c->a, (n + 1) * sizeof *m);

    for (size_t i = 0; i < n; i++)
        if (cli_mount(c, flags[i], &m[i], e) < 0)
            return -1;
    *out = m;
    *n_out = n;
    return 0;
}

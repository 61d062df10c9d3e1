/* SPDX-License-Identifier: Apache-2.0 */
/* origin.c - from an image or a component to what it made
 *
 * A cache hit makes nothing: only artifacts whose own producer ran the image or the
 * code count.
 */
#include "lineage/origin.h"

#include "lineage/rows.h"

#define PREFIX_MIN 6

/* the hex digits of "sha256:PREFIX" or PREFIX as a range; false when they are too few
 */
static bool digest_range(struct str what, uint8_t low[32], uint8_t high[32])
{
    if (str_starts(what, "sha256:"))
        what = (struct str){what.ptr + 7, what.len - 7};
    return what.len >= PREFIX_MIN && hex_range(what, low, high);
}

int db_image_known(struct db *d, struct str what, char hex[DIGEST_HEX], struct err *e)
{
    static const char sql[] =
        "SELECT config FROM image WHERE config BETWEEN ?1 AND ?2"
        " UNION SELECT config FROM image WHERE manifest = ?1 AND ?1 = ?2 LIMIT 2";
    uint8_t low[32], high[32];
    AUTO_Q struct q q = {0};
    char found[DIGEST_HEX];
    int more;

    if (!digest_range(what, low, high))
        return err_set(e, ERR_MISSING, "no image %.*s", STR_ARG(what));
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_bytes32(&q, low);
    q_bytes32(&q, high);
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    if (!more)
        return err_set(e, ERR_MISSING, "no image %.*s was ever loaded or run",
                       STR_ARG(what));
    q_get_hex(&q, found);
    if (q_step(&q, e) > 0)
        return err_set(e, ERR_INPUT, "%.*s fits several images: give more digits",
                       STR_ARG(what));
    memcpy(hex, found, DIGEST_HEX);
    return 0;
}

static int ids_read(struct arena *a, struct q *q, int64_t **ids, size_t *n,
                    struct err *e)
{
    int64_t *found = NULL;
    size_t count = 0;
    int more;

    while ((more = q_step(q, e)) > 0) {
        found = arena_grow(a, found, &count, sizeof(*found));
        found[count - 1] = q_get_i64(q);
    }
    if (more < 0)
        return -1;
    *ids = found;
    *n = count;
    return 0;
}

/* what a set of tasks t made: the cached ones gave out what others made */
#define MADE_BY                                                                        \
    "SELECT a.id FROM task t CROSS JOIN event e CROSS JOIN artifact a"                 \
    " WHERE e.task = t.id AND e.io = 2 AND a.id = e.artifact AND a.task = t.id AND "

int db_made_by_image_in(struct arena *a, struct db *d, struct str config_hex,
                        int64_t **ids, size_t *n, struct err *e)
{
    static const char sql[] =
        MADE_BY "t.image = (SELECT id FROM image WHERE config = ?) ORDER BY a.id";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, config_hex);
    return ids_read(a, &q, ids, n, e);
}

static int code_of_task(struct arena *a, struct db *d, struct str what,
                        struct str *digest, struct err *e)
{
    struct db_task t;
    int64_t run, task;

    if (db_task_find(d, what, &run, &task, e) < 0)
        return -1;
    if (!task)
        return err_set(e, ERR_INPUT, "%.*s is a run: want RUN/TASK", STR_ARG(what));
    if (db_task_get_in(a, d, task, &t, e) < 0)
        return -1;
    if (!t.code_hex[0])
        return err_set(e, ERR_MISSING, "%.*s: what it ran was not recorded",
                       STR_ARG(what));
    *digest = arena_str(a, str_of(t.code_hex));
    return 0;
}

static int components_suggest(struct db *d, struct str what, struct err *e)
{
    static const char sql[] = "SELECT component FROM code GROUP BY component"
                              " ORDER BY max(id) DESC LIMIT 12";
    AUTO_BUF struct buf all = {0};
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        buf_adds(&all, all.len ? ", " : "; there are: ");
        buf_addstr(&all, q_get_str(&q));
    }
    if (more < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no task ran a component %.*s%.300s", STR_ARG(what),
                   buf_str(&all));
}

int db_made_by_component_in(struct arena *a, struct db *d, struct str what,
                            int64_t **ids, size_t *n, struct err *e)
{
    static const char by_digest[] =
        MADE_BY "t.code IN (SELECT id FROM code WHERE digest BETWEEN ? AND ?)"
                " ORDER BY a.id";
    static const char by_name[] =
        MADE_BY "t.code IN (SELECT id FROM code WHERE component = ?1"
                " OR component = 'comp-' || ?1) ORDER BY a.id";
    uint8_t low[32], high[32];
    AUTO_Q struct q q = {0};
    bool digest;

    if (memchr(what.ptr, '/', what.len) && code_of_task(a, d, what, &what, e) < 0)
        return -1;
    digest = (str_starts(what, "sha256:") || is_hex64_str(what)) &&
             digest_range(what, low, high);
    if (q_open(&q, d, digest ? by_digest : by_name, e) < 0)
        return -1;
    if (digest) {
        q_bytes32(&q, low);
        q_bytes32(&q, high);
    } else {
        q_text(&q, what);
    }
    if (ids_read(a, &q, ids, n, e) < 0)
        return -1;
    return *n ? 0 : components_suggest(d, what, e);
}

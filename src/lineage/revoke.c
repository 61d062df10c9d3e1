/* SPDX-License-Identifier: Apache-2.0 */
/* revoke.c - marks, and who is flagged by them
 *
 * Flags are found by walking up from the artifacts that are looked at, never down from
 * the marks: what is shown is little, what a bad image touched can be the whole
 * database.
 */
#include "lineage/revoke.h"

#include <stdlib.h>

#include "base/clock.h"
#include "lineage/reach.h"
#include "lineage/rows.h"

/* ---- writing ------------------------------------------------------------------------
 */

static int image_id(struct db *d, struct str config_hex, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM image WHERE config = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, config_hex);
    if (q_one(&q, id, e) < 0)
        return -1;
    return *id ? 0
               : err_set(e, ERR_MISSING, "no image sha256:%.12s is known",
                         config_hex.ptr);
}

static int mark_find(struct db *d, int64_t artifact, int64_t image, int64_t *id,
                     struct err *e)
{
    static const char sql[] = "SELECT id FROM revocation WHERE artifact IS ?"
                              " AND image IS ? AND lifted_ms IS NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_id(&q, artifact);
    q_id(&q, image);
    return q_one(&q, id, e);
}

static int mark_put(struct db *d, int64_t artifact, int64_t image,
                    const struct db_by *by, struct err *e)
{
    static const char sql[] =
        "INSERT INTO revocation (artifact, image, reason, set_ms, set_by)"
        " VALUES (?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};
    int64_t have;

    must(d->in_txn);
    if (mark_find(d, artifact, image, &have, e) < 0)
        return -1;
    if (have)
        return err_set(e, ERR_INPUT, "it is revoked already (--undo lifts that)");
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_id(&q, artifact);
    q_id(&q, image);
    q_str(&q, by->reason);
    q_i64(&q, by->now_unix_ms);
    q_str(&q, by->user);
    return q_run(&q, e);
}

static int mark_lift(struct db *d, int64_t artifact, int64_t image,
                     const struct db_by *by, struct err *e)
{
    static const char sql[] =
        "UPDATE revocation SET lifted_ms = ?, lifted_by = ? WHERE id = ?";
    AUTO_Q struct q q = {0};
    int64_t have;

    must(d->in_txn);
    if (mark_find(d, artifact, image, &have, e) < 0)
        return -1;
    if (!have)
        return err_set(e, ERR_MISSING, "it is not revoked itself");
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, by->now_unix_ms);
    q_str(&q, by->user);
    q_i64(&q, have);
    return q_run(&q, e);
}

int db_revoke_artifact(struct db *d, int64_t artifact, const struct db_by *by,
                       struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct db_artifact x;

    if (db_artifact_get_in(&a, d, artifact, &x, e) < 0)
        return -1;
    if (mark_put(d, artifact, 0, by, e) < 0)
        return err_at(e, "a%lld", (long long)artifact);
    return 0;
}

int db_revoke_image(struct db *d, struct str config_hex, const struct db_by *by,
                    struct err *e)
{
    int64_t id;

    if (image_id(d, config_hex, &id, e) < 0)
        return -1;
    if (mark_put(d, 0, id, by, e) < 0)
        return err_at(e, "image %.12s", config_hex.ptr);
    return 0;
}

int db_unrevoke_artifact(struct db *d, int64_t artifact, const struct db_by *by,
                         struct err *e)
{
    if (mark_lift(d, artifact, 0, by, e) < 0)
        return err_at(e, "a%lld", (long long)artifact);
    return 0;
}

int db_unrevoke_image(struct db *d, struct str config_hex, const struct db_by *by,
                      struct err *e)
{
    int64_t id;

    if (image_id(d, config_hex, &id, e) < 0)
        return -1;
    if (mark_lift(d, 0, id, by, e) < 0)
        return err_at(e, "image %.12s", config_hex.ptr);
    return 0;
}

/* ---- looking ------------------------------------------------------------------------
 */

struct marks {
    struct arena a;
    struct db_mark *items;
    size_t n;
    struct reach up;
};

static int marks_read(struct marks *m, struct db *d, struct err *e)
{
    static const char sql[] =
        "SELECT v.id, v.artifact, a.name, a.digest, i.config, v.reason, v.set_by,"
        " v.set_ms FROM revocation v LEFT JOIN artifact a ON a.id = v.artifact"
        " LEFT JOIN image i ON i.id = v.image WHERE v.lifted_ms IS NULL ORDER BY v.id";
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct db_mark *k;
        struct str name;
        m->items = arena_grow(&m->a, m->items, &m->n, sizeof(*m->items));
        k = &m->items[m->n - 1];
        k->id = q_get_i64(&q);
        k->artifact = q_get_i64(&q);
        name = q_get_str_in(&m->a, &q);
        q_get_hex(&q, k->digest_hex);
        q_get_hex(&q, k->image_hex);
        k->reason = q_get_str_in(&m->a, &q);
        k->set_by = q_get_str_in(&m->a, &q);
        k->set_unix_ms = q_get_i64(&q);
        k->what = str_of(k->artifact
                             ? arena_printf(&m->a, "a%lld %.*s", (long long)k->artifact,
                                            STR_ARG(name))
                             : arena_printf(&m->a, "image sha256:%.12s", k->image_hex));
    }
    return more;
}

/* 1 + the index of the mark that is on the node itself */
static int marked(void *ctx, bool is_task, int64_t id, struct err *e)
{
    static const char of_artifact[] = "SELECT digest FROM artifact WHERE id = ?";
    static const char of_task[] =
        "SELECT i.config FROM task t"
        " CROSS JOIN image i ON i.id = t.image WHERE t.id = ?";
    struct marks *m = ctx;
    AUTO_Q struct q q = {0};
    char hex[DIGEST_HEX] = "";
    int more;

    if (q_open(&q, m->up.d, is_task ? of_task : of_artifact, e) < 0)
        return -1;
    q_i64(&q, id);
    more = q_step(&q, e);
    if (more < 0)
        return -1;
    if (more)
        q_get_hex(&q, hex);
    for (size_t i = 0; i < m->n; i++) {
        const char *want = is_task ? m->items[i].image_hex : m->items[i].digest_hex;
        if ((!is_task && m->items[i].artifact == id) ||
            (want[0] && strcmp(want, hex) == 0))
            return (int)i + 1;
    }
    return 0;
}

int marks_open(struct db *d, struct marks **gives, struct err *e)
{
    struct marks *m = xalloc(sizeof(*m));

    m->up = (struct reach){.d = d, .way = DB_UP, .fits = marked, .ctx = m};
    if (marks_read(m, d, e) < 0) {
        marks_done(m);
        return -1;
    }
    *gives = m;
    return 0;
}

void marks_done(struct marks *m)
{
    if (!m)
        return;
    reach_done(&m->up);
    arena_done(&m->a);
    free(m);
}

void auto_marks(struct marks **m)
{
    marks_done(*m);
    *m = NULL;
}

bool marks_any(const struct marks *m)
{
    return m->n > 0;
}

int marks_look(struct marks *m, int64_t artifact, const struct db_mark **why,
               struct err *e)
{
    int found = 0;

    *why = NULL;
    if (!m->n)
        return 0;
    found = marked(m, false, artifact, e);
    if (found < 0 || (!found && reach_find(&m->up, artifact, &found, e) < 0))
        return -1;
    if (found)
        *why = &m->items[found - 1];
    return 0;
}

void marks_json(const struct db_mark *why, struct jw *w)
{
    char when[25];

    jw_key(w, "revoked");
    if (!why) {
        jw_null(w);
        return;
    }
    clock_rfc3339(why->set_unix_ms, when);
    jw_obj(w);
    jw_key(w, "what");
    jw_str(w, why->what);
    jw_key(w, "artifact");
    why->artifact ? jw_i64(w, why->artifact) : jw_null(w);
    jw_key(w, "image");
    db_jw_digest(w, why->image_hex);
    jw_key(w, "reason");
    why->reason.len ? jw_str(w, why->reason) : jw_null(w);
    jw_key(w, "by");
    why->set_by.len ? jw_str(w, why->set_by) : jw_null(w);
    jw_kstr(w, "set", when);
    jw_end_obj(w);
}

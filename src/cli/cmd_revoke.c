/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_revoke.c - artifact revoke, image revoke: this was bad, and so is all that came
 * of it */
#include "base/clock.h"
#include "base/log.h"
#include "cli/cli.h"
#include "lineage/closure.h"
#include "lineage/origin.h"
#include "lineage/revoke.h"
#include "lineage/tags.h"

#define NAMED 8 /* tags named in the answer */

int cli_reach(struct cli *c, const int64_t *starts, size_t n, struct reach *out,
              struct err *e)
{
    struct lineage_opts down = {.directions = DB_DOWN};
    struct reach r = {.artifacts = 0};
    AUTO_BUF struct buf tags = {0};
    struct lineage l;
    size_t tagged = 0;

    if (db_lineage_in(&c->a, c->db, starts, n, &down, &l, e) < 0)
        return -1;
    for (size_t i = 0; i < l.n_nodes; i++) {
        const struct lineage_node *x = &l.nodes[i];
        if (x->is_task)
            continue;
        r.artifacts++;
        r.models += str_eqz(x->artifact->type, "system.Model");
        if (!x->tags.len)
            continue;
        if (tagged++ < NAMED)
            buf_addf(&tags, "%s%.*s (a%lld)", tagged > 1 ? ", " : "", STR_ARG(x->tags),
                     (long long)x->id);
    }
    if (tagged > NAMED)
        buf_adds(&tags, ", ...");
    r.tags = arena_strdup(&c->a, buf_str(&tags));
    *out = r;
    return 0;
}

/* what a mark touches now, for the person who set it */
static int say_reach(struct cli *c, const int64_t *starts, size_t n, const char *what,
                     struct err *e)
{
    struct reach r;

    if (cli_reach(c, starts, n, &r, e) < 0)
        return -1;
    log_note("%s is revoked: %zu artifact%s flagged, %zu of them model%s%s%s", what,
             r.artifacts, r.artifacts == 1 ? " is" : "s are", r.models,
             r.models == 1 ? "" : "s", r.tags[0] ? "; tagged: " : "", r.tags);
    return 0;
}

static struct db_by by_whom(const struct cli *c, char user[64])
{
    const char *reason = opt_text(c, "message");

    cli_user(user);
    return (struct db_by){.user = str_of(user),
                          .reason = str_of(reason ? reason : ""),
                          .now_unix_ms = clock_unix_ms()};
}

static int need_reason(const struct cli *c, struct err *e)
{
    const char *reason = opt_text(c, "message");

    if (opt_flag(c, "undo") || (reason && reason[0]))
        return 0;
    return err_set(e, ERR_INPUT,
                   "say why with -m REASON: those who find the flag will ask");
}

static int revoke_artifact(struct cli *c, struct err *e)
{
    char user[64], what[32];
    struct db_by by = by_whom(c, user);
    bool undo = opt_flag(c, "undo");
    int64_t id;

    if (cli_find_artifact(c, c->args[0], &id, e) < 0 ||
        db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if ((undo ? db_unrevoke_artifact(c->db, id, &by, e)
              : db_revoke_artifact(c->db, id, &by, e)) < 0) {
        db_rollback(c->db);
        return -1;
    }
    if (db_commit(c->db, e) < 0)
        return -1;
    snprintf(what, sizeof what, "a%lld", (long long)id);
    if (!undo)
        return say_reach(c, &id, 1, what, e);
    log_note("%s is not revoked any more", what);
    return 0;
}

int cmd_artifact_revoke(struct cli *c)
{
    struct err e = {0};

    if (need_reason(c, &e) < 0 || cli_open(c, DB_WRITE, &e) < 0 ||
        revoke_artifact(c, &e) < 0)
        return cli_fail(&e);
    return 0;
}

static int revoke_image(struct cli *c, struct err *e)
{
    char user[64], hex[DIGEST_HEX];
    struct db_by by = by_whom(c, user);
    bool undo = opt_flag(c, "undo");
    int64_t *made;
    size_t n;

    if (cli_known_image(c, c->args[0], hex, e) < 0 ||
        db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if ((undo ? db_unrevoke_image(c->db, str_of(hex), &by, e)
              : db_revoke_image(c->db, str_of(hex), &by, e)) < 0) {
        db_rollback(c->db);
        return -1;
    }
    if (db_commit(c->db, e) < 0)
        return -1;
    if (undo) {
        log_note("image sha256:%.12s is not revoked any more", hex);
        return 0;
    }
    if (db_made_by_image_in(&c->a, c->db, str_of(hex), &made, &n, e) < 0)
        return -1;
    return say_reach(c, made, n, arena_printf(&c->a, "image sha256:%.12s", hex), e);
}

int cmd_image_revoke(struct cli *c)
{
    struct err e = {0};

    if (need_reason(c, &e) < 0 || cli_open(c, DB_WRITE, &e) < 0 ||
        revoke_image(c, &e) < 0)
        return cli_fail(&e);
    return 0;
}

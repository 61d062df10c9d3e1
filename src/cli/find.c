/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - the artifact that somebody means: an id, a digest, an output, a tag, or a path
 *
 * A path is looked up by what is in it: the answer never depends on a name. Of several
 * artifacts with those bytes the oldest is meant, the one that others are copies of. What is
 * no artifact of its own may lie in a directory that is one, as the weights of a model do
 * that is saved as a directory: who only wants to know is told of that directory. Who tags,
 * removes or revokes means exactly what he names.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "lineage/query.h"
#include "store/gc.h"
#include "store/hash.h"
#include "store/tree.h"

/* a search for content in the trees of directory artifacts */
struct part {
    struct cli *c;
    const char *hex;
    bool dir;
    const char *inner; /* where it lies, once it was found */
};

static int visit(void *ctx, const struct tree_entry *t, struct err *e)
{
    struct part *x = ctx;

    if (t->type == TREE_LINK || (t->type == TREE_DIR) != x->dir || !t->size_bytes ||
        strcmp(t->hex, x->hex) != 0)
        return 0; /* what is empty is everywhere and says nothing */
    x->inner = arena_strndup(&x->c->a, t->path.ptr, t->path.len);
    return err_set(e, ERR_NONE, "found");
}

/* *out stays 0 when it lies nowhere; directories whose content is gone tell nothing */
static int find_part(struct part *x, const char *path, int64_t *out, struct err *e)
{
    struct db_artifact_filter dirs = {.where = STR("kind = dir")};
    AUTO_DIGEST_SET struct digest_set seen = {.n = 0};
    struct db_artifact *rows;
    size_t n;

    if (db_artifacts_in(&x->c->a, x->c->db, &dirs, &rows, &n, e) < 0)
        return -1;
    while (n-- > 0 && !x->inner) { /* they come newest first */
        struct err ignored;
        if (!digest_set_add(&seen, rows[n].digest_hex))
            continue;
        (void)tree_walk(x->c->store, rows[n].digest_hex, visit, x, &ignored);
        if (!x->inner)
            continue;
        *out = rows[n].id;
        log_note("%s is %s in the directory a%lld %.*s", path, x->inner, (long long)*out,
                 STR_ARG(rows[n].name));
    }
    return 0;
}

static int find_by_content(struct cli *c, const char *path, bool parts, int64_t *out,
                           struct err *e)
{
    char hex[DIGEST_HEX];
    struct part part = {.c = c, .hex = hex};

    if (hash_path(AT_FDCWD, path, hex, &part.dir, e) < 0 ||
        db_artifact_by_digest(c->db, str_of(hex), out, e) < 0 ||
        (!*out && parts && find_part(&part, path, out, e) < 0))
        return -1;
    if (!*out)
        return err_set(e, ERR_MISSING, "%s (sha256:%.12s) is no recorded artifact: %s", path,
                       hex,
                       parts ? "no run made or read these bytes, and no directory in the store "
                               "has them"
                             : "no run made or read these bytes as an artifact of their own "
                               "(dugout lineage PATH looks into directories, too)");
    return 0;
}

static int find(struct cli *c, const char *what, bool parts, int64_t *out, struct err *e)
{
    *out = 0;
    if (what[0] == '/' || what[0] == '.')
        return access(what, F_OK) < 0
                   ? err_set(e, ERR_MISSING, "%s: %s", what, strerror(errno))
                   : find_by_content(c, what, parts, out, e);
    if (db_artifact_find(c->db, str_of(what), out, e) == 0)
        return 0;
    if ((e->code == ERR_MISSING || e->code == ERR_INPUT) && access(what, F_OK) == 0)
        return find_by_content(c, what, parts, out, e);
    return -1;
}

int cli_find_artifact(struct cli *c, const char *what, int64_t *out, struct err *e)
{
    return find(c, what, false, out, e);
}

int cli_find_holder(struct cli *c, const char *what, int64_t *out, struct err *e)
{
    return find(c, what, true, out, e);
}

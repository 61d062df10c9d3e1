/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_oci.c - artifacts out and in as OCI artifacts, for registries and other tools
 *
 * PATH.tar is an archive and "-" a stream of one; any other path is a directory. What
 * comes in is an imported artifact, whoever made it: its lineage stayed where it was
 * made.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/limits.h"
#include "cli/cli.h"
#include "image/artifact.h"
#include "lineage/closure.h"
#include "lineage/export.h"
#include "lineage/record.h"

#define PROVENANCE_MAX (64 * MIB)

static bool wants_tar(const char *path)
{
    return strcmp(path, "-") == 0 || str_ends(str_of(path), ".tar");
}

static int add_line(void *ctx, struct str line, struct err *e)
{
    struct buf *b = ctx;

    buf_addstr(b, line);
    return b->overflow ? err_set(e, ERR_LIMIT, "the events of its runs are over %d MiB",
                                 (int)(PROVENANCE_MAX / MIB))
                       : 0;
}

/* the events of every run upstream, each once, oldest first */
static int gather_events(struct cli *c, int64_t artifact, struct buf *out,
                         struct err *e)
{
    struct lineage_opts o = {.directions = DB_UP};
    struct lineage l;
    int64_t last = 0, next;

    if (db_lineage_in(&c->a, c->db, &artifact, 1, &o, &l, e) < 0)
        return -1;
    for (;;) {
        next = INT64_MAX;
        for (size_t i = 0; i < l.n_nodes; i++)
            if (l.nodes[i].is_task && l.nodes[i].task->run > last &&
                l.nodes[i].task->run < next)
                next = l.nodes[i].task->run;
        if (next == INT64_MAX)
            return 0;
        last = next;
        if (db_export_openlineage(c->db, last, add_line, out, e) < 0)
            return -1;
    }
}

static int export_oci(struct cli *c, char hex[DIGEST_HEX], struct err *e)
{
    AUTO_BUF struct buf events = {0};
    struct oci_export to = {.path = c->args[1], .tar = wants_tar(c->args[1])};
    const char *ref = opt_text(c, "ref");
    struct db_artifact f;
    int64_t id;

    buf_init(&events, PROVENANCE_MAX);
    if (cli_open(c, DB_READ, e) < 0 || cli_find_artifact(c, c->args[0], &id, e) < 0 ||
        db_artifact_get_in(&c->a, c->db, id, &f, e) < 0)
        return -1;
    if (opt_flag(c, "provenance") && gather_events(c, id, &events, e) < 0)
        return -1;
    if (!ref)
        ref = c->args[0][0] == '.' || strchr(c->args[0], '/')
                  ? arena_printf(&c->a, "a%lld", (long long)id)
                  : c->args[0];
    to.ref = str_of(ref);
    to.provenance = (struct str){buf_str(&events), events.len};
    return oci_artifact_export(
        c->store,
        &(struct oci_artifact){.type = f.type,
                               .name = f.name,
                               .kind = f.kind,
                               .digest_hex = str_of(f.digest_hex),
                               .metadata_json = f.metadata_json,
                               .size_bytes = (uint64_t)f.size_bytes,
                               .n_files = (uint64_t)f.n_files},
        &to, hex, e);
}

int cmd_artifact_export_oci(struct cli *c)
{
    char hex[DIGEST_HEX];
    struct err e = {0};

    if (export_oci(c, hex, &e) < 0)
        return cli_fail(&e);
    if (strcmp(c->args[1], "-") != 0)
        (void)printf("sha256:%s\n", hex);
    return 0;
}

static int record(struct cli *c, const struct oci_artifact *f, int64_t *id,
                  struct err *e)
{
    struct db_artifact_new row = {.type = f->type,
                                  .name = f->name,
                                  .kind = f->kind,
                                  .digest_hex = f->digest_hex,
                                  .size_bytes = (int64_t)f->size_bytes,
                                  .n_files = (int64_t)f->n_files,
                                  .metadata_json = f->metadata_json,
                                  .imported = true,
                                  .created_unix_ms = clock_unix_ms()};
    char *real = realpath(c->args[0], NULL);

    row.source = arena_str(&c->a, str_of(real ? real : c->args[0]));
    free(real);
    if (db_begin(c->db, DB_DURABLE, e) < 0)
        return -1;
    if (db_artifact_intern(c->db, &row, id, e) < 0) {
        db_rollback(c->db);
        return -1;
    }
    return db_commit(c->db, e);
}

int cmd_artifact_import_oci(struct cli *c)
{
    const char *ref = opt_text(c, "ref"), *type = opt_text(c, "type"),
               *name = opt_text(c, "name");
    struct oci_artifact f;
    struct err e = {0};
    int64_t id;

    if (cli_open_to_store(c, &e) < 0 ||
        oci_artifact_import(&c->a, c->store, c->args[0], str_of(ref ? ref : ""), &f,
                            &e) < 0)
        return cli_fail(&e);
    if (type)
        f.type =
            str_of(strchr(type, '.') ? type : arena_printf(&c->a, "system.%s", type));
    if (name)
        f.name = str_of(name);
    if (record(c, &f, &id, &e) < 0)
        return cli_fail(&e);
    if (c->json)
        (void)printf("{\"id\":%lld,\"digest\":%s%s%s}\n", (long long)id,
                     f.digest_hex.len ? "\"sha256:" : "null",
                     f.digest_hex.len ? f.digest_hex.ptr : "",
                     f.digest_hex.len ? "\"" : "");
    else
        (void)printf("a%lld\n", (long long)id);
    return 0;
}

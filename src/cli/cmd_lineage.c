/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_lineage.c - what an artifact came from, what came from it */
#include "cli/cli.h"
#include "lineage/closure.h"

int cmd_lineage(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct lineage_opts o = {0};
    const char *type = opt_text(c, "type");
    struct lineage l;
    struct err e = {0};
    uint64_t depth = 0;
    int64_t start;
    struct jw w;

    if (opt_u64(c, "depth", &depth, &e) < 0 || cli_open(c, DB_READ, &e) < 0 ||
        cli_find_artifact(c, c->args[0], &start, &e) < 0)
        return cli_fail(&e);
    o.directions = (opt_flag(c, "down") ? DB_DOWN : 0) | (opt_flag(c, "up") ? DB_UP : 0);
    if (!o.directions)
        o.directions = DB_UP;
    o.depth = (int64_t)depth;
    if (type)
        o.type = str_of(type);
    if (db_lineage_in(&c->a, c->db, &start, 1, &o, &l, &e) < 0)
        return cli_fail(&e);
    buf_init(&out, 0);
    if (c->json) {
        jw_init(&w, &out);
        lineage_json(&l, &w);
        cli_out_json(&out);
        return 0;
    }
    if (opt_flag(c, "dot"))
        lineage_dot(&l, &out);
    else
        lineage_tree(&l, &out);
    (void)fwrite(buf_str(&out), 1, out.len, stdout);
    return 0;
}

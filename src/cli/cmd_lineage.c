/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_lineage.c - what an artifact came from, what came from it */
#include "cli/cli.h"
#include "lineage/closure.h"
#include "lineage/origin.h"

/* where the walk begins: an artifact, or all that an image or a component has made */
static int find_starts(struct cli *c, int64_t **starts, size_t *n, struct err *e)
{
    const char *image = opt_text(c, "image"), *component = opt_text(c, "component");
    char hex[DIGEST_HEX];

    if (!c->n_args == !(image || component) || (image && component))
        return err_set(e, ERR_INPUT,
                       "want one of ARTIFACT, --image IMAGE, --component NAME");
    if (image)
        return cli_known_image(c, image, hex, e) < 0
                   ? -1
                   : db_made_by_image_in(&c->a, c->db, str_of(hex), starts, n, e);
    if (component)
        return db_made_by_component_in(&c->a, c->db, str_of(component), starts, n, e);
    *n = 1;
    *starts = arena_alloc(&c->a, sizeof **starts);
    return cli_find_holder(c, c->args[0], *starts, e);
}

static int read_lineage_opts(struct cli *c, struct lineage_opts *o, struct err *e)
{
    const char *type = opt_text(c, "type");
    uint64_t depth = 0;

    if (opt_u64(c, "depth", &depth, e) < 0)
        return -1;
    *o = (struct lineage_opts){.depth = (int64_t)depth,
                               .twins = true,
                               .filter_starts = !c->n_args,
                               .directions = (opt_flag(c, "down") ? DB_DOWN : 0) |
                                             (opt_flag(c, "up") ? DB_UP : 0)};
    if (!o->directions)
        o->directions = c->n_args ? DB_UP : DB_DOWN;
    if (type)
        o->type = str_of(type);
    return 0;
}

int cmd_lineage(struct cli *c)
{
    AUTO_MARKS struct marks *marks = NULL;
    AUTO_BUF struct buf out = {0};
    struct lineage_opts o;
    struct lineage l;
    struct err e = {0};
    int64_t *starts;
    size_t n;
    struct jw w;

    if (read_lineage_opts(c, &o, &e) < 0 || cli_open(c, DB_READ, &e) < 0 ||
        find_starts(c, &starts, &n, &e) < 0 ||
        db_lineage_in(&c->a, c->db, starts, n, &o, &l, &e) < 0 ||
        marks_open(c->db, &marks, &e) < 0 || lineage_flag(&l, marks, &e) < 0)
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
    else if (!c->n_args)
        lineage_list(&l, &out);
    else
        lineage_tree(&l, &out);
    (void)fwrite(buf_str(&out), 1, out.len, stdout);
    return 0;
}

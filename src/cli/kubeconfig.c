/* SPDX-License-Identifier: Apache-2.0 */
/* kubeconfig.c - config keys that say where Kubernetes objects and remote files lie
 * here
 *
 *     secrets: DIR   configmaps: DIR
 *     volumes: {NAME: DIR, OTHER: {path: DIR, stable: true}}
 *     imports: {"gs://bucket/": DIR}
 *
 * Lists of several files are joined; what a later file says is found first.
 */
#include "cli/cli.h"
#include "spec/tree.h"

static int bad(struct str file, const struct node *n, struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, "%.*s:%u:%u: %s", STR_ARG(file), n->pos.line,
                   n->pos.col, what);
}

static int want_dir(struct cli *c, struct str file, const struct node *n,
                    const char **out, struct err *e)
{
    if (n->kind != NODE_SCALAR || !n->text.len || n->text.ptr[0] != '/')
        return bad(file, n, e, "want the absolute path of a directory here");
    *out = arena_strndup(&c->a, n->text.ptr, n->text.len);
    return 0;
}

static int read_volume(struct cli *c, struct str file, const struct member *m,
                       struct run_volume *v, struct err *e)
{
    const struct node *path = m->value, *stable = NULL;

    *v = (struct run_volume){.name = arena_strndup(&c->a, m->key.ptr, m->key.len)};
    if (m->value->kind == NODE_MAP) {
        path = node_member(m->value, "path");
        stable = node_member(m->value, "stable");
        if (!path || m->value->n != (stable ? 2U : 1U))
            return bad(file, m->value, e,
                       "a volume is NAME: DIR or NAME: {path: DIR, stable: true}");
    }
    if (stable && node_type(stable) != VALUE_BOOL)
        return bad(file, stable, e, "stable is true or false");
    v->stable = stable && node_bool(stable);
    return want_dir(c, file, path, &v->path, e);
}

static int set_volumes(struct cli *c, struct str file, const struct node *n,
                       struct err *e)
{
    struct run_opts *o = &c->cfg.run;
    struct run_volume *all =
        arena_alloc(&c->a, (o->n_volumes + n->n + 1) * sizeof *all);

    for (size_t i = 0; i < n->n; i++)
        if (read_volume(c, file, &n->members[i], &all[i], e) < 0)
            return -1;
    if (o->n_volumes)
        memcpy(all + n->n, o->volumes, o->n_volumes * sizeof *all);
    o->volumes = all;
    o->n_volumes += n->n;
    return 0;
}

static int set_imports(struct cli *c, struct str file, const struct node *n,
                       struct err *e)
{
    struct run_opts *o = &c->cfg.run;
    struct run_import *all =
        arena_alloc(&c->a, (o->n_imports + n->n + 1) * sizeof *all);

    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        all[i].prefix = arena_strndup(&c->a, m->key.ptr, m->key.len);
        if (!strstr(all[i].prefix, "://"))
            return bad(file, m->value, e, "a prefix has a scheme, as in gs://bucket/");
        if (want_dir(c, file, m->value, &all[i].path, e) < 0)
            return -1;
    }
    if (o->n_imports)
        memcpy(all + n->n, o->imports, o->n_imports * sizeof *all);
    o->imports = all;
    o->n_imports += n->n;
    return 0;
}

int cli_kube_config(struct cli *c, struct str file, const char *key,
                    const struct node *n, struct err *e)
{
    if (strcmp(key, "secrets") == 0)
        return want_dir(c, file, n, &c->cfg.run.secrets_dir, e);
    if (strcmp(key, "configmaps") == 0)
        return want_dir(c, file, n, &c->cfg.run.configmaps_dir, e);
    if (n->kind != NODE_MAP)
        return bad(file, n, e, "want lines of the form NAME: DIR here");
    return strcmp(key, "volumes") == 0 ? set_volumes(c, file, n, e)
                                       : set_imports(c, file, n, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cdi.c - reading files of the Container Device Interface
 *
 *     cdiVersion: 0.6.0
 *     kind: nvidia.com/gpu
 *     containerEdits: {env, deviceNodes, mounts, hooks}   for a box with any of them
 *     devices:
 *     - name: "0"
 *       containerEdits: {...}
 *
 * A file describes what a runtime is to do to a container. We read all of it, keep what
 * can be done, and refuse by name what cannot; keys of later versions leave a notice.
 */
#include "gpu/cdi.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "spec/tree.h"

struct parse {
    struct arena *a;
    const char *file;
    struct cdi_spec *out;
};

static int bad(const struct parse *p, const struct node *n, struct err *e,
               const char *what)
{
    return err_set(e, ERR_INPUT, "%s:%u:%u: %s", p->file, n->pos.line, n->pos.col,
                   what);
}

static int want_text(const struct parse *p, const struct node *n, const char **out,
                     struct err *e)
{
    if (n->kind != NODE_SCALAR || memchr(n->text.ptr, 0, n->text.len))
        return bad(p, n, e, "want one value here");
    *out = arena_strndup(p->a, n->text.ptr, n->text.len);
    return 0;
}

static int want_path(const struct parse *p, const struct node *n, const char **out,
                     struct err *e)
{
    if (want_text(p, n, out, e) < 0)
        return -1;
    if (**out != '/' || strlen(*out) > 4000 || strstr(*out, "/../") ||
        str_ends(str_of(*out), "/.."))
        return bad(p, n, e, "want an absolute path without \"..\"");
    return 0;
}

static int want_number(const struct parse *p, const struct node *n, unsigned *out,
                       struct err *e)
{
    double v;

    if (n->kind != NODE_SCALAR || node_type(n) != VALUE_NUMBER)
        return bad(p, n, e, "want a number here");
    v = node_number(n);
    if (!(v >= 0 && v <= 1048575) || v != (double)(unsigned)v)
        return bad(p, n, e, "this number is out of range");
    *out = (unsigned)v;
    return 0;
}

static int want_list(const struct parse *p, const struct node *n, struct err *e)
{
    return n->kind == NODE_LIST ? 0 : bad(p, n, e, "want a list here");
}

static int want_map(const struct parse *p, const struct node *n, struct err *e)
{
    return n->kind == NODE_MAP ? 0 : bad(p, n, e, "want keys and values here");
}

static void unknown_key(const struct parse *p, const struct member *m)
{
    struct cdi_spec *s = p->out;

    if (s->n_notices >= 20)
        return;
    s->notices = arena_grow(p->a, s->notices, &s->n_notices, sizeof *s->notices);
    s->notices[s->n_notices - 1] =
        arena_printf(p->a, "%s:%u: key %.60s is not known and was ignored", p->file,
                     m->key_pos.line, m->key.ptr);
}

/* ---- edits ---------------------------------------------------------------------- */

static int read_env(const struct parse *p, const struct node *n, struct cdi_edits *x,
                    struct err *e)
{
    if (want_list(p, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const char *kv, *eq;
        if (want_text(p, n->members[i].value, &kv, e) < 0)
            return -1;
        eq = strchr(kv, '=');
        if (!eq || eq == kv)
            return bad(p, n->members[i].value, e, "want NAME=VALUE");
        x->env = arena_grow(p->a, x->env, &x->n_env, sizeof *x->env);
        x->env[x->n_env - 1] = kv;
    }
    return 0;
}

static int read_node(const struct parse *p, const struct node *n, struct cdi_edits *x,
                     struct err *e)
{
    unsigned have = 0;
    struct cdi_node *d;

    if (want_map(p, n, e) < 0)
        return -1;
    x->nodes = arena_grow(p->a, x->nodes, &x->n_nodes, sizeof *x->nodes);
    d = &x->nodes[x->n_nodes - 1];
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        const char *text = "";
        int rc = 0;
        if (str_eqz(m->key, "path"))
            rc = want_path(p, m->value, &d->path, e);
        else if (str_eqz(m->key, "hostPath"))
            rc = want_path(p, m->value, &d->host_path, e);
        else if (str_eqz(m->key, "major"))
            rc = want_number(p, m->value, &d->major, e), have |= 1;
        else if (str_eqz(m->key, "minor"))
            rc = want_number(p, m->value, &d->minor, e), have |= 2;
        else if (str_eqz(m->key, "type"))
            rc = want_text(p, m->value, &text, e), d->type = text[0];
        /* whoever is in the box may read and write the node, and nobody may make one */
        else if (!str_eqz(m->key, "fileMode") && !str_eqz(m->key, "permissions") &&
                 !str_eqz(m->key, "uid") && !str_eqz(m->key, "gid"))
            unknown_key(p, m);
        if (rc < 0)
            return -1;
    }
    if (!d->path)
        return bad(p, n, e, "a device node without a path");
    d->numbered = have == 3 && (d->major || d->minor);
    if (!d->host_path)
        d->host_path = d->path;
    return 0;
}

static int read_options(const struct parse *p, const struct node *n,
                        struct cdi_mount *x, struct err *e)
{
    bool ro = false;

    if (want_list(p, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const char *text;
        if (want_text(p, n->members[i].value, &text, e) < 0)
            return -1;
        ro = ro || strcmp(text, "ro") == 0 || strcmp(text, "rro") == 0;
    }
    x->rw = !ro;
    return 0;
}

static int read_mount(const struct parse *p, const struct node *n, struct cdi_edits *x,
                      struct err *e)
{
    struct cdi_mount *b;

    if (want_map(p, n, e) < 0)
        return -1;
    x->mounts = arena_grow(p->a, x->mounts, &x->n_mounts, sizeof *x->mounts);
    b = &x->mounts[x->n_mounts - 1];
    b->rw = true;
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        const char *text = "";
        int rc = 0;
        if (str_eqz(m->key, "hostPath"))
            rc = want_path(p, m->value, &b->host_path, e);
        else if (str_eqz(m->key, "containerPath"))
            rc = want_path(p, m->value, &b->path, e);
        else if (str_eqz(m->key, "options"))
            rc = read_options(p, m->value, b, e);
        else if (str_eqz(m->key, "type"))
            rc = want_text(p, m->value, &text, e);
        else
            unknown_key(p, m);
        if (rc == 0 && *text && strcmp(text, "bind") != 0 && strcmp(text, "none") != 0)
            return bad(p, m->value, e, "mounts of that type are not done (bind is)");
        if (rc < 0)
            return -1;
    }
    return b->host_path && b->path
               ? 0
               : bad(p, n, e, "a mount wants hostPath and containerPath");
}

static int read_hook(const struct parse *p, const struct node *n, struct cdi_edits *x,
                     struct err *e)
{
    struct cdi_hook *h;

    if (want_map(p, n, e) < 0)
        return -1;
    x->hooks = arena_grow(p->a, x->hooks, &x->n_hooks, sizeof *x->hooks);
    h = &x->hooks[x->n_hooks - 1];
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        if (str_eqz(m->key, "path")) {
            if (want_path(p, m->value, &h->path, e) < 0)
                return -1;
        } else if (str_eqz(m->key, "args")) {
            if (want_list(p, m->value, e) < 0)
                return -1;
            for (size_t k = 0; k < m->value->n; k++) {
                h->args = arena_grow(p->a, h->args, &h->n_args, sizeof *h->args);
                if (want_text(p, m->value->members[k].value, &h->args[h->n_args - 1],
                              e) < 0)
                    return -1;
            }
        } else if (!str_eqz(m->key, "hookName") && !str_eqz(m->key, "env") &&
                   !str_eqz(m->key, "timeout")) {
            unknown_key(p, m);
        }
    }
    return h->path ? 0 : bad(p, n, e, "a hook without a path");
}

static int read_each(const struct parse *p, const struct node *n, struct cdi_edits *x,
                     int (*fn)(const struct parse *, const struct node *,
                               struct cdi_edits *, struct err *),
                     struct err *e)
{
    if (want_list(p, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n->n; i++)
        if (fn(p, n->members[i].value, x, e) < 0)
            return -1;
    return 0;
}

static int read_edits(const struct parse *p, const struct node *n, struct cdi_edits *x,
                      struct err *e)
{
    if (node_is_null(n))
        return 0;
    if (want_map(p, n, e) < 0)
        return -1;
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        int rc = 0;
        if (node_is_null(m->value))
            continue;
        if (str_eqz(m->key, "env"))
            rc = read_env(p, m->value, x, e);
        else if (str_eqz(m->key, "deviceNodes"))
            rc = read_each(p, m->value, x, read_node, e);
        else if (str_eqz(m->key, "mounts"))
            rc = read_each(p, m->value, x, read_mount, e);
        else if (str_eqz(m->key, "hooks"))
            rc = read_each(p, m->value, x, read_hook, e);
        else if (str_eqz(m->key, "intelRdt") || str_eqz(m->key, "netDevices"))
            rc = bad(p, m->value, e, "this kind of edit is not done in boxes");
        else if (!str_eqz(
                     m->key,
                     "additionalGids")) /* nodes in a box are open to all its users */
            unknown_key(p, m);
        if (rc < 0)
            return -1;
    }
    return 0;
}

/* ---- devices, and the whole ----------------------------------------------------- */

static bool is_name(const char *z)
{
    static const char letters[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
    size_t n = strlen(z);

    return n && n < 64 && strspn(z, letters) && z[strspn(z, letters)] != '/' &&
           strspn(
               z,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:-") ==
               n;
}

/* "vendor.com/class" */
static bool is_kind(const char *z)
{
    const char *slash = strchr(z, '/');
    size_t n = strlen(z);

    return slash && slash != z && slash[1] && !strchr(slash + 1, '/') && n < 64 &&
           strspn(
               z,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.-/") ==
               n &&
           z[0] != '.' && z[0] != '-';
}

static int read_device(const struct parse *p, const struct node *n, struct err *e)
{
    struct cdi_spec *s = p->out;
    struct cdi_device *d;

    if (want_map(p, n, e) < 0)
        return -1;
    s->devices = arena_grow(p->a, s->devices, &s->n_devices, sizeof *s->devices);
    d = &s->devices[s->n_devices - 1];
    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];
        int rc = 0;
        if (str_eqz(m->key, "name"))
            rc = want_text(p, m->value, &d->name, e);
        else if (str_eqz(m->key, "containerEdits"))
            rc = read_edits(p, m->value, &d->edits, e);
        else if (!str_eqz(m->key, "annotations"))
            unknown_key(p, m);
        if (rc < 0)
            return -1;
    }
    if (!d->name || !is_name(d->name))
        return bad(p, n, e, "a device wants a name of letters, digits and _.:-");
    for (size_t i = 0; i + 1 < s->n_devices; i++)
        if (strcmp(s->devices[i].name, d->name) == 0)
            return bad(p, n, e, "a device of that name is in the file already");
    return 0;
}

static int read_version(const struct parse *p, const struct node *n, struct err *e)
{
    const char *text;
    char *end;
    unsigned long major, minor;

    if (want_text(p, n, &text, e) < 0)
        return -1;
    major = strtoul(text, &end, 10);
    minor = *end == '.' ? strtoul(end + 1, &end, 10) : 0;
    if (*end != '.' || major > 1 || (major == 0 && minor < 3))
        return bad(p, n, e, "CDI of this version is not known (0.3.0 to 1.1 are)");
    return 0;
}

static int read_spec(const struct parse *p, const struct node *top, struct err *e)
{
    struct cdi_spec *s = p->out;
    const struct node *version = node_member(top, "cdiVersion"),
                      *kind = node_member(top, "kind");

    if (want_map(p, top, e) < 0)
        return -1;
    if (!version || !kind)
        return bad(p, top, e, "want cdiVersion and kind");
    if (read_version(p, version, e) < 0 || want_text(p, kind, &s->kind, e) < 0)
        return -1;
    if (!is_kind(s->kind))
        return bad(p, kind, e, "a kind is VENDOR/CLASS");
    for (size_t i = 0; i < top->n; i++) {
        const struct member *m = &top->members[i];
        if (str_eqz(m->key, "devices")) {
            if (want_list(p, m->value, e) < 0)
                return -1;
            for (size_t k = 0; k < m->value->n; k++)
                if (read_device(p, m->value->members[k].value, e) < 0)
                    return -1;
        } else if (str_eqz(m->key, "containerEdits")) {
            if (read_edits(p, m->value, &s->all, e) < 0)
                return -1;
        } else if (!str_eqz(m->key, "cdiVersion") && !str_eqz(m->key, "kind") &&
                   !str_eqz(m->key, "annotations")) {
            unknown_key(p, m);
        }
    }
    return 0;
}

int cdi_parse_in(struct arena *a, const char *file, struct str text,
                 struct cdi_spec *out, struct err *e)
{
    struct parse p = {a, file, out};
    struct tree tree;

    *out = (struct cdi_spec){.file = file};
    if (text.len > LIMIT_CDI_BYTES)
        return err_set(e, ERR_LIMIT, "%s: over 1 MiB is no CDI file", file);
    if (tree_read_in(a, str_of(file), text, &tree, e) < 0)
        return -1;
    if (tree.n_docs != 1)
        return err_set(e, ERR_INPUT, "%s: want one document", file);
    return read_spec(&p, tree.docs[0], e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* collect.c - find what a task wrote, hash it once, rename it into the store
 *
 * Paths in the executor output file are the task's word, so they are foreign: every one is
 * walked component by component below a directory descriptor. Three places can hold bytes:
 *
 *   the task root   bind mount, host side out/      adopted: no second copy
 *   EXEC_PARAM_DIR  bind mount, host side params/   adopted
 *   anywhere else   the box's own root file system  copied, before it is torn down
 *
 * Nothing is thrown away for being odd: links inside a directory stay text, sockets are left out
 * and counted. A link at the top of an artifact is followed inside the box's root.
 */
#include "run/collect.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "plan/execin.h"
#include "store/tree.h"

/* what the executor output file says of one artifact; empty strings when it does not */
struct said {
    struct str uri, custom_path;
    json *metadata;
};

static void notice(struct collect *c, struct result *r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void notice(struct collect *c, struct result *r, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    buf_init(&b, LIMIT_LOG_LINE_BYTES);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    r->notices = arena_grow(c->a, r->notices, &r->n_notices, sizeof(*r->notices));
    r->notices[r->n_notices - 1] = arena_str(c->a, (struct str){buf_str(&b), b.len});
}

static void fail(struct collect *c, struct result *r, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
static void fail(struct collect *c, struct result *r, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    if (r->error.len)
        return; /* the first one counts */
    buf_init(&b, 400);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    r->error = arena_str(c->a, str_of(buf_str(&b)));
}

/* ---- where a path of the box lies ------------------------------------------------------- */

#define LINKS_MAX 8 /* followed from one output */

struct place {
    int base_fd;     /* borrowed */
    struct str rel;  /* below it, no leading '/' */
    bool ours;       /* on the store's file system: may be adopted */
    bool in_root;    /* below the box's root: absolute links mean that root */
};

static bool below(struct str path, struct str dir, struct str *rel)
{
    if (!dir.len || path.len <= dir.len || memcmp(path.ptr, dir.ptr, dir.len) != 0 ||
        path.ptr[dir.len] != '/')
        return false;
    *rel = (struct str){path.ptr + dir.len + 1, path.len - dir.len - 1};
    while (rel->len && rel->ptr[0] == '/') {
        rel->ptr++;
        rel->len--;
    }
    while (rel->len && rel->ptr[rel->len - 1] == '/')
        rel->len--;
    return rel->len > 0;
}

static bool locate(struct collect *c, struct str path, int out_fd, int params_fd,
                   struct place *p)
{
    struct str rel;

    if (below(path, c->at->task_root_path, &rel)) {
        *p = (struct place){.base_fd = out_fd, .rel = rel, .ours = true};
        return true;
    }
    if (below(path, STR(EXEC_PARAM_DIR), &rel)) {
        *p = (struct place){.base_fd = params_fd, .rel = rel, .ours = true};
        return true;
    }
    if (c->root_fd >= 0 && path.len > 1 && path.ptr[0] == '/') {
        rel = (struct str){path.ptr + 1, path.len - 1};
        while (rel.len && rel.ptr[rel.len - 1] == '/')
            rel.len--;
        *p = (struct place){.base_fd = c->root_fd, .rel = rel, .in_root = true};
        return rel.len > 0;
    }
    return false;
}

/* open the parent directory of a place; *name is the last component. -1 and errno */
static int open_parent(struct collect *c, const struct place *p, char **name)
{
    char *rel = arena_strndup(c->a, p->rel.ptr, p->rel.len);
    char *slash = strrchr(rel, '/');
    const char *dir = ".";

    *name = rel;
    if (slash) {
        *slash = 0;
        *name = slash + 1;
        dir = rel;
    }
    if (strcmp(*name, "..") == 0 || strcmp(*name, ".") == 0) {
        errno = EINVAL;
        return -1;
    }
    return p->in_root ? fd_open_in_root(p->base_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0)
                      : fd_open_beneath(p->base_fd, dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
}

static int store_place(struct collect *c, const struct place *p, struct result_artifact *f,
                       struct result *r, unsigned depth, struct err *e);

/* where a link at `p` leads, as the task saw it: relative ones stay on the side of `p` */
static int store_linked(struct collect *c, const struct place *p, int parent, const char *name,
                        struct result_artifact *f, struct result *r, unsigned depth, struct err *e)
{
    char target[LIMIT_PATH_BYTES];
    ssize_t n = readlinkat(parent, name, target, sizeof target - 1);
    struct place to = *p;
    size_t dir = p->rel.len;
    AUTO_FD int out_fd = -1, params_fd = -1;

    if (n <= 0 || depth > LINKS_MAX)
        return 0;
    target[n] = 0;
    if (target[0] != '/') {
        while (dir && p->rel.ptr[dir - 1] != '/')
            dir--;
        to.rel = str_of(arena_printf(c->a, "%.*s%s", (int)dir, p->rel.ptr, target));
        return store_place(c, &to, f, r, depth + 1, e);
    }
    out_fd = openat(c->dir_fd, ATTEMPT_OUT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    params_fd = openat(c->dir_fd, ATTEMPT_PARAMS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (!locate(c, str_of(arena_strdup(c->a, target)), out_fd, params_fd, &to))
        return 0;
    return store_place(c, &to, f, r, depth + 1, e);
}

static int found(struct collect *c, struct result_artifact *f, const char *kind, const char *hex,
                 uint64_t size_bytes, uint64_t n_files)
{
    f->kind = str_of(kind);
    f->digest = arena_str(c->a, str_of(hex));
    f->size_bytes = size_bytes;
    f->n_files = n_files;
    return 1;
}

static int store_file(struct collect *c, int parent, const char *name, unsigned flags,
                      struct result_artifact *f, struct err *e)
{
    struct blob_id id;

    if (blob_put_file(c->store, parent, name, flags, &id, e) < 0)
        return err_at(e, "output %.*s", STR_ARG(f->name));
    return found(c, f, "file", id.hex, id.size_bytes, 1);
}

static int store_dir(struct collect *c, int parent, const char *name, unsigned flags,
                     struct result_artifact *f, struct result *r, struct err *e)
{
    struct tree_id id;

    if (tree_put(c->store, parent, name, flags, &id, e) < 0)
        return err_at(e, "output %.*s", STR_ARG(f->name));
    if (id.skipped)
        notice(c, r, "output %.*s: %u sockets, fifos or devices were left out", STR_ARG(f->name),
               id.skipped);
    return found(c, f, "dir", id.hex, id.size_bytes, id.n_files);
}

/* the bytes at a place: 1 stored, 0 nothing there, -1 the host's fault */
static int store_place(struct collect *c, const struct place *p, struct result_artifact *f,
                       struct result *r, unsigned depth, struct err *e)
{
    AUTO_FD int parent = -1;
    struct stat st;
    char *name;
    unsigned flags = p->ours && !c->copy ? BLOB_ADOPT : 0;

    if (p->in_root && c->box &&
        box_own_path(c->box, arena_strndup(c->a, p->rel.ptr, p->rel.len), e) < 0)
        return err_at(e, "output %.*s", STR_ARG(f->name));
    parent = open_parent(c, p, &name);
    if (parent < 0 || fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    if (S_ISLNK(st.st_mode))
        return store_linked(c, p, parent, name, f, r, depth, e);
    if (S_ISREG(st.st_mode))
        return store_file(c, parent, name, flags, f, e);
    if (S_ISDIR(st.st_mode))
        return store_dir(c, parent, name, flags, f, r, e);
    notice(c, r, "output %.*s is neither file nor directory: kept without content",
           STR_ARG(f->name));
    return 0;
}

/* ---- the executor output file ------------------------------------------------------------ */

static json *member(json *obj, struct str key)
{
    return yyjson_is_obj(obj) ? yyjson_obj_getn(obj, key.ptr, key.len) : NULL;
}

static struct said said_of(json *root, struct str name)
{
    struct said s = {{"", 0}, {"", 0}, NULL};
    json *list = member(member(member(root, STR("artifacts")), name), STR("artifacts"));
    json *first = yyjson_arr_get_first(list);

    if (!first)
        return s;
    s.uri = json_as_str(member(first, STR("uri")));
    s.custom_path = json_as_str(member(first, STR("custom_path")));
    if (!s.custom_path.len)
        s.custom_path = json_as_str(member(first, STR("customPath")));
    s.metadata = member(first, STR("metadata"));
    return s;
}

/* metadata of the file over the declared metadata, key by key */
static const struct value *merge(struct collect *c, const struct value *base, json *over)
{
    struct value *out = arena_alloc(c->a, sizeof *out);
    struct value add = {.kind = VALUE_STRUCT};
    size_t n = base && base->kind == VALUE_STRUCT ? base->n_items : 0;

    if (over && yyjson_is_obj(over))
        add = value_from_json_in(c->a, over);
    out->kind = VALUE_STRUCT;
    out->keys = arena_alloc(c->a, (n + add.n_items + 1) * sizeof(*out->keys));
    out->items = arena_alloc(c->a, (n + add.n_items + 1) * sizeof(*out->items));
    for (; out->n_items < n; out->n_items++) {
        out->keys[out->n_items] = base->keys[out->n_items];
        out->items[out->n_items] = base->items[out->n_items];
    }
    for (size_t i = 0; i < add.n_items; i++) {
        struct value *had = (struct value *)value_member(out, add.keys[i]);
        if (had) {
            *had = add.items[i];
            continue;
        }
        out->keys[out->n_items] = add.keys[i];
        out->items[out->n_items++] = add.items[i];
    }
    return out;
}

static int read_output_file(struct collect *c, int out_fd, struct buf *text, yyjson_doc **doc,
                            struct result *r, struct err *e)
{
    struct place p;
    AUTO_FD int fd = -1;
    struct err why = {0};
    struct stat st;

    if (!locate(c, c->at->output_file, out_fd, -1, &p))
        return 0;
    fd = fd_open_beneath(out_fd, arena_strndup(c->a, p.rel.ptr, p.rel.len),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0)
        return 0; /* a plain container writes none */
    if (fstat(fd, &st) < 0)
        return err_sys(e, errno, "read the executor output file");
    if (!S_ISREG(st.st_mode)) {
        fail(c, r, "the executor output file is no regular file");
        return 0;
    }
    if (fd_read_all(fd, text, LIMIT_VALUE_BYTES, &why) < 0 ||
        json_parse((struct str){buf_str(text), text->len}, LIMIT_VALUE_BYTES, doc, &why) < 0)
        fail(c, r, "the executor output file: %s", why.text);
    return 0;
}

/* ---- parameters ---------------------------------------------------------------------------- */

static bool legacy_value(json *v, struct value *out, struct arena *a)
{
    static const char *const keys[] = {"stringValue", "intValue", "doubleValue"};

    for (size_t i = 0; i < N_ELEMS(keys); i++) {
        json *x = member(v, str_of(keys[i]));
        if (x) {
            *out = value_from_json_in(a, x);
            return true;
        }
    }
    return false;
}

static bool param_value(struct collect *c, json *root, int params_fd,
                        const struct attempt_output *o, struct value *out, struct result *r)
{
    json *v = member(member(root, STR("parameterValues")), o->name);
    AUTO_BUF struct buf text = {0};
    AUTO_FD int fd = -1;
    struct err why = {0};
    struct stat st;

    if (v && !yyjson_is_null(v)) {
        *out = value_from_json_in(c->a, v);
        return true;
    }
    if (legacy_value(member(member(root, STR("parameters")), o->name), out, c->a))
        return true;
    buf_init(&text, LIMIT_VALUE_BYTES);
    fd = fd_open_beneath(params_fd, arena_strndup(c->a, o->name.ptr, o->name.len),
                         O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0);
    if (fd < 0 || fstat(fd, &st) < 0) {
        fail(c, r, "output parameter %.*s is missing: the task wrote neither %.*s nor a value "
                   "into its executor output file",
             STR_ARG(o->name), STR_ARG(o->path));
        return false;
    }
    if (!S_ISREG(st.st_mode)) {
        fail(c, r, "output parameter %.*s: its file is no regular file", STR_ARG(o->name));
        return false;
    }
    if (fd_read_all(fd, &text, LIMIT_VALUE_BYTES, &why) < 0 ||
        value_from_file_text_in(c->a, o->param_type, (struct str){buf_str(&text), text.len}, out,
                                &why) < 0) {
        fail(c, r, "output parameter %.*s: %s", STR_ARG(o->name), why.text);
        return false;
    }
    return true;
}

static void collect_params(struct collect *c, json *root, int params_fd, struct result *r)
{
    r->params = arena_alloc(c->a, (c->at->n_params + 1) * sizeof(*r->params));
    for (size_t i = 0; i < c->at->n_params; i++) {
        const struct attempt_output *o = &c->at->params[i];
        struct value v;
        struct err why = {0};

        if (!param_value(c, root, params_fd, o, &v, r))
            continue;
        if (value_check_in(c->a, o->param_type, &v, &why) < 0) {
            fail(c, r, "output parameter %.*s: %s", STR_ARG(o->name), why.text);
            continue;
        }
        r->params[r->n_params++] = (struct named_value){.name = o->name, .value = v};
    }
}

/* a task may return one of its inputs: the same bytes, known already */
static bool same_as_input(struct collect *c, struct result_artifact *f)
{
    for (size_t i = 0; i < c->at->n_inputs; i++) {
        const struct attempt_input *in = &c->at->inputs[i];
        if (!str_eq(in->uri, f->uri))
            continue;
        f->kind = in->kind;
        f->digest = in->digest;
        f->size_bytes = in->size_bytes;
        f->n_files = in->n_files;
        return true;
    }
    return false;
}

int collect_outputs(struct collect *c, struct result *r, struct err *e)
{
    AUTO_FD int out_fd = openat(c->dir_fd, ATTEMPT_OUT, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_FD int params_fd = openat(c->dir_fd, ATTEMPT_PARAMS, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    AUTO_BUF struct buf text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root = NULL;

    if (out_fd < 0 || (params_fd < 0 && c->at->n_params))
        return err_sys(e, errno, "open the attempt's output directories");
    buf_init(&text, LIMIT_VALUE_BYTES + 1);
    if (read_output_file(c, out_fd, &text, &doc, r, e) < 0)
        return -1;
    if (doc)
        root = yyjson_doc_get_root(doc);
    collect_params(c, root, params_fd, r);

    r->artifacts = arena_alloc(c->a, (c->at->n_artifacts + 1) * sizeof(*r->artifacts));
    for (size_t i = 0; i < c->at->n_artifacts; i++) {
        const struct attempt_output *o = &c->at->artifacts[i];
        struct said s = said_of(root, o->name);
        struct result_artifact *f = &r->artifacts[r->n_artifacts++];
        struct str path = s.custom_path;
        struct place p;

        *f = (struct result_artifact){.name = o->name,
                                      .type = o->type,
                                      .type_version = o->type_version,
                                      .uri = s.uri.len ? arena_str(c->a, s.uri) : o->uri,
                                      .kind = STR("none"),
                                      .digest = {"", 0},
                                      .metadata = merge(c, o->metadata, s.metadata)};
        if (!path.len)
            path = exec_uri_to_path(c->a, f->uri);
        if (same_as_input(c, f))
            continue;
        if (locate(c, path, out_fd, params_fd, &p) &&
            store_place(c, &p, f, r, 0, e) < 0)
            return -1;
        /* metadata alone is an artifact, too, such as Metrics; neither is most likely a mistake */
        if (str_eqz(f->kind, "none") && str_eq(f->uri, o->uri) && !f->metadata->n_items)
            notice(c, r, "output %.*s: nothing was written to %.*s", STR_ARG(o->name),
                   STR_ARG(path));
    }
    return 0;
}

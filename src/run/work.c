/* SPDX-License-Identifier: Apache-2.0 */
/* work.c - importers and volumes, on the supervisor's side
 *
 * An import is hashed every time: a path says nothing about what lies there today. The
 * store gets a copy (or a clone where the file system can), since what lies outside may
 * change. A copy in the workspace is one more, as tasks may write there.
 */
#include "run/work.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <stdio.h>
#include <sys/ioctl.h>
#include <sys/sendfile.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "box/box.h"
#include "run/attempt.h"
#include "run/door.h"
#include "store/pack.h"
#include "store/tree.h"

/* ---- the member of attempt.json
 * ------------------------------------------------------------ */

static void put_str(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

void work_write(struct jw *w, const struct attempt_work *k)
{
    const struct artifact *f = &k->artifact;

    jw_obj(w);
    jw_ki64(w, "kind", k->kind);
    put_str(w, "path", k->path);
    put_str(w, "name", k->name);
    put_str(w, "source", k->source);
    put_str(w, "copyTo", k->copy_to);
    jw_kbool(w, "again", k->again);
    put_str(w, "artifactName", f->name);
    put_str(w, "uri", f->uri);
    put_str(w, "type", f->type);
    put_str(w, "typeVersion", f->type_version);
    put_str(w, "artifactKind", f->kind);
    put_str(w, "digest", f->digest);
    jw_ki64(w, "size", (int64_t)f->size_bytes);
    jw_ki64(w, "files", (int64_t)f->n_files);
    jw_key(w, "metadata");
    if (f->metadata)
        value_write(w, f->metadata);
    else
        jw_null(w);
    jw_end_obj(w);
}

int work_read_in(struct arena *a, json *from, struct attempt_work *out, struct err *e)
{
    struct artifact *f = &out->artifact;
    const struct {
        const char *key;
        struct str *to;
        bool record; /* foreign text that is written down and no more: any character */
    } texts[] = {
        {"path", &out->path, false},       {"name", &out->name, false},
        {"source", &out->source, true},    {"copyTo", &out->copy_to, false},
        {"artifactName", &f->name, false}, {"uri", &f->uri, true},
        {"type", &f->type, true},          {"typeVersion", &f->type_version, true},
        {"artifactKind", &f->kind, false}, {"digest", &f->digest, false}};
    int64_t kind = 0, size = 0, files = 0;
    json *metadata;
    struct value *v;

    *out = (struct attempt_work){.kind = WORK_BOX};
    if (!from)
        return 0;
    for (size_t i = 0; i < N_ELEMS(texts); i++) {
        if ((texts[i].record ? json_str : json_cstr)(from, texts[i].key, texts[i].to,
                                                     e) < 0)
            return -1;
        *texts[i].to = arena_str(a, *texts[i].to);
    }
    if (json_i64_in(from, "kind", WORK_BOX, WORK_DROP_VOLUME, &kind, e) < 0 ||
        json_i64_in(from, "size", 0, INT64_MAX, &size, e) < 0 ||
        json_i64_in(from, "files", 0, INT64_MAX, &files, e) < 0 ||
        json_bool_opt(from, "again", &out->again, e) < 0)
        return -1;
    out->kind = (enum work_kind)kind;
    if ((out->kind == WORK_MAKE_VOLUME || out->kind == WORK_DROP_VOLUME) &&
        !str_starts(out->path, "/"))
        return err_set(e, ERR_CORRUPT, "path: want an absolute path of a volume");
    f->size_bytes = (uint64_t)size;
    f->n_files = (uint64_t)files;
    metadata = json_at(from, "metadata");
    if (metadata && !yyjson_is_null(metadata)) {
        v = arena_alloc(a, sizeof *v);
        *v = value_from_json_in(a, metadata);
        f->metadata = v;
    }
    return 0;
}

/* ---- importing
 * ------------------------------------------------------------------------------- */

static void fail(struct arena *a, struct result *r, const struct err *why)
{
    r->error = arena_str(a, str_of(why->text));
}

/* what lies at the path, into the store; -1 with the reason in *e */
static int take_in(struct arena *a, struct store *s, const char *path,
                   struct result_artifact *f, struct result *r, struct err *e)
{
    struct stat st;

    if (stat(path, &st) < 0)
        return err_sys(e, errno, "%s", path);
    if (S_ISDIR(st.st_mode)) {
        struct tree_id id;
        if (tree_put(s, AT_FDCWD, path, 0, &id, e) < 0)
            return -1;
        f->kind = STR("dir");
        f->digest = arena_str(a, str_of(id.hex));
        f->size_bytes = id.size_bytes;
        f->n_files = id.n_files;
        if (id.skipped) {
            r->notices = arena_grow(a, r->notices, &r->n_notices, sizeof(*r->notices));
            r->notices[r->n_notices - 1] = str_of(
                arena_printf(a, "%u sockets, pipes or devices in %s were left out",
                             id.skipped, path));
        }
        return 0;
    }
    struct blob_id id;

    if (blob_put_file(s, AT_FDCWD, path, 0, &id, e) < 0)
        return -1;
    f->kind = STR("file");
    f->digest = arena_str(a, str_of(id.hex));
    f->size_bytes = id.size_bytes;
    f->n_files = 1;
    return 0;
}

/* ---- copying into the workspace
 * ---------------------------------------------------------------- */

static int copy_bytes(int from, int to, const char *name, struct err *e)
{
    ssize_t n;

    if (ioctl(to, FICLONE, from) == 0)
        return 0;
    while ((n = sendfile(to, from, NULL, 1 << 30)) > 0)
        ;
    return n < 0 ? err_sys(e, errno, "copy %s into the workspace", name) : 0;
}

static int copy_file(int from_dir, const char *from, int to_dir, const char *to,
                     mode_t mode, struct err *e)
{
    AUTO_FD int in = openat(from_dir, from, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    AUTO_FD int out =
        openat(to_dir, to, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);

    if (in < 0 || out < 0)
        return err_sys(e, errno, "copy %s into the workspace", from);
    if (copy_bytes(in, out, from, e) < 0)
        return -1;
    return fchmod(out, mode) < 0 ? err_sys(e, errno, "copy %s into the workspace", from)
                                 : 0;
}

static int copy_link(int from_dir, const char *name, int to_dir, struct err *e)
{
    char target[LIMIT_PATH_BYTES];
    ssize_t n = readlinkat(from_dir, name, target, sizeof target - 1);

    if (n < 0)
        return err_sys(e, errno, "copy %s into the workspace", name);
    target[n] = 0;
    return symlinkat(target, to_dir, name) < 0
               ? err_sys(e, errno, "copy %s into the workspace", name)
               : 0;
}

/* Checkouts are our own: no deeper than LIMIT_PATH_DEPTH, nothing but files, links and
 * directories. */
static int copy_dir(int from_fd, int to_fd, struct err *e)
{
    DIR *d = fdopendir(dup(from_fd));
    int rc = 0;

    if (!d)
        return err_sys(e, errno, "read a directory of the store");
    for (struct dirent *ent; rc == 0 && (ent = readdir(d));) {
        const char *name = ent->d_name;
        struct stat st;

        if (strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
            continue;
        if (fstatat(from_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0) {
            rc = err_sys(e, errno, "copy %s into the workspace", name);
        } else if (S_ISDIR(st.st_mode)) {
            AUTO_FD int from =
                openat(from_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
            AUTO_FD int to = -1;
            if (mkdirat(to_fd, name, 0700) < 0 || fchmodat(to_fd, name, 0777, 0) < 0 ||
                from < 0 ||
                (to = openat(to_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
                rc = err_sys(e, errno, "copy %s into the workspace", name);
            else
                rc = copy_dir(from, to, e);
        } else if (S_ISLNK(st.st_mode)) {
            rc = copy_link(from_fd, name, to_fd, e);
        } else {
            rc = copy_file(from_fd, name, to_fd, name, st.st_mode & 0100 ? 0777 : 0666,
                           e);
        }
    }
    (void)closedir(d);
    return rc;
}

/* Tasks write into the workspace, so any part of a path in it may be a link by now,
 * which must not lead us out: every directory is opened by its own name, never through
 * one. *name becomes the last component. */
static int open_parent(const char *workspace, const char *rel, char *buf, size_t size,
                       const char **name, int *out, struct err *e)
{
    AUTO_FD int fd = open(workspace, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    char *p = buf, *slash;

    if (fd < 0)
        return err_sys(e, errno, "open %s", workspace);
    if (snprintf(buf, size, "%s", rel) >= (int)size)
        return err_set(e, ERR_LIMIT, "the path %.80s... is too long", rel);
    for (; (slash = strchr(p, '/')); p = slash + 1) {
        int next;

        *slash = 0;
        if (!*p)
            continue;
        if (mkdirat(fd, p, 0700) == 0)
            (void)fchmodat(fd, p, 0777, 0); /* images run as any uid */
        next = openat(fd, p, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return err_sys(e, errno, "open %s in the workspace", p);
        (void)close(fd);
        fd = next;
    }
    *name = p;
    *out = fd_take(&fd);
    return 0;
}

static int copy_tree(struct store *s, const char *hex, int parent, const char *name,
                     struct err *e)
{
    char from[LIMIT_PATH_BYTES];
    AUTO_FD int pin = -1;
    AUTO_FD int in = -1;
    AUTO_FD int out = -1;

    if (tree_pin(s, hex, &pin, e) < 0 ||
        tree_checkout_path(s, hex, from, sizeof from, e) < 0)
        return -1;
    in = open(from, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (in < 0 || mkdirat(parent, name, 0700) < 0 ||
        fchmodat(parent, name, 0777, 0) < 0 ||
        (out = openat(parent, name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) <
            0)
        return err_sys(e, errno, "copy %s into the workspace", name);
    return copy_dir(in, out, e);
}

static int copy_out(struct arena *a, struct store *s, const struct attempt *at,
                    const struct result_artifact *f, struct err *e)
{
    const char *workspace =
        door_inside(a, arena_printf(a, "%.*s/runs/%.*s/workspace", STR_ARG(at->home),
                                    STR_ARG(at->run_id)));
    char from[LIMIT_PATH_BYTES], rel[LIMIT_PATH_BYTES];
    AUTO_FD int parent = -1;
    const char *name = NULL;

    if (open_parent(workspace, at->work.copy_to.ptr, rel, sizeof rel, &name, &parent,
                    e) < 0 ||
        box_remove_tree(parent, name, e) < 0) /* of an attempt before */
        return -1;
    if (str_eqz(f->kind, "dir"))
        return copy_tree(s, f->digest.ptr, parent, name, e);
    if (blob_path(s, f->digest.ptr, from, sizeof from, e) < 0)
        return -1;
    return copy_file(AT_FDCWD, from, parent, name, 0666, e);
}

static int import(struct arena *a, const struct attempt *at, struct result *r,
                  struct err *e)
{
    const struct attempt_work *k = &at->work;
    const struct artifact *want = &k->artifact;
    struct result_artifact *f = arena_alloc(a, sizeof *f);
    AUTO_STORE struct store *s = NULL;

    *f = (struct result_artifact){.name = want->name,
                                  .type = want->type,
                                  .type_version = want->type_version,
                                  .uri = want->uri,
                                  .kind = want->kind,
                                  .digest = want->digest,
                                  .size_bytes = want->size_bytes,
                                  .n_files = want->n_files,
                                  .metadata = want->metadata};
    if (k->path.len || k->copy_to.len) {
        if (store_open(at->home.ptr, &s, e) < 0)
            return -1;
        if (k->path.len && take_in(a, s, k->path.ptr, f, r, e) < 0) {
            fail(a, r, e);
            return 0;
        }
        if (k->copy_to.len && !str_eqz(f->kind, "none") && copy_out(a, s, at, f, e) < 0)
            return -1;
        if (store_sync(s, e) < 0)
            return -1;
    }
    r->artifacts = f;
    r->n_artifacts = 1;
    return 0;
}

/* ---- volumes
 * ------------------------------------------------------------------------------------
 */

static int make_volume(struct arena *a, const struct attempt *at, struct result *r,
                       struct err *e)
{
    const struct attempt_work *k = &at->work;
    char *parent = arena_strdup(a, k->path.ptr), *slash = strrchr(parent, '/');
    struct err why;

    *slash = 0;
    if (fd_mkdirs(AT_FDCWD, parent, 0700, e) < 0) /* a door: volumes are for any uid */
        return -1;
    if (mkdir(k->path.ptr, 0700) < 0 || chmod(k->path.ptr, 0777) < 0) {
        if (errno != EEXIST)
            return err_sys(e, errno, "make the volume %s", k->path.ptr);
        (void)err_set(&why, ERR_INPUT, "volume %.*s exists already (%s)",
                      STR_ARG(k->name), k->path.ptr);
        fail(a, r, &why);
        return 0;
    }
    for (size_t i = 0; i < at->n_params; i++) {
        r->params = arena_grow(a, r->params, &r->n_params, sizeof(*r->params));
        r->params[i] = (struct named_value){at->params[i].name,
                                            {.kind = VALUE_STRING, .s = k->name}};
    }
    return 0;
}

/* renamed first: whoever looks sees all of it or nothing */
static int drop_volume(struct arena *a, const struct attempt *at, struct result *r,
                       struct err *e)
{
    const struct attempt_work *k = &at->work;
    const char *doomed = arena_printf(a, "%.*s/trash/volume-%lld.%u", STR_ARG(at->home),
                                      (long long)at->task_id, at->number);
    struct err why;

    if (rename(k->path.ptr, doomed) == 0)
        return box_remove_tree(AT_FDCWD, doomed, e);
    if (errno != ENOENT)
        return err_sys(e, errno, "remove the volume %s", k->path.ptr);
    (void)err_set(&why, ERR_INPUT, "there is no volume %.*s (%s)", STR_ARG(k->name),
                  k->path.ptr);
    fail(a, r, &why);
    return 0;
}

int work_do(struct arena *a, const struct attempt *at, struct result *r, struct err *e)
{
    r->end = END_EXITED;
    switch (at->work.kind) {
    case WORK_IMPORT:
        return import(a, at, r, e);
    case WORK_MAKE_VOLUME:
        return make_volume(a, at, r, e);
    case WORK_DROP_VOLUME:
        return drop_volume(a, at, r, e);
    case WORK_BOX:
        break;
    }
    return 0;
}

void work_say(const struct attempt *at, const struct result *r, struct buf *out)
{
    const struct attempt_work *k = &at->work;
    char size[24];

    if (r->error.len) {
        buf_addf(out, "%.*s\n", STR_ARG(r->error));
        return;
    }
    switch (k->kind) {
    case WORK_IMPORT:
        if (!r->n_artifacts || !r->artifacts[0].digest.len) {
            buf_addf(out, "recorded %.*s, without its content\n", STR_ARG(k->source));
            break;
        }
        size_human(r->artifacts[0].size_bytes, size);
        buf_addf(out, "imported %.*s: %s, sha256:%.*s\n", STR_ARG(k->source), size,
                 STR_ARG(r->artifacts[0].digest));
        break;
    case WORK_MAKE_VOLUME:
        buf_addf(out, "made volume %.*s (%.*s)\n", STR_ARG(k->name), STR_ARG(k->path));
        break;
    case WORK_DROP_VOLUME:
        buf_addf(out, "removed volume %.*s (%.*s)\n", STR_ARG(k->name),
                 STR_ARG(k->path));
        break;
    case WORK_BOX:
        break;
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* chore.c - what an importer reads, and which volume a task makes or drops
 *
 * An importer's URI is one of five things:
 *
 *   /PATH, file:///PATH         a file or directory of this machine
 *   gs:// s3:// minio:// ...    the same, where "imports" of the config names a
 * directory sha256:HEX, cas:sha256:HEX  an artifact by its content a URI that we gave
 * out      an artifact of this run or an earlier one anything else recorded, never
 * fetched: whoever needs the bytes fails
 *
 * Consumers see bucket URIs as they are, since code turns gs:// into /gcs/. Others
 * would give paths that hide parts of an image, or none at all, so they get one of
 * ours; the record keeps what the pipeline said as the source.
 */
#include "run/chore.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/limits.h"
#include "lineage/query.h"
#include "run/kube.h"
#include "spec/placeholder.h"

bool chore_is(const struct executor *x)
{
    return x->kind == EXECUTOR_IMPORTER || str_eqz(x->image, "argostub/createpvc") ||
           str_eqz(x->image, "argostub/deletepvc");
}

/* ---- volumes
 * ---------------------------------------------------------------------------------- */

static struct str text_input(const struct task *t, const char *name)
{
    const struct value *v = io_values_param(&t->in, str_of(name));

    return v && v->kind == VALUE_STRING ? v->s : NO_TEXT;
}

static int set_volume(struct engine *en, struct job *j, struct str name, struct err *e)
{
    const char *path = kube_volume_path(en, &j->a, name);

    if (!kube_name_ok(name))
        return err_set(e, ERR_INPUT, "\"%.80s\" is no name of a volume claim",
                       name.ptr);
    if (!str_starts(str_of(path), en->env->home))
        return err_set(
            e, ERR_INPUT,
            "volume %.*s is set in the config (%s): tasks neither make nor remove it",
            STR_ARG(name), path);
    j->work.name = arena_str(&j->a, name);
    j->work.path = str_of(path);
    return 0;
}

static int plan_make(struct engine *en, struct job *j, struct err *e)
{
    struct str name = text_input(j->t, "pvc_name"),
               suffix = text_input(j->t, "pvc_name_suffix");

    if (name.len && suffix.len)
        return err_set(e, ERR_INPUT,
                       "pvc_name and pvc_name_suffix are both given: want one");
    j->work.kind = WORK_MAKE_VOLUME;
    if (!name.len)
        name = str_of(arena_printf(&j->a, "%s%.*s", j->t->uuid, STR_ARG(suffix)));
    return set_volume(en, j, name, e);
}

static int plan_drop(struct engine *en, struct job *j, struct err *e)
{
    j->work.kind = WORK_DROP_VOLUME;
    return set_volume(en, j, text_input(j->t, "pvc_name"), e);
}

bool chore_cacheable(const struct job *j)
{
    return j->work.kind == WORK_MAKE_VOLUME && text_input(j->t, "pvc_name").len;
}

bool chore_still_true(const struct job *j)
{
    return j->work.kind != WORK_MAKE_VOLUME || access(j->work.path.ptr, F_OK) == 0;
}

/* ---- metadata of an importer
 * ---------------------------------------------------------------------- */

static int answer(void *ctx, const struct placeholder *ph, struct buf *out,
                  struct err *e)
{
    const struct task *t = ctx;
    const struct value *v =
        ph->kind == PH_INPUT_PARAM ? io_values_param(&t->in, ph->name) : NULL;

    (void)e;
    if (!v)
        return 0;
    value_text(out, v);
    return 1;
}

static int fill_text(struct arena *a, const struct task *t, struct str text,
                     struct str *out, struct err *e)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, LIMIT_VALUE_BYTES);
    if (placeholder_expand(text, answer, (void *)(uintptr_t)t, &b, e) < 0)
        return -1;
    *out = arena_str(a, (struct str){buf_str(&b), b.len});
    return 0;
}

/* keys and values; a value that is one placeholder keeps its JSON kind */
static int fill_metadata(struct arena *a, const struct task *t, struct value *v,
                         struct err *e)
{
    struct placeholder ph;

    if (v->kind == VALUE_STRING && placeholder_whole(v->s, &ph) &&
        ph.kind == PH_INPUT_PARAM && io_values_param(&t->in, ph.name)) {
        *v = value_copy_in(a, io_values_param(&t->in, ph.name));
        return 0;
    }
    if (v->kind == VALUE_STRING)
        return fill_text(a, t, v->s, &v->s, e);
    for (size_t i = 0; i < v->n_items; i++)
        if ((v->kind == VALUE_STRUCT &&
             fill_text(a, t, v->keys[i], &v->keys[i], e) < 0) ||
            fill_metadata(a, t, &v->items[i], e) < 0)
            return -1;
    return 0;
}

static void add_member(struct arena *a, struct value *v, const char *key,
                       struct value item)
{
    struct value *items = arena_alloc(a, (v->n_items + 1) * sizeof *items);
    struct str *keys = arena_alloc(a, (v->n_items + 1) * sizeof *keys);

    if (v->n_items) {
        memcpy(items, v->items, v->n_items * sizeof *items);
        memcpy(keys, v->keys, v->n_items * sizeof *keys);
    }
    items[v->n_items] = item;
    keys[v->n_items] = str_of(key);
    v->items = items;
    v->keys = keys;
    v->n_items++;
}

static int plan_metadata(struct job *j, const struct importer_def *def, struct err *e)
{
    struct value *v = arena_alloc(&j->a, sizeof *v);

    *v = def->metadata ? value_copy_in(&j->a, def->metadata)
                       : (struct value){.kind = VALUE_STRUCT};
    if (fill_metadata(&j->a, j->t, v, e) < 0)
        return err_at(e, "metadata");
    if (def->to_workspace)
        add_member(&j->a, v, "_kfp_workspace",
                   (struct value){.kind = VALUE_BOOL, .b = true});
    j->work.artifact.metadata = v;
    return 0;
}

/* ---- where the bytes are
 * ---------------------------------------------------------------------------- */

static bool has_dots(struct str path)
{
    for (const char *p = path.ptr; (p = strstr(p, "..")); p += 2)
        if ((p == path.ptr || p[-1] == '/') && (!p[2] || p[2] == '/'))
            return true;
    return false;
}

/* whole components only: gs://data is no prefix of gs://data2/x */
static bool has_prefix(struct str uri, const char *prefix)
{
    size_t n = strlen(prefix);

    return str_starts(uri, prefix) &&
           (prefix[n - 1] == '/' || uri.len == n || uri.ptr[n] == '/');
}

/* the longest prefix of the config that fits */
static const struct run_import *import_of(const struct engine *en, struct str uri)
{
    const struct run_import *best = NULL;

    for (size_t i = 0; i < en->o.n_imports; i++)
        if (has_prefix(uri, en->o.imports[i].prefix) &&
            (!best || strlen(en->o.imports[i].prefix) > strlen(best->prefix)))
            best = &en->o.imports[i];
    return best;
}

/* Where on this machine a URI lies. 1: *path is set and there; 0: it lies nowhere here.
 */
static int path_of(const struct engine *en, struct arena *a, struct str uri,
                   struct str *path, struct err *e)
{
    const struct run_import *import = import_of(en, uri);
    struct stat st;

    if (uri.ptr[0] == '/') {
        *path = uri;
    } else if (str_starts(uri, "file://")) {
        *path = (struct str){uri.ptr + 7, uri.len - 7};
        if (!path->len || path->ptr[0] != '/')
            return err_set(e, ERR_INPUT, "want file:///PATH, got %.*s", STR_ARG(uri));
    } else if (import) {
        size_t n = strlen(import->prefix);
        *path = str_of(
            arena_printf(a, "%s/%s", import->path, uri.ptr + n + (uri.ptr[n] == '/')));
    } else {
        return 0;
    }
    if (has_dots(*path))
        return err_set(e, ERR_INPUT,
                       "\"..\" is not allowed in the path of an import: %.*s",
                       STR_ARG(*path));
    if (stat(path->ptr, &st) < 0)
        return err_set(e, ERR_MISSING, "%.*s is not here", STR_ARG(*path));
    return 1;
}

static int known_artifact(struct engine *en, struct job *j, int64_t id, struct err *e)
{
    struct artifact *f = &j->work.artifact;
    struct db_artifact row;

    if (db_artifact_get_in(&j->a, en->env->db, id, &row, e) < 0)
        return -1;
    if (row.state != DB_LIVE)
        return err_set(e, ERR_MISSING,
                       "artifact a%lld is recorded, but its content is gone",
                       (long long)id);
    f->kind = row.kind;
    f->digest = arena_str(&j->a, str_of(row.digest_hex));
    f->size_bytes = (uint64_t)row.size_bytes;
    f->n_files = (uint64_t)row.n_files;
    return 0;
}

static bool is_bucket(struct str uri)
{
    return str_starts(uri, "gs://") || str_starts(uri, "s3://") ||
           str_starts(uri, "minio://");
}

/* a URI of ours for what has none that a task could use */
static struct str own_uri(struct engine *en, struct job *j, struct str source)
{
    struct str base = source;
    const char *slash;
    char hex[DIGEST_HEX];

    while (base.len && base.ptr[base.len - 1] == '/')
        base.len--;
    slash = memrchr(base.ptr, '/', base.len);
    if (slash)
        base = (struct str){slash + 1, base.len - (size_t)(slash + 1 - base.ptr)};
    sha256_hex(source.ptr, source.len, hex);
    return str_of(
        arena_printf(&j->a, "%.*s/imported/%.16s/%.*s", STR_ARG(en->g.root_uri), hex,
                     base.len ? (int)base.len : 8, base.len ? base.ptr : "artifact"));
}

static int find_bytes(struct engine *en, struct job *j, struct str uri, struct err *e)
{
    struct artifact *f = &j->work.artifact;
    int64_t id = 0;
    int rc;

    f->uri = uri;
    f->kind = STR("none");
    f->digest = NO_TEXT;
    j->work.path = NO_TEXT;
    if (str_starts(uri, "sha256:") || str_starts(uri, "cas:sha256:")) {
        struct str digest = uri;
        if (str_starts(uri, "cas:"))
            digest = (struct str){uri.ptr + 4, uri.len - 4};
        f->uri = own_uri(en, j, uri);
        if (db_artifact_find(en->env->db, digest, &id, e) < 0)
            return -1;
        return known_artifact(en, j, id, e);
    }
    if (db_artifact_by_uri(en->env->db, uri, &id, e) < 0)
        return -1;
    if (id)
        return known_artifact(en, j, id, e);
    rc = path_of(en, &j->a, uri, &j->work.path, e);
    if (rc) {
        if (!is_bucket(uri))
            f->uri = own_uri(en, j, uri);
        return rc < 0 ? -1 : 0;
    }
    if (!memmem(uri.ptr, uri.len, "://", 3))
        return err_set(
            e, ERR_INPUT,
            "\"%.*s\" is neither an absolute path nor a URI: an import wants /PATH, "
            "file:///PATH, sha256:HEX or SCHEME://...",
            STR_ARG(uri));
    if (!str_starts(uri, "oci://"))
        engine_notice(en, j->t,
                      "task %.*s: %.*s is recorded and not fetched; \"imports\" in the "
                      "config can name a directory for it",
                      STR_ARG(j->t->path), STR_ARG(uri));
    return 0;
}

int chore_check(struct engine *en, const struct task_def *t, const struct io_values *in,
                struct err *e)
{
    const struct source *from = &t->component->executor->importer->uri;
    const struct value *uri = NULL;
    struct str path;

    if (t->n_deps)
        return 0; /* a task before it may make the file */
    for (size_t i = 0; from->kind == SOURCE_INPUT && i < t->n_params; i++)
        if (str_eq(t->params[i].name, from->name)) {
            from = &t->params[i].from;
            break;
        }
    if (from->kind == SOURCE_CONSTANT)
        uri = from->constant;
    else if (from->kind == SOURCE_INPUT && in)
        uri = io_values_param(in, from->name);
    if (!uri || uri->kind != VALUE_STRING || !uri->s.len || placeholder_any(uri->s))
        return 0; /* only the run will tell */
    return path_of(en, &en->a, uri->s, &path, e) < 0 ? -1 : 0;
}

/* Tasks' own artifacts without content, such as metrics, lie below the pipeline root.
 */
int chore_fetched(const struct engine *en, const struct task *t, struct err *e)
{
    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++) {
            const struct artifact *f = &t->in.artifacts[i].items[k];
            bool remote = is_bucket(f->uri) || str_starts(f->uri, "http://") ||
                          str_starts(f->uri, "https://");
            if (remote && str_eqz(f->kind, "none") &&
                !str_starts(f->uri, en->g.root_uri.ptr))
                return err_set(
                    e, ERR_MISSING,
                    "input %.*s cannot be fetched: %.*s (\"imports: {PREFIX: DIR}\" in "
                    "the config says where a copy lies)",
                    STR_ARG(t->in.artifacts[i].name), STR_ARG(f->uri));
        }
    return 0;
}

static int plan_copy(struct engine *en, struct job *j, struct err *e)
{
    struct str path = exec_uri_to_path(&j->a, j->work.artifact.uri);
    const char *inside;

    if (!en->p.workspace)
        return err_set(
            e, ERR_INPUT,
            "downloadToWorkspace wants a workspace, and the pipeline has none "
            "(dsl.PipelineConfig(workspace=...))");
    while (path.len && path.ptr[0] == '/')
        path = (struct str){path.ptr + 1, path.len - 1};
    if (has_dots(path))
        return err_set(e, ERR_INPUT, "\"..\" is not allowed in %.*s", STR_ARG(path));
    j->work.copy_to = str_of(arena_printf(&j->a, ".artifacts/%.*s", STR_ARG(path)));
    return kube_make_workspace(en, &j->a, &inside, e);
}

static int plan_import(struct engine *en, struct job *j, struct err *e)
{
    const struct component *c = j->t->def->component;
    const struct importer_def *def = c->executor->importer;
    const struct value *uri = def->uri.kind == SOURCE_CONSTANT
                                  ? def->uri.constant
                                  : io_values_param(&j->t->in, def->uri.name);
    struct artifact *f = &j->work.artifact;

    if (!uri || uri->kind != VALUE_STRING || !uri->s.len)
        return err_set(e, ERR_INPUT, "the importer's URI must be a non-empty string");
    j->work = (struct attempt_work){.kind = WORK_IMPORT,
                                    .name = NO_TEXT,
                                    .copy_to = NO_TEXT,
                                    .source = arena_str(&j->a, uri->s),
                                    .again = def->reimport};
    f->name = c->out.n_artifacts ? c->out.artifacts[0].name : STR("artifact");
    f->type = def->schema_title;
    f->type_version = def->schema_version;
    if (find_bytes(en, j, j->work.source, e) < 0 || plan_metadata(j, def, e) < 0)
        return -1;
    return def->to_workspace ? plan_copy(en, j, e) : 0;
}

/* ---- both
 * -------------------------------------------------------------------------------------------------
 */

int chore_plan(struct engine *en, struct job *j, struct err *e)
{
    const struct executor *x = j->t->def->component->executor;

    if (!j->t->uuid[0])
        uuid_new(j->t->uuid);
    j->image = NULL;
    j->res = (struct exec_resources){0};
    j->kube = (struct kube_plan){0};
    j->kube_text = NO_TEXT;
    j->work = (struct attempt_work){.source = NO_TEXT, .copy_to = NO_TEXT};
    j->work.artifact = (struct artifact){.name = NO_TEXT,
                                         .uri = NO_TEXT,
                                         .type = NO_TEXT,
                                         .type_version = NO_TEXT,
                                         .kind = NO_TEXT,
                                         .digest = NO_TEXT};
    if (x->kind == EXECUTOR_IMPORTER)
        return plan_import(en, j, e);
    return str_eqz(x->image, "argostub/createpvc") ? plan_make(en, j, e)
                                                   : plan_drop(en, j, e);
}

int chore_fill(struct engine *en, struct job *j)
{
    const struct retry_policy retry = task_retry(en, j->t);
    const struct io_defs *defs = &j->t->def->component->out;
    struct attempt *at = j->at;

    *at = (struct attempt){.run_id = str_of(en->id),
                           .task_path = j->t->path,
                           .task_key = j->t->def->key,
                           .task_id = j->row,
                           .number = j->attempts,
                           .image_hex = NO_TEXT,
                           .cwd = NO_TEXT,
                           .user = NO_TEXT,
                           .hostname = NO_TEXT,
                           .deadline_unix_ms = en->deadline_unix_ms,
                           .log_max_bytes = en->o.log_max_bytes,
                           .home = str_of(en->env->home),
                           .task_root_path = NO_TEXT,
                           .output_file = NO_TEXT,
                           .cache_key = j->cacheable ? str_of(j->key) : NO_TEXT,
                           .max_retries = retry.max_retries,
                           .host_failures = j->host_failures,
                           .host_retries = en->o.host_retries,
                           .work = j->work};
    at->params = arena_alloc(&j->a, (defs->n_params + 1) * sizeof(*at->params));
    for (size_t i = 0; i < defs->n_params; i++)
        at->params[at->n_params++] =
            (struct attempt_output){.name = defs->params[i].name,
                                    .type = NO_TEXT,
                                    .type_version = NO_TEXT,
                                    .uri = NO_TEXT,
                                    .path = NO_TEXT,
                                    .param_type = defs->params[i].type};
    return 0;
}

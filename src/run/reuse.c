/* SPDX-License-Identifier: Apache-2.0 */
/* reuse.c - what the record knows of a task: its inputs and outputs as rows, and the cache
 *
 * Outputs read back from rows are those of a resumed run's finished tasks and of cache hits; both
 * become the same io_values that a fresh attempt would have left.
 */
#include "base/clock.h"
#include "base/limits.h"
#include "lineage/cache.h"
#include "lineage/record.h"
#include "plan/cachekey.h"
#include "run/chore.h"
#include "run/engine.h"
#include "run/kube.h"
#include "store/tree.h"

/* ---- outputs that are known from rows ------------------------------------------------------ */

int artifact_of_row(struct engine *en, const struct db_artifact *row, struct artifact *out,
                    struct err *e)
{
    struct value *meta = NULL;

    if (row->metadata_json.len) {
        meta = arena_alloc(&en->a, sizeof *meta);
        if (value_parse_in(&en->a, row->metadata_json, meta, e) < 0)
            return -1;
    }
    *out = (struct artifact){.id = row->id,
                             .name = arena_str(&en->a, row->name),
                             .uri = arena_str(&en->a, row->uri),
                             .type = arena_str(&en->a, row->type),
                             .type_version = STR("0.0.1"),
                             .kind = arena_str(&en->a, row->kind),
                             .digest = arena_str(&en->a, str_of(row->digest_hex)),
                             .size_bytes = (uint64_t)row->size_bytes,
                             .n_files = (uint64_t)row->n_files,
                             .metadata = meta};
    return 0;
}

static int io_from_rows(struct engine *en, struct task *t, const struct db_io_rows *rows,
                        struct err *e)
{
    const struct io_defs *defs = &t->def->component->out;
    struct io_values *out = &t->out;

    *out = (struct io_values){0};
    out->params = arena_alloc(&en->a, (rows->n_params + 1) * sizeof(*out->params));
    for (size_t i = 0; i < rows->n_params; i++) {
        struct named_value *v = &out->params[out->n_params++];
        v->name = arena_str(&en->a, rows->params[i].name);
        if (value_parse_in(&en->a, rows->params[i].value_json, &v->value, e) < 0)
            return -1;
    }
    out->artifacts = arena_alloc(&en->a, (rows->n_artifacts + 1) * sizeof(*out->artifacts));
    for (size_t i = 0; i < rows->n_artifacts; i++) {
        const struct db_io_artifact *r = &rows->artifacts[i];
        struct named_artifacts *l = io_values_artifact(out, r->name);
        const struct artifact_def *def = io_artifact(defs, r->name);

        if (!l) {
            l = &out->artifacts[out->n_artifacts++];
            *l = (struct named_artifacts){.name = arena_str(&en->a, r->name)};
            if (def) {
                l->type = def->schema_title;
                l->type_version = def->schema_version;
            }
        }
        l->items = arena_grow(&en->a, l->items, &l->n_items, sizeof(*l->items));
        if (artifact_of_row(en, &r->artifact, &l->items[l->n_items - 1], e) < 0)
            return -1;
    }
    return 0;
}

int task_outputs_from_rows(struct engine *en, struct task *t, struct err *e)
{
    AUTO_ARENA struct arena tmp = {0};
    struct db_io_rows rows;

    if (db_task_io_in(&tmp, en->env->db, job_of(en, t)->row, DB_OUT, &rows, e) < 0)
        return -1;
    return io_from_rows(en, t, &rows, e);
}

int task_put_params(struct engine *en, struct task *t, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    buf_init(&text, 0);
    for (size_t i = 0; i < t->in.n_params; i++) {
        buf_reset(&text);
        value_to_json(&text, &t->in.params[i].value);
        if (db_param_put(en->env->db, job_of(en, t)->row, DB_IN, t->in.params[i].name,
                         (struct str){buf_str(&text), text.len}, e) < 0)
            return -1;
    }
    return 0;
}

int task_put_inputs(struct engine *en, struct task *t, struct err *e)
{
    struct db *d = en->env->db;
    int64_t row = job_of(en, t)->row;

    if (task_put_params(en, t, e) < 0)
        return -1;
    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++)
            if (t->in.artifacts[i].items[k].id &&
                db_event_put(d, row, DB_IN, t->in.artifacts[i].name, (int64_t)k,
                             t->in.artifacts[i].items[k].id, e) < 0)
                return -1;
    return 0;
}

/* ---- the cache ------------------------------------------------------------------------------ */

static struct key_extra key_extra(struct engine *en, const struct job *j)
{
    AUTO_BUF struct buf b = {0};

    buf_init(&b, 0);
    for (size_t i = 0; i < en->o.n_env; i++)
        buf_addf(&b, "%s\n", en->o.env[i]);
    return (struct key_extra){arena_str(&en->a, (struct str){buf_str(&b), b.len}), j->kube_text};
}

void task_key(struct engine *en, struct job *j)
{
    struct key_extra extra = key_extra(en, j);

    cachekey_of(&en->g, j->t, str_of(j->image ? j->image->hex : ""), &extra, j->key);
    j->cacheable = !run_uncacheable(&en->o, j->t->def, j->t->path) && !kube_opaque(en, j) &&
                   (j->work.kind == WORK_BOX || chore_cacheable(j));
}

void task_ingredients(struct engine *en, struct job *j, struct buf *out)
{
    struct key_extra extra = key_extra(en, j);

    cachekey_record(&en->g, j->t, str_of(j->image ? j->image->hex : ""), &extra, out);
}

static bool refreshed(const struct engine *en, const struct task *t)
{
    for (size_t i = 0; i < en->o.n_refresh; i++)
        if (strcmp(en->o.refresh[i], "*") == 0 || str_eqz(t->def->key, en->o.refresh[i]) ||
            str_eqz(t->path, en->o.refresh[i]))
            return true;
    return false;
}

/* Looked at and made young in one step: a gc that marked before this hit must not sweep after it. */
static bool bytes_are_there(struct engine *en, const struct db_io_rows *rows)
{
    struct store *store = en->env->store;
    struct err e;

    for (size_t i = 0; i < rows->n_artifacts; i++) {
        const struct db_artifact *f = &rows->artifacts[i].artifact;
        if (str_eqz(f->kind, "file") && blob_refresh(store, f->digest_hex, &e) < 0)
            return false;
        if (str_eqz(f->kind, "dir") && tree_refresh(store, f->digest_hex, &e) < 0)
            return false;
    }
    return true;
}

int task_find_hit(struct engine *en, struct job *j, struct arena *tmp, struct db_hit *hit,
                  bool *found, bool *stale, struct err *e)
{
    int64_t now = clock_unix_ms();

    *found = *stale = false;
    if (!j->cacheable || en->o.no_cache || refreshed(en, j->t) || !chore_still_true(j))
        return 0;
    if (db_cache_find_in(tmp, en->env->db, str_of(j->key), en->p.name,
                         en->o.cache_max_age_ms ? now - en->o.cache_max_age_ms : 0, hit, found,
                         e) < 0)
        return -1;
    *stale = *found && !bytes_are_there(en, &hit->out);
    *found = *found && !*stale;
    return 0;
}

int task_outputs_from_hit(struct engine *en, struct task *t, const struct db_hit *hit,
                          struct err *e)
{
    return io_from_rows(en, t, &hit->out, e);
}

/* Results of the run that this one continues count even where the cache is off, as they would
 * have if its pipeline had not been edited. */
static int find_in_parent(struct engine *en, struct job *j, struct arena *tmp, struct db_hit *hit,
                          bool *found, struct err *e)
{
    const struct db_key_task *row = map_get(&en->taken_over, str_of(j->key));

    *found = false;
    if (!row || refreshed(en, j->t) || !chore_still_true(j))
        return 0;
    if (j->workspace || j->work.copy_to.len) /* what it wrote there is not in ours */
        return 0;
    *hit = (struct db_hit){.task = row->task};
    if (db_task_io_in(tmp, en->env->db, row->task, DB_OUT, &hit->out, e) < 0)
        return -1;
    for (size_t i = 0; i < hit->out.n_artifacts; i++)
        if (hit->out.artifacts[i].artifact.state != DB_LIVE)
            return 0;
    *found = bytes_are_there(en, &hit->out);
    return 0;
}

int reuse_parent(struct engine *en, struct err *e)
{
    struct db_key_task *rows;
    size_t n;

    if (!en->parent)
        return 0;
    if (db_run_keys_in(&en->a, en->env->db, en->parent, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        map_put(&en->taken_over, str_of(rows[i].key_hex), &rows[i]);
    return 0;
}

/* 1: the task was closed from the cache */
int task_try_cache(struct engine *en, struct job *j, struct err *e)
{
    AUTO_ARENA struct arena tmp = {0};
    struct db *d = en->env->db;
    struct task *t = j->t;
    struct db_hit hit;
    int64_t now = clock_unix_ms();
    bool found, stale, won, sound;

    if (j->attempts || t->again)
        return 0;
    if (task_find_hit(en, j, &tmp, &hit, &found, &stale, e) < 0 ||
        (stale && db_cache_forget(d, str_of(j->key), en->p.name, e) < 0) ||
        (!found && find_in_parent(en, j, &tmp, &hit, &found, e) < 0))
        return -1;
    if (!found)
        return 0;
    if (task_hit_sound(en, t, &hit.out, &sound, e) < 0)
        return -1;
    if (!sound)
        return 0;
    if (io_from_rows(en, t, &hit.out, e) < 0 || task_put_inputs(en, t, e) < 0 ||
        kube_record_labels(en, j, e) < 0 ||
        db_cache_reuse(d, j->row, &hit, now, now, &won, e) < 0)
        return -1;
    t->cached = true;
    task_settle(en, t, TASK_SUCCEEDED, NO_TEXT, NO_TEXT);
    return group_ended(en, t->scope, e) < 0 ? -1 : 1;
}

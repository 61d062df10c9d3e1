/* SPDX-License-Identifier: Apache-2.0 */
/* record.c - every task instance has a row; a resumed run finds the rows of its first life
 *
 * Rows are written when a scope comes into being: those of the root and of nested DAGs with the
 * run, those of an iteration when the loop starts it. A resume walks the same way, and where a
 * path has a row already, the task is what the row says:
 *
 *   container, SUCCEEDED     done, its outputs are read from its rows
 *   container, RUNNING       adopted: its supervisor lives
 *   container, anything else PENDING again, attempts are counted on
 *   group, whatever it was   opened again; it ends at once when all inside it is done
 *
 * --from TASK: the task, what is inside it and what needs it are PENDING again, too.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>

#include "base/clock.h"
#include "lineage/query.h"
#include "lineage/record.h"
#include "plan/cachekey.h"
#include "run/engine.h"

/* ---- resume --from ------------------------------------------------------------------------ */

static bool path_is_inside(struct str path, struct str group)
{
    return path.len > group.len && memcmp(path.ptr, group.ptr, group.len) == 0 &&
           (path.ptr[group.len] == '/' || path.ptr[group.len] == '[');
}

static void mark_all(struct task *t)
{
    t->again = true;
    for (size_t i = 0; t->inner && i < t->inner->dag->n_tasks; i++)
        mark_all(t->inner->tasks[i]);
}

static void mark_dependents(struct scope *s, size_t of)
{
    const struct dag *dag = s->dag;

    for (size_t k = dag->first_dependent[of]; k < dag->first_dependent[of + 1]; k++) {
        struct task *t = s->tasks[dag->dependents[k]];
        if (t->again)
            continue;
        mark_all(t);
        mark_dependents(s, dag->dependents[k]);
    }
}

static void mark_scope(struct engine *en, struct scope *s)
{
    for (size_t i = 0; i < s->dag->n_tasks; i++) {
        bool is_it = str_eq(s->tasks[i]->path, en->from);
        if (is_it)
            mark_all(s->tasks[i]);
        if (is_it || path_is_inside(en->from, s->tasks[i]->path))
            mark_dependents(s, i);
    }
}

/* ---- rows of an earlier life ----------------------------------------------------------------- */

static int adopt(struct engine *en, struct task *t, const struct db_task *row, struct err *e)
{
    struct job *j = job_of(en, t);
    char rel[96];

    snprintf(rel, sizeof rel, "%lld.%lld", (long long)row->id, (long long)row->attempts);
    j->dir_fd = openat(en->run_fd, rel, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (j->dir_fd < 0)
        return err_sys(e, errno, "open the attempt of task %.*s", STR_ARG(t->path));
    j->rel = arena_printf(&en->a, "%s/%s", en->id, rel);
    j->at = arena_alloc(&j->a, sizeof *j->at);
    if (attempt_read_in(&j->a, j->dir_fd, j->at, e) < 0)
        return -1;
    t->state = TASK_RUNNING;
    j->adopted = true;
    en->gpus_used += (uint32_t)j->at->n_gpus;
    j->started_mono_ns = clock_mono_ns() - (clock_unix_ms() - row->started_unix_ms) * 1000000;
    en->running++;
    engine_notice(en, t, "task %.*s still runs: adopted", STR_ARG(t->path));
    return en->loop ? job_watch(j, e) : 0; /* before the loop is there, it looks for them itself */
}

static int restore(struct engine *en, struct task *t, const struct db_task *row, struct err *e)
{
    struct job *j = job_of(en, t);
    bool won;

    j->row = row->id;
    j->attempts = (uint32_t)row->attempts;
    j->host_failures = (uint32_t)row->host_failures;
    if (row->state == DB_FAILED)
        j->attempts_before = j->attempts - j->host_failures;
    snprintf(t->uuid, sizeof t->uuid, "%.*s", STR_ARG(row->uuid));
    if (row->state == DB_PENDING)
        return 0;
    if (task_is_group(t) && row->state == DB_SUCCEEDED && !t->again &&
        !path_is_inside(en->from, t->path))
        return 0; /* its row stays as it is */
    if (!task_is_group(t) && row->state == DB_SUCCEEDED && !t->again) {
        t->state = TASK_SUCCEEDED;
        t->cached = row->cached;
        t->scope->n_left--;
        return task_outputs_from_rows(en, t, e);
    }
    if (!task_is_group(t) && row->state == DB_RUNNING)
        return adopt(en, t, row, e);
    return db_task_reset(en->env->db, row->id, &won, e);
}

/* ---- recording -------------------------------------------------------------------------------- */

struct code {
    struct str hex, text;
};

/* the same for all tasks of a component, so hashed once a run */
static const struct code *code_of(struct engine *en, const struct component *c)
{
    struct code *k = map_get(&en->codes, c->name);
    AUTO_BUF struct buf text = {0};
    char hex[DIGEST_HEX];

    if (k)
        return k;
    k = arena_alloc(&en->a, sizeof *k);
    buf_init(&text, 0);
    component_code(c->executor, &text);
    sha256_hex(buf_str(&text), text.len, hex);
    *k = (struct code){arena_str(&en->a, str_of(hex)),
                       arena_str(&en->a, (struct str){buf_str(&text), text.len})};
    map_put(&en->codes, c->name, k);
    return k;
}

static int insert(struct engine *en, struct task *t, struct err *e)
{
    const struct task *owner = t->scope->owner;
    struct db_task_new n = {.run = en->row,
                            .parent = owner ? ((struct job *)owner->user)->row : 0,
                            .path = t->path,
                            .name = t->def->key,
                            .kind = str_of(task_kind_name(t->kind)),
                            .state = DB_PENDING};

    uuid_new(t->uuid);
    n.uuid = str_of(t->uuid);
    if (t->kind == TASK_CONTAINER) {
        const struct code *code = code_of(en, t->def->component);
        n.component = t->def->component->name;
        n.code_hex = code->hex;
        n.code_text = code->text;
    }
    return db_task_insert(en->env->db, &n, &job_of(en, t)->row, e);
}

int record_scope(struct engine *en, struct scope *s, struct err *e)
{
    if (en->from.len)
        mark_scope(en, s);
    for (size_t i = 0; i < s->dag->n_tasks; i++) {
        struct task *t = s->tasks[i];
        const struct db_task *row = map_get(&en->old_rows, t->path);

        if ((row ? restore(en, t, row, e) : insert(en, t, e)) < 0 ||
            (t->inner && record_scope(en, t->inner, e) < 0))
            return -1;
    }
    return 0;
}

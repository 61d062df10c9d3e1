/* SPDX-License-Identifier: Apache-2.0 */
/* plan.c - what a run would do, without doing it
 *
 * The graph is walked as the engine would walk it, with two answers more than the
 * engine knows: the outputs of a task that would run are *dark*, and so is every input
 * that comes from them; and a task behind a condition with dark inputs *may* run. Where
 * nothing is dark the engine's own functions resolve inputs, conditions and loops, and
 * look in the cache.
 *
 *   cached   its result is known
 *   run      its inputs are known, and no result of them
 *   import   an importer: what is outside is looked at every time
 *   depends  gets something from tasks that run: runs, unless that turns out known
 *   skip     a condition is false, or what it needs is skipped or fails
 *   fail     it cannot be started; the reason says why
 *
 * Darkness goes by single inputs and outputs: a group with a dark input resolves the
 * others, and what inside does not use the dark one is followed as usual. A condition
 * is decided where the known inputs decide it. A loop over a dark list is shown once,
 * as NAME[?].
 */
#include "base/limits.h"
#include "run/chore.h"
#include "run/engine.h"
#include "run/kube.h"
#include "run/planinside.h"

struct note *plan_note(struct walk *w, const struct task *t)
{
    while (w->n_notes <= t->index) {
        w->notes = arena_grow(&w->en->a, w->notes, &w->n_notes, sizeof(*w->notes));
        w->notes[w->n_notes - 1] = arena_alloc(&w->en->a, sizeof(struct note));
    }
    return w->notes[t->index];
}

static void walk_scope(struct walk *w, struct scope *s, bool maybe);

/* ---- what a task waits for ----------------------------------------------------- */

/* *why: the first sibling that keeps t from running at all */
static bool is_blocked(struct walk *w, const struct task *t, struct str *why)
{
    for (size_t i = 0; i < t->def->n_deps && !t->def->run_on_any_end; i++) {
        const struct task *dep = t->scope->tasks[t->def->deps[i]];
        const struct note *n = plan_note(w, dep);

        if (n->would != WOULD_SKIP && n->would != WOULD_FAIL)
            continue;
        *why = str_of(arena_printf(&w->en->a, "needs %.*s, which %s",
                                   STR_ARG(dep->def->key),
                                   n->would == WOULD_SKIP ? "is skipped" : "fails"));
        return true;
    }
    return false;
}

static bool deps_noted(struct walk *w, const struct task *t, bool *maybe)
{
    for (size_t i = 0; i < t->def->n_deps; i++) {
        const struct note *n = plan_note(w, t->scope->tasks[t->def->deps[i]]);

        if (n->would == WOULD_NOTHING)
            return false;
        *maybe |= n->maybe && !t->def->run_on_any_end;
    }
    return true;
}

/* ---- what is known ------------------------------------------------------------- */

static bool output_is_dark(struct walk *w, const struct task *t, struct str name,
                           bool artifact);

/* an output of a DAG, in one execution of it; not known either when it is a branch
 * inside that gives it, of which nobody can say yet whether it is taken */
static bool selected_is_dark(struct walk *w, const struct scope *s, struct str name,
                             bool artifact)
{
    const struct dag_output *all = artifact ? s->dag->artifacts : s->dag->params;
    size_t n = artifact ? s->dag->n_artifacts : s->dag->n_params;
    bool maybe = plan_note(w, s->owner)->maybe;

    for (size_t i = 0; i < n; i++) {
        if (!str_eq(all[i].name, name))
            continue;
        for (size_t k = 0; k < all[i].n_from; k++) {
            const struct task *from = s->tasks[all[i].from[k].task_index];
            if (from->state == TASK_SUCCEEDED &&
                (plan_note(w, from)->maybe > maybe ||
                 output_is_dark(w, from, all[i].from[k].output, artifact)))
                return true;
        }
    }
    return false;
}

static bool output_is_dark(struct walk *w, const struct task *t, struct str name,
                           bool artifact)
{
    if (plan_note(w, t)->dark || !task_is_group(t))
        return plan_note(w, t)->dark;
    if (t->inner)
        return selected_is_dark(w, t->inner, name, artifact);
    for (size_t i = 0; t->loop && i < t->loop->n_started; i++)
        if (selected_is_dark(w, t->loop->iterations[i], name, artifact))
            return true;
    return false;
}

static size_t binding_of(const struct binding *all, size_t n, struct str name)
{
    size_t i = 0;

    while (i < n && !str_eq(all[i].name, name))
        i++;
    return i;
}

/* What the DAG around it was not given has a default, or is the item of a loop: both
 * are known. */
static bool outer_is_dark(struct walk *w, const struct scope *s, struct str name,
                          bool artifact)
{
    const struct task_def *def = s->owner ? s->owner->def : NULL;
    size_t i;

    if (!def)
        return false;
    i = artifact ? binding_of(def->artifacts, def->n_artifacts, name)
                 : binding_of(def->params, def->n_params, name);
    if (i == (artifact ? def->n_artifacts : def->n_params))
        return false;
    return plan_note(w, s->owner)->dark_in[i + (artifact ? def->n_params : 0)];
}

static bool source_is_dark(struct walk *w, const struct task *t, const struct source *s,
                           bool artifact)
{
    switch (s->kind) {
    case SOURCE_INPUT:
        return outer_is_dark(w, t->scope, s->name, artifact);
    case SOURCE_TASK_OUTPUT:
        return output_is_dark(w, t->scope->tasks[s->task_index], s->name, artifact);
    case SOURCE_CONSTANT:
        return false;
    case SOURCE_FINAL_STATUS:
        break;
    }
    return true;
}

/* settings of the platform document, whose sources know siblings by name alone */
static bool settings_are_dark(struct walk *w, const struct task *t)
{
    const struct executor *x = t->def->component->executor;
    const struct kube_value **values;
    size_t n;

    if (!x || !x->kube)
        return false;
    values = kube_values_in(&w->en->a, x->kube, &n);
    for (size_t i = 0; i < n; i++) {
        struct source s = values[i]->from;
        for (size_t k = 0; k < t->scope->dag->n_tasks; k++)
            if (str_eq(s.task, t->scope->dag->tasks[k].key))
                s.task_index = k;
        if (source_is_dark(w, t, &s, false))
            return true;
    }
    return false;
}

/* fills note.dark_in; true: something is dark */
static bool find_dark_inputs(struct walk *w, const struct task *t)
{
    const struct task_def *def = t->def;
    uint8_t *dark = arena_alloc(&w->en->a, def->n_params + def->n_artifacts + 1);

    for (size_t i = 0; i < def->n_params; i++)
        dark[i] = source_is_dark(w, t, &def->params[i].from, false);
    for (size_t i = 0; i < def->n_artifacts; i++)
        dark[def->n_params + i] = source_is_dark(w, t, &def->artifacts[i].from, true);
    task_spread_dark(&w->en->g, t, dark);
    plan_note(w, t)->dark_in = dark;
    return memchr(dark, 1, def->n_params + def->n_artifacts) || settings_are_dark(w, t);
}

/* ---- tasks --------------------------------------------------------------------- */

static void conclude(struct note *n, enum would would, struct str reason)
{
    n->would = would;
    n->reason = reason;
}

static void fail(struct walk *w, struct note *n, const struct err *why)
{
    conclude(n, WOULD_FAIL, arena_str(&w->en->a, str_of(why->text)));
}

static const char *why_it_runs(struct walk *w, const struct task *t,
                               const struct job *j, bool stale)
{
    const char *off = run_uncacheable(&w->en->o, t->def, t->path);

    if (off)
        return off;
    if (!j->cacheable)
        return "it sees something that is not in its key";
    return stale ? "its result is known, but the bytes are gone" : "";
}

/* an image whose name came from an input: prepare_images() could not know of it */
static void need_image(struct walk *w, const struct task *t, struct str ref,
                       const struct err *why)
{
    struct needs *n = w->en->needs;

    for (size_t i = 0; i < n->n_images; i++)
        if (str_eq(n->images[i], ref))
            return;
    n->images = arena_grow(&w->en->a, n->images, &n->n_images, sizeof(*n->images));
    n->images[n->n_images - 1] = ref;
    buf_addf(&n->text, "%stask %.*s: %s", n->text.len ? "; " : "", STR_ARG(t->path),
             why->text);
}

/* 1: *n is settled */
static int plan_image(struct walk *w, struct task *t, struct job *j, struct note *n,
                      struct err *e)
{
    struct engine *en = w->en;
    struct err why = {0};

    if (!t->uuid[0])
        uuid_new(t->uuid);
    if (kube_plan_task(en, j, &why) < 0 && why.code == ERR_MISSING) {
        conclude(n, WOULD_RUN, arena_str(&en->a, str_of(why.text)));
        return 1;
    }
    if (why.code || exec_plan_in(&j->a, &en->g, t, &j->plan, &why) < 0) {
        fail(w, n, &why);
        return 1;
    }
    n->image = arena_str(&en->a, j->plan.image);
    j->image = prepare_image(en, j->plan.image, &why);
    if (j->image)
        return 0;
    if (why.code != ERR_MISSING && why.code != ERR_INPUT) {
        *e = why;
        return -1;
    }
    need_image(w, t, n->image, &why);
    conclude(n, WOULD_RUN, STR("its image is missing"));
    return 1;
}

static int look_in_cache(struct walk *w, struct task *t, struct note *n, struct err *e)
{
    AUTO_ARENA struct arena tmp = {0};
    struct engine *en = w->en;
    struct job *j = job_of(en, t);
    struct db_hit hit;
    bool found, stale;

    task_key(en, j);
    if (task_find_hit(en, j, &tmp, &hit, &found, &stale, e) < 0)
        return -1;
    if (!found) {
        conclude(n, WOULD_RUN, str_of(why_it_runs(w, t, j, stale)));
        return 0;
    }
    n->dark = false;
    n->from_run = arena_str(&en->a, hit.run_name);
    n->from_task = arena_str(&en->a, hit.path);
    conclude(n, WOULD_CACHED, NO_TEXT);
    return task_outputs_from_hit(en, t, &hit, e);
}

/* a volume that is made or dropped; its result may be known */
static int plan_volume(struct walk *w, struct task *t, struct note *n, struct err *e)
{
    struct job *j = job_of(w->en, t);
    struct err why = {0};

    if (chore_plan(w->en, j, &why) < 0) {
        fail(w, n, &why);
        return 0;
    }
    return look_in_cache(w, t, n, e);
}

static int plan_container(struct walk *w, struct task *t, struct note *n, struct err *e)
{
    int rc = plan_image(w, t, job_of(w->en, t), n, e);

    return rc ? (rc < 0 ? -1 : 0) : look_in_cache(w, t, n, e);
}

static int plan_leaf(struct walk *w, struct task *t, struct note *n, bool dark,
                     struct err *e)
{
    struct err why = {0};
    bool holds = true;

    n->dark = true;
    n->image = t->def->component->executor->image;
    if (dark) {
        conclude(n, WOULD_DEPEND, NO_TEXT);
        return 0;
    }
    if (task_resolve(&w->en->g, t, &why) < 0 || task_condition(t, &holds, &why) < 0) {
        fail(w, n, &why);
        return 0;
    }
    if (!holds) {
        conclude(n, WOULD_SKIP, STR("its condition is false"));
        return 0;
    }
    if (t->kind == TASK_IMPORTER) {
        conclude(n, WOULD_IMPORT, NO_TEXT);
        return 0;
    }
    return chore_is(t->def->component->executor) ? plan_volume(w, t, n, e)
                                                 : plan_container(w, t, n, e);
}

/* ---- groups -------------------------------------------------------------------- */

static void skip_inside(struct walk *w, struct scope *s, struct str reason)
{
    for (size_t i = 0; s && i < s->dag->n_tasks; i++) {
        struct task *t = s->tasks[i];
        struct note *n = plan_note(w, t);

        conclude(n, WOULD_SKIP, reason);
        n->order = w->n_settled++;
        t->state = TASK_SKIPPED;
        if (!task_is_group(t))
            w->counts[WOULD_SKIP]++;
        skip_inside(w, t->inner, reason);
    }
}

/* every iteration at once: parallelism bounds what is in flight, not what there is */
static void open_loop(struct walk *w, struct task *t, bool maybe)
{
    struct scope *s;

    while ((s = loop_next(&w->en->g, t))) {
        t->loop->n_active = 0;
        walk_scope(w, s, maybe);
    }
}

static void close_group(struct walk *w, struct task *t, struct note *n)
{
    bool failed = false;

    for (size_t i = 0; t->inner && i < t->inner->dag->n_tasks; i++)
        failed |= plan_note(w, t->inner->tasks[i])->would == WOULD_FAIL;
    if (failed)
        conclude(n, WOULD_FAIL, STR("a task inside it cannot be started"));
    group_outputs(&w->en->g, t, &t->out); /* the known ones; nobody asks for others */
}

/* the list that it goes over, of parameters or of artifacts */
static bool items_are_dark(struct walk *w, const struct task *t)
{
    const struct task_def *def = t->def;
    size_t i = def->iterates_artifacts
                   ? binding_of(def->artifacts, def->n_artifacts, def->items_input)
                   : binding_of(def->params, def->n_params, def->items_input);

    if (def->items_raw.len ||
        i == (def->iterates_artifacts ? def->n_artifacts : def->n_params))
        return false;
    return plan_note(w, t)->dark_in[i + (def->iterates_artifacts ? def->n_params : 0)];
}

static void not_taken(struct walk *w, struct task *t, struct note *n)
{
    conclude(n, WOULD_SKIP,
             str_of(arena_printf(&w->en->a, "its condition is false: %.*s",
                                 STR_ARG(t->def->condition))));
    skip_inside(w, t->inner,
                str_of(arena_printf(&w->en->a, "%.*s is not taken", STR_ARG(t->path))));
}

static void plan_group(struct walk *w, struct task *t, struct note *n, bool dark)
{
    struct err why = {0};
    bool holds = true;

    conclude(n, WOULD_RUN, NO_TEXT);
    if (task_resolve_known(&w->en->g, t, n->dark_in, &why) < 0 ||
        (!dark && task_condition(t, &holds, &why) < 0)) {
        fail(w, n, &why);
        skip_inside(w, t->inner, STR("its group cannot be started"));
        return;
    }
    if (dark && t->def->condition.len && !task_condition_known(t, n->dark_in, &holds)) {
        holds = n->maybe = true;
        n->reason =
            str_of(arena_printf(&w->en->a, "if %.*s", STR_ARG(t->def->condition)));
    }
    if (!holds) {
        not_taken(w, t, n);
        return;
    }
    if (t->kind == TASK_LOOP && items_are_dark(w, t)) {
        n->dark = true; /* how often is not known */
        return;
    }
    if (t->kind == TASK_LOOP && loop_open(&w->en->g, t, &why) < 0) {
        fail(w, n, &why);
        return;
    }
    t->state = TASK_RUNNING;
    if (t->kind == TASK_LOOP)
        open_loop(w, t, n->maybe);
    else
        walk_scope(w, t->inner, n->maybe);
    close_group(w, t, n);
}

/* ---- the walk ------------------------------------------------------------------ */

static void plan_task(struct walk *w, struct task *t, bool maybe)
{
    struct note *n = plan_note(w, t);
    bool dark = find_dark_inputs(w, t);
    struct str why;

    n->order = w->n_settled++;
    n->maybe = maybe;
    if (is_blocked(w, t, &why)) {
        conclude(n, WOULD_SKIP, why);
        skip_inside(w, t->inner, why);
    } else if (task_is_group(t)) {
        plan_group(w, t, n, dark);
    } else if (plan_leaf(w, t, n, dark, w->e) < 0) {
        w->broken = true;
    }
    t->state = n->would == WOULD_SKIP   ? TASK_SKIPPED
               : n->would == WOULD_FAIL ? TASK_FAILED
                                        : TASK_SUCCEEDED;
    t->cached = n->would == WOULD_CACHED;
    if (!task_is_group(t)) {
        w->counts[n->would]++;
        w->n_maybe += n->maybe;
    }
}

static void walk_scope(struct walk *w, struct scope *s, bool maybe)
{
    for (bool progress = true; progress && !w->broken;) {
        progress = false;
        for (size_t i = 0; i < s->dag->n_tasks; i++) {
            struct task *t = s->tasks[i];
            bool may = maybe;

            if (plan_note(w, t)->would != WOULD_NOTHING || !deps_noted(w, t, &may))
                continue;
            plan_task(w, t, may);
            progress = true;
        }
    }
}

int run_plan(struct run_env *env, const struct run_request *rq,
             const struct run_view *view, struct buf *out_json, size_t *missing,
             struct err *e)
{
    struct needs needs = {0};
    struct run_outcome unused;
    struct engine en;
    struct walk p = {.en = &en, .e = e};
    struct jw w;
    int rc = -1;

    engine_init(&en, env, view, &unused);
    en.needs = &needs;
    buf_init(&needs.text, 0);
    if (engine_prepare(&en, rq, e) < 0 || prepare_images(&en, e) < 0)
        goto done;
    walk_scope(&p, en.g.root, false);
    if (p.broken)
        goto done;
    jw_init(&w, out_json);
    plan_write(&p, &w);
    *missing = needs.text.len > 0 || p.counts[WOULD_FAIL];
    rc = 0;
done:
    buf_done(&needs.text);
    engine_done(&en);
    return rc;
}

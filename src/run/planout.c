/* SPDX-License-Identifier: Apache-2.0 */
/* planout.c - a plan as JSON: the tasks in an order in which they can run, and what is
 * missing
 *
 * Tasks of a loop whose items are not known do not exist yet; its body is written from
 * its definition, under NAME[?].
 */
#include <stdlib.h>

#include "run/planinside.h"

static const char *const would_names[WOULDS] = {
    [WOULD_NOTHING] = "run",   [WOULD_CACHED] = "cached",  [WOULD_RUN] = "run",
    [WOULD_IMPORT] = "import", [WOULD_DEPEND] = "depends", [WOULD_SKIP] = "skip",
    [WOULD_FAIL] = "fail"};

static void key_text(struct jw *w, const char *key, struct str text)
{
    jw_key(w, key);
    if (text.len)
        jw_str(w, text);
    else
        jw_null(w);
}

static void write_after(struct jw *w, const struct dag *dag, const struct task_def *t,
                        struct str prefix)
{
    jw_key(w, "after");
    jw_arr(w);
    for (size_t i = 0; i < t->n_deps; i++) {
        AUTO_FREE char *path =
            xasprintf("%.*s%s%.*s", STR_ARG(prefix), prefix.len ? "/" : "",
                      STR_ARG(dag->tasks[t->deps[i]].key));
        jw_strz(w, path);
    }
    jw_end_arr(w);
}

/* the body of a loop whose items are not known: definitions, no tasks yet */
static void write_body(struct jw *w, const struct dag *dag, struct str prefix,
                       bool maybe)
{
    for (size_t i = 0; i < dag->n_tasks; i++) {
        const struct task_def *t = &dag->tasks[i];
        AUTO_FREE char *path = xasprintf("%.*s/%.*s", STR_ARG(prefix), STR_ARG(t->key));
        AUTO_FREE char *inner = xasprintf("%s%s", path, task_is_loop(t) ? "[?]" : "");
        bool group = t->component->dag != NULL;

        jw_obj(w);
        jw_kstr(w, "path", path);
        jw_kstr(w, "kind",
                !group             ? "container"
                : task_is_loop(t)  ? "loop"
                : t->condition.len ? "condition"
                                   : "dag");
        jw_kstr(w, "would", "depends");
        jw_kbool(w, "maybe", maybe);
        jw_kbool(w, "cached", false);
        jw_kstr(w, "reason", NULL);
        key_text(w, "image", group ? NO_TEXT : t->component->executor->image);
        write_after(w, dag, t, prefix);
        jw_end_obj(w);
        if (group)
            write_body(w, t->component->dag, str_of(inner), maybe);
    }
}

static void write_scope(struct walk *p, struct jw *w, const struct scope *s,
                        struct str prefix);

static void write_task(struct walk *p, struct jw *w, struct task *t, struct str prefix)
{
    const struct note *n = plan_note(p, t);

    jw_obj(w);
    key_text(w, "path", t->path);
    jw_kstr(w, "kind", task_kind_name(t->kind));
    jw_kstr(w, "would", would_names[n->would]);
    jw_kbool(w, "maybe", n->maybe);
    jw_kbool(w, "cached", n->would == WOULD_CACHED);
    key_text(w, "reason", n->reason);
    key_text(w, "image", n->image);
    if (n->from_run.len) {
        jw_key(w, "from");
        jw_obj(w);
        key_text(w, "run", n->from_run);
        key_text(w, "task", n->from_task);
        jw_end_obj(w);
    }
    if (t->kind == TASK_LOOP) {
        jw_key(w, "iterations");
        if (t->loop)
            jw_i64(w, (int64_t)t->loop->n_items);
        else
            jw_null(w);
    }
    write_after(w, t->scope->dag, t->def, prefix);
    jw_end_obj(w);
    if (t->inner)
        write_scope(p, w, t->inner, t->path);
    for (size_t i = 0; t->loop && i < t->loop->n_started; i++) {
        AUTO_FREE char *inner = xasprintf("%.*s[%zu]", STR_ARG(t->path), i);
        write_scope(p, w, t->loop->iterations[i], str_of(inner));
    }
    if (t->kind == TASK_LOOP && !t->loop && n->would == WOULD_RUN) {
        AUTO_FREE char *inner = xasprintf("%.*s[?]", STR_ARG(t->path));
        write_body(w, t->def->component->dag, str_of(inner), n->maybe);
    }
}

struct placed {
    size_t order;
    struct task *t;
};

static int by_order(const void *a, const void *b)
{
    const struct placed *x = a, *y = b;

    return (x->order > y->order) - (x->order < y->order);
}

static void write_scope(struct walk *p, struct jw *w, const struct scope *s,
                        struct str prefix)
{
    AUTO_FREE struct placed *tasks = xalloc((s->dag->n_tasks + 1) * sizeof *tasks);

    for (size_t i = 0; i < s->dag->n_tasks; i++)
        tasks[i] = (struct placed){plan_note(p, s->tasks[i])->order, s->tasks[i]};
    qsort(tasks, s->dag->n_tasks, sizeof *tasks, by_order);
    for (size_t i = 0; i < s->dag->n_tasks; i++)
        write_task(p, w, tasks[i].t, prefix);
}

static struct str marker(const struct image_use *img, const char *name)
{
    for (size_t i = 0; img && i < img->facts.n_markers; i++)
        if (str_eqz(img->facts.markers[i].name, name))
            return img->facts.markers[i].value.s;
    return NO_TEXT;
}

/* "task a: what; task b: what" as a list */
static void write_lines(struct jw *w, const char *text)
{
    jw_arr(w);
    while (*text) {
        const char *next = strstr(text, "; task ");
        size_t n = next ? (size_t)(next - text) : strlen(text);

        jw_str(w, (struct str){text, n});
        text += n + (next ? 2 : 0);
    }
    jw_end_arr(w);
}

static void write_needs(struct jw *w, const struct needs *n)
{
    jw_key(w, "missing");
    write_lines(w, buf_str(&n->text));
    jw_key(w, "images");
    jw_arr(w);
    for (size_t i = 0; i < n->n_images; i++)
        jw_str(w, n->images[i]);
    jw_end_arr(w);
    jw_key(w, "wheels");
    jw_arr(w);
    for (size_t i = 0; i < n->n_wheels; i++) {
        jw_obj(w);
        key_text(w, "requirement", n->wheels[i].requirement);
        key_text(w, "image", n->wheels[i].image_ref);
        key_text(w, "python_version", marker(n->wheels[i].image, "python_version"));
        key_text(w, "machine", marker(n->wheels[i].image, "platform_machine"));
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static void write_counts(struct jw *w, const struct walk *p)
{
    jw_key(w, "counts");
    jw_obj(w);
    for (int i = WOULD_CACHED; i < WOULDS; i++)
        jw_ki64(w, would_names[i], (int64_t)p->counts[i]);
    jw_ki64(w, "maybe", (int64_t)p->n_maybe);
    jw_end_obj(w);
}

void plan_write(struct walk *p, struct jw *w)
{
    const struct engine *en = p->en;

    jw_obj(w);
    jw_key(w, "pipeline");
    jw_str(w, en->p.name);
    write_counts(w, p);
    write_needs(w, en->needs);
    jw_key(w, "tasks");
    jw_arr(w);
    write_scope(p, w, en->g.root, NO_TEXT);
    jw_end_arr(w);
    jw_end_obj(w);
}

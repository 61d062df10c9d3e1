/* SPDX-License-Identifier: Apache-2.0 */
/* taskgraph.c - the tasks of a run as a picture
 *
 * Paths are the tree: "for-loop-2[0]/square" stands in "for-loop-2[0]", an iteration of
 * "for-loop-2". An iteration that has no row of its own gets a box all the same, its
 * state derived from what is in it. Arrows come from the pipeline, by names within one
 * DAG.
 *
 * A page is not a place for ten thousand boxes. Of a loop a few iterations are drawn,
 * the failed ones first, and a box that counts the rest; when that is still too much,
 * groups are drawn closed; and when that is too much, there is a sentence instead, and
 * the table of tasks below has everything.
 */
#include "report/taskgraph.h"

#include "base/clock.h"
#include "report/html.h"
#include "report/picture.h"

#define BOXES_MAX 260
#define ITERATIONS_MAX 6

const char *state_style(enum db_state s)
{
    static const char *const styles[DB_STATES] = {
        [DB_PENDING] = "s-pending",      [DB_RUNNING] = "s-running",
        [DB_SUCCEEDED] = "s-ok",         [DB_FAILED] = "s-failed",
        [DB_SKIPPED] = "s-skipped",      [DB_CANCELED] = "s-canceled",
        [DB_INTERRUPTED] = "s-canceled",
    };

    return styles[s];
}

const char *state_glyph(enum db_state s, bool cached)
{
    static const char *const glyphs[DB_STATES] = {
        [DB_PENDING] = "\u00b7", [DB_RUNNING] = "\u25b8", [DB_SUCCEEDED] = "\u2713",
        [DB_FAILED] = "\u2715",  [DB_SKIPPED] = "\u2013", [DB_CANCELED] = "\u25a0",
        [DB_INTERRUPTED] = "!",
    };

    return cached ? "\u21ba" : glyphs[s];
}

struct str task_note_in(struct arena *a, const struct db_task *t, int64_t now_unix_ms)
{
    static const char *const words[DB_STATES] = {
        [DB_PENDING] = "waiting",     [DB_RUNNING] = "running",
        [DB_SUCCEEDED] = "done",      [DB_FAILED] = "failed",
        [DB_SKIPPED] = "skipped",     [DB_CANCELED] = "canceled",
        [DB_INTERRUPTED] = "stopped",
    };
    char took[24];

    if (t->cached)
        return STR("cached");
    if (!t->started_unix_ms)
        return str_of(words[t->state]);
    clock_human((t->finished_unix_ms ? t->finished_unix_ms : now_unix_ms) -
                    t->started_unix_ms,
                took);
    if (t->state == DB_SUCCEEDED && t->attempts < 2)
        return fmt_in(a, "%s", took);
    if (t->attempts > 1)
        return fmt_in(a, "%s, %s, %lld attempts", words[t->state], took,
                      (long long)t->attempts);
    return fmt_in(a, "%s, %s", words[t->state], took);
}

/* ---- the tree ---- */

struct node {
    struct str path;
    const struct db_task *task; /* NULL: an iteration without a row */
    size_t index, parent;       /* in the tree; PIC_TOP */
    size_t *kids, n_kids;
    enum db_state state;
    bool is_iteration;
    size_t box; /* in the picture; PIC_TOP = not drawn */
};

struct tree {
    struct arena *a;
    const struct report_opts *o;
    struct map by_path;
    struct node **nodes;
    size_t n;
    bool closed; /* groups are drawn as one box */
    struct picture p;
};

/* where a path stands: "x[3]" in "x", "x/y" in "x", "x" in nothing */
static struct str path_above(struct str path)
{
    size_t i = path.len;
    char end = '/';

    if (i && path.ptr[i - 1] == ']')
        end = '[';
    while (i && path.ptr[i - 1] != end)
        i--;
    return (struct str){path.ptr, i ? i - 1 : 0};
}

static struct str last_name(struct str path)
{
    struct str above = path_above(path);
    size_t cut = above.len + (above.len && path.ptr[above.len] == '/');

    return (struct str){path.ptr + cut, path.len - cut};
}

static struct node *node_of(struct tree *t, struct str path)
{
    struct node *x = map_get(&t->by_path, path);

    if (x)
        return x;
    x = arena_alloc(t->a, sizeof(*x));
    *x = (struct node){
        .path = path, .parent = PIC_TOP, .state = DB_SKIPPED, .box = PIC_TOP};
    x->is_iteration = path.len && path.ptr[path.len - 1] == ']';
    t->nodes = arena_grow(t->a, t->nodes, &t->n, sizeof(*t->nodes));
    t->nodes[t->n - 1] = x;
    x->index = t->n - 1;
    map_put(&t->by_path, path, x);
    return x;
}

/* parents are made before their children, whatever order the rows have */
static struct node *add_path(struct tree *t, struct str path)
{
    struct str above = path_above(path);
    struct node *up = NULL, *x = map_get(&t->by_path, path);

    if (x)
        return x;
    if (above.len && above.len < path.len)
        up = add_path(t, above);
    x = node_of(t, path);
    if (up) {
        x->parent = up->index;
        up->kids = arena_grow(t->a, up->kids, &up->n_kids, sizeof(*up->kids));
        up->kids[up->n_kids - 1] = x->index;
    }
    return x;
}

/* what a group without a row is: the worst of what is in it */
static void derive_states(struct tree *t)
{
    static const int rank[DB_STATES] = {
        [DB_SKIPPED] = 0, [DB_SUCCEEDED] = 1,   [DB_PENDING] = 2, [DB_CANCELED] = 3,
        [DB_RUNNING] = 4, [DB_INTERRUPTED] = 4, [DB_FAILED] = 5};

    for (size_t i = t->n; i-- > 0;) {
        struct node *x = t->nodes[i];
        if (x->task) {
            x->state = x->task->state;
            continue;
        }
        for (size_t k = 0; k < x->n_kids; k++) {
            enum db_state s = t->nodes[x->kids[k]]->state;
            if (rank[s] > rank[x->state])
                x->state = s;
        }
    }
}

static void build_tree(struct tree *t, const struct db_task *tasks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add_path(t, tasks[i].path)->task = &tasks[i];
    derive_states(t);
}

/* ---- boxes ---- */

static struct pic_box *add_box(struct tree *t, size_t parent)
{
    t->p.boxes = arena_grow(t->a, t->p.boxes, &t->p.n_boxes, sizeof(*t->p.boxes));
    t->p.boxes[t->p.n_boxes - 1].parent = parent;
    return &t->p.boxes[t->p.n_boxes - 1];
}

static struct str counts_in(const struct tree *t, const size_t *kids, size_t n)
{
    size_t by[DB_STATES] = {0};

    for (size_t i = 0; i < n; i++)
        by[t->nodes[kids[i]]->state]++;
    if (by[DB_FAILED])
        return fmt_in(t->a, "%zu of %zu failed", by[DB_FAILED], n);
    return fmt_in(t->a, "%zu of %zu done", by[DB_SUCCEEDED], n);
}

static struct str group_note(const struct tree *t, const struct node *x)
{
    struct str kind = x->task ? x->task->kind : STR("iteration");

    if (str_eqz(kind, "loop"))
        return fmt_in(t->a, "loop, %zu iterations", x->n_kids);
    if (str_eqz(kind, "dag"))
        kind = x->is_iteration ? STR("iteration") : STR("nested pipeline");
    if (x->state == DB_SKIPPED && str_eqz(kind, "condition"))
        kind = STR("condition, not taken");
    return kind;
}

static bool is_group_kind(const struct node *x)
{
    return x->n_kids || (x->task && (str_eqz(x->task->kind, "dag") ||
                                     str_eqz(x->task->kind, "loop") ||
                                     str_eqz(x->task->kind, "condition")));
}

static void fill_box(struct tree *t, struct pic_box *b, const struct node *x)
{
    const struct db_task *task = x->task;

    b->name = x->is_iteration
                  ? fmt_in(t->a, "%.*s", (int)(x->path.len - path_above(x->path).len),
                           x->path.ptr + path_above(x->path).len)
                  : last_name(x->path);
    b->style = state_style(x->state);
    b->glyph = state_glyph(x->state, task && task->cached);
    b->title = x->path;
    if (is_group_kind(x))
        b->note = group_note(t, x);
    else if (task)
        b->note = task_note_in(t->a, task, t->o->now_unix_ms);
    if (b->is_group && task && task->started_unix_ms && task->finished_unix_ms) {
        char took[24];
        clock_human(task->finished_unix_ms - task->started_unix_ms, took);
        b->note = fmt_in(t->a, "%.*s, %s", STR_ARG(b->note), took);
    }
    if (task)
        b->href = fmt_in(t->a, "#t%lld", (long long)task->id);
    if (task && task->error.len)
        b->title = fmt_in(t->a, "%.*s: %.*s", STR_ARG(x->path), STR_ARG(task->error));
}

static void add_node(struct tree *t, struct node *x, size_t parent);

/* a few iterations, the failed and running first, and a box for the others */
static void add_iterations(struct tree *t, struct node *loop, size_t parent)
{
    static const enum db_state first[] = {DB_FAILED, DB_RUNNING, DB_STATES};
    size_t shown = 0, *rest = arena_alloc(t->a, (loop->n_kids + 1) * sizeof(*rest)),
           n_rest = 0;
    bool *take = arena_alloc(t->a, loop->n_kids + 1);

    for (size_t round = 0; round < N_ELEMS(first); round++)
        for (size_t i = 0; i < loop->n_kids && shown < ITERATIONS_MAX; i++) {
            enum db_state s = t->nodes[loop->kids[i]]->state;
            if (take[i] || (first[round] != DB_STATES && s != first[round]))
                continue;
            take[i] = true;
            shown++;
        }
    for (size_t i = 0; i < loop->n_kids; i++) {
        if (take[i])
            add_node(t, t->nodes[loop->kids[i]], parent);
        else
            rest[n_rest++] = loop->kids[i];
    }
    if (n_rest) {
        struct pic_box *b = add_box(t, parent);
        b->name = fmt_in(t->a, "%zu more iterations", n_rest);
        b->note = counts_in(t, rest, n_rest);
        b->style = "s-more";
        b->glyph = "\u2026";
        b->title = b->name;
    }
}

static void add_node(struct tree *t, struct node *x, size_t parent)
{
    bool open = x->n_kids && !t->closed;
    struct pic_box *b = add_box(t, parent);
    size_t at = t->p.n_boxes - 1;

    b->is_group = open;
    fill_box(t, b, x);
    if (t->closed && x->n_kids)
        b->note = counts_in(t, x->kids, x->n_kids);
    x->box = at;
    if (!open)
        return;
    if (t->nodes[x->kids[0]]->is_iteration) {
        add_iterations(t, x, at);
        return;
    }
    for (size_t i = 0; i < x->n_kids; i++)
        add_node(t, t->nodes[x->kids[i]], at);
}

static void add_boxes(struct tree *t)
{
    t->p.boxes = NULL;
    t->p.n_boxes = 0;
    for (size_t i = 0; i < t->n; i++)
        t->nodes[i]->box = PIC_TOP;
    for (size_t i = 0; i < t->n; i++)
        if (t->nodes[i]->parent == PIC_TOP)
            add_node(t, t->nodes[i], PIC_TOP);
}

/* ---- arrows ---- */

/* "a/for-loop-2[0]/b" -> "a/for-loop-2/b" */
static struct str without_indices(struct arena *a, struct str path)
{
    char *out = arena_alloc(a, path.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < path.len; i++) {
        if (path.ptr[i] == '[')
            while (i < path.len && path.ptr[i] != ']')
                i++;
        else
            out[n++] = path.ptr[i];
    }
    return (struct str){out, n};
}

static void arrows_of(struct tree *t, struct str scope_path, const struct report_dep *d)
{
    bool root = !scope_path.len;
    struct node *from, *to;
    struct pic_line *line;

    from = map_get(&t->by_path, root ? d->from
                                     : fmt_in(t->a, "%.*s/%.*s", STR_ARG(scope_path),
                                              STR_ARG(d->from)));
    to = map_get(&t->by_path,
                 root ? d->to
                      : fmt_in(t->a, "%.*s/%.*s", STR_ARG(scope_path), STR_ARG(d->to)));
    if (!from || !to || from->box == PIC_TOP || to->box == PIC_TOP)
        return;
    t->p.lines = arena_grow(t->a, t->p.lines, &t->p.n_lines, sizeof(*t->p.lines));
    line = &t->p.lines[t->p.n_lines - 1];
    *line = (struct pic_line){.from = from->box, .to = to->box};
    line->title = fmt_in(t->a, "%.*s \u2192 %.*s", STR_ARG(d->from), STR_ARG(d->to));
}

static void add_arrows(struct tree *t)
{
    t->p.lines = NULL;
    t->p.n_lines = 0;
    for (size_t i = 0; i < t->o->n_deps; i++)
        if (!t->o->deps[i].scope.len)
            arrows_of(t, STR(""), &t->o->deps[i]);
    for (size_t k = 0; k < t->n && !t->closed; k++) {
        struct str scope;
        if (t->nodes[k]->box == PIC_TOP || !t->nodes[k]->n_kids)
            continue;
        scope = without_indices(t->a, t->nodes[k]->path);
        for (size_t i = 0; i < t->o->n_deps; i++)
            if (str_eq(t->o->deps[i].scope, scope))
                arrows_of(t, t->nodes[k]->path, &t->o->deps[i]);
    }
}

void taskgraph_svg(struct buf *b, const struct db_task *tasks, size_t n,
                   const struct report_opts *o)
{
    AUTO_ARENA struct arena a = {0};
    struct tree t = {
        .a = &a, .o = o, .p.label = STR("The tasks of this run and their order")};

    build_tree(&t, tasks, n);
    add_boxes(&t);
    if (t.p.n_boxes > BOXES_MAX) {
        t.closed = true;
        add_boxes(&t);
    }
    if (t.p.n_boxes > BOXES_MAX) {
        HTML(b,
             "<p class='note'>$ tasks side by side are too many for a drawing; the "
             "table "
             "below lists them.</p>\n",
             fmt_in(&a, "%zu", t.p.n_boxes));
    } else {
        add_arrows(&t);
        picture_svg(b, &t.p);
    }
    map_done(&t.by_path);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* trace.c - a closure as text for people, as JSON, and as a Graphviz drawing
 *
 * People ask "what is this made of", so the tree is one of artifacts, each with the
 * task that made it; a task has a line of its own only where nothing else would show
 * it. With a type asked for, artifacts of other types and all tasks are left out and
 * their neighbours joined up:
 *
 *     a12 model  system.Model  3f2a9c1b77de  accuracy=0.93  train in churn-x7k2p
 *     └─ dataset: a7 data  system.Dataset  9d3f0a41c2bb  rows=5000  load in churn-x7k2p
 *
 * What was printed before is named again but not opened again, so shared inputs cannot
 * blow the tree up.
 */
#include <stdlib.h>

#include "base/json.h"
#include "base/limits.h"
#include "lineage/closure.h"
#include "lineage/rows.h"

#define TREE_DEPTH_MAX 500 /* lines further in would not be read by anybody */
#define FACTS_SHOWN 4      /* metadata on a line */
#define FACT_BYTES 40

/* for every node the edges that leave it in one direction of walking */
struct fan {
    size_t *first; /* n_nodes + 1: range of each node in `edges` */
    size_t *edges;
};

static void fan_done(struct fan *f)
{
    free(f->first);
    free(f->edges);
}

static size_t near_end(const struct lineage_edge *x, enum db_direction dir)
{
    return dir == DB_UP ? x->to : x->from;
}

static size_t far_end(const struct lineage_edge *x, enum db_direction dir)
{
    return dir == DB_UP ? x->from : x->to;
}

static bool on_the_way(const struct lineage *l, size_t node, enum db_direction dir)
{
    return node < l->n_starts || (l->nodes[node].from & dir);
}

static void fan_init(struct fan *f, const struct lineage *l, enum db_direction dir)
{
    f->first = xalloc((l->n_nodes + 2) * sizeof(*f->first));
    f->edges = xalloc((l->n_edges + 1) * sizeof(*f->edges));
    for (size_t i = 0; i < l->n_edges; i++)
        f->first[near_end(&l->edges[i], dir) + 2]++;
    for (size_t i = 2; i < l->n_nodes + 2; i++)
        f->first[i] += f->first[i - 1];
    for (size_t i = 0; i < l->n_edges; i++)
        f->edges[f->first[near_end(&l->edges[i], dir) + 1]++] = i;
}

/* ---- the next artifacts that are shown ----------------------------------------------
 */

struct below { /* a line under another: an artifact, or a task that gave out none */
    size_t node;
    size_t via;  /* the task whose cache hit led here, or SIZE_MAX */
    size_t read; /* the edge artifact -> task between the two, or SIZE_MAX */
};
struct belows {
    struct below *items;
    size_t n, cap;
};

static void below_add(struct belows *b, size_t node, size_t via, size_t read)
{
    if (b->n == b->cap) {
        b->cap = b->cap ? b->cap * 2 : 16;
        b->items = xrealloc(b->items, b->cap * sizeof(*b->items));
    }
    b->items[b->n++] = (struct below){node, via, read};
}

struct look {
    const struct lineage *l;
    const struct fan *fan;
    enum db_direction dir;
    size_t *stamp; /* of each node: the last search that met it */
    size_t search;
};

/* the edge that a line for `next` shows: over what is hidden, a role would be one in
 * somebody else's task */
static size_t read_of(const struct look *k, const struct below *at, size_t start,
                      size_t edge, size_t next)
{
    bool task = k->l->nodes[next].is_task;

    if (task ? at->node != start : at->read == SIZE_MAX)
        return SIZE_MAX;
    return !task && k->dir == DB_DOWN ? at->read : edge;
}

/* one step from `at`: onto *out what is shown, onto *stack what is only passed. How
 * many edges there are */
static size_t step_from(struct look *k, size_t start, const struct below *at,
                        struct belows *stack, struct belows *out)
{
    const struct lineage *l = k->l;
    size_t first = k->fan->first[at->node], met = 0;

    for (size_t i = k->fan->first[at->node + 1];
         i-- > first;) { /* the stack turns it round */
        size_t edge = k->fan->edges[i], next = far_end(&l->edges[edge], k->dir);

        if (!on_the_way(l, next, k->dir))
            continue;
        met++;
        if (k->stamp[next] == k->search)
            continue;
        k->stamp[next] = k->search;
        if (!l->nodes[next].is_task && l->nodes[next].shown)
            below_add(out, next, l->edges[edge].reused ? at->node : SIZE_MAX,
                      read_of(k, at, start, edge, next));
        else
            below_add(stack, next, SIZE_MAX, read_of(k, at, start, edge, next));
    }
    return met;
}

static void turn_round(struct below *items, size_t n)
{
    for (size_t i = 0, j = n; i + 1 < j; i++, j--) {
        struct below t = items[i];
        items[i] = items[j - 1];
        items[j - 1] = t;
    }
}

/* what hangs below `node`, through tasks and whatever is not shown; an own stack, since
 * hidden chains can be long */
static void below_of(struct look *k, size_t node, struct belows *out)
{
    struct belows stack = {0};

    k->search++;
    k->stamp[node] = k->search;
    below_add(&stack, node, SIZE_MAX, SIZE_MAX);
    while (stack.n) {
        struct below at = stack.items[--stack.n];
        size_t from = out->n, met = step_from(k, node, &at, &stack, out);
        const struct lineage_node *x = &k->l->nodes[at.node];

        turn_round(out->items + from, out->n - from);
        if (x->is_task && !met && x->shown && k->dir == DB_DOWN)
            below_add(out, at.node, SIZE_MAX, at.read);
    }
    free(stack.items);
}

/* ---- text ---------------------------------------------------------------------------
 */

static void short_value(struct buf *out, json *v)
{
    char number[32];

    if (yyjson_is_str(v)) {
        struct str s = json_as_str(v);
        size_t n = s.len;
        if (n > FACT_BYTES) /* not through the middle of a character */
            for (n = FACT_BYTES; n && ((unsigned char)s.ptr[n] & 0xc0) == 0x80; n--)
                ;
        buf_add_plain(out, s.ptr, n);
        buf_adds(out, n < s.len ? "..." : "");
    } else if (yyjson_is_num(v)) {
        json_number_text(yyjson_get_num(v), number);
        buf_adds(out, number);
    } else {
        buf_adds(out, yyjson_is_true(v) ? "true" : "false");
    }
}

/* "rows=5000", the first few scalars of the metadata */
static void facts_add(struct buf *out, const struct db_artifact *x, const char *between,
                      const char *equals)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err ignored;
    size_t i, max, n = 0;
    yyjson_val *k, *v;

    if (!x->metadata_json.len ||
        json_parse(x->metadata_json, LIMIT_VALUE_BYTES, &doc, &ignored) < 0)
        return;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, k, v)
    {
        struct str key = json_as_str(k);
        if (!yyjson_is_str(v) && !yyjson_is_num(v) && !yyjson_is_bool(v))
            continue;
        if (n++ == FACTS_SHOWN)
            break;
        buf_adds(out, between);
        buf_add_plain(out, key.ptr, key.len < FACT_BYTES ? key.len : FACT_BYTES);
        buf_adds(out, equals);
        short_value(out, v);
    }
}

/* the inputs under which an artifact was read by a task: "train_set", "models[2]" */
static void roles_add(const struct lineage *l, size_t read, struct buf *out)
{
    size_t from = l->edges[read].from, to = l->edges[read].to, i = read, n = 0;

    /* edges of one task or one artifact were found together and stand together */
    while (i && (l->edges[i - 1].from == from || l->edges[i - 1].to == to))
        i--;
    for (; i < l->n_edges && (l->edges[i].from == from || l->edges[i].to == to); i++) {
        const struct lineage_edge *x = &l->edges[i];
        if (x->from != from || x->to != to)
            continue;
        buf_addf(out, "%s%.*s", n++ ? ", " : "", STR_ARG(x->name));
        if (x->idx)
            buf_addf(out, "[%lld]", (long long)x->idx);
    }
}

static void artifact_text(const struct lineage *l, const struct lineage_node *n,
                          size_t via, struct buf *out)
{
    const struct db_artifact *x = n->artifact;

    buf_addf(out, "a%lld %.*s  %.*s", (long long)x->id, STR_ARG(x->name),
             STR_ARG(x->type));
    if (x->digest_hex[0])
        buf_addf(out, "  %.12s", x->digest_hex);
    facts_add(out, x, "  ", "=");
    if (n->task_path.len)
        buf_addf(out, "  %.*s in %.*s", STR_ARG(n->task_path), STR_ARG(n->run_name));
    else if (x->source.len)
        buf_addf(out, "  from %.*s", STR_ARG(x->source));
    else
        buf_adds(out, "  from outside");
    if (n->tags.len)
        buf_addf(out, "  [%.*s]", STR_ARG(n->tags));
    if (x->state != DB_LIVE)
        buf_adds(out, x->state == DB_REMOVED ? "  (removed)" : "  (content deleted)");
    if (via != SIZE_MAX)
        buf_addf(out, "  (cache hit of %.*s in %.*s)", STR_ARG(l->nodes[via].task_path),
                 STR_ARG(l->nodes[via].run_name));
    if (n->n_twins)
        buf_addf(out, "  (same bytes as %.*s%s)", STR_ARG(n->twin_text),
                 n->n_twins > 1 ? " and others" : "");
    if (n->mark)
        buf_addf(out, "  REVOKED (%.*s: %.*s)", STR_ARG(n->mark->what),
                 STR_ARG(n->mark->reason));
}

static void task_line(const struct lineage_node *n, struct buf *out)
{
    buf_addf(out, "%.*s in %.*s  %s, no artifacts", STR_ARG(n->task_path),
             STR_ARG(n->run_name), db_state_name(n->task->state));
}

struct tree {
    struct look look;
    struct buf *out;
    struct buf margin;
    bool *printed;
    unsigned depth;
};

/* as a line of its own: names, roles and reasons come from tasks and archives, and command no
 * terminal */
static void artifact_line(const struct lineage *l, const struct lineage_node *n, struct buf *out)
{
    AUTO_BUF struct buf line = {0};

    artifact_text(l, n, SIZE_MAX, &line);
    buf_add_plain(out, buf_str(&line), line.len);
    buf_addc(out, '\n');
}

static void tree_line(struct tree *t, const struct below *at, bool again)
{
    const struct lineage *l = t->look.l;
    const struct lineage_node *n = &l->nodes[at->node];
    AUTO_BUF struct buf line = {0};

    if (at->read != SIZE_MAX && t->look.dir == DB_UP) {
        roles_add(l, at->read, &line);
        buf_adds(&line, ": ");
    }
    if (n->is_task)
        task_line(n, &line);
    else if (again)
        buf_addf(&line, "a%lld %.*s  (see above)", (long long)n->id, STR_ARG(n->artifact->name));
    else
        artifact_text(l, n, at->via, &line);
    if (at->read != SIZE_MAX && t->look.dir == DB_DOWN && !again) {
        buf_adds(&line, "  read as ");
        roles_add(l, at->read, &line);
    }
    buf_add_plain(t->out, buf_str(&line), line.len);
}

static void tree_below(struct tree *t, size_t node)
{
    const struct lineage *l = t->look.l;
    struct belows b = {0};
    size_t margin = t->margin.len;

    below_of(&t->look, node, &b);
    for (size_t i = 0; i < b.n; i++) {
        const struct lineage_node *n = &l->nodes[b.items[i].node];
        bool last = i + 1 == b.n, again = t->printed[b.items[i].node];

        buf_addf(t->out, "%s%s", buf_str(&t->margin), last ? "└─ " : "├─ ");
        tree_line(t, &b.items[i], again);
        buf_addc(t->out, '\n');
        t->printed[b.items[i].node] = true;
        if (n->is_task || again)
            continue;

        buf_adds(&t->margin, last ? "   " : "│  ");
        if (++t->depth < TREE_DEPTH_MAX)
            tree_below(t, b.items[i].node);
        else
            buf_addf(t->out, "%s...\n", buf_str(&t->margin));
        t->depth--;
        t->margin.len = margin;
        t->margin.ptr[margin] = '\0';
    }
    free(b.items);
}

static void tree_from(const struct lineage *l, size_t start, enum db_direction dir,
                      struct buf *out)
{
    struct fan fan;
    struct tree t = {.look = {.l = l, .fan = &fan, .dir = dir}, .out = out};

    fan_init(&fan, l, dir);
    t.look.stamp = xalloc((l->n_nodes + 1) * sizeof(*t.look.stamp));
    t.printed = xalloc(l->n_nodes + 1);
    t.printed[start] = true;
    tree_below(&t, start);
    free(t.printed);
    free(t.look.stamp);
    buf_done(&t.margin);
    fan_done(&fan);
}

void lineage_tree(const struct lineage *l, struct buf *out)
{
    bool both = l->opts.directions == (DB_UP | DB_DOWN);

    for (size_t i = 0; i < l->n_starts; i++) {
        artifact_line(l, &l->nodes[i], out);
        if (both)
            buf_adds(out, "upstream\n");
        if (l->opts.directions & DB_UP)
            tree_from(l, i, DB_UP, out);
        if (both)
            buf_adds(out, "downstream\n");
        if (l->opts.directions & DB_DOWN)
            tree_from(l, i, DB_DOWN, out);
    }
}

void lineage_list(const struct lineage *l, struct buf *out)
{
    for (size_t i = 0; i < l->n_nodes; i++) {
        if (l->nodes[i].is_task || !l->nodes[i].shown)
            continue;
        artifact_line(l, &l->nodes[i], out);
    }
}

/* ---- edges between what is shown ----------------------------------------------------
 */

struct pair_fn {
    void (*fn)(void *ctx, const struct lineage *l, size_t from, size_t to,
               const struct lineage_edge *edge); /* NULL: joined over what is hidden */
    void *ctx;
};

static void pairs_joined(const struct lineage *l, enum db_direction dir,
                         struct pair_fn f)
{
    struct fan fan;
    struct look k = {.l = l, .fan = &fan, .dir = dir};

    fan_init(&fan, l, dir);
    k.stamp = xalloc((l->n_nodes + 1) * sizeof(*k.stamp));
    for (size_t i = 0; i < l->n_nodes; i++) {
        struct belows b = {0};
        if (!l->nodes[i].shown || !on_the_way(l, i, dir))
            continue;
        below_of(&k, i, &b);
        for (size_t j = 0; j < b.n; j++)
            f.fn(f.ctx, l, dir == DB_UP ? b.items[j].node : i,
                 dir == DB_UP ? i : b.items[j].node, NULL);
        free(b.items);
    }
    free(k.stamp);
    fan_done(&fan);
}

static void pairs(const struct lineage *l, struct pair_fn f)
{
    if (!l->opts.type.len) {
        for (size_t i = 0; i < l->n_edges; i++)
            f.fn(f.ctx, l, l->edges[i].from, l->edges[i].to, &l->edges[i]);
        return;
    }
    if (l->opts.directions & DB_UP)
        pairs_joined(l, DB_UP, f);
    if (l->opts.directions & DB_DOWN)
        pairs_joined(l, DB_DOWN, f);
}

/* ---- JSON ---------------------------------------------------------------------------
 */

static void node_name(const struct lineage_node *n, char out[24])
{
    (void)snprintf(out, 24, "%c%lld", n->is_task ? 't' : 'a', (long long)n->id);
}

static void jw_kstr_or_null(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    s.len ? jw_str(w, s) : jw_null(w);
}

static void artifact_node_json(const struct lineage_node *n, struct jw *w)
{
    const struct db_artifact *x = n->artifact;

    jw_key(w, "name");
    jw_str(w, x->name);
    jw_key(w, "type");
    jw_str(w, x->type);
    jw_key(w, "digest");
    db_jw_digest(w, x->digest_hex);
    jw_ki64(w, "size", x->size_bytes);
    jw_kstr(w, "state", db_artifact_state_name(x->state));
    jw_kstr_or_null(w, "source", x->source);
    jw_key(w, "metadata");
    jw_raw(w, x->metadata_json.len ? x->metadata_json : STR("{}"));
    jw_kstr_or_null(w, "tags", n->tags);
    jw_key(w, "identical");
    jw_arr(w);
    for (size_t i = 0; i < n->n_twins; i++)
        jw_i64(w, n->twins[i]);
    jw_end_arr(w);
    marks_json(n->mark, w);
}

static void task_node_json(const struct lineage_node *n, struct jw *w)
{
    const struct db_task *t = n->task;

    jw_key(w, "name");
    jw_str(w, t->name);
    jw_kstr(w, "state", db_state_name(t->state));
    jw_kbool(w, "cached", t->cached);
    jw_key(w, "image");
    db_jw_digest(w, t->image_hex);
    jw_kstr_or_null(w, "component", t->component);
    jw_key(w, "code");
    db_jw_digest(w, t->code_hex);
}

static void edge_json(void *ctx, const struct lineage *l, size_t from, size_t to,
                      const struct lineage_edge *edge)
{
    struct jw *w = ctx;
    char name[24];

    jw_obj(w);
    node_name(&l->nodes[from], name);
    jw_kstr(w, "from", name);
    node_name(&l->nodes[to], name);
    jw_kstr(w, "to", name);
    if (edge) {
        jw_key(w, "name");
        jw_str(w, edge->name);
        jw_ki64(w, "index", edge->idx);
        jw_kbool(w, "cached", edge->reused);
    }
    jw_end_obj(w);
}

void lineage_json(const struct lineage *l, struct jw *w)
{
    char name[24];

    jw_obj(w);
    jw_key(w, "start");
    jw_arr(w);
    for (size_t i = 0; i < l->n_starts; i++) {
        node_name(&l->nodes[i], name);
        jw_strz(w, name);
    }
    jw_end_arr(w);

    jw_key(w, "nodes");
    jw_arr(w);
    for (size_t i = 0; i < l->n_nodes; i++) {
        const struct lineage_node *n = &l->nodes[i];
        if (!n->shown)
            continue;
        node_name(n, name);
        jw_obj(w);
        jw_kstr(w, "id", name);
        jw_kstr(w, "kind", n->is_task ? "task" : "artifact");
        n->is_task ? task_node_json(n, w) : artifact_node_json(n, w);
        jw_kstr_or_null(w, "run_id", n->run_uuid);
        jw_kstr_or_null(w, "run", n->run_name);
        jw_kstr_or_null(w, "pipeline", n->pipeline);
        jw_kstr_or_null(w, "task", n->task_path);
        jw_ki64(w, "depth", n->depth);
        jw_kbool(w, "upstream", (n->from & DB_UP) != 0);
        jw_kbool(w, "downstream", (n->from & DB_DOWN) != 0);
        jw_end_obj(w);
    }
    jw_end_arr(w);

    jw_key(w, "edges");
    jw_arr(w);
    pairs(l, (struct pair_fn){edge_json, w});
    jw_end_arr(w);
    jw_end_obj(w);
}

/* ---- Graphviz -----------------------------------------------------------------------
 */

static void dot_text(struct buf *out, struct str s)
{
    for (size_t i = 0; i < s.len; i++) {
        unsigned char c = (unsigned char)s.ptr[i];
        if (c == '"' || c == '\\')
            buf_addc(out, '\\');
        buf_addc(out, c < ' ' || c == 0x7f ? ' ' : (char)c);
    }
}

static void dot_node(const struct lineage *l, size_t i, struct buf *out)
{
    const struct lineage_node *n = &l->nodes[i];
    AUTO_BUF struct buf facts = {0};
    char name[24];

    node_name(n, name);
    buf_addf(out, "  %s [", name);
    if (n->is_task) {
        buf_adds(out, "shape=ellipse, label=\"");
        dot_text(out, n->task_path);
        buf_adds(out, "\\n");
        dot_text(out, n->run_name);
    } else {
        buf_addf(out, "shape=box%s%s, label=\"%s ",
                 i < l->n_starts ? ", penwidth=2" : "",
                 n->mark ? ", color=red, fontcolor=red" : "", name);
        dot_text(out, n->artifact->name);
        buf_adds(out, "\\n");
        dot_text(out, n->artifact->type);
        if (n->artifact->digest_hex[0])
            buf_addf(out, "\\n%.12s", n->artifact->digest_hex);
        facts_add(&facts, n->artifact, "\n", " ");
        for (char *at = facts.ptr, *end; at && *at; at = end) {
            end = strchrnul(at + 1, '\n');
            buf_adds(out, "\\n");
            dot_text(out, (struct str){at + 1, (size_t)(end - at - 1)});
        }
        if (n->tags.len) {
            buf_adds(out, "\\n");
            dot_text(out, n->tags);
        }
    }
    buf_adds(out, "\"];\n");
}

static void dot_edge(void *ctx, const struct lineage *l, size_t from, size_t to,
                     const struct lineage_edge *edge)
{
    struct buf *out = ctx;
    char a[24], b[24];

    node_name(&l->nodes[from], a);
    node_name(&l->nodes[to], b);
    buf_addf(out, "  %s -> %s", a, b);
    if (edge) {
        buf_adds(out, " [label=\"");
        dot_text(out, edge->name);
        buf_addf(out, "\"%s]", edge->reused ? ", style=dashed" : "");
    } else {
        buf_adds(out, " [style=dotted]");
    }
    buf_adds(out, ";\n");
}

void lineage_dot(const struct lineage *l, struct buf *out)
{
    buf_adds(out, "digraph lineage {\n  rankdir=LR;\n"
                  "  node [fontname=\"sans-serif\", fontsize=10];\n"
                  "  edge [fontname=\"sans-serif\", fontsize=8];\n");
    for (size_t i = 0; i < l->n_nodes; i++) {
        if (l->nodes[i].shown)
            dot_node(l, i, out);
    }
    pairs(l, (struct pair_fn){dot_edge, out});
    buf_adds(out, "}\n");
}

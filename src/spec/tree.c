/* SPDX-License-Identifier: Apache-2.0 */
/* tree.c - nodes that know where they stand
 *
 * One builder serves both readers. The members of all containers that are still open
 * lie on one stack; closing a container copies its slice into the arena, looks for keys
 * given twice and pops it. Aliases share the node they name, so a file of nested
 * aliases costs no memory here, but whoever walks the tree would walk it all: each node
 * therefore weighs what a walk over it costs, and the sum is held against
 * LIMIT_SPEC_NODES.
 *
 * Paths are not stored: a node knows who holds it, and a message that needs the path
 * looks for it on the way up.
 */
#include "spec/tree.h"

#include <stdio.h>

#include "spec/utf8.h"

int pos_err(struct err *e, enum err_code code, struct str file, struct pos at,
            const char *fmt, ...)
{
    char text[sizeof(e->text)];
    const char *cut = "";
    va_list ap;

    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);

    if (file.len > 140) {
        cut = "...";
        file.ptr += file.len - 137;
        file.len = 137;
    }
    if (!at.line)
        return err_set(e, code, "%s%.*s: %s", cut, STR_ARG(file), text);
    return err_set(e, code, "%s%.*s:%u:%u: %s", cut, STR_ARG(file), at.line, at.col,
                   text);
}

/* Building */

void tree_build_init(struct tree_build *t, struct arena *a, struct str file)
{
    memset(t, 0, sizeof(*t));
    t->a = a;
    t->file = file;
}

void tree_build_done(struct tree_build *t)
{
    free(t->members);
    t->members = NULL;
    t->n_members = t->cap = 0;
}

static struct tree_open *innermost(struct tree_build *t)
{
    return t->depth ? &t->open[t->depth - 1] : NULL;
}

bool tree_build_wants_key(const struct tree_build *t)
{
    return t->depth && t->open[t->depth - 1].node->kind == NODE_MAP && !t->has_key;
}

/* Text weighs, too: a long one that is named often would be copied often. A file of 32
 * MiB that is all text weighs a million. */
static size_t weight_of(struct str text)
{
    return 1 + text.len / 32;
}

static int count(struct tree_build *t, size_t weight, struct pos at, struct err *e)
{
    if (__builtin_add_overflow(t->nodes, weight, &t->nodes) ||
        t->nodes > LIMIT_SPEC_NODES)
        return pos_err(e, ERR_LIMIT, t->file, at,
                       "more than %d values in one file, aliases counted each time",
                       LIMIT_SPEC_NODES);
    return 0;
}

int tree_build_key(struct tree_build *t, struct str text, struct pos at, struct err *e)
{
    must(tree_build_wants_key(t));
    if (memchr(text.ptr, 0, text.len))
        return pos_err(e, ERR_INPUT, t->file, at, "a NUL character in a key");
    t->key = arena_str(t->a, text);
    t->key_pos = at;
    t->has_key = true;
    return count(t, weight_of(text), at, e);
}

/* hang a node into the innermost container, or start a document with it */
static void hang(struct tree_build *t, struct node *n, struct str key,
                 struct pos key_pos)
{
    if (!t->depth) {
        struct tree *tree = &t->tree;

        if (node_is_null(n))
            return; /* a document of comments only */
        tree->docs = arena_grow(t->a, tree->docs, &tree->n_docs, sizeof(struct node *));
        tree->docs[tree->n_docs - 1] = n;
        return;
    }
    if (t->n_members == t->cap) {
        t->cap = t->cap ? t->cap * 2 : 256;
        t->members = xrealloc(t->members, t->cap * sizeof(*t->members));
    }
    t->members[t->n_members++] =
        (struct member){.key = key, .key_pos = key_pos, .value = n};
}

static struct node *new_node(struct tree_build *t, enum node_kind kind, struct pos at)
{
    struct node *n = arena_alloc(t->a, sizeof(*n));

    n->kind = kind;
    n->pos = at;
    n->weight = 1;
    n->up = t->depth ? innermost(t)->node : NULL;
    return n;
}

int tree_build_scalar(struct tree_build *t, struct str text, bool plain, struct pos at,
                      struct node **out, struct err *e)
{
    struct node *n;

    must(!tree_build_wants_key(t));
    if (count(t, weight_of(text), at, e) < 0)
        return -1;
    n = new_node(t, NODE_SCALAR, at);
    n->weight = weight_of(text);
    n->plain = plain;
    n->text = arena_str(t->a, text);
    hang(t, n, t->key, t->key_pos);
    t->has_key = false;
    if (out)
        *out = n;
    return 0;
}

int tree_build_open(struct tree_build *t, enum node_kind kind, struct pos at,
                    struct node **out, struct err *e)
{
    struct tree_open *o;

    must(!tree_build_wants_key(t));
    if (t->depth == LIMIT_SPEC_DEPTH)
        return pos_err(e, ERR_LIMIT, t->file, at, "nested more than %d levels deep",
                       LIMIT_SPEC_DEPTH);
    if (count(t, 1, at, e) < 0)
        return -1;

    o = &t->open[t->depth];
    o->node = new_node(t, kind, at);
    o->first = t->n_members;
    o->key = t->key;
    o->key_pos = t->key_pos;
    t->depth++;
    t->has_key = false;
    if (out)
        *out = o->node;
    return 0;
}

static int given_twice(struct tree_build *t, const struct member *first,
                       const struct member *again, struct err *e)
{
    return pos_err(e, ERR_INPUT, t->file, again->key_pos,
                   "\"%.80s\" is given twice, first at line %u", again->key.ptr,
                   first->key_pos.line);
}

static int check_unique(struct tree_build *t, const struct node *map, struct err *e)
{
    const struct member *m = map->members;

    if (map->n <= 8) {
        for (size_t i = 1; i < map->n; i++) {
            for (size_t j = 0; j < i; j++) {
                if (str_eq(m[i].key, m[j].key))
                    return given_twice(t, &m[j], &m[i], e);
            }
        }
        return 0;
    }

    struct map seen = {0};
    int rc = 0;

    for (size_t i = 0; i < map->n && rc == 0; i++) {
        const struct member *first = map_get(&seen, m[i].key);

        if (first)
            rc = given_twice(t, first, &m[i], e);
        else
            map_put(&seen, m[i].key, (void *)&m[i]);
    }
    map_done(&seen);
    return rc;
}

int tree_build_close(struct tree_build *t, struct err *e)
{
    struct tree_open o;

    must(t->depth && !t->has_key);
    o = *innermost(t);
    o.node->n = t->n_members - o.first;
    if (o.node->n) {
        size_t bytes = o.node->n * sizeof(struct member);

        o.node->members = arena_alloc(t->a, bytes);
        memcpy(o.node->members, t->members + o.first, bytes);
    }
    for (size_t i = 0; i < o.node->n; i++) {
        const struct member *m = &o.node->members[i];

        o.node->weight +=
            m->value->weight + (o.node->kind == NODE_MAP ? weight_of(m->key) : 0);
    }
    t->n_members = o.first;
    t->depth--;
    hang(t, o.node, o.key, o.key_pos);
    return o.node->kind == NODE_MAP ? check_unique(t, o.node, e) : 0;
}

int tree_build_alias(struct tree_build *t, struct node *n, struct pos at, struct err *e)
{
    must(!tree_build_wants_key(t));
    for (size_t i = 0; i < t->depth; i++) {
        if (t->open[i].node == n)
            return pos_err(e, ERR_INPUT, t->file, at,
                           "an alias inside of what it stands for");
    }
    if (count(t, n->weight, at, e) < 0)
        return -1;
    hang(t, n, t->key, t->key_pos);
    t->has_key = false;
    return 0;
}

struct pos tree_pos(struct str text, size_t offset)
{
    struct pos at = {1, 1};

    for (size_t i = 0; i < offset; i++) {
        if (text.ptr[i] == '\n') {
            at.line++;
            at.col = 1;
        } else if (((unsigned char)text.ptr[i] & 0xC0) != 0x80) {
            at.col++;
        }
    }
    return at;
}

/* JSON, when the first thing is an object whose first thing is a string (or nothing). A YAML stream may
 * begin like that, but JSON has no line that begins with "---". */
static bool looks_like_json(struct str text)
{
    size_t i = 0;

    while (i < text.len && strchr(" \t\r\n", text.ptr[i]) && text.ptr[i])
        i++;
    if (i == text.len || text.ptr[i++] != '{')
        return false;
    while (i < text.len && strchr(" \t\r\n", text.ptr[i]) && text.ptr[i])
        i++;
    return i < text.len && (text.ptr[i] == '"' || text.ptr[i] == '}') &&
           !memmem(text.ptr, text.len, "\n---", 4);
}

int tree_read_in(struct arena *a, struct str file, struct str text, struct tree *out,
                 struct err *e)
{
    struct tree_build *t;
    size_t bad_at;
    int rc;

    if (text.len > LIMIT_SPEC_BYTES)
        return pos_err(e, ERR_LIMIT, file, (struct pos){0}, "larger than %llu MiB",
                       LIMIT_SPEC_BYTES / MIB);
    if (!utf8_check(text, &bad_at))
        return pos_err(e, ERR_INPUT, file, tree_pos(text, bad_at),
                       "byte 0x%02x is not UTF-8: this is no YAML or JSON text",
                       (unsigned)(unsigned char)text.ptr[bad_at]);
    if (str_starts(text, "\xEF\xBB\xBF")) {
        text.ptr += 3;
        text.len -= 3;
    }

    t = xalloc(sizeof(*t));
    tree_build_init(t, a, file);
    rc = looks_like_json(text) ? jsontext_read(t, text, e) : yaml_read(t, text, e);
    if (rc == 0)
        *out = t->tree;
    tree_build_done(t);
    free(t);
    return rc;
}

/* Looking */

const struct node *node_member(const struct node *n, const char *key)
{
    if (!n || n->kind != NODE_MAP)
        return NULL;
    for (size_t i = 0; i < n->n; i++) {
        if (node_is_key(n->members[i].key, key))
            return n->members[i].value;
    }
    return NULL;
}

bool node_is_key(struct str key, const char *camel)
{
    if (str_eqz(key, camel))
        return true;

    size_t i = 0;

    for (; *camel; camel++) {
        bool upper = *camel >= 'A' && *camel <= 'Z';

        if (upper && (i == key.len || key.ptr[i++] != '_'))
            return false;
        if (i == key.len || key.ptr[i++] != (upper ? *camel - 'A' + 'a' : *camel))
            return false;
    }
    return i == key.len;
}

static void index_in(const struct node *up, const struct node *n, char out[64])
{
    out[0] = '\0';
    for (size_t i = 0; i < up->n; i++) {
        if (up->members[i].value != n)
            continue;
        if (up->kind == NODE_LIST)
            snprintf(out, 64, "[%zu]", i);
        else
            snprintf(out, 64, ".%.62s", up->members[i].key.ptr);
        return;
    }
}

void node_path(const struct node *n, char out[200])
{
    char step[64];
    size_t at = 199; /* filled from its end */

    out[at] = '\0';
    for (; n && n->up; n = n->up) {
        index_in(n->up, n, step);

        size_t len = strlen(step);

        if (len + 3 > at) {
            at -= 3;
            memcpy(out + at, "...", 3);
            break;
        }
        at -= len;
        memcpy(out + at, step, len);
    }
    if (out[at] == '.' && out[at + 1] != '.')
        at++;
    memmove(out, out + at, 200 - at);
}

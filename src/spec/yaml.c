/* SPDX-License-Identifier: Apache-2.0 */
/* yaml.c - YAML text -> tree, over libyaml's events
 *
 * libyaml reads syntax; everything that has meaning is decided here: what may be an
 * alias, which tags are understood (those of JSON's types, for they change nothing),
 * how deep and how much. Its document API is not used: it copies aliases' parents into
 * one flat table with 16-bit limits of its own and forgets where keys stood.
 */
#include "spec/tree.h"

#include <yaml.h>

#define TAG_DIRECTIVES_MAX 16

struct yaml {
    struct tree_build *t;
    struct str text;
    yaml_parser_t parser;
    struct map anchors; /* name -> node, of this document */
};

static struct pos pos_of(yaml_mark_t mark)
{
    return (struct pos){(uint32_t)mark.line + 1, (uint32_t)mark.column + 1};
}

static int syntax_err(const struct yaml *y, struct err *e)
{
    const yaml_parser_t *p = &y->parser;
    const char *what = p->problem ? p->problem : "not YAML";

    if (p->error == YAML_MEMORY_ERROR)
        return pos_err(e, ERR_LIMIT, y->t->file, pos_of(p->mark), "out of memory");
    if (p->error == YAML_READER_ERROR)
        return pos_err(e, ERR_INPUT, y->t->file, tree_pos(y->text, p->problem_offset),
                       "%s (character 0x%02x)", what, (unsigned)p->problem_value);
    if (p->context && p->context_mark.line != p->problem_mark.line)
        return pos_err(e, ERR_INPUT, y->t->file, pos_of(p->problem_mark),
                       "%s, %s of line %zu", what, p->context,
                       p->context_mark.line + 1);
    return pos_err(e, ERR_INPUT, y->t->file, pos_of(p->problem_mark), "%s", what);
}

static struct str text_of(const unsigned char *bytes, size_t len)
{
    return (struct str){(const char *)bytes, len};
}

static void remember(struct yaml *y, const yaml_char_t *anchor, struct node *n)
{
    if (anchor)
        map_put(&y->anchors, arena_str(y->t->a, str_of((const char *)anchor)), n);
}

#define CORE "tag:yaml.org,2002:"

static int refuse_tag(const struct yaml *y, const yaml_char_t *tag, struct pos at,
                      struct err *e)
{
    return pos_err(
        e, ERR_INPUT, y->t->file, at,
        "the tag %.80s is not understood here: only those of JSON's types are",
        (const char *)tag);
}

/* A tag on a scalar: !!str makes text, the other core types must say what the text says
 */
static int scalar_tag(const struct yaml *y, const yaml_event_t *ev, struct pos at,
                      bool *plain, struct err *e)
{
    static const struct {
        const char *tag;
        enum value_kind kind;
    } core[] = {
        {CORE "null", VALUE_NULL},  {CORE "bool", VALUE_BOOL},
        {CORE "int", VALUE_NUMBER}, {CORE "float", VALUE_NUMBER},
        {CORE "str", VALUE_STRING}, {"!", VALUE_STRING},
    };
    const char *tag = (const char *)ev->data.scalar.tag;
    struct node as = {
        .kind = NODE_SCALAR,
        .plain = true,
        .text = text_of(ev->data.scalar.value, ev->data.scalar.length),
    };

    *plain = ev->data.scalar.plain_implicit &&
             ev->data.scalar.style == YAML_PLAIN_SCALAR_STYLE;
    if (!tag)
        return 0;
    for (size_t i = 0; i < N_ELEMS(core); i++) {
        if (strcmp(tag, core[i].tag) != 0)
            continue;
        *plain = core[i].kind != VALUE_STRING;
        if (!*plain || node_type(&as) == core[i].kind)
            return 0;
        return pos_err(e, ERR_INPUT, y->t->file, at,
                       "\"%.40s\" is not what its tag %s says", as.text.ptr, tag);
    }
    return refuse_tag(y, ev->data.scalar.tag, at, e);
}

static int on_scalar(struct yaml *y, const yaml_event_t *ev, struct err *e)
{
    struct str text = text_of(ev->data.scalar.value, ev->data.scalar.length);
    struct pos at = pos_of(ev->start_mark);
    struct node *n;
    bool plain;

    if (tree_build_wants_key(y->t)) {
        if (ev->data.scalar.anchor)
            return pos_err(e, ERR_INPUT, y->t->file, at, "an anchor on a key");
        if (ev->data.scalar.plain_implicit && str_eqz(text, "<<"))
            return pos_err(e, ERR_INPUT, y->t->file, at,
                           "merge keys (<<) are not understood: write the fields out");
        return tree_build_key(y->t, text, at, e);
    }
    if (scalar_tag(y, ev, at, &plain, e) < 0 ||
        tree_build_scalar(y->t, text, plain, at, &n, e) < 0)
        return -1;
    remember(y, ev->data.scalar.anchor, n);
    return 0;
}

static int on_open(struct yaml *y, enum node_kind kind, const yaml_event_t *ev,
                   const yaml_char_t *tag, const yaml_char_t *anchor, struct err *e)
{
    const char *own = kind == NODE_MAP ? CORE "map" : CORE "seq";
    struct pos at = pos_of(ev->start_mark);
    struct node *n;

    if (tree_build_wants_key(y->t))
        return pos_err(e, ERR_INPUT, y->t->file, at, "a key that is no text");
    if (tag && strcmp((const char *)tag, own) != 0)
        return refuse_tag(y, tag, at, e);
    if (tree_build_open(y->t, kind, at, &n, e) < 0)
        return -1;
    remember(y, anchor, n);
    return 0;
}

static int on_alias(struct yaml *y, const yaml_event_t *ev, struct err *e)
{
    const char *name = (const char *)ev->data.alias.anchor;
    struct node *n = map_get(&y->anchors, str_of(name));
    struct pos at = pos_of(ev->start_mark);

    if (tree_build_wants_key(y->t))
        return pos_err(e, ERR_INPUT, y->t->file, at, "an alias as a key");
    if (!n)
        return pos_err(e, ERR_INPUT, y->t->file, at,
                       "no anchor &%.80s before this alias", name);
    return tree_build_alias(y->t, n, at, e);
}

static int on_event(struct yaml *y, const yaml_event_t *ev, struct err *e)
{
    switch (ev->type) {
    case YAML_SCALAR_EVENT:
        return on_scalar(y, ev, e);
    case YAML_SEQUENCE_START_EVENT:
        return on_open(y, NODE_LIST, ev, ev->data.sequence_start.tag,
                       ev->data.sequence_start.anchor, e);
    case YAML_MAPPING_START_EVENT:
        return on_open(y, NODE_MAP, ev, ev->data.mapping_start.tag,
                       ev->data.mapping_start.anchor, e);
    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        return tree_build_close(y->t, e);
    case YAML_ALIAS_EVENT:
        return on_alias(y, ev, e);
    case YAML_DOCUMENT_END_EVENT:
        map_done(&y->anchors);
        y->anchors = (struct map){0};
        return 0;
    case YAML_NO_EVENT:
    case YAML_STREAM_START_EVENT:
    case YAML_STREAM_END_EVENT:
    case YAML_DOCUMENT_START_EVENT:
        return 0;
    }
    return 0;
}

/* libyaml compares each %TAG directive with all before it, so a file of nothing else
 * would keep it busy for hours. No tag that one could declare is understood anyway. */
static int check_directives(const struct yaml *y, struct err *e)
{
    struct str rest = y->text;
    const char *at;

    for (int n = 0; (at = memmem(rest.ptr, rest.len, "\n%TAG", 5)) != NULL; n++) {
        size_t offset = (size_t)(at + 1 - y->text.ptr);

        if (n == TAG_DIRECTIVES_MAX)
            return pos_err(e, ERR_LIMIT, y->t->file, tree_pos(y->text, offset),
                           "more than %d %%TAG directives", TAG_DIRECTIVES_MAX);
        rest = (struct str){at + 1, y->text.len - offset};
    }
    return 0;
}

int yaml_read(struct tree_build *t, struct str text, struct err *e)
{
    struct yaml y = {.t = t, .text = text};
    bool end = false;
    int rc = check_directives(&y, e);

    if (rc < 0)
        return -1;
    must(yaml_parser_initialize(&y.parser));
    yaml_parser_set_encoding(&y.parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&y.parser, (const unsigned char *)text.ptr, text.len);
    while (rc == 0 && !end) {
        yaml_event_t ev;

        if (!yaml_parser_parse(&y.parser, &ev)) {
            rc = syntax_err(&y, e);
            break;
        }
        end = ev.type == YAML_STREAM_END_EVENT;
        rc = on_event(&y, &ev, e);
        yaml_event_delete(&ev);
    }
    map_done(&y.anchors);
    yaml_parser_delete(&y.parser);
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* component.c - what a component takes and gives: input and output definitions
 *
 * Interfaces are read for all components before any DAG, because tasks refer to
 * components in any order and want to be checked against them at once, with the node
 * still in hand.
 */
#include "spec/reader.h"

#include <stdio.h>

/* by number, as in the schema's enum */
static const struct {
    const char *name;
    enum param_type type;
} types[] = {
    {"PARAMETER_TYPE_ENUM_UNSPECIFIED", PARAM_UNSPECIFIED},
    {"NUMBER_DOUBLE", PARAM_DOUBLE},
    {"NUMBER_INTEGER", PARAM_INTEGER},
    {"STRING", PARAM_STRING},
    {"BOOLEAN", PARAM_BOOLEAN},
    {"LIST", PARAM_LIST},
    {"STRUCT", PARAM_STRUCT},
    {"TASK_FINAL_STATUS", PARAM_FINAL_STATUS},
    {"TASK_CONFIG", PARAM_TASK_CONFIG},
};

/* the deprecated field `type` */
static const struct {
    const char *name;
    enum param_type type;
} old_types[] = {
    {"PRIMITIVE_TYPE_UNSPECIFIED", PARAM_UNSPECIFIED},
    {"INT", PARAM_INTEGER},
    {"DOUBLE", PARAM_DOUBLE},
    {"STRING", PARAM_STRING},
};

static int read_type(const struct reader *r, const struct node *n,
                     const struct node *old, enum param_type *out, struct err *e)
{
    const char *names[N_ELEMS(types)];
    uint64_t number;

    if (!node_is_null(n) && node_type(n) == VALUE_NUMBER) {
        if (read_uint(r, n, N_ELEMS(types) - 1, &number, e) < 0)
            return -1;
        *out = types[number].type;
        return 0;
    }

    struct str text = {"", 0};

    if (!node_is_null(n)) {
        if (read_str(r, n, &text, e) < 0)
            return -1;
        for (size_t i = 0; i < N_ELEMS(types); i++) {
            names[i] = types[i].name;
            if (str_eqz(text, types[i].name)) {
                *out = types[i].type;
                return 0;
            }
        }
        return read_err(r, n, e, "unknown type \"%.60s\"%s", text.ptr,
                        hint_of(text, names, N_ELEMS(types)).text);
    }
    if (read_str(r, old, &text, e) < 0)
        return -1;
    for (size_t i = 0; i < N_ELEMS(old_types); i++) {
        if (str_eqz(text, old_types[i].name))
            *out = old_types[i].type;
    }
    return 0;
}

static int read_literals(struct reader *r, const struct node *n, struct param_def *p,
                         struct err *e)
{
    struct value *literals;
    struct member *m;

    if (read_list(r, n, &m, &p->n_literals, e) < 0)
        return -1;
    literals = arena_alloc(r->a, p->n_literals * sizeof(*literals) + 1);
    for (size_t i = 0; i < p->n_literals; i++) {
        struct err why;

        if (node_value_in(r->a, r->file, m[i].value, &literals[i], e) < 0)
            return -1;
        if (value_check_strict(p->type, &literals[i], &why) < 0)
            return read_err(r, m[i].value, e, "%s", why.text);
    }
    p->literals = literals;
    return 0;
}

/* the default must be what the type and the literals say */
static int check_default(struct reader *r, const struct node *n, struct param_def *p,
                         struct err *e)
{
    struct value v;
    struct err why;

    if (!p->default_value)
        return 0;
    if (p->default_value->kind == VALUE_NULL) {
        p->default_value = NULL;
        return 0;
    }
    v = *p->default_value;
    if (value_check_in(r->a, p->type, &v, &why) < 0)
        return read_err(r, n, e, "%s", why.text);
    p->default_value = memcpy(arena_alloc(r->a, sizeof(v)), &v, sizeof(v));
    if (!param_allows(p, &v))
        return read_err(r, n, e, "the default is none of the literals");
    return 0;
}

static int read_param(struct reader *r, const struct member *m, struct param_def *p,
                      struct err *e)
{
    enum { TYPE, OLD_TYPE, DEFAULT, OPTIONAL, DESCRIPTION, LITERALS, N };
    static const char *const names[] = {"parameterType", "type",        "defaultValue",
                                        "isOptional",    "description", "literals"};
    const struct node *f[N];

    p->name = arena_str(r->a, m->key);
    p->pos = m->key_pos;
    p->description = STR("");
    if (read_fields(r, m->value, names, N, f, e) < 0 ||
        read_type(r, f[TYPE], f[OLD_TYPE], &p->type, e) < 0 ||
        read_bool(r, f[OPTIONAL], &p->optional, e) < 0 ||
        read_str(r, f[DESCRIPTION], &p->description, e) < 0 ||
        read_value(r, f[DEFAULT], &p->default_value, e) < 0 ||
        read_literals(r, f[LITERALS], p, e) < 0)
        return -1;
    return check_default(r, f[DEFAULT], p, e);
}

int read_schema(struct reader *r, const struct node *n, struct str *title,
                struct str *version, struct err *e)
{
    enum { TITLE, INSTANCE, URI, VERSION, N };
    static const char *const names[] = {"schemaTitle", "instanceSchema", "schemaUri",
                                        "schemaVersion"};
    const struct node *f[N];

    *title = STR("system.Artifact");
    *version = STR("0.0.1");
    if (read_fields(r, n, names, N, f, e) < 0 || read_str(r, f[TITLE], title, e) < 0 ||
        read_str(r, f[VERSION], version, e) < 0)
        return -1;
    if (!title->len)
        *title = STR("system.Artifact");
    if (!version->len)
        *version = STR("0.0.1");
    return 0;
}

static int read_artifact(struct reader *r, const struct member *m,
                         struct artifact_def *d, struct err *e)
{
    enum { TYPE, LIST, OPTIONAL, DESCRIPTION, METADATA, PROPERTIES, CUSTOM, N };
    static const char *const names[] = {
        "artifactType", "isArtifactList", "isOptional",      "description",
        "metadata",     "properties",     "customProperties"};
    const struct node *f[N];

    d->name = arena_str(r->a, m->key);
    d->pos = m->key_pos;
    d->description = STR("");
    if (read_fields(r, m->value, names, N, f, e) < 0)
        return -1;
    for (int i = PROPERTIES; i <= CUSTOM; i++) {
        if (!node_is_null(f[i]) && f[i]->n)
            read_notice(r, f[i], f[i]->pos, "deprecated, use metadata: ignored");
    }
    if (read_schema(r, f[TYPE], &d->schema_title, &d->schema_version, e) < 0 ||
        read_bool(r, f[LIST], &d->is_list, e) < 0 ||
        read_bool(r, f[OPTIONAL], &d->optional, e) < 0 ||
        read_str(r, f[DESCRIPTION], &d->description, e) < 0)
        return -1;
    return read_struct(r, f[METADATA], &d->metadata, e);
}

/* Interfaces are small and searched from front to back; past this size there is an
 * index, so that a hostile file cannot make the parser quadratic */
#define SMALL_INTERFACE 16

struct name_index {
    struct str name;
    uint32_t index;
};

static int cmp_str(struct str a, struct str b)
{
    size_t shorter = a.len < b.len ? a.len : b.len;
    int c = shorter ? memcmp(a.ptr, b.ptr, shorter) : 0;

    return c ? c : (a.len > b.len) - (a.len < b.len);
}

static int cmp_name_index(const void *a, const void *b)
{
    return cmp_str(((const struct name_index *)a)->name,
                   ((const struct name_index *)b)->name);
}

/* `first` is the name of the first of n definitions that are `size` bytes each */
static uint32_t *index_names(struct arena *a, const struct str *first, size_t n,
                             size_t size)
{
    AUTO_FREE struct name_index *order = NULL;
    uint32_t *out;

    if (n <= SMALL_INTERFACE)
        return NULL;
    order = xalloc(n * sizeof(*order));
    for (size_t i = 0; i < n; i++) {
        const char *at = (const char *)first + i * size;

        order[i].index = (uint32_t)i;
        memcpy(&order[i].name, at, sizeof(order[i].name));
    }
    qsort(order, n, sizeof(*order), cmp_name_index);
    out = arena_alloc(a, n * sizeof(*out));
    for (size_t i = 0; i < n; i++)
        out[i] = order[i].index;
    return out;
}

/* where `name` is among n definitions; n when it is not */
static size_t find_name(const struct str *first, size_t n, size_t size,
                        const uint32_t *index, struct str name)
{
    size_t low = 0, high = n;
    struct str at;

    if (!index) {
        for (size_t i = 0; i < n; i++) {
            memcpy(&at, (const char *)first + i * size, sizeof(at));
            if (str_eq(at, name))
                return i;
        }
        return n;
    }
    while (low < high) {
        size_t mid = low + (high - low) / 2;
        int c;

        memcpy(&at, (const char *)first + index[mid] * size, sizeof(at));
        c = cmp_str(name, at);
        if (c == 0)
            return index[mid];
        if (c < 0)
            high = mid;
        else
            low = mid + 1;
    }
    return n;
}

const struct param_def *io_param(const struct io_defs *d, struct str name)
{
    size_t i = find_name(&d->params->name, d->n_params, sizeof(*d->params),
                         d->params_by_name, name);

    return i < d->n_params ? &d->params[i] : NULL;
}

const struct artifact_def *io_artifact(const struct io_defs *d, struct str name)
{
    size_t i = find_name(&d->artifacts->name, d->n_artifacts, sizeof(*d->artifacts),
                         d->artifacts_by_name, name);

    return i < d->n_artifacts ? &d->artifacts[i] : NULL;
}

static int read_io(struct reader *r, const struct node *n, struct io_defs *io,
                   struct err *e)
{
    enum { PARAMS, ARTIFACTS, N };
    static const char *const names[] = {"parameters", "artifacts"};
    const struct node *f[N];
    struct member *m;

    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;

    if (read_map(r, f[PARAMS], &m, &io->n_params, e) < 0)
        return -1;
    io->params = arena_alloc(r->a, io->n_params * sizeof(*io->params) + 1);
    for (size_t i = 0; i < io->n_params; i++) {
        if (read_name_ok(r, f[PARAMS], &m[i], e) < 0 ||
            read_param(r, &m[i], &io->params[i], e) < 0)
            return -1;
    }
    io->params_by_name =
        index_names(r->a, &io->params->name, io->n_params, sizeof(*io->params));

    if (read_map(r, f[ARTIFACTS], &m, &io->n_artifacts, e) < 0)
        return -1;
    io->artifacts = arena_alloc(r->a, io->n_artifacts * sizeof(*io->artifacts) + 1);
    for (size_t i = 0; i < io->n_artifacts; i++) {
        if (read_name_ok(r, f[ARTIFACTS], &m[i], e) < 0 ||
            read_artifact(r, &m[i], &io->artifacts[i], e) < 0)
            return -1;
        if (io_param(io, io->artifacts[i].name))
            return read_err_at(r, f[ARTIFACTS], m[i].key_pos, e,
                               "\"%.80s\" is the name of a parameter too",
                               m[i].key.ptr);
    }
    io->artifacts_by_name = index_names(r->a, &io->artifacts->name, io->n_artifacts,
                                        sizeof(*io->artifacts));
    return 0;
}

bool param_allows(const struct param_def *p, const struct value *v)
{
    if (!p->n_literals)
        return true;
    for (size_t i = 0; i < p->n_literals; i++) {
        if (value_equal(&p->literals[i], v))
            return true;
    }
    return false;
}

static int find_executor(struct reader *r, const struct node *n, struct component *c,
                         struct err *e)
{
    struct str label = {"", 0};

    if (read_str(r, n, &label, e) < 0)
        return -1;
    c->executor = map_get(&r->executors, label);
    if (c->executor)
        return 0;

    AUTO_FREE const char **names = xalloc((r->p->n_executors + 1) * sizeof(*names));

    for (size_t i = 0; i < r->p->n_executors; i++)
        names[i] = r->p->executors[i]->label.ptr;
    return read_err(r, n, e, "executor \"%.80s\" does not exist%s", label.ptr,
                    hint_of(label, names, r->p->n_executors).text);
}

bool component_applies(const struct component *c, enum passthrough p)
{
    return !c->pass[p].set || c->pass[p].apply;
}

/* [{field, applyToTask}], the field by name or by protobuf's number */
static int read_passthroughs(struct reader *r, const struct node *list,
                             struct component *c, struct err *e)
{
    enum { FIELD, APPLY, N };
    static const char *const names[] = {"field", "applyToTask"};
    static const char *const known[PASSTHROUGHS] = {
        [PASS_RESOURCES] = "RESOURCES",
        [PASS_ENV] = "ENV",
        [PASS_AFFINITY] = "KUBERNETES_AFFINITY",
        [PASS_TOLERATIONS] = "KUBERNETES_TOLERATIONS",
        [PASS_NODE_SELECTOR] = "KUBERNETES_NODE_SELECTOR",
        [PASS_VOLUMES] = "KUBERNETES_VOLUMES"};
    struct member *m;
    size_t n;

    if (read_list(r, list, &m, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        const struct node *f[N];
        char number[4];
        int p = 0;

        if (read_fields(r, m[i].value, names, N, f, e) < 0)
            return -1;
        for (; f[FIELD] && p < PASSTHROUGHS; p++) {
            (void)snprintf(number, sizeof(number), "%d", p + 1);
            if (str_eqz(f[FIELD]->text, known[p]) || str_eqz(f[FIELD]->text, number))
                break;
        }
        if (!f[FIELD] || p == PASSTHROUGHS)
            return read_err(r, m[i].value, e, "want RESOURCES, ENV or one of "
                                              "KUBERNETES_... as the field");
        c->pass[p].set = true;
        if (read_bool(r, f[APPLY], &c->pass[p].apply, e) < 0)
            return -1;
    }
    return 0;
}

int read_component(struct reader *r, const struct node *n, struct component *c,
                   struct err *e)
{
    enum { IN, OUT, DAG, LABEL, PLATFORMS, PASS, N };
    static const char *const names[] = {
        "inputDefinitions", "outputDefinitions",   "dag",
        "executorLabel",    "singlePlatformSpecs", "taskConfigPassthroughs"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 || read_io(r, f[IN], &c->in, e) < 0 ||
        read_io(r, f[OUT], &c->out, e) < 0 || read_passthroughs(r, f[PASS], c, e) < 0)
        return -1;
    if (node_is_null(f[DAG]) == node_is_null(f[LABEL]))
        return read_err_at(r, n, c->pos, e, "want one of dag and executorLabel");
    if (!node_is_null(f[LABEL]))
        return find_executor(r, f[LABEL], c, e);
    c->dag = arena_alloc(r->a, sizeof(*c->dag));
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* executor.c - deploymentSpec: containers and importers
 *
 * In KFP's schema deploymentSpec is a free object and unknown keys in it are ignored.
 * They are here, too, but each one leaves a notice: whoever misspells "image" should
 * hear of it.
 */
#include "spec/reader.h"

#include <stdio.h>

int read_words(struct reader *r, const struct node *n, struct str **out, size_t *n_out,
               struct err *e)
{
    struct member *m;

    if (read_list(r, n, &m, n_out, e) < 0)
        return -1;
    *out = arena_alloc(r->a, *n_out * sizeof(**out) + 1);
    for (size_t i = 0; i < *n_out; i++) {
        (*out)[i] = STR("");
        if (read_word(r, m[i].value, &(*out)[i], e) < 0)
            return -1;
    }
    return 0;
}

int read_env(struct reader *r, const struct node *n, struct env_var **out, size_t *n_out,
             struct err *e)
{
    enum { NAME, VALUE, N };
    static const char *const names[] = {"name", "value"};
    struct member *m;

    if (read_list(r, n, &m, n_out, e) < 0)
        return -1;
    *out = arena_alloc(r->a, *n_out * sizeof(**out) + 1);
    for (size_t i = 0; i < *n_out; i++) {
        struct env_var *v = &(*out)[i];
        const struct node *f[N];

        v->name = v->value = STR("");
        if (read_fields_noting(r, m[i].value, names, N, f, e) < 0 ||
            read_str(r, f[NAME], &v->name, e) < 0 ||
            read_str(r, f[VALUE], &v->value, e) < 0)
            return -1;
        if (!v->name.len || memchr(v->name.ptr, '=', v->name.len))
            return read_err(r, m[i].value, e,
                            "\"%.80s\" is no name of an environment variable",
                            v->name.ptr);
    }
    return 0;
}

/* a text, or a number that older files write without quotes */
static int read_quantity(struct reader *r, const struct node *n, const char *unit,
                         struct str *out, struct err *e)
{
    char text[32];
    double v = 0;

    if (node_is_null(n))
        return 0;
    if (node_type(n) == VALUE_STRING)
        return read_str(r, n, out, e);
    if (read_num(r, n, &v, e) < 0)
        return -1;
    if (v < 0)
        return read_err(r, n, e, "less than nothing");
    if (v == 0)
        return 0; /* protobuf's way to say unset */
    json_number_text(v, text);
    *out = str_of(arena_printf(r->a, "%s%s", text, unit));
    return 0;
}

static int read_accelerator(struct reader *r, const struct node *n,
                            struct resources *res, struct err *e)
{
    enum { TYPE, COUNT, OLD_TYPE, OLD_COUNT, N };
    static const char *const names[] = {"resourceType", "resourceCount", "type",
                                        "count"};
    const struct node *f[N];

    if (read_fields_noting(r, n, names, N, f, e) < 0 ||
        read_str(r, f[OLD_TYPE], &res->accelerator_type, e) < 0 ||
        read_quantity(r, f[OLD_COUNT], "", &res->accelerator_count, e) < 0 ||
        read_str(r, f[TYPE], &res->accelerator_type, e) < 0)
        return -1;
    return read_quantity(r, f[COUNT], "", &res->accelerator_count, e);
}

static int read_resources(struct reader *r, const struct node *n, struct resources *res,
                          struct err *e)
{
    enum {
        CPU_L,
        CPU_R,
        MEM_L,
        MEM_R,
        OLD_CPU_L,
        OLD_CPU_R,
        OLD_MEM_L,
        OLD_MEM_R,
        ACC,
        N
    };
    static const char *const names[] = {
        "resourceCpuLimit",      "resourceCpuRequest", "resourceMemoryLimit",
        "resourceMemoryRequest", "cpuLimit",           "cpuRequest",
        "memoryLimit",           "memoryRequest",      "accelerator",
    };
    const struct node *f[N];

    res->cpu_limit = res->cpu_request = res->memory_limit = STR("");
    res->memory_request = res->accelerator_type = res->accelerator_count = STR("");
    if (read_fields_noting(r, n, names, N, f, e) < 0 ||
        read_quantity(r, f[OLD_CPU_L], "", &res->cpu_limit, e) < 0 ||
        read_quantity(r, f[OLD_CPU_R], "", &res->cpu_request, e) < 0 ||
        read_quantity(r, f[OLD_MEM_L], "G", &res->memory_limit, e) < 0 ||
        read_quantity(r, f[OLD_MEM_R], "G", &res->memory_request, e) < 0 ||
        read_quantity(r, f[CPU_L], "", &res->cpu_limit, e) < 0 ||
        read_quantity(r, f[CPU_R], "", &res->cpu_request, e) < 0 ||
        read_quantity(r, f[MEM_L], "", &res->memory_limit, e) < 0 ||
        read_quantity(r, f[MEM_R], "", &res->memory_request, e) < 0)
        return -1;
    return read_accelerator(r, f[ACC], res, e);
}

static int read_container(struct reader *r, const struct node *n, struct executor *x,
                          struct err *e)
{
    enum { IMAGE, COMMAND, ARGS, ENV, RESOURCES, LIFECYCLE, N };
    static const char *const names[] = {"image", "command",   "args",
                                        "env",   "resources", "lifecycle"};
    const struct node *f[N];

    x->image = STR("");
    if (read_fields_noting(r, n, names, N, f, e) < 0 ||
        read_word(r, f[IMAGE], &x->image, e) < 0 ||
        read_words(r, f[COMMAND], &x->command, &x->n_command, e) < 0 ||
        read_words(r, f[ARGS], &x->args, &x->n_args, e) < 0 ||
        read_env(r, f[ENV], &x->env, &x->n_env, e) < 0)
        return -1;
    if (!x->image.len)
        return read_err_at(r, n, x->pos, e, "the container has no image");
    return read_resources(r, f[RESOURCES], &x->res, e);
}

static int read_uri(struct reader *r, const struct node *n, struct source *out,
                    struct err *e)
{
    enum { CONSTANT, OLD_CONSTANT, PARAMETER, N };
    static const char *const names[] = {"constant", "constantValue",
                                        "runtimeParameter"};
    const struct node *f[N];

    if (read_fields_noting(r, n, names, N, f, e) < 0)
        return -1;
    out->pos = n->pos;
    if (!node_is_null(f[PARAMETER])) {
        out->kind = SOURCE_INPUT;
        return read_str(r, f[PARAMETER], &out->name, e);
    }
    out->kind = SOURCE_CONSTANT;
    if (!node_is_null(f[OLD_CONSTANT]))
        f[CONSTANT] = node_member(f[OLD_CONSTANT], "stringValue");
    if (node_is_null(f[CONSTANT]) || node_type(f[CONSTANT]) != VALUE_STRING)
        return read_err(r, n, e, "want constant (a string) or runtimeParameter");
    return read_value(r, f[CONSTANT], &out->constant, e);
}

static int read_importer(struct reader *r, const struct node *n, struct executor *x,
                         struct err *e)
{
    enum { URI, SCHEMA, REIMPORT, METADATA, WORKSPACE, PROPERTIES, CUSTOM, N };
    static const char *const names[] = {
        "artifactUri",         "typeSchema", "reimport",        "metadata",
        "downloadToWorkspace", "properties", "customProperties"};
    struct importer_def *i = arena_alloc(r->a, sizeof(*i));
    const struct node *f[N];

    x->importer = i;
    if (read_fields_noting(r, n, names, N, f, e) < 0)
        return -1;
    if (node_is_null(f[URI]))
        return read_err_at(r, n, x->pos, e, "the importer has no artifactUri");
    if (read_uri(r, f[URI], &i->uri, e) < 0 ||
        read_schema(r, f[SCHEMA], &i->schema_title, &i->schema_version, e) < 0 ||
        read_bool(r, f[REIMPORT], &i->reimport, e) < 0 ||
        read_bool(r, f[WORKSPACE], &i->to_workspace, e) < 0)
        return -1;
    return read_struct(r, f[METADATA], &i->metadata, e);
}

static int read_executor(struct reader *r, const struct node *n, struct executor *x,
                         struct err *e)
{
    enum { CONTAINER, IMPORTER, RESOLVER, CUSTOM, N };
    static const char *const names[] = {"container", "importer", "resolver",
                                        "customJob"};
    const struct node *f[N];

    if (read_fields_noting(r, n, names, N, f, e) < 0)
        return -1;
    for (int i = RESOLVER; i <= CUSTOM; i++) {
        if (f[i])
            return read_err(r, f[i], e, "executors of this kind are not supported");
    }
    if (node_is_null(f[CONTAINER]) == node_is_null(f[IMPORTER]))
        return read_err_at(r, n, x->pos, e, "want one of container and importer");
    if (!node_is_null(f[CONTAINER])) {
        x->kind = EXECUTOR_CONTAINER;
        return read_container(r, f[CONTAINER], x, e);
    }
    x->kind = EXECUTOR_IMPORTER;
    return read_importer(r, f[IMPORTER], x, e);
}

int read_executors(struct reader *r, const struct node *deployment, struct err *e)
{
    enum { EXECUTORS, N };
    static const char *const names[] = {"executors"};
    struct pipeline *p = r->p;
    const struct node *f[N];
    struct member *m;

    if (read_fields_noting(r, deployment, names, N, f, e) < 0 ||
        read_map(r, f[EXECUTORS], &m, &p->n_executors, e) < 0)
        return -1;
    p->executors = arena_alloc(r->a, p->n_executors * sizeof(struct executor *) + 1);
    for (size_t i = 0; i < p->n_executors; i++) {
        struct executor *x = arena_alloc(r->a, sizeof(*x));

        p->executors[i] = x;
        x->label = arena_str(r->a, m[i].key);
        x->pos = m[i].key_pos;
        if (read_executor(r, m[i].value, x, e) < 0)
            return -1;
        map_put(&r->executors, x->label, x);
    }
    return 0;
}

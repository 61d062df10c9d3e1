/* SPDX-License-Identifier: Apache-2.0 */
/* platform.c - the platform document: Kubernetes settings of executors and of the
 * pipeline
 *
 * KFP drops the whole document when one key in it is unknown, and a task then runs
 * without its secrets. Here every field is looked up in a table, two levels deep, and
 * an unknown one refuses the file. The values stay as they are (struct value): who
 * honours a field reads it.
 */
#include "spec/reader.h"

/* a field and the fields of its object, or of the objects in its list; "" = not looked
 * into */
struct platform_field {
    const char *name;
    const char *inside;
};

#define SOURCES "constant taskOutputParameter componentInputParameter "

static const struct platform_field executor_fields[] = {
    {"secretAsEnv", "secretName secretNameParameter keyToEnv optional"},
    {"secretAsVolume", "secretName secretNameParameter mountPath optional"},
    {"configMapAsEnv", "configMapName configMapNameParameter keyToEnv optional"},
    {"configMapAsVolume", "configMapName configMapNameParameter mountPath optional"},
    {"pvcMount", SOURCES "pvcNameParameter mountPath subPath"},
    {"emptyDirMounts", "volumeName mountPath medium sizeLimit"},
    {"genericEphemeralVolume",
     "volumeName mountPath accessModes size defaultStorageClass "
     "storageClassName metadata"},
    {"enabledSharedMemory", "volumeName size"},
    {"fieldPathAsEnv", "name fieldPath"},
    {"podMetadata", "labels annotations"},
    {"securityContext", "runAsUser runAsGroup runAsNonRoot"},
    {"activeDeadlineSeconds", ""},
    {"initContainers",
     "name image command args env volumeMounts restartPolicy resources"},
    {"imagePullPolicy", ""},
    {"imagePullSecret", "secretName secretNameParameter"},
    {"nodeSelector", "labels nodeSelectorJson"},
    {"tolerations", "key operator value effect tolerationSeconds tolerationJson"},
    {"nodeAffinity", "matchExpressions matchFields weight nodeAffinityJson"},
    {"podAffinity",
     "matchPodLabels topologyKey namespaces matchNamespaceLabels weight anti"},
};

static const struct platform_field pipeline_fields[] = {
    {"workspace", "size kubernetes"},
    {"resourceTtlOnCompletion", ""},
    {"resourceTtlOnSuccess", ""},
    {"resourceTtlOnFailure", ""},
    {"activeDeadlineSeconds", ""},
    {"semaphoreKey", ""},
    {"mutexName", ""},
};

/* placement and pulling: they mean nothing on one machine, ignoring them changes no
 * result */
static const char *const harmless[] = {"imagePullPolicy", "imagePullSecret",
                                       "nodeSelector",    "tolerations",
                                       "nodeAffinity",    "podAffinity"};

static bool is_harmless(struct str key)
{
    for (size_t i = 0; i < N_ELEMS(harmless); i++) {
        if (node_is_key(key, harmless[i]))
            return true;
    }
    return false;
}

bool platform_field_matters(struct str name)
{
    for (size_t i = 0; i < N_ELEMS(executor_fields); i++) {
        if (node_is_key(name, executor_fields[i].name))
            return !is_harmless(name) && !str_eqz(name, "podMetadata");
    }
    return false; /* unknown ones come this far in lenient mode only, with a notice */
}

/* is `key` among the words of `inside`? */
static bool is_inside(struct str key, const char *inside)
{
    char word[64];

    while (*inside) {
        size_t len = strcspn(inside, " ");

        must(len < sizeof(word));
        memcpy(word, inside, len);
        word[len] = '\0';
        if (node_is_key(key, word))
            return true;
        inside += len + strspn(inside + len, " ");
    }
    return false;
}

static int check_inside(struct reader *r, const struct node *n, const char *inside,
                        struct err *e)
{
    if (n->kind == NODE_LIST) {
        for (size_t i = 0; i < n->n; i++) {
            if (check_inside(r, n->members[i].value, inside, e) < 0)
                return -1;
        }
        return 0;
    }
    if (n->kind != NODE_MAP)
        return node_is_null(n) ? 0 : read_err(r, n, e, "want a map");
    for (size_t i = 0; i < n->n; i++) {
        if (!is_inside(n->members[i].key, inside) &&
            read_doubt(r, n, n->members[i].key_pos, e, "unknown field \"%.80s\"",
                       n->members[i].key.ptr) < 0)
            return -1;
    }
    return 0;
}

static int check_fields(struct reader *r, const struct node *map,
                        const struct platform_field *fields, size_t n_fields,
                        struct err *e)
{
    const char *names[N_ELEMS(executor_fields)] = {NULL};
    const struct node *found[N_ELEMS(executor_fields)];

    must(n_fields <= N_ELEMS(names));
    for (size_t i = 0; i < n_fields; i++)
        names[i] = fields[i].name;
    if (read_fields(r, map, names, n_fields, found, e) < 0)
        return -1;
    for (size_t i = 0; i < n_fields; i++) {
        if (found[i] && fields[i].inside[0] &&
            check_inside(r, found[i], fields[i].inside, e) < 0)
            return -1;
    }
    return 0;
}

/* a value whose top keys are spelled in camelCase, however the file spells them */
static int read_camel(struct reader *r, const struct node *n,
                      const struct platform_field *fields, size_t n_fields,
                      const struct value **out, struct err *e)
{
    struct value *v;

    if (read_struct(r, n, out, e) < 0)
        return -1;
    if (!*out)
        return 0;
    v = arena_alloc(r->a, sizeof(*v));
    *v = **out;
    for (size_t i = 0; i < v->n_items; i++) {
        for (size_t k = 0; k < n_fields; k++) {
            if (node_is_key(v->keys[i], fields[k].name))
                v->keys[i] = str_of(fields[k].name);
        }
    }
    *out = v;
    return 0;
}

static void note_ignored(struct reader *r, const struct member *executor)
{
    const struct node *n = executor->value;

    for (size_t i = 0; i < n->n; i++) {
        const struct member *m = &n->members[i];

        if (is_harmless(m->key) && (m->value->n || m->value->text.len))
            read_notice(r, m->value, m->key_pos,
                        "ignored: it means nothing on one machine");
    }
}

static int unknown_executor(struct reader *r, const struct node *executors,
                            const struct member *m, struct err *e)
{
    AUTO_FREE const char **names = NULL;

    if (r->lenient) {
        read_notice(r, executors, m->key_pos, "executor \"%.80s\" does not exist",
                    m->key.ptr);
        return 0;
    }
    names = xalloc((r->p->n_executors + 1) * sizeof(*names));
    for (size_t i = 0; i < r->p->n_executors; i++)
        names[i] = r->p->executors[i]->label.ptr;
    return read_err_at(r, executors, m->key_pos, e,
                       "executor \"%.80s\" does not exist%s", m->key.ptr,
                       hint_of(m->key, names, r->p->n_executors).text);
}

static int read_executor_platform(struct reader *r, const struct node *executors,
                                  const struct member *m, struct err *e)
{
    struct executor *x = map_get(&r->executors, m->key);

    if (!x)
        return unknown_executor(r, executors, m, e);
    if (check_fields(r, m->value, executor_fields, N_ELEMS(executor_fields), e) < 0)
        return -1;
    note_ignored(r, m);
    x->platform_pos = m->key_pos;
    return read_camel(r, m->value, executor_fields, N_ELEMS(executor_fields),
                      &x->platform, e);
}

static int read_deployment(struct reader *r, const struct node *n, struct err *e)
{
    static const char *const names[] = {"executors"};
    const struct node *f[1];
    struct member *m;
    size_t n_m;

    if (read_fields(r, n, names, 1, f, e) < 0 || read_map(r, f[0], &m, &n_m, e) < 0)
        return -1;
    for (size_t i = 0; i < n_m; i++) {
        if (read_executor_platform(r, f[0], &m[i], e) < 0)
            return -1;
    }
    return 0;
}

static int read_pipeline_config(struct reader *r, const struct node *n, struct err *e)
{
    const struct node *deadline = node_member(n, "activeDeadlineSeconds");
    uint64_t seconds = 0;

    if (check_fields(r, n, pipeline_fields, N_ELEMS(pipeline_fields), e) < 0 ||
        read_camel(r, n, pipeline_fields, N_ELEMS(pipeline_fields),
                   &r->p->platform_config, e) < 0 ||
        read_uint(r, deadline, 10ULL * 366 * 86400, &seconds, e) < 0)
        return -1;
    r->p->deadline_ms = (int64_t)seconds * 1000;
    r->p->platform_config_pos = n ? n->pos : (struct pos){0, 0};
    return 0;
}

static int read_kubernetes(struct reader *r, const struct node *n, struct err *e)
{
    enum { DEPLOYMENT, CONFIG, PLATFORM, OTHER, N };
    static const char *const names[] = {"deploymentSpec", "pipelineConfig", "platform",
                                        "config"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_deployment(r, f[DEPLOYMENT], e) < 0)
        return -1;
    return read_pipeline_config(r, f[CONFIG], e);
}

int read_platform(struct reader *r, const struct node *platform, struct err *e)
{
    static const char *const names[] = {"platforms"};
    const struct node *f[1];
    struct member *m;
    size_t n_m;

    if (read_fields(r, platform, names, 1, f, e) < 0 ||
        read_map(r, f[0], &m, &n_m, e) < 0)
        return -1;
    for (size_t i = 0; i < n_m; i++) {
        if (!str_eqz(m[i].key, "kubernetes"))
            read_notice(r, f[0], m[i].key_pos, "settings for \"%.80s\" are ignored",
                        m[i].key.ptr);
        else if (read_kubernetes(r, m[i].value, e) < 0)
            return -1;
    }
    return 0;
}

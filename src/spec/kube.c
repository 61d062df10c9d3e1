/* SPDX-License-Identifier: Apache-2.0 */
/* kube.c - the Kubernetes settings of one executor
 *
 * One row for each field of the document, with the function that reads it; so an
 * unknown field is refused by the same table that knows the others. Most lists hold
 * small maps, read one by one by an `each` function that appends to the arrays of
 * struct kube.
 *
 * A name can be said twice, as the deprecated literal (secretName) and as a source
 * (secretNameParameter). The source wins, even when it gives null: then the entry does
 * not exist.
 */
#include "spec/kube.h"

#include "base/clock.h"
#include "spec/kuberead.h"

#define SECONDS_MAX (10ULL * 366 * 86400)

/* ---- names ---------------------------------------------------------------------- */

static bool plain_name(struct str s)
{
    if (!s.len || s.len > 253)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.ptr[i];

        if (!((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
              (c >= '0' && c <= '9') || c == '-' || c == '_' || c == '.'))
            return false;
    }
    return true;
}

bool kube_name_ok(struct str s)
{
    return plain_name(s) && s.ptr[0] != '.';
}

bool kube_key_ok(struct str s)
{
    return plain_name(s) && !str_eqz(s, ".") && !str_starts(s, "..");
}

bool kube_path_is_workspace(struct str path)
{
    size_t n = sizeof(WORKSPACE_PATH) - 1;

    return str_starts(path, WORKSPACE_PATH) && (path.len == n || path.ptr[n] == '/');
}

/* ---- parts of fields ------------------------------------------------------------- */

/* `each` for every map of a list */
static int read_each(struct reader *r, const struct node *list, struct kube *k,
                     kube_fn *each, struct err *e)
{
    struct member *m;
    size_t n;

    if (read_list(r, list, &m, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (m[i].value->kind != NODE_MAP)
            return read_err(r, m[i].value, e, "want a map");
        if (each(r, m[i].value, k, e) < 0)
            return -1;
    }
    return 0;
}

static int read_output(struct reader *r, const struct node *n, struct source *s,
                       struct err *e)
{
    enum { TASK, KEY, N };
    static const char *const names[] = {"producerTask", "outputParameterKey"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[TASK], &s->task, e) < 0 || read_str(r, f[KEY], &s->name, e) < 0)
        return -1;
    if (!s->task.len || !s->name.len)
        return read_err(r, n, e, "want producerTask and outputParameterKey");
    s->kind = SOURCE_TASK_OUTPUT;
    return 0;
}

/* the members of a source, given by hand since pvcMount has them beside its own */
int kube_source_of(struct reader *r, const struct node *at, const struct node *outer,
                   const struct node *output, const struct node *constant,
                   struct kube_value *v, struct err *e)
{
    int given = !node_is_null(outer) + !node_is_null(output) + !node_is_null(constant);

    if (given != 1)
        return read_err(r, at, e,
                        "want exactly one of componentInputParameter, "
                        "taskOutputParameter and runtimeValue");
    v->set = true;
    v->from = (struct source){
        .pos = at->pos, .task = STR(""), .name = STR(""), .selector = STR("")};
    if (!node_is_null(outer)) {
        v->from.kind = SOURCE_INPUT;
        return read_str(r, outer, &v->from.name, e);
    }
    if (!node_is_null(output))
        return read_output(r, output, &v->from, e);
    return read_runtime_value(r, constant, &v->from, e);
}

int kube_source(struct reader *r, const struct node *n, struct kube_value *v,
                struct err *e)
{
    enum { OUTER, OUTPUT, CONSTANT, N };
    static const char *const names[] = {"componentInputParameter",
                                        "taskOutputParameter", "runtimeValue"};
    const struct node *f[N];

    if (node_is_null(n))
        return 0;
    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;
    return kube_source_of(r, n, f[OUTER], f[OUTPUT], f[CONSTANT], v, e);
}

static int set_literal(struct reader *r, const struct node *n, struct kube_value *v,
                       struct err *e)
{
    *v = (struct kube_value){.set = true,
                             .from = {.kind = SOURCE_CONSTANT,
                                      .task = STR(""),
                                      .name = STR(""),
                                      .selector = STR(""),
                                      .pos = n->pos}};
    return read_value(r, n, &v->from.constant, e);
}

/* a name as a literal or as a source; one of them must be there */
int kube_name(struct reader *r, const struct node *at, const struct node *literal,
              const struct node *source, const char *what, struct kube_value *v,
              struct err *e)
{
    struct str text = STR("");

    if (kube_source(r, source, v, e) < 0 || read_str(r, literal, &text, e) < 0)
        return -1;
    if (v->set)
        return 0;
    if (!text.len)
        return read_err(r, at, e, "the name of the %s is missing", what);
    if (!kube_name_ok(text))
        return read_err(r, literal, e, "\"%.80s\" is no name of a %s", text.ptr, what);
    return set_literal(r, literal, v, e);
}

int kube_mount_path(struct reader *r, const struct node *at, const struct node *n,
                    struct str *out, struct err *e)
{
    *out = STR("");
    if (read_str(r, n, out, e) < 0)
        return -1;
    if (!out->len || out->ptr[0] != '/')
        return read_err(r, n ? n : at, e, "want an absolute mountPath, got \"%.80s\"",
                        out->ptr);
    while (out->len > 1 && out->ptr[out->len - 1] == '/')
        *out = arena_str(r->a, (struct str){out->ptr, out->len - 1});
    if (kube_path_is_workspace(*out))
        return read_err(r, n, e,
                        "nothing can be mounted at or below %s, the run's workspace",
                        WORKSPACE_PATH);
    return 0;
}

/* 1Gi, 500M; empty and absent: 0 */
int kube_size(struct reader *r, const struct node *n, uint64_t *out, struct err *e)
{
    struct str text = STR("");
    struct err why;

    if (read_str(r, n, &text, e) < 0)
        return -1;
    if (text.len && size_parse(text, out, &why) < 0)
        return read_err(r, n, e, "%s", why.text);
    return 0;
}

int kube_var(struct reader *r, const struct node *n, struct str var, struct err *e)
{
    if (var.len && !memchr(var.ptr, '=', var.len))
        return 0;
    return read_err(r, n, e, "\"%.80s\" is no name of an environment variable",
                    var.ptr);
}

/* ---- the pod --------------------------------------------------------------------- */

static int read_texts(struct reader *r, const struct node *n, struct env_var **out,
                      size_t *n_out, struct err *e)
{
    struct member *m;

    if (read_map(r, n, &m, n_out, e) < 0)
        return -1;
    *out = arena_alloc(r->a, *n_out * sizeof(**out) + 1);
    for (size_t i = 0; i < *n_out; i++) {
        (*out)[i] = (struct env_var){arena_str(r->a, m[i].key), STR("")};
        if (read_str(r, m[i].value, &(*out)[i].value, e) < 0)
            return -1;
    }
    return 0;
}

static int read_pod_metadata(struct reader *r, const struct node *n, struct kube *k,
                             struct err *e)
{
    enum { LABELS, ANNOTATIONS, N };
    static const char *const names[] = {"labels", "annotations"};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_texts(r, f[LABELS], &k->labels, &k->n_labels, e) < 0)
        return -1;
    return read_texts(r, f[ANNOTATIONS], &k->annotations, &k->n_annotations, e);
}

static int read_security(struct reader *r, const struct node *n, struct kube *k,
                         struct err *e)
{
    enum { USER, GROUP, NON_ROOT, N };
    static const char *const names[] = {"runAsUser", "runAsGroup", "runAsNonRoot"};
    uint64_t user = 0, group = 0;
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_uint(r, f[USER], INT32_MAX, &user, e) < 0 ||
        read_uint(r, f[GROUP], INT32_MAX, &group, e) < 0 ||
        read_bool(r, f[NON_ROOT], &k->non_root, e) < 0)
        return -1;
    k->has_user = !node_is_null(f[USER]);
    k->has_group = !node_is_null(f[GROUP]);
    k->user = (uint32_t)user;
    k->group = (uint32_t)group;
    if (k->non_root && k->has_user && !user)
        return read_err(r, n, e, "runAsNonRoot and runAsUser 0 contradict each other");
    return 0;
}

static int read_deadline(struct reader *r, const struct node *n, struct kube *k,
                         struct err *e)
{
    uint64_t seconds = 0;

    if (read_uint(r, n, SECONDS_MAX, &seconds, e) < 0)
        return -1;
    k->timeout_ms = (int64_t)seconds * 1000;
    return 0;
}

static int read_pull_policy(struct reader *r, const struct node *n, struct kube *k,
                            struct err *e)
{
    struct str text = STR("");

    if (read_str(r, n, &text, e) < 0)
        return -1;
    k->pull_always = str_eqz(text, "Always");
    if (!text.len || k->pull_always || str_eqz(text, "Never") ||
        str_eqz(text, "IfNotPresent"))
        return 0;
    return read_err(r, n, e, "want Always, Never or IfNotPresent, got \"%.40s\"",
                    text.ptr);
}

static int each_pull_secret(struct reader *r, const struct node *n, struct kube *k,
                            struct err *e)
{
    enum { NAME, PARAMETER, N };
    static const char *const names[] = {"secretName", "secretNameParameter"};
    struct kube_value v = {0};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        kube_name(r, n, f[NAME], f[PARAMETER], "secret", &v, e) < 0)
        return -1;
    k->pull_secrets = arena_grow(r->a, k->pull_secrets, &k->n_pull_secrets, sizeof(v));
    k->pull_secrets[k->n_pull_secrets - 1] = v;
    return 0;
}

/* ---- placement ------------------------------------------------------------------- */

/* One entry. A first name that ends in "Json" may come from a parameter, the rest is
 * kept as it is. */
static int add_placement(struct reader *r, const struct node *n, struct kube *k,
                         enum kube_placement_kind kind, const char *const *names,
                         size_t n_names, struct err *e)
{
    struct kube_placement p = {.kind = kind};
    bool has_json = str_ends(str_of(names[0]), "Json");
    const struct node *f[8];

    must(n_names <= N_ELEMS(f));
    if (read_fields(r, n, names, n_names, f, e) < 0 ||
        (has_json && kube_source(r, f[0], &p.json, e) < 0))
        return -1;
    for (size_t i = has_json; i < n_names && !p.literal; i++) {
        if (!node_is_null(f[i]) && read_struct(r, n, &p.literal, e) < 0)
            return -1;
    }
    if (!p.literal && !p.json.set)
        return 0;
    k->placements = arena_grow(r->a, k->placements, &k->n_placements, sizeof(p));
    k->placements[k->n_placements - 1] = p;
    return 0;
}

static int read_node_selector(struct reader *r, const struct node *n, struct kube *k,
                              struct err *e)
{
    static const char *const names[] = {"nodeSelectorJson", "labels"};

    return add_placement(r, n, k, KUBE_NODE_SELECTOR, names, N_ELEMS(names), e);
}

static int each_toleration(struct reader *r, const struct node *n, struct kube *k,
                           struct err *e)
{
    static const char *const names[] = {
        "tolerationJson", "key", "operator", "value", "effect", "tolerationSeconds"};

    return add_placement(r, n, k, KUBE_TOLERATION, names, N_ELEMS(names), e);
}

static int each_node_affinity(struct reader *r, const struct node *n, struct kube *k,
                              struct err *e)
{
    static const char *const names[] = {"nodeAffinityJson", "matchExpressions",
                                        "matchFields", "weight"};

    return add_placement(r, n, k, KUBE_NODE_AFFINITY, names, N_ELEMS(names), e);
}

static int each_pod_affinity(struct reader *r, const struct node *n, struct kube *k,
                             struct err *e)
{
    static const char *const names[] = {"matchPodLabels",
                                        "matchPodExpressions",
                                        "topologyKey",
                                        "namespaces",
                                        "matchNamespaceLabels",
                                        "matchNamespaceExpressions",
                                        "weight",
                                        "anti"};

    return add_placement(r, n, k, KUBE_POD_AFFINITY, names, N_ELEMS(names), e);
}

/* ---- all fields ------------------------------------------------------------------ */

static const struct {
    const char *name;
    kube_fn *read; /* of the whole field, or of each element of its list */
    bool list;
    bool placement; /* means nothing on one machine */
} fields[] = {
    {"secretAsEnv", kube_secret_env, true, false},
    {"configMapAsEnv", kube_config_env, true, false}, /* after secrets: later wins */
    {"secretAsVolume", kube_secret_volume, true, false},
    {"configMapAsVolume", kube_config_volume, true, false},
    {"pvcMount", kube_claim, true, false},
    {"emptyDirMounts", kube_empty_dir, true, false},
    {"genericEphemeralVolume", kube_ephemeral, true, false},
    {"enabledSharedMemory", kube_shared_memory, false, false},
    {"fieldPathAsEnv", kube_field_env, true, false},
    {"podMetadata", read_pod_metadata, false, false},
    {"securityContext", read_security, false, false},
    {"activeDeadlineSeconds", read_deadline, false, false},
    {"initContainers", kube_init, true, false}, /* after the volumes it mounts */
    {"imagePullPolicy", read_pull_policy, false, false},
    {"imagePullSecret", each_pull_secret, true, true},
    {"nodeSelector", read_node_selector, false, true},
    {"tolerations", each_toleration, true, true},
    {"nodeAffinity", each_node_affinity, true, true},
    {"podAffinity", each_pod_affinity, true, true},
};

static struct pos key_pos(const struct node *map, const struct node *value)
{
    for (size_t i = 0; i < map->n; i++) {
        if (map->members[i].value == value)
            return map->members[i].key_pos;
    }
    return map->pos;
}

int read_kube(struct reader *r, const struct node *n, struct kube **out, struct err *e)
{
    const char *names[N_ELEMS(fields)];
    const struct node *f[N_ELEMS(fields)];
    struct kube *k = arena_alloc(r->a, sizeof(*k));

    for (size_t i = 0; i < N_ELEMS(fields); i++)
        names[i] = fields[i].name;
    if (read_fields(r, n, names, N_ELEMS(fields), f, e) < 0)
        return -1;
    for (size_t i = 0; i < N_ELEMS(fields); i++) {
        int rc = 0;

        if (node_is_null(f[i]))
            continue;
        if (fields[i].placement && f[i]->n)
            read_notice(r, f[i], key_pos(n, f[i]),
                        "ignored: it means nothing on one machine");
        rc = fields[i].list ? read_each(r, f[i], k, fields[i].read, e)
                            : fields[i].read(r, f[i], k, e);
        if (rc < 0)
            return -1;
    }
    if (k->pull_always)
        read_notice(r, n, n->pos,
                    "imagePullPolicy Always: the local copy of the image is used");
    if (n)
        k->pos = n->pos;
    *out = k;
    return 0;
}

const struct kube_value **kube_values_in(struct arena *a, const struct kube *k,
                                         size_t *n)
{
    size_t most = k->n_store_env + k->n_volumes + k->n_pull_secrets + k->n_placements;
    const struct kube_value **v = arena_alloc(a, (most + 1) * sizeof(*v));
    size_t i, count = 0;

    for (i = 0; i < k->n_store_env; i++)
        v[count++] = &k->store_env[i].name;
    for (i = 0; i < k->n_volumes; i++) {
        if (k->volumes[i].name.set)
            v[count++] = &k->volumes[i].name;
    }
    for (i = 0; i < k->n_pull_secrets; i++)
        v[count++] = &k->pull_secrets[i];
    for (i = 0; i < k->n_placements; i++) {
        if (k->placements[i].json.set)
            v[count++] = &k->placements[i].json;
    }
    *n = count;
    return v;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* kubevol.c - what a task sees by the platform document: variables and volumes
 *
 * Contents never pass through here: a secret is a name and keys until the supervisor of
 * an attempt reads its files.
 */
#include "spec/kuberead.h"

/* ---- environment ----------------------------------------------------------------- */

static int read_keys(struct reader *r, const struct node *n, const char *key_field,
                     struct kube_store_env *s, struct err *e)
{
    enum { KEY, VAR, N };
    const char *names[N] = {key_field, "envVar"};
    struct member *m;

    if (read_list(r, n, &m, &s->n_keys, e) < 0)
        return -1;
    s->keys = arena_alloc(r->a, s->n_keys * sizeof(*s->keys) + 1);
    for (size_t i = 0; i < s->n_keys; i++) {
        struct kube_key *k = &s->keys[i];
        const struct node *f[N];

        k->key = k->var = STR("");
        if (read_fields(r, m[i].value, names, N, f, e) < 0 ||
            read_str(r, f[KEY], &k->key, e) < 0 ||
            read_str(r, f[VAR], &k->var, e) < 0 ||
            kube_var(r, m[i].value, k->var, e) < 0)
            return -1;
        if (!kube_key_ok(k->key))
            return read_err(r, m[i].value, e, "\"%.80s\" is no %s", k->key.ptr,
                            key_field);
    }
    return 0;
}

static int store_env(struct reader *r, const struct node *n, struct kube *k,
                     enum kube_store store, struct err *e)
{
    enum { NAME, PARAMETER, KEYS, OPTIONAL, N };
    static const char *const fields[][N] = {
        {"secretName", "secretNameParameter", "keyToEnv", "optional"},
        {"configMapName", "configMapNameParameter", "keyToEnv", "optional"},
    };
    struct kube_store_env s = {.store = store, .pos = n->pos};
    const struct node *f[N];

    if (read_fields(r, n, fields[store], N, f, e) < 0 ||
        kube_name(r, n, f[NAME], f[PARAMETER],
                  store == KUBE_SECRET ? "secret" : "config map", &s.name, e) < 0 ||
        read_keys(r, f[KEYS], store == KUBE_SECRET ? "secretKey" : "configMapKey", &s,
                  e) < 0 ||
        read_bool(r, f[OPTIONAL], &s.optional, e) < 0)
        return -1;
    k->store_env = arena_grow(r->a, k->store_env, &k->n_store_env, sizeof(s));
    k->store_env[k->n_store_env - 1] = s;
    return 0;
}

int kube_secret_env(struct reader *r, const struct node *n, struct kube *k,
                    struct err *e)
{
    return store_env(r, n, k, KUBE_SECRET, e);
}

int kube_config_env(struct reader *r, const struct node *n, struct kube *k,
                    struct err *e)
{
    return store_env(r, n, k, KUBE_CONFIG_MAP, e);
}

static const struct {
    const char *path;
    enum kube_field field;
} fields_of_pods[] = {
    {"metadata.name", KUBE_FIELD_NAME},
    {"metadata.namespace", KUBE_FIELD_NAMESPACE},
    {"metadata.uid", KUBE_FIELD_UID},
    {"spec.nodeName", KUBE_FIELD_NODE},
    {"spec.serviceAccountName", KUBE_FIELD_SERVICE_ACCOUNT},
    {"status.podIP", KUBE_FIELD_POD_IP},
    {"status.hostIP", KUBE_FIELD_HOST_IP},
};

/* PREFIX['key'] -> key */
static bool quoted_key(struct str path, const char *prefix, struct str *key)
{
    size_t n = strlen(prefix);

    if (!str_starts(path, prefix) || path.len < n + 4 || path.ptr[n] != '[' ||
        path.ptr[n + 1] != '\'' || !str_ends(path, "']"))
        return false;
    *key = (struct str){path.ptr + n + 2, path.len - n - 4};
    return true;
}

int kube_field_env(struct reader *r, const struct node *n, struct kube *k,
                   struct err *e)
{
    enum { NAME, PATH, N };
    static const char *const names[] = {"name", "fieldPath"};
    struct kube_field_env v = {.var = STR(""), .key = STR("")};
    struct str path = STR("");
    const struct node *f[N];
    size_t i = 0;

    if (read_fields(r, n, names, N, f, e) < 0 || read_str(r, f[NAME], &v.var, e) < 0 ||
        read_str(r, f[PATH], &path, e) < 0 || kube_var(r, n, v.var, e) < 0)
        return -1;
    while (i < N_ELEMS(fields_of_pods) && !str_eqz(path, fields_of_pods[i].path))
        i++;
    if (i < N_ELEMS(fields_of_pods))
        v.field = fields_of_pods[i].field;
    else if (quoted_key(path, "metadata.labels", &v.key))
        v.field = KUBE_FIELD_LABEL;
    else if (quoted_key(path, "metadata.annotations", &v.key))
        v.field = KUBE_FIELD_ANNOTATION;
    else
        return read_err(r, n, e, "there is no field \"%.80s\" here", path.ptr);
    v.key = arena_str(r->a, v.key);
    k->field_env = arena_grow(r->a, k->field_env, &k->n_field_env, sizeof(v));
    k->field_env[k->n_field_env - 1] = v;
    return 0;
}

/* ---- volumes --------------------------------------------------------------------- */

static int add_volume(struct reader *r, const struct node *n, struct kube *k,
                      const struct kube_volume *v, struct err *e)
{
    for (size_t i = 0; i < k->n_volumes; i++) {
        if (str_eq(k->volumes[i].mount_path, v->mount_path))
            return read_err(r, n, e, "two volumes are mounted at %.200s",
                            v->mount_path.ptr);
    }
    k->volumes = arena_grow(r->a, k->volumes, &k->n_volumes, sizeof(*v));
    k->volumes[k->n_volumes - 1] = *v;
    return 0;
}

static int store_volume(struct reader *r, const struct node *n, struct kube *k,
                        enum kube_store store, struct err *e)
{
    enum { NAME, PARAMETER, PATH, OPTIONAL, N };
    static const char *const fields[][N] = {
        {"secretName", "secretNameParameter", "mountPath", "optional"},
        {"configMapName", "configMapNameParameter", "mountPath", "optional"},
    };
    struct kube_volume v = {.kind = store == KUBE_SECRET ? KUBE_VOLUME_SECRET
                                                         : KUBE_VOLUME_CONFIG_MAP,
                            .pos = n->pos};
    const struct node *f[N];

    if (read_fields(r, n, fields[store], N, f, e) < 0 ||
        kube_name(r, n, f[NAME], f[PARAMETER],
                  store == KUBE_SECRET ? "secret" : "config map", &v.name, e) < 0 ||
        kube_mount_path(r, n, f[PATH], &v.mount_path, e) < 0 ||
        read_bool(r, f[OPTIONAL], &v.optional, e) < 0)
        return -1;
    return add_volume(r, n, k, &v, e);
}

int kube_secret_volume(struct reader *r, const struct node *n, struct kube *k,
                       struct err *e)
{
    return store_volume(r, n, k, KUBE_SECRET, e);
}

int kube_config_volume(struct reader *r, const struct node *n, struct kube *k,
                       struct err *e)
{
    return store_volume(r, n, k, KUBE_CONFIG_MAP, e);
}

static bool sub_path_ok(struct str path)
{
    const char *p = path.ptr, *end = path.ptr + path.len;

    if (path.len && *p == '/')
        return false;
    while (p < end) {
        size_t n = strcspn(p, "/");

        if (n == 2 && p[0] == '.' && p[1] == '.')
            return false;
        p += n + (p + n < end);
    }
    return true;
}

int kube_claim(struct reader *r, const struct node *n, struct kube *k, struct err *e)
{
    enum { CONSTANT, OUTPUT, OUTER, PARAMETER, PATH, SUB, N };
    static const char *const names[] = {
        "constant",         "taskOutputParameter", "componentInputParameter",
        "pvcNameParameter", "mountPath",           "subPath"};
    struct kube_volume v = {
        .kind = KUBE_VOLUME_CLAIM, .sub_path = STR(""), .pos = n->pos};
    const struct node *f[N];
    int rc;

    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;
    if (!node_is_null(f[OUTER]) || !node_is_null(f[OUTPUT]))
        rc = kube_source_of(r, n, f[OUTER], f[OUTPUT], NULL, &v.name, e);
    else
        rc = kube_name(r, n, f[CONSTANT], f[PARAMETER], "volume claim", &v.name, e);
    if (rc < 0 ||
        (!node_is_null(f[PARAMETER]) && kube_source(r, f[PARAMETER], &v.name, e) < 0) ||
        kube_mount_path(r, n, f[PATH], &v.mount_path, e) < 0 ||
        read_str(r, f[SUB], &v.sub_path, e) < 0)
        return -1;
    if (!sub_path_ok(v.sub_path))
        return read_err(r, f[SUB], e, "subPath must stay below the volume");
    return add_volume(r, n, k, &v, e);
}

int kube_empty_dir(struct reader *r, const struct node *n, struct kube *k,
                   struct err *e)
{
    enum { NAME, PATH, MEDIUM, SIZE, N };
    static const char *const names[] = {"volumeName", "mountPath", "medium",
                                        "sizeLimit"};
    struct kube_volume v = {
        .kind = KUBE_VOLUME_SCRATCH, .volume_name = STR(""), .pos = n->pos};
    struct str medium = STR("");
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[NAME], &v.volume_name, e) < 0 ||
        kube_mount_path(r, n, f[PATH], &v.mount_path, e) < 0 ||
        read_str(r, f[MEDIUM], &medium, e) < 0 ||
        kube_size(r, f[SIZE], &v.size_bytes, e) < 0)
        return -1;
    if (str_eqz(medium, "Memory"))
        v.kind = KUBE_VOLUME_MEMORY;
    else if (medium.len)
        return read_err(r, f[MEDIUM], e, "medium is \"Memory\" or empty, not \"%.40s\"",
                        medium.ptr);
    return add_volume(r, n, k, &v, e);
}

int kube_ephemeral(struct reader *r, const struct node *n, struct kube *k,
                   struct err *e)
{
    enum { NAME, PATH, MODES, SIZE, DEFAULT_CLASS, CLASS, METADATA, N };
    static const char *const names[] = {
        "volumeName",          "mountPath",        "accessModes", "size",
        "defaultStorageClass", "storageClassName", "metadata"};
    struct kube_volume v = {
        .kind = KUBE_VOLUME_SCRATCH, .volume_name = STR(""), .pos = n->pos};
    const struct node *f[N];

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_str(r, f[NAME], &v.volume_name, e) < 0 ||
        kube_mount_path(r, n, f[PATH], &v.mount_path, e) < 0 ||
        kube_size(r, f[SIZE], &v.size_bytes, e) < 0)
        return -1;
    return add_volume(r, n, k, &v, e);
}

int kube_shared_memory(struct reader *r, const struct node *n, struct kube *k,
                       struct err *e)
{
    enum { NAME, SIZE, N };
    static const char *const names[] = {"volumeName", "size"};
    const struct node *f[N];

    k->shm = n->n > 0;
    if (read_fields(r, n, names, N, f, e) < 0)
        return -1;
    return kube_size(r, f[SIZE], &k->shm_bytes, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* platform.c - the platform document: which executor gets which settings, and what the
 * whole pipeline asks for
 *
 * Only "kubernetes" means something here. A setting that is misspelt must not be
 * dropped in silence, so every level refuses what it does not know.
 */
#include "base/clock.h"
#include "spec/kube.h"
#include "spec/reader.h"

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

static int read_deployment(struct reader *r, const struct node *n, struct err *e)
{
    static const char *const names[] = {"executors"};
    const struct node *f[1];
    struct member *m;
    size_t n_m;

    if (read_fields(r, n, names, 1, f, e) < 0 || read_map(r, f[0], &m, &n_m, e) < 0)
        return -1;
    for (size_t i = 0; i < n_m; i++) {
        struct executor *x = map_get(&r->executors, m[i].key);

        if (x ? read_kube(r, m[i].value, &x->kube, e) < 0 ||
                    read_struct(r, m[i].value, &x->platform, e) < 0
              : unknown_executor(r, f[0], &m[i], e) < 0)
            return -1;
    }
    return 0;
}

/* {size, kubernetes: {pvcSpecPatch}}: the patch is about storage classes */
static int read_workspace(struct reader *r, const struct node *n, struct err *e)
{
    enum { SIZE, KUBERNETES, N };
    static const char *const names[] = {"size", "kubernetes"};
    struct str size = STR("");
    uint64_t bytes = 0;
    const struct node *f[N];
    struct err why;

    if (read_fields(r, n, names, N, f, e) < 0 || read_str(r, f[SIZE], &size, e) < 0)
        return -1;
    if (size.len && size_parse(size, &bytes, &why) < 0)
        return read_err(r, f[SIZE], e, "%s", why.text);
    r->p->workspace = !node_is_null(n);
    return 0;
}

static int read_config(struct reader *r, const struct node *n, struct err *e)
{
    enum { WORKSPACE, DEADLINE, SEMAPHORE, MUTEX, TTL, TTL_SUCCESS, TTL_FAILURE, N };
    static const char *const names[] = {
        "workspace",           "activeDeadlineSeconds",   "semaphoreKey",
        "mutexName",           "resourceTtlOnCompletion", "resourceTtlOnSuccess",
        "resourceTtlOnFailure"};
    const struct node *f[N];
    uint64_t seconds = 0;

    if (read_fields(r, n, names, N, f, e) < 0 ||
        read_struct(r, n, &r->p->platform_config, e) < 0 ||
        read_workspace(r, f[WORKSPACE], e) < 0 ||
        read_uint(r, f[DEADLINE], 10ULL * 366 * 86400, &seconds, e) < 0 ||
        read_str(r, f[SEMAPHORE], &r->p->semaphore, e) < 0 ||
        read_str(r, f[MUTEX], &r->p->mutex, e) < 0)
        return -1;
    r->p->deadline_ms = (int64_t)seconds * 1000;
    for (int i = TTL; i < N; i++) {
        if (!node_is_null(f[i]))
            read_notice(r, f[i], f[i]->pos,
                        "ignored: what is kept of a run is set by \"retention\" in the "
                        "config");
    }
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
    return read_config(r, f[CONFIG], e);
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

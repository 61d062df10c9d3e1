/* SPDX-License-Identifier: Apache-2.0 */
/* opts.c - a run's options as JSON, so that a resume goes on under the same rules */
#include "base/json.h"
#include "base/limits.h"
#include "run/engine.h"

static const char *const policies[] = {
    [PACKAGES_WHEELS] = "wheels", [PACKAGES_IMAGE] = "image", [PACKAGES_NETWORK] = "network"};

static void write_inputs(struct jw *w, const struct io_values *root)
{
    jw_obj(w);
    for (size_t i = 0; i < root->n_artifacts; i++) {
        jw_keystr(w, root->artifacts[i].name);
        jw_i64(w, root->artifacts[i].items[0].id);
    }
    jw_end_obj(w);
}

static void write_tags(struct jw *w, const struct run_tag *tags, size_t n)
{
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(w);
        jw_kstr(w, "task", tags[i].task);
        jw_kstr(w, "output", tags[i].output);
        jw_kstr(w, "name", tags[i].name);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static const struct run_tag *read_tags(struct arena *a, json *list, size_t *n)
{
    struct run_tag *tags = arena_alloc(a, (yyjson_arr_size(list) + 1) * sizeof *tags);
    size_t i, max;
    json *item;

    *n = 0;
    yyjson_arr_foreach(list, i, max, item) tags[(*n)++] =
        (struct run_tag){arena_str(a, json_as_str(json_at(item, "task"))).ptr,
                         arena_str(a, json_as_str(json_at(item, "output"))).ptr,
                         arena_str(a, json_as_str(json_at(item, "name"))).ptr};
    return tags;
}

int run_kept_in(struct arena *a, struct str options_json, struct run_kept *out, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct run_kept k = {0};
    struct run_input_id *ids;
    json *inputs, *key, *item;
    size_t i, max;

    if (json_parse(options_json, LIMIT_JSON_BYTES, &doc, e) < 0)
        return err_at(e, "options of the run");
    inputs = json_at(yyjson_doc_get_root(doc), "inputs");
    k.inputs = ids = arena_alloc(a, (yyjson_obj_size(inputs) + 1) * sizeof *ids);
    yyjson_obj_foreach(inputs, i, max, key, item) ids[k.n_inputs++] =
        (struct run_input_id){arena_str(a, json_as_str(key)), yyjson_get_sint(item)};
    k.tags = read_tags(a, json_at(yyjson_doc_get_root(doc), "tags"), &k.n_tags);
    k.exports = read_tags(a, json_at(yyjson_doc_get_root(doc), "exports"), &k.n_exports);
    *out = k;
    return 0;
}

void run_opts_write(struct buf *out, const struct engine *en)
{
    const struct run_opts *o = &en->o;
    struct jw w;

    jw_init(&w, out);
    jw_obj(&w);
    jw_kbool(&w, "no_cache", o->no_cache);
    jw_ki64(&w, "cache_max_age_ms", o->cache_max_age_ms);
    jw_kbool(&w, "network_host", o->network_host);
    jw_kstr(&w, "packages", policies[o->packages]);
    jw_kbool(&w, "lenient", o->lenient);
    jw_kbool(&w, "sdk_words", o->sdk_words);
    jw_ki64(&w, "retries", o->retries);
    jw_ki64(&w, "host_retries", o->host_retries);
    jw_ki64(&w, "timeout_ms", o->timeout_ms);
    jw_kbool(&w, "gpus_none", o->gpus_none);
    jw_kbool(&w, "gpus_shared", o->gpus_shared);
    jw_ki64(&w, "gpus_max", o->gpus_max);
    jw_ki64(&w, "gpu_wait_ms", o->gpu_wait_ms);
    jw_ki64(&w, "memory_bytes", (int64_t)o->memory_bytes);
    jw_ki64(&w, "pids_max", o->pids_max);
    jw_ki64(&w, "log_max_bytes", (int64_t)o->log_max_bytes);
    jw_ki64(&w, "cpu_millis", o->cpu_millis);
    jw_ki64(&w, "disk_bytes", (int64_t)o->disk_bytes);
    jw_ki64(&w, "shm_bytes", (int64_t)o->shm_bytes);
    jw_ki64(&w, "task_timeout_ms", o->task_timeout_ms);
    jw_ki64(&w, "grace_ms", o->grace_ms);
    jw_key(&w, "mounts");
    run_mounts_write(&w, o->mounts, o->n_mounts);
    jw_key(&w, "tasks");
    run_tasks_write(&w, o);
    jw_key(&w, "env");
    jw_arr(&w);
    for (size_t i = 0; i < o->n_env; i++)
        jw_strz(&w, o->env[i]);
    jw_end_arr(&w);
    jw_key(&w, "refresh");
    jw_arr(&w);
    for (size_t i = 0; i < o->n_refresh; i++)
        jw_strz(&w, o->refresh[i]);
    jw_end_arr(&w);
    jw_key(&w, "inputs");
    write_inputs(&w, &en->g.root->in);
    jw_key(&w, "tags");
    write_tags(&w, en->tags, en->n_tags);
    jw_key(&w, "exports");
    write_tags(&w, en->exports, en->n_exports);
    jw_end_obj(&w);
}

/* absent in the rows of older versions: none */
static int read_words(struct arena *a, json *root, const char *key, const char *const **out,
                      size_t *n, struct err *e)
{
    char **words;

    if (!json_at(root, key))
        return 0;
    if (json_words_in(a, root, key, &words, n, e) < 0)
        return -1;
    *out = (const char *const *)words;
    return 0;
}

static int read_number(json *root, const char *key, int64_t high, int64_t *out, struct err *e)
{
    return json_at(root, key) ? json_i64_in(root, key, 0, high, out, e) : 0;
}

int run_opts_in(struct arena *a, struct str json_text, struct run_opts *o, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *root;
    int64_t retries = 0, host_retries = 3, memory = 0, pids = 32768, log = 0,
            gpus_max = 0;
    int64_t cpu = 0, disk = 0, shm = 0;
    struct str policy = STR("wheels");

    if (json_parse(json_text, LIMIT_JSON_BYTES, &doc, e) < 0)
        return err_at(e, "options of the run");
    root = yyjson_doc_get_root(doc);
    if (json_bool_opt(root, "no_cache", &o->no_cache, e) < 0 ||
        json_i64_opt(root, "cache_max_age_ms", &o->cache_max_age_ms, e) < 0 ||
        json_bool_opt(root, "network_host", &o->network_host, e) < 0 ||
        json_str_opt(root, "packages", &policy, e) < 0 ||
        json_bool_opt(root, "lenient", &o->lenient, e) < 0 ||
        json_bool_opt(root, "sdk_words", &o->sdk_words, e) < 0 ||
        read_number(root, "retries", UINT32_MAX, &retries, e) < 0 ||
        read_number(root, "host_retries", UINT32_MAX, &host_retries, e) < 0 ||
        json_i64_opt(root, "timeout_ms", &o->timeout_ms, e) < 0 ||
        json_bool_opt(root, "gpus_none", &o->gpus_none, e) < 0 ||
        json_bool_opt(root, "gpus_shared", &o->gpus_shared, e) < 0 ||
        read_number(root, "gpus_max", UINT32_MAX, &gpus_max, e) < 0 ||
        json_i64_opt(root, "gpu_wait_ms", &o->gpu_wait_ms, e) < 0 ||
        read_number(root, "memory_bytes", INT64_MAX, &memory, e) < 0 ||
        read_number(root, "pids_max", UINT32_MAX, &pids, e) < 0 ||
        read_number(root, "log_max_bytes", INT64_MAX, &log, e) < 0 ||
        read_number(root, "cpu_millis", UINT32_MAX, &cpu, e) < 0 ||
        read_number(root, "disk_bytes", INT64_MAX, &disk, e) < 0 ||
        read_number(root, "shm_bytes", INT64_MAX, &shm, e) < 0 ||
        json_i64_opt(root, "task_timeout_ms", &o->task_timeout_ms, e) < 0 ||
        json_i64_opt(root, "grace_ms", &o->grace_ms, e) < 0 ||
        run_mounts_read_in(a, root, &o->mounts, &o->n_mounts, e) < 0 ||
        run_tasks_read_in(a, root, o, e) < 0 ||
        read_words(a, root, "env", &o->env, &o->n_env, e) < 0 ||
        read_words(a, root, "refresh", &o->refresh, &o->n_refresh, e) < 0)
        return err_at(e, "options of the run");
    o->retries = (uint32_t)retries;
    o->gpus_max = (uint32_t)gpus_max;
    o->host_retries = (uint32_t)host_retries;
    o->memory_bytes = (uint64_t)memory;
    o->pids_max = (uint32_t)pids;
    o->log_max_bytes = (uint64_t)log;
    o->cpu_millis = (uint32_t)cpu;
    o->disk_bytes = (uint64_t)disk;
    o->shm_bytes = (uint64_t)shm;
    for (size_t i = 0; i < N_ELEMS(policies); i++)
        if (str_eqz(policy, policies[i]))
            o->packages = (enum packages_policy)i;
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* attempt.c - writing and reading attempt.json and result.json, and who is alive
 *
 * Alive or not is told by a lock, never by a pid: pids lie across pid namespaces. The pid file is
 * for signalling only, and believed only when boot id and start ticks agree.
 */
#include "run/attempt.h"

#define RESERVE "result.reserve" /* blocks for result.json on a disk that a task has filled */
#define RESERVE_BYTES 16384

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"

static const char *const end_names[] = {
    [END_EXITED] = "exited", [END_TIMEOUT] = "timeout",     [END_CANCELED] = "canceled",
    [END_HOST] = "host",     [END_NOT_START] = "not_start",
};

const char *attempt_end_name(enum attempt_end end)
{
    return end_names[end];
}

/* ---- writing --------------------------------------------------------------------------- */

static void put_str(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

static void put_words(struct jw *w, const char *key, char *const *words, size_t n)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < n; i++)
        jw_strz(w, words[i]);
    jw_end_arr(w);
}

static void put_value(struct jw *w, const char *key, const struct value *v)
{
    jw_key(w, key);
    if (v)
        value_write(w, v);
    else
        jw_null(w);
}

static void put_outputs(struct jw *w, const char *key, const struct attempt_output *o, size_t n)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < n; i++) {
        jw_obj(w);
        put_str(w, "name", o[i].name);
        put_str(w, "type", o[i].type);
        put_str(w, "typeVersion", o[i].type_version);
        jw_ki64(w, "paramType", (int64_t)o[i].param_type);
        put_str(w, "uri", o[i].uri);
        put_str(w, "path", o[i].path);
        put_value(w, "metadata", o[i].metadata);
        jw_end_obj(w);
    }
    jw_end_arr(w);
}

static int write_json(int dir_fd, const char *name, struct buf *b, struct err *e)
{
    if (b->overflow)
        return err_set(e, ERR_LIMIT, "%s would be over %llu MiB", name,
                       (unsigned long long)(LIMIT_RESULT_BYTES / MIB));
    return fd_write_file(dir_fd, name, b->ptr, b->len, 0640, false, e);
}

int attempt_write(int dir_fd, const struct attempt *at, struct err *e)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;

    buf_init(&b, LIMIT_RESULT_BYTES);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_ki64(&w, "version", ATTEMPT_VERSION);
    put_str(&w, "run", at->run_id);
    put_str(&w, "task", at->task_path);
    put_str(&w, "key", at->task_key);
    jw_ki64(&w, "taskId", at->task_id);
    jw_ki64(&w, "number", at->number);
    put_str(&w, "image", at->image_hex);
    put_words(&w, "lowers", (char *const *)at->lowers, at->n_lowers);
    jw_kbool(&w, "hasEtc", at->has_etc);
    put_words(&w, "argv", at->argv, at->n_argv);
    put_words(&w, "env", at->env, at->n_env);
    put_str(&w, "cwd", at->cwd);
    put_str(&w, "user", at->user);
    put_str(&w, "hostname", at->hostname);
    jw_ki64(&w, "stopSignal", at->stop_signal);
    jw_key(&w, "mounts");
    jw_arr(&w);
    for (size_t i = 0; i < at->n_mounts; i++) {
        jw_obj(&w);
        jw_kstr(&w, "src", at->mounts[i].src);
        jw_kstr(&w, "dst", at->mounts[i].dst);
        if (at->mounts[i].sub)
            jw_kstr(&w, "sub", at->mounts[i].sub);
        jw_kbool(&w, "rw", at->mounts[i].rw);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_kbool(&w, "networkHost", at->network_host);
    jw_kbool(&w, "shares", at->shares);
    jw_ki64(&w, "memoryBytes", (int64_t)at->memory_bytes);
    jw_ki64(&w, "cpuMillis", at->cpu_millis);
    jw_ki64(&w, "cpuShareMillis", at->cpu_share_millis);
    jw_ki64(&w, "pidsMax", at->pids_max);
    jw_ki64(&w, "deadlineUnixMs", at->deadline_unix_ms);
    jw_ki64(&w, "logMaxBytes", (int64_t)at->log_max_bytes);
    jw_ki64(&w, "diskBytes", (int64_t)at->disk_bytes);
    jw_ki64(&w, "shmBytes", (int64_t)at->shm_bytes);
    jw_ki64(&w, "wallMs", at->wall_ms);
    jw_ki64(&w, "graceMs", at->grace_ms);
    put_str(&w, "home", at->home);
    put_str(&w, "scratch", at->scratch.ptr ? at->scratch : STR(""));
    put_str(&w, "taskRoot", at->task_root_path);
    put_str(&w, "outputFile", at->output_file);
    put_outputs(&w, "parameters", at->params, at->n_params);
    put_outputs(&w, "artifacts", at->artifacts, at->n_artifacts);
    put_str(&w, "cacheKey", at->cache_key);
    jw_ki64(&w, "maxRetries", at->max_retries);
    jw_ki64(&w, "hostFailures", at->host_failures);
    jw_ki64(&w, "hostRetries", at->host_retries);
    jw_key(&w, "inputs");
    jw_arr(&w);
    for (size_t i = 0; i < at->n_inputs; i++) {
        jw_obj(&w);
        put_str(&w, "uri", at->inputs[i].uri);
        put_str(&w, "kind", at->inputs[i].kind);
        put_str(&w, "digest", at->inputs[i].digest);
        jw_ki64(&w, "size", (int64_t)at->inputs[i].size_bytes);
        jw_ki64(&w, "files", (int64_t)at->inputs[i].n_files);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    put_str(&w, "gpuRoot", at->gpu_root.ptr ? at->gpu_root : STR(""));
    jw_key(&w, "gpus");
    jw_arr(&w);
    for (size_t i = 0; i < at->n_gpus; i++) {
        jw_obj(&w);
        put_str(&w, "id", at->gpus[i].id);
        put_str(&w, "pci", at->gpus[i].pci);
        put_str(&w, "node", at->gpus[i].node);
        jw_ki64(&w, "major", at->gpus[i].major);
        jw_ki64(&w, "minor", at->gpus[i].minor);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    if (at->pod.n_env || at->pod.n_volumes || at->pod.n_inits) {
        jw_key(&w, "pod");
        pod_write(&w, &at->pod);
    }
    if (at->work.kind != WORK_BOX) {
        jw_key(&w, "work");
        work_write(&w, &at->work);
    }
    jw_kbool(&w, "bare", at->bare);
    jw_end_obj(&w);
    return write_json(dir_fd, "attempt.json", &b, e);
}

void result_reserve(int dir_fd)
{
    AUTO_FD int fd = openat(dir_fd, RESERVE, O_WRONLY | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0640);

    if (fd >= 0 && fallocate(fd, 0, 0, RESERVE_BYTES) < 0)
        (void)unlinkat(dir_fd, RESERVE, 0);
}

/* into the blocks that were set aside, so that a full disk does not matter, then to the name */
static int write_reserved(int dir_fd, const struct buf *b)
{
    AUTO_FD int fd = openat(dir_fd, RESERVE, O_WRONLY | O_CLOEXEC | O_NOFOLLOW);

    if (fd < 0 || b->overflow || b->len > RESERVE_BYTES || pwrite(fd, b->ptr, b->len, 0) != (ssize_t)b->len ||
        ftruncate(fd, (off_t)b->len) < 0)
        return -1;
    return renameat(dir_fd, RESERVE, dir_fd, "result.json");
}

int result_write(int dir_fd, const struct result *r, struct err *e)
{
    AUTO_BUF struct buf b = {0};
    struct jw w;

    buf_init(&b, LIMIT_RESULT_BYTES);
    jw_init(&w, &b);
    jw_obj(&w);
    jw_ki64(&w, "version", ATTEMPT_VERSION);
    jw_kstr(&w, "end", end_names[r->end]);
    jw_ki64(&w, "exitCode", r->exit_code);
    jw_ki64(&w, "signal", r->signal);
    jw_kbool(&w, "oom", r->oom);
    put_str(&w, "error", r->error);
    jw_ki64(&w, "startedUnixMs", r->started_unix_ms);
    jw_ki64(&w, "finishedUnixMs", r->finished_unix_ms);
    jw_ki64(&w, "peakMemoryBytes", (int64_t)r->peak_memory_bytes);
    jw_ki64(&w, "cpuUsec", (int64_t)r->cpu_usec);
    put_str(&w, "enforced", r->enforced);
    jw_key(&w, "parameters");
    jw_obj(&w);
    for (size_t i = 0; i < r->n_params; i++) {
        jw_keystr(&w, r->params[i].name);
        value_write(&w, &r->params[i].value);
    }
    jw_end_obj(&w);
    jw_key(&w, "artifacts");
    jw_arr(&w);
    for (size_t i = 0; i < r->n_artifacts; i++) {
        const struct result_artifact *f = &r->artifacts[i];
        jw_obj(&w);
        put_str(&w, "name", f->name);
        put_str(&w, "type", f->type);
        put_str(&w, "typeVersion", f->type_version);
        put_str(&w, "uri", f->uri);
        put_str(&w, "kind", f->kind);
        put_str(&w, "digest", f->digest);
        jw_ki64(&w, "size", (int64_t)f->size_bytes);
        jw_ki64(&w, "files", (int64_t)f->n_files);
        put_value(&w, "metadata", f->metadata);
        jw_end_obj(&w);
    }
    jw_end_arr(&w);
    jw_key(&w, "notices");
    jw_arr(&w);
    for (size_t i = 0; i < r->n_notices; i++)
        jw_str(&w, r->notices[i]);
    jw_end_arr(&w);
    jw_end_obj(&w);
    if (write_reserved(dir_fd, &b) == 0)
        return 0;
    (void)unlinkat(dir_fd, RESERVE, 0); /* a big result may need what it holds */
    return write_json(dir_fd, "result.json", &b, e);
}

/* ---- reading --------------------------------------------------------------------------- */

/* every getter below reports through *bad, so that a long list of them reads as a table */
struct reader {
    struct arena *a;
    json *root;
    struct err *e;
    bool bad;
};

/* text that is written down and no more: of a task's, so any character */
static struct str get_str(struct reader *r, json *from, const char *key)
{
    struct str s = {"", 0};

    if (!r->bad && json_str(from, key, &s, r->e) < 0)
        r->bad = true;
    return arena_str(r->a, s);
}

/* names and paths, which become C strings */
static struct str get_cstr(struct reader *r, json *from, const char *key)
{
    struct str s = {"", 0};

    if (!r->bad && json_cstr(from, key, &s, r->e) < 0)
        r->bad = true;
    return arena_str(r->a, s);
}

static int64_t get_i64(struct reader *r, json *from, const char *key)
{
    int64_t v = 0;

    if (!r->bad && json_i64(from, key, &v, r->e) < 0)
        r->bad = true;
    return v;
}

static int64_t get_in(struct reader *r, json *from, const char *key, int64_t low, int64_t high)
{
    int64_t v = low;

    if (!r->bad && json_i64_in(from, key, low, high, &v, r->e) < 0)
        r->bad = true;
    return v;
}

static uint32_t get_u32(struct reader *r, json *from, const char *key)
{
    return (uint32_t)get_in(r, from, key, 0, UINT32_MAX);
}

/* what is written as int64_t */
static uint64_t get_u63(struct reader *r, json *from, const char *key)
{
    return (uint64_t)get_in(r, from, key, 0, INT64_MAX);
}

/* 0 when an older dugout did not write it */
static int64_t get_opt(struct reader *r, json *from, const char *key, int64_t high)
{
    return json_at(from, key) ? get_in(r, from, key, 0, high) : 0;
}

static bool get_bool(struct reader *r, json *from, const char *key)
{
    bool v = false;

    if (!r->bad && json_bool_opt(from, key, &v, r->e) < 0)
        r->bad = true;
    return v;
}

static const struct value *get_struct(struct reader *r, json *from, const char *key)
{
    json *v = json_at(from, key);
    struct value *out;

    if (!v || yyjson_is_null(v))
        return NULL;
    out = arena_alloc(r->a, sizeof *out);
    *out = value_from_json_in(r->a, v);
    return out;
}

static json *get_list(struct reader *r, json *from, const char *key, size_t *n)
{
    json *list = NULL;

    *n = 0;
    if (r->bad || json_arr(from, key, &list, r->e) < 0) {
        r->bad = true;
        return NULL;
    }
    *n = yyjson_arr_size(list);
    return list;
}

static char **get_words(struct reader *r, const char *key, size_t *n)
{
    char **words = NULL;

    *n = 0;
    if (!r->bad && json_words_in(r->a, r->root, key, &words, n, r->e) < 0)
        r->bad = true;
    return words;
}

static struct attempt_output *get_outputs(struct reader *r, const char *key, size_t *n)
{
    json *list = get_list(r, r->root, key, n), *item;
    struct attempt_output *o = arena_alloc(r->a, (*n + 1) * sizeof *o);
    size_t i, max;

    if (list)
        yyjson_arr_foreach(list, i, max, item)
            o[i] = (struct attempt_output){
                .name = get_cstr(r, item, "name"),
                .type = get_str(r, item, "type"),
                .type_version = get_str(r, item, "typeVersion"),
                .param_type = (enum param_type)get_in(r, item, "paramType", PARAM_UNSPECIFIED,
                                                      PARAM_TASK_CONFIG),
                .uri = get_str(r, item, "uri"),
                .path = get_cstr(r, item, "path"),
                .metadata = get_struct(r, item, "metadata"),
            };
    return o;
}

static int open_json(struct reader *r, int dir_fd, const char *name, struct buf *text,
                     yyjson_doc **doc)
{
    int64_t version;

    if (fd_read_file(dir_fd, name, text, LIMIT_RESULT_BYTES, r->e) < 0)
        return -1;
    if (json_parse((struct str){buf_str(text), text->len}, LIMIT_RESULT_BYTES, doc, r->e) < 0)
        return err_at(r->e, "%s", name);
    r->root = yyjson_doc_get_root(*doc);
    if (json_i64(r->root, "version", &version, r->e) < 0)
        return err_at(r->e, "%s", name);
    if (version != ATTEMPT_VERSION)
        return err_set(r->e, ERR_CORRUPT,
                       "%s was written by another version of dugout: finish this run with that one",
                       name);
    return 0;
}

int attempt_read_in(struct arena *a, int dir_fd, struct attempt *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct reader r = {.a = a, .e = e};
    struct attempt got, *at = &got;
    json *list, *item;
    size_t i, max;

    buf_init(&text, LIMIT_RESULT_BYTES);
    if (open_json(&r, dir_fd, "attempt.json", &text, &doc) < 0)
        return -1;
    *at = (struct attempt){
        .run_id = get_cstr(&r, r.root, "run"),
        .task_path = get_cstr(&r, r.root, "task"),
        .task_key = get_cstr(&r, r.root, "key"),
        .task_id = get_i64(&r, r.root, "taskId"),
        .number = get_u32(&r, r.root, "number"),
        .image_hex = get_cstr(&r, r.root, "image"),
        .cwd = get_cstr(&r, r.root, "cwd"),
        .user = get_cstr(&r, r.root, "user"),
        .hostname = get_cstr(&r, r.root, "hostname"),
        .stop_signal = (int)get_in(&r, r.root, "stopSignal", 0, 64),
        .network_host = get_bool(&r, r.root, "networkHost"),
        .shares = get_bool(&r, r.root, "shares"),
        .memory_bytes = get_u63(&r, r.root, "memoryBytes"),
        .cpu_millis = get_u32(&r, r.root, "cpuMillis"),
        .cpu_share_millis = (uint32_t)get_opt(&r, r.root, "cpuShareMillis", UINT32_MAX),
        .pids_max = get_u32(&r, r.root, "pidsMax"),
        .deadline_unix_ms = get_i64(&r, r.root, "deadlineUnixMs"),
        .log_max_bytes = get_u63(&r, r.root, "logMaxBytes"),
        .disk_bytes = (uint64_t)get_opt(&r, r.root, "diskBytes", INT64_MAX),
        .shm_bytes = (uint64_t)get_opt(&r, r.root, "shmBytes", INT64_MAX),
        .wall_ms = get_opt(&r, r.root, "wallMs", INT64_MAX),
        .grace_ms = get_opt(&r, r.root, "graceMs", INT64_MAX),
        .home = get_cstr(&r, r.root, "home"),
        .scratch = json_at(r.root, "scratch") ? get_cstr(&r, r.root, "scratch") : STR(""),
        .task_root_path = get_cstr(&r, r.root, "taskRoot"),
        .output_file = get_cstr(&r, r.root, "outputFile"),
        .cache_key = get_cstr(&r, r.root, "cacheKey"),
        .max_retries = get_u32(&r, r.root, "maxRetries"),
        .host_failures = get_u32(&r, r.root, "hostFailures"),
        .host_retries = get_u32(&r, r.root, "hostRetries"),
        .bare = get_bool(&r, r.root, "bare"),
        .has_etc = get_bool(&r, r.root, "hasEtc"),
    };
    at->lowers = (const char **)get_words(&r, "lowers", &at->n_lowers);
    at->argv = get_words(&r, "argv", &at->n_argv);
    at->env = get_words(&r, "env", &at->n_env);
    at->params = get_outputs(&r, "parameters", &at->n_params);
    at->artifacts = get_outputs(&r, "artifacts", &at->n_artifacts);
    list = get_list(&r, r.root, "mounts", &at->n_mounts);
    at->mounts = arena_alloc(a, (at->n_mounts + 1) * sizeof(*at->mounts));
    if (list)
        yyjson_arr_foreach(list, i, max, item)
            at->mounts[i] =
                (struct attempt_mount){.src = get_cstr(&r, item, "src").ptr,
                                       .dst = get_cstr(&r, item, "dst").ptr,
                                       .rw = get_bool(&r, item, "rw"),
                                       .sub = json_at(item, "sub")
                                                  ? get_cstr(&r, item, "sub").ptr
                                                  : NULL};
    list = get_list(&r, r.root, "inputs", &at->n_inputs);
    at->inputs = arena_alloc(a, (at->n_inputs + 1) * sizeof(*at->inputs));
    if (list)
        yyjson_arr_foreach(list, i, max, item)
            at->inputs[i] = (struct attempt_input){
                .uri = get_str(&r, item, "uri"),
                .kind = get_cstr(&r, item, "kind"),
                .digest = get_cstr(&r, item, "digest"),
                .size_bytes = get_u63(&r, item, "size"),
                .n_files = get_u63(&r, item, "files"),
            };
    at->gpu_root = get_cstr(&r, r.root, "gpuRoot");
    list = get_list(&r, r.root, "gpus", &at->n_gpus);
    at->gpus = arena_alloc(a, (at->n_gpus + 1) * sizeof(*at->gpus));
    if (list)
        yyjson_arr_foreach(list, i, max, item)
            at->gpus[i] = (struct attempt_gpu){
                .id = get_cstr(&r, item, "id"),
                .pci = get_cstr(&r, item, "pci"),
                .node = get_cstr(&r, item, "node"),
                .major = get_u32(&r, item, "major"),
                .minor = get_u32(&r, item, "minor"),
            };
    if (!r.bad && (pod_read_in(a, json_at(r.root, "pod"), &at->pod, e) < 0 ||
                   work_read_in(a, json_at(r.root, "work"), &at->work, e) < 0))
        r.bad = true;
    if (r.bad)
        return err_at(e, "attempt.json");
    *out = got;
    return 0;
}

static void read_result_lists(struct reader *r, struct result *out)
{
    json *params = NULL, *list, *key, *item;
    yyjson_obj_iter it;
    size_t i = 0, max;

    if (r->bad || json_obj(r->root, "parameters", &params, r->e) < 0) {
        r->bad = true;
        return;
    }
    out->n_params = yyjson_obj_size(params);
    out->params = arena_alloc(r->a, (out->n_params + 1) * sizeof(*out->params));
    yyjson_obj_iter_init(params, &it);
    while ((key = yyjson_obj_iter_next(&it)))
        out->params[i++] = (struct named_value){
            .name = arena_str(r->a, json_as_str(key)),
            .value = value_from_json_in(r->a, yyjson_obj_iter_get_val(key))};

    list = get_list(r, r->root, "artifacts", &out->n_artifacts);
    out->artifacts = arena_alloc(r->a, (out->n_artifacts + 1) * sizeof(*out->artifacts));
    if (list)
        yyjson_arr_foreach(list, i, max, item)
            out->artifacts[i] = (struct result_artifact){
                .name = get_cstr(r, item, "name"),
                .type = get_str(r, item, "type"),
                .type_version = get_str(r, item, "typeVersion"),
                .uri = get_str(r, item, "uri"),
                .kind = get_cstr(r, item, "kind"),
                .digest = get_cstr(r, item, "digest"),
                .size_bytes = get_u63(r, item, "size"),
                .n_files = get_u63(r, item, "files"),
                .metadata = get_struct(r, item, "metadata"),
            };
    list = get_list(r, r->root, "notices", &out->n_notices);
    out->notices = arena_alloc(r->a, (out->n_notices + 1) * sizeof(*out->notices));
    if (list)
        yyjson_arr_foreach(list, i, max, item)
            out->notices[i] = get_str(r, item, "");
}

static enum attempt_end get_end(struct reader *r)
{
    struct str end = get_cstr(r, r->root, "end");

    for (size_t i = 0; i < N_ELEMS(end_names); i++)
        if (str_eqz(end, end_names[i]))
            return (enum attempt_end)i;
    if (!r->bad)
        (void)err_set(r->e, ERR_CORRUPT, "end: %.40s is not known", end.ptr);
    r->bad = true;
    return END_HOST;
}

int result_read_in(struct arena *a, int dir_fd, struct result *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_JSON yyjson_doc *doc = NULL;
    struct reader r = {.a = a, .e = e};
    struct result got;

    buf_init(&text, LIMIT_RESULT_BYTES);
    if (open_json(&r, dir_fd, "result.json", &text, &doc) < 0)
        return -1;
    got = (struct result){
        .end = get_end(&r),
        .exit_code = (int)get_in(&r, r.root, "exitCode", INT_MIN, INT_MAX),
        .signal = (int)get_in(&r, r.root, "signal", 0, INT_MAX),
        .oom = get_bool(&r, r.root, "oom"),
        .error = get_str(&r, r.root, "error"),
        .started_unix_ms = get_i64(&r, r.root, "startedUnixMs"),
        .finished_unix_ms = get_i64(&r, r.root, "finishedUnixMs"),
        .peak_memory_bytes = get_u63(&r, r.root, "peakMemoryBytes"),
        .cpu_usec = get_u63(&r, r.root, "cpuUsec"),
        .enforced = get_str(&r, r.root, "enforced"),
    };
    read_result_lists(&r, &got);
    if (r.bad)
        return err_at(e, "result.json");
    *out = got;
    return 0;
}

/* ---- alive, and where ------------------------------------------------------------------ */

bool attempt_alive(int dir_fd)
{
    AUTO_FD int fd = openat(dir_fd, "lock", O_RDONLY | O_CLOEXEC);

    return fd >= 0 && flock(fd, LOCK_SH | LOCK_NB) < 0 && errno == EWOULDBLOCK;
}

int attempt_bury(int dir_fd, const char *why, bool *alive, struct err *e)
{
    AUTO_FD int fd = openat(dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    struct result r = {.end = END_HOST,
                       .error = str_of(why),
                       .finished_unix_ms = clock_unix_ms(),
                       .enforced = STR("{}")};

    *alive = false;
    if (fd < 0)
        return err_sys(e, errno, "open the attempt's lock");
    if (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        *alive = errno == EWOULDBLOCK;
        return *alive ? 0 : err_sys(e, errno, "lock the attempt");
    }
    if (faccessat(dir_fd, "result.json", F_OK, 0) == 0)
        return 0;
    return result_write(dir_fd, &r, e);
}

int pid_file_write(int dir_fd, const char *name, struct err *e)
{
    char text[128];

    snprintf(text, sizeof text, "%d %llu %s\n", (int)getpid(),
             clock_process_ticks(getpid()),
             clock_boot_id());
    return fd_write_file(dir_fd, name, text, strlen(text), 0640, false, e);
}

int pid_file_open(int dir_fd, const char *name, int *gives_pidfd, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    AUTO_FD int fd = -1;
    int pid = 0;
    unsigned long long ticks = 0;
    char boot[64] = "";

    buf_init(&text, 256);
    if (fd_read_file(dir_fd, name, &text, 256, e) < 0)
        return -1;
    if (sscanf(buf_str(&text), "%d %llu %63s", &pid, &ticks, boot) != 3 || pid <= 1)
        return err_set(e, ERR_CORRUPT, "%s does not name a process", name);
    if (strcmp(boot, clock_boot_id()) != 0)
        return err_set(e, ERR_MISSING, "its process was of an earlier boot");
    fd = (int)syscall(SYS_pidfd_open, pid, 0);
    if (fd < 0 || clock_process_ticks(pid) != ticks)
        return err_set(e, ERR_MISSING,
                       "its process (pid %d) is not to be seen from here (another pid namespace?)",
                       pid);
    *gives_pidfd = fd_take(&fd);
    return 0;
}

bool attempt_base(int dir_fd, struct box_base *out)
{
    AUTO_BUF struct buf text = {0};
    unsigned long long memory, cpu;
    const char *line;
    struct err e;

    buf_init(&text, 256);
    if (fd_read_file(dir_fd, "pid", &text, 256, &e) < 0 || !(line = strchr(buf_str(&text), '\n')) ||
        sscanf(line + 1, "%llu %llu", &memory, &cpu) != 2)
        return false;
    *out = (struct box_base){memory, cpu};
    return true;
}

int attempt_signal(int dir_fd, int sig, struct err *e)
{
    AUTO_FD int pidfd = -1;

    if (pid_file_open(dir_fd, "pid", &pidfd, e) < 0)
        return -1;
    if (syscall(SYS_pidfd_send_signal, pidfd, sig, NULL, 0) < 0)
        return err_sys(e, errno, "signal the supervisor");
    return 0;
}

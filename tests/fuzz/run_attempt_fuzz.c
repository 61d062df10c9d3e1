/* SPDX-License-Identifier: Apache-2.0 */
/* run_attempt_fuzz.c - what lies in an attempt's directory: attempt.json, then, NUL
 * before each, result.json and the pid file
 *
 * What can be read is in range, ends where C thinks it does, and is the same when it
 * was written and read again; what cannot be leaves the caller's struct alone.
 */
#include <stdint.h>

#include "place.h"
#include "run/attempt.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define UNTOUCHED 0x5a

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

static void check_failed(const void *out, size_t size, const struct err *e)
{
    const unsigned char *c = out;

    must(e->code == ERR_CORRUPT || e->code == ERR_LIMIT);
    must(e->text[0] && !strchr(e->text, '\n'));
    for (size_t i = 0; i < size; i++)
        must(c[i] == UNTOUCHED);
}

static void check_cstr(struct str s)
{
    must(strlen(s.ptr) == s.len);
}

static void check_words(const char *const *words, size_t n)
{
    for (size_t i = 0; i < n; i++)
        must(words[i]);
    must(!words[n]);
}

static void check_outputs(const struct attempt_output *o, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        must(param_type_name(o[i].param_type)[0]);
        check_cstr(o[i].name);
        check_cstr(o[i].path);
    }
}

static void check_pod(const struct attempt_pod *p)
{
    for (size_t i = 0; i < p->n_env; i++) {
        check_cstr(p->env[i].file);
        check_cstr(p->env[i].var);
    }
    for (size_t i = 0; i < p->n_volumes; i++) {
        must(p->volumes[i].kind == POD_FILES || p->volumes[i].kind == POD_SCRATCH ||
             p->volumes[i].kind == POD_MEMORY);
        check_cstr(p->volumes[i].src);
        check_cstr(p->volumes[i].dst);
    }
    for (size_t i = 0; i < p->n_inits; i++) {
        const struct pod_init *c = &p->inits[i];
        check_words((const char *const *)c->argv, c->n_argv);
        check_words((const char *const *)c->env, c->n_env);
        check_words(c->lowers, c->n_lowers);
        for (size_t k = 0; k < c->n_mounts; k++)
            must(c->mounts[k].volume < p->n_volumes &&
                 p->volumes[c->mounts[k].volume].kind == POD_SCRATCH);
    }
}

static void check_work(const struct attempt_work *k)
{
    must(k->kind == WORK_BOX || k->kind == WORK_IMPORT || k->kind == WORK_MAKE_VOLUME ||
         k->kind == WORK_DROP_VOLUME);
    if (k->kind == WORK_MAKE_VOLUME || k->kind == WORK_DROP_VOLUME)
        must(k->path.ptr[0] == '/');
    if (k->kind != WORK_BOX) {
        check_cstr(k->path);
        check_cstr(k->copy_to);
    }
}

static void check_attempt(const struct attempt *at)
{
    const struct str texts[] = {
        at->run_id,      at->task_path, at->task_key, at->image_hex, at->cwd,
        at->user,        at->hostname,  at->home,     at->scratch,   at->task_root_path,
        at->output_file, at->cache_key, at->gpu_root};

    for (size_t i = 0; i < N_ELEMS(texts); i++)
        check_cstr(texts[i]);
    must(at->stop_signal >= 0 && at->stop_signal <= 64);
    must(at->wall_ms >= 0 && at->grace_ms >= 0 && at->memory_bytes <= INT64_MAX);
    check_words((const char *const *)at->argv, at->n_argv);
    check_words((const char *const *)at->env, at->n_env);
    check_words(at->lowers, at->n_lowers);
    check_outputs(at->params, at->n_params);
    check_outputs(at->artifacts, at->n_artifacts);
    for (size_t i = 0; i < at->n_gpus; i++)
        check_cstr(at->gpus[i].id);
    check_pod(&at->pod);
    check_work(&at->work);
}

static void check_result(const struct result *r)
{
    must(attempt_end_name(r->end)[0] && r->signal >= 0);
    for (size_t i = 0; i < r->n_artifacts; i++) {
        check_cstr(r->artifacts[i].kind);
        check_cstr(r->artifacts[i].digest);
    }
}

static struct str text_of(struct arena *a, int dir_fd, const char *name)
{
    AUTO_BUF struct buf b = {0};
    struct err e = {0};

    buf_init(&b, 0);
    must(fd_read_file(dir_fd, name, &b, SIZE_MAX / 2, &e) == 0);
    return arena_str(a, (struct str){buf_str(&b), b.len});
}

/* a number is that of the file, not what is left of it in a narrower type */
static void check_number(struct str text, const char *key, int64_t got)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    int64_t want = 0;
    struct err e = {0};

    must(json_parse(text, SIZE_MAX / 2, &doc, &e) == 0);
    must(json_i64(yyjson_doc_get_root(doc), key, &want, &e) == 0 && got == want);
}

static void read_attempt(struct arena *a, int fd)
{
    struct attempt at, again;
    struct err e = {0};
    struct str text = text_of(a, fd, "attempt.json");

    memset(&at, UNTOUCHED, sizeof at);
    if (attempt_read_in(a, fd, &at, &e) < 0) {
        check_failed(&at, sizeof at, &e);
        return;
    }
    check_attempt(&at);
    check_number(text, "number", at.number);
    check_number(text, "stopSignal", at.stop_signal);
    check_number(text, "maxRetries", at.max_retries);
    must(attempt_write(fd, &at, &e) == 0);
    text = text_of(a, fd, "attempt.json");
    must(attempt_read_in(a, fd, &again, &e) == 0 && attempt_write(fd, &again, &e) == 0);
    must(str_eq(text_of(a, fd, "attempt.json"), text));
    must(again.task_id == at.task_id && again.number == at.number &&
         again.memory_bytes == at.memory_bytes &&
         again.deadline_unix_ms == at.deadline_unix_ms && again.bare == at.bare &&
         again.has_etc == at.has_etc && again.work.kind == at.work.kind &&
         again.n_mounts == at.n_mounts && again.n_inputs == at.n_inputs &&
         again.n_gpus == at.n_gpus && again.pod.n_volumes == at.pod.n_volumes);
}

static void read_result(struct arena *a, int fd)
{
    struct result r, again;
    struct err e = {0};
    struct str text = text_of(a, fd, "result.json");

    memset(&r, UNTOUCHED, sizeof r);
    if (result_read_in(a, fd, &r, &e) < 0) {
        check_failed(&r, sizeof r, &e);
        return;
    }
    check_result(&r);
    check_number(text, "exitCode", r.exit_code);
    check_number(text, "signal", r.signal);
    must(result_write(fd, &r, &e) == 0 && result_read_in(a, fd, &again, &e) == 0);
    must(again.end == r.end && again.exit_code == r.exit_code &&
         again.signal == r.signal && again.oom == r.oom &&
         str_eq(again.error, r.error) && again.started_unix_ms == r.started_unix_ms &&
         again.cpu_usec == r.cpu_usec && str_eq(again.enforced, r.enforced) &&
         again.n_params == r.n_params && again.n_artifacts == r.n_artifacts &&
         again.n_notices == r.n_notices);
    for (size_t i = 0; i < r.n_params; i++)
        must(str_eq(again.params[i].name, r.params[i].name) &&
             value_equal(&again.params[i].value, &r.params[i].value));
    for (size_t i = 0; i < r.n_artifacts; i++)
        must(str_eq(again.artifacts[i].uri, r.artifacts[i].uri) &&
             again.artifacts[i].size_bytes == r.artifacts[i].size_bytes &&
             !again.artifacts[i].metadata == !r.artifacts[i].metadata &&
             (!r.artifacts[i].metadata ||
              value_equal(again.artifacts[i].metadata, r.artifacts[i].metadata)));
}

static void read_pid(int fd)
{
    AUTO_FD int pidfd = -1;
    struct box_base base;
    struct err e = {0};

    (void)attempt_base(fd, &base);
    if (pid_file_open(fd, "pid", &pidfd, &e) < 0)
        must(pidfd == -1 && e.text[0]);
    must(!attempt_alive(fd)); /* nobody has the lock */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    AUTO_ARENA struct arena a = {0};
    struct str rest = {(const char *)data, size};

    place_file(p->work_fd, "attempt.json", place_part(&rest));
    place_file(p->work_fd, "result.json", place_part(&rest));
    place_file(p->work_fd, "pid", rest);
    read_attempt(&a, p->work_fd);
    read_result(&a, p->work_fd);
    read_pid(p->work_fd);
    place_clean(p);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* run_collect_fuzz.c - what a task left: its executor output file, then, after a NUL,
 * the text of its parameter files
 *
 * Beside them lie files, directories and links that lead everywhere; the output file
 * says which are the artifacts. What is collected has the declared types, is in the
 * store, is written as result.json and read again, the same; and the bytes beside the
 * attempt are never among it.
 */
#include <stdint.h>

#include "run/collect.h"
#include "store.h"
#include "store/tree.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define ROOT "/kfp"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

static const struct {
    const char *name;
    enum param_type type;
} params[] = {{"s", PARAM_STRING},  {"i", PARAM_INTEGER}, {"d", PARAM_DOUBLE},
              {"b", PARAM_BOOLEAN}, {"l", PARAM_LIST},    {"o", PARAM_STRUCT}};
static const char *const artifacts[] = {"m", "n", "k"};

static void put_files(int fd, struct str said, struct str text)
{
    static const char *const dirs[] = {"io",       ATTEMPT_OUT, "io/out/n", ATTEMPT_PARAMS,
                                       "root",     "root/etc",  "root/kfp"};
    static const char *const links[][2] = {
        {"../../../canary", "io/out/up"},
        {"/etc/file", "io/out/abs"},
        {"loop", "io/out/loop"},
        {ROOT "/m", "root/etc/back"},
        {"m", "io/out/k"},
        {"../../../../../canary", "io/out/n/up"},
        {"..", "io/out/dot"},
        {"/../../canary", "root/up"},
    };

    for (size_t i = 0; i < N_ELEMS(dirs); i++)
        must(mkdirat(fd, dirs[i], 0755) == 0);
    for (size_t i = 0; i < N_ELEMS(links); i++)
        must(symlinkat(links[i][0], fd, links[i][1]) == 0);
    must(mkfifoat(fd, "io/out/fifo", 0644) == 0 && mkfifoat(fd, "io/out/n/fifo", 0644) == 0);
    place_file(fd, "io/out/output.json", said);
    place_file(fd, "io/out/m", STR("model"));
    place_file(fd, "io/out/n/f", STR("file"));
    place_file(fd, "root/etc/file", STR("etc"));
    for (size_t i = 0; i + 1 < N_ELEMS(params); i++) { /* the last writes none */
        char path[32];
        (void)snprintf(path, sizeof path, "io/params/%s", params[i].name);
        place_file(fd, path, text);
    }
}

static void declare(struct arena *a, struct attempt *at)
{
    *at = (struct attempt){.task_root_path = STR(ROOT),
                           .output_file = STR(ROOT "/output.json"),
                           .n_params = N_ELEMS(params),
                           .n_artifacts = N_ELEMS(artifacts)};
    at->params = arena_alloc(a, sizeof *at->params * at->n_params);
    for (size_t i = 0; i < at->n_params; i++)
        at->params[i] = (struct attempt_output){.name = str_of(params[i].name),
                                                .param_type = params[i].type,
                                                .path = STR("x")};
    at->artifacts = arena_alloc(a, sizeof *at->artifacts * at->n_artifacts);
    for (size_t i = 0; i < at->n_artifacts; i++)
        at->artifacts[i] = (struct attempt_output){
            .name = str_of(artifacts[i]),
            .type = STR("system.Model"),
            .type_version = STR("0.0.1"),
            .uri = str_of(arena_printf(a, "%s/%s", ROOT, artifacts[i]))};
    at->inputs = arena_alloc(a, sizeof *at->inputs);
    at->inputs[0] = (struct attempt_input){
        .uri = STR("cas:known"), .kind = STR("none"), .digest = STR("")};
    at->n_inputs = 1;
}

static void check_bytes(struct store *s, const struct result_artifact *f)
{
    struct err e = {0};
    char hex[DIGEST_HEX], canary[DIGEST_HEX];

    if (str_eqz(f->kind, "none"))
        return;
    sha256_hex("sing", 4, canary);
    must(is_hex64_str(f->digest) && !str_eqz(f->digest, canary));
    memcpy(hex, f->digest.ptr, 64);
    hex[64] = 0;
    if (str_eqz(f->kind, "file"))
        must(blob_verify(s, hex, &e) == 0);
    else
        must(str_eqz(f->kind, "dir") && tree_verify(s, hex, &e) == 0);
}

static void check_result(struct arena *a, struct store *s, const struct attempt *at,
                         const struct result *r, int dir_fd)
{
    struct result again;
    struct err e = {0};
    size_t next = 0;

    must(r->n_artifacts == at->n_artifacts &&
         (r->n_params == at->n_params) == !r->error.len);
    for (size_t i = 0; i < r->n_params; i++) {
        while (next < at->n_params && !str_eq(at->params[next].name, r->params[i].name))
            next++;
        must(next < at->n_params && value_check_strict(at->params[next].param_type,
                                                       &r->params[i].value, &e) == 0);
    }
    for (size_t i = 0; i < r->n_artifacts; i++)
        check_bytes(s, &r->artifacts[i]);
    must(result_write(dir_fd, r, &e) == 0 &&
         result_read_in(a, dir_fd, &again, &e) == 0);
    must(again.n_params == r->n_params && again.n_artifacts == r->n_artifacts &&
         again.n_notices == r->n_notices && str_eq(again.error, r->error));
    for (size_t i = 0; i < r->n_params; i++)
        must(value_equal(&again.params[i].value, &r->params[i].value));
    for (size_t i = 0; i < r->n_artifacts; i++)
        must(str_eq(again.artifacts[i].digest, r->artifacts[i].digest) &&
             value_equal(again.artifacts[i].metadata, r->artifacts[i].metadata));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    AUTO_ARENA struct arena a = {0};
    struct str rest = {(const char *)data, size}, said = place_part(&rest);
    struct attempt at;
    struct result r = {.end = END_EXITED};
    struct err e = {0};
    struct collect c = {
        .a = &a, .at = &at, .dir_fd = p->work_fd, .store = fuzz_store()};

    put_files(p->work_fd, said, rest);
    declare(&a, &at);
    c.root_fd = openat(p->work_fd, "root", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(c.root_fd >= 0);
    if (collect_outputs(&c, &r, &e) == 0)
        check_result(&a, c.store, &at, &r, p->work_fd);
    else
        must(e.text[0] && e.code != ERR_NONE);
    (void)close(c.root_fd);
    place_clean(p);
    return 0;
}

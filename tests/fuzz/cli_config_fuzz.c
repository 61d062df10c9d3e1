/* SPDX-License-Identifier: Apache-2.0 */
/* cli_config_fuzz.c - the config.yaml of a home and, after a NUL, the dugout.yaml of a
 * checkout
 *
 * A checkout may be a stranger's: whatever its file says, what could do harm stays as
 * the home has it.
 */
#include <stdint.h>

#include "base/log.h"
#include "cli/cli.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

static bool read_all(struct cli *c, struct opt_value *home)
{
    struct err e = {0};

    *c = (struct cli){.opts = home, .n_opts = 1, .spawner = -1};
    if (cli_config(c, &e) == 0)
        return true;
    must(e.text[0] &&
         (e.code == ERR_INPUT || e.code == ERR_LIMIT || e.code == ERR_MISSING));
    return false;
}

static bool same_text(const char *a, const char *b)
{
    return a == b || (a && b && strcmp(a, b) == 0);
}

static void check_harmless(const struct config *a, const struct config *b)
{
    const struct run_opts *x = &a->run, *y = &b->run;

    must(x->network_host == y->network_host && x->packages == y->packages);
    must(same_text(x->hook_success, y->hook_success) &&
         same_text(x->hook_failure, y->hook_failure) &&
         same_text(x->hook_interrupted, y->hook_interrupted));
    must(x->gpus_none == y->gpus_none && x->gpus_shared == y->gpus_shared &&
         same_text(x->gpu_root, y->gpu_root));
    must(x->quota_soft_bytes == y->quota_soft_bytes &&
         x->quota_hard_bytes == y->quota_hard_bytes &&
         x->min_free_bytes == y->min_free_bytes);
    must(a->keep_runs == b->keep_runs && a->keep_days == b->keep_days &&
         a->keep_bytes == b->keep_bytes && a->network_home == b->network_home);
    must(!a->locked && !b->locked);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct opt home_opt = {.name = "home", .kind = OPT_TEXT};
    struct fuzz_place *p = place_get();
    AUTO_FREE char *path = xasprintf("%s/home", p->work_path);
    struct opt_value home = {&home_opt, path, NULL};
    struct str rest = {(const char *)data, size}, config = place_part(&rest);
    AUTO_FD int here = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct cli alone, with;

    log_set_level(LOG_QUIET);
    must(here >= 0 && mkdirat(p->work_fd, "home", 0755) == 0 &&
         fchdir(p->work_fd) == 0);
    place_file(p->work_fd, "home/config.yaml", config);
    if (read_all(&alone, &home)) {
        place_file(p->work_fd, "dugout.yaml", rest);
        if (read_all(&with, &home))
            check_harmless(&alone.cfg, &with.cfg);
        arena_done(&with.a);
    }
    arena_done(&alone.a);
    must(fchdir(here) == 0);
    place_clean(p);
    return 0;
}

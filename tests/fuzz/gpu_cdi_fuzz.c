/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as a CDI file: an answer with a message, or a spec whose parts hold */
#include <stdint.h>

#include "gpu/cdi.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_edits(const struct cdi_edits *x)
{
    for (size_t i = 0; i < x->n_env; i++)
        must(strchr(x->env[i], '=') > x->env[i]);
    for (size_t i = 0; i < x->n_nodes; i++)
        must(x->nodes[i].path[0] == '/' && x->nodes[i].host_path[0] == '/' &&
             !strstr(x->nodes[i].path, "/../") &&
             !strstr(x->nodes[i].host_path, "/../"));
    for (size_t i = 0; i < x->n_mounts; i++)
        must(x->mounts[i].path[0] == '/' && x->mounts[i].host_path[0] == '/' &&
             !strstr(x->mounts[i].path, "/../") &&
             !strstr(x->mounts[i].host_path, "/../"));
    for (size_t i = 0; i < x->n_hooks; i++)
        for (size_t k = 0; k < x->hooks[i].n_args; k++)
            must(x->hooks[i].path[0] == '/' && x->hooks[i].args[k]);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct arena a = {0};
    struct cdi_spec s;
    struct err e = {.text = ""};

    if (cdi_parse_in(&a, "f", (struct str){(const char *)data, size}, &s, &e) == 0) {
        must(strchr(s.kind, '/') > s.kind);
        check_edits(&s.all);
        for (size_t i = 0; i < s.n_devices; i++) {
            must(s.devices[i].name[0] && !strchr(s.devices[i].name, '/'));
            check_edits(&s.devices[i].edits);
        }
    } else {
        must((e.code == ERR_INPUT || e.code == ERR_LIMIT) && e.text[0] == 'f');
    }
    arena_done(&a);
    return 0;
}

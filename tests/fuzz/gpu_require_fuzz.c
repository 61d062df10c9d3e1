/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_require_fuzz.c - what an image demands of the driver: the driver's version, then,
 * NUL before each, the image's environment
 *
 * The answer goes with its text, which is fit for a terminal; nothing asked is nothing
 * missed; a newer driver never meets less of what is only a lower bound; and the driver
 * that the text names is new enough.
 */
#include <stdint.h>

#include "gpu/gpu.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define MOST_ENV 32
#define NEWEST "999"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

struct asked {
    char *env[MOST_ENV];
    size_t n;
    bool any, required, lower_bounds, disabled;
};

/* do conditions only say how old a driver may be? */
static bool has_lower_bounds_only(const char *z)
{
    for (const char *c = z; *c; c++)
        if (*c == '<' || *c == '!' || (*c == '=' && (c == z || c[-1] != '>')))
            return false;
    return true;
}

static void note(struct asked *x, const char *env)
{
    const char *value = strchr(env, '=');

    if (!value)
        return;
    value++;
    if (strncmp(env, "NVIDIA_DISABLE_REQUIRE=", 23) == 0) {
        x->disabled = strcmp(value, "1") == 0 || strcasecmp(value, "true") == 0;
    } else if (strncmp(env, "NVIDIA_REQUIRE_", 15) == 0) {
        x->any = x->required = true;
        x->lower_bounds = x->lower_bounds && has_lower_bounds_only(value);
    } else if (strncmp(env, "CUDA_VERSION=", 13) == 0) {
        x->any = true;
    }
}

static enum gpu_require ask(const struct asked *x, const char *driver,
                            char text[GPU_TEXT_BYTES])
{
    enum gpu_require got = gpu_require(x->env, x->n, driver, text);
    size_t len = strnlen(text, GPU_TEXT_BYTES);

    must(len < GPU_TEXT_BYTES && (got == GPU_REQUIRE_MET) == !len);
    for (size_t i = 0; i < len; i++)
        must((unsigned char)text[i] >= ' ' && (unsigned char)text[i] < 0x7f);
    must(got != GPU_REQUIRE_FAILED || !x->disabled);
    must(got == GPU_REQUIRE_MET || x->any);
    return got;
}

/* "the image needs CUDA 12.4, driver 550.54.14 or later, ..." */
static void try_what_it_names(const struct asked *x, const char *text)
{
    const char *at = strstr(text, ", driver ");
    char driver[32], again[GPU_TEXT_BYTES];

    if (x->required || !at || sscanf(at, ", driver %31[0-9.] or later", driver) != 1)
        return;
    must(ask(x, driver, again) == GPU_REQUIRE_MET);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_ARENA struct arena a = {0};
    struct str rest = {(const char *)data, size}, part = place_part(&rest);
    struct asked x = {.lower_bounds = true};
    char driver[32], text[GPU_TEXT_BYTES], newer[GPU_TEXT_BYTES];
    enum gpu_require got;

    (void)snprintf(driver, sizeof driver, "%.*s", STR_ARG(part));
    driver[strspn(driver, "0123456789.")] = 0; /* as nvidia.c reads it */
    while (rest.len && x.n < MOST_ENV) {
        part = place_part(&rest);
        x.env[x.n] = arena_strndup(&a, part.ptr, part.len);
        note(&x, x.env[x.n++]);
    }
    got = ask(&x, driver, text);
    if (got != GPU_REQUIRE_MET)
        try_what_it_names(&x, text);
    if (got == GPU_REQUIRE_MET && x.lower_bounds && strtoul(driver, NULL, 10) < 999)
        must(ask(&x, NEWEST, newer) == GPU_REQUIRE_MET);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* require.c - what an image demands of the driver
 *
 *     NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471
 *
 * Blanks mean "or", commas "and"; several NVIDIA_REQUIRE_* variables have to hold all
 * together. The CUDA version that a driver brings is known by table. A driver runs
 * programs of later releases of its own major version (they do without what they cannot
 * have), so those are let through with a word; a later major version cannot work.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "gpu/gpu.h"

/* the first driver of each CUDA release, newest first; from NVIDIA's release notes */
static const struct {
    const char *cuda, *driver;
} releases[] = {
    {"13.0", "580.65.06"}, {"12.9", "575.51.03"}, {"12.8", "570.26"},
    {"12.6", "560.28.03"}, {"12.5", "555.42.02"}, {"12.4", "550.54.14"},
    {"12.3", "545.23.06"}, {"12.2", "535.54.03"}, {"12.1", "530.30.02"},
    {"12.0", "525.60.13"}, {"11.8", "520.61.05"}, {"11.7", "515.43.04"},
    {"11.6", "510.39.01"}, {"11.5", "495.29.05"}, {"11.4", "470.42.01"},
    {"11.3", "465.19.01"}, {"11.2", "460.27.03"}, {"11.1", "455.23"},
    {"11.0", "450.36.06"}, {"10.2", "440.33"},    {"10.1", "418.39"},
    {"10.0", "410.48"},    {"9.2", "396.26"},     {"9.0", "384.81"},
};

/* 12.10 is after 12.9: numbers, left to right; a missing one is 0 */
static int compare_versions(const char *a, const char *b)
{
    for (int i = 0; i < 4; i++) {
        char *ea = (char *)(uintptr_t)a, *eb = (char *)(uintptr_t)b;
        unsigned long x = *a ? strtoul(a, &ea, 10) : 0,
                      y = *b ? strtoul(b, &eb, 10) : 0;
        if (x != y)
            return x < y ? -1 : 1;
        a = *ea == '.' ? ea + 1 : "";
        b = *eb == '.' ? eb + 1 : "";
    }
    return 0;
}

/* what of a version is one: the image's text goes to a terminal */
static void copy_version(char out[16], const char *from)
{
    size_t n = strspn(from, "0123456789.");

    (void)snprintf(out, 16, "%.*s", n < 15 ? (int)n : 15, from);
}

static const char *cuda_of(const char *driver)
{
    for (size_t i = 0; i < N_ELEMS(releases); i++)
        if (compare_versions(driver, releases[i].driver) >= 0)
            return releases[i].cuda;
    return "0";
}

static const char *driver_for(const char *cuda)
{
    const char *best = NULL;

    for (size_t i = 0; i < N_ELEMS(releases); i++)
        if (compare_versions(releases[i].cuda, cuda) >= 0)
            best = releases[i].driver;
    return best;
}

struct host {
    const char *driver, *cuda;
};

static bool holds(int cmp, const char *op)
{
    switch (op[0]) {
    case '>':
        return op[1] == '=' ? cmp >= 0 : cmp > 0;
    case '<':
        return op[1] == '=' ? cmp <= 0 : cmp < 0;
    case '!':
        return cmp != 0;
    default:
        return cmp == 0;
    }
}

/* One "name<op>value". What cannot be told from files (brand, arch) holds: to refuse
 * for that would be wrong more often than not. *cuda: the CUDA version that was missing
 */
static bool clause_holds(const struct host *h, char *clause, char cuda[16])
{
    size_t name = strcspn(clause, "<>=!"), op = strspn(clause + name, "<>=!");
    const char *value = clause + name + op;
    bool is_cuda = name == 4 && strncmp(clause, "cuda", 4) == 0;
    bool is_driver = name == 6 && strncmp(clause, "driver", 6) == 0;

    if (!op || (!is_cuda && !is_driver))
        return true;
    if (holds(compare_versions(is_cuda ? h->cuda : h->driver, value), clause + name))
        return true;
    if (is_cuda && clause[name] == '>')
        copy_version(cuda, value);
    return false;
}

/* one NVIDIA_REQUIRE_*; cuda: what would have been needed, of the first alternative */
static bool text_holds(const struct host *h, const char *text, char cuda[16])
{
    AUTO_FREE char *copy = xstrdup(text);
    bool any = false;
    char *save_or = NULL, *save_and;

    for (char *alt = strtok_r(copy, " ", &save_or); alt;
         alt = strtok_r(NULL, " ", &save_or)) {
        bool all = true;
        char missing[16] = "";
        any = true;
        save_and = NULL;
        for (char *c = strtok_r(alt, ",", &save_and); c;
             c = strtok_r(NULL, ",", &save_and))
            all = clause_holds(h, c, missing) && all;
        if (all)
            return true;
        if (!cuda[0])
            (void)snprintf(cuda, 16, "%s", missing);
    }
    return !any;
}

static bool is_true(const char *z)
{
    return strcmp(z, "1") == 0 || strcasecmp(z, "true") == 0;
}

static enum gpu_require verdict(const struct host *h, const char *cuda, bool disabled,
                                char text[GPU_TEXT_BYTES])
{
    const char *need = cuda[0] ? driver_for(cuda) : NULL;
    bool same_major = cuda[0] && strtoul(cuda, NULL, 10) == strtoul(h->cuda, NULL, 10);

    if (cuda[0])
        (void)snprintf(
            text, GPU_TEXT_BYTES,
            "the image needs CUDA %.15s%s%s%s, and the driver here is %.31s (CUDA %s)",
            cuda, need ? ", driver " : "", need ? need : "", need ? " or later" : "",
            h->driver, h->cuda);
    else
        (void)snprintf(text, GPU_TEXT_BYTES,
                       "the image's NVIDIA_REQUIRE variables do not hold for driver "
                       "%.31s (CUDA %s)",
                       h->driver, h->cuda);
    return same_major || disabled ? GPU_REQUIRE_MAYBE : GPU_REQUIRE_FAILED;
}

enum gpu_require gpu_require(char *const *env, size_t n_env, const char *driver,
                             char text[GPU_TEXT_BYTES])
{
    struct host h = {driver, cuda_of(driver)};
    char cuda[16] = "", version[16] = "";
    bool disabled = false, fine = true, asked = false;

    text[0] = 0;
    for (size_t i = 0; i < n_env; i++) {
        const char *eq = strchr(env[i], '=');
        if (!eq)
            continue;
        if (strncmp(env[i], "NVIDIA_DISABLE_REQUIRE=", 23) == 0)
            disabled = is_true(eq + 1);
        else if (strncmp(env[i], "CUDA_VERSION=", 13) == 0)
            copy_version(version, eq + 1);
        else if (strncmp(env[i], "NVIDIA_REQUIRE_", 15) == 0) {
            asked = true;
            fine = text_holds(&h, eq + 1, cuda) && fine;
        }
    }
    if (!asked && version[0] && compare_versions(version, "9") > 0) {
        char *dot =
            strchr(version, '.'); /* 12.4.1: the patch level asks for no other driver */
        if (dot && (dot = strchr(dot + 1, '.')))
            *dot = 0;
        if (compare_versions(h.cuda, version) < 0) {
            fine = false;
            memcpy(cuda, version, sizeof cuda);
        }
    }
    return fine ? GPU_REQUIRE_MET : verdict(&h, cuda, disabled, text);
}

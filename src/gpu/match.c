/* SPDX-License-Identifier: Apache-2.0 */
/* match.c - which GPUs a request means
 *
 * Pipelines are written for many clusters, and the type of an accelerator is spelled by
 * the cluster's rules: nvidia.com/gpu (Kubernetes), NVIDIA_TESLA_T4 (Vertex AI),
 * nvidia-tesla-t4 (a GKE label), amd.com/gpu, gpu.intel.com/i915. The vendor is taken
 * literally; the model of a cloud's name is not, as nobody has just that card, but it
 * is said. What is no GPU (TPUs and the like) is refused.
 */
#include <ctype.h>
#include <stdio.h>
#include <string.h>

#include "gpu/inside.h"

/* what the lower-cased type begins with */
static const struct {
    const char *prefix;
    unsigned vendors; /* bits by enum gpu_vendor */
    enum { WHOLE_OR_SLICE, SLICE, CLOUD } how;
} spellings[] = {
    {"nvidia.com/mig-", 1U << GPU_NVIDIA, SLICE},
    {"nvidia.com/", 1U << GPU_NVIDIA | 1U << GPU_TEGRA, WHOLE_OR_SLICE},
    {"nvidia", 1U << GPU_NVIDIA | 1U << GPU_TEGRA, CLOUD},
    {"amd.com/", 1U << GPU_AMD, WHOLE_OR_SLICE},
    {"amd", 1U << GPU_AMD, CLOUD},
    {"gpu.intel.com/", 1U << GPU_INTEL, WHOLE_OR_SLICE},
    {"intel", 1U << GPU_INTEL, CLOUD},
};

static void lower(struct str s, char *out, size_t size)
{
    size_t n = 0;

    for (; n < s.len && n + 1 < size; n++)
        out[n] = (char)tolower((unsigned char)s.ptr[n]);
    out[n] = 0;
}

/* any GPU will do: all of the first vendor that has one which is ready, else that has
 * one */
static unsigned any_vendor(const struct gpu_set *s)
{
    for (int ready = 1; ready >= 0; ready--)
        for (enum gpu_vendor v = 0; v < GPU_VENDORS; v++)
            for (size_t i = 0; i < s->n; i++)
                if (s->gpus[i].vendor == v && (!ready || gpu_ready(&s->gpus[i])))
                    return 1U << v;
    return 0;
}

/* the last word of "nvidia_tesla_t4", the part of a model's name that tells it from
 * others */
static void note_model(const char *type, struct gpu *const *match, size_t n,
                       char notice[GPU_TEXT_BYTES])
{
    const char *last = type, *sep;
    char model[GPU_TEXT_BYTES];

    while ((sep = strpbrk(last, "_-/ ")) && sep[1])
        last = sep + 1;
    if (strcmp(last, "gpu") == 0 || last == type)
        return;
    for (size_t i = 0; i < n; i++) {
        lower(str_of(match[i]->model), model, sizeof model);
        if (strstr(model, last))
            return;
    }
    if (n)
        (void)snprintf(notice, GPU_TEXT_BYTES,
                       "%.40s was asked for and is not here: %.80s serves", type,
                       match[0]->model);
}

int gpu_match(struct gpu_set *s, const struct gpu_want *w, struct gpu **out, size_t *n,
              char notice[GPU_TEXT_BYTES], struct err *e)
{
    char type[128];
    unsigned vendors = 0;
    int how = WHOLE_OR_SLICE;

    *n = 0;
    notice[0] = 0;
    lower(str_trim(w->type), type, sizeof type);
    if (!type[0] || strcmp(type, "gpu") == 0 || strcmp(type, "cuda") == 0)
        vendors = any_vendor(s);
    for (size_t i = 0; !vendors && i < N_ELEMS(spellings); i++)
        if (strncmp(type, spellings[i].prefix, strlen(spellings[i].prefix)) == 0) {
            vendors = spellings[i].vendors;
            how = spellings[i].how;
        }
    for (size_t i = 0; i < s->n; i++) {
        struct gpu *g = &s->gpus[i];
        bool is_cdi = g->vendor == GPU_CDI &&
                      strncasecmp(g->id, type, strlen(type)) == 0 &&
                      g->id[strlen(type)] == '=' && type[0];
        if (is_cdi || ((vendors & (1U << g->vendor)) && (how != SLICE || g->gi >= 0)))
            out[(*n)++] = g;
    }
    if (!vendors && !*n && type[0] && strcmp(type, "gpu") != 0)
        return err_set(
            e, ERR_MISSING,
            "accelerator \"%.80s\" is none that this box could have (known are "
            "nvidia.com/gpu, amd.com/gpu, gpu.intel.com/... and the kinds of CDI "
            "files)",
            type);
    if (how == CLOUD)
        note_model(type, out, *n, notice);
    if (how == SLICE && *n)
        (void)snprintf(
            notice, GPU_TEXT_BYTES,
            "any MIG instance serves %.60s: the driver does not tell their size", type);
    return 0;
}

int gpu_enough(const struct gpu_want *w, struct gpu *const *match, size_t n,
               struct err *e)
{
    AUTO_BUF struct buf why = {0};
    size_t ready = 0;

    buf_init(&why, 300);
    for (size_t i = 0; i < n; i++) {
        const struct gpu *g = match[i];
        ready += gpu_ready(g);
        if (!gpu_ready(g))
            buf_addf(&why, "%s%.48s %s%.100s", why.len ? "; " : ": ", g->id,
                     g->drained[0] ? "is drained: " : "cannot be used: ",
                     g->drained[0] ? g->drained : g->unusable);
    }
    if (ready >= w->count)
        return 0;
    return err_set(
        e, ERR_MISSING,
        "it asks for %u GPU%s%s%.*s%s, and this box has %zu%s (dugout gpu ls)",
        w->count, w->count == 1 ? "" : "s", w->type.len ? " (" : "", STR_ARG(w->type),
        w->type.len ? ")" : "", ready, buf_str(&why));
}

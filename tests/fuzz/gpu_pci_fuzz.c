/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_pci_fuzz.c - /sys of a machine with AMD and Intel GPUs: /proc/devices, two nodes
 * of AMD's topology, the name of the second and a product name, NUL after each; then a
 * line for each card, "ADDRESS VENDOR CLASS NUMA DEVICE ENTRY..." with the entries of
 * its drm/
 *
 * Whatever the kernel says, no two GPUs have one name, each is found by its own, a
 * usable one has its nodes, what is shown is fit for a terminal, and a second look sees
 * the same.
 */
#include <stdint.h>
#include <sys/sysmacros.h>

#include "gpu/gpu.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CARDS "sys/bus/pci/devices"
#define REAL "sys/devices/pci0000:00" /* what the entries of CARDS are links to */
#define KFD "sys/class/kfd/kfd/topology/nodes"
#define MOST_CARDS 16

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

/* ---- the tree ------------------------------------------------------------------- */

static void put(int fd, const char *dir, const char *name, struct str text)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir, name);
    struct err e = {0};

    must(fd_mkdirs(fd, dir, 0755, &e) == 0);
    place_file(fd, path, text);
}

/* cut one word off the front; false when there is none */
static bool next_word(struct str *line, char word[64])
{
    size_t n = 0, skip = 0;

    while (skip < line->len && line->ptr[skip] == ' ')
        skip++;
    while (skip + n < line->len && line->ptr[skip + n] != ' ')
        n++;
    (void)snprintf(word, 64, "%.*s", (int)n, line->ptr + skip);
    line->ptr += skip + n;
    line->len -= skip + n;
    return word[0] != 0;
}

static bool is_file_name(const char *z)
{
    return !strchr(z, '/') && strcmp(z, ".") != 0 && strcmp(z, "..") != 0;
}

static void put_card(int fd, struct str line, struct str product)
{
    static const char *const files[] = {"vendor", "class", "numa_node", "device"};
    char word[64];
    struct err e = {0};

    if (!next_word(&line, word) || !is_file_name(word))
        return;
    AUTO_FREE char *dir = xasprintf(REAL "/%s", word);
    AUTO_FREE char *link = xasprintf(CARDS "/%s", word);
    AUTO_FREE char *to = xasprintf("../../../devices/pci0000:00/%s", word);

    (void)symlinkat(to, fd, link);
    put(fd, dir, "product_name", product);
    for (size_t i = 0; i < N_ELEMS(files) && next_word(&line, word); i++)
        put(fd, dir, files[i], str_of(word));
    while (next_word(&line, word)) {
        AUTO_FREE char *drm = xasprintf("%s/drm/%s", dir, word);
        if (is_file_name(word))
            must(fd_mkdirs(fd, drm, 0755, &e) == 0);
    }
}

static void put_tree(int fd, struct str rest)
{
    struct err e = {0};
    struct str product;

    put(fd, "proc", "devices", place_part(&rest));
    put(fd, KFD "/0", "properties", STR("cpu_cores_count 64\nsimd_count 0\n"));
    put(fd, KFD "/1", "properties", place_part(&rest));
    put(fd, KFD "/1", "name", STR("aldebaran\n"));
    put(fd, KFD "/2", "properties", place_part(&rest));
    put(fd, KFD "/2", "name", place_part(&rest));
    must(fd_mkdirs(fd, "dev/dri", 0755, &e) == 0 &&
         fd_mkdirs(fd, CARDS, 0755, &e) == 0);
    (void)mknodat(fd, "dev/kfd", S_IFCHR | 0660, makedev(235, 0)); /* root's alone */
    (void)mknodat(fd, "dev/dri/renderD128", S_IFCHR | 0660, makedev(226, 128));
    product = place_part(&rest);
    for (size_t i = 0; i < MOST_CARDS && rest.len; i++) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct str line = {rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len};
        put_card(fd, line, product);
        rest.ptr += line.len + (end != NULL);
        rest.len -= line.len + (end != NULL);
    }
}

/* ---- what was found ------------------------------------------------------------- */

static void check_shown(const char *z, size_t size)
{
    must(memchr(z, 0, size));
    for (; *z; z++)
        must((unsigned char)*z >= ' ' && *z != 0x7f);
}

static void check_nodes(const struct gpu *g)
{
    must(g->n_nodes == (g->vendor == GPU_AMD ? 2 : 1));
    must(g->minor >= 128 && g->minor < 1024);
    must(g->vendor != GPU_AMD || strcmp(g->nodes[0].path, "/dev/kfd") == 0);
    must(strncmp(g->nodes[g->n_nodes - 1].path, "/dev/dri/renderD", 16) == 0 &&
         g->nodes[g->n_nodes - 1].minor == g->minor);
}

static void check_gpu(struct gpu_set *s, const struct gpu *g)
{
    char called[GPU_ID_BYTES + 16];
    struct err e = {0};

    must(g->vendor == GPU_AMD || g->vendor == GPU_INTEL || g->vendor == GPU_NVIDIA);
    must(g->id[0] && !strpbrk(g->id, "/ \n") && g->name[0] && g->pci[0]);
    must(g->numa >= -1 && g->gi == -1 && g->ci == -1 && !g->drained[0]);
    check_shown(g->id, sizeof g->id);
    check_shown(g->model, sizeof g->model);
    check_shown(g->unusable, sizeof g->unusable);
    if (!g->unusable[0])
        check_nodes(g);
    (void)snprintf(called, sizeof called, "%s:%s", gpu_vendor_name(g->vendor), g->name);
    must(gpu_named(s, g->id, &e) == g && gpu_named(s, g->pci, &e) == g &&
         gpu_named(s, called, &e) == g);
}

static void check_match(struct gpu_set *s, const char *type, enum gpu_vendor v)
{
    AUTO_ARENA struct arena a = {0};
    struct gpu **out = arena_alloc(&a, (s->n + 1) * sizeof(struct gpu *));
    struct gpu_want w = {str_of(type), 1};
    char notice[GPU_TEXT_BYTES] = "";
    struct err e = {0};
    size_t n = 0, ready = 0;

    must(gpu_match(s, &w, out, &n, notice, &e) == 0 && n <= s->n);
    for (size_t i = 0; i < n; i++) {
        must(out[i] >= s->gpus && out[i] < s->gpus + s->n && out[i]->vendor == v);
        ready += gpu_ready(out[i]);
    }
    must((gpu_enough(&w, out, n, &e) == 0) == (ready > 0));
}

static void check_same(const struct gpu_set *s, const char *root)
{
    struct gpu_set again = {0};
    struct err e = {0};

    must(gpu_find(root, &again, &e) == 0 && again.n == s->n);
    for (size_t i = 0; i < s->n; i++)
        must(strcmp(s->gpus[i].id, again.gpus[i].id) == 0 &&
             strcmp(s->gpus[i].model, again.gpus[i].model) == 0 &&
             strcmp(s->gpus[i].unusable, again.gpus[i].unusable) == 0);
    gpu_set_done(&again);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    const char *root = p->work_path;
    struct gpu_set s = {0};
    struct err e = {0};

    put_tree(p->work_fd, (struct str){(const char *)data, size});
    must(gpu_find(root, &s, &e) == 0); /* so few cards are always found */
    for (size_t i = 0; i < s.n; i++)
        check_gpu(&s, &s.gpus[i]);
    check_match(&s, "amd.com/gpu", GPU_AMD);
    check_match(&s, "gpu.intel.com/i915", GPU_INTEL);
    check_same(&s, root);
    gpu_set_done(&s);
    place_clean(p);
    return 0;
}

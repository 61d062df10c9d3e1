/* SPDX-License-Identifier: Apache-2.0 */
/* gpu_files_fuzz.c - what the kernel and the driver say of GPUs: the kernel's log, a
 * card's information, /proc/devices, the minors of MIG, a board's list and a library,
 * NUL after each
 *
 * Names that come out are safe in a message and as a file's name; a reason is one line.
 */
#include <stdint.h>

#include "gpu/drain.h"
#include "gpu/inside.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define CARD "/proc/driver/nvidia/gpus/0000:3b:00.0"
#define MIG "/proc/driver/nvidia/capabilities/gpu0/mig/gi1/ci0"
#define LISTS "/etc/nvidia-container-runtime/host-files-for-container.d"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

static void put(const struct fuzz_place *p, const char *dir, const char *name,
                struct str text)
{
    AUTO_FREE char *path = xasprintf("%s/%s", dir + 1, name);
    struct err e = {0};

    must(fd_mkdirs(p->work_fd, dir + 1, 0755, &e) == 0);
    place_file(p->work_fd, path, text);
}

static void check_health(const char *root, const char *pci, const char *node)
{
    struct gpu_ref g = {"GPU-1", pci, node, 195, 0};
    char why[GPU_TEXT_BYTES] = "";

    if (health_check(root, &g, 1000, why))
        must(why[0] && memchr(why, 0, sizeof why) && !strchr(why, '\n'));
}

static void check_set(const struct gpu_set *s)
{
    for (size_t i = 0; i < s->n; i++) {
        const struct gpu *g = &s->gpus[i];
        must(g->id[0] && !strpbrk(g->id, " \n\t") && g->name[0]);
        for (const char *c = g->model; *c; c++)
            must((unsigned char)*c >= ' ');
        for (size_t k = 0; k < g->n_nodes; k++)
            must(strncmp(g->nodes[k].path, "/dev/", 5) == 0 &&
                 !strstr(g->nodes[k].path, ".."));
    }
}

static void look(const char *root)
{
    struct gpu_set s = {0};
    struct err e = {0};

    if (gpu_find(root, &s, &e) == 0)
        check_set(&s);
    else
        must(e.text[0]);
    gpu_set_done(&s);
    check_health(root, "0000:3b:00.0", "/dev/nvidia0");
    check_health(root, "0000:c1:00.0", "/dev/dri/renderD128");
}

static void check_library(const struct fuzz_place *p)
{
    AUTO_FD int fd = openat(p->work_fd, "lib/x.so", O_RDONLY | O_CLOEXEC);
    char soname[64] = "";

    if (elf_soname(fd, soname, sizeof soname))
        must(soname[0] != '.' && !strpbrk(soname, "/ \n"));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    struct str rest = {(const char *)data, size};
    const char *root = p->work_path;

    put(p, "/dev", "kmsg", place_part(&rest));
    put(p, "/dev", "nvidia0", STR(""));
    put(p, "/dev/dri", "renderD128", STR(""));
    put(p, CARD, "information", place_part(&rest));
    put(p, "/proc", "devices", place_part(&rest));
    put(p, "/proc/driver/nvidia-caps", "mig-minors", place_part(&rest));
    put(p, MIG, "access", STR(""));
    put(p, "/proc/driver/nvidia", "version", place_part(&rest));
    put(p, "/dev", "nvmap", STR(""));
    put(p, LISTS, "a.csv", place_part(&rest));
    put(p, "/lib", "x.so", rest);
    look(root);
    must(renameat(p->work_fd, "proc/driver/nvidia", p->work_fd, "proc/driver/x") == 0);
    look(root); /* as a board has it */
    check_library(p);
    place_clean(p);
    return 0;
}

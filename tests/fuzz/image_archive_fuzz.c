/* SPDX-License-Identifier: Apache-2.0 */
/* image_archive_fuzz.c - the bytes as an image archive: its members, and what its index
 * or manifest.json makes of them
 *
 * Nothing is unpacked. Every layer that a plan names must lead to bytes within the
 * archive. A compressed archive would be read by a child, out of the fuzzer's sight;
 * image_inflate has that.
 */
#include <stdint.h>
#include <sys/mman.h>

#include "image/plan.h"
#include "place.h"
#include "tar.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_plans(const struct image_plans *p, size_t size)
{
    must(p->n > 0);
    for (size_t i = 0; i < p->n; i++) {
        const struct image_plan *image = &p->items[i];
        must(image->what && is_hex64(image->config_hex) && image->config.n_layers > 0);
        for (size_t k = 0; k < image->config.n_layers; k++) {
            struct bytes_src src;
            struct err e;
            int fd;
            must(is_hex64(image->layers[k].diff_hex));
            if (archive_bytes(p->archive, image->layers[k].member, &src, &fd, &e) == 0)
                must(fd < 0 && src.offset <= size && src.size <= size);
        }
    }
}

static void plan(struct image_archive *a,
                 int (*how)(struct image_plans *, struct err *), const char *ref,
                 size_t size)
{
    AUTO_ARENA struct arena arena = {0};
    struct image_plans p = {.arena = &arena, .archive = a, .ref = ref};
    struct err e = {0};

    must(platform_parse("linux/amd64", &p.platform, &e) == 0);
    if (how(&p, &e) == 0)
        check_plans(&p, size);
    else
        must(e.text[0] && e.code != ERR_NONE);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return tar_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int fd = memfd_create("archive", MFD_CLOEXEC);
    struct archive_opts o = {.keep = false};
    struct image_archive *a = NULL;
    struct err e = {0};
    char path[40];

    if (size > 3 &&
        ((data[0] == 0x1f && data[1] == 0x8b) || memcmp(data, "BZh", 3) == 0 ||
         memcmp(data,
                "\xfd"
                "7z",
                3) == 0 ||
         memcmp(data, "\x28\xb5\x2f", 3) == 0 ||
         memcmp(data + 1, "\x2a\x4d\x18", 3) == 0)) {
        (void)close(fd);
        return -1;
    }
    must(fd >= 0 && write(fd, data, size) == (ssize_t)size);
    (void)snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    if (archive_open(NULL, path, &o, &a, &e) == 0) {
        plan(a, plan_layout, NULL, size);
        plan(a, plan_docker, NULL, size);
        plan(a, plan_docker, "a:1", size);
        archive_close(a);
    } else {
        must(e.text[0]);
    }
    (void)close(fd);
    return 0;
}

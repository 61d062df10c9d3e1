/* SPDX-License-Identifier: Apache-2.0 */
/* image_oci_fuzz.c - config, manifest and index, NUL after each, as the documents of an
 * OCI layout
 *
 * A digest that is right would never be found by chance, so the target fills them in:
 * in a manifest
 * "@C@" is the digest of the config and 77777 its size, in an index "@M@" and 77777
 * those of the manifest. Whatever else the documents say is the fuzzer's.
 */
#include <stdint.h>

#include "image/plan.h"
#include "store.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_config(struct arena *a, struct str text)
{
    struct image_config c;
    struct err e = {0};

    if (config_parse_in(a, text, &c, &e) < 0) {
        must(e.text[0] && e.code != ERR_NONE);
        return;
    }
    must(c.n_layers > 0 && c.workdir && c.user && c.stop_signal);
    for (size_t i = 0; i < c.n_layers; i++)
        must(is_hex64(c.diff_ids[i]));
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    AUTO_ARENA struct arena arena = {0};
    AUTO_BUF struct buf manifest = {0};
    AUTO_BUF struct buf index = {0};
    struct str rest = {(const char *)data, size}, config = place_part(&rest);
    struct image_plans plans = {.arena = &arena};
    struct archive_opts o = {.keep = false};
    struct err e = {0};

    check_config(&arena, config);
    fill_in(&manifest, place_part(&rest), "@C@", "77777", config);
    fill_in(&index, rest, "@M@", "77777",
            (struct str){buf_str(&manifest), manifest.len});
    must(fd_mkdirs(p->work_fd, "blobs/sha256", 0755, &e) == 0);
    put_blob(p->work_fd, config);
    put_blob(p->work_fd, (struct str){buf_str(&manifest), manifest.len});
    put_blob(p->work_fd, (struct str){buf_str(&index), index.len});
    place_file(p->work_fd, "index.json", (struct str){buf_str(&index), index.len});
    must(platform_parse("linux/amd64", &plans.platform, &e) == 0);
    {
        const char *path = p->work_path;
        must(archive_open(NULL, path, &o, &plans.archive, &e) == 0);
    }
    if (plan_layout(&plans, &e) == 0)
        must(plans.n > 0 && plans.items[0].config.n_layers > 0);
    else
        must(e.text[0] && e.code != ERR_NONE);
    archive_close(plans.archive);
    place_clean(p);
    return 0;
}

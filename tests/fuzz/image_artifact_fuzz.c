/* SPDX-License-Identifier: Apache-2.0 */
/* image_artifact_fuzz.c - manifest, index and the bytes of a layer, NUL after the first
 * two, as an artifact in an OCI layout
 *
 * "@L@" and 88888 in the manifest are digest and size of the layer, "@M@" and 77777 in
 * the index those of the manifest. What comes in is in the store as it says, and
 * nothing beside the layout has changed.
 */
#include <signal.h>
#include <stdint.h>
#include <sys/resource.h>

#include "image/artifact.h"
#include "store.h"
#include "store/tree.h"
#include "tar.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* one time in two the documents, else the layer */
size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    struct str rest = {(const char *)data, size};
    size_t head, n;
    uint8_t *copy;

    (void)place_part(&rest);
    (void)place_part(&rest);
    head = size - rest.len;
    if (seed & 1)
        return head + tar_mutate(data + head, rest.len, max_size - head, seed >> 1);
    copy = xalloc(max_size);
    memcpy(copy, data, head);
    n = text_mutate(copy, head, max_size - rest.len, seed >> 1);
    memmove(data + n, data + head, rest.len);
    memcpy(data, copy, n);
    free(copy);
    return n + rest.len;
}

/* holes are hashed in full; up to the real limit that would take minutes */
static void limit_files(void)
{
    static const struct rlimit limit = {16 << 20, 16 << 20};

    (void)signal(SIGXFSZ, SIG_IGN);
    must(setrlimit(RLIMIT_FSIZE, &limit) == 0);
}

static void check(struct store *s, const struct oci_artifact *a)
{
    struct err e = {0};
    char hex[DIGEST_HEX];

    must(a->type.len && a->name.len);
    if (str_eqz(a->kind, "none")) {
        must(!a->digest_hex.len);
        return;
    }
    must(is_hex64_str(a->digest_hex));
    memcpy(hex, a->digest_hex.ptr, 64);
    hex[64] = 0;
    if (str_eqz(a->kind, "file"))
        must(blob_verify(s, hex, &e) == 0);
    else
        must(str_eqz(a->kind, "dir") && tree_verify(s, hex, &e) == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    struct store *s = fuzz_store();
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf manifest = {0};
    AUTO_BUF struct buf index = {0};
    const char *path = p->work_path;
    struct str rest = {(const char *)data, size}, part = place_part(&rest);
    struct str index_part = place_part(&rest);
    struct oci_artifact out;
    struct err e = {0};

    limit_files();
    fill_in(&manifest, part, "@L@", "88888", rest);
    part = (struct str){buf_str(&manifest), manifest.len};
    fill_in(&index, index_part, "@M@", "77777", part);
    must(fd_mkdirs(p->work_fd, "blobs/sha256", 0755, &e) == 0);
    put_blob(p->work_fd, rest);
    put_blob(p->work_fd, part);
    place_file(p->work_fd, "index.json", (struct str){buf_str(&index), index.len});
    if (oci_artifact_import(&a, s, path, STR(""), &out, &e) == 0)
        check(s, &out);
    else
        must(e.text[0] && e.code != ERR_NONE);
    place_clean(p);
    return 0;
}

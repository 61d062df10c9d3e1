/* SPDX-License-Identifier: Apache-2.0 */
/* The ceilings of a layer, with small numbers; the rules of unpacking are tried in
 * tests/cli */
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "image/layer.h"
#include "t.h"

#define BLOCK 512

static char tar[64 * BLOCK];
static size_t tar_len, given;

static void octal(char *p, size_t width, unsigned long v)
{
    (void)snprintf(p, width, "%0*lo", (int)width - 1, v);
}

/* one ustar header, and size bytes of content */
static void add_file(const char *name, size_t size)
{
    char *h = tar + tar_len;
    unsigned sum = 0;

    memset(h, 0, BLOCK);
    (void)snprintf(h, 100, "%s", name);
    octal(h + 100, 8, 0644);
    octal(h + 124, 12, size);
    octal(h + 136, 12, 0);
    memset(h + 148, ' ', 8);
    h[156] = '0';
    memcpy(h + 257, "ustar\00000", 8);
    for (int i = 0; i < BLOCK; i++)
        sum += (unsigned char)h[i];
    octal(h + 148, 7, sum);
    tar_len += BLOCK + (size + BLOCK - 1) / BLOCK * BLOCK;
}

static void new_tar(void)
{
    memset(tar, 0, sizeof tar);
    tar_len = given = 0;
}

static int read_tar(void *ctx, const void **block, size_t *len, struct err *e)
{
    size_t end = tar_len + 2 * BLOCK;

    (void)ctx;
    (void)e;
    *block = tar + given;
    *len = end - given;
    given = end;
    return 0;
}

static int unpack(struct layer_opts o, struct err *e)
{
    char path[] = "/tmp/dugout-layer-XXXXXX";
    struct layer_facts facts;
    struct err ignored;
    int rc;

    *e = (struct err){0};
    if (!mkdtemp(path))
        return -2;
    o.fs_fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    given = 0;
    rc = layer_unpack(read_tar, NULL, &o, &facts, e);
    layer_facts_done(&facts);
    (void)close(o.fs_fd);
    (void)fd_remove_tree(AT_FDCWD, path, &ignored);
    return rc;
}

static void entries_are_counted(void)
{
    struct layer_opts o = {.userxattr = true, .max_bytes = 1 << 20, .max_entries = 3};
    struct err e;

    new_tar();
    for (int i = 0; i < 3; i++)
        add_file((const char *[]){"a", "b", "c"}[i], 0);
    CHECK_INT(unpack(o, &e), 0);
    add_file("a", 0); /* the same name again is another entry */
    CHECK_INT(unpack(o, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    CHECK_STR(e.text, "the layer has more than 3 entries");
}

static void bytes_are_counted_before_they_are_written(void)
{
    struct layer_opts o = {.userxattr = true, .max_bytes = 3000, .max_entries = 9};
    struct err e;

    new_tar();
    add_file("a", 2000);
    add_file("b", 1000);
    CHECK_INT(unpack(o, &e), 0);
    add_file("c", 1);
    CHECK_INT(unpack(o, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
}

static void layers_share_a_budget(void)
{
    struct layer_budget budget = {5000, 100};
    struct layer_opts o = {
        .userxattr = true, .max_bytes = 1 << 20, .max_entries = 9, .budget = &budget};
    struct err e;

    new_tar();
    add_file("a", 2500);
    CHECK_INT(unpack(o, &e), 0);
    CHECK_INT(unpack(o, &e), 0);
    CHECK_INT(unpack(o, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    budget = (struct layer_budget){5000, 1};
    CHECK_INT(unpack(o, &e), 0);
    CHECK_INT(unpack(o, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
}

int main(void)
{
    entries_are_counted();
    bytes_are_counted_before_they_are_written();
    layers_share_a_budget();
    return t_end();
}

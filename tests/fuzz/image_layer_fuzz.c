/* SPDX-License-Identifier: Apache-2.0 */
/* image_layer_fuzz.c - the bytes as the tar of a layer, unpacked for real
 *
 * Checked besides memory: an answer or an error of one line; nothing outside of the
 * layer's directory has changed; nothing in it is a device but a whiteout, and nothing
 * bears a mark of overlayfs that a tar could have forged (an opaque directory is ours
 * to mark). What follows a block that begins with "next layer" is a second one,
 * unpacked with a view of the first.
 */
#include <dirent.h>
#include <stdint.h>
#include <sys/xattr.h>

#include "image/layer.h"
#include "place.h"
#include "tar.h"

#define BLOCK 1000 /* no multiple of a tar's, so that nothing is aligned by luck */

struct feed {
    const uint8_t *data;
    size_t left;
};

static int read_block(void *ctx, const void **block, size_t *len, struct err *e)
{
    struct feed *f = ctx;

    (void)e;
    *len = f->left < BLOCK ? f->left : BLOCK;
    *block = f->data;
    f->data += *len;
    f->left -= *len;
    return 0;
}

static void check_marks(int fd)
{
    char names[4096];
    ssize_t n = flistxattr(fd, names, sizeof names);

    for (const char *p = names; n > 0 && p < names + n; p += strlen(p) + 1)
        must(strncmp(p, "trusted.", 8) != 0 && (strncmp(p, "user.overlay.", 13) != 0 ||
                                                strcmp(p, "user.overlay.opaque") == 0));
}

/* dir_fd is taken */
static void check_tree(int dir_fd)
{
    DIR *d = fdopendir(dir_fd);
    struct dirent *entry;

    must(d != NULL);
    check_marks(dirfd(d));
    while ((entry = readdir(d))) {
        struct stat st;
        if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
            continue;
        must(fstatat(dirfd(d), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0);
        must(!S_ISBLK(st.st_mode) && (!S_ISCHR(st.st_mode) || st.st_rdev == 0));
        if (S_ISDIR(st.st_mode) || S_ISREG(st.st_mode)) {
            int fd = openat(dirfd(d), entry->d_name, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
            if (fd >= 0 && S_ISDIR(st.st_mode)) {
                check_tree(fd);
            } else if (fd >= 0) {
                check_marks(fd);
                (void)close(fd);
            }
        }
    }
    (void)closedir(d);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return tar_mutate(data, size, max_size, seed);
}

static int make_layer(const struct fuzz_place *p, const char *name)
{
    int fd;

    must(mkdirat(p->work_fd, name, 0755) == 0);
    fd = openat(p->work_fd, name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    must(fd >= 0);
    return fd;
}

static bool unpack(struct feed f, int fs_fd, const struct stack *below)
{
    struct layer_opts o = {.fs_fd = fs_fd,
                           .owners = geteuid() == 0,
                           .userxattr = true,
                           .below = below,
                           .max_bytes = 1 << 20,
                           .max_entries = 500};
    struct layer_facts facts;
    struct err e = {0};
    bool ok = layer_unpack(read_block, &f, &o, &facts, &e) == 0;

    if (ok)
        must(facts.needs_below ? !below : !f.left);
    else
        must(e.text[0] && (e.code != ERR_SYS || e.sys));
    layer_facts_done(&facts);
    return ok;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char mark[] = "next layer";
    struct fuzz_place *p = place_get();
    const uint8_t *cut = size ? memmem(data, size, mark, sizeof mark - 1) : NULL;
    size_t first = cut ? (size_t)(cut - data) : size;
    struct stack below = {.fds = {make_layer(p, "1")}, .n = 1, .userxattr = true};

    if (unpack((struct feed){data, first}, below.fds[0], NULL) &&
        size - first > TAR_BLOCK_BYTES) {
        int fd = make_layer(p, "2");
        (void)unpack(
            (struct feed){cut + TAR_BLOCK_BYTES, size - first - TAR_BLOCK_BYTES}, fd,
            &below);
        check_tree(fd);
    }
    check_tree(below.fds[0]);
    place_clean(p);
    return 0;
}

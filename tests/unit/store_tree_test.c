/* SPDX-License-Identifier: Apache-2.0 */
/* store_tree_test.c - directory artifacts: encoding, adopting, copying, walking,
 * verifying */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "store/tree.h"
#include "t.h"

static char home[64];
static int work;
static struct store *s;
static struct err e;

#define EMPTY_TREE "4c83c3809ed5946fd58dda8d9f76820227d4427ccd67ff70f8aa254b3b28f5bf"
#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void file(const char *name, const char *text, mode_t mode)
{
    CHECK_INT(fd_write_file(work, name, text, strlen(text), mode, false, &e), 0);
}

static int make_sample(const char *name)
{
    char path[PATH_MAX];

    CHECK_INT(mkdirat(work, name, 0750), 0);
#define IN(n) (snprintf(path, sizeof(path), "%s/%s", name, n), path)
    file(IN("b.txt"), "abc", 0644);
    file(IN("a.sh"), "#!/bin/sh\n", 0755);
    CHECK_INT(mkdirat(work, IN("sub"), 0700), 0);
    file(IN("sub/deep"), "abc", 0600);
    CHECK_INT(mkdirat(work, IN("empty"), 0755), 0);
    CHECK_INT(symlinkat("../outside", work, IN("link")), 0);
    file(IN("name with\nnewline \xff"), "", 0644);
#undef IN
    return 0;
}

/* the bytes of a tree object are a promise: digests of it are kept for years */
static void the_encoding_is_what_the_header_says(void)
{
    static const char want[] =
        "dugout-tree 1\0"
        "x "
        "a8076d3d28d21e02012b20eaf7dbf75409a6277134439025f282e368e3305abf"
        " 10 a.sh\0"
        "f " ABC " 3 b.txt\0"
        "d " EMPTY_TREE " 0 empty\0"
        "l link\0../outside\0"
        "f e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        " 0 name with\nnewline \xff\0"
        "d ";
    struct tree_id id;
    AUTO_BUF struct buf text = {.ptr = NULL};

    make_sample("sample");
    CHECK_INT(tree_put(s, work, "sample", 0, &id, &e), 0);
    CHECK_INT(blob_read(s, id.hex, &text, 1 << 20, &e), 0);
    CHECK(text.len > sizeof(want) && memcmp(text.ptr, want, sizeof(want) - 1) == 0);
    CHECK_INT(id.size_bytes, 16);
    CHECK_INT(id.n_files, 4);
    CHECK_INT(id.links, 1);
    CHECK_INT(id.skipped, 0);
    CHECK_INT(faccessat(work, "sample/b.txt", F_OK, 0), 0); /* copied, not taken */

    CHECK_INT(mkdirat(work, "nothing", 0755), 0);
    CHECK_INT(tree_put(s, work, "nothing", BLOB_ADOPT, &id, &e), 0);
    CHECK_STR(id.hex, EMPTY_TREE);
}

static void an_adopted_directory_is_moved_and_made_read_only(void)
{
    struct tree_id copied, taken;
    char path[PATH_MAX], *p;
    struct stat before, st;

    make_sample("again");
    CHECK_INT(fstatat(work, "again/sub/deep", &before, 0), 0);
    CHECK_INT(tree_put(s, work, "sample", 0, &copied, &e), 0);
    CHECK_INT(tree_checkout_path(s, copied.hex, path, sizeof(path), &e), 0);
    CHECK_INT(fd_remove_tree(AT_FDCWD, path, &e),
              0); /* so that the next one is the first */
    CHECK_INT(tree_put(s, work, "again", BLOB_ADOPT, &taken, &e), 0);
    CHECK_STR(taken.hex, copied.hex);
    CHECK_INT(faccessat(work, "again", F_OK, 0), -1);
    p = path + strlen(path);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0555);
    (void)snprintf(p, 64, "/sub/deep");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_ino, before.st_ino);
    CHECK_INT(st.st_mode & 07777, 0444);
    (void)snprintf(p, 64, "/a.sh");
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_mode & 07777, 0555);
    CHECK_INT(tree_verify(s, taken.hex, &e), 0);
}

static void a_known_directory_is_dropped(void)
{
    struct tree_id id;
    char path[PATH_MAX];
    struct stat before, st;

    CHECK_INT(tree_put(s, work, "sample", 0, &id, &e), 0);
    CHECK_INT(tree_checkout_path(s, id.hex, path, sizeof(path), &e), 0);
    CHECK_INT(stat(path, &before), 0);
    make_sample("twin");
    CHECK_INT(tree_put(s, work, "twin", BLOB_ADOPT, &id, &e), 0);
    CHECK_INT(faccessat(work, "twin", F_OK, 0), -1);
    CHECK_INT(stat(path, &st), 0);
    CHECK_INT(st.st_ino, before.st_ino);
    CHECK(st.st_mtim.tv_sec >= before.st_mtim.tv_sec);
}

static size_t entries(int dir_fd)
{
    DIR *d = fdopendir(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY));
    size_t n = 0;

    must(d);
    for (const struct dirent *ent = readdir(d); ent; ent = readdir(d))
        n += ent->d_name[0] != '.';
    (void)closedir(d);
    return n;
}

static mode_t mode_of_first(int dir_fd)
{
    DIR *d = fdopendir(openat(dir_fd, ".", O_RDONLY | O_DIRECTORY));
    const struct dirent *ent;
    struct stat st = {.st_mode = 0};

    must(d);
    do
        ent = readdir(d);
    while (ent && ent->d_name[0] == '.');
    if (ent)
        (void)fstatat(dir_fd, ent->d_name, &st, AT_SYMLINK_NOFOLLOW);
    (void)closedir(d);
    return st.st_mode & 0777;
}

static void a_known_directory_may_be_removed_later_and_apart(void)
{
    AUTO_STORE struct store *other = NULL;
    struct tree_id id;
    int trash, status;

    CHECK_INT(store_open(home, &other, &e), 0);
    trash = store_dir_fd(other, STORE_TRASH);
    store_put_off(other);
    make_sample("later");
    CHECK_INT(fchmodat(work, "later", 0777, 0), 0);
    CHECK_INT(tree_put(other, work, "later", BLOB_ADOPT, &id, &e), 0);
    CHECK_INT(faccessat(work, "later", F_OK, 0), -1);
    CHECK_INT(entries(trash), 1);
    CHECK_INT(mode_of_first(trash), 0700); /* whoever may read the home writes nothing there */
    store_drop_apart(other);
    CHECK(wait(&status) > 0);
    CHECK_INT(WEXITSTATUS(status), 0);
    CHECK_INT(entries(trash), 0);
    CHECK_INT(tree_verify(other, id.hex, &e), 0); /* the first copy stands */
}

static void what_is_no_file_is_left_out_and_counted(void)
{
    struct sockaddr_un addr = {.sun_family = AF_UNIX};
    struct tree_id id;
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);
    char path[PATH_MAX];

    CHECK_INT(mkdirat(work, "odd", 0755), 0);
    CHECK_INT(mkfifoat(work, "odd/fifo", 0644), 0);
    (void)snprintf(addr.sun_path, sizeof(addr.sun_path), "%s/odd/socket", home);
    CHECK_INT(bind(fd, (struct sockaddr *)&addr, sizeof(addr)), 0);
    (void)close(fd);
    CHECK_INT(tree_put(s, work, "odd", 0, &id, &e), 0);
    CHECK_STR(id.hex, EMPTY_TREE);
    CHECK_INT(id.skipped, 2);
    CHECK_INT(tree_put(s, work, "odd", BLOB_ADOPT, &id, &e), 0);
    CHECK_INT(id.skipped, 2);
    CHECK_INT(tree_checkout_path(s, id.hex, path, sizeof(path), &e), 0);
    CHECK_INT(rmdir(path), 0); /* it is empty indeed */
}

static void a_file_with_several_names_is_copied(void)
{
    struct tree_id id;
    char path[PATH_MAX];
    int fd;

    CHECK_INT(mkdirat(work, "hard", 0755), 0);
    file("outside", "shared", 0644);
    CHECK_INT(linkat(work, "outside", work, "hard/inside", 0), 0);
    CHECK_INT(linkat(work, "outside", work, "hard/inside2", 0), 0);
    CHECK_INT(tree_put(s, work, "hard", BLOB_ADOPT, &id, &e), 0);
    fd = openat(work, "outside", O_WRONLY);
    CHECK_INT(write(fd, "SHARED", 6), 6);
    (void)close(fd);
    CHECK_INT(tree_verify(s, id.hex, &e), 0);
    CHECK_INT(tree_checkout_path(s, id.hex, path, sizeof(path), &e), 0);
}

static void a_directory_that_locks_its_owner_out_is_still_collected(void)
{
    struct tree_id id;

    CHECK_INT(mkdirat(work, "shut", 0755), 0);
    CHECK_INT(mkdirat(work, "shut/dir", 0755), 0);
    file("shut/dir/file", "x", 0000);
    CHECK_INT(fchmodat(work, "shut/dir", 0000, 0), 0);
    CHECK_INT(fchmodat(work, "shut", 0000, 0), 0);
    CHECK_INT(tree_put(s, work, "shut", BLOB_ADOPT, &id, &e), 0);
    CHECK_INT(tree_verify(s, id.hex, &e), 0);
}

static void a_deep_tree_is_refused_before_the_stack_is_gone(void)
{
    struct tree_id id;
    int at = dup(work);

    for (int i = 0; i < LIMIT_PATH_DEPTH + 2; i++) {
        CHECK_INT(mkdirat(at, "d", 0755), 0);
        int next = openat(at, "d", O_RDONLY | O_DIRECTORY);
        (void)close(at);
        at = next;
    }
    (void)close(at);
    CHECK_INT(tree_put(s, work, "d", BLOB_ADOPT, &id, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    CHECK_INT(faccessat(work, "d", F_OK, 0), 0);
    CHECK_INT(fd_remove_tree(work, "d", &e), 0);
}

static void what_is_no_directory_is_refused(void)
{
    struct tree_id id = {.hex = "untouched"};

    file("plain", "x", 0644);
    CHECK_INT(tree_put(s, work, "plain", 0, &id, &e), -1);
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_INT(tree_put(s, work, "absent", 0, &id, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK_INT(symlinkat("sample", work, "alias"), 0);
    CHECK_INT(tree_put(s, work, "alias", BLOB_ADOPT, &id, &e), -1);
    CHECK_INT(e.code, ERR_INPUT);
    CHECK_STR(id.hex, "untouched");
}

static int list_entry(void *ctx, const struct tree_entry *t, struct err *err)
{
    (void)err;
    buf_addf(ctx, "%c:%.*s ", "fxdl"[t->type], STR_ARG(t->path));
    return 0;
}

static void a_walk_gives_parents_first_and_names_in_order(void)
{
    AUTO_BUF struct buf seen = {.ptr = NULL};
    struct tree_id id;

    CHECK_INT(tree_put(s, work, "sample", 0, &id, &e), 0);
    CHECK_INT(tree_walk(s, id.hex, list_entry, &seen, &e), 0);
    CHECK_STR(buf_str(&seen),
              "x:a.sh f:b.txt d:empty l:link f:name with\nnewline \xff d:sub "
              "f:sub/deep ");
    CHECK_INT(tree_walk(s, ABC, list_entry, &seen, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
}

static void only_the_canonical_form_is_a_tree(void)
{
#define HEAD "dugout-tree 1\0"
#define F "f " ABC " 3 "
    static const struct {
        const char *bytes;
        size_t len;
    } bad[] = {
#define B(lit) {lit, sizeof(lit) - 1}
        B(""),
        B("dugout-tree 1"),
        B("dugout-tree 2\0"),
        B(HEAD "g"),
        B(HEAD F "a"),  /* no NUL */
        B(HEAD F "\0"), /* empty name */
        B(HEAD F ".\0"),
        B(HEAD F "..\0"),
        B(HEAD F "a/b\0"),
        B(HEAD F "b\0" F "a\0"), /* order */
        B(HEAD F "a\0" F "a\0"),
        B(HEAD "f " ABC " 03 a\0"),
        B(HEAD "f " ABC "  a\0"),
        B(HEAD "f " ABC " -1 a\0"),
        B(HEAD "f " ABC " 99999999999999999999999 a\0"),
        B(HEAD
          "f BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD 3 a\0"),
        B(HEAD "f ba78 3 a\0"),
        B(HEAD "l a\0"),
        B(HEAD "l a\0\0"),
        B(HEAD F "a\0\0"),
    };
    AUTO_BUF struct buf seen = {.ptr = NULL};
    static const char good[] = HEAD F "a\0" F "a.b\0" F "ab\0l z\0/abs\0";

    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        CHECK_INT(
            tree_parse((struct str){bad[i].bytes, bad[i].len}, list_entry, &seen, &e),
            -1);
        CHECK_INT(e.code, ERR_CORRUPT);
    }
    buf_reset(&seen);
    CHECK_INT(tree_parse((struct str){good, sizeof(good) - 1}, list_entry, &seen, &e),
              0);
    CHECK_STR(buf_str(&seen), "f:a f:a.b f:ab l:z ");
}

static void a_changed_checkout_is_found(void)
{
    static const char *const targets[] = {"/b.txt", "/sub/deep", "/link", "/new"};
    struct tree_id id;
    char path[PATH_MAX];

    for (size_t i = 0; i < N_ELEMS(targets); i++) {
        CHECK_INT(tree_put(s, work, "sample", 0, &id, &e), 0);
        CHECK_INT(tree_verify(s, id.hex, &e), 0);
        CHECK_INT(tree_checkout_path(s, id.hex, path, sizeof(path), &e), 0);
        size_t root = strlen(path);
        CHECK_INT(chmod(path, 0755), 0);
        (void)snprintf(path + root, 32, "%s", targets[i]);
        (void)unlink(path);
        CHECK_INT(fd_write_file(AT_FDCWD, path, "abd", 3, 0444, false, &e), 0);
        CHECK_INT(tree_verify(s, id.hex, &e), -1);
        CHECK_INT(e.code, ERR_CORRUPT);
        path[root] = '\0';
        CHECK_INT(fd_remove_tree(AT_FDCWD, path, &e), 0);
    }
    CHECK_INT(tree_verify(s, EMPTY_TREE, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
}

static void a_huge_flat_directory_is_one_object(void)
{
    struct tree_id id, again;
    AUTO_BUF struct buf text = {.ptr = NULL};
    char name[200];

    CHECK_INT(mkdirat(work, "flat", 0755), 0);
    for (int i = 0; i < 2000; i++) { /* past the size at which objects are streamed */
        (void)snprintf(name, sizeof(name), "flat/%04d-%0100d", i, i);
        file(name, name, 0644);
    }
    CHECK_INT(tree_put(s, work, "flat", 0, &id, &e), 0);
    CHECK_INT(blob_read(s, id.hex, &text, 1 << 20, &e), 0);
    CHECK(text.len > 2000 * 100);
    CHECK_INT(tree_put(s, work, "flat", BLOB_ADOPT, &again, &e), 0);
    CHECK_STR(again.hex, id.hex);
    CHECK_INT(again.n_files, 2000);
    CHECK_INT(tree_verify(s, id.hex, &e), 0);
}

int main(void)
{
    (void)snprintf(home, sizeof(home), "/tmp/store-tree-XXXXXX");
    if (!mkdtemp(home) || store_open(home, &s, &e) < 0)
        return 1;
    work = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    the_encoding_is_what_the_header_says();
    an_adopted_directory_is_moved_and_made_read_only();
    a_known_directory_is_dropped();
    a_known_directory_may_be_removed_later_and_apart();
    what_is_no_file_is_left_out_and_counted();
    a_file_with_several_names_is_copied();
    a_directory_that_locks_its_owner_out_is_still_collected();
    a_deep_tree_is_refused_before_the_stack_is_gone();
    what_is_no_directory_is_refused();
    a_walk_gives_parents_first_and_names_in_order();
    only_the_canonical_form_is_a_tree();
    a_changed_checkout_is_found();
    a_huge_flat_directory_is_one_object();
    CHECK_INT(store_sync(s, &e), 0);
    store_close(s);
    (void)close(work);
    CHECK_INT(fd_remove_tree(AT_FDCWD, home, &e), 0);
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* store_blob_test.c - blobs: put, adopt, stream, read, verify, and two processes at
 * once */
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "store/blob.h"
#include "t.h"

static char home[64];
static int work; /* a directory beside the home, on the same file system */
static struct err e;

#define ABC "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"

static void write_file(const char *name, const void *bytes, size_t len)
{
    CHECK_INT(fd_write_file(work, name, bytes, len, 0644, false, &e), 0);
}

static bool exists(const char *name)
{
    return faccessat(work, name, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static struct stat blob_stat(struct store *s, const char *hex)
{
    struct stat st = {.st_size = -1};

    (void)fstatat(store_dir_fd(s, STORE_BLOBS), hex, &st, AT_SYMLINK_NOFOLLOW);
    return st;
}

static void a_home_is_made_when_absent_and_opened_when_there(void)
{
    char nested[96];
    struct store *s = NULL;
    struct stat st;

    (void)snprintf(nested, sizeof(nested), "%s/a/b/home", home);
    for (int i = 0; i < 2; i++) {
        CHECK_INT(store_open(nested, &s, &e), 0);
        CHECK_STR(store_home(s), nested);
        CHECK_INT(fstatat(AT_FDCWD, nested, &st, 0), 0);
        CHECK_INT(st.st_mode & 0007, 0);
        store_close(s);
    }
    CHECK_INT(store_open("/proc/nothing/here", &s, &e), -1);
    CHECK_INT(e.code, ERR_SYS);
    store_close(NULL);
}

static void bytes_are_stored_under_their_digest_once(struct store *s)
{
    struct blob_id a, b;
    AUTO_BUF struct buf text = {.ptr = NULL};

    CHECK_INT(blob_put_bytes(s, "abc", 3, 0, &a, &e), 0);
    CHECK_STR(a.hex, ABC);
    CHECK_INT(a.size_bytes, 3);
    struct stat first = blob_stat(s, ABC);
    CHECK_INT(first.st_mode & 07777, 0444);
    CHECK_INT(blob_put_bytes(s, "abc", 3, 0, &b, &e), 0);
    CHECK_INT(blob_stat(s, ABC).st_ino, first.st_ino);
    CHECK_INT(blob_read(s, ABC, &text, 100, &e), 0);
    CHECK_STR(buf_str(&text), "abc");
    CHECK_INT(blob_read(s, ABC, &text, 2, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    CHECK_INT(blob_put_bytes(s, "", 0, 0, &a, &e), 0);
    CHECK_INT(blob_verify(s, a.hex, &e), 0);
    CHECK_INT(store_sync(s, &e), 0);
}

static void names_that_are_no_digests_are_refused(struct store *s)
{
    static const char *const not_digests[] = {
        "",
        "abc",
        "../../../etc/passwd",
        "BA7816BF8F01CFEA414140DE5DAE2223B00361A396177A9CB410FF61F20015AD",
        ABC "0",
    };
    char path[200];
    int fd = 77;

    for (size_t i = 0; i < N_ELEMS(not_digests); i++) {
        CHECK_INT(blob_open(s, not_digests[i], &fd, NULL, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_INT(fd, 77);
        CHECK(!blob_has(s, not_digests[i]));
        CHECK_INT(blob_path(s, not_digests[i], path, sizeof(path), &e), -1);
        CHECK_INT(blob_refresh(s, not_digests[i], &e), -1);
        CHECK_INT(blob_quarantine(s, not_digests[i], &e), -1);
    }
    CHECK(!blob_has(s, NULL));
    CHECK_INT(
        blob_open(s, "ca7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
                  &fd, NULL, &e),
        -1);
    CHECK_INT(e.code, ERR_MISSING);
}

static void a_copied_file_stays_and_keeps_its_holes(struct store *s)
{
    struct blob_id id;
    struct stat st;
    int fd = openat(work, "sparse", O_WRONLY | O_CREAT | O_TRUNC, 0644);

    CHECK_INT(pwrite(fd, "start", 5, 0), 5);
    CHECK_INT(pwrite(fd, "middle", 6, 8 << 20), 6);
    CHECK_INT(ftruncate(fd, 16 << 20), 0);
    (void)close(fd);
    CHECK_INT(blob_put_file(s, work, "sparse", 0, &id, &e), 0);
    CHECK(exists("sparse"));
    CHECK_INT(id.size_bytes, 16 << 20);
    CHECK_INT(blob_verify(s, id.hex, &e), 0);
    st = blob_stat(s, id.hex);
    CHECK_INT(st.st_size, 16 << 20);
    CHECK(st.st_blocks * 512 < 1 << 20);
}

static void an_adopted_file_becomes_the_blob(struct store *s)
{
    struct blob_id id;
    struct stat before;

    write_file("out", "adopt me", 8);
    CHECK_INT(fstatat(work, "out", &before, 0), 0);
    CHECK_INT(blob_put_file(s, work, "out", BLOB_ADOPT, &id, &e), 0);
    CHECK(!exists("out"));
    CHECK_INT(blob_stat(s, id.hex).st_ino, before.st_ino);
    CHECK_INT(blob_stat(s, id.hex).st_nlink, 1);
    CHECK_INT(blob_stat(s, id.hex).st_mode & 07777, 0444);

    /* known content: the old blob stays, the file goes */
    write_file("again", "adopt me", 8);
    CHECK_INT(blob_put_file(s, work, "again", BLOB_ADOPT, &id, &e), 0);
    CHECK(!exists("again"));
    CHECK_INT(blob_stat(s, id.hex).st_ino, before.st_ino);
}

static void a_file_that_others_can_write_is_copied_instead(struct store *s)
{
    struct blob_id id;
    struct stat st;
    int writer;

    write_file("linked", "two names", 9);
    CHECK_INT(linkat(work, "linked", work, "other", 0), 0);
    CHECK_INT(fstatat(work, "other", &st, 0), 0);
    CHECK_INT(blob_put_file(s, work, "linked", BLOB_ADOPT, &id, &e), 0);
    CHECK(!exists("linked"));
    CHECK(exists("other"));
    CHECK(blob_stat(s, id.hex).st_ino != st.st_ino);

    write_file("open", "has a writer", 12);
    CHECK_INT(fstatat(work, "open", &st, 0), 0);
    writer = openat(work, "open", O_WRONLY);
    CHECK_INT(blob_put_file(s, work, "open", BLOB_ADOPT, &id, &e), 0);
    CHECK(blob_stat(s, id.hex).st_ino != st.st_ino);
    CHECK_INT(write(writer, "HAS", 3), 3);
    CHECK_INT(blob_verify(s, id.hex, &e), 0);
    (void)close(writer);
}

static void only_regular_files_are_taken(struct store *s)
{
    struct blob_id id = {.hex = "untouched"};

    CHECK_INT(symlinkat("/etc/passwd", work, "link"), 0);
    CHECK_INT(mkfifoat(work, "fifo", 0644), 0);
    CHECK_INT(mkdirat(work, "dir", 0755), 0);
    static const char *const names[] = {"link", "fifo", "dir"};
    for (size_t i = 0; i < N_ELEMS(names); i++) {
        CHECK_INT(blob_put_file(s, work, names[i], BLOB_ADOPT, &id, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK(exists(names[i]));
    }
    CHECK_INT(blob_put_file(s, work, "absent", 0, &id, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK_STR(id.hex, "untouched");
}

static void a_stream_is_committed_only_with_the_right_digest(struct store *s)
{
    struct blob_writer *w = NULL;
    struct blob_id id = {.hex = "untouched"};

    CHECK_INT(blob_writer_open(s, 0, &w, &e), 0);
    CHECK_INT(blob_writer_add(w, "stre", 4, &e), 0);
    CHECK_INT(blob_writer_add(w, "am", 2, &e), 0);
    CHECK_INT(blob_writer_commit(w, ABC, &id, &e), -1);
    CHECK_INT(e.code, ERR_CORRUPT);
    CHECK_STR(id.hex, "untouched");

    CHECK_INT(blob_writer_open(s, BLOB_NOSYNC, &w, &e), 0);
    CHECK_INT(blob_writer_add(w, "stream", 6, &e), 0);
    CHECK_INT(blob_writer_commit(w, NULL, &id, &e), 0);
    CHECK_INT(id.size_bytes, 6);
    CHECK_INT(blob_verify(s, id.hex, &e), 0);

    CHECK_INT(blob_writer_open(s, 0, &w, &e), 0);
    CHECK_INT(blob_writer_add(w, "dropped", 7, &e), 0);
    blob_writer_abort(w);
    blob_writer_abort(NULL);
}

static void damage_is_found_and_repaired_by_the_next_put(struct store *s)
{
    struct blob_id id;
    char path[256], trash[100];

    CHECK_INT(blob_put_bytes(s, "will rot", 8, 0, &id, &e), 0);
    CHECK_INT(blob_path(s, id.hex, path, sizeof(path), &e), 0);
    CHECK_INT(chmod(path, 0644), 0);
    int fd = open(path, O_WRONLY | O_TRUNC);
    CHECK_INT(write(fd, "rotten", 6), 6);
    (void)close(fd);
    CHECK_INT(blob_verify(s, id.hex, &e), -1);
    CHECK_INT(e.code, ERR_CORRUPT);
    CHECK_INT(blob_put_bytes(s, "will rot", 8, 0, &id, &e), 0);
    CHECK_INT(blob_verify(s, id.hex, &e), 0);
    (void)snprintf(trash, sizeof(trash), "corrupt-%s", id.hex);
    CHECK_INT(faccessat(store_dir_fd(s, STORE_TRASH), trash, F_OK, 0), 0);
}

/* what a power cut leaves of a blob that was put without a sync: its name, and zeros */
static void power_cut(struct store *s, const char *hex, size_t size)
{
    char path[256], zeros[64] = {0};
    int fd;

    CHECK_INT(blob_path(s, hex, path, sizeof(path), &e), 0);
    CHECK_INT(chmod(path, 0600), 0);
    fd = open(path, O_WRONLY);
    CHECK_INT(write(fd, zeros, size), (int)size);
    CHECK_INT(fchmod(fd, 0400), 0);
    (void)close(fd);
}

static void who_meets_a_loose_blob_reads_it_first(struct store *s)
{
    AUTO_STORE struct store *next = NULL;
    struct blob_id id, other;
    ino_t ours;

    CHECK_INT(store_open(store_home(s), &next, &e), 0);
    CHECK_INT(blob_put_bytes(s, "in time", 7, BLOB_NOSYNC, &id, &e), 0);
    CHECK_INT(blob_stat(s, id.hex).st_mode & 07777, 0400);
    CHECK(blob_is_kept(s, id.hex) && store_is_loose(s));
    CHECK(blob_has(next, id.hex) && !blob_is_kept(next, id.hex));
    ours = blob_stat(s, id.hex).st_ino;
    CHECK_INT(blob_put_bytes(next, "in time", 7, 0, &other, &e), 0);
    CHECK_INT(blob_stat(s, id.hex).st_mode & 07777, 0444);
    CHECK(blob_stat(s, id.hex).st_ino == ours);

    CHECK_INT(blob_put_bytes(s, "too late", 8, BLOB_NOSYNC, &id, &e), 0);
    power_cut(s, id.hex, 8);
    CHECK_INT(blob_put_bytes(next, "too late", 8, 0, &other, &e), 0);
    CHECK_INT(blob_verify(next, id.hex, &e), 0);
    CHECK_INT(blob_stat(s, id.hex).st_mode & 07777, 0444);

    CHECK_INT(blob_put_bytes(s, "settled", 7, BLOB_NOSYNC, &id, &e), 0);
    CHECK_INT(store_settle(s, &e), 0);
    CHECK(!store_is_loose(s) && blob_is_kept(next, id.hex));
    CHECK_INT(blob_stat(s, id.hex).st_mode & 07777, 0444);
}

static void meeting_a_known_blob_makes_it_new(struct store *s)
{
    static const struct timespec old[2] = {{1000, 0}, {1000, 0}};
    struct blob_id id;

    CHECK_INT(blob_put_bytes(s, "abc", 3, 0, &id, &e), 0);
    CHECK_INT(utimensat(store_dir_fd(s, STORE_BLOBS), ABC, old, 0), 0);
    CHECK_INT(blob_put_bytes(s, "abc", 3, 0, &id, &e), 0);
    CHECK(blob_stat(s, ABC).st_mtim.tv_sec > 1000);
    CHECK_INT(utimensat(store_dir_fd(s, STORE_BLOBS), ABC, old, 0), 0);
    CHECK_INT(blob_refresh(s, ABC, &e), 0);
    CHECK(blob_stat(s, ABC).st_mtim.tv_sec > 1000);
}

static void eight_processes_put_the_same_blobs(void)
{
    char path[96];
    int bad = 0, status;

    (void)snprintf(path, sizeof(path), "%s/race", home);
    for (int p = 0; p < 8; p++) {
        if (fork() != 0)
            continue;
        struct store *s;
        struct blob_id id;
        int r = store_open(path, &s, &e);
        for (int i = 0; i < 100 && r == 0; i++) {
            char text[32];
            int n = snprintf(text, sizeof(text), "blob %d", i);
            r = blob_put_bytes(s, text, (size_t)n, BLOB_NOSYNC, &id, &e);
        }
        _exit(r == 0 ? 0 : 1);
    }
    while (wait(&status) > 0)
        bad += status != 0;
    CHECK_INT(bad, 0);
}

static void locks_pins_and_temporary_directories(struct store *s)
{
    char name[STORE_TMP_NAME];
    int a = -1, b = -1, tmp = -1;
    struct stat st;

    CHECK_INT(store_lock(s, "layer-00", LOCK_EX, &a, &e), 0);
    CHECK_INT(store_lock(s, "layer-00", LOCK_EX | LOCK_NB, &b, &e), -1);
    CHECK_INT(e.code, ERR_BUSY);
    (void)close(a);
    CHECK_INT(store_lock(s, "layer-00", LOCK_EX | LOCK_NB, &b, &e), 0);
    (void)close(b);

    CHECK_INT(store_tmp_dir(s, "test", name, &tmp, &e), 0);
    CHECK_INT(mkdirat(tmp, "locked", 0000), 0);
    CHECK_INT(store_drop(s, store_dir_fd(s, STORE_TMP), name, &e), 0);
    CHECK_INT(fstatat(store_dir_fd(s, STORE_TMP), name, &st, 0), -1);
    CHECK_INT(store_drop(s, store_dir_fd(s, STORE_TMP), name, &e), 0);
    (void)close(tmp);

    CHECK_INT(store_pin(s, STORE_LAYERS, ABC, &a, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
    CHECK_INT(mkdirat(store_dir_fd(s, STORE_LAYERS), ABC, 0755), 0);
    CHECK_INT(store_pin(s, STORE_LAYERS, ABC, &a, &e), 0);
    (void)close(a);
    CHECK_INT(store_pin(s, STORE_LAYERS, "../..", &a, &e), -1);
    CHECK_INT(e.code, ERR_INPUT);
}

/* by each road into the store: bytes, a stream, a copy, an adopted file */
static void a_blob_is_sealed_where_the_file_system_can(struct store *s)
{
    static const char text[] = "sealed";
    struct blob_id ids[4];
    struct blob_writer *w;
    char path[256];

    CHECK_INT(store_probe(s, &e), 0);
    CHECK_INT(blob_put_bytes(s, text, 1, 0, &ids[0], &e), 0);
    CHECK_INT(blob_writer_open(s, 0, &w, &e), 0);
    CHECK_INT(blob_writer_add(w, text, 2, &e), 0);
    CHECK_INT(blob_writer_commit(w, NULL, &ids[1], &e), 0);
    write_file("copied", text, 3);
    CHECK_INT(blob_put_file(s, work, "copied", 0, &ids[2], &e), 0);
    write_file("adopted", text, 4);
    CHECK_INT(blob_put_file(s, work, "adopted", BLOB_ADOPT, &ids[3], &e), 0);
    for (size_t i = 0; i < N_ELEMS(ids); i++)
        CHECK_INT(blob_verify(s, ids[i].hex, &e), 0);
    if (!blob_is_sealed(s, ids[0].hex)) {
        printf("skipped: this file system or kernel has no fs-verity\n");
        return;
    }
    for (size_t i = 0; i < N_ELEMS(ids); i++) {
        CHECK(blob_is_sealed(s, ids[i].hex));
        CHECK_INT(blob_path(s, ids[i].hex, path, sizeof(path), &e), 0);
        CHECK_INT(chmod(path, 0644), 0);
        CHECK_INT(open(path, O_RDWR | O_CLOEXEC), -1);
        CHECK_INT(errno, EPERM);
        CHECK_INT(chmod(path, 0444), 0);
    }
}

int main(void)
{
    struct store *s = NULL;

    (void)snprintf(home, sizeof(home), "/tmp/store-blob-XXXXXX");
    if (!mkdtemp(home))
        return 1;
    work = open(home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    a_home_is_made_when_absent_and_opened_when_there();
    CHECK_INT(store_open(home, &s, &e), 0);
    bytes_are_stored_under_their_digest_once(s);
    names_that_are_no_digests_are_refused(s);
    a_copied_file_stays_and_keeps_its_holes(s);
    an_adopted_file_becomes_the_blob(s);
    a_file_that_others_can_write_is_copied_instead(s);
    only_regular_files_are_taken(s);
    a_stream_is_committed_only_with_the_right_digest(s);
    damage_is_found_and_repaired_by_the_next_put(s);
    who_meets_a_loose_blob_reads_it_first(s);
    meeting_a_known_blob_makes_it_new(s);
    eight_processes_put_the_same_blobs();
    locks_pins_and_temporary_directories(s);
    a_blob_is_sealed_where_the_file_system_can(s);
    store_close(s);
    (void)close(work);
    CHECK_INT(fd_remove_tree(AT_FDCWD, home, &e), 0);
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_names_test.c - the names of images that are kept beside the database: when they are
 * written, and that nothing but the very state they were read from makes them believed
 */
#include <stdio.h>
#include <time.h>

#include "lineage_t.h"

#define TINY "docker.io/library/tiny:1"

static char image_hex[2][DIGEST_HEX];
static int home_fd = -1;

static void move(const char *from, const char *to)
{
    CHECK_INT(renameat(home_fd, from, home_fd, to), 0);
}

static bool is_kept(void)
{
    return faccessat(home_fd, DB_NAMES_FILE, F_OK, 0) == 0;
}

/* the database was last written long ago */
static void settle(void)
{
    struct timespec then[2] = {{0, UTIME_OMIT}, {time(NULL) - 60, 5}};

    CHECK_INT(utimensat(home_fd, DB_FILE, then, 0), 0);
    CHECK_INT(utimensat(home_fd, DB_FILE "-wal", then, 0), 0);
}

static void point_at(struct db *d, int image)
{
    OK(db_begin(d, DB_DURABLE, e));
    OK(db_image_name_set(d, STR(TINY), str_of(image_hex[image]), STR("ada"), 100, NULL,
                         e));
    OK(db_commit(d, e));
}

static struct db *home_of_two_images(void)
{
    struct db *d;

    home_make();
    home_fd = open(t_home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    d = home_open(DB_WRITE);
    OK(db_begin(d, DB_DURABLE, e));
    for (int i = 0; i < 2; i++) {
        struct db_image one = {
            .os = STR("linux"), .arch = STR("amd64"), .loaded_unix_ms = 5};
        memset(image_hex[i], 'a' + i, 64);
        memcpy(one.config_hex, image_hex[i], DIGEST_HEX);
        OK(db_image_put(d, &one, e));
    }
    OK(db_commit(d, e));
    point_at(d, 0);
    return d;
}

static void home_gone(struct db *d)
{
    db_close(d);
    (void)close(home_fd);
    home_remove();
}

static bool known(const char *name)
{
    char hex[DIGEST_HEX] = "";

    return db_image_name_kept(home_fd, name, hex);
}

static void a_name_is_kept_once_the_database_has_settled(void)
{
    struct db *d = home_of_two_images();
    char hex[DIGEST_HEX] = "";

    CHECK(!known(TINY)); /* no file */
    settle();
    db_image_names_keep(d, home_fd);
    CHECK(db_image_name_kept(home_fd, TINY, hex));
    CHECK_STR(hex, image_hex[0]);
    CHECK(!known("docker.io/library/tiny:2"));
    CHECK(!known("docker.io/library/tiny"));
    CHECK(!known(""));
    home_gone(d);
}

static bool is_kept_when_written_at(struct db *d, time_t s, long ns)
{
    struct timespec then[2] = {{0, UTIME_OMIT}, {s, ns}};
    bool kept;

    settle();
    CHECK_INT(utimensat(home_fd, DB_FILE "-wal", then, 0), 0);
    db_image_names_keep(d, home_fd);
    kept = is_kept();
    (void)unlinkat(home_fd, DB_NAMES_FILE, 0);
    return kept;
}

static void what_was_written_just_now_is_not_described(void)
{
    struct db *d = home_of_two_images();
    time_t now = time(NULL);
    bool kept;

    CHECK(!is_kept_when_written_at(d, now + 1000, 5));
    CHECK(is_kept_when_written_at(d, now - 2, 5));
    CHECK(is_kept_when_written_at(d, now - 60, 0));
    kept = is_kept_when_written_at(d, now - 1, 0); /* of a clock without fractions */
    if (time(NULL) < now + 2)
        CHECK(!kept);
    home_gone(d);
}

static void a_moved_name_is_asked_for(void)
{
    struct db *d = home_of_two_images();
    char hex[DIGEST_HEX] = "";

    settle();
    db_image_names_keep(d, home_fd);
    CHECK(known(TINY));
    point_at(d, 1);
    CHECK(!known(TINY));
    settle();
    db_image_names_keep(d, home_fd);
    CHECK(db_image_name_kept(home_fd, TINY, hex));
    CHECK_STR(hex, image_hex[1]);
    home_gone(d);
}

static void another_file_of_the_same_size_and_time_is_another_state(void)
{
    struct db *d = home_of_two_images();

    settle();
    db_image_names_keep(d, home_fd);
    CHECK(known(TINY));
    move(DB_FILE "-wal", "kept");
    CHECK(!known(TINY)); /* none at all */
    {
        AUTO_BUF struct buf b = {0};
        struct timespec same[2];
        struct stat st;

        buf_init(&b, 0);
        OK(fd_read_file(home_fd, "kept", &b, 1 << 24, e));
        OK(fd_write_file(home_fd, DB_FILE "-wal", b.ptr, b.len, 0600, false, e));
        CHECK_INT(fstatat(home_fd, "kept", &st, 0), 0);
        same[0] = st.st_atim;
        same[1] = st.st_mtim;
        CHECK_INT(utimensat(home_fd, DB_FILE "-wal", same, 0), 0);
    }
    CHECK(!known(TINY));
    move("kept", DB_FILE "-wal");
    CHECK(known(TINY));
    home_gone(d);
}

static void a_damaged_file_is_not_believed(void)
{
    struct db *d = home_of_two_images();
    AUTO_BUF struct buf b = {0};

    settle();
    db_image_names_keep(d, home_fd);
    buf_init(&b, 0);
    OK(fd_read_file(home_fd, DB_NAMES_FILE, &b, 4096, e));
    for (size_t i = 0; i < b.len; i++) {
        b.ptr[i] ^= 1;
        OK(fd_write_file(home_fd, DB_NAMES_FILE, b.ptr, b.len, 0600, false, e));
        CHECK(!known(TINY));
        b.ptr[i] ^= 1;
        OK(fd_write_file(home_fd, DB_NAMES_FILE, b.ptr, i, 0600, false, e));
        CHECK(!known(TINY));
    }
    OK(fd_write_file(home_fd, DB_NAMES_FILE, b.ptr, b.len, 0600, false, e));
    CHECK(known(TINY));
    home_gone(d);
}

/* SQLite has the WAL where the link leads: nothing here tells of a commit */
static void a_database_behind_a_link_is_always_asked(void)
{
    struct db *d = home_of_two_images();

    settle();
    move(DB_FILE, "elsewhere");
    CHECK_INT(symlinkat("elsewhere", home_fd, DB_FILE), 0);
    db_image_names_keep(d, home_fd);
    CHECK(!is_kept());
    home_gone(d);
}

int main(void)
{
    a_name_is_kept_once_the_database_has_settled();
    what_was_written_just_now_is_not_described();
    a_moved_name_is_asked_for();
    another_file_of_the_same_size_and_time_is_another_state();
    a_damaged_file_is_not_believed();
    a_database_behind_a_link_is_always_asked();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_publish_test.c - many processes publish the same contents and tags at once
 *
 * DUGOUT_PUBLISH=1000 makes it that many; the worst wait for the write lock is printed and not
 * judged, since it is the machine's as much as ours.
 */
#include "base/clock.h"
#include "lineage_t.h"
#include "store/gc.h"

#define PROCESSES 8

struct report {
    int64_t worst_wait_ns, n_commits;
    int failed;
    char text[480];
};

static int publish_one(struct store *s, struct db *d, int i, struct report *r, struct err *e)
{
    struct db_artifact_new row = {.type = STR("system.Dataset"), .name = STR("same"),
                                  .kind = STR("file"), .created_unix_ms = 1};
    AUTO_TXN struct db *txn = d;
    char text[64], tag[32];
    struct blob_id id;
    int64_t artifact, asked;

    (void)snprintf(text, sizeof(text), "content number %d of many", i);
    (void)snprintf(tag, sizeof(tag), "tag-%d", i);
    if (blob_put_bytes(s, text, strlen(text), 0, &id, e) < 0 || store_sync(s, e) < 0)
        return -1;
    row.digest_hex = str_of(id.hex);
    row.size_bytes = (int64_t)id.size_bytes;
    asked = clock_mono_ns();
    if (db_begin(d, DB_DURABLE, e) < 0)
        return -1;
    if (clock_mono_ns() - asked > r->worst_wait_ns)
        r->worst_wait_ns = clock_mono_ns() - asked;
    if (db_artifact_intern(d, &row, &artifact, e) < 0 ||
        db_tag_set(d, str_of(tag), artifact, true, BY("t", 1), NULL, e) < 0)
        return -1;
    r->n_commits++;
    return db_commit(d, e);
}

static void publish_all(int me, int n, int out)
{
    AUTO_STORE struct store *s = NULL;
    AUTO_DB struct db *d = NULL;
    struct report r = {0};
    struct err e = {0};

    r.failed = store_open(t_home, &s, &e) < 0 || db_open(t_home, DB_ENGINE, &d, &e) < 0;
    for (int k = 0; k < n && !r.failed; k++) /* each begins elsewhere, so that all orders meet */
        r.failed = publish_one(s, d, (k + me * n / PROCESSES) % n, &r, &e) < 0;
    (void)snprintf(r.text, sizeof(r.text), "%s", e.text);
    must(write(out, &r, sizeof(r)) == (ssize_t)sizeof(r));
}

static void eight_processes_publish_the_same_without_error_or_duplicate(int n)
{
    struct gc_count usage[GC_KINDS];
    int64_t worst = 0, commits = 0, began = clock_mono_ns();
    struct store *s = NULL;
    struct db *d;
    int fds[2];

    home_make();
    must(pipe(fds) == 0);
    for (int i = 0; i < PROCESSES; i++) {
        pid_t pid = fork();
        must(pid >= 0);
        if (pid == 0) {
            publish_all(i, n, fds[1]);
            _exit(0);
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        struct report r = {0};
        must(read(fds[0], &r, sizeof(r)) == (ssize_t)sizeof(r));
        if (r.failed)
            printf("a publisher failed: %s\n", r.text);
        CHECK_INT(r.failed, 0);
        worst = r.worst_wait_ns > worst ? r.worst_wait_ns : worst;
        commits += r.n_commits;
    }
    while (waitpid(-1, NULL, 0) > 0)
        continue;
    printf("%lld commits of %d processes in %.1f s, worst wait %.1f ms\n", (long long)commits,
           PROCESSES, (double)(clock_mono_ns() - began) / 1e9, (double)worst / 1e6);

    OK(store_open(t_home, &s, e));
    OK(store_usage(s, usage, e));
    CHECK_INT(usage[GC_BLOBS].n, n);
    CHECK_INT(usage[GC_TMP].n, 0);
    d = home_open(DB_WRITE);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM artifact"), n);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM ref"), n);
    CHECK_INT(sql_i64(d, "SELECT count(DISTINCT digest) FROM artifact"), n);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM type"), 1);
    CHECK_INT(sql_i64(d, "SELECT count(*) FROM ref f JOIN artifact a ON a.id = f.artifact"), n);
    OK(db_check(d, true, e));
    db_close(d);
    store_close(s);
    (void)close(fds[0]);
    (void)close(fds[1]);
    home_remove();
}

int main(void)
{
    const char *n = getenv("DUGOUT_PUBLISH");

    eight_processes_publish_the_same_without_error_or_duplicate(
        n ? (int)strtol(n, NULL, 10) : 40);
    return t_end();
}

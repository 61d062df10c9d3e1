/* SPDX-License-Identifier: Apache-2.0 */
/* find.c - what people type for a run, a task or an artifact
 *
 * Forms are told apart by their shape, so that one text never means two things: '@'
 * makes a "latest" or a date, '/' separates a run from its task, "sha256:" opens a
 * digest, a letter a and digits are an artifact id; tags cannot look like any of these.
 * When nothing fits, the nearest known name is suggested; when several fit, they are
 * listed and none is taken.
 */
#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/nearest.h"
#include "lineage/rows.h"
#include "lineage/tags.h"

#define RUN_PREFIX_MIN 4
#define DIGEST_PREFIX_MIN 6
#define CANDIDATES_SHOWN 5
#define SUGGEST_FROM 2000 /* newest names that a suggestion is looked for in */

static struct str cut(struct str s, size_t from, size_t to)
{
    return (struct str){s.ptr + from, to - from};
}

static bool find_char(struct str s, char c, size_t *at)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;

    if (p)
        *at = (size_t)(p - s.ptr);
    return p;
}

static bool find_last(struct str s, char c, size_t *at)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;

    if (p)
        *at = (size_t)(p - s.ptr);
    return p;
}

/* the nearest to `want` in the first column of a statement that takes `key` */
static int suggest(struct q *q, struct str want, struct buf *out, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    const char **names = NULL, *near;
    size_t n = 0;
    int more;

    while ((more = q_step(q, e)) > 0) {
        names = arena_grow(&a, names, &n, sizeof(*names));
        names[n - 1] = q_get_str_in(&a, q).ptr;
    }
    if (more < 0)
        return -1;
    near = nearest(want, names, n);
    if (near)
        buf_addf(out, ": did you mean %s?", near);
    return 0;
}

/* ---- runs ---------------------------------------------------------------------------
 */

static int run_latest(struct db *d, int64_t *run, struct err *e)
{
    static const char sql[] = "SELECT max(id) FROM run";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    if (q_one(&q, run, e) < 0)
        return -1;
    if (!*run)
        return err_set(e, ERR_MISSING, "there are no runs yet");
    return 0;
}

static int pipeline_suggest(struct db *d, struct str name, struct err *e)
{
    static const char sql[] = "SELECT name FROM pipeline ORDER BY id DESC LIMIT ?";
    AUTO_BUF struct buf hint = {0};
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, SUGGEST_FROM);
    if (suggest(&q, name, &hint, e) < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no run of a pipeline %.*s%s", STR_ARG(name),
                   buf_str(&hint));
}

static int run_latest_of(struct db *d, struct str pipeline, int64_t *run, struct err *e)
{
    static const char sql[] = "SELECT max(id) FROM run WHERE pipeline ="
                              " (SELECT id FROM pipeline WHERE name = ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, pipeline);
    if (q_one(&q, run, e) < 0)
        return -1;
    return *run ? 0 : pipeline_suggest(d, pipeline, e);
}

static int run_named(struct db *d, struct str name, int64_t *run, struct err *e)
{
    static const char sql[] = "SELECT max(id) FROM run WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_one(&q, run, e);
}

static bool could_be_uuid(struct str s)
{
    if (s.len < RUN_PREFIX_MIN || s.len > 36)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        if (!strchr("0123456789abcdef-", s.ptr[i]) || !s.ptr[i])
            return false;
    }
    return true;
}

/* 0 in *run when none fits */
static int run_prefixed(struct db *d, struct str prefix, int64_t *run, struct err *e)
{
    static const char sql[] =
        "SELECT id, uuid, name FROM run WHERE uuid >= ?1 AND uuid < ?1 || 'g'"
        " ORDER BY uuid LIMIT 6";
    AUTO_BUF struct buf found = {0};
    AUTO_Q struct q q = {0};
    int64_t first = 0;
    int more, n = 0;

    *run = 0;
    if (!could_be_uuid(prefix))
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, prefix);
    while ((more = q_step(&q, e)) > 0) {
        int64_t id = q_get_i64(&q);
        struct str uuid = q_get_str(&q), name = q_get_str(&q);
        if (!n)
            first = id;
        if (n++ < CANDIDATES_SHOWN)
            buf_addf(&found, "%s %.13s (%.*s)", n > 1 ? "," : "", uuid.ptr,
                     STR_ARG(name));
    }
    if (more < 0)
        return -1;
    if (n > 1)
        return err_set(e, ERR_INPUT, "%.*s fits several runs:%s%s", STR_ARG(prefix),
                       buf_str(&found), n > CANDIDATES_SHOWN ? ", ..." : "");
    *run = first;
    return 0;
}

static int run_suggest(struct db *d, struct str what, struct err *e)
{
    static const char sql[] = "SELECT name FROM run ORDER BY id DESC LIMIT ?";
    AUTO_BUF struct buf hint = {0};
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, SUGGEST_FROM);
    if (suggest(&q, what, &hint, e) < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no run %.*s%s", STR_ARG(what),
                   hint.len ? buf_str(&hint) : ": `dugout runs` lists them");
}

int db_run_find(struct db *d, struct str what, int64_t *run, struct err *e)
{
    int64_t id;
    size_t at;

    if (str_eqz(what, "@latest"))
        return run_latest(d, run, e);
    if (find_last(what, '@', &at) && str_eqz(cut(what, at, what.len), "@latest"))
        return run_latest_of(d, cut(what, 0, at), run, e);
    if (!what.len)
        return err_set(e, ERR_INPUT, "which run? Its name, id, or @latest");

    if (run_named(d, what, &id, e) < 0)
        return -1;
    if (!id && run_prefixed(d, what, &id, e) < 0)
        return -1;
    if (!id)
        return run_suggest(d, what, e);
    *run = id;
    return 0;
}

/* ---- tasks --------------------------------------------------------------------------
 */

static int task_by_path(struct db *d, int64_t run, struct str path, int64_t *task,
                        struct err *e)
{
    static const char sql[] = "SELECT id FROM task WHERE run = ? AND path = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    q_text(&q, path);
    return q_one(&q, task, e);
}

static int task_by_name(struct db *d, int64_t run, struct str name, int64_t *task,
                        struct err *e)
{
    static const char sql[] = "SELECT id, path FROM task WHERE run = ? AND name = ?"
                              " ORDER BY id LIMIT 6";
    AUTO_BUF struct buf found = {0};
    AUTO_Q struct q q = {0};
    int64_t first = 0;
    int more, n = 0;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    q_text(&q, name);
    while ((more = q_step(&q, e)) > 0) {
        int64_t id = q_get_i64(&q);
        struct str path = q_get_str(&q);
        if (!n)
            first = id;
        if (n++ < CANDIDATES_SHOWN)
            buf_addf(&found, " %.*s", STR_ARG(path));
    }
    if (more < 0)
        return -1;
    if (n > 1)
        return err_set(e, ERR_INPUT, "task %.*s fits several of the run:%s%s",
                       STR_ARG(name), buf_str(&found),
                       n > CANDIDATES_SHOWN ? " ..." : "");
    *task = first;
    return 0;
}

static int task_suggest(struct db *d, int64_t run, struct str what, struct err *e)
{
    static const char sql[] = "SELECT path FROM task WHERE run = ? ORDER BY id LIMIT ?";
    AUTO_BUF struct buf hint = {0};
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, run);
    q_i64(&q, SUGGEST_FROM);
    if (suggest(&q, what, &hint, e) < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no task %.*s in this run%s", STR_ARG(what),
                   buf_str(&hint));
}

static int task_in_run(struct db *d, int64_t run, struct str what, int64_t *task,
                       struct err *e)
{
    int64_t id;

    if (task_by_path(d, run, what, &id, e) < 0)
        return -1;
    if (!id && task_by_name(d, run, what, &id, e) < 0)
        return -1;
    if (!id)
        return task_suggest(d, run, what, e);
    *task = id;
    return 0;
}

int db_task_find(struct db *d, struct str what, int64_t *run, int64_t *task,
                 struct err *e)
{
    int64_t r = 0, t = 0;
    size_t at = what.len;

    (void)find_char(what, '/', &at);
    if (db_run_find(d, cut(what, 0, at), &r, e) < 0)
        return -1;
    if (at < what.len && task_in_run(d, r, cut(what, at + 1, what.len), &t, e) < 0)
        return -1;
    *run = r;
    *task = t;
    return 0;
}

/* ---- artifacts ----------------------------------------------------------------------
 */

static int artifact_exists(struct db *d, int64_t id, struct err *e)
{
    static const char sql[] = "SELECT id FROM artifact WHERE id = ?";
    AUTO_Q struct q q = {0};
    int64_t found;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, id);
    if (q_one(&q, &found, e) < 0)
        return -1;
    if (!found)
        return err_set(e, ERR_MISSING, "no artifact a%lld", (long long)id);
    return 0;
}

static bool artifact_id(struct str s, int64_t *id)
{
    int64_t v = 0;

    if (s.len < 2 || s.len > 19 || s.ptr[0] != 'a')
        return false;
    for (size_t i = 1; i < s.len; i++) {
        if (!isdigit((unsigned char)s.ptr[i]))
            return false;
        v = v * 10 + (s.ptr[i] - '0');
    }
    *id = v;
    return true;
}

/* Of equal content the live and oldest row. Two contents under one prefix are
 * ambiguous. */
static int artifact_by_digest(struct db *d, struct str what, int64_t *artifact,
                              struct err *e)
{
    static const char sql[] =
        "SELECT id, digest, name FROM artifact WHERE digest BETWEEN ? AND ?"
        " ORDER BY digest, state = 'LIVE' DESC, id";
    struct str hex = cut(what, 7, what.len);
    uint8_t low[32], high[32];
    AUTO_BUF struct buf found = {0};
    AUTO_Q struct q q = {0};
    char digest[DIGEST_HEX], last[DIGEST_HEX] = "";
    int64_t first = 0;
    int more, n = 0;

    if (!hex_range(hex, low, high))
        return err_set(e, ERR_INPUT,
                       "%.*s: want hex digits after sha256:", STR_ARG(what));
    if (hex.len < DIGEST_PREFIX_MIN)
        return err_set(e, ERR_INPUT, "%.*s: want %d digits or more", STR_ARG(what),
                       DIGEST_PREFIX_MIN);
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_bytes32(&q, low);
    q_bytes32(&q, high);
    while (n <= CANDIDATES_SHOWN && (more = q_step(&q, e)) > 0) {
        int64_t id = q_get_i64(&q);
        struct str name;
        q_get_hex(&q, digest);
        name = q_get_str(&q);
        if (strcmp(digest, last) == 0)
            continue;
        memcpy(last, digest, sizeof(last));
        if (!n)
            first = id;
        if (n++ < CANDIDATES_SHOWN)
            buf_addf(&found, "%s a%lld (%.12s %.*s)", n > 1 ? "," : "", (long long)id,
                     digest, STR_ARG(name));
    }
    if (n <= CANDIDATES_SHOWN && more < 0)
        return -1;
    if (!n)
        return err_set(e, ERR_MISSING, "no artifact with content %.*s", STR_ARG(what));
    if (n > 1)
        return err_set(e, ERR_INPUT, "%.*s fits several artifacts:%s%s", STR_ARG(what),
                       buf_str(&found), n > CANDIDATES_SHOWN ? ", ..." : "");
    *artifact = first;
    return 0;
}

int db_artifact_by_digest(struct db *d, struct str digest_hex, int64_t *artifact,
                          struct err *e)
{
    static const char sql[] = "SELECT min(id) FROM artifact WHERE digest = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, digest_hex);
    return q_one(&q, artifact, e);
}

/* how many artifacts a task gave out under a name, and the one at idx */
static int output_select(struct db *d, int64_t task, struct str name, int64_t idx,
                         int64_t *artifact, int64_t *count, struct err *e)
{
    static const char sql[] =
        "SELECT max(iif(idx = ?3, artifact, 0)), count(*) FROM event"
        " WHERE task = ?1 AND io = 2 AND name = ?2";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    q_text(&q, name);
    q_i64(&q, idx);
    if (q_step(&q, e) < 0)
        return -1;
    *artifact = q_get_i64(&q);
    *count = q_get_i64(&q);
    return 0;
}

static int output_missing(struct db *d, int64_t task, struct str what, struct err *e)
{
    static const char sql[] =
        "SELECT DISTINCT name FROM event WHERE task = ? AND io = 2 ORDER BY name";
    AUTO_BUF struct buf names = {0};
    AUTO_Q struct q q = {0};
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, task);
    while ((more = q_step(&q, e)) > 0) {
        buf_adds(&names, names.len ? ", " : "");
        buf_addstr(&names, q_get_str(&q));
    }
    if (more < 0)
        return -1;
    if (!names.len)
        return err_set(e, ERR_MISSING,
                       "no artifact %.*s: the task has no output artifacts",
                       STR_ARG(what));
    return err_set(e, ERR_MISSING, "no artifact %.*s: the task has %.300s",
                   STR_ARG(what), buf_str(&names));
}

/* "name[2]" -> name, 2; without brackets idx is -1 */
static struct str output_name(struct str s, int64_t *idx)
{
    size_t at;
    int64_t v = 0;

    *idx = -1;
    if (!str_ends(s, "]") || !find_last(s, '[', &at) || s.len - at < 3 ||
        s.len - at > 12)
        return s;
    for (size_t i = at + 1; i < s.len - 1; i++) {
        if (!isdigit((unsigned char)s.ptr[i]))
            return s;
        v = v * 10 + (s.ptr[i] - '0');
    }
    *idx = v;
    return cut(s, 0, at);
}

static int artifact_by_output(struct db *d, struct str what, int64_t *artifact,
                              struct err *e)
{
    int64_t run, task, idx, id, count;
    struct str name;
    size_t at;

    if (!find_last(what, ':', &at))
        return err_set(e, ERR_INPUT, "%.*s: want RUN/TASK:OUTPUT", STR_ARG(what));
    name = output_name(cut(what, at + 1, what.len), &idx);
    if (db_task_find(d, cut(what, 0, at), &run, &task, e) < 0 ||
        output_select(d, task, name, idx < 0 ? 0 : idx, &id, &count, e) < 0)
        return -1;
    if (count > 1 && idx < 0)
        return err_set(e, ERR_INPUT,
                       "%.*s has %lld artifacts: say which, [0] to [%lld]",
                       STR_ARG(what), (long long)count, (long long)count - 1);
    if (!id)
        return output_missing(d, task, what, e);
    *artifact = id;
    return 0;
}

static bool digits_at(struct str s, size_t at, size_t n, int *out)
{
    int v = 0;

    if (at + n > s.len)
        return false;
    for (size_t i = at; i < at + n; i++) {
        if (!isdigit((unsigned char)s.ptr[i]))
            return false;
        v = v * 10 + (s.ptr[i] - '0');
    }
    *out = v;
    return true;
}

/* "2026-03-03" is the end of that day in UTC, "2026-03-03T10:00:00Z" the second that
 * begins then; a fraction is read over */
bool db_moment(struct str s, int64_t *unix_ms)
{
    struct tm tm = {0};
    int64_t seconds;
    bool day;

    if (!digits_at(s, 0, 4, &tm.tm_year) || !digits_at(s, 5, 2, &tm.tm_mon) ||
        !digits_at(s, 8, 2, &tm.tm_mday) || s.ptr[4] != '-' || s.ptr[7] != '-')
        return false;
    day = s.len == 10;
    if (!day &&
        (!digits_at(s, 11, 2, &tm.tm_hour) || !digits_at(s, 14, 2, &tm.tm_min) ||
         !digits_at(s, 17, 2, &tm.tm_sec) || (s.ptr[10] != 'T' && s.ptr[10] != ' ') ||
         s.ptr[13] != ':' || s.ptr[16] != ':' || !str_ends(s, "Z")))
        return false;
    if (tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 ||
        tm.tm_hour > 23 || tm.tm_min > 59 || tm.tm_sec > 60)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    seconds = timegm(&tm);
    *unix_ms = seconds * 1000 + (day ? 86399999 : 999);
    return true;
}

static int tag_suggest(struct db *d, struct str what, struct err *e)
{
    static const char sql[] = "SELECT name FROM ref LIMIT ?";
    AUTO_BUF struct buf hint = {0};
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, SUGGEST_FROM);
    if (suggest(&q, what, &hint, e) < 0)
        return -1;
    return err_set(e, ERR_MISSING, "no artifact %.*s%s", STR_ARG(what),
                   hint.len ? buf_str(&hint)
                            : ": want a7, sha256:PREFIX, RUN/TASK:OUTPUT or a tag");
}

int db_artifact_find(struct db *d, struct str what, int64_t *artifact, struct err *e)
{
    int64_t id, when = 0;
    struct str tag = what;
    size_t at;

    if (artifact_id(what, &id)) {
        if (artifact_exists(d, id, e) < 0)
            return -1;
        *artifact = id;
        return 0;
    }
    if (str_starts(what, "sha256:"))
        return artifact_by_digest(d, what, artifact, e);
    if (find_char(what, '/', &at))
        return artifact_by_output(d, what, artifact, e);

    if (find_last(what, '@', &at)) {
        if (!db_moment(cut(what, at + 1, what.len), &when))
            return err_set(e, ERR_INPUT,
                           "%.*s: want TAG@2026-03-03 or a time as "
                           "2026-03-03T10:00:00Z",
                           STR_ARG(what));
        tag = cut(what, 0, at);
    }
    if (db_tag_find(d, tag, when, &id, e) < 0)
        return e->code == ERR_MISSING && !when ? tag_suggest(d, what, e) : -1;
    *artifact = id;
    return 0;
}

/* ---- URIs that we gave out ----------------------------------------------------------
 */

static int output_of_run(struct db *d, struct str run, struct str uri, int64_t *id,
                         struct err *e)
{
    static const char sql[] =
        "SELECT a.id FROM run r JOIN task t ON t.run = r.id"
        " JOIN event v ON v.task = t.id AND v.io = 2"
        " JOIN artifact a ON a.id = v.artifact"
        " WHERE r.uuid = ? AND a.uri = ? ORDER BY a.id DESC LIMIT 1";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, run);
    q_text(&q, uri);
    return q_one(&q, id, e);
}

static int input_of_run(struct db *d, struct str word, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM artifact WHERE id = ?";
    AUTO_Q struct q q = {0};
    int64_t n = 0;

    *id = 0;
    for (size_t i = 1; i < word.len; i++) {
        if (word.ptr[i] < '0' || word.ptr[i] > '9' || i > 15)
            return 0;
        n = n * 10 + (word.ptr[i] - '0');
    }
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, n);
    return q_one(&q, id, e);
}

int db_artifact_by_uri(struct db *d, struct str uri, int64_t *artifact, struct err *e)
{
    const char *p = uri.ptr, *end = uri.ptr + uri.len;
    bool inputs = false;

    *artifact = 0;
    while (p < end && !*artifact) {
        const char *slash = memchr(p, '/', (size_t)(end - p));
        struct str word = {p, slash ? (size_t)(slash - p) : (size_t)(end - p)};

        if (word.len == 36 && output_of_run(d, word, uri, artifact, e) < 0)
            return -1;
        if (inputs && word.len > 1 && *word.ptr == 'a' &&
            input_of_run(d, word, artifact, e) < 0)
            return -1;
        inputs = str_eqz(word, "inputs");
        p = slash ? slash + 1 : end;
    }
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* report_run_test.c - pages of runs that real pipelines seldom give: loops, hostile
 * names, odd metrics, logs that are gone
 *
 * REPORT_KEEP=DIR keeps the pages there, to be looked at.
 */
#include "lineage_t.h"
#include "report/report.h"

static struct store *t_store;

static int64_t a_group(struct db *d, int64_t run, int64_t parent, const char *path,
                       const char *kind)
{
    const char *slash = strrchr(path, '/');
    int64_t id = 0;

    OK(db_task_insert(d,
                      &(struct db_task_new){.run = run,
                                            .parent = parent,
                                            .path = str_of(path),
                                            .name = str_of(slash ? slash + 1 : path),
                                            .kind = str_of(kind),
                                            .state = DB_PENDING},
                      &id, e));
    return id;
}

/* a container task that ran: one attempt with this log */
static int64_t a_ran(struct db *d, int64_t run, const char *path, enum db_state state,
                     const char *error, const void *log, size_t len)
{
    int64_t id = a_group(d, run, 0, path, "container");
    AUTO_FREE char *dir = xasprintf("runs/r/%lld.1", (long long)id);
    AUTO_FREE char *full = in_home(dir);
    AUTO_FREE char *file = path_join(full, "log");
    bool won;

    OK(db_task_start(d, id, &(struct db_task_start){.started_unix_ms = 1200}, &won, e));
    OK(db_attempt_start(
        d,
        &(struct db_attempt_new){
            .task = id, .number = 1, .started_unix_ms = 1200, .dir = str_of(dir)},
        e));
    OK(db_attempt_finish(
        d, id, 1,
        &(struct db_attempt_end){.state = state,
                                 .finished_unix_ms = 1900,
                                 .exit_code = state == DB_FAILED ? 3 : 0,
                                 .peak_memory_bytes = 1 << 20,
                                 .cpu_usec = 500000,
                                 .error = str_of(error)},
        &won, e));
    OK(db_task_finish(d, id,
                      &(struct db_task_end){.state = state,
                                            .finished_unix_ms = 1900,
                                            .exit_code = state == DB_FAILED ? 3 : 0,
                                            .error = str_of(error),
                                            .peak_memory_bytes = 1 << 20,
                                            .cpu_usec = 500000},
                      &won, e));
    if (log) {
        OK(fd_mkdirs(AT_FDCWD, full, 0700, e));
        OK(fd_write_file(AT_FDCWD, file, log, len, 0600, false, e));
    }
    return id;
}

static void end_run(struct db *d, int64_t run, enum db_state state, const char *error)
{
    bool won;

    OK(db_run_finish(d, run,
                     &(struct db_run_end){.state = state,
                                          .finished_unix_ms = 2500,
                                          .error = str_of(error)},
                     &won, e));
    OK(db_commit(d, e));
}

static void page_of(struct db *d, int64_t run, const struct report_opts *o,
                    const char *keep_as, struct buf *html)
{
    const char *keep = getenv("REPORT_KEEP");

    OK(report_run(d, t_store, run, o, html, e));
    if (keep) {
        AUTO_FREE char *path = path_join(keep, keep_as);
        OK(fd_write_file(AT_FDCWD, path, html->ptr, html->len, 0644, false, e));
    }
}

static size_t count(const struct buf *b, const char *what)
{
    size_t n = 0;

    for (const char *p = b->ptr; (p = strstr(p, what)); p += strlen(what))
        n++;
    return n;
}

#define HAS(b, what) CHECK(strstr(buf_str(b), what))
#define LACKS(b, what) CHECK(!strstr(buf_str(b), what))

/* every '<' is one of ours: a tag that a report may have */
static bool only_our_tags(const struct buf *b)
{
    static const char *const tags[] = {
        "!doctype",   "html",   "head",    "meta",       "title",  "style",
        "body",       "header", "section", "h1",         "h2",     "h3",
        "h4",         "h5",     "h6",      "p",          "b",      "i",
        "a",          "small",  "span",    "code",       "pre",    "table",
        "caption",    "thead",  "tbody",   "tr",         "th",     "td",
        "dl",         "dt",     "dd",      "div",        "svg",    "g",
        "rect",       "circle", "text",    "tspan",      "path",   "details",
        "summary",    "strong", "figure",  "figcaption", "footer", "iframe",
        "article",    "em",     "ul",      "ol",         "li",     "hr",
        "blockquote",
    };

    for (const char *p = b->ptr; (p = strchr(p, '<')); p++) {
        const char *name = p + 1 + (p[1] == '/');
        size_t n = strcspn(name, " >/\n"), i = 0;
        while (i < N_ELEMS(tags) &&
               (strlen(tags[i]) != n || memcmp(tags[i], name, n) != 0))
            i++;
        if (i == N_ELEMS(tags)) {
            printf("a tag that is not ours: %.60s\n", p);
            return false;
        }
    }
    return true;
}

static void loops_and_conditions_are_groups(struct db *d)
{
    static const struct report_dep deps[] = {
        {STR(""), STR("make-list"), STR("for-loop-2")},
        {STR(""), STR("for-loop-2"), STR("collect")},
        {STR(""), STR("collect"), STR("condition-branches-1")},
        {STR("for-loop-2"), STR("square"), STR("print")},
        {STR("condition-branches-1/condition-2"), STR("word"), STR("shout")},
    };
    struct report_opts o = {.deps = deps, .n_deps = N_ELEMS(deps), .now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};
    int64_t run = a_run(d, "00000000-0000-4000-8000-000000000001", "loops-1", "loops"),
            loop;
    char path[64];

    OK(db_begin(d, DB_PROGRESS, e));
    (void)a_ran(d, run, "make-list", DB_SUCCEEDED, "", "made\n", 5);
    loop = a_group(d, run, 0, "for-loop-2", "loop");
    for (int i = 0; i < 40; i++) {
        bool bad = i == 33;
        (void)snprintf(path, sizeof path, "for-loop-2[%d]/square", i);
        (void)a_ran(d, run, path, bad ? DB_FAILED : DB_SUCCEEDED,
                    bad ? "exit code 3" : "", "squared\n", 8);
        (void)snprintf(path, sizeof path, "for-loop-2[%d]/print", i);
        (void)a_group(d, run, loop, path, "container");
    }
    (void)a_group(d, run, 0, "collect", "container");
    (void)a_group(d, run, 0, "condition-branches-1", "condition");
    (void)a_group(d, run, 0, "condition-branches-1/condition-2", "condition");
    (void)a_group(d, run, 0, "condition-branches-1/condition-2/word", "container");
    (void)a_group(d, run, 0, "condition-branches-1/condition-2/shout", "container");
    (void)a_group(d, run, 0, "condition-branches-1/condition-3", "condition");
    end_run(d, run, DB_FAILED, "task for-loop-2[33]/square failed");

    page_of(d, run, &o, "loops.html", &html);
    CHECK(only_our_tags(&html));
    HAS(&html, "loop, 40 iterations");
    HAS(&html, "34 more iterations");
    HAS(&html, ">[33]<"); /* the failed one is among those that are drawn */
    CHECK_INT(count(&html, "class='group'"), 1 + 6 + 2);
    CHECK_INT(count(&html, "class='line'"), 3 + 6 + 1);
    HAS(&html, "Task <a href='#t");
    HAS(&html, "for-loop-2[33]/square</a>: <b>exit code 3</b>");
    HAS(&html, "dugout resume loops-1");
    HAS(&html, "dugout logs &#39;loops-1/for-loop-2[33]/square&#39;");
}

static void a_wide_run_is_a_sentence_and_a_table(struct db *d)
{
    struct report_opts o = {.now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};
    int64_t run = a_run(d, "00000000-0000-4000-8000-000000000002", "wide-1", "wide");
    char path[64];

    OK(db_begin(d, DB_PROGRESS, e));
    for (int i = 0; i < 2500; i++) {
        (void)snprintf(path, sizeof path, "t%d", i);
        if (i == 2400)
            finish(d, a_group(d, run, 0, path, "container"), DB_FAILED);
        else
            (void)a_group(d, run, 0, path, "container");
    }
    end_run(d, run, DB_CANCELED, "stopped by signal 2");
    page_of(d, run, &o, "wide.html", &html);
    HAS(&html, "2500 tasks side by side are too many for a drawing");
    HAS(&html, "The first 2000 of 2500 are listed");
    HAS(&html, ">t2400<"); /* it failed */
    LACKS(&html, ">t2401<");
    HAS(&html, "stopped by signal 2");
    CHECK(only_our_tags(&html));
}

#define EVIL "</pre></title><script>alert(1)</script>"

static void strangers_cannot_speak_html(struct db *d)
{
    static const char log[] =
        "\x1b[31mred\x1b[0m\n" EVIL "\n\xff\xfe\x80 half\n<!-- \0 -->\n]]>\n";
    static const char metadata[] =
        "{\"" EVIL "\":\"" EVIL "\",\"f1\":0.5,\"onload='x'\":1,\"confusionMatrix\":"
        "{\"annotationSpecs\":[{\"displayName\":\"" EVIL
        "\"}],\"rows\":[{\"row\":[3]}]},"
        "\"confidenceMetrics\":[{\"recall\":\"" EVIL "\"},{\"recall\":0.5,"
        "\"falsePositiveRate\":0.1},{\"recall\":1e99,\"falsePositiveRate\":-1}]}";
    static const struct report_dep deps[] = {{STR(""), STR(EVIL), STR("b")}};
    struct report_opts o = {.deps = deps, .n_deps = 1, .now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};
    struct blob_id doc, mark;
    int64_t run, task, art;
    bool won;

    OK(db_begin(d, DB_PROGRESS, e));
    OK(db_run_create(
        d,
        &(struct db_run_new){
            .uuid = STR("00000000-0000-4000-8000-000000000003"),
            .name = STR("' onmouseover='" EVIL),
            .pipeline = STR(EVIL),
            .experiment = STR(EVIL),
            .state = DB_RUNNING,
            .created_unix_ms = 1000,
            .user = STR(EVIL),
            .host = STR("h\"><script>"),
            .login_uid = 7,
            .argv_json = STR("[\"dugout\",\"run\",\"" EVIL "\"]"),
            .parameters_json = STR("{\"" EVIL "\":{\"x\":\"" EVIL "\"}}"),
            .spec_hex =
                STR("1111111111111111111111111111111111111111111111111111111111111111"),
            .spec_text = STR("yaml: " EVIL)},
        &run, e));
    task = a_ran(d, run, EVIL, DB_FAILED, EVIL, log, sizeof log - 1);
    (void)a_group(d, run, 0, "b", "container");
    (void)an_artifact(d, task, EVIL, "system.Metrics", 0, metadata);
    (void)an_artifact(d, task, "cls", "system.ClassificationMetrics", 0, metadata);
    (void)an_artifact(d, task, "model<script>", "system.Model", 7, metadata);
    OK(blob_put_bytes(t_store, STR(EVIL "' onload='x").ptr, strlen(EVIL) + 11, 0, &doc,
                      e));
    OK(blob_put_bytes(t_store, "# " EVIL "\n[a](javascript:x)", strlen(EVIL) + 21, 0,
                      &mark, e));
    for (int i = 0; i < 2; i++) {
        OK(db_artifact_insert(
            d,
            &(struct db_artifact_new){.type = i ? STR("system.HTML")
                                                : STR("system.Markdown"),
                                      .name = STR("doc"),
                                      .kind = STR("file"),
                                      .digest_hex = str_of(i ? doc.hex : mark.hex),
                                      .size_bytes = 10,
                                      .created_unix_ms = 2000,
                                      .task = task},
            &art, e));
        OK(db_event_put(d, task, DB_OUT, i ? STR("page") : STR("text"), 0, art, e));
    }
    (void)won;
    end_run(d, run, DB_FAILED, EVIL);

    page_of(d, run, &o, "hostile.html", &html);
    CHECK(only_our_tags(&html));
    LACKS(&html, "<script");
    LACKS(&html, "\x1b");
    LACKS(&html, "\xff");
    LACKS(&html, "' onmouseover='");
    LACKS(&html, "' onload='x");
    LACKS(&html, "javascript:x'");
    HAS(&html, "<iframe sandbox ");
    HAS(&html, "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd half");
    HAS(&html, "default-src 'none'");
    CHECK_INT(count(&html, "<iframe"), 1);
    HAS(&html, "AUC");
    HAS(&html, "ROC curve of 1 points, 2 were no rates and are left out");
}

static void audit_of(struct db *d, int64_t artifact, const char *asked,
                     const char *keep_as, struct buf *html)
{
    struct report_opts o = {.now_unix_ms = 3000};
    const char *keep = getenv("REPORT_KEEP");

    OK(report_artifact(d, t_store, artifact, str_of(asked), &o, html, e));
    if (keep) {
        AUTO_FREE char *path = path_join(keep, keep_as);
        OK(fd_write_file(AT_FDCWD, path, html->ptr, html->len, 0644, false, e));
    }
}

/* the model of the run above, whose task, run, metadata and parameters are all hostile
 */
static void nor_on_an_audit_page(struct db *d)
{
    AUTO_BUF struct buf html = {0};
    int64_t model =
        sql_i64(d, "SELECT a.id FROM artifact a JOIN type y ON y.id = a.type"
                   " WHERE y.name = 'system.Model'");

    audit_of(d, model, EVIL, "hostile-audit.html", &html);
    CHECK(only_our_tags(&html));
    LACKS(&html, "<script");
    HAS(&html, "class=\"audit\"");
    HAS(&html, "no longer in the store");
    HAS(&html, "No tag ever named it.");
}

/* far more of everything than two sheets hold: it is counted, not left unsaid */
static void an_audit_page_counts_what_it_leaves_out(struct db *d)
{
    AUTO_BUF struct buf html = {0};
    int64_t run = a_run(d, "00000000-0000-4000-8000-000000000006", "many-1", "many");
    int64_t train = a_task(d, run, "train"), judge = a_task(d, run, "judge"), model;
    char name[40];

    for (int i = 0; i < 30; i++) {
        int64_t maker;
        (void)snprintf(name, sizeof name, "load-%d", i);
        maker = a_task(d, run, name);
        (void)snprintf(name, sizeof name, "in%02d", i);
        reads(
            d, train, name,
            an_artifact(d, maker, "data", "system.Dataset", 100 + i, "{\"rows\":100}"));
    }
    model = an_artifact(d, train, "model", "system.Model", 99, "");
    reads(d, judge, "model", model);
    (void)an_artifact(d, judge, "m", "system.Metrics", 0, "{\"f1\":0.5}");
    OK(db_begin(d, DB_PROGRESS, e));
    for (int i = 0; i < 40; i++) {
        (void)snprintf(name, sizeof name, "param-%02d", i);
        OK(db_param_put(d, train, DB_IN, str_of(name), STR("\"value\""), e));
    }
    OK(db_commit(d, e));
    audit_of(d, model, "many", "many.html", &html);
    CHECK(only_our_tags(&html));
    HAS(&html, "<b>30 datasets</b>, trained on <b>3000 rows</b>");
    HAS(&html, "23 more: dugout lineage a");
    HAS(&html, "19 more: dugout show many-1/train");
    HAS(&html, "21 more: dugout lineage a");
    HAS(&html, "0.5");
}

static void what_is_gone_is_said(struct db *d)
{
    struct report_opts o = {.now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};
    int64_t run = a_run(d, "00000000-0000-4000-8000-000000000004", "gone-1", "gone"),
            task;

    OK(db_begin(d, DB_PROGRESS, e));
    task = a_ran(d, run, "only", DB_FAILED, "exit code 3", NULL, 0);
    (void)an_artifact(d, task, "page", "system.HTML", 99, "{}");
    end_run(d, run, DB_FAILED, "");
    page_of(d, run, &o, "gone.html", &html);
    HAS(&html, "It printed nothing, or its log was removed.");
    HAS(&html, "Its log was removed.");
    HAS(&html, "Not shown: no blob");
    CHECK(only_our_tags(&html));
}

static void a_long_log_keeps_head_and_tail(struct db *d)
{
    struct report_opts o = {.now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};
    AUTO_BUF struct buf log = {0};
    int64_t run = a_run(d, "00000000-0000-4000-8000-000000000005", "long-1", "long");

    for (int i = 0; i < 100000; i++)
        buf_addf(&log, "line %d\n", i);
    OK(db_begin(d, DB_PROGRESS, e));
    (void)a_ran(d, run, "only", DB_SUCCEEDED, "", log.ptr, log.len);
    end_run(d, run, DB_SUCCEEDED, "");
    page_of(d, run, &o, "long.html", &html);
    HAS(&html, "<pre>line 0\nline 1\n");
    HAS(&html, "bytes are left out here ...]");
    HAS(&html, "line 99999\n</pre>");
    CHECK(html.len < 300000);
}

static void no_run_is_said(struct db *d)
{
    struct report_opts o = {.now_unix_ms = 3000};
    AUTO_BUF struct buf html = {0};

    FAILS(report_run(d, t_store, 999, &o, &html, e), ERR_MISSING, "no run");
    FAILS(report_artifact(d, t_store, 999, STR("x"), &o, &html, e), ERR_MISSING,
          "no artifact");
    CHECK_INT(html.len, 0);
}

int main(void)
{
    struct db *d;

    home_make();
    OK(store_open(t_home, &t_store, e));
    d = home_open(DB_WRITE);
    loops_and_conditions_are_groups(d);
    a_wide_run_is_a_sentence_and_a_table(d);
    strangers_cannot_speak_html(d);
    nor_on_an_audit_page(d);
    an_audit_page_counts_what_it_leaves_out(d);
    what_is_gone_is_said(d);
    a_long_log_keeps_head_and_tail(d);
    no_run_is_said(d);
    db_close(d);
    store_close(t_store);
    home_remove();
    return t_end();
}

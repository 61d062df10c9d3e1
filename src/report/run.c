/* SPDX-License-Identifier: Apache-2.0 */
/* run.c - the page of one run
 *
 * Who opens it wants to know, in this order: did it work; if not, which task, why, what
 * did it print last, and what do I type now; then what ran, with what, and what came
 * out. The first screen answers the first question without a click. Everything is read
 * from the database in one view of it, so a page of a run that goes on is a picture of
 * one instant.
 */
#include "base/limits.h"
#include "lineage/images.h"
#include "report/logs.h"
#include "report/page.h"
#include "report/taskgraph.h"

#define TAIL_LINES 20
#define LOG_MAX (128 * KIB) /* of one attempt on the page ... */
#define LOGS_MAX (6 * MIB)  /* ... and of all together */
#define TASK_ROWS 2000
#define ARTIFACT_ROWS 1000
#define MODELS_MAX 12

struct run_page {
    struct page p;
    struct db_run r;
    struct db_task *tasks;
    size_t n_tasks;
    struct db_run_counts counts;
    const struct db_task *failed; /* the first that did, NULL */
    struct page_artifact *out;    /* what its tasks gave out */
    size_t n_out;
    size_t log_bytes; /* on the page so far */
};

static bool is_leaf(const struct db_task *t)
{
    return str_eqz(t->kind, "container") || str_eqz(t->kind, "importer");
}

/* ---- gathering ---- */

static int read_outputs(struct run_page *x, const struct db_task *t, struct err *e)
{
    struct db_io_rows io;

    if (!is_leaf(t) || db_task_io_in(x->p.a, x->p.d, t->id, DB_OUT, &io, e) < 0)
        return is_leaf(t) ? -1 : 0;
    for (size_t i = 0; i < io.n_artifacts; i++) {
        x->out = arena_grow(x->p.a, x->out, &x->n_out, sizeof(*x->out));
        x->out[x->n_out - 1] = (struct page_artifact){.x = io.artifacts[i].artifact,
                                                      .task = t->path,
                                                      .output = io.artifacts[i].name,
                                                      .task_id = t->id};
    }
    return 0;
}

/* as a reader expects them: in the order in which they began, waiting ones last */
static int by_start(const void *p, const void *q)
{
    const struct db_task *x = p, *y = q;
    int64_t s = x->started_unix_ms ? x->started_unix_ms : INT64_MAX;
    int64_t t = y->started_unix_ms ? y->started_unix_ms : INT64_MAX;

    if (s != t)
        return s < t ? -1 : 1;
    return x->id < y->id ? -1 : x->id > y->id;
}

static int gather(struct run_page *x, int64_t run, struct err *e)
{
    if (db_run_get_in(x->p.a, x->p.d, run, &x->r, e) < 0 ||
        db_tasks_in(x->p.a, x->p.d, run, &x->tasks, &x->n_tasks, e) < 0 ||
        db_run_counts(x->p.d, run, &x->counts, e) < 0)
        return -1;
    qsort(x->tasks, x->n_tasks, sizeof(*x->tasks), by_start);
    for (size_t i = 0; i < x->n_tasks; i++) {
        const struct db_task *t = &x->tasks[i];
        if (read_outputs(x, t, e) < 0)
            return -1;
        if (t->state == DB_FAILED && is_leaf(t) &&
            (!x->failed || t->finished_unix_ms < x->failed->finished_unix_ms))
            x->failed = t;
    }
    return 0;
}

/* the cleaned log of the last attempt, or nothing */
static int read_last_log(struct run_page *x, const struct db_task *t, struct buf *out,
                         struct err *e)
{
    struct db_attempt *rows;
    size_t n;

    if (db_attempts_in(x->p.a, x->p.d, t->id, &rows, &n, e) < 0)
        return -1;
    if (n && rows[n - 1].dir.len)
        (void)logs_read(store_home(x->p.s), rows[n - 1].dir.ptr, LOG_MAX, out);
    return 0;
}

/* ---- the first screen ---- */

static const char *verdict_of(const struct db_run *r)
{
    static const char *const words[DB_STATES] = {
        [DB_PENDING] = "has not begun",       [DB_RUNNING] = "is running",
        [DB_SUCCEEDED] = "succeeded",         [DB_FAILED] = "failed",
        [DB_SKIPPED] = "was skipped",         [DB_CANCELED] = "was canceled",
        [DB_INTERRUPTED] = "was interrupted",
    };

    return words[r->state];
}

static struct str summary_in(struct run_page *x)
{
    struct arena *a = x->p.a;
    const struct db_run_counts *c = &x->counts;
    long long ok = (long long)c->by_state[DB_SUCCEEDED], all = (long long)c->total;
    struct str took = page_took(&x->p, x->r.created_unix_ms, x->r.finished_unix_ms);
    struct str s = fmt_in(a, "%lld of %lld tasks done", ok, all);

    if (c->cached)
        s = fmt_in(a, "%.*s, %lld from the cache", STR_ARG(s), (long long)c->cached);
    if (c->by_state[DB_FAILED])
        s = fmt_in(a, "%.*s, %lld failed", STR_ARG(s),
                   (long long)c->by_state[DB_FAILED]);
    if (c->by_state[DB_SKIPPED])
        s = fmt_in(a, "%.*s, %lld skipped", STR_ARG(s),
                   (long long)c->by_state[DB_SKIPPED]);
    if (c->by_state[DB_CANCELED])
        s = fmt_in(a, "%.*s, %lld canceled", STR_ARG(s),
                   (long long)c->by_state[DB_CANCELED]);
    return fmt_in(a, "%.*s \u00b7 %.*s%s", STR_ARG(s), STR_ARG(took),
                  x->r.finished_unix_ms ? "" : " so far");
}

static int print_tail(struct run_page *x, struct err *e)
{
    AUTO_BUF struct buf log = {0};
    struct str tail;

    if (read_last_log(x, x->failed, &log, e) < 0)
        return -1;
    tail = logs_last((struct str){buf_str(&log), log.len}, TAIL_LINES);
    if (tail.len)
        HTML(x->p.b, "<pre class='tail' aria-label='its last lines'>$</pre>\n", tail);
    else
        buf_adds(x->p.b,
                 "<p class='note'>It printed nothing, or its log was removed.</p>\n");
    return 0;
}

static void print_cause(struct run_page *x)
{
    const struct db_task *t = x->failed;
    struct str cause =
        t->error.len ? t->error
        : t->exit_code != DB_NO_EXIT
            ? fmt_in(x->p.a, "its command ended with exit code %d", t->exit_code)
            : t->reason;
    long long more = (long long)x->counts.by_state[DB_FAILED] - 1;

    HTML(x->p.b, "<p class='cause'>Task <a href='#t$'>$</a>: <b>$</b>$</p>\n",
         fmt_in(x->p.a, "%lld", (long long)t->id), t->path, cause,
         more > 0 ? fmt_in(x->p.a, " (%lld more failed)", more) : STR(""));
}

static void print_next(struct run_page *x)
{
    struct page *p = &x->p;
    struct str ref = shell_word_in(p->a, page_run_ref(p, &x->r));
    const struct page_artifact *model = NULL;

    for (size_t i = 0; i < x->n_out && !model; i++)
        if (type_is(&x->out[i].x, "Model"))
            model = &x->out[i];
    switch (x->r.state) {
    case DB_FAILED:
        page_command(p, fmt_in(p->a, "dugout resume %.*s", STR_ARG(ref)),
                     "Next, after mending the cause:");
        if (x->failed)
            page_command(p,
                         fmt_in(p->a, "dugout logs %.*s",
                                STR_ARG(shell_word_in(
                                    p->a, fmt_in(p->a, "%.*s/%.*s",
                                                 STR_ARG(page_run_ref(p, &x->r)),
                                                 STR_ARG(x->failed->path))))),
                         "All that it printed:");
        break;
    case DB_INTERRUPTED:
    case DB_CANCELED:
        page_command(p, fmt_in(p->a, "dugout resume %.*s", STR_ARG(ref)),
                     "Next, to go on:");
        break;
    case DB_PENDING:
    case DB_RUNNING:
        page_command(p, fmt_in(p->a, "dugout logs %.*s -f", STR_ARG(ref)),
                     "Next, to watch it:");
        break;
    case DB_SUCCEEDED:
    case DB_SKIPPED:
    case DB_STATES:
        if (model)
            page_command(
                p, fmt_in(p->a, "dugout tag a%lld NAME:prod", (long long)model->x.id),
                "Next, to put its model into service:");
        else
            page_command(p, fmt_in(p->a, "dugout show %.*s", STR_ARG(ref)),
                         "Next, to look closer:");
        break;
    }
}

static int print_verdict(struct run_page *x, struct err *e)
{
    struct page *p = &x->p;

    HTML(p->b,
         "<header class='verdict $'>\n<p class='over'>dugout \u00b7 run report</p>\n"
         "<h1>$ <span class='badge'><i aria-hidden='true'>$</i> $</span></h1>\n",
         str_of(state_style(x->r.state)), x->r.name,
         str_of(state_glyph(x->r.state, false)), str_of(verdict_of(&x->r)));
    HTML(p->b, "<p class='facts'>pipeline <b>$</b> \u00b7 $ \u00b7 started $</p>\n",
         x->r.pipeline, summary_in(x), page_time(p, x->r.created_unix_ms));
    if (x->r.state == DB_FAILED && x->failed) {
        print_cause(x);
        if (print_tail(x, e) < 0)
            return -1;
    } else if (x->r.error.len) {
        HTML(p->b, "<p class='cause'><b>$</b></p>\n", x->r.error);
    }
    if (x->r.all_cached)
        buf_adds(p->b, "<p class='note'>Nothing new: every result was known.</p>\n");
    print_next(x);
    buf_adds(p->b, "</header>\n");
    return 0;
}

/* ---- tasks ---- */

/* where in the run's time a task ran: a bar of a thousand units */
static void print_bar(struct run_page *x, const struct db_task *t)
{
    int64_t from = x->r.created_unix_ms;
    int64_t to = x->r.finished_unix_ms ? x->r.finished_unix_ms : x->p.o->now_unix_ms;
    int64_t end = t->finished_unix_ms ? t->finished_unix_ms : to;
    double span = to > from ? (double)(to - from) : 1, at, len;

    buf_adds(x->p.b, "<td class='time'>");
    if (t->started_unix_ms && !t->cached) {
        at = 1000 * (double)(t->started_unix_ms - from) / span;
        len = 1000 * (double)(end - t->started_unix_ms) / span;
        buf_addf(
            x->p.b,
            "<svg class='bar %s' viewBox='0 0 1000 10' preserveAspectRatio='none' "
            "aria-hidden='true'><rect class='track' width='1000' height='10'/><rect "
            "class='run' x='%.1f' width='%.1f' height='10'/></svg>",
            state_style(t->state), at < 0 ? 0 : at, len < 4 ? 4 : len);
    }
    buf_adds(x->p.b, "</td>");
}

static void print_task_row(struct run_page *x, const struct db_task *t)
{
    struct page *p = &x->p;
    const char *slash = memrchr(t->path.ptr, '/', t->path.len);
    size_t cut = slash ? (size_t)(slash + 1 - t->path.ptr) : 0;
    struct str state = t->cached ? STR("CACHED") : str_of(db_state_name(t->state));

    HTML(p->b, "<tr id='t$'><td class='state $'><i aria-hidden='true'>$</i> $</td>",
         fmt_in(p->a, "%lld", (long long)t->id), str_of(state_style(t->state)),
         str_of(state_glyph(t->state, t->cached)), state);
    HTML(p->b, "<th scope='row'><span class='dim'>$</span>",
         (struct str){t->path.ptr, cut});
    if (t->attempts)
        HTML(p->b, "<a href='#l$'>$</a>", fmt_in(p->a, "%lld", (long long)t->id),
             (struct str){t->path.ptr + cut, t->path.len - cut});
    else
        HTML(p->b, "$", (struct str){t->path.ptr + cut, t->path.len - cut});
    if (!is_leaf(t))
        HTML(p->b, " <small>$</small>", t->kind);
    if (t->error.len || t->reason.len)
        HTML(p->b, "<p class='why'>$</p>", t->error.len ? t->error : t->reason);
    buf_adds(p->b, "</th>");
    print_bar(x, t);
    HTML(p->b,
         "<td class='num'>$</td><td class='num'>$</td><td class='num'>$</td>"
         "<td class='num'>$</td></tr>\n",
         t->cached ? STR("") : page_took(p, t->started_unix_ms, t->finished_unix_ms),
         t->attempts ? fmt_in(p->a, "%lld", (long long)t->attempts) : STR(""),
         page_size(p, t->peak_memory_bytes > 0 ? t->peak_memory_bytes : -1),
         t->cpu_usec >= 0 ? fmt_in(p->a, "%.2f s", (double)t->cpu_usec / 1e6)
                          : STR(""));
}

static void print_tasks(struct run_page *x)
{
    struct page *p = &x->p;
    page_section(p, "tasks", "Tasks");
    buf_adds(p->b, "<div class='scroll'><table class='tasks'><thead><tr><th>state</th>"
                   "<th>task</th><th class='time'>when</th><th class='num'>took</th>"
                   "<th class='num'>attempts</th><th class='num'>memory</th>"
                   "<th class='num'>CPU</th></tr></thead><tbody>\n");
    for (size_t i = 0, failed = 0; i < x->n_tasks; i++) { /* failures whatever comes */
        bool bad = x->tasks[i].state == DB_FAILED && failed++ < TASK_ROWS;
        if (i < TASK_ROWS || bad)
            print_task_row(x, &x->tasks[i]);
    }
    buf_adds(p->b, "</tbody></table></div>\n");
    if (x->n_tasks > TASK_ROWS)
        HTML(p->b,
             "<p class='note'>The first $ of $ are listed, and what failed; dugout "
             "show has all.</p>\n",
             fmt_in(p->a, "%d", TASK_ROWS), fmt_in(p->a, "%zu", x->n_tasks));
    buf_adds(p->b, "</section>\n");
}

static void print_graph(struct run_page *x)
{
    page_section(&x->p, "graph", "Graph");
    if (!x->p.o->n_deps && x->n_tasks > 1)
        buf_adds(x->p.b,
                 "<p class='note'>No task of this pipeline waits for another, or its "
                 "recorded text cannot be read any more.</p>\n");
    taskgraph_svg(x->p.b, x->tasks, x->n_tasks, x->p.o);
    buf_adds(x->p.b, "</section>\n");
}

/* ---- parameters and artifacts ---- */

static void print_parameters(struct run_page *x)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err e;
    struct str outputs = STR("");
    char *text = NULL;

    if (x->r.outputs_json.len &&
        json_parse(x->r.outputs_json, LIMIT_VALUE_BYTES, &doc, &e) == 0) {
        text =
            yyjson_val_write(json_at(yyjson_doc_get_root(doc), "parameters"), 0, NULL);
        outputs = str_of(text ? text : "");
    }
    if (x->r.parameters_json.len > strlen("{}") || outputs.len > strlen("{}")) {
        page_section(&x->p, "parameters", "Parameters");
        buf_adds(x->p.b, "<div class='side'>\n");
        (void)page_members(&x->p, x->r.parameters_json, "given");
        (void)page_members(&x->p, outputs, "results");
        buf_adds(x->p.b, "</div></section>\n");
    }
    free(text);
}

static void print_artifact_row(struct page *p, const struct page_artifact *f)
{
    HTML(p->b,
         "<tr><td class='id'>a$</td><td>$</td><th scope='row'>$<span "
         "class='dim'>:$</span></th>"
         "<td class='num'>$</td><td>",
         fmt_in(p->a, "%lld", (long long)f->x.id), page_type(f->x.type), f->task,
         f->output, f->x.digest_hex[0] ? page_size(p, f->x.size_bytes) : STR(""));
    if (f->x.digest_hex[0])
        HTML(p->b, "<code title='sha256:$'>$</code>", str_of(f->x.digest_hex),
             page_digest(p, f->x.digest_hex));
    HTML(p->b, "</td><td class='meta'>$$</td></tr>\n",
         page_scalars(p, f->x.metadata_json, 90),
         f->x.state != DB_LIVE ? STR(" (content removed)") : STR(""));
}

static void print_artifacts(struct run_page *x)
{
    struct page *p = &x->p;

    if (!x->n_out)
        return;
    page_section(p, "artifacts", "Artifacts");
    buf_adds(
        p->b,
        "<div class='scroll'><table><thead><tr><th>id</th><th>type</th><th>task:output"
        "</th><th class='num'>size</th><th>digest</th><th>metadata</th></tr></thead>"
        "<tbody>\n");
    for (size_t i = 0; i < x->n_out && i < ARTIFACT_ROWS; i++)
        print_artifact_row(p, &x->out[i]);
    buf_adds(p->b, "</tbody></table></div>\n");
    if (x->n_out > ARTIFACT_ROWS)
        HTML(p->b, "<p class='note'>The first $ of $ are listed.</p>\n",
             fmt_in(p->a, "%d", ARTIFACT_ROWS), fmt_in(p->a, "%zu", x->n_out));
    buf_adds(p->b, "</section>\n");
}

static int print_lineage(struct run_page *x, struct err *e)
{
    struct page *p = &x->p;
    size_t found = 0;

    for (size_t i = 0; i < x->n_out; i++) {
        const struct page_artifact *f = &x->out[i];
        if (!type_is(&f->x, "Model") || found++ >= MODELS_MAX)
            continue;
        if (found == 1)
            page_section(p, "lineage", "Lineage of its models");
        HTML(p->b, "<h3>$ : $ <small>a$, $</small></h3>\n", f->task, f->output,
             fmt_in(p->a, "%lld", (long long)f->x.id), page_digest(p, f->x.digest_hex));
        if (page_lineage(p, f->x.id, e) < 0)
            return -1;
    }
    if (found > MODELS_MAX)
        HTML(p->b, "<p class='note'>The first $ of $ models are shown.</p>\n",
             fmt_in(p->a, "%d", MODELS_MAX), fmt_in(p->a, "%zu", found));
    if (found)
        buf_adds(p->b, "</section>\n");
    return 0;
}

/* ---- logs ---- */

static void print_log(struct run_page *x, const struct db_task *t,
                      const struct db_attempt *m, bool is_last)
{
    AUTO_BUF struct buf log = {0};
    struct page *p = &x->p;
    bool there = m->dir.len && x->log_bytes < LOGS_MAX &&
                 logs_read(store_home(p->s), m->dir.ptr, LOG_MAX, &log);

    buf_adds(p->b, "<details");
    if (is_last)
        buf_addf(p->b, " id='l%lld'", (long long)t->id);
    HTML(p->b,
         "><summary><i class='$' aria-hidden='true'>$</i> $ <small>attempt $, $, $",
         str_of(state_style(m->state)), str_of(state_glyph(m->state, false)), t->path,
         fmt_in(p->a, "%lld", (long long)m->number), str_of(db_state_name(m->state)),
         page_took(p, m->started_unix_ms, m->finished_unix_ms));
    if (m->exit_code != DB_NO_EXIT)
        HTML(p->b, ", exit code $", fmt_in(p->a, "%d", m->exit_code));
    if (m->signal)
        HTML(p->b, ", signal $", fmt_in(p->a, "%d", m->signal));
    if (m->oom)
        buf_adds(p->b, ", out of memory");
    if (m->timed_out)
        buf_adds(p->b, ", timed out");
    buf_adds(p->b, "</small></summary>\n");
    if (m->error.len)
        HTML(p->b, "<p class='why'>$</p>\n", m->error);
    x->log_bytes += log.len;
    if (!there)
        buf_adds(p->b,
                 x->log_bytes >= LOGS_MAX
                     ? "<p class='note'>The logs above fill the page; dugout logs has "
                       "this one.</p>"
                     : "<p class='note'>Its log was removed.</p>");
    else if (!log.len)
        buf_adds(p->b, "<p class='note'>It printed nothing.</p>");
    else
        HTML(p->b, "<pre>$</pre>", (struct str){buf_str(&log), log.len});
    buf_adds(p->b, "</details>\n");
}

static int print_logs_of(struct run_page *x, const struct db_task *t, size_t *shown,
                         struct err *e)
{
    struct db_attempt *rows;
    size_t n;

    if (!t->attempts || db_attempts_in(x->p.a, x->p.d, t->id, &rows, &n, e) < 0)
        return t->attempts ? -1 : 0;
    if (n && !(*shown)++)
        page_section(&x->p, "logs", "Logs");
    for (size_t i = 0; i < n; i++)
        print_log(x, t, &rows[i], i + 1 == n);
    return 0;
}

static int print_logs(struct run_page *x, struct err *e)
{
    size_t shown = 0;

    for (int failed = 1; failed >= 0; failed--) /* these must not fall to the limit */
        for (size_t i = 0; i < x->n_tasks && shown < TASK_ROWS; i++)
            if ((x->tasks[i].state == DB_FAILED) == failed &&
                print_logs_of(x, &x->tasks[i], &shown, e) < 0)
                return -1;
    if (shown)
        buf_adds(x->p.b, "</section>\n");
    return 0;
}

/* ---- where it comes from ---- */

static struct str argv_in(struct arena *a, struct str argv_json)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct str line = STR("");
    struct err e;
    json *v;
    size_t i, max;

    if (!argv_json.len || json_parse(argv_json, LIMIT_JSON_BYTES, &doc, &e) < 0)
        return line;
    yyjson_arr_foreach(yyjson_doc_get_root(doc), i, max, v) line =
        fmt_in(a, "%.*s%s%.*s", STR_ARG(line), i ? " " : "",
               STR_ARG(shell_word_in(a, json_as_str(v))));
    return line;
}

static void print_images(struct run_page *x)
{
    struct page *p = &x->p;
    struct map seen = {0};

    for (size_t i = 0; i < x->n_tasks; i++) {
        struct str hex = str_of(x->tasks[i].image_hex);
        struct db_image image = {0};
        struct err e;
        struct str names = STR("");

        if (!hex.len || map_get(&seen, hex))
            continue;
        map_put(&seen, hex, &x->tasks[i]);
        if (db_image_find_in(p->a, p->d, fmt_in(p->a, "sha256:%.*s", STR_ARG(hex)),
                             &image, &e) == 0)
            for (size_t k = 0; k < image.n_names; k++)
                names =
                    fmt_in(p->a, "%.*s %.*s", STR_ARG(names), STR_ARG(image.names[k]));
        HTML(p->b, "<dt>image</dt><dd><code>sha256:$</code>$</dd>\n", hex, names);
    }
    map_done(&seen);
}

static int print_externals(struct run_page *x, struct err *e)
{
    struct db_external_row *rows;
    size_t n;

    if (db_externals_in(x->p.a, x->p.d, x->r.id, &rows, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++)
        HTML(x->p.b,
             "<dt>seen beside the record</dt><dd>$ <code>$</code>$, unverified</dd>\n",
             rows[i].what, rows[i].path,
             rows[i].read_only ? STR(", read-only") : STR(""));
    return 0;
}

static int print_origin(struct run_page *x, struct err *e)
{
    AUTO_BUF struct buf spec = {0};
    struct page *p = &x->p;
    const struct db_run *r = &x->r;
    struct db_run parent = {0};

    if (r->parent && db_run_get_in(p->a, p->d, r->parent, &parent, e) < 0)
        return -1;
    page_section(p, "origin", "Where it comes from");
    buf_adds(p->b, "<dl>\n");
    page_fact_code(p, "run id", r->uuid);
    page_fact(p, "experiment", r->experiment);
    page_fact(p, "finished", page_time(p, r->finished_unix_ms));
    page_fact(p, "continues run", parent.name);
    page_fact(p, "started by",
              r->login_uid >= 0 && r->user.len
                  ? fmt_in(p->a, "%.*s (login uid %lld)", STR_ARG(r->user),
                           (long long)r->login_uid)
                  : r->user);
    page_fact(p, "on host", r->host);
    page_fact(p, "with dugout", r->version);
    page_fact_code(p, "command", argv_in(p->a, r->argv_json));
    page_fact_code(p, "pipeline file", r->spec_file);
    page_fact_code(p, "its digest",
                   r->spec_hex[0] ? fmt_in(p->a, "sha256:%s", r->spec_hex) : STR(""));
    page_fact_code(p, "git commit", r->git_commit);
    print_images(x);
    if (print_externals(x, e) < 0 ||
        (db_run_spec(p->d, r->id, &spec, e) < 0 && e->code != ERR_MISSING))
        return -1;
    buf_adds(p->b, "</dl>\n");
    if (spec.len)
        HTML(p->b,
             "<details><summary>the pipeline as it "
             "ran</summary><pre>$</pre></details>\n",
             (struct str){buf_str(&spec), spec.len});
    buf_adds(p->b, "</section>\n");
    return 0;
}

/* ---- all of it ---- */

static int print_body(struct run_page *x, struct err *e)
{
    if (print_verdict(x, e) < 0)
        return -1;
    print_graph(x);
    page_metrics(&x->p, x->out, x->n_out);
    page_classification(&x->p, x->out, x->n_out, EVALUATIONS_MAX);
    print_parameters(x);
    print_tasks(x);
    page_documents(&x->p, x->out, x->n_out);
    print_artifacts(x);
    if (print_lineage(x, e) < 0 || print_logs(x, e) < 0 || print_origin(x, e) < 0)
        return -1;
    HTML(x->p.b, "<footer>Made $ by dugout from its record of run $.</footer>\n",
         page_time(&x->p, x->p.o->now_unix_ms), x->r.uuid);
    return 0;
}

int report_run(struct db *d, struct store *s, int64_t run, const struct report_opts *o,
               struct buf *html, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf body = {0};
    struct run_page x = {.p = {.a = &a, .d = d, .s = s, .o = o, .b = &body}};
    int rc;

    if (db_read_begin(d, e) < 0)
        return -1;
    rc = gather(&x, run, e) < 0 || print_body(&x, e) < 0 ? -1 : 0;
    db_read_end(d);
    if (rc == 0)
        page_wrap(html, fmt_in(&a, "%.*s %s", STR_ARG(x.r.name), verdict_of(&x.r)),
                  STR("run"), (struct str){buf_str(&body), body.len});
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_top.c - top: what runs, waits for what, with memory and GPU
 *
 * One look (top.c) is one table or one JSON document. On a terminal a look is taken each second and
 * drawn over the last one, in the screen that terminals keep aside, so that afterwards all is as it
 * was; the terminal's modes come back however we end, but for SIGKILL.
 */
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "cli/top.h"
#include "gpu/drain.h"

#define PAUSE_MS 1000

struct screen {
    struct cli *c;
    struct gpu_set gpus;
    struct top_memory before;
};

/* ---- JSON ------------------------------------------------------------------------------------- */

static void known(struct jw *w, const char *key, int64_t n)
{
    jw_key(w, key);
    if (n >= 0)
        jw_i64(w, n);
    else
        jw_null(w);
}

static void time_json(struct jw *w, const char *key, int64_t unix_ms)
{
    char when[25];

    clock_rfc3339(unix_ms, when);
    jw_kstr(w, key, when);
}

static void look_json(struct jw *w, const struct box_look *look, int64_t cpu_percent)
{
    static const struct box_look unknown = {
        .memory_bytes = -1, .peak_memory_bytes = -1, .cpu_usec = -1, .pids = -1};

    look = look ? look : &unknown;
    known(w, "memory_bytes", look->memory_bytes);
    known(w, "memory_limit_bytes",
          look->memory_limit_bytes ? (int64_t)look->memory_limit_bytes : -1);
    known(w, "peak_memory_bytes", look->peak_memory_bytes);
    jw_key(w, "cpu_seconds");
    if (look->cpu_usec >= 0)
        jw_num(w, (double)look->cpu_usec / 1e6);
    else
        jw_null(w);
    known(w, "cpu_percent", cpu_percent);
    known(w, "pids", look->pids);
    known(w, "pids_limit", look->pids_max ? (int64_t)look->pids_max : -1);
}

static void task_json(struct jw *w, const struct top_task *x)
{
    jw_obj(w);
    jw_kstr(w, "path", x->path.ptr);
    jw_kstr(w, "state", x->phase ? "RUNNING" : "PENDING");
    if (x->phase) {
        jw_kstr(w, "phase", x->phase);
        jw_ki64(w, "attempt", x->attempt);
        time_json(w, "started", x->since_unix_ms);
        look_json(w, x->looked ? &x->look : NULL, x->cpu_percent);
        jw_key(w, "gpus");
        jw_arr(w);
        for (size_t i = 0; i < x->n_gpus; i++)
            jw_str(w, x->gpus[i]);
        jw_end_arr(w);
    } else {
        jw_kstr(w, "waits_for", wait_name(x->what));
        jw_ki64(w, "amount", (int64_t)x->amount);
        jw_kstr(w, "reason", x->why.ptr);
        time_json(w, "since", x->since_unix_ms);
    }
    jw_end_obj(w);
}

static void run_json(struct jw *w, const struct top_run *r)
{
    jw_obj(w);
    jw_kstr(w, "run_id", r->row.uuid.ptr);
    jw_kstr(w, "name", r->row.name.ptr);
    jw_kstr(w, "pipeline", r->row.pipeline.ptr);
    jw_kstr(w, "state", db_state_name(r->row.state));
    jw_kbool(w, "engine", r->engine);
    time_json(w, "created", r->row.created_unix_ms);
    jw_ki64(w, "tasks_succeeded", r->counts.by_state[DB_SUCCEEDED]);
    jw_ki64(w, "tasks_total", r->counts.total);
    jw_key(w, "tasks");
    jw_arr(w);
    for (size_t i = 0; i < r->n_tasks; i++)
        task_json(w, &r->tasks[i]);
    jw_end_arr(w);
    jw_ki64(w, "more_waiting", r->more);
    jw_end_obj(w);
}

static void waiting_run_json(struct jw *w, const struct waiting_run *r)
{
    jw_obj(w);
    jw_kstr(w, "name", r->run.ptr);
    jw_kstr(w, "waits_for", r->noun.ptr);
    jw_kstr(w, "key", r->key.ptr);
    jw_kstr(w, "held_by", r->holder.len ? r->holder.ptr : NULL);
    time_json(w, "since", r->since_unix_ms);
    jw_end_obj(w);
}

static void box_json(struct jw *w, const struct top_box *x)
{
    jw_obj(w);
    jw_ki64(w, "pid", x->pid);
    jw_kstr(w, "command", x->command.ptr);
    time_json(w, "started", x->since_unix_ms);
    look_json(w, &x->look, x->cpu_percent);
    jw_end_obj(w);
}

static void print_json(const struct screen *s, const struct top *t)
{
    AUTO_BUF struct buf out = {0};
    struct jw w;

    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    time_json(&w, "time", t->now_unix_ms);
    jw_ki64(&w, "cpus", t->cpus);
    jw_ki64(&w, "memory_budget_bytes", (int64_t)t->budget_bytes);
    jw_ki64(&w, "memory_promised_bytes", (int64_t)t->promised_bytes);
    jw_key(&w, "runs");
    jw_arr(&w);
    for (size_t i = 0; i < t->n_runs; i++)
        run_json(&w, &t->runs[i]);
    jw_end_arr(&w);
    jw_key(&w, "waiting_runs");
    jw_arr(&w);
    for (size_t i = 0; i < t->n_waiting_runs; i++)
        waiting_run_json(&w, &t->waiting_runs[i]);
    jw_end_arr(&w);
    jw_key(&w, "boxes");
    jw_arr(&w);
    for (size_t i = 0; i < t->n_boxes; i++)
        box_json(&w, &t->boxes[i]);
    jw_end_arr(&w);
    jw_key(&w, "gpus");
    jw_arr(&w);
    for (size_t i = 0; i < s->gpus.n; i++) {
        char text[GPU_TEXT_BYTES];
        const char *state = cli_gpu_state(&s->gpus, &s->gpus.gpus[i], text);
        cli_gpu_json(&w, &s->gpus.gpus[i], state, text);
    }
    jw_end_arr(&w);
    jw_ki64(&w, "gpu_queue", (int64_t)t->gpu_queue);
    jw_end_obj(&w);
    cli_out_json(&out);
}

/* ---- the table -------------------------------------------------------------------------------- */

static void add_time(struct table *t, int64_t ms)
{
    char human[24];

    clock_human(ms > 0 ? ms : 0, human);
    table_add(t, human);
}

static void add_size(struct table *t, int64_t bytes, const char *unknown)
{
    char human[24];

    if (bytes >= 0)
        size_human((uint64_t)bytes, human);
    table_add(t, bytes >= 0 ? human : unknown);
}

/* memory, limit, peak, CPU, processes; NULL: there is no box to look at */
static void add_look(struct table *t, const struct box_look *look, int64_t cpu_percent)
{
    if (!look) {
        for (int i = 0; i < 5; i++)
            table_add(t, "-");
        return;
    }
    add_size(t, look->memory_bytes, "?");
    add_size(t, look->memory_limit_bytes ? (int64_t)look->memory_limit_bytes : -1, "none");
    add_size(t, look->peak_memory_bytes, "?");
    if (cpu_percent >= 0)
        table_addf(t, "%lld%%", (long long)cpu_percent);
    else
        table_add(t, "?");
    if (look->pids >= 0)
        table_addf(t, "%lld", (long long)look->pids);
    else
        table_add(t, "?");
}

static const char *gpu_label(const struct screen *s, struct str id, char out[GPU_ID_BYTES + 16])
{
    for (size_t i = 0; i < s->gpus.n; i++)
        if (str_eqz(id, s->gpus.gpus[i].id)) {
            (void)snprintf(out, GPU_ID_BYTES + 16, "%s:%s",
                           gpu_vendor_name(s->gpus.gpus[i].vendor), s->gpus.gpus[i].name);
            return out;
        }
    return id.ptr;
}

static void add_task(const struct screen *s, const struct top *t, const struct top_run *r,
                     const struct top_task *x, struct table *out)
{
    AUTO_BUF struct buf last = {0};

    buf_init(&last, 0);
    for (size_t i = 0; i < x->n_gpus; i++) {
        char label[GPU_ID_BYTES + 16];
        buf_addf(&last, "%s%s", i ? " " : "", gpu_label(s, x->gpus[i], label));
    }
    if (!x->phase)
        buf_addf(&last, "%.*s", STR_ARG(x->why));
    if (x->phase && !r->engine)
        buf_addf(&last, "%sits engine is gone: dugout resume", last.len ? "; " : "");
    table_add(out, r->row.name.ptr);
    table_add(out, x->path.ptr);
    table_add(out, x->phase ? x->phase : "waits");
    add_time(out, t->now_unix_ms - x->since_unix_ms);
    add_look(out, x->looked ? &x->look : NULL, x->cpu_percent);
    table_add(out, buf_str(&last));
}

static void add_rows(const struct screen *s, const struct top *t, struct table *out)
{
    for (size_t i = 0; i < t->n_runs; i++) {
        const struct top_run *r = &t->runs[i];
        for (size_t k = 0; k < r->n_tasks; k++)
            add_task(s, t, r, &r->tasks[k], out);
        if (!r->n_tasks && !r->more) { /* between two tasks, or before the first */
            table_add(out, r->row.name.ptr);
            table_add(out, "-");
            table_add(out, "running");
            add_time(out, t->now_unix_ms - r->row.created_unix_ms);
            add_look(out, NULL, -1);
            table_add(out, "");
        }
    }
    for (size_t i = 0; i < t->n_waiting_runs; i++) {
        const struct waiting_run *r = &t->waiting_runs[i];
        table_add(out, r->run.ptr);
        table_add(out, "-");
        table_add(out, "waits");
        add_time(out, t->now_unix_ms - r->since_unix_ms);
        add_look(out, NULL, -1);
        table_addf(out, "for %s %.*s%s%.*s", r->noun.ptr, STR_ARG(r->key),
                   r->holder.len ? ", which is held by " : "", STR_ARG(r->holder));
    }
    for (size_t i = 0; i < t->n_boxes; i++) {
        const struct top_box *x = &t->boxes[i];
        table_add(out, "-");
        table_addf(out, "box %d", (int)x->pid);
        table_add(out, "running");
        add_time(out, t->now_unix_ms - x->since_unix_ms);
        add_look(out, &x->look, x->cpu_percent);
        table_add(out, x->command.ptr);
    }
}

static void print_gpus(const struct screen *s, const struct top *t, FILE *to)
{
    for (size_t i = 0; i < s->gpus.n; i++) {
        const struct gpu *g = &s->gpus.gpus[i];
        char text[GPU_TEXT_BYTES];
        const char *state = cli_gpu_state(&s->gpus, g, text);
        (void)fprintf(to, "GPU %s:%s %s%s%s\n", gpu_vendor_name(g->vendor), g->name, state,
                      text[0] ? ": " : "", text);
    }
    if (t->gpu_queue)
        (void)fprintf(to, "%zu in the queue for GPUs\n", t->gpu_queue);
}

static void print_table(const struct screen *s, const struct top *t, FILE *to)
{
    struct table rows;
    char promised[24], budget[24];
    int64_t more = 0;

    size_human(t->promised_bytes, promised);
    size_human(t->budget_bytes, budget);
    (void)fprintf(to, "%zu run%s, memory promised to tasks: %s of %s, %ld CPU%s\n", t->n_runs,
                  t->n_runs == 1 ? "" : "s", promised, budget, t->cpus, t->cpus == 1 ? "" : "s");
    print_gpus(s, t, to);
    if (t->n_runs || t->n_waiting_runs || t->n_boxes) {
        table_init(&rows, 10,
                   (const char *const[]){"RUN", "TASK", "STATE", "TIME", "MEMORY", "LIMIT", "PEAK",
                                         "CPU", "PIDS", ""});
        add_rows(s, t, &rows);
        table_print(&rows, to);
    } else {
        (void)fprintf(to, "nothing runs\n");
    }
    for (size_t i = 0; i < t->n_runs; i++)
        more += t->runs[i].more;
    if (more)
        (void)fprintf(to, "%lld more tasks may start\n", (long long)more);
}

/* ---- on a terminal ---------------------------------------------------------------------------- */

/* as much of the text as the window shows, over what was there */
static void draw(const char *text)
{
    struct winsize w;
    bool sized = ioctl(1, TIOCGWINSZ, &w) == 0 && w.ws_row > 1 && w.ws_col > 1;
    unsigned rows = sized ? w.ws_row : 24, cols = sized ? w.ws_col : 80;

    (void)fputs("\x1b[H", stdout);
    for (unsigned row = 1; row < rows && *text; row++) {
        size_t n = strcspn(text, "\n");
        unsigned shown = 0;
        for (size_t i = 0; i < n; i++) {
            bool starts = ((unsigned char)text[i] & 0xc0) != 0x80; /* of a UTF-8 character */
            if (starts && ++shown > cols)
                break;
            (void)putchar((unsigned char)text[i] < ' ' || text[i] == 0x7f ? '?' : text[i]);
        }
        (void)fputs("\x1b[K\n", stdout);
        text += n + (text[n] == '\n');
    }
    (void)fputs("\x1b[J", stdout);
    (void)fflush(stdout);
}

/* true: a key or a signal ends it */
static bool pause_or_end(int signals)
{
    int64_t until = clock_mono_ns() + PAUSE_MS * 1000000LL;
    struct pollfd p[] = {{0, POLLIN, 0}, {signals, POLLIN, 0}};

    for (;;) {
        int64_t left = (until - clock_mono_ns()) / 1000000;
        char keys[64];
        ssize_t n;
        if (left <= 0)
            return false;
        if (poll(p, N_ELEMS(p), (int)left + 1) <= 0)
            continue;
        if (p[1].revents)
            return true;
        n = read(0, keys, sizeof keys);
        if (n <= 0 || memchr(keys, 'q', (size_t)n) || memchr(keys, 'Q', (size_t)n))
            return true; /* no terminal any more is an end, too */
    }
}

static int one_look(struct screen *s, FILE *to, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct top t;

    drain_load(&s->gpus, s->c->home);
    if (top_look(s->c, &a, &s->gpus, &s->before, &t, e) < 0)
        return -1;
    if (to)
        print_table(s, &t, to);
    else
        print_json(s, &t);
    return 0;
}

static int live(struct screen *s, int signals, struct err *e)
{
    int rc = 0;

    do {
        char *text = NULL;
        size_t size = 0;
        FILE *to = open_memstream(&text, &size);
        must(to != NULL);
        rc = one_look(s, to, e);
        (void)fclose(to);
        if (rc == 0)
            draw(text);
        free(text);
    } while (rc == 0 && !pause_or_end(signals));
    return rc;
}

static int on_terminal(struct screen *s, struct err *e)
{
    struct termios was, raw;
    AUTO_FD int signals = -1;
    sigset_t mask;
    int rc;

    sigemptyset(&mask);
    for (size_t i = 0; i < 5; i++)
        sigaddset(&mask, (const int[]){SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGTSTP}[i]);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    sigdelset(&mask, SIGTSTP); /* left pending: there is no half-drawn screen to leave behind */
    signals = signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
    if (signals < 0 || tcgetattr(0, &was) < 0)
        return err_sys(e, errno, "prepare the terminal");
    raw = was;
    raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
    (void)tcsetattr(0, TCSANOW, &raw);
    (void)fputs("\x1b[?1049h\x1b[?25l", stdout);
    rc = live(s, signals, e);
    (void)fputs("\x1b[?25h\x1b[?1049l", stdout);
    (void)fflush(stdout);
    (void)tcsetattr(0, TCSANOW, &was);
    return rc;
}

int cmd_top(struct cli *c)
{
    struct screen s = {.c = c};
    const char *term = getenv("TERM");
    bool once = opt_flag(c, "once") || c->json || !isatty(0) || !isatty(1) || !term ||
                strcmp(term, "dumb") == 0;
    struct err e = {0};
    int rc;

    if (cli_open(c, DB_READ, &e) < 0 || gpu_find(c->cfg.run.gpu_root, &s.gpus, &e) < 0)
        return cli_fail(&e);
    rc = once ? one_look(&s, c->json ? NULL : stdout, &e) : on_terminal(&s, &e);
    free(s.before.items);
    gpu_set_done(&s.gpus);
    return rc < 0 ? cli_fail(&e) : 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* supervisor.c - one attempt from attempt.json to result.json
 *
 *   lock, pid file -> read attempt.json -> start the box -> one poll loop over
 *       its pidfd, its output pipe, a timer (deadline, grace, log of the kill) and SIGTERM
 *   -> usage and verdict -> outputs into the store -> result.json by rename -> exit
 *
 * It has left the caller's session, holds no terminal, no database and no locks but its own and
 * those on its GPUs; the engine may die and come back. It allocates little and leaves the freeing to its exit.
 */
#include "run/supervisor.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "box/box.h"
#include "plan/execin.h"
#include "run/attempt.h"
#include "run/beside.h"
#include "run/collect.h"
#include "run/diskwatch.h"
#include "run/lend.h"
#include "run/log.h"
#include "run/spawner.h"
#include "store/blob.h"
#include "store/pack.h"

#define GRACE_MS 10000           /* between the stop signal and the kill, as docker */
#define LOST_MS 10000            /* a box that does not die of SIGKILL hangs in a driver */
#define LOG_PIPE_BYTES (1 << 20) /* a burst of output must not stall the task */
#define POD_CARS_WATCHED 16     /* side cars whose disk counts; nobody has so many */
#define LOCK_TRIES 50            /* 100 ms in all */
#define LOCK_PAUSE_NS 2000000

struct supervisor {
    struct arena a;
    int dir_fd, lock_fd;
    const char *work; /* where the task writes: the attempt's directory, or one on scratch */
    int work_fd;
    struct attempt at;
    struct result r;
    struct box *box;
    struct runlog log;
    int log_pipe;
    struct diskwatch disk, *volumes; /* of all that it writes; of each volume of its pod */
    struct diskwatch memory;         /* where no cgroup holds the limit */
    bool hogged;                     /* and it went past it */
    bool killing;         /* we stop it */
    bool dying;           /* it was killed or has ended; the timer now means that it is lost */
    bool lost;
    enum attempt_end end; /* why we stopped it, and in words: */
    const char *why;
    bool wall_first;      /* the timer stands for the task's time-out, not for the run's */
    int64_t since_mono_us;
    struct lend_locks locks;
    struct store *store;  /* NULL: not needed yet */
    struct beside beside;
};

static void set_error(struct supervisor *s, enum attempt_end end, const char *text)
{
    s->r.end = end;
    if (!s->r.error.len)
        s->r.error = arena_str(&s->a, str_of(text));
}

static void notice(struct supervisor *s, struct str text)
{
    s->r.notices = arena_grow(&s->a, s->r.notices, &s->r.n_notices, sizeof(*s->r.notices));
    s->r.notices[s->r.n_notices - 1] = text;
}

/* ---- becoming a supervisor ----------------------------------------------------------------- */

static void leave_the_caller(const int *locks, size_t n_locks)
{
    (void)setsid();
    (void)prctl(PR_SET_NAME, "dugout-superv");
    (void)umask(022);
    fd_leave_stdio();
    fd_close_all_but(locks, n_locks);
    (void)signal(SIGHUP, SIG_IGN);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGINT, SIG_DFL);
    (void)signal(SIGTERM, SIG_DFL);
    (void)signal(SIGQUIT, SIG_DFL);
}

/* SIGTERM and SIGINT, which the spawner has blocked for us */
static sigset_t stop_signals(void)
{
    sigset_t set;

    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    return set;
}

static int take_attempt(struct supervisor *s, const char *dir, struct err *e)
{
    s->dir_fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (s->dir_fd < 0)
        return err_sys(e, errno, "open %s", dir);
    s->lock_fd = openat(s->dir_fd, "lock", O_RDWR | O_CREAT | O_CLOEXEC, 0640);
    if (s->lock_fd < 0)
        return err_sys(e, errno, "create the attempt's lock");
    /* Whoever only asks whether we live holds it for an instant; another supervisor keeps it. */
    for (int i = 0; flock(s->lock_fd, LOCK_EX | LOCK_NB) < 0; i++) {
        if (i == LOCK_TRIES)
            return err_set(e, ERR_BUSY, "another supervisor has this attempt");
        (void)nanosleep(&(struct timespec){.tv_nsec = LOCK_PAUSE_NS}, NULL);
    }
    if (faccessat(s->dir_fd, "result.json", F_OK, 0) == 0)
        return err_set(e, ERR_BUSY, "this attempt has ended already");
    if (pid_file_write(s->dir_fd, "pid", e) < 0)
        return -1;
    result_reserve(s->dir_fd);
    return attempt_read_in(&s->a, s->dir_fd, &s->at, e);
}

/* on scratch, a directory of the same name; a link in ours says where */
static int open_work(struct supervisor *s, const char *dir, struct err *e)
{
    const char *name = strrchr(dir, '/');

    s->work = dir;
    s->work_fd = s->dir_fd;
    if (!s->at.scratch.len || !name)
        return 0;
    s->work = arena_printf(&s->a, "%s/%s%s", s->at.scratch.ptr, s->at.run_id.ptr, name);
    if (fd_mkdirs(AT_FDCWD, s->work, 0700, e) < 0)
        return err_at(e, "make the attempt's place on scratch");
    s->work_fd = open(s->work, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (s->work_fd < 0)
        return err_sys(e, errno, "open %s", s->work);
    if (symlinkat(s->work, s->dir_fd, "scratch") < 0 && errno != EEXIST)
        return err_sys(e, errno, "link to %s", s->work);
    return 0;
}

/* ---- the box -------------------------------------------------------------------------------- */

static int make_dir(struct supervisor *s, const char *name, mode_t mode, struct err *e)
{
    if (box_remove_tree(s->work_fd, name, e) < 0)
        return -1;
    if (mkdirat(s->work_fd, name, 0700) < 0 || fchmodat(s->work_fd, name, mode, 0) < 0)
        return err_sys(e, errno, "make %s", name);
    return 0;
}

/* for those who look at the box: where its counters begin */
static void note_base(const struct supervisor *s)
{
    AUTO_FD int fd = openat(s->dir_fd, "pid", O_WRONLY | O_APPEND | O_CLOEXEC);
    struct box_base base;
    char text[48];
    int n;

    box_base_of(s->box, &base);
    n = snprintf(text, sizeof text, "%llu %llu\n", (unsigned long long)base.memory_bytes,
                 (unsigned long long)base.cpu_usec);
    if (fd >= 0)
        (void)!write(fd, text, (size_t)n);
}

/* a limit that somebody relies on and that this host cannot hold */
static void note_unenforced(struct supervisor *s)
{
    char what[160];

    if (*box_unenforced(s->box, what, sizeof what))
        notice(s, str_of(arena_printf(&s->a, "this host does not enforce %s: see dugout doctor", what)));
}

static int start_box(struct supervisor *s, int log_write, struct err *e)
{
    static const char *const writable[] = {"/minio", "/gcs",    "/s3",
                                           "/.local", "/.cache", "/.config"};
    /* All that lies here are mounts, of outputs and inputs; elsewhere an image may have files. */
    static const struct box_mount artifacts_dir = {.kind = BOX_TMPFS,
                                                   .dst = EXEC_ROOT_DIR,
                                                   .sealed = true,
                                                   .mode = 0755,
                                                   .size_bytes = 64 * KIB};
    const struct attempt *at = &s->at;
    size_t n = 0;
    struct box_mount *mounts = arena_alloc(&s->a, (at->n_mounts + at->pod.n_volumes + 4) * sizeof *mounts);
    char **env;
    struct box_spec spec = {
        .hostname = at->hostname.ptr,
        .lowers = at->lowers,
        .n_lowers = at->n_lowers,
        .has_etc = at->has_etc,
        .userxattr = geteuid() != 0,
        .scratch = arena_printf(&s->a, "%s/box", s->work),
        .argv = at->argv,
        .cwd = at->cwd.ptr,
        .user = at->user.ptr,
        .mounts = mounts,
        .writable_dirs = writable,
        .n_writable_dirs = N_ELEMS(writable),
        .host_network = at->network_host,
        .shared_network = s->beside.shared_network,
        .memory_bytes = at->memory_bytes,
        .cpu_millis = at->cpu_millis,
        .cpu_share_millis = at->cpu_share_millis,
        .pids_max = at->pids_max,
        .shm_bytes = at->shm_bytes,
        .stdin_fd = -1,
        .stdout_fd = log_write,
        .stderr_fd = log_write,
        .stop_signal = at->stop_signal,
        .as_init_parent_death = true,
        .may_seal = at->shares && !at->bare,
    };

    if (make_dir(s, "box", 0700, e) < 0)
        return -1;
    if (!at->bare) {
        if (make_dir(s, "io", 0700, e) < 0 || make_dir(s, ATTEMPT_OUT, 0777, e) < 0 ||
            (at->n_params && make_dir(s, ATTEMPT_PARAMS, 0777, e) < 0))
            return -1;
        if (str_starts(at->task_root_path, EXEC_ROOT_DIR "/"))
            mounts[n++] = artifacts_dir;
        mounts[n++] = (struct box_mount){.kind = BOX_BIND,
                                         .src = arena_printf(&s->a, "%s/" ATTEMPT_OUT, s->work),
                                         .dst = at->task_root_path.ptr,
                                         .rw = true};
        if (at->n_params)
            mounts[n++] = (struct box_mount){.kind = BOX_BIND,
                                             .src = arena_printf(&s->a, "%s/" ATTEMPT_PARAMS, s->work),
                                             .dst = EXEC_PARAM_DIR,
                                             .rw = true};
    }
    for (size_t i = 0; i < at->n_mounts; i++)
        mounts[n++] = (struct box_mount){.kind = BOX_BIND,
                                         .src = at->mounts[i].src,
                                         .dst = at->mounts[i].dst,
                                         .sub = at->mounts[i].sub,
                                         .rw = at->mounts[i].rw};
    if (pod_mounts_in(&s->a, &at->pod, s->work, mounts, &n, e) < 0 ||
        pod_env_in(&s->a, &at->pod, at->env, &env, e) < 0) {
        if (e->code != ERR_SYS)
            e->code = ERR_INPUT; /* what the task wants is not there: no fault of the host */
        return -1;
    }
    spec.envp = env;
    spec.n_mounts = n;
    if (lend_gpus(&s->a, at, &s->locks, &spec, &s->r, e) < 0 || box_start(&spec, &s->box, e) < 0)
        return -1;
    note_base(s);
    note_unenforced(s);
    return 0;
}

/* ---- while it runs -------------------------------------------------------------------------- */

static bool drain_log(struct supervisor *s)
{
    char chunk[65536];
    ssize_t n;

    while ((n = read(s->log_pipe, chunk, sizeof chunk)) > 0)
        runlog_add(&s->log, chunk, (size_t)n);
    return n < 0 && (errno == EAGAIN || errno == EINTR); /* false: every writer is gone */
}

static void arm(int timer, int64_t ms)
{
    struct itimerspec t = {.it_value = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000}};

    if (ms >= 0 && t.it_value.tv_sec == 0 && t.it_value.tv_nsec == 0)
        t.it_value.tv_nsec = 1; /* zero would disarm */
    (void)timerfd_settime(timer, 0, &t, NULL);
}

/* first the stop signal, then, from the timer or from whoever asks again, the kill */
static void stop_box(struct supervisor *s, enum attempt_end end, const char *why, int timer)
{
    if (s->killing) {
        (void)box_kill(s->box);
        if (!s->dying)
            arm(timer, LOST_MS);
        s->dying = true;
        return;
    }
    s->killing = true;
    s->end = end;
    s->why = why;
    (void)box_signal(s->box, s->at.stop_signal ? s->at.stop_signal : SIGTERM);
    arm(timer, s->at.grace_ms ? s->at.grace_ms : GRACE_MS);
}

/* A task's own time-out is the step's failure, and may be tried again; the run's is not. */
static void stop_for_time(struct supervisor *s, int timer)
{
    char human[32];

    if (!s->wall_first) {
        stop_box(s, END_TIMEOUT, "stopped: the run's time-out was reached", timer);
        return;
    }
    clock_human(s->at.wall_ms, human);
    stop_box(s, END_EXITED,
             arena_printf(&s->a, "stopped: the task's time-out of %s was reached", human), timer);
}

static void init_disk(struct supervisor *s)
{
    const struct attempt_pod *pod = &s->at.pod;

    diskwatch_init(&s->disk, s->at.disk_bytes);
    s->volumes = arena_alloc(&s->a, (pod->n_volumes + 1) * sizeof *s->volumes);
    for (size_t i = 0; i < pod->n_volumes; i++)
        diskwatch_init(&s->volumes[i],
                       pod->volumes[i].kind == POD_SCRATCH ? pod->volumes[i].size_bytes : 0);
}

static int disk_wait_ms(const struct supervisor *s)
{
    int least = diskwatch_wait_ms(&s->disk), memory = diskwatch_wait_ms(&s->memory);

    if (memory >= 0 && (least < 0 || memory < least))
        least = memory;
    for (size_t i = 0; i < s->at.pod.n_volumes; i++) {
        int ms = diskwatch_wait_ms(&s->volumes[i]);
        if (ms >= 0 && (least < 0 || ms < least))
            least = ms;
    }
    return least;
}

/* what an attempt writes beside its box's own root */
static bool disk_over(struct supervisor *s)
{
    const char *names[3 + POD_CARS_WATCHED] = {POD_VOLUMES, ATTEMPT_OUT, ATTEMPT_PARAMS};
    char cars[POD_CARS_WATCHED][BESIDE_NAME];
    size_t n = s->at.bare ? 1 : 3;

    for (size_t i = 0; i < s->beside.n_tenders && i < POD_CARS_WATCHED; i++) {
        beside_scratch_name(i, cars[i]);
        names[n++] = cars[i];
    }
    return diskwatch_over(&s->disk, s->box, s->work_fd, names, n);
}

static void watch_disk(struct supervisor *s, int timer)
{
    char human[24], name[POD_NAME];

    if (s->killing || s->dying)
        return;
    if (disk_over(s)) {
        size_human(s->at.disk_bytes, human);
        stop_box(s, END_EXITED,
                 arena_printf(&s->a, "stopped: it wrote more than its limit of %s on disk", human),
                 timer);
        return;
    }
    for (size_t i = 0; i < s->at.pod.n_volumes; i++) {
        pod_scratch_name(i, name);
        if (!diskwatch_tree_over(&s->volumes[i], s->box, s->work_fd, name))
            continue;
        size_human(s->at.pod.volumes[i].size_bytes, human);
        stop_box(s, END_EXITED,
                 arena_printf(&s->a, "stopped: the volume at %.*s holds more than its size of %s",
                              STR_ARG(s->at.pod.volumes[i].dst), human),
                 timer);
        return;
    }
}

/* at once, without a grace: the kernel would give none either */
static void watch_memory(struct supervisor *s, int timer)
{
    char human[24];

    if (s->killing || s->dying || !diskwatch_memory_over(&s->memory, s->box))
        return;
    size_human(s->memory.limit_bytes, human);
    s->hogged = true;
    stop_box(s, END_EXITED,
             arena_printf(&s->a, "out of memory: the limit is %s (watched, as no cgroup holds it "
                                 "here)", human),
             timer);
    stop_box(s, END_EXITED, s->why, timer);
}

static void on_timer(struct supervisor *s, int timer)
{
    uint64_t ticks;

    (void)!read(timer, &ticks, sizeof ticks);
    if (s->dying)
        s->lost = true;
    else
        stop_for_time(s, timer);
}

static void watch_box(struct supervisor *s, uint64_t memory_bytes, int timer, int signals)
{
    struct pollfd p[] = {{box_pidfd(s->box), POLLIN, 0},
                         {s->log_pipe, POLLIN, 0},
                         {timer, POLLIN, 0},
                         {signals, POLLIN, 0},
                         {box_news_fd(s->box), POLLIN, 0}};

    diskwatch_init(&s->memory, box_limits_memory(s->box) ? 0 : memory_bytes);
    while (!(p[0].revents & (POLLIN | POLLHUP | POLLERR)) && !s->lost) {
        if (poll(p, N_ELEMS(p), s->killing ? -1 : disk_wait_ms(s)) < 0)
            continue; /* EINTR: nothing else can happen to a valid set */
        watch_disk(s, timer);
        watch_memory(s, timer);
        if (p[1].revents && !drain_log(s))
            p[1].fd = -1;
        if (p[2].revents)
            on_timer(s, timer);
        if (p[4].revents) { /* the command has ended, and all that it left behind is killed */
            p[4].fd = -1;
            s->dying = true;
            arm(timer, LOST_MS);
        }
        if (p[3].revents) {
            struct signalfd_siginfo info;
            (void)!read(signals, &info, sizeof info);
            stop_box(s, END_CANCELED, "stopped: the run was canceled", timer);
        }
    }
    (void)drain_log(s);
}

/* Also of one that we stopped: what waits for a GPU that is gone ends by its time-out. */
static bool gpu_failed(struct supervisor *s, const struct box_result *b, char *why, size_t size)
{
    return (s->killing || b->signal || b->exit_code) && !b->oom &&
           lend_failed(&s->at, s->since_mono_us, why, size);
}

static void name_the_end(struct supervisor *s, const struct box_result *b)
{
    char text[160], why[480], hint[80] = "";
    bool host = gpu_failed(s, b, why, sizeof why);

    if (b->pids_hit)
        snprintf(hint, sizeof hint, "; it reached its limit of %u processes", s->at.pids_max);
    s->r.exit_code = b->exit_code;
    s->r.signal = b->signal;
    s->r.oom = b->oom || s->hogged;
    s->r.peak_memory_bytes = b->peak_memory_bytes;
    s->r.cpu_usec = b->cpu_usec;
    s->r.enforced = arena_str(&s->a, str_of(b->enforced));
    s->r.end = END_EXITED;
    if (strstr(b->enforced, "\"overlay\":false")) {
        notice(s, STR("this host gives no overlayfs: boxes run flat, each from a copy of its image"));
    }
    if (s->killing && !(host && s->end == END_EXITED)) {
        set_error(s, s->end, s->why);
    } else if (b->oom) {
        char limit[24];
        size_human(s->at.memory_bytes, limit);
        if (s->at.memory_bytes)
            snprintf(text, sizeof text, "out of memory: the limit is %s", limit);
        else
            snprintf(text, sizeof text, "out of memory: the kernel killed it (no limit was set)");
        set_error(s, END_EXITED, text);
    } else if (host) {
        set_error(s, END_HOST, s->killing ? arena_printf(&s->a, "%s; %s", why, s->why) : why);
    } else if (b->signal) {
        snprintf(text, sizeof text, "killed by signal %d (%s)%s", b->signal, strsignal(b->signal),
                 hint);
        set_error(s, END_EXITED, text);
    } else if (b->exit_code) {
        snprintf(text, sizeof text, "exit code %d%s", b->exit_code, hint);
        set_error(s, END_EXITED, text);
    }
}

/* It did not die of SIGKILL: something of it hangs in the kernel, most likely in a driver. There is
 * nothing to wait for and nothing to collect; the run goes on without it. */
static void name_the_lost(struct supervisor *s)
{
    static const char text[] = "LOST: its processes did not die within 10 s of SIGKILL";

    set_error(s, s->end == END_CANCELED || s->end == END_TIMEOUT ? s->end : END_HOST, text);
    lend_quarantine(&s->at, "a task did not die of SIGKILL on it");
}

static void not_started(struct supervisor *s, const struct err *e)
{
    int status = box_start_status(e);

    if (status == 125 && e->code != ERR_INPUT) {
        set_error(s, END_HOST, e->text);
        return;
    }
    s->r.exit_code = status;
    set_error(s, END_NOT_START, e->text);
}

/* whichever comes first: the run's deadline or the task's own time-out */
static void set_timer(struct supervisor *s, int timer)
{
    int64_t left = -1;

    if (s->at.deadline_unix_ms) {
        left = s->at.deadline_unix_ms - clock_unix_ms();
        left = left > 0 ? left : 0;
    }
    s->wall_first = s->at.wall_ms && (left < 0 || s->at.wall_ms < left);
    if (s->wall_first)
        left = s->at.wall_ms;
    if (left >= 0)
        arm(timer, left);
}

/* The files of an ordinary user's box become his: outputs to collect, and what a failed attempt
 * leaves for gc. */
static int own_outputs(struct supervisor *s, struct err *e)
{
    if (s->at.bare)
        return 0;
    if (box_own_tree(s->box, s->work_fd, ATTEMPT_OUT, e) < 0 ||
        (s->at.n_params && box_own_tree(s->box, s->work_fd, ATTEMPT_PARAMS, e) < 0))
        return err_at(e, "outputs");
    return 0;
}

static int open_store(struct supervisor *s, struct err *e)
{
    if (s->store)
        return 0;
    if (store_open(s->at.home.ptr, &s->store, e) < 0)
        return -1;
    store_set_remove(s->store, box_remove_tree);
    store_put_off(s->store);
    return 0;
}

/* Directories that the task reads: made when they are packed, and kept from gc until we exit. */
static int pin_inputs(struct supervisor *s, struct err *e)
{
    for (size_t i = 0; i < s->at.n_inputs; i++) {
        const struct attempt_input *in = &s->at.inputs[i];
        int pin; /* closed by our exit */

        if (!str_eqz(in->kind, "dir"))
            continue;
        if (open_store(s, e) < 0 || tree_pin(s->store, in->digest.ptr, &pin, e) < 0)
            return err_at(e, "input directory");
    }
    return 0;
}

/* From here on SIGTERM and the run's deadline end us where we are; what was half stored is gc's */
static void let_stops_end_us(const struct supervisor *s)
{
    const sigset_t stops = stop_signals();

    if (s->at.deadline_unix_ms) {
        int64_t left = s->at.deadline_unix_ms - clock_unix_ms();
        (void)alarm(left > 1000 ? (unsigned)(left / 1000) : 1);
    }
    (void)sigprocmask(SIG_UNBLOCK, &stops, NULL);
}

static void on_stop_collecting(int sig)
{
    static volatile sig_atomic_t asked;

    (void)sig;
    if (asked)
        _exit(1);
    asked = 1;
    (void)alarm(GRACE_MS / 1000);
}

/* A finished task is worth some seconds of waiting. But nobody waits for ever: a file with a hole of
 * terabytes is soon made and long read. */
static void let_stops_end_collecting(const struct supervisor *s)
{
    const struct sigaction act = {.sa_handler = on_stop_collecting, .sa_flags = SA_RESTART};

    (void)sigaction(SIGTERM, &act, NULL);
    (void)sigaction(SIGINT, &act, NULL);
    let_stops_end_us(s);
}

/* an attempt without a box; its log says what was done */
static int carry_out_work(struct supervisor *s, struct err *e)
{
    AUTO_BUF struct buf line = {0};
    int rc;

    if (runlog_open(&s->log, s->dir_fd, s->at.log_max_bytes, e) < 0)
        return -1;
    let_stops_end_us(s);
    rc = work_do(&s->a, &s->at, &s->r, e);
    buf_init(&line, LIMIT_LOG_LINE_BYTES);
    work_say(&s->at, &s->r, &line);
    runlog_add(&s->log, buf_str(&line), line.len);
    runlog_close(&s->log);
    return rc;
}

/* One after the other, each to its end, and side cars in between. A failure of one is the attempt's:
 * r->error is set. */
static int run_inits(struct supervisor *s, int timer, int signals, struct err *e)
{
    for (size_t i = 0; i < s->at.pod.n_inits && !s->r.error.len; i++) {
        const struct pod_init *c = &s->at.pod.inits[i];
        struct box_result b = {0};

        if (c->side_car) {
            if (beside_start_car(&s->beside, c, e) < 0)
                return -1;
            continue;
        }
        if (beside_start_init(&s->beside, c, &s->box, e) < 0)
            return err_at(e, "init container %s", c->name.ptr);
        set_timer(s, timer);
        watch_box(s, c->memory_bytes ? c->memory_bytes : s->at.memory_bytes, timer, signals);
        if (s->lost) {
            name_the_lost(s);
            box_abandon(s->box);
            s->box = NULL;
            return 0;
        }
        if (box_finish(s->box, &b, e) < 0)
            return -1;
        (void)drain_log(s);
        name_the_end(s, &b);
        box_close(s->box);
        s->box = NULL;
        s->dying = false;
        if (s->r.error.len)
            s->r.error = str_of(arena_printf(&s->a, "init container %s: %.*s", c->name.ptr,
                                             STR_ARG(s->r.error)));
    }
    return 0;
}

/* Side cars are reached over loopback, so all boxes of the attempt have one network. An ordinary user
 * cannot make one outside of a box. */
static int share_network(struct supervisor *s, struct err *e)
{
    if (!beside_wants_network(&s->at))
        return 0;
    if (geteuid() != 0) {
        notice(s, STR("its side cars have a network of their own, since dugout does not run as root: only "
                      "shared volumes connect them"));
        return 0;
    }
    s->beside.shared_network = true;
    return box_share_network(e);
}

static void drop_pod(struct supervisor *s)
{
    struct err unused;

    beside_stop(&s->beside);
    if (s->at.pod.n_volumes)
        (void)box_remove_tree(s->work_fd, POD_VOLUMES, &unused);
}

static int start_all(struct supervisor *s, int log_write, int timer, int signals,
                     struct err *e)
{
    s->beside = (struct beside){
        .a = &s->a, .at = &s->at, .dir = s->work, .dir_fd = s->work_fd, .log_fd = log_write};
    if (s->at.pod.n_volumes && (make_dir(s, POD_VOLUMES, 0700, e) < 0 ||
                                pod_make_scratch(&s->at.pod, s->work_fd, e) < 0))
        return -1;
    if (share_network(s, e) < 0 || run_inits(s, timer, signals, e) < 0)
        return -1;
    return s->r.error.len ? 0 : start_box(s, log_write, e);
}

/* everything between the first and the last line of an attempt; errors are the host's */
static int carry_out(struct supervisor *s, struct err *e)
{
    AUTO_FD int timer = timerfd_create(CLOCK_BOOTTIME, TFD_CLOEXEC | TFD_NONBLOCK);
    AUTO_FD int signals = -1;
    struct box_result b = {0};
    const sigset_t stops = stop_signals();
    int log_pipe[2];
    int rc = 0;

    signals = signalfd(-1, &stops, SFD_CLOEXEC | SFD_NONBLOCK);
    if (timer < 0 || signals < 0 || pipe2(log_pipe, O_CLOEXEC) < 0)
        return err_sys(e, errno, "prepare the supervisor");
    (void)fcntl(log_pipe[0], F_SETPIPE_SZ, LOG_PIPE_BYTES);
    (void)fcntl(log_pipe[0], F_SETFL, O_NONBLOCK);
    s->log_pipe = log_pipe[0];
    if (runlog_open(&s->log, s->dir_fd, s->at.log_max_bytes, e) < 0)
        return -1;
    if (pin_inputs(s, e) < 0)
        return -1;
    init_disk(s);
    if (start_all(s, log_pipe[1], timer, signals, e) < 0) {
        not_started(s, e);
        if (s->r.end == END_NOT_START) {
            runlog_add(&s->log, "dugout: ", 8);
            runlog_add(&s->log, e->text, strlen(e->text));
            runlog_add(&s->log, "\n", 1);
        }
        runlog_close(&s->log);
        drop_pod(s);
        return 0;
    }
    (void)close(log_pipe[1]);
    if (s->r.error.len) { /* an init container failed */
        runlog_close(&s->log);
        drop_pod(s);
        return 0;
    }
    set_timer(s, timer);
    watch_box(s, s->at.memory_bytes, timer, signals);
    if (s->lost) {
        name_the_lost(s);
        runlog_close(&s->log);
        box_abandon(s->box);
        s->box = NULL;
        return 0;
    }
    if (box_finish(s->box, &b, e) < 0) {
        rc = -1;
    } else {
        beside_stop(&s->beside); /* their last words belong to the log */
        (void)drain_log(s);
        name_the_end(s, &b);
        let_stops_end_collecting(s);
        rc = own_outputs(s, e);
    }
    runlog_close(&s->log);
    if (rc == 0 && !s->at.bare && result_ok(&s->r)) {
        struct err unused;
        struct collect c = {.a = &s->a,
                            .at = &s->at,
                            .dir_fd = s->work_fd,
                            .root_fd = box_root_fd(s->box),
                            .box = s->box,
                            .copy = s->at.shares && box_seal(s->box, &unused) < 0};
        if (s->at.n_artifacts) /* parameters alone touch no store */
            rc = open_store(s, e);
        c.store = s->store;
        if (rc == 0)
            rc = collect_outputs(&c, &s->r, e);
        if (rc == 0 && s->store)
            rc = store_sync(s->store, e);
    }
    drop_pod(s);
    return rc;
}

/* A step that leaves more than the disk takes has failed: to run it again, as after a failure of
 * the host, would fill the disk again. */
static bool no_room(int sys)
{
    return sys == ENOSPC || sys == EDQUOT || sys == EFBIG || sys == EROFS;
}

_Noreturn void supervisor_main(const char *dir, const int *locks, size_t n_locks)
{
    struct supervisor s = {.dir_fd = -1, .lock_fd = -1, .log_pipe = -1};
    struct err e = {0};
    int rc;

    leave_the_caller(locks, n_locks);
    s.since_mono_us = lend_mono_us();
    s.locks = (struct lend_locks){locks, n_locks};
    s.r.started_unix_ms = clock_unix_ms();
    s.r.enforced = STR("{}");
    if (take_attempt(&s, dir, &e) < 0) {
        if (s.dir_fd < 0 || e.code == ERR_BUSY)
            _exit(1); /* not ours to report */
        set_error(&s, END_HOST, e.text);
    } else if ((s.at.work.kind != WORK_BOX          ? carry_out_work(&s, &e)
                : open_work(&s, dir, &e) == 0 ? carry_out(&s, &e)
                                              : -1) < 0) {
        s.r.error = (struct str){"", 0};
        set_error(&s, no_room(e.sys) ? END_EXITED : END_HOST, e.text);
    }
    s.r.finished_unix_ms = clock_unix_ms();
    /* Without a result the engine sees a supervisor that vanished, which is a host failure. */
    rc = result_write(s.dir_fd, &s.r, &e);
    box_close_apart(s.box, NULL, NULL, -1, -1);
    if (s.store)
        store_drop_apart(s.store);
    store_close(s.store);
    _exit(rc < 0);
}

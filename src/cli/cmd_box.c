/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_box.c - one command in a box: the same isolation as a task's, no pipeline, no record
 *
 * The command's status is ours; 125 the box could not be built, 126 and 127 as docker. Signals
 * that we get go to the command. With -t it has a terminal of its own, and ours is raw meanwhile.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <termios.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/log.h"
#include "box/box.h"
#include "cli/cli.h"
#include "cli/relay.h"
#include "image/image.h"
#include "lineage/images.h"
#include "run/diskwatch.h"
#include "run/lowers.h"

#define BOX_FAILED 125
#define GRACE_MS 10000 /* between the stop signal and the kill, as docker */
#define TIMED_OUT "the time-out was reached"

static const char **join_words(struct cli *c, const struct image *img)
{
    size_t n_args = (size_t)c->n_args - 1, n = 0;
    const char **v = arena_alloc(&c->a, (img->n_entrypoint + img->n_cmd + n_args + 1) * sizeof *v);

    for (size_t i = 0; i < img->n_entrypoint; i++)
        v[n++] = img->entrypoint[i];
    for (size_t i = 0; i < (n_args ? n_args : img->n_cmd); i++)
        v[n++] = n_args ? c->args[i + 1] : img->cmd[i];
    return n ? v : NULL;
}

static const char **join_env(struct cli *c, const struct image *img, struct err *e)
{
    size_t n_flags, n = 0;
    const char **flags = opt_list(c, "env", &n_flags);
    const char **v = arena_alloc(&c->a, (img->n_env + n_flags + 2) * sizeof *v);

    for (size_t i = 0; i < img->n_env; i++)
        v[n++] = img->env[i];
    for (size_t i = 0; i < n_flags; i++) {
        const char *kv = flags[i], *value;
        size_t key = strcspn(kv, "="), k = 0;
        if (!key) {
            (void)err_set(e, ERR_INPUT, "--env %.80s: want NAME=VALUE", kv);
            return NULL;
        }
        if (!kv[key]) { /* docker: NAME alone takes ours */
            value = getenv(kv);
            if (!value)
                continue;
            kv = arena_printf(&c->a, "%s=%s", kv, value);
        }
        while (k < n && (strncmp(v[k], kv, key) != 0 || v[k][key] != '='))
            k++;
        v[k] = kv;
        n += k == n;
    }
    if (opt_flag(c, "tty"))
        v[n++] = "TERM=xterm";
    return v;
}

static int fill_limits(struct cli *c, struct box_spec *s, struct err *e)
{
    const char *network = opt_text(c, "network");
    uint64_t pids = c->cfg.run.pids_max;

    s->host_network = network ? strcmp(network, "host") == 0 : c->cfg.run.network_host;
    s->memory_bytes = c->cfg.run.memory_bytes;
    s->cpu_millis = c->cfg.run.cpu_millis;
    s->shm_bytes = c->cfg.run.shm_bytes;
    if (opt_size(c, "memory", &s->memory_bytes, e) < 0 || opt_u64(c, "pids", &pids, e) < 0 ||
        opt_cpus(c, "cpus", &s->cpu_millis, e) < 0 ||
        opt_size(c, "shm-size", &s->shm_bytes, e) < 0)
        return -1;
    s->pids_max = (uint32_t)(pids > 4000000 ? 4000000 : pids);
    return 0;
}

static int fill_mounts(struct cli *c, struct box_spec *s, struct err *e)
{
    const struct run_mount *in;
    struct box_mount *out;
    size_t n;

    if (cli_mounts(c, &in, &n, e) < 0)
        return -1;
    out = arena_alloc(&c->a, (n + 1) * sizeof *out);
    for (size_t i = 0; i < n; i++)
        out[i] = (struct box_mount){
            .kind = BOX_BIND, .src = in[i].src, .dst = in[i].dst, .rw = in[i].rw};
    s->mounts = out;
    s->n_mounts = n;
    return 0;
}

/* ---- while it runs ---------------------------------------------------------------------------- */

static struct termios was;
static bool is_raw;

static void raw_terminal(void)
{
    struct termios t;

    if (tcgetattr(0, &was) < 0)
        return;
    t = was;
    cfmakeraw(&t);
    is_raw = tcsetattr(0, TCSANOW, &t) == 0;
}

static void cook_terminal(void)
{
    if (is_raw)
        (void)tcsetattr(0, TCSANOW, &was);
    is_raw = false;
}

static void copy_size(int tty)
{
    struct winsize w;

    if (ioctl(1, TIOCGWINSZ, &w) == 0)
        (void)ioctl(tty, TIOCSWINSZ, &w);
}

/* one chunk; false at the end of the source */
static bool copy_chunk(int from, int to)
{
    char chunk[16384];
    struct err e;
    ssize_t n = read(from, chunk, sizeof chunk);

    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return true;
    return n > 0 && fd_write_all(to, chunk, (size_t)n, &e) == 0;
}

/* what a box is stopped for, and how far that has come */
struct stop {
    struct diskwatch disk, memory;
    int64_t at_mono_ns; /* the time-out, then the end of the grace; 0: none */
    int64_t grace_ms;
    const char *why; /* NULL: it was not stopped */
};

static void stop_now(struct stop *stop, struct box *b, const struct box_spec *s, const char *why)
{
    if (stop->why) {
        (void)box_kill(b);
        stop->at_mono_ns = 0;
        return;
    }
    stop->why = why;
    stop->at_mono_ns = clock_mono_ns() + stop->grace_ms * 1000000;
    (void)box_signal(b, s->stop_signal ? s->stop_signal : SIGTERM);
}

static int wait_ms(const struct stop *stop)
{
    int disk = stop->why ? -1 : diskwatch_wait_ms(&stop->disk), time;
    int memory = stop->why ? -1 : diskwatch_wait_ms(&stop->memory);
    int64_t left;

    if (memory >= 0 && (disk < 0 || memory < disk))
        disk = memory;

    if (!stop->at_mono_ns)
        return disk;
    left = (stop->at_mono_ns - clock_mono_ns()) / 1000000 + 1;
    time = left < 0 ? 0 : left > 3600000 ? 3600000 : (int)left;
    return disk >= 0 && disk < time ? disk : time;
}

static void check_limits(struct stop *stop, struct box *b, const struct box_spec *s)
{
    if (stop->at_mono_ns && clock_mono_ns() >= stop->at_mono_ns)
        stop_now(stop, b, s, TIMED_OUT);
    if (!stop->why && diskwatch_over(&stop->disk, b, -1, NULL, 0))
        stop_now(stop, b, s, "it wrote more than its limit on disk");
    if (!stop->why && diskwatch_memory_over(&stop->memory, b)) {
        stop_now(stop, b, s, "out of memory (watched, as no cgroup holds its limit here)");
        stop_now(stop, b, s, stop->why); /* at once */
    }
}

static void attend(struct box *b, const struct box_spec *s, struct stop *stop, int signals)
{
    int tty = box_tty_fd(b);
    struct pollfd p[] = {{box_pidfd(b), POLLIN, 0},
                         {signals, POLLIN, 0},
                         {tty, POLLIN, 0},
                         {tty >= 0 ? 0 : -1, POLLIN, 0}};

    if (tty >= 0)
        copy_size(tty);
    while (!p[0].revents) {
        if (poll(p, N_ELEMS(p), wait_ms(stop)) < 0)
            continue;
        check_limits(stop, b, s);
        if (p[1].revents) {
            struct signalfd_siginfo info;
            if (read(signals, &info, sizeof info) == (ssize_t)sizeof info) {
                if (info.ssi_signo == SIGWINCH && tty >= 0)
                    copy_size(tty);
                else if (info.ssi_signo != SIGCHLD && info.ssi_signo != SIGWINCH)
                    (void)box_signal(b, (int)info.ssi_signo);
            }
        }
        if (p[2].revents && !copy_chunk(tty, 1))
            p[2].fd = -1;
        if (p[3].revents && !copy_chunk(0, tty))
            p[3].fd = -1;
    }
    if (tty >= 0) { /* what was printed last */
        (void)fcntl(tty, F_SETFL, O_NONBLOCK);
        struct pollfd last = {tty, POLLIN, 0};
        while (poll(&last, 1, 0) > 0 && (last.revents & POLLIN) && copy_chunk(tty, 1))
            ;
    }
}

static int catch_signals(void)
{
    static const int all[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    sigset_t mask;

    sigemptyset(&mask);
    for (size_t i = 0; i < N_ELEMS(all); i++)
        sigaddset(&mask, all[i]);
    (void)sigprocmask(SIG_BLOCK, &mask, NULL);
    return signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK);
}

/* with -t it has a terminal of its own instead */
static int start(struct box_spec *s, bool with_stdin, struct relay *relay, struct box **b,
                 struct err *e)
{
    if (!s->tty && relay_open(relay, with_stdin, e) < 0)
        return -1;
    s->stdin_fd = relay->fds[0];
    s->stdout_fd = relay->fds[1];
    s->stderr_fd = relay->fds[2];
    if (box_start(s, b, e) < 0)
        return -1;
    relay_started(relay);
    return 0;
}

/* there is time for that while the command runs, and no use of it any more */
static void leave_database(struct cli *c)
{
    if (!c->db)
        return;
    db_image_names_keep(c->db, store_home_fd(c->store));
    db_close(c->db);
    c->db = NULL;
}

/* *box: box_close() it, whatever comes of it */
static int run_box(struct cli *c, struct box_spec *s, struct box **box, struct err *e)
{
    AUTO_FD int signals = -1;
    struct relay relay = {.fds = {-1, -1, -1}, .mine = {-1, -1, -1}, .end_fd = -1};
    struct box *b;
    struct box_result r;
    struct stop stop = {.grace_ms = c->cfg.run.grace_ms ? c->cfg.run.grace_ms : GRACE_MS};
    uint64_t disk_bytes = c->cfg.run.disk_bytes;
    int64_t timeout_ms = 0;
    char why[200], human[24];
    int rc;

    if (opt_size(c, "disk", &disk_bytes, e) < 0 || opt_duration(c, "timeout", &timeout_ms, e) < 0)
        return -1;
    signals = catch_signals();
    if (start(s, opt_flag(c, "interactive"), &relay, box, e) < 0) {
        (void)relay_close(&relay, &(struct err){0});
        return -1;
    }
    b = *box;
    leave_database(c);
    diskwatch_init(&stop.disk, disk_bytes);
    diskwatch_init(&stop.memory, box_limits_memory(b) ? 0 : s->memory_bytes);
    if (timeout_ms)
        stop.at_mono_ns = clock_mono_ns() + timeout_ms * 1000000;
    if (*box_unenforced(b, why, sizeof why))
        log_note("not enforced here: %s", why);
    if (s->host_network)
        log_note(HOST_NETWORK_NOTE);
    if (s->tty)
        raw_terminal();
    attend(b, s, &stop, signals);
    cook_terminal();
    rc = box_finish(b, &r, e);
    if (relay_close(&relay, rc < 0 ? &(struct err){0} : e) < 0)
        rc = -1;
    if (rc < 0)
        return -1;
    if (r.oom) {
        size_human(s->memory_bytes, human);
        log_note("out of memory: the limit is %s", s->memory_bytes ? human : "the box's own");
    }
    if (r.pids_hit)
        log_note("it reached its limit of %u processes", s->pids_max);
    if (stop.why)
        log_note("stopped: %s", stop.why);
    return stop.why && timeout_ms && strcmp(stop.why, TIMED_OUT) == 0 ? 124 : r.exit_code;
}

/* its directory in tmp/, which gc leaves alone while lock_fd is open */
struct place {
    struct store *store;
    char name[STORE_TMP_NAME];
    int lock_fd; /* box_close_apart() closes it */
};

static void remove_place(void *arg)
{
    const struct place *p = arg;

    (void)store_drop(p->store, store_dir_fd(p->store, STORE_TMP), p->name,
                     &(struct err){0});
}

int cmd_box(struct cli *c)
{
    struct box_spec s = {.as_init_parent_death = true};
    struct place place = {.lock_fd = -1};
    struct gpus_lent *gpus = NULL;
    struct box *b = NULL;
    char hex[DIGEST_HEX];
    struct image img;
    struct err e = {0};
    int rc;

    if (cli_open_for_image(c, c->args[0], hex, &e) < 0 ||
        image_open_in(&c->a, c->store, hex, &img, &e) < 0 ||
        image_pin(c->store, &img, &e) < 0 || fill_limits(c, &s, &e) < 0 || fill_mounts(c, &s, &e) < 0)
        return (void)cli_fail(&e), BOX_FAILED;
    s.lowers = (const char *const *)img.layers;
    s.n_lowers = img.n_layers;
    if (!s.host_network)
        s.lowers = lowers_of_box(&c->a, &img, &s.n_lowers, &s.has_etc);
    s.userxattr = img.userxattr;
    s.argv = (char *const *)(uintptr_t)join_words(c, &img);
    s.envp = (char *const *)(uintptr_t)join_env(c, &img, &e);
    s.cwd = opt_text(c, "workdir") ? opt_text(c, "workdir") : img.workdir;
    s.user = opt_text(c, "user") ? opt_text(c, "user") : img.user;
    s.hostname = "box";
    s.tty = opt_flag(c, "tty");
    if (!s.envp)
        return (void)cli_fail(&e), BOX_FAILED;
    if (!s.argv)
        return (void)cli_fail((err_set(&e, ERR_INPUT, "image %s says nothing to run: give a command",
                                       c->args[0]),
                               &e)),
               BOX_FAILED;
    if (gpus_lend(c, &s, &gpus, &e) < 0 ||
        store_tmp_dir(c->store, "box", place.name, &place.lock_fd, &e) < 0)
        return (void)cli_fail(&e), BOX_FAILED;
    place.store = c->store;
    s.scratch = arena_printf(&c->a, "%s/tmp/%s", c->home, place.name);
    rc = run_box(c, &s, &b, &e);
    gpus_lent_done(gpus);
    box_close_apart(b, remove_place, &place, store_dir_fd(c->store, STORE_TMP),
                    place.lock_fd);
    if (rc < 0) {
        (void)cli_fail(&e);
        return box_start_status(&e);
    }
    return rc;
}

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
#include "image/image.h"
#include "lineage/images.h"

#define BOX_FAILED 125

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
    const char *cpus = opt_text(c, "cpus"), *network = opt_text(c, "network");
    uint64_t pids = c->cfg.run.pids_max;
    char *end;

    s->host_network = network ? strcmp(network, "host") == 0 : c->cfg.run.network_host;
    s->memory_bytes = c->cfg.run.memory_bytes;
    if (opt_size(c, "memory", &s->memory_bytes, e) < 0 || opt_u64(c, "pids", &pids, e) < 0)
        return -1;
    s->pids_max = (uint32_t)(pids > 4000000 ? 4000000 : pids);
    if (cpus) {
        double v = strtod(cpus, &end);
        if (end == cpus || *end || !(v >= 0.01 && v <= 10000))
            return err_set(e, ERR_INPUT, "--cpus: \"%.20s\" is no number of CPUs", cpus);
        s->cpu_millis = (uint32_t)(v * 1000 + 0.5);
    }
    if (opt_text(c, "gpus") && strcmp(opt_text(c, "gpus"), "none") != 0)
        return err_set(e, ERR_MISSING, "--gpus: this version gives no GPU to boxes");
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

static void attend(struct box *b, int signals)
{
    int tty = box_tty_fd(b);
    struct pollfd p[] = {{box_pidfd(b), POLLIN, 0},
                         {signals, POLLIN, 0},
                         {tty, POLLIN, 0},
                         {tty >= 0 ? 0 : -1, POLLIN, 0}};

    if (tty >= 0)
        copy_size(tty);
    while (!p[0].revents) {
        if (poll(p, N_ELEMS(p), -1) < 0)
            continue;
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

static int run_box(struct cli *c, struct box_spec *s, struct err *e)
{
    AUTO_FD int signals = -1;
    struct box *b = NULL;
    struct box_result r;
    char why[200], human[24];
    int rc;

    (void)c;
    signals = catch_signals();
    if (box_start(s, &b, e) < 0)
        return -1;
    if (*box_unenforced(s, why, sizeof why))
        log_note("not enforced here: %s", why);
    if (s->tty)
        raw_terminal();
    attend(b, signals);
    cook_terminal();
    rc = box_finish(b, &r, e);
    box_close(b);
    if (rc < 0)
        return -1;
    if (r.oom) {
        size_human(s->memory_bytes, human);
        log_note("out of memory: the limit is %s", s->memory_bytes ? human : "the box's own");
    }
    return r.exit_code;
}

int cmd_box(struct cli *c)
{
    struct box_spec s = {.stdin_fd = -1, .stdout_fd = 1, .stderr_fd = 2,
                         .as_init_parent_death = true};
    char name[STORE_TMP_NAME];
    AUTO_FD int lock = -1;
    struct db_image row;
    struct image img;
    struct err e = {0};
    int rc;

    if (cli_open(c, DB_READ, &e) < 0 || cli_find_image(c, c->args[0], &row, &e) < 0 ||
        image_open_in(&c->a, c->store, row.config_hex, &img, &e) < 0 ||
        fill_limits(c, &s, &e) < 0 || fill_mounts(c, &s, &e) < 0)
        return (void)cli_fail(&e), BOX_FAILED;
    s.lowers = (const char *const *)img.layers;
    s.n_lowers = img.n_layers;
    s.userxattr = img.userxattr;
    s.argv = (char *const *)(uintptr_t)join_words(c, &img);
    s.envp = (char *const *)(uintptr_t)join_env(c, &img, &e);
    s.cwd = opt_text(c, "workdir") ? opt_text(c, "workdir") : img.workdir;
    s.user = opt_text(c, "user") ? opt_text(c, "user") : img.user;
    s.hostname = "box";
    s.tty = opt_flag(c, "tty");
    if (opt_flag(c, "interactive") || s.tty)
        s.stdin_fd = 0;
    if (!s.envp)
        return (void)cli_fail(&e), BOX_FAILED;
    if (!s.argv)
        return (void)cli_fail((err_set(&e, ERR_INPUT, "image %s says nothing to run: give a command",
                                       c->args[0]),
                               &e)),
               BOX_FAILED;
    if (store_tmp_dir(c->store, "box", name, &lock, &e) < 0)
        return (void)cli_fail(&e), BOX_FAILED;
    s.scratch = arena_printf(&c->a, "%s/tmp/%s", c->home, name);
    rc = run_box(c, &s, &e);
    (void)store_drop(c->store, store_dir_fd(c->store, STORE_TMP), name, &(struct err){0});
    if (rc < 0) {
        (void)cli_fail(&e);
        return box_start_status(&e);
    }
    return rc;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - where the home is, and the three config files
 *
 * /etc/dugout/config.yaml, then HOME/config.yaml, then ./dugout.yaml; later wins, flags win over
 * all. A checkout may be hostile: ./dugout.yaml is read only when the caller owns it, and may
 * only set what is marked harmless below. /etc may lock keys, also against flags: "locked: [network,
 * packages]".
 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/nearest.h"
#include "cli/cli.h"
#include "image/image.h"
#include "spec/tree.h"

#define GPU_WAIT_MS (24 * 3600 * 1000LL) /* a night and a day behind others' trainings */
#define ETC_CONFIG "/etc/dugout/config.yaml"

struct conf_file {
    struct cli *c;
    struct str file;
    bool checkout;              /* ./dugout.yaml: harmless keys only */
    bool is_etc;
};

static int bad(const struct conf_file *s, const struct node *n, struct err *e, const char *what)
{
    return err_set(e, ERR_INPUT, "%.*s:%u:%u: %s", STR_ARG(s->file), n->pos.line, n->pos.col, what);
}

static int want_text(const struct conf_file *s, const struct node *n, const char **out, struct err *e)
{
    if (n->kind != NODE_SCALAR)
        return bad(s, n, e, "want one value here");
    *out = arena_strndup(&s->c->a, n->text.ptr, n->text.len);
    return 0;
}

static int want_count(const struct conf_file *s, const struct node *n, uint64_t max, uint64_t *out,
                      struct err *e)
{
    double v;

    if (n->kind != NODE_SCALAR || node_type(n) != VALUE_NUMBER)
        return bad(s, n, e, "want a whole number here");
    v = node_number(n);
    if (!(v >= 0 && v <= (double)max) || v != (double)(uint64_t)v)
        return bad(s, n, e, "this number is out of range");
    *out = (uint64_t)v;
    return 0;
}

/* ---- the keys ----------------------------------------------------------------------------------- */

static int set_network(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (strcmp(v, "none") != 0 && strcmp(v, "host") != 0)
        return bad(s, n, e, "network is none or host");
    s->c->cfg.run.network_host = strcmp(v, "host") == 0;
    return 0;
}

static int set_jobs(struct conf_file *s, const struct node *n, struct err *e)
{
    uint64_t v = 0;

    if (want_count(s, n, 100000, &v, e) < 0)
        return -1;
    s->c->cfg.run.jobs = (uint32_t)v;
    return 0;
}

static int set_retries(struct conf_file *s, const struct node *n, struct err *e)
{
    uint64_t v = 0;

    if (want_count(s, n, 1000, &v, e) < 0)
        return -1;
    s->c->cfg.run.retries = (uint32_t)v;
    return 0;
}

static int set_packages(struct conf_file *s, const struct node *n, struct err *e)
{
    static const char *const names[] = {"wheels", "image", "network"};
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    for (size_t i = 0; i < N_ELEMS(names); i++)
        if (strcmp(v, names[i]) == 0) {
            s->c->cfg.run.packages = (enum packages_policy)i;
            return 0;
        }
    return bad(s, n, e, "packages is wheels, image or network");
}

static int set_aliases(struct conf_file *s, const struct node *n, struct err *e)
{
    struct run_opts *o = &s->c->cfg.run;
    const struct node *map = node_member(n, "aliases");
    struct run_image_alias *all;

    if (n->kind != NODE_MAP || !map || map->kind != NODE_MAP)
        return bad(s, n, e, "want \"aliases:\" with FROM: TO lines here");
    all = arena_alloc(&s->c->a, (o->n_aliases + map->n + 1) * sizeof *all);
    if (o->n_aliases)
        memcpy(all, o->aliases, o->n_aliases * sizeof *all);
    for (size_t i = 0; i < map->n; i++) {
        char from[IMAGE_NAME_BYTES], to[IMAGE_NAME_BYTES];
        if (map->members[i].value->kind != NODE_SCALAR)
            return bad(s, map->members[i].value, e, "want an image name here");
        if (image_name_normalise(map->members[i].key, from, e) < 0 ||
            image_name_normalise(map->members[i].value->text, to, e) < 0)
            return err_at(e, "%.*s:%u", STR_ARG(s->file), map->members[i].value->pos.line);
        all[o->n_aliases++] = (struct run_image_alias){arena_strdup(&s->c->a, from),
                                                       arena_strdup(&s->c->a, to)};
    }
    o->aliases = all;
    return 0;
}

static int set_hooks(struct conf_file *s, const struct node *n, struct err *e)
{
    struct run_opts *o = &s->c->cfg.run;
    static const char *const names[] = {"on_success", "on_failure", "on_interrupted"};
    const char **slots[] = {&o->hook_success, &o->hook_failure, &o->hook_interrupted};

    if (n->kind != NODE_MAP)
        return bad(s, n, e, "want on_success, on_failure, on_interrupted here");
    for (size_t i = 0; i < n->n; i++) {
        size_t k = 0;
        while (k < N_ELEMS(names) && !str_eqz(n->members[i].key, names[k]))
            k++;
        if (k == N_ELEMS(names))
            return bad(s, n->members[i].value, e,
                       "a hook is on_success, on_failure or on_interrupted");
        if (want_text(s, n->members[i].value, slots[k], e) < 0)
            return -1;
        if (*slots[k][0] != '/')
            return bad(s, n->members[i].value, e, "a hook wants the absolute path of a program");
    }
    return 0;
}

static int want_size(const struct conf_file *s, const struct node *n, uint64_t *out,
                     struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (size_parse(str_of(v), out, e) < 0)
        return err_at(e, "%.*s:%u", STR_ARG(s->file), n->pos.line);
    return 0;
}

static int want_duration(const struct conf_file *s, const struct node *n, int64_t *out_ms,
                         struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (clock_parse_duration(str_of(v), out_ms, e) < 0)
        return err_at(e, "%.*s:%u", STR_ARG(s->file), n->pos.line);
    return 0;
}

static int set_memory(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_size(s, n, &s->c->cfg.run.memory_bytes, e);
}

static int set_disk(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_size(s, n, &s->c->cfg.run.disk_bytes, e);
}

static int set_shm(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_size(s, n, &s->c->cfg.run.shm_bytes, e);
}

static int set_log(struct conf_file *s, const struct node *n, struct err *e)
{
    uint64_t v = 0;

    if (want_size(s, n, &v, e) < 0)
        return -1;
    if (v < 4 * KIB)
        return bad(s, n, e, "a log has at least 4Ki");
    s->c->cfg.run.log_max_bytes = v;
    return 0;
}

static int set_cpus(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (cpus_parse(v, &s->c->cfg.run.cpu_millis, e) < 0)
        return err_at(e, "%.*s:%u", STR_ARG(s->file), n->pos.line);
    return 0;
}

static int set_pids(struct conf_file *s, const struct node *n, struct err *e)
{
    uint64_t v = 0;

    if (want_count(s, n, 4000000, &v, e) < 0)
        return -1;
    s->c->cfg.run.pids_max = (uint32_t)v;
    return 0;
}

static int set_task_timeout(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_duration(s, n, &s->c->cfg.run.task_timeout_ms, e);
}

static int set_grace(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_duration(s, n, &s->c->cfg.run.grace_ms, e);
}

static int set_retention(struct conf_file *s, const struct node *n, struct err *e)
{
    const struct node *runs = node_member(n, "runs"), *days = node_member(n, "days");
    const struct node *bytes = node_member(n, "bytes");
    uint64_t v = 0;

    if (n->kind != NODE_MAP)
        return bad(s, n, e, "want runs: N, days: N and bytes: SIZE here");
    if (runs) {
        if (want_count(s, runs, 1000000, &v, e) < 0)
            return -1;
        s->c->cfg.keep_runs = (int64_t)v;
    }
    if (days) {
        if (want_count(s, days, 36500, &v, e) < 0)
            return -1;
        s->c->cfg.keep_days = (int64_t)v;
    }
    return bytes ? want_size(s, bytes, &s->c->cfg.keep_bytes, e) : 0;
}

static int want_bool(const struct conf_file *s, const struct node *n, bool *out, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (strcmp(v, "true") != 0 && strcmp(v, "false") != 0)
        return bad(s, n, e, "want true or false here");
    *out = strcmp(v, "true") == 0;
    return 0;
}

static int set_network_home(struct conf_file *s, const struct node *n, struct err *e)
{
    return want_bool(s, n, &s->c->cfg.network_home, e);
}

static int set_scratch(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (v[0] != '/')
        return bad(s, n, e, "scratch wants the absolute path of a directory");
    s->c->cfg.run.scratch = v;
    return 0;
}

static int set_quota(struct conf_file *s, const struct node *n, struct err *e)
{
    struct run_opts *o = &s->c->cfg.run;
    static const char *const names[] = {"soft", "hard", "free"};
    uint64_t *const slots[] = {&o->quota_soft_bytes, &o->quota_hard_bytes, &o->min_free_bytes};

    if (n->kind != NODE_MAP)
        return bad(s, n, e, "want soft: SIZE, hard: SIZE, free: SIZE and gc: true here");
    for (size_t i = 0; i < n->n; i++) {
        size_t k = 0;
        if (str_eqz(n->members[i].key, "gc")) {
            if (want_bool(s, n->members[i].value, &s->c->cfg.quota_gc, e) < 0)
                return -1;
            continue;
        }
        while (k < N_ELEMS(names) && !str_eqz(n->members[i].key, names[k]))
            k++;
        if (k == N_ELEMS(names))
            return bad(s, n->members[i].value, e, "a quota has soft, hard, free and gc");
        if (want_size(s, n->members[i].value, slots[k], e) < 0)
            return -1;
    }
    return 0;
}

static int set_gpus(struct conf_file *s, const struct node *n, struct err *e)
{
    struct run_opts *o = &s->c->cfg.run;
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (strcmp(v, "exclusive") != 0 && strcmp(v, "shared") != 0 && strcmp(v, "none") != 0)
        return bad(s, n, e, "gpus is exclusive, shared or none");
    o->gpus_none = strcmp(v, "none") == 0;
    o->gpus_shared = strcmp(v, "shared") == 0;
    return 0;
}

static int set_gpu_wait(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (clock_parse_duration(str_of(v), &s->c->cfg.run.gpu_wait_ms, e) < 0)
        return err_at(e, "%.*s:%u", STR_ARG(s->file), n->pos.line);
    return 0;
}

static int set_gpu_root(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (v[0] != '/')
        return bad(s, n, e, "gpu_root wants an absolute path");
    s->c->cfg.run.gpu_root = v;
    return 0;
}

static int set_final_status(struct conf_file *s, const struct node *n, struct err *e)
{
    const char *v = "";

    if (want_text(s, n, &v, e) < 0)
        return -1;
    if (strcmp(v, "COMPLETE") != 0 && strcmp(v, "SUCCEEDED") != 0)
        return bad(s, n, e, "final_status is COMPLETE or SUCCEEDED");
    s->c->cfg.run.sdk_words = strcmp(v, "SUCCEEDED") == 0;
    return 0;
}

static int set_tasks(struct conf_file *s, const struct node *n, struct err *e)
{
    return cli_task_config(s->c, s->file, n, e);
}

static int set_secrets(struct conf_file *s, const struct node *n, struct err *e)
{
    return cli_kube_config(s->c, s->file, "secrets", n, e);
}

static int set_configmaps(struct conf_file *s, const struct node *n, struct err *e)
{
    return cli_kube_config(s->c, s->file, "configmaps", n, e);
}

static int set_volumes(struct conf_file *s, const struct node *n, struct err *e)
{
    return cli_kube_config(s->c, s->file, "volumes", n, e);
}

static int set_imports(struct conf_file *s, const struct node *n, struct err *e)
{
    return cli_kube_config(s->c, s->file, "imports", n, e);
}

static int set_locked(struct conf_file *s, const struct node *n, struct err *e)
{
    if (!s->is_etc)
        return bad(s, n, e, "only /etc/dugout/config.yaml may lock keys");
    if (n->kind != NODE_LIST)
        return bad(s, n, e, "want a list of keys here");
    for (size_t i = 0; i < n->n; i++)
        if (n->members[i].value->kind != NODE_SCALAR)
            return bad(s, n->members[i].value, e, "want the name of a key here");
    s->c->cfg.locked = n;
    return 0;
}

static const struct {
    const char *name;
    bool harmless; /* may stand in ./dugout.yaml of a checkout */
    int (*set)(struct conf_file *s, const struct node *n, struct err *e);
} keys[] = {
    {"secrets", false, set_secrets},   {"configmaps", false, set_configmaps},
    {"volumes", false, set_volumes},   {"imports", false, set_imports},
    {"network", false, set_network},   {"jobs", true, set_jobs},
    {"retries", true, set_retries},    {"packages", false, set_packages},
    {"images", true, set_aliases},     {"hooks", false, set_hooks},
    {"memory", true, set_memory},      {"cpus", true, set_cpus},
    {"disk", true, set_disk},          {"shm", true, set_shm},
    {"log", true, set_log},            {"pids", true, set_pids},
    {"grace", true, set_grace},        {"task_timeout", true, set_task_timeout},
    {"gpus", false, set_gpus},         {"gpu_wait", true, set_gpu_wait},
    {"gpu_root", false, set_gpu_root}, {"quota", false, set_quota},
    {"retention", false, set_retention}, {"network_home", false, set_network_home},
    {"locked", false, set_locked},     {"scratch", false, set_scratch},
    {"tasks", false, set_tasks},       {"final_status", true, set_final_status},
};

static bool is_locked(const struct config *cfg, struct str key)
{
    for (size_t i = 0; cfg->locked && i < cfg->locked->n; i++)
        if (str_eq(cfg->locked->members[i].value->text, key))
            return true;
    return false;
}

static int set_key(struct conf_file *s, const struct member *m, struct err *e)
{
    const char *names[N_ELEMS(keys)], *near;

    for (size_t i = 0; i < N_ELEMS(keys); i++) {
        names[i] = keys[i].name;
        if (!str_eqz(m->key, keys[i].name))
            continue;
        if (!s->is_etc && is_locked(&s->c->cfg, m->key)) {
            log_note("%.*s:%u: %s is locked by " ETC_CONFIG " and was not changed",
                     STR_ARG(s->file), m->key_pos.line, keys[i].name);
            return 0;
        }
        if (s->checkout && !keys[i].harmless)
            return err_set(e, ERR_INPUT,
                           "%.*s:%u:%u: %s cannot be set by a file of a checkout, only in "
                           "the home's config.yaml or by a flag",
                           STR_ARG(s->file), m->key_pos.line, m->key_pos.col, keys[i].name);
        return keys[i].set(s, m->value, e);
    }
    near = nearest(m->key, names, N_ELEMS(keys));
    return err_set(e, ERR_INPUT, "%.*s:%u:%u: no setting \"%.*s\"%s%s", STR_ARG(s->file),
                   m->key_pos.line, m->key_pos.col, STR_ARG(m->key), near ? ", did you mean " : "",
                   near ? near : "");
}

/* flags whose name is not that of their key */
static const char *const flag_keys[][2] = {
    {"final-status", "final_status"}, {"shm-size", "shm"}, {"task-timeout", "task_timeout"}, {"volume", "volumes"}, {"env", "env"}};

/* a lock holds against flags as well */
static int check_flags(struct cli *c, struct err *e)
{
    for (size_t i = 0; i < c->n_opts; i++) {
        const char *flag = c->opts[i].opt->name, *key = flag;
        for (size_t k = 0; k < N_ELEMS(flag_keys); k++)
            if (strcmp(flag, flag_keys[k][0]) == 0)
                key = flag_keys[k][1];
        if (is_locked(&c->cfg, str_of(key)))
            return err_set(e, ERR_INPUT, "--%s: %s is locked by " ETC_CONFIG, flag, key);
    }
    return 0;
}

/* a name that is none would lock nothing, and nobody would notice */
static int check_locked(const struct conf_file *s, struct err *e)
{
    const struct node *list = s->c->cfg.locked;

    for (size_t i = 0; list && i < list->n; i++) {
        struct str name = list->members[i].value->text;
        bool known = false;
        for (size_t k = 0; k < N_ELEMS(keys); k++)
            known |= str_eqz(name, keys[k].name);
        for (size_t k = 0; k < N_ELEMS(flag_keys); k++)
            known |= str_eqz(name, flag_keys[k][1]);
        if (!known)
            return bad(s, list->members[i].value, e, "there is no such key to lock");
    }
    return 0;
}

/* ---- reading --------------------------------------------------------------------------------------- */

static int read_config(struct cli *c, const char *path, bool is_etc, bool checkout, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    /* a link in a checkout could name a file of the caller's that is none of its business */
    AUTO_FD int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | (checkout ? O_NOFOLLOW : 0));
    struct conf_file s = {c, str_of(path), checkout, is_etc};
    struct stat st;
    struct tree tree;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    if (checkout && st.st_uid != geteuid()) {
        log_note("%s belongs to somebody else and is not read", path);
        return 0;
    }
    buf_init(&text, LIMIT_CONFIG_BYTES);
    if (fd_read_all(fd, &text, LIMIT_CONFIG_BYTES, e) < 0)
        return err_at(e, "%s", path);
    if (!str_trim((struct str){buf_str(&text), text.len}).len)
        return 0;
    if (tree_read_in(&c->a, s.file, (struct str){buf_str(&text), text.len}, &tree, e) < 0)
        return -1;
    for (size_t d = 0; d < tree.n_docs; d++) {
        const struct node *top = tree.docs[d];
        if (top->kind != NODE_MAP)
            return bad(&s, top, e, "want KEY: VALUE lines");
        for (size_t i = 0; i < top->n; i++)
            if (set_key(&s, &top->members[i], e) < 0)
                return -1;
    }
    return is_etc ? check_locked(&s, e) : 0;
}

static char *default_home(struct arena *a)
{
    const char *env = getenv("DUGOUT_HOME"), *xdg = getenv("XDG_DATA_HOME"), *home = getenv("HOME");

    if (env && *env)
        return arena_strdup(a, env);
    if (geteuid() == 0)
        return arena_strdup(a, "/var/lib/dugout");
    if (xdg && xdg[0] == '/')
        return arena_printf(a, "%s/dugout", xdg);
    return arena_printf(a, "%s/.local/share/dugout", home && *home ? home : "/tmp");
}

int cli_config(struct cli *c, struct err *e)
{
    const char *given = opt_text(c, "home");
    char cwd[LIMIT_PATH_BYTES];

    c->home = given ? arena_strdup(&c->a, given) : default_home(&c->a);
    if (c->home[0] != '/') {
        if (!getcwd(cwd, sizeof cwd))
            return err_set(e, ERR_SYS, "the current directory cannot be found");
        c->home = arena_printf(&c->a, "%s/%s", cwd, c->home);
    }
    c->cfg = (struct config){.keep_runs = 10, .keep_days = 30};
    c->cfg.run.host_retries = 3;
    c->cfg.run.pids_max = 32768;
    c->cfg.run.gpu_wait_ms = GPU_WAIT_MS;
    c->cfg.run.log_max_bytes = LIMIT_LOG_BYTES;
    if (read_config(c, ETC_CONFIG, true, false, e) < 0 ||
        read_config(c, arena_printf(&c->a, "%s/config.yaml", c->home), false, false, e) < 0 ||
        read_config(c, "dugout.yaml", false, true, e) < 0)
        return -1;
    return check_flags(c, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* opt.c - the command line against the tables
 *
 * Options may stand before and after the command and between its arguments; --name=value and
 * --name value are the same, letters may be joined (-di), "--" ends them.
 */
#include <stdlib.h>

#include "base/clock.h"
#include "base/nearest.h"
#include "cli/cli.h"

#define MAX_NAMES 256

static const struct opt *find_in(const struct opt *o, struct str name, char letter)
{
    for (; o && o->name; o++)
        if (letter ? o->letter == letter
                   : str_eqz(name, o->name) || (o->alias && str_eqz(name, o->alias)))
            return o;
    return NULL;
}

static const struct opt *find_opt(const struct cli *c, struct str name, char letter)
{
    const struct opt *o = c->cmd ? find_in(c->cmd->opts, name, letter) : NULL;

    return o ? o : find_in(global_opts, name, letter);
}

static const char *nearest_opt(const struct cli *c, struct str name)
{
    const char *names[MAX_NAMES];
    size_t n = 0;

    for (const struct opt *o = c->cmd ? c->cmd->opts : NULL; o && o->name && n < MAX_NAMES; o++)
        names[n++] = o->name;
    for (const struct opt *o = global_opts; o->name && n < MAX_NAMES; o++)
        names[n++] = o->name;
    return nearest(name, names, n);
}

/* TASK of TASK=VALUE; NULL when it is for all tasks: a source of a mount may have a "=", too */
static const char *task_of(struct cli *c, const struct opt *o, const char *value)
{
    size_t n = value ? strcspn(value, "=:,") : 0;

    if (!o->arg || strncmp(o->arg, OPT_TASK, strlen(OPT_TASK)) != 0 || !n || value[n] != '=' || value[0] == '/' || value[0] == '.' ||
        strncmp(value, "type=", 5) == 0)
        return NULL;
    return arena_strndup(&c->a, value, n);
}

static int add(struct cli *c, const struct opt *o, const char *value, struct err *e)
{
    const char *task = task_of(c, o, value);

    if (task)
        value += strlen(task) + 1;
    if (o->words && value) {
        const char *const *w = o->words;
        while (*w && strcmp(*w, value) != 0)
            w++;
        if (!*w) {
            AUTO_BUF struct buf all = {0};
            buf_init(&all, 0);
            for (w = o->words; *w; w++)
                buf_addf(&all, "%s%s", w == o->words ? "" : w[1] ? ", " : " or ", *w);
            return err_set(e, ERR_INPUT, "--%s wants %s, not \"%.80s\"", o->name, buf_str(&all),
                           value);
        }
    }
    c->opts = arena_grow(&c->a, c->opts, &c->n_opts, sizeof(*c->opts));
    c->opts[c->n_opts - 1] = (struct opt_value){o, value, task};
    return 0;
}

static int parse_long(struct cli *c, const char *arg, char **argv, int *i, int argc, struct err *e)
{
    const char *eq = strchr(arg, '=');
    struct str name = {arg, eq ? (size_t)(eq - arg) : strlen(arg)};
    const struct opt *o = find_opt(c, name, 0);
    const char *near;

    if (!o) {
        near = nearest_opt(c, name);
        return err_set(e, ERR_INPUT, "no option --%.*s%s%s%s", STR_ARG(name),
                       near ? ", did you mean --" : "", near ? near : "",
                       near ? "" : c->cmd ? " (see --help)" : "");
    }
    if (o->kind == OPT_FLAG)
        return eq ? err_set(e, ERR_INPUT, "--%s takes no value", o->name) : add(c, o, NULL, e);
    if (eq)
        return add(c, o, eq + 1, e);
    if (o->kind == OPT_MAYBE)
        return add(c, o, "*", e);
    if (*i + 1 >= argc)
        return err_set(e, ERR_INPUT, "--%s wants %s", o->name, o->arg);
    return add(c, o, argv[++*i], e);
}

static int parse_letters(struct cli *c, const char *arg, char **argv, int *i, int argc,
                         struct err *e)
{
    for (; *arg; arg++) {
        const struct opt *o = find_opt(c, (struct str){"", 0}, *arg);
        if (!o)
            return err_set(e, ERR_INPUT, "no option -%c%s", *arg, c->cmd ? " (see --help)" : "");
        if (o->kind == OPT_FLAG) {
            if (add(c, o, NULL, e) < 0)
                return -1;
            continue;
        }
        if (arg[1])
            return add(c, o, arg + 1, e);
        if (*i + 1 >= argc)
            return err_set(e, ERR_INPUT, "-%c wants %s", *arg, o->arg);
        return add(c, o, argv[++*i], e);
    }
    return 0;
}

static const struct command *find_command(const char *first, const char *second, bool *two)
{
    char name[64];

    *two = false;
    if (second) {
        snprintf(name, sizeof name, "%s %s", first, second);
        for (const struct command *k = commands; k->name; k++)
            if (strcmp(k->name, name) == 0 || (k->alias && strcmp(k->alias, name) == 0)) {
                *two = true;
                return k;
            }
    }
    for (const struct command *k = commands; k->name; k++)
        if (strcmp(k->name, first) == 0 || (k->alias && strcmp(k->alias, first) == 0))
            return k;
    return NULL;
}

static int no_command(const char *first, const char *second, struct err *e)
{
    const char *names[MAX_NAMES], *near;
    char both[80], family[64];
    size_t n = 0;

    snprintf(family, sizeof family, "%s ", first);
    for (const struct command *k = commands; k->name; k++)
        if (strncmp(k->name, family, strlen(family)) == 0)
            return err_set(e, ERR_INPUT, "dugout %s wants a command: see dugout help %s", first,
                           first);
    for (const struct command *k = commands; k->name && n + 1 < MAX_NAMES; k++) {
        names[n++] = k->name;
        if (k->alias)
            names[n++] = k->alias;
    }
    snprintf(both, sizeof both, "%.40s%s%.30s", first, second ? " " : "", second ? second : "");
    near = nearest(str_of(first), names, n);
    if (!near)
        near = nearest(str_of(both), names, n);
    return err_set(e, ERR_INPUT, "no command \"%.60s\"%s%s%s", first,
                   near ? ", did you mean \"" : " (see dugout help)", near ? near : "",
                   near ? "\"" : "");
}

static int take_command(struct cli *c, char **argv, int *i, int argc, struct err *e)
{
    const char *second = *i + 1 < argc && argv[*i + 1][0] != '-' ? argv[*i + 1] : NULL;
    bool two;

    c->cmd = find_command(argv[*i], second, &two);
    if (!c->cmd)
        return no_command(argv[*i], second, e);
    *i += two;
    return 0;
}

static int check_args(const struct cli *c, struct err *e)
{
    const struct command *k = c->cmd;

    if (c->n_args < k->min_args)
        return err_set(e, ERR_INPUT, "usage: dugout %s %s", k->name, k->usage);
    if (k->max_args >= 0 && c->n_args > k->max_args)
        return err_set(e, ERR_INPUT, "\"%.80s\" is one argument too many (usage: dugout %s %s)",
                       c->args[k->max_args], k->name, k->usage);
    return 0;
}

int cli_parse(struct cli *c, int argc, char **argv, struct err *e)
{
    bool ended = false;

    c->argc = argc;
    c->argv = argv;
    c->args = arena_alloc(&c->a, ((size_t)argc + 1) * sizeof(*c->args));
    for (int i = 1; i < argc; i++) {
        const char *arg = argv[i];
        int rc = 0;

        if (ended || arg[0] != '-' || !arg[1]) {
            if (!c->cmd) {
                rc = take_command(c, argv, &i, argc, e);
            } else {
                c->args[c->n_args++] = argv[i];
                ended |= c->cmd->stop_at_first;
                if (c->cmd->stop_at_first && c->n_args == 1 && i + 1 < argc &&
                    strcmp(argv[i + 1], "--") == 0)
                    i++;
            }
        } else if (strcmp(arg, "--") == 0) {
            ended = true;
        } else if (arg[1] == '-') {
            rc = parse_long(c, arg + 2, argv, &i, argc, e);
        } else {
            rc = parse_letters(c, arg + 1, argv, &i, argc, e);
        }
        if (rc < 0)
            return -1;
    }
    c->json = opt_flag(c, "json");
    if (!c->cmd || opt_flag(c, "help"))
        return 0;
    return check_args(c, e);
}

/* ---- asking ------------------------------------------------------------------------------- */

bool opt_flag(const struct cli *c, const char *name)
{
    for (size_t i = 0; i < c->n_opts; i++)
        if (strcmp(c->opts[i].opt->name, name) == 0)
            return true;
    return false;
}

const char *opt_text(const struct cli *c, const char *name)
{
    for (size_t i = c->n_opts; i-- > 0;)
        if (!c->opts[i].task && strcmp(c->opts[i].opt->name, name) == 0)
            return c->opts[i].value;
    return NULL;
}

const char **opt_list(struct cli *c, const char *name, size_t *n)
{
    const char **v = arena_alloc(&c->a, (c->n_opts + 1) * sizeof *v);

    *n = 0;
    for (size_t i = 0; i < c->n_opts; i++)
        if (!c->opts[i].task && strcmp(c->opts[i].opt->name, name) == 0)
            v[(*n)++] = c->opts[i].value;
    return v;
}

const struct opt_value *opt_for_task(const struct cli *c, size_t *at)
{
    while (*at < c->n_opts)
        if (c->opts[(*at)++].task)
            return &c->opts[*at - 1];
    return NULL;
}

int opt_u64(const struct cli *c, const char *name, uint64_t *out, struct err *e)
{
    const char *text = opt_text(c, name);
    char *end;
    unsigned long long v;

    if (!text)
        return 0;
    v = strtoull(text, &end, 10);
    if (text[0] < '0' || text[0] > '9' || *end || v > INT64_MAX)
        return err_set(e, ERR_INPUT, "--%s: \"%.40s\" is no whole number", name, text);
    *out = v;
    return 0;
}

int opt_size(const struct cli *c, const char *name, uint64_t *out, struct err *e)
{
    const char *text = opt_text(c, name);
    size_t n = text ? strlen(text) : 0;
    char docker[32];

    if (n > 1 && n < 30 && text[n - 2] >= '0' && text[n - 2] <= '9' && strchr("kmgt", text[n - 1])) {
        snprintf(docker, sizeof docker, "%.*s%ci", (int)(n - 1), text,
                 text[n - 1] - 'a' + 'A');
        text = docker; /* 64m is 64Mi, as docker has it */
    }
    if (text && size_parse(str_of(text), out, e) < 0)
        return err_at(e, "--%s", name);
    return 0;
}

int opt_duration(const struct cli *c, const char *name, int64_t *out_ms, struct err *e)
{
    const char *text = opt_text(c, name);

    if (text && clock_parse_duration(str_of(text), out_ms, e) < 0)
        return err_at(e, "--%s", name);
    return 0;
}

int cpus_parse(const char *text, uint32_t *out_millis, struct err *e)
{
    char *end;
    double v = strtod(text, &end);

    if (end == text || *end || !(v >= 0.01 && v <= 10000))
        return err_set(e, ERR_INPUT, "\"%.20s\" is no number of CPUs, such as 2 or 0.5", text);
    *out_millis = (uint32_t)(v * 1000 + 0.5);
    return 0;
}

int opt_cpus(const struct cli *c, const char *name, uint32_t *out_millis, struct err *e)
{
    const char *text = opt_text(c, name);

    if (text && cpus_parse(text, out_millis, e) < 0)
        return err_at(e, "--%s", name);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pip.c - packages_to_install: recognised in the compiled command, answered offline
 *
 * The SDK puts a script in front of the real command, which is what $0 and $@ stand
 * for:
 *
 *   sh -c "... python3 -m pip install 'pandas==2.2.3' && "$0" "$@""   sh -ec RUN SOURCE
 *
 * Its text changed with nearly every SDK version, so no template is compared. The
 * script is cut into simple commands as a shell would; it is a pip script when it ends
 * in "$0" "$@" and pip installs something before. Every other command in it must be one
 * whose effect is gone when pip is not run (looking for pip, a venv); a script that
 * does more is refused, because leaving it out would leave that out as well.
 *
 *   A && B      both are needed
 *   A || B      B stands in for A (v1: the same with --user), so only A's packages
 * count if ... fi   looks for pip; its parts are read like any others
 *
 * Which kfp did the SDK ask for, and which the user? The SDK's is answered by our own
 * module, the user's must be in the image. Since 2.1 or so the SDK's line has
 * '--no-deps'. Before, kfp was the last word of the only line. And when kfp stands
 * alone beside another pip line, it is the kfp_package_path of the component: packages
 * of the user are all on one line.
 */
#include "run/pip.h"

#include "run/pep440.h"
#include "run/pep508.h"
#include "run/shell.h"

/* a pip install and the requirements on it, of which there is one at least */
struct line {
    size_t first, n;
    bool no_deps, fallback;
};

struct script {
    struct arena *a;
    struct shell_command *commands;
    size_t n_commands;
    struct line *lines;
    size_t n_lines;
};

static struct str piece(struct str s)
{
    return s.len > 120 ? (struct str){s.ptr, 120} : s;
}

/* ---- is this command a script that hands over to the rest of the line? ---------- */

static struct str base_name(struct str path)
{
    const char *slash = path.len ? memrchr(path.ptr, '/', path.len) : NULL;

    return slash ? (struct str){slash + 1, path.len - (size_t)(slash + 1 - path.ptr)}
                 : path;
}

static bool is_shell(struct str word)
{
    struct str name = base_name(word);

    return str_eqz(name, "sh") || str_eqz(name, "bash") || str_eqz(name, "dash") ||
           str_eqz(name, "ash");
}

/* -c, -ec, -euxc: options that change nothing once the script is left out */
static bool is_shell_option(struct str word)
{
    if (word.len < 2 || word.ptr[0] != '-' || word.ptr[word.len - 1] != 'c')
        return false;
    for (size_t i = 1; i < word.len - 1; i++)
        if (!memchr("eux", word.ptr[i], 3))
            return false;
    return true;
}

static bool drop_end(struct str *s, const char *z)
{
    *s = str_trim(*s);
    if (!str_ends(*s, z))
        return false;
    s->len -= strlen(z);
    return true;
}

static bool may_be_preamble(const struct str *command, size_t n_command)
{
    struct str text;

    if (n_command < 3 || !is_shell(command[0]) || !is_shell_option(command[1]))
        return false;
    text = command[2];
    return drop_end(&text, "\"$@\"") &&
           (drop_end(&text, "\"$0\"") || drop_end(&text, "$0")) &&
           memmem(text.ptr, text.len, "pip", 3) &&
           memmem(text.ptr, text.len, "install", 7);
}

/* ---- what a simple command does ------------------------------------------------- */

static bool is_assignment(const struct shell_word *t)
{
    size_t n = 0;

    while (n < t->text.len &&
           (t->text.ptr[n] == '_' || (t->text.ptr[n] >= 'A' && t->text.ptr[n] <= 'Z') ||
            (t->text.ptr[n] >= 'a' && t->text.ptr[n] <= 'z') ||
            (n && t->text.ptr[n] >= '0' && t->text.ptr[n] <= '9')))
        n++;
    return n && n < t->text.len && t->text.ptr[n] == '=';
}

static bool word_is(const struct shell_command *c, size_t i, const char *z)
{
    return i < c->n_words && str_eqz(c->words[i].text, z);
}

static bool is_python(struct str word)
{
    struct str name = base_name(word);

    if (!str_starts(name, "python"))
        return false;
    for (size_t i = 6; i < name.len; i++)
        if (name.ptr[i] != '.' && (name.ptr[i] < '0' || name.ptr[i] > '9'))
            return false;
    return true;
}

/* where pip's own words start: after "python3 -m pip" or "pip3"; 0 when it is another
 * program */
static size_t after_pip(const struct shell_command *c)
{
    struct str name = base_name(c->words[0].text);

    if (str_eqz(name, "pip") || str_eqz(name, "pip3"))
        return 1;
    return is_python(name) && word_is(c, 1, "-m") && word_is(c, 2, "pip") ? 3 : 0;
}

/* "$0" "$@": the command that the script stands in front of */
static bool is_handover(const struct shell_command *c)
{
    size_t i = word_is(c, 0, "exec") ? 1 : 0;

    return c->n_words == i + 2 && c->words[i].expands && c->words[i + 1].expands &&
           word_is(c, i, "$0") && word_is(c, i + 1, "$@");
}

/* Commands that may go when pip goes. A word that ends in * stands for all that start
 * so; at the end of a row, an empty word stands for any number of words. */
static const char *const harmless[][6] = {
    {"[", "-x", "$(command -v pip*", "]"},
    {"command", "-v", "pip*"},
    {"which", "pip*"},
    {"python*", "-m", "ensurepip", ""},
    {"apt-get", "install", "python3-pip"},
    {"apt-get", "install", "-y", "python3-pip"},
    {"apt-get", "update"},
    {"export", "PIP_*"},
    {"tmp=$(mktemp -d)"},
    {"python*", "-m", "venv", ""},
    {".", "$tmp/venv/bin/activate"},
    {"set", "-*"},
    {"true"},
    {":"},
};

static bool word_fits(struct str word, const char *pattern)
{
    size_t len = strlen(pattern);

    if (pattern[len - 1] != '*')
        return str_eqz(word, pattern);
    return word.len >= len - 1 && memcmp(word.ptr, pattern, len - 1) == 0;
}

static bool row_fits(const struct shell_command *c, const char *const *row)
{
    size_t i = 0;

    for (; i < N_ELEMS(harmless[0]) && row[i]; i++) {
        if (!*row[i])
            return true;
        if (i >= c->n_words || !word_fits(c->words[i].text, row[i]))
            return false;
    }
    return i == c->n_words;
}

static bool is_harmless(const struct shell_command *c)
{
    for (size_t i = 0; i < N_ELEMS(harmless); i++)
        if (row_fits(c, harmless[i]))
            return true;
    return c->n_words == 1 && is_assignment(&c->words[0]) &&
           str_starts(c->words[0].text, "PIP_");
}

/* ---- pip's own words ------------------------------------------------------------ */

enum option_kind {
    OPTION_UNKNOWN,
    OPTION_ALONE, /* says how to install, not what */
    OPTION_VALUE, /* the same, and the next word or what follows = belongs to it */
    OPTION_NO_DEPS,
    OPTION_FILE, /* what is to be installed stands in a file of the container */
};

static const struct {
    const char *name;
    enum option_kind kind;
} options[] = {
    {"--no-deps", OPTION_NO_DEPS},
    {"--quiet", OPTION_ALONE},
    {"--verbose", OPTION_ALONE},
    {"--no-warn-script-location", OPTION_ALONE},
    {"--no-warn-conflicts", OPTION_ALONE},
    {"--user", OPTION_ALONE},
    {"--upgrade", OPTION_ALONE},
    {"--force-reinstall", OPTION_ALONE},
    {"--ignore-installed", OPTION_ALONE},
    {"--ignore-requires-python", OPTION_ALONE},
    {"--pre", OPTION_ALONE},
    {"--prefer-binary", OPTION_ALONE},
    {"--no-build-isolation", OPTION_ALONE},
    {"--use-pep517", OPTION_ALONE},
    {"--no-cache-dir", OPTION_ALONE},
    {"--no-compile", OPTION_ALONE},
    {"--compile", OPTION_ALONE},
    {"--no-color", OPTION_ALONE},
    {"--no-input", OPTION_ALONE},
    {"--no-index", OPTION_ALONE},
    {"--isolated", OPTION_ALONE},
    {"--no-clean", OPTION_ALONE},
    {"--break-system-packages", OPTION_ALONE},
    {"--disable-pip-version-check", OPTION_ALONE},
    {"--no-python-version-warning", OPTION_ALONE},
    {"--index-url", OPTION_VALUE},
    {"--pypi-url", OPTION_VALUE},
    {"--extra-index-url", OPTION_VALUE},
    {"--find-links", OPTION_VALUE},
    {"--trusted-host", OPTION_VALUE},
    {"--proxy", OPTION_VALUE},
    {"--cert", OPTION_VALUE},
    {"--client-cert", OPTION_VALUE},
    {"--retries", OPTION_VALUE},
    {"--timeout", OPTION_VALUE},
    {"--default-timeout", OPTION_VALUE},
    {"--cache-dir", OPTION_VALUE},
    {"--progress-bar", OPTION_VALUE},
    {"--root-user-action", OPTION_VALUE},
    {"--upgrade-strategy", OPTION_VALUE},
    {"--only-binary", OPTION_VALUE},
    {"--no-binary", OPTION_VALUE},
    {"--exists-action", OPTION_VALUE},
    {"--keyring-provider", OPTION_VALUE},
    {"--use-feature", OPTION_VALUE},
    {"--use-deprecated", OPTION_VALUE},
    {"--log", OPTION_VALUE},
    {"--requirement", OPTION_FILE},
    {"--constraint", OPTION_FILE},
    {"--editable", OPTION_FILE},
};

/* *value_inside: "--timeout=9" and "-fDIR" bring their value along */
static enum option_kind long_option(struct str word, bool *value_inside)
{
    const char *equals = memchr(word.ptr, '=', word.len);
    struct str name = {word.ptr, equals ? (size_t)(equals - word.ptr) : word.len};

    *value_inside = equals != NULL;
    for (size_t i = 0; i < N_ELEMS(options); i++)
        if (str_eqz(name, options[i].name))
            return options[i].kind;
    return OPTION_UNKNOWN;
}

/* "-qqU", "-i URL", "-iURL" */
static enum option_kind short_options(struct str word, bool *value_inside)
{
    for (size_t i = 1; i < word.len; i++) {
        *value_inside = i + 1 < word.len;
        if (memchr("if", word.ptr[i], 2))
            return OPTION_VALUE;
        if (memchr("rce", word.ptr[i], 3))
            return OPTION_FILE;
        if (!memchr("qvUI", word.ptr[i], 4))
            return OPTION_UNKNOWN;
    }
    return word.len > 1 ? OPTION_ALONE : OPTION_UNKNOWN;
}

static int read_option(const struct shell_command *c, size_t *i, struct line *line,
                       struct err *e)
{
    struct str word = c->words[*i].text;
    bool value_inside = false;

    switch (str_starts(word, "--") ? long_option(word, &value_inside)
                                   : short_options(word, &value_inside)) {
    case OPTION_ALONE:
        break;
    case OPTION_VALUE:
        *i += !value_inside;
        break;
    case OPTION_NO_DEPS:
        line->no_deps = true;
        break;
    case OPTION_FILE:
        return err_set(
            e, ERR_INPUT,
            "pip's %.*s reads a file of the container, so what it wants is not known "
            "before the start: name the packages instead",
            STR_ARG(piece(word)));
    case OPTION_UNKNOWN:
        return err_set(e, ERR_INPUT, "pip's option %.*s is not understood",
                       STR_ARG(piece(word)));
    }
    return 0;
}

static int add_requirement(struct script *s, struct pip_preamble *out,
                           struct line *line, const struct shell_word *t, struct err *e)
{
    if (t->expands)
        return err_set(
            e, ERR_INPUT,
            "pip is to install %.*s, which is known only in the container: name the "
            "packages instead",
            STR_ARG(piece(t->text)));
    if (line->fallback)
        return 0;
    out->reqs = arena_grow(s->a, out->reqs, &out->n_reqs, sizeof(*out->reqs));
    out->reqs[out->n_reqs - 1].text = t->text;
    line->n++;
    return 0;
}

static int read_install(struct script *s, const struct shell_command *c, size_t i,
                        struct pip_preamble *out, struct err *e)
{
    struct line line = {.first = out->n_reqs, .fallback = c->fallback};
    bool install = false, only_names = false;

    for (; i < c->n_words; i++) {
        const struct shell_word *t = &c->words[i];
        if (!only_names && str_eqz(t->text, "--"))
            only_names = true;
        else if (!only_names && str_starts(t->text, "-")) {
            if (read_option(c, &i, &line, e) < 0)
                return -1;
        } else if (!install) {
            if (!str_eqz(t->text, "install"))
                return err_set(e, ERR_INPUT,
                               "it runs pip %.*s, and only pip install is understood",
                               STR_ARG(piece(t->text)));
            install = true;
        } else if (add_requirement(s, out, &line, t, e) < 0) {
            return -1;
        }
    }
    if (line.n) {
        s->lines = arena_grow(s->a, s->lines, &s->n_lines, sizeof(*s->lines));
        s->lines[s->n_lines - 1] = line;
    }
    return 0;
}

/* ---- whose kfp is it? ----------------------------------------------------------- */

static bool is_named(struct str requirement, const char *name)
{
    AUTO_BUF struct buf normal = {0};

    buf_init(&normal, 0);
    pep503_write(&normal, pep508_name(requirement));
    return !pep508_direct(requirement) && strcmp(buf_str(&normal), name) == 0;
}

/* git+https://.../pipelines@REF#egg=kfp&subdirectory=sdk/python, ./kfp-2.7.0.tar.gz,
 * kfp @ URL */
static bool is_kfp_source(struct str requirement)
{
    static const char *const ends[] = {"#egg=kfp", "&egg=kfp",
                                       "subdirectory=sdk/python"};
    struct str url = requirement, file;
    struct pep508 r;
    struct err ignored = {0};

    if (is_named(requirement, "kfp") && pep508_read(requirement, &r, &ignored) == 0)
        return r.url.len > 0;
    if (!pep508_direct(requirement))
        return false;
    file = base_name(url);
    if (str_starts(file, "kfp-") && file.len > 4 && file.ptr[4] >= '0' &&
        file.ptr[4] <= '9')
        return true;
    if (memmem(url.ptr, url.len, "#egg=kfp&", 9))
        return true;
    for (size_t i = 0; i < N_ELEMS(ends); i++)
        if (str_ends(url, ends[i]))
            return true;
    return false;
}

/* "kfp==2.0.1" and no more; *v is the version */
static bool is_pinned_kfp(struct str requirement, struct pep440_version *v)
{
    struct pep508 r;
    struct err ignored = {0};
    struct pep440_clause c;

    if (!is_named(requirement, "kfp") || pep508_read(requirement, &r, &ignored) < 0 ||
        r.marker.len || r.extras.len || !pep440_clause_read(r.specifiers, &c))
        return false;
    *v = c.version;
    return c.op == PEP440_EQ && !c.prefix;
}

static bool is_line_of_sdk(const struct line *line, const struct pip_preamble *p)
{
    bool kfp = false;

    for (size_t i = line->first; i < line->first + line->n; i++) {
        if (is_named(p->reqs[i].text, "kfp"))
            kfp = true;
        else if (!is_named(p->reqs[i].text, "typing-extensions"))
            return false;
    }
    return kfp && line->no_deps;
}

/* Up to 2.0.x the SDK added kfp at the end of its one line. Such scripts also show a
 * run of blanks, where their template had a joined line. */
static bool is_last_word_of_old_sdk(const struct script *s, struct str script,
                                    struct str last)
{
    static const char blanks[] = "--quiet     --no-warn";
    struct pep440_version v, first_with_no_deps;

    return s->n_lines == 1 && is_pinned_kfp(last, &v) &&
           ((pep440_read(STR("2.1"), &first_with_no_deps) &&
             pep440_compare(&v, &first_with_no_deps) < 0) ||
            memmem(script.ptr, script.len, blanks, sizeof(blanks) - 1));
}

static void mark_kfp(const struct script *s, struct str text, struct pip_preamble *out)
{
    must(!s->n_lines || out->reqs); /* a line without packages is no line */
    for (size_t i = 0; i < s->n_lines; i++) {
        const struct line *line = &s->lines[i];
        struct pip_requirement *last = &out->reqs[line->first + line->n - 1];
        struct pep440_version v;

        if (is_line_of_sdk(line, out))
            for (size_t k = line->first; k < line->first + line->n; k++)
                out->reqs[k].kfp_line = true;
        else if ((line->n == 1 && s->n_lines > 1 && is_pinned_kfp(last->text, &v)) ||
                 is_last_word_of_old_sdk(s, text, last->text) ||
                 (is_kfp_source(last->text) && (line->n == 1 || s->n_lines == 1)))
            last->kfp_line = true;
        out->wants_kfp |= last->kfp_line;
    }
}

/* ---- scripts -------------------------------------------------------------------- */

/* without NAME=value in front, which only the command itself sees */
static struct shell_command without_assignments(struct shell_command c)
{
    while (c.n_words > 1 && is_assignment(&c.words[0])) {
        c.words++;
        c.n_words--;
    }
    return c;
}

static int refuse_command(const struct shell_command *c, struct err *e)
{
    AUTO_BUF struct buf text = {0};

    buf_init(&text, 100);
    for (size_t i = 0; i < c->n_words && !text.overflow; i++) {
        struct str word = c->words[i].text;
        buf_adds(&text, i ? " " : "");
        buf_addstr(&text, word.len > 40 ? (struct str){word.ptr, 40} : word);
    }
    return err_set(
        e, ERR_INPUT,
        "besides pip it runs \"%s\", which would be left out together with pip: do "
        "that in the image",
        buf_str(&text));
}

static bool installs(const struct script *s)
{
    for (size_t i = 0; i < s->n_commands; i++) {
        struct shell_command c = without_assignments(s->commands[i]);
        if (after_pip(&c))
            return true;
    }
    return false;
}

static int read_commands(struct script *s, struct pip_preamble *out, struct err *e)
{
    for (size_t i = 0; i + 1 < s->n_commands; i++) {
        struct shell_command c = without_assignments(s->commands[i]);
        size_t words = after_pip(&c);
        if (words && read_install(s, &c, words, out, e) < 0)
            return -1;
        if (!words && !is_harmless(&c))
            return refuse_command(&c, e);
    }
    return 0;
}

/* one script; adds to *out. *is_pip false: leave it in the command */
static int read_script(struct arena *a, struct str text, struct pip_preamble *out,
                       bool *is_pip, struct err *e)
{
    struct script s = {.a = a};

    *is_pip = false;
    if (shell_commands_in(a, text, &s.commands, &s.n_commands, e) < 0)
        return -1;
    if (!s.n_commands || !is_handover(&s.commands[s.n_commands - 1]) || !installs(&s))
        return 0;
    if (s.commands[s.n_commands - 1].fallback)
        return err_set(e, ERR_INPUT, "it goes on only when pip does not work");
    if (read_commands(&s, out, e) < 0)
        return -1;
    mark_kfp(&s, text, out);
    *is_pip = true;
    return 0;
}

int pip_preamble_in(struct arena *a, const struct str *command, size_t n_command,
                    struct pip_preamble *out, struct err *e)
{
    struct pip_preamble p = {0};
    bool is_pip = true;

    while (is_pip && may_be_preamble(command + p.skip, n_command - p.skip)) {
        if (read_script(a, command[p.skip + 2], &p, &is_pip, e) < 0)
            return err_at(e, "the pip script in front of the command");
        if (is_pip)
            p.skip += 3;
    }
    p.found = p.skip > 0;
    *out = p;
    return 0;
}

/* ---- answers -------------------------------------------------------------------- */

static const struct dist *installed(const struct image_facts *f, struct str name)
{
    AUTO_BUF struct buf normal = {0};

    buf_init(&normal, 0);
    pep503_write(&normal, name);
    return facts_dist(f, (struct str){buf_str(&normal), normal.len});
}

int pip_answer(const struct image_facts *f, struct str requirement,
               enum pip_answer *out, struct str *have, struct err *e)
{
    const struct dist *d;
    struct pep508 r;
    bool needed = true;

    if (pep508_read(requirement, &r, e) < 0)
        return pep508_direct(requirement) ? err_set(e, ERR_INPUT,
                                                    "package %.*s is a URL or a path, "
                                                    "which cannot be answered offline: "
                                                    "put the package in the image and "
                                                    "name it, as in NAME==VERSION",
                                                    STR_ARG(piece(requirement)))
                                          : -1;
    if (r.url.len)
        return err_set(
            e, ERR_INPUT,
            "package %.*s is wanted from %.*s, which cannot be answered offline: put "
            "it in the image and name it, as in NAME==VERSION",
            STR_ARG(piece(r.name)), STR_ARG(piece(r.url)));
    if (r.marker.len &&
        pep508_marker(r.marker, f->markers, f->n_markers, &needed, e) < 0)
        return err_at(e, "requirement %.*s", STR_ARG(piece(r.name)));

    d = installed(f, r.name);
    *have = d ? d->version : STR("");
    if (!f->has_python)
        *out = PIP_ABSENT; /* and no marker can be told */
    else if (!needed)
        *out = PIP_NOT_NEEDED;
    else if (!d)
        *out = PIP_ABSENT;
    else
        *out = pep508_allows(&r, d->version) ? PIP_SATISFIED : PIP_OTHER_VERSION;
    return 0;
}

bool pip_version_compare(struct str a, struct str b, int *out)
{
    struct pep440_version va, vb;

    if (!pep440_read(a, &va) || !pep440_read(b, &vb))
        return false;
    *out = pep440_compare(&va, &vb);
    return true;
}

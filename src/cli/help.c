/* SPDX-License-Identifier: Apache-2.0 */
/* help.c - usage, --help and the man page, printed from the table of commands */
#include <ctype.h>

#include "base/nearest.h"
#include "cli/cli.h"
#include "version.h"

#define FOLD 80

/* text folded at FOLD columns, each line indented */
static void fold(const char *text, unsigned indent, FILE *to)
{
    unsigned col = 0;

    while (*text) {
        size_t n = strcspn(text, " \n");
        if (col && col + n + 1 > FOLD - indent) {
            (void)fputc('\n', to);
            col = 0;
        }
        (void)fprintf(to, "%*s%.*s", col ? 1 : (int)indent, col ? " " : "", (int)n, text);
        col += (unsigned)n + (col ? 1 : 0);
        text += n;
        if (*text == '\n') {
            (void)fputc('\n', to);
            col = 0;
        }
        if (*text)
            text++;
    }
    (void)fputc('\n', to);
}

static void print_opts(const struct opt *o, FILE *to)
{
    for (; o && o->name; o++) {
        char left[64];
        int n = 0;

        if (o->letter)
            n = snprintf(left, sizeof left, "-%c, ", o->letter);
        else
            n = snprintf(left, sizeof left, "    ");
        if (o->kind == OPT_MAYBE)
            (void)snprintf(left + n, sizeof left - (size_t)n, "--%s[=%s]", o->name, o->arg);
        else
            (void)snprintf(left + n, sizeof left - (size_t)n, "--%s%s%s", o->name,
                           o->arg ? " " : "", o->arg ? o->arg : "");
        (void)fprintf(to, "  %-28s %s\n", left, o->help);
    }
}

void help_command(const struct command *k, FILE *to)
{
    (void)fprintf(to, "usage: dugout %s %s\n\n%c%s\n", k->name, k->usage,
                  toupper((unsigned char)k->summary[0]), k->summary + 1);
    if (k->text) {
        (void)fputc('\n', to);
        fold(k->text, 0, to);
    }
    if (k->opts) {
        (void)fprintf(to, "\noptions:\n");
        print_opts(k->opts, to);
    }
    (void)fprintf(to, "\nfor every command:\n");
    print_opts(global_opts, to);
    if (k->alias)
        (void)fprintf(to, "\nAlso called: dugout %s\n", k->alias);
}

void help_all(FILE *to)
{
    (void)fprintf(to, "usage: dugout [OPTION]... COMMAND [ARG]...\n\n"
                      "Runs compiled Kubeflow Pipelines on this machine: no Kubernetes, no daemon, "
                      "no network.\n\ncommands:\n");
    for (const struct command *k = commands; k->name; k++)
        (void)fprintf(to, "  %-20s %s\n", k->name, k->summary);
    (void)fprintf(to, "\noptions:\n");
    print_opts(global_opts, to);
    (void)fprintf(to, "\ndugout help COMMAND explains one.\n");
}

/* ---- the man page (roff, man(7)) -------------------------------------------------------------- */

static void roff(const char *text, FILE *to)
{
    bool start = true;

    for (; *text; text++) {
        if (start && (*text == '.' || *text == '\''))
            (void)fputs("\\&", to);
        if (*text == '-')
            (void)fputs("\\-", to);
        else if (*text == '\\')
            (void)fputs("\\e", to);
        else
            (void)fputc(*text, to);
        start = *text == '\n';
        if (start)
            (void)fputs(".br\n", to);
    }
    (void)fputc('\n', to);
}

static void roff_opts(const struct opt *o, FILE *to)
{
    for (; o && o->name; o++) {
        (void)fputs(".TP\n\\fB", to);
        if (o->letter)
            (void)fprintf(to, "\\-%c\\fR, \\fB", o->letter);
        (void)fputs("\\-\\-", to);
        for (const char *p = o->name; *p; p++)
            (void)fputs(*p == '-' ? "\\-" : (const char[]){*p, 0}, to);
        (void)fprintf(to, "\\fR");
        if (o->kind == OPT_MAYBE)
            (void)fprintf(to, "[=\\fI%s\\fR]", o->arg);
        else if (o->arg)
            (void)fprintf(to, " \\fI%s\\fR", o->arg);
        (void)fputc('\n', to);
        roff(o->help, to);
    }
}

static void man_page(FILE *to)
{
    (void)fprintf(to,
                  ".\\\" printed by dugout help --man\n.TH DUGOUT 1 \"\" \"dugout %s\" \"User "
                  "Commands\"\n.SH NAME\ndugout \\- run Kubeflow pipelines without Kubernetes\n"
                  ".SH SYNOPSIS\n.B dugout\n[\\fIOPTION\\fR]... \\fICOMMAND\\fR [\\fIARG\\fR]...\n"
                  ".SH DESCRIPTION\n",
                  DUGOUT_VERSION);
    roff("Takes the YAML that the official kfp compiler writes, runs each component in a "
         "container of its own, without network, and keeps artifacts and their lineage.",
         to);
    (void)fputs(".SH OPTIONS\n", to);
    roff_opts(global_opts, to);
    (void)fputs(".SH COMMANDS\n", to);
    for (const struct command *k = commands; k->name; k++) {
        (void)fprintf(to, ".SS \"dugout %s", k->name);
        (void)fprintf(to, "%s%s\"\n", *k->usage ? " " : "", k->usage);
        roff(k->summary, to);
        if (k->text) {
            (void)fputs(".PP\n", to);
            roff(k->text, to);
        }
        roff_opts(k->opts, to);
    }
    (void)fputs(".SH EXIT STATUS\n", to);
    roff("0 done; 1 it ran and a task failed; 2 the file, parameter or flag is wrong; 3 something "
         "named does not exist; 4 bytes do not match their digest or format; 5 one of our limits; "
         "6 the kernel or host said no; 75 busy, try later; 124 timed out; 128+N stopped by "
         "signal N.",
         to);
    (void)fputs(".SH FILES\n.TP\n$DUGOUT_HOME\n", to);
    roff("database, store, layers, runs; /var/lib/dugout for root, ~/.local/share/dugout for "
         "others",
         to);
    (void)fputs(".TP\n/etc/dugout/config.yaml, $DUGOUT_HOME/config.yaml, ./dugout.yaml\n", to);
    roff("settings; later wins", to);
}

int cmd_help(struct cli *c)
{
    char name[64];

    if (opt_flag(c, "man")) {
        man_page(stdout);
        return 0;
    }
    if (!c->n_args) {
        help_all(stdout);
        return 0;
    }
    (void)snprintf(name, sizeof name, "%.30s%s%.30s", c->args[0], c->n_args > 1 ? " " : "",
                   c->n_args > 1 ? c->args[1] : "");
    for (const struct command *k = commands; k->name; k++)
        if (strcmp(k->name, name) == 0 || (k->alias && strcmp(k->alias, name) == 0)) {
            help_command(k, stdout);
            return 0;
        }
    { /* a family: image, artifact, tag */
        size_t n = strlen(name);
        bool any = false;
        for (const struct command *k = commands; k->name; k++)
            if (strncmp(k->name, name, n) == 0 && k->name[n] == ' ') {
                (void)printf("  dugout %-16s %s\n", k->name, k->summary);
                any = true;
            }
        if (any)
            return 0;
    }
    {
        struct err e;
        (void)err_set(&e, ERR_INPUT, "no command \"%s\" (see dugout help)", name);
        return cli_fail(&e);
    }
}

/* SPDX-License-Identifier: Apache-2.0 */
/* completion.c - completion for bash and zsh, printed from the table of commands
 *
 * One function that both shells understand, _dugout_words, says what may stand at the
 * cursor; a few lines for each shell call it, and offer file names when it says
 * nothing:
 *
 *   after an option that wants one of some words    these words
 *   after an option that wants something else       (files)
 *   a word that begins with "-"                     the command's options
 *   else                                            commands; or what the usage line
 * wants there: RUN, IMAGE, ARTIFACT, bash|zsh
 *
 * Names of runs, images and tags are asked from dugout itself, so they are those of the
 * home in use.
 */
#include "cli/cli.h"

/* what completes the first word of a usage line */
static const struct {
    const char *word, *shell;
} wanted[] = {
    {"RUN",
     "dugout runs --limit 50 2>/dev/null | awk 'NR > 1 { print $1 }'; echo @latest"},
    {"IMAGE", "dugout images 2>/dev/null | awk 'NR > 1 { print $1 }'"},
    {"SRC", "dugout images 2>/dev/null | awk 'NR > 1 { print $1 }'"},
    {"ARTIFACT", "dugout tags 2>/dev/null | awk 'NR > 1 { print $1 }'"},
    {"COMMAND", NULL}, /* the first words of all commands */
    {"bash", "echo bash zsh"},
};

/* the commands below "" or "image ", each first word once, however the table is ordered
 */
static void next_words(const char *family, FILE *to)
{
    size_t n = strlen(family);

    (void)fputs("echo", to);
    for (const struct command *k = commands; k->name; k++) {
        const char *word = k->name + n;
        size_t len = strcspn(word, " ");
        const struct command *before = commands;

        if (strncmp(k->name, family, n) != 0)
            continue;
        while (before != k && (strncmp(before->name, k->name, n + len) != 0 ||
                               (before->name[n + len] && before->name[n + len] != ' ')))
            before++;
        if (before == k)
            (void)fprintf(to, " %.*s", (int)len, word);
    }
}

static void case_label(const struct command *k, FILE *to)
{
    (void)fprintf(to, "  '%s'", k->name);
    if (k->alias)
        (void)fprintf(to, "|'%s'", k->alias);
    (void)fputs(") ", to);
}

/* image and load are two words of one command */
static void join_two_words(FILE *to)
{
    const char *bar = "";

    (void)fputs("  case \"$one $two\" in\n  ", to);
    for (const struct command *k = commands; k->name; k++) {
        if (strchr(k->name, ' ')) {
            (void)fprintf(to, "%s'%s'", bar, k->name);
            bar = "|";
        }
        if (k->alias && strchr(k->alias, ' '))
            (void)fprintf(to, "%s'%s'", bar, k->alias);
    }
    (void)fputs(") one=\"$one $two\" ;;\n  esac\n", to);
}

static void option_values(const struct command *k, FILE *to)
{
    const char *bar = "  ";

    for (const struct opt *o = k->opts; o && o->name; o++) {
        if (!o->words)
            continue;
        (void)fprintf(to, "  '%s --%s') echo", k->name, o->name);
        for (const char *const *w = o->words; *w; w++)
            (void)fprintf(to, " %s", *w);
        (void)fputs("; return ;;\n", to);
    }
    for (const struct opt *o = k->opts; o && o->name; o++) {
        if (o->words || o->kind == OPT_FLAG || o->kind == OPT_MAYBE)
            continue;
        (void)fprintf(to, "%s'%s --%s'", bar, k->name, o->name);
        bar = "|";
        if (o->letter)
            (void)fprintf(to, "|'%s -%c'", k->name, o->letter);
    }
    if (*bar == '|')
        (void)fputs(") return ;;\n", to);
}

static void option_names(const struct command *k, FILE *to)
{
    case_label(k, to);
    (void)fputs("echo", to);
    for (const struct opt *o = k->opts; o && o->name; o++)
        (void)fprintf(to, " --%s", o->name);
    for (const struct opt *o = global_opts; o->name; o++)
        (void)fprintf(to, " --%s", o->name);
    (void)fputs(" ;;\n", to);
}

static void arguments(const struct command *k, FILE *to)
{
    const char *usage = k->usage;
    size_t len;

    if (strncmp(usage, "[OPTION]... ", 12) == 0)
        usage += 12;
    usage += *usage == '[';
    len = strspn(usage, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz");
    for (size_t i = 0; i < N_ELEMS(wanted); i++) {
        if (strlen(wanted[i].word) != len || strncmp(usage, wanted[i].word, len) != 0)
            continue;
        case_label(k, to);
        if (wanted[i].shell)
            (void)fputs(wanted[i].shell, to);
        else
            next_words("", to);
        (void)fputs(" ;;\n", to);
    }
}

/* "image" alone is no command, but the first word of some */
static void families(FILE *to)
{
    for (const struct command *k = commands; k->name; k++) {
        size_t n = strcspn(k->name, " ");
        char family[64];
        const struct command *other = commands;

        if (!k->name[n])
            continue;
        snprintf(family, sizeof family, "%.*s ", (int)n, k->name);
        /* once, and not where the word is a command of its own */
        while (other->name && strncmp(other->name, family, n + 1) != 0 &&
               !(strncmp(other->name, family, n) == 0 && !other->name[n]))
            other++;
        if (other != k)
            continue;
        (void)fprintf(to, "  '%.*s') ", (int)n, family);
        next_words(family, to);
        (void)fputs(" ;;\n", to);
    }
}

static void words_function(FILE *to)
{
    (void)fputs("# CUR PREV WORD...: what may stand for CUR after WORD...\n"
                "_dugout_words() {\n"
                "  local cur=$1 prev=$2 one= two= skip= w\n"
                "  shift 2\n"
                "  for w; do\n"
                "    if [ -n \"$skip\" ]; then skip=; continue; fi\n"
                "    case $w in\n"
                "    --home) skip=1 ;;\n"
                "    -*) ;;\n"
                "    *) if [ -z \"$one\" ]; then one=$w; elif [ -z \"$two\" ]; then "
                "two=$w; fi ;;\n"
                "    esac\n"
                "  done\n",
                to);
    join_two_words(to);
    (void)fputs("  case \"$one $prev\" in\n  *' --home') return ;;\n", to);
    for (const struct command *k = commands; k->name; k++)
        option_values(k, to);
    (void)fputs("  esac\n  case $cur in\n  -*) case $one in\n", to);
    for (const struct command *k = commands; k->name; k++)
        option_names(k, to);
    (void)fputs("  *) echo", to);
    for (const struct opt *o = global_opts; o->name; o++)
        (void)fprintf(to, " --%s", o->name);
    (void)fputs(" ;;\n  esac; return ;;\n  esac\n  case $one in\n  '') ", to);
    next_words("", to);
    (void)fputs(" ;;\n", to);
    families(to);
    for (const struct command *k = commands; k->name; k++)
        arguments(k, to);
    (void)fputs("  esac\n}\n", to);
}

int cmd_completion(struct cli *c)
{
    const char *shell = c->args[0];
    struct err e;

    if (strcmp(shell, "zsh") == 0) {
        (void)puts("#compdef dugout");
        words_function(stdout);
        (void)fputs(
            "_dugout() {\n"
            "  local -a found\n"
            "  found=(${=$(_dugout_words \"${words[CURRENT]}\" \"${words[CURRENT-1]}\" "
            "\"${(@)words[2,CURRENT-1]}\")})\n"
            "  if (( $#found )); then compadd -- $found; else _files; fi\n"
            "}\n"
            "if [ \"$funcstack[1]\" = _dugout ]; then _dugout \"$@\"; "
            "else compdef _dugout dugout; fi\n",
            stdout);
        return 0;
    }
    if (strcmp(shell, "bash") != 0)
        return cli_fail(
            (err_set(&e, ERR_INPUT, "completion for bash or zsh, not \"%.40s\"", shell),
             &e));
    words_function(stdout);
    /* readline splits churn:prod at the colon and puts back only what follows it */
    (void)fputs(
        "_dugout() {\n"
        "  local line=${COMP_LINE:0:COMP_POINT} words\n"
        "  local cur=${line##*[[:space:]]}\n"
        "  read -ra words <<<\"${line%\"$cur\"}\"\n"
        "  COMPREPLY=($(compgen -W \"$(_dugout_words \"$cur\" \"${words[@]: -1}\" "
        "\"${words[@]:1}\")\" -- \"$cur\"))\n"
        "  COMPREPLY=(\"${COMPREPLY[@]#\"${cur%\"${cur##*[:=]}\"}\"}\")\n"
        "}\n"
        "complete -o default -F _dugout dugout\n",
        stdout);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* main.c - parse the command line, fork the spawner when the command runs pipelines, go
 *
 * The spawner is forked before anything grows: see run/spawner.h.
 */
#include <fcntl.h>
#include <locale.h>
#include <signal.h>
#include <unistd.h>

#include "base/log.h"
#include "cli/cli.h"
#include "run/spawner.h"

/* Started with a closed 0, 1 or 2 the first files we open would get these numbers. */
static void fill_standard_descriptors(void)
{
    for (int fd = 0; fd < 3; fd++)
        if (fcntl(fd, F_GETFD) < 0)
            (void)!open("/dev/null", fd ? O_WRONLY : O_RDONLY);
}

/* SQLite maps the index of its log. On a full disk whose blocks are smaller than a page the kernel
 * cannot give it the missing block, and has no other way to say so. The record is as it was. */
static void on_bus_error(int sig)
{
    static const char text[] = "dugout: No space left on device: the index of dugout.db cannot "
                               "be written; make room and try again\n";

    (void)sig;
    (void)!write(2, text, sizeof text - 1);
    _exit(6);
}

int main(int argc, char **argv)
{
    struct cli c = {.spawner = -1};
    struct err e = {0};
    int status;

    fill_standard_descriptors();
    (void)setlocale(LC_CTYPE, "C.UTF-8"); /* libarchive converts names through the locale */
    if (cli_parse(&c, argc, argv, &e) < 0)
        return cli_fail(&e);
    if (opt_flag(&c, "version"))
        return cmd_version(&c);
    if (opt_flag(&c, "help") && c.cmd) {
        help_command(c.cmd, stdout);
        return 0;
    }
    if (!c.cmd) {
        help_all(opt_flag(&c, "help") ? stdout : stderr);
        return opt_flag(&c, "help") ? 0 : 2;
    }
    if (opt_flag(&c, "quiet"))
        log_set_level(LOG_QUIET);
    else if (opt_flag(&c, "verbose"))
        log_set_level(LOG_VERBOSE);
    if (c.cmd->spawner && !opt_flag(&c, "detach") && spawner_start(&c.spawner, &e) < 0)
        return cli_fail(&e);
    (void)signal(SIGBUS, on_bus_error);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)signal(SIGXFSZ, SIG_IGN); /* a file-size limit is an error of write(2), not a death */
    status = c.cmd->fn(&c);
    if (fflush(stdout) != 0 && status == 0 && !c.cmd->spawner)
        status = 6; /* a full disk behind "> file" is no success */
    cli_close(&c);
    return status;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cli.h - commands: the table that everything is printed from, options, and what a command gets
 *
 * commands.c holds one table of commands, each with a table of options. Parsing, --help, the man
 * page and shell completion all come from it. A command is a function of struct cli; it returns
 * the exit status. Results go to stdout, everything else to stderr.
 */
#ifndef CLI_CLI_H
#define CLI_CLI_H

#include <stdbool.h>
#include <stdio.h>

#include "base/err.h"
#include "base/json.h"
#include "base/mem.h"
#include "lineage/db.h"
#include "run/run.h"
#include "store/blob.h"

enum opt_kind {
    OPT_FLAG,
    OPT_TEXT,
    OPT_LIST,
    OPT_MAYBE, /* a list, each --NAME=VALUE; a bare --NAME stands for "*" */
};

#define OPT_TASK "[TASK=]"
struct opt {
    const char *name; /* without the dashes */
    char letter;      /* 0 = none */
    enum opt_kind kind;
    const char *arg;  /* "FILE", "N" ...; NULL for a flag. Begins with OPT_TASK where TASK=VALUE
                         is the value for one task alone */
    const char *help;
    const char *alias; /* another long name, NULL */
    const char *const *words; /* the only values allowed, NULL-terminated; NULL = any */
};

struct cli;
struct command {
    const char *name;    /* "run", "image load" */
    const char *usage;   /* after the name: "PIPELINE [OPTION]..." */
    const char *summary; /* one line */
    const char *text;    /* paragraphs for --help and the man page, may be NULL */
    const struct opt *opts; /* ended by a NULL name; may be NULL */
    int (*fn)(struct cli *c);
    int min_args, max_args; /* -1 = any number */
    bool stop_at_first;     /* what follows the first argument is not ours (box) */
    bool spawner;           /* main() forks the spawner before anything else */
    const char *alias;      /* another name of the same command, NULL */
};
extern const struct command commands[]; /* ended by a NULL name */
extern const struct opt global_opts[];

/* values of a config file or a flag that run needs */
struct config {
    struct run_opts run;
    int64_t keep_runs, keep_days; /* retention for gc */
    uint64_t keep_bytes;          /* 0 = no ceiling */
    bool quota_gc;                /* a run that ends over the soft quota is followed by gc */
    bool network_home;            /* a home on a network file system is the user's will */
    const struct node *locked;    /* list of keys that only /etc may set; NULL */
    const char *home;
};

struct opt_value {
    const struct opt *opt;
    const char *value;
    const char *task; /* NULL: for all. Only opt_for_task() looks at the others. */
};

struct cli {
    const struct command *cmd;
    char **args; /* positional */
    int n_args;
    struct opt_value *opts;
    size_t n_opts;
    int argc;
    char **argv; /* as dugout was called */
    bool json;
    struct arena a; /* for the command's whole life */
    char *home;     /* absolute */
    struct config cfg;
    struct store *store;
    struct db *db;
    int spawner; /* -1 unless cmd->spawner */
    bool may_migrate; /* cli_open brings an older database up to date */
};

/* said when a box shares the host's network */
#define HOST_NETWORK_NOTE                                                                      \
    "network host: services on 127.0.0.1 and abstract sockets of this machine can be reached " \
    "from inside"

/* ---- options ---- */
bool opt_flag(const struct cli *c, const char *name);
const char *opt_text(const struct cli *c, const char *name); /* the last one; NULL when absent */
/* the values of a repeated option in order; *n counts */
const char **opt_list(struct cli *c, const char *name, size_t *n);
int opt_u64(const struct cli *c, const char *name, uint64_t *out, struct err *e);  /* absent: unchanged */
int opt_size(const struct cli *c, const char *name, uint64_t *out, struct err *e);
int opt_duration(const struct cli *c, const char *name, int64_t *out_ms, struct err *e);
/* cpus_parse - "0.5" of a CPU and the like in thousandths; ERR_INPUT */
int cpus_parse(const char *text, uint32_t *out_millis, struct err *e);
int opt_cpus(const struct cli *c, const char *name, uint32_t *out_millis, struct err *e);

/* opt_for_task - the values given as TASK=VALUE, in order from *at on; NULL at the end */
const struct opt_value *opt_for_task(const struct cli *c, size_t *at);

/* cli_parse - find the command in argv and fill c. ERR_INPUT with the nearest right name. */
int cli_parse(struct cli *c, int argc, char **argv, struct err *e);

/* ---- what commands begin and end with ---- */
/* cli_config - read the config files into c->cfg and find the home. Called by cli_open. */
int cli_config(struct cli *c, struct err *e);
/* cli_open - home, store and database; with write access, reconcile what dead engines left */
int cli_open(struct cli *c, enum db_mode mode, struct err *e);
/* cli_open_for_image - the store, and the config digest of an image as cli_find_image takes it. The
 * database is open (with what cli_open does to it) only when the name was not known without it: for a
 * command that neither shows nor records anything else */
int cli_open_for_image(struct cli *c, const char *what, char hex[DIGEST_HEX], struct err *e);
/* cli_open_to_store - cli_open of DB_WRITE for what brings content in: ERR_LIMIT over the hard quota or
 * with less room on the disk than the config wants, a line on stderr over the soft one */
int cli_open_to_store(struct cli *c, struct err *e);
void cli_close(struct cli *c);
/* cli_migrate - bring the database of c->home up to date, after a copy of it was made; *from is the
 * version it had (0: there is none yet). ERR_BUSY while anything runs there. */
int cli_migrate(struct cli *c, int *from, struct err *e);
/* cli_fail - print "dugout: text" to stderr and give the exit status of the error */
int cli_fail(const struct err *e);
/* cli_note - a line on stderr, unless --quiet */
#define cli_note log_note
/* cli_out_json - print a finished JSON text and a newline on stdout */
void cli_out_json(const struct buf *b);
struct run_env cli_run_env(struct cli *c);

/* ---- tables on stdout ---- */
struct table {
    size_t n_cols;
    char **cells; /* heap */
    size_t n_cells, cap;
};
void table_init(struct table *t, size_t n_cols, const char *const *heads);
void table_add(struct table *t, const char *cell); /* copies; row by row */
void table_addf(struct table *t, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void table_print(struct table *t, FILE *to); /* columns aligned; frees */

/* ---- help.c ---- */
void help_command(const struct command *cmd, FILE *to);
void help_all(FILE *to);
int cmd_help(struct cli *c);
int cmd_completion(struct cli *c); /* completion.c */

/* ---- progress.c ---- */
struct progress;
struct progress *progress_new(void);
struct run_view progress_view(struct progress *p);
void progress_events_to(struct progress *p, FILE *events); /* --events: one JSON line each */
/* progress_summary - after the run: what a person wants to read */
void progress_summary(struct progress *p, const struct cli *c, const struct run_outcome *o);
void progress_free(struct progress *p);

/* ---- mounts.c, cmd_run.c, for others too ---- */
/* -v flags -> mounts; sources are made absolute and must exist */
int cli_mounts(struct cli *c, const struct run_mount **out, size_t *n, struct err *e);
/* cli_mount - one of them, as text */
int cli_mount(struct cli *c, const char *text, struct run_mount *m, struct err *e);
/* cli_limits - --memory, --cpus, --disk, --shm-size and --task-timeout for all tasks; what is not
 * given stays */
int cli_limits(struct cli *c, struct run_opts *o, struct err *e);
/* cli_task_opts - settings of single tasks: the config's, with those of flags behind them */
int cli_task_opts(struct cli *c, struct run_opts *o, struct err *e);
/* cli_kube_config - the config's secrets, configmaps, volumes and imports into c->cfg.run */
int cli_kube_config(struct cli *c, struct str file, const char *key, const struct node *n,
                    struct err *e);
/* cli_task_config - the config's "tasks: {NAME: {...}}" into c->cfg.run */
struct node;
int cli_task_config(struct cli *c, struct str file, const struct node *tasks, struct err *e);
/* cli_store_path - hash a file or directory into the store (a copy, never adopted) and fill kind,
 * digest, sizes and uri ("file://...") of *f */
int cli_store_path(struct cli *c, const char *path, struct artifact *f, struct err *e);

void cli_user(char out[64]); /* who calls, for the record */
struct db_image;
/* cli_find_image - a name (aliases followed), sha256:PREFIX or a prefix of an id */
int cli_find_image(struct cli *c, const char *what, struct db_image *out, struct err *e);

/* cli_image_kept - as cli_find_image for a name that is known without the database; false: ask it */
bool cli_image_kept(struct cli *c, const char *what, char hex[DIGEST_HEX]);

/* cli_known_image - as cli_find_image, and by digest those that were removed or never loaded */
int cli_known_image(struct cli *c, const char *what, char hex[DIGEST_HEX], struct err *e);

/* cli_find_artifact - a7, sha256:PREFIX, RUN/TASK:OUTPUT, a tag, or a path (by content) */
int cli_find_artifact(struct cli *c, const char *what, int64_t *out, struct err *e);
/* cli_find_holder - the same for who only looks: a file or folder that lies in a directory artifact
 * stands for that, and a line on stderr says so */
int cli_find_holder(struct cli *c, const char *what, int64_t *out, struct err *e);

/* cli_one_more - what to ask for to learn whether there is more than `limit` (0 = all), and
 * cli_cut - how many of the n that came are to be shown; a line on stderr says when that is not all */
int64_t cli_one_more(uint64_t limit);
size_t cli_cut(size_t n, uint64_t limit);

/* cli_reach - what was made from these artifacts, themselves included; .tags names those of them
 * that are tagged, "" when none is (in c's arena) */
struct reach {
    size_t artifacts, models;
    const char *tags;
};
int cli_reach(struct cli *c, const int64_t *starts, size_t n, struct reach *out, struct err *e);

/* GPUs of a command of its own (box --gpus): taken before the start, held until lent_done() */
struct box_spec;
struct gpus_lent;
/* gpus_lend - take what --gpus asks for, waiting as long as --gpu-wait says, and put it into s; s
 * keeps what *gives owns. *gives is NULL without --gpus, and for --gpus none */
int gpus_lend(struct cli *c, struct box_spec *s, struct gpus_lent **gives, struct err *e);
void gpus_lent_done(struct gpus_lent *l);

/* cli_quote - the last lines of a log, each behind a bar */
void cli_quote(FILE *to, const char *text);
/* doctor_gpus - the line of `doctor` about GPUs, in both forms; gives what to do, static, or NULL */
const char *doctor_gpus(struct cli *c, struct table *t, struct jw *w);

/* ---- export.c ---- */
struct db_artifact;
struct export_to {
    const char *path;
    bool replace;      /* what is there goes, in one step; a directory only for a directory, and
                          only when it is a recorded artifact */
    bool own_dir_only; /* and a directory only when it was exported with its provenance */
    bool provenance;   /* PATH.provenance.json as well */
};
/* cli_gc - as `dugout gc` without flags, and silently; *freed bytes of disk. ERR_BUSY when another
 * gc, fsck or backup is at work */
int cli_gc(struct cli *c, uint64_t *freed, struct err *e);

/* cli_export - copy an artifact to PATH, whole or not at all */
int cli_export(struct cli *c, int64_t artifact, const struct export_to *to, struct err *e);
/* cli_export_check - what can be known before: ERR_INPUT when PATH is there and may not go, ERR_SYS
 * when its directory cannot be written */
int cli_export_check(const struct export_to *to, struct err *e);
/* cli_artifact_path - where the content lies in the store; ERR_MISSING when it is gone */
int cli_artifact_path(struct cli *c, const struct db_artifact *f, char *path, size_t size,
                      struct err *e);
/* cli_artifact_content - the same for reading: a directory that was packed is there again, and
 * stays until we exit */
int cli_artifact_content(struct cli *c, const struct db_artifact *f, char *path, size_t size,
                         struct err *e);
/* cli_copy_fd - copy bytes of the store; EPIPE is success. ERR_CORRUPT when they turn out not to
 * hash to hex */
int cli_copy_fd(int from, int to, const char *hex, const char *what, struct err *e);

/* commands, one file each family */
int cmd_run(struct cli *c);
int cmd_plan(struct cli *c);
int cmd_resume(struct cli *c);
int cmd_cancel(struct cli *c);
int cmd_box(struct cli *c);
int cmd_image_load(struct cli *c);
int cmd_image_import(struct cli *c);
int cmd_image_ls(struct cli *c);
int cmd_image_inspect(struct cli *c);
int cmd_image_tag(struct cli *c);
int cmd_image_rm(struct cli *c);
int cmd_image_export(struct cli *c);
int cmd_runs(struct cli *c);
int cmd_show(struct cli *c);
int cmd_logs(struct cli *c);
int cmd_why(struct cli *c);
int cmd_artifacts(struct cli *c);
int cmd_artifact_show(struct cli *c);
int cmd_artifact_cat(struct cli *c);
int cmd_artifact_export(struct cli *c);
int cmd_artifact_import(struct cli *c);
int cmd_artifact_export_oci(struct cli *c); /* what --oci makes of them */
int cmd_artifact_import_oci(struct cli *c);
int cmd_artifact_rm(struct cli *c);
int cmd_artifact_revoke(struct cli *c);
int cmd_image_revoke(struct cli *c);
int cmd_tag(struct cli *c);
int cmd_tag_log(struct cli *c);
int cmd_tags(struct cli *c);
int cmd_query(struct cli *c);
int cmd_sql(struct cli *c);
int cmd_diff(struct cli *c);
int cmd_rerun(struct cli *c);
int cmd_lineage(struct cli *c);
int cmd_report(struct cli *c);
int cmd_export_mlmd(struct cli *c);
int cmd_export_openlineage(struct cli *c);
int cmd_gc(struct cli *c);
int cmd_du(struct cli *c);
int cmd_backup(struct cli *c);
int cmd_restore(struct cli *c);
int cmd_fsck(struct cli *c);
int cmd_migrate(struct cli *c);
int cmd_doctor(struct cli *c);
int cmd_exec(struct cli *c);
int cmd_top(struct cli *c);
int cmd_gpu_ls(struct cli *c);
int cmd_gpu_cdi(struct cli *c);
int cmd_gpu_drain(struct cli *c);
int cmd_gpu_undrain(struct cli *c);
int cmd_version(struct cli *c);

#endif

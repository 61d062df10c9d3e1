/* SPDX-License-Identifier: Apache-2.0 */
/* commands.c - the one table of commands and their options
 *
 * Usage lines, --help, the man page and completion are printed from it. The order is the order of
 * `dugout help`: run things, look back, images, artifacts, the house.
 */
#include "cli/cli.h"

static const char *const networks[] = {"none", "host", NULL};
static const char *const final_words[] = {"COMPLETE", "SUCCEEDED", NULL};
static const char *const policies[] = {"wheels", "image", "network", NULL};
static const char *const sql_formats[] = {"table", "json", "csv", NULL};
static const char *const formats[] = {"oci", "oci-dir", "docker", NULL};

const struct opt global_opts[] = {
    {"home", 0, OPT_TEXT, "DIR", "keep everything in DIR (default: $DUGOUT_HOME)", NULL, NULL},
    {"quiet", 'q', OPT_FLAG, NULL, "print errors only", NULL, NULL},
    {"verbose", 0, OPT_FLAG, NULL, "say more", NULL, NULL},
    {"json", 0, OPT_FLAG, NULL, "print one JSON document", NULL, NULL},
    {"help", 'h', OPT_FLAG, NULL, "explain the command", NULL, NULL},
    {"version", 0, OPT_FLAG, NULL, "print the version", NULL, NULL},
    {0},
};

#define RUN_OPTS                                                                              \
    {"param", 'p', OPT_LIST, "NAME=VALUE", "set a pipeline parameter", NULL, NULL},           \
    {"params", 0, OPT_TEXT, "FILE", "read parameters from a YAML or JSON file", NULL, NULL},  \
    {"input", 0, OPT_LIST, "NAME=SOURCE", "feed a root artifact input: a path, tag or artifact", NULL, NULL}, \
    {"name", 0, OPT_TEXT, "NAME", "name of the run", NULL, NULL},                             \
    {"experiment", 0, OPT_TEXT, "NAME", "experiment it belongs to (Default)", NULL, NULL},    \
    {"no-cache", 0, OPT_FLAG, NULL, "run every task, even if its result is known", NULL, NULL}, \
    {"refresh", 0, OPT_MAYBE, "TASK", "run this task anew; all without =TASK", NULL, NULL},         \
    {"cache-max-age", 0, OPT_TEXT, "DURATION", "take results from the cache up to this age", NULL, NULL}, \
    {"network", 0, OPT_TEXT, OPT_TASK "MODE", "none (default) or host", NULL, networks},  \
    {"packages", 0, OPT_TEXT, "POLICY", "how packages_to_install are met: wheels, image or network", NULL, policies}, \
    {"lenient", 0, OPT_FLAG, NULL, "note unknown fields instead of refusing the file", NULL, NULL}, \
    {"volume", 'v', OPT_LIST, OPT_TASK "SRC:DST[:rw]", "mount a host path into every task (or one), read-only unless :rw", "mount", NULL}, \
    {"env", 'e', OPT_LIST, "K=V", "set an environment variable in every task", NULL, NULL},   \
    {"retries", 0, OPT_TEXT, OPT_TASK "N", "attempts after a failure, for tasks without a retry policy; TASK=N even with one", NULL, NULL}, \
    {"gpus", 0, OPT_TEXT, "N", "at most N GPUs at a time; none: run GPU tasks without", NULL, NULL}, \
    {"gpu-wait", 0, OPT_TEXT, "DURATION", "how long a task waits for GPUs that others have (24h)", NULL, NULL}, \
    {"jobs", 'j', OPT_TEXT, "N", "tasks at a time (default: number of CPUs)", NULL, NULL},    \
    {"timeout", 0, OPT_TEXT, "DURATION", "stop the run after this time", NULL, NULL},         \
    {"task-timeout", 0, OPT_TEXT, OPT_TASK "DURATION", "stop a task after this time; TASK=DURATION whatever it says itself", NULL, NULL}, \
    {"memory", 'm', OPT_TEXT, OPT_TASK "SIZE", "memory limit of tasks that set none; TASK=SIZE even of one that does", NULL, NULL}, \
    {"cpus", 0, OPT_TEXT, OPT_TASK "N", "CPU limit of tasks that set none; TASK=N even of one that does", NULL, NULL}, \
    {"disk", 0, OPT_TEXT, OPT_TASK "SIZE", "what a task may write, outputs included", NULL, NULL}, \
    {"shm-size", 0, OPT_TEXT, OPT_TASK "SIZE", "size of /dev/shm (half of the memory limit)", NULL, NULL}, \
    {"final-status", 0, OPT_TEXT, "WORD", "what exit tasks are told of a success: COMPLETE (as KFP's backend) or SUCCEEDED", NULL, final_words}, \
    {"tag", 0, OPT_LIST, "TASK:OUTPUT=NAME", "tag an output artifact when the run succeeds", NULL, NULL}, \
    {"export", 0, OPT_LIST, "TASK:OUTPUT=PATH", "copy an output to PATH when the run succeeds, with PATH.provenance.json", NULL, NULL}

static const struct opt run_opts[] = {
    RUN_OPTS,
    {"detach", 'd', OPT_FLAG, NULL, "print the run's name and go on in the background", NULL, NULL},
    {"events", 0, OPT_TEXT, "FILE", "append one JSON line for each event to FILE", NULL, NULL},
    {0},
};
static const struct opt plan_opts[] = {
    RUN_OPTS,
    {"dot", 0, OPT_FLAG, NULL, "print a Graphviz graph", NULL, NULL},
    {"missing", 0, OPT_FLAG, NULL, "print what the connected side has to fetch, as commands", NULL, NULL},
    {"against", 0, OPT_TEXT, "FILE|RUN", "only say what differs from another file or a run's", NULL, NULL},
    {0},
};
static const struct opt resume_opts[] = {
    {"all", 0, OPT_FLAG, NULL, "continue every interrupted run", NULL, NULL},
    {"from", 0, OPT_TEXT, "TASK", "do this task again, and all that needs it", NULL, NULL},
    {"pipeline", 0, OPT_TEXT, "FILE", "go on with an edited pipeline, as a new run", NULL, NULL},
    {"param", 'p', OPT_LIST, "NAME=VALUE", "with --pipeline: set a parameter", NULL, NULL},
    {"params", 0, OPT_TEXT, "FILE", "with --pipeline: read parameters from a file", NULL, NULL},
    {"network", 0, OPT_TEXT, OPT_TASK "MODE", "none or host from now on", NULL, networks},
    {"volume", 'v', OPT_LIST, OPT_TASK "SRC:DST[:rw]", "mount one more host path", "mount", NULL},
    {"retries", 0, OPT_TEXT, OPT_TASK "N", "attempts after a failure from now on", NULL, NULL},
    {"memory", 'm', OPT_TEXT, OPT_TASK "SIZE", "memory limit from now on", NULL, NULL},
    {"cpus", 0, OPT_TEXT, OPT_TASK "N", "CPU limit from now on", NULL, NULL},
    {"disk", 0, OPT_TEXT, OPT_TASK "SIZE", "what a task may write from now on", NULL, NULL},
    {"shm-size", 0, OPT_TEXT, OPT_TASK "SIZE", "size of /dev/shm from now on", NULL, NULL},
    {"task-timeout", 0, OPT_TEXT, OPT_TASK "DURATION", "time-out of a task from now on", NULL, NULL},
    {"timeout", 0, OPT_TEXT, "DURATION", "stop after this time, from now", NULL, NULL},
    {"jobs", 'j', OPT_TEXT, "N", "tasks at a time", NULL, NULL},
    {"detach", 'd', OPT_FLAG, NULL, "go on in the background", NULL, NULL},
    {0},
};
static const struct opt box_opts[] = {
    {"volume", 'v', OPT_LIST, "SRC:DST[:rw]", "mount a host path, read-only unless :rw", "mount", NULL},
    {"env", 'e', OPT_LIST, "K=V", "set an environment variable", NULL, NULL},
    {"memory", 'm', OPT_TEXT, "SIZE", "memory limit", NULL, NULL},
    {"cpus", 0, OPT_TEXT, "N", "CPU limit, 0.5 for half of one", NULL, NULL},
    {"disk", 0, OPT_TEXT, "SIZE", "what it may write outside of volumes", NULL, NULL},
    {"shm-size", 0, OPT_TEXT, "SIZE", "size of /dev/shm (half of the memory limit)", NULL, NULL},
    {"timeout", 0, OPT_TEXT, "DURATION", "stop it after this time", NULL, NULL},
    {"network", 0, OPT_TEXT, "MODE", "none (default) or host", NULL, networks},
    {"user", 'u', OPT_TEXT, "USER", "user or uid[:gid] inside", NULL, NULL},
    {"workdir", 'w', OPT_TEXT, "DIR", "working directory inside", NULL, NULL},
    {"pids", 0, OPT_TEXT, "N", "limit of processes", NULL, NULL},
    {"gpus", 0, OPT_TEXT, "GPUS", "N, all, none, device=ID,ID or TYPE=N (amd.com/gpu=2)", NULL, NULL},
    {"gpu-wait", 0, OPT_TEXT, "DURATION", "wait so long for GPUs that others have", NULL, NULL},
    {"interactive", 'i', OPT_FLAG, NULL, "keep standard input open", NULL, NULL},
    {"tty", 't', OPT_FLAG, NULL, "give the command a terminal", NULL, NULL},
    {0},
};
static const struct opt load_opts[] = {
    {"name", 0, OPT_TEXT, "REF", "name of the image", NULL, NULL},
    {"ref", 0, OPT_TEXT, "NAME", "load only this image of the archive", NULL, NULL},
    {"platform", 0, OPT_TEXT, "OS/ARCH", "another platform than this machine's", NULL, NULL},
    {"no-blobs", 0, OPT_FLAG, NULL, "keep only the unpacked layers", NULL, NULL},
    {"jobs", 'j', OPT_TEXT, "N", "layers unpacked at a time", NULL, NULL},
    {0},
};
static const struct opt import_opts[] = {
    {"name", 0, OPT_TEXT, "REF", "name of the image", NULL, NULL},
    {"env", 'e', OPT_LIST, "K=V", "environment of the image", NULL, NULL},
    {"workdir", 'w', OPT_TEXT, "DIR", "working directory of the image", NULL, NULL},
    {"user", 'u', OPT_TEXT, "USER", "user of the image", NULL, NULL},
    {"no-blobs", 0, OPT_FLAG, NULL, "keep only the unpacked layer", NULL, NULL},
    {0},
};
static const struct opt export_opts[] = {
    {"format", 0, OPT_TEXT, "FORMAT", "oci (a tar, default), oci-dir or docker", NULL, formats},
    {"name", 0, OPT_TEXT, "REF", "reference written into the archive", NULL, NULL},
    {0},
};
static const struct opt runs_opts[] = {
    {"pipeline", 0, OPT_TEXT, "NAME", "only runs of this pipeline", NULL, NULL},
    {"experiment", 0, OPT_TEXT, "NAME", "only runs of this experiment", NULL, NULL},
    {"state", 0, OPT_TEXT, "STATE", "only runs in this state", NULL, NULL},
    {"limit", 'n', OPT_TEXT, "N", "at most N runs (20; 0 = all)", NULL, NULL},
    {0},
};
static const struct opt show_opts[] = {
    {"spec", 0, OPT_FLAG, NULL, "print the YAML that ran", NULL, NULL},
    {0},
};
static const struct opt logs_opts[] = {
    {"follow", 'f', OPT_FLAG, NULL, "go on until the task or run ends", NULL, NULL},
    {"attempt", 0, OPT_TEXT, "N", "of an earlier attempt", NULL, NULL},
    {"tail", 0, OPT_TEXT, "N", "only the last N lines", NULL, NULL},
    {0},
};
static const struct opt artifacts_opts[] = {
    {"type", 0, OPT_TEXT, "TYPE", "only this type: Dataset, Model ...", NULL, NULL},
    {"where", 0, OPT_TEXT, "EXPR", "by a condition: 'rows > 10000 and split = \"train\"' (see help query)", NULL, NULL},
    {"sort", 0, OPT_TEXT, "KEY", "by metadata (f1; -f1 for the highest first; without what lacks it), or name, size, files, created", NULL, NULL},
    {"pipeline", 0, OPT_TEXT, "NAME", "given out by runs of this pipeline", NULL, NULL},
    {"run", 0, OPT_TEXT, "RUN", "made by this run", NULL, NULL},
    {"limit", 'n', OPT_TEXT, "N", "at most N (50; 0 = all)", NULL, NULL},
    {"all", 0, OPT_FLAG, NULL, "those whose content is gone, too", NULL, NULL},
    {0},
};
static const struct opt rerun_opts[] = {
    {"verify", 0, OPT_FLAG, NULL, "run everything, and compare the outputs byte for byte", NULL, NULL},
    {"no-cache", 0, OPT_FLAG, NULL, "run every task, even if its result is known", NULL, NULL},
    {"name", 0, OPT_TEXT, "NAME", "name of the new run", NULL, NULL},
    {"jobs", 'j', OPT_TEXT, "N", "tasks at a time", NULL, NULL},
    {0},
};
static const struct opt query_opts[] = {
    {"limit", 'n', OPT_TEXT, "N", "at most N (50; 0 = all)", NULL, NULL},
    {0},
};
static const struct opt sql_opts[] = {
    {"format", 0, OPT_TEXT, "FORMAT", "table (default), json or csv", NULL, sql_formats},
    {"timeout", 0, OPT_TEXT, "DURATION", "stop it after this time (30s; 0 = never)", NULL, NULL},
    {0},
};
static const struct opt a_import_opts[] = {
    {"oci", 0, OPT_FLAG, NULL, "PATH is an OCI layout or an archive of one", NULL, NULL},
    {"ref", 0, OPT_TEXT, "NAME", "which artifact of the layout (with --oci)", NULL, NULL},
    {"type", 0, OPT_TEXT, "TYPE", "artifact type (Dataset)", NULL, NULL},
    {"name", 0, OPT_TEXT, "NAME", "name (default: the file's)", NULL, NULL},
    {"set", 0, OPT_LIST, "K=V", "metadata; numbers and true/false are taken as such", "metadata", NULL},
    {0},
};
static const struct opt tag_opts[] = {
    {"move", 0, OPT_FLAG, NULL, "move the tag when it points elsewhere", NULL, NULL},
    {"message", 'm', OPT_TEXT, "REASON", "why, for the log", NULL, NULL},
    {"delete", 'd', OPT_FLAG, NULL, "remove the tag NAME (the artifact stays)", NULL, NULL},
    {0},
};
static const struct opt revoke_opts[] = {
    {"message", 'm', OPT_TEXT, "REASON", "why, for those who find the flag", NULL, NULL},
    {"undo", 0, OPT_FLAG, NULL, "lift the mark again", NULL, NULL},
    {0},
};
static const struct opt a_export_opts[] = {
    {"force", 'f', OPT_FLAG, NULL, "replace a file or an earlier export at PATH, in one step", NULL, NULL},
    {"provenance", 0, OPT_FLAG, NULL, "write PATH.provenance.json as well; with --oci add the OpenLineage events of every run upstream", NULL, NULL},
    {"oci", 0, OPT_FLAG, NULL, "write an OCI layout", NULL, NULL},
    {"ref", 0, OPT_TEXT, "NAME", "name of it in the layout", NULL, NULL},
    {0},
};
static const struct opt lineage_opts_table[] = {
    {"up", 0, OPT_FLAG, NULL, "what it was made from (default)", NULL, NULL},
    {"down", 0, OPT_FLAG, NULL, "what was made from it", NULL, NULL},
    {"depth", 0, OPT_TEXT, "N", "at most N artifacts away", NULL, NULL},
    {"type", 0, OPT_TEXT, "TYPE", "show only artifacts of this type", NULL, NULL},
    {"image", 0, OPT_TEXT, "IMAGE", "start from all that this image made", NULL, NULL},
    {"component", 0, OPT_TEXT, "NAME", "start from all that this component made: its name, sha256:PREFIX of its code, or RUN/TASK", NULL, NULL},
    {"dot", 0, OPT_FLAG, NULL, "print a Graphviz graph", NULL, NULL},
    {0},
};
static const struct opt export_lines_opts[] = {
    {"run", 0, OPT_TEXT, "RUN", "only this run", NULL, NULL},
    {0},
};
static const struct opt report_opts[] = {
    {"output", 'o', OPT_TEXT, "FILE", "write the page to FILE (default: standard output)", NULL, NULL},
    {0},
};
static const struct opt gc_opts[] = {
    {"dry-run", 'n', OPT_FLAG, NULL, "say what would go", NULL, NULL},
    {"grace", 0, OPT_TEXT, "DURATION", "keep what is younger (24h)", NULL, NULL},
    {"keep-runs", 0, OPT_TEXT, "N", "keep outputs of the last N runs of each pipeline (10)", NULL, NULL},
    {"keep-days", 0, OPT_TEXT, "N", "keep outputs of runs of the last N days (30)", NULL, NULL},
    {"keep-bytes", 0, OPT_TEXT, "SIZE", "let the oldest kept runs go until they need no more than SIZE", NULL, NULL},
    {"no-pack", 0, OPT_FLAG, NULL, "leave directories of many small files as they are", NULL, NULL},
    {0},
};
static const char *const du_ways[] = {"place", "pipeline", "run", "image", NULL};
static const struct opt du_opts[] = {
    {"by", 0, OPT_TEXT, "WHAT", "place (default), pipeline, run or image", NULL, du_ways},
    {0},
};
static const struct opt fsck_opts[] = {
    {"full", 0, OPT_FLAG, NULL, "read and hash everything", NULL, NULL},
    {"sample", 0, OPT_TEXT, "PERCENT", "read and hash this share", NULL, NULL},
    {"dry-run", 'n', OPT_FLAG, NULL, "move and mend nothing", NULL, NULL},
    {0},
};
static const char *const vendors[] = {"nvidia", "amd", "intel", NULL};
static const struct opt cdi_opts[] = {
    {"vendor", 0, OPT_TEXT, "VENDOR", "nvidia, amd or intel (default: whose GPUs are here)", NULL, vendors},
    {0},
};
static const struct opt exec_opts[] = {
    {"interactive", 'i', OPT_FLAG, NULL, "keep standard input open", NULL, NULL},
    {"user", 'u', OPT_TEXT, "USER", "user or uid[:gid] inside (default: the task's)", NULL, NULL},
    {"workdir", 'w', OPT_TEXT, "DIR", "working directory inside (default: the task's)", NULL, NULL},
    {0},
};
static const struct opt top_opts[] = {
    {"once", 0, OPT_FLAG, NULL, "print one table, also on a terminal", NULL, NULL},
    {0},
};
static const struct opt drain_opts[] = {
    {"message", 'm', OPT_TEXT, "REASON", "why; shown to whoever asks for it", NULL, NULL},
    {0},
};
static const struct opt restore_opts[] = {
    {"check", 0, OPT_FLAG, NULL, "read the backup and write nothing", NULL, NULL},
    {0},
};
static const struct opt help_opts[] = {
    {"man", 0, OPT_FLAG, NULL, "print the man page (roff)", NULL, NULL},
    {0},
};

const struct command commands[] = {
    {"run", "PIPELINE [OPTION]...", "run a compiled pipeline to its end",
     "PIPELINE is what the KFP compiler wrote: .yaml, .json, .zip, .tar.gz, or - for standard "
     "input. Every task runs in a container of its own, without network unless --network host "
     "is given. Results of equal tasks are taken from the cache. Ctrl-C stops the run; a hangup "
     "(lost terminal) does not.\n"
     "Exit status: 0 succeeded, 1 a task failed, 124 timed out, 128+N stopped by signal N.",
     run_opts, cmd_run, 1, 1, false, true, NULL},
    {"plan", "PIPELINE [OPTION]...", "show what would run, without running it",
     "Walks the pipeline as a run would: loops and branches are followed as far as their inputs are "
     "known, and results that are known are told from tasks that would run. Everything that is missing "
     "on this machine is named at once; exit status 3 then. --missing gives skopeo and pip lines to "
     "paste where there is a network. --against compares two files, or a file with what a run ran.",
     plan_opts, cmd_plan, 1, 1, false, true, NULL},
    {"resume", "RUN|--all [OPTION]...", "continue an interrupted or failed run",
     "Tasks that succeeded are not run again; tasks that still run under an orphaned supervisor "
     "are adopted. The run goes on with the parameters and options that it was started with, but for "
     "what flags change.\n"
     "With --pipeline and an edited file a new run is made, whose parent is RUN: what did not change "
     "takes its results over from there, also where caching is off, and only the rest runs. "
     "--from TASK on a run that has succeeded makes a new run as well.",
     resume_opts, cmd_resume, 0, 1, false, true, "retry"},
    {"cancel", "RUN", "stop a run and its tasks", NULL, NULL, cmd_cancel, 1, 1, false, false, NULL},
    {"box", "[OPTION]... IMAGE [--] [COMMAND [ARG]...]", "run one command in a container",
     "The same isolation as a task has; nothing is written to the database. The exit status is "
     "the command's own; 125 when the box could not be built, 126 when the command could not be "
     "executed, 127 when it was not found.",
     box_opts, cmd_box, 1, -1, true, false, NULL},
    {"runs", "[OPTION]...", "list runs", NULL, runs_opts, cmd_runs, 0, 0, false, false, NULL},
    {"show", "RUN[/TASK]", "show a run or one of its tasks",
     "RUN is an id, a unique prefix, a name, @latest or PIPELINE@latest.", show_opts, cmd_show, 1,
     1, false, false, NULL},
    {"logs", "RUN[/TASK] [OPTION]...", "print what tasks printed", NULL, logs_opts, cmd_logs, 1, 1,
     false, false, NULL},
    {"why", "RUN[/TASK]", "say why a task ran, was cached, was skipped or failed",
     "Of a task that ran: what differs from the newest earlier run of it. Of one from the cache: "
     "which run made the result. Of one that was skipped: what it needed, back to the cause. Of one "
     "that failed: how, the end of its log, and what to type next. RUN alone explains the tasks that "
     "failed, or gives one line for each.",
     NULL, cmd_why, 1, 1, false, false, NULL},
    {"image ls", "", "list images", NULL, NULL, cmd_image_ls, 0, 0, false, false, "images"},
    {"image load", "FILE|DIR|- [OPTION]...", "load an OCI layout or docker archive",
     "Takes what docker save, podman save and skopeo copy write: directories and archives, plain, "
     "gzip or zstd. Every digest is checked.",
     load_opts, cmd_image_load, 1, 1, false, false, NULL},
    {"image import", "ROOTFS.tar --name REF [OPTION]...", "make an image of a root file system",
     NULL, import_opts, cmd_image_import, 1, 1, false, false, NULL},
    {"image inspect", "IMAGE", "show an image's config and layers", NULL, NULL, cmd_image_inspect,
     1, 1, false, false, NULL},
    {"image tag", "SRC DST", "give an image another name", NULL, NULL, cmd_image_tag, 2, 2, false,
     false, NULL},
    {"image export", "IMAGE FILE|DIR|- [OPTION]...", "write an image to an archive", NULL,
     export_opts, cmd_image_export, 2, 2, false, false, NULL},
    {"image revoke", "IMAGE -m REASON | IMAGE --undo", "flag everything that an image has made",
     "IMAGE may have been removed since: its digest is enough.", revoke_opts, cmd_image_revoke, 1, 1,
     false, false, NULL},
    {"image rm", "IMAGE...", "remove images or names of images",
     "A name goes alone while the image has others; content goes at the next gc.", NULL,
     cmd_image_rm, 1, -1, false, false, NULL},
    {"artifacts", "[OPTION]...", "list artifacts", NULL, artifacts_opts, cmd_artifacts, 0, 0, false,
     false, "artifact ls"},
    {"artifact show", "ARTIFACT", "show an artifact, its metadata and where it came from",
     "ARTIFACT is a7, sha256:PREFIX, RUN/TASK:OUTPUT, a tag such as churn:prod (or "
     "churn:prod@2026-03-03), or the path of a file to look up by its content.",
     NULL, cmd_artifact_show, 1, 1, false, false, NULL},
    {"artifact cat", "ARTIFACT", "print an artifact's content", NULL, NULL, cmd_artifact_cat, 1, 1,
     false, false, NULL},
    {"artifact export", "ARTIFACT PATH [OPTION]...", "copy an artifact to a file or directory",
     "PATH has all of it or nothing of it at any moment. "
     "With --oci PATH becomes an OCI layout (PATH.tar: an archive of one) that skopeo and registries "
     "take; a model is a ModelPack model. The digest of its manifest is printed, and is the same for "
     "every export of the same artifact.",
     a_export_opts, cmd_artifact_export, 2, 2, false, false, NULL},
    {"artifact import", "PATH [OPTION]...", "bring a file or directory in as an artifact", NULL,
     a_import_opts, cmd_artifact_import, 1, 1, false, false, NULL},
    {"artifact rm", "ARTIFACT...", "remove an artifact's content at the next gc", NULL, NULL,
     cmd_artifact_rm, 1, -1, false, false, NULL},
    {"artifact revoke", "ARTIFACT -m REASON | ARTIFACT --undo", "flag an artifact and all that was made from it",
     "Everything with the same content counts. The flag shows in artifacts, lineage, show and tag; "
     "runs that read it say so, and its cached results are not used any more.",
     revoke_opts, cmd_artifact_revoke, 1, 1, false, false, NULL},
    {"tag", "ARTIFACT NAME | --delete NAME", "name an artifact, as in churn:prod", NULL, tag_opts,
     cmd_tag, 1, 2, false, false, NULL},
    {"tag log", "[NAME]", "show how tags moved", NULL, NULL, cmd_tag_log, 0, 1, false, false, NULL},
    {"tags", "", "list tags", NULL, NULL, cmd_tags, 0, 0, false, false, "tag ls"},
    {"rerun", "RUN [OPTION]...", "do a run again from its record",
     "The same YAML, parameters, options, root inputs and image digests, whatever the names of the "
     "images mean by now. With --verify nothing is taken from the cache, and each output is compared "
     "with that of the first run: content byte for byte, parameters, and metadata where there is no "
     "content; exit status 1 when one differs.",
     rerun_opts, cmd_rerun, 1, 1, false, true, NULL},
    {"diff", "RUN RUN", "compare two runs: parameters, images, code, inputs, outputs, metrics",
     "Tasks are paired by their path, contents compared by digest. What is the same is left out, but "
     "for metrics and metadata, which stand side by side.",
     NULL, cmd_diff, 2, 2, false, false, NULL},
    {"query", "QUERY [OPTION]...", "find artifacts by type, metadata, tags, parameters and relations",
     "QUERY is [TYPE] [where CONDITION] [order by [-]KEY] [limit N]:\n"
     "Model where upstream Dataset.rows > 10000 and tag = prod\n"
     "A condition joins tests with and, or, not and parentheses. A test is KEY OP VALUE with OP one "
     "of = != < <= > >= and ~ (a pattern with * and ?), KEY in (VALUE, ...), has KEY, or revoked. "
     "KEY is a metadata key, dotted when nested (train.rows); id, name, type, kind, size, files, "
     "created, state, digest, source, uri, tag; of the task that gave the artifact out: task, run, "
     "pipeline, experiment, image, component, code, or param.NAME for an input parameter. tag = "
     "prod holds for churn:prod, too. metadata.KEY or a KEY in quotes is always metadata.\n"
     "A relation looks at other artifacts: upstream (all that it was made from), downstream (all "
     "that was made from it), input (what its task read), identical (the same bytes). Behind it "
     "stands a type, a test, TYPE.KEY OP VALUE, or TYPE (CONDITION): upstream Dataset (rows > 10000 "
     "and not revoked). Texts with other characters than letters, digits and . - : / _ go in quotes.",
     query_opts, cmd_query, 1, -1, false, false, NULL},
    {"sql", "[SELECT] [OPTION]...", "read the record with SQL",
     "Without a statement it lists the views that are made for this, with their columns: runs, tasks, "
     "artifacts, inputs, outputs, parameters, properties, tags, tag_log, images, revocations. They "
     "keep their columns from version to version; the tables behind them can be read too and may "
     "change. Digests are text in views and bytes in tables. Nothing can be written or attached.\n"
     "select run, name, number from parameters where direction = 'input' and number > 10",
     sql_opts, cmd_sql, 0, 1, false, false, NULL},
    {"lineage", "ARTIFACT|--image IMAGE|--component NAME [OPTION]...",
     "show what an artifact came from, or what came from it",
     "ARTIFACT may be the path of a file: it is looked up by its content, also in directories that are "
     "artifacts. A line names the input "
     "that an artifact was read as, its type, digest, metadata, and the task that made it. What a "
     "bad dataset touched: lineage DATASET --down --type Model. Which models depend on an image: "
     "lineage --image IMAGE --type Model.",
     lineage_opts_table, cmd_lineage, 0, 1, false, false, NULL},
    {"exec", "[OPTION]... RUN/TASK [--] COMMAND [ARG]...", "run a command in the box of a running task",
     "In the task's namespaces, root, cgroups and environment, with no more privilege than it has. "
     "The exit status is the command's own; 125 when the box cannot be entered, 126 when the command "
     "could not be executed, 127 when it was not found.",
     exec_opts, cmd_exec, 2, -1, true, false, NULL},
    {"top", "[OPTION]...", "show what runs now, what it uses, and what waits for what",
     "Tasks of all runs of the home, boxes of the box command, and GPUs. MEMORY is what is in use "
     "without file cache that the kernel would give up, beside the limit that is enforced; PEAK is the "
     "most since the start, where the kernel tells; CPU is in per cent of one CPU, since the last look "
     "or else since the start; ? is what cannot be known here. Tasks that could start say what they "
     "wait for: a job, CPUs, memory promised to tasks of this or another run, a GPU, or the pause "
     "before another attempt; runs, for a mutex.\n"
     "On a terminal it is drawn again each second until q or Ctrl-C.",
     top_opts, cmd_top, 0, 0, false, false, NULL},
    {"gpu ls", "", "list the GPUs of this machine, and who has them",
     "Found without vendor tools, in /proc, /sys and /dev (below gpu_root of the configuration).",
     NULL, cmd_gpu_ls, 0, 0, false, false, "gpus"},
    {"gpu cdi", "[OPTION]...", "print a CDI file of the GPUs of this machine",
     "For podman, containerd and others: put it into /etc/cdi as a .json file. It has no hooks. CDI files "
     "in /etc/cdi and /var/run/cdi are honoured by run and box, too.",
     cdi_opts, cmd_gpu_cdi, 0, 0, false, false, NULL},
    {"gpu drain", "GPU -m REASON", "give a GPU to nobody until it is undrained",
     "GPU is an id, a unique prefix of one, a place such as 0, or a PCI address. What runs on it goes "
     "on. A GPU that fails under a task is drained by itself.",
     drain_opts, cmd_gpu_drain, 1, 1, false, false, NULL},
    {"gpu undrain", "GPU", "give a drained GPU to tasks again", NULL, NULL, cmd_gpu_undrain, 1, 1,
     false, false, NULL},
    {"report", "RUN|TAG|ARTIFACT -o FILE.html", "write a run, or the audit of a model, as one HTML page",
     "The page needs no network and runs no script. Of a run: verdict, cause and last lines first, "
     "then the graph, metrics, evaluation, parameters, artifacts, lineage of each model, and logs. "
     "Of a tag or artifact: an audit page for two printed sheets: data with digest, rows and role, "
     "image, code, parameters, evaluation, and who promoted it when and why.",
     report_opts, cmd_report, 1, 1, false, false, NULL},
    {"export mlmd", "FILE", "write the record as a file of ML Metadata",
     "SQLite, schema version 10, shaped as Kubeflow Pipelines v2 writes it, for ML Metadata's own "
     "library.",
     NULL, cmd_export_mlmd, 1, 1, false, false, NULL},
    {"export openlineage", "FILE|- [--run RUN]", "write the record as OpenLineage events",
     "One JSON object a line (specification 2-0-2): a START and an end for every run and task, with "
     "inputs, outputs, parameters, digests and metadata as facets.",
     export_lines_opts, cmd_export_openlineage, 1, 1, false, false, NULL},
    {"gc", "[OPTION]...", "remove what nothing needs any more",
     "Tags with everything upstream of them, kept runs, images and unfinished attempts stay. "
     "Content goes, its record stays.",
     gc_opts, cmd_gc, 0, 0, false, false, NULL},
    {"fsck", "[OPTION]...", "check the database and the store, and say what damage touches",
     "Without an option names, sizes and modes are checked and that everything recorded is there; "
     "--full reads and hashes all of it but unpacked layers of images, --sample some, the longest "
     "unread first. Wrong bytes are moved to trash/, a directory's tree object is made again from it. "
     "Each damage comes with the artifacts that have it and the models that were "
     "made from them. Exit status 4 when something is damaged.",
     fsck_opts, cmd_fsck, 0, 0, false, false, NULL},
    {"backup", "DIR", "copy everything recorded to DIR, beside running pipelines",
     "The first time all of it, then what is new. DIR has a consistent database and every content "
     "that it names; layers are unpacked again on restore, secrets and volumes are not in it. Exit "
     "status 4 when a content of this home is damaged or missing: the rest is in the backup.",
     NULL, cmd_backup, 1, 1, false, false, NULL},
    {"restore", "DIR [--check]", "make a home from a backup, every byte verified",
     "Into the home named by --home, which must have no database yet. Runs that were going on are "
     "INTERRUPTED and can be resumed.",
     restore_opts, cmd_restore, 1, 1, false, false, NULL},
    {"du", "[--by WHAT]", "show what takes space",
     "By place on the disk, or by who made it. Content that several have counts once for each.",
     du_opts, cmd_du, 0, 0, false, false, NULL},
    {"migrate", "", "bring the database of an older dugout up to date",
     "Keeps a copy of the old file as dugout.db.vN beside it. Nothing of the home may run "
     "meanwhile. `run` does the same by itself; other commands refuse an older database.",
     NULL, cmd_migrate, 0, 0, false, false, NULL},
    {"doctor", "", "say what this host allows, and what to do about the rest", NULL, NULL,
     cmd_doctor, 0, 0, false, false, NULL},
    {"version", "", "print versions", NULL, NULL, cmd_version, 0, 0, false, false, NULL},
    {"help", "[COMMAND]", "explain a command", NULL, help_opts, cmd_help, 0, 2, false, false, NULL},
    {"completion", "bash|zsh", "print a completion script for a shell", NULL, NULL, cmd_completion,
     1, 1, false, false, NULL},
    {0},
};

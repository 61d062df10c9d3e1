/* SPDX-License-Identifier: Apache-2.0 */
/* placeholder.h - {{$...}}: found by a scanner here, answered by the caller
 *
 * One pass from left to right; what was put in is never scanned again (user data must
 * not be able to smuggle a placeholder). Spec section 8.
 */
#ifndef SPEC_PLACEHOLDER_H
#define SPEC_PLACEHOLDER_H

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "spec/value.h"

enum placeholder_kind {
    PH_EXECUTOR_INPUT, /* {{$}} */
    PH_JSON_ESCAPE,    /* {{$.json_escape[N]}}: times = N */
    PH_INPUT_PARAM,    /* {{$.inputs.parameters['name']}} */
    PH_INPUT_ARTIFACT, /* {{$.inputs.artifacts['name']}} */
    PH_INPUT_ARTIFACT_URI,
    PH_INPUT_ARTIFACT_PATH,
    PH_INPUT_ARTIFACT_META, /* .metadata or .metadata['key'] */
    PH_OUTPUT_PARAM_FILE,   /* {{$.outputs.parameters['name'].output_file}} */
    PH_OUTPUT_ARTIFACT_URI,
    PH_OUTPUT_ARTIFACT_PATH,
    PH_OUTPUT_ARTIFACT_META,
    PH_OUTPUT_FILE, /* {{$.outputs.output_file}} */
    PH_JOB_NAME,
    PH_JOB_RESOURCE_NAME,
    PH_JOB_UUID,
    PH_TASK_NAME,
    PH_TASK_UUID,
    PH_CREATE_TIME,
    PH_SCHEDULE_TIME,
    PH_WORKSPACE,
    PH_PIPELINE_ROOT,
};

struct placeholder {
    enum placeholder_kind kind;
    struct str name; /* ['name'] */
    struct str key;  /* metadata key, empty when none */
    unsigned times;  /* json_escape */
};

/* answer: append the replacement to *out; return 1 when replaced, 0 to leave the text
 * as it is, -1 with *e set */
typedef int placeholder_fn(void *ctx, const struct placeholder *ph, struct buf *out,
                           struct err *e);

/* placeholder_find - the first known placeholder at or after *at; false when there is
 * none. *at becomes its offset, *len its length; names in *out are borrowed from `text`
 */
bool placeholder_find(struct str text, size_t *at, size_t *len,
                      struct placeholder *out);

/* placeholder_expand - copy `text` to *out with every known placeholder answered by fn
 */
int placeholder_expand(struct str text, placeholder_fn *fn, void *ctx, struct buf *out,
                       struct err *e);
/* placeholder_whole - is `text` exactly one placeholder? */
bool placeholder_whole(struct str text, struct placeholder *out);
/* placeholder_any - does text hold at least one known placeholder? */
bool placeholder_any(struct str text);

/* placeholder_argv_in - command + args -> argv, spec 8.2 and 8.3: IfPresent and Concat
 * elements are parsed as JSON first, placeholders inside replaced after; `present`
 * answers IfPresent. gives: *argv with a NULL behind its last word, in `a`. ERR_INPUT
 * for a structured element that is malformed and for a word with a NUL character; what
 * fn says otherwise */
typedef bool placeholder_present_fn(void *ctx, struct str input_name);
int placeholder_argv_in(struct arena *a, const struct str *words, size_t n_words,
                        placeholder_fn *fn, placeholder_present_fn *present, void *ctx,
                        char ***argv, size_t *n_argv, struct err *e);

/* placeholder_structured - is a word JSON of IfPresent or Concat? */
bool placeholder_structured(struct str word);

/* placeholder_word_check - is a word of command or args well-formed? A structured one
 * calls `input` for each InputName in it; input's -1 ends the check. Everything else is
 * fine. */
typedef int placeholder_input_fn(void *ctx, struct str input_name, struct err *e);
int placeholder_word_check(struct str word, placeholder_input_fn *input, void *ctx,
                           struct err *e);

#endif

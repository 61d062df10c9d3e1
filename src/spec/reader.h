/* SPDX-License-Identifier: Apache-2.0 */
/* reader.h - what all parts of the pipeline parser share: fields by name, typed getters
 *
 * Private to spec/. Everything given is copied into the pipeline's arena; the tree may
 * go afterwards. A getter leaves *out alone when the node is absent or null.
 */
#ifndef SPEC_READER_H
#define SPEC_READER_H

#include "spec/pipeline.h"
#include "spec/tree.h"

struct reader {
    struct arena *a; /* where the pipeline lives */
    struct str file;
    bool lenient;
    struct pipeline *p;
    struct map components,
        executors;    /* name -> struct component *, struct executor * */
    struct map words; /* text -> struct str *, see read_word */
};

/* read_err - ERR_INPUT "file:line:col: path: text" about a node; returns -1 */
int read_err(const struct reader *r, const struct node *n, struct err *e,
             const char *fmt, ...) __attribute__((format(printf, 4, 5)));
/* read_err_at - the same at a place of our choice, for example a key */
int read_err_at(const struct reader *r, const struct node *n, struct pos at,
                struct err *e, const char *fmt, ...)
    __attribute__((format(printf, 5, 6)));
/* read_notice - keep a line about a node for the user */
void read_notice(struct reader *r, const struct node *n, struct pos at, const char *fmt,
                 ...) __attribute__((format(printf, 4, 5)));
/* read_doubt - read_err, or in lenient mode a notice and 0 */
int read_doubt(struct reader *r, const struct node *n, struct pos at, struct err *e,
               const char *fmt, ...) __attribute__((format(printf, 5, 6)));

/* ", did you mean \"x\"" or "" */
struct hint {
    char text[160];
};
struct hint hint_of(struct str want, const char *const *names, size_t n);

/* read_fields - put the members of a map into slots by their names
 *
 * names   n camelCase names; both spellings are accepted in the file
 * out     n slots; NULL where a name is absent
 *
 * An absent or null map gives empty slots. Unknown members are refused (lenient:
 * noted). */
int read_fields(struct reader *r, const struct node *map, const char *const *names,
                size_t n, const struct node **out, struct err *e);
/* the same, but unknown members are only noted, in either mode */
int read_fields_noting(struct reader *r, const struct node *map,
                       const char *const *names, size_t n, const struct node **out,
                       struct err *e);

/* read_map, read_list - check what it is; *n members. Absent and null: 0 members */
int read_map(const struct reader *r, const struct node *n, struct member **out,
             size_t *n_out, struct err *e);
int read_list(const struct reader *r, const struct node *n, struct member **out,
              size_t *n_out, struct err *e);

int read_str(const struct reader *r, const struct node *n, struct str *out,
             struct err *e);
/* read_word - as read_str, but equal texts share one copy: images, scripts and sources
 * repeat */
int read_word(struct reader *r, const struct node *n, struct str *out, struct err *e);
int read_bool(const struct reader *r, const struct node *n, bool *out, struct err *e);
int read_num(const struct reader *r, const struct node *n, double *out, struct err *e);
/* a whole number from 0 to `max`, as a number or as text (protobuf writes 64 bits so)
 */
int read_uint(const struct reader *r, const struct node *n, uint64_t max, uint64_t *out,
              struct err *e);
int read_duration(const struct reader *r, const struct node *n, int64_t *out_ms,
                  struct err *e);
/* gives NULL for an absent node; null is a value */
int read_value(const struct reader *r, const struct node *n, const struct value **out,
               struct err *e);
/* read_old_value - what the deprecated {intValue: 3}, {doubleValue: ...}, {stringValue:
 * ...} holds, NULL when n is nothing of the kind; *copy is room for a node */
const struct node *read_old_value(const struct node *n, struct node *copy);
/* a struct, or NULL when absent or null */
int read_struct(const struct reader *r, const struct node *n, const struct value **out,
                struct err *e);
/* read_name_ok - may it name a task, an input, an output: 1 to 255 bytes, no control
 * characters, no slash, not "." or ".." */
int read_name_ok(const struct reader *r, const struct node *n, const struct member *m,
                 struct err *e);

/* The parts, in the order in which pipeline.c calls them */

/* deploymentSpec and the platform's executors -> r->executors */
int read_executors(struct reader *r, const struct node *deployment, struct err *e);
int read_platform(struct reader *r, const struct node *platform, struct err *e);
/* one executor's Kubernetes settings */
struct kube;
int read_kube(struct reader *r, const struct node *n, struct kube **out, struct err *e);
/* lists of command, args and env */
int read_words(struct reader *r, const struct node *n, struct str **out, size_t *n_out,
               struct err *e);
int read_env(struct reader *r, const struct node *n, struct env_var **out, size_t *n_out,
             struct err *e);
/* a runtimeValue: {constant: ...} */
int read_runtime_value(struct reader *r, const struct node *n, struct source *s,
                       struct err *e);
/* an ArtifactTypeSchema; system.Artifact 0.0.1 when nothing is said */
int read_schema(struct reader *r, const struct node *n, struct str *title,
                struct str *version, struct err *e);
/* interface and executor of one component; its dag stays for read_dag */
int read_component(struct reader *r, const struct node *n, struct component *c,
                   struct err *e);
/* tasks and outputs of one DAG component whose siblings all have interfaces now */
int read_dag(struct reader *r, const struct node *dag, struct component *c,
             struct err *e);
/* A DAG while its tasks are being read: siblings by name */
struct dag_reader {
    struct reader *r;
    struct component *c; /* the enclosing one */
    struct map tasks;    /* key -> struct task_def * */
    size_t *deps;        /* of the task at hand, heap */
    size_t n_deps, deps_cap;
};
/* read_sibling - a task's key -> its index in the DAG; unknown ones are refused */
int read_sibling(struct dag_reader *d, const struct node *n, struct str *key,
                 size_t *index, struct err *e);
/* read_output_key - an output (artifact: of that kind) of sibling `index` */
int read_output_key(struct dag_reader *d, const struct node *n, size_t index,
                    bool artifact, struct str *key, struct err *e);
void dag_add_dep(struct dag_reader *d, size_t index);
/* read_bindings - inputs.parameters and inputs.artifacts of a task */
int read_bindings(struct dag_reader *d, const struct node *inputs, struct task_def *t,
                  struct err *e);
/* bind_kube - what the platform settings of a task refer to must be there, and is waited
 * for */
int bind_kube(struct dag_reader *d, const struct task_def *t, struct err *e);
/* check_bindings - inputs that the component requires and nobody gives */
int check_bindings(struct dag_reader *d, const struct node *task,
                   const struct task_def *t, struct err *e);

/* check_order - do the tasks of a DAG wait for each other in a circle? */
int check_order(const struct reader *r, const struct node *tasks, const struct dag *g,
                struct err *e);
/* check_pipeline - what no single place in the file can tell: components inside of
 * themselves, too many task instances, placeholders of inputs that nobody gives */
int check_pipeline(struct reader *r, struct err *e);

#endif

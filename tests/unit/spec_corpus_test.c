/* SPDX-License-Identifier: Apache-2.0 */
/* The conformance corpus: every file is read or refused as its index says, and what the
 * index knows of a file (images, required parameters, nested DAGs, features) is what we
 * read */
#include "t.h"

#include <dirent.h>
#include <fcntl.h>

#include "base/fd.h"
#include "base/limits.h"
#include "base/mem.h"
#include "spec/pipeline.h"

enum { FILE_, FEATURES, IMAGES, PIP, NETWORK, API, STATE, PARAMS, COLUMNS };

static const char *shared_dir(void)
{
    const char *dir = getenv("DUGOUT_SHARED");

    return dir && dir[0] ? dir : "../shared";
}

static int read_pipeline(struct arena *a, const char *path, struct pipeline *p,
                         struct err *e)
{
    AUTO_BUF struct buf bytes = {0}, text = {0};

    if (fd_read_file(AT_FDCWD, path, &bytes, LIMIT_SPEC_BYTES, e) < 0 ||
        pipeline_unpack((struct str){buf_str(&bytes), bytes.len}, str_of(path), &text,
                        e) < 0)
        return -1;
    return pipeline_parse_in(a, str_of(path), (struct str){buf_str(&text), text.len},
                             NULL, p, e);
}

static int cmp_names(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* all images, sorted, once each, as the index writes them */
static void images_of(const struct pipeline *p, struct buf *out)
{
    AUTO_FREE const char **names = xalloc((p->n_executors + 1) * sizeof(*names));
    size_t n = 0;

    for (size_t i = 0; i < p->n_executors; i++) {
        if (p->executors[i]->kind == EXECUTOR_CONTAINER)
            names[n++] = p->executors[i]->image.ptr;
    }
    qsort(names, n, sizeof(*names), cmp_names);
    for (size_t i = 0; i < n; i++) {
        if (!i || strcmp(names[i], names[i - 1]) != 0)
            buf_addf(out, "%s%s", out->len ? "; " : "", names[i]);
    }
}

static void required_of(const struct pipeline *p, struct buf *out)
{
    const struct io_defs *in = &p->root->in;

    for (size_t i = 0; i < in->n_params; i++) {
        if (!in->params[i].default_value && !in->params[i].optional)
            buf_addf(out, "%s%s:%s", out->len ? "; " : "", in->params[i].name.ptr,
                     param_type_name(in->params[i].type));
    }
    if (!out->len)
        buf_adds(out, "-");
}

static void check_facts(const struct pipeline *p, char *const column[])
{
    AUTO_BUF struct buf images = {0}, required = {0};
    const char *subdags = strstr(column[FEATURES], "subdags=");
    size_t n_dags = 0;
    struct err e = {.text = ""};

    images_of(p, &images);
    CHECK_STR(buf_str(&images), column[IMAGES]);
    required_of(p, &required);
    CHECK_STR(buf_str(&required), column[PARAMS]);
    for (size_t i = 0; i < p->n_components; i++)
        n_dags += p->components[i]->dag != NULL;
    CHECK_INT(n_dags, subdags ? strtol(subdags + 8, NULL, 10) : 0);
    CHECK_INT(pipeline_supported(p, &e), 0);
}

static void check_row(char *const column[])
{
    AUTO_FREE char *path = xasprintf("%s/kfp-corpus/%s", shared_dir(), column[FILE_]);
    AUTO_ARENA struct arena a = {0};
    struct pipeline p;
    struct err e = {.text = ""};
    int rc = read_pipeline(&a, path, &p, &e);

    if (strcmp(column[STATE], "REJECTED") == 0) {
        CHECK_INT(rc, -1);
        CHECK(e.text[0] != '\0');
        return;
    }
    CHECK_STR(e.text, "");
    CHECK_INT(rc, 0);
    if (rc == 0)
        check_facts(&p, column);
}

static void the_corpus_is_read_as_its_index_says(void)
{
    AUTO_FREE char *path = xasprintf("%s/kfp-corpus/index.tsv", shared_dir());
    AUTO_BUF struct buf index = {0};
    struct err e;
    size_t rows = 0;
    char *line, *rest;

    if (fd_read_file(AT_FDCWD, path, &index, 16 * MIB, &e) < 0) {
        printf(
            "skipped: the corpus is not here (%s); DUGOUT_SHARED may say where it is\n",
            e.text);
        return;
    }
    rest = index.ptr;
    for (strsep(&rest, "\n"); (line = strsep(&rest, "\n")) != NULL; rows++) {
        char *column[COLUMNS];
        int failed = t_failed;

        for (int i = 0; i < COLUMNS; i++)
            column[i] = line ? strsep(&line, "\t") : NULL;
        if (!column[COLUMNS - 1])
            break;
        check_row(column);
        if (t_failed > failed)
            printf("  in %s\n", column[FILE_]);
    }
    CHECK(rows > 50);
}

static void the_repository_s_own_pipelines_are_read(void)
{
    DIR *dir = opendir("pipelines");
    struct dirent *d;

    while (dir && (d = readdir(dir)) != NULL) {
        AUTO_FREE char *folder = xasprintf("pipelines/%s", d->d_name);
        DIR *inner = d->d_name[0] == '.' ? NULL : opendir(folder);
        struct dirent *f;

        while (inner && (f = readdir(inner)) != NULL) {
            AUTO_FREE char *path = xasprintf("%s/%s", folder, f->d_name);
            AUTO_ARENA struct arena a = {0};
            struct pipeline p;
            struct err e = {.text = ""};

            if (!str_ends(str_of(f->d_name), ".yaml"))
                continue;
            CHECK_INT(read_pipeline(&a, path, &p, &e), 0);
            CHECK_STR(e.text, "");
        }
        if (inner)
            (void)closedir(inner);
    }
    if (dir)
        (void)closedir(dir);
}

static void a_missing_file_is_said_to_be_missing(void)
{
    AUTO_ARENA struct arena a = {0};
    struct pipeline p;
    struct err e;

    CHECK_INT(read_pipeline(&a, "no/such/file.yaml", &p, &e), -1);
    CHECK_INT(e.code, ERR_MISSING);
}

int main(void)
{
    the_corpus_is_read_as_its_index_says();
    the_repository_s_own_pipelines_are_read();
    a_missing_file_is_said_to_be_missing();
    return t_end();
}

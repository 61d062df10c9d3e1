/* SPDX-License-Identifier: Apache-2.0 */
/* run_pep440_test.c - versions and specifiers
 *
 * The answers below are those of Python's own `packaging`. With a file as its argument
 * the program checks that file's rows instead (tests/cli/test_pip_oracle.py makes
 * them):
 *
 *   normal   VERSION  TEXT                 its normal form, or "none"
 *   compare  VERSION  VERSION  -1|0|1
 *   allows   CLAUSE   VERSION  0|1|none    none: this is no clause
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/mem.h"
#include "run/pep440.h"
#include "run/pip.h"
#include "t.h"

/* ---- rows ----------------------------------------------------------------------- */

static void normal_of(const char *text, char *out, size_t size)
{
    AUTO_BUF struct buf b;
    struct pep440_version v;

    buf_init(&b, 0);
    if (pep440_read(str_of(text), &v))
        pep440_write(&b, &v);
    else
        buf_adds(&b, "none");
    (void)snprintf(out, size, "%s", buf_str(&b));
}

static const char *compare(const char *a, const char *b)
{
    int c;

    if (!pip_version_compare(str_of(a), str_of(b), &c))
        return "none";
    return c < 0 ? "-1" : c > 0 ? "1" : "0";
}

static const char *allows(const char *clause, const char *version)
{
    struct pep440_clause c;

    if (!pep440_clause_read(str_of(clause), &c))
        return "none";
    return pep440_clause_allows(&c, str_of(version)) ? "1" : "0";
}

static void check_row(char *line, int number)
{
    char *field[4] = {"", "", "", ""}, got[512];
    size_t n = 0;

    for (char *p = line; n < N_ELEMS(field) && p; n++) {
        field[n] = strsep(&p, "\t");
    }
    if (strcmp(field[0], "normal") == 0)
        normal_of(field[1], got, sizeof got);
    else if (strcmp(field[0], "compare") == 0)
        (void)snprintf(got, sizeof got, "%s", compare(field[1], field[2]));
    else
        (void)snprintf(got, sizeof got, "%s", allows(field[1], field[2]));
    if (strcmp(got, field[n - 1]) == 0) {
        t_passed++;
        return;
    }
    t_failed++;
    printf("row %d: %s \"%s\" \"%s\" is %s, want %s\n", number, field[0], field[1],
           n == 4 ? field[2] : "", got, field[n - 1]);
}

static int check_file(const char *path)
{
    FILE *f = fopen(path, "r");
    char *line = NULL;
    size_t cap = 0;
    int number = 0;

    if (!f) {
        perror(path);
        return 2;
    }
    while (getline(&line, &cap, f) > 0) {
        line[strcspn(line, "\n")] = '\0';
        check_row(line, ++number);
    }
    free(line);
    (void)fclose(f);
    return t_end();
}

/* ---- tests ---------------------------------------------------------------------- */

static void versions_of_the_pep_sort_in_its_order(void)
{
    static const char *const ascending[] = {
        "0.9",
        "1.dev0",
        "1.0.dev456",
        "1.0a1",
        "1.0a2.dev456",
        "1.0a12.dev456",
        "1.0a12",
        "1.0b1.dev456",
        "1.0b2",
        "1.0b2.post345.dev456",
        "1.0b2.post345",
        "1.0rc1.dev456",
        "1.0rc1",
        "1.0",
        "1.0+abc.5",
        "1.0+abc.7",
        "1.0+5",
        "1.0+5.1",
        "1.0.post456.dev34",
        "1.0.post456",
        "1.0.15",
        "1.1.dev1",
        "1.2",
        "1.2.99999999999999999999999",
        "1.2.100000000000000000000000",
        "1.10",
        "2024.2.29",
        "1!0.1",
    };

    for (size_t i = 0; i < N_ELEMS(ascending); i++)
        for (size_t k = 0; k < N_ELEMS(ascending); k++)
            CHECK_STR(compare(ascending[i], ascending[k]), i < k   ? "-1"
                                                           : i > k ? "1"
                                                                   : "0");
}

static void different_spellings_are_one_version(void)
{
    static const char *const pairs[][2] = {
        {"1.0", "1"},
        {"1.0", "v1.0.0"},
        {"1.0a1", "1.0.alpha.1"},
        {"1.0a1", "1.0-ALPHA_1"},
        {"1.0a0", "1.0a"},
        {"1.0b2", "1.0beta2"},
        {"1.0rc3", "1.0c3"},
        {"1.0rc3", "1.0.pre3"},
        {"1.0rc3", "1.0preview-3"},
        {"1.0.post1", "1.0-1"},
        {"1.0.post1", "1.0.r1"},
        {"1.0.post1", "1.0rev1"},
        {"1.0.dev0", "1.0dev"},
        {"1.0+a.b", "1.0+A-b"},
        {"1.0+a.7", "1.0+a_007"},
        {"0!1.0", "1.0"},
        {"1.02", "1.2"},
        {" 1.0\n", "1.0"},
        {"1.0a0.post1", "1.0a--1"},
    };

    for (size_t i = 0; i < N_ELEMS(pairs); i++)
        CHECK_STR(compare(pairs[i][0], pairs[i][1]), "0");
}

static void normal_forms_are_those_of_packaging(void)
{
    static const char *const rows[][2] = {
        {"v01.00", "1.0"},
        {"1!2-alpha_3.post-4.DEV5+Ubuntu-1", "1!2a3.post4.dev5+ubuntu.1"},
        {"1.0c", "1.0rc0"},
        {"1.0-7", "1.0.post7"},
        {"1.0a-+x", "1.0a0+x"},
        {"00!1.0+00", "1.0+0"},
    };
    char got[128];

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        normal_of(rows[i][0], got, sizeof got);
        CHECK_STR(got, rows[i][1]);
    }
}

static void what_is_no_version_is_not_read(void)
{
    static const char *const wrong[] = {
        "",
        "  ",
        "abc",
        "1.",
        ".1",
        "1..2",
        "1.0.x",
        "1.0+",
        "1.0+.",
        "1.0+a.",
        "1.0+a..b",
        "!1",
        "1!",
        "1.0!1",
        "1.0 a1",
        "1.0a1a2",
        "1.0-",
        "1.0--1",
        "v",
        "vv1",
        "1.0.post1.post2",
        "1.0dev1a1",
        "1.0p1",
        "=1",
        "1,0",
        "\xc2\xa0"
        "1.0",
    };
    struct pep440_version v = {.pre = 'x'};

    for (size_t i = 0; i < N_ELEMS(wrong); i++) {
        CHECK(!pep440_read(str_of(wrong[i]), &v));
        CHECK_STR(compare("1.0", wrong[i]), "none");
    }
    CHECK_INT(v.pre, 'x'); /* untouched */
}

static void clauses_allow_what_packaging_says(void)
{
    static const char *const rows[][3] = {
        {"==1.0", "1.0.0", "1"},
        {"==1.0", "1.0+cpu", "1"},
        {"==1.0+cpu", "1.0", "0"},
        {"==1.0+cpu", "1.0+CPU", "1"},
        {"==1.0", "1.0.post1", "0"},
        {"==1.0", "1.0a1", "0"},
        {"== 1.1.*", "1.1.7", "1"},
        {"==1.1.*", "1.10", "0"},
        {"==1.1.*", "1.1a1", "1"},
        {"==1.1.*", "1.1.post5", "1"},
        {"==1.1.0.*", "1.1", "1"},
        {"==1.*", "1!1.0", "0"},
        {"!=1.1.*", "1.1.7", "0"},
        {"!=1.1.*", "1.2", "1"},
        {"!=1.0", "1.0+cpu", "0"},
        {"~=2.2", "2.2", "1"},
        {"~=2.2", "2.9", "1"},
        {"~=2.2", "3.0", "0"},
        {"~=1.4.5", "1.4.9", "1"},
        {"~=1.4.5", "1.5", "0"},
        {"~=2.2.post3", "2.2", "0"},
        {"~=2.2.post3", "2.3", "1"},
        {"~=1.4.5a4", "1.4.5a3", "0"},
        {"~=1.4.5a4", "1.4.9", "1"},
        {"<2.0", "2.0a1", "0"},
        {"<2.0", "1.9a1", "1"},
        {"<2.0rc1", "2.0a1", "1"},
        {"<2.0", "2.0", "0"},
        {"<2", "2.0.dev1", "0"},
        {"<2.0.post1", "2.0", "1"},
        {"<=1.0", "1.0+x", "1"},
        {"<=1.0", "1.0.post1", "0"},
        {">=1.0", "1.0a1", "0"},
        {">=1.0", "1.1a1", "1"},
        {">=1.0.dev1", "1.0a1", "1"},
        {">1.7", "1.7.post1", "0"},
        {">1.7", "1.7.1", "1"},
        {">1.7", "1.7+x", "0"},
        {">1.7.post1", "1.7.post2", "1"},
        {">1.7", "1.8.dev1", "1"},
        {"===1.0", "1.0", "1"},
        {"===1.0", "1.0.0", "0"},
        {"===1.0A1", "1.0a1", "1"},
        {"===build-7", "build-7", "1"},
        {">=0", "build-7", "0"},
        {"!=1", "build-7", "0"},
        {">=1.*", "1.0", "none"},
        {"~=1", "1.0", "none"},
        {"~=1.0+x", "1.0", "none"},
        {">=1.0+x", "1.0", "none"},
        {"==1.0a1.*", "1.0", "none"},
        {"==1.0+x.*", "1.0", "none"},
        {"=1.0", "1.0", "none"},
        {"1.0", "1.0", "none"},
        {"==", "1.0", "none"},
        {"==.*", "1.0", "none"},
        {"== 1.0 .*", "1.0", "none"},
        {"==1.0,<2", "1.0", "none"},
        {"", "1.0", "none"},
        {"===", "1.0", "none"},
        {"=>1.0", "1.0", "none"},
        {"<>1.0", "1.0", "none"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        const char *got = allows(rows[i][0], rows[i][1]);
        if (strcmp(got, rows[i][2]) != 0)
            printf("row %zu: %s with %s\n", i, rows[i][0], rows[i][1]);
        CHECK_STR(got, rows[i][2]);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1)
        return check_file(argv[1]);
    versions_of_the_pep_sort_in_its_order();
    different_spellings_are_one_version();
    normal_forms_are_those_of_packaging();
    what_is_no_version_is_not_read();
    clauses_allow_what_packaging_says();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* The name that was probably meant */
#include "t.h"

#include "base/mem.h"
#include "base/nearest.h"

static void edits_are_counted_in_halves(void)
{
    static const struct {
        const char *a, *b;
        unsigned want;
    } rows[] = {
        {"load", "load", 0},      {"lod", "load", 2},  {"laod", "load", 2},
        {"Load", "load", 1},      {"lead", "load", 2}, {"loadd", "load", 2},
        {"", "load", 8},          {"abc", "xyz", 6},   {"tarin", "train", 2},
        {"kitten", "sitting", 6}, {"a", "A", 1},       {"TRIAN", "train", 2},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        CHECK_INT(nearest_edits(str_of(rows[i].a), str_of(rows[i].b), 100),
                  rows[i].want);
        CHECK_INT(nearest_edits(str_of(rows[i].b), str_of(rows[i].a), 100),
                  rows[i].want);
    }
    CHECK_INT(nearest_edits(STR("kitten"), STR("sitting"), 3),
              3); /* at_most and more look alike */
}

static void the_nearest_name_is_found_or_none(void)
{
    static const char *const names[] = {"load", "train", "evaluate", "--network", "x"};
    static const struct {
        const char *want, *found;
    } rows[] = {
        {"lod", "load"},
        {"trian", "train"},
        {"TRAIN", "train"},
        {"evaluat", "evaluate"},
        {"evaluation", "evaluate"},
        {"--netwrok", "--network"},
        {"X", "x"},
    };
    static const char *const strange[] = {"", "completely-different", "loathsome",
                                          "brain-drain", "y"};

    for (size_t i = 0; i < N_ELEMS(rows); i++)
        CHECK_STR(nearest(str_of(rows[i].want), names, N_ELEMS(names)), rows[i].found);
    for (size_t i = 0; i < N_ELEMS(strange); i++)
        CHECK(nearest(str_of(strange[i]), names, N_ELEMS(names)) == NULL);
    CHECK(nearest(STR("load"), names, 0) == NULL);
}

static void names_of_any_length_are_safe(void)
{
    char longest[300];
    const char *const names[] = {longest};

    memset(longest, 'a', sizeof(longest));
    longest[299] = '\0';
    CHECK(nearest(str_of(longest), names, 1) == NULL);
    longest[128] = '\0';
    CHECK(nearest(str_of(longest), names, 1) == names[0]);
    CHECK(nearest((struct str){longest, 127}, names, 1) == names[0]);
}

int main(void)
{
    edits_are_counted_in_halves();
    the_nearest_name_is_found_or_none();
    names_of_any_length_are_safe();
    return t_end();
}

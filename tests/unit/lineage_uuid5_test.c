/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_uuid5_test.c - ids that follow from names are those that everybody computes
 */
#include "base/mem.h"
#include "lineage/uuid5.h"
#include "t.h"

#define DNS "6ba7b810-9dad-11d1-80b4-00c04fd430c8"

static void names_have_the_ids_that_others_give_them(void)
{
    static const struct {
        const char *space, *name, *want;
    } rows[] = {
        {DNS, "www.example.com",
         "2ed6657d-e927-568b-95e1-2665a8aea6a2"}, /* RFC 9562, A.4 */
        {DNS, "python.org", "886313e1-3b8a-5372-9b90-0c9aee199e5d"},
        {DNS, "", "4ebd0208-8328-5d69-8c44-ec50939c0967"},
        /* one and two blocks: 16 bytes and the name, 0x80 and the length */
        {DNS, "a-name-of-thirty-nine-characters-is-39!",
         "8efbae16-68b5-5f85-a8b5-8ea9e3b75dda"},
        {DNS, "and-one-of-forty-characters-spills-over!",
         "a2efd0c4-3c9a-5811-80af-5a2a03b26d4d"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        char out[37] = "";
        CHECK(uuid5(str_of(rows[i].space), str_of(rows[i].name), out));
        CHECK_STR(out, rows[i].want);
    }
}

static void what_is_no_uuid_is_no_space(void)
{
    static const char *const bad[] = {"", "x", "6ba7b810-9dad-11d1-80b4-00c04fd430c",
                                      "6ba7b810-9dad-11d1-80b4-00c04fd430cg",
                                      "6ba7b8109dad-11d1-80b4-00c04fd430c8----"};

    for (size_t i = 0; i < N_ELEMS(bad); i++) {
        char out[37] = "untouched";
        CHECK(!uuid5(str_of(bad[i]), STR("x"), out));
        CHECK_STR(out, "untouched");
    }
}

int main(void)
{
    names_have_the_ids_that_others_give_them();
    what_is_no_uuid_is_no_space();
    return t_end();
}

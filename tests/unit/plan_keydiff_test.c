/* SPDX-License-Identifier: Apache-2.0 */
/* What makes two cache keys differ, named for a person */
#include "t.h"

#include "plan/keydiff.h"

#define BASE                                                                           \
    "{\"pipeline\":\"p\",\"args\":[\"a\"],\"command\":[\"sh\",\"x\"],\"env\":[\"K\","  \
    "\"1\"],"                                                                          \
    "\"extra\":\"\",\"image\":\"aa\",\"inputArtifacts\":{\"d\":[{\"digest\":\"d1\","   \
    "\"kind\":\"file\",\"metadata\":{\"rows\":1},\"name\":\"d\",\"type\":\"T\"}]},"    \
    "\"inputParameters\":{\"n\":1},\"outputArtifacts\":{},\"outputParameters\":{}}"

static void each_ingredient_has_a_name(void)
{
    static const struct {
        const char *from, *to; /* replaced in BASE */
        const char *want;      /* "what: before -> after; ..." */
    } rows[] = {
        {"\"pipeline\"", "\"pipeline\"", ""},
        {"\"n\":1", "\"n\":2", "input parameter n: 1 -> 2; "},
        {"\"n\":1", "\"m\":1", "input parameter n: 1 -> ; input parameter m:  -> 1; "},
        {"[\"a\"]", "[\"b\",\"c\"]",
         "word 1 of the arguments: \"a\" -> \"b\"; word 2 of the arguments:  -> "
         "\"c\"; "},
        {"[\"sh\",\"x\"]", "[\"sh\"]", "word 2 of the command: \"x\" -> ; "},
        {"[\"K\",\"1\"]", "[\"K\",\"2\"]", "env K: \"1\" -> \"2\"; "},
        {"[\"K\",\"1\"]", "[\"L\",\"1\",\"K\",\"1\"]", "env L:  -> \"1\"; "},
        {"\"extra\":\"\"", "\"extra\":\"A=1\"",
         "environment given by flags: \"\" -> \"A=1\"; "},
        {"\"aa\"", "\"bb\"", "image: \"aa\" -> \"bb\"; "},
        {"\"d1\"", "\"d2\"", "content of input artifact d: \"d1\" -> \"d2\"; "},
        {"{\"rows\":1}", "{\"rows\":2}",
         "metadata of input artifact d: rows: 1 -> 2; "},
        {"\"T\"", "\"U\"", "type of input artifact d: \"T\" -> \"U\"; "},
        {"\"type\":\"T\"}]", "\"type\":\"T\"},{}]",
         "number of artifacts of input artifact d: 1 -> 2; "},
        {"\"inputArtifacts\"", "\"secrets\"",
         "input artifact: [...] -> ; secrets:  -> [...]; "},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        AUTO_BUF struct buf other = {0}, got = {0};
        const char *at = strstr(BASE, rows[i].from);
        struct changes c = {0};
        struct err e = {.text = ""};

        CHECK(at != NULL);
        buf_add(&other, BASE, (size_t)(at - BASE));
        buf_adds(&other, rows[i].to);
        buf_adds(&other, at + strlen(rows[i].from));
        CHECK_INT(
            keydiff_in(&a, STR(BASE), (struct str){buf_str(&other), other.len}, &c, &e),
            0);
        for (size_t k = 0; k < c.n; k++) {
            bool big = c.items[k].before.len > 60,
                 big_after = c.items[k].after.len > 60;
            buf_addf(&got, "%s: %s -> %s; ", c.items[k].what.ptr,
                     big ? "[...]" : c.items[k].before.ptr,
                     big_after ? "[...]" : c.items[k].after.ptr);
        }
        CHECK_STR(buf_str(&got), rows[i].want);
    }
}

static void a_script_is_compared_by_lines(void)
{
    AUTO_ARENA struct arena a = {0};
    struct changes c = {0};

    change_add_text(&a, &c, STR("word 1"), STR("same"), STR("same"));
    CHECK_INT(c.n, 0);
    change_add_text(&a, &c, STR("word 1"), STR("one\ntwo\nthree\n"),
                    STR("one\n2wo\nthree\n"));
    change_add_text(&a, &c, STR("word 2"), STR("one"), STR("one\ntwo"));
    change_add_text(&a, &c, STR("word 3"), STR("say \"a\""), STR("b"));
    CHECK_INT(c.n, 3);
    CHECK_STR(c.items[0].what.ptr, "line 2 of word 1");
    CHECK_STR(c.items[0].before.ptr, "\"two\"");
    CHECK_STR(c.items[0].after.ptr, "\"2wo\"");
    CHECK_STR(c.items[1].what.ptr, "line 1 of word 2");
    CHECK_STR(c.items[2].what.ptr, "word 3");
    CHECK_STR(c.items[2].before.ptr, "\"say \\\"a\\\"\"");
}

static void what_is_no_json_is_refused(void)
{
    AUTO_ARENA struct arena a = {0};
    struct changes c = {.n = 7};
    struct err e = {.text = ""};

    CHECK_INT(keydiff_in(&a, STR("{"), STR("{}"), &c, &e), -1);
    CHECK_INT(c.n, 7); /* untouched */
}

int main(void)
{
    each_ingredient_has_a_name();
    a_script_is_compared_by_lines();
    what_is_no_json_is_refused();
    return t_end();
}

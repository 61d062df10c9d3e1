/* SPDX-License-Identifier: Apache-2.0 */
/* plan_cond_test.c - conditions as the compiler writes them, and as people do */
#include "plan/cond.h"
#include "t.h"

static const char inputs_json[] =
    "{\"inputs\":{\"parameter_values\":{\"n\":3,\"f\":2.5,\"s\":\"heads\",\"t\":true,"
    "\"nothing\":null,\"digits\":\"42\",\"big\":1e300,\"list\":[1,2,\"x\"],"
    "\"umlaut\":\"\xc3\xa4\xc3\xb6\",\"obj\":{\"k\":1}},"
    "\"artifacts\":{\"m\":{\"artifacts\":[{\"metadata\":{\"f1\":0.91}}]}}}}";

static const struct value *name_of(void *ctx, struct str name)
{
    return value_member(ctx, name);
}

static int eval(struct arena *a, const char *text, struct value *out, struct err *e)
{
    struct value world;

    CHECK_INT(value_parse_in(a, str_of(inputs_json), &world, e), 0);
    return cond_eval_in(a, str_of(text), name_of, &world, out, e);
}

#define P(name) "inputs.parameter_values['" name "']"

static void conditions_have_the_value_that_cel_gives(void)
{
    static const struct {
        const char *text;
        bool want;
    } rows[] = {
        {P("s") " == 'heads'", true},
        {"!(" P("s") " == 'heads') && " P("n") " == 3", false},
        {"!(" P("s") " == 'tails')&&!(" P("s") " == 'edge')", true},
        {"int(" P("n") ") > 2", true},
        {"double(" P("n") ") <= 2.5", false},
        {"int(" P("f") ") == 2", true},
        {"int(-" P("f") ") == -2", true},
        {"int('-7') < int(\"42\")", true},
        {"1 == 1.0", true},
        {"1 != 1.0", false},
        {P("n") " == '3'", false},
        {P("n") " != '3'", true},
        {P("nothing") " == null", true},
        {P("nothing") " == 'null'", false},
        {P("t") " == true", true},
        {P("t") " == 'true'", false},
        {"'abc' < 'abd'", true},
        {"'z' < '\xc3\xa4'", true},
        {"false < true", true},
        {"true || 1 < 'x'", true},
        {"1 < 'x' || true", true},
        {"false && 1 < 'x'", false},
        {"1 < 'x' && false", false},
        {"2 in " P("list"), true},
        {"'y' in " P("list"), false},
        {"'k' in " P("obj"), true},
        {"size(" P("list") ") == 3", true},
        {"size(" P("umlaut") ") == 2", true},
        {P("list") ".size() == 3", true},
        {P("list") "[2] == 'x'", true},
        {P("obj") ".k == 1", true},
        {P("s") ".startsWith('he') && " P("s") ".endsWith('ds')", true},
        {P("s") ".contains('xx')", false},
        {"inputs.artifacts['m'].artifacts[0].metadata['f1'] >= 0.9", true},
        {"'it\\'s' == \"it's\"", true},
        {"'\\u00e4' == '\xc3\xa4'", true},
        {"string(" P("n") ") == '3'", true},
        {"bool('true')", true},
        {P("big") " > 1e299", true},
        {"!!true", true},
        {"[1, 'a', true] == [1.0, 'a', true]", true},
        {"'{{$.inputs.parameters[x]}}' == 'x'", false},
        {"parseJson('{\"a\":[1,2]}').a[1] == 2", true},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct value v = {.kind = VALUE_NULL};
        struct err e = {.text = ""};

        CHECK_INT(eval(&a, rows[i].text, &v, &e), 0);
        CHECK_STR(e.text, "");
        CHECK_INT(v.kind, VALUE_BOOL);
        if (v.b != rows[i].want)
            CHECK_STR(rows[i].text, rows[i].want ? "true" : "false");
        CHECK_INT(cond_check(str_of(rows[i].text), &e), 0);
    }
}

static void what_has_no_value_says_where_and_why(void)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {P("x") " == 1", "column 24: there is no \"x\""},
        {P("n") " < 'x'", "column 30: 3 < \"x\": the two have no order"},
        {P("nothing") " < 1", "column 36: null < 1: the two have no order"},
        {"int(" P("s") ") == 1", "column 1: int(\"heads\"): the text is no number"},
        {"int('1.5') == 1", "column 1: int(\"1.5\"): the text is no number"},
        {"int(" P("t") ") == 1", "column 1: int(true): want a number or a text"},
        {"int(" P("big") ") == 1", "column 1: int(1e+300): out of range"},
        {"double('') == 1", "column 1: double(\"\"): the text is no number"},
        {"true && 1", "column 6: && 1: want a bool"},
        {"!3", "column 1: !3: want a bool"},
        {"-'a' == 1", "column 1: -\"a\": want a number"},
        {"somewhere == 1", "column 1: there is no \"somewhere\""},
        {P("list") "[7] == 1", "column 32: index 7 of a list of 3"},
        {P("list") "[0.5] == 1", "column 32: index 0.5 of a list of 3"},
        {P("n") ".x == 1", "column 29: 3 has no members"},
        {"1 in 2", "column 3: in: want a list, got 2"},
        {"size(3) == 1", "column 1: size(3): want a text, a list or a struct"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_ARENA struct arena a = {0};
        struct value v = {.kind = VALUE_NULL};
        struct err e = {.text = ""};

        CHECK_INT(eval(&a, rows[i].text, &v, &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_STR(e.text, rows[i].want);
        CHECK_INT(v.kind, VALUE_NULL); /* untouched */
        CHECK_INT(cond_check(str_of(rows[i].text), &e), 0);
    }
}

static void malformed_texts_are_refused_with_the_column(void)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"", "column 1: the expression ends, want a value"},
        {"1 ==", "column 5: the expression ends, want a value"},
        {"1 = 1", "column 3: want an operator or the end at \"= 1\""},
        {"(1 == 1", "column 8: the expression ends, want )"},
        {"'it's' == 'x'", "column 5: want an operator or the end at \"s' == 'x'\""},
        {"'open", "column 1: the text has no closing '"},
        {"'\\q' == 'x'", "column 2: want an escape such as \\n, \\' or \\u0041 at \"\\q' == 'x'\""},
        {"1.2.3 == 1", "column 5: want a name at \"3 == 1\""},
        {"12ab == 1", "column 1: want a number at \"12ab == 1\""},
        {"a.b. == 1", "column 6: want a name at \"== 1\""},
        {"a[1 == 1", "column 9: the expression ends, want ]"},
        {"exec('x')", "column 1: there is no function \"exec\" (int, double, string, bool, size, "
                      "parseJson)"},
        {"1 == 1 && && true", "column 11: want a value at \"&& true\""},
        {"true ? 1 : 2", "column 6: want an operator or the end at \"? 1 : 2\""},
    };
    char deep[400];
    struct err e;

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        e = (struct err){.text = ""};
        CHECK_INT(cond_check(str_of(rows[i].text), &e), -1);
        CHECK_INT(e.code, ERR_INPUT);
        CHECK_STR(e.text, rows[i].want);
    }
    memset(deep, '(', sizeof deep);
    CHECK_INT(cond_check((struct str){deep, sizeof deep}, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    memset(deep, '!', sizeof deep);
    CHECK_INT(cond_check((struct str){deep, sizeof deep}, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
}

int main(void)
{
    conditions_have_the_value_that_cel_gives();
    what_has_no_value_says_where_and_why();
    malformed_texts_are_refused_with_the_column();
    return t_end();
}

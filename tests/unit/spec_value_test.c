/* SPDX-License-Identifier: Apache-2.0 */
/* Values: text forms, types, what a parameter file or a flag comes to */
#include "t.h"

#include "base/limits.h"
#include "base/mem.h"
#include "spec/utf8.h"
#include "spec/value.h"

static struct arena a;

static struct value json_value(const char *text)
{
    struct value v = {0};
    struct err e = {.text = ""};

    CHECK_INT(value_parse_in(&a, str_of(text), &v, &e), 0);
    CHECK_STR(e.text, "");
    return v;
}

static void integral_numbers_look_like_integers(void)
{
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"3.0", "3"},
        {"-0.5", "-0.5"},
        {"1e3", "1000"},
        {"0.1", "0.1"},
        {"9007199254740991", "9007199254740991"},
        {"true", "true"},
        {"null", ""},
        {"\"a \\\"b\\\"\\n\"", "a \"b\"\n"},
        {"[1.0, \"x\", null, {\"b\": 1, \"a\": [ ]}]",
         "[1,\"x\",null,{\"b\":1,\"a\":[]}]"},
        {"{\"<\": \"&\"}", "{\"<\":\"&\"}"}, /* no HTML escapes */
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        struct value v = json_value(rows[i].json);

        value_text(&b, &v);
        CHECK_STR(buf_str(&b), rows[i].text);
    }
}

static void canonical_text_sorts_keys_by_bytes(void)
{
    struct value v =
        json_value("{\"b\":{\"z\":1,\"a\":2},\"B\":[{\"d\":1,\"c\":2}],\"bb\":3}");
    AUTO_BUF struct buf b = {0};

    value_canonical(&b, &v);
    CHECK_STR(buf_str(&b),
              "{\"B\":[{\"c\":2,\"d\":1}],\"b\":{\"a\":2,\"z\":1},\"bb\":3}");
}

static void equality_ignores_the_order_of_members(void)
{
    static const struct {
        const char *x, *y;
        bool equal;
    } rows[] = {
        {"{\"a\":1,\"b\":[2]}", "{\"b\":[2],\"a\":1.0}", true},
        {"{\"a\":1}", "{\"a\":1,\"b\":null}", false},
        {"[1,2]", "[2,1]", false},
        {"\"1\"", "1", false},
        {"null", "null", true},
        {"false", "true", false},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        struct value x = json_value(rows[i].x), y = json_value(rows[i].y);

        CHECK_INT(value_equal(&x, &y), rows[i].equal);
        CHECK_INT(value_equal(&y, &x), rows[i].equal);
    }
}

static void of_members_with_one_name_the_last_is_kept(void)
{
    struct value v = json_value("{\"a\":1,\"b\":2,\"a\":{\"c\":3}}");

    CHECK_INT(v.n_items, 2);
    CHECK_STR(v.keys[0].ptr, "a");
    CHECK(value_member(value_member(&v, STR("a")), STR("c"))->n == 3);
    CHECK(value_member(&v, STR("z")) == NULL);
    CHECK(value_member(&v.items[1], STR("a")) == NULL);
}

static void copies_share_nothing(void)
{
    AUTO_ARENA struct arena other = {0};
    struct value v = json_value("{\"a\":[\"text\",{\"k\":false}]}");
    struct value c = value_copy_in(&other, &v);

    CHECK(value_equal(&v, &c));
    CHECK(c.items != v.items && c.items[0].items[0].s.ptr != v.items[0].items[0].s.ptr);
    CHECK(c.keys[0].ptr != v.keys[0].ptr);
}

static void values_must_fit_their_type(void)
{
    static const struct {
        enum param_type type;
        const char *json;
        const char *loose, *strict; /* the text form when it fits, else the message */
    } rows[] = {
        {PARAM_INTEGER, "3.0", "3", "3"},
        {PARAM_INTEGER, "3.5", "want NUMBER_INTEGER, got number 3.5",
         "want NUMBER_INTEGER, got number 3.5"},
        {PARAM_INTEGER, "\"3\"", "want NUMBER_INTEGER, got string \"3\"",
         "want NUMBER_INTEGER, got string \"3\""},
        {PARAM_DOUBLE, "3", "3", "3"},
        {PARAM_STRING, "3", "3", "want STRING, got number 3"},
        {PARAM_STRING, "[1, 2]", "[1,2]", "want STRING, got list [1,2]"},
        {PARAM_STRING, "null", "", "want STRING, got null"},
        {PARAM_BOOLEAN, "1", "want BOOLEAN, got number 1",
         "want BOOLEAN, got number 1"},
        {PARAM_LIST, "{}", "want LIST, got struct {}", "want LIST, got struct {}"},
        {PARAM_STRUCT, "{\"a\":1}", "{\"a\":1}", "{\"a\":1}"},
        {PARAM_STRUCT, "null", "want STRUCT, got null", "want STRUCT, got null"},
        {PARAM_UNSPECIFIED, "null", "", ""},
        {PARAM_TASK_CONFIG, "{}", "{}", "{}"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        struct value v = json_value(rows[i].json);
        struct err e = {.code = ERR_NONE};
        bool fits = value_check_strict(rows[i].type, &v, &e) == 0;

        value_text(&b, &v);
        CHECK_STR(fits ? buf_str(&b) : e.text, rows[i].strict);
        CHECK_INT(e.code, fits ? ERR_NONE : ERR_INPUT);

        buf_reset(&b);
        fits = value_check_in(&a, rows[i].type, &v, &e) == 0;
        value_text(&b, &v);
        CHECK_STR(fits ? buf_str(&b) : e.text, rows[i].loose);
    }
}

static void output_files_are_read_by_their_type(void)
{
    static const struct {
        enum param_type type;
        const char *text;
        const char *json; /* or the message */
    } rows[] = {
        {PARAM_INTEGER, " 42\n", "42"},
        {PARAM_INTEGER, "-7", "-7"},
        {PARAM_INTEGER, "4.0", "want NUMBER_INTEGER, got \"4.0\""},
        {PARAM_INTEGER, "0x10", "want NUMBER_INTEGER, got \"0x10\""},
        {PARAM_INTEGER, "", "want NUMBER_INTEGER, got \"\""},
        {PARAM_DOUBLE, "1e-05\n", "1e-05"},
        {PARAM_DOUBLE, "nan", "want NUMBER_DOUBLE that JSON can hold, got \"nan\""},
        {PARAM_DOUBLE, "1 2", "want NUMBER_DOUBLE, got \"1 2\""},
        {PARAM_STRING, "hello\n", "\"hello\\n\""},
        {PARAM_STRING, "", "\"\""},
        {PARAM_STRING, "caf\xC3\xA9", "\"caf\xC3\xA9\""},
        {PARAM_STRING, "caf\xE9!",
         "want STRING, got bytes that are not UTF-8: 0xe9 at 3"},
        {PARAM_BOOLEAN, "True\n", "true"},
        {PARAM_BOOLEAN, "0", "false"},
        {PARAM_BOOLEAN, "yes", "want BOOLEAN (true or false), got \"yes\""},
        {PARAM_LIST, "[1, 2.50]", "[1,2.5]"},
        {PARAM_LIST, "{}", "want LIST, got struct {}"},
        {PARAM_LIST, "[1", "want LIST as JSON such as [\"a\", \"b\"], got \"[1\""},
        {PARAM_STRUCT, "{\"a\": null}", "{\"a\":null}"},
        {PARAM_STRUCT, "x", "want STRUCT as JSON such as {\"a\": 1}, got \"x\""},
        {PARAM_UNSPECIFIED, "x", "\"x\""},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        AUTO_BUF struct buf b = {0};
        struct value v = {.kind = VALUE_NUMBER, .n = 77};
        struct err e = {.code = ERR_NONE};
        int rc =
            value_from_file_text_in(&a, rows[i].type, str_of(rows[i].text), &v, &e);

        value_to_json(&b, &v);
        CHECK_STR(rc == 0 ? buf_str(&b) : e.text, rows[i].json);
        CHECK_INT(e.code, rc == 0 ? ERR_NONE : ERR_INPUT);
        if (rc < 0)
            CHECK(v.n == 77); /* untouched */
    }
}

static void a_flag_of_no_type_may_be_json(void)
{
    struct value v;
    struct err e;

    CHECK_INT(value_from_flag_in(&a, PARAM_UNSPECIFIED, STR("[1]"), &v, &e), 0);
    CHECK_INT(v.kind, VALUE_LIST);
    CHECK_INT(value_from_flag_in(&a, PARAM_UNSPECIFIED, STR("[1"), &v, &e), 0);
    CHECK_INT(v.kind, VALUE_STRING);
    CHECK_INT(value_from_flag_in(&a, PARAM_STRING, STR("[1]"), &v, &e), 0);
    CHECK_INT(v.kind, VALUE_STRING);
}

static void deep_values_are_refused(void)
{
    char text[4 * VALUE_DEPTH_MAX] = "";
    struct value v;
    struct err e;

    memset(text, '[', VALUE_DEPTH_MAX);
    memset(text + VALUE_DEPTH_MAX, ']', VALUE_DEPTH_MAX);
    CHECK_INT(value_parse_in(&a, str_of(text), &v, &e), 0);
    memset(text, '[', VALUE_DEPTH_MAX + 1);
    memset(text + VALUE_DEPTH_MAX + 1, ']', VALUE_DEPTH_MAX + 1);
    CHECK_INT(value_parse_in(&a, str_of(text), &v, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
}

static void utf8_is_strict(void)
{
    static const struct {
        const char *text;
        int bad_at; /* -1 = valid */
    } rows[] = {
        {"plain ascii that is longer than eight bytes", -1},
        {"\xC2\x80 \xDF\xBF \xE0\xA0\x80 \xED\x9F\xBF \xEE\x80\x80 \xF4\x8F\xBF\xBF",
         -1},
        {"abcdefgh\xFF", 8},
        {"\xC0\x80", 0},         /* overlong */
        {"a\xE0\x80\x80", 1},    /* overlong */
        {"\xED\xA0\x80", 0},     /* a surrogate */
        {"\xF4\x90\x80\x80", 0}, /* past U+10FFFF */
        {"ab\xE2\x82", 2},       /* cut */
        {"\xE2\x82\x41", 0},
        {"\x80", 0},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        size_t bad_at = 0;
        bool ok = utf8_check(str_of(rows[i].text), &bad_at);

        CHECK_INT(ok ? -1 : (int)bad_at, rows[i].bad_at);
    }
}

static void code_points_become_bytes(void)
{
    static const unsigned codes[] = {0x41, 0xE9, 0x20AC, 0x1F600};
    static const char *const want[] = {"A", "\xC3\xA9", "\xE2\x82\xAC",
                                       "\xF0\x9F\x98\x80"};

    for (size_t i = 0; i < N_ELEMS(codes); i++) {
        char out[5] = "";

        out[utf8_put(codes[i], out)] = '\0';
        CHECK_STR(out, want[i]);
    }
}

int main(void)
{
    integral_numbers_look_like_integers();
    canonical_text_sorts_keys_by_bytes();
    equality_ignores_the_order_of_members();
    of_members_with_one_name_the_last_is_kept();
    copies_share_nothing();
    values_must_fit_their_type();
    output_files_are_read_by_their_type();
    a_flag_of_no_type_may_be_json();
    deep_values_are_refused();
    utf8_is_strict();
    code_points_become_bytes();
    arena_done(&a);
    return t_end();
}

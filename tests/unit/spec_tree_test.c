/* SPDX-License-Identifier: Apache-2.0 */
/* YAML and JSON text as a tree: positions, types of plain scalars, hostile files */
#include "t.h"

#include "spec/tree.h"

static int read_text(struct arena *a, struct str text, struct tree *t, struct err *e)
{
    e->code = ERR_NONE;
    e->text[0] = '\0';
    return tree_read_in(a, STR("f.yaml"), text, t, e);
}

/* the only document as JSON, or the message */
static void show(const char *text, char out[600])
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf b = {0};
    struct tree t;
    struct value v;
    struct err e;

    if (read_text(&a, str_of(text), &t, &e) < 0 ||
        (t.n_docs && node_value_in(&a, STR("f.yaml"), t.docs[0], &v, &e) < 0)) {
        snprintf(out, 600, "%s", e.text);
        return;
    }
    for (size_t i = 0; i < t.n_docs; i++) {
        CHECK_INT(node_value_in(&a, STR("f.yaml"), t.docs[i], &v, &e), 0);
        if (i)
            buf_adds(&b, " ");
        value_to_json(&b, &v);
    }
    snprintf(out, 600, "%s", buf_str(&b));
}

static void plain_scalars_are_read_as_pyyaml_reads_them(void)
{
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"~", "null"},
        {"null", "null"},
        {"NULL", "null"},
        {"nUll", "\"nUll\""},
        {"yes", "true"},
        {"Off", "false"},
        {"y", "\"y\""},
        {"n", "\"n\""},
        {"TRUE", "true"},
        {"tRUE", "\"tRUE\""},
        {"'yes'", "\"yes\""},
        {"\"12\"", "\"12\""},
        {"12", "12"},
        {"-12", "-12"},
        {"+1_000", "1000"},
        {"0x1F", "31"},
        {"0b101", "5"},
        {"017", "15"},
        {"09", "\"09\""},
        {"0o17", "\"0o17\""},
        {"0", "0"},
        {"-0x10", "-16"},
        {"5000.0", "5000"},
        {"1.5", "1.5"},
        {"1.", "1"},
        {".5", "0.5"},
        {"-.5", "\"-.5\""},
        {"1e5", "\"1e5\""},
        {"1.0e5", "\"1.0e5\""},
        {"1.0e+5", "100000"},
        {"1.5E-3", "0.0015"},
        {"1_000.5", "1000.5"},
        {".", "\".\""},
        {"1.2.3", "\"1.2.3\""},
        {"2.1.0", "\"2.1.0\""},
        {"2026-11-23", "\"2026-11-23\""},
        {"1e", "\"1e\""},
        {"_1", "\"_1\""},
        {"12:30", "f.yaml:1:3: [0]: YAML readers disagree whether 12:30 is text or a "
                  "number: put "
                  "it in quotes"},
        {"190:20:30.15",
         "f.yaml:1:3: [0]: YAML readers disagree whether 190:20:30.15 is text or "
         "a number: put it in quotes"},
        {"12:90", "\"12:90\""},
        {"a:1", "\"a:1\""},
        {"12:30pm", "\"12:30pm\""},
        {".inf", "f.yaml:1:3: [0]: .inf is no number that JSON can hold"},
        {"-.INF", "f.yaml:1:3: [0]: -.INF is no number that JSON can hold"},
        {".nan", "f.yaml:1:3: [0]: .nan is no number that JSON can hold"},
        {"!!str 12", "\"12\""},
        {"!!int 12", "12"},
        {"!!float 1.5", "1.5"},
        {"!!bool yes", "true"},
        {"!!null ~", "null"},
        {"!!seq [1]", "[1]"},
        {"!!map {a: 1}", "{\"a\":1}"},
        {"! '12'", "\"12\""},
        {"!!int abc",
         "f.yaml:1:3: \"abc\" is not what its tag tag:yaml.org,2002:int says"},
        {"!!python/object:os.system {}",
         "f.yaml:1:3: the tag "
         "tag:yaml.org,2002:python/object:os.system is not "
         "understood here: only those of JSON's types are"},
        {"!mine x",
         "f.yaml:1:3: the tag !mine is not understood here: only those of JSON's types "
         "are"},
        {"!!set {a}",
         "f.yaml:1:3: the tag tag:yaml.org,2002:set is not understood here: only "
         "those of JSON's types are"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        bool refused = strncmp(rows[i].json, "f.yaml", 6) == 0;
        char text[200], got[600], want[600];

        snprintf(text, sizeof(text), "[ %s ]", rows[i].text);
        snprintf(want, sizeof(want), "%s%s%s", refused ? "" : "[", rows[i].json,
                 refused ? "" : "]");
        show(text, got);
        CHECK_STR(got, want);
    }
}

static void texts_become_trees_or_messages(void)
{
    static const struct {
        const char *text, *want;
    } rows[] = {
        {"a: 1\n---\n# nothing\n---\nb: [x, {c: d}]\n...\n",
         "{\"a\":1} {\"b\":[\"x\",{\"c\":\"d\"}]}"},
        {"- \n-\n- a\n", "[null,null,\"a\"]"},
        {"a: >-\n  one\n  two\nb: |\n  three\n",
         "{\"a\":\"one two\",\"b\":\"three\\n\"}"},
        {"a: \"\\n\\\n  b\\x41\\u00e9\"\n", "{\"a\":\"\\nbA\xC3\xA9\"}"},
        {"\xEF\xBB\xBFx: 1", "{\"x\":1}"},
        {"a: &x {k: [1]}\nb: *x\nc: *x\n",
         "{\"a\":{\"k\":[1]},\"b\":{\"k\":[1]},\"c\":{\"k\":[1]}}"},
        {"a: &x 1\nb: &x 2\nc: *x\n", "{\"a\":1,\"b\":2,\"c\":2}"},
        {"a: *x\n", "f.yaml:1:4: no anchor &x before this alias"},
        {"a: &x 1\n---\nb: *x\n", "f.yaml:3:4: no anchor &x before this alias"},
        {"a: &x [1, *x]\n", "f.yaml:1:11: an alias inside of what it stands for"},
        {"&k a: 1\n", "f.yaml:1:1: an anchor on a key"},
        {"x: &k a\n*k : 1\n", "f.yaml:2:1: an alias as a key"},
        {"? [a]\n: 1\n", "f.yaml:1:3: a key that is no text"},
        {"a: &x {b: 1}\nc:\n  <<: *x\n",
         "f.yaml:3:3: merge keys (<<) are not understood: write the fields out"},
        {"a: {b: 1, c: 2, b: 3}\n",
         "f.yaml:1:17: \"b\" is given twice, first at line 1"},
        {"{a: 1, b: 1, c: 1, d: 1, e: 1, f: 1, g: 1, h: 1, i: 1,\n c: 2}\n",
         "f.yaml:2:2: \"c\" is given twice, first at line 1"},
        {"on: 1\n1: 2\n", "{\"on\":1,\"1\":2}"},
        {"a: b: c\n", "f.yaml:1:5: mapping values are not allowed in this context"},
        {"a:\n\tb: 1\n", "f.yaml:2:1: found character that cannot start any token"},
        {"a: [1, 2\nb: 3\n",
         "f.yaml:2:2: did not find expected ',' or ']', while parsing a flow "
         "sequence of line 1"},
        {"x: \"\\q\"\n", "f.yaml:1:5: found unknown escape character"},
        {"a: 1\nb: caf\xE9\n",
         "f.yaml:2:7: byte 0xe9 is not UTF-8: this is no YAML or JSON text"},
        {"a: \x01\n",
         "f.yaml:1:4: control characters are not allowed (character 0x01)"},
        /* JSON */
        {" { }", "{}"},
        {"{\"a\": [1, 1e5, -0.5E-1, \"\\u00e9\\ud83d\\ude00\\/\", true, null, {}]}\n",
         "{\"a\":[1,100000,-0.05,\"\xC3\xA9\xF0\x9F\x98\x80/\",true,null,{}]}"},
        {"{\"a\": \"yes\", \"b\": 12345678901234567890}",
         "{\"a\":\"yes\",\"b\":1.2345678901234567e+19}"},
        {"{\"a\":1,\n \"a\":2}", "f.yaml:2:2: \"a\" is given twice, first at line 1"},
        {"{\"a\":1,}", "f.yaml:1:8: JSON: want a key in double quotes"},
        {"{\"a\":[1,]}", "f.yaml:1:9: JSON: want a value"},
        {"{\"a\":01}", "f.yaml:1:6: JSON: want a value"},
        {"{\"a\":+1}", "f.yaml:1:6: JSON: want a value"},
        {"{\"a\":tru}", "f.yaml:1:6: JSON: want a value"},
        {"{\"a\":1 \"b\":2}", "f.yaml:1:8: JSON: want a comma or }"},
        {"{\"a\":[1 2]}", "f.yaml:1:9: JSON: want a comma or ]"},
        {"{\"a\" 1}", "f.yaml:1:6: JSON: want a colon after the key"},
        {"{\"a\":1} x", "f.yaml:1:9: JSON: text after the end of the object"},
        {"{\"a\":[", "f.yaml:1:7: JSON: the text ends too early"},
        {"{\"a\":\"b", "f.yaml:1:8: JSON: the text ends too early"},
        {"{\"a\":\"\\ud83d\"}", "f.yaml:1:13: JSON: half a surrogate pair"},
        {"{\"a\":\"\\ude00\"}", "f.yaml:1:13: JSON: half a surrogate pair"},
        {"{\"a\":\"\\x\"}", "f.yaml:1:8: JSON: an unknown escape in a string"},
        {"{\"a\":\"\\u12g4\"}", "f.yaml:1:11: JSON: want four hex digits after \\u"},
        {"{\"a\":\"x\ny\"}", "f.yaml:1:8: JSON: a control character in a string"},
        {"{\"caf\xC3\xA9\":1,\n\"b\" 1}",
         "f.yaml:2:5: JSON: want a colon after the key"},
    };

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        char got[600];

        show(rows[i].text, got);
        CHECK_STR(got, rows[i].want);
    }
}

static void nodes_know_their_place_and_path(void)
{
    AUTO_ARENA struct arena a = {0};
    struct tree t;
    struct err e;
    char path[200];
    const struct node *n;

    CHECK_INT(
        read_text(
            &a,
            STR("\n# caf\xC3\xA9\nroot:\n  \xC3\xA9t\xC3\xA9: [a, {task_info: xyz}]\n"),
            &t, &e),
        0);
    n = node_member(t.docs[0], "root");
    CHECK_INT(n->members[0].key_pos.line, 4);
    CHECK_INT(n->members[0].key_pos.col, 3);
    n = n->members[0].value->members[1].value;
    CHECK_INT(n->pos.col, 12); /* characters, not bytes */
    n = node_member(n, "taskInfo");
    CHECK_STR(n->text.ptr, "xyz");
    node_path(n, path);
    CHECK_STR(path, "root.\xC3\xA9t\xC3\xA9[1].task_info");
    CHECK(node_member(n, "taskInfo") == NULL);
}

static void long_paths_keep_their_end(void)
{
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf text = {0};
    struct tree t;
    struct err e;
    const struct node *n;
    char path[200];

    for (int i = 0; i < 30; i++)
        buf_addf(&text, "{\"a-rather-long-name-%d\":", i);
    buf_adds(&text, "1");
    for (int i = 0; i < 30; i++)
        buf_adds(&text, "}");
    CHECK_INT(read_text(&a, str_of(buf_str(&text)), &t, &e), 0);
    for (n = t.docs[0]; n->n; n = n->members[0].value)
        ;
    node_path(n, path);
    CHECK(strlen(path) < 200 && strlen(path) > 150);
    CHECK(strncmp(path, "...", 3) == 0);
    CHECK(strstr(path, ".a-rather-long-name-29") != NULL);
}

static void keys_are_matched_in_both_spellings(void)
{
    CHECK(node_is_key(STR("outputParameterKey"), "outputParameterKey"));
    CHECK(node_is_key(STR("output_parameter_key"), "outputParameterKey"));
    CHECK(!node_is_key(STR("output_ParameterKey"), "outputParameterKey"));
    CHECK(!node_is_key(STR("outputParameterkey"), "outputParameterKey"));
    CHECK(!node_is_key(STR("output_parameter_ke"), "outputParameterKey"));
    CHECK(!node_is_key(STR("output_parameter_keys"), "outputParameterKey"));
    CHECK(!node_is_key(STR(""), "x"));
}

static void expect_limit(const struct buf *text, const char *want)
{
    AUTO_ARENA struct arena a = {0};
    struct tree t = {.n_docs = 77};
    struct err e;

    CHECK_INT(read_text(&a, (struct str){buf_str(text), text->len}, &t, &e), -1);
    CHECK_INT(e.code, ERR_LIMIT);
    CHECK(strstr(e.text, want) != NULL);
    CHECK_INT(t.n_docs, 77); /* untouched */
}

static void billions_of_laughs_are_counted_not_told(void)
{
    AUTO_BUF struct buf b = {0};

    buf_adds(&b, "a0: &a0 [lol, lol, lol, lol, lol, lol, lol, lol, lol]\n");
    for (int i = 1; i < 12; i++) {
        buf_addf(&b, "a%d: &a%d [", i, i);
        for (int k = 0; k < 9; k++)
            buf_addf(&b, "%s*a%d", k ? ", " : "", i - 1);
        buf_adds(&b, "]\n");
    }
    expect_limit(&b, "more than 4000000 values in one file");
}

static void long_texts_are_not_copied_without_end(void)
{
    AUTO_BUF struct buf b = {0};

    buf_adds(&b, "a: &a ");
    for (int i = 0; i < 1 << 20; i++)
        buf_addc(&b, 'x');
    buf_adds(&b, "\nb: [*a");
    for (int i = 0; i < 1000; i++)
        buf_adds(&b, ", *a");
    buf_adds(&b, "]\n");
    expect_limit(&b, "more than 4000000 values in one file");
}

static void tag_directives_are_few(void)
{
    AUTO_BUF struct buf b = {0};

    buf_adds(&b, "# a comment\n");
    for (int i = 0; i < 18; i++)
        buf_addf(&b, "%%TAG !t%d! x\n", i);
    buf_adds(&b, "---\na: 1\n");
    expect_limit(&b, "f.yaml:18:1: more than 16 %TAG directives");
}

static void deep_files_are_refused(void)
{
    AUTO_BUF struct buf yaml = {0}, block = {0}, flow = {0};

    for (int i = 0; i < 100000; i++)
        buf_adds(&yaml, "[");
    expect_limit(&yaml, "nested more than 100 levels deep");
    for (int i = 0; i < 300; i++)
        buf_addf(&block, "%*sa:\n", i, "");
    expect_limit(&block, "nested more than 100 levels deep");
    buf_adds(&flow, "{\"a\":");
    for (int i = 0; i < 100000; i++)
        buf_adds(&flow, "[");
    expect_limit(&flow, "f.yaml:1:105: nested more than 100 levels deep");
}

static void big_files_are_refused(void)
{
    AUTO_BUF struct buf b = {0};
    char *big = xalloc(LIMIT_SPEC_BYTES + 1);

    memset(big, ' ', LIMIT_SPEC_BYTES + 1);
    buf_add(&b, big, LIMIT_SPEC_BYTES + 1);
    free(big);
    expect_limit(&b, "f.yaml: larger than 32 MiB");

    buf_reset(&b);
    buf_adds(&b, "[");
    for (int i = 0; i < 4000001; i++)
        buf_adds(&b, "1,");
    buf_adds(&b, "]");
    expect_limit(&b, "more than 4000000 values in one file");
}

int main(void)
{
    plain_scalars_are_read_as_pyyaml_reads_them();
    texts_become_trees_or_messages();
    nodes_know_their_place_and_path();
    long_paths_keep_their_end();
    keys_are_matched_in_both_spellings();
    billions_of_laughs_are_counted_not_told();
    long_texts_are_not_copied_without_end();
    tag_directives_are_few();
    deep_files_are_refused();
    big_files_are_refused();
    return t_end();
}

/* SPDX-License-Identifier: Apache-2.0 */
/* run_pip_fuzz.c - the bytes as a pip script, and each line of them as a requirement
 *
 * Few inputs end as a pip script has to, so they are tried once more with an end put to
 * them.
 *
 * What is checked besides memory: an answer is given or ERR_INPUT, never both or
 * neither; a preamble never wants to skip more than there is; versions order the same
 * from both sides.
 */
#include <stdint.h>

#include "run/pep508.h"
#include "run/pip.h"
#include "text.h"

static void as_script(struct str text)
{
    AUTO_ARENA struct arena a = {0};
    struct str command[] = {STR("sh"), STR("-c"), text, STR("run")};
    struct pip_preamble p;
    struct err e = {0};

    if (pip_preamble_in(&a, command, N_ELEMS(command), &p, &e) < 0) {
        must(e.code == ERR_INPUT && e.text[0]);
        return;
    }
    must(p.found ? p.skip == 3 : !p.skip && !p.n_reqs && !p.wants_kfp);
    for (size_t i = 0; i < p.n_reqs; i++)
        must(!p.reqs[i].kfp_line || p.wants_kfp);
}

static void with_an_end(struct str text)
{
    AUTO_BUF struct buf b;

    buf_init(&b, 0);
    buf_addstr(&b, text);
    buf_adds(&b, "\npip install x && \"$0\" \"$@\"");
    as_script((struct str){buf_str(&b), b.len});
}

static void as_requirement(struct str text)
{
    static struct named_value markers[] = {
        {STR("python_version"), {.kind = VALUE_STRING, .s = STR("3.11")}},
        {STR("sys_platform"), {.kind = VALUE_STRING, .s = STR("linux")}},
    };
    struct dist dists[] = {{STR("a"), STR("1.0")}, {STR("b"), text}};
    struct image_facts f = {.has_python = true,
                            .dists = dists,
                            .n_dists = N_ELEMS(dists),
                            .markers = markers,
                            .n_markers = N_ELEMS(markers)};
    enum pip_answer answer;
    struct str have;
    struct err e = {0};

    if (pip_answer(&f, text, &answer, &have, &e) < 0)
        must(e.code == ERR_INPUT && e.text[0]);
    else
        must(!e.code && (answer == PIP_ABSENT || answer == PIP_NOT_NEEDED || have.len));
    must(pip_answer(&f, STR("b>=1,!=2.*,~=1.0"), &answer, &have, &e) == 0 || !text.len);
}

static void as_versions(struct str a, struct str b)
{
    int ab = 0, ba = 0, aa = 1;

    if (!pip_version_compare(a, b, &ab))
        return;
    must(pip_version_compare(b, a, &ba) && (ab < 0) == (ba > 0) &&
         (ab == 0) == (ba == 0));
    must(pip_version_compare(a, a, &aa) && aa == 0);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct str rest = {(const char *)data, size}, last = {"", 0};

    as_script(rest);
    with_an_end(rest);
    while (rest.len) {
        const char *end = memchr(rest.ptr, '\n', rest.len);
        struct str line = {rest.ptr, end ? (size_t)(end - rest.ptr) : rest.len};
        as_requirement(line);
        as_versions(last, line);
        last = line;
        rest.ptr += line.len + (end != NULL);
        rest.len -= line.len + (end != NULL);
    }
    return 0;
}

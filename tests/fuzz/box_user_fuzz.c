/* SPDX-License-Identifier: Apache-2.0 */
/* box_user_fuzz.c - a User, /etc/passwd and /etc/group of an image, NUL after the first
 * two
 *
 * Digits are never looked up as a name and never wrap; the id that means "leave as it
 * is" is never given; root is given to who asked for 0 or a name that passwd has as 0,
 * and to nobody else.
 */
#include <stdint.h>

#include "box/box.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(struct str user, const struct box_user *u)
{
    size_t n = 0;
    uint64_t v = 0;

    while (n < user.len && user.ptr[n] >= '0' && user.ptr[n] <= '9' && n < 30)
        v = v * 10 + (uint64_t)(user.ptr[n++] - '0');
    must(u->uid != (uid_t)-1 && u->gid != (gid_t)-1 && u->n_groups <= BOX_GROUPS_MAX);
    if (n > 0 && n < 15 && (n == user.len || user.ptr[n] == ':'))
        must(v <= 0xfffffffe && u->uid == v);
    for (size_t i = 0; i < u->n_groups; i++)
        must(u->groups[i] != (gid_t)-1 && u->groups[i] != u->gid);
}

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    struct str rest = {(const char *)data, size}, user = place_part(&rest);
    AUTO_FREE char *text = xalloc(user.len + 1);
    struct box_user u;
    struct err e = {0};

    if (user.len)
        memcpy(text, user.ptr, user.len);
    (void)mkdirat(p->work_fd, "etc", 0755);
    place_file(p->work_fd, "etc/passwd", place_part(&rest));
    place_file(p->work_fd, "etc/group", rest);
    if (box_resolve_user(p->work_fd, text, &u, &e) == 0)
        check(user, &u);
    else
        must(e.code == ERR_INPUT && e.text[0]);
    return 0;
}

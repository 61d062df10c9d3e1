/* SPDX-License-Identifier: Apache-2.0 */
/* platform.c - os/architecture/variant: what an image is for, and what this machine
 * runs
 *
 * A variant is a level: amd64 v1 to v4, arm v5 to v7, arm64 v8 and v9. What needs a
 * higher level than there is does not fit, and of those that fit the highest is best.
 * No variant means the lowest that is usual: v1, v7, v8.
 */
#include "image/platform.h"

#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>

#include "base/cpu.h"
#include "base/mem.h"

/* uname(2) has words of its own */
static const struct {
    const char *machine, *arch;
} machines[] = {
    {"x86_64", "amd64"},    {"aarch64", "arm64"}, {"armv7l", "arm"},
    {"armv6l", "arm"},      {"i686", "386"},      {"i386", "386"},
    {"ppc64le", "ppc64le"}, {"s390x", "s390x"},   {"riscv64", "riscv64"},
};

static int amd64_level(void)
{
    if (cpu_has(CPU_AVX512F) && cpu_has(CPU_AVX512BW) && cpu_has(CPU_AVX512VL))
        return 4;
    if (cpu_has(CPU_AVX2) && cpu_has(CPU_FMA))
        return 3;
    if (cpu_has(CPU_SSE4_2) && cpu_has(CPU_POPCNT))
        return 2;
    return 1;
}

static void host(struct platform *out)
{
    struct utsname u;

    *out = (struct platform){.os = "linux"};
    if (uname(&u) < 0)
        return;
    (void)snprintf(out->arch, sizeof(out->arch), "%.15s", u.machine);
    for (size_t i = 0; i < N_ELEMS(machines); i++)
        if (strcmp(u.machine, machines[i].machine) == 0)
            (void)snprintf(out->arch, sizeof(out->arch), "%s", machines[i].arch);
    if (strcmp(out->arch, "amd64") == 0)
        (void)snprintf(out->variant, sizeof(out->variant), "v%d", amd64_level());
    if (strcmp(out->arch, "arm") == 0)
        (void)snprintf(out->variant, sizeof(out->variant), "v%c", u.machine[4]);
}

static bool set_word(char out[16], struct str s)
{
    if (s.len >= 16)
        return false;
    memcpy(out, s.ptr, s.len);
    out[s.len] = '\0';
    for (size_t i = 0; i < s.len; i++)
        if (!((s.ptr[i] >= 'a' && s.ptr[i] <= 'z') ||
              (s.ptr[i] >= '0' && s.ptr[i] <= '9') || s.ptr[i] == '_' ||
              s.ptr[i] == '-' || s.ptr[i] == '.'))
            return false;
    return true;
}

bool platform_set(struct platform *p, struct str os, struct str arch,
                  struct str variant)
{
    return set_word(p->os, os) && set_word(p->arch, arch) &&
           set_word(p->variant, variant);
}

int platform_parse(const char *text, struct platform *out, struct err *e)
{
    struct str part[3] = {{"", 0}, {"", 0}, {"", 0}};
    size_t n = 0;

    if (!text) {
        host(out);
        return 0;
    }
    for (const char *p = text;; p++) {
        size_t len = strcspn(p, "/");
        if (n == 3 || len == 0)
            return err_set(e, ERR_INPUT, "platform \"%.60s\": want OS/ARCH[/VARIANT]",
                           text);
        part[n++] = (struct str){p, len};
        p += len;
        if (!*p)
            break;
    }
    if (!(n == 1 ? platform_set(out, STR("linux"), part[0], part[1])
                 : platform_set(out, part[0], part[1], part[2])))
        return err_set(e, ERR_INPUT, "platform \"%.60s\": want OS/ARCH[/VARIANT]",
                       text);
    for (size_t i = 0; i < N_ELEMS(machines); i++)
        if (strcmp(out->arch, machines[i].machine) == 0)
            (void)snprintf(out->arch, sizeof(out->arch), "%s", machines[i].arch);
    return 0;
}

static int level(const struct platform *p)
{
    if (p->variant[0] == 'v' && p->variant[1] >= '1' && p->variant[1] <= '9' &&
        !p->variant[2])
        return p->variant[1] - '0';
    if (strcmp(p->arch, "arm64") == 0)
        return 8;
    return strcmp(p->arch, "arm") == 0 ? 7 : 1;
}

int platform_fits(const struct platform *want, const struct platform *have)
{
    if (strcmp(want->os, have->os) != 0 || strcmp(want->arch, have->arch) != 0)
        return 0;
    return level(have) <= level(want) ? level(have) : 0;
}

void platform_text(const struct platform *p, char out[PLATFORM_TEXT])
{
    (void)snprintf(out, PLATFORM_TEXT, "%s/%s%s%s", p->os, p->arch,
                   p->variant[0] ? "/" : "", p->variant);
}

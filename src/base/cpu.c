/* SPDX-License-Identifier: Apache-2.0 */
/* cpu.c - which instructions this processor and its kernel offer
 *
 * Asked for the first time that somebody wants to know. The compiler's own answer
 * (__builtin_cpu_supports) asks thirty times before main, and in a virtual machine each
 * cpuid is a trap: 40 us of every command, most of which hash and inflate nothing.
 */
#include "base/cpu.h"

#ifdef __x86_64__
#include <cpuid.h>
#include <stddef.h>

#include "base/mem.h"

#define BIT(f) (1U << (f))
#define YMM 0x06 /* XCR0: the kernel saves xmm and ymm; for AVX-512 masks and zmm as well */
#define ZMM 0xe6

struct row {
    unsigned feature, bit;
};

static const struct row leaf1_ecx[] = {
    {CPU_SSSE3, bit_SSSE3},   {CPU_SSE4_1, bit_SSE4_1}, {CPU_SSE4_2, bit_SSE4_2},
    {CPU_POPCNT, bit_POPCNT}, {CPU_PCLMUL, bit_PCLMUL}, {CPU_AVX, bit_AVX},
    {CPU_FMA, bit_FMA},
};

static const struct row leaf7_ebx[] = {
    {CPU_SHA, bit_SHA},           {CPU_BMI, bit_BMI},           {CPU_BMI2, bit_BMI2},
    {CPU_AVX2, bit_AVX2},         {CPU_AVX512F, bit_AVX512F},   {CPU_AVX512BW, bit_AVX512BW},
    {CPU_AVX512VL, bit_AVX512VL},
};

static unsigned pick(const struct row *rows, size_t n, unsigned word)
{
    unsigned found = 0;

    for (size_t i = 0; i < n; i++) {
        if (word & rows[i].bit)
            found |= BIT(rows[i].feature);
    }
    return found;
}

static unsigned saved_by_kernel(unsigned leaf1)
{
    unsigned low, high;

    if (!(leaf1 & bit_OSXSAVE))
        return 0;
    __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

static unsigned look(void)
{
    const unsigned avx512 = BIT(CPU_AVX512F) | BIT(CPU_AVX512BW) | BIT(CPU_AVX512VL);
    const unsigned avx = avx512 | BIT(CPU_AVX) | BIT(CPU_FMA) | BIT(CPU_AVX2);
    unsigned a, b, c, d, found, saved;

    if (!__get_cpuid(1, &a, &b, &c, &d))
        return 0;
    found = pick(leaf1_ecx, N_ELEMS(leaf1_ecx), c);
    saved = saved_by_kernel(c);
    if (__get_cpuid_count(7, 0, &a, &b, &c, &d))
        found |= pick(leaf7_ebx, N_ELEMS(leaf7_ebx), b);
    if ((saved & YMM) != YMM)
        found &= ~avx;
    if ((saved & ZMM) != ZMM)
        found &= ~avx512;
    return found;
}

bool cpu_has(enum cpu_feature f)
{
    static unsigned found;
    static bool looked;

    if (!looked) {
        found = look();
        looked = true;
    }
    return found & BIT(f);
}

#else

bool cpu_has(enum cpu_feature f)
{
    (void)f;
    return false;
}

#endif

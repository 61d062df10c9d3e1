/* SPDX-License-Identifier: Apache-2.0 */
#ifndef BASE_CPU_H
#define BASE_CPU_H

#include <stdbool.h>

/* Extensions of x86-64 that somebody here chooses code by. */
enum cpu_feature {
    CPU_SSSE3,
    CPU_SSE4_1,
    CPU_SSE4_2,
    CPU_POPCNT,
    CPU_PCLMUL,
    CPU_SHA,
    CPU_AVX, /* this and those below: the kernel saves their registers, too */
    CPU_FMA,
    CPU_AVX2,
    CPU_BMI,
    CPU_BMI2,
    CPU_AVX512F,
    CPU_AVX512BW,
    CPU_AVX512VL,
};

/* Whether this machine has it. Always false on other architectures. */
bool cpu_has(enum cpu_feature f);

#endif

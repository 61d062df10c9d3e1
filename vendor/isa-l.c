/* SPDX-License-Identifier: Apache-2.0 */
/* isa-l.c - which of isa-l's routines this processor may use
 *
 * isa-l picks its fastest routine by assembly files that each name every variant of
 * every checksum it has. We inflate gzip and nothing else, so three choices in C do:
 * the Huffman decoder (assembly for SSE4 or for AVX2 with BMI2), the CRC of gzip
 * (carry-less multiply) and, for completeness, Adler-32. With no assembler, or on
 * another architecture, ISAL_ASM is not defined and isa-l's own portable C does all of
 * it. The two header initialisers live in isa-l's compressor, which we leave out.
 */
#include <stdint.h>
#include <string.h>

#include "base/cpu.h"
#include "crc.h"
#include "igzip_checksums.h"
#include "igzip_lib.h"

int decode_huffman_code_block_stateless_base(struct inflate_state *, uint8_t *);
int decode_huffman_code_block_stateless(struct inflate_state *, uint8_t *);
uint32_t adler32_base(uint32_t, unsigned char *, uint32_t);

#ifdef ISAL_ASM

int decode_huffman_code_block_stateless_01(struct inflate_state *, uint8_t *);
int decode_huffman_code_block_stateless_04(struct inflate_state *, uint8_t *);
uint32_t crc32_gzip_refl_by8(uint32_t, const unsigned char *, uint64_t);
uint32_t crc32_gzip_refl_by8_02(uint32_t, const unsigned char *, uint64_t);

int decode_huffman_code_block_stateless(struct inflate_state *state, uint8_t *start_out)
{
    if (cpu_has(CPU_AVX2) && cpu_has(CPU_BMI2) && cpu_has(CPU_BMI))
        return decode_huffman_code_block_stateless_04(state, start_out);
    if (cpu_has(CPU_SSE4_2))
        return decode_huffman_code_block_stateless_01(state, start_out);
    return decode_huffman_code_block_stateless_base(state, start_out);
}

uint32_t crc32_gzip_refl(uint32_t seed, const unsigned char *buf, uint64_t len)
{
    if (cpu_has(CPU_PCLMUL) && cpu_has(CPU_AVX))
        return crc32_gzip_refl_by8_02(seed, buf, len);
    if (cpu_has(CPU_PCLMUL) && cpu_has(CPU_SSE4_2))
        return crc32_gzip_refl_by8(seed, buf, len);
    return crc32_gzip_refl_base(seed, (unsigned char *)buf, len);
}

#else

int decode_huffman_code_block_stateless(struct inflate_state *state, uint8_t *start_out)
{
    return decode_huffman_code_block_stateless_base(state, start_out);
}

uint32_t crc32_gzip_refl(uint32_t seed, const unsigned char *buf, uint64_t len)
{
    return crc32_gzip_refl_base(seed, (unsigned char *)buf, len);
}

#endif

/* The state of a zlib stream keeps Adler-32's low half minus one, so that zero starts
 * it. */
uint32_t isal_adler32_bam1(uint32_t state, const unsigned char *buf, uint64_t len)
{
    uint32_t low = ((state & 0xffff) + 1) % 65521;
    uint32_t sum =
        adler32_base((state & 0xffff0000) | low, (unsigned char *)buf, (uint32_t)len);

    return (sum & 0xffff0000) | ((sum & 0xffff) + 65520) % 65521;
}

void isal_gzip_header_init(struct isal_gzip_header *header)
{
    memset(header, 0, sizeof *header);
    header->os = 0xff; /* unknown */
}

void isal_zlib_header_init(struct isal_zlib_header *header)
{
    memset(header, 0, sizeof *header);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* elf.c - the name that a shared object goes by
 *
 *     header -> program headers -> PT_DYNAMIC -> DT_SONAME, an offset in the text at
 *     DT_STRTAB, an address, which the PT_LOAD around it turns into a place in the file
 *
 * Every offset is read with pread(2) and a length that was asked for: what lies outside
 * the file is a short read, and a short read is "no".
 */
#include <elf.h>
#include <string.h>
#include <unistd.h>

#include "gpu/inside.h"

#define HEADERS_MAX 64
#define DYNAMIC_MAX 1024

#if defined(__x86_64__)
#define MACHINE EM_X86_64
#else
#define MACHINE EM_AARCH64
#endif

static bool read_at(int fd, void *out, size_t size, uint64_t at)
{
    return at < INT64_MAX && pread(fd, out, size, (off_t)at) == (ssize_t)size;
}

/* the place in the file of an address in memory; false when nothing is loaded there */
static bool file_offset(const Elf64_Phdr *p, size_t n, uint64_t address, uint64_t *out)
{
    for (size_t i = 0; i < n; i++)
        if (p[i].p_type == PT_LOAD && address >= p[i].p_vaddr &&
            address - p[i].p_vaddr < p[i].p_filesz) {
            *out = p[i].p_offset + (address - p[i].p_vaddr);
            return true;
        }
    return false;
}

static bool find_name(int fd, const Elf64_Phdr *dynamic, uint64_t *strtab,
                      uint64_t *name)
{
    bool has_table = false, has_name = false;
    Elf64_Dyn d;

    for (uint64_t i = 0; i < dynamic->p_filesz / sizeof d && i < DYNAMIC_MAX; i++) {
        if (!read_at(fd, &d, sizeof d, dynamic->p_offset + i * sizeof d) ||
            d.d_tag == DT_NULL)
            break;
        if (d.d_tag == DT_STRTAB) {
            *strtab = d.d_un.d_ptr;
            has_table = true;
        } else if (d.d_tag == DT_SONAME) {
            *name = d.d_un.d_val;
            has_name = true;
        }
    }
    return has_table && has_name;
}

/* a file name that can be a link's name, and nothing else */
static bool is_name(const char *z)
{
    return strspn(
               z,
               "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789._+-") ==
               strlen(z) &&
           z[0] != '.';
}

bool elf_soname(int fd, char *soname, size_t size)
{
    Elf64_Ehdr h;
    Elf64_Phdr p[HEADERS_MAX];
    uint64_t strtab = 0, name = 0, at;
    ssize_t got;

    soname[0] = 0;
    if (!read_at(fd, &h, sizeof h, 0) || memcmp(h.e_ident, ELFMAG, SELFMAG) != 0 ||
        h.e_ident[EI_CLASS] != ELFCLASS64 || h.e_machine != MACHINE ||
        h.e_type != ET_DYN)
        return false;
    if (h.e_phentsize != sizeof p[0] || !h.e_phnum || h.e_phnum > HEADERS_MAX ||
        !read_at(fd, p, h.e_phnum * sizeof p[0], h.e_phoff))
        return true;
    for (size_t i = 0; i < h.e_phnum; i++) {
        if (p[i].p_type != PT_DYNAMIC || !find_name(fd, &p[i], &strtab, &name) ||
            !file_offset(p, h.e_phnum, strtab, &at) || name > UINT32_MAX)
            continue;
        got = pread(fd, soname, size - 1, (off_t)(at + name));
        soname[got > 0 ? got : 0] = 0;
        if (strlen(soname) == size - 1 || !is_name(soname))
            soname[0] = 0;
        break;
    }
    return true;
}

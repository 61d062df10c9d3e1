/* SPDX-License-Identifier: Apache-2.0 */
/* devices.c - which device nodes the processes of a cgroup may open
 *
 * A box has no capability to make nodes, and its file systems are mounted nodev; this is the
 * second lock on the same door. v1 keeps a list in files. v2 asks a BPF program with
 * {access << 16 | type, major, minor} and wants 0 or 1; ours is one comparison a device:
 *
 *     type != char?  -> 0
 *     major == M1 && minor == N1?  -> 1   ... and so on ...   else -> 0
 */
#include "box/cgroup.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"

const struct cg_device cg_devices[] = {
    {1, 3},    /* null */
    {1, 5},    /* zero */
    {1, 7},    /* full */
    {1, 8},    /* random */
    {1, 9},    /* urandom */
    {5, 0},    /* tty: the process's own */
    {5, 2},    /* ptmx */
    {136, -1}, /* the box's pseudo terminals */
};
const unsigned cg_n_devices = N_ELEMS(cg_devices);

/* ---- v1 ---------------------------------------------------------------------------------- */

int cg_v1_devices(int cgroup_fd)
{
    AUTO_FD int list = openat(cgroup_fd, "devices.list", O_RDONLY | O_CLOEXEC);
    AUTO_FD int allow = -1;
    char text[64] = "";

    if (list < 0 || read(list, text, sizeof text - 1) < 0)
        return -1;
    if (text[0] != 'a')
        return 0; /* "a *:* rwm" is what a new cgroup has */
    allow = openat(cgroup_fd, "devices.allow", O_WRONLY | O_CLOEXEC);
    if (allow < 0 || fd_write_small(cgroup_fd, "devices.deny", "a", &(struct err){0}) < 0)
        return -1;
    for (unsigned i = 0; i < cg_n_devices; i++) {
        const struct cg_device *d = &cg_devices[i];
        int n = d->minor < 0
                    ? snprintf(text, sizeof text, "c %d:* rwm", d->major)
                    : snprintf(text, sizeof text, "c %d:%d rwm", d->major, d->minor);
        if (write(allow, text, (size_t)n) != n)
            return -1; /* a parent denies it: then it stays denied, but say so */
    }
    return 0;
}

/* ---- v2 ---------------------------------------------------------------------------------- */

#define INSN(code_, dst, src, off_, imm_)                                                      \
    ((struct bpf_insn){.code = (code_), .dst_reg = (dst), .src_reg = (src), .off = (off_),     \
                       .imm = (imm_)})
#define LOAD_WORD(dst, src, off) INSN(BPF_LDX | BPF_MEM | BPF_W, dst, src, off, 0)
#define JUMP_IF_NOT(reg, value, skip) INSN(BPF_JMP | BPF_JNE | BPF_K, reg, 0, skip, value)
#define SET(reg, value) INSN(BPF_ALU64 | BPF_MOV | BPF_K, reg, 0, 0, value)
#define EXIT() INSN(BPF_JMP | BPF_EXIT, 0, 0, 0, 0)
#define PROGRAM_MAX 128

static unsigned device_program(struct bpf_insn *out)
{
    unsigned n = 0;

    out[n++] = LOAD_WORD(BPF_REG_2, BPF_REG_1, 0);
    out[n++] = INSN(BPF_ALU64 | BPF_AND | BPF_K, BPF_REG_2, 0, 0, 0xffff);
    out[n++] = LOAD_WORD(BPF_REG_3, BPF_REG_1, 4);
    out[n++] = LOAD_WORD(BPF_REG_4, BPF_REG_1, 8);
    out[n++] = INSN(BPF_JMP | BPF_JEQ | BPF_K, BPF_REG_2, 0, 2, BPF_DEVCG_DEV_CHAR);
    out[n++] = SET(BPF_REG_0, 0);
    out[n++] = EXIT();
    for (unsigned i = 0; i < cg_n_devices; i++) {
        const struct cg_device *d = &cg_devices[i];
        out[n++] = JUMP_IF_NOT(BPF_REG_3, d->major, d->minor < 0 ? 2 : 3);
        if (d->minor >= 0)
            out[n++] = JUMP_IF_NOT(BPF_REG_4, d->minor, 2);
        out[n++] = SET(BPF_REG_0, 1);
        out[n++] = EXIT();
    }
    out[n++] = SET(BPF_REG_0, 0);
    out[n++] = EXIT();
    return n;
}

static int bpf(int cmd, union bpf_attr *attr)
{
    return (int)syscall(SYS_bpf, cmd, attr, sizeof *attr);
}

static bool has_rule(int cgroup_fd)
{
    union bpf_attr a = {0};

    a.query.target_fd = (uint32_t)cgroup_fd;
    a.query.attach_type = BPF_CGROUP_DEVICE;
    return bpf(BPF_PROG_QUERY, &a) == 0 && a.query.prog_cnt > 0;
}

int cg_v2_devices(int cgroup_fd)
{
    struct bpf_insn code[PROGRAM_MAX];
    union bpf_attr load = {0}, attach = {0};
    AUTO_FD int prog = -1;

    if (has_rule(cgroup_fd))
        return 0;
    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (uintptr_t)code;
    load.insn_cnt = device_program(code);
    load.license = (uintptr_t) "Apache-2.0"; /* it calls no helper that wants the GPL */
    prog = bpf(BPF_PROG_LOAD, &load);
    if (prog < 0)
        return -1;
    attach.target_fd = (uint32_t)cgroup_fd;
    attach.attach_bpf_fd = (uint32_t)prog;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI;
    return bpf(BPF_PROG_ATTACH, &attach);
}

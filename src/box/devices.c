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

/* "c 195:0 rw" of devices.list: is it one that every box has, or one of those granted? */
static bool is_allowed(const char *line, const struct box_device *granted, size_t n)
{
    char want[64];

    for (unsigned i = 0; i < cg_n_devices; i++) {
        const struct cg_device *d = &cg_devices[i];
        if (d->minor < 0)
            (void)snprintf(want, sizeof want, "c %d:* ", d->major);
        else
            (void)snprintf(want, sizeof want, "c %d:%d ", d->major, d->minor);
        if (strncmp(line, want, strlen(want)) == 0)
            return true;
    }
    for (size_t i = 0; i < n; i++) {
        (void)snprintf(want, sizeof want, "c %u:%u rw", granted[i].major, granted[i].minor);
        if (strcmp(line, want) == 0)
            return true;
    }
    return false;
}

/* what an earlier box of this slot had and this one has not */
static int deny_leftovers(int cgroup_fd, char *list, const struct box_device *granted, size_t n)
{
    char *save = NULL;

    for (char *line = strtok_r(list, "\n", &save); line; line = strtok_r(NULL, "\n", &save))
        if (!is_allowed(line, granted, n) &&
            fd_write_small(cgroup_fd, "devices.deny", line, &(struct err){0}) < 0)
            return -1;
    return 0;
}

static int allow(int fd, const char *text, int n)
{
    /* a parent denies it: then it stays denied, but say so */
    return write(fd, text, (size_t)n) == n ? 0 : -1;
}

/* those of the harmless ones that are not in the list: whoever set a slot up may have been killed
 * half way, and without /dev/null no box would ever start in it again */
static int allow_harmless(int fd, const char *list)
{
    char text[64];

    for (unsigned i = 0; i < cg_n_devices; i++) {
        const struct cg_device *d = &cg_devices[i];
        int n = d->minor < 0
                    ? snprintf(text, sizeof text, "c %d:* rwm", d->major)
                    : snprintf(text, sizeof text, "c %d:%d rwm", d->major, d->minor);
        if (!strstr(list, text) && allow(fd, text, n) < 0)
            return -1;
    }
    return 0;
}

int cg_v1_devices(int cgroup_fd, const struct box_device *granted, size_t n)
{
    AUTO_FD int list = openat(cgroup_fd, "devices.list", O_RDONLY | O_CLOEXEC);
    AUTO_FD int fd = openat(cgroup_fd, "devices.allow", O_WRONLY | O_CLOEXEC);
    char have[8192], text[64];
    ssize_t len = list < 0 ? -1 : read(list, have, sizeof have - 1);

    if (len < 0 || fd < 0)
        return -1;
    have[len] = 0;
    if (have[0] == 'a') { /* "a *:* rwm" is what a new cgroup has */
        have[0] = 0;
        if (fd_write_small(cgroup_fd, "devices.deny", "a", &(struct err){0}) < 0)
            return -1;
    }
    if (allow_harmless(fd, have) < 0 || deny_leftovers(cgroup_fd, have, granted, n) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        int k = snprintf(text, sizeof text, "c %u:%u rw", granted[i].major, granted[i].minor);
        if (allow(fd, text, k) < 0)
            return -1;
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
#define PROGRAM_MAX (64 + 5 * (16 + CG_GRANTED_MAX))
#define NAME_PLAIN "dugout"
#define NAME_GRANTS "dugout_grants"

static unsigned device_program(struct bpf_insn *out, const struct box_device *granted,
                               size_t n_granted)
{
    unsigned n = 0;

    out[n++] = LOAD_WORD(BPF_REG_2, BPF_REG_1, 0);
    out[n++] = INSN(BPF_ALU64 | BPF_MOV | BPF_X, BPF_REG_5, BPF_REG_2, 0, 0);
    out[n++] = INSN(BPF_ALU64 | BPF_RSH | BPF_K, BPF_REG_5, 0, 0, 16);
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
    for (size_t i = 0; i < n_granted; i++) { /* making the node (access bit 1) stays denied */
        out[n++] = JUMP_IF_NOT(BPF_REG_3, (int)granted[i].major, 4);
        out[n++] = JUMP_IF_NOT(BPF_REG_4, (int)granted[i].minor, 3);
        out[n++] = INSN(BPF_JMP | BPF_JSET | BPF_K, BPF_REG_5, 0, 2, BPF_DEVCG_ACC_MKNOD);
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

/* the rule that is attached: 0 none, 1 ours without grants, 2 another one, *prog is its descriptor */
static int attached_rule(int cgroup_fd, int *prog)
{
    union bpf_attr q = {0}, by_id = {0}, ask = {0};
    struct bpf_prog_info info = {0};
    uint32_t ids[1] = {0};

    q.query.target_fd = (uint32_t)cgroup_fd;
    q.query.attach_type = BPF_CGROUP_DEVICE;
    q.query.prog_ids = (uintptr_t)ids;
    q.query.prog_cnt = N_ELEMS(ids);
    if (bpf(BPF_PROG_QUERY, &q) < 0 || !ids[0])
        return 0;
    by_id.prog_id = ids[0];
    *prog = bpf(BPF_PROG_GET_FD_BY_ID, &by_id);
    if (*prog < 0)
        return 1; /* it cannot be exchanged: it may not be ours */
    ask.info.bpf_fd = (uint32_t)*prog;
    ask.info.info_len = sizeof info;
    ask.info.info = (uintptr_t)&info;
    return bpf(BPF_OBJ_GET_INFO_BY_FD, &ask) == 0 && strcmp(info.name, NAME_PLAIN) == 0 ? 1 : 2;
}

static int load_rule(const struct box_device *granted, size_t n)
{
    struct bpf_insn code[PROGRAM_MAX];
    union bpf_attr load = {0};

    load.prog_type = BPF_PROG_TYPE_CGROUP_DEVICE;
    load.insns = (uintptr_t)code;
    load.insn_cnt = device_program(code, granted, n);
    load.license = (uintptr_t) "Apache-2.0"; /* it calls no helper that wants the GPL */
    (void)snprintf(load.prog_name, sizeof load.prog_name, "%s", n ? NAME_GRANTS : NAME_PLAIN);
    return bpf(BPF_PROG_LOAD, &load);
}

int cg_v2_devices(int cgroup_fd, const struct box_device *granted, size_t n)
{
    union bpf_attr attach = {0};
    AUTO_FD int old = -1;
    AUTO_FD int prog = -1;
    int have = attached_rule(cgroup_fd, &old);

    if (have == 1 && !n)
        return 0;
    prog = load_rule(granted, n);
    if (prog < 0)
        return -1;
    attach.target_fd = (uint32_t)cgroup_fd;
    attach.attach_bpf_fd = (uint32_t)prog;
    attach.attach_type = BPF_CGROUP_DEVICE;
    attach.attach_flags = BPF_F_ALLOW_MULTI | (have ? BPF_F_REPLACE : 0);
    attach.replace_bpf_fd = have ? (uint32_t)old : 0;
    return bpf(BPF_PROG_ATTACH, &attach);
}

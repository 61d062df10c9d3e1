/* SPDX-License-Identifier: Apache-2.0 */
/* inside.h - what the files of src/gpu share; nobody else includes it */
#ifndef GPU_INSIDE_H
#define GPU_INSIDE_H

#include "gpu/gpu.h"
#include "gpu/grant.h"

#define LIMIT_GPU_TEXT (64 * 1024) /* files of /proc and /sys that we read */
#define LIMIT_GPU_DIR 4096         /* entries of one directory */
#define DRM_MAJOR 226

/* ---- find.c: reading below the root --------------------------------------------- */

/* root_text - at most size - 1 bytes of a file, without spaces and line ends around
 * them; "" and false when it cannot be read */
bool root_text(const struct gpu_set *s, const char *path, char *out, size_t size);
/* root_file - a whole file into *out, at most LIMIT_GPU_TEXT bytes; false when it
 * cannot be read */
bool root_file(const struct gpu_set *s, const char *path, struct buf *out);
/* root_names - the entries of a directory, sorted, in the set's arena; *n is 0 when
 * there is none */
char **root_names(struct gpu_set *s, const char *path, size_t *n);
bool root_has(const struct gpu_set *s, const char *path);

/* root_major - of a character device as in /proc/devices; -1 when it is not there */
int root_major(const struct gpu_set *s, const char *name);

/* root_numa - the node of a PCI device; -1 when the kernel does not say */
int root_numa(const struct gpu_set *s, const char *pci);

struct gpu *gpu_add(struct gpu_set *s, enum gpu_vendor v);
/* node_add - append a node and look whether the host has it */
struct gpu_node *node_add(struct gpu_set *s, struct gpu_node **nodes, size_t *n,
                          unsigned major, unsigned minor, const char *fmt, ...)
    __attribute__((format(printf, 6, 7)));
/* node_found - append a node as the host has it; false when there is no such character
 * device */
bool node_found(struct gpu_set *s, struct gpu_node **nodes, size_t *n,
                const char *path);
void gpu_unusable(struct gpu *g, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));
/* text_ok - non-empty and of [A-Za-z0-9._:-] only: safe as a name, in a message, in a
 * file */
bool text_ok(const char *z);

/* "Key: value" or "key value" lines: the value of a key, trimmed; empty when it is not
 * there */
struct str text_field(struct str text, const char *key);

/* next_line - cut one line off the front of *rest; false at the end */
bool next_line(struct str *rest, struct str *line);

/* tegra_list - one line "KIND, PATH" after the other of the board's own lists of what a
 * container needs (/etc/nvidia-container-runtime/host-files-for-container.d), until fn
 * returns false */
void tegra_list(struct gpu_set *s,
                bool (*fn)(void *ctx, struct str kind, const char *path), void *ctx);

/* ---- grant.c: adding to a grant; texts are copied ------------------------------- */

struct granting {
    struct arena *a;
    struct gpu_set *s;
    struct grant *g;
};
/* grant_found - all of a grant but what holds whoever described it, from the files of
 * the machine */
int grant_found(struct granting *w, struct gpu *const *gpus, size_t n, struct err *e);
void grant_node(struct granting *w, const struct gpu_node *n);
/* the same with the host's node at another path */
void grant_node_from(struct granting *w, const struct gpu_node *n,
                     const char *host_path);
/* bind a path below the root to dst, read-only unless rw */
void grant_bind(struct granting *w, const char *path, const char *dst, bool rw);
void grant_link(struct granting *w, const char *path, const char *target);
void grant_lib(struct granting *w, const char *name, const char *path);
void grant_lib_dir(struct granting *w, const char *dir);
void grant_proc(struct granting *w, const char *path, struct str text);
void grant_env(struct granting *w, const char *name, const char *value);
/* NULL when absent */
const char *grant_env_of(const struct granting *w, const char *name);
void grant_notice(struct granting *w, const char *fmt, ...)
    __attribute__((format(printf, 2, 3)));

/* nvlibs.c: libraries and files of the NVIDIA driver */
int grant_nvidia_files(struct granting *w, struct err *e);

/* elf_soname - is this a shared object of this machine, and what does it call itself?
 * soname is "" when it says nothing. The bytes are foreign. */
bool elf_soname(int fd, char *soname, size_t size);

int root_open(const struct gpu_set *s, const char *path, int flags);

/* nvidia.c; pci.c: AMD, Intel, cards without a driver; tegra.c */
int find_nvidia(struct gpu_set *s, struct err *e);
int find_pci(struct gpu_set *s, struct err *e);
int find_tegra(struct gpu_set *s, struct err *e);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* nvlibs.c - the user-space half of the NVIDIA driver
 *
 * It has to be of the very version of the kernel module, and says so in its names:
 * every file that ends in ".so.<version>" belongs to it, in whatever directory the
 * distribution put them. So they are found by that ending, which also finds libraries
 * that are newer than this text, and then chosen by what the image says it needs
 * (NVIDIA_DRIVER_CAPABILITIES). They all go into one directory of the box, with a link
 * for each name that programs ask for:
 *
 *     /usr/local/dugout/nv/lib/libcuda.so.535.104.05   bound
 *     /usr/local/dugout/nv/lib/libcuda.so.1       link: what the file calls itself
 *     /usr/local/dugout/nv/lib/libcuda.so         link: what dlopen(3) is asked for
 *
 * The general loaders (libGL, libEGL, libOpenCL) are the image's own: those of the host
 * may want a newer libc than the image has.
 */
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "base/fd.h"
#include "base/limits.h"
#include "box/ldcache.h"
#include "gpu/inside.h"

#define TREE "/usr/local/dugout/nv"
#define LIBS TREE "/lib"
#define LIBS_MAX 200

enum { UTILITY = 1, COMPUTE = 2, VIDEO = 4, GRAPHICS = 8, NGX = 16, DISPLAY = 32 };

static const struct {
    const char *name;
    unsigned bits;
} capabilities[] = {{"utility", UTILITY}, {"compute", COMPUTE},
                    {"video", VIDEO},     {"graphics", GRAPHICS},
                    {"ngx", NGX},         {"display", DISPLAY | GRAPHICS},
                    {"all", 63}};

/* what a library is for, by the longest of these that it begins with; others named
 * libnvidia-* and libcuda* compute */
static const struct {
    const char *prefix;
    unsigned bits;
} kinds[] = {
    {"libnvidia-ml.", UTILITY},
    {"libnvidia-cfg.", UTILITY},
    {"libnvidia-nscq.", UTILITY},
    {"libnvidia-gpucomp.", COMPUTE | GRAPHICS},
    {"libvdpau_nvidia.", VIDEO},
    {"libnvidia-encode.", VIDEO},
    {"libnvidia-opticalflow.", VIDEO},
    {"libnvcuvid.", VIDEO},
    {"libnvidia-eglcore.", GRAPHICS},
    {"libnvidia-glcore.", GRAPHICS},
    {"libnvidia-tls.", GRAPHICS},
    {"libnvidia-glsi.", GRAPHICS},
    {"libnvidia-fbc.", GRAPHICS},
    {"libnvidia-ifr.", GRAPHICS},
    {"libnvidia-rtcore.", GRAPHICS},
    {"libnvoptix.", GRAPHICS},
    {"libGLX_nvidia.", GRAPHICS},
    {"libEGL_nvidia.", GRAPHICS},
    {"libGLESv", GRAPHICS},
    {"libnvidia-glvkspirv.", GRAPHICS},
    {"libnvidia-cbl.", GRAPHICS},
    {"libnvidia-egl-", GRAPHICS},
    {"libnvidia-vulkan-", GRAPHICS},
    {"libnvidia-ngx.", NGX},
    {"libnvidia-gtk", 0},
    {"libnvidia-wayland-client.", 0},
};

static unsigned kind_of(const char *name)
{
    for (size_t i = 0; i < N_ELEMS(kinds); i++)
        if (strncmp(name, kinds[i].prefix, strlen(kinds[i].prefix)) == 0)
            return kinds[i].bits;
    return strncmp(name, "libnvidia-", 10) == 0 || strncmp(name, "libcuda", 7) == 0
               ? COMPUTE
               : 0;
}

static unsigned wanted(const struct granting *w)
{
    const char *text = grant_env_of(w, "NVIDIA_DRIVER_CAPABILITIES");
    unsigned bits = 0;

    while (text && *text) {
        size_t n = strcspn(text, ", ");
        for (size_t i = 0; i < N_ELEMS(capabilities); i++)
            if (n == strlen(capabilities[i].name) &&
                strncmp(text, capabilities[i].name, n) == 0)
                bits |= capabilities[i].bits;
        text += n;
        text += strspn(text, ", ");
    }
    return bits ? bits : UTILITY | COMPUTE;
}

/* ---- where they are ------------------------------------------------------------- */

struct search {
    struct granting *w;
    char ending[48]; /* ".so.535.104.05" */
    unsigned want;
    const char **dirs; /* looked at already */
    size_t n_dirs;
    const char **names; /* found already */
    size_t n_names;
    bool cuda;
};

static bool seen(struct search *x, const char ***list, size_t *n, const char *text)
{
    for (size_t i = 0; i < *n; i++)
        if (strcmp((*list)[i], text) == 0)
            return true;
    *list = arena_grow(x->w->a, *list, n, sizeof **list);
    (*list)[*n - 1] = arena_strdup(x->w->a, text);
    return false;
}

static void link_names(struct search *x, const char *file, const char *soname)
{
    const char *path = arena_printf(x->w->a, LIBS "/%s", file);
    static const char *const plain[] = {"libcuda.so", "libnvidia-opticalflow.so"};

    if (soname[0] && strcmp(soname, file) != 0)
        grant_link(x->w, arena_printf(x->w->a, LIBS "/%s", soname), file);
    grant_lib(x->w, soname[0] ? soname : file, path);
    for (size_t i = 0; i < N_ELEMS(plain); i++)
        if (strncmp(file, plain[i], strlen(plain[i])) == 0 && soname[0]) {
            grant_link(x->w, arena_printf(x->w->a, LIBS "/%s", plain[i]), soname);
            grant_lib(x->w, plain[i], path);
        }
    if (strncmp(file, "libGLX_nvidia.so.", 17) == 0 && soname[0])
        grant_link(x->w, LIBS "/libGLX_indirect.so.0", soname);
}

static void look_in(struct search *x, const char *dir)
{
    size_t n;
    char **names;

    if (seen(x, &x->dirs, &x->n_dirs, dir))
        return;
    names = root_names(x->w->s, dir, &n);
    for (size_t i = 0; i < n; i++) {
        char path[LIMIT_PATH_BYTES], soname[128];
        AUTO_FD int fd = -1;
        struct stat st;
        if (!str_ends(str_of(names[i]), x->ending) || !(kind_of(names[i]) & x->want) ||
            strlen(dir) + strlen(names[i]) + 2 > sizeof path || x->n_names >= LIBS_MAX)
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        fd = root_open(x->w->s, path, O_RDONLY | O_NONBLOCK);
        if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
            !elf_soname(fd, soname, sizeof soname) ||
            seen(x, &x->names, &x->n_names, names[i]))
            continue;
        x->cuda = x->cuda || strncmp(names[i], "libcuda.so.", 11) == 0;
        grant_bind(x->w, path, arena_printf(x->w->a, LIBS "/%s", names[i]), false);
        link_names(x, names[i], soname);
    }
}

/* the directories that the host's own linker finds the driver in */
static void look_where_the_linker_does(struct search *x)
{
    static const char *const names[] = {"libcuda.so.1", "libnvidia-ml.so.1"};
    AUTO_FD int fd = root_open(x->w->s, "/etc/ld.so.cache", O_RDONLY | O_NONBLOCK);
    AUTO_ARENA struct arena a = {0};
    AUTO_BUF struct buf b = {0};
    struct ldcache_lib *libs;
    struct err e;
    size_t n;

    buf_init(&b, LIMIT_LDCACHE_BYTES);
    if (fd < 0 || fd_read_all(fd, &b, LIMIT_LDCACHE_BYTES, &e) < 0 ||
        ldcache_read_in(&a, (struct str){buf_str(&b), b.len}, &libs, &n, &e) < 0)
        return;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < N_ELEMS(names); k++)
            if (strcmp(libs[i].name, names[k]) == 0 && libs[i].flags == LDCACHE_NATIVE)
                look_in(x, arena_strndup(
                               &a, libs[i].path,
                               (size_t)(strrchr(libs[i].path, '/') - libs[i].path)));
}

/* ---- the rest ------------------------------------------------------------------- */

static void bind_programs(struct granting *w, unsigned want)
{
    static const struct {
        const char *name;
        unsigned bits;
    } programs[] = {{"nvidia-smi", UTILITY},
                    {"nvidia-debugdump", UTILITY},
                    {"nvidia-persistenced", UTILITY},
                    {"nvidia-cuda-mps-control", COMPUTE},
                    {"nvidia-cuda-mps-server", COMPUTE}};
    static const char *const dirs[] = {"/usr/bin",  "/usr/local/bin",
                                       "/usr/sbin", "/bin",
                                       "/opt/bin",  "/run/opengl-driver/bin"};

    for (size_t i = 0; i < N_ELEMS(programs); i++)
        for (size_t d = 0; (programs[i].bits & want) && d < N_ELEMS(dirs); d++) {
            char path[96], dst[96];
            (void)snprintf(path, sizeof path, "%s/%s", dirs[d], programs[i].name);
            (void)snprintf(dst, sizeof dst, "/usr/bin/%s", programs[i].name);
            if (root_has(w->s, path)) {
                grant_bind(w, path, dst, false);
                break;
            }
        }
}

static void bind_firmware(struct granting *w)
{
    char dir[96], path[LIMIT_PATH_BYTES];
    size_t n;
    char **names;

    (void)snprintf(dir, sizeof dir, "/lib/firmware/nvidia/%.31s", w->s->nvidia_driver);
    names = root_names(w->s, dir, &n);
    for (size_t i = 0; i < n; i++) {
        if (strncmp(names[i], "gsp", 3) != 0 || !str_ends(str_of(names[i]), ".bin"))
            continue;
        (void)snprintf(path, sizeof path, "%s/%s", dir, names[i]);
        grant_bind(w, path, path, false);
    }
}

static void bind_present(struct granting *w, unsigned want)
{
    static const struct {
        const char *path;
        unsigned bits;
        bool rw;
    } files[] = {
        {"/run/nvidia-persistenced/socket", UTILITY, true},
        {"/run/nvidia-fabricmanager/socket", UTILITY, true},
        {"/etc/OpenCL/vendors/nvidia.icd", COMPUTE, false},
        {"/usr/share/vulkan/icd.d/nvidia_icd.json", GRAPHICS, false},
        {"/etc/vulkan/icd.d/nvidia_icd.json", GRAPHICS, false},
        {"/usr/share/glvnd/egl_vendor.d/10_nvidia.json", GRAPHICS, false},
        {"/usr/share/egl/egl_external_platform.d/15_nvidia_gbm.json", GRAPHICS, false},
        {"/usr/share/egl/egl_external_platform.d/10_nvidia_wayland.json", GRAPHICS,
         false},
    };

    for (size_t i = 0; i < N_ELEMS(files); i++)
        if ((files[i].bits & want) && root_has(w->s, files[i].path))
            grant_bind(w, files[i].path, files[i].path, files[i].rw);
}

int grant_nvidia_files(struct granting *w, struct err *e)
{
    static const char *const dirs[] = {"/usr/lib/x86_64-linux-gnu",
                                       "/usr/lib/aarch64-linux-gnu",
                                       "/usr/lib64",
                                       "/usr/lib",
                                       "/usr/lib/nvidia",
                                       "/usr/lib/nvidia/current",
                                       "/usr/local/nvidia/lib64",
                                       "/usr/local/nvidia/lib",
                                       "/opt/nvidia/lib",
                                       "/run/opengl-driver/lib",
                                       "/usr/lib/wsl/lib"};
    struct search x = {.w = w, .want = wanted(w)};
    const char *had = grant_env_of(w, "LD_LIBRARY_PATH");

    if (!w->s->nvidia_driver[0])
        return err_set(e, ERR_MISSING, "the NVIDIA driver does not say its version");
    (void)snprintf(x.ending, sizeof x.ending, ".so.%s", w->s->nvidia_driver);
    look_where_the_linker_does(&x);
    for (size_t i = 0; i < N_ELEMS(dirs); i++)
        look_in(&x, dirs[i]);
    if (!x.cuda && (x.want & COMPUTE))
        return err_set(e, ERR_MISSING,
                       "driver %s is loaded, and libcuda%s is in no library directory "
                       "of the host: "
                       "install the user-space libraries of that version",
                       w->s->nvidia_driver, x.ending);
    w->g->x.tree = TREE;
    grant_lib_dir(w, LIBS);
    grant_env(w, "LD_LIBRARY_PATH",
              had && *had ? arena_printf(w->a, LIBS ":%s", had) : LIBS);
    bind_programs(w, x.want);
    bind_firmware(w);
    bind_present(w, x.want);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* import.c - an image of one layer from the tar of a root file system
 *
 * The tar is hashed once to know its diff_id; then a docker archive directory is put together in
 * tmp/ (a hard link to the tar where that is possible, a config and a manifest.json) and goes the
 * way of every other archive, with all its checks. The config holds no clock and no host name, so
 * the same tar and options give the same image anywhere.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "image/image.h"
#include "image/inflate.h"
#include "image/platform.h"

/* the tar below dir_fd as "layer.tar": linked when it is a file of the same file system */
static int bring_tar(int dir_fd, const char *tar, struct err *e)
{
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    bool from_stdin = strcmp(tar, "-") == 0;
    AUTO_FD int from = from_stdin ? dup(0) : open(tar, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    AUTO_FD int to = -1;
    struct stat st;
    ssize_t n;

    if (from < 0 && errno == ENOENT)
        return err_set(e, ERR_MISSING, "no such file");
    if (from < 0 || fstat(from, &st) < 0)
        return err_sys(e, errno, "open");
    if (S_ISDIR(st.st_mode))
        return err_set(e, ERR_INPUT, "is a directory (tar -C DIR -c . | dugout image import -)");
    if (!from_stdin && !S_ISREG(st.st_mode))
        return err_set(e, ERR_INPUT, "is not a regular file");
    if (!from_stdin && linkat(AT_FDCWD, tar, dir_fd, "layer.tar", AT_SYMLINK_FOLLOW) == 0)
        return 0;
    to = openat(dir_fd, "layer.tar", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (to < 0)
        return err_sys(e, errno, "make a copy");
    while ((n = read(from, chunk, 256 * KIB)) > 0)
        if (fd_write_all(to, chunk, (size_t)n, e) < 0)
            return -1;
    return n < 0 ? err_sys(e, errno, "read") : 0;
}

static int diff_id(int dir_fd, char hex[DIGEST_HEX], struct err *e)
{
    AUTO_FREE char *chunk = xalloc(256 * KIB);
    AUTO_FD int fd = openat(dir_fd, "layer.tar", O_RDONLY | O_CLOEXEC);
    struct inflate_opts o = {.max_bytes = LIMIT_LAYER_BYTES};
    struct bytes_src src = {.fd = fd};
    struct inflate *z = NULL;
    struct sha256 h;
    struct stat st;
    size_t got = 0;
    int rc;

    if (fd < 0 || fstat(fd, &st) < 0)
        return err_sys(e, errno, "open");
    if (st.st_size == 0)
        return err_set(e, ERR_INPUT, "is empty, not a tar");
    src.size = (uint64_t)st.st_size;
    sha256_init(&h);
    rc = inflate_open(&src, &o, &z, e);
    while (rc == 0 && (rc = inflate_read(z, chunk, 256 * KIB, &got, e)) == 0 && got)
        sha256_add(&h, chunk, got);
    inflate_close(z);
    if (rc == 0)
        sha256_final_hex(&h, hex);
    return rc;
}

static void put_list(struct jw *w, const char *key, const char *const *words)
{
    if (!words)
        return;
    jw_key(w, key);
    jw_arr(w);
    for (; *words; words++)
        jw_strz(w, *words);
    jw_end_arr(w);
}

static bool sets_path(const char *const *env)
{
    for (; env && *env; env++)
        if (strncmp(*env, "PATH=", 5) == 0)
            return true;
    return false;
}

static void write_config(struct buf *out, const struct platform *p,
                         const struct image_import_opts *o, const char *diff)
{
    AUTO_BUF struct buf digest = {0};
    struct jw w;

    buf_addf(&digest, "sha256:%s", diff);
    jw_init(&w, out);
    jw_obj(&w);
    jw_kstr(&w, "architecture", p->arch);
    jw_key(&w, "config");
    jw_obj(&w);
    put_list(&w, "Cmd", o->cmd);
    put_list(&w, "Entrypoint", o->entrypoint);
    jw_key(&w, "Env");
    jw_arr(&w);
    if (!sets_path(o->env))
        jw_strz(&w, "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin");
    for (const char *const *v = o->env; v && *v; v++)
        jw_strz(&w, *v);
    jw_end_arr(&w);
    if (o->user)
        jw_kstr(&w, "User", o->user);
    if (o->workdir)
        jw_kstr(&w, "WorkingDir", o->workdir);
    jw_end_obj(&w);
    jw_kstr(&w, "os", p->os);
    jw_key(&w, "rootfs");
    jw_obj(&w);
    jw_key(&w, "diff_ids");
    jw_arr(&w);
    jw_strz(&w, buf_str(&digest));
    jw_end_arr(&w);
    jw_kstr(&w, "type", "layers");
    jw_end_obj(&w);
    if (p->variant[0])
        jw_kstr(&w, "variant", p->variant);
    jw_end_obj(&w);
}

static int write_archive(int dir_fd, const struct image_import_opts *o, struct err *e)
{
    AUTO_BUF struct buf config = {0};
    AUTO_BUF struct buf manifest = {0};
    AUTO_BUF struct buf name = {0};
    char diff[DIGEST_HEX], hex[DIGEST_HEX];
    struct platform p;

    if (platform_parse(o->platform, &p, e) < 0 || diff_id(dir_fd, diff, e) < 0)
        return -1;
    if (!o->platform)
        p.variant[0] = '\0'; /* this machine's level is no property of the tar */
    write_config(&config, &p, o, diff);
    sha256_hex(buf_str(&config), config.len, hex);
    buf_addf(&name, "%s.json", hex);
    buf_addf(&manifest, "[{\"Config\":\"%s\",\"RepoTags\":null,\"Layers\":[\"layer.tar\"]}]",
             buf_str(&name));
    if (fd_write_file(dir_fd, buf_str(&name), buf_str(&config), config.len, 0600, false, e) < 0)
        return -1;
    return fd_write_file(dir_fd, "manifest.json", buf_str(&manifest), manifest.len, 0600, false,
                         e);
}

/* errors speak of the user's file, not of the directory that we made of it */
static int name_the_file(struct err *e, const char *dir, const char *tar)
{
    const char *text = e->text, *what = strcmp(tar, "-") == 0 ? "standard input" : tar;
    size_t n = strlen(dir);
    struct err old = *e;

    if (strncmp(text, dir, n) == 0 && strncmp(text + n, ": ", 2) == 0)
        memmove(e->text, old.text + n + 2, strlen(old.text + n + 2) + 1);
    return err_at(e, "%s", what);
}

int image_import(struct store *s, const char *tar, const struct image_import_opts *opts,
                 struct image_list *out, struct err *e)
{
    struct image_load_opts load = {.name = opts->name,
                                   .platform = opts->platform,
                                   .no_blobs = opts->no_blobs,
                                   .progress = opts->progress,
                                   .ctx = opts->ctx};
    AUTO_FREE char *dir = NULL;
    char name[STORE_TMP_NAME];
    AUTO_FD int lock = -1;
    int rc;

    if (store_tmp_dir(s, "import", name, &lock, e) < 0)
        return -1;
    dir = xasprintf("%s/tmp/%s", store_home(s), name);
    rc = bring_tar(lock, tar, e);
    if (rc == 0)
        rc = write_archive(lock, opts, e);
    if (rc == 0)
        rc = image_load(s, dir, &load, out, e);
    if (rc < 0)
        (void)name_the_file(e, dir, tar);
    (void)store_drop(s, store_dir_fd(s, STORE_TMP), name, &(struct err){0});
    return rc;
}

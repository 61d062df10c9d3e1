/* SPDX-License-Identifier: Apache-2.0 */
/* pod.c - secrets, config maps and scratch volumes, on the supervisor's side
 *
 *   home/secrets/NAME/KEY     -> a variable of the box, or a file in a tmpfs of the box
 *   attempt/volumes/N         -> an emptyDir, gone when the attempt ends
 *
 * A secret goes from its file into our memory and from there into the box. It is never
 * written anywhere by us, and messages name files, not contents.
 */
#include "run/pod.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "spec/kube.h"

/* ---- the member of attempt.json
 * ------------------------------------------------------------ */

static void put_str(struct jw *w, const char *key, struct str s)
{
    jw_key(w, key);
    jw_str(w, s);
}

static void put_words(struct jw *w, const char *key, char *const *words, size_t n)
{
    jw_key(w, key);
    jw_arr(w);
    for (size_t i = 0; i < n; i++)
        jw_strz(w, words[i]);
    jw_end_arr(w);
}

static void write_init(struct jw *w, const struct pod_init *c)
{
    jw_obj(w);
    put_str(w, "name", c->name);
    jw_kbool(w, "sideCar", c->side_car);
    put_str(w, "cwd", c->cwd);
    put_str(w, "user", c->user);
    put_words(w, "lowers", (char *const *)(uintptr_t)c->lowers, c->n_lowers);
    put_words(w, "argv", c->argv, c->n_argv);
    put_words(w, "env", c->env, c->n_env);
    jw_ki64(w, "memory", (int64_t)c->memory_bytes);
    jw_ki64(w, "cpuMillis", c->cpu_millis);
    jw_key(w, "mounts");
    jw_arr(w);
    for (size_t i = 0; i < c->n_mounts; i++) {
        jw_obj(w);
        jw_ki64(w, "volume", (int64_t)c->mounts[i].volume);
        put_str(w, "dst", c->mounts[i].dst);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    jw_end_obj(w);
}

void pod_write(struct jw *w, const struct attempt_pod *p)
{
    jw_obj(w);
    jw_key(w, "env");
    jw_arr(w);
    for (size_t i = 0; i < p->n_env; i++) {
        jw_obj(w);
        put_str(w, "file", p->env[i].file);
        put_str(w, "var", p->env[i].var);
        put_str(w, "what", p->env[i].what);
        jw_kbool(w, "optional", p->env[i].optional);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    jw_key(w, "volumes");
    jw_arr(w);
    for (size_t i = 0; i < p->n_volumes; i++) {
        const struct pod_volume *v = &p->volumes[i];
        jw_obj(w);
        jw_ki64(w, "kind", v->kind);
        put_str(w, "src", v->src);
        put_str(w, "what", v->what);
        put_str(w, "dst", v->dst);
        jw_ki64(w, "size", (int64_t)v->size_bytes);
        jw_kbool(w, "optional", v->optional);
        jw_end_obj(w);
    }
    jw_end_arr(w);
    jw_key(w, "inits");
    jw_arr(w);
    for (size_t i = 0; i < p->n_inits; i++)
        write_init(w, &p->inits[i]);
    jw_end_arr(w);
    jw_end_obj(w);
}

static int get_str(struct arena *a, json *from, const char *key, struct str *out,
                   struct err *e)
{
    struct str s = STR("");

    if (json_cstr(from, key, &s, e) < 0)
        return -1;
    *out = arena_str(a, s);
    return 0;
}

static int read_env_file(struct arena *a, json *item, struct pod_env *v, struct err *e)
{
    if (get_str(a, item, "file", &v->file, e) < 0 ||
        get_str(a, item, "var", &v->var, e) < 0 ||
        get_str(a, item, "what", &v->what, e) < 0)
        return -1;
    return json_bool_opt(item, "optional", &v->optional, e);
}

static int read_volume(struct arena *a, json *item, struct pod_volume *v, struct err *e)
{
    int64_t kind = 0, size = 0;

    if (json_i64_in(item, "kind", POD_FILES, POD_MEMORY, &kind, e) < 0 ||
        get_str(a, item, "src", &v->src, e) < 0 ||
        get_str(a, item, "what", &v->what, e) < 0 ||
        get_str(a, item, "dst", &v->dst, e) < 0 ||
        json_i64_in(item, "size", 0, INT64_MAX, &size, e) < 0)
        return -1;
    v->kind = (enum pod_volume_kind)kind;
    v->size_bytes = (uint64_t)size;
    return json_bool_opt(item, "optional", &v->optional, e);
}

static int read_init_mounts(struct arena *a, json *from, struct pod_init *c,
                            const struct attempt_pod *p, struct err *e)
{
    json *list, *item;
    size_t i, max;

    if (json_arr(from, "mounts", &list, e) < 0)
        return -1;
    c->n_mounts = yyjson_arr_size(list);
    c->mounts = arena_alloc(a, (c->n_mounts + 1) * sizeof(*c->mounts));
    yyjson_arr_foreach(list, i, max, item)
    {
        int64_t volume = 0;
        if (json_i64(item, "volume", &volume, e) < 0 ||
            get_str(a, item, "dst", &c->mounts[i].dst, e) < 0)
            return -1;
        if (volume < 0 || (size_t)volume >= p->n_volumes ||
            p->volumes[volume].kind != POD_SCRATCH)
            return err_set(e, ERR_CORRUPT,
                           "an init container mounts a volume that is not there");
        c->mounts[i].volume = (size_t)volume;
    }
    return 0;
}

static int read_init(struct arena *a, json *item, struct pod_init *c,
                     const struct attempt_pod *p, struct err *e)
{
    int64_t memory = 0, cpu = 0;

    if (get_str(a, item, "name", &c->name, e) < 0 ||
        json_bool_opt(item, "sideCar", &c->side_car, e) < 0 ||
        get_str(a, item, "cwd", &c->cwd, e) < 0 ||
        get_str(a, item, "user", &c->user, e) < 0 ||
        json_words_in(a, item, "lowers", (char ***)(void *)&c->lowers, &c->n_lowers,
                      e) < 0 ||
        json_words_in(a, item, "argv", &c->argv, &c->n_argv, e) < 0 ||
        json_words_in(a, item, "env", &c->env, &c->n_env, e) < 0 ||
        json_i64_in(item, "memory", 0, INT64_MAX, &memory, e) < 0 ||
        json_i64_in(item, "cpuMillis", 0, UINT32_MAX, &cpu, e) < 0)
        return -1;
    c->memory_bytes = (uint64_t)memory;
    c->cpu_millis = (uint32_t)cpu;
    return read_init_mounts(a, item, c, p, e);
}

int pod_read_in(struct arena *a, json *from, struct attempt_pod *out, struct err *e)
{
    json *env, *volumes, *inits, *item;
    size_t i, max;

    *out = (struct attempt_pod){0};
    if (!from)
        return 0;
    if (json_arr(from, "env", &env, e) < 0 ||
        json_arr(from, "volumes", &volumes, e) < 0 ||
        json_arr(from, "inits", &inits, e) < 0)
        return -1;
    out->n_env = yyjson_arr_size(env);
    out->env = arena_alloc(a, (out->n_env + 1) * sizeof(*out->env));
    yyjson_arr_foreach(env, i, max,
                       item) if (read_env_file(a, item, &out->env[i], e) < 0) return -1;
    out->n_volumes = yyjson_arr_size(volumes);
    out->volumes = arena_alloc(a, (out->n_volumes + 1) * sizeof(*out->volumes));
    yyjson_arr_foreach(volumes, i, max, item) if (read_volume(a, item, &out->volumes[i],
                                                              e) < 0) return -1;
    out->n_inits = yyjson_arr_size(inits);
    out->inits = arena_alloc(a, (out->n_inits + 1) * sizeof(*out->inits));
    yyjson_arr_foreach(inits, i, max, item) if (read_init(a, item, &out->inits[i], out,
                                                          e) < 0) return -1;
    return 0;
}

/* ---- variables
 * ------------------------------------------------------------------------------- */

static int read_store_file(int dir_fd, const char *name, struct str what,
                           struct buf *out, struct err *e)
{
    if (fd_read_file(dir_fd, name, out, LIMIT_STORE_BYTES, e) == 0)
        return 0;
    if (e->code == ERR_MISSING)
        return err_set(e, ERR_MISSING, "%.*s is not here", STR_ARG(what));
    return err_at(e, "%.*s", STR_ARG(what));
}

int pod_env_in(struct arena *a, const struct attempt_pod *p, char *const *env,
               char ***out, struct err *e)
{
    size_t n = 0;
    char **v;

    while (env && env[n])
        n++;
    v = arena_alloc(a, (n + p->n_env + 1) * sizeof *v);
    if (n)
        memcpy(v, env, n * sizeof *v);
    for (size_t i = 0; i < p->n_env; i++) {
        const struct pod_env *f = &p->env[i];
        AUTO_BUF struct buf text = {0};
        size_t k = 0;

        buf_init(&text, LIMIT_STORE_BYTES);
        if (read_store_file(AT_FDCWD, f->file.ptr, f->what, &text, e) < 0) {
            if (e->code == ERR_MISSING && f->optional)
                continue;
            return -1;
        }
        if (text.len && text.ptr[text.len - 1] == '\n')
            text.len--;
        if (text.len && memchr(text.ptr, 0, text.len))
            return err_set(e, ERR_INPUT,
                           "%.*s holds a NUL character: mount it as a volume",
                           STR_ARG(f->what));
        while (k < n &&
               !(strncmp(v[k], f->var.ptr, f->var.len) == 0 && v[k][f->var.len] == '='))
            k++;
        v[k] = arena_printf(a, "%.*s=%.*s", STR_ARG(f->var), (int)text.len,
                            buf_str(&text));
        n += k == n;
    }
    *out = v;
    return 0;
}

/* ---- volumes
 * -----------------------------------------------------------------------------------
 */

/* the regular files of a directory whose names may be keys; links to files count */
static int read_store(struct arena *a, const struct pod_volume *v, struct box_mount *m,
                      struct err *e)
{
    AUTO_FD int fd = open(v->src.ptr, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct box_tmpfile *files = NULL;
    size_t n = 0, total = 0;
    DIR *d;
    int rc = 0;

    if (fd < 0 && errno == ENOENT)
        return v->optional
                   ? 0
                   : err_set(e, ERR_MISSING, "%.*s is not here", STR_ARG(v->what));
    if (fd < 0 || !(d = fdopendir(dup(fd))))
        return err_sys(e, errno, "%.*s", STR_ARG(v->what));
    for (struct dirent *ent; rc == 0 && (ent = readdir(d));) {
        AUTO_BUF struct buf text = {0};
        struct stat st;

        if (!kube_key_ok(str_of(ent->d_name)) || fstatat(fd, ent->d_name, &st, 0) < 0 ||
            !S_ISREG(st.st_mode))
            continue;
        buf_init(&text, LIMIT_STORE_BYTES);
        rc = read_store_file(fd, ent->d_name, v->what, &text, e);
        total += text.len;
        if (rc == 0 && total > LIMIT_STORE_BYTES)
            rc = err_set(e, ERR_LIMIT, "%.*s is over 1 MiB", STR_ARG(v->what));
        files = arena_grow(a, files, &n, sizeof *files);
        files[n - 1] =
            (struct box_tmpfile){arena_strdup(a, ent->d_name),
                                 arena_strndup(a, buf_str(&text), text.len), text.len};
    }
    (void)closedir(d);
    m->files = files;
    m->n_files = n;
    return rc;
}

void pod_scratch_name(size_t i, char out[POD_NAME])
{
    (void)snprintf(out, POD_NAME, POD_VOLUMES "/%zu", i);
}

int pod_make_scratch(const struct attempt_pod *p, int dir_fd, struct err *e)
{
    char rel[POD_NAME];

    for (size_t i = 0; i < p->n_volumes; i++) {
        if (p->volumes[i].kind != POD_SCRATCH)
            continue;
        pod_scratch_name(i, rel);
        if (fd_mkdirs(dir_fd, rel, 0755, e) < 0)
            return -1;
        if (fchmodat(dir_fd, rel, 0777, 0) < 0) /* images run as any uid */
            return err_sys(e, errno, "make %s", rel);
    }
    return 0;
}

static struct box_mount scratch_mount(struct arena *a, const char *dir, size_t i,
                                      const char *dst)
{
    char name[POD_NAME];

    pod_scratch_name(i, name);
    return (struct box_mount){.kind = BOX_BIND,
                              .src = arena_printf(a, "%s/%s", dir, name),
                              .dst = dst,
                              .rw = true};
}

int pod_mounts_in(struct arena *a, const struct attempt_pod *p, const char *dir,
                  struct box_mount *mounts, size_t *n, struct err *e)
{
    for (size_t i = 0; i < p->n_volumes; i++) {
        const struct pod_volume *v = &p->volumes[i];
        struct box_mount *m = &mounts[*n];
        int rc = 0;

        *m = (struct box_mount){.kind = BOX_TMPFS, .dst = v->dst.ptr};
        switch (v->kind) {
        case POD_FILES:
            m->mode = 0755;
            m->size_bytes = 2 * LIMIT_STORE_BYTES;
            rc = read_store(a, v, m, e);
            break;
        case POD_SCRATCH:
            *m = scratch_mount(a, dir, i, v->dst.ptr);
            break;
        case POD_MEMORY:
            m->mode = 0777;
            m->size_bytes = v->size_bytes;
            m->rw = true;
            break;
        }
        if (rc < 0)
            return -1;
        (*n)++;
    }
    return 0;
}

struct box_mount *pod_init_mounts_in(struct arena *a, const struct pod_init *c,
                                     const char *dir)
{
    struct box_mount *m = arena_alloc(a, (c->n_mounts + 1) * sizeof *m);

    for (size_t i = 0; i < c->n_mounts; i++)
        m[i] = scratch_mount(a, dir, c->mounts[i].volume, c->mounts[i].dst.ptr);
    return m;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* facts.c - ask an image about its Python
 *
 * pip itself is never run. One short script prints the interpreter's PEP 508 markers and its
 * installed distributions as JSON; requirements are then answered in C (pip.c), for every
 * later run from the cache. The question is a "bare" attempt: same supervisor, same box, no row
 * in the database.
 */
#include "run/facts.h"

#include <archive.h>
#include <archive_entry.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

#include "assets/assets.h"
#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/sha256.h"
#include "run/attempt.h"
#include "run/spawner.h"

static const char question[] =
    "import sys, os, json, platform\n"
    "def v(i):\n"
    "    s = '%d.%d.%d' % (i.major, i.minor, i.micro)\n"
    "    return s if i.releaselevel == 'final' else s + i.releaselevel[0] + str(i.serial)\n"
    "m = {'os_name': os.name, 'sys_platform': sys.platform,\n"
    "     'platform_machine': platform.machine(), 'platform_system': platform.system(),\n"
    "     'platform_release': platform.release(), 'platform_version': platform.version(),\n"
    "     'platform_python_implementation': platform.python_implementation(),\n"
    "     'python_version': '%d.%d' % sys.version_info[:2],\n"
    "     'python_full_version': platform.python_version(),\n"
    "     'implementation_name': sys.implementation.name,\n"
    "     'implementation_version': v(sys.implementation.version)}\n"
    "d = []\n"
    "try:\n"
    "    from importlib.metadata import distributions\n"
    "    for x in distributions():\n"
    "        if x.metadata['Name']:\n"
    "            d.append([x.metadata['Name'], x.version])\n"
    "except ImportError:\n"
    "    try:\n"
    "        import pkg_resources\n"
    "        d = [[x.project_name, x.version] for x in pkg_resources.working_set]\n"
    "    except ImportError:\n"
    "        pass\n"
    "try:\n"
    "    import compileall, py_compile\n"
    "    k = {}\n"
    "    if sys.version_info >= (3, 7):\n"
    "        k['invalidation_mode'] = py_compile.PycInvalidationMode.UNCHECKED_HASH\n"
    "    compileall.compile_dir('" SHIM_MOUNT "', quiet=2, **k)\n"
    "except Exception:\n"
    "    pass\n"
    "print('\\n' + json.dumps({'markers': m, 'dists': d}))\n";

const struct dist *facts_dist(const struct image_facts *f, struct str name)
{
    for (size_t i = 0; i < f->n_dists; i++)
        if (str_eq(f->dists[i].name, name))
            return &f->dists[i];
    return NULL;
}

/* ---- the shim --------------------------------------------------------------------------- */

static int unpack_entry(int dir_fd, struct archive *ar, struct archive_entry *ent, struct err *e)
{
    const char *path = archive_entry_pathname(ent);
    AUTO_FD int fd = -1;
    const void *bytes;
    size_t len;
    la_int64_t offset;

    if (archive_entry_filetype(ent) == AE_IFDIR)
        return fd_mkdirs(dir_fd, path, 0755, e);
    fd = fd_open_beneath(dir_fd, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    if (fd < 0)
        return err_sys(e, errno, "unpack %s of the kfp module", path);
    while (archive_read_data_block(ar, &bytes, &len, &offset) == ARCHIVE_OK)
        if (fd_write_all(fd, bytes, len, e) < 0)
            return -1;
    return 0;
}

static int unpack_shim(int dir_fd, struct err *e)
{
    struct archive *ar = archive_read_new();
    struct archive_entry *ent;
    int rc;

    archive_read_support_format_tar(ar);
    rc = archive_read_open_memory(ar, asset_shim_start,
                                  (size_t)(asset_shim_end - asset_shim_start));
    if (rc == ARCHIVE_OK)
        while ((rc = archive_read_next_header(ar, &ent)) == ARCHIVE_OK)
            if (unpack_entry(dir_fd, ar, ent, e) < 0)
                break;
    if (rc < ARCHIVE_OK)
        (void)err_set(e, ERR_SYS, "unpack the kfp module: %s", archive_error_string(ar));
    (void)archive_read_free(ar);
    return rc == ARCHIVE_EOF ? 0 : -1;
}

/* ---- the box that asks ------------------------------------------------------------------- */

static int wait_for(int pidfd, struct err *e)
{
    struct pollfd p = {pidfd, POLLIN, 0};

    while (poll(&p, 1, -1) < 0)
        if (errno != EINTR)
            return err_sys(e, errno, "wait for the supervisor");
    return 0;
}

static int ask(struct arena *a, struct run_env *env, const char *tmp, const char *config_hex,
               const char *const *lowers, size_t n_lowers, int dir_fd, struct buf *json_text,
               bool *has_python, struct err *e)
{
    static char *argv[] = {"python3", "-c", (char *)(uintptr_t)question, NULL};
    static char *envp[] = {"PATH=/usr/local/bin:/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE=",
                           "PYTHONNOUSERSITE=1", NULL};
    struct attempt_mount mount = {
        .src = arena_printf(a, "%s/py", tmp), .dst = SHIM_MOUNT, .rw = true};
    struct attempt at = {.run_id = STR("facts"),
                         .task_path = STR("facts"),
                         .task_key = STR("facts"),
                         .number = 1,
                         .image_hex = str_of(config_hex),
                         .lowers = (const char **)(uintptr_t)lowers,
                         .n_lowers = n_lowers,
                         .argv = argv,
                         .n_argv = N_ELEMS(argv) - 1,
                         .env = envp,
                         .n_env = N_ELEMS(envp) - 1,
                         .cwd = STR("/"),
                         .user = STR("0"),
                         .hostname = STR("facts"),
                         .mounts = &mount,
                         .n_mounts = 1,
                         .pids_max = 1024,
                         .log_max_bytes = 64 * MIB,
                         .home = str_of(env->home),
                         .task_root_path = STR(""),
                         .output_file = STR(""),
                         .cache_key = STR(""),
                         .bare = true};
    struct result r;
    AUTO_FD int pidfd = -1;
    pid_t pid;

    if (attempt_write(dir_fd, &at, e) < 0 || spawner_run(env->spawner, tmp, NULL, 0, &pidfd, &pid, e) < 0 ||
        wait_for(pidfd, e) < 0 || result_read_in(a, dir_fd, &r, e) < 0)
        return -1;
    *has_python = result_ok(&r);
    if (r.end == END_HOST)
        return err_set(e, ERR_SYS, "no box could be had: %.*s", STR_ARG(r.error));
    if (*has_python) {
        AUTO_BUF struct buf log = {0};
        const char *line;
        buf_init(&log, 64 * MIB);
        if (fd_read_file(dir_fd, "log", &log, 64 * MIB, e) < 0)
            return -1;
        line = strstr(buf_str(&log), "\n{"); /* sitecustomize may have printed before */
        buf_adds(json_text, line ? line + 1 : "");
    } else if (r.end == END_NOT_START) {
        buf_adds(json_text, "{\"markers\":{},\"dists\":[]}");
    } else {
        AUTO_BUF struct buf log = {0};
        buf_init(&log, 300);
        (void)fd_read_file(dir_fd, "log", &log, 64 * MIB, &(struct err){0});
        return err_set(e, ERR_SYS, "its python3 does not work (%.*s): %.200s", STR_ARG(r.error),
                       buf_str(&log));
    }
    return 0;
}

/* ---- reading the answer -------------------------------------------------------------------- */

static struct str normalise(struct arena *a, struct str name)
{
    char *out = arena_alloc(a, name.len + 1);
    size_t n = 0;

    for (size_t i = 0; i < name.len; i++) {
        char c = name.ptr[i];
        if (c == '_' || c == '.')
            c = '-';
        if (c == '-' && n && out[n - 1] == '-')
            continue;
        out[n++] = (c >= 'A' && c <= 'Z') ? (char)(c + 32) : c;
    }
    return (struct str){out, n};
}

static int parse_facts(struct arena *a, struct str text, struct image_facts *f, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    json *markers, *dists, *key, *item;
    yyjson_obj_iter it;
    size_t i, max;

    if (json_parse(text, 64 * MIB, &doc, e) < 0 ||
        json_obj(yyjson_doc_get_root(doc), "markers", &markers, e) < 0 ||
        json_arr(yyjson_doc_get_root(doc), "dists", &dists, e) < 0)
        return -1;
    f->has_python = yyjson_obj_size(markers) > 0;
    f->markers = arena_alloc(a, (yyjson_obj_size(markers) + 1) * sizeof(*f->markers));
    yyjson_obj_iter_init(markers, &it);
    while ((key = yyjson_obj_iter_next(&it)))
        f->markers[f->n_markers++] = (struct named_value){
            arena_str(a, json_as_str(key)), value_from_json_in(a, yyjson_obj_iter_get_val(key))};
    f->dists = arena_alloc(a, (yyjson_arr_size(dists) + 1) * sizeof(*f->dists));
    yyjson_arr_foreach(dists, i, max, item) {
        struct str name = json_as_str(yyjson_arr_get(item, 0));
        struct str version = json_as_str(yyjson_arr_get(item, 1));
        f->dists[f->n_dists++] =
            (struct dist){normalise(a, name), arena_str(a, version)};
    }
    return 0;
}

static int make_facts(struct arena *a, struct run_env *env, const char *config_hex,
                      const char *const *lowers, size_t n_lowers, const char *key,
                      struct buf *text, struct err *e)
{
    char name[STORE_TMP_NAME];
    AUTO_FD int lock = -1;
    AUTO_FD int py = -1;
    AUTO_FD int home = open(env->home, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int tmp_fd = store_dir_fd(env->store, STORE_TMP);
    bool has_python = false;
    const char *tmp, *shim = arena_printf(a, "envs/shim-%s", key);
    int rc = -1;

    if (home < 0)
        return err_sys(e, errno, "open %s", env->home);
    if (fd_mkdirs(home, "envs", 0755, e) < 0 ||
        store_tmp_dir(env->store, "facts", name, &lock, e) < 0)
        return -1;
    tmp = arena_printf(a, "%s/tmp/%s", env->home, name);
    if (mkdirat(lock, "py", 0755) < 0 ||
        (py = openat(lock, "py", O_RDONLY | O_DIRECTORY | O_CLOEXEC)) < 0)
        rc = err_sys(e, errno, "make %s/py", tmp);
    else if (unpack_shim(py, e) == 0 &&
             ask(a, env, tmp, config_hex, lowers, n_lowers, lock, text, &has_python, e) == 0)
        rc = 0;
    if (rc == 0 && syncfs(py) < 0) /* a module of zeros would fail every task to come */
        rc = err_sys(e, errno, "make %s durable", shim);
    if (rc == 0 && renameat(lock, "py", home, shim) < 0 && errno != EEXIST && errno != ENOTEMPTY)
        rc = err_sys(e, errno, "keep the kfp module in %s", shim);
    (void)store_drop(env->store, tmp_fd, name, &(struct err){0});
    if (rc == 0)
        rc = fd_write_file(home, arena_printf(a, "envs/facts-%s.json", key), buf_str(text),
                           text->len, 0644, true, e);
    return rc;
}

int facts_in(struct arena *a, struct run_env *env, const char *config_hex,
             const char *const *lowers, size_t n_lowers, struct image_facts *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    char shim_hex[DIGEST_HEX];
    const char *key;
    struct err miss = {0};

    *out = (struct image_facts){0};
    buf_init(&text, 64 * MIB);
    sha256_hex(asset_shim_start, (size_t)(asset_shim_end - asset_shim_start), shim_hex);
    key = arena_printf(a, "%.24s-%.12s", config_hex, shim_hex);
    out->shim_dir = str_of(arena_printf(a, "%s/envs/shim-%s", env->home, key));
    if (faccessat(AT_FDCWD, out->shim_dir.ptr, F_OK, 0) < 0 ||
        fd_read_file(AT_FDCWD, arena_printf(a, "%s/envs/facts-%s.json", env->home, key), &text,
                     64 * MIB, &miss) < 0) {
        buf_reset(&text);
        if (make_facts(a, env, config_hex, lowers, n_lowers, key, &text, e) < 0)
            return err_at(e, "ask image %.12s about its Python", config_hex);
    }
    if (parse_facts(a, (struct str){buf_str(&text), text.len}, out, e) < 0)
        return err_at(e, "facts about image %.12s", config_hex);
    return 0;
}

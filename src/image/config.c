/* SPDX-License-Identifier: Apache-2.0 */
/* config.c - the image config, the JSON document whose digest is the image
 *
 * Only what a box needs is read. Strings that later become arguments, variables or
 * paths may not hold a NUL, which JSON can write and the kernel would cut at.
 */
#include "image/config.h"

#include <stdio.h>
#include <string.h>

#include "base/json.h"
#include "base/limits.h"

struct reader {
    struct arena *arena;
    json *root;
    struct image_config *out;
};

static int no_nul(struct str s, const char *path, struct err *e)
{
    if (s.len && memchr(s.ptr, '\0', s.len))
        return err_set(e, ERR_CORRUPT, "%s: a NUL byte is not allowed", path);
    return 0;
}

static int get_text(struct reader *r, const char *path, const char **out, struct err *e)
{
    struct str s = {NULL, 0};

    if (json_str_opt(r->root, path, &s, e) < 0 || no_nul(s, path, e) < 0)
        return -1;
    if (s.ptr)
        *out = arena_strndup(r->arena, s.ptr, s.len);
    return 0;
}

static int get_list(struct reader *r, const char *path, const char ***out, size_t *n,
                    struct err *e)
{
    json *list = json_at(r->root, path), *item;
    size_t i, max;

    if (!list || yyjson_is_null(list))
        return 0;
    if (!yyjson_is_arr(list))
        return err_set(e, ERR_CORRUPT, "%s: want an array", path);
    *out = arena_alloc(r->arena, (yyjson_arr_size(list) + 1) * sizeof(**out));
    yyjson_arr_foreach(list, i, max, item)
    {
        struct str s = json_as_str(item);
        if (!yyjson_is_str(item))
            return err_set(e, ERR_CORRUPT, "%s.%zu: want a string", path, i);
        if (no_nul(s, path, e) < 0)
            return -1;
        (*out)[(*n)++] = arena_strndup(r->arena, s.ptr, s.len);
    }
    return 0;
}

/* {"/data": {}} - the keys count */
static int get_volumes(struct reader *r, struct err *e)
{
    json *map = json_at(r->root, "config.Volumes"), *key, *value;
    size_t i, max;

    if (!map || yyjson_is_null(map))
        return 0;
    if (!yyjson_is_obj(map))
        return err_set(e, ERR_CORRUPT, "config.Volumes: want an object");
    r->out->volumes =
        arena_alloc(r->arena, (yyjson_obj_size(map) + 1) * sizeof(char *));
    yyjson_obj_foreach(map, i, max, key, value)
    {
        struct str s = json_as_str(key);
        if (no_nul(s, "config.Volumes", e) < 0)
            return -1;
        r->out->volumes[r->out->n_volumes++] = arena_strndup(r->arena, s.ptr, s.len);
    }
    return 0;
}

static int get_layers(struct reader *r, struct err *e)
{
    struct str type = {NULL, 0};
    json *list, *item;
    size_t i, max;

    if (json_str(r->root, "rootfs.type", &type, e) < 0)
        return -1;
    if (!str_eqz(type, "layers"))
        return err_set(e, ERR_CORRUPT, "rootfs.type: want \"layers\", got \"%.*s\"",
                       (int)(type.len < 40 ? type.len : 40), type.ptr);
    if (json_arr(r->root, "rootfs.diff_ids", &list, e) < 0)
        return -1;
    if (yyjson_arr_size(list) > LIMIT_LAYERS)
        return err_set(e, ERR_LIMIT, "%zu layers, overlayfs takes at most %d",
                       yyjson_arr_size(list), LIMIT_LAYERS);
    if (yyjson_arr_size(list) == 0)
        return err_set(e, ERR_CORRUPT, "rootfs.diff_ids: the image has no layers");
    r->out->diff_ids = arena_alloc(r->arena, yyjson_arr_size(list) * DIGEST_HEX);
    yyjson_arr_foreach(list, i, max, item)
    {
        if (!digest_parse(json_as_str(item), r->out->diff_ids[i]))
            return err_set(e, ERR_CORRUPT,
                           "rootfs.diff_ids.%zu: want sha256: and 64 lower-case "
                           "hex digits",
                           i);
        r->out->n_layers++;
    }
    return 0;
}

static int get_platform(struct reader *r, struct err *e)
{
    struct str os = STR("linux"), arch = STR(""), variant = STR("");

    if (json_str_opt(r->root, "os", &os, e) < 0 ||
        json_str_opt(r->root, "architecture", &arch, e) < 0 ||
        json_str_opt(r->root, "variant", &variant, e) < 0)
        return -1;
    if (!platform_set(&r->out->platform, os, arch, variant))
        return err_set(e, ERR_CORRUPT, "os, architecture or variant is no such word");
    return 0;
}

int config_parse_in(struct arena *a, struct str text, struct image_config *out,
                    struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct image_config c = {.workdir = "", .user = "", .stop_signal = ""};
    struct reader r = {.arena = a, .out = &c};

    if (json_parse(text, LIMIT_JSON_BYTES, &doc, e) < 0)
        return -1;
    r.root = yyjson_doc_get_root(doc);
    if (!yyjson_is_obj(r.root))
        return err_set(e, ERR_CORRUPT, "want a JSON object");
    if (json_at(r.root, "manifests") || json_at(r.root, "layers"))
        return err_set(e, ERR_CORRUPT, "it is a manifest or an index");
    if (get_platform(&r, e) < 0 || get_layers(&r, e) < 0 ||
        get_text(&r, "created", &c.created, e) < 0 ||
        get_list(&r, "config.Env", &c.env, &c.n_env, e) < 0 ||
        get_list(&r, "config.Entrypoint", &c.entrypoint, &c.n_entrypoint, e) < 0 ||
        get_list(&r, "config.Cmd", &c.cmd, &c.n_cmd, e) < 0 ||
        get_text(&r, "config.WorkingDir", &c.workdir, e) < 0 ||
        get_text(&r, "config.User", &c.user, e) < 0 ||
        get_text(&r, "config.StopSignal", &c.stop_signal, e) < 0 ||
        get_volumes(&r, e) < 0)
        return -1;
    *out = c;
    return 0;
}

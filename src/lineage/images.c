/* SPDX-License-Identifier: Apache-2.0 */
/* images.c - images and their names
 *
 * A row of `image` is made by whoever meets a config digest first: a load (then
 * loaded_ms is set) or a task that names it. Here is only what was loaded and not
 * removed since. Moves of names are kept, so that "which image was python:3.12-slim
 * when this ran" has an answer.
 */
#include "lineage/images.h"

#include "base/nearest.h"
#include "lineage/rows.h"

#define PREFIX_MIN 6
#define CANDIDATES_SHOWN 4

int db_image_put(struct db *d, const struct db_image *i, struct err *e)
{
    static const char sql[] =
        "UPDATE image SET manifest = coalesce(?, manifest), os = ?, arch = ?,"
        " created_ms = ?, size = ?, layers = ?, loaded_ms = ?, removed_ms = NULL WHERE "
        "id = ?";
    AUTO_Q struct q q = {0};
    int64_t id;

    must(d->in_txn);
    if (db_intern_image(d, str_of(i->config_hex), &id, e) < 0)
        return -1;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, str_of(i->manifest_hex));
    q_str(&q, i->os);
    q_str(&q, i->arch);
    q_id(&q, i->created_unix_ms);
    q_i64(&q, i->size_bytes);
    q_str(&q, i->layers_json);
    q_i64(&q, i->loaded_unix_ms);
    q_i64(&q, id);
    return q_run(&q, e);
}

/* ---- names --------------------------------------------------------------------------
 */

/* the image that a name means, with its digest; id 0 = none */
static int name_select(struct db *d, struct str name, int64_t *id, char hex[DIGEST_HEX],
                       struct err *e)
{
    static const char sql[] = "SELECT i.id, i.config FROM image_name n"
                              " CROSS JOIN image i ON i.id = n.image WHERE n.name = ?";
    AUTO_Q struct q q = {0};
    int more;

    *id = 0;
    hex[0] = '\0';
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    more = q_step(&q, e);
    if (more > 0) {
        *id = q_get_i64(&q);
        q_get_hex(&q, hex);
    }
    return more < 0 ? -1 : 0;
}

static int here_select(struct db *d, struct str config_hex, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM image WHERE config = ?"
                              " AND loaded_ms IS NOT NULL AND removed_ms IS NULL";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, config_hex);
    if (q_one(&q, id, e) < 0)
        return -1;
    if (!*id)
        return err_set(e, ERR_MISSING, "no image sha256:%.12s", config_hex.ptr);
    return 0;
}

static int name_put(struct db *d, struct str name, int64_t image, int64_t now_unix_ms,
                    struct err *e)
{
    static const char sql[] =
        "INSERT OR REPLACE INTO image_name (name, image, set_ms) VALUES (?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_i64(&q, image);
    q_i64(&q, now_unix_ms);
    return q_run(&q, e);
}

static int name_delete(struct db *d, struct str name, struct err *e)
{
    static const char sql[] = "DELETE FROM image_name WHERE name = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    return q_run(&q, e);
}

static int name_log(struct db *d, struct str name, int64_t old, int64_t new,
                    struct str user, int64_t now_unix_ms, struct err *e)
{
    static const char sql[] =
        "INSERT INTO image_name_log (name, old, new, set_ms, set_by)"
        " VALUES (?, ?, ?, ?, ?)";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    q_id(&q, old);
    q_id(&q, new);
    q_i64(&q, now_unix_ms);
    q_str(&q, user);
    return q_run(&q, e);
}

int db_image_name_set(struct db *d, struct str name, struct str config_hex,
                      struct str user, int64_t now_unix_ms,
                      char previous_hex[DIGEST_HEX], struct err *e)
{
    char old_hex[DIGEST_HEX];
    int64_t id, old;

    must(d->in_txn);
    if (here_select(d, config_hex, &id, e) < 0 ||
        name_select(d, name, &old, old_hex, e) < 0)
        return -1;
    if (old != id && (name_put(d, name, id, now_unix_ms, e) < 0 ||
                      name_log(d, name, old, id, user, now_unix_ms, e) < 0))
        return -1;
    if (previous_hex)
        memcpy(previous_hex, old != id ? old_hex : "", old != id ? DIGEST_HEX : 1);
    return 0;
}

int db_image_name_remove(struct db *d, struct str name, struct str user,
                         int64_t now_unix_ms, struct err *e)
{
    char old_hex[DIGEST_HEX];
    int64_t old;

    must(d->in_txn);
    if (name_select(d, name, &old, old_hex, e) < 0)
        return -1;
    if (!old)
        return err_set(e, ERR_MISSING, "no image is called %.*s", STR_ARG(name));
    if (name_delete(d, name, e) < 0)
        return -1;
    return name_log(d, name, old, 0, user, now_unix_ms, e);
}

/* the names of an image (0: of all), sorted */
static int names_read(struct arena *a, struct db *d, int64_t image, struct str **out,
                      size_t *n, struct err *e)
{
    static const char of_one[] =
        "SELECT name FROM image_name WHERE image = ? ORDER BY name";
    static const char all[] = "SELECT name FROM image_name ORDER BY name";
    AUTO_Q struct q q = {0};
    struct str *names = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, image ? of_one : all, e) < 0)
        return -1;
    if (image)
        q_i64(&q, image);
    while ((more = q_step(&q, e)) > 0) {
        names = arena_grow(a, names, &count, sizeof(*names));
        names[count - 1] = q_get_str_in(a, &q);
    }
    if (more < 0)
        return -1;
    *out = names;
    *n = count;
    return 0;
}

static int remove_mark(struct db *d, int64_t id, int64_t now_unix_ms, struct err *e)
{
    static const char sql[] = "UPDATE image SET removed_ms = ? WHERE id = ?";
    AUTO_Q struct q q = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, now_unix_ms);
    q_i64(&q, id);
    return q_run(&q, e);
}

int db_image_remove(struct db *d, struct str config_hex, struct str user,
                    int64_t now_unix_ms, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct str *names;
    size_t n;
    int64_t id;

    must(d->in_txn);
    if (here_select(d, config_hex, &id, e) < 0 ||
        names_read(&a, d, id, &names, &n, e) < 0)
        return -1;
    for (size_t i = 0; i < n; i++) {
        if (db_image_name_remove(d, names[i], user, now_unix_ms, e) < 0)
            return -1;
    }
    return remove_mark(d, id, now_unix_ms, e);
}

/* ---- looking ------------------------------------------------------------------------
 */

#define IMAGE_COLUMNS                                                                  \
    "id, config, manifest, os, arch, created_ms, size, layers, loaded_ms"
#define IMAGE_HERE "loaded_ms IS NOT NULL AND removed_ms IS NULL"

static int64_t image_read(struct arena *a, struct q *q, struct db_image *i)
{
    int64_t id = q_get_i64(q);

    q_get_hex(q, i->config_hex);
    q_get_hex(q, i->manifest_hex);
    i->os = q_get_str_in(a, q);
    i->arch = q_get_str_in(a, q);
    i->created_unix_ms = q_get_i64(q);
    i->size_bytes = q_get_i64(q);
    i->layers_json = q_get_str_in(a, q);
    i->loaded_unix_ms = q_get_i64(q);
    return id;
}

static int image_get(struct arena *a, struct db *d, int64_t id, struct db_image *out,
                     struct err *e)
{
    static const char sql[] = "SELECT " IMAGE_COLUMNS " FROM image WHERE id = ?";
    AUTO_Q struct q q = {0};
    struct db_image i = {0};

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_i64(&q, id);
    if (q_step(&q, e) < 0)
        return -1;
    (void)image_read(a, &q, &i);
    if (names_read(a, d, id, &i.names, &i.n_names, e) < 0)
        return -1;
    *out = i;
    return 0;
}

/* by a prefix of the config digest: id, or 0 when there is none */
static int prefix_select(struct db *d, struct str what, struct str hex, int64_t *id,
                         struct err *e)
{
    static const char sql[] =
        "SELECT id, config FROM image WHERE config BETWEEN ? AND ? AND " IMAGE_HERE
        " ORDER BY config LIMIT 5";
    uint8_t low[32], high[32];
    AUTO_BUF struct buf found = {0};
    AUTO_Q struct q q = {0};
    char config[DIGEST_HEX];
    int64_t first = 0;
    int more, n = 0;

    *id = 0;
    if (hex.len < PREFIX_MIN || !hex_range(hex, low, high))
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_bytes32(&q, low);
    q_bytes32(&q, high);
    while ((more = q_step(&q, e)) > 0) {
        int64_t one = q_get_i64(&q);
        q_get_hex(&q, config);
        first = n++ ? first : one;
        if (n <= CANDIDATES_SHOWN)
            buf_addf(&found, " sha256:%.20s", config);
    }
    if (more < 0)
        return -1;
    if (n > 1)
        return err_set(e, ERR_INPUT, "%.*s fits several images:%s%s", STR_ARG(what),
                       buf_str(&found), n > CANDIDATES_SHOWN ? " ..." : "");
    *id = first;
    return 0;
}

static int manifest_select(struct db *d, struct str hex, int64_t *id, struct err *e)
{
    static const char sql[] = "SELECT id FROM image WHERE manifest = ? AND " IMAGE_HERE
                              " ORDER BY loaded_ms DESC LIMIT 1";
    AUTO_Q struct q q = {0};

    *id = 0;
    if (!is_hex64_str(hex))
        return 0;
    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_hex(&q, hex);
    return q_one(&q, id, e);
}

static int image_missing(struct db *d, struct str what, struct err *e)
{
    AUTO_ARENA struct arena a = {0};
    struct str *names;
    const char **texts, *near;
    size_t n;

    if (names_read(&a, d, 0, &names, &n, e) < 0)
        return -1;
    texts = arena_alloc(&a, (n + 1) * sizeof(*texts));
    for (size_t i = 0; i < n; i++)
        texts[i] = names[i].ptr;
    near = nearest(what, texts, n);
    if (near)
        return err_set(e, ERR_MISSING, "no image %.*s: did you mean %s?", STR_ARG(what),
                       near);
    return err_set(e, ERR_MISSING, "no image %.*s: `dugout image load` brings one in",
                   STR_ARG(what));
}

int db_image_find_in(struct arena *a, struct db *d, struct str what,
                     struct db_image *out, struct err *e)
{
    struct str hex =
        str_starts(what, "sha256:") ? (struct str){what.ptr + 7, what.len - 7} : what;
    char digest[DIGEST_HEX];
    int64_t id;

    if (name_select(d, what, &id, digest, e) < 0)
        return -1;
    if (!id && prefix_select(d, what, hex, &id, e) < 0)
        return -1;
    if (!id && manifest_select(d, hex, &id, e) < 0)
        return -1;
    if (!id)
        return image_missing(d, what, e);
    return image_get(a, d, id, out, e);
}

int db_images_in(struct arena *a, struct db *d, struct db_image **out, size_t *n,
                 struct err *e)
{
    static const char sql[] = "SELECT " IMAGE_COLUMNS " FROM image WHERE " IMAGE_HERE
                              " ORDER BY loaded_ms DESC, id DESC";
    AUTO_Q struct q q = {0};
    struct db_image *images = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    while ((more = q_step(&q, e)) > 0) {
        struct db_image *i;
        int64_t id;
        images = arena_grow(a, images, &count, sizeof(*images));
        i = &images[count - 1];
        id = image_read(a, &q, i);
        if (names_read(a, d, id, &i->names, &i->n_names, e) < 0)
            return -1;
    }
    if (more < 0)
        return -1;
    *out = images;
    *n = count;
    return 0;
}

int db_image_log_in(struct arena *a, struct db *d, struct str name,
                    struct db_image_move **out, size_t *n, struct err *e)
{
    static const char sql[] =
        "SELECT l.name, l.set_by, o.config, w.config, l.set_ms FROM image_name_log l"
        " LEFT JOIN image o ON o.id = l.old LEFT JOIN image w ON w.id = l.new"
        " WHERE ?1 = '' OR l.name = ?1 ORDER BY l.id";
    AUTO_Q struct q q = {0};
    struct db_image_move *moves = NULL;
    size_t count = 0;
    int more;

    if (q_open(&q, d, sql, e) < 0)
        return -1;
    q_text(&q, name);
    while ((more = q_step(&q, e)) > 0) {
        struct db_image_move *m;
        moves = arena_grow(a, moves, &count, sizeof(*moves));
        m = &moves[count - 1];
        m->name = q_get_str_in(a, &q);
        m->set_by = q_get_str_in(a, &q);
        q_get_hex(&q, m->old_hex);
        q_get_hex(&q, m->new_hex);
        m->set_unix_ms = q_get_i64(&q);
    }
    if (more < 0)
        return -1;
    *out = moves;
    *n = count;
    return 0;
}

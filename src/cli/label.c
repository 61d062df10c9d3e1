/* SPDX-License-Identifier: Apache-2.0 */
/* label.c - reading and writing backup.json */
#include "cli/label.h"

#include <string.h>

#include "base/fd.h"
#include "base/json.h"
#include "base/limits.h"
#include "lineage/db.h"
#include "version.h"

#define LABEL_VERSION 1

/* as 8-4-4-4-12: it is compared with that of a database, and shown */
static bool is_uuid(struct str s)
{
    if (s.len != 36)
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (i == 8 || i == 13 || i == 18 || i == 23
                ? s.ptr[i] != '-'
                : !s.ptr[i] || !strchr("0123456789abcdef", s.ptr[i]))
            return false;
    return true;
}

static int parse(struct str text, struct label *out, int64_t *version, struct err *e)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct label got;
    struct str uuid;
    json *root;

    if (json_parse(text, LIMIT_JSON_BYTES, &doc, e) < 0)
        return -1;
    root = yyjson_doc_get_root(doc);
    if (json_i64_in(root, "version", 1, INT64_MAX, version, e) < 0)
        return -1;
    if (*version > LABEL_VERSION) /* whatever else it says */
        return 0;
    if (json_str(root, "uuid", &uuid, e) < 0 ||
        json_i64_in(root, "createdUnixMs", 0, INT64_MAX, &got.created_unix_ms, e) < 0)
        return -1;
    if (!is_uuid(uuid))
        return err_set(e, ERR_CORRUPT, "uuid: want a UUID in lower case");
    memcpy(got.uuid, uuid.ptr, 36);
    got.uuid[36] = 0;
    *out = got;
    return 0;
}

int label_read(int dir_fd, const char *dir, struct label *out, struct err *e)
{
    AUTO_BUF struct buf text = {0};
    int64_t version = 0;

    buf_init(&text, LIMIT_JSON_BYTES);
    if (fd_read_file(dir_fd, LABEL_FILE, &text, LIMIT_JSON_BYTES, e) < 0)
        return err_at(e, "%s", dir);
    if (parse((struct str){buf_str(&text), text.len}, out, &version, e) < 0)
        return err_at(e, "%s/" LABEL_FILE, dir);
    if (version > LABEL_VERSION)
        return err_set(e, ERR_INPUT,
                       "%s is a backup of version %lld and this dugout knows up to "
                       "%d: use the newer dugout",
                       dir, (long long)version, LABEL_VERSION);
    return 0;
}

int label_write(int dir_fd, const struct label *l, const struct label_notes *notes,
                struct err *e)
{
    AUTO_BUF struct buf text = {0};
    struct jw w;

    buf_init(&text, 0);
    jw_init(&w, &text);
    jw_obj(&w);
    jw_ki64(&w, "version", LABEL_VERSION);
    jw_kstr(&w, "uuid", l->uuid);
    jw_ki64(&w, "createdUnixMs", l->created_unix_ms);
    jw_kstr(&w, "home", notes->home);
    jw_kstr(&w, "dugout", DUGOUT_VERSION);
    jw_ki64(&w, "schema", db_schema_version());
    jw_key(&w, "notInIt");
    jw_arr(&w);
    for (size_t i = 0; i < notes->n_not_in_it; i++)
        jw_strz(&w, notes->not_in_it[i]);
    jw_end_arr(&w);
    jw_end_obj(&w);
    return fd_write_file(dir_fd, LABEL_FILE, text.ptr, text.len, 0640, true, e);
}

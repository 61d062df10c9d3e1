/* SPDX-License-Identifier: Apache-2.0 */
/* page.c - the frame of a page, and how times, sizes and values look on it
 *
 * The template (assets/report.html) has the style sheet, the policy that forbids script
 * and network, and three slots: {{title}}, {{class}} and {{body}}. It is filled in one
 * pass, so what stands in a body is never taken for a slot.
 */
#include "report/page.h"

#include "assets/assets.h"
#include "base/clock.h"
#include "base/limits.h"

#define VALUE_SHOWN 300 /* bytes of a value before it is folded */

void page_wrap(struct buf *html, struct str title, struct str class, struct str body)
{
    struct str t = {asset_report_start,
                    (size_t)(asset_report_end - asset_report_start)};

    while (t.len) {
        const char *at = memmem(t.ptr, t.len, "{{", 2);
        size_t plain = at ? (size_t)(at - t.ptr) : t.len;

        buf_add(html, t.ptr, plain);
        t = (struct str){t.ptr + plain, t.len - plain};
        if (str_starts(t, "{{title}}"))
            html_text(html, title);
        else if (str_starts(t, "{{class}}"))
            html_text(html, class);
        else if (str_starts(t, "{{body}}"))
            buf_addstr(html, body);
        else
            must(!t.len);
        at = t.len ? memmem(t.ptr, t.len, "}}", 2) : NULL;
        plain = at ? (size_t)(at + 2 - t.ptr) : t.len;
        t = (struct str){t.ptr + plain, t.len - plain};
    }
}

void page_section(struct page *p, const char *id, const char *heading)
{
    HTML(p->b, "<section id='$'>\n<h2>$</h2>\n", str_of(id), str_of(heading));
}

void page_fact(struct page *p, const char *key, struct str value)
{
    if (value.len)
        HTML(p->b, "<dt>$</dt><dd>$</dd>\n", str_of(key), value);
}

void page_fact_code(struct page *p, const char *key, struct str value)
{
    if (value.len)
        HTML(p->b, "<dt>$</dt><dd><code>$</code></dd>\n", str_of(key), value);
}

static struct str json_text_in(struct arena *a, json *v)
{
    size_t len = 0;
    char *text = yyjson_val_write(v, 0, &len);
    struct str s = arena_str(a, (struct str){text ? text : "", len});

    free(text);
    return s;
}

void page_value(struct page *p, json *v)
{
    struct str text = yyjson_is_str(v) ? json_as_str(v) : json_text_in(p->a, v);

    if (text.len <= VALUE_SHOWN)
        HTML(p->b, "<span class='value'>$</span>", text);
    else
        HTML(p->b,
             "<details class='long'><summary><span class='value'>$</span></summary>"
             "<pre>$</pre></details>",
             text_cut_in(p->a, text, 120), text);
}

bool page_members(struct page *p, struct str json_text, const char *caption)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct err e;
    yyjson_val *k, *v;
    size_t i, max;

    if (!json_text.len || json_parse(json_text, LIMIT_VALUE_BYTES, &doc, &e) < 0 ||
        !yyjson_obj_size(yyjson_doc_get_root(doc)))
        return false;
    HTML(p->b, "<table class='pairs'><caption>$</caption><tbody>\n", str_of(caption));
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, k, v)
    {
        HTML(p->b, "<tr><th scope='row'>$</th><td>", json_as_str(k));
        page_value(p, v);
        buf_adds(p->b, "</td></tr>\n");
    }
    buf_adds(p->b, "</tbody></table>\n");
    return true;
}

struct str page_scalars(struct page *p, struct str json_text, size_t max_chars)
{
    AUTO_JSON yyjson_doc *doc = NULL;
    struct str out = STR("");
    struct err e;
    yyjson_val *k, *v;
    size_t i, max, others = 0;

    if (!json_text.len || json_parse(json_text, LIMIT_VALUE_BYTES, &doc, &e) < 0)
        return out;
    yyjson_obj_foreach(yyjson_doc_get_root(doc), i, max, k, v)
    {
        if (yyjson_is_ctn(v) || out.len > max_chars) {
            others++;
            continue;
        }
        out =
            fmt_in(p->a, "%.*s%s%.*s=%.*s", STR_ARG(out), out.len ? ", " : "",
                   STR_ARG(json_as_str(k)),
                   STR_ARG(yyjson_is_str(v) ? json_as_str(v) : json_text_in(p->a, v)));
    }
    out = text_cut_in(p->a, out, max_chars);
    return others ? fmt_in(p->a, "%.*s%s%zu nested", STR_ARG(out), out.len ? ", " : "",
                           others)
                  : out;
}

struct str page_time(struct page *p, int64_t unix_ms)
{
    char t[25];

    if (!unix_ms)
        return STR("");
    clock_rfc3339(unix_ms, t);
    return fmt_in(p->a, "%.10s %.8s UTC", t, t + 11);
}

struct str page_took(struct page *p, int64_t from_ms, int64_t to_ms)
{
    char t[24];

    if (!from_ms)
        return STR("");
    clock_human((to_ms ? to_ms : p->o->now_unix_ms) - from_ms, t);
    return fmt_in(p->a, "%s", t);
}

struct str page_size(struct page *p, int64_t bytes)
{
    char t[24];

    if (bytes < 0)
        return STR("");
    size_human((uint64_t)bytes, t);
    return fmt_in(p->a, "%s", t);
}

struct str page_digest(struct page *p, const char *hex)
{
    return hex[0] ? fmt_in(p->a, "sha256:%.12s", hex) : STR("");
}

struct str page_type(struct str type)
{
    size_t cut = str_starts(type, "system.") ? strlen("system.") : 0;

    return (struct str){type.ptr + cut, type.len - cut};
}

bool type_is(const struct db_artifact *x, const char *name)
{
    return str_starts(x->type, "system.") && str_eqz(page_type(x->type), name);
}

struct str page_run_ref(struct page *p, const struct db_run *r)
{
    struct err e;
    int64_t found;

    if (db_run_find(p->d, r->name, &found, &e) == 0 && found == r->id)
        return r->name;
    return r->uuid;
}

void page_command(struct page *p, struct str command, const char *why)
{
    HTML(p->b, "<p class='command'><span>$</span><code>$</code></p>\n", str_of(why),
         command);
}

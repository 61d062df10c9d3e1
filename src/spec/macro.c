/* SPDX-License-Identifier: Apache-2.0 */
/* macro.c - [[CurrentTime]] and its kin in the string parameters of a run
 *
 * A Go layout is an example: the time 2006-01-02T15:04:05 written as one wants to have
 * it. So a layout is read from left to right against a table of the pieces of that
 * example, longer ones first; what is no piece is copied. Two pieces need a look at
 * what follows
 * ("Jan" in "January" and in "Janet"), which Go does likewise.
 */
#include "spec/macro.h"

#include <stdio.h>
#include <time.h>

#define DEFAULT_LAYOUT "20060102150405"
#define FORMAT_MAX_BYTES 200 /* of a layout; a bound for what one macro can become */

struct moment {
    struct tm tm;
    unsigned ms;
};

static struct moment moment_of(int64_t unix_ms)
{
    int64_t ms = unix_ms % 1000;
    time_t s = (time_t)(unix_ms / 1000);
    struct moment m = {.ms = (unsigned)(ms < 0 ? 0 : ms)};

    (void)gmtime_r(&s, &m.tm);
    return m;
}

/* Each piece of Go's example with what strftime calls it. UTC has no offset, and the
 * pieces with a Z say so by a letter. */
static const struct {
    const char *piece, *format;
} pieces[] = {
    {"January", "%B"},      {"Jan", "%b"},        {"Monday", "%A"},
    {"Mon", "%a"},          {"MST", "UTC"},       {"2006", "%Y"},
    {"__2", "%j"},          {"002", "%j"},        {"_2", "%e"},
    {"01", "%m"},           {"02", "%d"},         {"03", "%I"},
    {"04", "%M"},           {"05", "%S"},         {"06", "%y"},
    {"15", "%H"},           {"PM", "%p"},         {"-07:00:00", "+00:00:00"},
    {"-070000", "+000000"}, {"-07:00", "+00:00"}, {"-0700", "+0000"},
    {"-07", "+00"},         {"Z07:00:00", "Z"},   {"Z070000", "Z"},
    {"Z07:00", "Z"},        {"Z0700", "Z"},       {"Z07", "Z"},
    {"1", "-%m"},           {"2", "-%d"},         {"3", "-%I"},
    {"4", "-%M"},           {"5", "-%S"},
};

static void add_piece(struct buf *out, const char *format, const struct moment *m)
{
    bool bare = format[0] == '-'; /* without a leading zero */
    char text[64];
    size_t n = strftime(text, sizeof text, format + bare, &m->tm);

    bare = bare && n > 1 && text[0] == '0';
    buf_add(out, text + bare, n - bare);
}

/* ".000" is always there, ".999" loses its zeros at the end; gives the length eaten */
static size_t add_fraction(struct buf *out, struct str s, const struct moment *m)
{
    char digits[10];
    size_t n = 1;

    if ((s.ptr[0] != '.' && s.ptr[0] != ',') || s.len < 2 ||
        (s.ptr[1] != '0' && s.ptr[1] != '9'))
        return 0;
    while (n < s.len && n < 10 && s.ptr[n] == s.ptr[1])
        n++;
    if (n < s.len && s.ptr[n] >= '0' && s.ptr[n] <= '9')
        return 0; /* more digits follow: no fraction to Go */
    (void)snprintf(digits, sizeof digits, "%03u000000", m->ms);
    digits[n - 1] = 0;
    if (s.ptr[1] == '9')
        for (size_t k = n - 1; k-- > 0 && digits[k] == '0';)
            digits[k] = 0;
    if (digits[0])
        buf_addc(out, s.ptr[0]);
    buf_adds(out, digits);
    return n;
}

static bool is_lower(struct str s, size_t at)
{
    return at < s.len && s.ptr[at] >= 'a' && s.ptr[at] <= 'z';
}

static void add_layout(struct buf *out, struct str layout, const struct moment *m)
{
    while (layout.len) {
        size_t n = add_fraction(out, layout, m);

        for (size_t i = 0; !n && i < N_ELEMS(pieces); i++) {
            size_t len = strlen(pieces[i].piece);

            if (!str_starts(layout, pieces[i].piece) ||
                (len == 3 && pieces[i].format[0] == '%' && is_lower(layout, len)))
                continue;
            n = len;
            add_piece(out, pieces[i].format, m);
        }
        if (!n && str_starts(layout, "pm")) {
            buf_adds(out, m->tm.tm_hour < 12 ? "am" : "pm");
            n = 2;
        }
        if (!n)
            buf_addc(out, layout.ptr[n++]);
        layout.ptr += n;
        layout.len -= n;
    }
}

static void add_strftime(struct buf *out, struct str format, const struct moment *m)
{
    char text[FORMAT_MAX_BYTES * 4], z[FORMAT_MAX_BYTES + 1];

    memcpy(z, format.ptr, format.len);
    z[format.len] = 0;
    buf_add(out, text, strftime(text, sizeof text, z, &m->tm));
}

/* The macros themselves. *s is what follows the opening, and moves past the closing */

static bool eat(struct str *s, const char *text)
{
    if (!str_starts(*s, text))
        return false;
    s->ptr += strlen(text);
    s->len -= strlen(text);
    return true;
}

/* up to `end`, which is eaten */
static bool eat_until(struct str *s, const char *end, struct str *out)
{
    size_t window = s->len < FORMAT_MAX_BYTES ? s->len : FORMAT_MAX_BYTES;
    const char *at = memmem(s->ptr, window, end, strlen(end));

    if (!at)
        return false;
    *out = (struct str){s->ptr, (size_t)(at - s->ptr)};
    s->len -= out->len + strlen(end);
    s->ptr = at + strlen(end);
    return true;
}

static bool fill_brackets(struct str *s, const struct macro_facts *f, struct buf *out)
{
    struct str body = STR(""), layout = STR(DEFAULT_LAYOUT);
    int64_t when = f->current_unix_ms;
    struct moment m;

    if (!eat_until(s, "]]", &body))
        return false;
    if (str_eqz(body, "RunUUID")) {
        buf_addstr(out, f->run_uuid);
        return true;
    }
    if (str_eqz(body, "Index") && f->index) {
        buf_addf(out, "%lld", (long long)f->index);
        return true;
    }
    if (eat(&body, "ScheduledTime"))
        when = f->scheduled_unix_ms;
    else if (!eat(&body, "CurrentTime"))
        return false;
    if (body.len && !(eat(&body, ".") && body.len))
        return false;
    if (!when)
        return false;
    m = moment_of(when);
    add_layout(out, body.len ? body : layout, &m);
    return true;
}

static bool fill_braces(struct str *s, const struct macro_facts *f, struct buf *out)
{
    int64_t when = f->current_unix_ms;
    struct str format = STR("");
    struct moment m;

    if (eat(s, "scheduledTime"))
        when = f->scheduled_unix_ms;
    else if (!eat(s, "currentTime"))
        return false;
    if (!when || !eat(s, ".strftime("))
        return false;
    if (eat(s, "'") ? !eat_until(s, "')}}", &format)
                    : !eat(s, "\"") || !eat_until(s, "\")}}", &format))
        return false;
    m = moment_of(when);
    add_strftime(out, format, &m);
    return true;
}

bool macro_expand(struct str text, const struct macro_facts *f, struct buf *out)
{
    bool any = false;

    while (text.len) {
        struct str s = text;
        bool filled = eat(&s, "[[")     ? fill_brackets(&s, f, out)
                      : eat(&s, "{{$.") ? fill_braces(&s, f, out)
                                        : false;

        if (filled) {
            text = s;
            any = true;
            continue;
        }
        buf_addc(out, text.ptr[0]);
        text.ptr++;
        text.len--;
    }
    return any;
}

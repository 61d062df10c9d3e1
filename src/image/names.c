/* SPDX-License-Identifier: Apache-2.0 */
/* names.c - image names, completed the way docker does
 *
 *   [DOMAIN/]PATH[:TAG][@sha256:HEX]
 *
 * What stands before the first slash is a domain when it has a dot, a colon or an
 * upper-case letter, or is "localhost"; without a domain it is docker.io, and there a
 * path without a slash lies in library/. Without tag and digest the tag is "latest".
 * Two spellings of one image thus give one string, and the database compares strings.
 */
#include "image/image.h"

#include <stdio.h>
#include <string.h>

#include "base/sha256.h"

#define DEFAULT_DOMAIN "docker.io"
#define LIMIT_NAME_BYTES 255 /* domain and path, as registries have it */
#define LIMIT_TAG_BYTES 128

static bool is_lower_alnum(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9');
}

static bool is_alnum(char c)
{
    return is_lower_alnum(c) || (c >= 'A' && c <= 'Z');
}

static struct str cut(struct str s, size_t from, size_t to)
{
    return (struct str){s.ptr + from, to - from};
}

/* index of the last c in s, or s.len */
static size_t last_of(struct str s, char c)
{
    const char *p = s.len ? memrchr(s.ptr, c, s.len) : NULL;

    return p ? (size_t)(p - s.ptr) : s.len;
}

static size_t first_of(struct str s, char c)
{
    const char *p = s.len ? memchr(s.ptr, c, s.len) : NULL;

    return p ? (size_t)(p - s.ptr) : s.len;
}

/* letters and digits, joined by ".", "_", "__" or any number of "-" */
static bool component_ok(struct str s)
{
    size_t i = 0;

    while (i < s.len) {
        size_t from = i;
        while (i < s.len && is_lower_alnum(s.ptr[i]))
            i++;
        if (i == from)
            return false;
        if (i == s.len)
            return true;
        if (s.ptr[i] == '-') {
            while (i < s.len && s.ptr[i] == '-')
                i++;
        } else if (s.ptr[i] == '.') {
            i++;
        } else if (s.ptr[i] == '_') {
            i += i + 1 < s.len && s.ptr[i + 1] == '_' ? 2 : 1;
        } else {
            return false;
        }
    }
    return false;
}

static bool path_ok(struct str s)
{
    for (;;) {
        size_t slash = first_of(s, '/');
        if (!component_ok(cut(s, 0, slash)))
            return false;
        if (slash == s.len)
            return true;
        s = cut(s, slash + 1, s.len);
    }
}

static bool host_ok(struct str s)
{
    if (s.len == 0 || s.ptr[0] == '.' || s.ptr[s.len - 1] == '.')
        return false;
    for (size_t i = 0; i < s.len; i++) {
        bool edge =
            i == 0 || i + 1 == s.len || s.ptr[i - 1] == '.' || s.ptr[i + 1] == '.';
        if (!is_alnum(s.ptr[i]) && !(s.ptr[i] == '-' && !edge) &&
            !(s.ptr[i] == '.' && s.ptr[i + 1] != '.'))
            return false;
    }
    return true;
}

static bool ipv6_ok(struct str s)
{
    if (s.len < 4 || s.ptr[0] != '[' || s.ptr[s.len - 1] != ']')
        return false;
    for (size_t i = 1; i + 1 < s.len; i++)
        if (!strchr("0123456789abcdefABCDEF:", s.ptr[i]))
            return false;
    return true;
}

static bool domain_ok(struct str s)
{
    size_t bracket = last_of(s, ']');
    size_t colon = last_of(s, ':');

    if (colon < s.len && (bracket == s.len || colon > bracket)) {
        if (colon + 1 == s.len)
            return false;
        for (size_t i = colon + 1; i < s.len; i++)
            if (s.ptr[i] < '0' || s.ptr[i] > '9')
                return false;
        s = cut(s, 0, colon);
    }
    return bracket < s.len ? ipv6_ok(s) : host_ok(s);
}

static bool tag_ok(struct str s)
{
    if (s.len == 0 || s.len > LIMIT_TAG_BYTES || s.ptr[0] == '.' || s.ptr[0] == '-')
        return false;
    for (size_t i = 0; i < s.len; i++)
        if (!is_alnum(s.ptr[i]) && !strchr("_.-", s.ptr[i]))
            return false;
    return true;
}

static bool is_domain(struct str first)
{
    if (str_eqz(first, "localhost"))
        return true;
    for (size_t i = 0; i < first.len; i++)
        if (first.ptr[i] == '.' || first.ptr[i] == ':' ||
            (first.ptr[i] >= 'A' && first.ptr[i] <= 'Z'))
            return true;
    return false;
}

struct parts {
    struct str domain, path, tag;
    char digest[DIGEST_HEX]; /* "" without */
};

static int bad(struct str in, const char *what, struct err *e)
{
    return err_set(e, ERR_INPUT, "image name \"%.*s\": %s",
                   (int)(in.len < 200 ? in.len : 200), in.ptr, what);
}

/* the digest goes first, since it holds a colon; then the tag, which has no slash */
static int split(struct str in, struct parts *p, struct err *e)
{
    struct str rest = in;
    size_t at = first_of(rest, '@');

    if (at < rest.len) {
        if (!digest_parse(cut(rest, at + 1, rest.len), p->digest))
            return bad(in, "want @sha256: and 64 lower-case hex digits", e);
        rest = cut(rest, 0, at);
    }
    size_t slash = last_of(rest, '/');
    size_t colon = last_of(rest, ':');
    if (colon < rest.len && (slash == rest.len || colon > slash)) {
        p->tag = cut(rest, colon + 1, rest.len);
        if (!tag_ok(p->tag))
            return bad(in, "the tag may have letters, digits, \"_\", \".\" and \"-\"",
                       e);
        rest = cut(rest, 0, colon);
    }
    slash = first_of(rest, '/');
    p->domain = STR(DEFAULT_DOMAIN);
    p->path = rest;
    if (slash < rest.len && is_domain(cut(rest, 0, slash))) {
        p->domain = cut(rest, 0, slash);
        p->path = cut(rest, slash + 1, rest.len);
        if (str_eqz(p->domain, "index.docker.io"))
            p->domain = STR(DEFAULT_DOMAIN);
    }
    return 0;
}

static bool has_upper(struct str s)
{
    for (size_t i = 0; i < s.len; i++)
        if (s.ptr[i] >= 'A' && s.ptr[i] <= 'Z')
            return true;
    return false;
}

int image_name_normalise(struct str in, char out[IMAGE_NAME_BYTES], struct err *e)
{
    struct parts p = {.digest = ""};
    bool library;

    if (in.len == 0)
        return err_set(e, ERR_INPUT, "an image name is empty");
    if (split(in, &p, e) < 0)
        return -1;
    if (!domain_ok(p.domain))
        return bad(in, "the host name before the first \"/\" is wrong", e);
    if (has_upper(p.path))
        return bad(in, "the path must be lower case", e);
    if (!path_ok(p.path))
        return bad(in, "want [HOST/]PATH[:TAG][@sha256:HEX]", e);
    if (p.path.len == 64 && is_hex64_str(p.path))
        return bad(in, "64 hex digits are an id; write sha256: in front of it", e);

    library = str_eqz(p.domain, DEFAULT_DOMAIN) && first_of(p.path, '/') == p.path.len;
    if (p.domain.len + p.path.len + (library ? 9 : 1) > LIMIT_NAME_BYTES)
        return bad(in, "it is longer than 255 bytes", e);
    if (p.tag.len == 0 && !p.digest[0])
        p.tag = STR("latest");
    (void)snprintf(out, IMAGE_NAME_BYTES, "%.*s/%s%.*s%s%.*s%s%s", STR_ARG(p.domain),
                   library ? "library/" : "", STR_ARG(p.path), p.tag.len ? ":" : "",
                   (int)p.tag.len, p.tag.len ? p.tag.ptr : "",
                   p.digest[0] ? "@sha256:" : "", p.digest);
    return 0;
}

const char *image_name_short(const char *name)
{
    static const char domain[] = DEFAULT_DOMAIN "/", library[] = "library/";

    if (strncmp(name, domain, sizeof(domain) - 1) != 0)
        return name;
    name += sizeof(domain) - 1;
    return strncmp(name, library, sizeof(library) - 1) == 0 ? name + sizeof(library) - 1
                                                            : name;
}

const char *image_name_digest(const char *name)
{
    static const char at[] = "@sha256:";
    const char *p = strstr(name, at);

    return p && is_hex64(p + sizeof(at) - 1) ? p + sizeof(at) - 1 : NULL;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* pep508.h - Python's requirements and their markers (PEP 508), names (PEP 503)
 *
 * Everything is a view of the requirement's text. Errors are ERR_INPUT and quote the
 * part that is wrong.
 */
#ifndef RUN_PEP508_H
#define RUN_PEP508_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/err.h"
#include "plan/graph.h"

struct pep508 {
    struct str name;       /* as written */
    struct str extras;     /* "sql, parquet", as between the brackets */
    struct str specifiers; /* ">=2, <3", without parentheses; empty: any version */
    struct str url;        /* "NAME @ URL"; empty otherwise */
    struct str marker;     /* after the ';', empty: always needed */
};

/* pep508_read - a whole requirement; specifiers are checked, the marker is only cut
 * out. A bare URL or a path is ERR_INPUT: pip reads these, but they are no requirements
 */
int pep508_read(struct str text, struct pep508 *out, struct err *e);

/* pep508_direct - is this text a URL or a path, where pip would build what it finds
 * there? */
bool pep508_direct(struct str text);

/* pep508_name - the project name that the text starts with, empty when it starts with
 * none */
struct str pep508_name(struct str text);

/* pep508_allows - do all of a requirement's specifiers allow this version? */
bool pep508_allows(const struct pep508 *r, struct str version);

/* pep508_marker - is the marker true?
 *
 * env  the image's: python_version, sys_platform ... strings; one it lacks is "", and
 * so is `extra`, since no extra is being installed
 *
 * ERR_INPUT for wrong syntax, unknown variables, and ~= between texts that are no
 * versions. */
int pep508_marker(struct str marker, const struct named_value *env, size_t n_env,
                  bool *out, struct err *e);

/* pep503_write - append a name in normal form: lower case, runs of -_. are one '-' */
void pep503_write(struct buf *b, struct str name);

#endif

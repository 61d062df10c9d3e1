/* SPDX-License-Identifier: Apache-2.0 */
/* pep440.h - Python's versions and version specifiers (PEP 440)
 *
 * Nothing here allocates or fails with a struct err: a text is a version or it is not,
 * and the caller knows what to say about it. All structs borrow the text they were read
 * from.
 */
#ifndef RUN_PEP440_H
#define RUN_PEP440_H

#include <stdbool.h>

#include "base/buf.h"

/* Numbers are digits without leading zeros, "" is 0: no version is too large to
 * compare. */
struct pep440_version {
    struct str epoch;
    struct str release; /* "1.02.0", as written */
    char pre;           /* 'a', 'b', 'c' (rc), 0 when there is none */
    struct str pre_number;
    bool has_post, has_dev;
    struct str post_number, dev_number;
    struct str local; /* "ubuntu.1", without the '+', as written */
};

enum pep440_op {
    PEP440_EQ,         /* == */
    PEP440_NE,         /* != */
    PEP440_COMPATIBLE, /* ~= */
    PEP440_LT,
    PEP440_LE,
    PEP440_GT,
    PEP440_GE,
    PEP440_SAME_TEXT, /* === */
};

/* one clause: an operator and what stands on its right */
struct pep440_clause {
    enum pep440_op op;
    bool prefix;                   /* ==1.2.* and !=1.2.* */
    struct pep440_version version; /* empty for PEP440_SAME_TEXT */
    struct str text;               /* the right side, trimmed */
};

/* pep440_read - text as a version; blanks around it are fine. *out is untouched when it
 * is none */
bool pep440_read(struct str text, struct pep440_version *out);

/* pep440_compare - <0, 0, >0 in PEP 440's order; 1.0 equals 1.0.0, 1.0+x is above 1.0
 */
int pep440_compare(const struct pep440_version *a, const struct pep440_version *b);

/* pep440_write - append the normal form: "1!2.0rc1.post2.dev3+ubuntu.1" */
void pep440_write(struct buf *b, const struct pep440_version *v);

/* pep440_clause_read - "==1.*", ">= 2.0": one clause, no comma. false when it is none
 */
bool pep440_clause_read(struct str text, struct pep440_clause *out);

/* pep440_clause_allows - is this version one of those the clause names?
 *
 * installed  as the image reports it. When it is no PEP 440 version only === can allow
 * it
 *
 * Pre-releases are treated like any version: the rule that hides them is one about
 * choosing from an index, and pip keeps an installed one that the clause contains. */
bool pep440_clause_allows(const struct pep440_clause *c, struct str installed);

#endif

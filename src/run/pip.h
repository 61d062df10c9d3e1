/* SPDX-License-Identifier: Apache-2.0 */
/* pip.h - packages_to_install: recognised in the compiled command, answered offline
 *
 * Every lightweight component starts with a shell script that runs pip. Where the image
 * has what it asks for, the three words that hold the script are left out and no pip
 * runs at all. Forms: spec section 25. Requirements: PEP 508, versions: PEP 440.
 */
#ifndef RUN_PIP_H
#define RUN_PIP_H

#include "run/facts.h"

struct pip_requirement {
    struct str text; /* as pip would get it: "pandas>=2,<3; python_version<'3.13'" */
    bool kfp_line;   /* the SDK's own line that installs kfp: the shim answers it */
};
struct pip_preamble {
    bool found;  /* the command starts with a pip script */
    size_t skip; /* leading words of the command to leave out when all is satisfied */
    bool wants_kfp; /* the script installs kfp by itself: the shim stands in */
    struct pip_requirement *reqs;
    size_t n_reqs;
};

/* pip_preamble_in - look at a component's command
 *
 * command  borrowed; requirements are copied into `a`
 *
 * A pip script is `sh -c SCRIPT` (or several) where SCRIPT runs pip install and ends in
 * "$0" "$@"; any other command is not `found`. Options that say where packages come
 * from are passed over. ERR_INPUT when a pip script cannot be left out without changing
 * more than packages (it runs other programs), or does not say what it installs ($NAME,
 * -r FILE).
 */
int pip_preamble_in(struct arena *a, const struct str *command, size_t n_command,
                    struct pip_preamble *out, struct err *e);

enum pip_answer {
    PIP_SATISFIED,
    PIP_NOT_NEEDED,    /* its marker is false here */
    PIP_OTHER_VERSION, /* installed, but not a version it allows */
    PIP_ABSENT,
};
/* pip_answer - one requirement against an image
 *
 * have  the installed version, borrowed from f; empty when it is not installed
 *
 * As with pip, an installed pre-release will do wherever the versions around it would.
 * What an extra ("pandas[sql]") would add is not looked at: images do not say.
 * ERR_INPUT when the requirement cannot be read or answered (a URL, a path, a wrong
 * marker).
 */
int pip_answer(const struct image_facts *f, struct str requirement,
               enum pip_answer *out, struct str *have, struct err *e);

/* pip_version_compare - PEP 440 order: <0, 0, >0; false when one is no version */
bool pip_version_compare(struct str a, struct str b, int *out);

#endif

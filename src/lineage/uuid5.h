/* SPDX-License-Identifier: Apache-2.0 */
/* uuid5.h - inside lineage/: UUIDs that follow from a name (RFC 9562, version 5) */
#ifndef LINEAGE_UUID5_H
#define LINEAGE_UUID5_H

#include <stdbool.h>

#include "base/buf.h"

/* uuid5 - of `name` within the name space `space`, itself a UUID of 36 characters;
 * false when it is none */
bool uuid5(struct str space, struct str name, char out[37]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#ifndef RUN_COLD_H
#define RUN_COLD_H

/* This process and its children will hardly run what only commands and engines do (SQL, YAML,
 * archives): the kernel need not map it into them along with the rest. Advice, cannot fail. */
void cold_code_part(void);

#endif

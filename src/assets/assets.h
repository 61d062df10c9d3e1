/* SPDX-License-Identifier: Apache-2.0 */
/* assets.h - files that the binary carries
 *
 * Each is the bytes from _start up to _end; both live as long as the program and are
 * read-only. A zero byte follows each, so the schema is also a C string.
 */
#ifndef ASSETS_ASSETS_H
#define ASSETS_ASSETS_H

/* A static ELF program: PID 1 of a box. */
extern const char asset_init_start[], asset_init_end[];

/* A ustar archive of src/assets/shim: names sorted, no byte code, all times zero. */
extern const char asset_shim_start[], asset_shim_end[];

/* The SQL of src/lineage/schema, in the order of the file names. */
extern const char asset_schema_start[], asset_schema_end[];

/* The SQL of the views for `dugout sql`. */
extern const char asset_views_start[], asset_views_end[];

/* The frame of a report: an HTML document with slots {{title}}, {{class}}, {{body}}. */
extern const char asset_report_start[], asset_report_end[];

/* The SQL that makes an empty file of ML Metadata, schema version 10. */
extern const char asset_mlmd_start[], asset_mlmd_end[];

#endif

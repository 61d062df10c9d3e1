/* SPDX-License-Identifier: Apache-2.0 */
/* limits.h - every ceiling on outside data, each with its reason */
#ifndef BASE_LIMITS_H
#define BASE_LIMITS_H

#define KIB (1024ULL)
#define MIB (1024ULL * KIB)
#define GIB (1024ULL * MIB)

/* pipeline files */
#define LIMIT_SPEC_BYTES (32 * MIB)  /* KFP's own upload limit */
#define LIMIT_SPEC_DEPTH 100         /* compiled files reach about 20 */
#define LIMIT_SPEC_NODES 4000000     /* 10,000 tasks need about 300,000 */
#define LIMIT_ARG_BYTES (128 * KIB)  /* MAX_ARG_STRLEN of execve(2) */
#define LIMIT_VALUE_BYTES (32 * MIB) /* one output parameter file */
#define LIMIT_TASKS 1000000          /* task instances of one run */

/* images, see the reference on container images, section 1.9 */
#define LIMIT_JSON_BYTES (4 * MIB) /* index, manifest, config (CVE-2023-25153) */
#define LIMIT_JSON_DEPTH 64
#define LIMIT_LAYERS 450 /* the kernel's overlay limit is 500 */
#define LIMIT_INDEX_DEPTH 8
#define LIMIT_INDEX_ENTRIES 1000
#define LIMIT_LAYER_BYTES (64 * GIB) /* uncompressed */
#define LIMIT_IMAGE_BYTES (256 * GIB)
#define LIMIT_LAYER_ENTRIES 2000000
#define LIMIT_IMAGE_ENTRIES 5000000        /* and of all that one load unpacks, as the bytes */
#define LIMIT_RATIO 1000                   /* uncompressed : compressed ... */
#define LIMIT_RATIO_AFTER_BYTES (64 * MIB) /* ... looked at after this much output */
#define LIMIT_PAX_BYTES (1 * MIB)
#define LIMIT_XATTR_BYTES (64 * KIB)
#define LIMIT_XATTRS 128
#define LIMIT_PATH_DEPTH 256
#define LIMIT_PATH_BYTES 4096
#define LIMIT_ZSTD_WINDOW_LOG 27 /* 128 MiB; a hostile frame may ask for 2 GiB */
#define LIMIT_PASSWD_BYTES (1 * MIB)

/* run time */
#define LIMIT_LOG_LINE_BYTES (64 * KIB)
#define LIMIT_LOG_BYTES (64 * MIB)    /* of one attempt: head and tail are kept */
#define LIMIT_RESULT_BYTES (64 * MIB) /* result.json */
#define LIMIT_CONFIG_BYTES (1 * MIB)

#endif

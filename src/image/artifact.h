/* SPDX-License-Identifier: Apache-2.0 */
/* artifact.h - artifacts as OCI artifacts: models as ModelPack says, others alike
 *
 *   index.json -> manifest -> config, one layer (the file as it is, or a tar of the
 *   directory); the manifest's annotations have what dugout knows of it
 *
 * Nothing in it depends on when or where it was made: the same artifact has the same
 * manifest digest in every export.
 */
#ifndef IMAGE_ARTIFACT_H
#define IMAGE_ARTIFACT_H

#include "base/mem.h"
#include "store/blob.h"

struct oci_artifact {
    struct str type, name; /* "system.Model", "out_model" */
    struct str kind;       /* "file", "dir", "none" */
    struct str digest_hex; /* of the blob or the tree; empty for "none" */
    struct str metadata_json;
    uint64_t size_bytes, n_files;
};

struct oci_export {
    const char *path; /* a new directory, or a tar file, or "-" */
    bool tar;
    struct str ref;        /* name of it in the layout, "churn:prod" */
    struct str provenance; /* OpenLineage events, NDJSON: a manifest of its own whose
                              subject is the artifact; empty: none */
};
/* oci_artifact_export - write a layout
 *
 * manifest_hex  digest of the artifact's manifest, the same with and without provenance
 *
 * ERR_INPUT when the directory exists, ERR_MISSING when the content is gone. */
int oci_artifact_export(struct store *s, const struct oci_artifact *a,
                        const struct oci_export *to, char manifest_hex[DIGEST_HEX],
                        struct err *e);

/* oci_artifact_import - read one back into the store, every digest checked
 *
 * path  a directory, or a tar, plain or compressed
 * ref   which of several; empty: the only one
 *
 * Also reads what other tools wrote as a ModelPack model (cncf or the older cnai media
 * types) with one layer, raw or tar; several layers become a directory. *out lives in
 * the arena. ERR_INPUT when it holds no artifact or several; ERR_CORRUPT when digests
 * do not match. */
int oci_artifact_import(struct arena *a, struct store *s, const char *path,
                        struct str ref, struct oci_artifact *out, struct err *e);

#endif

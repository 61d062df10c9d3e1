/* SPDX-License-Identifier: Apache-2.0 */
/* artifactmedia.h - inside image/: the names by which artifacts are known to OCI tools
 */
#ifndef IMAGE_ARTIFACTMEDIA_H
#define IMAGE_ARTIFACTMEDIA_H

#include <stdbool.h>

#include "base/buf.h"

#define OCI_MANIFEST "application/vnd.oci.image.manifest.v1+json"
#define OCI_INDEX "application/vnd.oci.image.index.v1+json"
#define OCI_EMPTY "application/vnd.oci.empty.v1+json"
#define PROVENANCE_MEDIA "application/vnd.dugout.provenance.v1+json"
#define OPENLINEAGE_MEDIA "application/vnd.dugout.openlineage.v1.ndjson"
#define MODEL_MEDIA "application/vnd.cncf.model."

#define NOTE_REF "org.opencontainers.image.ref.name"
#define NOTE_TITLE "org.opencontainers.image.title"
#define NOTE_MODEL_PATH "org.cncf.model.filepath"
#define NOTE_TYPE "dugout.artifact.type"
#define NOTE_NAME "dugout.artifact.name"
#define NOTE_KIND "dugout.artifact.kind"
#define NOTE_DIGEST "dugout.artifact.digest"
#define NOTE_METADATA "dugout.artifact.metadata"

struct oci_media {
    const char *type; /* KFP's; NULL: any other */
    const char *artifact, *config, *raw, *tar;
    bool config_is_model;
};
static const struct oci_media oci_medias[] = {
    {"system.Model", MODEL_MEDIA "manifest.v1+json", MODEL_MEDIA "config.v1+json",
     MODEL_MEDIA "weight.v1.raw", MODEL_MEDIA "weight.v1.tar", true},
    {"system.Dataset", "application/vnd.dugout.dataset.v1+json", OCI_EMPTY,
     MODEL_MEDIA "dataset.v1.raw", MODEL_MEDIA "dataset.v1.tar", false},
    {NULL, "application/vnd.dugout.artifact.v1+json", OCI_EMPTY,
     "application/vnd.dugout.artifact.v1.raw", "application/vnd.dugout.artifact.v1.tar",
     false},
};

static inline const struct oci_media *oci_media_of(struct str type)
{
    const struct oci_media *m = oci_medias;

    while (m->type && !str_eqz(type, m->type))
        m++;
    return m;
}

#endif

/* SPDX-License-Identifier: Apache-2.0 */
/* image.h - container images: archives in, stacks of layer directories out
 *
 * An image is its config digest: the same image by docker archive, podman, skopeo or
 * OCI layout has other manifests and one config. What an image leaves in a home:
 *
 *   store/blobs/sha256/  config, manifest, layer archives as they came (unless
 * no_blobs) layers/<id>/fs/      the layer unpacked, ready to be an overlayfs lower
 * directory layers/<id>/meta     JSON: size of its tar and what was left out
 *   layers/<id>/implied  directories that only exist because something lies in them
 *
 * <id> is the diff_id; the ChainID where a layer had to be unpacked against the ones
 * below it; or image_thin_id() of the stack, for the thin top layer that gives such
 * implied directories the owner and mode they have below.
 *
 * Names and the list of images live in the database. This module reports facts.
 */
#ifndef IMAGE_IMAGE_H
#define IMAGE_IMAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/mem.h"
#include "base/sha256.h"
#include "store/blob.h"
#include "store/gc.h"

/* ---- names ---- */

#define IMAGE_NAME_BYTES 512

/* image_name_normalise - the full form of what a person writes, as docker has it:
 * "python:3.12-slim" -> "docker.io/library/python:3.12-slim", "ghcr.io/a/b" ->
 * "ghcr.io/a/b:latest"; "NAME[:TAG]@sha256:HEX" keeps its digest and gains no tag.
 *
 * ERR_INPUT with what is wrong with the name. "sha256:HEX" alone is no name (a caller
 * that takes ids tries them first).
 */
int image_name_normalise(struct str in, char out[IMAGE_NAME_BYTES], struct err *e);
/* image_name_short - the form that people like to read, "docker.io/library/" and
 * "docker.io/" left out; borrows from name */
const char *image_name_short(const char *name);
/* image_name_digest - the HEX of a normalised name that ends in @sha256:HEX; NULL
 * without */
const char *image_name_digest(const char *name);

/* ---- loading ---- */

struct image_info {
    char config_digest[DIGEST_HEX];   /* the identity */
    char manifest_digest[DIGEST_HEX]; /* as found, or of the one we wrote for an archive
                                       */
    char **names;                     /* normalised; NULL when n_names is 0 */
    size_t n_names;
    char *platform;       /* "linux/amd64" or "linux/arm64/v8" */
    char *created;        /* as the config has it; NULL without */
    size_t n_layers;      /* of the stack */
    size_t layers_new;    /* unpacked now */
    size_t layers_known;  /* were there */
    uint64_t size_bytes;  /* config, manifest and layer archives as they came */
    uint64_t layer_bytes; /* the layers' tar files, uncompressed */
    char **notes;         /* one line each, what was left out (devices, attributes) */
    size_t n_notes;
};

struct image_list {
    struct image_info *items;
    size_t n;
    struct arena arena; /* holds all of it */
};
void image_list_done(struct image_list *l);
#define AUTO_IMAGES __attribute__((cleanup(image_list_done)))

struct image_progress {
    uint64_t done_bytes, total_bytes; /* of the archives read; total 0 = not known */
    size_t layers_done, layers;
};
typedef void image_progress_fn(void *ctx, const struct image_progress *p);

struct image_load_opts {
    const char
        *name; /* take this name for the one image that is loaded; NULL: as found */
    const char *ref;      /* load only the image that is called this in the archive */
    const char *platform; /* "os/arch[/variant]"; NULL: this machine */
    bool no_blobs;        /* keep no layer archives */
    unsigned jobs;        /* layers unpacked at a time; 0: one for each processor */
    image_progress_fn *progress; /* called a few times a second; may be NULL */
    void *ctx;
};

/* image_load - read every image of an OCI layout (directory or archive) or docker
 * archive
 *
 * path  file or directory, or "-" for standard input; plain, gzip or zstd
 * out   gives: what was loaded, in the order of the archive (image_list_done);
 * untouched on failure, and then the home has no new layer either
 *
 * Every digest is checked while the bytes are read. Layers that are there already are
 * not read. All that *out names is durable on return.
 *
 * ERR_MISSING: no such file, no such ref, a blob is not in the archive. ERR_INPUT: no
 * image archive, a name is wrong, the platform does not fit. ERR_CORRUPT: bytes do not
 * match their digest or format. ERR_LIMIT: a ceiling of limits.h. ERR_SYS.
 */
int image_load(struct store *s, const char *path, const struct image_load_opts *opts,
               struct image_list *out, struct err *e);

struct image_import_opts {
    const char *name;     /* may be NULL */
    const char *platform; /* NULL: this machine */
    const char *const
        *env; /* NULL-terminated "K=V"; NULL for none; so are the next two */
    const char *const *entrypoint;
    const char *const *cmd;
    const char *workdir;
    const char *user;
    bool no_blobs;
    image_progress_fn *progress;
    void *ctx;
};

/* image_import - make an image of one layer from the tar of a root file system (plain,
 * gzip or zstd; "-" is standard input). The config holds no clock: the same tar and
 * options give the same digest anywhere. Errors as image_load. */
int image_import(struct store *s, const char *tar, const struct image_import_opts *opts,
                 struct image_list *out, struct err *e);

/* ---- using ---- */

struct image {
    const char *config_hex;
    const char **env; /* "K=V", n_env of them; so are the next two */
    size_t n_env;
    const char **entrypoint;
    size_t n_entrypoint;
    const char **cmd;
    size_t n_cmd;
    const char *workdir; /* "" when the image says nothing; so are the next two */
    const char *user;
    const char *stop_signal;
    const char **volumes; /* paths in the image */
    size_t n_volumes;
    const char **layers; /* absolute paths of directories, TOP FIRST: an overlayfs
                            lowerdir list in its order, the thin layer included */
    size_t n_layers;
    bool userxattr; /* opaque marks are user.overlay.*: mount with -o userxattr */
    struct str config_json;
    const char *platform;
};

/* image_open_in - what a box needs of an image, allocated in the arena
 *
 * ERR_MISSING when the config or a layer is not in the home (load it again),
 * ERR_CORRUPT when the config does not parse.
 */
int image_open_in(struct arena *a, struct store *s, const char *config_hex,
                  struct image *out, struct err *e);
/* image_pin - keep its layers from gc until this process ends, for a box that no row names: its image
 * may be removed, or its name given to a new one, while it runs. ERR_MISSING when one has just gone. */
int image_pin(struct store *s, const struct image *img, struct err *e);

/* image_mark - add what an image needs to the sets that gc keeps. What is missing is no
 * error. manifest_hex may be NULL. */
int image_mark(struct store *s, const char *config_hex, const char *manifest_hex,
               struct digest_set *blobs, struct digest_set *layers, struct err *e);

/* image_thin_id - the directory name of a stack's thin layer; chain_hex is its ChainID
 */
void image_thin_id(const char *chain_hex, char out[DIGEST_HEX]);

enum image_format { IMAGE_OCI_DIR, IMAGE_OCI_TAR, IMAGE_DOCKER_TAR };

struct image_export_opts {
    enum image_format format;
    const char *name; /* the reference written into it; NULL for none */
};

/* image_export - write an image to a new file or directory (a file of that name is replaced)
 *
 * path  "-" is standard output for the two tar formats
 *
 * The digests are those that came in. ERR_MISSING when the image or an archive of a layer is not
 * in the home (--no-blobs), ERR_INPUT for a directory that exists, ERR_SYS.
 */
int image_export(struct store *s, const char *config_hex, const char *manifest_hex,
                 const char *path, const struct image_export_opts *opts, struct err *e);

#endif

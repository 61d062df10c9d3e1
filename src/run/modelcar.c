/* SPDX-License-Identifier: Apache-2.0 */
/* modelcar.c - find /models in the layers of an image
 *
 * One layer of a model car holds the model, so its directory can be bound as it lies; nothing is
 * stacked or copied for a model of many gigabytes. An image that spreads /models over several
 * layers is refused: putting them together would need an overlay inside of the box.
 */
#include "run/modelcar.h"

#include <sys/stat.h>

bool modelcar_is(const struct artifact *f)
{
    return str_starts(f->uri, "oci://") && str_eqz(f->type, "system.Model");
}

static const struct image_use *image_of(struct engine *en, const struct artifact *f,
                                        struct err *e)
{
    return prepare_image(en, (struct str){f->uri.ptr + 6, f->uri.len - 6}, e);
}

int modelcar_path(struct engine *en, struct arena *a, const struct artifact *f, const char **out,
                  struct err *e)
{
    const struct image_use *use = image_of(en, f, e);
    size_t found = 0;

    if (!use)
        return -1;
    for (size_t i = 0; i < use->image.n_layers; i++) {
        const char *path = arena_printf(a, "%s/models", use->image.layers[i]);
        struct stat st;

        if (lstat(path, &st) == 0 && S_ISDIR(st.st_mode) && !found++)
            *out = path;
    }
    if (!found)
        return err_set(e, ERR_INPUT, "image %.*s has no directory /models", STR_ARG(use->ref));
    if (found > 1)
        return err_set(e, ERR_INPUT,
                       "%zu layers of image %.*s hold parts of /models: build it with one", found,
                       STR_ARG(use->ref));
    return 0;
}

int modelcar_check(struct engine *en, const struct task *t, struct buf *key, struct err *e)
{
    AUTO_ARENA struct arena a = {0};

    for (size_t i = 0; i < t->in.n_artifacts; i++)
        for (size_t k = 0; k < t->in.artifacts[i].n_items; k++) {
            const struct artifact *f = &t->in.artifacts[i].items[k];
            const char *path;

            if (!modelcar_is(f))
                continue;
            if (modelcar_path(en, &a, f, &path, e) < 0)
                return err_at(e, "input %.*s", STR_ARG(t->in.artifacts[i].name));
            buf_addf(key, "model car %.*s %s\n", STR_ARG(f->uri), image_of(en, f, e)->hex);
        }
    return 0;
}

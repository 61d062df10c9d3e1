/* SPDX-License-Identifier: Apache-2.0 */
/* drain.c - GPUs that nobody is to get
 *
 * The files are tiny and few, and are read anew by everyone who wants a GPU: what is
 * drained by one run is passed over by all others from then on.
 */
#include "gpu/drain.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "gpu/inside.h"
#include "gpu/lease.h"

#define DRAINS "gpus" /* below the home */

static void read_drain(int dir, const char *name, char out[GPU_TEXT_BYTES])
{
    AUTO_FD int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    struct stat st;
    ssize_t n;

    if (fd < 0 || fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        (st.st_uid != 0 && st.st_uid != geteuid()))
        return;
    n = read(fd, out, GPU_TEXT_BYTES - 1);
    out[n > 0 ? n : 0] = 0;
    out[strcspn(out, "\n")] = 0;
    if (!out[0])
        (void)snprintf(out, GPU_TEXT_BYTES, "no reason given");
}

static int home_dir(const char *home, bool make, struct err *e)
{
    char path[4200];
    int fd;

    (void)snprintf(path, sizeof path, "%.4000s/" DRAINS, home);
    if (make && fd_mkdirs(AT_FDCWD, path, 0750, e) < 0)
        return -1;
    fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return fd < 0 ? err_sys(e, errno, "open %s", path) : fd;
}

/* "MIG-GPU-<uuid>/1/0" -> "GPU-<uuid>"; the id itself when it is no instance */
static void card_id(const char *id, char out[GPU_ID_BYTES])
{
    bool mig = strncmp(id, "MIG-GPU-", 8) == 0;
    const char *from = mig ? id + 4 : id;

    (void)snprintf(out, GPU_ID_BYTES, "%.*s",
                   mig ? (int)strcspn(from, "/") : GPU_ID_BYTES - 1, from);
}

void drain_load(struct gpu_set *s, const char *home)
{
    struct err e;
    AUTO_FD int locks = lease_dir(s, &e);
    AUTO_FD int kept = home ? home_dir(home, false, &e) : -1;
    const int dirs[] = {locks, kept};

    for (size_t i = 0; i < s->n; i++) {
        struct gpu *g = &s->gpus[i];
        char card[GPU_ID_BYTES], name[GPU_ID_BYTES + 16];
        const char *const ids[] = {g->id, card};
        card_id(g->id, card);
        g->drained[0] = 0;
        for (size_t k = 0; k < 4 && !g->drained[0]; k++) {
            if (dirs[k / 2] < 0)
                continue;
            lease_file_name("drain", ids[k % 2], name);
            read_drain(dirs[k / 2], name, g->drained);
        }
    }
}

int drain_put(const struct gpu_set *s, const char *home, const char *id,
              const char *reason, struct err *e)
{
    AUTO_FD int locks = lease_dir(s, e);
    AUTO_FD int kept = locks < 0 || !home ? -1 : home_dir(home, true, e);
    char name[GPU_ID_BYTES + 16], text[GPU_TEXT_BYTES];
    int n = snprintf(text, sizeof text, "%.*s\n",
                     (int)(strcspn(reason, "\n") < 150 ? strcspn(reason, "\n") : 150),
                     reason);

    if (locks < 0 || (home && kept < 0))
        return -1;
    lease_file_name("drain", id, name);
    if (fd_write_file(locks, name, text, (size_t)n, 0644, false, e) < 0 ||
        (kept >= 0 && fd_write_file(kept, name, text, (size_t)n, 0644, true, e) < 0))
        return err_at(e, "drain %s", id);
    return 0;
}

static int remove_in(int dir, const char *name, bool *was, struct err *e)
{
    if (dir < 0)
        return 0;
    if (unlinkat(dir, name, 0) == 0)
        *was = true;
    else if (errno != ENOENT)
        return err_sys(e, errno, "remove %s", name);
    return 0;
}

int drain_remove(const struct gpu_set *s, const char *home, const char *id, bool *was,
                 struct err *e)
{
    struct err none;
    AUTO_FD int locks = lease_dir(s, e);
    AUTO_FD int kept = home ? home_dir(home, false, &none) : -1;
    char name[GPU_ID_BYTES + 16];

    if (locks < 0)
        return -1;
    *was = false;
    lease_file_name("drain", id, name);
    return remove_in(locks, name, was, e) < 0 ? -1 : remove_in(kept, name, was, e);
}

/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - will the disk do? Asked before a run starts, and before each attempt
 *
 * A nightly that fills the disk at 4 a.m. could have been told at midnight: the last run of the
 * same pipeline is the estimate. The quota counts what the home's artifacts and images hold,
 * each content once, as the database knows it; no directory is walked.
 *
 * A run may also come to its limits on the way. Before each attempt the free space is looked at
 * again, which is one system call; the quota, which is a sum over all artifacts, now and then.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "lineage/space.h"
#include "run/engine.h"

#define QUOTA_PAUSE_NS 5000000000LL /* at least */
#define QUOTA_FACTOR 50              /* of what the last look took */

/* used is what the home holds */
static int refuse_over(const char *home, const struct run_opts *o, uint64_t used, struct err *e)
{
    char used_text[24], limit[24];

    if (!o->quota_hard_bytes || used < o->quota_hard_bytes)
        return 0;
    size_human(used, used_text);
    size_human(o->quota_hard_bytes, limit);
    return err_set(e, ERR_LIMIT,
                   "%s holds %s and its quota is %s: remove what is not needed (dugout du, "
                   "dugout gc) or raise quota: hard: in its config.yaml",
                   home, used_text, limit);
}

static int refuse_full(const char *home, const struct run_opts *o, struct statvfs *fs,
                       uint64_t *free_bytes, struct err *e)
{
    char free_text[24], want_text[24];

    if (statvfs(home, fs) < 0)
        return err_sys(e, errno, "look at the file system of %s", home);
    *free_bytes = (uint64_t)fs->f_bavail * fs->f_frsize;
    if (*free_bytes >= o->min_free_bytes)
        return 0;
    size_human(*free_bytes, free_text);
    size_human(o->min_free_bytes, want_text);
    return err_set(e, ERR_LIMIT,
                   "%s has %s free and its config wants %s (quota: free:): free some space, "
                   "dugout gc may",
                   home, free_text, want_text);
}

static int check_quota(struct run_env *env, const struct run_opts *o, struct buf *out,
                       struct err *e)
{
    char used_text[24], limit[24];
    uint64_t used;

    if (!o->quota_soft_bytes && !o->quota_hard_bytes)
        return 0;
    if (db_bytes_live(env->db, &used, e) < 0 || refuse_over(env->home, o, used, e) < 0)
        return -1;
    if (o->quota_soft_bytes && used >= o->quota_soft_bytes) {
        size_human(used, used_text);
        size_human(o->quota_soft_bytes, limit);
        buf_addf(out, "%s holds %s, over its soft quota of %s: dugout gc frees what is not needed\n",
                 env->home, used_text, limit);
    }
    return 0;
}

int run_space_check(struct run_env *env, const struct run_opts *o, struct str pipeline,
                    struct buf *out, struct err *e)
{
    char free_text[24], want_text[24];
    uint64_t free_bytes, wrote;
    struct statvfs fs;

    if (check_quota(env, o, out, e) < 0)
        return -1;
    if (refuse_full(env->home, o, &fs, &free_bytes, e) < 0)
        return -1;
    size_human(free_bytes, free_text);
    if (!pipeline.len)
        return 0;
    if (db_bytes_last_run(env->db, pipeline, &wrote, e) < 0)
        return -1;
    if (wrote > free_bytes) {
        size_human(wrote, want_text);
        buf_addf(out, "the last run of this pipeline stored %s and %s has %s free: this one may "
                      "fail for it (dugout gc frees what is not needed)\n",
                 want_text, env->home, free_text);
    }
    if (fs.f_files && fs.f_favail < 1000)
        buf_addf(out, "%s has %llu inodes left: tasks may fail for it\n", env->home,
                 (unsigned long long)fs.f_favail);
    return 0;
}

int run_over_soft(struct run_env *env, const struct run_opts *o, bool *over, struct err *e)
{
    uint64_t used;

    *over = false;
    if (!o->quota_soft_bytes)
        return 0;
    if (db_bytes_live(env->db, &used, e) < 0)
        return -1;
    *over = used >= o->quota_soft_bytes;
    return 0;
}

int engine_has_room(struct engine *en, struct err *e)
{
    int64_t begun = clock_mono_ns(), took;
    uint64_t free_bytes, used;
    struct statvfs fs;

    if (en->o.min_free_bytes && refuse_full(en->env->home, &en->o, &fs, &free_bytes, e) < 0)
        return -1;
    if (!en->o.quota_hard_bytes || begun < en->quota_next_mono_ns)
        return 0;
    if (db_bytes_live(en->env->db, &used, e) < 0 ||
        refuse_over(en->env->home, &en->o, used, e) < 0)
        return -1;
    took = (clock_mono_ns() - begun) * QUOTA_FACTOR;
    en->quota_next_mono_ns = begun + (took > QUOTA_PAUSE_NS ? took : QUOTA_PAUSE_NS);
    return 0;
}

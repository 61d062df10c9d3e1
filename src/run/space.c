/* SPDX-License-Identifier: Apache-2.0 */
/* space.c - will the disk do? Asked once, before a run starts
 *
 * A nightly that fills the disk at 4 a.m. could have been told at midnight: the last run of the
 * same pipeline is the estimate. The quota counts what the home's artifacts and images hold,
 * each content once, as the database knows it; no directory is walked.
 */
#include <errno.h>
#include <sys/statvfs.h>

#include "base/clock.h"
#include "lineage/space.h"
#include "run/run.h"

static int check_quota(struct run_env *env, const struct run_opts *o, struct buf *out,
                       struct err *e)
{
    char used_text[24], limit[24];
    uint64_t used;

    if (!o->quota_soft_bytes && !o->quota_hard_bytes)
        return 0;
    if (db_bytes_live(env->db, &used, e) < 0)
        return -1;
    size_human(used, used_text);
    if (o->quota_hard_bytes && used >= o->quota_hard_bytes) {
        size_human(o->quota_hard_bytes, limit);
        return err_set(e, ERR_LIMIT,
                       "%s holds %s and its quota is %s: remove what is not needed (dugout du, "
                       "dugout gc) or raise quota: hard: in its config.yaml",
                       env->home, used_text, limit);
    }
    if (o->quota_soft_bytes && used >= o->quota_soft_bytes) {
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
    if (statvfs(env->home, &fs) < 0)
        return err_sys(e, errno, "look at the file system of %s", env->home);
    free_bytes = (uint64_t)fs.f_bavail * fs.f_frsize;
    size_human(free_bytes, free_text);
    if (free_bytes < o->min_free_bytes) {
        size_human(o->min_free_bytes, want_text);
        return err_set(e, ERR_LIMIT,
                       "%s has %s free and its config wants %s (quota: free:): free some space, "
                       "dugout gc may",
                       env->home, free_text, want_text);
    }
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

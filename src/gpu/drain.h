/* SPDX-License-Identifier: Apache-2.0 */
/* drain.h - GPUs that nobody is to get, and how it is found out that one failed
 *
 * A drained GPU is a small text file, drain.<id>: in the directory of the locks, where
 * the whole machine sees it until it is rebooted, and for drains by hand in HOME/gpus
 * too, where it stays. Only files of root or of the caller count: nobody takes another
 * user's GPUs away.
 */
#ifndef GPU_DRAIN_H
#define GPU_DRAIN_H

#include "gpu/gpu.h"

/* drain_load - fill .drained of every GPU; a MIG instance is drained with its card.
 * home may be NULL. What cannot be read is not drained. */
void drain_load(struct gpu_set *s, const char *home);

/* drain_put - drain it; the reason is cut to one line. home NULL: until the machine is
 * rebooted */
int drain_put(const struct gpu_set *s, const char *home, const char *id,
              const char *reason, struct err *e);
/* drain_remove - *was: it was drained. ERR_SYS when a file cannot be removed */
int drain_remove(const struct gpu_set *s, const char *home, const char *id, bool *was,
                 struct err *e);

/* what an attempt remembers of a GPU that it was given, enough to look after it later
 */
struct gpu_ref {
    const char *id, *pci; /* pci may be "" */
    const char *node;     /* "/dev/nvidia0" */
    unsigned major, minor;
};

/* health_check - did this GPU fail since the attempt began?
 *
 * since_mono_us   CLOCK_MONOTONIC microseconds, as the kernel's log counts
 * why             "Xid 79: GPU has fallen off the bus", "/dev/nvidia0 vanished"
 *
 * The kernel's log is read when it may be (dev/kmsg below the root); errors that a
 * program causes by itself (Xid 13, 31, 43, 45 ...) are not the GPU's. */
bool health_check(const char *root, const struct gpu_ref *g, int64_t since_mono_us,
                  char why[GPU_TEXT_BYTES]);

#endif

/* SPDX-License-Identifier: Apache-2.0 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/fd.h"
#include "base/mem.h"
#include "box/cgroup.h"
#include "t.h"

#define CGROUP2 0x63677270

/* errno of opening a node of that number in the cgroup; -1: the test could not be made
 */
static int open_in(const char *cgroup, unsigned major, unsigned minor)
{
    char node[64];
    int status = 0;
    pid_t pid;

    (void)snprintf(node, sizeof node, "/tmp/dugout-devices-%d", (int)getpid());
    (void)unlink(node);
    if (mknod(node, S_IFCHR | 0600, makedev(major, minor)) < 0)
        return -1;
    pid = fork();
    if (pid == 0) {
        AUTO_FD int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        struct err e;
        int fd;
        if (fd_write_small(dir, "cgroup.procs", "0", &e) < 0)
            _exit(255);
        fd = open(node, O_RDWR | O_NONBLOCK);
        _exit(fd < 0 ? errno : 0);
    }
    (void)waitpid(pid, &status, 0);
    (void)unlink(node);
    return WEXITSTATUS(status) == 255 ? -1 : WEXITSTATUS(status);
}

/* 195 has no driver here: ENXIO when the rule lets it through, EPERM when it does not
 */
static void rules_follow_the_box(const char *cgroup,
                                 int (*set)(int, const struct box_device *, size_t))
{
    const struct box_device granted[] = {
        {"/dev/nvidia1", "/dev/nvidia1", 195, 1},
        {"/dev/nvidiactl", "/dev/nvidiactl", 195, 255}};
    AUTO_FD int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    CHECK_INT(set(dir, NULL, 0), 0);
    CHECK_INT(open_in(cgroup, 1, 3), 0);
    CHECK_INT(open_in(cgroup, 195, 1), EPERM);
    CHECK_INT(set(dir, granted, 2), 0);
    CHECK_INT(open_in(cgroup, 1, 3), 0);
    CHECK_INT(open_in(cgroup, 195, 1), ENXIO);
    CHECK_INT(open_in(cgroup, 195, 255), ENXIO);
    CHECK_INT(open_in(cgroup, 195, 0), EPERM);
    CHECK_INT(open_in(cgroup, 1, 1), EPERM);
    CHECK_INT(set(dir, granted + 1, 1), 0); /* the slot's next box has less */
    CHECK_INT(open_in(cgroup, 195, 255), ENXIO);
    CHECK_INT(open_in(cgroup, 195, 1), EPERM);
    CHECK_INT(set(dir, NULL, 0), 0);
    CHECK_INT(open_in(cgroup, 195, 255), EPERM);
    CHECK_INT(open_in(cgroup, 1, 5), 0);
    CHECK_INT(set(dir, NULL, 0), 0);
    CHECK_INT(open_in(cgroup, 1, 5), 0);
}

/* whoever set it up was killed half way: the next one finds a list without /dev/null, or none */
static void a_half_made_slot_is_made_whole(const char *cgroup)
{
    static const char *const lost[] = {"c 1:3 rwm", "a"};
    AUTO_FD int dir = open(cgroup, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct err e;

    for (size_t i = 0; i < N_ELEMS(lost); i++) {
        CHECK_INT(fd_write_small(dir, "devices.deny", lost[i], &e), 0);
        CHECK_INT(open_in(cgroup, 1, 3), EPERM);
        CHECK_INT(cg_v1_devices(dir, NULL, 0), 0);
        CHECK_INT(open_in(cgroup, 1, 3), 0);
        CHECK_INT(open_in(cgroup, 1, 1), EPERM);
    }
}

static const char *v2_tree(void)
{
    static const char *const places[] = {"/sys/fs/cgroup", "/sys/fs/cgroup/unified"};
    struct statfs fs;

    for (size_t i = 0; i < N_ELEMS(places); i++)
        if (statfs(places[i], &fs) == 0 && fs.f_type == CGROUP2)
            return places[i];
    return NULL;
}

/* A /tmp of our own, where device nodes may be opened: the machine's may not let them. */
static void own_tmp(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return;
    (void)mount("tmp", "/tmp", "tmpfs", MS_NOSUID, NULL);
}

int main(void)
{
    const char *v2 = v2_tree();
    char path[128];

    own_tmp();

    CHECK(cg_n_devices > 0); /* where no cgroup can be made, that is all */
    if (v2) {
        (void)snprintf(path, sizeof path, "%s/dugout-test-%d", v2, (int)getpid());
        if (mkdir(path, 0755) == 0) {
            rules_follow_the_box(path, cg_v2_devices);
            CHECK_INT(rmdir(path), 0);
        } else {
            printf("skipped v2: no cgroup can be made in %s\n", v2);
        }
    }
    (void)snprintf(path, sizeof path, "/sys/fs/cgroup/devices/dugout-test-%d",
                   (int)getpid());
    if (mkdir(path, 0755) == 0) {
        rules_follow_the_box(path, cg_v1_devices);
        a_half_made_slot_is_made_whole(path);
        CHECK_INT(rmdir(path), 0);
    } else {
        printf("skipped v1: no cgroup can be made in /sys/fs/cgroup/devices\n");
    }
    return t_end();
}

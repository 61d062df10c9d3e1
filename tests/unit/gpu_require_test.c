/* SPDX-License-Identifier: Apache-2.0 */
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/fd.h"
#include "gpu/drain.h"
#include "t.h"

static void the_driver_is_held_against_what_the_image_demands(void)
{
    static const struct {
        const char *env, *driver;
        enum gpu_require want;
    } rows[] = {
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.2", "535.104.05", GPU_REQUIRE_MET},
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.4", "535.104.05", GPU_REQUIRE_MAYBE},
        {"NVIDIA_REQUIRE_CUDA=cuda>=13.0", "535.104.05", GPU_REQUIRE_FAILED},
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.10", "575.51.03", GPU_REQUIRE_MAYBE},
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.4", "470.82.01", GPU_REQUIRE_FAILED},
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=470,driver<471",
         "470.82.01", GPU_REQUIRE_MET},
        {"NVIDIA_REQUIRE_CUDA=cuda>=12.4 brand=tesla,driver>=460,driver<461",
         "470.82.01", GPU_REQUIRE_FAILED},
        {"NVIDIA_REQUIRE_DRIVER=driver<500", "535.104.05", GPU_REQUIRE_FAILED},
        {"NVIDIA_REQUIRE_CUDA=", "535.104.05", GPU_REQUIRE_MET},
        {"CUDA_VERSION=12.2.140", "535.104.05", GPU_REQUIRE_MET},
        {"CUDA_VERSION=12.8.1", "535.104.05", GPU_REQUIRE_MAYBE},
        {"CUDA_VERSION=13.0.0", "535.104.05", GPU_REQUIRE_FAILED},
        {"CUDA_VERSION=junk", "535.104.05", GPU_REQUIRE_MET},
        {"PATH=/bin", "535.104.05", GPU_REQUIRE_MET},
    };
    char text[GPU_TEXT_BYTES];

    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        char *env[] = {(char *)(uintptr_t)rows[i].env};
        enum gpu_require got = gpu_require(env, 1, rows[i].driver, text);
        if (got != rows[i].want)
            printf("row %zu: %s on %s\n", i, rows[i].env, rows[i].driver);
        CHECK_INT(got, rows[i].want);
        CHECK_INT(text[0] != 0, got != GPU_REQUIRE_MET);
    }
    {
        char *env[] = {(char *)(uintptr_t) "NVIDIA_REQUIRE_CUDA=cuda>=13.0",
                       (char *)(uintptr_t) "NVIDIA_DISABLE_REQUIRE=true"};
        CHECK_INT(gpu_require(env, 2, "535.104.05", text), GPU_REQUIRE_MAYBE);
        CHECK_STR(
            text,
            "the image needs CUDA 13.0, driver 580.65.06 or later, and the driver here "
            "is 535.104.05 (CUDA 12.2)");
    }
}

/* ---- the kernel's log ----------------------------------------------------------- */

static char root[64];

static void put(const char *path, const char *text)
{
    AUTO_FREE char *full = xasprintf("%s/%s", root, path);
    AUTO_FREE char *dir = xstrdup(full);
    struct err e;

    *strrchr(dir, '/') = 0;
    CHECK_INT(fd_mkdirs(AT_FDCWD, dir, 0755, &e), 0);
    CHECK_INT(fd_write_file(AT_FDCWD, full, text, strlen(text), 0644, false, &e), 0);
}

static void the_kernels_log_says_whose_fault_it_was(void)
{
    static const struct {
        const char *log, *why; /* NULL: the GPU is well */
    } rows[] = {
        {"4,1,2000,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=812, GPU has fallen off the "
         "bus.\n",
         "Xid 79: GPU has fallen off the bus."},
        {"4,1,999,-;NVRM: Xid (PCI:0000:3b:00): 79, pid=812, GPU has fallen off the "
         "bus.\n",
         NULL},
        {"4,1,2000,-;NVRM: Xid (PCI:0000:af:00): 79, pid=812, GPU has fallen off the "
         "bus.\n",
         NULL},
        {"4,1,2000,-;NVRM: Xid (PCI:0000:3b:00): 13, Graphics Exception\n", NULL},
        {"4,1,2000,-;NVRM: Xid (PCI:0000:3b:00): 31, pid=1, MMU Fault\n", NULL},
        {"6,1,1500,-;usb 1-1: new device\n SUBSYSTEM=usb\n"
         "4,2,2000,-;NVRM: Xid (PCI:0000:3B:00): 48, pid=1, An uncorrectable double "
         "bit error\n",
         "Xid 48: An uncorrectable double bit error"},
        {"3,1,2000,-;amdgpu 0000:3b:00.0: amdgpu: GPU reset(2) failed\n",
         "amdgpu: GPU reset(2) failed"},
        {"4,1,2000,-;NVRM: Xid (PCI:0000:3b:00", NULL},
        {";;;,,,\n4,,,;\n\n4,1", NULL},
        {"", NULL},
    };
    struct gpu_ref g = {"GPU-1", "0000:3b:00.0", "/dev/nvidia0", 1, 3};
    char why[GPU_TEXT_BYTES];
    struct err e;

    (void)snprintf(root, sizeof root, "/tmp/dugout-health-XXXXXX");
    CHECK(mkdtemp(root) != NULL);
    put("proc/driver/nvidia/gpus/0000:3b:00.0/information", "Model: x\n");
    put("dev/nvidia0", ""); /* no device, but there; nodes need root */
    for (size_t i = 0; i < N_ELEMS(rows); i++) {
        put("dev/kmsg", rows[i].log);
        CHECK_INT(health_check(root, &g, 1000, why), rows[i].why != NULL);
        if (rows[i].why)
            CHECK_STR(why, rows[i].why);
    }
    put("proc/driver/nvidia/gpus/0000:3b:00.0/information", "");
    g.pci = "0000:af:00.0";
    CHECK(health_check(root, &g, 1000, why));
    CHECK_STR(why, "the driver does not list 0000:af:00.0 any more");
    g.node = "/dev/nvidia7";
    CHECK(health_check(root, &g, 1000, why));
    CHECK_STR(why, "/dev/nvidia7 vanished");
    CHECK_INT(fd_remove_tree(AT_FDCWD, root, &e), 0);
}

int main(void)
{
    the_driver_is_held_against_what_the_image_demands();
    the_kernels_log_says_whose_fault_it_was();
    return t_end();
}

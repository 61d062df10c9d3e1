/* SPDX-License-Identifier: Apache-2.0 */
/* probe.c - what a shell cannot try inside a box; linked statically, one line a result
 *
 * probe call NR [ARG]...     a system call: "ok" or the errno's name
 *
 * probe int80 NR             the same by the 32-bit gate
 *
 * probe x32 NR               the same by an x32 number
 *
 * probe clone FLAGS          clone(2) with these flags; the child exits at once
 *
 * probe ioctl REQUEST        ioctl(0, REQUEST, "x") with all 64 bits of the request
 *
 * probe threads N            how many of N threads could be made
 *
 * probe alloc MIB            touch that much memory
 *
 * probe fds                  how many descriptors could be opened
 *
 * probe connect PORT         TCP to 127.0.0.1
 *
 * probe abstract NAME        connect to an abstract socket
 *
 * probe swap A B SECONDS     exchange two names as fast as it goes
 *
 * probe daemon               leave a process that ignores everything behind
 *
 * probe id                   ids and groups, capabilities
 *
 * probe where FILE           byte of the device at which its first extent begins
 *
 * probe as UID CMD [ARG]...  run CMD as that user, with no other group
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <pthread.h>
#include <signal.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#ifndef SYS_renameat2
#define SYS_renameat2 316
#endif

static int answer(long r)
{
    const char *name = strerrorname_np(errno);

    puts(r >= 0 ? "ok" : name ? name : "?");
    return 0;
}

static int call(int argc, char **argv)
{
    uint64_t a[7] = {0};
    long r;

    for (int i = 0; i < argc && i < 7; i++)
        a[i] = argv[i][0] == '/' ? (uintptr_t)argv[i] : strtoull(argv[i], NULL, 0);
    errno = 0;
    r = syscall((long)a[0], a[1], a[2], a[3], a[4], a[5], a[6]);
    return answer(r);
}

static int int80(long nr)
{
#ifdef __x86_64__
    long r;
    __asm__ volatile("int $0x80"
                     : "=a"(r)
                     : "a"(nr), "b"(0), "c"(0), "d"(0)
                     : "memory", "r8", "r9", "r10", "r11");
    errno = (int)-r;
    return answer(r);
#else
    (void)nr;
    puts("none");
    return 0;
#endif
}

static int clone_with(uint64_t flags)
{
    long pid = syscall(SYS_clone, flags | SIGCHLD, 0, 0, 0, 0);

    if (pid == 0)
        _exit(0);
    if (pid > 0)
        (void)waitpid((pid_t)pid, NULL, 0);
    return answer(pid);
}

static void *sleeper(void *arg)
{
    (void)arg;
    pause();
    return NULL;
}

static int threads(int n)
{
    pthread_attr_t attr;
    int made = 0;

    (void)pthread_attr_init(&attr);
    (void)pthread_attr_setstacksize(&attr, 16384);
    while (made < n) {
        pthread_t t;
        if (pthread_create(&t, &attr, sleeper, NULL))
            break;
        made++;
    }
    printf("%d\n", made);
    return 0;
}

static int alloc(size_t mib)
{
    for (size_t i = 0; i < mib; i++) {
        char *p = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (p == MAP_FAILED)
            return answer(-1);
        memset(p, 1, 1 << 20);
    }
    puts("all of it");
    return 0;
}

static int fds(void)
{
    int n = 0;

    while (open("/dev/null", O_RDONLY) >= 0)
        n++;
    printf("%d %s\n", n, strerrorname_np(errno));
    return 0;
}

static int try_connect(const char *port)
{
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)atoi(port))};
    int fd = socket(AF_INET, SOCK_STREAM, 0), r;

    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    r = connect(fd, (struct sockaddr *)&to, sizeof to);
    return answer(r);
}

static int try_abstract(const char *name)
{
    struct sockaddr_un to = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0), r;

    memcpy(to.sun_path + 1, name, strlen(name));
    r = connect(fd, (struct sockaddr *)&to,
                (socklen_t)(offsetof(struct sockaddr_un, sun_path) + 1 + strlen(name)));
    return answer(r);
}

static int swap(const char *a, const char *b, double seconds)
{
    time_t end = time(NULL) + (time_t)seconds;
    long n = 0;

    while ((n & 1023) || time(NULL) < end) {
        (void)syscall(SYS_renameat2, AT_FDCWD, a, AT_FDCWD, b, 2 /* RENAME_EXCHANGE */);
        n++;
    }
    printf("%ld\n", n);
    return 0;
}

static _Noreturn void leave_daemon(void)
{
    for (int i = 1; i < 65; i++)
        (void)signal(i, SIG_IGN);
    if (fork() == 0) {
        (void)setsid();
        if (fork() == 0) {
            (void)setsid();
            for (;;)
                sleep(1000);
        }
        for (;;)
            sleep(1000);
    }
    puts("left");
    (void)fflush(stdout);
    for (;;)
        sleep(1000);
}

static int id(void)
{
    uid_t r, e, s;
    gid_t g[128];
    int n = getgroups(128, g);
    char line[256];
    FILE *f = fopen("/proc/self/status", "r");

    (void)getresuid(&r, &e, &s);
    printf("uid %u %u %u", r, e, s);
    (void)getresgid(&r, &e, &s);
    printf(" gid %u %u %u groups", r, e, s);
    for (int i = 0; i < n; i++)
        printf(" %u", g[i]);
    puts("");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, "Cap", 3) == 0 || strncmp(line, "NoNew", 5) == 0)
            fputs(line, stdout);
    return 0;
}

static int where(const char *path)
{
    union {
        struct fiemap map;
        char room[sizeof(struct fiemap) + sizeof(struct fiemap_extent)];
    } u = {.map = {.fm_length = FIEMAP_MAX_OFFSET, .fm_flags = FIEMAP_FLAG_SYNC, .fm_extent_count = 1}};
    int fd = open(path, O_RDONLY);

    if (fd < 0 || ioctl(fd, FS_IOC_FIEMAP, &u.map) < 0 || !u.map.fm_mapped_extents)
        return 1;
    printf("%llu\n", (unsigned long long)u.map.fm_extents[0].fe_physical);
    return 0;
}

static int as(uid_t uid, char **argv)
{
    gid_t gid = uid;

    if (setgroups(0, NULL) < 0 || setresgid(gid, gid, gid) < 0 || setresuid(uid, uid, uid) < 0)
        return 1;
    (void)execv(argv[0], argv);
    return 127;
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";

    if (strcmp(what, "call") == 0 && argc > 2)
        return call(argc - 2, argv + 2);
    if (strcmp(what, "int80") == 0 && argc > 2)
        return int80(atol(argv[2]));
    if (strcmp(what, "x32") == 0 && argc > 2)
        return answer(syscall(atol(argv[2]) | 0x40000000, 0, 0, 0, 0, 0, 0));
    if (strcmp(what, "clone") == 0 && argc > 2)
        return clone_with(strtoull(argv[2], NULL, 0));
    if (strcmp(what, "ioctl") == 0 && argc > 2)
        return answer(syscall(SYS_ioctl, 0, strtoull(argv[2], NULL, 0), "x"));
    if (strcmp(what, "threads") == 0 && argc > 2)
        return threads(atoi(argv[2]));
    if (strcmp(what, "alloc") == 0 && argc > 2)
        return alloc((size_t)atol(argv[2]));
    if (strcmp(what, "fds") == 0)
        return fds();
    if (strcmp(what, "connect") == 0 && argc > 2)
        return try_connect(argv[2]);
    if (strcmp(what, "abstract") == 0 && argc > 2)
        return try_abstract(argv[2]);
    if (strcmp(what, "swap") == 0 && argc > 4)
        return swap(argv[2], argv[3], atof(argv[4]));
    if (strcmp(what, "daemon") == 0)
        leave_daemon();
    if (strcmp(what, "where") == 0 && argc > 2)
        return where(argv[2]);
    if (strcmp(what, "as") == 0 && argc > 3)
        return as((uid_t)atoi(argv[2]), argv + 3);
    if (strcmp(what, "id") == 0)
        return id();
    fprintf(stderr, "probe: no such trick\n");
    return 2;
}

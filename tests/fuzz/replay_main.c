/* SPDX-License-Identifier: Apache-2.0 */
/* replay_main.c - run a fuzz target over the files of folders, without a fuzzer
 *
 * `make check` feeds every seed to every target in the sanitized build, so what a
 * fuzzer once found stays fixed on machines that have no clang. A file passes when the
 * target comes back; when it does not, the name printed last says which file it was.
 */
#include <dirent.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static int replay(const char *path)
{
    FILE *f = fopen(path, "rb");
    struct stat st;
    uint8_t *data;
    int rc = -1;

    if (!f || fstat(fileno(f), &st) < 0) {
        printf("%s: %s\n", path, strerror(errno));
        if (f)
            (void)fclose(f);
        return -1;
    }
    /* Exactly as large as the file, so that one byte past its end is noticed. */
    data = malloc((size_t)st.st_size + (st.st_size == 0));
    if (data && fread(data, 1, (size_t)st.st_size, f) == (size_t)st.st_size) {
        printf("%s\n", path);
        (void)fflush(stdout);
        LLVMFuzzerTestOneInput(data, (size_t)st.st_size);
        rc = 0;
    }
    free(data);
    (void)fclose(f);
    return rc;
}

int main(int argc, char **argv)
{
    int passed = 0, failed = 0;

    for (int i = 1; i < argc; i++) {
        struct dirent **names;
        int n = scandir(argv[i], &names, NULL, alphasort);

        if (n < 0) {
            printf("%s: %s\n", argv[i], strerror(errno));
            failed++;
            continue;
        }
        for (int k = 0; k < n; k++) {
            char path[4096];

            if (names[k]->d_name[0] != '.' &&
                snprintf(path, sizeof path, "%s/%s", argv[i], names[k]->d_name) <
                    (int)sizeof path) {
                if (replay(path) == 0)
                    passed++;
                else
                    failed++;
            }
            free(names[k]);
        }
        free(names);
    }
    printf("%d passed, %d failed\n", passed, failed);
    return failed != 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* Any bytes as the backup.json of a directory that somebody hands to restore: a message
 * that a terminal can bear, or a label that is the same when it was written and read
 * again */
#include <stdint.h>

#include "cli/label.h"
#include "place.h"
#include "text.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define DIR_NAME "/mnt/backup"

size_t LLVMFuzzerCustomMutator(uint8_t *data, size_t size, size_t max_size,
                               unsigned seed)
{
    return text_mutate(data, size, max_size, seed);
}

static void check_failed(const struct label *l, const struct err *e)
{
    must(!l->uuid[0] && l->created_unix_ms == -1);
    must(e->code == ERR_CORRUPT || e->code == ERR_LIMIT || e->code == ERR_INPUT);
    must(strncmp(e->text, DIR_NAME, strlen(DIR_NAME)) == 0);
    for (const char *c = e->text; *c; c++)
        must((unsigned char)*c >= ' ' && (unsigned char)*c < 0x7f);
}

static void check_label(int dir_fd, const struct label *l)
{
    const char *const damage[] = {"blob 0123", l->uuid};
    struct label again;
    struct err e = {0};

    must(strlen(l->uuid) == 36 && strspn(l->uuid, "0123456789abcdef-") == 36);
    must(l->created_unix_ms >= 0);
    must(label_write(dir_fd, l, &(struct label_notes){"/home", damage, 2}, &e) == 0);
    must(label_read(dir_fd, DIR_NAME, &again, &e) == 0);
    must(strcmp(again.uuid, l->uuid) == 0 &&
         again.created_unix_ms == l->created_unix_ms);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct fuzz_place *p = place_get();
    struct label l = {.created_unix_ms = -1};
    struct err e = {0};

    place_file(p->work_fd, LABEL_FILE, (struct str){(const char *)data, size});
    if (label_read(p->work_fd, DIR_NAME, &l, &e) == 0)
        check_label(p->work_fd, &l);
    else
        check_failed(&l, &e);
    place_clean(p);
    return 0;
}

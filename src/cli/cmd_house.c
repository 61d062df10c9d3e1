/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_house.c - doctor, version */
#include <pwd.h>
#include <stdlib.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/fd.h"
#include "box/box.h"
#include "cli/cli.h"
#include "version.h"

void cli_user(char out[64])
{
    const struct passwd *pw = getpwuid(geteuid());

    if (pw)
        snprintf(out, 64, "%s", pw->pw_name);
    else
        snprintf(out, 64, "%u", (unsigned)geteuid());
}

/* ---- doctor ---------------------------------------------------------------------------------------------- */

static void home_fact(struct cli *c, struct table *t, struct jw *w)
{
    struct statvfs fs;
    char free_text[24], text[128];

    if (statvfs(c->home, &fs) < 0)
        return;
    size_human((uint64_t)fs.f_bavail * fs.f_frsize, free_text);
    snprintf(text, sizeof text, "%s free, %llu inodes free", free_text,
             (unsigned long long)fs.f_favail);
    table_add(t, "ok");
    table_add(t, "disk");
    table_add(t, text);
    jw_obj(w);
    jw_kstr(w, "name", "disk");
    jw_kstr(w, "state", "good");
    jw_kstr(w, "value", text);
    jw_kstr(w, "remedy", NULL);
    jw_end_obj(w);
}

int cmd_doctor(struct cli *c)
{
    static const char *const words[] = {"ok", "less", "BAD"};
    static const char *const states[] = {"good", "worse", "bad"};
    AUTO_FREE struct box_facts *f = xalloc(sizeof *f);
    AUTO_BUF struct buf out = {0};
    struct err e = {0};
    struct table t;
    struct jw w;
    const char *gpus;
    bool bad = false;

    if (cli_open(c, DB_READ, &e) < 0)
        return cli_fail(&e);
    box_probe(c->home, f);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_arr(&w);
    table_init(&t, 3, (const char *const[]){"", "WHAT", "FOUND"});
    for (size_t i = 0; i < f->n; i++) {
        const struct box_fact *x = &f->facts[i];
        table_add(&t, words[x->state]);
        table_add(&t, x->name);
        table_add(&t, x->value);
        jw_obj(&w);
        jw_kstr(&w, "name", x->name);
        jw_kstr(&w, "state", states[x->state]);
        jw_kstr(&w, "value", x->value);
        jw_kstr(&w, "remedy", x->remedy);
        jw_end_obj(&w);
        bad |= x->state == BOX_FACT_BAD;
    }
    gpus = doctor_gpus(c, &t, &w);
    home_fact(c, &t, &w);
    jw_end_arr(&w);
    if (c->json) {
        cli_out_json(&out);
        free(t.cells);
        return bad ? 6 : 0;
    }
    table_print(&t, stdout);
    for (size_t i = 0; i < f->n; i++)
        if (f->facts[i].remedy && f->facts[i].state != BOX_FACT_GOOD)
            (void)printf("\n%s: %s\n", f->facts[i].name, f->facts[i].remedy);
    if (gpus)
        (void)printf("\ngpus: %s\n", gpus);
    (void)printf("\n%s\n", bad ? "Boxes cannot be started here until the lines marked BAD are mended."
                               : "Boxes can be started here.");
    return bad ? 6 : 0;
}

/* ---- version ------------------------------------------------------------------------------------------------ */

int cmd_version(struct cli *c)
{
    if (c->json)
        (void)printf("{\"version\":\"%s\",\"commit\":\"%s\",\"vendored\":\"%s\"}\n", DUGOUT_VERSION,
                     DUGOUT_COMMIT, VENDOR_VERSIONS);
    else
        (void)printf("dugout %s\ncommit %s\n%s\n", DUGOUT_VERSION, DUGOUT_COMMIT, VENDOR_VERSIONS);
    return 0;
}

/* SPDX-License-Identifier: Apache-2.0 */
/* cmd_gpu.c - gpu ls, drain, undrain, and what doctor says of GPUs */
#include "base/log.h"
#include "cli/top.h"
#include "gpu/cdi.h"
#include "gpu/drain.h"
#include "gpu/lease.h"

static int find(struct cli *c, struct gpu_set *s, struct err *e)
{
    if (cli_config(c, e) < 0 || gpu_find(c->cfg.run.gpu_root, s, e) < 0)
        return -1;
    drain_load(s, c->home);
    return 0;
}

const char *cli_gpu_state(const struct gpu_set *s, const struct gpu *g,
                          char text[GPU_TEXT_BYTES])
{
    lease_holder(s, g, text);
    if (text[0] && g->drained[0])
        return "draining";
    if (text[0])
        return "in use";
    (void)snprintf(text, GPU_TEXT_BYTES, "%s",
                   g->unusable[0] ? g->unusable : g->drained);
    return g->unusable[0] ? "unusable" : g->drained[0] ? "drained" : "free";
}

void cli_gpu_json(struct jw *w, const struct gpu *g, const char *state,
                  const char *text)
{
    jw_obj(w);
    jw_kstr(w, "id", g->id);
    jw_kstr(w, "name", g->name);
    jw_kstr(w, "vendor", gpu_vendor_name(g->vendor));
    jw_kstr(w, "model", g->model);
    jw_kstr(w, "pci", g->pci[0] ? g->pci : NULL);
    jw_key(w, "numa");
    if (g->numa >= 0)
        jw_i64(w, g->numa);
    else
        jw_null(w);
    jw_kstr(w, "state", state);
    jw_kstr(w, "reason", text[0] ? text : NULL);
    jw_kstr(w, "drained", g->drained[0] ? g->drained : NULL);
    jw_key(w, "nodes");
    jw_arr(w);
    for (size_t i = 0; i < g->n_nodes; i++)
        jw_strz(w, g->nodes[i].path);
    jw_end_arr(w);
    jw_end_obj(w);
}

int cmd_gpu_ls(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    struct gpu_set s = {0};
    struct err e = {0};
    struct table t;
    struct jw w;

    if (find(c, &s, &e) < 0)
        return cli_fail(&e);
    buf_init(&out, 0);
    jw_init(&w, &out);
    jw_obj(&w);
    jw_kstr(&w, "nvidia_driver", s.nvidia_driver[0] ? s.nvidia_driver : NULL);
    jw_key(&w, "gpus");
    jw_arr(&w);
    table_init(&t, 6, (const char *const[]){"GPU", "ID", "MODEL", "PCI", "STATE", ""});
    for (size_t i = 0; i < s.n; i++) {
        const struct gpu *g = &s.gpus[i];
        char text[GPU_TEXT_BYTES];
        const char *state = cli_gpu_state(&s, g, text);
        cli_gpu_json(&w, g, state, text);
        table_addf(&t, "%s:%s", gpu_vendor_name(g->vendor), g->name);
        table_add(&t, g->id);
        table_add(&t, g->model);
        table_add(&t, g->pci);
        table_add(&t, state);
        table_add(&t, text);
    }
    jw_end_arr(&w);
    jw_key(&w, "notes");
    jw_arr(&w);
    for (size_t i = 0; i < s.n_notes; i++)
        jw_strz(&w, s.notes[i]);
    jw_end_arr(&w);
    jw_end_obj(&w);
    for (size_t i = 0; !c->json && i < s.n_notes; i++)
        log_note("%s", s.notes[i]);
    if (c->json) {
        cli_out_json(&out);
        free(t.cells);
    } else {
        if (s.n)
            table_print(&t, stdout);
        else
            log_note("no GPU was found");
        if (s.nvidia_driver[0])
            (void)printf("NVIDIA driver %s\n", s.nvidia_driver);
    }
    gpu_set_done(&s);
    return 0;
}

int cmd_gpu_cdi(struct cli *c)
{
    AUTO_BUF struct buf out = {0};
    const char *vendor = opt_text(c, "vendor");
    struct gpu_set s = {0};
    enum gpu_vendor v = GPU_NVIDIA;
    struct err e = {0};
    int rc;

    if (find(c, &s, &e) < 0)
        return cli_fail(&e);
    if (vendor)
        while (v < GPU_CDI && strcmp(gpu_vendor_name(v), vendor) != 0)
            v++;
    for (size_t i = 0; !vendor && i < s.n; i++)
        if (!s.gpus[i].unusable[0] && s.gpus[i].vendor != GPU_CDI) {
            v = s.gpus[i].vendor;
            break;
        }
    buf_init(&out, 0);
    rc = cdi_write(&s, v, &out, &e);
    if (rc == 0)
        cli_out_json(&out);
    gpu_set_done(&s);
    return rc < 0 ? cli_fail(&e) : 0;
}

/* ---- draining ------------------------------------------------------------------- */

int cmd_gpu_drain(struct cli *c)
{
    const char *reason = opt_text(c, "message");
    struct gpu_set s = {0};
    struct err e = {0};
    struct gpu *g;
    int rc = -1;

    if (!reason || !*reason)
        return cli_fail(
            (err_set(&e, ERR_INPUT, "gpu drain wants a reason: -m TEXT"), &e));
    if (find(c, &s, &e) < 0)
        return cli_fail(&e);
    g = gpu_named(&s, c->args[0], &e);
    if (g && drain_put(&s, c->home, g->id, reason, &e) == 0) {
        log_note("%s is drained", g->id);
        rc = 0;
    }
    gpu_set_done(&s);
    return rc < 0 ? cli_fail(&e) : 0;
}

int cmd_gpu_undrain(struct cli *c)
{
    struct gpu_set s = {0};
    struct err e = {0};
    struct gpu *g;
    bool was = false;
    int rc = -1;

    if (find(c, &s, &e) < 0)
        return cli_fail(&e);
    g = gpu_named(&s, c->args[0], &e);
    /* a card that is gone can still be undrained, by its whole id */
    if (drain_remove(&s, c->home, g ? g->id : c->args[0], &was,
                     g ? &e : &(struct err){0}) == 0 &&
        (g || was)) {
        log_note(was ? "%s is given out again" : "%s was not drained",
                 g ? g->id : c->args[0]);
        rc = 0;
    }
    gpu_set_done(&s);
    return rc < 0 ? cli_fail(&e) : 0;
}

/* ---- doctor --------------------------------------------------------------------- */

const char *doctor_gpus(struct cli *c, struct table *t, struct jw *w)
{
    static const char *const remedy = "dugout gpu ls says what is wrong with each";
    struct gpu_set s = {0};
    struct err e = {0};
    char text[200];
    size_t ready = 0;
    const char *why = NULL;
    bool good;

    if (gpu_find(c->cfg.run.gpu_root, &s, &e) < 0) {
        (void)snprintf(text, sizeof text, "%.190s", e.text);
        good = false;
    } else {
        drain_load(&s, c->home);
        for (size_t i = 0; i < s.n; i++) {
            ready += gpu_ready(&s.gpus[i]);
            if (!gpu_ready(&s.gpus[i]) && !why)
                why = s.gpus[i].drained[0] ? s.gpus[i].drained : s.gpus[i].unusable;
        }
        good = ready || !s.n;
        if (!s.n)
            (void)snprintf(text, sizeof text, "none");
        else
            (void)snprintf(text, sizeof text, "%zu ready of %zu%s%s%s%.80s", ready, s.n,
                           s.nvidia_driver[0] ? ", NVIDIA driver " : "",
                           s.nvidia_driver, good ? "" : ": ", good ? "" : why);
    }
    table_add(t, good ? "ok" : "less");
    table_add(t, "gpus");
    table_add(t, text);
    jw_obj(w);
    jw_kstr(w, "name", "gpus");
    jw_kstr(w, "state", good ? "good" : "worse");
    jw_kstr(w, "value", text);
    jw_kstr(w, "remedy", good ? NULL : remedy);
    jw_end_obj(w);
    gpu_set_done(&s);
    return good ? NULL : remedy;
}

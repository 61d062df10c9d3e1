/* SPDX-License-Identifier: Apache-2.0 */
/* tell.c - what the view is told, and when
 *
 * "succeeded" on a screen is a promise: a kill or a power cut right after it must not take it
 * back. So what happens within a turn's transaction is written down with the state that the task
 * had then, and told in order once the commit is durable. When the commit fails nothing is told.
 */
#include <stdio.h>
#include <stdlib.h>

#include "base/clock.h"
#include "base/limits.h"
#include "run/engine.h"

struct held_event {
    struct run_event ev;
    struct task task; /* as it was; ev.task points here */
    char *text, *log_path;
};

static bool waits_for_commit(enum run_event_kind kind)
{
    return kind == RUN_EVENT_TASK || kind == RUN_EVENT_RETRY || kind == RUN_EVENT_NOTICE;
}

static void hold(struct engine *en, const struct run_event *ev)
{
    struct held_event *h;

    if (en->n_held == en->cap_held) {
        en->cap_held = en->cap_held ? en->cap_held * 2 : 64;
        en->held = xrealloc(en->held, en->cap_held * sizeof(*en->held));
    }
    h = &en->held[en->n_held++];
    *h = (struct held_event){.ev = *ev};
    if (ev->task)
        h->task = *ev->task;
    h->text = ev->text ? xstrdup(ev->text) : NULL;
    h->log_path = ev->log_path ? xstrdup(ev->log_path) : NULL;
}

void engine_event(struct engine *en, enum run_event_kind kind, const struct task *t,
                  const char *text)
{
    struct run_event ev = {.kind = kind,
                           .run_id = en->id,
                           .run_name = en->name,
                           .graph = &en->g,
                           .task = t,
                           .text = text};
    char path[LIMIT_PATH_BYTES];
    const struct job *j = t ? t->user : NULL;

    if (!en->view || !en->view->event)
        return;
    if (j) {
        ev.started_mono_ns = j->started_mono_ns;
        ev.attempt = j->attempts;
        if (j->started_mono_ns)
            ev.elapsed_ms = (clock_mono_ns() - j->started_mono_ns) / 1000000;
        if (j->rel) {
            snprintf(path, sizeof path, "%s/runs/%s/log", en->env->home, j->rel);
            ev.log_path = path;
        }
    }
    if (en->in_txn && waits_for_commit(kind))
        hold(en, &ev);
    else
        en->view->event(en->view->ctx, &ev);
}

static void forget(struct engine *en)
{
    for (size_t i = 0; i < en->n_held; i++) {
        free(en->held[i].text);
        free(en->held[i].log_path);
    }
    en->n_held = 0;
}

void events_tell(struct engine *en)
{
    for (size_t i = 0; i < en->n_held; i++) {
        struct held_event *h = &en->held[i];
        h->ev.task = h->ev.task ? &h->task : NULL;
        h->ev.text = h->text;
        h->ev.log_path = h->log_path;
        en->view->event(en->view->ctx, &h->ev);
    }
    forget(en);
}

void events_done(struct engine *en)
{
    forget(en);
    free(en->held);
}

void engine_notice(struct engine *en, const struct task *t, const char *fmt, ...)
{
    AUTO_BUF struct buf b = {0};
    va_list ap;

    buf_init(&b, LIMIT_LOG_LINE_BYTES);
    va_start(ap, fmt);
    buf_addvf(&b, fmt, ap);
    va_end(ap);
    engine_event(en, RUN_EVENT_NOTICE, t, buf_str(&b));
}

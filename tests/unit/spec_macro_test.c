/* SPDX-License-Identifier: Apache-2.0 */
/* Macros of run parameters: times in Go's and C's spelling, the run's id */
#include "t.h"

#include "base/mem.h"
#include "spec/macro.h"

/* Sunday 2026-03-08T09:05:07.050Z */
#define NOW_MS 1772960707050

static const struct macro_facts once = {.run_uuid = {"5b2e", 4},
                                        .current_unix_ms = NOW_MS};
static const struct macro_facts scheduled = {.run_uuid = {"5b2e", 4},
                                             .current_unix_ms = NOW_MS,
                                             .scheduled_unix_ms = NOW_MS - 7050,
                                             .index = 42};

struct row {
    const char *text, *want; /* NULL: stays as it is */
};

static void check_rows(const struct row *rows, size_t n, const struct macro_facts *f)
{
    for (size_t i = 0; i < n; i++) {
        AUTO_BUF struct buf out = {0};
        bool any;

        buf_init(&out, 0);
        any = macro_expand(str_of(rows[i].text), f, &out);
        CHECK_STR(buf_str(&out), rows[i].want ? rows[i].want : rows[i].text);
        CHECK_INT(any, rows[i].want != NULL);
    }
}

static void times_and_ids_are_filled_in(void)
{
    static const struct row rows[] = {
        {"", NULL},
        {"plain", NULL},
        {"[[RunUUID]]", "5b2e"},
        {"a/[[RunUUID]]/[[CurrentTime]].csv", "a/5b2e/20260308090507.csv"},
        {"[[CurrentTime.2006-01-02]]", "2026-03-08"},
        {"[[CurrentTime.2006-01-02T15:04:05.000Z07:00]]", "2026-03-08T09:05:07.050Z"},
        {"[[CurrentTime.Mon Jan _2 15:04:05 MST 2006]]",
         "Sun Mar  8 09:05:07 UTC 2026"},
        {"[[CurrentTime.Monday, January 2, 06]]", "Sunday, March 8, 26"},
        {"[[CurrentTime.3:04PM]]", "9:05AM"},
        {"[[CurrentTime.03:04pm]]", "09:05am"},
        {"[[CurrentTime.1/2 4:5]]", "3/8 5:7"},
        {"[[CurrentTime.002]] [[CurrentTime.__2]]", "067 067"},
        {"[[CurrentTime.05.999]] [[CurrentTime.05.00]]", "07.05 07.05"},
        {"[[CurrentTime.-07:00 -0700]]", "+00:00 +0000"},
        {"[[CurrentTime.Janet]]", "Janet"},
        {"{{$.currentTime.strftime('%Y-%m-%d')}}", "2026-03-08"},
        {"x{{$.currentTime.strftime(\"%H%M\")}}y", "x0905y"},
    };

    check_rows(rows, N_ELEMS(rows), &once);
}

static void what_is_no_macro_stays(void)
{
    static const struct row rows[] = {
        {"[[", NULL},
        {"[[1, 2], [3]]", NULL},
        {"[[CurrentTime", NULL},
        {"[[CurrentTimes]]", NULL},
        {"[[CurrentTime.]]", NULL},
        {"[[runuuid]]", NULL},
        {"{{$.currentTime.strftime('%Y'}}", NULL},
        {"{{$.currentTime.strftime()}}", NULL},
        {"{{$.inputs.parameters['x']}}", NULL},
        {"[[[[RunUUID]]", "[[5b2e"},
        /* no schedule started it */
        {"[[ScheduledTime]]", NULL},
        {"[[Index]]", NULL},
        {"{{$.scheduledTime.strftime('%Y')}}", NULL},
    };

    check_rows(rows, N_ELEMS(rows), &once);
}

static void a_schedule_has_a_time_and_an_index(void)
{
    static const struct row rows[] = {
        {"[[ScheduledTime]] [[Index]]", "20260308090500 42"},
        {"[[ScheduledTime.15:04]] [[CurrentTime.05]]", "09:05 07"},
        {"{{$.scheduledTime.strftime('%M')}}", "05"},
    };

    check_rows(rows, N_ELEMS(rows), &scheduled);
}

int main(void)
{
    times_and_ids_are_filled_in();
    what_is_no_macro_stays();
    a_schedule_has_a_time_and_an_index();
    return t_end();
}

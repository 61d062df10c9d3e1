/* SPDX-License-Identifier: Apache-2.0 */
/* sql.h - inside lineage/ only: statements that are kept, bound in order and read in
 * order
 *
 * A statement is a `static const char` beside its one function. It is prepared once a
 * connection and found again by its address. Values are bound one after the other,
 * columns read one after the other, so the order of the calls is the order in the text:
 *
 *     AUTO_Q struct q q = {0};
 *     if (q_open(&q, d, sql, e) < 0)
 *         return -1;
 *     q_i64(&q, run);
 *     while ((more = q_step(&q, e)) > 0)
 *         ids[n++] = q_get_i64(&q);
 *     return more;
 */
#ifndef LINEAGE_SQL_H
#define LINEAGE_SQL_H

#include <sqlite3.h>

#include "base/mem.h"
#include "lineage/db.h"

#define DB_STATEMENTS                                                                  \
    256 /* slots for kept statements; a power of two, half of them used */
#define DB_APPLICATION 0x6475676f

struct q_slot {
    const char *sql; /* the key: its address */
    sqlite3_stmt *st;
    bool busy;
};

struct db {
    sqlite3 *sql;
    char *path;       /* of the file */
    char *wlock_path; /* of the queue */
    char *ballast_path;
    int wlock_fd;     /* -1 until the first write */
    int pid;          /* that opened it */
    bool writable, in_txn, in_read;
    int sync; /* PRAGMA synchronous as it is now, -1 = not set yet */
    struct q_slot slots[DB_STATEMENTS];
};

struct q {
    struct db *d;
    sqlite3_stmt *st;
    struct q_slot *slot; /* NULL: finalized at the end */
    int n_bound, n_read;
    bool bad; /* a value was no digest */
};
#define AUTO_Q __attribute__((cleanup(q_done)))

/* q_open - sql must be a literal or static; q_open_text takes text built at run time */
int q_open(struct q *q, struct db *d, const char *sql, struct err *e);
int q_open_text(struct q *q, struct db *d, const char *sql, struct err *e);
void q_done(struct q *q);

void q_i64(struct q *q, int64_t v);
void q_id(struct q *q, int64_t id);     /* 0 -> NULL */
void q_known(struct q *q, int64_t v);   /* negative -> NULL */
void q_exit(struct q *q, int32_t code); /* DB_NO_EXIT -> NULL */
void q_real(struct q *q, double v);
void q_str(struct q *q, struct str s); /* empty -> NULL; bytes must live until q_done */
void q_text(struct q *q, struct str s); /* empty stays a text */
void q_state(struct q *q, enum db_state s);
void q_bytes32(struct q *q, const uint8_t *bytes);
/* q_hex - 64 hex digits -> 32 bytes, empty -> NULL. Anything else breaks the statement,
 * which q_step reports as ERR_INPUT */
void q_hex(struct q *q, struct str hex);
void q_null(struct q *q);

int q_step(struct q *q, struct err *e); /* 1 a row, 0 the end, -1 */
int q_run(struct q *q, struct err *e);  /* to the end, rows dropped: 0 or -1 */
int64_t q_changes(const struct q *q); /* rows that the statement just run has changed */
/* q_insert - q_run of an INSERT; the new row's id */
int q_insert(struct q *q, int64_t *id, struct err *e);
/* q_one - exactly the first row's first column as an id; *id 0 when there is no row */
int q_one(struct q *q, int64_t *id, struct err *e);

int64_t q_get_i64(struct q *q);   /* NULL -> 0 */
int64_t q_get_known(struct q *q); /* NULL -> -1 */
int32_t q_get_exit(struct q *q);  /* NULL -> DB_NO_EXIT */
bool q_get_bool(struct q *q);
struct str q_get_str(struct q *q); /* borrowed until the next step */
struct str q_get_str_in(struct arena *a, struct q *q);
enum db_state q_get_state(struct q *q);
void q_get_hex(struct q *q, char out[65]); /* NULL -> "" */
const uint8_t *q_get_bytes32(struct q *q); /* borrowed; NULL when it is none */

/* hex digits <-> bytes. hex_bytes reads the first 2n digits, false when they are none;
 * out of hex_of holds 2n + 1 bytes */
bool hex_bytes(struct str hex, uint8_t *out, size_t n);
void hex_of(const uint8_t *bytes, size_t n, char *out);
/* hex_range - the lowest and highest digest that begin with up to 64 hex digits */
bool hex_range(struct str prefix, uint8_t low[32], uint8_t high[32]);

/* db_err - what SQLite just said, as ours; `what` names the doing */
int db_err(struct db *d, int rc, const char *what, struct err *e);
/* db_exec - one or more statements without values */
int db_exec(struct db *d, const char *sql, struct err *e);

/* A schema text is a row of parts, each opened by a line "-- migration N", N counting
 * from 1. */
int schema_latest(const char *text);
/* schema_migrate - apply the parts that the file does not have yet, one transaction
 * each */
int schema_migrate(struct db *d, const char *text, struct err *e);

void ballast_drop(struct db *d); /* remove it when the disk is nearly full; cannot fail */

/* schema_look - version of the file, before anything is written: ERR_CORRUPT when it is
 * another program's, ERR_INPUT when it is over `latest` */
int schema_look(struct db *d, int latest, int64_t *have, struct err *e);
int schema_too_old(struct db *d, int have, int latest, struct err *e); /* ERR_INPUT */

/* pragma_i64 - the one number that a statement gives; 0 when it gives no row */
int pragma_i64(struct db *d, const char *sql, int64_t *out, struct err *e);

/* db_intern_image, db_intern_type ... - id of the row with that key, made when it is
 * not there */
int db_intern_image(struct db *d, struct str config_hex, int64_t *id, struct err *e);
int db_intern_pipeline(struct db *d, struct str name, int64_t now_unix_ms, int64_t *id,
                       struct err *e);
int db_intern_type(struct db *d, struct str name, int64_t *id, struct err *e);
int db_intern_doc(struct db *d, struct str hex, struct str text, int64_t *id,
                  struct err *e);

#endif

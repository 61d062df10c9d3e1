/* SPDX-License-Identifier: Apache-2.0 */
/* lineage_mlmd.c - the same questions to the same data in ML Metadata's schema
 *
 * The file is what `dugout export mlmd` makes of the record. Statements are as good as
 * its indexes allow: closures in the form with one look at Event a step, unless a name
 * says naive. What MLMD's own library does for a closure, a statement a level with
 * lists of ids, is not here: it would be slower than these.
 *
 * A statement counts, so that building rows in C is no part of the time; ours builds
 * them.
 */
#include "lineage/sql.h"
#include "lineage_bench.h"

#define TYPE(name) "(SELECT id FROM Type WHERE name = '" name "')"
#define T_MODEL TYPE("system.Model")
#define T_DATASET TYPE("system.Dataset")
#define T_METRICS TYPE("system.Metrics")
#define T_PIPELINE TYPE("system.Pipeline")
#define T_RUN TYPE("system.PipelineRun")
#define T_DAG TYPE("system.DAGExecution")
#define T_REF TYPE("dugout.Ref")
#define BIG "(SELECT id FROM Context WHERE type_id = " T_PIPELINE " AND name = 'big')"
#define FIRST_RUN "(SELECT min(id) FROM Context WHERE type_id = " T_RUN ")"
/* the recursive part of both closures, of a table w(k, id): k 0 an artifact, 1 a task
 */
#define UP                                                                             \
    " UNION SELECT 1, e.execution_id FROM w CROSS JOIN Event e WHERE w.k = 0"          \
    " AND e.artifact_id = w.id AND e.type IN (1, 4)"                                   \
    " UNION SELECT 0, e.artifact_id FROM w CROSS JOIN Event e WHERE w.k = 1"           \
    " AND e.execution_id = w.id AND e.type IN (2, 3)"
#define DOWN                                                                           \
    " UNION SELECT 1, e.execution_id FROM w CROSS JOIN Event e WHERE w.k = 0"          \
    " AND e.artifact_id = w.id AND e.type IN (2, 3)"                                   \
    " UNION SELECT 0, e.artifact_id FROM w CROSS JOIN Event e WHERE w.k = 1"           \
    " AND e.execution_id = w.id AND e.type IN (1, 4)"
#define LARGE_DATASET                                                                  \
    "SELECT 1 FROM w CROSS JOIN Artifact u ON u.id = w.id CROSS JOIN "                 \
    "ArtifactProperty p"                                                               \
    " ON p.artifact_id = u.id WHERE w.k = 0 AND u.type_id = " TYPE(                    \
        "system.Dataset") " AND p.name = 'rows' AND p.is_custom_property = 1 AND "     \
                          "p.double_value > 10000"

static size_t ask(struct db *m, const char *sql, int64_t number, struct str text)
{
    AUTO_Q struct q q = {0};
    int64_t n = 0;

    DO(q_open(&q, m, sql, &e));
    if (text.len)
        q_text(&q, text);
    else if (number)
        q_i64(&q, number);
    DO(q_one(&q, &n, &e));
    return (size_t)n;
}

static size_t ask_of(struct db *m, const char *sql, int64_t number)
{
    return ask(m, sql, number, (struct str){"", 0});
}

size_t mlmd_up(struct db *m, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE w(k, id) AS (SELECT 0, ?" UP ") SELECT count(*) FROM w";
    return ask_of(m, sql, data_first_output(data_spread(nth, UP_PLACE)));
}

size_t mlmd_up_ids(struct db *m, int nth)
{
    static const char sql[] = "WITH RECURSIVE w(k, id) AS (SELECT 0, ?" UP
                              ") SELECT count(*) FROM w WHERE k = 0";
    return ask_of(m, sql, data_first_output(data_spread(nth, UP_PLACE)));
}

size_t mlmd_down(struct db *m, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE w(k, id) AS (SELECT 0, ?" DOWN ") SELECT count(*) FROM w";
    return ask_of(m, sql, data_first_output(data_spread(nth, DOWN_PLACE)));
}

size_t mlmd_up_naive(struct db *m, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE w(id) AS (SELECT ? UNION SELECT i.artifact_id FROM w"
        " JOIN Event o ON o.artifact_id = w.id AND o.type IN (1, 4)"
        " JOIN Event i ON i.execution_id = o.execution_id AND i.type IN (2, 3))"
        " SELECT count(*) FROM w";
    return ask_of(m, sql, data_first_output(data_spread(nth, UP_PLACE)));
}

size_t mlmd_in_prod(struct db *m, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE start(id) AS (SELECT t.artifact_id FROM Context c"
        " CROSS JOIN Attribution t ON t.context_id = c.id"
        " CROSS JOIN Artifact a ON a.id = t.artifact_id WHERE c.type_id = " T_REF
        " AND c.name = '" DATA_TAG "' AND a.type_id = " T_MODEL "),"
        " w(k, id) AS (SELECT 0, id FROM start" UP ")"
        " SELECT count(*) FROM start WHERE "
        "EXISTS (" LARGE_DATASET ")";
    (void)nth;
    return ask_of(m, sql, 0);
}

size_t mlmd_wide(struct db *m, int nth)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT a.id FROM Artifact a WHERE a.type_id = " T_MODEL
        " AND EXISTS (WITH RECURSIVE w(k, id) AS (SELECT 0, a.id" UP ") " LARGE_DATASET
        ")"
        " ORDER BY a.id DESC LIMIT 50)";
    (void)nth;
    return ask_of(m, sql, 0);
}

size_t mlmd_rare(struct db *m, int nth)
{
    static const char sql[] =
        "WITH RECURSIVE w(k, id) AS (SELECT 0, p.artifact_id FROM ArtifactProperty p"
        " CROSS JOIN ArtifactProperty f ON f.artifact_id = p.artifact_id AND f.name = "
        "'f1'"
        " AND f.is_custom_property = 1 AND f.double_value > 0.95"
        " CROSS JOIN Artifact s ON s.id = p.artifact_id WHERE p.name = 'rows'"
        " AND p.is_custom_property = 1 AND p.double_value > 19990"
        " AND s.type_id = " T_DATASET DOWN ")"
        " SELECT count(*) FROM (SELECT a.id FROM w CROSS JOIN Artifact a ON a.id = w.id"
        " WHERE w.k = 0 AND a.type_id = " T_MODEL " ORDER BY a.id DESC LIMIT 50)";
    (void)nth;
    return ask_of(m, sql, 0);
}

size_t mlmd_leaders(struct db *m, int nth)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT a.id FROM ArtifactProperty p"
        " CROSS JOIN Artifact a ON a.id = p.artifact_id"
        " WHERE p.name = 'f1' AND p.is_custom_property = 1 AND p.double_value IS NOT "
        "NULL"
        " AND a.type_id = " T_METRICS " AND EXISTS (SELECT 1 FROM Attribution t"
        " WHERE t.context_id = " BIG " AND t.artifact_id = a.id)"
        " ORDER BY p.double_value DESC, a.id LIMIT 20)";
    (void)nth;
    return ask_of(m, sql, 0);
}

/* tasks of two runs side by side with parameters and image; ours compares inputs,
 * outputs, metrics and code, too */
size_t mlmd_diff(struct db *m, int nth)
{
    static const char sql[] =
        "WITH t(run, name, inputs, image) AS (SELECT c.id, n.string_value, "
        "i.string_value,"
        " g.string_value FROM Context c CROSS JOIN Association s ON s.context_id = c.id"
        " CROSS JOIN ExecutionProperty n ON n.execution_id = s.execution_id"
        " AND n.name = 'task_name' AND n.is_custom_property = 1 AND n.string_value <> "
        "''"
        " LEFT JOIN ExecutionProperty i ON i.execution_id = s.execution_id"
        " AND i.name = 'inputs' AND i.is_custom_property = 1"
        " LEFT JOIN ExecutionProperty g ON g.execution_id = s.execution_id"
        " AND g.name = 'image' AND g.is_custom_property = 1"
        " WHERE c.id BETWEEN " FIRST_RUN " + ?1 AND " FIRST_RUN " + ?1 + 1)"
        " SELECT count(*) FROM t a JOIN t b ON b.name = a.name AND b.run = a.run + 1"
        " WHERE a.inputs IS b.inputs OR a.image IS b.image";
    return ask_of(m, sql, nth);
}

size_t mlmd_cache(struct db *m, int nth)
{
    static const char sql[] =
        "SELECT count(*) > 0 FROM ExecutionProperty p CROSS JOIN Event e"
        " ON e.execution_id = p.execution_id AND e.type = 4 CROSS JOIN Artifact a"
        " ON a.id = e.artifact_id AND a.state = 2 WHERE p.name = 'cache_fingerprint'"
        " AND p.is_custom_property = 1 AND p.string_value = ?";
    char key[DIGEST_HEX];

    return ask(m, sql, 0,
               str_of(data_hex(data_key_no(data_spread(nth, UP_PLACE)), key)));
}

size_t mlmd_runs(struct db *m, int nth)
{
    static const char sql[] =
        "SELECT count(*) FROM (SELECT c.name, p.name, x.last_known_state FROM Context c"
        " CROSS JOIN ParentContext o ON o.context_id = c.id"
        " CROSS JOIN Context p ON p.id = o.parent_context_id"
        " CROSS JOIN Execution x ON x.type_id = " T_DAG
        " AND x.name = 'run/' || c.name WHERE c.type_id "
        "= " T_RUN " ORDER BY "
        "c.create_time_"
        "since_epoch DESC "
        "LIMIT 20)";
    (void)nth;
    return ask_of(m, sql, 0);
}

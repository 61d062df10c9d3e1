-- migration 6
--
-- The views for `dugout sql` are made by that command, in memory (src/assets/views.sql): in the file
-- they were a fifth of what it takes to open it.

DROP VIEW runs;
DROP VIEW tasks;
DROP VIEW inputs;
DROP VIEW outputs;
DROP VIEW parameters;
DROP VIEW properties;
DROP VIEW artifacts;
DROP VIEW images;
DROP VIEW tags;
DROP VIEW tag_log;
DROP VIEW revocations;

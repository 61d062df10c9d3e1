-- migration 3
--
-- Which GPUs an attempt was given: a JSON array of their ids, NULL when none.

ALTER TABLE attempt ADD COLUMN gpus TEXT;

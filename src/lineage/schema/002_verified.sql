-- migration 2
--
-- When the bytes behind a digest were last read and found right (fsck): a blob's own digest, or
-- the tree digest of a directory. No row: never since they were stored.

CREATE TABLE verified (
    digest BLOB PRIMARY KEY CHECK (length(digest) = 32),
    at_ms  INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

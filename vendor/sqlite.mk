# SQLite: the amalgamation that the npm package carries, without what one thread never needs. It
# reads only what we wrote, so the sanitized flavours leave it as it is: it would cost a minute.
sqlite_FILES := deps/sqlite3/sqlite3.c
sqlite_CFLAGS := -DSQLITE_DQS=0 -DSQLITE_THREADSAFE=0 -DSQLITE_DEFAULT_MEMSTATUS=0 \
    -DSQLITE_LIKE_DOESNT_MATCH_BLOBS -DSQLITE_OMIT_LOAD_EXTENSION -DSQLITE_OMIT_DEPRECATED \
    -DSQLITE_OMIT_SHARED_CACHE -DSQLITE_USE_ALLOCA -DHAVE_FDATASYNC=1 -fno-sanitize=all
sqlite_HEADERS := deps/sqlite3/sqlite3.h

# yyjson: JSON in and out, one file.
yyjson_FILES := src/yyjson.c
yyjson_HEADERS := src/yyjson.h

# libyaml: the scanner and parser whose events carry line and column.
libyaml_FILES := $(addprefix src/,api.c emitter.c parser.c reader.c scanner.c writer.c)
libyaml_CFLAGS := -I$(B)/src/libyaml/include -DYAML_VERSION_MAJOR=0 -DYAML_VERSION_MINOR=2 \
    -DYAML_VERSION_PATCH=5 -DYAML_VERSION_STRING='"0.2.5"'
libyaml_HEADERS := include/yaml.h

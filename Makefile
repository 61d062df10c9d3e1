# SPDX-License-Identifier: Apache-2.0
# Makefile - the whole build of dugout, read top to bottom
#
#   make            build/dugout: static, musl, from the sources that vendor/pins names
#   make test       what a change must pass: unit tests, fuzz seeds, layers, black-box tests
#   make demo       from a fresh machine to a trained model and its lineage
#
# One list of sources, built in flavours that differ in flags and C library:
#
#   ship    musl, -O2, static            build/dugout        what people get
#   ubsan   musl, traps on undefined     build/dugout-ubsan  what tests/cli may run too
#   test    glibc, ASan + UBSan          build/test/         what tests/unit links with
#   fuzz    clang, libFuzzer + both      build/fuzz/         make fuzz
#
# Nothing is generated outside build/. With a filled build/dl no network is needed.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:
.SUFFIXES:
SHELL := /bin/sh

B := build
ifeq ($(filter -j%,$(MAKEFLAGS)),)
MAKEFLAGS += -j$(shell nproc)
endif

CC := gcc
CLANG := clang
V ?=
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);) mkdir -p $(dir $(2));

WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wswitch-enum -Wvla \
    -Wmissing-prototypes -Werror=implicit-function-declaration \
    -Werror=incompatible-pointer-types
BASE_CFLAGS := -std=gnu17 -D_GNU_SOURCE= -Isrc -I$(B)/gen -isystem $(B)/include $(WARN) -g \
    -MMD -MP
SHIP_CFLAGS := $(BASE_CFLAGS) -idirafter $(B)/uapi -O2 -fno-pie -ffunction-sections \
    -fdata-sections -fstack-protector-strong -fno-omit-frame-pointer
SHIP_LDFLAGS := -static -no-pie -Wl,--gc-sections,-z,noexecstack,-z,relro,-z,now
UBSAN_CFLAGS := $(SHIP_CFLAGS) -fsanitize=undefined -fsanitize-undefined-trap-on-error
ASAN := -fsanitize=address,undefined -fno-sanitize-recover=all
TEST_CFLAGS := $(BASE_CFLAGS) -O1 -fno-pie -fno-omit-frame-pointer $(ASAN)
INIT_CFLAGS := $(BASE_CFLAGS) -idirafter $(B)/uapi -Os -fno-pie -ffunction-sections \
    -fdata-sections -fno-stack-protector -fno-asynchronous-unwind-tables

# ---- sources -------------------------------------------------------------------------------
# src/box/init.c is PID 1 of a box, a program of its own that the binary carries.
INIT := $(wildcard src/box/init.c)
SRC := $(filter-out src/box/init.c,$(wildcard src/*.c src/*/*.c)) $(wildcard src/*/*.S)
MODULES := $(sort $(foreach s,$(filter src/%,$(filter-out $(wildcard src/*.c),$(SRC))),\
    $(word 2,$(subst /, ,$(s)))))
obj = $(patsubst src/%,$(B)/$(1)/obj/%.o,$(basename $(2)))
MAIN := $(wildcard src/main.c)

# ---- vendored libraries --------------------------------------------------------------------
# vendor/NAME.mk says which files of the unpacked source make up lib NAME, with which flags and
# public headers; vendor/NAME.c is what is ours in it. Built twice: lib-ship (musl) and lib-test.
LIBS := sqlite yyjson libyaml libarchive zstd isal
PINNED := musl $(LIBS)
pin = $(shell awk '$$1 == "$(1)" { print $$$(2) }' vendor/pins)
LIB_CFLAGS := -std=gnu17 -D_GNU_SOURCE -O2 -g1 -w -fno-pie -ffunction-sections -fdata-sections
LIB_CFLAGS_TEST := -std=gnu17 -D_GNU_SOURCE -O1 -g1 -w -fno-pie
lib_of = $(firstword $(subst /, ,$(1)))

# The stamp has the archive's name, so a new pin unpacks and builds that library anew.
stamp = $(B)/src/$(1)/.$(call pin,$(1),3)
define unpacked
$(1)_STAMP := $(call stamp,$(1))
$(call stamp,$(1)):
	@vendor/fetch.sh $$(@F:.%=%)
	@echo "  UNPACK  $(1)"
	@rm -rf $$(@D) && mkdir -p $$(@D)
	@tar -xf $(B)/dl/$$(@F:.%=%) -C $$(@D) --strip-components=1 --no-same-owner && touch $$@
endef
$(foreach l,$(PINNED),$(eval $(call unpacked,$(l))))

include $(PINNED:%=vendor/%.mk)

define library
$$($(1)_FILES:%=$(B)/src/$(1)/%): $$($(1)_STAMP) ;
$(B)/lib-ship/$(1).a: $$(patsubst %,$(B)/lib-ship/$(1)/%.o,$$($(1)_FILES) $(wildcard vendor/$(1).c))
$(B)/lib-test/$(1).a: $$(patsubst %,$(B)/lib-test/$(1)/%.o,$$($(1)_FILES) $(wildcard vendor/$(1).c))
$(B)/lib-ship/$(1)/vendor/$(1).c.o $(B)/lib-test/$(1)/vendor/$(1).c.o: $(wildcard vendor/$(1).*) | $$($(1)_STAMP)
endef
$(foreach l,$(LIBS),$(eval $(call library,$(l))))

$(B)/lib-ship/%.c.o: $(B)/src/%.c $(MUSL_GCC)
	$(call say,CC,$@) $(MUSL_GCC) $(LIB_CFLAGS) $($(call lib_of,$*)_CFLAGS) -c -o $@ $<
$(B)/lib-ship/%.S.o: $(B)/src/%.S $(MUSL_GCC)
	$(call say,AS,$@) $(MUSL_GCC) $($(call lib_of,$*)_CFLAGS) -c -o $@ $<
$(B)/lib-test/%.c.o: $(B)/src/%.c
	$(call say,CC,$@) $(CC) $(LIB_CFLAGS_TEST) $($(call lib_of,$*)_CFLAGS) -c -o $@ $<
$(B)/lib-test/%.S.o: $(B)/src/%.S
	$(call say,AS,$@) $(CC) $($(call lib_of,$*)_CFLAGS) -c -o $@ $<
$(B)/lib-ship/%.asm.o $(B)/lib-test/%.asm.o: $(B)/src/%.asm
	$(call say,NASM,$@) nasm -f elf64 $(filter -I%,$($(call lib_of,$*)_CFLAGS)) \
	    $(addsuffix /,-I$(dir $<)) -o $@ $<
$(B)/lib-ship/%.c.o: $(MUSL_GCC)
	$(call say,CC,$@) $(MUSL_GCC) $(LIB_CFLAGS) $($(call lib_of,$*)_CFLAGS) -c -o $@ $(filter %.c,$^)
$(B)/lib-test/%.c.o:
	$(call say,CC,$@) $(CC) $(LIB_CFLAGS_TEST) $($(call lib_of,$*)_CFLAGS) -c -o $@ $(filter %.c,$^)
%.a:
	$(call say,AR,$@) rm -f $@ && ar rcs $@ $(filter %.o,$^)
SHIP_LIBS := $(LIBS:%=$(B)/lib-ship/%.a)
TEST_LIBS := $(LIBS:%=$(B)/lib-test/%.a)

# Public headers, and the kernel's, which musl-gcc does not see where the distribution has them.
HEADERS := $(B)/include/.done
$(HEADERS): $(foreach l,$(LIBS),$($(l)_STAMP) vendor/$(l).mk)
	@rm -rf $(@D) && mkdir -p $(@D)/isa-l
	@cp $(foreach l,$(filter-out isal,$(LIBS)),$($(l)_HEADERS:%=$(B)/src/$(l)/%)) $(@D)
	@cp $(isal_HEADERS:%=$(B)/src/isal/%) $(@D)/isa-l && touch $@
UAPI := $(B)/uapi/.done
$(UAPI):
	@rm -rf $(@D) && mkdir -p $(@D)
	@ln -s /usr/include/linux /usr/include/asm-generic $(@D)
	@for d in /usr/include/$$($(CC) -print-multiarch)/asm /usr/include/asm; do \
	    if [ -d $$d ]; then ln -s $$d $(@D)/asm && break; fi; done
	@touch $@

# ---- generated -----------------------------------------------------------------------------
ASSETS := $(B)/gen/shim.tar $(B)/gen/schema.sql $(B)/init-stub
GEN := $(B)/gen/version.h
.PHONY: FORCE
$(B)/gen/version.h: FORCE
	@mkdir -p $(@D) && release/version.sh >$@.tmp
	@if cmp -s $@.tmp $@; then rm $@.tmp; else mv $@.tmp $@; fi
$(B)/gen/shim.tar: $(shell find src/assets/shim ! -name '*.pyc' ! -name __pycache__ 2>/dev/null)
	$(call say,TAR,$@) if [ -d src/assets/shim ]; then tar -c -f $@ -C src/assets/shim \
	    --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 --numeric-owner \
	    --mode=u=rwX,go=rX --exclude=__pycache__ --exclude='*.pyc' --exclude=tests .; \
	    else : >$@; fi
$(B)/gen/schema.sql: $(sort $(wildcard src/lineage/schema/*.sql))
	$(call say,CAT,$@) cat /dev/null $(filter %.sql,$^) >$@
$(B)/init-stub: $(INIT) $(MUSL_GCC) | $(UAPI)
	$(call say,LD,$@) $(if $(INIT),$(MUSL_GCC) $(INIT_CFLAGS) -MF $(B)/init-stub.d \
	    $(SHIP_LDFLAGS) -s -o $@ $(INIT),: >$@)

# ---- ship and ubsan ------------------------------------------------------------------------
# The debug binary keeps its symbols; the shipped one is the same, stripped and checked.
$(B)/ship/obj/%.o: src/%.c $(MUSL_GCC) | $(HEADERS) $(UAPI) $(GEN)
	$(call say,CC,$@) $(MUSL_GCC) $(SHIP_CFLAGS) -c -o $@ $<
$(B)/ship/obj/%.o: src/%.S $(MUSL_GCC) $(ASSETS)
	$(call say,AS,$@) $(MUSL_GCC) -I$(B) -c -o $@ $<
$(B)/ubsan/obj/%.o: src/%.c $(MUSL_GCC) | $(HEADERS) $(UAPI) $(GEN)
	$(call say,CC,$@) $(MUSL_GCC) $(UBSAN_CFLAGS) -c -o $@ $<
$(B)/ubsan/obj/%.o: src/%.S $(MUSL_GCC) $(ASSETS)
	$(call say,AS,$@) $(MUSL_GCC) -I$(B) -c -o $@ $<

SRC_DIRS := $(wildcard src/*/)
$(B)/dugout.debug: $(call obj,ship,$(SRC)) $(SHIP_LIBS) $(SRC_DIRS)
	$(call say,LD,$@) $(MUSL_GCC) $(SHIP_LDFLAGS) -Wl,-Map=$(B)/dugout.map -o $@ $(filter %.o %.a,$^)
$(B)/dugout: $(B)/dugout.debug
	$(call say,STRIP,$@) strip -o $@.tmp $<
	@! readelf -lW $@.tmp | grep -q INTERP
	@test $$(stat -c %s $@.tmp) -le $$((4 << 20)) || { echo "$@ is over 4 MiB"; exit 1; }
	@mv $@.tmp $@
$(B)/dugout-ubsan: $(call obj,ubsan,$(SRC)) $(SHIP_LIBS) $(SRC_DIRS)
	$(call say,LD,$@) $(MUSL_GCC) $(SHIP_LDFLAGS) -o $@ $(filter %.o %.a,$^)

# ---- unit tests ----------------------------------------------------------------------------
# tests/unit/MODULE_FILE_test.c links with MODULE and what MODULE may use, by the table of
# tests/layers.sh: a call against the arrows does not link.
$(B)/test/obj/%.o: src/%.c | $(HEADERS) $(GEN)
	$(call say,CC,$@) $(CC) $(TEST_CFLAGS) -c -o $@ $<
$(B)/test/obj/%.o: src/%.S $(ASSETS)
	$(call say,AS,$@) $(CC) -I$(B) -c -o $@ $<
$(B)/test/unit/%.o: tests/unit/%.c | $(HEADERS) $(GEN)
	$(call say,CC,$@) $(CC) $(TEST_CFLAGS) -Itests/unit -c -o $@ $<

define module
$(B)/test/lib/$(1).a: $(call obj,test,$(filter src/$(1)/%,$(SRC))) src/$(1)/
endef
$(foreach m,$(MODULES),$(eval $(call module,$(m))))

UNIT := $(patsubst tests/unit/%.c,$(B)/test/%,$(wildcard tests/unit/*_test.c))
uses = $(filter $(shell tests/layers.sh --uses $(1)),$(MODULES))
define unit
$(1): $(1:$(B)/test/%=$(B)/test/unit/%.o) $(foreach m,$(call uses,$(firstword \
    $(subst _, ,$(notdir $(1))))),$(B)/test/lib/$(m).a) $(TEST_LIBS)
	$$(call say,LD,$$@) $(CC) -no-pie $(ASAN) -o $$@ $$(filter %.o,$$^) -Wl,--start-group \
	    $$(filter %.a,$$^) -Wl,--end-group -lm
endef
$(foreach u,$(UNIT),$(eval $(call unit,$(u))))

# ---- fuzz ----------------------------------------------------------------------------------
# A target is built twice: by clang to search, and by gcc with replay_main.c to run its seeds.
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_fuzz.c))
REPLAY := $(FUZZ:%=$(B)/test/replay/%)
FUZZ_CFLAGS := $(BASE_CFLAGS) -O1 -fno-pie -fsanitize=address,undefined,fuzzer-no-link
FUZZ_SRC := $(filter-out $(MAIN),$(filter src/%,$(SRC)))
$(B)/fuzz/obj/%.o: src/%.c | $(HEADERS) $(GEN)
	$(call say,CLANG,$@) $(CLANG) $(FUZZ_CFLAGS) -c -o $@ $<
$(B)/fuzz/obj/%.o: src/%.S $(ASSETS)
	$(call say,AS,$@) $(CC) -I$(B) -c -o $@ $<
$(B)/fuzz/unit/%.o: tests/fuzz/%.c | $(HEADERS) $(GEN)
	$(call say,CLANG,$@) $(CLANG) $(FUZZ_CFLAGS) -c -o $@ $<
$(B)/fuzz/fuzz.a: $(call obj,fuzz,$(FUZZ_SRC))
$(FUZZ:%=$(B)/fuzz/%): $(B)/fuzz/%: $(B)/fuzz/unit/%.o $(B)/fuzz/fuzz.a $(TEST_LIBS)
	$(call say,LD,$@) $(CLANG) -no-pie -fsanitize=address,undefined,fuzzer -o $@ $^ -lm
$(B)/test/unit/%.o: tests/fuzz/%.c | $(HEADERS) $(GEN)
	$(call say,CC,$@) $(CC) $(TEST_CFLAGS) -c -o $@ $<
$(REPLAY): $(B)/test/replay/%: $(B)/test/unit/%.o $(B)/test/unit/replay_main.o \
    $(MODULES:%=$(B)/test/lib/%.a) $(TEST_LIBS)
	$(call say,LD,$@) $(CC) -no-pie $(ASAN) -o $@ $(filter %.o,$^) -Wl,--start-group \
	    $(filter %.a,$^) -Wl,--end-group -lm

# ---- goals ---------------------------------------------------------------------------------
.PHONY: all cli-ubsan test-programs check cli test demo fuzz lint format bench release deps clean
all: $(if $(MAIN),$(B)/dugout)
cli-ubsan: $(B)/dugout-ubsan
test-programs: $(UNIT) $(REPLAY)
check: test-programs
	@tests/run.sh check
cli: all
	@tests/run.sh cli
fuzz: $(FUZZ:%=$(B)/fuzz/%)
# deps may install nasm and clang, which the lines above look for: so make starts afresh.
test:
	@vendor/deps.sh build test
	@$(MAKE) --no-print-directory all test-programs
	@tests/run.sh check cli
demo:
	@vendor/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@pipelines/demo.sh
bench: all
	@vendor/deps.sh bench
	@python3 tests/bench/bench.py
release: all
	@release/build.sh && release/check.sh
deps:
	@vendor/deps.sh build test bench
C_FILES := $(wildcard src/*.[ch] src/*/*.[ch] tests/unit/*.[ch] tests/fuzz/*.[ch] vendor/*.[ch])
lint: $(HEADERS) $(UAPI) $(GEN)
	clang-format --dry-run -Werror $(C_FILES)
	clang-tidy --quiet $(filter %.c,$(SRC)) $(INIT) -- $(filter-out -MMD -MP,$(BASE_CFLAGS))
format:
	clang-format -i $(C_FILES)
clean:
	rm -rf $(filter-out $(B)/dl,$(wildcard $(B)/*))

-include $(shell find $(B)/ship $(B)/ubsan $(B)/test $(B)/fuzz $(B)/init-stub.d -name '*.d' 2>/dev/null)

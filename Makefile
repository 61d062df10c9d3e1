# SPDX-License-Identifier: Apache-2.0
# Makefile - the whole build of dugout, read top to bottom
#
#   make            build/dugout: static, musl, from the sources that vendor/pins names
#   make test       what a change must pass: unit tests, fuzz seeds, layers, black-box tests
#   make demo       from a fresh machine to a trained model and its lineage
#
# One list of sources, built in flavours that differ in compiler and flags:
#
#   ship    musl, -O2, static            build/dugout        what people get
#   ubsan   musl, traps on undefined     build/dugout-ubsan  make cli-ubsan
#   test    glibc, ASan + UBSan          build/test/         what tests/unit links with
#   fuzz    clang, libFuzzer + both      build/fuzz/         make fuzz
#
# Everything made is below build/. With a filled build/dl no network is needed.

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SUFFIXES:
ifeq ($(MAKELEVEL)$(filter -j%,$(MAKEFLAGS)),0)
MAKEFLAGS += -j$(shell nproc)
endif

B := build
CC := gcc
CLANG := clang
# make V=1 shows the commands
say = $(if $(V),,@printf '  %-7s %s\n' $(1) $(2);) mkdir -p $(dir $(2));

include vendor/musl.mk
WARN := -Wall -Wextra -Wshadow -Wconversion -Wno-sign-conversion -Wswitch-enum -Wvla \
    -Wmissing-prototypes -Wno-format-truncation -Werror=implicit-function-declaration \
    -Werror=incompatible-pointer-types
CFLAGS_ALL := -std=gnu17 -D_GNU_SOURCE= -Isrc -Itests/unit -I$(B)/gen -isystem $(B)/include \
    $(WARN) -g -fno-pie -MMD -MP
CFLAGS_MUSL := $(CFLAGS_ALL) -idirafter $(B)/uapi -ffunction-sections -fdata-sections
LDFLAGS_MUSL := -static -no-pie -Wl,--gc-sections,--build-id=none,-z,noexecstack,-z,relro,-z,now
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all

ship_CC := $(MUSL_GCC) $(CFLAGS_MUSL) -O2 -fstack-protector-strong -fno-omit-frame-pointer
ubsan_CC := $(ship_CC) -fsanitize=undefined -fsanitize-undefined-trap-on-error
test_CC := $(CC) $(CFLAGS_ALL) -O1 -fno-omit-frame-pointer $(SANITIZE)
fuzz_CC := $(CLANG) $(CFLAGS_ALL) -Wno-unknown-warning-option -O1 -fno-omit-frame-pointer -fsanitize=fuzzer-no-link $(SANITIZE)
init_CC := $(MUSL_GCC) $(CFLAGS_MUSL) -Os -fno-asynchronous-unwind-tables
FLAVOURS := ship ubsan test fuzz

# ---- our sources ---------------------------------------------------------------------------
# src/box/init.c is PID 1 of a box, a program of its own that the binary carries.
INIT := $(wildcard src/box/init.c)
MAIN := $(wildcard src/main.c)
# HOT is what supervisors run: see src/run/cold.c.
HOT := $(filter-out src/run/cold.c,$(foreach m,base run box store,$(wildcard src/$(m)/*.c)))
SRC := $(filter-out $(INIT),$(wildcard src/*.c src/*/*.c src/*/*.S))
DIRS := $(wildcard src/*/)
MODULES := $(sort $(foreach s,$(filter-out $(MAIN),$(SRC)),$(word 2,$(subst /, ,$(s)))))
UNIT := $(patsubst tests/unit/%.c,$(B)/test/%,$(wildcard tests/unit/*_test.c))
FUZZ := $(patsubst tests/fuzz/%.c,%,$(wildcard tests/fuzz/*_fuzz.c))
REPLAY := $(FUZZ:%=$(B)/test/replay/%)
obj = $(patsubst %,$(B)/$(1)/obj/%.o,$(basename $(2)))

# ---- vendored libraries --------------------------------------------------------------------
# vendor/NAME.mk says which files of the unpacked source make up lib NAME, with which flags and
# public headers; vendor/NAME.c is what is ours in it; patches/NAME-*.patch go on top. Each is built
# for musl (lib-ship), for glibc with ASan where it reads foreign bytes (lib-test), and for make fuzz.
LIBS := sqlite yyjson libyaml libarchive zstd isa-l
include $(LIBS:%=vendor/%.mk)
lib_of = $(firstword $(subst /, ,$(1)))
lib_CC := -std=gnu17 -D_GNU_SOURCE -w -g1 -fno-pie -ffunction-sections -fdata-sections
LIB_FLAVOURS := lib-ship lib-test lib-fuzz
lib-ship_CC := $(MUSL_GCC) $(lib_CC) -O2
lib-test_CC := $(CC) $(lib_CC) -O1 -fsanitize=address
lib-fuzz_CC := $(CLANG) $(lib_CC) -O1 -fsanitize=address,fuzzer-no-link

# The stamp has the archive's name, so a new pin unpacks and builds that library anew.
define unpack
$(1)_STAMP := $(B)/src/$(1)/.$(shell awk '$$1 == "$(1)" { print $$3 }' vendor/pins)
$$($(1)_STAMP): $(wildcard vendor/patches/$(1)-*.patch)
	@vendor/fetch.sh $$(@F:.%=%)
	@echo "  UNPACK  $(1)"
	@rm -rf $$(@D) && mkdir -p $$(@D)
	@tar -xmf $(B)/dl/$$(@F:.%=%) -C $$(@D) --strip-components=1 --no-same-owner
	@for p in $$^; do patch -s -d $$(@D) -p1 <$$$$p || exit 1; done
	@touch $$@
endef
define library
$$($(1)_FILES:%=$(B)/src/$(1)/%): $$($(1)_STAMP) ;
$(if $(wildcard vendor/$(1).c),$(1)_FILES += ours.c)
$(B)/src/$(1)/ours.c: vendor/$(1).c $$($(1)_STAMP)
	@cp --remove-destination $$< $$@
$(foreach f,$(LIB_FLAVOURS),
$(B)/$(f)/$(1).a: $$($(1)_FILES:%=$(B)/$(f)/$(1)/%.o)
$$($(1)_FILES:%=$(B)/$(f)/$(1)/%.o): vendor/$(1).mk)
endef
define lib_flavour
$(B)/$(1)/%.c.o: $(B)/src/%.c $(2)
	$$(call say,CC,$$@) $$($(1)_CC) $$($$(call lib_of,$$*)_CFLAGS) -c -o $$@ $$<
$(B)/$(1)/%.S.o: $(B)/src/%.S $(2)
	$$(call say,AS,$$@) $$($(1)_CC) $$($$(call lib_of,$$*)_CFLAGS) -c -o $$@ $$<
$(B)/$(1)/%.asm.o: $(B)/src/%.asm
	$$(call say,NASM,$$@) nasm -f elf64 $$($$(call lib_of,$$*)_NASMFLAGS) -o $$@ $$<
endef
$(foreach l,musl $(LIBS),$(eval $(call unpack,$(l))))
$(foreach l,$(LIBS),$(eval $(call library,$(l))))
$(foreach f,$(LIB_FLAVOURS),$(eval $(call lib_flavour,$(f),$(filter $(MUSL_GCC),$($(f)_CC)))))
$(MUSL_GCC): $(musl_STAMP)

%.a:
	$(call say,AR,$@) rm -f $@.tmp && ar rcs $@.tmp $(filter %.o,$^) && mv $@.tmp $@
SHIP_LIBS := $(LIBS:%=$(B)/lib-ship/%.a)
TEST_LIBS := $(LIBS:%=$(B)/lib-test/%.a)
FUZZ_LIBS := $(LIBS:%=$(B)/lib-fuzz/%.a)

# Public headers, and the kernel's, which musl-gcc does not see where the distribution has them.
HEADERS := $(B)/include/.done $(B)/uapi/.done
$(B)/include/.done: $(foreach l,$(LIBS),$($(l)_STAMP) vendor/$(l).mk)
	@rm -rf $(@D) && mkdir -p $(@D)/isa-l
	@cp $(foreach l,$(filter-out isa-l,$(LIBS)),$($(l)_HEADERS:%=$(B)/src/$(l)/%)) $(@D)
	@cp $(isa-l_HEADERS:%=$(B)/src/isa-l/%) $(@D)/isa-l && touch $@
$(B)/uapi/.done:
	@rm -rf $(@D) && mkdir -p $(@D)
	@ln -s /usr/include/linux /usr/include/asm-generic $(@D)
	@for d in /usr/include/$$($(CC) -print-multiarch)/asm /usr/include/asm; do \
	    if [ -d $$d ]; then ln -s $$d $(@D)/asm && break; fi; done
	@touch $@

# ---- generated -----------------------------------------------------------------------------
ASSETS := $(B)/gen/shim.tar $(B)/gen/schema.sql $(B)/init-stub \
    src/assets/report.html src/assets/mlmd.sql src/assets/views.sql
SHIM := $(shell find src/assets/shim -name __pycache__ -prune -o -print 2>/dev/null)
.PHONY: FORCE
$(B)/gen/version.h: FORCE
	@mkdir -p $(@D) && release/version.sh >$@.tmp
	@if cmp -s $@.tmp $@; then rm $@.tmp; else mv $@.tmp $@; fi
$(B)/gen/shim.tar: $(SHIM)
	$(call say,TAR,$@) tar -c -f $@ --format=ustar --sort=name --mtime=@0 --owner=0 --group=0 \
	    --numeric-owner --mode=u=rwX,go=rX --exclude=__pycache__ --exclude='*.pyc' \
	    --exclude=tests $(if $(SHIM),-C src/assets/shim .,-T /dev/null)
$(B)/gen/schema.sql: $(sort $(wildcard src/lineage/schema/*.sql)) src/lineage/
	$(call say,CAT,$@) cat /dev/null $(filter %.sql,$^) >$@
$(B)/init-stub: $(INIT) $(MUSL_GCC) | $(HEADERS)
	$(call say,LD,$@) $(if $(INIT),$(init_CC) -MF $@.d -MT $@ $(LDFLAGS_MUSL) -s -o $@ $(INIT),: >$@)

# ---- objects -------------------------------------------------------------------------------
# An object is made anew when the command that makes it is another one.
define flavour
$(B)/$(1)/command: FORCE
	@mkdir -p $$(@D) && echo '$$($(1)_CC)' | cmp -s - $$@ || echo '$$($(1)_CC)' >$$@
$(B)/$(1)/obj/%.o: %.c $(B)/$(1)/command $(filter $(MUSL_GCC),$($(1)_CC)) | $(HEADERS) \
    $(B)/gen/version.h
	$$(call say,CC,$$@) $$($(1)_CC) -c -o $$@ $$<
$(B)/$(1)/obj/%.o: %.S $(ASSETS)
	$$(call say,AS,$$@) $(CC) -I$(B) -c -o $$@ $$<
endef
$(foreach f,$(FLAVOURS),$(eval $(call flavour,$(f))))

# ---- the binary ----------------------------------------------------------------------------
# The debug binary keeps its symbols; the shipped one is the same, stripped and checked. What
# supervisors run lies together at its beginning, with what these need of libc: src/run/cold.c.
$(B)/dugout.debug: $(call obj,ship,$(filter-out $(INIT),$(HOT))) $(B)/lib-ship/yyjson.a $(MUSL_LIBC) \
    $(call obj,ship,src/run/cold.c $(SRC)) $(SHIP_LIBS) $(DIRS)
	$(call say,LD,$@) $(MUSL_GCC) $(LDFLAGS_MUSL) -Wl,-Map=$(B)/dugout.map -o $@ \
	    $(filter %.o %.a,$^)
$(B)/dugout: $(B)/dugout.debug
	$(call say,STRIP,$@) strip -o $@.tmp $<
	@! readelf -lW $@.tmp | grep -q INTERP
	@test $$(stat -c %s $@.tmp) -le $$((4 << 20)) || { echo "$@ is over 4 MiB"; exit 1; }
	@mv $@.tmp $@
$(B)/dugout-ubsan: $(call obj,ubsan,$(SRC)) $(SHIP_LIBS) $(DIRS)
	$(call say,LD,$@) $(MUSL_GCC) $(LDFLAGS_MUSL) -o $@ $(filter %.o %.a,$^)

# Programs that make bench runs: parts of the binary alone, as it is shipped.
BENCHES := $(B)/ingest_bench $(B)/lineage_bench
$(BENCHES): $(B)/%_bench: $(call obj,ship,$(filter-out $(MAIN),$(SRC))) $(SHIP_LIBS)
	$(call say,LD,$@) $(MUSL_GCC) $(LDFLAGS_MUSL) -o $@ $(filter %.o %.a,$^)
$(B)/ingest_bench: $(call obj,ship,tests/bench/ingest_bench.c)
$(B)/lineage_bench: $(call obj,ship,$(wildcard tests/bench/lineage_*.c))

# ---- unit tests ----------------------------------------------------------------------------
# tests/unit/MODULE_FILE_test.c links with MODULE and what MODULE may use, by the table of
# tests/layers.sh: a call against the arrows does not link.
TEST_LD = $(CC) -no-pie $(SANITIZE) -o $@ $(filter %.o,$^) -Wl,--start-group $(filter %.a,$^) \
    -Wl,--end-group -lm
module_of = $(firstword $(subst _, ,$(notdir $(1))))
define module
$(B)/test/lib/$(1).a: $(call obj,test,$(filter src/$(1)/%,$(SRC))) src/$(1)/
uses_$(1) := $(filter $(shell tests/layers.sh --uses $(1)),$(MODULES))
endef
uses_vendor := base# vendor/isa-l.c asks base/cpu.h
define unit
$(1): $(call obj,test,tests/unit/$(notdir $(1)).c) $(TEST_LIBS) \
    $(patsubst %,$(B)/test/lib/%.a,$(if $(filter $(call module_of,$(1)),$(MODULES) vendor),\
    $(uses_$(call module_of,$(1))),$(MODULES)))
	$$(call say,LD,$$@) $$(TEST_LD)
endef
$(foreach m,$(MODULES),$(eval $(call module,$(m))))
$(foreach u,$(UNIT),$(eval $(call unit,$(u))))

# ---- fuzz ----------------------------------------------------------------------------------
# A target is built twice: by clang to search, and by gcc with replay_main.c to run its seeds.
$(REPLAY): $(B)/test/replay/%: $(call obj,test,tests/fuzz/%.c tests/fuzz/replay_main.c) \
    $(MODULES:%=$(B)/test/lib/%.a) $(TEST_LIBS)
	$(call say,LD,$@) $(TEST_LD)
$(B)/fuzz/fuzz.a: $(call obj,fuzz,$(filter-out $(MAIN),$(SRC)))
$(FUZZ:%=$(B)/fuzz/%): $(B)/fuzz/%: $(call obj,fuzz,tests/fuzz/%.c) $(B)/fuzz/fuzz.a $(FUZZ_LIBS)
	$(call say,LD,$@) $(CLANG) -no-pie -fsanitize=address,undefined,fuzzer -o $@ \
	    -Wl,--start-group $^ -Wl,--end-group -lm

# ---- goals ---------------------------------------------------------------------------------
.PHONY: all check cli cli-ubsan kills mutants test-programs fuzz fuzz-run fuzz-seeds test demo bench release deps lint format clean
all: $(if $(MAIN),$(B)/dugout)
test-programs: $(UNIT) $(REPLAY)
check: test-programs
	@tests/run.sh check
cli: all
	@tests/run.sh cli
cli-ubsan: $(B)/dugout-ubsan
	@DUGOUT_BIN=$(abspath $<) tests/run.sh cli
kills: all
	@DUGOUT_KILLS=$${DUGOUT_KILLS:-1000} PYTEST_ARGS="-s -k random_instants" tests/run.sh cli
mutants: all
	@python3 tests/mutants.py $(CASES)
fuzz:
	@vendor/deps.sh build fuzz
	@$(MAKE) --no-print-directory $(FUZZ:%=$(B)/fuzz/%)
fuzz-run: fuzz
	@tests/fuzz/run.sh $(or $(SECONDS),60) $(TARGETS)
fuzz-seeds: fuzz
	@tests/fuzz/seeds.sh $(TARGETS)
# deps may install what the lines above look for, so make then starts afresh.
test:
	@vendor/deps.sh build test
	@$(MAKE) --no-print-directory all test-programs
	@tests/run.sh check cli
demo:
	@vendor/deps.sh build demo
	@$(MAKE) --no-print-directory all
	@pipelines/demo.sh
bench: all $(BENCHES)
	@vendor/deps.sh bench
	@python3 tests/bench/bench.py
release: all
	@release/build.sh && release/check.sh
deps:
	@vendor/deps.sh build test bench fuzz lint
lint: $(HEADERS) $(B)/gen/version.h
	printf '%s\n' $(filter %.c,$(SRC)) $(INIT) | xargs -P$(shell nproc) -I{} \
	    clang-tidy --quiet --warnings-as-errors='*' {} -- $(filter-out -MMD -MP -W%,$(CFLAGS_ALL))
# Of the lines that differ from the last commit: a formatter has no eye for drawings and for
# comments in columns, so what was laid out by hand stays.
format:
	git clang-format --force --extensions c,h
clean:
	rm -rf $(filter-out $(B)/dl,$(wildcard $(B)/*))

-include $(shell find $(FLAVOURS:%=$(B)/%) $(B)/*.d -name '*.d' 2>/dev/null)

# musl: the C library of the shipped binary. musl-gcc is gcc with musl's headers and crt files.
# Its own configure and make build it, in half a minute.
MUSL_GCC := $(B)/musl/bin/musl-gcc
MUSL_LIBC := $(B)/musl/lib/libc.a

$(MUSL_GCC): vendor/musl.mk
	@echo "  MUSL    $@"
	@mkdir -p $(B)/musl-obj
	@cd $(B)/musl-obj && ../src/musl/configure --prefix=$(abspath $(B)/musl) --disable-shared \
	    --enable-wrapper=gcc CC="$(CC)" CFLAGS="-O2 -ffunction-sections -fdata-sections" \
	    >configure.log 2>&1 || { tail -n 20 configure.log; exit 1; }
	+@$(MAKE) -s -C $(B)/musl-obj install >$(B)/musl-obj/build.log 2>&1 || \
	    { tail -n 20 $(B)/musl-obj/build.log; exit 1; }
	@touch $@
$(MUSL_LIBC): | $(MUSL_GCC) ;

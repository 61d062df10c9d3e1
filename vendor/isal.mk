# isa-l: igzip's inflate. With nasm on x86-64 its assembly, else its portable C; which routine
# runs is chosen in isal_dispatch.c.
isal_FILES := igzip/igzip_inflate.c igzip/adler32_base.c crc/crc_base.c
isal_CFLAGS := -I$(B)/src/isal/include -I$(B)/src/isal/igzip
isal_EXTRA := isal/dispatch.o
isal_HEADERS := $(addprefix include/,igzip_lib.h crc.h)
ifneq ($(and $(filter x86_64,$(shell uname -m)),$(shell command -v nasm)),)
isal_FILES += igzip/igzip_decode_block_stateless_01.asm igzip/igzip_decode_block_stateless_04.asm \
    crc/crc32_gzip_refl_by8.asm crc/crc32_gzip_refl_by8_02.asm
isal_CFLAGS += -DISAL_ASM
endif

$(B)/lib-ship/isal/dispatch.o: vendor/isal_dispatch.c $(isal_STAMP) $(MUSL_GCC)
	$(call say,CC,$@) $(MUSL_GCC) $(LIB_CFLAGS) $(isal_CFLAGS) -c -o $@ $<
$(B)/lib-test/isal/dispatch.o: vendor/isal_dispatch.c $(isal_STAMP)
	$(call say,CC,$@) $(CC) $(LIB_CFLAGS_TEST) $(isal_CFLAGS) -c -o $@ $<

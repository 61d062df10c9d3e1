# isa-l: igzip's inflate. With nasm on x86-64 its assembly, else its portable C; which routine
# runs is chosen in vendor/isal.c.
isal_FILES := igzip/igzip_inflate.c igzip/adler32_base.c igzip/hufftables_c.c crc/crc_base.c
isal_CFLAGS := -I$(B)/src/isal/include -I$(B)/src/isal/igzip
isal_NASMFLAGS := -I$(B)/src/isal/include/ -I$(B)/src/isal/igzip/
isal_HEADERS := include/igzip_lib.h include/crc.h
ifneq ($(and $(filter x86_64,$(shell uname -m)),$(shell command -v nasm)),)
isal_FILES += $(addprefix igzip/,igzip_decode_block_stateless_01.asm \
    igzip_decode_block_stateless_04.asm rfc1951_lookup.asm) \
    $(addprefix crc/,crc32_gzip_refl_by8.asm crc32_gzip_refl_by8_02.asm)
isal_CFLAGS += -DISAL_ASM
endif

# isa-l: igzip's inflate. With nasm on x86-64 its assembly, else its portable C; which routine
# runs is chosen in vendor/isa-l.c.
isa-l_FILES := igzip/igzip_inflate.c igzip/adler32_base.c igzip/hufftables_c.c crc/crc_base.c
isa-l_CFLAGS := -Isrc -I$(B)/src/isa-l/include -I$(B)/src/isa-l/igzip
isa-l_NASMFLAGS := -I$(B)/src/isa-l/include/ -I$(B)/src/isa-l/igzip/
isa-l_HEADERS := include/igzip_lib.h include/crc.h
ifneq ($(and $(filter x86_64,$(shell uname -m)),$(shell command -v nasm)),)
isa-l_FILES += $(addprefix igzip/,igzip_decode_block_stateless_01.asm \
    igzip_decode_block_stateless_04.asm rfc1951_lookup.asm) \
    $(addprefix crc/,crc32_gzip_refl_by8.asm crc32_gzip_refl_by8_02.asm)
isa-l_CFLAGS += -DISAL_ASM
endif

# zstd: decompression of layers, and the compressor for archives that we write. One thread.
zstd_FILES := $(addprefix lib/common/,entropy_common.c error_private.c fse_decompress.c \
    xxhash.c zstd_common.c) \
    $(addprefix lib/decompress/,huf_decompress.c zstd_ddict.c zstd_decompress.c \
    zstd_decompress_block.c) \
    $(addprefix lib/compress/,fse_compress.c hist.c huf_compress.c zstd_compress.c \
    zstd_compress_literals.c zstd_compress_sequences.c zstd_compress_superblock.c \
    zstd_double_fast.c zstd_fast.c zstd_lazy.c zstd_ldm.c zstd_opt.c zstd_preSplit.c)
ifeq ($(shell uname -m),x86_64)
zstd_FILES += lib/decompress/huf_decompress_amd64.S
endif
zstd_CFLAGS := -DXXH_NAMESPACE=ZSTD_ -DZSTD_LEGACY_SUPPORT=0 -DDEBUGLEVEL=0
zstd_HEADERS := lib/zstd.h lib/zstd_errors.h

# libarchive: reads tar (ustar, pax, GNU), writes pax and ustar; the bytes come and go by callback.
libarchive_FILES := $(addprefix libarchive/archive_,$(addsuffix .c, \
    acl check_magic entry entry_copy_stat entry_sparse entry_stat entry_strmode entry_xattr \
    options pack_dev rb read read_open_fd read_open_memory read_set_format read_set_options \
    read_support_filter_none read_support_format_tar string string_sprintf util virtual \
    write write_add_filter_none write_open_fd write_open_memory write_set_format_gnutar \
    write_set_format_pax write_set_format_ustar write_set_options))
libarchive_CFLAGS := -Ivendor -I$(B)/src/libarchive/libarchive -DPLATFORM_CONFIG_H='"libarchive.config.h"'
libarchive_HEADERS := libarchive/archive.h libarchive/archive_entry.h

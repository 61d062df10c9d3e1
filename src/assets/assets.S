/* SPDX-License-Identifier: Apache-2.0 */
/* assets.S - the files that the binary carries, between NAME_start and NAME_end */

    .macro asset name, file
    .balign 16
    .global asset_\name\()_start, asset_\name\()_end
asset_\name\()_start:
    .incbin "\file"
asset_\name\()_end:
    .byte 0
    .endm

    .section .rodata.assets, "a", %progbits
    asset init, "init-stub"
    asset shim, "gen/shim.tar"
    asset schema, "gen/schema.sql"
    asset views, "src/assets/views.sql"
    asset mlmd, "src/assets/mlmd.sql"
    asset report, "src/assets/report.html"

    .section .note.GNU-stack, "", %progbits

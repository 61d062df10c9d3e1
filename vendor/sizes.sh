#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sizes.sh - what each library and each module takes in build/dugout, in KiB, from the link map
set -eu
cd "$(dirname "$0")/.."

awk '
/^Linker script and memory map/ { kept = 1 }
!kept { next }
# " .text.name  0xADDRESS  0xSIZE  FILE", where a long name has a line of its own
/^ [.a-zA-Z_][^ ]*$/ { section = $1; next }
/^ +0x[0-9a-f]+ +0x[0-9a-f]+ [^ ]/ && section != "" { add(section, $2, $3); section = ""; next }
/^ [.a-zA-Z_][^ ]* +0x[0-9a-f]+ +0x[0-9a-f]+ [^ ]/ { add($1, $3, $4) }
{ section = "" }

function add(section, size, file) {
    # Only what is in the stripped file: no debug information, nothing that is zero at start.
    if (section !~ /^\.(text|rodata|data|eh_frame|init|fini|tdata|ctors|gcc_except_table)/)
        return
    if (file ~ /lib-ship\//) { sub(/.*lib-ship\//, "", file); sub(/\.a\(.*/, "", file) }
    else if (file ~ /\/musl\//) file = "musl"
    else if (file ~ /libgcc/) file = "libgcc"
    else if (file ~ /obj\/src\/[a-z]+\//) { sub(/.*obj\/src\//, "src/", file); sub(/\/[^\/]*$/, "", file) }
    else if (file ~ /obj\/src\//) file = "src"
    else file = "other"
    total[file] += hex(size); all += hex(size)
}
function hex(s,   i, n) {
    n = 0
    s = substr(s, 3)
    for (i = 1; i <= length(s); i++) n = n * 16 + index("0123456789abcdef", substr(s, i, 1)) - 1
    return n
}
END {
    for (f in total) printf "%8.1f  %s\n", total[f] / 1024, f | "sort -rn"
    close("sort -rn")
    printf "%8.1f  all\n", all / 1024
}' build/dugout.map

#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# sbom.sh VERSION COMMIT - print the bill of materials, CycloneDX 1.5 in JSON
#
# Its facts are those of vendor/pins: what was linked in, by which archive (SHA-256), under
# which licence, with which patches on top. $SOURCE_DATE_EPOCH is the time it bears.
set -eu
cd "$(dirname "$0")/.."

patches=$(ls vendor/patches)
awk -v version="$1" -v commit="$2" -v patches="$patches" \
    -v time="$(date -u -d "@${SOURCE_DATE_EPOCH:-0}" +%Y-%m-%dT%H:%M:%SZ)" '
BEGIN {
    n_patches = split(patches, patch, "\n")
    print "{\n  \"bomFormat\": \"CycloneDX\",\n  \"specVersion\": \"1.5\",\n  \"version\": 1,"
    print "  \"metadata\": {"
    print "    \"timestamp\": \"" time "\","
    print "    \"component\": {"
    print "      \"type\": \"application\","
    print "      \"bom-ref\": \"dugout\","
    print "      \"name\": \"dugout\","
    print "      \"version\": \"" version "\","
    print "      \"licenses\": [{\"license\": {\"id\": \"Apache-2.0\"}}],"
    print "      \"properties\": [{\"name\": \"dugout:commit\", \"value\": \"" commit "\"}]"
    print "    }\n  },\n  \"components\": ["
}
/^#/ || !NF { next }
{
    if (n++) print ","
    refs = refs (refs ? ", " : "") "\"" $1 "\""
    print "    {"
    print "      \"type\": \"library\","
    print "      \"bom-ref\": \"" $1 "\","
    print "      \"name\": \"" $1 "\","
    print "      \"version\": \"" $2 "\","
    print "      \"purl\": \"pkg:generic/" $1 "@" $2 "\","
    print "      \"licenses\": [{\"license\": {\"id\": \"" $5 "\"}}],"
    print "      \"hashes\": [{\"alg\": \"SHA-256\", \"content\": \"" $4 "\"}],"
    pedigree($1)
    printf "      \"properties\": [{\"name\": \"dugout:archive\", \"value\": \"%s\"}]\n    }", $3
}
function pedigree(name,   i, list) {
    for (i = 1; i <= n_patches; i++)
        if (index(patch[i], name "-") == 1)
            list = list (list ? ", " : "") "{\"type\": \"unofficial\", \"diff\": {\"url\": \"vendor/patches/" patch[i] "\"}}"
    if (list)
        print "      \"pedigree\": {\"patches\": [" list "]},"
}
END {
    print "\n  ],\n  \"dependencies\": [{\"ref\": \"dugout\", \"dependsOn\": [" refs "]}]\n}"
}' vendor/pins

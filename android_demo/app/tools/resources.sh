#!/bin/sh
# Compiles res/ and the manifest: R.java for the sources, resources.ap_ for the tests and the APK.
# usage: resources.sh AAPT2 ANDROID_JAR BUILD_FOLDER
set -eu
cd "$(dirname "$0")/.."
build=$3
rm -rf "$build/generated-sources/r"
mkdir -p "$build/generated-sources/r"
# Gradle keeps the package out of the manifest, and aapt2 wants it there; Debian's (of Android 10)
# does not know <property>.
sed -e "s|<manifest |<manifest package=\"ai.lfm.edge.app\" |" -e "/<property /d" src/main/AndroidManifest.xml > "$build/AndroidManifest.xml"
"$1" compile --dir src/main/res -o "$build/res.zip"
"$1" link -I "$2" --manifest "$build/AndroidManifest.xml" --java "$build/generated-sources/r" \
  --min-sdk-version 26 --target-sdk-version 34 --version-code 1 --version-name 1.0 \
  --auto-add-overlay -o "$build/resources.ap_" "$build/res.zip"

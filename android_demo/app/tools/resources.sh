#!/bin/sh
# Compiles res/ and the manifest: R.java for the sources, resources.ap_ for the tests and the APK.
# usage: resources.sh AAPT2 ANDROID_JAR BUILD_FOLDER
set -eu
cd "$(dirname "$0")/.."
build=$3
rm -rf "$build/generated-sources/r"
mkdir -p "$build/generated-sources/r"
"$1" compile --dir src/main/res -o "$build/res.zip"
"$1" link -I "$2" --manifest src/main/AndroidManifest.xml --java "$build/generated-sources/r" \
  --min-sdk-version 26 --target-sdk-version 34 --version-code 1 --version-name 1.0 \
  --auto-add-overlay -o "$build/resources.ap_" "$build/res.zip"

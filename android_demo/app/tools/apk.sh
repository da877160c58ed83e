#!/bin/sh
# Assembles and signs an APK of the app's classes and resources; it holds no native code.
# usage: apk.sh ANDROID_JAR BUILD_FOLDER   (BUILD_FOLDER/apk: r8.jar, and libs/ with the libraries)
set -eu
android=$1 build=$2 out=$2/apk
classes=$out/classes.jar
rm -f "$out"/*.dex "$out"/*.apk "$classes"
(cd "$build/classes" && jar cf "$classes" .)
# D8 warns that the framework's jar has no java.lang.Object; nothing here is desugared by it.
java -Xmx1g -cp "$out/r8.jar" com.android.tools.r8.D8 --release --min-api 26 --lib "$android" \
  --output "$out" "$classes" "$out"/libs/*.jar
cp "$build/resources.ap_" "$out/unaligned.apk"
(cd "$out" && jar uf unaligned.apk classes*.dex)
zipalign -p 4 "$out/unaligned.apk" "$out/aligned.apk"
[ -f "$out/debug.keystore" ] || keytool -genkeypair -keystore "$out/debug.keystore" -alias debug \
  -storepass android -keypass android -keyalg RSA -validity 10000 -dname CN=Debug
apksigner sign --ks "$out/debug.keystore" --ks-pass pass:android --out "$out/app.apk" "$out/aligned.apk"
rm "$out/unaligned.apk" "$out/aligned.apk"
echo "$out/app.apk"

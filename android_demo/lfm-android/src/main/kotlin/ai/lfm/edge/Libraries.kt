package ai.lfm.edge

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption

private const val IN_JAR = "/ai/onnxruntime/native"

/** Loads the library's own native code, and ONNX Runtime where it comes in a jar. */
internal fun loadLibraries() {
    System.loadLibrary("lfm_android")
    if (!onAndroid()) onnxRuntimeOfClassPath()
}

private fun onAndroid() = System.getProperty("java.vm.name") == "Dalvik"

/**
 * Loads ONNX Runtime from the jar of `com.microsoft.onnxruntime:onnxruntime`, if it is in the class
 * path: from a copy, since no system loads a library out of a jar.
 */
private fun onnxRuntimeOfClassPath() {
    val name = System.mapLibraryName("onnxruntime")
    val stream = Native::class.java.getResourceAsStream("$IN_JAR/${platform()}/$name") ?: return
    val copy = File.createTempFile("lfm-edge-", "-$name")
    try {
        stream.use { Files.copy(it, copy.toPath(), StandardCopyOption.REPLACE_EXISTING) }
        Native.useOnnxRuntime(utf8(copy.path))
    } catch (error: IOException) {
        throw BundleError("ONNX Runtime cannot be copied out of its jar to $copy: ${error.message}")
    } finally {
        copy.delete() // A loaded library stays loaded without its name.
    }
}

/** As that jar names it, such as "linux-x64". */
private fun platform(): String {
    val system = System.getProperty("os.name").lowercase()
    val os = if (system.startsWith("mac")) "osx" else system.substringBefore(' ')
    val arch = System.getProperty("os.arch")
    return "$os-" + if (arch == "amd64" || arch == "x86_64") "x64" else arch
}

package ai.lfm.edge

import java.io.File
import java.io.IOException
import java.nio.file.Files
import java.nio.file.StandardCopyOption

private const val IN_JAR = "/ai/onnxruntime/native"

/**
 * Where ONNX Runtime comes from: what the app says, or the jar of
 * `com.microsoft.onnxruntime:onnxruntime` on a JVM, or the system's search. On Android its library
 * lies with the app's own, where the system searches.
 */
internal object OnnxRuntime {
    private var settled = false

    @Synchronized
    fun use(library: File) {
        Native.useOnnxRuntime(line(library.path))
        settled = true
    }

    /** To be called before the core needs it. */
    @Synchronized
    fun settle() {
        if (!settled && System.getProperty("java.vm.name") != "Dalvik") useClassPath()
        settled = true
    }

    /** By a copy, since no system loads a library out of a jar. */
    private fun useClassPath() {
        val name = System.mapLibraryName("onnxruntime")
        val stream = javaClass.getResourceAsStream("$IN_JAR/${platform()}/$name") ?: return
        val copy = File.createTempFile("lfm-edge-", "-$name")
        try {
            stream.use { Files.copy(it, copy.toPath(), StandardCopyOption.REPLACE_EXISTING) }
            use(copy)
        } catch (error: IOException) {
            throw BundleError("ONNX Runtime does not come out of its jar to $copy: ${error.message}")
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
}

package ai.lfm.edge

import java.io.File

/** The library itself. */
public object Lfm {
    /** The version of the core, "major.minor". */
    public val version: String get() = Native.version().decodeToString()

    /** How many models, sessions, conversations, answers and samplers are open: 0 where nothing leaks. */
    public val openHandles: Long get() = Native.openHandles()

    /**
     * Where ONNX Runtime's library lies; to be called before the first model is loaded.
     *
     * Not needed on Android, where it is part of the app, nor on a JVM that has the artifact
     * `com.microsoft.onnxruntime:onnxruntime` in its class path.
     *
     * @throws BundleError it does not load.
     */
    public fun useOnnxRuntime(library: File): Unit = OnnxRuntime.use(library)
}

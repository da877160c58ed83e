package ai.lfm.edge.app.importing

import android.content.Context
import android.content.Intent
import java.io.File
import java.io.IOException
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.ensureActive
import kotlinx.coroutines.flow.MutableStateFlow
import kotlinx.coroutines.flow.StateFlow
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

/** What is being brought in, and how far it is. */
sealed interface ImportState {
    data object Idle : ImportState
    data class Running(val name: String, val done: Long, val total: Long, val checking: Boolean) : ImportState
    data class Done(val name: String, val checking: Boolean) : ImportState
    data class Failed(val message: String) : ImportState
}

/** Brings in one bundle at a time, whatever screen is shown. */
class ImportCenter(private val context: Context, private val scope: CoroutineScope) {
    private val mutable = MutableStateFlow<ImportState>(ImportState.Idle)
    private var job: Job? = null

    val state: StateFlow<ImportState> = mutable

    /** Begins to bring in the bundle `name`; [work] reports to its argument. */
    fun start(name: String, checking: Boolean = false, work: (ImportProgress) -> Unit) {
        if (job?.isActive == true) return
        mutable.value = ImportState.Running(name, 0, 0, checking)
        if (!checking) context.startForegroundService(Intent(context, ImportService::class.java))
        job = scope.launch {
            mutable.value = try {
                withContext(Dispatchers.IO) {
                    work { done, total ->
                        ensureActive()
                        mutable.value = ImportState.Running(name, done, total, checking)
                    }
                }
                ImportState.Done(name, checking)
            } catch (error: CancellationException) {
                mutable.value = ImportState.Idle
                throw error
            } catch (error: ImportException) {
                ImportState.Failed(error.message.orEmpty())
            } catch (error: IOException) {
                ImportState.Failed(error.message ?: error.toString())
            }
        }
    }

    /** Ends it; what has come stays. */
    fun cancel() {
        job?.cancel()
    }

    /** Says why there is nothing to bring in. */
    fun refuse(message: String) {
        mutable.value = ImportState.Failed(message)
    }
}

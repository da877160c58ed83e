package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import ai.lfm.edge.app.engine.EngineDied
import ai.lfm.edge.app.engine.EngineException
import ai.lfm.edge.app.engine.EngineStatus
import ai.lfm.edge.app.importing.HttpSource
import ai.lfm.edge.app.importing.ImportException
import ai.lfm.edge.app.importing.ImportState
import ai.lfm.edge.app.importing.SourceImport
import ai.lfm.edge.app.importing.TreeSource
import ai.lfm.edge.app.importing.WebAddress
import ai.lfm.edge.app.importing.ZipImport
import ai.lfm.edge.app.importing.folderName
import ai.lfm.edge.app.importing.sizeText
import ai.lfm.edge.app.memory.Advice
import ai.lfm.edge.app.models.LocalModel
import ai.lfm.edge.app.models.ModelChoice
import ai.lfm.edge.app.models.NotLoadable
import android.app.Activity
import android.app.AlertDialog
import android.content.Intent
import android.net.Uri
import android.os.Build
import android.os.Bundle
import android.view.View
import android.widget.EditText
import android.widget.LinearLayout
import android.widget.TextView
import java.io.IOException
import kotlinx.coroutines.MainScope
import kotlinx.coroutines.cancel
import kotlinx.coroutines.flow.combine
import kotlinx.coroutines.launch

private const val PICK_FOLDER = 1
private const val PICK_ZIP = 2

/** The models of this device, and how more come in. */
class ModelsActivity : Activity() {
    private lateinit var address: EditText
    private lateinit var status: TextView
    private lateinit var cancel: View
    private lateinit var models: LinearLayout
    private var scope = MainScope()

    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        page {
            models = column()
            addView(models)
            address = field(R.string.address_label, "").apply { id = R.id.address }
            addView(
                row {
                    addView(textButton(getString(R.string.download), ::download))
                    addView(textButton(getString(R.string.from_folder)) { pick(PICK_FOLDER) })
                    addView(textButton(getString(R.string.from_zip)) { pick(PICK_ZIP) })
                },
            )
            status = label("").apply {
                id = R.id.import_status
                accessibilityLiveRegion = View.ACCESSIBILITY_LIVE_REGION_POLITE
            }
            addView(status, margins(top = 8))
            cancel = textButton(getString(R.string.cancel)) { app.imports.cancel() }
            addView(cancel)
            val pushed = getExternalFilesDir("models")?.path.orEmpty()
            addView(label(getString(R.string.push_hint, pushed), 13f, soft = true).apply { setTextIsSelectable(true) }, margins(top = 16))
        }
    }

    override fun onStart() {
        super.onStart()
        scope = MainScope()
        scope.launch { app.imports.state.collect(::showImport) }
        scope.launch {
            combine(app.engine.status, app.imports.state) { engine, state -> engine to (state is ImportState.Running) }
                .collect { (engine, isRunning) -> if (!isRunning) showModels(engine) }
        }
    }

    override fun onStop() {
        scope.cancel()
        super.onStop()
    }

    private fun showImport(state: ImportState) {
        cancel.shown(state is ImportState.Running)
        status.text = when (state) {
            ImportState.Idle -> ""
            is ImportState.Running -> progressText(state)
            is ImportState.Done -> getString(if (state.checking) R.string.checked else R.string.imported, state.name)
            is ImportState.Failed -> state.message
        }
    }

    private fun progressText(state: ImportState.Running): String {
        if (state.total == 0L) return getString(R.string.starting)
        val text = if (state.checking) R.string.checking else R.string.importing
        return getString(text, state.name, sizeText(state.done), sizeText(state.total))
    }

    private fun showModels(engine: EngineStatus) {
        val loaded = (engine as? EngineStatus.Ready)?.model?.folder
        models.removeAllViews()
        val all = app.models.list()
        val unfinished = app.models.unfinished()
        if (all.isEmpty() && unfinished.isEmpty()) models.addView(label(getString(R.string.no_models), soft = true))
        for (model in all) models.addView(line(model, model.folder.path == loaded), models.margins(top = 8))
        for (name in unfinished) models.addView(unfinishedLine(name), models.margins(top = 8))
    }

    private fun line(model: LocalModel, isLoaded: Boolean) = column {
        setBackgroundResource(R.drawable.surface)
        padding(12, 8)
        val size = sizeText(model.bytes)
        addView(label(model.name))
        val about = if (isLoaded) getString(R.string.loaded_now, size) else if (model.checked) size else getString(R.string.unchecked, size)
        addView(label(about, 13f, soft = true))
        addView(
            row {
                if (!model.checked) addView(textButton(getString(R.string.check)) { check(model) })
                else if (!isLoaded) addView(textButton(getString(R.string.load)) { proposeLoad(model) })
                addView(
                    textButton(getString(R.string.delete)) { askToDelete(model) }
                        .apply { contentDescription = getString(R.string.delete_model, model.name, size) },
                )
            },
        )
    }

    private fun unfinishedLine(name: String) = row {
        addView(label(getString(R.string.unfinished, name)), weighted())
        addView(
            textButton(getString(R.string.discard)) {
                app.models.deleteUnfinished(name)
                showModels(app.engine.status.value)
            },
        )
    }

    private fun download() {
        val where = try {
            WebAddress.parse(address.text.toString())
        } catch (error: ImportException) {
            return app.imports.refuse(error.message.orEmpty())
        }
        askForNotifications()
        app.imports.start(where.name) { SourceImport(app.models.imported).run(HttpSource(where.base), where.name, it) }
    }

    private fun askForNotifications() {
        if (Build.VERSION.SDK_INT >= Build.VERSION_CODES.TIRAMISU) {
            requestPermissions(arrayOf(android.Manifest.permission.POST_NOTIFICATIONS), 0)
        }
    }

    private fun pick(what: Int) {
        val intent = if (what == PICK_FOLDER) Intent(Intent.ACTION_OPEN_DOCUMENT_TREE) else {
            Intent(Intent.ACTION_OPEN_DOCUMENT).addCategory(Intent.CATEGORY_OPENABLE).setType("application/zip")
        }
        startActivityForResult(intent, what)
    }

    override fun onActivityResult(request: Int, result: Int, data: Intent?) {
        val uri = data?.data ?: return
        if (request == PICK_FOLDER) importFolder(uri) else importZip(uri)
    }

    private fun importFolder(tree: Uri) {
        val source = TreeSource(contentResolver, tree)
        app.imports.start(source.name) { SourceImport(app.models.imported).run(source, source.name, it) }
    }

    private fun importZip(uri: Uri) {
        val name = folderName(uri.lastPathSegment.orEmpty().substringAfterLast('/').removeSuffix(".zip"))
        val resolver = contentResolver
        app.imports.start(name) { progress ->
            ZipImport(app.models.imported) { resolver.openInputStream(uri) ?: throw IOException("$name cannot be opened") }
                .run(name, progress)
        }
    }

    private fun check(model: LocalModel) =
        app.imports.start(model.name, checking = true) { app.models.check(model, it) }

    private fun proposeLoad(model: LocalModel) {
        scope.launch {
            val advice = try {
                app.loader.advice(model.folder.path)
            } catch (error: EngineException) {
                return@launch app.imports.refuse(error.message.orEmpty())
            } catch (error: EngineDied) {
                return@launch app.imports.refuse(error.message.orEmpty())
            }
            ask(model, advice)
        }
    }

    private fun ask(model: LocalModel, advice: Advice) {
        val dialog = AlertDialog.Builder(this)
        when (advice) {
            is Advice.Fits -> dialog.setTitle(getString(R.string.load_title, model.name)).setMessage(advice.text)
                .setPositiveButton(R.string.load) { _, _ -> load(model, advice.context) }
            is Advice.Smaller -> dialog.setTitle(getString(R.string.load_title, model.name)).setMessage(advice.text)
                .setPositiveButton(getString(R.string.load_smaller, advice.context)) { _, _ -> load(model, advice.context) }
            is Advice.Refused -> dialog.setTitle(getString(R.string.too_large_title, model.name)).setMessage(advice.text)
        }
        dialog.setNegativeButton(if (advice is Advice.Refused) R.string.close else R.string.cancel, null).show()
    }

    private fun load(model: LocalModel, context: Int) {
        status.setText(R.string.loading_model)
        scope.launch {
            status.text = try {
                app.loader.choose(ModelChoice(model.folder.path, context))
                ""
            } catch (error: NotLoadable) {
                error.message
            } catch (error: EngineException) {
                error.message
            } catch (error: EngineDied) {
                error.message
            }
        }
    }

    private fun askToDelete(model: LocalModel) {
        AlertDialog.Builder(this)
            .setMessage(getString(R.string.delete_model, model.name, sizeText(model.bytes)))
            .setPositiveButton(R.string.delete) { _, _ ->
                app.models.delete(model)
                showModels(app.engine.status.value)
            }
            .setNegativeButton(R.string.cancel, null)
            .show()
    }
}

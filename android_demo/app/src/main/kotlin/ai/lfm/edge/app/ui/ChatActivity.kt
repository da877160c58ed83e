package ai.lfm.edge.app.ui

import ai.lfm.edge.app.R
import android.app.Activity
import android.os.Bundle
import android.widget.TextView

class ChatActivity : Activity() {
    override fun onCreate(savedInstanceState: Bundle?) {
        super.onCreate(savedInstanceState)
        setContentView(TextView(this).apply { setText(R.string.app_name) })
    }
}

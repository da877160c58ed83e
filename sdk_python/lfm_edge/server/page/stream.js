// Server-sent events of a chat completion, from the bytes of a response.

/** The JSON values of a stream's `data:` lines, until `[DONE]`. */
export async function* chunks(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let held = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    held += value;
    const lines = held.split("\n");
    held = lines.pop();
    for (const line of lines) {
      if (!line.startsWith("data: ")) continue;
      const data = line.slice(6);
      if (data === "[DONE]") return;
      yield JSON.parse(data);
    }
  }
}

/** Asks for an answer to `messages`; calls `show` with the message as it grows. */
export async function answer(messages, key, signal, show) {
  const headers = { "Content-Type": "application/json" };
  if (key) headers.Authorization = `Bearer ${key}`;
  const asked = { messages, stream: true, stream_options: { include_usage: true } };
  const response = await fetch("/v1/chat/completions", {
    method: "POST", headers, signal, body: JSON.stringify(asked),
  });
  if (!response.ok) {
    const found = await response.json().catch(() => null);
    throw Object.assign(new Error(found?.error?.message ?? response.statusText), {
      status: response.status,
    });
  }
  const message = { role: "assistant", content: "" };
  let usage = null, first = 0, last = 0;
  for await (const chunk of chunks(response.body)) {
    if (chunk.error) throw new Error(chunk.error.message);
    usage = chunk.usage ?? usage;
    const delta = chunk.choices[0]?.delta ?? {};
    if (delta.content) message.content += delta.content;
    if (delta.reasoning_content) {
      message.reasoning_content = (message.reasoning_content ?? "") + delta.reasoning_content;
    }
    for (const call of delta.tool_calls ?? []) (message.tool_calls ??= []).push(call);
    if (delta.content || delta.reasoning_content || delta.tool_calls) {
      last = performance.now();
      first ||= last;
    }
    show(message);
  }
  return { message, usage, seconds: (last - first) / 1000 };
}

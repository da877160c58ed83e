// The page: turns as they were said, shown as text alone (textContent; nothing is read as HTML).
import { answer } from "./stream.js";

const at = (id) => document.getElementById(id);
const turns = []; // { message, figures }
let running = null; // the AbortController of the answer that is being made

function element(tag, name, text) {
  const made = document.createElement(tag);
  if (name) made.className = name;
  if (text !== undefined) made.textContent = text;
  return made;
}

function button(text, act) {
  const made = element("button", "", text);
  made.type = "button";
  made.disabled = running !== null;
  made.addEventListener("click", act);
  return made;
}

function draw(index) {
  const { message, figures, failed } = turns[index];
  const box = element("section", `turn ${failed ? "error" : message.role}`);
  if (message.reasoning_content) {
    const fold = element("details");
    fold.open = turns[index].unfolded ?? false;
    fold.addEventListener("toggle", () => { turns[index].unfolded = fold.open; });
    fold.append(element("summary", "", "Reasoning"));
    fold.append(element("div", "text reasoning", message.reasoning_content));
    box.append(fold);
  }
  box.append(element("div", "text content", message.content));
  for (const call of message.tool_calls ?? []) {
    box.append(element("div", "call", `${call.function.name}(${call.function.arguments})`));
  }
  const foot = element("div", "foot");
  if (message.role === "user") foot.append(button("Edit", () => edit(index, box)));
  if (message.role === "assistant" && index === turns.length - 1) {
    foot.append(button("Regenerate", () => { turns.length = index; reply(); }));
  }
  if (figures) foot.append(element("span", "figures", figures));
  box.append(foot);
  return box;
}

function show() {
  at("turns").replaceChildren(...turns.map((_, index) => draw(index)));
  at("turns").scrollTop = at("turns").scrollHeight;
  at("send").hidden = running !== null;
  at("stop").hidden = running === null;
}

function showLast() {
  const old = at("turns").lastElementChild;
  const made = draw(turns.length - 1);
  if (at("turns").childElementCount === turns.length) old.replaceWith(made);
  else at("turns").append(made);
  at("turns").scrollTop = at("turns").scrollHeight;
}

function edit(index, box) {
  const field = element("textarea");
  field.value = turns[index].message.content;
  const done = button("Send again", () => {
    turns.length = index;
    say(field.value);
  });
  box.replaceChildren(field, done, button("Cancel", show));
  field.focus();
}

function describe({ usage, seconds }) {
  if (!usage) return "";
  const speed = seconds > 0 ? `${((usage.completion_tokens - 1) / seconds).toFixed(1)} tokens/s, ` : "";
  const cached = usage.prompt_tokens_details.cached_tokens;
  return `${speed}${usage.completion_tokens} tokens; ${cached} of ${usage.prompt_tokens} read before`;
}

async function reply() {
  const asked = turns.filter((turn) => !turn.failed).map((turn) => turn.message);
  const turn = { message: { role: "assistant", content: "" } };
  turns.push(turn);
  running = new AbortController();
  show();
  try {
    const key = sessionStorage.getItem("key");
    const found = await answer(asked, key, running.signal, (message) => {
      turn.message = message;
      showLast();
    });
    turn.figures = describe(found);
  } catch (error) {
    if (error.name !== "AbortError") {
      turn.failed = true;
      turn.message = { role: "assistant", content: error.message };
      if (error.status === 401) at("key").hidden = false;
    }
  }
  running = null;
  show();
}

function say(text) {
  if (!text.trim() || running) return;
  turns.push({ message: { role: "user", content: text } });
  reply();
}

at("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value;
  if (running) return;
  at("text").value = "";
  say(text);
});
at("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    at("ask").requestSubmit();
  }
});
at("stop").addEventListener("click", () => running?.abort());
at("new").addEventListener("click", () => {
  running?.abort();
  turns.length = 0;
  show();
});
at("key").addEventListener("change", () => sessionStorage.setItem("key", at("key").value));

const told = sessionStorage.getItem("key");
const known = await fetch("/v1/models", { headers: told ? { Authorization: `Bearer ${told}` } : {} });
if (known.ok) at("model").textContent = (await known.json()).data[0].id;
at("key").hidden = known.status !== 401 && !told;

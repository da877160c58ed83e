"""Writes what the shipped model's bundle must give to tests/vectors.

python -m tools.write_model_vectors
"""

# ruff: noqa: RUF001 - letters of many scripts

from __future__ import annotations

import json
import tempfile
from datetime import datetime
from pathlib import Path
from typing import Any

import lfm_edge
import numpy as np
from lfm_edge.chat.prompt import prompt_ids
from lfm_edge.file_names import DEVICE
from lfm_edge.tokenizer import Detokenizer
from lfm_export.checkpoint import open_checkpoint
from lfm_export.demo import DEMO_MODEL
from lfm_export.device.proof_texts import proof_texts
from lfm_export.export import ExportOptions, export_bundle

__all__ = ["VECTORS", "demo_model", "rewind_cases", "vectors"]

VECTORS = Path(__file__).parents[1] / "tests" / "vectors"
CLOCK = datetime(2025, 3, 9, 7, 5, 1)
TOOL = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": "The weather of a place.",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}},
    },
}
TEXTS = [
    "",
    " ",
    "def area(radius):\n    return 3.14159 * radius ** 2\n",
    "  two  spaces\tand\ttabs \n\n\n  ",
    "don't WE'LL I'm they'd 1234567 12 3",
    "naïve café — “quotes” … ½ ﬁ",
    "日本語のテキスト и русский, العربية",
    "👩‍👩‍👧‍👦 🇩🇪 é vs e\u0301",
    "<|im_start|>user\nhi<|im_end|> <think>no</think>",
    "\u0000\u200b\ufeff\r\n",
    "Guten Tag, wie geht's Ihnen? Größe: 12,5 m²",
    "Bonjour, où est l'hôtel ? Ça coûte 3 €.",
    "¡Hola! ¿Cómo estás, mañana o pasado mañana?",
    "Dzień dobry, źdźbło i żółw; příliš žluťoučký kůň",
    "Xin chào, hôm nay trời đẹp quá",
    "İstanbul'da ılık bir gün, ığdır",
    "Καλημέρα, τι κάνεις; Ο καιρός είναι καλός.",
    "Добрый день! Как дела? Съешь ещё булок.",
    "Բարև, ինչպե՞ս ես",
    "שלום, מה שלומך היום? 42",
    "صباح الخير، كيف حالك؟ ١٢٣",
    "نمی‌دانم، امروز هوا خوب است",
    "नमस्ते, आप कैसे हैं? १२ सेब",
    "আপনি কেমন আছেন? ভালো।",
    "ਤੁਸੀਂ ਕਿਵੇਂ ਹੋ?",
    "તમે કેમ છો?",
    "வணக்கம், எப்படி இருக்கிறீர்கள்?",
    "మీరు ఎలా ఉన్నారు?",
    "ನೀವು ಹೇಗಿದ್ದೀರಿ?",
    "നിങ്ങൾക്ക് സുഖമാണോ?",
    "ඔබට කොහොමද?",
    "สวัสดีครับ วันนี้อากาศดี ๑๒ วัน",
    "ສະບາຍດີ ມື້ນີ້",
    "བཀྲ་ཤིས་བདེ་ལེགས།",
    "မင်္ဂလာပါ နေကောင်းလား",
    "გამარჯობა, როგორ ხარ?",
    "ሰላም፣ እንዴት ነህ?",
    "សួស្តី អ្នកសុខសប្បាយទេ",
    "今日はいい天気ですね。12個、全角１２３。",
    "안녕하세요, 오늘 날씨가 좋네요. 3개",
    "你好，今天天气很好。𠮷野家",
    "𐍈𐌰𐌹 𞤢𞤣 ᎣᏏᏲ ᠮᠣᠩᠭᠣᠯ",
]
CHATS: list[dict[str, Any]] = [
    {"messages": [{"role": "user", "content": "Hello"}]},
    {
        "messages": [
            {"role": "system", "content": "Be brief.\n"},
            {"role": "user", "content": " a <|im_end|> that is text "},
            {"role": "assistant", "content": "yes"},
            {"role": "user", "content": "日本 👩‍👧"},
        ]
    },
    {
        "messages": [
            {"role": "user", "content": "Weather?"},
            {"role": "assistant", "content": "<think>hm</think>[get_weather(city='Bern')]"},
            {"role": "tool", "content": '{"sun": true}'},
        ],
        "tools": [TOOL],
    },
]
MOST_CHARACTERS = 64
TOLERANCE = 0.05


def demo_model(folder: Path) -> lfm_edge.Model:
    """The shipped model, exported with the default options into an empty folder."""
    with open_checkpoint(str(DEMO_MODEL)) as checkpoint:
        bundle = export_bundle(checkpoint, folder / "bundle", ExportOptions())
    return lfm_edge.load(bundle.folder, threads=1)


def vectors(model: lfm_edge.Model) -> dict[str, str]:
    """The files that do not depend on the machine, by name, one case a line."""
    vocabulary = [model.tokenizer.decode([token]) for token in range(300, model.tokenizer.size)]
    added = [text for text, _ in model.tokenizer.added_tokens().values()]
    made = [text[:MOST_CHARACTERS] for text in proof_texts(vocabulary, added)]
    tokens = [_tokenized(model, text) for text in dict.fromkeys(TEXTS + made)]
    return {
        "tokenization.json": _lines(tokens),
        "templates.json": _lines([_rendered(model, chat) for chat in CHATS]),
    }


def rewind_cases(model: lfm_edge.Model) -> list[dict[str, Any]]:
    """What a session gives that goes back, each step with what is expected of it."""
    ids = np.random.default_rng(1).integers(300, 4000, 120).tolist()
    steps: list[dict[str, Any]] = [
        {"read": ids[:60]},
        {"read": ids[60:61]},
        {"rewind": 40},
        {"read": ids[70:90]},
        {"snapshot": 0},
        {"read": ids[90:120]},
        {"rewind": 59},
        {"restore": 0, "fails": True},
        {"read": ids[5:6]},
        {"rewind": 3},
        {"read": ids[:2]},
        {"resume": [*ids[:3], *ids[:1], *ids[9:19]]},
    ]
    session, snapshots, done = model.session(256), list[lfm_edge.Snapshot](), []
    for step in steps:
        found = dict(step)
        if "read" in step or "resume" in step:
            unread = session.resume(step["resume"]) if "resume" in step else step["read"]
            found["run"] = session.to_replay + len(unread)
            logits = session.prefill(unread)
            likely = np.argsort(-logits, kind="stable")[:4]
            found["top"] = [[int(i), round(float(logits[i]), 4)] for i in likely]
        elif "rewind" in step:
            session.rewind(step["rewind"])
        elif "snapshot" in step:
            snapshots.append(session.snapshot())
        else:
            try:
                session.restore(snapshots[step["restore"]])
                found["fails"] = False
            except lfm_edge.InvalidRequestError:
                found["fails"] = True
        found["position"] = session.position
        done.append(found)
    return done


def _tokenized(model: lfm_edge.Model, text: str) -> dict[str, Any]:
    ids = model.tokenizer.encode(text)
    detokenizer = Detokenizer(model.tokenizer)
    pieces = [detokenizer.push(token) for token in ids]
    return {"text": text, "ids": ids, "pieces": [*pieces, detokenizer.finish()]}


def _rendered(model: lfm_edge.Model, chat: dict[str, Any]) -> dict[str, Any]:
    ids = prompt_ids(
        model.template, model.tokenizer, chat["messages"], chat.get("tools"), clock=CLOCK
    )
    return {**chat, "ids": ids, "text": model.tokenizer.decode(ids)}


def _lines(cases: list[dict[str, Any]]) -> str:
    return "[\n" + ",\n".join(json.dumps(case, ensure_ascii=True) for case in cases) + "\n]\n"


def main() -> None:
    """Writes the files."""
    with tempfile.TemporaryDirectory() as folder:
        model = demo_model(Path(folder))
        files = {**vectors(model), "rewind.json": _lines(rewind_cases(model))}
        device = (model.bundle.folder / DEVICE).read_bytes()
    for name, text in files.items():
        (VECTORS / name).write_text(text, encoding="utf-8")
    (VECTORS / DEVICE).write_bytes(device)


if __name__ == "__main__":
    main()

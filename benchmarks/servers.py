"""How long a chat's next turn waits for its first token, at our server and at llama.cpp's.

A conversation grows turn by turn to some 4,000 tokens. Of each answer the client keeps only the
end, as chat templates do that drop earlier thinking, so the cache holds tokens that the next prompt
lacks. Synthetic weights have nothing to say: an answer is forbidden to end before its length, and
what the client keeps of it is given. Then comes one more turn (`next`), and after that another
version of the second question (`edit`). Each time is that of a whole request for one token.

    SOURCE="synthetic:lfm2.5-8b-a1b:8 --quant q4 --head q4 --tokenizer build/tokenizer"
    lfm-edge export $SOURCE OUT
    lfm-edge export $SOURCE GGUF --target gguf
    python benchmarks/servers.py OUT GGUF --llama-server PATH [--rounds 3] [--threads 2]

The servers take turns, each first in turn; both keep what they keep by default. llama.cpp's is
built from its sources: `cmake --build . --target llama-server`.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import numpy as np
from lfm_edge.file_names import TOKENIZER

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks.engines import GGUF_FILE

SYSTEM, QUESTIONS, ANSWERED, KEPT, NEXT = 1000, (500, 500, 1300), 200, 60, 50
"""Tokens: of the system message, the questions, each answer, what is kept of it, the next turn."""
CONTEXT = 8192
STARTED_SECONDS = 120


class Waited(NamedTuple):
    """One request for one token."""

    seconds: float
    prompt: int
    cached: int


class Server:
    """A server's process.

    Args:
        name: shown.
        command: starts it; `{port}` stands for its port.
        log: where what it prints goes.
    """

    def __init__(self, name: str, command: Sequence[str], log: Path) -> None:
        self.name = name
        with socket.socket() as found:
            found.bind(("127.0.0.1", 0))
            port = found.getsockname()[1]
        with log.open("w") as output:
            arguments = [part.format(port=port) for part in command]
            self._process = subprocess.Popen(arguments, stdout=output, stderr=output)
        self._http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=600)
        for _ in range(STARTED_SECONDS * 10):
            time.sleep(0.1)
            try:
                if self._http.get("/health").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                if self._process.poll() is not None:
                    break
        self.close()
        raise SystemExit(f"{name} does not start:\n{log.read_text()[-2000:]}")

    def ask(self, messages: list[dict[str, str]], tokens: int, end: int) -> Waited:
        """Has `messages` answered by so many tokens, none of which is `end`."""
        body: dict[str, Any] = {
            "model": "x",
            "messages": messages,
            "max_tokens": tokens,
            "temperature": 0,
            "logit_bias": {str(end): -100},
        }
        begun = time.perf_counter()
        answer = self._http.post("/v1/chat/completions", json=body)
        seconds = time.perf_counter() - begun
        if answer.status_code != httpx.codes.OK:
            raise SystemExit(f"{self.name}: {answer.status_code} {answer.text[:500]}")
        usage = answer.json()["usage"]
        if usage["completion_tokens"] != tokens:
            raise SystemExit(f"{self.name}: {usage}, expected {tokens} completion tokens")
        cached = (usage.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
        return Waited(seconds, usage["prompt_tokens"], cached)

    def close(self) -> None:
        """Ends it."""
        self._http.close()
        self._process.kill()
        self._process.wait()


class Words:
    """Words of one token each.

    Args:
        tokenizer: tokenizer.json of the bundle.
    """

    def __init__(self, tokenizer: Path) -> None:
        described = json.loads(tokenizer.read_text())
        vocabulary = described["model"]["vocab"]
        self._words = sorted(word[1:] for word in vocabulary if re.fullmatch("Ġ[a-z]{4,}", word))
        (self.end,) = [
            added["id"] for added in described["added_tokens"] if added["content"] == "<|im_end|>"
        ]

    def text(self, tokens: int, random: np.random.Generator) -> str:
        """So many of them."""
        return " ".join(random.choice(self._words, tokens))


def conversation(server: Server, words: Words, seed: int) -> dict[str, Waited]:
    """Holds it, and gives what `next` and `edit` waited."""
    random = np.random.default_rng(seed)

    def said(role: str, tokens: int) -> dict[str, str]:
        return {"role": role, "content": words.text(tokens, random)}

    messages = [said("system", SYSTEM)]
    for question in QUESTIONS:
        messages.append(said("user", question))
        server.ask(messages, ANSWERED, words.end)
        messages.append(said("assistant", KEPT))
    followed = [*messages, said("user", NEXT)]
    edited = [*messages[:3], said("user", NEXT)]
    return {
        name: server.ask(asked, 1, words.end)
        for name, asked in {"next": followed, "edit": edited}.items()
    }


def main() -> None:
    """Prints a line for each kind of request."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("gguf", type=Path, help=f"a folder with {GGUF_FILE}")
    parser.add_argument("--llama-server", required=True, metavar="PATH", help="the program")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    options = parser.parse_args()
    threads, context = str(options.threads), str(CONTEXT)
    ours = [str(Path(sys.executable).with_name("lfm-edge")), "serve", str(options.bundle)]
    ours += ["--port", "{port}", "--context", context, "--threads", threads]
    peer = [options.llama_server, "-m", str(options.gguf / GGUF_FILE), "--port", "{port}"]
    peer += ["-c", context, "-t", threads, "--parallel", "1", "--jinja"]
    words = Words(options.bundle / TOKENIZER)
    with tempfile.TemporaryDirectory() as logs, ExitStack() as stack:
        servers = []
        for name, command in (("lfm-edge", ours), ("llama.cpp", peer)):
            servers.append(Server(name, command, Path(logs) / name))
            stack.callback(servers[-1].close)
        rounds: list[dict[str, dict[str, Waited]]] = []
        for seed in range(options.rounds):
            order = servers if seed % 2 == 0 else servers[::-1]
            rounds.append({each.name: conversation(each, words, seed) for each in order})
            print(f"round {seed + 1} of {options.rounds}: {rounds[-1]}", file=sys.stderr)
    for kind in rounds[0]["lfm-edge"]:
        ratios = [
            held["lfm-edge"][kind].seconds / held["llama.cpp"][kind].seconds for held in rounds
        ]
        shown = [f"{kind}: {statistics.median(ratios):.2f} of llama.cpp's time"]
        for name in rounds[0]:
            waits = [held[name][kind] for held in rounds]
            seconds = statistics.median(wait.seconds for wait in waits)
            read = [f"{wait.cached} of {wait.prompt}" for wait in waits]
            shown.append(f"{name} {seconds * 1e3:.0f} ms, cached {', '.join(sorted(set(read)))}")
        print("; ".join(shown))


if __name__ == "__main__":
    main()

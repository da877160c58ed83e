"""Counters that Prometheus reads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from ..answer import Answer

if TYPE_CHECKING:
    from ..prompt_cache import PromptCache
    from .engine import Engine

__all__ = ["Metrics"]

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30, 60)


class Metrics:
    """What one server counts, in a registry of its own."""

    def __init__(self, engine: Engine, cache: PromptCache) -> None:
        self.registry = CollectorRegistry()
        self.responses = Counter(
            "lfm_edge_responses", "Responses.", ["path", "status"], registry=self.registry
        )
        self._tokens = Counter("lfm_edge_tokens", "Tokens.", ["kind"], registry=self.registry)
        self._ends = Counter("lfm_edge_answers", "Answers.", ["reason"], registry=self.registry)
        self._first = Histogram(
            "lfm_edge_time_to_first_token_seconds",
            "From the start of a prompt to the first token.",
            buckets=_SECONDS,
            registry=self.registry,
        )
        for name, text, value in (
            ("waiting", "Requests in the queue.", lambda: engine.waiting),
            ("running", "Requests being answered.", lambda: engine.running),
            ("cached_sessions", "Sessions of the prompt cache.", lambda: cache.sessions),
            ("cached_bytes", "Bytes of their state.", lambda: cache.bytes),
        ):
            Gauge(f"lfm_edge_{name}", text, registry=self.registry).set_function(value)

    def answered(self, answer: Answer) -> None:
        """Counts an answer that has ended, or was given up."""
        self._ends.labels(answer.finish_reason or "cancelled").inc()
        for kind, count in (
            ("prompt", answer.prompt_tokens),
            ("reused", answer.reused_tokens),
            ("processed", answer.processed_tokens),
            ("generated", len(answer.ids)),
        ):
            self._tokens.labels(kind).inc(count)
        if answer.ids:
            self._first.observe(answer.time_to_first_token)

    def text(self) -> bytes:
        """All of it in Prometheus' form."""
        return generate_latest(self.registry)

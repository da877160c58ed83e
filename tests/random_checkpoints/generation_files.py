"""`generation_config.json`, drawn at random."""

from __future__ import annotations

from typing import Any

from .choices import ABSENT, Choices, present

__all__ = ["draw_generation"]


def draw_generation(choices: Choices, eos: int, other: int) -> Any:
    """The file's value; ABSENT where there is no file, a string where it is broken text."""
    if choices.rarely(15):
        return ABSENT
    if choices.rarely(1):
        choices.may_refuse("generation_config.json is broken")
        return choices.one("{", "[]", "null")
    top_k = choices.usual(ABSENT, None, 0, 1, 50, -1, percent=60)
    if choices.rarely(1):
        top_k = 50.0
        choices.may_refuse("top_k 50.0")
    ends = choices.usual(
        eos, ABSENT, None, other, [eos, other], [other], [], -1, [eos, -1], percent=60
    )
    if choices.rarely(1):
        ends = [eos, None]
        choices.may_refuse("eos_token_id with a null in it")
    temperature = choices.usual(ABSENT, None, 0.1, 1.0, 1, 0.7, 0.0, percent=60)
    return present(
        {
            "eos_token_id": ends,
            "bos_token_id": choices.usual(1, ABSENT, None),
            "pad_token_id": choices.usual(0, ABSENT, None),
            "do_sample": choices.one(ABSENT, True, False, None),
            "temperature": temperature,
            "top_k": top_k,
            "top_p": choices.usual(ABSENT, None, 1.0, 1, 0.9),
            "min_p": choices.usual(ABSENT, None, 0.0, 0.15),
            "repetition_penalty": choices.usual(ABSENT, None, 1.0, 1.05, 1),
            "max_length": choices.usual(ABSENT, 20, None),
            "transformers_version": choices.one("5.23.0", ABSENT),
            "_from_model_config": choices.usual(ABSENT, True),
            "typical_p": choices.usual(ABSENT, 1.0, None, percent=10),
        }
    )

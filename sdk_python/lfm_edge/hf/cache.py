"""What transformers passes from step to step: a session for each sequence of the batch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ..errors import InvalidRequestError
from ..model import Model
from ..session import Session

__all__ = ["LfmEdgeCache"]


class LfmEdgeCache:
    """The `past_key_values` of `LfmEdgeForCausalLM`: one `Session` a row.

    Passed to `generate` again, each row keeps the longest beginning that it has of its new prompt.

    Args:
        model: whose sessions these are.
        batch_size: how many rows.
        context: the most tokens of a row; see `Model.session`.

    Raises:
        InvalidRequestError: `context` is out of range.
    """

    is_compileable = False
    """For `generate`: its steps are not compiled."""

    def __init__(self, model: Model, batch_size: int = 1, context: int | None = None) -> None:
        self.sessions: list[Session] = [model.session(context) for _ in range(batch_size)]
        """What each row has read."""

    def get_seq_length(self, layer_idx: int = 0) -> int:
        """Tokens of the longest row, padding not counted; the same for every `layer_idx`."""
        del layer_idx
        return max((session.position for session in self.sessions), default=0)

    def crop(self, max_length: int) -> None:
        """Shortens each row to `max_length` tokens; by as many, where it is negative."""
        for session in self.sessions:
            length = max_length if max_length >= 0 else session.position + max_length
            session.rewind(max(0, min(length, session.position)))

    def reorder_cache(self, beam_idx: torch.Tensor) -> None:
        """Gives row i what row `beam_idx[i]` has; beam search asks for it after each step.

        Raises:
            UnsupportedBundleError: a row is wanted twice and the target's state cannot be copied.
        """
        old, taken, rows = self.sessions, set[int](), list[Session]()
        for index in beam_idx.tolist():
            rows.append(old[index].fork() if index in taken else old[index])
            taken.add(index)
        self.sessions = rows

    def read(
        self, row: int, ids: Sequence[int], wanted: int, *, whole: bool
    ) -> list[NDArray[np.float32]]:
        """Reads tokens and gives the logits [vocab] of the last `wanted` of them.

        The graph gives those of a run's last token, so each token wanted before it is a run of
        its own.

        Args:
            row: whose tokens they are.
            ids: the tokens, at least one.
            wanted: how many logits, at most one a token.
            whole: whether `ids` are all that the row shall hold, of which it keeps what it has;
                otherwise they follow on what it holds.
        """
        session = self.sessions[row]
        unread = list(ids)
        if whole:
            unread = session.resume(ids)
            if len(unread) < wanted:
                session.rewind(len(ids) - wanted)
                unread = list(ids[len(ids) - wanted :])
        alone = max(0, wanted - 1)
        logits = [session.prefill(unread[: len(unread) - alone])]
        logits += [session.decode(token) for token in unread[len(unread) - alone :]]
        return logits if wanted else []

    def require_rows(self, batch_size: int) -> None:
        """Raises InvalidRequestError where it does not hold `batch_size` rows."""
        if len(self.sessions) != batch_size:
            raise InvalidRequestError(
                f"past_key_values: holds {len(self.sessions)} rows, but input_ids has {batch_size}"
            )

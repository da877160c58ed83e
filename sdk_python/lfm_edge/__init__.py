"""From a bundle to tokens and text.

`load` opens a bundle; what can be done with it starts from `Model`.

    import lfm_edge

    model = lfm_edge.load("OUT")
    for piece in model.generate("def area(radius):", max_tokens=64, temperature=0):
        print(piece, end="", flush=True)
"""

from .answer import FinishReason
from .conversation import Conversation, Message, Turn
from .errors import (
    BundleError,
    ContextFullError,
    IntegrityError,
    InvalidRequestError,
    LfmError,
    MissingDependencyError,
    SessionFileError,
    SessionTakenError,
    TemplateError,
    UnknownTokenError,
    UnsupportedBundleError,
)
from .event_stream import EventStream
from .generation import Generation
from .generation_options import AnswerOptions, GenerationOptions
from .logprobs import TokenLogprob
from .model import Model, load
from .prompt_cache import PromptCache
from .sampling import SamplingOptions
from .session import Session, Snapshot
from .verify import VerifyReport, verify

__all__ = [
    "AnswerOptions",
    "BundleError",
    "ContextFullError",
    "Conversation",
    "EventStream",
    "FinishReason",
    "Generation",
    "GenerationOptions",
    "IntegrityError",
    "InvalidRequestError",
    "LfmError",
    "Message",
    "MissingDependencyError",
    "Model",
    "PromptCache",
    "SamplingOptions",
    "Session",
    "SessionFileError",
    "SessionTakenError",
    "Snapshot",
    "TemplateError",
    "TokenLogprob",
    "Turn",
    "UnknownTokenError",
    "UnsupportedBundleError",
    "VerifyReport",
    "load",
    "verify",
]

"""Talking with a model on the command line; turns come from a person or from a pipe."""

from .chat import Chat
from .converse import Command, converse
from .terminal import stoppable, turns
from .transcript import Transcript

__all__ = ["Chat", "Command", "Transcript", "converse", "stoppable", "turns"]

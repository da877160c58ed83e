"""`optimum-cli export lfm-edge`: what `lfm-edge export` does, with the same options.

optimum finds this file in its namespace `optimum.commands.register`, where the build puts it.
"""

from __future__ import annotations

import sys
from argparse import REMAINDER, ArgumentParser

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand

__all__ = ["REGISTER_COMMANDS", "LfmEdgeExportCommand"]


class LfmEdgeExportCommand(BaseOptimumCLICommand):
    """Passes its arguments on to `lfm-edge export`, which alone knows them."""

    COMMAND = CommandInfo("lfm-edge", help="Export a Liquid LFM model to a bundle of LFM Edge.")

    @staticmethod
    def parse_args(parser: ArgumentParser) -> None:
        """Takes all that follows; `-h` too is the command's own to answer."""
        parser.prefix_chars, parser.add_help = "\0", False
        parser.add_argument("arguments", nargs=REMAINDER)

    def run(self) -> None:
        """Exports."""
        from lfm_edge import cli  # noqa: PLC0415 (optimum loads this file for every command)

        sys.argv = ["lfm-edge", "export", *self.args.arguments]
        cli.main()


REGISTER_COMMANDS = [(LfmEdgeExportCommand, ExportCommand)]

"""Work in pieces on the machines of a Ray cluster; what is lost with a worker is done again.

What a piece is, and in what order results are put together, is up to the caller and never depends
on how many workers there are: so the result does not, either.
"""

from __future__ import annotations

import logging
import re
import socket
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from itertools import count, islice
from typing import Any, TypeVar

from lfm_edge.errors import InvalidRequestError, LfmError
from lfm_edge.extras import missing_dependency
from threadpoolctl import threadpool_limits

from .errors import ExportError, WorkersLostError
from .notes import Note

__all__ = ["Cluster"]

Shared = TypeVar("Shared")
Piece = TypeVar("Piece")
Result = TypeVar("Result")

_TRIES = 3
_SECONDS = 10.0  # for an address to answer
# How a connection of HTTP/2 begins on either side; Ray's server speaks it.
_PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_SETTINGS = 4  # the type of the frame that comes back


@dataclass(frozen=True)
class _Refused:
    """An error of the user's that a worker met."""

    message: str


class Cluster:
    """A Ray cluster that this process is connected to."""

    def __init__(self, ray: Any, cpus: int, note: Note) -> None:
        self._ray, self._cpus, self._note = ray, cpus, note

    @classmethod
    @contextmanager
    def open(cls, address: str, cpus: int, note: Note) -> Iterator[Cluster]:
        """Connects to the cluster as long as the block runs; what is still at work then, is ended.

        Args:
            address: `HOST:PORT` of its head, as `ray start --head` prints it. This machine must be
                one of the cluster's.
            cpus: that a piece takes.
            note: hears of lost workers.

        Raises:
            MissingDependencyError: Ray is not installed.
            InvalidRequestError: no cluster answers there, it is of another version of Ray or
                Python, or none of its machines has so many CPUs.
        """
        _check_answers(address)
        try:
            import ray  # noqa: PLC0415 - optional, and slow to import
        except ModuleNotFoundError:
            raise missing_dependency("ray") from None
        if ray.is_initialized():
            raise InvalidRequestError(f"--ray {address}: this process is in a Ray cluster already")
        try:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.CRITICAL)
            except (Exception, SystemExit) as error:  # whatever Ray cannot connect for
                raise InvalidRequestError(f"--ray {address}: {_one_line(error)}") from None
            most = max((node["Resources"].get("CPU", 0) for node in _alive(ray)), default=0)
            if cpus > most:
                raise InvalidRequestError(
                    f"--ray {address}: no machine of the cluster has {cpus} CPUs for a worker, at "
                    f"most {most:g}"
                )
            yield cls(ray, cpus, note)
        finally:
            ray.shutdown()

    def run(
        self,
        function: Callable[[Shared, Piece], Result],
        shared: Shared,
        pieces: Iterable[Piece],
    ) -> Iterator[Result]:
        """What `function` makes of `shared` and each piece, in their order.

        Of the pieces, which are made when their time comes, two for each worker are taken ahead.

        Args:
            function: of a module that is installed on every machine.
            shared: what can be pickled; sent to each machine once.
            pieces: what can be pickled; arrays among it can be read only.

        Raises:
            ExportError: a worker could not do a piece, which it says with its address.
            WorkersLostError: a piece was lost with each of several workers, or Ray has no room for
                it.
        """
        common, pending = self._put((function, shared, version("lfm-edge"))), deque[_Sent]()
        coming = enumerate(pieces, 1)
        while True:
            for number, piece in islice(coming, 2 * self._workers() - len(pending)):
                sent = self._put(piece)
                pending.append(_Sent(number, sent, self._send(common, sent)))
            if not pending:
                return
            yield self._result(common, pending.popleft())

    def _put(self, value: Any) -> Any:
        errors = self._ray.exceptions
        try:
            return self._ray.put(value)
        except (errors.ObjectStoreFullError, errors.OutOfDiskError) as error:
            raise ExportError(
                f"Ray's object store on this machine is full ({type(error).__name__}): start Ray "
                "with more --object-store-memory, or free the disk that it spills to"
            ) from None

    def _send(self, common: Any, piece: Any) -> Any:
        do = self._ray.remote(_do).options(num_cpus=self._cpus, max_retries=0)
        return do.remote(common, piece)

    def _result(self, common: Any, sent: _Sent) -> Any:
        errors = self._ray.exceptions
        lost = (
            errors.WorkerCrashedError,
            errors.NodeDiedError,
            errors.LocalRayletDiedError,
            errors.OutOfMemoryError,
            errors.ObjectLostError,
        )
        done = sent.done
        for tries in count(1):
            try:
                result = self._ray.get(done)
            except lost as error:
                if tries == _TRIES:
                    raise WorkersLostError(
                        f"piece {sent.number} was lost with {_TRIES} workers, the last time by "
                        f"{type(error).__name__}; they may lack memory"
                    ) from None
                self._note(
                    f"a worker was lost ({type(error).__name__}): piece {sent.number} is done again"
                )
                done = self._send(common, sent.piece)
                continue
            except errors.RayTaskError as error:
                raise _explained(error) from None
            if isinstance(result, _Refused):
                raise ExportError(result.message)
            return result
        raise AssertionError

    def _workers(self) -> int:
        """How many there is room for."""
        rooms = (node["Resources"].get("CPU", 0) // self._cpus for node in _alive(self._ray))
        return max(1, int(sum(rooms)))


@dataclass(frozen=True)
class _Sent:
    """A piece, and its result to come, as Ray refers to them."""

    number: int
    piece: Any
    done: Any


def _do(
    common: tuple[Callable[[Shared, Piece], Result], Shared, str], piece: Piece
) -> Result | _Refused:
    """On a worker."""
    import ray  # noqa: PLC0415 - optional

    function, shared, wanted = common
    worker = f"worker {ray.util.get_node_ip_address()}"
    found = version("lfm-edge")
    if found != wanted:
        return _Refused(f"{worker}: has lfm-edge {found}, expected {wanted} as here; install that")
    try:
        # One thread for NumPy's products, so that sums keep their order.
        with threadpool_limits(1, "blas"):
            return function(shared, piece)
    except (LfmError, OSError) as error:
        return _Refused(f"{worker}: {error}")


def _explained(error: Exception) -> Exception:
    """A worker that lacks our package, in one line; anything else is a bug of ours."""
    found = re.search(r"\bip=([\w.:]+)\).*No module named '([^']+)'", str(error), re.DOTALL)
    if found is None:
        return error
    worker, module = found.groups()
    return ExportError(
        f"worker {worker}: has no module {module}; install lfm-edge[export,ray] on every machine"
    )


def _check_answers(address: str) -> None:
    """That something at `address` speaks as Ray does, which itself tries for minutes."""
    wanted = "expected HOST:PORT of a Ray cluster's head, as `ray start --head` prints it"
    host, colon, port = address.rpartition(":")
    if not (host and colon and port.isascii() and port.isdigit() and 0 < int(port) < 1 << 16):
        raise InvalidRequestError(f"--ray {address}: {wanted}")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _SECONDS) as connection:
            connection.sendall(_PREFACE)
            answer = connection.recv(9)
    except OSError as error:
        reason = error.strerror or str(error)
        raise InvalidRequestError(
            f"--ray {address}: does not answer ({reason}); {wanted}"
        ) from None
    if len(answer) < 4 or answer[3] != _SETTINGS:
        raise InvalidRequestError(f"--ray {address}: something else answers there; {wanted}")


def _alive(ray: Any) -> list[dict[str, Any]]:
    return [node for node in ray.nodes() if node["Alive"]]


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__

"""Find TCP ports on 127.0.0.1 that stay ours."""

import random
import socket

from deployments.embedded.errors import StackStartFailed

# Below what Linux (32768) and macOS (49152) give to outgoing connections: a service that
# is restarted must find its port free again, which nobody's browser may have taken meanwhile.
_LOWEST, _HIGHEST = 20_000, 31_999
_TRIES = 200


def choose_port(*, preferred: int | None = None, taken: frozenset[int] = frozenset()) -> int:
    """Return a free port, the preferred one if it is free.

    Raises:
        StackStartFailed: no free port was found.
    """
    drawn = [random.randint(_LOWEST, _HIGHEST) for _ in range(_TRIES)]
    for port in [preferred, *drawn] if preferred else drawn:
        if port not in taken and _is_free(port):
            return port
    raise StackStartFailed(
        f"No free TCP port was found on 127.0.0.1 between {_LOWEST} and {_HIGHEST}.",
        hint="End programs that listen there, or use a PostgreSQL and a Prefect of your own.",
    )


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # Connections that have just ended keep a port busy for a minute, but not for listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True

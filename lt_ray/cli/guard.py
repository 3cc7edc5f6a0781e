"""How every command ends: with its exit code, and one message where something is wrong."""

from __future__ import annotations

import functools
import logging
from collections.abc import Callable
from typing import ParamSpec

import typer

from lt_ray.board.terminal import show_error, show_warning
from lt_ray.driver.interruption import INTERRUPTED
from lt_ray.errors import DISK_TROUBLE, InputError, NotNowError

P = ParamSpec("P")


class _Warn(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        show_warning(record.getMessage())


def guarded(command: Callable[P, int]) -> Callable[P, None]:
    """Return a command that ends with the exit code that this one returns.

    An input error is one message and 2; an interruption, and what may do later, 75.
    """

    @functools.wraps(command)
    def ended(*given: P.args, **named: P.kwargs) -> None:
        log, handler = logging.getLogger("lt_ray"), _Warn(logging.WARNING)
        log.addHandler(handler)
        try:
            code = command(*given, **named)
        except InputError as error:
            show_error(str(error))
            code = 2
        except NotNowError as error:
            show_error(str(error))
            code = INTERRUPTED
        except OSError as error:
            if error.errno not in DISK_TROUBLE:
                raise
            show_error(f"{error}: nothing that is finished is lost; once the disk is well, the same command goes on")
            code = INTERRUPTED
        except KeyboardInterrupt:
            code = INTERRUPTED
        finally:
            log.removeHandler(handler)
        raise typer.Exit(code)

    return ended

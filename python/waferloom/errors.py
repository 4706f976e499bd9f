"""What can go wrong. Every error says what is wrong and where, and most say what to do about it."""


class Error(Exception):
    """Any error of waferloom's."""

    def __init__(self, message: str, help: str | None = None) -> None:
        super().__init__(message, help)
        self.message = message
        """What is wrong, and where."""
        self.help = help
        """What to do; None where the message says it."""

    def __str__(self) -> str:
        return self.message if self.help is None else f"{self.message}\n  help: {self.help}"


class ModelError(Error):
    """A model cannot be read."""


class OpenDimensionsError(ModelError):
    """A model's file leaves the size of a dimension open, and nobody gave it."""


class CompileError(Error):
    """A model cannot be compiled for its target."""


class ProgramError(Error):
    """A program is none, or not a valid one."""


class KernelError(Error, ValueError):
    """A kernel cannot be built for its settings."""


class InputError(Error, ValueError):
    """Something else that was given is wrong."""


class SimulationError(Error, RuntimeError):
    """A program failed while it ran: a deadlock, a fault, the limit of cycles."""


class InternalError(Error):
    """A bug in waferloom."""

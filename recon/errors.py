"""Every error that recon raises on purpose, one tree.

::

    ReconError
    ├── ShapeError            an array has the wrong shape
    ├── ArrayError            an array has the wrong library, device, dtype or values
    ├── ParameterError        a constructor argument breaks its declared rule
    ├── CapabilityError       an object lacks a method that somebody else needs
    ├── ConvergenceError      raised by Result.check() only, never by a solver
    ├── CheckpointError       a state file is unreadable or belongs to another run
    ├── ConfigError           a run file is wrong: names the file, the key and the rule
    ├── DataError             a data file is unreadable, incomplete or cannot be written
    ├── KernelError           a compiled kernel is unavailable or failed
    └── PluginError
        ├── UnknownNameError      nothing of that name; says the nearest one
        ├── DuplicateNameError    two plugins claim one name
        ├── MissingExtraError     an optional package is absent; gives the pip line
        └── BrokenPluginError     a plugin cannot be loaded; says why

Every text has one shape: "<Owner>.<what> must be <rule>, got <short>. <What to do>." Arrays are never
printed. Where a built-in exception says the same thing (ValueError, TypeError, LookupError), ours derives
from it too, so that code written for SciPy keeps working.
"""

from __future__ import annotations

__all__ = [
    "ArrayError",
    "BrokenPluginError",
    "CapabilityError",
    "CheckpointError",
    "ConfigError",
    "ConvergenceError",
    "DataError",
    "DuplicateNameError",
    "KernelError",
    "MissingExtraError",
    "ParameterError",
    "PluginError",
    "ReconError",
    "ShapeError",
    "UnknownNameError",
]


class ReconError(Exception):
    """Base of all errors that recon raises on purpose."""


class ShapeError(ReconError, ValueError):
    """An array has the wrong shape."""


class ArrayError(ReconError, TypeError):
    """An array has the wrong library, device, dtype, or holds values that are not finite."""


class ParameterError(ReconError, ValueError):
    """A constructor or function argument breaks its declared rule."""


class CapabilityError(ReconError, TypeError):
    """An object lacks a method that a solver needs."""


class ConvergenceError(ReconError, RuntimeError):
    """Raised by :meth:`recon.Result.check` when a run did not end well."""


class CheckpointError(ReconError):
    """A state file is unreadable, damaged, or was written by another run."""


class ConfigError(ReconError, ValueError):
    """A run file is wrong; the text names the file, the key and the rule."""


class DataError(ReconError, OSError):
    """A data file is unreadable or incomplete, or a result cannot be written."""


class KernelError(ReconError, RuntimeError):
    """A compiled kernel is not available here, or failed."""


class PluginError(ReconError):
    """Base of the errors about plugins and the registry."""


class UnknownNameError(PluginError, LookupError):
    """The registry holds nothing of that name."""


class DuplicateNameError(PluginError):
    """Two plugins claim the same kind and name."""


class MissingExtraError(PluginError, ImportError):
    """An optional package is not installed; the text gives the pip line."""


class BrokenPluginError(PluginError):
    """A plugin cannot be loaded or breaks the contract; the text says why."""

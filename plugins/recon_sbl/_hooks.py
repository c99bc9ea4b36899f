"""What recon_sbl announces: sparse Bayesian learning."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES: list[Entry] = []


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)

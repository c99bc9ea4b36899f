"""What this package announces to recon; imports no implementation."""

from __future__ import annotations

from recon.entries import Entry
from recon.hookspecs import hookimpl

_JOSEPH = "Joseph, IEEE Trans. Med. Imaging 1 (1982) 192, doi:10.1109/TMI.1982.4307572"
_ASTRA = "van Aarle et al., Opt. Express 24 (2016) 25129, doi:10.1364/OE.24.025129"


@hookimpl
def recon_entries() -> list[Entry]:
    """The operators and benchmarks of this package."""
    return [
        Entry(
            kind="operator",
            name="parallel-beam",
            target="recon_operators.tomography:ParallelBeam",
            summary="2-D X-ray tomography with parallel rays",
            cites=(_JOSEPH, _ASTRA),
        ),
        Entry(
            kind="operator",
            name="fan-beam",
            target="recon_operators.tomography:FanBeam",
            summary="2-D X-ray tomography with a point source and a flat detector",
            cites=(_JOSEPH, _ASTRA),
        ),
        Entry(
            kind="bench",
            name="tomography",
            target="recon_operators.tomography.bench:cases",
            summary="Projection and back projection against ASTRA and scikit-image",
            cites=(_ASTRA,),
        ),
    ]

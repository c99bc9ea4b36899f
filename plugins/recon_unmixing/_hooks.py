"""What recon_unmixing announces: spectral unmixing."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES = [
    Entry(
        "operator",
        "mixing",
        "recon_unmixing.mixing:Mixing",
        "Linear mixing of endmember spectra",
        cites=("Bioucas-Dias et al., IEEE JSTARS 5 (2012)",),
    ),
    Entry(
        "loss",
        "band-l21",
        "recon_unmixing.losses:BandL21",
        "l2,1 norm of the residual, bands as groups",
        cites=("Nie, Huang, Cai and Ding, NIPS 23 (2010)",),
    ),
    Entry(
        "loss",
        "band-log",
        "recon_unmixing.losses:BandLog",
        "Gaussian noise of unknown variance in every band",
    ),
    Entry(
        "solver",
        "abundances",
        "recon_unmixing.abundances:Abundances",
        "Exact abundances of every pixel: UCLS, NNLS, FCLS, nonnegative lasso",
        cites=("Lawson and Hanson (1974)", "Heinz and Chang, IEEE TGRS 39 (2001)"),
        automatic=True,
    ),
    Entry(
        "solver",
        "robust-abundances",
        "recon_unmixing.abundances:RobustAbundances",
        "Abundances that bad bands do not spoil",
        cites=("Nie, Huang, Cai and Ding, NIPS 23 (2010)",),
        automatic=True,
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)

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
    Entry(
        "solver",
        "collaborative-lasso",
        "recon_unmixing.library:CollaborativeLasso",
        "Library unmixing, atoms shared by all pixels: l2,1 with a certified gap",
        cites=("Iordache, Bioucas-Dias and Plaza, IEEE TGRS 52 (2014)",),
        automatic=True,
    ),
    Entry(
        "solver",
        "spatial-lasso",
        "recon_unmixing.library:SpatialLasso",
        "Library unmixing with weights from neighbours and whole maps",
        cites=("Zhang et al., IEEE TGRS 56 (2018)",),
    ),
    Entry(
        "solver",
        "evidence-unmixing",
        "recon_unmixing.library:EvidenceUnmixing",
        "Library unmixing without a weight: atoms by the evidence of the scene",
        cites=("Wipf and Rao, IEEE TSP 55 (2007)",),
    ),
    Entry(
        "bench",
        "unmixing-library",
        "recon_unmixing.bench_library:cases",
        "Exact abundances with given spectra against peers",
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)

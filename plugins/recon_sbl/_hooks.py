"""What recon_sbl announces: sparse Bayesian learning."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES: list[Entry] = [
    Entry(
        "solver",
        "amp-sbl",
        "recon_sbl.amp:AmpSbl",
        "Sparse Bayesian learning by approximate message passing: two products per iteration, GAMP or unitary",
        cites=(
            "Al-Shoukairi, Schniter and Rao, IEEE Trans. Signal Process. 66 (2018)",
            "Luo et al., arXiv:2101.09954 (2021)",
        ),
    ),
    Entry(
        "solver",
        "iteratively-reweighted",
        "recon_sbl.reweighting:IterativelyReweighted",
        "Reweighted l2 and l1 with weights as a plug-in: FOCUSS, log-sum, and both forms of sparse Bayesian learning",
        cites=(
            "Wipf and Nagarajan, IEEE J. Sel. Top. Signal Process. 4 (2010)",
            "Chartrand and Yin, ICASSP (2008)",
        ),
    ),
    Entry(
        "solver",
        "cofem",
        "recon_sbl.cofem:Cofem",
        "Covariance-free sparse Bayesian learning of any operator: batched conjugate gradients and a few probes",
        cites=("Lin et al., IEEE Trans. Signal Process. 70 (2022)",),
    ),
    Entry("bench", "cofem", "recon_sbl.bench_cofem:cases", "Cofem against the algorithm as published"),
    Entry(
        "solver",
        "sbl",
        "recon_sbl.batch:Sbl",
        "Batch sparse Bayesian learning: bounding, EM and MacKay updates, snapshots, groups, learned noise",
        cites=("Tipping, J. Mach. Learn. Res. 1 (2001)", "Wipf and Nagarajan, NeuroImage 44 (2009)"),
    ),
    Entry(
        "bench",
        "sbl",
        "recon_sbl.bench:cases",
        "Sbl against MNE's gamma_map and scikit-learn's ARDRegression",
    ),
    Entry(
        "solver",
        "krosbl",
        "recon_sbl.kronecker.krosbl:KroSbl",
        "Kronecker-structured sparse Bayesian learning: supports that are products, searched by the evidence",
        cites=("He and Joseph, IEEE Trans. Signal Process. (2024)",),
    ),
    Entry(
        "solver",
        "komp",
        "recon_sbl.kronecker.komp:Komp",
        "Kronecker orthogonal matching pursuit: a support that is a product of supports",
        cites=("Caiafa and Cichocki, Neural Comput. 25 (2013)",),
    ),
    Entry(
        "solver",
        "separable-sbl",
        "recon_sbl.kronecker.separable:SeparableSbl",
        "Sparse Bayesian learning of Kronecker products of vectors, by a rank-one fit",
        cites=("He and Joseph, arXiv:2412.00310",),
    ),
    Entry(
        "solver",
        "pc-krosbl",
        "recon_sbl.kronecker.pattern:PcKroSbl",
        "Kronecker-structured sparse Bayesian learning with blocks in the supports of factors",
        cites=("He and Joseph, IEEE Trans. Signal Process. (2024)",),
    ),
    Entry(
        "solver",
        "block-sbl",
        "recon_sbl.blocks:Bsbl",
        "Block sparse Bayesian learning with correlation inside the blocks, also where they may start anywhere",
        cites=("Zhang and Rao, IEEE Trans. Signal Process. 61 (2013)",),
    ),
    Entry(
        "solver",
        "temporal-sbl",
        "recon_sbl.tmsbl:TMsbl",
        "Sparse Bayesian learning of snapshots that share a support and are correlated in time",
        cites=("Zhang and Rao, IEEE J. Sel. Topics Signal Process. 5 (2011)",),
    ),
    Entry(
        "solver",
        "pattern-sbl",
        "recon_sbl.pattern:PcSbl",
        "Pattern-coupled sparse Bayesian learning: blocks of unknown place and length",
        cites=("Fang, Shen, Li and Wang, IEEE Trans. Signal Process. 63 (2015)",),
    ),
    Entry(
        "dataset",
        "irs-mimo",
        "recon_sbl.irs_mimo:IrsMimo",
        "Channels over an intelligent reflecting surface: Kronecker operator, sparse blocks of angles",
        cites=("He and Joseph, IEEE Trans. Signal Process. (2024)",),
    ),
    Entry(
        "solver",
        "sequential-sbl",
        "recon_sbl.sequential:SequentialSbl",
        "Sequential sparse Bayesian learning: entries added, re-estimated or deleted one by one, best first",
        cites=("Tipping and Faul, AISTATS (2003)",),
    ),
    Entry(
        "solver",
        "budget-sbl",
        "recon_sbl.budget:BudgetSbl",
        "Sparse Bayesian learning with a budget: millions of unknowns, by products, the end certified",
        cites=("Tipping and Faul, AISTATS (2003)",),
    ),
    Entry(
        "bench",
        "sequential-sbl",
        "recon_sbl.bench_sequential:cases",
        "Sequential sparse Bayesian learning against 200 iterations of EM",
    ),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)

"""What the core itself announces: elementary operators, priors and losses."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_GOLUB = "Golub and Van Loan, Matrix computations, 4th ed., Johns Hopkins 2013"


@hookimpl
def recon_entries() -> list[Entry]:
    return [*_operators(), *_priors(), *_losses()]


def _operators() -> list[Entry]:
    return [
        Entry("operator", "identity", "recon.algebra:Identity", "The identity: denoising", cites=(_GOLUB,)),
        Entry("operator", "diagonal", "recon.algebra:Diagonal",
              "Pointwise multiplication: masks, weights, inpainting", cites=(_GOLUB,)),
        Entry("operator", "matrix", "recon.algebra:Matrix", "A dense matrix", cites=(_GOLUB,)),
        Entry("operator", "kronecker", "recon.kronecker:Kronecker", "Kronecker product, one factor per axis",
              cites=("Van Loan, J. Comput. Appl. Math. 123 (2000) 85, doi:10.1016/S0377-0427(00)00393-9",)),
        Entry("operator", "sparse-matrix", "recon.sparse:SparseMatrix", "A sparse matrix of SciPy",
              cites=("Saad, Iterative methods for sparse linear systems, SIAM 2003, doi:10.1137/1.9780898718003",)),
        Entry("operator", "gradient", "recon.derivatives:Gradient", "Forward differences with Neumann boundary",
              cites=("Chambolle, J. Math. Imaging Vis. 20 (2004) 89, doi:10.1023/B:JMIV.0000011325.36760.1e",)),
        Entry("operator", "finite-difference", "recon.derivatives:FiniteDifference",
              "First or second differences along an axis, three schemes and boundaries",
              cites=("LeVeque, Finite difference methods, SIAM 2007, doi:10.1137/1.9780898717839",)),
    ]  # fmt: skip


def _priors() -> list[Entry]:
    tv = ("Rudin, Osher and Fatemi, Physica D 60 (1992)", "Beck and Teboulle, IEEE TIP 18 (2009)")
    return [
        Entry("prior", "l1", "recon.priors:L1", "w sum |x|: sparse images", cites=("Tibshirani, JRSS B 58 (1996)",)),
        Entry("prior", "l2", "recon.priors:L2", "w/2 sum |x|^2: small images (Tikhonov)"),
        Entry("prior", "l21", "recon.priors:L21", "w sum of group lengths: entries that vanish together",
              cites=("Yuan and Lin, JRSS B 68 (2006)",)),
        Entry("prior", "tv", "recon.priors:TV", "w TV(x): piecewise constant images", cites=tv),
        Entry("prior", "nuclear", "recon.priors:Nuclear", "w sum of singular values: low-rank matrices",
              cites=("Cai, Candes and Shen, SIAM J. Optim. 20 (2010)",)),
        Entry("prior", "nonnegative", "recon.priors:NonNegative", "x >= 0"),
        Entry("prior", "box", "recon.priors:Box", "lower <= x <= upper"),
        Entry("prior", "simplex", "recon.priors:Simplex", "x >= 0 with a fixed sum along an axis"),
    ]  # fmt: skip


def _losses() -> list[Entry]:
    return [
        Entry("loss", "least-squares", "recon.losses:LeastSquares", "1/2 ||A x - y||^2: Gaussian noise"),
        Entry("loss", "weighted-least-squares", "recon.losses:WeightedLeastSquares",
              "1/2 sum w |A x - y|^2: Gaussian noise of known variance per entry"),
        Entry("loss", "poisson", "recon.losses:Poisson", "Kullback-Leibler divergence: counts"),
    ]  # fmt: skip

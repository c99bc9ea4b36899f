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
        Entry("prior", "huber", "recon.priors:Huber", "w sum h(|x|), quadratic near 0: small images with outliers",
              cites=("Huber, Ann. Math. Stat. 35 (1964) 73, doi:10.1214/aoms/1177703732",)),
        Entry("prior", "huber-tv", "recon.priors:HuberTV", "TV with small differences squared: slopes and edges",
              cites=("Huber, Ann. Math. Stat. 35 (1964) 73, doi:10.1214/aoms/1177703732", *tv)),
        Entry("prior", "tgv", "recon.priors:TGV", "Total generalised variation of second order: affine pieces",
              cites=("Bredies, Kunisch and Pock, SIAM J. Imaging Sci. 3 (2010) 492, doi:10.1137/090769521",)),
        Entry("prior", "denoiser", "recon.priors:Denoiser", "Plug-and-play: any denoiser as a prior",
              cites=("Venkatakrishnan, Bouman and Wohlberg, GlobalSIP (2013), doi:10.1109/GlobalSIP.2013.6737048",)),
        Entry("prior", "nuclear", "recon.priors:Nuclear", "w sum of singular values: low-rank matrices",
              cites=("Cai, Candes and Shen, SIAM J. Optim. 20 (2010)",)),
        Entry("prior", "nonnegative", "recon.priors:NonNegative", "x >= 0"),
        Entry("prior", "box", "recon.priors:Box", "lower <= x <= upper"),
        Entry("prior", "simplex", "recon.priors:Simplex", "x >= 0 with a fixed sum along an axis"),
        Entry("prior", "l0", "recon.priors:L0", "w times the number of nonzeros (not convex)",
              cites=("Blumensath and Davies, J. Fourier Anal. Appl. 14 (2008) 629",)),
        Entry("prior", "lp", "recon.priors:Lp", "w sum |x|^p with 0 < p < 1 (not convex)",
              cites=("Xu et al., IEEE TNNLS 23 (2012) 1013", "Zuo et al., ICCV (2013)")),
        Entry("prior", "top-k", "recon.priors:TopK", "at most k nonzeros (not convex)",
              cites=("Blumensath and Davies, Appl. Comput. Harmon. Anal. 27 (2009) 265",)),
        Entry("prior", "n-of-m", "recon.priors:NofM", "at most n nonzeros in every block of m (not convex)",
              cites=("Zhou et al., ICLR (2021), arXiv:2102.04010",)),
        Entry("prior", "group-envelope", "recon.priors:GroupEnvelope",
              "Convex envelope of few and small groups; squared k-support norm",
              cites=("Refael, Arbel and Huleihel, arXiv:2212.12921",
                     "Argyriou, Foygel and Srebro, NIPS (2012), arXiv:1204.5043")),
        Entry("prior", "l1-ball", "recon.balls:L1Ball", "sum |x| <= r",
              cites=("Duchi et al., ICML (2008)",)),
    ]  # fmt: skip


def _losses() -> list[Entry]:
    return [
        Entry("loss", "least-squares", "recon.losses:LeastSquares", "1/2 ||A x - y||^2: Gaussian noise"),
        Entry("loss", "weighted-least-squares", "recon.losses:WeightedLeastSquares",
              "1/2 sum w |A x - y|^2: Gaussian noise of known variance per entry"),
        Entry("loss", "residual-ball", "recon.balls:ResidualBall", "||A x - y|| <= r: basis pursuit denoising",
              cites=("van den Berg and Friedlander, SIAM J. Sci. Comput. 31 (2008) 890",)),
        Entry("loss", "poisson", "recon.losses:Poisson", "Kullback-Leibler divergence: counts"),
    ]  # fmt: skip

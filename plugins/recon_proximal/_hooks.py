"""What recon_proximal announces: convex solvers."""

from recon.entries import Entry
from recon.hookspecs import hookimpl

_ENTRIES = [
    Entry(
        "solver",
        "fista",
        "recon_proximal.fista:Fista",
        "Accelerated proximal gradient with adaptive restart",
        cites=(
            "Beck and Teboulle, SIAM J. Imaging Sci. 2 (2009)",
            "O'Donoghue and Candes, FoCM 15 (2015)",
        ),
        automatic=True,
    ),
    Entry(
        "solver",
        "pdhg",
        "recon_proximal.pdhg:Pdhg",
        "Primal-dual hybrid gradient with diagonal preconditioning and self-balancing steps",
        cites=("Chambolle and Pock, JMIV 40 (2011)", "Pock and Chambolle, ICCV (2011)"),
        automatic=True,
    ),
    Entry(
        "solver",
        "cgls",
        "recon_proximal.cgls:Cgls",
        "Conjugate gradients for (damped, weighted) least squares",
        cites=("Hestenes and Stiefel, J. Res. NBS 49 (1952)", "Bjoerck, SIAM (1996), algorithm 7.4.1"),
        automatic=True,
    ),
    Entry(
        "solver",
        "sirt",
        "recon_proximal.sirt:Sirt",
        "Simultaneous iterative reconstruction, with bounds",
        cites=("Gilbert, J. Theor. Biol. 36 (1972)", "Gregor and Benson, IEEE TMI 27 (2008)"),
    ),
    Entry(
        "solver",
        "admm",
        "recon_proximal.admm:Admm",
        "Alternating directions with preconditioned conjugate gradients and residual balancing",
        cites=("Boyd et al., Found. Trends ML 3 (2011)", "Wohlberg, arXiv:1704.06209 (2017)"),
        automatic=True,
    ),
    Entry(
        "solver",
        "perturb-and-solve",
        "recon_proximal.perturb:PerturbAndSolve",
        "Exact posterior draws of a quadratic problem",
        cites=(
            "Papandreou and Yuille, NIPS 23 (2010)",
            "Orieux, Feron and Giovannelli, IEEE SPL 19 (2012)",
        ),
    ),
    Entry(
        "solver",
        "myula",
        "recon_proximal.langevin:Myula",
        "Langevin draws from the posterior of a convex problem",
        cites=("Durmus, Moulines and Pereyra, SIAM J. Imaging Sci. 11 (2018)",),
    ),
    Entry(
        "solver",
        "sk-rock",
        "recon_proximal.langevin:SkRock",
        "Langevin draws with several gradients and a long step each",
        cites=("Pereyra, Vargas Mieles and Zygalakis, SIAM J. Imaging Sci. 13 (2020)",),
    ),
    Entry(
        "solver",
        "pogm",
        "recon_proximal.pogm:Pogm",
        "Proximal optimized gradient method with adaptive restart",
        cites=(
            "Taylor, Hendrickx and Glineur, SIAM J. Optim. 27 (2017)",
            "Kim and Fessler, JOTA 178 (2018)",
        ),
    ),
    Entry(
        "solver",
        "condat-vu",
        "recon_proximal.condat_vu:CondatVu",
        "Primal-dual splitting with a gradient step for the loss",
        cites=("Condat, JOTA 158 (2013)", "Vu, Adv. Comput. Math. 38 (2013)"),
    ),
    Entry(
        "solver",
        "pd3o",
        "recon_proximal.pd3o:Pd3o",
        "Primal-dual three-operator splitting (Davis-Yin where nothing splits)",
        cites=(
            "Yan, J. Sci. Comput. 76 (2018)",
            "Davis and Yin, Set-Valued Var. Anal. 25 (2017)",
        ),
    ),
    Entry(
        "solver",
        "lsqr",
        "recon_proximal.lsqr:Lsqr",
        "Golub-Kahan bidiagonalisation for (damped, weighted) least squares",
        cites=("Paige and Saunders, ACM TOMS 8 (1982)",),
    ),
    Entry(
        "solver",
        "os-sart",
        "recon_proximal.os_sart:OsSart",
        "Ordered subsets of views, with bounds",
        cites=(
            "Andersen and Kak, Ultrason. Imaging 6 (1984)",
            "Wang and Jiang, J. X-Ray Sci. Technol. 12 (2004)",
        ),
    ),
    Entry(
        "solver",
        "hqs",
        "recon_proximal.hqs:Hqs",
        "Plug-and-play half-quadratic splitting with a falling noise level",
        cites=("Zoran and Weiss, ICCV (2011)", "Zhang et al., IEEE TPAMI 44 (2022)"),
    ),
    Entry(
        "solver",
        "red",
        "recon_proximal.red:Red",
        "Regularisation by denoising, accelerated",
        cites=(
            "Romano, Elad and Milanfar, SIAM J. Imaging Sci. 10 (2017)",
            "Reehorst and Schniter, IEEE TCI 5 (2019)",
        ),
    ),
    Entry(
        "solver",
        "active-set",
        "recon_proximal.active_set:ActiveSet",
        "The lasso on explicit matrices by a growing set of columns, gap certified",
        cites=(
            "Massias, Gramfort and Salmon, ICML (2018), arXiv:1802.07481",
            "Lee, Battle, Raina and Ng, NIPS (2006)",
        ),
        automatic=True,
    ),
    Entry(
        "solver",
        "relaxed-iht",
        "recon_proximal.iht:RelaxedIht",
        "Iterative hard thresholding with normalised steps, for sparse sets and L0, Lp",
        cites=(
            "Blumensath and Davies, Appl. Comput. Harmon. Anal. 27 (2009) 265",
            "Blumensath and Davies, IEEE J. Sel. Top. Signal Process. 4 (2010) 298",
        ),
        automatic=True,
    ),
    Entry(
        "solver",
        "omp",
        "recon_proximal.greedy:Omp",
        "Orthogonal matching pursuit: one entry after the other",
        cites=(
            "Pati, Rezaiifar and Krishnaprasad, Asilomar (1993)",
            "Tropp and Gilbert, IEEE TIT 53 (2007)",
        ),
    ),
    Entry(
        "solver",
        "cosamp",
        "recon_proximal.greedy:CoSamp",
        "Compressive sampling matching pursuit: 2 k entries in, k kept",
        cites=("Needell and Tropp, Appl. Comput. Harmon. Anal. 26 (2009) 301",),
    ),
    Entry(
        "solver",
        "reweighted",
        "recon_proximal.reweighted:Reweighted",
        "Reweighted l1 around any solver",
        cites=("Candes, Wakin and Boyd, J. Fourier Anal. Appl. 14 (2008) 877",),
    ),
    Entry("bench", "lasso", "recon_proximal.bench_lasso:cases", "The lasso to a gap of 1e-6, against peers"),
    Entry(
        "bench",
        "convex",
        "recon_proximal.bench_convex:cases",
        "Convex problems to a gap of 1e-4, against peers",
    ),
    Entry("bench", "overhead", "recon_proximal.bench:cases", "What solve costs beyond loops written by hand"),
]


@hookimpl
def recon_entries() -> list[Entry]:
    return list(_ENTRIES)

"""What recon_proximal announces: convex solvers."""

from recon.entries import Entry
from recon.hookspecs import hookimpl


@hookimpl
def recon_entries() -> list[Entry]:
    return [
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
            "Alternating directions with warm-started conjugate gradients and residual balancing",
            cites=("Boyd et al., Found. Trends ML 3 (2011)",),
        ),
        Entry(
            "bench", "overhead", "recon_proximal.bench:cases", "What solve costs beyond loops written by hand"
        ),
    ]

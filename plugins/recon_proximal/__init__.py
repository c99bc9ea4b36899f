"""Convex solvers and posterior samplers (each loaded when it is first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_proximal.active_set import ActiveSet
    from recon_proximal.admm import Admm
    from recon_proximal.cgls import Cgls
    from recon_proximal.condat_vu import CondatVu
    from recon_proximal.fista import Fista
    from recon_proximal.greedy import CoSamp, Omp
    from recon_proximal.hqs import Hqs
    from recon_proximal.iht import RelaxedIht
    from recon_proximal.langevin import Myula, SkRock
    from recon_proximal.lsqr import Lsqr
    from recon_proximal.networks_torch import load_dncnn, load_ffdnet
    from recon_proximal.one_material import one_material
    from recon_proximal.os_sart import OsSart
    from recon_proximal.pd3o import Pd3o
    from recon_proximal.pdhg import Pdhg
    from recon_proximal.perturb import PerturbAndSolve
    from recon_proximal.pogm import Pogm
    from recon_proximal.red import Red
    from recon_proximal.reweighted import Reweighted
    from recon_proximal.sirt import Sirt

_HOMES = {
    "ActiveSet": "active_set",
    "Admm": "admm",
    "Cgls": "cgls",
    "CoSamp": "greedy",
    "CondatVu": "condat_vu",
    "Fista": "fista",
    "Hqs": "hqs",
    "load_dncnn": "networks_torch",
    "load_ffdnet": "networks_torch",
    "Lsqr": "lsqr",
    "Myula": "langevin",
    "Omp": "greedy",
    "one_material": "one_material",
    "OsSart": "os_sart",
    "Pd3o": "pd3o",
    "Pdhg": "pdhg",
    "PerturbAndSolve": "perturb",
    "Pogm": "pogm",
    "Red": "red",
    "RelaxedIht": "iht",
    "Reweighted": "reweighted",
    "Sirt": "sirt",
    "SkRock": "langevin",
}

__all__ = [
    "ActiveSet",
    "Admm",
    "Cgls",
    "CoSamp",
    "CondatVu",
    "Fista",
    "Hqs",
    "Lsqr",
    "Myula",
    "Omp",
    "OsSart",
    "Pd3o",
    "Pdhg",
    "PerturbAndSolve",
    "Pogm",
    "Red",
    "RelaxedIht",
    "Reweighted",
    "Sirt",
    "SkRock",
    "load_dncnn",
    "load_ffdnet",
    "one_material",
]


__getattr__ = on_first_use(__name__, _HOMES)

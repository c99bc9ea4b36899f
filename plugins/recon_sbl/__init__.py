"""Sparse Bayesian learning: sparsity whose prior variances are learned from the data (loaded when first used)."""

from typing import TYPE_CHECKING

from recon.lazy import on_first_use

if TYPE_CHECKING:
    from recon_sbl._matrix_free import MatrixFree
    from recon_sbl.amp import AmpSbl
    from recon_sbl.batch import Sbl
    from recon_sbl.blocks import Bsbl
    from recon_sbl.budget import BudgetSbl
    from recon_sbl.cofem import Cofem
    from recon_sbl.engines import CoefficientForm, DataForm, Direct
    from recon_sbl.irs_mimo import IrsMimo, channel_nmse, symbol_error_rate
    from recon_sbl.kronecker.form import KroneckerForm
    from recon_sbl.kronecker.komp import Komp
    from recon_sbl.kronecker.krosbl import KroSbl
    from recon_sbl.kronecker.pattern import PcKroSbl
    from recon_sbl.kronecker.separable import SeparableSbl
    from recon_sbl.pattern import PcSbl
    from recon_sbl.regressor import SBLRegressor
    from recon_sbl.reweighting import IterativelyReweighted
    from recon_sbl.sequential import SequentialSbl
    from recon_sbl.tmsbl import TMsbl
    from recon_sbl.weight_rules import LogSumRule, LpRule, Round, SblL1Rule, SblL2Rule, WeightRule

_HOMES: dict[str, str] = {
    "AmpSbl": "amp",
    "Bsbl": "blocks",
    "BudgetSbl": "budget",
    "CoefficientForm": "engines",
    "Cofem": "cofem",
    "DataForm": "engines",
    "Direct": "engines",
    "IrsMimo": "irs_mimo",
    "IterativelyReweighted": "reweighting",
    "Komp": "kronecker.komp",
    "KroSbl": "kronecker.krosbl",
    "KroneckerForm": "kronecker.form",
    "LogSumRule": "weight_rules",
    "LpRule": "weight_rules",
    "MatrixFree": "_matrix_free",
    "PcKroSbl": "kronecker.pattern",
    "PcSbl": "pattern",
    "Round": "weight_rules",
    "SBLRegressor": "regressor",
    "Sbl": "batch",
    "SblL1Rule": "weight_rules",
    "SblL2Rule": "weight_rules",
    "SeparableSbl": "kronecker.separable",
    "SequentialSbl": "sequential",
    "TMsbl": "tmsbl",
    "WeightRule": "weight_rules",
    "channel_nmse": "irs_mimo",
    "symbol_error_rate": "irs_mimo",
}

__all__ = [
    "AmpSbl",
    "Bsbl",
    "BudgetSbl",
    "CoefficientForm",
    "Cofem",
    "DataForm",
    "Direct",
    "IrsMimo",
    "IterativelyReweighted",
    "Komp",
    "KroSbl",
    "KroneckerForm",
    "LogSumRule",
    "LpRule",
    "MatrixFree",
    "PcKroSbl",
    "PcSbl",
    "Round",
    "SBLRegressor",
    "Sbl",
    "SblL1Rule",
    "SblL2Rule",
    "SeparableSbl",
    "SequentialSbl",
    "TMsbl",
    "WeightRule",
    "channel_nmse",
    "symbol_error_rate",
]


__getattr__ = on_first_use(__name__, _HOMES)

"""The parametrised baseline: fit showers of Geant4 by formulas, and draw others in no time.

Longitudinal and radial profiles and their fluctuations follow Grindhammer & Peters, hep-ex/0001020.
A learned model that is no better than this is of no use.
"""

from physics_twins.calorimeter.baseline.fit import fit_parametrised
from physics_twins.calorimeter.baseline.generate import ParametrisedShower, generate

__all__ = ["ParametrisedShower", "fit_parametrised", "generate"]

"""TODO."""

import numpy as np
import pandas as pd


def holm(p_values: pd.Series) -> pd.Series:
    """Holm's correction over the entries that are not null; the others stay null."""
    from statsmodels.stats.multitest import multipletests

    corrected = pd.Series(np.nan, index=p_values.index, dtype="float64")
    known = p_values.dropna().astype("float64")
    if len(known):
        corrected[known.index] = multipletests(known.to_numpy(), method="holm")[1]
    return corrected


IDENTICAL, TOO_FEW, UNSTABLE = "identical", "too few runs", "unstable"
BETTER, WORSE, UNCLEAR = "better", "worse", "no clear difference"

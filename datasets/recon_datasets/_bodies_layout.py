"""Where the numbers of a shape lie in its row: apart, so that listing bodies does not import the compiler."""

__all__ = ["COLUMNS", "FIRST_WAVE", "WAVES"]

WAVES, FIRST_WAVE = 4, 17  # of the texture of a shape, and where they begin in its row
COLUMNS = FIRST_WAVE + 5 * WAVES

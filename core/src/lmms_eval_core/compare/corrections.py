"""p values of many comparisons at once: Holm's correction, and the false discovery rate of Benjamini and Hochberg."""

from collections.abc import Sequence


def correct_by_holm(p_values: Sequence[float]) -> list[float]:
    """Return adjusted p values: the chance of a single false alarm among all stays below the level."""
    count, largest = len(p_values), 0.0
    adjusted = [1.0] * count
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__)):
        largest = max(largest, min(1.0, (count - rank) * p_values[place]))
        adjusted[place] = largest
    return adjusted


def correct_by_benjamini_hochberg(p_values: Sequence[float]) -> list[float]:
    """Return q values: the share of false alarms among all alarms stays below the level."""
    count, smallest = len(p_values), 1.0
    adjusted = [1.0] * count
    for rank, place in enumerate(sorted(range(count), key=p_values.__getitem__, reverse=True)):
        smallest = min(smallest, count / (count - rank) * p_values[place])
        adjusted[place] = smallest
    return adjusted

"""Statistics of a comparison: order statistics, intervals, paired differences, equal seconds."""

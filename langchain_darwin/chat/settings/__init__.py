"""The settings of a call: their names, their values, and all of them resolved once."""

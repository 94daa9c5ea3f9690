"""Parts that know nothing of models: event loops, HTTP retries, prefixes, fingerprints, ranges."""

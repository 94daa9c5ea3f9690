"""Parts that know no model, no policy and no reward.

Each file is independent of the others. `background_loop.py` and `forks.py` are about threads and processes,
`http_retries.py` about servers. `prefixes.py` and the folder `text` are about text. The folder `fingerprints`
identifies code and data, `ranges.py` checks settings, and `lazy_names.py` keeps imports light.
"""

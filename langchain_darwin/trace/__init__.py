"""The one record of a search: JSON lines out, whole events in.

Read `records.py` first: it defines a line of a trace. `writer.py` writes them, and `reader.py` reads a file as whole
events. `streaming.py` reads long files run by run. `preference_pairs.py` makes training data of them.

A file holds one record a line and any number of searches, also concurrent ones. Each record names its
`run`, its number `n` in the run and the seconds `t` since the run began. The first record of a run is its
header. The others are the events of `search/base.py` by class name. `Failed` is the last record if an error ended
the run.

A beam is written as its changes since the last record of the same beam, or of the beam it was copied from
(`from`). So a trace grows with the length of the texts and not with its square. A field that is absent did not
change. The fields are:

- `tokens`: the ids to add after the first `keep` (all, if absent)
- `text`: likewise after the first `text_at` characters
- `prompt`: a list of ids, or the number of an earlier one
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from langchain_darwin.runtime.lazy_names import lazy_names

if TYPE_CHECKING:
    from langchain_darwin.trace.reader import Round, Trace, read_trace, traces
    from langchain_darwin.trace.records import FORMAT, Memory, beams_of, from_record, to_record
    from langchain_darwin.trace.streaming import stream_traces
    from langchain_darwin.trace.writer import TraceWriter

__all__ = [
    "FORMAT",
    "Memory",
    "Round",
    "Trace",
    "TraceWriter",
    "beams_of",
    "from_record",
    "read_trace",
    "stream_traces",
    "to_record",
    "traces",
]

_HOMES = {
    "FORMAT": "records",
    "Memory": "records",
    "Round": "reader",
    "Trace": "reader",
    "TraceWriter": "writer",
    "beams_of": "records",
    "from_record": "records",
    "read_trace": "reader",
    "stream_traces": "streaming",
    "to_record": "records",
    "traces": "reader",
}

if not TYPE_CHECKING:  # a checker that saw `__getattr__` would take any name for one of these
    __getattr__, __dir__ = lazy_names(__name__, _HOMES, __all__)

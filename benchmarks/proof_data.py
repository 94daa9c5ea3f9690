"""The data of benchmarks/proof.py, from the Hugging Face hub: the prompts and pairs of docs/results.md, in their order.

    python benchmarks/proof_data.py FOLDER

They are samples of IFEval (Apache-2.0), of AlpacaEval (CC BY-NC 4.0) and of the harmless-base test set of Anthropic's
HH (MIT). Nothing of them is kept here but digests to find them by, in proof_lines.json. About 2 MB are downloaded.
"""

import argparse
import gzip
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

Record = dict[str, Any]
LINES = Path(__file__).with_name("proof_lines.json")


@dataclass(frozen=True)
class Source:
    """Where a set lies on the hub, how its file is read, and the fields that are enough to know a record by."""

    repo: str
    file: str
    read: Callable[[Path], Iterable[Record]]
    known_by: tuple[str, ...]

    def digest(self, record: Record) -> str:
        text = json.dumps([record[name] for name in self.known_by])
        return hashlib.sha256(text.encode()).hexdigest()[:8]


def ifeval(path: Path) -> Iterator[Record]:
    return map(json.loads, _lines(path.read_bytes()))


def alpaca_eval(path: Path) -> Iterator[Record]:
    return ({name: record[name] for name in ("instruction", "dataset")} for record in json.loads(path.read_bytes()))


def hh(path: Path) -> Iterator[Record]:
    """Pairs of two replies to the same dialogue, apart from it."""
    for record in map(json.loads, _lines(gzip.decompress(path.read_bytes()))):
        prompt, _, chosen = record["chosen"].rpartition("\n\nAssistant:")
        other, _, rejected = record["rejected"].rpartition("\n\nAssistant:")
        if prompt == other:
            yield {"prompt": prompt.strip(), "chosen": chosen.strip(), "rejected": rejected.strip()}


def _lines(content: bytes) -> list[str]:
    """Of JSON; `str.splitlines` would divide at characters that may stand in a text."""
    return content.decode().rstrip("\n").split("\n")


SOURCES = {
    "ifeval_dev.jsonl": Source("google/IFEval", "ifeval_input_data.jsonl", ifeval, ("prompt",)),
    "alpaca_eval_dev.jsonl": Source("tatsu-lab/alpaca_eval", "alpaca_eval.json", alpaca_eval, ("instruction",)),
    "hh_harmless_dev.jsonl": Source(
        "Anthropic/hh-rlhf", "harmless-base/test.jsonl.gz", hh, ("prompt", "chosen", "rejected")
    ),
}


def select(name: str, records: Iterable[Record]) -> list[Record]:
    """The records of the proof, in its order, found among all of a set."""
    digest = SOURCES[name].digest
    found = {digest(record): record for record in records}
    wanted = json.loads(LINES.read_text(encoding="utf-8"))[name]
    if missing := [one for one in wanted if one not in found]:
        raise SystemExit(f"{name}: {len(missing)} of {len(wanted)} records are not in {SOURCES[name].repo} any more")
    return [found[one] for one in wanted]


def main() -> None:
    from huggingface_hub import hf_hub_download

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="where to write the three files")
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in SOURCES.items():
        try:
            downloaded = Path(hf_hub_download(source.repo, source.file, repo_type="dataset"))
        except OSError as error:
            parser.exit(1, f"{source.repo} could not be read from the hub: {error}\n")
        records = select(name, source.read(downloaded))
        text = "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)
        (folder / name).write_text(text, encoding="utf-8")
        print(f"{folder / name}: {len(records)} of {source.repo}")


if __name__ == "__main__":
    main()

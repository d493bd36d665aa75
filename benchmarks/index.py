"""Exact search beside a matrix product, faiss and usearch: time and recall, whole index and filtered.

    python benchmarks/index.py [--sizes 32735 1000000] [--queries 60]

Vectors are drawn like embeddings: one common direction, 200 clumps, spread about them; queries likewise. Each side
answers the same queries one by one, k = 9, sides taking turns; medians. Recall is against float64 cosines of all
vectors. Every answer of ours has to equal that ranking, also under filters of 0.1 % to 100 %: the run ends if not.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import describe

from lesiondash import Index
from lesiondash.retrieval.table import Where
from lesiondash.retrieval.vectors import exact_cosines

SIZE, K = 512, 9
BARS_MS = {32_735: 2.0, 1_000_000: 100.0}
SELECTED = (0.001, 0.01, 0.1, 0.5, 1.0)
BATCH_BAR = 20_000
Answer = Callable[[np.ndarray], np.ndarray]


def vectors_like_embeddings(random: np.random.Generator, count: int) -> np.ndarray:
    clumps = random.normal(size=(200, SIZE)).astype(np.float32)
    drawn = np.empty((count, SIZE), np.float32)
    for start in range(0, count, 65536):
        part = slice(start, min(count, start + 65536))
        number = part.stop - part.start
        noise = random.standard_normal((number, SIZE), dtype=np.float32)
        drawn[part] = 2 + clumps[random.integers(0, 200, number)] + 0.7 * noise
        drawn[part] /= np.linalg.norm(drawn[part], axis=1, keepdims=True)
    return drawn


def exact(vectors: np.ndarray, query: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The nine best rows by float64 cosines of all of them, equal ones by number."""
    wide = query.astype(np.float64)
    wide /= np.linalg.norm(wide)
    scores = np.concatenate(
        [exact_cosines(vectors[part], wide) for part in np.array_split(rows, len(rows) // 65536 + 1)]
    )
    keep = np.argpartition(-scores, min(K, len(scores)) - 1)[: 4 * K] if len(scores) > 4 * K else np.arange(len(scores))
    keep = np.flatnonzero(scores >= np.sort(scores[keep])[::-1][:K].min())
    return rows[keep[np.lexsort((rows[keep], -scores[keep]))][:K]]


def peers(vectors: np.ndarray) -> dict[str, Answer]:
    """The other sides, as far as they are installed."""
    tensor = torch.from_numpy(vectors)
    found: dict[str, Answer] = {
        "torch matmul + topk": lambda q: torch.topk(tensor @ torch.from_numpy(q), K).indices.numpy(),
    }
    try:
        import faiss

        flat = faiss.IndexFlatIP(SIZE)
        flat.add(vectors)
        found["faiss Flat"] = lambda q: flat.search(q[None], K)[1][0]
        cells = faiss.IndexIVFFlat(faiss.IndexFlatIP(SIZE), SIZE, 256, faiss.METRIC_INNER_PRODUCT)
        cells.train(vectors[:20_000])
        cells.add(vectors)
        cells.nprobe = 16
        found["faiss IVF, 16 of 256 cells"] = lambda q: cells.search(q[None], K)[1][0]
        if len(vectors) < 200_000:
            graph = faiss.IndexHNSWFlat(SIZE, 32, faiss.METRIC_INNER_PRODUCT)
            graph.add(vectors)
            graph.hnsw.efSearch = 64
            found["faiss HNSW, 64"] = lambda q: graph.search(q[None], K)[1][0]
    except ImportError:
        print("faiss is not installed: its rows are left out; `pip install faiss-cpu` brings them.")
    try:
        from usearch.index import Index as USearch

        if len(vectors) < 200_000:
            near = USearch(ndim=SIZE, metric="ip", dtype="f32")
            near.add(np.arange(len(vectors)), vectors)
            found["usearch"] = lambda q: np.asarray(near.search(q, K).keys)
    except ImportError:
        print("usearch is not installed: its row is left out; `pip install usearch` brings it.")
    return found


def measure(count: int, queries: int) -> None:
    random = np.random.default_rng(0)
    start = time.perf_counter()
    vectors = vectors_like_embeddings(random, count + queries)
    vectors, asked = vectors[:count], vectors[count:]
    # Ids of equal length: their order is that of the rows.
    table = {
        "lesion_id": [f"{row:08d}" for row in range(count)],
        "patient_id": [f"p{row // 7}" for row in range(count)],
        "type": ["lung", "liver"] * (count // 2) + ["lung"] * (count % 2),
    }
    index = Index(vectors, table)
    index.search(asked[0])  # makes the codes and compiles
    print(f"\n{count:,} × {SIZE}, drawn, indexed and encoded in {time.perf_counter() - start:.0f} s")
    everything = np.arange(count)
    truth = [exact(index.vectors, query, everything) for query in asked]
    sides: dict[str, Answer] = {
        "ours": lambda q: np.array([hit.row for hit in index.search(q, K)]),
        **peers(vectors),
    }
    times: dict[str, list[float]] = {name: [] for name in sides}
    recalls: dict[str, list[float]] = {name: [] for name in sides}
    for query, best in zip(asked, truth, strict=True):
        for name, answer in sides.items():
            begin = time.perf_counter()
            found = answer(query)
            times[name].append(1000 * (time.perf_counter() - begin))
            recalls[name].append(len(set(found.tolist()) & set(best.tolist())) / K)
            if name == "ours" and found.tolist() != best.tolist():
                raise SystemExit("An answer differs from the float64 ranking.")
    ours = statistics.median(times["ours"])
    for name, values in times.items():
        p50 = statistics.median(values)
        bar = (
            f"   at most {BARS_MS[count]:g} ms {'pass' if p50 <= BARS_MS[count] else 'MISS'}"
            if name == "ours" and count in BARS_MS
            else ""
        )
        print(f"{name:<28} p50 {p50:8.2f} ms   {p50 / ours:6.1f} × ours   recall {np.mean(recalls[name]):.4f}{bar}")
    filtered(index, asked, everything, random)
    with tempfile.TemporaryDirectory() as folder:
        begin = time.perf_counter()
        index.save(folder)
        saved = time.perf_counter() - begin
        begin = time.perf_counter()
        Index.load(folder, verify=False)
        loaded = time.perf_counter() - begin
        begin = time.perf_counter()
        Index.load(folder)
        print(
            f"saved in {saved:.2f} s, opened in {loaded:.2f} s, with every checksum {time.perf_counter() - begin:.2f} s"
        )


def filtered(index: Index, asked: np.ndarray, everything: np.ndarray, random: np.random.Generator) -> None:
    """A share of the lesions in no order, by their ids as a list, an array, the same tuple again, and by rows."""
    ids = np.array(index.lesions["lesion_id"])
    index.search(asked[0], K, where=Where(ids=ids.tolist()))  # makes the table of ids
    for share in SELECTED:
        rows = random.choice(everything, max(K, round(share * len(everything))), replace=False)
        chosen = ids[rows]
        truth = {number: exact(index.vectors, query, np.sort(rows)).tolist() for number, query in enumerate(asked[:8])}
        known = tuple(chosen.tolist())
        index.search(asked[0], K, where=Where(ids=known))
        forms: dict[str, dict[str, object]] = {
            "list": {"ids": list(known)},
            "set": {"ids": set(known)},
            "array": {"ids": chosen},
            "tuple, again": {"ids": known},
            "rows": {"rows": rows},
        }
        said = []
        for name, where in forms.items():
            spent, worked = [], []
            for number, query in enumerate(asked[:8]):
                begin, began = time.perf_counter(), time.process_time()
                found = [hit.row for hit in index.search(query, K, where=Where(**where))]
                spent.append(1000 * (time.perf_counter() - begin))
                worked.append(1000 * (time.process_time() - began))
                if found != truth[number]:
                    raise SystemExit(f"An answer among {share:.1%} differs from the float64 ranking.")
            said.append(f"{name} {statistics.median(spent):.2f} ({statistics.median(worked):.2f})")
        print(f"among {share:6.1%}, p50 ms (of both processors): {', '.join(said)}")
    begin = time.perf_counter()
    for row in range(20):
        index.search(asked[row % len(asked)], K, "cross", patient_id="p3", where=Where(types=["lung"]))
    print(f"other patients, one type            mean {50 * (time.perf_counter() - begin):8.2f} ms")


def batch() -> None:
    random = np.random.default_rng(1)
    vectors = vectors_like_embeddings(random, 5_000)
    ids = [str(row) for row in range(5_000)]
    index = Index(vectors, {"lesion_id": ids, "patient_id": ids, "type": ids})
    index.search_many(vectors, 10)
    rates, theirs, tensor = [], [], torch.from_numpy(vectors)
    for _ in range(5):
        begin = time.perf_counter()
        index.search_many(vectors, 10)
        rates.append(len(vectors) / (time.perf_counter() - begin))
        time.sleep(0.3)  # one side's idle threads spin for a while, on the other's time
        begin = time.perf_counter()
        torch.topk(tensor @ tensor.T, 10)
        theirs.append(len(vectors) / (time.perf_counter() - begin))
        time.sleep(0.3)
    ours, peer = statistics.median(rates), statistics.median(theirs)
    said = "pass" if ours >= BATCH_BAR else "MISS"
    print(
        f"\n5,000 queries among 5,000, k = 10: {ours:,.0f} /s, at least {BATCH_BAR:,} {said}; "
        f"torch matmul + topk {peer:,.0f} /s, ratio {ours / peer:.2f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=list(BARS_MS))
    parser.add_argument("--queries", type=int, default=60)
    asked = parser.parse_args()
    print(describe())
    batch()
    for count in asked.sizes:
        measure(count, asked.queries)


if __name__ == "__main__":
    main()

#!/usr/bin/env bash
# pyarrow 26.0.1
#
# What happens:   a row group's `total_byte_size`, "uncompressed", counts a text that every row repeats once: 2,000 rows of the same
#                 100,000 characters say 0.1 MB and are 200 MB as text. A batch whose size was reckoned from it is a thousand times larger.
# A likely guess: uncompressed size is about what the rows take once they are read.
# Seen:           said 0.1 MB, read 200.0 MB.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv env
env/bin/pip install --quiet pyarrow==26.0.1
env/bin/python - <<'PY'
import pyarrow as pa
import pyarrow.parquet as pq

pq.write_table(pa.table({"system": ["x" * 100_000] * 2_000}), "a.parquet")
said = pq.ParquetFile("a.parquet").metadata.row_group(0).total_byte_size
read = pq.read_table("a.parquet").nbytes
print(f"said {said / 1e6:.1f} MB, read {read / 1e6:.1f} MB")
assert said < 1e6 and read > 1.9e8
PY

#!/usr/bin/env bash
# Fetches and builds the programs that `cargo bench --bench bench -- peers` runs beside binpulse, into
# the ignored folder .deps/peers. What can't be had is said, and left out of the comparison.
set -uo pipefail
cd "$(dirname "$0")/../.."
into="$PWD/.deps/peers"
mkdir -p "$into"

# python-mysql-replication, by its authors' name on PyPI.
python3 -m venv "$into/python" \
    && "$into/python/bin/pip" install --quiet mysql-replication==1.0.17 \
    || echo "no python-mysql-replication"

# The row API of the mysql_async crate.
cargo build --release --locked --manifest-path benches/peers/mysql_async/Cargo.toml \
    --target-dir "$into/mysql_async" \
    || echo "no mysql_async"

# zongji, as kept by Vlasky.
if command -v npm >/dev/null; then
    npm install --silent --no-fund --no-audit --prefix "$into/zongji" @vlasky/zongji@0.9.0 \
        || echo "no zongji"
else
    echo "no zongji: npm is not here"
fi

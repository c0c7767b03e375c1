#!/usr/bin/env bash
# Fetches and builds the programs that `cargo bench --bench bench -- peers` runs beside binpulse, into
# the ignored folder .deps/peers. Each comes from its language's own registry, by the tool and the
# settings that this machine has for it. What can't be had is said, and left out of the comparison.
set -uo pipefail
cd "$(dirname "$0")"
mkdir -p ../../.deps
into="$(cd ../../.deps && pwd)/peers"
mkdir -p "$into"

# Says that a peer will be missing, and why.
missing() {
    echo "no $1: $2"
}

python() {
    rm -rf "$into/python"
    python3 -m pip install --quiet --root-user-action ignore --no-deps --require-hashes \
        --requirement python/requirements.txt --target "$into/python"
}

zongji() {
    mkdir -p "$into/zongji"
    cp zongji/package.json zongji/package-lock.json "$into/zongji"
    (cd "$into/zongji" && npm ci --silent --no-fund --no-audit)
}

mysql_async() {
    cargo build --quiet --release --locked --manifest-path mysql_async/Cargo.toml \
        --target-dir "$into/mysql_async"
}

canal() {
    (cd canal && go build -trimpath -o "$into/canal" .)
}

# java NAME: the jars that its pom.xml names, and the class Reader.
java() {
    rm -rf "$into/$1"
    mvn --quiet --batch-mode --file "$1/pom.xml" -DoutputDirectory="$into/$1/lib" \
        org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
        && javac -cp "$into/$1/lib/*" -d "$into/$1/classes" "$1"/*.java
}

# The Maxwell that tests/formats compares with. Newer ones are not on Maven Central: its sources are
# compiled, with the newest binlog connector that is there.
maxwell_from_source() {
    local version=1.45.0 into="$into/maxwell-1.45" sources
    sources="$(mktemp -d)" || return
    git clone --quiet --depth 1 --branch "v$version" \
        "${MAXWELL_REPOSITORY:-https://github.com/zendesk/maxwell}" "$sources" \
        && sed -i '/<artifactId>mysql-binlog-connector-java/{n;s/0.31.0/0.30.1/}' "$sources/pom.xml" \
        && sed -i '/setTransparentlyDecompressTransactions/d' \
            "$sources/src/main/java/com/zendesk/maxwell/replication/BinlogConnectorReplicator.java" \
        && mvn --quiet --batch-mode --file "$sources/pom.xml" -Dmaven.test.skip=true compile \
            org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies \
            -DincludeScope=runtime -DoutputDirectory="$into/lib" \
        && rm -rf "$into/classes" && cp -R "$sources/target/classes" "$into/classes"
    local outcome=$?
    rm -rf "$sources"
    return $outcome
}

# Debezium Server as it is distributed, 780 MB: `make demo-billing` shows its HTTP sink beside the relay.
debezium_server() {
    rm -rf "$into/debezium-server" "$into/dist"
    mvn --quiet --batch-mode org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy \
        -Dartifact=io.debezium:debezium-server-dist:3.6.1.Final:tar.gz -DoutputDirectory="$into/dist" \
        && tar -xzf "$into"/dist/*.tar.gz -C "$into"
    local outcome=$?
    rm -rf "$into/dist"
    return $outcome
}

# fetch NAME TOOL FUNCTION [ARGUMENT...]
fetch() {
    local name=$1 tool=$2
    shift 2
    if ! command -v "$tool" >/dev/null; then
        missing "$name" "$tool is not here"
    elif "$@"; then
        echo "fetched $name"
    else
        missing "$name" "it could not be fetched or built"
    fi
}

# Without names, all that benchmarks and tests need; Debezium Server, which is large, only by its name.
peers=(python zongji mysql_async canal debezium maxwell maxwell_from_source)
[ $# -eq 0 ] || peers=("$@")
for peer in "${peers[@]}"; do
    case $peer in
        python) fetch python-mysql-replication python3 python ;;
        zongji) fetch @vlasky/zongji npm zongji ;;
        mysql_async) fetch "mysql_async's rows" cargo mysql_async ;;
        canal) fetch "go-mysql's canal" go canal ;;
        debezium) fetch "Debezium's embedded engine" mvn java debezium ;;
        maxwell) fetch Maxwell mvn java maxwell ;;
        maxwell_from_source) fetch "Maxwell 1.45 (for tests/formats)" mvn maxwell_from_source ;;
        debezium-server) fetch "Debezium Server" mvn debezium_server ;;
        *)
            echo "no peer \`$peer\`: see the names in this file" >&2
            exit 2
            ;;
    esac
done

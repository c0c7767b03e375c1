#!/usr/bin/env bash
# Writes the generated code of the TypeScript and the Go client again, after a change of proto/. Java's is made by
# its build; Python's descriptors and Rust's code by their tests. Needs grpcio-tools (in .deps/venv), npm and go.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT
npm install --silent --prefix "$tools" @bufbuild/protoc-gen-es@2.17.0 @bufbuild/protobuf@2.17.0
GOBIN=$tools go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.12
.deps/venv/bin/python -m grpc_tools.protoc -I proto \
	--plugin=protoc-gen-es="$tools/node_modules/.bin/protoc-gen-es" \
	--es_out=clients/typescript/src/gen --es_opt=target=ts,import_extension=js \
	--plugin=protoc-gen-go="$tools/protoc-gen-go" \
	--go_out=clients/go --go_opt=module=binpulse/client \
	binpulse/v1/change.proto binpulse/v1/pulse.proto binpulse/v1/frame.proto

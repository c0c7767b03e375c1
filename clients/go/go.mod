module binpulse/client

go 1.24

require (
	github.com/klauspost/compress v1.18.0
	google.golang.org/protobuf v1.36.12
)

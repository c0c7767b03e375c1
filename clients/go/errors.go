package binpulse

import "fmt"

// Reason names the kind of fault of a message.
type Reason string

// The kinds of faults.
const (
	Empty        Reason = "empty"
	Base64       Reason = "base64"
	Protobuf     Reason = "protobuf"
	Version      Reason = "version"
	BadCodec     Reason = "codec"
	Size         Reason = "size"
	Length       Reason = "length"
	Checksum     Reason = "checksum"
	Zstd         Reason = "zstd"
	Memory       Reason = "memory"
	Document     Reason = "document"
	Inconsistent Reason = "inconsistent"
	Object       Reason = "object"
)

// DecodeError says that a message is not what the contract says. Its text shows no value of a row.
type DecodeError struct {
	Reason Reason
	Text   string
}

func (e *DecodeError) Error() string { return string(e.Reason) + ": " + e.Text }

func fault(reason Reason, format string, values ...any) *DecodeError {
	return &DecodeError{Reason: reason, Text: fmt.Sprintf(format, values...)}
}

// ElsewhereError says that the content is in an object store: fetch the object of Pointer, and decode it with
// Pointer.Decode.
type ElsewhereError struct{ Pointer Pointer }

func (e *ElsewhereError) Error() string {
	return fmt.Sprintf("the content is the object %s of bucket %s: fetch it", e.Pointer.Key, e.Pointer.Bucket)
}

// ConflictError says that another process has changed the lane: undo the transaction, and take the message again.
type ConflictError struct{ Lane LaneName }

func (e *ConflictError) Error() string {
	return fmt.Sprintf("another process has changed the lane %s", e.Lane.Lane)
}

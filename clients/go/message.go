// Package binpulse reads the messages of binpulse: from the body of a message to rows, and what is needed to apply
// each row once and to know that none is missing. See README.md.
package binpulse

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"maps"
	"math"
	"strconv"
	"strings"

	pb "binpulse/client/binpulsev1"
)

// Content is what a message holds: a *binpulsev1.ChangeBatch (rows), Canary, SnapshotPart, SnapshotMark, Heartbeat,
// SchemaChange, Suppressed or TransactionEnd, or Unknown.
type Content any

// Unknown is a content of a newer binpulse: count it, and acknowledge it.
type Unknown struct{}

// KindOf is the kind of a content: change, canary, snapshot_part, snapshot_mark, heartbeat, schema, suppressed,
// transaction or unknown.
func KindOf(content Content) string {
	switch content.(type) {
	case *pb.ChangeBatch:
		return "change"
	case *pb.Canary:
		return "canary"
	case *pb.SnapshotPart:
		return "snapshot_part"
	case *pb.SnapshotMark:
		return "snapshot_mark"
	case *pb.Heartbeat:
		return "heartbeat"
	case *pb.SchemaChange:
		return "schema"
	case *pb.Suppressed:
		return "suppressed"
	case *pb.TransactionEnd:
		return "transaction"
	default:
		return "unknown"
	}
}

// Pointer tells where the content of a message lies. The object is not the consumer's to delete.
type Pointer struct {
	Bucket, Key string
	// SizeBytes is the length of the object, 0 where the message does not tell it: look at it before fetching.
	SizeBytes uint64
	// SHA256 of the object, nil where the message does not tell it.
	SHA256 []byte
}

// Decode tells what the message holds that pointed here; object is the object's text.
func (p Pointer) Decode(object []byte) (Content, error) {
	if p.SizeBytes != 0 && uint64(len(object)) != p.SizeBytes {
		return nil, fault(Object, "the object has %d bytes, expected %d", len(object), p.SizeBytes)
	}
	if sum := sha256.Sum256(object); p.SHA256 != nil && subtle.ConstantTimeCompare(sum[:], p.SHA256) != 1 {
		return nil, fault(Object, "the object has another SHA-256 than the stated one")
	}
	content, err := Message{Body: string(object)}.DecodeWithin(ObjectBytesMax)
	if elsewhere := (*ElsewhereError)(nil); errors.As(err, &elsewhere) {
		return nil, fault(Object, "the object is a pointer to another object")
	}
	return content, err
}

// Message is a message without what SNS put around it.
type Message struct {
	// Body as published.
	Body string
	// Attributes by name.
	Attributes map[string]string
}

// Received is a message as a queue gives it. Where the body is SNS's envelope, body and attributes are those in it;
// attributes that came beside it take precedence.
func Received(body string, attributes map[string]string) (Message, error) {
	if !strings.HasPrefix(body, "{") {
		return Message{body, attributes}, nil
	}
	outer, err := parseJSON(body)
	if err != nil {
		return Message{}, err
	}
	members, _ := outer.value.(object)
	inner, isText := members["Message"].value.(string)
	if members["Type"].value != "Notification" || !isText {
		return Message{body, attributes}, nil
	}
	all := map[string]string{}
	typed, _ := members["MessageAttributes"].value.(object)
	for name, attribute := range typed {
		value, _ := attribute.value.(object)
		if text, isText := value["Value"].value.(string); isText {
			all[name] = text
		}
	}
	maps.Copy(all, attributes)
	return Message{inner, all}, nil
}

// Kind is the attribute `kind`.
func (m Message) Kind() string { return m.Attributes["kind"] }

// Replay is the attribute `replay`, percent-encoded: for whom the rows are published again.
func (m Message) Replay() string { return m.Attributes["replay"] }

// Decode tells what it holds. The error is a *DecodeError, or an *ElsewhereError where that is in an object store.
func (m Message) Decode() (Content, error) { return m.DecodeWithin(ContentBytesMax) }

// DecodeWithin is Decode with another limit of the content's size.
func (m Message) DecodeWithin(bytesMax int) (Content, error) {
	switch {
	case m.Body == "":
		return nil, fault(Empty, "the body is empty")
	case m.Body[0] == '[':
		return nil, m.pointer()
	case m.Body[0] == '{':
		document, err := parseJSON(m.Body)
		if err != nil {
			return nil, err
		}
		content, err := documentContent(document, elementBytesMax(bytesMax)/elementBytes)
		if err != nil {
			return nil, err
		}
		return consistent(content)
	}
	frame, err := openFrame(m.Body, bytesMax)
	if err != nil {
		return nil, err
	}
	switch content := frame.Content.(type) {
	case *pb.Frame_Batch:
		return consistent(content.Batch)
	case *pb.Frame_SnapshotPart:
		return consistent(content.SnapshotPart)
	case *pb.Frame_SnapshotMark:
		return content.SnapshotMark, nil
	case *pb.Frame_Canary:
		return consistent(content.Canary)
	case *pb.Frame_Heartbeat:
		return content.Heartbeat, nil
	case *pb.Frame_SchemaChange:
		return content.SchemaChange, nil
	case *pb.Frame_Suppressed:
		return consistent(content.Suppressed)
	case *pb.Frame_TransactionEnd:
		return content.TransactionEnd, nil
	case *pb.Frame_ClaimCheck:
		claim := content.ClaimCheck
		place := Pointer{Bucket: claim.Bucket, Key: claim.Key, SizeBytes: claim.SizeBytes}
		if len(claim.Sha256) > 0 {
			place.SHA256 = claim.Sha256
		}
		return nil, &ElsewhereError{place}
	default:
		return Unknown{}, nil
	}
}

// DecodeWith tells what it holds; where that is in an object store, fetch is asked for the object.
func (m Message) DecodeWith(ctx context.Context, fetch func(context.Context, Pointer) ([]byte, error)) (Content, error) {
	content, err := m.Decode()
	elsewhere := (*ElsewhereError)(nil)
	if !errors.As(err, &elsewhere) {
		return content, err
	}
	fetched, err := fetch(ctx, elsewhere.Pointer)
	if err != nil {
		return nil, err
	}
	return elsewhere.Pointer.Decode(fetched)
}

// `["software.amazon.payloadoffloading.PayloadS3Pointer", {"s3BucketName": .., "s3Key": ..}]`. The class has had
// other packages: only its name counts.
func (m Message) pointer() error {
	array, err := parseJSON(m.Body)
	if err != nil {
		return err
	}
	unfit := fault(Document, "an array that is no pointer to an object")
	elements, _ := array.value.([]node)
	if len(elements) != 2 {
		return unfit
	}
	class, _ := elements[0].value.(string)
	place, _ := elements[1].value.(object)
	bucket, hasBucket := place["s3BucketName"].value.(string)
	key, hasKey := place["s3Key"].value.(string)
	if class[strings.LastIndex(class, ".")+1:] != "PayloadS3Pointer" || !hasBucket || !hasKey {
		return unfit
	}
	size := m.Attributes["ExtendedPayloadSize"]
	if size == "" {
		size = m.Attributes["SQSLargePayloadSize"]
	}
	sizeBytes, _ := strconv.ParseUint(size, 10, 64)
	return &ElsewhereError{Pointer{Bucket: bucket, Key: key, SizeBytes: sizeBytes}}
}

// Decode tells what a body holds: raw, or in SNS's envelope.
func Decode(body string) (Content, error) {
	message, err := Received(body, nil)
	if err != nil {
		return nil, err
	}
	return message.Decode()
}

// Refuses what contradicts itself, so that those who read it need not look.
func consistent(content Content) (Content, error) {
	var err error
	switch value := content.(type) {
	case *pb.ChangeBatch:
		if len(value.Rows) == 0 {
			return nil, fault(Inconsistent, "a batch without rows")
		}
		err = checkBatch(value, true)
	case *pb.Canary:
		if value.Batch != nil {
			err = checkBatch(value.Batch, true)
		}
	case *pb.SnapshotPart:
		if value.Batch == nil || value.Anchor == nil {
			return nil, fault(Inconsistent, "a part without its batch or its anchor")
		}
		if err = checkBatch(value.Batch, false); err == nil {
			err = checkOrdinals(value.KeyColumns, value.Batch)
		}
	case *pb.Suppressed:
		err = checkNumbers(value.SequenceFirst, value.Count)
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

func checkBatch(batch *pb.ChangeBatch, hasTransactions bool) error {
	if batch.Source == nil || batch.Table == nil {
		return fault(Inconsistent, "a batch without its source or its table")
	}
	if err := checkOrdinals(batch.Table.PrimaryKey, batch); err != nil {
		return err
	}
	if hasTransactions {
		if err := checkNumbers(batch.SequenceFirst, uint64(len(batch.Rows))); err != nil {
			return err
		}
	}
	for _, transaction := range batch.Transactions {
		if int64(transaction.File) >= int64(len(batch.Files)) {
			return fault(Inconsistent, "a transaction of a file that is not there")
		}
	}
	for _, row := range batch.Rows {
		if hasTransactions && int64(row.Transaction) >= int64(len(batch.Transactions)) {
			return fault(Inconsistent, "a row of a transaction that is not there")
		}
		if !hasImages(row) {
			return fault(Inconsistent, "a row with other images than its op has")
		}
		if max(len(row.Before.GetValues()), len(row.After.GetValues())) > len(batch.Table.Columns) {
			return fault(Inconsistent, "a row with more values than columns")
		}
	}
	return nil
}

func hasImages(row *pb.Row) bool {
	before, after := row.Before != nil, row.After != nil
	switch row.Op {
	case pb.Op_OP_INSERT, pb.Op_OP_READ:
		return !before && after
	case pb.Op_OP_UPDATE:
		return before && after
	case pb.Op_OP_DELETE:
		return before && !after
	default:
		return true
	}
}

func checkOrdinals(ordinals []uint32, batch *pb.ChangeBatch) error {
	for _, ordinal := range ordinals {
		if batch.Table == nil || int64(ordinal) >= int64(len(batch.Table.Columns)) {
			return fault(Inconsistent, "a key of a column that is not there")
		}
	}
	return nil
}

func checkNumbers(first, count uint64) error {
	if first == 0 || count > math.MaxUint64-first {
		return fault(Inconsistent, "numbers that are none")
	}
	return nil
}

package binpulse

import (
	"encoding/binary"
	"iter"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"time"

	pb "binpulse/client/binpulsev1"
)

// Value is a value of a column:
//
//	NULL; a column that the source did not log   nil; Absent, which is not NULL
//	integers, YEAR; unsigned integers, BIT       int64; uint64
//	FLOAT; DOUBLE                                float32; float64
//	DECIMAL                                      Decimal
//	DATE, DATETIME, TIMESTAMP; TIME              Date, Datetime, Timestamp; Time
//	character data, ENUM, SET                    string
//	ENUM, SET whose labels are not known         EnumIndex, SetMask
//	binary data                                  []byte
//	JSON                                         JSON
//	spatial types                                Geometry
//	VECTOR                                       []float32
//	a partial update of JSON                     JSONDiff
//	text not valid in its character set          MalformedText
//	a value too large to travel                  Omitted
//
// Types that are strings have the text as MySQL prints it, with nothing lost.
type Value any

// Absent stands for a column that the source did not log: it says nothing about the value.
type Absent struct{}

// Decimal has all digits of its scale: -12.500.
type Decimal string

// Rat is the exact value.
func (d Decimal) Rat() (*big.Rat, bool) { return new(big.Rat).SetString(string(d)) }

// Date is a DATE. MySQL allows 0000-00-00 and 2026-11-00 too.
type Date string

// Time is midnight UTC of the day; false: it is no day.
func (d Date) Time() (time.Time, bool) { return timeOf(time.DateOnly, string(d)) }

// Datetime is a DATETIME, in no time zone.
type Datetime string

// Time is the moment, taken as UTC; false: there is no such moment.
func (d Datetime) Time() (time.Time, bool) { return timeOf(time.DateTime, string(d)) }

// Timestamp is a TIMESTAMP, in UTC.
type Timestamp string

// Time is the moment; false: there is no such moment.
func (t Timestamp) Time() (time.Time, bool) { return timeOf(time.DateTime, string(t)) }

func timeOf(layout, text string) (time.Time, bool) {
	at, err := time.Parse(layout, text) // also with fraction digits
	return at, err == nil
}

// Time is a TIME: -838:59:59.000000 to 838:59:59.000000.
type Time string

var clock = regexp.MustCompile(`^(-?)(\d{1,3}):(\d{2}):(\d{2})(?:\.(\d{1,6}))?$`)

// Duration is the time; false: the text has another form.
func (t Time) Duration() (time.Duration, bool) {
	found := clock.FindStringSubmatch(string(t))
	if found == nil {
		return 0, false
	}
	part := func(text string) time.Duration {
		number, _ := strconv.ParseInt(text, 10, 64)
		return time.Duration(number)
	}
	micros := part((found[5] + "000000")[:6])
	whole := part(found[2])*time.Hour + part(found[3])*time.Minute + part(found[4])*time.Second + micros*time.Microsecond
	if found[1] != "" {
		whole = -whole
	}
	return whole, true
}

// JSON is a JSON document as MySQL prints it.
type JSON string

// JSONDiff is a change of a JSON document whose former value the source's log does not have.
type JSONDiff string

// EnumIndex is the index of an ENUM's label, where the labels are not known.
type EnumIndex uint64

// SetMask is the bit mask of a SET's labels, where the labels are not known.
type SetMask uint64

// Geometry is a spatial value: 4 bytes of SRID, little-endian, then WKB.
type Geometry []byte

// SRID is the spatial reference system.
func (g Geometry) SRID() uint32 {
	if len(g) < 4 {
		return 0
	}
	return binary.LittleEndian.Uint32(g)
}

// MalformedText is text that is not valid in its character set: the bytes as stored.
type MalformedText []byte

// Omitted is a value that was left out because its row was too large for a message.
type Omitted struct {
	SizeBytes uint64
	SHA256    []byte
}

// Image has values by the names of their columns.
type Image map[string]Value

// Row is a row of a batch. Rows of snapshots have no number (0) and no transaction.
type Row struct {
	// Op is insert, update, delete, read or unspecified.
	Op     string
	Number uint64
	// Before and After are nil where the operation has no such image.
	Before, After Image
	Transaction   *pb.Transaction
	// CommittedAtUs is when the transaction was committed, microseconds since 1970.
	CommittedAtUs int64
	// NumberInTransaction and the transaction identify the row in another way, which also holds across epochs.
	NumberInTransaction uint64
}

// Rows gives the rows of a batch, typed.
func Rows(batch *pb.ChangeBatch) iter.Seq[Row] {
	return func(yield func(Row) bool) {
		columns := batch.Table.GetColumns()
		for index, of := range batch.Rows {
			row := Row{
				Op:     strings.ToLower(strings.TrimPrefix(of.Op.String(), "OP_")),
				Before: image(columns, of.Before), After: image(columns, of.After), NumberInTransaction: of.Row,
			}
			if batch.SequenceFirst != 0 {
				row.Number = batch.SequenceFirst + uint64(index)
			}
			if int64(of.Transaction) < int64(len(batch.Transactions)) {
				row.Transaction = batch.Transactions[of.Transaction]
				row.CommittedAtUs = batch.CommittedAtBaseUs + row.Transaction.CommittedAtDeltaUs
			}
			if !yield(row) {
				return
			}
		}
	}
}

// KeyOf gives the values of a key's image of a snapshot part (KeyAfter, KeyUpto, one of Touched), by name.
func KeyOf(part *pb.SnapshotPart, key *pb.Image) Image {
	table := part.Batch.GetTable()
	ordinals := part.KeyColumns
	if len(ordinals) == 0 {
		ordinals = table.GetPrimaryKey()
	}
	var columns []*pb.Column
	for _, ordinal := range ordinals {
		if int64(ordinal) < int64(len(table.GetColumns())) {
			columns = append(columns, table.Columns[ordinal])
		}
	}
	return image(columns, key)
}

func image(columns []*pb.Column, of *pb.Image) Image {
	if of == nil {
		return nil
	}
	values := make(Image, len(columns))
	for at, column := range columns {
		if at < len(of.Values) {
			values[column.Name] = cell(column.LogicalType, of.Values[at])
		} else {
			values[column.Name] = Absent{}
		}
	}
	return values
}

func cell(kind pb.LogicalType, of *pb.Value) Value {
	switch value := of.Kind.(type) {
	case *pb.Value_Null:
		return nil
	case *pb.Value_Integer:
		return value.Integer
	case *pb.Value_Unsigned:
		switch kind {
		case pb.LogicalType_LOGICAL_TYPE_ENUM:
			return EnumIndex(value.Unsigned)
		case pb.LogicalType_LOGICAL_TYPE_SET:
			return SetMask(value.Unsigned)
		}
		return value.Unsigned
	case *pb.Value_Float:
		return value.Float
	case *pb.Value_Double:
		return value.Double
	case *pb.Value_Text:
		return textCell(kind, value.Text)
	case *pb.Value_Bytes:
		if kind == pb.LogicalType_LOGICAL_TYPE_GEOMETRY {
			return Geometry(value.Bytes)
		}
		return value.Bytes
	case *pb.Value_MalformedText:
		return MalformedText(value.MalformedText)
	case *pb.Value_Json:
		return JSON(value.Json)
	case *pb.Value_JsonDiff:
		return JSONDiff(value.JsonDiff)
	case *pb.Value_Vector:
		return value.Vector.GetElements()
	case *pb.Value_Omitted:
		return Omitted{value.Omitted.GetSizeBytes(), value.Omitted.GetSha256()}
	default:
		return Absent{}
	}
}

func textCell(kind pb.LogicalType, text string) Value {
	switch kind {
	case pb.LogicalType_LOGICAL_TYPE_DECIMAL:
		return Decimal(text)
	case pb.LogicalType_LOGICAL_TYPE_DATE:
		return Date(text)
	case pb.LogicalType_LOGICAL_TYPE_TIME:
		return Time(text)
	case pb.LogicalType_LOGICAL_TYPE_DATETIME:
		return Datetime(text)
	case pb.LogicalType_LOGICAL_TYPE_TIMESTAMP:
		return Timestamp(text)
	default:
		return text
	}
}

package binpulse

import (
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"

	pb "binpulse/client/binpulsev1"
)

// form reads the members of a document of the `json` format, which have the names of the contract's fields. The first fault is kept; what is read behind it is
// zero.
type form struct {
	members object
	err     *error
}

// documentContent gives the content of a document, whose rows have at most so many values.
func documentContent(document node, cellsMax int) (content Content, err error) {
	members, isObject := document.value.(object)
	if !isObject {
		return nil, fault(Document, "the document: expected an object")
	}
	d := form{members, &err}
	kind, version := d.text("kind"), d.natural("v", 32)
	if err != nil {
		return nil, err
	}
	if version != FormatVersion {
		return nil, fault(Version, "found version %d, expected %d", version, FormatVersion)
	}
	room := &cellsMax
	switch kind {
	case "change":
		content = d.batch(room)
	case "canary":
		content = fill(d, &pb.Canary{Batch: d.batch(room)}, "batch")
	case "heartbeat":
		content = fill(d, &pb.Heartbeat{})
	case "schema":
		content = fill(d, &pb.SchemaChange{})
	case "suppressed":
		content = fill(d, &pb.Suppressed{})
	case "snapshot":
		if d.has("phase") {
			content = fill(d, &pb.SnapshotMark{Rows: d.uint64("rows_published")}, "rows")
		} else {
			content = d.part(room)
		}
	default:
		content = Unknown{}
	}
	if err != nil {
		return nil, err
	}
	return content, nil
}

// optional are members that a document need not have, or has as null; of the contract's other fields it has all.
var optional = strings.Fields("certificate charset collation connector_version database digest digests gtid gtid_first " +
	"instance invisible key_after key_columns key_upto members mysql_type nonce numbers numbers_for pass " +
	"path position reason row snapshot_attempt snapshot_next traceparent transaction watermark")

// fill sets the fields of a message, whose names the members have, but for those that are given.
func fill[Message proto.Message](d form, message Message, given ...string) Message {
	made := message.ProtoReflect()
	for at := range made.Descriptor().Fields().Len() {
		field := made.Descriptor().Fields().Get(at)
		name := field.TextName()
		moment, isMoment := strings.CutSuffix(name, "_us")
		switch _, isThere := d.members[name]; {
		case slices.Contains(given, name) || !d.has(name) && slices.Contains(optional, name):
		case isMoment && !isThere:
			made.Set(field, protoreflect.ValueOfInt64(d.time(moment)))
		case field.IsList():
			list := made.Mutable(field).List()
			for _, element := range d.list(name) {
				if inside := (form{object{name: element}, d.err}); field.Kind() == protoreflect.MessageKind {
					fill(inside.inside(name), list.AppendMutable().Message().Interface())
				} else {
					list.Append(inside.scalar(name, field))
				}
			}
		case field.Kind() == protoreflect.MessageKind:
			fill(d.inside(name), made.Mutable(field).Message().Interface())
		default:
			made.Set(field, d.scalar(name, field))
		}
	}
	return message
}

func (d form) scalar(name string, field protoreflect.FieldDescriptor) protoreflect.Value {
	switch field.Kind() {
	case protoreflect.BoolKind:
		flag, isFlag := d.members[name].value.(bool)
		if !isFlag {
			d.wrong(name, "true or false")
		}
		return protoreflect.ValueOfBool(flag)
	case protoreflect.BytesKind:
		bytes, isBase64 := base64Bytes(d.text(name))
		if !isBase64 {
			d.wrong(name, "base64")
		}
		return protoreflect.ValueOfBytes(bytes)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(d.named(name, field.Enum()))
	case protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(binary.BigEndian.Uint64(d.hex(name, 8)))
	case protoreflect.Int64Kind:
		digits, _ := d.members[name].value.(json.Number)
		value, err := strconv.ParseInt(string(digits), 10, 64)
		if err != nil {
			d.wrong(name, "an integer of 64 bits")
		}
		return protoreflect.ValueOfInt64(value)
	case protoreflect.Uint32Kind:
		return protoreflect.ValueOfUint32(uint32(d.natural(name, 32)))
	case protoreflect.Uint64Kind:
		return protoreflect.ValueOfUint64(d.uint64(name))
	default:
		return protoreflect.ValueOfString(d.text(name))
	}
}

// named is the value of an enumeration with this name, in small letters and without its prefix; 0: none.
func (d form) named(name string, of protoreflect.EnumDescriptor) protoreflect.EnumNumber {
	prefix := strings.TrimSuffix(string(of.Values().Get(0).Name()), "UNSPECIFIED")
	found := of.Values().ByName(protoreflect.Name(prefix + strings.ToUpper(d.text(name))))
	if found == nil {
		return 0
	}
	return found.Number()
}

func (d form) wrong(place, expected string) {
	if *d.err == nil {
		*d.err = fault(Document, "%s: expected %s", place, expected)
	}
}

// has tells whether a member is there and not null.
func (d form) has(name string) bool { return d.members[name].value != nil }

func (d form) inside(name string) form {
	members, isObject := d.members[name].value.(object)
	if !isObject {
		d.wrong(name, "an object")
	}
	return form{members, d.err}
}

func (d form) list(name string) []node {
	elements, isArray := d.members[name].value.([]node)
	if !isArray {
		d.wrong(name, "an array")
	}
	return elements
}

// forms are the objects of an array.
func (d form) forms(name string) []form {
	var found []form
	for _, element := range d.list(name) {
		found = append(found, form{object{name: element}, d.err}.inside(name))
	}
	return found
}

func (d form) text(name string) string {
	text, isText := d.members[name].value.(string)
	if !isText {
		d.wrong(name, "a text")
	}
	return text
}

func (d form) natural(name string, bits int) uint64 {
	digits, _ := d.members[name].value.(json.Number)
	value, err := strconv.ParseUint(string(digits), 10, bits)
	if err != nil {
		d.wrong(name, "an integer of "+strconv.Itoa(bits)+" bits")
	}
	return value
}

func (d form) uint64(name string) uint64 { return d.natural(name, 64) }

func (d form) hex(name string, length int) []byte {
	text := d.text(name)
	bytes, err := hex.DecodeString(text)
	if err != nil || len(bytes) != length || strings.ToLower(text) != text {
		d.wrong(name, strconv.Itoa(2*length)+" hexadecimal digits")
		return make([]byte, length)
	}
	return bytes
}

// time is RFC 3339 in microseconds since 1970, exactly. The standard library takes fractions of any length.
func (d form) time(name string) int64 {
	text := d.text(name)
	at, err := time.Parse("2006-01-02T15:04:05Z", text)
	if err != nil || len(text) > len("2006-01-02T15:04:05.123456Z") || strings.Contains(text, ",") {
		d.wrong(name, "a time of RFC 3339 in UTC")
	}
	return at.UnixMicro()
}

func (d form) table() *pb.TableSchema {
	schema := d.inside("schema")
	table := &pb.TableSchema{Database: d.text("database"), Table: d.text("table")}
	for _, column := range schema.forms("columns") {
		kind := column.named("type", pb.LogicalType(0).Descriptor())
		made := &pb.Column{LogicalType: pb.LogicalType(kind)}
		table.Columns = append(table.Columns, fill(column, made, "logical_type"))
	}
	for _, element := range schema.list("primary_key") {
		name, _ := element.value.(string)
		at := slices.IndexFunc(table.Columns, func(column *pb.Column) bool { return column.Name == name })
		if at < 0 {
			d.wrong("primary_key", "names of columns")
		}
		table.PrimaryKey = append(table.PrimaryKey, uint32(at))
	}
	return fill(schema, table, "database", "table", "columns", "primary_key")
}

// ofBatch are fields of a batch that are not members with their names.
var ofBatch = []string{"table", "rows", "files", "transactions", "committed_at_base_us"}

// rows gives what all batches have.
func (d form) rows(room *int, given ...string) *pb.ChangeBatch {
	batch := &pb.ChangeBatch{Table: d.table()}
	columns := columnsOf(batch.Table)
	for _, row := range d.forms("rows") {
		if *d.err != nil {
			break
		}
		made := &pb.Row{Before: row.image("before", columns, room), After: row.image("after", columns, room)}
		batch.Rows = append(batch.Rows, fill(row, made, "before", "after"))
	}
	return fill(d, batch, append(given, ofBatch...)...)
}

func (d form) batch(room *int) *pb.ChangeBatch {
	batch := d.rows(room)
	for _, transaction := range d.forms("transactions") {
		at := transaction.time("committed_at")
		original := at
		if transaction.has("original_committed_at") {
			original = transaction.time("original_committed_at")
		}
		if len(batch.Transactions) == 0 {
			batch.CommittedAtBaseUs = at
		}
		place := fill(transaction.inside("position"), &pb.Position{})
		file := slices.Index(batch.Files, place.File)
		if file < 0 {
			file = len(batch.Files)
			batch.Files = append(batch.Files, place.File)
		}
		made := &pb.Transaction{
			CommittedAtDeltaUs: at - batch.CommittedAtBaseUs, OriginalCommittedAtDeltaUs: original - at,
			File: uint32(file), Offset: place.Offset,
		}
		batch.Transactions = append(batch.Transactions,
			fill(transaction, made, "committed_at_delta_us", "original_committed_at_delta_us", "file", "offset"))
	}
	return batch
}

func (d form) part(room *int) *pb.SnapshotPart {
	batch := d.rows(room, "sequence_first", "before_image")
	anchor := &pb.LaneMark{Lane: batch.Lane, SequenceNext: d.uint64("anchor"), Epoch: batch.Source.GetEpoch()}
	part := fill(d, &pb.SnapshotPart{Batch: batch, Anchor: anchor}, "batch", "anchor", "key_after", "key_upto", "touched")
	key := part.KeyColumns
	if len(key) == 0 {
		key = batch.Table.PrimaryKey
	}
	columns := columnsOf(batch.Table)
	part.KeyAfter, part.KeyUpto = d.key("key_after", columns, key, room), d.key("key_upto", columns, key, room)
	for _, touched := range d.list("touched") {
		inside := form{object{"touched": touched}, d.err}
		part.Touched = append(part.Touched, inside.key("touched", columns, key, room))
	}
	return part
}

// columns are those of a table, found by their names.
type columns struct {
	list     []*pb.Column
	ordinals map[string]int
}

func columnsOf(table *pb.TableSchema) columns {
	found := columns{table.Columns, map[string]int{}}
	for at, column := range table.Columns {
		found.ordinals[column.Name] = at
	}
	return found
}

// values gives the values of an object's members with the ordinals of their columns.
func (d form) values(name string, of columns, cells int, room *int, put func(int, *pb.Value)) {
	if *room -= cells; *room < 0 {
		d.wrong("rows", "no more values than the limits allow")
		return
	}
	for member, value := range d.inside(name).members {
		at, isKnown := of.ordinals[member]
		if !isKnown {
			d.wrong(name, "names of columns")
			return
		}
		made := valueOf(of.list[at], value)
		if made == nil {
			d.wrong(member, "a value of the column's type")
			return
		}
		put(at, made)
	}
}

func (d form) image(name string, of columns, room *int) *pb.Image {
	if !d.has(name) {
		return nil
	}
	image := &pb.Image{Values: make([]*pb.Value, len(of.list))}
	d.values(name, of, len(of.list), room, func(at int, value *pb.Value) { image.Values[at] = value })
	for at, value := range image.Values {
		if value == nil {
			image.Values[at] = &pb.Value{}
		}
	}
	return image
}

// key is an image of the key's columns, in the key's order.
func (d form) key(name string, of columns, key []uint32, room *int) *pb.Image {
	if !d.has(name) {
		return nil
	}
	found := map[uint32]*pb.Value{}
	d.values(name, of, max(len(key), 1), room, func(at int, value *pb.Value) { found[uint32(at)] = value })
	image := &pb.Image{}
	for _, ordinal := range key {
		if value := found[ordinal]; value != nil {
			image.Values = append(image.Values, value)
		}
	}
	return image
}

// valueOf is the value that this JSON means in a column; nil: none that the column can have.
func valueOf(column *pb.Column, of node) *pb.Value {
	if members, isObject := of.value.(object); isObject && len(members) == 1 {
		if marked := markedValue(column.LogicalType, members); marked != nil {
			return marked
		}
	}
	if of.value == nil {
		return &pb.Value{Kind: &pb.Value_Null{Null: true}}
	}
	if column.LogicalType == pb.LogicalType_LOGICAL_TYPE_JSON {
		return &pb.Value{Kind: &pb.Value_Json{Json: of.text}}
	}
	switch value := of.value.(type) {
	case []node:
		if column.LogicalType == pb.LogicalType_LOGICAL_TYPE_VECTOR {
			return vectorValue(value)
		}
	case json.Number:
		return numberValue(column, string(value))
	case string:
		return textValue(column.LogicalType, value)
	}
	return nil
}

func vectorValue(elements []node) *pb.Value {
	vector := &pb.Vector{}
	for _, element := range elements {
		value, isFloat := floatOf(element.value, 32)
		if !isFloat {
			return nil
		}
		vector.Elements = append(vector.Elements, float32(value))
	}
	return &pb.Value{Kind: &pb.Value_Vector{Vector: vector}}
}

func textValue(kind pb.LogicalType, text string) *pb.Value {
	switch kind {
	case pb.LogicalType_LOGICAL_TYPE_BINARY, pb.LogicalType_LOGICAL_TYPE_GEOMETRY, pb.LogicalType_LOGICAL_TYPE_VECTOR:
		bytes, isBase64 := base64Bytes(text)
		if !isBase64 {
			return nil
		}
		return &pb.Value{Kind: &pb.Value_Bytes{Bytes: bytes}}
	case pb.LogicalType_LOGICAL_TYPE_FLOAT, pb.LogicalType_LOGICAL_TYPE_DOUBLE:
		return floatValue(kind, text)
	case pb.LogicalType_LOGICAL_TYPE_INTEGER, pb.LogicalType_LOGICAL_TYPE_BIT, pb.LogicalType_LOGICAL_TYPE_YEAR:
		return nil
	default:
		return &pb.Value{Kind: &pb.Value_Text{Text: text}}
	}
}

func numberValue(column *pb.Column, digits string) *pb.Value {
	signed, signedErr := strconv.ParseInt(digits, 10, 64)
	unsigned, unsignedErr := strconv.ParseUint(digits, 10, 64)
	integer, natural := &pb.Value{Kind: &pb.Value_Integer{Integer: signed}}, &pb.Value{Kind: &pb.Value_Unsigned{Unsigned: unsigned}}
	isSigned := column.LogicalType == pb.LogicalType_LOGICAL_TYPE_YEAR
	switch column.LogicalType {
	case pb.LogicalType_LOGICAL_TYPE_FLOAT, pb.LogicalType_LOGICAL_TYPE_DOUBLE:
		return floatValue(column.LogicalType, json.Number(digits))
	case pb.LogicalType_LOGICAL_TYPE_INTEGER:
		isSigned = !column.Unsigned
		if unsignedErr != nil {
			isSigned = true
		}
	case pb.LogicalType_LOGICAL_TYPE_YEAR, pb.LogicalType_LOGICAL_TYPE_BIT, pb.LogicalType_LOGICAL_TYPE_ENUM,
		pb.LogicalType_LOGICAL_TYPE_SET:
	default:
		return nil
	}
	switch {
	case isSigned && signedErr == nil:
		return integer
	case unsignedErr == nil: // Where the log does not tell the sign, a value may be above what a signed one holds.
		return natural
	default:
		return nil
	}
}

func floatValue(kind pb.LogicalType, of any) *pb.Value {
	if kind == pb.LogicalType_LOGICAL_TYPE_FLOAT {
		if value, isFloat := floatOf(of, 32); isFloat {
			return &pb.Value{Kind: &pb.Value_Float{Float: float32(value)}}
		}
	} else if value, isFloat := floatOf(of, 64); isFloat {
		return &pb.Value{Kind: &pb.Value_Double{Double: value}}
	}
	return nil
}

func floatOf(of any, bits int) (float64, bool) {
	switch value := of.(type) {
	case json.Number:
		found, err := strconv.ParseFloat(string(value), bits)
		return found, err == nil
	case string:
		switch value {
		case "NaN":
			return math.NaN(), true
		case "Infinity":
			return math.Inf(1), true
		case "-Infinity":
			return math.Inf(-1), true
		}
	}
	return 0, false
}

// markedValue is what an object stands for that JSON does not have. A JSON column may hold such a document itself:
// it is taken for one where the form is not exactly that of the marker.
func markedValue(kind pb.LogicalType, members object) *pb.Value {
	isJSON := kind == pb.LogicalType_LOGICAL_TYPE_JSON
	for name, of := range members {
		inside, isObject := of.value.(object)
		_, isArray := of.value.([]node)
		text, isText := of.value.(string)
		switch {
		case name == "$json" && isJSON && of.value == nil:
			return &pb.Value{Kind: &pb.Value_Json{Json: "null"}}
		case name == "$diff" && isJSON && isArray:
			return &pb.Value{Kind: &pb.Value_JsonDiff{JsonDiff: of.text}}
		case name == "$malformed" && !isJSON && isText:
			bytes, isBase64 := base64Bytes(text)
			if !isBase64 {
				return nil
			}
			return &pb.Value{Kind: &pb.Value_MalformedText{MalformedText: bytes}}
		case name == "$omitted" && isObject && len(inside) == 2:
			var err error
			omitted := form{inside, &err}
			made := &pb.Omitted{SizeBytes: omitted.uint64("size_bytes"), Sha256: omitted.hex("sha256", 32)}
			if err == nil {
				return &pb.Value{Kind: &pb.Value_Omitted{Omitted: made}}
			}
		}
	}
	return nil
}

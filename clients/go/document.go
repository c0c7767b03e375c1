package binpulse

import (
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	pb "binpulse/client/binpulsev1"
)

// form reads the members of a document of the `json` format. The first fault is kept; what is read behind it is
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
	kind, version := d.text("kind"), d.uint32("v")
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
		content = d.canary(room)
	case "heartbeat":
		content = &pb.Heartbeat{
			Source: d.source(), Number: d.uint64("number"), WrittenAtUs: d.time("written_at"),
			Gtid: d.optionalText("gtid"), Position: d.position(), CommittedAtUs: d.time("committed_at"),
			Watermark: d.watermark(),
		}
	case "schema":
		content = &pb.SchemaChange{
			Source: d.source(), Database: d.optionalText("database"), Statement: d.text("statement"),
			Gtid: d.optionalText("gtid"), Position: d.position(), CommittedAtUs: d.time("committed_at"),
			Sequence: d.uint64("sequence"), Lane: d.text("lane"),
		}
	case "suppressed":
		content = &pb.Suppressed{
			Source: d.source(), Lane: d.text("lane"), Database: d.text("database"), Table: d.text("table"),
			SequenceFirst: d.uint64("sequence_first"), Count: d.uint64("count"), Reason: d.text("reason"),
			By: d.text("by"), GtidFirst: d.optionalText("gtid_first"), SinceUs: d.time("since"),
		}
	case "snapshot":
		if d.has("phase") {
			content = d.mark()
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
		members, isObject := element.value.(object)
		if !isObject {
			d.wrong(name, "objects")
		}
		found = append(found, form{members, d.err})
	}
	return found
}

func (d form) texts(name string) []string {
	var found []string
	for _, element := range d.list(name) {
		text, isText := element.value.(string)
		if !isText {
			d.wrong(name, "texts")
		}
		found = append(found, text)
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

func (d form) optionalText(name string) string {
	if !d.has(name) {
		return ""
	}
	return d.text(name)
}

func (d form) flag(name string) bool {
	flag, isFlag := d.members[name].value.(bool)
	if !isFlag {
		d.wrong(name, "true or false")
	}
	return flag
}

func (d form) optionalFlag(name string) bool { return d.has(name) && d.flag(name) }

func (d form) number(name string, of node, bits int) uint64 {
	digits, _ := of.value.(json.Number)
	value, err := strconv.ParseUint(string(digits), 10, bits)
	if err != nil {
		d.wrong(name, "an integer of "+strconv.Itoa(bits)+" bits")
	}
	return value
}

func (d form) uint64(name string) uint64 { return d.number(name, d.members[name], 64) }

func (d form) uint32(name string) uint32 { return uint32(d.number(name, d.members[name], 32)) }

func (d form) int64(name string) int64 {
	digits, _ := d.members[name].value.(json.Number)
	value, err := strconv.ParseInt(string(digits), 10, 64)
	if err != nil {
		d.wrong(name, "an integer of 64 bits")
	}
	return value
}

func (d form) optionalUint64(name string) uint64 {
	if !d.has(name) {
		return 0
	}
	return d.uint64(name)
}

func (d form) optionalUint32(name string) uint32 {
	if !d.has(name) {
		return 0
	}
	return d.uint32(name)
}

func (d form) hex(name string, length int) []byte {
	bytes, err := hex.DecodeString(d.text(name))
	if err != nil || len(bytes) != length {
		d.wrong(name, strconv.Itoa(2*length)+" hexadecimal digits")
		return make([]byte, length)
	}
	return bytes
}

func (d form) hex64(name string) (value uint64) {
	for _, digit := range d.hex(name, 8) {
		value = value<<8 | uint64(digit)
	}
	return value
}

// time is RFC 3339 in microseconds since 1970, exactly.
func (d form) time(name string) int64 {
	at, err := time.Parse(time.RFC3339Nano, d.text(name))
	if _, offset := at.Zone(); err != nil || offset != 0 {
		d.wrong(name, "a time of RFC 3339 in UTC")
	}
	return at.UnixMicro()
}

// named is the value of an enumeration with this name, in small letters; 0: none.
func named(values map[string]int32, prefix, name string) int32 {
	return values[prefix+strings.ToUpper(name)]
}

func (d form) source() *pb.Source {
	s := d.inside("source")
	return &pb.Source{
		Stream: s.text("stream"), ServerUuid: s.text("server_uuid"), ServerId: s.uint32("server_id"),
		Epoch: s.uint64("epoch"), ConnectorVersion: s.optionalText("connector_version"),
		Snapshot: s.optionalFlag("snapshot"),
	}
}

func (d form) position() *pb.Position {
	if !d.has("position") {
		return nil
	}
	place := d.inside("position")
	return &pb.Position{File: place.text("file"), Offset: place.uint64("offset")}
}

func (d form) marks() []*pb.LaneMark {
	var marks []*pb.LaneMark
	for _, mark := range d.forms("lanes") {
		marks = append(marks, &pb.LaneMark{
			Lane: mark.text("lane"), SequenceNext: mark.uint64("sequence_next"), Epoch: mark.uint64("epoch"),
		})
	}
	return marks
}

func (d form) watermark() *pb.Watermark {
	if !d.has("watermark") {
		return nil
	}
	mark := d.inside("watermark")
	found := &pb.Watermark{
		Verdict: mark.text("verdict"), ServerUuid: mark.text("server_uuid"), GtidSet: mark.text("gtid_set"),
		Position: mark.position(), Lanes: mark.marks(), LanesTruncated: mark.flag("lanes_truncated"),
		TakenAtUs: mark.int64("taken_at_us"),
	}
	if mark.has("certificate") {
		proof := mark.inside("certificate")
		found.Certificate = &pb.QuietCertificate{
			HeartbeatFirst: proof.uint64("heartbeat_first"), HeartbeatLast: proof.uint64("heartbeat_last"),
			GtidSetFirst: proof.text("gtid_set_first"), GtidSetLast: proof.text("gtid_set_last"),
			UserTransactions:      proof.uint64("user_transactions"),
			FilteredTransactions:  proof.uint64("filtered_transactions"),
			HeartbeatTransactions: proof.uint64("heartbeat_transactions"),
			CanaryTransactions:    proof.uint64("canary_transactions"), ProvenAtUs: proof.int64("proven_at_us"),
		}
	}
	return found
}

func (d form) canary(room *int) *pb.Canary {
	nonce, err := base64.StdEncoding.Strict().DecodeString(d.optionalText("nonce"))
	if err != nil {
		d.wrong("nonce", "base64")
	}
	return &pb.Canary{
		Number: d.uint64("number"), WrittenAtUs: d.time("written_at"), Batch: d.batch(room),
		Phase:     pb.CanaryPhase(named(pb.CanaryPhase_value, "CANARY_PHASE_", d.text("phase"))),
		Watermark: d.watermark(), Path: d.optionalText("path"), Nonce: nonce,
	}
}

func (d form) mark() *pb.SnapshotMark {
	return &pb.SnapshotMark{
		Source: d.source(), Snapshot: d.text("snapshot"), Database: d.text("database"), Table: d.text("table"),
		Phase: pb.SnapshotPhase(named(pb.SnapshotPhase_value, "SNAPSHOT_PHASE_", d.text("phase"))),
		Rows:  d.uint64("rows_published"), Chunks: d.uint64("chunks"), Lanes: d.marks(),
		Reason: d.optionalText("reason"),
	}
}

func (d form) table() *pb.TableSchema {
	schema := d.inside("schema")
	table := &pb.TableSchema{
		Database: d.text("database"), Table: d.text("table"), Fingerprint: schema.hex64("fingerprint"),
		ColumnsNamed: schema.flag("columns_named"),
	}
	for _, column := range schema.forms("columns") {
		made := &pb.Column{
			Name: column.text("name"), MysqlType: column.optionalText("mysql_type"), Nullable: column.flag("nullable"),
			LogicalType: pb.LogicalType(named(pb.LogicalType_value, "LOGICAL_TYPE_", column.text("type"))),
			Unsigned:    column.flag("unsigned"), Charset: column.optionalText("charset"),
			Collation: column.optionalUint32("collation"), Invisible: column.optionalFlag("invisible"),
		}
		if column.has("members") {
			made.Members = column.texts("members")
		}
		table.Columns = append(table.Columns, made)
	}
	for _, name := range schema.texts("primary_key") {
		at := slices.IndexFunc(table.Columns, func(column *pb.Column) bool { return column.Name == name })
		if at < 0 {
			d.wrong("primary_key", "names of columns")
			at = 0
		}
		table.PrimaryKey = append(table.PrimaryKey, uint32(at))
	}
	return table
}

// rows gives what all batches have.
func (d form) rows(room *int) *pb.ChangeBatch {
	batch := &pb.ChangeBatch{
		Source: d.source(), Table: d.table(), Lane: d.text("lane"), LaneNumber: d.uint32("lane_number"),
		LaneCount: d.uint32("lane_count"),
	}
	columns := columnsOf(batch.Table)
	for _, row := range d.forms("rows") {
		if *d.err != nil {
			break
		}
		batch.Rows = append(batch.Rows, &pb.Row{
			Op: pb.Op(named(pb.Op_value, "OP_", row.text("op"))), Transaction: row.optionalUint32("transaction"),
			Row: row.optionalUint64("row"), Before: row.image("before", columns, room),
			After: row.image("after", columns, room),
		})
	}
	return batch
}

func (d form) batch(room *int) *pb.ChangeBatch {
	batch := d.rows(room)
	batch.BeforeImage = pb.BeforeImage(named(pb.BeforeImage_value, "BEFORE_IMAGE_", d.text("before_image")))
	batch.SequenceFirst = d.uint64("sequence_first")
	batch.SnapshotNext = d.optionalUint64("snapshot_next")
	batch.SnapshotAttempt = d.optionalUint32("snapshot_attempt")
	files := map[string]uint32{}
	for _, transaction := range d.forms("transactions") {
		at := transaction.time("committed_at")
		original := at
		if transaction.has("original_committed_at") {
			original = transaction.time("original_committed_at")
		}
		if len(batch.Transactions) == 0 {
			batch.CommittedAtBaseUs = at
		}
		place := transaction.inside("position")
		name := place.text("file")
		file, isKnown := files[name]
		if !isKnown {
			file = uint32(len(files))
			files[name] = file
			batch.Files = append(batch.Files, name)
		}
		batch.Transactions = append(batch.Transactions, &pb.Transaction{
			Gtid: transaction.optionalText("gtid"), CommittedAtDeltaUs: at - batch.CommittedAtBaseUs, File: file,
			Offset: place.uint64("offset"), Rows: transaction.uint32("rows"),
			ServerId: transaction.uint32("server_id"), OriginalCommittedAtDeltaUs: original - at,
			Traceparent: transaction.optionalText("traceparent"),
		})
	}
	return batch
}

func (d form) part(room *int) *pb.SnapshotPart {
	batch := d.rows(room)
	part := &pb.SnapshotPart{
		Snapshot: d.text("snapshot"), Part: d.uint64("part"), Batch: batch, Chunk: d.uint64("chunk"),
		Anchor:  &pb.LaneMark{Lane: batch.Lane, SequenceNext: d.uint64("anchor"), Epoch: batch.Source.GetEpoch()},
		Attempt: d.uint32("attempt"), LastPart: d.flag("last_part"), RowsInChunk: d.uint64("rows_in_chunk"),
		RowsSuperseded: d.uint64("rows_superseded"), AttemptPart: d.uint64("attempt_part"),
	}
	if d.has("key_columns") {
		for _, ordinal := range d.list("key_columns") {
			part.KeyColumns = append(part.KeyColumns, uint32(d.number("key_columns", ordinal, 32)))
		}
	}
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
	if d.has("digest") {
		digest := d.inside("digest")
		part.Digest = &pb.ChunkDigest{Rows: digest.uint64("rows"), Sum: digest.hex64("sum"), Xor: digest.hex64("xor")}
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
		bytes, err := base64.StdEncoding.Strict().DecodeString(text)
		if err != nil {
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
			bytes, err := base64.StdEncoding.Strict().DecodeString(text)
			if err != nil {
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

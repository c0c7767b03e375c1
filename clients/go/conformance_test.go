package binpulse

import (
	"context"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"reflect"
	"strconv"
	"strings"
	"testing"
	"time"

	pb "binpulse/client/binpulsev1"
)

type members = map[string]any

func cases(t *testing.T, name string) []members {
	t.Helper()
	text, err := os.ReadFile("../../conformance/" + name + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var found []members
	if err := json.Unmarshal(text, &found); err != nil {
		t.Fatal(err)
	}
	return found
}

func number(value any) string { return fmt.Sprint(value) }

// normalized is a copy with JSON as documents, and floats as numbers: their texts may differ.
func normalized(t *testing.T, shown any) any {
	switch value := shown.(type) {
	case []any:
		copied := []any{}
		for _, element := range value {
			copied = append(copied, normalized(t, element))
		}
		return copied
	case members:
		copied := members{}
		for name, inside := range value {
			text, isText := inside.(string)
			elements, isArray := inside.([]any)
			switch {
			case isText && (name == "float" || name == "double"):
				copied[name] = float(text, map[string]int{"float": 32, "double": 64}[name])
			case isText && (name == "json" || name == "json_diff"):
				var document any
				if err := json.Unmarshal([]byte(text), &document); err != nil {
					t.Fatal(err)
				}
				copied[name] = document
			case isArray && name == "vector":
				floats := []any{}
				for _, element := range elements {
					floats = append(floats, float(element.(string), 32))
				}
				copied[name] = floats
			default:
				copied[name] = normalized(t, inside)
			}
		}
		return copied
	}
	return shown
}

// float is a text that two equal floats share.
func float(text string, bits int) string {
	value, _ := strconv.ParseFloat(text, bits)
	return strconv.FormatFloat(value, 'g', -1, bits)
}

func cellShown(column *pb.Column, of Value) members {
	encoded := base64.StdEncoding.EncodeToString
	switch value := of.(type) {
	case Absent:
		return members{"absent": true}
	case nil:
		return members{"null": true}
	case Omitted:
		size := number(value.SizeBytes)
		return members{"omitted": members{"size_bytes": size, "sha256": hex.EncodeToString(value.SHA256)}}
	case MalformedText:
		return members{"malformed_text": encoded(value)}
	case Geometry:
		return members{"geometry": encoded(value)}
	case []byte:
		return members{"bytes": encoded(value)}
	case JSONDiff:
		return members{"json_diff": string(value)}
	case JSON:
		return members{"json": string(value)}
	case EnumIndex:
		return members{"enum_index": number(uint64(value))}
	case SetMask:
		return members{"set_mask": number(uint64(value))}
	case Decimal:
		return members{"decimal": string(value)}
	case Date:
		return members{"date": string(value)}
	case Time:
		return members{"time": string(value)}
	case Datetime:
		return members{"datetime": string(value)}
	case Timestamp:
		return members{"timestamp": string(value)}
	case []float32:
		elements := []any{}
		for _, element := range value {
			elements = append(elements, fmt.Sprint(element))
		}
		return members{"vector": elements}
	case float32:
		return members{"float": fmt.Sprint(value)}
	case float64:
		return members{"double": fmt.Sprint(value)}
	case int64:
		if column.LogicalType == pb.LogicalType_LOGICAL_TYPE_YEAR {
			return members{"year": number(value)}
		}
		return members{"integer": number(value)}
	case uint64:
		if column.LogicalType == pb.LogicalType_LOGICAL_TYPE_BIT {
			return members{"bit": number(value)}
		}
		return members{"unsigned": number(value)}
	case string:
		name := map[pb.LogicalType]string{
			pb.LogicalType_LOGICAL_TYPE_ENUM: "enum", pb.LogicalType_LOGICAL_TYPE_SET: "set",
		}[column.LogicalType]
		if name == "" {
			name = "text"
		}
		return members{name: value}
	}
	return members{"what": fmt.Sprintf("%T", of)}
}

func imageShown(table *pb.TableSchema, image Image) any {
	if image == nil {
		return nil
	}
	shown := members{}
	for _, column := range table.Columns {
		if value, isThere := image[column.Name]; isThere {
			shown[column.Name] = cellShown(column, value)
		}
	}
	return shown
}

func equal(t *testing.T, name string, found, wanted any) {
	t.Helper()
	if !reflect.DeepEqual(found, wanted) {
		t.Fatalf("%s:\nfound  %v\nwanted %v", name, found, wanted)
	}
}

func checkRows(t *testing.T, name string, batch *pb.ChangeBatch, wanted members) {
	t.Helper()
	rows := []any{}
	for row := range Rows(batch) {
		one := members{
			"op": row.Op, "before": imageShown(batch.Table, row.Before), "after": imageShown(batch.Table, row.After),
		}
		if of := row.Transaction; of != nil {
			one["number"], one["gtid"] = number(row.Number), of.Gtid
			one["committed_at_us"] = number(row.CommittedAtUs)
			one["original_committed_at_us"] = number(row.CommittedAtUs + of.OriginalCommittedAtDeltaUs)
			one["number_in_transaction"], one["server_id"] = number(row.NumberInTransaction), number(of.ServerId)
			one["position"] = members{"file": batch.Files[of.File], "offset": number(of.Offset)}
		}
		rows = append(rows, one)
	}
	equal(t, name, normalized(t, rows), normalized(t, wanted["rows"]))
	equal(t, name, batch.Lane, wanted["lane"])
	key := []any{}
	for _, ordinal := range batch.Table.PrimaryKey {
		key = append(key, batch.Table.Columns[ordinal].Name)
	}
	equal(t, name, key, wanted["primary_key"])
	equal(t, name, number(batch.Source.Epoch), wanted["source"].(members)["epoch"])
	equal(t, name, fmt.Sprintf("%016x", batch.Table.Fingerprint), wanted["fingerprint"])
}

func small(enum fmt.Stringer, prefix string) string {
	return strings.ToLower(strings.TrimPrefix(enum.String(), prefix))
}

func checkContent(t *testing.T, name string, content Content, wanted members) {
	t.Helper()
	equal(t, name, KindOf(content), wanted["kind"])
	switch value := content.(type) {
	case *pb.ChangeBatch:
		checkRows(t, name, value, wanted)
		equal(t, name, number(value.SnapshotNext), wanted["snapshot_next"])
		equal(t, name, number(value.SnapshotAttempt), wanted["snapshot_attempt"])
		equal(t, name, small(value.BeforeImage, "BEFORE_IMAGE_"), wanted["before_image"])
	case *pb.Canary:
		checkRows(t, name, value.Batch, wanted["batch"].(members))
		equal(t, name, []any{number(value.Number), value.Path, number(value.WrittenAtUs)},
			[]any{wanted["number"], wanted["path"], wanted["written_at_us"]})
		mark, isThere := wanted["watermark"].(members)
		equal(t, name, value.Watermark != nil, isThere)
		if isThere {
			lanes := []any{}
			for _, lane := range value.Watermark.Lanes {
				lanes = append(lanes, members{
					"lane": lane.Lane, "sequence_next": number(lane.SequenceNext), "epoch": number(lane.Epoch),
				})
			}
			equal(t, name, lanes, mark["lanes"])
			proof := mark["certificate"].(members)
			equal(t, name, number(value.Watermark.Certificate.ProvenAtUs), proof["proven_at_us"])
		}
	case *pb.SnapshotPart:
		checkPart(t, name, value, wanted)
	case *pb.SchemaChange:
		equal(t, name, []any{value.Statement, value.Database, value.Gtid, number(value.CommittedAtUs)},
			[]any{wanted["statement"], wanted["database"], wanted["gtid"], wanted["committed_at_us"]})
	case *pb.Suppressed:
		equal(t, name, []any{number(value.SequenceFirst), number(value.Count)},
			[]any{wanted["sequence_first"], wanted["count"]})
	case *pb.SnapshotMark:
		equal(t, name, []any{small(value.Phase, "SNAPSHOT_PHASE_"), number(value.Rows), value.Reason},
			[]any{wanted["phase"], wanted["rows"], wanted["reason"]})
	}
}

func checkPart(t *testing.T, name string, part *pb.SnapshotPart, wanted members) {
	t.Helper()
	checkRows(t, name, part.Batch, wanted["batch"].(members))
	key := func(image *pb.Image) any {
		if image == nil {
			return nil
		}
		return imageShown(part.Batch.Table, KeyOf(part, image))
	}
	touched := []any{}
	for _, image := range part.Touched {
		touched = append(touched, key(image))
	}
	equal(t, name, []any{key(part.KeyAfter), key(part.KeyUpto), touched},
		[]any{wanted["key_after"], wanted["key_upto"], wanted["touched"]})
	for member, value := range map[string]any{
		"part": part.Part, "chunk": part.Chunk, "attempt": part.Attempt, "attempt_part": part.AttemptPart,
		"rows_in_chunk": part.RowsInChunk, "rows_superseded": part.RowsSuperseded,
	} {
		equal(t, name+" "+member, number(value), wanted[member])
	}
	equal(t, name, number(part.Anchor.SequenceNext), wanted["anchor"].(members)["sequence_next"])
	if digest, isThere := wanted["digest"].(members); isThere {
		equal(t, name, fmt.Sprintf("%016x", part.Digest.Sum), digest["sum"])
	}
}

func attributes(of any) map[string]string {
	found := map[string]string{}
	members, _ := of.(members)
	for name, value := range members {
		found[name] = value.(string)
	}
	return found
}

func TestMessagesMeanWhatTheirCasesSayInEachForm(t *testing.T) {
	count := 0
	for _, one := range cases(t, "messages") {
		for _, of := range one["messages"].([]any) {
			form := of.(members)
			name := fmt.Sprintf("%s as %s", one["name"], form["form"])
			message, err := Received(form["body"].(string), attributes(form["attributes"]))
			if err != nil {
				t.Fatal(name, err)
			}
			content, err := message.Decode()
			if err != nil {
				t.Fatal(name, err)
			}
			checkContent(t, name, content, one["content"].(members))
			count++
		}
	}
	if count <= 50 {
		t.Fatal(count)
	}
}

func TestWhateverIsPutAroundAMessageComesOff(t *testing.T) {
	contents := map[any]members{}
	for _, one := range cases(t, "messages") {
		contents[one["name"]] = one["content"].(members)
	}
	for _, one := range cases(t, "envelopes") {
		name := one["name"].(string)
		objects, _ := one["objects"].(members)
		fetch := func(_ context.Context, place Pointer) ([]byte, error) {
			return []byte(objects[place.Bucket+"/"+place.Key].(string)), nil
		}
		take := func(ctx context.Context, message Message) error {
			equal(t, name, message.Attributes, attributes(one["attributes"]))
			content, err := message.DecodeWith(ctx, fetch)
			if err == nil {
				checkContent(t, name, content, contents[one["case"]])
			}
			return err
		}
		if one["event"] == nil {
			given := map[string]string{}
			if objects != nil {
				given = attributes(one["attributes"])
			}
			message, err := Received(one["body"].(string), given)
			if err == nil {
				err = take(t.Context(), message)
			}
			if err != nil {
				t.Fatal(name, err)
			}
			continue
		}
		var event LambdaEvent
		text, _ := json.Marshal(one["event"])
		if err := json.Unmarshal(text, &event); err != nil || len(event.Records) == 0 {
			t.Fatal(name, err)
		}
		LambdaBatch(t.Context(), event, take, func(id string, err error) { t.Fatal(name, id, err) })
	}
}

func TestHostileBodiesAreRefusedForTheirReason(t *testing.T) {
	for _, one := range cases(t, "hostile") {
		_, err := Decode(one["body"].(string))
		refused := (*DecodeError)(nil)
		if !errors.As(err, &refused) || string(refused.Reason) != one["reason"] {
			t.Errorf("%s: found %v, wanted %s", one["name"], err, one["reason"])
		}
	}
}

func rangeOf(of any) Range {
	part := func(name string) uint64 {
		value, _ := strconv.ParseUint(of.(members)[name].(string), 10, 64)
		return value
	}
	return Range{part("first"), part("last")}
}

func TestLanesDecideAsTheHistoriesSay(t *testing.T) {
	for _, one := range cases(t, "ledger") {
		state := State{}
		if next, isKnown := one["next"].(string); isKnown {
			state.Next, _ = strconv.ParseUint(next, 10, 64)
		}
		lane := NewLane(state, DefaultWaits, time.Unix(0, 0))
		for at, of := range one["steps"].([]any) {
			step, name := of.(members), fmt.Sprintf("%s, step %d", one["name"], at)
			now := time.Unix(int64(step["at"].(float64)), 0)
			switch {
			case step["rows"] != nil:
				rows := step["rows"].(members)
				first, _ := strconv.ParseUint(rows["first"].(string), 10, 64)
				count, _ := strconv.ParseUint(rows["count"].(string), 10, 64)
				offer := lane.Offer(first, count, now)
				equal(t, name, string(offer.Decision), step["decision"])
				if offer.Take > 0 {
					equal(t, name, number(offer.Skip), step["skip"])
					take := step["take"]
					if take == nil {
						take = number(count - offer.Skip)
					}
					equal(t, name, number(offer.Take), take)
					lane.Applied(first+offer.Skip, offer.Take, now)
				}
			case step["watermark"] != nil:
				next, _ := strconv.ParseUint(step["watermark"].(string), 10, 64)
				lane.Watermark(next, now)
			case step["absent"] != nil:
				lane.Absent(rangeOf(step["absent"]), now)
			case step["suppressed"] != nil:
				lane.Suppressed(rangeOf(step["suppressed"]), now)
			}
			var gap, next any
			if found, isDue := lane.Missing(now); isDue {
				gap = members{"first": number(found.First), "last": number(found.Last), "proven": found.Proven}
			}
			if lane.Next() != 0 {
				next = number(lane.Next())
			}
			equal(t, name, []any{gap, next}, []any{step["gap"], step["next"]})
		}
	}
}

func TestWebhooksAreBelievedOnlyWhereASecretSignedThem(t *testing.T) {
	for _, one := range cases(t, "webhooks") {
		headers := http.Header{}
		for name, value := range attributes(one["headers"]) {
			headers.Set(name, value)
		}
		var secrets []string
		for _, secret := range one["secrets"].([]any) {
			secrets = append(secrets, secret.(string))
		}
		now := time.Unix(int64(one["now"].(float64)), 0)
		id, err := VerifyWebhook([]byte(one["body"].(string)), headers, secrets, now)
		verdict := "good"
		if refused := (*WebhookError)(nil); errors.As(err, &refused) {
			verdict = string(refused.Reason)
		} else {
			equal(t, "id", id, headers.Get("webhook-id"))
		}
		equal(t, one["name"].(string), verdict, one["verdict"])
	}
}

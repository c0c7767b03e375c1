package binpulse

import "google.golang.org/protobuf/encoding/protowire"

// What an empty element of a list takes once it is decoded; in a frame it takes two bytes. A few kilobytes,
// compressed, could become gigabytes although their content is within its limit.
const elementBytes = 100

// level is a message with lists, or with messages that have some, by the numbers of its fields.
type level map[protowire.Number]inside

type inside struct {
	isList bool
	level  level
}

var (
	imageLevel     = level{1: {isList: true}}
	rowLevel       = level{4: {level: imageLevel}, 5: {level: imageLevel}}
	columnLevel    = level{7: {isList: true}}
	tableLevel     = level{3: {true, columnLevel}}
	batchLevel     = level{2: {level: tableLevel}, 8: {isList: true}, 9: {isList: true}, 11: {true, rowLevel}}
	watermarkLevel = level{5: {isList: true}}
	partLevel      = level{4: {level: batchLevel}, 8: {level: imageLevel}, 9: {level: imageLevel}, 10: {true, imageLevel}}
	frameLevel     = level{
		6:  {level: batchLevel},
		7:  {level: level{7: {level: watermarkLevel}}},
		8:  {level: level{4: {level: batchLevel}, 5: {level: watermarkLevel}, 7: {isList: true}}},
		11: {level: partLevel},
		12: {level: level{8: {isList: true}}},
		14: {level: level{5: {isList: true}}},
	}
)

// fits tells whether the elements of all lists in a frame take at most so many bytes. Bytes that are no frame fit:
// decoding them tells what is wrong.
func fits(frame []byte, bytesMax int) bool {
	room := bytesMax / elementBytes
	// Each element takes two bytes at least: most contents need no closer look.
	return len(frame)/2 <= room || walk(frameLevel, frame, &room)
}

func walk(of level, bytes []byte, room *int) bool {
	for len(bytes) > 0 {
		number, kind, length := protowire.ConsumeTag(bytes)
		if length < 0 {
			return true
		}
		bytes = bytes[length:]
		if kind != protowire.BytesType {
			if length = protowire.ConsumeFieldValue(number, kind, bytes); length < 0 {
				return true
			}
			bytes = bytes[length:]
			continue
		}
		content, length := protowire.ConsumeBytes(bytes)
		if length < 0 {
			return true
		}
		bytes = bytes[length:]
		field := of[number]
		if field.isList {
			if *room--; *room < 0 {
				return false
			}
		}
		if field.level != nil && !walk(field.level, content, room) {
			return false
		}
	}
	return true
}

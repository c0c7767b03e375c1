package binpulse

import (
	"encoding/json"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"
)

const depthMax = 200

// node is a value of JSON: nil, bool, string, json.Number, []node, or object; and its text.
type node struct {
	value any
	text  string
}

// object has the members of an object.
type object map[string]node

// parseJSON reads JSON whose numbers keep their digits, and whose members are there once. The standard library's
// reader takes the last of two members, and is several times slower with numbers as text.
func parseJSON(text string) (node, error) {
	parser := jsonParser{text: text}
	found, err := parser.value(0)
	if err != nil {
		return node{}, err
	}
	if parser.space(); parser.at != len(text) {
		return node{}, noJSON()
	}
	return found, nil
}

func noJSON() error { return fault(Document, "the body is no JSON") }

type jsonParser struct {
	text string
	at   int
}

// peek gives the next byte, 0 behind the last one.
func (p *jsonParser) peek() byte {
	if p.at < len(p.text) {
		return p.text[p.at]
	}
	return 0
}

func (p *jsonParser) skip(letter byte) bool {
	isNext := p.peek() == letter && p.at < len(p.text)
	if isNext {
		p.at++
	}
	return isNext
}

func (p *jsonParser) space() {
	for next := p.peek(); next == ' ' || next == '\t' || next == '\n' || next == '\r'; next = p.peek() {
		p.at++
	}
}

func (p *jsonParser) value(depth int) (node, error) {
	if depth > depthMax {
		return node{}, fault(Document, "JSON is nested deeper than %d", depthMax)
	}
	p.space()
	start := p.at
	var value any
	var err error
	switch p.peek() {
	case '{':
		value, err = p.object(depth)
	case '[':
		value, err = p.array(depth)
	case '"':
		value, err = p.string()
	case 't':
		value, err = true, p.word("true")
	case 'f':
		value, err = false, p.word("false")
	case 'n':
		err = p.word("null")
	default:
		value, err = p.number()
	}
	return node{value, p.text[start:p.at]}, err
}

func (p *jsonParser) word(word string) error {
	if len(p.text)-p.at < len(word) || p.text[p.at:p.at+len(word)] != word {
		return noJSON()
	}
	p.at += len(word)
	return nil
}

// list reads what stands between brackets, with commas between.
func (p *jsonParser) list(end byte, element func() error) error {
	p.at++
	if p.space(); p.skip(end) {
		return nil
	}
	for {
		if err := element(); err != nil {
			return err
		}
		if p.space(); p.skip(end) {
			return nil
		}
		if !p.skip(',') {
			return noJSON()
		}
	}
}

func (p *jsonParser) object(depth int) (object, error) {
	members := object{}
	err := p.list('}', func() error {
		p.space()
		if p.peek() != '"' {
			return noJSON()
		}
		name, err := p.string()
		if err != nil {
			return err
		}
		if p.space(); !p.skip(':') {
			return noJSON()
		}
		value, err := p.value(depth + 1)
		if _, isTwice := members[name]; isTwice && err == nil {
			return fault(Document, "an object has a member twice")
		}
		members[name] = value
		return err
	})
	return members, err
}

func (p *jsonParser) array(depth int) ([]node, error) {
	elements := []node{}
	err := p.list(']', func() error {
		element, err := p.value(depth + 1)
		elements = append(elements, element)
		return err
	})
	return elements, err
}

func (p *jsonParser) number() (json.Number, error) {
	start := p.at
	p.skip('-')
	isFine := p.skip('0') || p.digits()
	if isFine && p.skip('.') {
		isFine = p.digits()
	}
	if isFine && (p.skip('e') || p.skip('E')) {
		_ = p.skip('+') || p.skip('-')
		isFine = p.digits()
	}
	if !isFine {
		return "", noJSON()
	}
	return json.Number(p.text[start:p.at]), nil
}

func (p *jsonParser) digits() bool {
	start := p.at
	for p.peek() >= '0' && p.peek() <= '9' {
		p.at++
	}
	return p.at > start
}

func (p *jsonParser) string() (string, error) {
	start := p.at
	isPlain := true
	for p.at++; p.peek() != '"'; p.at++ {
		next := p.peek()
		if next < 0x20 { // a control character, or the end
			return "", noJSON()
		}
		if next == '\\' {
			isPlain = false
			p.at++
		}
	}
	p.at++
	found := p.text[start:p.at]
	if isPlain && utf8.ValidString(found) {
		return found[1 : len(found)-1], nil
	}
	var text string
	if json.Unmarshal([]byte(found), &text) != nil || hasHalfCharacter(found) {
		return "", noJSON()
	}
	return text, nil
}

// hasHalfCharacter tells whether one half of a surrogate pair stands alone: the standard library replaces it.
func hasHalfCharacter(text string) bool {
	code := func(at int) rune {
		if len(text) < at+6 || text[at:at+2] != `\u` {
			return 0
		}
		value, _ := strconv.ParseUint(text[at+2:at+6], 16, 16)
		return rune(value)
	}
	for at := 0; at < len(text); at++ {
		if text[at] != '\\' {
			continue
		}
		if first := code(at); utf16.IsSurrogate(first) {
			if utf16.DecodeRune(first, code(at+6)) == utf8.RuneError {
				return true
			}
			at += 6
		}
		at++ // what is escaped
	}
	return false
}

package binpulse

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
)

const depthMax = 200

// node is a value of JSON: nil, bool, string, json.Number, []node, or object; and its text.
type node struct {
	value any
	text  string
}

// object has the members of an object.
type object map[string]node

// parseJSON reads JSON whose numbers keep their digits, and whose members are there once.
func parseJSON(text string) (node, error) {
	decoder := json.NewDecoder(strings.NewReader(text))
	decoder.UseNumber()
	parser := jsonParser{decoder, text}
	found, err := parser.value(0)
	if err == nil {
		if _, end := decoder.Token(); !errors.Is(end, io.EOF) {
			err = fault(Document, "the body is no JSON")
		}
	}
	return found, err
}

type jsonParser struct {
	*json.Decoder
	text string
}

func (p jsonParser) token() (json.Token, error) {
	token, err := p.Token()
	if err != nil {
		return nil, fault(Document, "the body is no JSON")
	}
	return token, nil
}

func (p jsonParser) value(depth int) (node, error) {
	start := p.InputOffset()
	token, err := p.token()
	if err != nil {
		return node{}, err
	}
	if depth > depthMax {
		return node{}, fault(Document, "JSON is nested deeper than %d", depthMax)
	}
	var value any = token
	if token == json.Delim('{') {
		value, err = p.object(depth)
	} else if token == json.Delim('[') {
		value, err = p.array(depth)
	}
	text := strings.TrimLeft(p.text[start:p.InputOffset()], " \t\r\n,:")
	return node{value, text}, err
}

func (p jsonParser) object(depth int) (object, error) {
	members := object{}
	for p.More() {
		name, err := p.token()
		if err != nil {
			return nil, err
		}
		value, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		if _, isTwice := members[name.(string)]; isTwice {
			return nil, fault(Document, "an object has a member twice")
		}
		members[name.(string)] = value
	}
	_, err := p.token()
	return members, err
}

func (p jsonParser) array(depth int) ([]node, error) {
	elements := []node{}
	for p.More() {
		element, err := p.value(depth + 1)
		if err != nil {
			return nil, err
		}
		elements = append(elements, element)
	}
	_, err := p.token()
	return elements, err
}

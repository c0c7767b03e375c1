// Reads row events with go-mysql's canal; see ../README.md for how it is called.
//
// No dump program, times as text, decimals as text: the settings in which it does least.
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"time"

	"github.com/go-mysql-org/go-mysql/canal"
	"github.com/go-mysql-org/go-mysql/mysql"
)

const module = "github.com/go-mysql-org/go-mysql"

var errDone = errors.New("all wanted rows are read")

type reader struct {
	canal.DummyEventHandler
	wanted  int
	seconds float64
	hasAges bool

	rows   int
	until  time.Time
	agesUs []int64
}

func (r *reader) OnRow(event *canal.RowsEvent) error {
	if r.until.IsZero() {
		r.until = time.Now().Add(time.Duration(r.seconds * float64(time.Second)))
		fmt.Println("reading")
	}
	if r.hasAges {
		nowUs := time.Now().UnixMicro()
		for _, row := range event.Rows {
			if dueUs, ok := row[1].(int64); ok && dueUs != 0 {
				r.agesUs = append(r.agesUs, nowUs-dueUs)
			}
		}
		r.rows = len(r.agesUs)
	} else {
		r.rows += len(event.Rows)
	}
	if r.rows >= r.wanted || time.Now().After(r.until) {
		return errDone
	}
	return nil
}

func main() {
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(words []string) error {
	if len(words) < 6 {
		return errors.New("usage: HOST PORT FILE POSITION ROWS SECONDS [ages]")
	}
	position, err := strconv.ParseUint(words[3], 10, 32)
	if err != nil {
		return err
	}
	handler := &reader{agesUs: []int64{}, hasAges: len(words) > 6 && words[6] == "ages"}
	if handler.wanted, err = strconv.Atoi(words[4]); err != nil {
		return err
	}
	if handler.seconds, err = strconv.ParseFloat(words[5], 64); err != nil {
		return err
	}
	config := canal.NewDefaultConfig()
	config.Addr = words[0] + ":" + words[1]
	config.User = "root"
	config.ServerID = 4_000_000_014
	config.Dump.ExecutionPath = ""
	config.ParseTime = false
	config.UseDecimal = false
	config.Logger = slog.New(slog.DiscardHandler)
	stream, err := canal.NewCanal(config)
	if err != nil {
		return err
	}
	stream.SetEventHandler(handler)
	from := mysql.Position{Name: words[2], Pos: uint32(position)}
	if err := stream.RunFrom(from); !errors.Is(err, errDone) {
		return fmt.Errorf("stopped early: %w", err)
	}
	line, err := json.Marshal(map[string]any{
		"reader": "go-mysql canal " + version(), "rows": handler.rows, "ages_us": handler.agesUs,
	})
	if err != nil {
		return err
	}
	fmt.Println(string(line))
	_, err = io.Copy(io.Discard, os.Stdin)
	return err
}

func version() string {
	if build, ok := debug.ReadBuildInfo(); ok {
		for _, dependency := range build.Deps {
			if dependency.Path == module {
				return dependency.Version
			}
		}
	}
	return "unknown"
}

package main

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"testing"

	binpulse "binpulse/client"
)

// The handler answers as the conformance suite says.
func TestTheHandlerTellsWhichMessagesFailed(t *testing.T) {
	address := os.Getenv("BINPULSE_TEST_MYSQL")
	if address == "" {
		t.Skip("no MySQL: set BINPULSE_TEST_MYSQL")
	}
	text, err := os.ReadFile("../../../../conformance/handler.json")
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Statements []string
		Steps      []struct {
			Event    binpulse.LambdaEvent
			Failures []string
		}
		Select string
		Rows   [][]string
	}
	if err := json.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	url := fmt.Sprintf("root@tcp(%s)/", address)
	db, err := sql.Open("mysql", url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	for _, one := range cases {
		for _, statement := range one.Statements {
			if _, err := db.Exec(statement); err != nil {
				t.Fatal(err)
			}
		}
		handler, err := open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range one.Steps {
			answer, err := handler(t.Context(), step.Event)
			if err != nil {
				t.Fatal(err)
			}
			failures := []string{}
			for _, failure := range answer.BatchItemFailures {
				failures = append(failures, failure.ItemIdentifier)
			}
			if !slices.Equal(failures, step.Failures) {
				t.Errorf("failed: %q, wanted %q", failures, step.Failures)
			}
		}
		if rows := selected(t.Context(), t, db, one.Select); fmt.Sprint(rows) != fmt.Sprint(one.Rows) {
			t.Errorf("found %q, wanted %q", rows, one.Rows)
		}
	}
}

func selected(ctx context.Context, t *testing.T, db *sql.DB, query string) [][]string {
	found, err := db.QueryContext(ctx, query)
	if err != nil {
		t.Fatal(err)
	}
	defer found.Close()
	var rows [][]string
	for found.Next() {
		row := make([]string, 2)
		if err := found.Scan(&row[0], &row[1]); err != nil {
			t.Fatal(err)
		}
		rows = append(rows, row)
	}
	if err := found.Err(); err != nil {
		t.Fatal(err)
	}
	return rows
}

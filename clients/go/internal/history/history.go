// Package history checks a store of numbers: what every store must do.
package history

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
)

var source = &pb.Source{Stream: "shop", Epoch: 1}

// Check plays a history; save is called with a change and the numbers that it applies, and with the error that it is
// to end in, if any. What was applied is given back.
func Check(
	t *testing.T, store binpulse.Store,
	save func(ctx context.Context, change binpulse.Change, numbers []uint64, broken error) error,
) []uint64 {
	t.Helper()
	var applied []uint64
	var broken error
	take := func(ledger *binpulse.Ledger, first uint64, count int) (binpulse.Decision, error) {
		batch := &pb.ChangeBatch{Source: source, Lane: "shop.t#0", SequenceFirst: first, Rows: make([]*pb.Row, count)}
		return ledger.Take(t.Context(), batch, time.Now(), func(ctx context.Context, change binpulse.Change) error {
			var numbers []uint64
			for at := range change.Take {
				numbers = append(numbers, first+uint64(change.Skip+at))
			}
			err := save(ctx, change, numbers, broken)
			if err == nil {
				applied = append(applied, numbers...)
			}
			return err
		})
	}
	taken := func(ledger *binpulse.Ledger, first uint64, count int, wanted binpulse.Decision) {
		t.Helper()
		if decision, err := take(ledger, first, count); decision != wanted || err != nil {
			t.Fatalf("rows from %d: found %s (%v), wanted %s", first, decision, err, wanted)
		}
	}
	one := binpulse.NewLedger(store, binpulse.DefaultWaits)
	taken(one, 1, 3, binpulse.Skip)
	broken = errors.New("broken")
	if _, err := take(one, 4, 1); !errors.Is(err, broken) {
		t.Fatal(err)
	}
	broken = nil
	held := &pb.Suppressed{Source: source, Lane: "shop.t#0", SequenceFirst: 4, Count: 3}
	if err := one.Suppressed(t.Context(), held, time.Now(), nil); err != nil {
		t.Fatal(err)
	}
	taken(one, 7, 2, binpulse.Skip)
	taken(one, 10, 1, binpulse.Wait)
	// A new process; rows that were suppressed come after all, packed with others.
	two := binpulse.NewLedger(store, binpulse.DefaultWaits)
	taken(two, 1, 5, binpulse.Skip)
	taken(two, 3, 7, binpulse.Skip)
	// The first process did not notice.
	if _, err := take(one, 9, 1); !errors.As(err, new(*binpulse.ConflictError)) {
		t.Fatal(err)
	}
	taken(one, 9, 1, binpulse.Skip)
	taken(one, 10, 1, binpulse.Skip)
	if fmt.Sprint(applied) != "[1 2 3 7 8 4 5 6 9 10]" {
		t.Fatal(applied)
	}
	return applied
}

package binpulse

import (
	"context"
	"time"

	pb "binpulse/client/binpulsev1"
)

// LaneName names a lane of one epoch of one stream.
type LaneName struct {
	Stream string
	Epoch  uint64
	Lane   string
}

// Change is a change of a lane, to be stored in the transaction of its rows' effect.
type Change struct {
	Lane LaneName
	// Before is what the store has, nil: nothing yet.
	Before *State
	After  State
	// Skip and Take tell which rows to apply: Take after the first Skip.
	Skip, Take int
}

// Store keeps the numbers of lanes.
type Store interface {
	// Load gives the state of a lane, nil where the store does not have it.
	Load(ctx context.Context, lane LaneName) (*State, error)
	// Save stores a change, if the lane is as it was before; else the error is a *ConflictError.
	Save(ctx context.Context, change Change) error
}

type known struct {
	lane   *Lane
	stored *State
}

// Ledger has the lanes of a consumer. With a store they survive a restart: it is asked for each lane that is met, and
// given each change. It is not for several goroutines at a time.
type Ledger struct {
	store Store
	waits Waits
	lanes map[LaneName]known
}

// NewLedger makes a ledger; store may be nil.
func NewLedger(store Store, waits Waits) *Ledger {
	return &Ledger{store, waits, map[LaneName]known{}}
}

// Lane gives a lane: known, of the store, or new.
func (l *Ledger) Lane(ctx context.Context, name LaneName, now time.Time) (*Lane, error) {
	found, err := l.known(ctx, name, now)
	return found.lane, err
}

// Take says that rows of a batch have arrived. apply is called with each run of rows that is due: it applies
// change.Take rows after the first change.Skip, and gives the change to the store in the same transaction. After an
// error nothing is remembered. The decision is about what is left: Skip, delete the message; Wait, keep it, and take
// it again when something has changed.
func (l *Ledger) Take(
	ctx context.Context, batch *pb.ChangeBatch, now time.Time, apply func(context.Context, Change) error,
) (Decision, error) {
	name := LaneName{batch.Source.GetStream(), batch.Source.GetEpoch(), batch.Lane}
	first := batch.SequenceFirst
	for {
		lane, err := l.Lane(ctx, name, now)
		if err != nil {
			return Wait, err
		}
		offer := lane.Offer(first, uint64(len(batch.Rows)), now)
		if offer.Take == 0 {
			return offer.Decision, nil
		}
		applied := func(lane *Lane) { lane.Applied(first+offer.Skip, offer.Take, now) }
		if err := l.change(ctx, name, now, applied, apply, offer); err != nil {
			return Wait, err
		}
	}
}

// Suppressed takes a message of this kind. The store saves the change, or save in its place; it may be nil.
func (l *Ledger) Suppressed(
	ctx context.Context, message *pb.Suppressed, now time.Time, save func(context.Context, Change) error,
) error {
	name := LaneName{message.Source.GetStream(), message.Source.GetEpoch(), message.Lane}
	rows := Range{message.SequenceFirst, message.SequenceFirst + message.Count - 1}
	return l.change(ctx, name, now, func(lane *Lane) { lane.Suppressed(rows, now) }, save, Offer{})
}

// GiveUp goes on without the rows of a gap. The store saves the change, or save in its place; it may be nil.
func (l *Ledger) GiveUp(
	ctx context.Context, name LaneName, gap Gap, now time.Time, save func(context.Context, Change) error,
) error {
	return l.change(ctx, name, now, func(lane *Lane) { lane.Absent(gap.Range, now) }, save, Offer{})
}

// Watermark takes what a canary says of lanes that are known.
func (l *Ledger) Watermark(canary *pb.Canary, now time.Time) {
	stream := canary.Batch.GetSource().GetStream()
	for _, mark := range canary.Watermark.GetLanes() {
		if found, isKnown := l.lanes[LaneName{stream, mark.Epoch, mark.Lane}]; isKnown {
			found.lane.Watermark(mark.SequenceNext, now)
		}
	}
}

// Gaps are those that are due, of all lanes.
func (l *Ledger) Gaps(now time.Time) map[LaneName]Gap {
	gaps := map[LaneName]Gap{}
	for name, known := range l.lanes {
		if gap, isDue := known.lane.Missing(now); isDue {
			gaps[name] = gap
		}
	}
	return gaps
}

// Forget has the lane loaded again when it is met: another process has changed it.
func (l *Ledger) Forget(name LaneName) { delete(l.lanes, name) }

func (l *Ledger) known(ctx context.Context, name LaneName, now time.Time) (known, error) {
	if found, isKnown := l.lanes[name]; isKnown {
		return found, nil
	}
	var stored *State
	if l.store != nil {
		var err error
		if stored, err = l.store.Load(ctx, name); err != nil {
			return known{}, err
		}
	}
	state := State{}
	if stored != nil {
		state = *stored
	}
	found := known{NewLane(state, l.waits, now), stored}
	l.lanes[name] = found
	return found, nil
}

func (l *Ledger) change(
	ctx context.Context, name LaneName, now time.Time, change func(*Lane), save func(context.Context, Change) error,
	offer Offer,
) error {
	before, err := l.known(ctx, name, now)
	if err != nil {
		return err
	}
	lane := before.lane.clone()
	change(lane)
	if save == nil && l.store != nil {
		save = l.store.Save
	}
	after := lane.State()
	if save != nil {
		if err := save(ctx, Change{name, before.stored, after, int(offer.Skip), int(offer.Take)}); err != nil {
			l.Forget(name)
			return err
		}
	}
	l.lanes[name] = known{lane, &after}
	return nil
}

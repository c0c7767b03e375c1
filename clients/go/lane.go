package binpulse

import (
	"math"
	"slices"
	"time"
)

// Decision tells what to do with rows that arrived.
type Decision string

const (
	// Skip: they were applied before. Delete the message.
	Skip Decision = "skip"
	// Go: apply them.
	Go Decision = "go"
	// Late: rows that were suppressed have come after all. Apply them; newer ones may have been applied.
	Late Decision = "late"
	// Wait: rows before them have not come.
	Wait Decision = "wait"
)

// Offer is a decision: apply Take rows after the first Skip. Take is 0 unless the decision is Go or Late. Then offer
// the same rows again: a part of them may be left.
type Offer struct {
	Decision   Decision
	Skip, Take uint64
}

// Waits tells how long to wait.
type Waits struct {
	// First is for number 1 of a lane that is not known.
	First time.Duration
	// Gap is for rows of which nothing proves that the topic has accepted them: longer than a message takes to become
	// a dead letter.
	Gap time.Duration
	// Proven is for rows of which a canary's watermark proves it, when rows behind them have arrived.
	Proven time.Duration
}

// DefaultWaits are the waits unless others are given.
var DefaultWaits = Waits{First: time.Minute, Gap: 5 * time.Minute, Proven: 5 * time.Second}

// Range is a run of numbers, both ends included.
type Range struct{ First, Last uint64 }

// Gap is a run of rows that are missing. It is proven where a watermark says that the topic accepted them.
type Gap struct {
	Range
	Proven bool
}

// State is what a store keeps of a lane.
type State struct {
	// Next is the number that is expected, 0: not known yet.
	Next uint64
	// Suppressed are rows that are suppressed and have not come.
	Suppressed []Range
}

type mark struct {
	next uint64
	at   time.Time
}

// Lane has the numbers of one lane in one epoch: which rows come next, which came before, which are missing. It has
// no clock: time is an argument.
//
// The rows of a lane are numbered from 1 without a gap. Messages may come twice, in another order, and some may be
// lost.
type Lane struct {
	next  uint64
	waits Waits
	since time.Time
	// Rows that wait, that will not come, that are suppressed; in order.
	held, absent, suppressed []Range
	// The number below which all was accepted by the topic, and when that was learned; and a later one.
	accepted, acceptedLater *mark
}

// NewLane is a lane as a store has it; the zero State is of one that was never met.
func NewLane(state State, waits Waits, now time.Time) *Lane {
	lane := &Lane{next: state.Next, waits: waits, since: now}
	for _, rows := range state.Suppressed {
		lane.suppress(rows, now)
	}
	return lane
}

// Next is the number that is expected, 0: not known yet.
func (l *Lane) Next() uint64 { return l.next }

// State is what a store keeps.
func (l *Lane) State() State { return State{l.next, slices.Clone(l.suppressed)} }

// Offer says that count rows have arrived from first on. Who is told to apply some says so with Applied.
func (l *Lane) Offer(first, count uint64, now time.Time) Offer {
	if count == 0 || count > math.MaxUint64-first {
		return Offer{Decision: Skip}
	}
	after := first + count
	if l.next == 0 && first <= 1 {
		l.moveTo(1, now)
	}
	if l.next != 0 && first <= l.next {
		if late, found := overlap(l.suppressed, Range{first, min(after, l.next) - 1}); found && first < l.next {
			return Offer{Late, late.First - first, late.Last - late.First + 1}
		}
		if after <= l.next {
			return Offer{Decision: Skip}
		}
		return Offer{Go, l.next - first, after - l.next}
	}
	if len(l.held) == 0 {
		l.since = now
	}
	l.held = put(l.held, Range{first, after - 1})
	return Offer{Decision: Wait}
}

// Applied says that count rows from first on are applied now, as an Offer said.
func (l *Lane) Applied(first, count uint64, now time.Time) {
	if count == 0 || count > math.MaxUint64-first {
		return
	}
	l.suppressed = remove(l.suppressed, Range{first, first + count - 1})
	if first+count > l.next {
		l.moveTo(first+count, now)
	}
}

// Suppressed says that a message said that these rows are suppressed: no gap. They may still come, and are then to be
// applied once.
func (l *Lane) Suppressed(rows Range, now time.Time) {
	if l.next == 0 && rows.First <= 1 {
		l.moveTo(1, now)
	}
	// What lies behind was applied, or given up, or is known to be suppressed.
	l.suppress(Range{max(rows.First, l.next, 1), rows.Last}, now)
}

func (l *Lane) suppress(rows Range, now time.Time) {
	if rows.First <= rows.Last {
		l.suppressed = join(l.suppressed, rows)
		l.Absent(Range{max(rows.First, l.next, 1), rows.Last}, now)
	}
}

// Absent says that these rows will not come: they were given up. Should they come after all, they are skipped.
func (l *Lane) Absent(rows Range, now time.Time) {
	if rows.First > rows.Last {
		return
	}
	l.absent = put(l.absent, rows)
	if l.next != 0 {
		l.moveTo(l.next, now)
	}
}

// Watermark says that a canary's watermark names the lane: all below was accepted by the topic before it was sent.
func (l *Lane) Watermark(sequenceNext uint64, now time.Time) {
	found := &mark{sequenceNext, now}
	switch {
	case l.accepted == nil:
		l.accepted = found
	case l.accepted.next >= sequenceNext:
	case l.next == 0:
		l.accepted = found
	default:
		l.acceptedLater = found
	}
	l.forgetReached()
}

// Missing gives the rows that are missing and due. The same gap is told until it is closed: by rows, or with Absent.
// It begins a lane that is not known when its time has come.
func (l *Lane) Missing(now time.Time) (Gap, bool) {
	due, isDue := l.Due()
	if !isDue || due.After(now) {
		return Gap{}, false
	}
	if l.next == 0 {
		l.moveTo(l.held[0].First, now)
		return Gap{}, false
	}
	end := uint64(math.MaxUint64)
	if len(l.held) > 0 {
		end = l.held[0].First
	}
	if l.isProven() {
		end = min(end, l.accepted.next)
	}
	if len(l.absent) > 0 {
		end = min(end, l.absent[0].First)
	}
	return Gap{Range{l.next, end - 1}, l.isProven()}, true
}

// Due tells when Missing will have something to say if nothing changes; false: never.
func (l *Lane) Due() (time.Time, bool) {
	isHeld := len(l.held) > 0
	if l.next == 0 {
		due := l.since.Add(l.waits.First)
		if isHeld && l.accepted != nil && l.held[0].First <= l.accepted.next {
			if early := later(l.accepted.at, l.since).Add(l.waits.Proven); early.Before(due) {
				due = early
			}
		}
		return due, isHeld
	}
	if l.isProven() {
		wait := l.waits.Gap
		if isHeld {
			wait = l.waits.Proven
		}
		return later(l.accepted.at, l.since).Add(wait), true
	}
	return l.since.Add(l.waits.Gap), isHeld
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}

func (l *Lane) clone() *Lane {
	other := *l
	other.held, other.absent = slices.Clone(l.held), slices.Clone(l.absent)
	other.suppressed = slices.Clone(l.suppressed)
	return &other
}

// isProven tells whether the number that is expected was accepted by the topic.
func (l *Lane) isProven() bool { return l.accepted != nil && l.next != 0 && l.next < l.accepted.next }

func (l *Lane) moveTo(next uint64, now time.Time) {
	for len(l.absent) > 0 && l.absent[0].First <= next {
		if last := l.absent[0].Last; last < math.MaxUint64 {
			next = max(next, last+1)
		} else {
			next = math.MaxUint64
		}
		l.absent = l.absent[1:]
	}
	if next != l.next {
		l.next, l.since = next, now
	}
	for len(l.held) > 0 && l.held[0].First <= next {
		l.held = l.held[1:]
	}
	l.forgetReached()
}

func (l *Lane) forgetReached() {
	for l.next != 0 && l.accepted != nil && l.accepted.next <= l.next {
		l.accepted, l.acceptedLater = l.acceptedLater, nil
	}
}

// put adds a range; of two with the same beginning the longer one stays.
func put(ranges []Range, rows Range) []Range {
	at, isThere := slices.BinarySearchFunc(ranges, rows.First, func(one Range, first uint64) int {
		switch {
		case one.First < first:
			return -1
		case one.First > first:
			return 1
		}
		return 0
	})
	if isThere {
		ranges[at].Last = max(ranges[at].Last, rows.Last)
		return ranges
	}
	return slices.Insert(ranges, at, rows)
}

// overlap is the first run of numbers that is both in the ranges and in rows.
func overlap(ranges []Range, rows Range) (Range, bool) {
	for _, one := range ranges {
		if one.First <= rows.Last && one.Last >= rows.First {
			return Range{max(one.First, rows.First), min(one.Last, rows.Last)}, true
		}
	}
	return Range{}, false
}

// join adds a range, and joins it with those that it overlaps or touches.
func join(ranges []Range, rows Range) []Range {
	var joined []Range
	for _, one := range ranges {
		if one.First-1 <= rows.Last && rows.First-1 <= one.Last {
			rows = Range{min(one.First, rows.First), max(one.Last, rows.Last)}
		} else {
			joined = append(joined, one)
		}
	}
	return put(joined, rows)
}

// remove takes numbers out of the ranges.
func remove(ranges []Range, rows Range) []Range {
	var left []Range
	for _, one := range ranges {
		if one.First > rows.Last || one.Last < rows.First {
			left = append(left, one)
			continue
		}
		if one.First < rows.First {
			left = append(left, Range{one.First, rows.First - 1})
		}
		if one.Last > rows.Last {
			left = append(left, Range{rows.Last + 1, one.Last})
		}
	}
	return left
}

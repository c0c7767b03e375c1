package binpulse

import (
	"context"
	"crypto/rand"
	"errors"
	"sync"
	"time"
)

// Claim tells whose an id is.
type Claim string

// Outcome tells what became of an effect.
type Outcome string

const (
	// Yours: do it.
	Yours Claim = "yours"
	// IsTaken: somebody is at it.
	IsTaken Claim = "taken"
	// IsDone: it took place before.
	IsDone Claim = "done"

	// Ran: the effect took place.
	Ran Outcome = "ran"
	// RanLate: it ran, but took longer than the lease: somebody else may have done it too.
	RanLate Outcome = "late"
	// Done: it took place before. Delete the message.
	Done Outcome = "done"
	// Taken: somebody is at it. Leave the message in the queue.
	Taken Outcome = "taken"
)

// OnceStore keeps states of effects. Each method is atomic.
type OnceStore interface {
	// Claim claims an id for a lease, unless it is done, or in progress and its lease has not ended.
	Claim(ctx context.Context, id, fence string, lease time.Duration) (Claim, error)
	// Done says that it is done, which is known for keep. Whether the claim was still the caller's.
	Done(ctx context.Context, id, fence string, keep time.Duration) (bool, error)
	// Release says that it was not done: anybody may claim it, if the claim is still the caller's.
	Release(ctx context.Context, id, fence string) error
}

// Once does side effects without a transaction, such as an e-mail, once for each id, as far as that is possible.
//
// Two states are needed. In progress, with a lease: no other process tries meanwhile, and one does after a crash.
// Done: none ever tries again. A single `SET key NX EX` before the effect loses the row when the process dies between
// the two; one behind it lets two processes act.
type Once struct {
	Store OnceStore
	// Lease is about the queue's visibility timeout, and longer than the effect takes.
	Lease time.Duration
	// Keep is longer than queue and dead letter queue keep a message, together: 18 days at most.
	Keep time.Duration
}

// Run runs the effect unless it was done for this id. After its error it may be tried again.
func (o Once) Run(ctx context.Context, id string, effect func(context.Context) error) (Outcome, error) {
	fence := rand.Text()
	claim, err := o.Store.Claim(ctx, id, fence, o.Lease)
	if err != nil || claim != Yours {
		return Outcome(claim), err
	}
	if err := effect(ctx); err != nil {
		return "", errors.Join(err, o.Store.Release(context.WithoutCancel(ctx), id, fence))
	}
	wasOurs, err := o.Store.Done(context.WithoutCancel(ctx), id, fence, o.Keep)
	if wasOurs {
		return Ran, err
	}
	return RanLate, err
}

type onceState struct {
	fence string // empty: done
	ends  time.Time
}

// MemoryOnceStore keeps states in memory: for tests, and for effects that a restart may repeat. The zero value is
// ready.
type MemoryOnceStore struct {
	mutex   sync.Mutex
	states  map[string]onceState
	sweepAt int
}

// Claim implements OnceStore.
func (s *MemoryOnceStore) Claim(_ context.Context, id, fence string, lease time.Duration) (Claim, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	now := time.Now()
	if state, isThere := s.states[id]; isThere && state.ends.After(now) {
		if state.fence == "" {
			return IsDone, nil
		}
		return IsTaken, nil
	}
	if len(s.states) >= s.sweepAt {
		left := map[string]onceState{}
		for id, state := range s.states {
			if state.ends.After(now) {
				left[id] = state
			}
		}
		s.states, s.sweepAt = left, max(2*len(left), 1024)
	}
	s.states[id] = onceState{fence, now.Add(lease)}
	return Yours, nil
}

// Done implements OnceStore.
func (s *MemoryOnceStore) Done(_ context.Context, id, fence string, keep time.Duration) (bool, error) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	wasOurs := s.states[id].fence == fence
	s.states[id] = onceState{"", time.Now().Add(keep)}
	return wasOurs, nil
}

// Release implements OnceStore.
func (s *MemoryOnceStore) Release(_ context.Context, id, fence string) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	if s.states[id].fence == fence {
		delete(s.states, id)
	}
	return nil
}

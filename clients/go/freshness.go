package binpulse

import (
	"time"

	pb "binpulse/client/binpulsev1"
)

// HealthState is the answer of a health check.
type HealthState string

const (
	// Fresh: the newest canary is young enough.
	Fresh HealthState = "fresh"
	// Stale: no canary for too long, cut off whatever the last verdict was.
	Stale HealthState = "stale"
	// NoCanary: there was no canary yet.
	NoCanary HealthState = "unknown"
)

// Health is the answer of a health check, with the age of the newest canary; the streamer's verdict only where fresh.
type Health struct {
	State   HealthState
	Age     time.Duration
	Verdict string
}

// Freshness is what the canaries of one stream tell: is a silent table quiet, or am I cut off? One for each stream,
// and for each path through a table of yours. It is not for several goroutines at a time.
type Freshness struct {
	writtenAtUs int64
	watermark   *pb.Watermark
	certificate *pb.QuietCertificate
}

// Observe takes a canary, in whichever order they come.
func (f *Freshness) Observe(canary *pb.Canary) {
	writtenAtUs := canary.WrittenAtUs
	if transactions := canary.Batch.GetTransactions(); writtenAtUs == 0 && len(transactions) > 0 {
		writtenAtUs = canary.Batch.CommittedAtBaseUs + transactions[0].CommittedAtDeltaUs
	}
	if writtenAtUs == 0 {
		return
	}
	if proof := canary.Watermark.GetCertificate(); proof != nil && proof.ProvenAtUs > f.certificate.GetProvenAtUs() {
		f.certificate = proof
	}
	if f.writtenAtUs <= writtenAtUs {
		f.writtenAtUs, f.watermark = writtenAtUs, canary.Watermark
	}
}

// Age is that of the newest canary, false before the first; 0 of one of the future: clocks differ.
func (f *Freshness) Age(now time.Time) (time.Duration, bool) {
	return max(now.Sub(time.UnixMicro(f.writtenAtUs)), 0), f.writtenAtUs != 0
}

// Health tells all in one: a canary older than ageMax is too old. A minute, six times canary.interval unless that was
// changed, passes over one that is late.
func (f *Freshness) Health(ageMax time.Duration, now time.Time) Health {
	age, isKnown := f.Age(now)
	switch {
	case !isKnown:
		return Health{State: NoCanary}
	case age > ageMax:
		return Health{State: Stale, Age: age}
	default:
		return Health{Fresh, age, f.watermark.GetVerdict()}
	}
}

// Watermark is that of the newest canary; it may be nil.
func (f *Freshness) Watermark() *pb.Watermark { return f.watermark }

// Certificate is the newest one that any canary carried; it may be nil.
func (f *Freshness) Certificate() *pb.QuietCertificate { return f.certificate }

// QuietUntil is until when it is proven that no transaction had rows for this stream; false: that is not proven.
func (f *Freshness) QuietUntil() (time.Time, bool) {
	if f.certificate == nil || f.certificate.UserTransactions != 0 {
		return time.Time{}, false
	}
	return time.UnixMicro(f.certificate.ProvenAtUs), true
}

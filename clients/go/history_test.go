package binpulse_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoregistry"
	"google.golang.org/protobuf/types/descriptorpb"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
	"binpulse/client/internal/history"
)

// redis is as much of a client as the stores need.
func redis(t *testing.T) binpulse.RedisCommand {
	address := os.Getenv("BINPULSE_TEST_REDIS")
	if address == "" {
		t.Skip("no Redis: set BINPULSE_TEST_REDIS")
	}
	connection, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { connection.Close() })
	reader := bufio.NewReader(connection)
	run := func(_ context.Context, words ...any) (any, error) {
		fmt.Fprintf(connection, "*%d\r\n", len(words))
		for _, word := range words {
			fmt.Fprintf(connection, "$%d\r\n%v\r\n", len(fmt.Sprint(word)), word)
		}
		line, err := reader.ReadString('\n')
		if err != nil {
			return nil, err
		}
		kind, rest := line[0], strings.TrimSpace(line[1:])
		switch kind {
		case '-':
			return nil, errors.New(rest)
		case '$':
			length, _ := strconv.Atoi(rest)
			if length < 0 {
				return nil, nil
			}
			text := make([]byte, length+2)
			_, err := io.ReadFull(reader, text)
			return string(text[:length]), err
		}
		return rest, nil
	}
	if _, err := run(t.Context(), "FLUSHALL"); err != nil {
		t.Fatal(err)
	}
	return run
}

func TestNumbersAndEffectsInRedis(t *testing.T) {
	run := redis(t)
	store := binpulse.RedisStore{Run: run}
	history.Check(t, store, func(ctx context.Context, change binpulse.Change, _ []uint64, broken error) error {
		if broken != nil {
			return broken
		}
		return store.Save(ctx, change)
	})
	effects(t, binpulse.RedisOnceStore{Run: run})
}

func TestTheGeneratedCodeIsThatOfTheContract(t *testing.T) {
	kept, err := os.ReadFile("../python/src/binpulse_client/contract.binpb")
	if err != nil {
		t.Fatal(err)
	}
	contract := new(descriptorpb.FileDescriptorSet)
	if err := proto.Unmarshal(kept, contract); err != nil {
		t.Fatal(err)
	}
	for _, wanted := range contract.File {
		made, err := protoregistry.GlobalFiles.FindFileByPath(wanted.GetName())
		if err != nil {
			t.Fatal(err)
		}
		if !proto.Equal(protodesc.ToFileDescriptorProto(made), wanted) {
			t.Errorf("%s: run clients/generate.sh", wanted.GetName())
		}
	}
}

func TestEffectsInMemory(t *testing.T) { effects(t, new(binpulse.MemoryOnceStore)) }

func effects(t *testing.T, store binpulse.OnceStore) {
	once := binpulse.Once{Store: store, Lease: time.Minute, Keep: time.Hour}
	var done []int
	run := func(once binpulse.Once, id string, wanted binpulse.Outcome, effect func(context.Context) error) {
		t.Helper()
		if outcome, err := once.Run(t.Context(), id, effect); outcome != wanted || (err != nil) != (wanted == "") {
			t.Fatalf("found %q (%v), wanted %q", outcome, err, wanted)
		}
	}
	note := func(number int) func(context.Context) error {
		return func(context.Context) error { done = append(done, number); return nil }
	}
	run(once, "id", "", func(context.Context) error { return errors.New("broken") })
	run(once, "id", binpulse.Ran, note(1))
	run(once, "id", binpulse.Done, note(2))
	if claim, err := store.Claim(t.Context(), "other", "fence", time.Minute); claim != binpulse.Yours {
		t.Fatal(claim, err)
	}
	_ = store.Release(t.Context(), "other", "another fence")
	run(once, "other", binpulse.Taken, note(3))
	_ = store.Release(t.Context(), "other", "fence")
	run(once, "other", binpulse.RanLate, func(ctx context.Context) error {
		_ = store.Release(ctx, "other", "fence")
		_, err := store.Done(ctx, "other", "fence", time.Hour)
		return err
	})
	if fmt.Sprint(done) != "[1]" {
		t.Fatal(done)
	}
}

func TestValuesThatGoHas(t *testing.T) {
	check := func(found any, isThere bool, wanted string) {
		t.Helper()
		if !isThere {
			found = "none"
		}
		if fmt.Sprint(found) != wanted {
			t.Errorf("found %v, wanted %s", found, wanted)
		}
	}
	day, isDay := binpulse.Date("2026-11-20").Time()
	check(day, isDay, "2026-11-20 00:00:00 +0000 UTC")
	day, isDay = binpulse.Date("0000-00-00").Time()
	check(day, isDay, "none")
	took, isTime := binpulse.Time("-838:59:59.000001").Duration()
	check(took, isTime, "-838h59m59.000001s")
	at, isMoment := binpulse.Timestamp("2026-11-20 20:12:00.123").Time()
	check(at, isMoment, "2026-11-20 20:12:00.123 +0000 UTC")
	exact, isNumber := binpulse.Decimal("-12.500").Rat()
	check(exact, isNumber, "-25/2")
}

func TestOnlyAYoungCanaryTellsTheVerdict(t *testing.T) {
	freshness := new(binpulse.Freshness)
	check := func(now int64, wanted binpulse.Health) {
		t.Helper()
		if health := freshness.Health(time.Minute, time.Unix(now, 0)); health != wanted {
			t.Errorf("found %v, wanted %v", health, wanted)
		}
	}
	check(100, binpulse.Health{State: binpulse.NoCanary})
	mark := &pb.Watermark{Verdict: "quiet", Certificate: &pb.QuietCertificate{ProvenAtUs: 95_000_000}}
	freshness.Observe(&pb.Canary{WrittenAtUs: 100_000_000, Watermark: mark})
	freshness.Observe(&pb.Canary{WrittenAtUs: 90_000_000})
	check(160, binpulse.Health{State: binpulse.Fresh, Age: time.Minute, Verdict: "quiet"})
	check(161, binpulse.Health{State: binpulse.Stale, Age: 61 * time.Second})
	if until, isProven := freshness.QuietUntil(); !isProven || until.Unix() != 95 {
		t.Error(until, isProven)
	}
}

func TestABatchOfLambdaTellsWhichMessagesFailed(t *testing.T) {
	event := binpulse.LambdaEvent{Records: []binpulse.LambdaRecord{
		{MessageID: "a"}, {MessageID: "b", Body: "{"}, {MessageID: "c", Body: "x"},
	}}
	take := func(_ context.Context, message binpulse.Message) error {
		if message.Body == "x" {
			return errors.New("x")
		}
		return nil
	}
	response := binpulse.LambdaBatch(t.Context(), event, take, nil)
	if fmt.Sprint(response.BatchItemFailures) != "[{b} {c}]" {
		t.Error(response)
	}
}

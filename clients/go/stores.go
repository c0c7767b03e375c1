package binpulse

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// LanesTable makes the table of an SQLStore. For MySQL, whose comparisons ignore case, add `COLLATE utf8mb4_bin`
// behind the parenthesis.
const LanesTable = "CREATE TABLE IF NOT EXISTS binpulse_lanes (stream VARCHAR(64) NOT NULL, epoch BIGINT NOT NULL, " +
	"lane VARCHAR(600) NOT NULL, next BIGINT NOT NULL, suppressed TEXT NOT NULL, PRIMARY KEY (stream, epoch, lane))"

// Querier is a *sql.DB, *sql.Conn or *sql.Tx.
type Querier interface {
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
	QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row
}

// SQLStore keeps numbers in a table of a database. In the transaction of the rows' effect each row is applied once,
// whatever fails: see In.
type SQLStore struct {
	DB Querier
	// IsNumbered: placeholders are $1 (PostgreSQL), not ? (MySQL, SQLite).
	IsNumbered bool
}

// In is the same store within a transaction.
func (s SQLStore) In(tx *sql.Tx) SQLStore { return SQLStore{tx, s.IsNumbered} }

const whereLane = " WHERE stream = ? AND epoch = ? AND lane = ?"

// Load implements Store.
func (s SQLStore) Load(ctx context.Context, lane LaneName) (*State, error) {
	var next int64
	var suppressed string
	query := s.placed("SELECT next, suppressed FROM binpulse_lanes" + whereLane)
	err := s.DB.QueryRowContext(ctx, query, lane.Stream, int64(lane.Epoch), lane.Lane).Scan(&next, &suppressed)
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	} else if err != nil {
		return nil, err
	}
	ranges, err := rangesOf(suppressed)
	return &State{uint64(next), ranges}, err
}

// Save implements Store. Where the lane is new to the store, and another process stored it first, the error is the
// database's: the key is there.
func (s SQLStore) Save(ctx context.Context, change Change) error {
	lane, after, suppressed := change.Lane, change.After, textOf(change.After.Suppressed)
	if change.Before == nil {
		query := s.placed("INSERT INTO binpulse_lanes VALUES (?, ?, ?, ?, ?)")
		_, err := s.DB.ExecContext(ctx, query, lane.Stream, int64(lane.Epoch), lane.Lane, int64(after.Next), suppressed)
		return err
	}
	before, was := change.Before, textOf(change.Before.Suppressed)
	if before.Next == after.Next && was == suppressed {
		return nil
	}
	query := s.placed("UPDATE binpulse_lanes SET next = ?, suppressed = ?" + whereLane + " AND next = ? AND suppressed = ?")
	done, err := s.DB.ExecContext(ctx, query,
		int64(after.Next), suppressed, lane.Stream, int64(lane.Epoch), lane.Lane, int64(before.Next), was)
	if err != nil {
		return err
	}
	if rows, err := done.RowsAffected(); err != nil || rows != 1 {
		return errors.Join(&ConflictError{lane}, err)
	}
	return nil
}

func (s SQLStore) placed(query string) string {
	if !s.IsNumbered {
		return query
	}
	var placed strings.Builder
	number := 0
	for _, letter := range query {
		if letter == '?' {
			number++
			fmt.Fprintf(&placed, "$%d", number)
		} else {
			placed.WriteRune(letter)
		}
	}
	return placed.String()
}

// RedisCommand runs a command of Redis; nil is the answer without a value. With go-redis:
//
//	func(ctx context.Context, words ...any) (any, error) {
//		answer, err := client.Do(ctx, words...).Result()
//		if errors.Is(err, redis.Nil) {
//			return nil, nil
//		}
//		return answer, err
//	}
type RedisCommand func(ctx context.Context, words ...any) (any, error)

// RedisStore keeps numbers in Redis. They change behind the effect: after a crash between the two the rows come
// again, and the effect must bear that.
type RedisStore struct{ Run RedisCommand }

func redisKey(lane LaneName) string {
	return fmt.Sprintf("binpulse:lane:%s/%d/%s", lane.Stream, lane.Epoch, lane.Lane)
}

// Load implements Store.
func (s RedisStore) Load(ctx context.Context, lane LaneName) (*State, error) {
	found, err := s.Run(ctx, "GET", redisKey(lane))
	if err != nil || found == nil {
		return nil, err
	}
	next, suppressed, _ := strings.Cut(fmt.Sprint(found), " ")
	number, err := strconv.ParseUint(next, 10, 64)
	if err != nil {
		return nil, err
	}
	ranges, err := rangesOf(suppressed)
	return &State{number, ranges}, err
}

const saveScript = `
if (redis.call('GET', KEYS[1]) or '') ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2])
return 1`

// Save implements Store.
func (s RedisStore) Save(ctx context.Context, change Change) error {
	state := func(of State) string { return fmt.Sprintf("%d %s", of.Next, textOf(of.Suppressed)) }
	before := ""
	if change.Before != nil {
		before = state(*change.Before)
	}
	done, err := s.Run(ctx, "EVAL", saveScript, "1", redisKey(change.Lane), before, state(change.After))
	if err != nil {
		return err
	}
	if fmt.Sprint(done) != "1" {
		return &ConflictError{change.Lane}
	}
	return nil
}

// RedisOnceStore keeps states of effects in Redis, for Once.
type RedisOnceStore struct{ Run RedisCommand }

const (
	claimScript = `
local state = redis.call('GET', KEYS[1])
if state == 'done' then return 'done' end
if state then return 'taken' end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 'yours'`
	doneScript = `
local state = redis.call('GET', KEYS[1])
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return state == ARGV[1] and 1 or 0`
	releaseScript = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 0"
)

func (s RedisOnceStore) script(
	ctx context.Context, script, id, fence string, keep time.Duration,
) (string, error) {
	answer, err := s.Run(ctx, "EVAL", script, "1", "binpulse:once:"+id, fence, fmt.Sprint(max(keep.Milliseconds(), 1)))
	return fmt.Sprint(answer), err
}

// Claim implements OnceStore.
func (s RedisOnceStore) Claim(ctx context.Context, id, fence string, lease time.Duration) (Claim, error) {
	answer, err := s.script(ctx, claimScript, id, fence, lease)
	return Claim(answer), err
}

// Done implements OnceStore.
func (s RedisOnceStore) Done(ctx context.Context, id, fence string, keep time.Duration) (bool, error) {
	answer, err := s.script(ctx, doneScript, id, fence, keep)
	return answer == "1", err
}

// Release implements OnceStore.
func (s RedisOnceStore) Release(ctx context.Context, id, fence string) error {
	_, err := s.script(ctx, releaseScript, id, fence, 0)
	return err
}

func textOf(ranges []Range) string {
	var texts []string
	for _, one := range ranges {
		texts = append(texts, fmt.Sprintf("%d-%d", one.First, one.Last))
	}
	return strings.Join(texts, ",")
}

func rangesOf(text string) ([]Range, error) {
	var ranges []Range
	for pair := range strings.SplitSeq(text, ",") {
		if pair == "" {
			continue
		}
		first, last, _ := strings.Cut(pair, "-")
		from, err := strconv.ParseUint(first, 10, 64)
		if err != nil {
			return nil, err
		}
		to, err := strconv.ParseUint(last, 10, 64)
		if err != nil {
			return nil, err
		}
		ranges = append(ranges, Range{from, to})
	}
	return ranges, nil
}

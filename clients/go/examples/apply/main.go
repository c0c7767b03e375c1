// Keeps a copy of tables in a MySQL database, each row applied exactly once: the numbers of the lanes change in the
// transaction of the rows.
//
//	QUEUE_URL=... MYSQL_URL='root@tcp(127.0.0.1:3306)/' go run ./apply
//
// The tables are there already, with the columns of the source's. The visibility timeout of the queue is longer than
// the ledger's wait for a gap (5 minutes): messages that wait are kept in memory. With ROWS it ends after so many rows.
package main

import (
	"context"
	"database/sql"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/go-sql-driver/mysql"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
	"binpulse/client/examples/internal/s3"
)

type consumer struct {
	db        *sql.DB
	store     binpulse.SQLStore
	ledger    *binpulse.Ledger
	freshness *binpulse.Freshness
	applied   int
}

func open(ctx context.Context, url string) (*consumer, error) {
	settings, err := mysql.ParseDSN(url)
	if err != nil {
		return nil, err
	}
	settings.Params = map[string]string{
		"time_zone": "'+00:00'", "sql_mode": "'NO_AUTO_VALUE_ON_ZERO'", "foreign_key_checks": "0",
	}
	server, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		return nil, err
	}
	defer server.Close()
	if _, err := server.ExecContext(ctx, "CREATE DATABASE IF NOT EXISTS binpulse_consumer"); err != nil {
		return nil, err
	}
	settings.DBName = "binpulse_consumer"
	db, err := sql.Open("mysql", settings.FormatDSN())
	if err != nil {
		return nil, err
	}
	if _, err := db.ExecContext(ctx, binpulse.LanesTable+" COLLATE utf8mb4_bin"); err != nil {
		return nil, err
	}
	store := binpulse.SQLStore{DB: db}
	ledger := binpulse.NewLedger(store, binpulse.DefaultWaits)
	return &consumer{db: db, store: store, ledger: ledger, freshness: new(binpulse.Freshness)}, nil
}

// take takes a message; whether it is done with: else rows before it have not come.
func (c *consumer) take(ctx context.Context, content binpulse.Content) (bool, error) {
	switch content := content.(type) {
	case *pb.Canary:
		c.freshness.Observe(content)
		c.ledger.Watermark(content, time.Now())
	case *pb.Suppressed:
		return true, c.ledger.Suppressed(ctx, content, time.Now(), nil)
	case *pb.ChangeBatch:
		decision, err := c.ledger.Take(ctx, content, time.Now(), func(ctx context.Context, change binpulse.Change) error {
			tx, err := c.db.BeginTx(ctx, nil)
			if err != nil {
				return err
			}
			defer tx.Rollback()
			at := 0
			for row := range binpulse.Rows(content) {
				if at >= change.Skip && at < change.Skip+change.Take {
					if err := apply(ctx, tx, content.Table, row); err != nil {
						return err
					}
				}
				at++
			}
			if err := c.store.In(tx).Save(ctx, change); err != nil {
				return err
			}
			c.applied += change.Take
			return tx.Commit()
		})
		return decision != binpulse.Wait, err
	}
	return true, nil
}

type waiting struct {
	content binpulse.Content
	receipt *string
}

func (c *consumer) run(ctx context.Context, rowsMax int) error {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client, fetch := sqs.NewFromConfig(settings), s3.Fetch(settings)
	queue := aws.String(os.Getenv("QUEUE_URL"))
	var held []waiting
	for c.applied < rowsMax {
		received, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 5, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			return err
		}
		for _, of := range received.Messages {
			attributes := map[string]string{}
			for name, value := range of.MessageAttributes {
				attributes[name] = aws.ToString(value.StringValue)
			}
			message, err := binpulse.Received(aws.ToString(of.Body), attributes)
			if err != nil {
				return err
			}
			content, err := message.DecodeWith(ctx, fetch)
			if err != nil {
				return err
			}
			held = append(held, waiting{content, of.ReceiptHandle})
		}
		for before := -1; before != c.applied; {
			before = c.applied
			var left []waiting
			for _, one := range held {
				isDone, err := c.take(ctx, one.content)
				if err != nil {
					return err
				}
				if !isDone {
					left = append(left, one)
				} else if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{
					QueueUrl: queue, ReceiptHandle: one.receipt,
				}); err != nil {
					return err
				}
			}
			held = left
		}
		for name, gap := range c.ledger.Gaps(time.Now()) {
			return fmt.Errorf("rows %d to %d of %s are missing: replay them, or give them up", gap.First, gap.Last, name.Lane)
		}
	}
	return nil
}

func main() {
	ctx := context.Background()
	consumer, err := open(ctx, os.Getenv("MYSQL_URL"))
	if err != nil {
		log.Fatal(err)
	}
	rowsMax := math.MaxInt
	if rows := os.Getenv("ROWS"); rows != "" {
		if rowsMax, err = strconv.Atoi(rows); err != nil {
			log.Fatal(err)
		}
	}
	if err := consumer.run(ctx, rowsMax); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"rows\": %d}\n", consumer.applied)
}

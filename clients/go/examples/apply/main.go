// Keeps a copy of tables in a MySQL database, each row applied exactly once: see ../internal/tables.
//
//	QUEUE_URL=... MYSQL_URL='root@tcp(127.0.0.1:3306)/' go run ./apply
//
// The visibility timeout of the queue is longer than the ledger's wait for a gap (5 minutes): messages that wait are
// kept in memory. With ROWS it ends after so many rows.
package main

import (
	"context"
	"fmt"
	"log"
	"math"
	"os"
	"strconv"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"

	binpulse "binpulse/client"
	"binpulse/client/examples/internal/s3"
	"binpulse/client/examples/internal/tables"
)

type waiting struct {
	content binpulse.Content
	receipt *string
}

func run(ctx context.Context, c *tables.Copy, rowsMax int) error {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return err
	}
	client, fetch := sqs.NewFromConfig(settings), s3.Fetch(settings)
	queue := aws.String(os.Getenv("QUEUE_URL"))
	var held []waiting
	for c.Applied < rowsMax {
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
		for before := -1; before != c.Applied; {
			before = c.Applied
			var left []waiting
			for _, one := range held {
				isDone, err := c.Take(ctx, one.content)
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
		for name, gap := range c.Ledger.Gaps(time.Now()) {
			return fmt.Errorf("rows %d to %d of %s are missing: replay them, or give them up", gap.First, gap.Last, name.Lane)
		}
	}
	return nil
}

func main() {
	ctx := context.Background()
	consumer, err := tables.Open(ctx, os.Getenv("MYSQL_URL"))
	if err != nil {
		log.Fatal(err)
	}
	rowsMax := math.MaxInt
	if rows := os.Getenv("ROWS"); rows != "" {
		if rowsMax, err = strconv.Atoi(rows); err != nil {
			log.Fatal(err)
		}
	}
	if err := run(ctx, consumer, rowsMax); err != nil {
		log.Fatal(err)
	}
	fmt.Printf("{\"rows\": %d}\n", consumer.Applied)
}

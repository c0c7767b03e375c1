// Reads a queue and prints its rows: QUEUE_URL=... go run ./sqs
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/service/sqs"
	"github.com/aws/aws-sdk-go-v2/service/sqs/types"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
	"binpulse/client/examples/internal/s3"
)

func main() {
	ctx := context.Background()
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		log.Fatal(err)
	}
	client, fetch := sqs.NewFromConfig(settings), s3.Fetch(settings)
	queue := aws.String(os.Getenv("QUEUE_URL"))
	freshness := new(binpulse.Freshness)
	for {
		received, err := client.ReceiveMessage(ctx, &sqs.ReceiveMessageInput{
			QueueUrl: queue, MaxNumberOfMessages: 10, WaitTimeSeconds: 20, MessageAttributeNames: []string{"All"},
		})
		if err != nil {
			log.Fatal(err)
		}
		for _, message := range received.Messages {
			if err := take(ctx, message, fetch, freshness); err != nil {
				log.Print(err) // it stays in the queue, and becomes a dead letter in the end
				continue
			}
			if _, err := client.DeleteMessage(ctx, &sqs.DeleteMessageInput{
				QueueUrl: queue, ReceiptHandle: message.ReceiptHandle,
			}); err != nil {
				log.Print(err)
			}
		}
		log.Printf("%+v", freshness.Health(time.Minute, time.Now()))
	}
}

func take(
	ctx context.Context, of types.Message, fetch func(context.Context, binpulse.Pointer) ([]byte, error),
	freshness *binpulse.Freshness,
) error {
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
	switch content := content.(type) {
	case *pb.Canary:
		freshness.Observe(content)
	case *pb.ChangeBatch:
		for row := range binpulse.Rows(content) {
			fmt.Println(row.Number, row.Op, row.Before, row.After)
		}
	}
	return nil
}

// A function of AWS Lambda, whose event source mapping has FunctionResponseTypes = ["ReportBatchItemFailures"]. It keeps a
// copy of tables, each row applied once: a message whose rows are early fails, and comes again.
package main

import (
	"context"
	"errors"
	"log"
	"os"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"

	binpulse "binpulse/client"
	"binpulse/client/examples/internal/s3"
	"binpulse/client/examples/internal/tables"
)

type handler func(context.Context, binpulse.LambdaEvent) (binpulse.LambdaResponse, error)

func open(ctx context.Context, url string) (handler, error) {
	settings, err := config.LoadDefaultConfig(ctx)
	if err != nil {
		return nil, err
	}
	fetch := s3.Fetch(settings)
	copied, err := tables.Open(ctx, url)
	if err != nil {
		return nil, err
	}
	take := func(ctx context.Context, message binpulse.Message) error {
		content, err := message.DecodeWith(ctx, fetch)
		if err != nil {
			return err
		}
		isDone, err := copied.Take(ctx, content)
		if err == nil && !isDone {
			err = errors.New("rows before these have not come")
		}
		return err
	}
	failed := func(id string, err error) { log.Print(id, ": ", err) }
	return func(ctx context.Context, event binpulse.LambdaEvent) (binpulse.LambdaResponse, error) {
		return binpulse.LambdaBatch(ctx, event, take, failed), nil
	}, nil
}

func main() {
	handler, err := open(context.Background(), os.Getenv("MYSQL_URL"))
	if err != nil {
		log.Fatal(err)
	}
	lambda.Start(handler)
}

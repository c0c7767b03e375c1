// A function of AWS Lambda, whose event source mapping has FunctionResponseTypes = ["ReportBatchItemFailures"]. With a
// ledger each row takes effect once, also when messages come twice or in another order: see ../apply.
package main

import (
	"context"
	"fmt"
	"log"

	"github.com/aws/aws-lambda-go/lambda"
	"github.com/aws/aws-sdk-go-v2/config"

	binpulse "binpulse/client"
	pb "binpulse/client/binpulsev1"
	"binpulse/client/examples/internal/s3"
)

func main() {
	settings, err := config.LoadDefaultConfig(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	fetch := s3.Fetch(settings)
	take := func(ctx context.Context, message binpulse.Message) error {
		content, err := message.DecodeWith(ctx, fetch)
		if err != nil {
			return err
		}
		if batch, isRows := content.(*pb.ChangeBatch); isRows {
			for row := range binpulse.Rows(batch) {
				fmt.Println(batch.Table.Table, row.Number, row.Op, row.Before, row.After)
			}
		}
		return nil
	}
	failed := func(id string, err error) { log.Print(id, err) }
	lambda.Start(func(ctx context.Context, event binpulse.LambdaEvent) (binpulse.LambdaResponse, error) {
		return binpulse.LambdaBatch(ctx, event, take, failed), nil
	})
}

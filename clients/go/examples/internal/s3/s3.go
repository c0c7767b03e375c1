// Package s3 fetches objects that messages point to (sink.oversize = "claim-check").
package s3

import (
	"context"
	"io"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	binpulse "binpulse/client"
)

// Fetch gives a function for Message.DecodeWith.
func Fetch(config aws.Config) func(context.Context, binpulse.Pointer) ([]byte, error) {
	client := s3.NewFromConfig(config)
	return func(ctx context.Context, place binpulse.Pointer) ([]byte, error) {
		object, err := client.GetObject(ctx, &s3.GetObjectInput{Bucket: &place.Bucket, Key: &place.Key})
		if err != nil {
			return nil, err
		}
		defer object.Body.Close()
		return io.ReadAll(io.LimitReader(object.Body, 2*binpulse.ObjectBytesMax))
	}
}

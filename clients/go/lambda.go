package binpulse

import "context"

// LambdaEvent is an event of AWS Lambda, from SQS or SNS: as much of it as is read.
type LambdaEvent struct {
	Records []LambdaRecord `json:"Records"`
}

// LambdaRecord is a record of such an event.
type LambdaRecord struct {
	MessageID         string `json:"messageId"`
	Body              string `json:"body"`
	MessageAttributes map[string]struct {
		StringValue *string `json:"stringValue"`
	} `json:"messageAttributes"`
	SNS *struct {
		MessageID         string `json:"MessageId"`
		Message           string `json:"Message"`
		MessageAttributes map[string]struct {
			Value *string `json:"Value"`
		} `json:"MessageAttributes"`
	} `json:"Sns"`
}

// Message is the message in a record.
func (r LambdaRecord) Message() (Message, error) {
	attributes := map[string]string{}
	if r.SNS != nil {
		for name, attribute := range r.SNS.MessageAttributes {
			if attribute.Value != nil {
				attributes[name] = *attribute.Value
			}
		}
		return Message{r.SNS.Message, attributes}, nil
	}
	for name, attribute := range r.MessageAttributes {
		if attribute.StringValue != nil {
			attributes[name] = *attribute.StringValue
		}
	}
	return Received(r.Body, attributes)
}

// LambdaResponse tells which messages failed.
type LambdaResponse struct {
	BatchItemFailures []LambdaFailure `json:"batchItemFailures"`
}

// LambdaFailure names a message that failed.
type LambdaFailure struct {
	ItemIdentifier string `json:"itemIdentifier"`
}

// LambdaBatch gives each message of an event to take, one after the other, and answers with those that failed: what
// a Lambda function returns whose event source mapping has ReportBatchItemFailures. failed is told why; it may be nil.
func LambdaBatch(
	ctx context.Context, event LambdaEvent, take func(context.Context, Message) error, failed func(id string, err error),
) LambdaResponse {
	response := LambdaResponse{BatchItemFailures: []LambdaFailure{}}
	for _, record := range event.Records {
		message, err := record.Message()
		if err == nil {
			err = take(ctx, message)
		}
		if err == nil {
			continue
		}
		id := record.MessageID
		if record.SNS != nil {
			id = record.SNS.MessageID
		}
		if failed != nil {
			failed(id, err)
		}
		response.BatchItemFailures = append(response.BatchItemFailures, LambdaFailure{id})
	}
	return response
}

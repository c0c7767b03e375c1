package binpulse

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// WebhookReason names why a request is not to be believed.
type WebhookReason string

const (
	// MissingHeader: a header is missing.
	MissingHeader WebhookReason = "missing"
	// WrongTime: the request was signed more than five minutes from now.
	WrongTime WebhookReason = "time"
	// WrongSecret: a secret of the receiver is none.
	WrongSecret WebhookReason = "secret"
	// WrongSignature: no signature is of one of the secrets.
	WrongSignature WebhookReason = "signature"
)

// WebhookError says that a request is not to be believed.
type WebhookError struct {
	Reason WebhookReason
	Text   string
}

func (e *WebhookError) Error() string { return e.Text }

const webhookTolerance = 5 * time.Minute

// VerifyWebhook verifies a request of binpulse's relay by Standard Webhooks, and returns its id, which is the same
// however often the same rows are sent: act once for each. body is as received; one of the secrets (`whsec_` and
// base64; during a rotation the new and the old one) must have signed. The error is a *WebhookError.
func VerifyWebhook(body []byte, headers http.Header, secrets []string, now time.Time) (string, error) {
	fields := map[string]string{}
	for _, name := range []string{"id", "timestamp", "signature"} {
		if headers.Values("webhook-"+name) == nil {
			return "", &WebhookError{MissingHeader, fmt.Sprintf("the header webhook-%s is missing", name)}
		}
		fields[name] = headers.Get("webhook-" + name)
	}
	signedAt, err := strconv.ParseUint(fields["timestamp"], 10, 60)
	if err != nil {
		return "", &WebhookError{WrongTime, "the header webhook-timestamp is no number of seconds since 1970"}
	}
	if apart := now.Sub(time.Unix(int64(signedAt), 0)).Abs(); apart > webhookTolerance {
		text := fmt.Sprintf("the request was signed %v from now, at most %v", apart.Round(time.Second), webhookTolerance)
		return "", &WebhookError{WrongTime, text}
	}
	for number, secret := range secrets {
		// With or without padding: both are in use.
		text := strings.TrimRight(strings.TrimPrefix(secret, "whsec_"), "=")
		key, err := base64.RawStdEncoding.DecodeString(text)
		if err != nil || len(key) == 0 {
			return "", &WebhookError{WrongSecret, fmt.Sprintf("secret %d of the receiver is not whsec_ and base64", number)}
		}
		mac := hmac.New(sha256.New, key)
		fmt.Fprintf(mac, "%s.%s.%s", fields["id"], fields["timestamp"], body)
		expected := mac.Sum(nil)
		for at, signature := range strings.Split(fields["signature"], " ") {
			encoded, isV1 := strings.CutPrefix(signature, "v1,")
			found, err := base64.StdEncoding.DecodeString(encoded)
			if at < 16 && isV1 && err == nil && hmac.Equal(found, expected) {
				return fields["id"], nil
			}
		}
	}
	return "", &WebhookError{WrongSignature, "no signature fits any of the secrets"}
}

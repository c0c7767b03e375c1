package binpulse

import (
	"bytes"
	"encoding/base64"
	"errors"
	"hash/crc32"
	"io"
	"sync"

	"github.com/klauspost/compress/zstd"
	"google.golang.org/protobuf/proto"

	pb "binpulse/client/binpulsev1"
)

const (
	// FormatVersion is the version of the contract that this library reads.
	FormatVersion = 1
	// ContentBytesMax is the size of the largest content, but for single rows that came by way of an object.
	ContentBytesMax = 64 << 20
	// ObjectBytesMax is the size of the largest content of an object.
	ObjectBytesMax = 256 << 20

	windowBytesMax = 128 << 20
)

var (
	castagnoli   = crc32.MakeTable(crc32.Castagnoli)
	unmarshal    = proto.UnmarshalOptions{DiscardUnknown: true}
	decompressor = sync.Pool{New: func() any {
		// One goroutine, the caller's; the options are valid, so there is no error.
		decoder, _ := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(windowBytesMax))
		return decoder
	}}
)

// elementBytesMax is what the elements of a content may take in memory, for a limit of the content's size.
func elementBytesMax(bytesMax int) int { return min(bytesMax*8, 512<<20) }

// openFrame gives the frame in a body, with its typed content decompressed and checked.
func openFrame(body string, bytesMax int) (*pb.Frame, error) {
	encoded, isBase64 := base64Bytes(body)
	if !isBase64 {
		return nil, fault(Base64, "the body is not base64")
	}
	frame, err := parsed(encoded, bytesMax)
	if err != nil {
		return nil, err
	}
	if frame.FormatVersion != FormatVersion {
		return nil, fault(Version, "found format version %d, expected %d", frame.FormatVersion, FormatVersion)
	}
	payload, isPayload := frame.Content.(*pb.Frame_Payload)
	if !isPayload {
		return frame, nil
	}
	content, err := decompressed(frame, payload.Payload, bytesMax)
	if err != nil {
		return nil, err
	}
	if crc32.Checksum(content, castagnoli) != frame.Crc32C {
		return nil, fault(Checksum, "CRC-32C is not the stated one")
	}
	return parsed(content, bytesMax)
}

func base64Bytes(text string) ([]byte, bool) {
	bytes, err := base64.StdEncoding.Strict().DecodeString(text)
	// The decoder passes over line ends.
	return bytes, err == nil && base64.StdEncoding.EncodedLen(len(bytes)) == len(text)
}

func parsed(encoded []byte, bytesMax int) (*pb.Frame, error) {
	if !fits(encoded, elementBytesMax(bytesMax)) {
		return nil, fault(Memory, "the content has more elements than its limit leaves memory for")
	}
	frame := new(pb.Frame)
	if unmarshal.Unmarshal(encoded, frame) != nil {
		return nil, fault(Protobuf, "the bytes are no frame")
	}
	return frame, nil
}

// What a frame states is looked at before memory is taken for it.
func decompressed(frame *pb.Frame, payload []byte, bytesMax int) ([]byte, error) {
	stated := frame.UncompressedSize
	if stated > uint64(bytesMax) {
		return nil, fault(Size, "the content has %d bytes, at most %d are allowed", stated, bytesMax)
	}
	switch frame.Codec {
	case pb.Codec_CODEC_UNSPECIFIED, pb.Codec_CODEC_NONE:
	case pb.Codec_CODEC_ZSTD:
		var header zstd.Header
		err := header.Decode(payload)
		if err != nil || !header.HasFCS {
			return nil, fault(Zstd, "the payload is no Zstandard frame that states its size")
		}
		if header.FrameContentSize != stated {
			return nil, fault(Length, "the payload has %d bytes, the frame states %d", header.FrameContentSize, stated)
		}
		if payload, err = unzstd(payload, int64(stated)); err != nil {
			return nil, fault(Zstd, "the payload is no Zstandard frame")
		}
	default:
		return nil, fault(BadCodec, "codec %d is not known", frame.Codec)
	}
	if uint64(len(payload)) != stated {
		return nil, fault(Length, "found %d bytes of content, the frame states %d", len(payload), stated)
	}
	return payload, nil
}

// unzstd gives at most one byte more than stated, whatever the compressed bytes expand to.
func unzstd(compressed []byte, stated int64) ([]byte, error) {
	decoder, ok := decompressor.Get().(*zstd.Decoder)
	if !ok {
		return nil, errors.New("no decompressor")
	}
	defer decompressor.Put(decoder)
	if err := decoder.Reset(bytes.NewReader(compressed)); err != nil {
		return nil, err
	}
	var content bytes.Buffer
	// It grows with what is really there, from a size that no small message goes beyond.
	content.Grow(int(min(stated+1, 1<<20)))
	_, err := content.ReadFrom(io.LimitReader(decoder, stated+1))
	return content.Bytes(), err
}

package binpulse.client;

import binpulse.client.DecodeException.Reason;
import binpulse.v1.Frame;
import com.github.luben.zstd.Zstd;
import com.github.luben.zstd.ZstdException;
import com.google.protobuf.InvalidProtocolBufferException;
import java.util.Base64;
import java.util.zip.CRC32C;

/** The Protobuf format: base64, frame, decompression, checksum. Trusts nothing that it reads. */
final class Frames {
    static final int FORMAT_VERSION = 1;

    private Frames() {}

    /** What the elements of a content may take in memory, for a limit of the content's size. */
    static long elementBytesMax(int bytesMax) {
        return Math.min(bytesMax * 8L, 512L << 20);
    }

    /** The frame in a body, with its typed content decompressed and checked. */
    static Frame open(String body, int bytesMax) throws DecodeException {
        Frame frame;
        try {
            frame = parsed(base64(body), bytesMax);
        } catch (IllegalArgumentException error) {
            // No words of it: they show what stands there.
            throw new DecodeException(Reason.BASE64, "the body is not base64");
        }
        if (frame.getFormatVersion() != FORMAT_VERSION) {
            throw new DecodeException(Reason.VERSION, "found format version "
                + Integer.toUnsignedString(frame.getFormatVersion()) + ", expected " + FORMAT_VERSION);
        }
        if (frame.getContentCase() != Frame.ContentCase.PAYLOAD) {
            return frame;
        }
        byte[] content = decompressed(frame, bytesMax);
        CRC32C checksum = new CRC32C();
        checksum.update(content);
        if ((int) checksum.getValue() != frame.getCrc32C()) {
            throw new DecodeException(Reason.CHECKSUM, "CRC-32C is not the stated one");
        }
        return parsed(content, bytesMax);
    }

    /** Bytes of base64, whose padding is there. Throws an IllegalArgumentException. */
    static byte[] base64(String text) {
        if (text.length() % 4 != 0) {
            throw new IllegalArgumentException();
        }
        return Base64.getDecoder().decode(text);
    }

    private static Frame parsed(byte[] encoded, int bytesMax) throws DecodeException {
        if (!MemoryEstimate.fits(encoded, elementBytesMax(bytesMax))) {
            throw new DecodeException(Reason.MEMORY, "the content has more elements than its limit leaves memory for");
        }
        try {
            return Frame.parseFrom(encoded);
        } catch (InvalidProtocolBufferException error) {
            throw new DecodeException(Reason.PROTOBUF, "the bytes are no frame");
        }
    }

    /** What a frame states is looked at before memory is taken for it. */
    private static byte[] decompressed(Frame frame, int bytesMax) throws DecodeException {
        long stated = frame.getUncompressedSize();
        if (Long.compareUnsigned(stated, bytesMax) > 0) {
            throw new DecodeException(Reason.SIZE, "the content has " + Long.toUnsignedString(stated)
                + " bytes, at most " + bytesMax + " are allowed");
        }
        byte[] payload = frame.getPayload().toByteArray();
        long found = payload.length;
        switch (frame.getCodec()) {
            case CODEC_UNSPECIFIED, CODEC_NONE -> { }
            case CODEC_ZSTD -> {
                found = payload.length == 0 ? -1 : Zstd.getFrameContentSize(payload);
                if (found < 0) {
                    throw new DecodeException(Reason.ZSTD, "the payload is no Zstandard frame that states its size");
                }
            }
            default -> throw new DecodeException(Reason.CODEC, "codec " + frame.getCodecValue() + " is not known");
        }
        if (found == stated && frame.getCodecValue() == binpulse.v1.Codec.CODEC_ZSTD_VALUE) {
            byte[] content = new byte[(int) stated];
            try {
                found = Zstd.decompressByteArray(content, 0, content.length, payload, 0, payload.length);
            } catch (ZstdException error) {
                throw new DecodeException(Reason.ZSTD, "the payload is no Zstandard frame");
            }
            payload = content;
        }
        if (found != stated) {
            throw new DecodeException(Reason.LENGTH,
                "found " + found + " bytes of content, the frame states " + stated);
        }
        return payload;
    }
}

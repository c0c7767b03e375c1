package binpulse.client;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import binpulse.client.Json.Digits;
import binpulse.v1.ChangeBatch;
import binpulse.v1.Column;
import binpulse.v1.Image;
import binpulse.v1.SnapshotPart;
import binpulse.v1.TableSchema;
import binpulse.v1.Transaction;
import java.math.BigDecimal;
import java.math.BigInteger;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Base64;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** The conformance suite: what a consumer must do, as data. */
class ConformanceTest {
    @SuppressWarnings("unchecked")
    private static List<Map<String, Object>> cases(String name) throws Exception {
        String text = Files.readString(Path.of("../../../conformance/" + name + ".json"));
        return (List<Map<String, Object>>) Json.parse(text);
    }

    @SuppressWarnings("unchecked")
    private static Map<String, Object> object(Object value) {
        return (Map<String, Object>) value;
    }

    private static Map<String, String> texts(Object value) {
        Map<String, String> found = new HashMap<>();
        object(value).forEach((name, text) -> found.put(name, (String) text));
        return found;
    }

    /** JSON as documents, and numbers as numbers: their texts may differ. */
    private static Object parsed(Object shown) throws Exception {
        if (shown instanceof List<?> list) {
            List<Object> made = new ArrayList<>();
            for (Object element : list) {
                made.add(parsed(element));
            }
            return made;
        }
        if (!(shown instanceof Map<?, ?>)) {
            return shown instanceof Digits digits ? new BigDecimal(digits.text()).stripTrailingZeros() : shown;
        }
        Map<String, Object> made = new HashMap<>();
        for (Map.Entry<String, Object> member : object(shown).entrySet()) {
            String name = member.getKey();
            Object value = member.getValue();
            if (name.equals("vector") && value instanceof List<?> list) {
                value = list.stream().map(element -> (Object) Float.valueOf((String) element)).toList();
            } else if (value instanceof String text) {
                value = switch (name) {
                    case "float" -> Float.valueOf(text);
                    case "double" -> Double.valueOf(text);
                    case "decimal" -> new BigDecimal(text);
                    case "json", "json_diff" -> parsed(Json.parse(text));
                    default -> text;
                };
            } else {
                value = parsed(value);
            }
            made.put(name, value);
        }
        return made;
    }

    private static String base64(byte[] bytes) {
        return Base64.getEncoder().encodeToString(bytes);
    }

    private static Map<String, Object> cell(Column column, Object value) {
        String type = column.getLogicalType().name().substring("LOGICAL_TYPE_".length()).toLowerCase(Locale.ROOT);
        if (value == Cells.ABSENT) {
            return Map.of("absent", true);
        } else if (value == null) {
            return Map.of("null", true);
        } else if (value instanceof Cells.Omitted omitted) {
            return Map.of("omitted", Map.of("size_bytes", String.valueOf(omitted.sizeBytes()),
                "sha256", HexFormat.of().formatHex(omitted.sha256())));
        } else if (value instanceof Cells.MalformedText malformed) {
            return Map.of("malformed_text", base64(malformed.bytes()));
        } else if (value instanceof Cells.Geometry geometry) {
            return Map.of("geometry", base64(geometry.bytes()));
        } else if (value instanceof byte[] bytes) {
            return Map.of("bytes", base64(bytes));
        } else if (value instanceof Cells.JsonText json) {
            return Map.of("json", json.text());
        } else if (value instanceof Cells.JsonDiff diff) {
            return Map.of("json_diff", diff.text());
        } else if (value instanceof Cells.EnumIndex index) {
            return Map.of("enum_index", index.index().toString());
        } else if (value instanceof Cells.SetMask mask) {
            return Map.of("set_mask", mask.mask().toString());
        } else if (value instanceof BigDecimal decimal) {
            return Map.of("decimal", decimal.toPlainString());
        } else if (value instanceof Cells.TimeText time) {
            return Map.of(time.kind().name().toLowerCase(Locale.ROOT), time.text());
        } else if (value instanceof float[] vector) {
            List<Object> elements = new ArrayList<>();
            for (float element : vector) {
                elements.add(String.valueOf(element));
            }
            return Map.of("vector", elements);
        } else if (value instanceof Long) {
            return Map.of(type.equals("year") ? type : "integer", value.toString());
        } else if (value instanceof BigInteger) {
            return Map.of(type.equals("bit") ? type : "unsigned", value.toString());
        } else if (value instanceof String) {
            return Map.of(type.equals("enum") || type.equals("set") ? type : "text", value);
        }
        return Map.of(value instanceof Float ? "float" : "double", value.toString());
    }

    private static Map<String, Object> image(TableSchema table, Map<String, Object> image) {
        if (image == null) {
            return null;
        }
        Map<String, Object> shown = new HashMap<>();
        for (Column column : table.getColumnsList()) {
            if (image.containsKey(column.getName())) {
                shown.put(column.getName(), cell(column, image.get(column.getName())));
            }
        }
        return shown;
    }

    private static void checkRows(String name, ChangeBatch batch, Map<String, Object> wanted) throws Exception {
        TableSchema table = batch.getTable();
        List<Object> shown = new ArrayList<>();
        for (Row row : Rows.of(batch)) {
            Map<String, Object> one = new HashMap<>();
            one.put("op", row.op());
            one.put("before", image(table, row.before()));
            one.put("after", image(table, row.after()));
            Transaction of = row.transaction();
            if (of != null) {
                one.put("number", Long.toUnsignedString(row.number()));
                one.put("gtid", of.getGtid());
                one.put("committed_at_us", String.valueOf(row.committedAtUs()));
                one.put("original_committed_at_us",
                    String.valueOf(row.committedAtUs() + of.getOriginalCommittedAtDeltaUs()));
                one.put("number_in_transaction", String.valueOf(row.numberInTransaction()));
                one.put("server_id", Integer.toUnsignedString(of.getServerId()));
                one.put("position", Map.of("file", batch.getFiles(of.getFile()),
                    "offset", Long.toUnsignedString(of.getOffset())));
            }
            shown.add(one);
        }
        assertEquals(parsed(wanted.get("rows")), parsed(shown), name);
        assertEquals(wanted.get("lane"), batch.getLane(), name);
        List<String> key = table.getPrimaryKeyList().stream().map(at -> table.getColumns(at).getName()).toList();
        assertEquals(wanted.get("primary_key"), key, name);
        String epoch = Long.toUnsignedString(batch.getSource().getEpoch());
        assertEquals(object(wanted.get("source")).get("epoch"), epoch, name);
        assertEquals(wanted.get("fingerprint"), HexFormat.of().toHexDigits(table.getFingerprint()), name);
    }

    private static String small(Enum<?> value, String prefix) {
        return value.name().substring(prefix.length()).toLowerCase(Locale.ROOT);
    }

    private static void checkContent(String name, Content content, Map<String, Object> wanted) throws Exception {
        assertEquals(wanted.get("kind"), content.kind(), name);
        if (content instanceof Content.Change change) {
            ChangeBatch value = change.value();
            checkRows(name, value, wanted);
            assertEquals(
                List.of(wanted.get("snapshot_next"), wanted.get("snapshot_attempt"), wanted.get("before_image")),
                List.of(String.valueOf(value.getSnapshotNext()), String.valueOf(value.getSnapshotAttempt()),
                    small(value.getBeforeImage(), "BEFORE_IMAGE_")), name);
        } else if (content instanceof Content.Canary canary) {
            checkCanary(name, canary.value(), wanted);
        } else if (content instanceof Content.Part part) {
            checkPart(name, part.value(), wanted);
        } else if (content instanceof Content.Schema schema) {
            assertEquals(
                List.of(wanted.get("statement"), wanted.get("database"), wanted.get("gtid"),
                    wanted.get("committed_at_us")),
                List.of(schema.value().getStatement(), schema.value().getDatabase(), schema.value().getGtid(),
                    String.valueOf(schema.value().getCommittedAtUs())), name);
        } else if (content instanceof Content.Suppressed suppressed) {
            assertEquals(List.of(wanted.get("sequence_first"), wanted.get("count")),
                List.of(String.valueOf(suppressed.value().getSequenceFirst()),
                    String.valueOf(suppressed.value().getCount())), name);
        } else if (content instanceof Content.Mark mark) {
            assertEquals(List.of(wanted.get("phase"), wanted.get("rows"), wanted.get("reason")),
                List.of(small(mark.value().getPhase(), "SNAPSHOT_PHASE_"), String.valueOf(mark.value().getRows()),
                    mark.value().getReason()), name);
        }
    }

    private static void checkCanary(String name, binpulse.v1.Canary canary, Map<String, Object> wanted)
        throws Exception {
        checkRows(name, canary.getBatch(), object(wanted.get("batch")));
        assertEquals(List.of(wanted.get("number"), wanted.get("path"), wanted.get("written_at_us")),
            List.of(String.valueOf(canary.getNumber()), canary.getPath(), String.valueOf(canary.getWrittenAtUs())), name);
        assertEquals(wanted.get("watermark") != null, canary.hasWatermark(), name);
        if (canary.hasWatermark()) {
            Map<String, Object> mark = object(wanted.get("watermark"));
            List<Object> lanes = new ArrayList<>();
            canary.getWatermark().getLanesList().forEach(lane -> lanes.add(Map.of("lane", lane.getLane(),
                "sequence_next", Long.toUnsignedString(lane.getSequenceNext()), "epoch", String.valueOf(lane.getEpoch()))));
            assertEquals(mark.get("lanes"), lanes, name);
            assertEquals(object(mark.get("certificate")).get("proven_at_us"),
                String.valueOf(canary.getWatermark().getCertificate().getProvenAtUs()), name);
        }
    }

    private static void checkPart(String name, SnapshotPart part, Map<String, Object> wanted) throws Exception {
        checkRows(name, part.getBatch(), object(wanted.get("batch")));
        List<Object> touched = new ArrayList<>();
        for (Image image : part.getTouchedList()) {
            touched.add(key(part, image));
        }
        assertEquals(wanted.get("touched"), touched, name);
        assertEquals(wanted.get("key_after"), part.hasKeyAfter() ? key(part, part.getKeyAfter()) : null, name);
        assertEquals(wanted.get("key_upto"), part.hasKeyUpto() ? key(part, part.getKeyUpto()) : null, name);
        Map<String, Long> numbers = Map.of("part", part.getPart(), "chunk", part.getChunk(),
            "attempt", (long) part.getAttempt(), "attempt_part", part.getAttemptPart(),
            "rows_in_chunk", part.getRowsInChunk(), "rows_superseded", part.getRowsSuperseded());
        numbers.forEach((member, value) -> assertEquals(wanted.get(member), String.valueOf(value), name + " " + member));
        assertEquals(object(wanted.get("anchor")).get("sequence_next"),
            String.valueOf(part.getAnchor().getSequenceNext()), name);
        if (wanted.get("digest") != null) {
            assertEquals(object(wanted.get("digest")).get("sum"),
                HexFormat.of().toHexDigits(part.getDigest().getSum()), name);
        }
    }

    private static Map<String, Object> key(SnapshotPart part, Image image) {
        return image(part.getBatch().getTable(), Rows.keyOf(part, image));
    }

    @Test
    void messagesMeanWhatTheirCasesSayInEachForm() throws Exception {
        int count = 0;
        for (Map<String, Object> one : cases("messages")) {
            for (Object message : (List<?>) one.get("messages")) {
                Map<String, Object> form = object(message);
                String name = one.get("name") + " as " + form.get("form");
                Message received = Message.received((String) form.get("body"), texts(form.get("attributes")));
                checkContent(name, received.decode(), object(one.get("content")));
                count++;
            }
        }
        assertTrue(count > 50);
    }

    @Test
    void whateverIsPutAroundAMessageComesOff() throws Exception {
        Map<Object, Map<String, Object>> contents = new HashMap<>();
        for (Map<String, Object> one : cases("messages")) {
            contents.put(one.get("name"), object(one.get("content")));
        }
        for (Map<String, Object> one : cases("envelopes")) {
            String name = (String) one.get("name");
            Lambda.Take take = message -> {
                assertEquals(texts(one.get("attributes")), message.attributes(), name);
                Content content = message.decodeWith(place -> {
                    Object object = object(one.get("objects")).get(place.bucket() + "/" + place.key());
                    return ((String) object).getBytes(StandardCharsets.UTF_8);
                });
                checkContent(name, content, contents.get(one.get("case")));
            };
            if (one.get("event") != null) {
                String answer = Lambda.batch(Json.text(one.get("event")), take, (id, error) -> {
                    throw new AssertionError(name + " " + id, error);
                });
                assertEquals("{\"batchItemFailures\": []}", answer);
            } else {
                Map<String, String> given = one.get("objects") == null ? Map.of() : texts(one.get("attributes"));
                take.take(Message.received((String) one.get("body"), given));
            }
        }
    }

    @Test
    void hostileBodiesAreRefusedForTheirReason() throws Exception {
        List<String> wrong = new ArrayList<>();
        for (Map<String, Object> one : cases("hostile")) {
            String reason = "none";
            try {
                Message.received((String) one.get("body")).decode();
            } catch (DecodeException refused) {
                reason = refused.reason().name().toLowerCase(Locale.ROOT);
            } catch (RuntimeException error) {
                reason = error.toString();
            }
            if (!reason.equals(one.get("reason"))) {
                wrong.add(one.get("name") + ": " + reason);
            }
        }
        assertEquals(List.of(), wrong);
    }

    private static long number(Object form, String member) {
        return Long.parseLong((String) object(form).get(member));
    }

    @Test
    void lanesDecideAsTheHistoriesSay() throws Exception {
        for (Map<String, Object> one : cases("ledger")) {
            long begin = one.get("next") == null ? 0 : number(one, "next");
            Lane lane = new Lane(new Lane.State(begin, List.of()), Waits.DEFAULT, Instant.EPOCH);
            for (Object form : (List<?>) one.get("steps")) {
                Map<String, Object> step = object(form);
                String name = one.get("name") + " " + step;
                Instant now = Instant.ofEpochSecond(Long.parseLong(((Digits) step.get("at")).text()));
                if (step.containsKey("rows")) {
                    long first = number(step.get("rows"), "first");
                    long count = number(step.get("rows"), "count");
                    Lane.Offer offer = lane.offer(first, count, now);
                    assertEquals(step.get("decision"), offer.decision().name().toLowerCase(Locale.ROOT), name);
                    if (offer.take() > 0) {
                        assertEquals(step.get("skip"), String.valueOf(offer.skip()), name);
                        Object take = step.getOrDefault("take", String.valueOf(count - offer.skip()));
                        assertEquals(take, String.valueOf(offer.take()), name);
                        lane.applied(first + offer.skip(), offer.take(), now);
                    }
                } else if (step.containsKey("watermark")) {
                    lane.watermark(number(step, "watermark"), now);
                } else if (step.containsKey("absent")) {
                    lane.absent(number(step.get("absent"), "first"), number(step.get("absent"), "last"), now);
                } else if (step.containsKey("suppressed")) {
                    Object rows = step.get("suppressed");
                    lane.suppressed(number(rows, "first"), number(rows, "last"), now);
                }
                Map<String, Object> gap = lane.missing(now).map(found -> Map.<String, Object>of(
                    "first", String.valueOf(found.first()), "last", String.valueOf(found.last()),
                    "proven", found.isProven())).orElse(null);
                assertEquals(step.get("gap"), gap, name);
                assertEquals(step.get("next"), lane.next() == 0 ? null : String.valueOf(lane.next()), name);
            }
        }
    }

    @Test
    void webhooksAreBelievedOnlyWhereASecretSignedThem() throws Exception {
        for (Map<String, Object> one : cases("webhooks")) {
            Map<String, String> headers = texts(one.get("headers"));
            List<String> secrets = ((List<?>) one.get("secrets")).stream().map(String.class::cast).toList();
            Instant now = Instant.ofEpochSecond(Long.parseLong(((Digits) one.get("now")).text()));
            String verdict = "good";
            try {
                byte[] body = ((String) one.get("body")).getBytes(StandardCharsets.UTF_8);
                assertEquals(headers.get("webhook-id"), Webhooks.verify(body, headers::get, secrets, now));
            } catch (WebhookException error) {
                verdict = error.reason().name().toLowerCase(Locale.ROOT);
            }
            assertEquals(one.get("verdict"), verdict, (String) one.get("name"));
        }
    }
}

use serde_json::{Value, json};

use super::*;
use crate::change::{BytesKind, Slot};
use crate::encode::Origin;
use crate::encode::testing::{Owned, OwnedChange, int, null, table, text, transaction};

fn origin() -> Origin {
    Origin {
        stream: "shop".into(),
        server_uuid: String::from("u"),
        server_id: 7,
        epoch: 3,
        connector_version: "0.0.0",
        snapshot: false,
        replay: None,
    }
}

fn document(formatter: &mut Formatter, change: &OwnedChange) -> Value {
    let (origin, table, transaction) = (origin(), table("orders", 3), transaction(1));
    let change = change.change();
    let mut context = RowContext::new(&origin, &table, &transaction, &change);
    context.number = Some(RowNumber { lane: "shop.orders#0", number: 12, snapshot: None });
    let mut out = Vec::new();
    formatter.row(&context, &mut out);
    serde_json::from_slice(&out)
        .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&out)))
}

#[test]
fn each_format_writes_json() {
    let cells = [text("k"), null(), Owned::Bytes(BytesKind::Malformed, vec![0xff])];
    let other = [text("k"), int(5), Owned::Plain(Slot::UInt(u64::MAX))];
    let update = OwnedChange::update(4, &cells, &other);
    for name in FormatOptions::NAMES {
        let options = FormatOptions::of_name(name).expect("a format");
        assert_eq!(options.name(), name);
        let written = document(&mut Formatter::new(options), &update);
        assert!(written.is_object(), "{name}: {written}");
    }
    let options = DebeziumOptions { schemas_enable: true, ..DebeziumOptions::default() };
    let written = document(&mut Formatter::new(FormatOptions::Debezium(options)), &update);
    assert_eq!(written["payload"]["op"], json!("u"));
    assert_eq!(
        written["payload"]["source"]["sequence"],
        json!(r#"["3","shop.orders#0","12","u"]"#)
    );
    assert_eq!(written["schema"]["name"], json!("shop.shop.orders.Envelope"));
}

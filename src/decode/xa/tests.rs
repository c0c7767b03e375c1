use super::*;

fn limits(memory_bytes_max: u64, overflow: Box<dyn Overflow>) -> Limits {
    Limits { memory_bytes_max, overflow }
}

fn xid(text: &str) -> Xid {
    Xid::parse(text.as_bytes()).expect("an XA identifier")
}

fn read_all(spool: &mut Spool) -> Vec<(Vec<u8>, Position)> {
    let (mut at, mut event, mut found) = (0, Vec::new(), Vec::new());
    while let Some(position) = spool.read(&mut at, &mut event).expect("a whole spool") {
        found.push((event.clone(), position));
    }
    found
}

#[test]
fn identifiers_are_read_as_servers_write_them() {
    assert_eq!(xid(" X'6162',X'',1").to_string(), "X'6162',X'',1");
    assert_eq!(
        xid("X'00ff27',X'62',4294967295 ONE PHASE").to_string(),
        "X'00ff27',X'62',4294967295"
    );
    assert_eq!(xid("X'61',X'',-1"), xid("X'61',X'',4294967295"));
    for bad in ["", "X'6", "X'6'", "X'zz'", "'a'", "X'61',", "X'61',X'',", &"X'".repeat(99)] {
        assert!(Xid::parse(bad.as_bytes()).is_err(), "{bad}");
    }
    let long = format!("X'{}'", "61".repeat(65));
    assert!(Xid::parse(long.as_bytes()).is_err());
}

#[test]
fn a_file_that_is_there_already_is_passed_over_and_a_folder_that_is_not_there_is_an_error() {
    let folder = tempfile::tempdir().expect("a folder");
    for number in 0..2 {
        let name = format!("binpulse-held-{}-{number}", std::process::id());
        std::fs::write(folder.path().join(name), "another's").expect("written");
    }
    let mut overflow = TempFolder::new(folder.path().into());
    let mut file = overflow.open().expect("there is a free name").expect("a file");
    file.append(b"rows").expect("room");
    let mut found = [0; 4];
    file.read_at(0, &mut found).expect("whole");
    assert_eq!(&found, b"rows");
    let others = std::fs::read_dir(folder.path()).expect("a folder");
    for other in others {
        let text = std::fs::read_to_string(other.expect("an entry").path()).expect("text");
        assert_eq!(text, "another's");
    }
    assert!(TempFolder::new(folder.path().join("none")).open().is_err());
}

#[test]
fn events_come_back_in_order_from_memory_and_from_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut limits = limits(100, Box::new(TempFolder::new(folder.path().into())));
    let mut held = Held::default();
    let name = xid("X'61',X'',1");
    held.start(name, TransactionId::Anonymous, Position::new("a.1", 4)).expect("a start");
    let events: Vec<Vec<u8>> = (0..20_u8).map(|n| vec![n; usize::from(n) * 3]).collect();
    for (number, event) in (0..).zip(&events) {
        let file = if number < 10 { "a.1" } else { "a.2" };
        held.hold(event, &Position::new(file, number), &mut limits).expect("held");
    }
    assert!(std::fs::read_dir(folder.path()).expect("a folder").next().is_none());
    held.prepare(&name).expect("prepared");
    let mut branch = held.take(&name).expect("the branch");
    let found = read_all(&mut branch.events.spool);
    assert_eq!(found.iter().map(|(event, _)| event.clone()).collect::<Vec<_>>(), events);
    assert_eq!(found[19].1, Position::new("a.2", 19));
    held.release(&branch.events.spool);
    assert_eq!(held.in_memory, 0);
}

#[test]
fn without_a_folder_too_many_held_bytes_are_an_error() {
    let mut limits = limits(40, Box::new(MemoryOnly));
    let mut held = Held::default();
    held.start(xid("X'61'"), TransactionId::Anonymous, Position::new("a.1", 4)).expect("a start");
    held.hold(&[1; 20], &Position::new("a.1", 4), &mut limits).expect("fits");
    let error = held.hold(&[1; 20], &Position::new("a.1", 4), &mut limits).expect_err("full");
    assert!(matches!(error, Fault::Xa(XaFault::TooLarge { held: 72, limit: 40 })), "{error}");
}

#[test]
fn what_was_undone_in_an_xa_transaction_is_not_prepared() {
    let (mut limits, mut held) = (limits(1 << 20, Box::new(MemoryOnly)), Held::default());
    let (position, name) = (Position::new("a.1", 4), xid("X'61'"));
    let collation = Collation::GeneralCi;
    assert!(held.roll_back_to(b"a", collation).is_err(), "none is open");
    held.start(name, TransactionId::Anonymous, position.clone()).expect("a start");
    let mut put = |held: &mut Held, number: u8| {
        held.hold(&[number; 9], &position, &mut limits).expect("it fits");
    };
    put(&mut held, 1);
    held.set_savepoint(b"a", collation);
    put(&mut held, 2);
    held.set_savepoint(b"b", collation);
    put(&mut held, 3);
    held.roll_back_to(b"b", collation).expect("it is known");
    put(&mut held, 4);
    assert!(held.roll_back_to(b"c", collation).is_err());
    held.roll_back_to(b"a", collation).expect("it is known");
    put(&mut held, 5);
    held.prepare(&name).expect("prepared");
    let mut branch = held.take(&name).expect("the branch");
    let kept: Vec<_> =
        read_all(&mut branch.events.spool).into_iter().map(|(event, _)| event[0]).collect();
    assert_eq!(kept, [1, 5]);
}

#[test]
fn the_oldest_prepared_transaction_is_the_one_that_holds_the_place() {
    let mut held = Held::default();
    for (name, offset) in [("X'61'", 100), ("X'62'", 200)] {
        held.start(xid(name), TransactionId::Anonymous, Position::new("a.1", offset)).expect("a");
        held.prepare(&xid(name)).expect("prepared");
    }
    assert!(held.start(xid("X'61'"), TransactionId::Anonymous, Position::default()).is_err());
    assert_eq!(held.oldest(), Some(&Position::new("a.1", 100)));
    assert!(held.take(&xid("X'61'")).is_some());
    assert_eq!(held.oldest(), Some(&Position::new("a.1", 200)));
    assert!(held.take(&xid("X'61'")).is_none());
}

#[test]
fn a_spool_is_cut_off_in_memory_and_in_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut limits = limits(60, Box::new(TempFolder::new(folder.path().into())));
    let (mut held, mut spool) = (Held::default(), Spool::default());
    let position = Position::new("a.1", 4);
    let mut ends = vec![0];
    for number in 0..6_u8 {
        held.push(&mut spool, &[number; 10], &position, &mut limits).expect("held");
        ends.push(spool.length());
    }
    for left in [5, 4, 3, 2, 1, 0] {
        held.truncate(&mut spool, ends[left]).expect("cut off");
        assert_eq!(read_all(&mut spool).len(), left);
        assert_eq!(held.in_memory, spool.memory_bytes());
        held.push(&mut spool, &[99; 10], &position, &mut limits).expect("held");
        assert_eq!(read_all(&mut spool)[left].0, [99; 10]);
    }
}

#[test]
fn nobody_else_may_read_the_file_and_nothing_of_it_is_left() {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir().expect("a folder");
    let file = spool::create(&folder.path().join("held")).expect("a file");
    assert_eq!(file.metadata().expect("a file").permissions().mode() & 0o777, 0o600);
    std::fs::remove_file(folder.path().join("held")).expect("a file");
    let file = TempFolder::new(folder.path().into()).open().expect("a folder");
    assert!(file.is_some());
    assert_eq!(std::fs::read_dir(folder.path()).expect("a folder").count(), 0);
}

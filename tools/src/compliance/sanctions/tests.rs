//! The publishers' forms, in small invented lists of the true schemas; what is cut short is refused; nothing panics.

use super::*;

const OFAC: &[u8] = include_bytes!("fixtures/SDN.XML");
const SDN: &[u8] = include_bytes!("fixtures/SDN.CSV");
const ALT: &[u8] = include_bytes!("fixtures/ALT.CSV");
const ADD: &[u8] = include_bytes!("fixtures/ADD.CSV");
const EU: &[u8] = include_bytes!("fixtures/eu.xml");
const UN: &[u8] = include_bytes!("fixtures/un.xml");
const UK: &[u8] = include_bytes!("fixtures/ConList.csv");

fn list(bytes: &[u8]) -> List {
    let files = if bytes == SDN { vec![SDN.to_vec(), ALT.to_vec(), ADD.to_vec()] } else { vec![bytes.to_vec()] };
    parse(&files).unwrap().1
}

#[test]
fn each_form_is_told_and_read() {
    for (bytes, format, version, parties, names, wallets) in [
        (OFAC, Format::OfacXml, "2026-11-20", 3, 5, 3),
        (SDN, Format::OfacCsv, "", 2, 4, 2),
        (EU, Format::Eu, "2026-11-20T18:00:00", 2, 3, 0),
        (UN, Format::Un, "2026-11-19T10:00:00", 2, 5, 0),
        (UK, Format::Uk, "20/11/2026", 2, 3, 0),
    ] {
        assert_eq!(Format::of(bytes), Some(format));
        let list = list(bytes);
        let count = |of: fn(&keel_risk::surveil::screen::Party) -> usize| list.parties.iter().map(of).sum::<usize>();
        let (had, had_wallets) = (count(|party| party.names.len()), count(|party| party.wallets.len()));
        assert_eq!((list.parties.len(), had, had_wallets), (parties, names, wallets), "{format:?} {list:?}");
        assert!(version.is_empty() || list.version == version, "{format:?} {}", list.version);
    }
    assert_eq!(Format::of(b"hello"), None);
}

#[test]
fn addresses_and_names_are_found_with_their_list() {
    let lists = Lists::new([OFAC, EU, UN, UK].into_iter().map(list).collect());
    for (what, entry) in [
        ("1SyntheticKeeLFixtureWaLLet11111", Some("ofac:2026-11-20:990037")),
        ("1syntheticKeeLFixtureWaLLet11111", None),
        ("0xABCDEF0000000000000000000000000000000001", Some("ofac:2026-11-20:990037")),
        ("TSyntheticKeeLFixtureTron11111111", Some("ofac:2026-11-20:990038")),
        ("Pyotr Zorbanov", Some("ofac:2026-11-20:990037")),
        ("Meridian Quartz & Sons Trading", Some("ofac:2026-11-20:990036")),
        ("Ilsabeth Kvartz", Some("eu:2026-11-20T18:00:00:13")),
        ("Obsidian Treid", Some("eu:2026-11-20T18:00:00:20")),
        ("Tesk Orlan Vadim", Some("un:2026-11-19T10:00:00:6900001")),
        ("Edric Brambleton", Some("uk:20/11/2026:99001")),
        ("Ann Example", None),
        ("Quartz Hotels", None),
    ] {
        let hit = ask(&lists, what);
        assert_eq!(hit.as_ref().map(|hit| hit.entry.as_str()), entry, "{what}: {hit:?}");
        assert!(hit.is_none_or(|hit| hit.digest != [0; 32]));
    }
}

#[test]
fn a_list_cut_short_is_refused_wherever_it_is_cut() {
    for bytes in [OFAC, EU, UN] {
        let whole = bytes.trim_ascii_end();
        for cut in 1..whole.len() {
            assert!(parse(&[whole[..cut].to_vec()]).is_err(), "cut at {cut} of {}", whole.len());
        }
    }
    let fewer = String::from_utf8(OFAC.to_vec()).unwrap().replace("<Record_Count>3", "<Record_Count>4");
    assert!(parse(&[fewer.into_bytes()]).unwrap_err().to_string().contains("not whole"));
    assert!(parse(&[SDN.to_vec()]).is_err(), "without ALT.CSV");
}

#[test]
fn no_bytes_panic() {
    let rounds: u64 = std::env::var_os("KEEL_FUZZ_ROUNDS").and_then(|n| n.to_str()?.parse().ok()).unwrap_or(400);
    let mut seed = 0x9e37_79b9_7f4a_7c15u64;
    let mut next = |below: usize| {
        seed ^= seed << 13;
        seed ^= seed >> 7;
        seed ^= seed << 17;
        usize::try_from(seed % (below as u64)).unwrap()
    };
    let words: [&[u8]; 8] = [b"<", b"</", b"&#x110000;", b"\"", b"]]>", b"<!DOCTYPE a [", b"\xff\xfe", b",,,,\"\n"];
    for base in [OFAC, SDN, EU, UN, UK] {
        for _ in 0..rounds {
            let mut bytes = base.to_vec();
            for _ in 0..=next(4) {
                let at = next(bytes.len());
                match next(4) {
                    0 => bytes[at] = u8::try_from(next(256)).unwrap(),
                    1 => drop(bytes.drain(at..(at + 1 + next(40)).min(bytes.len()))),
                    2 => drop(bytes.splice(at..at, words[next(words.len())].iter().copied())),
                    _ => {
                        let piece = bytes[at..(at + 60).min(bytes.len())].to_vec();
                        drop(bytes.splice(at..at, piece));
                    }
                }
                if bytes.is_empty() {
                    bytes.push(0);
                }
            }
            let _ = parse(&[bytes.clone(), ALT.to_vec(), ADD.to_vec()]);
            let _ = parse(&[SDN.to_vec(), bytes.clone(), bytes]);
        }
    }
}

#[test]
fn on_any_doubt_the_list_in_force_stays() {
    let dir = tempfile::tempdir().unwrap();
    let (into, file) = (dir.path().join("lists"), dir.path().join("SDN.XML"));
    let now = Wall::from_millis(1_790_000_000_000);
    fs::write(&file, OFAC).unwrap();
    let why = take(&file, &into, Band::default(), now).unwrap_err().to_string();
    assert!(why.contains("3 parties, where 15000 to 25000"), "{why}");
    assert!(load(&into).unwrap().lists.is_empty());
    let band = Band { min: Some(1), max: Some(10), shrink: false };
    let taken = take(&file, &into, band, now).unwrap();
    assert_eq!((taken.source, taken.parties, taken.wallets), ("ofac", 3, 3));
    let in_force = load(&into).unwrap();
    assert_eq!((in_force.lists.len(), in_force.oldest), (1, Some(now)));
    // truncated, or whole and much smaller
    fs::write(&file, &OFAC[..OFAC.len() / 2]).unwrap();
    assert!(format!("{:#}", take(&file, &into, band, now).unwrap_err()).contains("SDN.XML"));
    let small = "<sdnList><sdnEntry><uid>1</uid><lastName>A</lastName><sdnType>Entity</sdnType></sdnEntry></sdnList>";
    fs::write(&file, small).unwrap();
    assert!(take(&file, &into, band, now).unwrap_err().to_string().contains("--shrink"));
    assert_eq!(load(&into).unwrap().lists, in_force.lists);
    take(&file, &into, Band { shrink: true, ..band }, now).unwrap();
    assert_eq!(load(&into).unwrap().lists[0].parties.len(), 1);
    // changed behind our back
    let kept = fs::read_dir(&into).unwrap().map(|file| file.unwrap().path());
    let kept: Vec<_> = kept.filter(|path| path.extension().is_some_and(|end| end == "list")).collect();
    assert_eq!(kept.len(), 1, "the old file went");
    fs::write(&kept[0], OFAC).unwrap();
    assert!(load(&into).unwrap_err().to_string().contains("changed after it was accepted"));
}

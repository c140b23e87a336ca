//! The table in itself: what no request can show.

use std::collections::BTreeSet;

use super::*;

#[test]
fn every_route_is_once_in_the_table_and_says_what_it_is() {
    let (mut seen, mut ids) = (BTreeSet::new(), BTreeSet::new());
    for route in routes() {
        let place = format!("{} {}", route.method, route.path);
        assert!(seen.insert(place.clone()), "{place} is twice in the table");
        assert!(ids.insert(route.id), "{place}: another route has its id");
        assert!(TAGS.iter().any(|(name, _)| *name == route.tag), "{place}: the tag '{}'", route.tag);
        let braces: Vec<&str> =
            route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}')).collect();
        let named: Vec<&str> = route.path_parameters().map(|parameter| parameter.name).collect();
        assert_eq!(braces, named, "{place}: its parameters");
        let statuses: Vec<u16> = route.answers.iter().map(|answer| answer.status).collect();
        assert!(statuses.is_sorted_by(|a, b| a < b), "{place}: statuses in order, each once: {statuses:?}");
        let success = statuses.first().is_some_and(|status| (200..300).contains(status));
        assert_ne!(success, route.deprecated, "{place}: it succeeds, or it is there for old clients only");
    }
}

#[test]
fn what_has_a_name_is_described_in_one_way() {
    let (mut answers, mut models) = (Names::new(), Names::new());
    routes().for_each(|route| collect(route, &mut answers, &mut models));
    let text = |write: &dyn Fn(&mut Vec<u8>)| {
        let mut out = Vec::new();
        write(&mut out);
        String::from_utf8(out).expect("text")
    };
    for route in routes() {
        for answer in route.answers.iter().filter(|answer| !answer.name.is_empty()) {
            let known = answers.iter().find(|(name, _)| *name == answer.name).expect("collected").1;
            assert_eq!(text(&|out| answer.write(out)), text(&|out| known.write(out)), "{}", answer.name);
            assert_eq!(answer.status, known.status, "{}", answer.name);
        }
    }
}

#[test]
fn paths_are_found_by_their_parts() {
    assert_eq!(methods("/pins"), ["GET"]);
    assert_eq!(methods("/pins/GPIO17"), ["GET", "PUT"]);
    assert_eq!(methods("/health"), ["GET", "HEAD"]);
    for path in ["", "/pins/", "/pins/a/b", "pins", "/pin", "/pins/GPIO17/"] {
        assert!(!knows(path) && methods(path).is_empty(), "{path}");
    }
}

#[test]
fn the_document_is_json() {
    let document: serde_json::Value = serde_json::from_slice(&document()).expect("JSON");
    assert_eq!(document["openapi"], "3.0.3");
    assert_eq!(document["paths"]["/pins/{id}"]["parameters"][0]["name"], "id");
}

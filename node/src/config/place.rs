//! `service.instance.zone`: where an instance is that is not in its home agent's zone. It travels as a tag of the instance.

use quorate_core::{Placement, Zone};
use quorate_mesh::InstanceView;
use std::borrow::Cow;

/// What the tag begins with; the zone follows.
pub const TAG: &str = "zone=";

/// Among the tags of an instance: what it says there by itself is replaced.
pub fn tell(zone: &Zone, placement: &mut Placement) {
    placement.tags.retain(|tag| !tag.starts_with(TAG));
    let tag = format!("{TAG}{zone}");
    let place = placement.tags.partition_point(|known| *known < tag);
    placement.tags.insert(place, tag);
}

/// The zone of an instance: what its tags tell, else that of its home agent.
pub fn zone_of(instance: &InstanceView) -> Cow<'_, Zone> {
    let tags = instance.registration.as_ref().map_or(&[][..], |registration| &registration.placement.tags);
    let told = tags.iter().find_map(|tag| Zone::new(tag.strip_prefix(TAG)?).ok());
    told.map_or(Cow::Borrowed(&instance.zone), Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::fixture::instance;
    use crate::config::file::parse;
    use quorate_core::{Registration, Verdict};
    use std::sync::Arc;

    #[test]
    fn an_instance_may_be_elsewhere_than_its_home() {
        let read = |instance: &str| {
            let text = format!("[[service]]\nname = \"x\"\n[[service.instance]]\n{instance}\n");
            let settings = parse("x", &text).map_err(|errors| errors.to_string())?;
            Ok::<_, String>(settings.services[0].registrations([10, 0, 0, 1].into()).remove(0).placement.tags)
        };
        assert_eq!(read("zone = \"b.1\"\ntags = [\"a\", \"zz\"]").unwrap(), ["a", "zone=b.1", "zz"]);
        assert_eq!(read("zone = \"b\"\ntags = [\"zone=a\"]").unwrap(), ["zone=b"]);
        for wrong in ["zone = \"a b\"".to_owned(), format!("zone = \"{}\"", "x".repeat(60))] {
            let errors = read(&wrong).unwrap_err();
            assert!(errors.contains("service[0].instance[0].zone: "), "{errors}");
        }
    }

    #[test]
    fn its_own_word_goes_before_its_homes() {
        let mut view = instance("web@10.0.0.1:80", "web", 1, Verdict::Up);
        assert_eq!(zone_of(&view).as_str(), "default");
        for (tag, zone) in [("zone=b", "b"), ("zone=", "default"), ("zone=a=b", "default"), ("zones=b", "default")] {
            let mut registration = Registration::clone(view.registration.as_ref().unwrap());
            registration.placement.tags = vec![tag.to_owned()];
            view.registration = Some(Arc::new(registration));
            assert_eq!(zone_of(&view).as_str(), zone, "{tag}");
        }
    }
}

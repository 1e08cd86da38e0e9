//! The status page in a real browser: it shows the mesh, follows it without being loaded again, and says when it cannot be relied on.

use quorate_tests::{AgentSetup, Browser, Host, Mesh, Target, eventually, folder, instance_id, send};
use std::path::{Path, PathBuf};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
const DESK: (u32, u32) = (1200, 800);
const PHONE: (u32, u32) = (390, 780);

/// Pictures are for people to look at; they are no part of the tree.
fn picture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("output").join(format!("page-{name}.png"))
}

fn shows(browser: &mut Browser, words: &[&str]) {
    eventually(&format!("the page shows {words:?}"), LIMIT, || {
        let text = browser.text()?;
        assert!(!text.contains("[object") && !text.contains("undefined"), "{text}");
        let missing: Vec<_> = words.iter().filter(|word| !text.contains(**word)).collect();
        if missing.is_empty() { Ok(()) } else { Err(format!("{missing:?} missing in: {text}")) }
    });
}

#[test]
fn the_page_follows_the_mesh() {
    let folder = folder();
    let Some(mut browser) = Browser::start(folder.path()) else { return };
    let host = Host::loopback();
    let mut target = Target::start("http", &host, folder.path());
    let id = instance_id("web", &target);
    let setups: Vec<_> = (0..3).map(|n| AgentSetup::new(format!("agent-{n}"), host.clone())).collect();
    let setups = [
        setups[0].clone().serving("web", &target).agent("environment = \"staging\""),
        setups[1].clone(),
        setups[2].clone(),
    ];
    let mut mesh = Mesh::start(&setups, folder);
    mesh.await_verdict(&id, "up", Duration::from_secs(20));
    let page = format!("http://{}/", mesh.agents[0].api);

    browser.open(&page, DESK, false);
    shows(&mut browser, &["staging", "Overview", "web", "1 up", "3 of 3 agents alive; quorate"]);
    assert_eq!(browser.evaluate("document.getElementById('banner').hidden"), Ok(true.into()));
    browser.screenshot(&picture("overview"));
    browser.evaluate("window.loaded = 'once'").expect("a mark");
    browser.evaluate("location.hash = '#/matrix'").expect("another page");
    shows(&mut browser, &["Who sees what", "agent-0", "agent-1", "agent-2", &id]);
    let passes = "document.querySelectorAll('.matrix td.good span[aria-label=pass]').length";
    eventually("all three observers pass", LIMIT, || match browser.evaluate(passes)?.as_u64() {
        Some(3) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    browser.screenshot(&picture("matrix"));

    target.kill();
    let fails = "document.querySelectorAll('.matrix td.bad span[aria-label=fail]').length";
    eventually("all three observers fail", LIMIT, || match browser.evaluate(fails)?.as_u64() {
        Some(3) => Ok(()),
        other => Err(format!("{other:?}")),
    });
    browser.evaluate(&format!("location.hash = '#/instance/' + encodeURIComponent({id:?})")).expect("another page");
    shows(&mut browser, &["Certificate", "instance_fault", "Signatures", "History", "Changes of verdict"]);
    let history = "[...document.querySelectorAll('table')].at(-1).innerText.includes('down')";
    eventually("the fall is in the history", LIMIT, || {
        let found = browser.evaluate(history)?;
        if found == true { Ok(()) } else { Err(found.to_string()) }
    });
    shows(&mut browser, &["Quorum", "2 of 3 observers"]);
    browser.screenshot(&picture("instance"));
    assert_eq!(browser.evaluate("window.loaded"), Ok("once".into()), "the page was loaded again");
    // By keyboard alone: the first stop is the way past the navigation, and every stop is a link or a table that scrolls.
    let stops = "[...document.querySelectorAll('a[href], [tabindex=\"0\"]')].every((stop) => stop.tabIndex === 0)";
    assert_eq!(browser.evaluate(stops), Ok(true.into()));

    browser.open(&format!("{page}#/events"), PHONE, true);
    shows(&mut browser, &["Events", "verdicts"]);
    let fits = "document.documentElement.scrollWidth <= window.innerWidth";
    assert_eq!(browser.evaluate(fits), Ok(true.into()), "wider than a phone");
    browser.screenshot(&picture("events-phone-dark"));
    browser.open(&page, PHONE, true);
    shows(&mut browser, &["Overview", "1 down"]);
    browser.evaluate("location.hash = '#/instance/%zz'").expect("a mistyped page");
    shows(&mut browser, &["Not found", "%zz"]);
    browser.evaluate("location.hash = '#/'").expect("the first page");
    shows(&mut browser, &["Overview", "1 down"]);
    assert_eq!(browser.evaluate(fits), Ok(true.into()), "wider than a phone");
    browser.screenshot(&picture("overview-phone-dark"));
    let call = format!("/v1/breakers/web/{id}/permit");
    assert_eq!(send(mesh.agents[0].api, "POST", &call, None, "").expect("an answer").status, 200);
    browser.evaluate("location.hash = '#/breakers'").expect("another page");
    shows(&mut browser, &["Breakers", "First seen by", "open", "verdict"]);
    let blank = "[...document.querySelectorAll('.pill')].filter((pill) => pill.offsetWidth > 0 && pill.innerText === '').length";
    assert_eq!(browser.evaluate(blank), Ok(0.into()), "what has nothing to say is not seen");
    assert_eq!(browser.evaluate(fits), Ok(true.into()), "wider than a phone");
    browser.screenshot(&picture("breakers-phone-dark"));
    browser.evaluate("location.hash = '#/constructor'").expect("no page");
    shows(&mut browser, &["Overview", "1 down"]);
    assert_eq!(browser.evaluate("document.getElementById('banner').hidden"), Ok(true.into()), "the agent answers");

    mesh.agents[1].kill();
    mesh.agents[2].kill();
    shows(&mut browser, &["NOT QUORATE", "decides nothing new"]);
    browser.screenshot(&picture("minority"));
    mesh.agents[0].kill();
    shows(&mut browser, &["the agent does not answer"]);
    browser.screenshot(&picture("lost"));
}

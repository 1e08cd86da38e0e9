// The status page. It asks the API of the agent that served it, and waits there for news; nothing comes from anywhere else.
// Whatever others wrote enters the page as text, never as markup.

const TONE = {
  up: "good", pass: "good", alive: "good", starting: "fair", degraded: "fair", partial: "fair", unknown: "fair", warn: "fair",
  suspect: "fair", abstain: "fair", down: "bad", fail: "bad", failed: "bad", closed: "good", half_open: "fair", open: "bad",
};
const MARK = { pass: "✓", warn: "!", fail: "✗", abstain: "–", silent: "?" };
// A picture that its agent has not confirmed for this long is called out.
const OLD_MS = 5000;
const EVENTS_SHOWN = 500;

const main = document.getElementById("main");
const banner = document.getElementById("banner");
let health = null;
let environment = null;
let lost = null;
let events = [];
let heading = "";

// An element with attributes and children; texts become text.
function el(name, attributes, ...children) {
  const node = document.createElement(name);
  for (const [key, value] of Object.entries(attributes ?? {})) {
    if (value !== null && value !== undefined && value !== false) node.setAttribute(key, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return node;
}

const pill = (word) => el("span", { class: `pill ${TONE[word] ?? ""}` }, word);
const link = (path, text) => el("a", { href: `#/${path.map(encodeURIComponent).join("/")}` }, text);
const instanceLink = (id) => link(["instance", id], id);

function span(ms) {
  if (ms === null || ms === undefined) return "";
  const s = Math.floor(ms / 1000);
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

const clock = (time) => new Date(time).toLocaleTimeString();
const moment = (time) => new Date(time).toLocaleString();

function table(caption, headings, rows, kind) {
  if (rows.length === 0) return el("p", { class: "quiet" }, `${caption}: none.`);
  const head = el("tr", null, headings.map((text) => el("th", { scope: "col" }, text)));
  const body = rows.map((cells) => el("tr", null, cells.map((cell) => (cell instanceof HTMLTableCellElement ? cell : el("td", null, cell)))));
  const whole = el("table", { class: kind }, el("caption", null, caption), el("thead", null, head), el("tbody", null, body));
  return el("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption }, whole);
}

const wide = (...children) => el("td", { class: "wide" }, ...children);
const number = (value) => el("td", { class: "number" }, String(value));

async function ask(path) {
  const answer = await fetch(path, { headers: { accept: "application/json" }, cache: "no-store" });
  const body = await answer.json();
  if (!answer.ok) throw Object.assign(new Error(body.detail ?? `status ${answer.status}`), { status: answer.status });
  return body;
}

// Every page of a list.
async function askAll(path, field) {
  let all = null;
  let after = null;
  do {
    const page = await ask(`${path}${path.includes("?") ? "&" : "?"}limit=1000${after === null ? "" : `&after=${encodeURIComponent(after)}`}`);
    if (all === null) all = page;
    else all[field].push(...page[field]);
    after = page.next;
  } while (after !== null);
  return all;
}

const present = (verdicts) => Object.entries(verdicts).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", ");

function notes(instance) {
  const found = [];
  if (!instance.enabled) found.push("check disabled");
  if (instance.stale) found.push("stale");
  if (instance.flapping) found.push(`flapping: ${instance.changes} changes`);
  if (instance.folded_under) found.push(`folded under ${instance.home_name}`);
  if (instance.decided !== instance.verdict && instance.term > 0) found.push(`last decided ${instance.decided}`);
  if (instance.hint) found.push(instance.hint);
  return found.join("; ");
}

function instanceTable(caption, instances) {
  const rows = instances.map((i) => [
    instanceLink(i.instance), pill(i.verdict), span(i.age_ms), i.class === "healthy" ? "" : i.class,
    Object.entries(i.votes).filter(([, count]) => count > 0).map(([word, count]) => `${count} ${word}`).join(", "), i.home_name, notes(i),
  ]);
  return table(caption, ["Instance", "Verdict", "For", "Class", "Votes", "Home", "Notes"], rows);
}

const pages = {
  async overview() {
    const bad = await askAll("/v1/instances?hosts=true&verdict=down,partial,degraded,unknown", "instances");
    const { members, verdicts, services } = health;
    const tile = (name, value) => el("li", null, el("b", null, String(value)), name);
    const count = Object.values(verdicts).reduce((sum, n) => sum + n, 0);
    const tiles = el("ul", { class: "tiles" }, tile("services", services.length), tile("instances", count), tile("up", verdicts.up),
      tile("down", verdicts.down), tile("unknown", verdicts.unknown), tile(`of ${health.view.roster} agents alive`, health.view.alive));
    const rows = services.map((s) => [
      link(["service", s.service], s.service), pill(s.status), number(s.total), present(s.verdicts),
      [["folded", s.folded], ["stale", s.stale], ["flapping", s.flapping]].filter(([, n]) => n > 0).map(([w, n]) => `${n} ${w}`).join(", "),
    ]);
    return ["Overview", tiles, el("h2", null, "Services"),
      table("Services", ["Service", "Status", "Instances", "Verdicts", "Notes"], rows), el("h2", null, "Not well"),
      instanceTable("Instances and hosts that are not up", bad.instances),
      members.failed > 0 ? el("p", null, link(["members"], `${members.failed} failed members`)) : null];
  },

  async service(name) {
    const answer = await ask(`/v1/services/${encodeURIComponent(name)}`);
    return [`Service ${name}`, el("p", null, pill(answer.status), " ", present(answer.verdicts)), instanceTable(`Instances of ${name}`, answer.instances),
      el("p", null, link(["matrix", name], "Who sees what of it"))];
  },

  async matrix(service) {
    const query = service ? `?service=${encodeURIComponent(service)}` : "";
    const answer = await askAll(`/v1/votes${query}`, "instances");
    const observers = answer.observers;
    const rows = answer.instances.map((i) => [
      el("th", { scope: "row" }, instanceLink(i.instance)), pill(i.verdict),
      ...observers.map((o) => {
        const vote = i.votes[o.agent];
        if (vote === undefined) return el("td", { class: "off" }, el("span", { "aria-label": "not assigned" }, "·"));
        return el("td", { class: TONE[vote] ?? "off", title: `${o.name}: ${vote}` }, el("span", { "aria-label": vote }, MARK[vote] ?? "?"));
      }),
    ]);
    return [service ? `Who sees what of ${service}` : "Who sees what",
      el("p", { class: "quiet" }, "✓ pass, ! warn, ✗ fail, – abstains, ? silent, · not assigned"),
      table("Observers and instances", ["Instance", "Verdict", ...observers.map((o) => o.name)], rows, "matrix")];
  },

  async members() {
    const answer = await askAll("/v1/members", "members");
    const rows = answer.members.map((m) => [
      `${m.name}${m.this ? " (this)" : ""}`, pill(m.state), span(m.age_ms), pill(m.host), m.in_roster ? "counts" : "does not count", m.zone, m.address,
      number(m.instances), m.version, el("code", null, m.agent),
    ]);
    const zones = [...new Set(answer.members.filter((m) => m.state === "failed" || m.state === "suspect").map((m) => m.zone))];
    const split = zones.length > 0 ? el("p", null, `Out of reach in zone ${zones.join(", ")}.`) : null;
    const { alive, suspect, failed, left } = answer.counts;
    return ["Members", el("p", null, `${alive} alive, ${suspect} suspect, ${failed} failed, ${left} left; roster ${answer.view.epoch} of ${answer.view.roster}.`),
      split, table("Members", ["Name", "State", "For", "Host", "Roster", "Zone", "Address", "Instances", "Version", "Agent"], rows)];
  },

  async breakers() {
    const answer = await ask("/v1/breakers");
    const why = (b) => (b.override ? `${b.override.mode} by ${b.override.owner} until ${moment(b.override.ends)}: ${b.override.reason}`
      : [b.cause, b.zone && `zone ${b.zone}`, b.spared && "spared"].filter(Boolean).join(", "));
    const rows = answer.breakers.map((b) => [
      link(["service", b.service], b.service), instanceLink(b.instance), pill(b.state), b.since ? moment(b.since) : "", wide(why(b)),
      b.first_name ?? b.first ?? "", number(b.callers), number(b.trying.length), number(b.attempts),
    ]);
    return ["Breakers", el("p", { class: "quiet" }, "Those that callers on this host use, that are open for many, or on which a person gave a word."),
      table("Breakers", ["Service", "Instance", "State", "Since", "Why", "First seen by", "Callers", "Trying", "Attempts"], rows)];
  },

  async instance(id) {
    const i = await ask(`/v1/instances/${encodeURIComponent(id)}`);
    const facts = el("dl", null, [
      ["Verdict", pill(i.verdict)], ["Since", `${moment(i.since)} (${span(i.age_ms)})`], ["Class", i.class], ["Service", link(["service", i.service], i.service)],
      ["Address", i.address], ["Home", i.home_name], ["Zone", i.zone], ["Check", i.settings ? i.settings.target : i.check],
      ["Quorum", `${i.quorum} of ${i.assigned} observers`], ["Notes", notes(i)],
    ].filter(([, value]) => value !== "").map(([name, value]) => [el("dt", null, name), el("dd", null, value)]));
    const votes = i.observers.map((o) => [o.name, o.heard ? pill(o.vote ?? "silent") : pill("not heard"), span(o.age_ms), o.home ? "home" : o.zone,
      o.phase ?? "", o.cause ?? o.reason ?? "", wide(o.detail)]);
    const proof = i.certificate
      ? [el("p", null, `Term ${i.certificate.term}: ${i.certificate.verdict}, decided ${moment(i.certificate.decided_at)}, signed by `
          + `${i.certificate.endorsements.length} of ${i.certificate.observers} observers.`),
        table("Signatures", ["Observer", "Vote", "Cause", "Signed", "Signature"], i.certificate.endorsements.map((e) => [
          e.name ?? e.agent, pill(e.vote), e.cause ?? "", moment(e.signed_at), wide(el("code", null, e.signature)),
        ]))]
      : el("p", { class: "quiet" }, "Nothing was decided yet.");
    const probe = i.local
      ? el("p", null, `This agent's last probe, ${span(i.local.age_ms)} ago: ${i.local.is_healthy ? "passed" : i.local.error} in ${i.local.response_time_ms} ms`
          + `${i.local.status_code ? `, status ${i.local.status_code}` : ""}.`)
      : el("p", { class: "quiet" }, "This agent does not probe it.");
    const history = events.filter((e) => e.type === "verdicts").flatMap((e) => e.changes.filter((c) => c.instance === id).map((c) => [
      moment(e.at), pill(c.from), pill(c.to), number(c.term), c.class, `${c.signers.length} signatures`]));
    return [id, facts, el("h2", null, "Observers"), table("Observers", ["Observer", "Vote", "For", "Zone", "Phase", "Cause", "Detail"], votes), probe,
      el("h2", null, "Certificate"), ...[proof].flat(), el("h2", null, "History"),
      table("Changes of verdict since this agent's start", ["When", "From", "To", "Term", "Class", "Proof"], history)];
  },

  async events() {
    const rows = events.filter((e) => e.type !== "reset").map((e) => [moment(e.at), e.type, wide(told(e))]);
    return ["Events", el("p", { class: "quiet" }, "As this agent sees them, the newest first; new ones appear by themselves."),
      table("Events", ["When", "Type", "What"], rows)];
  },
};

function told(e) {
  switch (e.type) {
    case "verdicts":
      return e.changes.flatMap((c, n) => [n > 0 ? el("br") : null, instanceLink(c.instance), ` ${c.from} → `, pill(c.to), c.class === "healthy" ? "" : ` ${c.class}`]);
    case "member": return [`${e.name}: ${e.from ?? "new"} → `, pill(e.to)];
    case "registered": return [instanceLink(e.instance), ` of ${e.service}`];
    case "withdrawn": return [e.instance];
    case "vote": return ["this agent votes ", pill(typeof e.observation.vote === "string" ? e.observation.vote : Object.keys(e.observation.vote)[0]), " on ",
      instanceLink(e.instance), e.observation.detail ? `: ${e.observation.detail}` : ""];
    case "failure": return [instanceLink(e.instance_id), ` ${e.failure_type} (${e.severity}): ${e.message}`];
    case "quorate": return [`${e.quorate ? "quorate again" : "not quorate any more"}: ${e.alive} of ${e.roster} agents`];
    case "roster": return [`epoch ${e.epoch}: ${e.roster} agents count; ${e.admitted.length} admitted, ${e.removed.length} removed`];
    case "breaker": return [`breaker of ${e.service} before ${e.instance}: ${e.state}${e.zone ? ` for zone ${e.zone}` : ""} (${e.cause}, first seen by ${e.first})`];
    case "override": return [`breaker of ${e.service} before ${e.instance}: ${e.mode} by ${e.owner}: ${e.reason}`];
    case "stalled": return [`this agent was held up for ${e.late_ms} ms`];
    default: return [e.detail ?? ""];
  }
}

function warn() {
  const words = [];
  const view = health?.view;
  if (lost) words.push(`STALE: the agent does not answer since ${clock(lost)}; what is shown is what it said last.`);
  if (view && !view.quorate) {
    words.push(`NOT QUORATE since ${moment(view.quorate_since)}: ${view.name} does not reach more than half of the ${view.roster} agents that count. It keeps the last verdicts and decides nothing new.`);
  }
  if (view && view.age_ms > OLD_MS) words.push(`STALE: the agent has not confirmed this picture for ${span(view.age_ms)}.`);
  if (view && view.stale_instances > 0) words.push(`STALE: ${view.stale_instances} verdicts cannot be confirmed; too few observers can be heard.`);
  if (view && !view.settled) words.push(`${view.name} has not caught up with the mesh yet.`);
  const text = words.join(" ");
  if (banner.textContent !== text) banner.textContent = text;
  banner.hidden = words.length === 0;
}

function frame() {
  warn();
  const status = document.getElementById("status");
  if (!health) return;
  const { view } = health;
  const where = document.getElementById("environment");
  where.textContent = environment ?? "";
  where.hidden = environment === null;
  status.className = `pill ${TONE[health.status] ?? ""}`;
  status.textContent = health.status;
  document.getElementById("footer").textContent =
    `${view.name} (${view.agent}) answers; ${view.alive} of ${view.roster} agents alive; ${view.quorate ? "quorate" : "NOT quorate"}; picture ${view.index} of ${moment(view.at)}; mesh ${view.mesh}`;
}

// Of an address that somebody has mistyped, what is there.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

let drawing = 0;
async function draw() {
  const turn = ++drawing;
  const [name, argument] = location.hash.replace(/^#\/?/, "").split("/").map(decoded);
  const page = Object.hasOwn(pages, name) ? pages[name] : pages.overview;
  for (const entry of document.querySelectorAll("nav a")) {
    const here = entry.getAttribute("href").replace("#/", "") === name;
    if (here) entry.setAttribute("aria-current", "page");
    else entry.removeAttribute("aria-current");
  }
  frame();
  if (!health) return;
  try {
    const [title, ...content] = await page(argument);
    if (turn !== drawing) return;
    const scrolled = [...main.querySelectorAll(".scroll")].map((node) => node.scrollLeft);
    const focused = document.activeElement && main.contains(document.activeElement) ? document.activeElement.getAttribute("href") : null;
    main.replaceChildren(el("h2", null, title), ...content.filter((node) => node !== null));
    main.querySelectorAll(".scroll").forEach((node, n) => { node.scrollLeft = scrolled[n] ?? 0; });
    if (focused) main.querySelector(`a[href="${CSS.escape(focused)}"]`)?.focus({ preventScroll: true });
    document.title = `${health.status}: ${title} – Quorate`;
    if (heading !== "" && heading !== title) main.focus({ preventScroll: true });
    heading = title;
  } catch (error) {
    if (turn !== drawing) return;
    if (error.status === 404) main.replaceChildren(el("h2", null, "Not found"), el("p", null, error.message));
    else gone();
  }
}

function gone() {
  lost ??= Date.now();
  frame();
}

const pause = (ms) => new Promise((done) => setTimeout(done, ms));

// Waits at the agent for the next picture; draws it, and at least every few seconds anew, because ages move.
async function follow() {
  for (;;) {
    try {
      const query = health && !lost ? `?index=${health.view.index}&wait=5s` : "";
      if (query === "") ({ environment } = await ask("/v1/agent"));
      health = await ask(`/v1/health${query}`);
      lost = null;
      await draw();
      // A mesh in turmoil changes faster than anyone reads.
      await pause(300);
    } catch {
      gone();
      await pause(1000);
    }
  }
}

function listen() {
  const stream = new EventSource("/v1/events?since=0");
  const take = (message) => {
    const event = JSON.parse(message.data);
    if (event.type === "reset") events = [];
    else if (events.some((known) => known.id === event.id)) return;
    events.unshift(event);
    events.length = Math.min(events.length, EVENTS_SHOWN);
    if (/^#\/(events|instance)/.test(location.hash)) soon();
  };
  for (const type of ["reset", "verdicts", "member", "registered", "withdrawn", "vote", "failure", "quorate", "roster", "breaker", "override", "stalled", "identity_conflict"]) {
    stream.addEventListener(type, take);
  }
  // A browser opens a broken stream again, but gives up where it was refused one.
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, 5000);
  });
}

let due = null;
function soon() {
  due ??= setTimeout(() => { due = null; draw(); }, 200);
}

addEventListener("hashchange", draw);
listen();
follow();
